package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
	"time"

	"golang.org/x/sys/unix"

	"imsafe/bench/load"
	"imsafe/test/foreign/kamailio"
	"imsafe/test/peer"
)

const domain = "ims.mnc001.mcc001.3gppnetwork.org"

// system is something under test, with its UEs.
type system struct {
	name      string
	pids      []int
	generator *load.Generator
	window    int // of registrations to begin with
}

// house is everything that runs.
type house struct {
	*options
	programs []*kamailio.Program
	nodes    []*exec.Cmd
	systems  []*system
	kamailio string
	modules  string
}

// Addresses, all of loopback.
const (
	registrarAt = "127.0.0.2"
	pcscfAt     = "127.0.0.3"
	icscfAt     = "127.0.0.4"
	scscfAt     = "127.0.0.5"
	hssAt       = "127.0.0.6"
	imsafeAt    = "127.0.0.7"
	passwordsAt = "127.0.0.8"
)

// comparisons starts what is needed, and says what is compared with what.
func (h *house) comparisons(ctx context.Context) (all []*Comparison, err error) {
	if h.kamailio = peer.Find("kamailio"); h.kamailio == "" {
		return nil, errors.New("there is no Kamailio (Debian: kamailio kamailio-ims-modules kamailio-presence-modules)")
	}
	if h.modules, err = kamailio.Modules(); err != nil {
		return nil, err
	}
	register, call := load.Mix{load.Reregistration: 1}, load.Mix{load.Call: 1}
	for _, c := range []struct {
		Comparison
		theirs, ours func(context.Context) (*system, error)
	}{
		{Comparison{Name: "md5", What: "registration with MD5, memory only / durable", Rate: 5000, mix: register,
			Note: "ours through four functions and durable; theirs a registrar in memory"}, h.registrar, h.passwords},
		{Comparison{Name: "proxy", What: "call through a stateful proxy / P-S-I-S-P", Rate: 1000, mix: call,
			Note: "ours through five functions, with identities and two call records; theirs one proxy"}, h.registrar, h.ims},
		{Comparison{Name: "register", What: "AKA registration", Rate: 500, mix: register,
			Note: "theirs without the HSS, which is ours and not counted; ours with it, durable"}, h.chain, h.ims},
		{Comparison{Name: "call", What: "call P-S-I-S-P", Rate: callRate, mix: call, once: true,
			Note: "nobody is called twice"}, h.chain, h.ims},
		{Comparison{Name: "mix", What: "the mix, without messages", Rate: mixRate, mix: wordless(), once: true,
			Note: "nobody is called twice; their P-CSCF knows a client by its Contact, and a MESSAGE has none (RFC 3428 5)"}, h.chain, h.ims},
	} {
		if !h.wants(c.Name) {
			continue
		}
		one := c.Comparison
		one.Rate *= h.scale
		if one.theirs, err = c.theirs(ctx); err == nil {
			one.ours, err = c.ours(ctx)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, &one)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%q is no comparison: md5, proxy, register, call, mix", h.only)
	}
	return all, nil
}

// once returns a system that is there already.
func (h *house) once(name string, start func(*system) error) (*system, error) {
	for _, s := range h.systems {
		if s.name == name {
			return s, nil
		}
	}
	s := &system{name: name}
	if err := start(s); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	h.systems = append(h.systems, s)
	return s, nil
}

// target has the UEs of a system in a network of their own.
func (h *house) target(at string, scheme string, lenient bool) (*load.Target, []load.Subscriber, error) {
	t, err := load.ParseTarget(fmt.Appendf(nil, `{"domain":%q,"proxies":["%s:5060"],"lenient":%v,"clients":{"addresses":"127.%d.0.0/16"},
		"subscribers":{"range":{"count":%d,"scheme":%q,"seed":"5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e"}}}`, domain, at, lenient, 10+len(h.systems), h.users, scheme))
	if err != nil {
		return nil, nil, err
	}
	t.Clients.FirstPort += uint16(len(h.systems))
	all, err := t.Users.Range.Subscribers(domain)
	return t, all, err
}

// registrar is Kamailio as registrar and proxy.
func (h *house) registrar(ctx context.Context) (*system, error) {
	return h.once("Kamailio, registrar and proxy", func(s *system) error {
		t, all, err := h.target(registrarAt, "MD5", true)
		if err != nil {
			return err
		}
		var passwords []kamailio.Password
		for _, u := range all {
			passwords = append(passwords, kamailio.Password{User: u.IMPI, Password: u.Password}, kamailio.Password{User: u.User, Password: u.Password})
		}
		if err := h.start(ctx, s, "registrar", registrarAt, passwords); err != nil {
			return err
		}
		s.generator, err = load.Open(t, all, 1, "reg")
		return err
	})
}

// chain is Kamailio as P-CSCF, I-CSCF and S-CSCF, with an HSS of ours.
func (h *house) chain(ctx context.Context) (*system, error) {
	return h.once("Kamailio, P-, I- and S-CSCF", func(s *system) error {
		names := map[string]string{domain: icscfAt}
		for name, at := range map[string]string{"pcscf": pcscfAt, "icscf": icscfAt, "scscf": scscfAt, "hss": hssAt} {
			names[name+"."+domain] = at
		}
		if err := kamailio.Resolve(names); err != nil {
			return err
		}
		t, all, err := h.target(pcscfAt, "AKAv1-MD5", false)
		if err != nil {
			return err
		}
		s.window, all = 4, all[:min(len(all), h.chained())] // more at once, and some of them are challenged for ever
		t.Lenient = true                                    // its P-Associated-URI and P-Asserted-Identity are what a script makes them
		if _, err := h.node(ctx, "hss", hssConfig, all); err != nil {
			return err
		}
		if err := serves(ctx, hssAt+":3868"); err != nil {
			return fmt.Errorf("our HSS: %w", err)
		}
		for name, at := range map[string]string{"pcscf": pcscfAt, "icscf": icscfAt, "scscf": scscfAt} {
			if err := h.start(ctx, s, name, at, nil); err != nil {
				return err
			}
		}
		if s.generator, err = load.Open(t, all, 1, "chain"); err != nil {
			return err
		}
		return h.joined(ctx, s)
	})
}

// Rates of calls, and of scenarios of the mix, through the chain, a second.
const (
	callRate = 100
	mixRate  = 100
)

// wordless is the standard mix without messages.
func wordless() load.Mix {
	mix := load.StandardMix()
	mix[load.Message] = 0
	return mix
}

// chained is how many UEs the chain has: some, and one more for each call, where nobody is called twice.
func (h *house) chained() int {
	const some = 200
	called := 0.0 // a second
	if h.wants("call") {
		called += callRate
	}
	if h.wants("mix") {
		called += mixRate / 2 // its share of calls is a little less
	}
	return some + int(1.2*called*h.scale*(h.time+warm(h.hold)).Seconds()*float64(h.rounds))
}

// joined waits until the CSCFs have found the HSS, which shows in that UEs can register.
func (h *house) joined(ctx context.Context, s *system) (err error) {
	for range 8 {
		if _, err = s.generator.Prepare(ctx, &load.Settings{Mix: load.StandardMix(), Window: s.window, Patience: time.Second, Card: h.card}); err == nil {
			return nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("they do not come together: %w", err)
}

// start starts a Kamailio, with its faster allocator and buffers like ours, and waits until it answers.
func (h *house) start(ctx context.Context, s *system, name, at string, passwords []kamailio.Password) error {
	dir := filepath.Join(h.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	k, err := kamailio.Start(h.kamailio, dir, kamailio.Setting{Domain: domain, Modules: h.modules, Dir: "/tmp", Name: name, Address: at, HSS: hssAt, HSSName: "hss." + domain,
		Core: []string{icscfAt, scscfAt}, Workers: 4, Passwords: passwords}, "-m", "1024", "-M", "32", "-x", "tlsf")
	if err != nil {
		return err
	}
	h.programs = append(h.programs, k)
	pin(k.PID(), 0)
	s.pids = append(s.pids, k.PID())
	if err := answers(ctx, at); err != nil {
		log, _ := os.ReadFile(k.Log)
		return fmt.Errorf("%s of Kamailio: %w\n%s", name, err, log[max(0, len(log)-4096):])
	}
	return nil
}

// answers waits for an answer to OPTIONS.
func answers(ctx context.Context, at string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	conn, err := net.Dial("udp", at+":5060")
	if err != nil {
		return err
	}
	defer conn.Close()
	var answer [2048]byte
	for n := 1; ctx.Err() == nil; n++ {
		fmt.Fprintf(conn, "OPTIONS sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKo%d;rport\r\nMax-Forwards: 70\r\nFrom: <sip:probe@%s>;tag=o\r\nTo: <sip:%s>\r\n"+
			"Call-ID: o%d\r\nCSeq: 1 OPTIONS\r\nContact: <sip:probe@%s>\r\nContent-Length: 0\r\n\r\n", at, conn.LocalAddr(), n, domain, at, n, conn.LocalAddr())
		_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if n, err := conn.Read(answer[:]); err == nil && bytes.HasPrefix(answer[:n], []byte("SIP/2.0 ")) {
			return nil
		}
		select { // that the socket is not there yet, the kernel says at once
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	return errors.New("it does not answer OPTIONS")
}

// ims is imsafe with everything in one process.
func (h *house) ims(ctx context.Context) (*system, error) {
	return h.oneNode(ctx, "imsafe", "node", imsafeAt, "AKAv1-MD5", nodeConfig)
}

// passwords is the same for subscribers with MD5.
func (h *house) passwords(ctx context.Context) (*system, error) {
	return h.oneNode(ctx, "imsafe, MD5", "passwords", passwordsAt, "MD5", nodeConfig)
}

func (h *house) oneNode(ctx context.Context, name, dir, at, scheme, config string) (*system, error) {
	return h.once(name, func(s *system) error {
		t, all, err := h.target(at, scheme, false)
		if err != nil {
			return err
		}
		pid, err := h.node(ctx, dir, strings.ReplaceAll(config, "ADDRESS", at), all)
		if err != nil {
			return err
		}
		if err := answers(ctx, at); err != nil {
			return err
		}
		s.pids = []int{pid}
		s.generator, err = load.Open(t, all, 1, dir)
		return err
	})
}

// node provisions and starts a node of imsafe.
func (h *house) node(ctx context.Context, name, config string, all []load.Subscriber) (pid int, err error) {
	dir := filepath.Join(h.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return 0, err
	}
	var text bytes.Buffer
	if err := template.Must(template.New(name).Parse(config+wide)).Execute(&text, map[string]any{"Dir": dir, "Domain": domain,
		"Budgets": []string{"source", "network", "connection", "client", "challenge", "resync", "unproven"}}); err != nil {
		return 0, err
	}
	file, users := filepath.Join(dir, "imsafe.toml"), filepath.Join(dir, "users.csv")
	var rows bytes.Buffer
	err = errors.Join(load.WriteCSV(&rows, all), os.WriteFile(file, text.Bytes(), 0o600), os.WriteFile(users, rows.Bytes(), 0o600))
	if err != nil {
		return 0, err
	}
	for _, arguments := range [][]string{{"key", "new", filepath.Join(dir, "sealing.key")}, {"user", "import", "-c", file, users}} {
		if out, err := exec.CommandContext(ctx, h.program, arguments...).CombinedOutput(); err != nil {
			return 0, fmt.Errorf("imsafe %s: %w\n%s", strings.Join(arguments, " "), err, out)
		}
	}
	cmd := exec.Command(h.program, "run", "-c", file)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	h.nodes = append(h.nodes, cmd)
	pin(cmd.Process.Pid, 0)
	return cmd.Process.Pid, nil
}

// serves waits until an HSS takes connections.
func serves(ctx context.Context, at string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", at)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (h *house) close() (err error) {
	for _, s := range h.systems {
		if s.generator != nil {
			err = errors.Join(err, s.generator.Close())
		}
	}
	for _, k := range h.programs {
		_ = k.Stop() // its CSCFs may hang at the end, and are killed
	}
	for _, n := range h.nodes {
		_ = n.Process.Signal(unix.SIGTERM)
		err = errors.Join(err, n.Wait())
	}
	return err
}
