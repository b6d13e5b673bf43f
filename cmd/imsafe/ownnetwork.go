package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"imsafe/proof/attack"
)

// Attacks run in a network of their own where the host lets this process make one: a user namespace, in which it is root, with a network namespace
// that has loopback and nothing else. Nothing gets out, nothing comes in, and raw sockets may be opened without anybody's leave. Where the host
// refuses, they run on its loopback, and what needs raw sockets is not run.

// insideEnv tells this program that it is in a network of its own.
const insideEnv = "IMSAFE_OWN_NETWORK"

// exitNoNetwork is how the process inside says that it cannot use the network that it was given (EX_OSERR of sysexits.h).
const exitNoNetwork = 71

// stopInside is how the process outside tells the one inside that it is to stop. At a terminal Ctrl-C reaches both, and a second signal of the same kind would end
// the one inside at once, with its targets still there.
const stopInside = unix.SIGUSR1

var errStoppedOutside = errors.New("the process outside was told to stop")

// heedOutside is a context that ends when the process outside says so.
func heedOutside(ctx context.Context) context.Context {
	ctx, stop := context.WithCancelCause(ctx)
	told := make(chan os.Signal, 1)
	signal.Notify(told, stopInside)
	go func() {
		<-told
		stop(errStoppedOutside)
	}()
	return ctx
}

const onTheHost = "attacks run on the host's loopback, and those that need raw sockets do not run"

// elsewhere is an end of which all has been said: by the process that did the work, or by the object that was printed.
type elsewhere struct{ status int }

// said is err where a person reads; where a machine does, the object that was printed has it, and the status is left.
func (a *app) said(err error) error {
	if a.json && err != nil {
		return elsewhere{exitOf(err)}
	}
	return err
}

// Error implements error.
func (e elsewhere) Error() string { return fmt.Sprintf("exit status %d", e.status) }

// inOwnNetwork runs this very command once more in a network of its own. It returns nil if this process is to go on: it is the one inside, or there is
// no inside to be had, which is said.
func (a *app) inOwnNetwork() error {
	if a.getenv(insideEnv) != "" {
		if err := loopbackUp(); err != nil { // some hosts give the namespace and not its rights
			fmt.Fprintln(a.stderr, "no network of our own:", err)
			return elsewhere{exitNoNetwork}
		}
		return nil
	}
	if a.args == nil {
		return nil
	}
	program, err := os.Executable()
	if err != nil {
		return nil // a target could not be started either, and that is said better there
	}
	cmd := exec.Command(program, a.args...)
	cmd.Env = append(os.Environ(), insideEnv+"=yes")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.stdin, a.stdout, a.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNET, Pdeathsig: unix.SIGTERM,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}
	runtime.LockOSThread() // the kernel ends the process inside with the thread that started it
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		fmt.Fprintf(a.stderr, "no network of our own: %v\n%s\n", err, onTheHost)
		return nil
	}
	stop := context.AfterFunc(a.ctx, func() { _ = cmd.Process.Signal(stopInside) })
	defer stop()
	return a.inside(cmd.Wait(), cmd.ProcessState)
}

// inside says how the process inside has ended: nil if there is no inside to be had.
func (a *app) inside(err error, how *os.ProcessState) error {
	var ended *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &ended):
		return err
	case how.ExitCode() == exitNoNetwork:
		fmt.Fprintln(a.stderr, onTheHost)
		return nil
	case how.Exited():
		return elsewhere{how.ExitCode()}
	case a.ctx.Err() != nil: // it was ended before it could say so itself
		return context.Cause(a.ctx)
	}
	return fmt.Errorf("the process that attacks was ended from outside (%v): nothing of what it saw is kept", how)
}

// loopbackUp switches lo on: in a new namespace it is there and off.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	lo, err := unix.NewIfreq("lo")
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, lo)
	}
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	lo.SetUint16(lo.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	return nil
}

// Forge implements attack.Forger with a raw socket.
func (systemNetwork) Forge(from, to netip.AddrPort) (io.WriteCloser, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w: a raw socket: %w", attack.ErrNotHere, err)
	}
	if err != nil {
		return nil, err
	}
	return &forged{fd: fd, from: from, to: to}, nil
}

// forged writes UDP datagrams with a source that somebody else has.
type forged struct {
	fd       int
	from, to netip.AddrPort
}

// Write implements io.Writer: b is what a datagram carries. The kernel fills in lengths and the checksum of the header (raw(7)).
func (f *forged) Write(b []byte) (int, error) {
	p := make([]byte, 28, 28+len(b))
	p[0], p[8], p[9] = 0x45, 64, unix.IPPROTO_UDP // version 4, five words; time to live
	from, to := f.from.Addr().As4(), f.to.Addr().As4()
	copy(p[12:], from[:])
	copy(p[16:], to[:])
	binary.BigEndian.PutUint16(p[20:], f.from.Port())
	binary.BigEndian.PutUint16(p[22:], f.to.Port())
	binary.BigEndian.PutUint16(p[24:], uint16(8+len(b))) // a checksum of zero is none (RFC 768)
	if err := unix.Sendto(f.fd, append(p, b...), 0, &unix.SockaddrInet4{Addr: to}); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Close implements io.Closer.
func (f *forged) Close() error { return unix.Close(f.fd) }
