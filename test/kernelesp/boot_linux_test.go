package kernelesp

import (
	"bytes"
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

// kernel is the other kernel, running.
type kernel struct {
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

// boot makes the wire (a tap device, 10.77.0.1 and fd77::1 at our end, .2 and ::2 at the guest's), builds the guest's root and starts User-Mode
// Linux on it. It returns when the guest is ready, and ends it with the test.
func boot(t *testing.T) *kernel {
	t.Helper()
	uml, busybox, ip := peer.Need(t, "linux.uml"), peer.Need(t, "busybox"), peer.Need(t, "ip")
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
	const modules = "/usr/lib/uml/modules"
	versions, err := os.ReadDir(modules)
	if err != nil || len(versions) == 0 {
		t.Fatalf("modules of User-Mode Linux: %v", err)
	}
	program := filepath.Join(dir, "ue")
	build := exec.Command("go", "test", "-c", "-o", program, "imsafe/test/kernelesp")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the guest's program: %v: %s", err, out)
	}
	root := filepath.Join(dir, "root.cpio")
	if err := writeImage(root, busybox, ip, program, modules, versions[len(versions)-1].Name()); err != nil {
		t.Fatal(err)
	}
	k := &kernel{t: t}
	k.start(uml, dir, root)
	return k
}

// start runs User-Mode Linux. It keeps the guest's memory in a file, for which a file system in memory is best.
func (k *kernel) start(uml, dir, root string) {
	t := k.t
	t.Helper()
	cmd := exec.Command(uml, "mem=256M", "umid=imsafe", "uml_dir="+dir, "initrd="+root, "rdinit=/init", "quiet",
		"con=null", "con0=null,fd:1", "ssl=null", "vec0:transport=tap,ifname=peer0,depth=128,gro=1")
	cmd.Env = append(os.Environ(), "TMPDIR="+memoryDir(dir))
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
			t.Fatalf("User-Mode Linux ended:\n%s", k.console.String())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Since(begin) > 90*time.Second {
			t.Fatalf("User-Mode Linux is not ready:\n%s", k.console.String())
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

// sh runs commands in the guest and returns what they say.
func (k *kernel) sh(script string) string {
	k.t.Helper()
	out, err := k.shell(script)
	if err != nil {
		k.t.Fatalf("the guest's shell: %v after %q\n%s", err, out, k.console.String())
	}
	return out
}

// shell is sh for other goroutines than the test's.
func (k *kernel) shell(script string) (string, error) {
	var c net.Conn
	var err error
	for range 50 { // between two shells the door is shut for a moment
		if c, err = net.DialTimeout("tcp", "10.77.0.2:2323", 5*time.Second); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(c, "exec 2>&1\n%s\nexit\n", script); err != nil {
		return "", err
	}
	out, err := io.ReadAll(c)
	return string(out), err
}
