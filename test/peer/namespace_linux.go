package peer

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// insideEnv tells a test binary that it runs in a network namespace of its own.
const insideEnv = "IMSAFE_TEST_NAMESPACE"

// InNamespace runs the calling test once more in a process with a network of its own, where nothing but the test is heard, and where it
// may capture, make devices and open raw sockets. It reports true in that process, with loopback up. Where there are no namespaces to
// be had it is [Missing].
func InNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideEnv) != "" {
		if err := LoopbackUp(); err != nil {
			t.Fatal(err)
		}
		return true
	}
	var refused []string
	for _, flags := range []uintptr{unix.CLONE_NEWNET, unix.CLONE_NEWUSER | unix.CLONE_NEWNET} {
		cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v", fmt.Sprintf("-test.short=%v", testing.Short()))
		cmd.Env = append(os.Environ(), insideEnv+"=1")
		cmd.SysProcAttr = Unshared(flags)
		cmd.SysProcAttr.Pdeathsig = unix.SIGTERM
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			refused = append(refused, err.Error())
			continue
		}
		err := cmd.Wait()
		t.Logf("in its namespace:\n%s", &out)
		switch {
		case err != nil:
			t.Errorf("in its namespace: %v", err)
		case strings.Contains(out.String(), "--- SKIP"):
			Missing(t, "see above")
		}
		return false
	}
	Missing(t, "a network namespace: "+strings.Join(refused, ", "))
	return false
}

// Unshared returns what starts a process in new namespaces (CLONE_NEW...). With CLONE_NEWUSER it is root in them, whoever calls.
func Unshared(flags uintptr) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Cloneflags: flags}
	if flags&unix.CLONE_NEWUSER != 0 {
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return a
}

// LoopbackUp switches lo on: in a new namespace it is there and off.
func LoopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, lo); err != nil {
		return err
	}
	lo.SetUint16(lo.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}
