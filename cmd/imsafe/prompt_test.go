package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imsafe/test/peer"
)

// terminal opens a pseudo terminal: what a person sees and types, and what a program has.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		peer.Missing(t, "pseudo terminals: "+err.Error())
	}
	t.Cleanup(func() { _ = person.Close() })
	fd := int(person.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Close() })
	return person, program
}

// echoes says whether the terminal shows what is typed.
func echoes(t *testing.T, f *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// TestPrompt: keys that are typed are not shown, and the terminal is as before afterwards, also when it is interrupted.
func TestPrompt(t *testing.T) {
	d := newDesk(t)
	person, program := terminal(t)
	prompt := func(ctx context.Context, typed func(asked string) string) int {
		var stdout, stderr lockedBuffer
		done := make(chan int, 1)
		go func() {
			done <- realMain(&app{ctx: ctx, stdin: program, stdout: &stdout, stderr: &stderr, getenv: os.Getenv},
				[]string{"user", "add", "alice", "--prompt", "--card-out", d.path("card"), "-c", d.config})
		}()
		for _, asked := range []string{"K (not shown): ", "OPc (not shown): "} {
			for !strings.HasSuffix(stderr.String(), asked) {
				select {
				case status := <-done:
					return status
				case <-time.After(5 * time.Millisecond):
				}
			}
			if echoes(t, program) {
				t.Error("the terminal shows what is typed")
			}
			if _, err := person.WriteString(typed(asked)); err != nil {
				t.Fatal(err)
			}
		}
		return <-done
	}
	ctx, cancel := context.WithCancel(context.Background())
	if status := prompt(ctx, func(string) string { cancel(); return "" }); status != exitFailed || !echoes(t, program) {
		t.Errorf("interrupted: exit %d, the terminal shows what is typed: %v", status, echoes(t, program))
	}
	status := prompt(context.Background(), func(asked string) string {
		if strings.HasPrefix(asked, "K") {
			return testK + "\n"
		}
		return testOPc + "\n"
	})
	if status != exitDone || !echoes(t, program) || !strings.Contains(d.read("card"), testK) {
		t.Errorf("exit %d, the terminal shows what is typed: %v", status, echoes(t, program))
	}
}
