package node

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Command is what a process is started with.
type Command struct {
	Path string
	Args []string // the program's name included
	Env  []string
}

// anchorProcess is the process of an anchor: a child of ours, or one of a node before.
type anchorProcess struct {
	pid     int
	process *os.Process
	exited  chan struct{} // closed when it has ended; of a child

	mu   sync.Mutex
	tail []byte // the last of what it wrote to its standard error
}

// maxTail is how much of that is kept.
const maxTail = 4 << 10

// startAnchor makes the socket anew at path and starts a process that inherits it. It has a session of its own, so that it lives on when its
// terminal or its parent goes, and nothing else of ours: no descriptor, no privilege.
func startAnchor(path string, c Command) (*anchorProcess, error) {
	listener, err := anchorListener(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = listener.Close() }() // the child's copy stays
	errs, stderr, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{Path: c.Path, Args: c.Args, Env: c.Env, Dir: "/", Stderr: stderr, ExtraFiles: []*os.File{listener}, SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
	err = startConfined(cmd)
	_ = stderr.Close()
	if err != nil {
		return nil, errors.Join(err, errs.Close())
	}
	p := &anchorProcess{pid: cmd.Process.Pid, process: cmd.Process, exited: make(chan struct{})}
	go func() {
		p.keep(errs)
		_ = cmd.Wait() // how it ended says what it wrote
		close(p.exited)
	}()
	return p, nil
}

// anchorListener puts a new socket into the place of what is at path, which may belong to an anchor that lets its calls end.
func anchorListener(path string) (*os.File, error) {
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh, Net: "unix"})
	if err != nil {
		return nil, err
	}
	ln.SetUnlinkOnClose(false)
	defer func() { _ = ln.Close() }()
	if err := errors.Join(os.Chmod(fresh, 0o600), os.Rename(fresh, path)); err != nil {
		return nil, err
	}
	return ln.File()
}

// startConfined starts a command from a thread that gives away what the anchor does not need, and is then thrown away: what a thread has given
// away, a process that it starts has not. No program that it might start has more.
func startConfined(cmd *exec.Cmd) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) // a kernel without them has none
		for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
			_ = unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0) // whoever may not has none to give away
		}
		if err == nil {
			err = cmd.Start()
		}
		done <- err
	}()
	return <-done
}

// processOf is one that is not a child of ours. It is found by its number at a moment when it is known to live.
func processOf(pid int) *anchorProcess {
	p := &anchorProcess{pid: pid}
	if pid > 1 && pid != os.Getpid() {
		p.process, _ = os.FindProcess(pid) // nil: there is none to be killed
	}
	return p
}

// runs reports whether a process was started by a command. Its number may belong to another one by now.
func runs(pid int, c Command) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	_, args, _ := strings.Cut(string(line), "\x00")
	return err == nil && args == strings.Join(c.Args[1:], "\x00")+"\x00"
}

// keep reads what the process writes until it has ended.
func (p *anchorProcess) keep(r *os.File) {
	defer func() { _ = r.Close() }()
	b := make([]byte, 1024)
	for {
		n, err := r.Read(b)
		p.mu.Lock()
		p.tail = append(p.tail, b[:n]...)
		p.tail = p.tail[max(0, len(p.tail)-maxTail):]
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// said is the last of what it wrote.
func (p *anchorProcess) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.TrimSpace(string(p.tail))
}

// kill ends it at once.
func (p *anchorProcess) kill() {
	if p.process != nil {
		_ = p.process.Kill() // it may have ended
	}
	p.ends(anchorEnds)
}

// ends waits until it has ended, and kills it if it does not in time. Of a process that is not our child nobody tells us.
func (p *anchorProcess) ends(within time.Duration) {
	if p.exited == nil {
		return
	}
	limit := time.NewTimer(within)
	defer limit.Stop()
	select {
	case <-p.exited:
	case <-limit.C:
		_ = p.process.Kill()
		<-p.exited
	}
}

// dialAnchor connects to the anchor at path. There is none: no connection and no error. Only a process of our own user is one; pid is that which the
// kernel names.
func dialAnchor(path string) (conn *net.UnixConn, pid int, err error) {
	conn, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	who, err := peerOn(conn)
	if err == nil && int(who.Uid) != os.Geteuid() {
		err = fmt.Errorf("%s belongs to user %d", path, who.Uid)
	}
	if err != nil {
		return nil, 0, errors.Join(err, conn.Close())
	}
	return conn, int(who.Pid), nil
}

// peerOn is who is at the other end of a local socket, by the kernel's word.
func peerOn(conn *net.UnixConn) (who *unix.Ucred, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		who, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return who, errors.Join(err, failed)
}
