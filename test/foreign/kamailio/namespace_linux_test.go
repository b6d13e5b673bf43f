package kamailio

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"imsafe/test/peer"
)

// insideEnv tells the test binary that it is in its namespaces; it holds the directory of the run.
const insideEnv = "IMSAFE_TEST_KAMAILIO"

// outside is why there are no namespaces; nil inside them.
var outside error

// TestMain runs the tests in a process with a network, mounts and process numbers of its own.
func TestMain(m *testing.M) {
	if dir := os.Getenv(insideEnv); dir != "" {
		outside = settle(dir)
		os.Exit(m.Run())
	}
	code, err := enter()
	if err != nil {
		outside = err
		code = m.Run()
	}
	os.Exit(code)
}

// enter runs this binary again inside, as it was called, and returns how that ended.
func enter() (code int, err error) {
	dir, err := os.MkdirTemp("", "imsafe-kamailio")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideEnv+"="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	flags := uintptr(unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID)
	if os.Getuid() != 0 {
		flags |= unix.CLONE_NEWUSER
	}
	cmd.SysProcAttr = peer.Unshared(flags)
	cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	_ = cmd.Wait() // its code says it
	return cmd.ProcessState.ExitCode(), nil
}

// settle makes the new namespaces fit to live in: loopback is up, and names are looked up in a file of our own.
func settle(dir string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mounts of our own: %w", err)
	}
	own := filepath.Join(dir, "hosts")
	if err := os.WriteFile(own, nil, 0o644); err != nil {
		return err
	}
	if err := unix.Mount(own, hostsFile, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("%s of our own: %w", hostsFile, err)
	}
	return peer.LoopbackUp()
}

const hostsFile = "/etc/hosts"

// need ends a test that cannot be had here: skipped, or failed in CI. It returns Kamailio's program and the directory of its modules.
func need(t *testing.T) (program, modules string) {
	t.Helper()
	program = peer.Need(t, "kamailio")
	found, _ := filepath.Glob("/usr/lib/*/kamailio/modules/ims_registrar_pcscf.so")
	switch {
	case outside != nil:
		peer.Missing(t, "namespaces to run Kamailio in: "+outside.Error())
	case len(found) == 0:
		peer.Missing(t, "Kamailio's IMS modules (Debian: kamailio-ims-modules)")
	}
	return program, filepath.Dir(found[0]) + "/"
}

// resolve says which address each name has, for the functions that look names up. No name beyond is known.
func resolve(t *testing.T, names map[string]string) {
	t.Helper()
	var lines strings.Builder
	lines.WriteString("127.0.0.1 localhost\n")
	for name, address := range names {
		fmt.Fprintf(&lines, "%s %s\n", address, name)
	}
	if err := os.WriteFile(hostsFile, []byte(lines.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
