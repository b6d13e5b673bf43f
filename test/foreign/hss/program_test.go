package hss

import (
	"bufio"
	"encoding/pem"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"imsafe/ca"
	"imsafe/test/live"
	"imsafe/test/peer"
)

// What stands once for all tests: the HSS as Erlang runs it.
var program struct {
	once  sync.Once
	dir   string
	fault error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if program.dir != "" {
		_ = os.RemoveAll(program.dir) // what is left is the temporary folder's
	}
	os.Exit(code)
}

// foreign is one running HSS.
type foreign struct {
	host    string // its name in Diameter
	at      netip.AddrPort
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers chan string

	mu     sync.Mutex
	events []string
	more   chan struct{} // closed when there are more events
}

// setting is what one HSS is like.
type setting struct {
	name  string // before the domain
	at    netip.AddrPort
	clear bool // no TLS
	index int  // IND: which of several HSSs it is (TS 33.102 C.1.1.1)
	first int  // SEQ to begin after
}

// run starts an HSS until the test ends. authority signs its certificate.
func run(t *testing.T, authority *ca.CA, s setting) *foreign {
	t.Helper()
	auc := peer.Need(t, "osmo-auc-gen")
	f := &foreign{host: s.name + "." + live.Domain, at: s.at, answers: make(chan string, 1), more: make(chan struct{})}
	f.cmd = exec.Command(peer.Need(t, "erl"), "-noshell", "-pa", compiled(t), "-eval", "hss:main()")
	f.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	f.cmd.Stderr = f.cmd.Stdout
	var err error
	if f.in, err = f.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	reading := make(chan struct{})
	go func() { defer close(reading); f.read(out) }()
	t.Cleanup(func() {
		f.kill()
		<-reading
		if t.Failed() {
			t.Logf("%s:\n%s", f.host, strings.Join(f.events, "\n"))
		}
	})
	security := "clear"
	if !s.clear {
		security = identity(t, authority, f.host)
	}
	f.ask(t, "ok", `{start, #{host => %q, realm => %q, ip => {%s}, port => %d, tls => %s, auc => %q, index => %d, sequence => %d, watchdog => 30000}}`,
		f.host, live.Domain, strings.ReplaceAll(s.at.Addr().String(), ".", ","), s.at.Port(), security, auc, s.index, s.first)
	return f
}

// compiled returns a directory with the HSS as Erlang runs it.
func compiled(t *testing.T) string {
	t.Helper()
	erl := peer.Need(t, "erl")
	program.once.Do(func() { program.dir, program.fault = compile(erl) })
	if program.fault != nil {
		t.Fatalf("the HSS does not compile: %v", program.fault)
	}
	return program.dir
}

func compile(erl string) (dir string, err error) {
	if dir, err = os.MkdirTemp("", "hss"); err != nil {
		return "", err
	}
	out, err := exec.Command(erl, "-noshell", "-eval", fmt.Sprintf(
		`ok = diameter_make:codec("testdata/cx.dia", [{outdir, %q}]), {ok, _} = compile:file(filename:join(%q, "cx"), [{outdir, %q}]),
		{ok, _} = compile:file("testdata/hss", [{outdir, %q}, warnings_as_errors, report]), halt().`, dir, dir, dir, dir)).CombinedOutput()
	if err != nil {
		return dir, fmt.Errorf("%w\n%s", err, out)
	}
	return dir, nil
}

// identity makes a certificate for host and returns the files as Erlang writes them.
func identity(t *testing.T, authority *ca.CA, host string) string {
	t.Helper()
	certificate, err := authority.Node(time.Hour, []string{host})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	key, err := pkcs8(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	var chain []byte
	for _, der := range certificate.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	var files []string
	for name, octets := range map[string][]byte{"1.pem": chain, "2.pem": key, "3.pem": authority.PEM()} {
		if err := os.WriteFile(filepath.Join(dir, name), octets, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"1.pem", "2.pem", "3.pem"} {
		files = append(files, fmt.Sprintf("%q", filepath.Join(dir, name)))
	}
	return "{" + strings.Join(files, ", ") + "}"
}

// read takes what the HSS writes: answers, events, and words of the Erlang system, which are events too.
func (f *foreign) read(out io.Reader) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if answer, is := strings.CutPrefix(lines.Text(), "= "); is {
			f.answers <- answer
			continue
		}
		f.mu.Lock()
		f.events = append(f.events, lines.Text())
		close(f.more)
		f.more = make(chan struct{})
		f.mu.Unlock()
	}
	close(f.answers)
}

// command gives the HSS a term and returns what it says to it; "gone" if it is.
func (f *foreign) command(format string, args ...any) string {
	if _, err := fmt.Fprintf(f.in, format+".\n", args...); err != nil {
		return "gone"
	}
	select {
	case answer, there := <-f.answers:
		if there {
			return answer
		}
	case <-time.After(live.Patience):
	}
	return "gone"
}

// ask is command with an answer that must come.
func (f *foreign) ask(t *testing.T, want, format string, args ...any) {
	t.Helper()
	if got := f.command(format, args...); got != want {
		t.Fatalf("%s: "+format+" is answered %s, not %s", append(append([]any{f.host}, args...), got, want)...)
	}
}

// add gives it subscribers.
func (f *foreign) add(t *testing.T, users ...*live.User) {
	t.Helper()
	for _, u := range users {
		f.ask(t, "ok", `{add, %q, [%q], "%x", "%x", "%x"}`, u.IMPI, u.IMPU, u.K[:], u.OPc[:], u.AMF[:])
	}
}

// happened counts the events that begin with what.
func (f *foreign) happened(what string) (times int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.events {
		if strings.HasPrefix(e, "! "+what) {
			times++
		}
	}
	return times
}

// waits until an event has happened so many times. What the HSS writes comes behind what it does.
func (f *foreign) waits(t *testing.T, what string, times int) {
	t.Helper()
	late := time.After(live.Patience)
	for {
		f.mu.Lock()
		more := f.more
		f.mu.Unlock()
		if f.happened(what) >= times {
			return
		}
		select {
		case <-more:
		case <-late:
			t.Fatalf("%s: %q happened %d times, not %d", f.host, what, f.happened(what), times)
		}
	}
}

// once waits until an event has happened, which it must not have twice.
func (f *foreign) once(t *testing.T, what string) {
	t.Helper()
	f.waits(t, what, 1)
	if times := f.happened(what); times != 1 {
		t.Errorf("%s: %q happened %d times", f.host, what, times)
	}
}

// content fails the test for whatever the stack found wrong with our requests, and for words that are no events.
func (f *foreign) content(t *testing.T) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.events {
		if !strings.HasPrefix(e, "! ") || strings.HasPrefix(e, "! wrong") {
			t.Errorf("%s: %s", f.host, e)
		}
	}
}

// kill ends it as a power cut does: no DPR, and no more.
func (f *foreign) kill() {
	_ = f.cmd.Process.Signal(syscall.SIGCONT)
	_ = f.cmd.Process.Kill()
	_ = f.cmd.Wait()
}

// freeze stops it in the middle of whatever it does; its connections stay. thaw lets it go on.
func (f *foreign) freeze() { _ = f.cmd.Process.Signal(syscall.SIGSTOP) }
func (f *foreign) thaw()   { _ = f.cmd.Process.Signal(syscall.SIGCONT) }
