package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"imsafe/proof/attack"
	"imsafe/proof/evidence"
	"imsafe/proof/runner"
	"imsafe/proto/aka"
)

// launcher starts targets: processes of this very program.
type launcher struct {
	program string   // this executable
	build   string   // its SHA-256
	commit  string   // it was built from
	env     []string // more of the environment
}

var (
	_ runner.Launcher = (*launcher)(nil)
	_ runner.Meter    = (*child)(nil)
	_ attack.Local    = systemNetwork{}
	_ runner.Drawer   = (*child)(nil)
)

// newLauncher reads this program, to say in every record which one it was.
func newLauncher() (*launcher, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("this program does not find itself, so it cannot start a target: %w", err)
	}
	f, err := os.Open(program)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return nil, err
	}
	l := &launcher{program: program, build: hex.EncodeToString(sum.Sum(nil)), commit: "unknown"}
	if info, known := debug.ReadBuildInfo(); known {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				l.commit = s.Value
			}
		}
	}
	return l, nil
}

// launching is how long a target may take to start, and again to end.
const launching = 30 * time.Second

// Launch implements runner.Launcher.
func (l *launcher) Launch(ctx context.Context, s runner.Setup) (runner.Target, error) {
	t := &child{launcher: l, cmd: exec.Command(l.program, "attack", "target"), ended: make(chan error, 1)}
	t.cmd.Env = append(os.Environ(), l.env...)
	t.cmd.Stderr = &t.log
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for who attacks: he ends his targets
	var err error
	if t.dir, err = os.MkdirTemp("", "imsafe-target-"); err != nil {
		return nil, fmt.Errorf("a target needs a directory for its store: %w", err)
	}
	if err := t.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("no target could be started: %w", err), os.RemoveAll(t.dir))
	}
	setup := targetSetup{Dir: t.dir, Off: []string{}, Digest: s.Digest, NoCard: s.NoCard, Media: s.Media, Access: s.Access, Profile: s.Profile, Quick: s.Quick, Tight: s.Tight, Small: s.Small, Hasty: s.Hasty,
		Mode: s.Mode, Debug: s.Debug, LogFormat: s.LogFormat, Viewer: s.Viewer, Cast: s.Cast, Approved: s.Approved}
	for _, c := range s.Off {
		setup.Off = append(setup.Off, c.String())
	}
	if err := t.ask(ctx, setup, &t.ready); err != nil {
		err = errors.Join(fmt.Errorf("the target does not start: %w", err), t.Close())
		return nil, cmp.Or(t.interrupted(ctx), err)
	}
	if t.ready.Error != "" {
		return nil, errors.Join(fmt.Errorf("the target does not start: %s", t.ready.Error), t.Close())
	}
	if err := t.read(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// child is a target in its process.
type child struct {
	launcher *launcher
	cmd      *exec.Cmd
	input    io.WriteCloser
	replies  chan reply // closed when it says no more
	owed     int        // replies that somebody has not waited for
	log      tail
	dir      string // removed when it has ended, however that was
	ready    targetReady
	site     attack.Site
	ended    chan error
}

// start starts the process, with pipes to it.
func (t *child) start() (err error) {
	if t.input, err = t.cmd.StdinPipe(); err != nil {
		return err
	}
	output, err := t.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	t.replies = make(chan reply, 2) // one that is owed, and the end
	if err := t.cmd.Start(); err != nil {
		return err
	}
	go t.listen(bufio.NewReader(output))
	return nil
}

// reply is a line of a target's, or why there is none any more.
type reply struct {
	line []byte
	err  error
}

func (t *child) listen(output *bufio.Reader) {
	defer close(t.replies)
	for {
		b, err := output.ReadBytes('\n')
		t.replies <- reply{b, err}
		if err != nil {
			return
		}
	}
}

// next is the next line of the target's. Who cannot wait for it does the target no harm: a run whose time is over says nothing of the target.
func (t *child) next(ctx context.Context) ([]byte, error) {
	patience := time.NewTimer(launching)
	defer patience.Stop()
	select {
	case r, more := <-t.replies:
		if !more {
			r.err = io.EOF
		}
		if r.err != nil {
			return nil, fmt.Errorf("it does not answer: %w\n%s", r.err, t.log.String())
		}
		return r.line, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-patience.C:
		return nil, errors.Join(fmt.Errorf("no answer in %v\n%s", launching, t.log.String()), t.cmd.Process.Kill())
	}
}

// ask sends one line and reads one. It is for one goroutine at a time.
func (t *child) ask(ctx context.Context, in, out any) error {
	line, err := json.Marshal(in)
	if err != nil {
		return err
	}
	for ; t.owed > 0; t.owed-- {
		if _, err := t.next(ctx); err != nil {
			return err
		}
	}
	if _, err := t.input.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("it does not listen: %w\n%s", err, t.log.String())
	}
	answer, err := t.next(ctx)
	if err != nil {
		if ctx.Err() != nil {
			t.owed++
		}
		return err
	}
	return json.Unmarshal(answer, out)
}

// read turns what the target said into a site.
func (t *child) read() error {
	r := &t.ready
	t.site = attack.Site{Domain: r.Domain, Premium: targetPremium, TLS: r.TLS, Clear: r.Clear, Gm: r.Gm, NAT: r.NAT, Cx: r.Cx, Sh: r.Sh, Enrol: r.Enrol,
		ISC: r.ISC, HTTPS: r.HTTPS, Management: r.Management, Page: r.Page, Codes: r.Codes, Mw: r.Mw, Media: r.Media, MediaPorts: r.MediaPorts, Tokens: r.Tokens, Roots: x509.NewCertPool(), EnrolRoots: x509.NewCertPool(), Users: map[string]*attack.User{},
		Platforms: map[string]attack.ServicePlatform{}}
	if !t.site.Roots.AppendCertsFromPEM([]byte(r.CA)) {
		return errors.New("the target names no certificate authority")
	}
	if r.EnrolCA != "" && !t.site.EnrolRoots.AppendCertsFromPEM([]byte(r.EnrolCA)) {
		return errors.New("the target names no authority for service platforms")
	}
	other, err := r.Node.platform()
	if err != nil {
		return err
	}
	t.site.Node = other.Certificate
	if t.site.ICSCF, err = r.ICSCF.platform(); err != nil {
		return err
	}
	if t.site.SCSCF, err = r.SCSCF.platform(); err != nil {
		return err
	}
	if t.site.Edge, err = r.Edge.platform(); err != nil {
		return err
	}
	for name, c := range r.Platforms {
		if t.site.Platforms[name], err = c.platform(); err != nil {
			return err
		}
	}
	for _, account := range r.Users {
		u := &attack.User{Name: account.Name, IMPI: account.IMPI, IMPU: account.IMPU, Password: account.Password}
		if account.Password == "" {
			var err1, err2 error
			u.K, err1 = aka.ParseK(account.K)
			u.OPc, err2 = aka.ParseOPc(account.OPc)
			if err := errors.Join(err1, err2); err != nil {
				return fmt.Errorf("keys of %s: %w", account.Name, err)
			}
		}
		t.site.Users[account.Name] = u
	}
	return nil
}

// platform reads a certificate with its key; none is none.
func (c *targetCertificate) platform() (p attack.ServicePlatform, err error) {
	if c == nil {
		return p, nil
	}
	p.Host = c.Host
	if p.Certificate, err = tls.X509KeyPair([]byte(c.Chain), []byte(c.Key)); err != nil {
		err = fmt.Errorf("certificate of %s: %w", c.Host, err)
	}
	return p, err
}

// Site implements runner.Target.
func (t *child) Site() attack.Site { return t.site }

// What implements runner.Target.
func (t *child) What() evidence.Target {
	return evidence.Target{Name: "imsafe", Build: t.launcher.build, Commit: t.launcher.commit, Config: t.ready.Config, Weak: t.ready.Weakenings}
}

// Events implements runner.Target.
func (t *child) Events(ctx context.Context) (events []evidence.Event, err error) {
	if err = t.ask(ctx, targetOrder{}, &events); err != nil {
		err = fmt.Errorf("the target is gone: %w", err)
	}
	return events, err
}

// Operate implements runner.Target.
func (t *child) Operate(ctx context.Context, verb, service string) error {
	var done targetDone
	if err := t.ask(ctx, targetOrder{Verb: verb, Service: service}, &done); err != nil {
		return fmt.Errorf("the target is gone: %w", err)
	}
	if done.Error != "" {
		return fmt.Errorf("the operator cannot %s %s: %s", verb, service, done.Error)
	}
	return nil
}

// Draw implements runner.Drawer.
func (t *child) Draw(ctx context.Context) error {
	var done targetDone
	return t.ask(ctx, targetOrder{Verb: orderDraw}, &done)
}

// Drawn implements runner.Drawer.
func (t *child) Drawn(ctx context.Context) (ladders json.RawMessage, err error) {
	err = t.ask(ctx, targetOrder{Verb: orderDrawn}, &ladders)
	return ladders, err
}

// CPU implements runner.Meter: the kernel's account of each thread (proc_pid_schedstat, in nanoseconds).
func (t *child) CPU() (time.Duration, bool) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", t.cmd.Process.Pid))
	if err != nil || len(tasks) == 0 {
		return 0, false
	}
	all := time.Duration(0)
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		var ran, waited, slices int64
		if err == nil {
			_, err = fmt.Sscan(string(text), &ran, &waited, &slices)
		}
		if err != nil {
			return 0, false
		}
		all += time.Duration(ran)
	}
	return all, true
}

// Files implements runner.Target.
func (t *child) Files() attack.Files { return logFiles{filepath.Join(t.dir, "store", "decisions")} }

// logFiles are those of a directory.
type logFiles struct{ dir string }

// List implements attack.Files.
func (l logFiles) List() (names []string, err error) {
	entries, err := os.ReadDir(l.dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// Read implements attack.Files.
func (l logFiles) Read(name string) ([]byte, error) { return os.ReadFile(filepath.Join(l.dir, name)) }

// Write implements attack.Files.
func (l logFiles) Write(name string, text []byte) error {
	return os.WriteFile(filepath.Join(l.dir, name), text, 0o600)
}

// Log implements runner.Target.
func (t *child) Log() string { return t.log.whole() }

// Close implements runner.Target.
func (t *child) Close() error { return errors.Join(t.end(), os.RemoveAll(t.dir)) }

func (t *child) end() error {
	_ = t.input.Close() // that is how a target is told to end
	go func() { t.ended <- t.cmd.Wait() }()
	patience := time.NewTimer(launching)
	defer patience.Stop()
	select {
	case err := <-t.ended:
		if err != nil {
			return fmt.Errorf("the target did not end well: %w\n%s", err, t.log.String())
		}
		return nil
	case <-patience.C:
		_ = t.cmd.Process.Kill()
		<-t.ended
		return fmt.Errorf("the target did not end in %v and was killed\n%s", launching, t.log.String())
	}
}

// interrupted says that a target which has ended was ended by the Ctrl-C that ends ctx: it came before the target had a group of its own. Both were told at once, but
// which of the two is heard first nobody knows.
func (t *child) interrupted(ctx context.Context) error {
	how, known := t.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !known || !how.Signaled() || how.Signal() != syscall.SIGINT {
		return nil
	}
	patience := time.NewTimer(time.Second)
	defer patience.Stop()
	select {
	case <-ctx.Done():
	case <-patience.C: // it was for the target alone
	}
	return context.Cause(ctx)
}

// tail keeps the end of a log. Safe for concurrent use.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// How much is kept, and how much of it is said with an error.
const tailOctets, saidOctets = 64 << 10, 8 << 10

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf.Write(p)
	if over := t.buf.Len() - tailOctets; over > 0 {
		t.buf.Next(over)
	}
	return len(p), nil
}

// String returns the end of it.
func (t *tail) String() string {
	all := t.whole()
	return all[max(0, len(all)-saidOctets):]
}

// whole returns what is kept.
func (t *tail) whole() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.buf.String()
}

// sockets opens those of the honest parties, and through the runner's limiter those of the attacker.
type systemNetwork struct{}

// Sockets is how many this host lets this process have at once.
func (systemNetwork) Sockets() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return math.MaxInt
	}
	return int(min(limit.Cur, math.MaxInt))
}

// Dial implements attack.Network.
func (systemNetwork) Dial(ctx context.Context, network string, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	switch local := netip.AddrPortFrom(from, 0); {
	case !from.IsValid():
	case network == "udp":
		d.LocalAddr = net.UDPAddrFromAddrPort(local)
	default:
		d.LocalAddr = net.TCPAddrFromAddrPort(local)
	}
	return d.DialContext(ctx, network, to.String())
}

// DialLocal implements attack.Local.
func (systemNetwork) DialLocal(ctx context.Context, path string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", path)
}

// ListenPacket implements attack.Network.
func (systemNetwork) ListenPacket(local netip.Addr) (net.PacketConn, error) { return mediaPort(local) }
