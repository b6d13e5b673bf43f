package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imsafe/proof/runner"
	"imsafe/test/peer"
)

// asks runs this program as a user does, and returns what it said.
func asks(t *testing.T, cmd *exec.Cmd) (results []runner.Result, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Env = append(os.Environ(), asProgram+"=yes")
	cmd.Stdout, cmd.Stderr = &out, &errs
	var ended *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &ended) {
		peer.Missing(t, "a user namespace: "+err.Error())
	}
	// What went wrong at the end is an object of its own, behind the results.
	if err := json.NewDecoder(&out).Decode(&results); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out.String(), errs.String())
	}
	return results, errs.String(), cmd.ProcessState.ExitCode()
}

// TestOwnNetwork: nobody in particular may forge sources, in a network that this program makes for itself. Where the host refuses one, the row that
// needs it reads "not run here", the others run, and the exit status says so.
func TestOwnNetwork(t *testing.T) {
	if results, stderr, status := asks(t, exec.Command(os.Args[0], "attack", "run", "CI-20", "--json")); !strings.Contains(stderr, "no network of our own") {
		if status != exitDone || len(results) != 2 || !results[1].Proven {
			t.Errorf("exit status %d, %+v\n%s", status, results, stderr)
		}
	}
	// Some hosts give the namespace and not the rights in it: the process inside says so, and the one outside goes on by itself.
	unable := exec.Command(os.Args[0], "attack", "run", "CI-20")
	unable.Env = append(os.Environ(), asProgram+"=yes", insideEnv+"=yes")
	unable.SysProcAttr = peer.Unshared(unix.CLONE_NEWUSER)
	if err := unable.Run(); unable.ProcessState == nil || unable.ProcessState.ExitCode() != exitNoNetwork {
		t.Errorf("inside, without a right to switch loopback on: %v", err)
	}
	refused := exec.Command("/bin/sh", "-c", `echo 0 >/proc/sys/user/max_user_namespaces && exec "$0" attack run CI-20 --json`, os.Args[0])
	refused.SysProcAttr = peer.Unshared(unix.CLONE_NEWUSER)
	results, stderr, status := asks(t, refused)
	if !strings.Contains(stderr, "no network of our own") || status != exitUnverified {
		t.Errorf("exit status %d\n%s", status, stderr)
	}
	if len(results) != 2 || !results[0].Proven || !results[1].Skipped || results[1].Proven {
		t.Errorf("%+v", results)
	}
}

// TestOwnNetwork_stopped: Ctrl-C reaches the process inside and the one outside; together they say so once, and leave nothing behind, whenever it comes.
func TestOwnNetwork_stopped(t *testing.T) {
	for _, machine := range []bool{false, true} {
		files := t.TempDir()
		cmd := exec.Command(os.Args[0], "attack", "run", "CI-22")
		if machine {
			cmd.Args = append(cmd.Args, "--json")
		}
		out := new(lockedBuffer)
		cmd.Env = append(os.Environ(), asProgram+"=yes", "TMPDIR="+files, "GORACE=atexit_sleep_ms=0")
		cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = out, out, &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for begun := time.Now(); ; time.Sleep(5 * time.Millisecond) { // until there is a target
			if entries, err := os.ReadDir(files); err != nil || len(entries) > 0 {
				break
			}
			if time.Since(begun) > time.Minute {
				t.Fatalf("no target: %s", out)
			}
		}
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		err := cmd.Wait()
		if status := cmd.ProcessState.ExitCode(); status != exitFailed || strings.Count(out.String(), "stopped before it was done") != 1 {
			t.Errorf("exit status %d, %v: %s", status, err, out)
		}
		if entries, err := os.ReadDir(files); err != nil || len(entries) > 0 {
			t.Errorf("it leaves %v, %v", entries, err)
		}
	}
}
