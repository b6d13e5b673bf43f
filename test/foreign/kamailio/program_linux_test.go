package kamailio

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"

	"golang.org/x/sys/unix"

	"imsafe/test/live"
)

// setting is what the templates in testdata are filled with.
type setting struct {
	Domain  string
	Modules string // directory of Kamailio's modules, with its slash
	Dir     string // of its configuration and its tables, as it sees it
	Name    string // function: pcscf, icscf, scscf
	Address string // where it listens, without port
	HSS     string // address and identity of the HSS
	HSSName string
	Proxy   string // of an application server: who speaks to the core for it
	Core    string // and where that is
	// Certificate, with its key, is one that nobody vouches for: the TLS of Kamailio does not start without.
	Certificate string
}

// kamailio is one running program.
type kamailio struct {
	name string
	cmd  *exec.Cmd
	log  string // file
}

// addresses of the functions; a node of ours that has several functions listens on that of its first.
var addresses = map[string]string{"pcscf": "127.0.0.3", "icscf": "127.0.0.4", "scscf": "127.0.0.5", "hss": "127.0.0.6", "as": "127.0.0.7"}

func named(function string) string { return function + "." + live.Domain }

// run starts Kamailio as a function until the test ends.
func run(t *testing.T, name string, more ...func(*setting)) *kamailio {
	t.Helper()
	program, modules := need(t)
	dir := t.TempDir()
	s := setting{Domain: live.Domain, Modules: modules, Dir: "/tmp", Name: name, Address: addresses[name], HSS: addresses["hss"], HSSName: named("hss")}
	for _, set := range more {
		set(&s)
	}
	files, err := filepath.Glob("testdata/" + name + ".*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no configuration of %s: %v", name, err)
	}
	for _, file := range append(files, "testdata/common.cfg", "testdata/cdp.xml", "testdata/version") {
		s.fill(t, file, dir)
	}
	k := &kamailio{name: name, log: filepath.Join(dir, "log")}
	log, err := os.Create(k.log)
	if err != nil {
		t.Fatal(err)
	}
	// Its directory is its /tmp: what it writes there is named by process numbers, which other namespaces have too.
	k.cmd = exec.Command("/bin/sh", "-c", `mount --bind "$1" /tmp && exec "$2" -f "/tmp/$3.cfg" -DD -E -m 64 -M 8 -w /tmp -Y /tmp`, "sh", dir, program, name)
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	k.cmd.Stdout, k.cmd.Stderr = log, log
	if err := k.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = log.Close()
	t.Cleanup(func() { k.stop(t) })
	k.awake(t, s.Address)
	return k
}

// fill writes a file of testdata into dir, with its gaps filled. pcscf.pua becomes the table pua.
func (s setting) fill(t *testing.T, file, dir string) {
	t.Helper()
	text, err := template.ParseFiles(file)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := text.Execute(&b, s); err != nil {
		t.Fatal(err)
	}
	to := filepath.Base(file)
	if table, of := strings.CutPrefix(to, s.Name+"."); of && table != "cfg" {
		to = table
	}
	if err := os.WriteFile(filepath.Join(dir, to), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// awake waits until the program answers OPTIONS.
func (k *kamailio) awake(t *testing.T, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := net.Dial("udp", address+":5060")
	if err != nil {
		t.Fatal(err)
	}
	p := live.NewPhone(conn, "udp", live.NewUsers("probe", 1, live.AKAv1)[0])
	defer p.Close()
	for ctx.Err() == nil {
		answer, err := p.Ask(ctx, p.Request("OPTIONS", "sip:"+address, "sip:"+address, ""))
		if err == nil {
			answer.Release()
			return
		}
		select { // the socket is not there yet, which the kernel says at once
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Fatalf("Kamailio as %s does not answer", k.name)
}

// stop ends the program, and shows what it wrote if the test failed.
func (k *kamailio) stop(t *testing.T) {
	_ = k.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(10*time.Second, func() { _ = k.cmd.Process.Kill() })
	defer late.Stop()
	if err := k.cmd.Wait(); err != nil {
		t.Errorf("Kamailio as %s ended with %v", k.name, err)
	}
	if t.Failed() || testing.Verbose() {
		log, _ := os.ReadFile(k.log)
		t.Logf("Kamailio as %s:\n%s", k.name, log[max(0, len(log)-16<<10):])
	}
}
