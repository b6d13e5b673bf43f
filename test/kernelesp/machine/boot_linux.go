package machine

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imsafe/test/peer"
)

// Kernel is the other kernel, running.
type Kernel struct {
	t       *testing.T
	console lockedBuffer
}

// lockedBuffer is a buffer that one goroutine fills and another looks into.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Machine is a make of the other kernel.
type Machine struct {
	Name     string
	Device   string                           // that it calls the wire
	modules  string                           // folder with one folder of the kernel's version
	command  func(dir, root string) *exec.Cmd // starts it with the wire peer0 and a root; dir is for its files
	patience time.Duration
}

// UserMode is User-Mode Linux: an ordinary process. It keeps the guest's memory in a file, for which a file system in memory is best.
func UserMode(t *testing.T) Machine {
	t.Helper()
	uml := peer.Need(t, "linux.uml")
	return Machine{Name: "User-Mode Linux", Device: "vec0", modules: "/usr/lib/uml/modules", patience: 3 * time.Minute, command: func(dir, root string) *exec.Cmd {
		cmd := exec.Command(uml, "mem=512M", "umid=imsafe", "uml_dir="+dir, "initrd="+root, "rdinit=/init", "quiet",
			"con=null", "con0=null,fd:1", "ssl=null", "vec0:transport=tap,ifname=peer0,depth=128,gro=1")
		cmd.Env = append(os.Environ(), "TMPDIR="+memoryDir(dir))
		if hasLargeState(t) {
			cmd.Env = append(cmd.Env, "LD_PRELOAD="+wholeState(t, dir))
		}
		return cmd
	}}
}

//go:embed testdata/xstate.c
var xstate []byte

// hasLargeState reports whether this host's processor has more state than User-Mode Linux has room for: that of AMX.
func hasLargeState(t *testing.T) bool {
	t.Helper()
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(info, []byte(" amx_tile"))
}

// wholeState builds what User-Mode Linux needs there, and returns where it is.
func wholeState(t *testing.T, dir string) string {
	t.Helper()
	source, library := filepath.Join(dir, "xstate.c"), filepath.Join(dir, "xstate.so")
	if err := os.WriteFile(source, xstate, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(peer.Need(t, "cc"), "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, source).CombinedOutput(); err != nil {
		t.Fatalf("what User-Mode Linux needs on this processor is not built: %v: %s", err, out)
	}
	return library
}

// Emulated is a whole machine, emulated without help of the processor, with the kernel that Debian's users have.
func Emulated(t *testing.T) Machine {
	t.Helper()
	qemu, kernel := peer.Need(t, "qemu-system-x86_64"), peer.Need(t, "vmlinuz")
	image, err := filepath.EvalSymlinks(kernel)
	if err != nil {
		t.Fatal(err)
	}
	modules := filepath.Join(filepath.Dir(image), "..", "lib", "modules")
	return Machine{Name: "QEMU", Device: "eth0", modules: modules, patience: 5 * time.Minute, command: func(_, root string) *exec.Cmd {
		return exec.Command(qemu, "-accel", "tcg", "-cpu", "max", "-m", "384", "-smp", "1", "-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none",
			"-serial", "stdio", "-no-reboot", "-kernel", image, "-initrd", root, "-append", "console=ttyS0 quiet rdinit=/init mitigations=off",
			"-netdev", "tap,id=n0,ifname=peer0,script=no,downscript=no", "-device", "virtio-net-pci,netdev=n0,romfile=")
	}}
}

// Program is a program of ours in the guest.
type Program struct {
	Name    string // in /opt
	Package string
	Test    bool // it is the package's test binary
}

// Boot makes the wire, builds the guest's root with programs and starts another kernel on it. It returns when the guest is ready, and ends it with
// the test.
func Boot(t *testing.T, m Machine, programs ...Program) *Kernel {
	t.Helper()
	busybox, ip := peer.Need(t, "busybox"), peer.Need(t, "ip")
	tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		peer.Missing(t, "a tap device: "+err.Error())
	}
	_ = tun.Close() // it was only asked whether it can be opened
	dir := t.TempDir()
	for _, words := range []string{"link set lo up", "tuntap add dev peer0 mode tap", "addr add 10.77.0.1/24 dev peer0",
		"addr add fd77::1/64 dev peer0 nodad", "link set peer0 up"} {
		if out, err := exec.Command(ip, strings.Fields(words)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", words, err, out)
		}
	}
	inside := content{busybox: busybox, ip: ip, programs: map[string]string{}, modules: m.modules, device: m.Device}
	root := filepath.Join(dir, "root.cpio")
	built(t, func(dir string) {
		for _, p := range programs {
			inside.programs[p.Name] = p.build(t, dir)
		}
		if err := inside.writeImage(root); err != nil {
			t.Fatal(err)
		}
	})
	k := &Kernel{t: t}
	k.start(m, dir, root)
	return k
}

// built does something with a folder of programs, alone: several tests, in several processes, want the same, and a program that is there and still is
// what its sources say is not linked again.
func built(t *testing.T, do func(dir string)) {
	t.Helper()
	module, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(filepath.Dir(strings.TrimSpace(string(module))), ".cache", "guest")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }() // which gives it back
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	do(dir)
}

// build returns where the program is, without symbols, which nobody needs in the guest.
func (p *Program) build(t *testing.T, dir string) string {
	t.Helper()
	words := []string{"build"}
	to := filepath.Join(dir, strings.ReplaceAll(p.Package, "/", "-"))
	if p.Test {
		words, to = []string{"test", "-c"}, to+".test"
	}
	build := exec.Command("go", append(words, "-ldflags=-s -w", "-o", to, p.Package)...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the guest's program: %v: %s", err, out)
	}
	return to
}

// start runs the other kernel.
func (k *Kernel) start(m Machine, dir, root string) {
	t := k.t
	t.Helper()
	cmd := m.command(dir, root)
	cmd.Stdout, cmd.Stderr = &k.console, &k.console
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // its helpers are of its group
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }() // killed is how it ends
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
	})
	for !strings.Contains(k.console.String(), "GUEST-READY") {
		select {
		case <-ended:
			t.Fatalf("%s ended:\n%s", m.Name, k.console.String())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Since(begin) > m.patience {
			t.Fatalf("%s is not ready:\n%s", m.Name, k.console.String())
		}
	}
	_, ready, _ := strings.Cut(k.console.String(), "GUEST-READY ")
	t.Logf("kernel %s was ready after %v", strings.TrimSpace(ready), time.Since(begin).Round(100*time.Millisecond))
}

func memoryDir(dir string) string {
	const shm = "/dev/shm"
	if unix.Access(shm, unix.W_OK) == nil {
		return shm
	}
	return dir
}

// Sh runs commands in the guest and returns what they say.
func (k *Kernel) Sh(script string) string {
	k.t.Helper()
	out, err := k.Shell(script)
	if err != nil {
		k.t.Fatalf("the guest's shell: %v after %q\n%s", err, out, k.console.String())
	}
	return out
}

// Shell is Sh for other goroutines than the test's.
func (k *Kernel) Shell(script string) (string, error) {
	var c net.Conn
	var err error
	for range 600 { // between two shells the door is shut for a moment
		if c, err = net.DialTimeout("tcp", "10.77.0.2:2323", 5*time.Second); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(5 * time.Minute)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(c, "exec 2>&1\n%s\nexit\n", script); err != nil {
		return "", err
	}
	out, err := io.ReadAll(c)
	return string(out), err
}
