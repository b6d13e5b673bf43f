package kamailio

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"imsafe/test/peer"
)

// insideEnv tells a process that it is in its namespaces; it holds the directory of the run.
const insideEnv = "IMSAFE_TEST_KAMAILIO"

const hostsFile = "/etc/hosts"

// Inside reports whether this process was started by [Enter]; then it has settled, or says why it could not.
func Inside() (bool, error) {
	dir := os.Getenv(insideEnv)
	if dir == "" {
		return false, nil
	}
	return true, settle(dir)
}

// Enter runs this program again, as it was called, in a process with a network, mounts and process numbers of its own, and returns how
// that ended. When it ends the kernel ends whatever it has started.
func Enter() (code int, err error) {
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

// Resolve says which address each name has, for programs inside that look names up. No name beyond is known.
func Resolve(names map[string]string) error {
	var lines strings.Builder
	lines.WriteString("127.0.0.1 localhost\n")
	for name, address := range names {
		fmt.Fprintf(&lines, "%s %s\n", address, name)
	}
	return os.WriteFile(hostsFile, []byte(lines.String()), 0o644)
}

// Processes lets /proc show the processes inside, by the numbers that they have there.
func Processes() error {
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("/proc of our own: %w", err)
	}
	return nil
}
