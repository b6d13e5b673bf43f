package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"imsafe/ca"
	"imsafe/client/ue"
	"imsafe/config"
	"imsafe/imsbox/hss"
	"imsafe/proto/shard"
	"imsafe/servicebox/echo"
	server "imsafe/test/postgres"
)

// couple are two nodes with all functions on one database, each a process of its own, and the clients of both.
type couple struct {
	*killing
	names  [2]string
	config [2]string
	at     [2]string // where clients find them over TLS
	mw     [2]string
}

// newCouple writes what an operator of two nodes writes; change may do the rest. Nothing runs yet.
func newCouple(t *testing.T, url string, change func(c *config.Config, node int)) *couple {
	t.Helper()
	d := newDesk(t)
	g := &couple{killing: &killing{enrolment: &enrolment{desk: d}, processes: map[string]*exec.Cmd{}, log: map[string]*lockedBuffer{}},
		names: [2]string{"a", "b"}, at: [2]string{d.proxy, freePort(t)}, mw: [2]string{freePort(t), freePort(t)}}
	authority, err := ca.New(rand.Reader, shard.RealClock().Wall, testDomain, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	d.write("nodes.crt", string(authority.PEM()))
	for i, name := range g.names {
		cert, err := authority.Node(time.Hour, []string{name + "." + testDomain})
		if err != nil {
			t.Fatal(err)
		}
		private, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		c, other := config.Default(), 1-i
		c.Node.Lab, c.Node.Name, c.Node.Number, c.Node.Shards, c.Node.DataDir = true, name, uint16(i+1), 2, d.path("data-"+name)
		c.IMS.Domain, c.HSS.SealingKeyFile = testDomain, config.SecretFile(d.path("sealing"))
		c.Store.Engine, c.Store.URL = config.Postgres, url
		c.CI.Budget, c.Budget.Calls, c.Budget.Messages = config.Wide(), 1e6, 1e6
		c.CI.TLS.Listen = []config.Address{{AddrPort: netip.MustParseAddrPort(g.at[i])}}
		c.CI.TLS.CertificateFile, c.CI.TLS.KeyFile = d.path("pcscf.crt"), config.SecretFile(d.path("pcscf.priv"))
		c.Mw.Listen = config.Address{AddrPort: netip.MustParseAddrPort(g.mw[i])}
		c.Mw.CertificateFile = d.write(name+".crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})))
		c.Mw.KeyFile = config.SecretFile(d.write(name+".priv", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))))
		c.Mw.CAFile = d.path("nodes.crt")
		c.Mw.Nodes = []config.MwNode{{Name: g.names[other], Address: config.Address{AddrPort: netip.MustParseAddrPort(g.mw[other])},
			Certificate: g.names[other] + "." + testDomain}}
		c.Metrics.Listen, c.Log.Level = config.Address{}, "warn"
		if change != nil {
			change(&c, i)
		}
		var text strings.Builder
		if err := c.Write(&text); err != nil {
			t.Fatal(err)
		}
		g.config[i] = d.write(name+".toml", text.String())
	}
	t.Cleanup(func() {
		for name := range g.processes {
			g.kill(name)
		}
		if t.Failed() {
			for name, log := range g.log {
				t.Logf("%s: %s", name, log)
			}
		}
	})
	return g
}

// begin starts a node.
func (g *couple) begin(node int, more ...string) {
	g.t.Helper()
	g.run(g.names[node], append([]string{"run", "-c", g.config[node]}, more...)...)
}

// start starts a node and waits until it answers.
func (g *couple) start(node int, more ...string) {
	g.t.Helper()
	g.begin(node, more...)
	g.answers(node)
}

// answers waits until a node answers.
func (g *couple) answers(node int) {
	g.t.Helper()
	name := g.names[node]
	socket := filepath.Join(g.path("data-"+name), "management.sock")
	g.until("node "+name+" answers", func() bool { return knock(g.t.Context(), socket) == nil && g.on(node, "status").status == exitDone })
}

// on runs a verb of the operator at a node.
func (g *couple) on(node int, args ...string) outcome {
	return g.call(g.t.Context(), "", append(args, "-c", g.config[node])...)
}

// must is on for a verb that succeeds.
func (g *couple) must(node int, args ...string) string {
	g.t.Helper()
	o := g.on(node, args...)
	if o.status != exitDone {
		g.t.Fatalf("at %s: imsafe %s: exit %d: %s%s", g.names[node], strings.Join(args, " "), o.status, o.stdout, o.stderr)
	}
	return o.stdout
}

// tellsAll changes the group of everybody at one node: the S-CSCFs of both are told, each by its own, and nothing stays owed.
func (g *couple) tellsAll(node int, database *server.Server) {
	g.t.Helper()
	began := time.Now()
	if o := g.on(node, "group", "put", g.write("default.json", `{"name":"default"}`)); o.status != exitDone || strings.Contains(o.stdout+o.stderr, "told") {
		g.t.Errorf("at %s the operator hears %d, %s%s", g.names[node], o.status, o.stdout, o.stderr)
	}
	g.until("the users of both nodes have the changed group", func() bool {
		return strings.TrimSpace(database.SQL("select count(*) from imsafe.hss_outbox_view")) == "0"
	})
	g.t.Logf("a changed group is with the users of both nodes after %v", since(began))
	for name, log := range g.log {
		if strings.Contains(log.String(), "to be told") {
			g.t.Errorf("%s warns that somebody is not told: %s", name, log)
		}
	}
}

// shown is a subscriber as a node shows it.
func (g *couple) shown(node int, name string) (v hss.View, err error) {
	o := g.on(node, "user", "show", name, "--json")
	if o.status != exitDone {
		return v, errors.New(o.stderr)
	}
	return v, json.Unmarshal([]byte(o.stdout), &v)
}

// togetherClient is a telephone that answers every call and takes every message.
type togetherClient struct {
	*phone
	name string
	said *lockedBuffer // what `imsafe ue` prints

	mu   sync.Mutex
	read map[string]bool // messages
}

// pick makes a client that knows the nodes in this order, and registers it.
func (g *couple) pick(name string, nodes ...int) *togetherClient {
	g.t.Helper()
	return g.pickUp(&line{CA: g.path("ca.crt")}, name, nodes...)
}

// pickUp is pick for a client that is made otherwise.
func (g *couple) pickUp(l *line, name string, nodes ...int) *togetherClient {
	g.t.Helper()
	var out lockedBuffer
	a := &app{ctx: g.t.Context(), stdout: &out, stderr: &out, getenv: func(string) string { return "" }}
	l.Card, l.Transport, l.Patience = g.path(name), "tls", 40*time.Second
	for _, n := range nodes {
		l.Proxy = append(l.Proxy, g.at[n])
	}
	p, err := l.pick(a)
	if err != nil {
		g.t.Fatal(err)
	}
	c := &togetherClient{phone: p, name: name, said: &out, read: map[string]bool{}}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case call := <-p.calls:
				call.Answer(ue.Voice{})
			case m := <-p.messages:
				c.mu.Lock()
				c.read[string(m.Body)] = true
				c.mu.Unlock()
			case <-stop:
				return
			}
		}
	}()
	g.t.Cleanup(func() {
		close(stop)
		<-done
		p.stop()
		<-p.done
		if err := p.card.Close(); err != nil {
			g.t.Error(err)
		}
	})
	return c
}

// talks lets c call somebody until both have keys; else it returns why not.
func (g *couple) talks(c *togetherClient, name string) (code int, err error) {
	ctx, cancel := context.WithTimeout(g.t.Context(), time.Minute)
	defer cancel()
	call, err := c.ue.Call(ctx, "sip:"+name+"@"+testDomain, ue.Voice{})
	if err != nil {
		return 0, err
	}
	_, err = call.Until(ctx, ue.Secured)
	call.Hangup()
	<-call.Done()
	if err != nil {
		return call.Result().Code, err
	}
	return 200, nil
}

// traffic is what clients and operators do until it is stopped, with what was acknowledged.
type traffic struct {
	g     *couple
	group sync.WaitGroup
	stop  chan struct{}

	mu      sync.Mutex
	sent    map[*togetherClient][]string // messages that were accepted, by recipient
	users   []string                     // subscribers that were provisioned
	pause   time.Duration                // longest between two answers to who has nothing to do with the node that is killed
	refused []error                      // what they were refused
}

// has says whether a message has come.
func (c *togetherClient) has(text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read[text]
}

func (g *couple) traffic() *traffic {
	return &traffic{g: g, stop: make(chan struct{}), sent: map[*togetherClient][]string{}}
}

// every does something again and again.
func (l *traffic) every(do func(n int)) {
	l.group.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-l.stop:
				return
			case <-time.After(20 * time.Millisecond):
				do(n)
			}
		}
	})
}

// writes has one client send messages to another. faithful: neither has to do with a node that is killed.
func (l *traffic) writes(from, to *togetherClient, faithful bool) {
	last := time.Now()
	l.every(func(n int) {
		text := fmt.Sprintf("%s to %s, %d", from.name, to.name, n)
		ctx, cancel := context.WithTimeout(l.g.t.Context(), time.Minute)
		defer cancel()
		err := from.ue.SendMessage(ctx, "sip:"+to.name+"@"+testDomain, "text/plain", []byte(text))
		l.mu.Lock()
		defer l.mu.Unlock()
		switch {
		case err == nil:
			l.sent[to] = append(l.sent[to], text)
		case faithful:
			l.refused = append(l.refused, err)
		}
		if faithful {
			l.pause, last = max(l.pause, time.Since(last)), time.Now()
		}
	})
}

// provisions adds subscribers at a node.
func (l *traffic) provisions(node int) {
	l.every(func(n int) {
		name := fmt.Sprintf("new-%s-%d", l.g.names[node], n)
		if l.g.on(node, "user", "add", name, "--random", "--card-out", l.g.path(name)).status != exitDone {
			return
		}
		l.mu.Lock()
		l.users = append(l.users, name)
		l.mu.Unlock()
	})
}

// walks has a client of a node register and leave, and returns a question: may he stand as registered, as he was told?
func (l *traffic) walks(c *togetherClient) (may func(registered bool) bool) {
	var mu sync.Mutex
	doubt, standing := false, true
	l.every(func(n int) {
		ctx, cancel := context.WithTimeout(l.g.t.Context(), 5*time.Second)
		defer cancel()
		mu.Lock()
		gone, wants := doubt, !standing
		doubt = true
		mu.Unlock()
		if gone {
			mu.Lock()
			doubt = true
			mu.Unlock()
			return // its node was killed
		}
		var err error
		if wants {
			_, err = c.ue.Register(ctx)
		} else {
			err = c.ue.Deregister(ctx)
		}
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			standing, doubt = wants, false
		}
	})
	return func(registered bool) bool {
		mu.Lock()
		defer mu.Unlock()
		return doubt || registered == standing
	}
}

func (l *traffic) progress(what string) {
	l.g.t.Helper()
	count := func() (n int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		n = 1 << 20
		for _, sent := range l.sent {
			n = min(n, len(sent))
		}
		return min(n, len(l.users))
	}
	before := count()
	l.g.until(what, func() bool { return count() >= before+10 })
}

func (l *traffic) end() {
	close(l.stop)
	l.group.Wait()
}

// since is a time for people to read.
func since(t time.Time) time.Duration { return time.Since(t).Round(time.Millisecond) }

// TestTwoNodes_one_is_killed: two nodes on one database, clients and operators at both. One is killed as kill -9 does. What was acknowledged is at the other one, which
// goes on; who calls a user of the dead node hears so at once, not after a timer of SIP; his client registers at the other by itself and is called there; the dead node comes
// back and finds its own.
func TestTwoNodes_one_is_killed(t *testing.T) {
	approves := approvalKey(t)
	database := server.Start(t)
	g := newCouple(t, database.URL(), approves.admits)
	const a, b = 0, 1
	g.begin(a) // both at once, on an empty database
	g.begin(b)
	g.answers(a)
	g.answers(b)
	g.provisioned(approves)
	for _, name := range []string{"alice", "bob", "carol", "dave", "walker"} {
		g.must(a, "user", "add", name, "--random", "--card-out", g.path(name))
	}
	alice, bob, walker := g.pick("alice", a, b), g.pick("bob", a), g.pick("walker", a)
	carol, dave := g.pick("carol", b, a), g.pick("dave", b, a)
	for _, calls := range [][2]*togetherClient{{alice, carol}, {carol, alice}} {
		if code, err := g.talks(calls[0], calls[1].name); err != nil {
			t.Fatalf("before anything happened, %s calls %s: %d, %v", calls[0].name, calls[1].name, code, err)
		}
	}
	g.tellsAll(a, database)
	load := g.traffic()
	load.writes(alice, carol, false)
	load.writes(carol, bob, false)
	load.writes(carol, dave, true)
	load.provisions(a)
	load.provisions(b)
	may := load.walks(walker)
	load.progress("traffic at both nodes")

	g.kill("a")
	killed := time.Now()
	// Bob knows no other node: who calls him hears that he is not to be had.
	began := time.Now()
	code, err := g.talks(carol, "bob")
	if err == nil || code != 480 {
		t.Errorf("a call to a user of the dead node: %d, %v; want 480", code, err)
	}
	t.Logf("a call to a user of the dead node is answered %d after %v", code, since(began))
	g.until("Alice is registered at the other node", func() bool {
		v, err := g.shown(b, "alice")
		return err == nil && strings.HasPrefix(v.ServerName, "sip:scscf.b.")
	})
	t.Logf("her client has registered at the other node %v after the kill", since(killed))
	g.until("her client says so", func() bool {
		_, after, lost := strings.Cut(alice.said.String(), "lost          the P-CSCF "+g.at[a])
		return lost && strings.Contains(after, "moved") && strings.Contains(after, "client - P-CSCF "+g.at[b])
	})
	g.until("Alice is called at the other node", func() bool {
		code, err := g.talks(carol, "alice")
		return code == 200 && err == nil
	})
	t.Logf("she is called there %v after the kill", since(killed))
	load.end()

	g.acknowledged(load, b)
	if v, err := g.shown(b, "walker"); err != nil || !may(v.Sets[0].State == "registered") {
		t.Errorf("who registers and leaves was told another thing than the other node knows: %+v, %v", v, err)
	}
	t.Logf("at the node that goes on the longest pause between two answers was %v", load.pause.Round(time.Millisecond))
	for _, err := range load.refused {
		t.Errorf("between two users of the node that goes on: %v", err)
	}

	began = time.Now()
	g.start(a)
	t.Logf("the killed node serves again %v after its start", since(began))
	g.acknowledged(load, a)
	if v, err := g.shown(a, "bob"); err != nil || v.Sets[0].State != "registered" || !strings.HasPrefix(v.ServerName, "sip:scscf.a.") {
		t.Errorf("what it had of Bob: %+v, %v", v, err)
	}
	g.until("Bob is called at his node again", func() bool {
		code, err := g.talks(carol, "bob")
		return code == 200 && err == nil
	})
	if code, err := g.talks(bob, "alice"); err != nil {
		t.Errorf("from the node that came back to who has moved: %d, %v", code, err)
	}
	g.withoutDatabase(database, carol)
}

// withoutDatabase: while no database takes writes, clients hear so, at once after the first few seconds, with a time to come again; then all goes on by itself.
func (g *couple) withoutDatabase(s *server.Server, c *togetherClient) {
	g.t.Helper()
	s.Kill()
	registers := func() (*ue.StatusError, error) {
		ctx, cancel := context.WithTimeout(g.t.Context(), 30*time.Second)
		defer cancel()
		_, err := c.ue.Register(ctx)
		var status *ue.StatusError
		errors.As(err, &status)
		return status, err
	}
	for _, when := range []string{"when the database has gone", "later"} {
		began := time.Now()
		status, err := registers()
		if status == nil || status.Code != 480 && status.Code != 503 && status.Code != 504 || status.Again == 0 {
			g.t.Errorf("%s a registration is answered %v, want 480, 503 or 504 with Retry-After", when, err)
			break
		}
		g.t.Logf("%s a registration is answered %d after %v: come again in %v", when, status.Code, since(began), status.Again)
	}
	s.Run()
	began := time.Now()
	g.until("registrations go on", func() bool {
		_, err := registers()
		return err == nil
	})
	g.t.Logf("registered %v after the database is back", since(began))
	if code, err := g.talks(c, "dave"); err != nil {
		g.t.Errorf("after the database is back: %d, %v", code, err)
	}
}

// approving approves services at both nodes.
type approving struct{ key, public, enrol string }

func approvalKey(t *testing.T) *approving {
	t.Helper()
	w := &approving{key: filepath.Join(t.TempDir(), "approver.key"), enrol: freePort(t)}
	var out lockedBuffer
	a := &app{ctx: t.Context(), stdout: &out, stderr: &out, getenv: func(string) string { return "" }}
	if status := realMain(a, []string{"approver", "new", w.key}); status != exitDone {
		t.Fatal(out.String())
	}
	_, text, _ := strings.Cut(out.String(), `approval_keys = ["`)
	w.public, _, _ = strings.Cut(text, `"`)
	return w
}

func (w *approving) admits(c *config.Config, node int) {
	c.IS.ApprovalKeys = []string{w.public}
	if node == 0 {
		c.IS.Enrol.Listen = config.Address{AddrPort: netip.MustParseAddrPort(w.enrol)}
	}
}

// provisioned: what is provisioned at one node holds at the other without a restart: the authority of services, a service with its shared set of criteria, its
// suspension, told at the other one, and a subscriber.
func (g *couple) provisioned(w *approving) {
	g.t.Helper()
	const a, b = 0, 1
	states := func(node int) string { return g.must(node, "service", "list", "--json") }
	soon := func(what string, node int, word string) {
		g.t.Helper()
		began := time.Now()
		g.until(what, func() bool { return strings.Contains(states(node), word) })
		g.t.Logf("%s: known at node %s after %v", what, g.names[node], since(began))
	}
	g.desk.config, g.enrolment.at = g.config[a], w.enrol
	g.must(b, "ca", "new", g.path("root.pem"))
	g.until("node a has the authority that was made at b", func() bool { return !strings.Contains(g.must(a, "ca", "show"), "no authority") })
	g.write("approver.key", readAll(g.t, w.key))
	g.enrol("echo", echo.Manifest(testDomain))
	soon("a service is approved", b, `"active"`)
	g.must(b, "service", "suspend", "echo")
	soon("a service is suspended", a, `"suspended"`)
	g.must(a, "service", "revoke", "echo")
	soon("a service is revoked", b, `"revoked"`)
	g.must(a, "user", "add", "erin", "--random", "--card-out", g.path("erin"))
	if _, err := g.shown(b, "erin"); err != nil {
		g.t.Errorf("a subscriber of node a at node b: %v", err)
	}
}

func readAll(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// acknowledged checks that what was acknowledged is there, as a node tells. A message is accepted before the client shows it.
func (g *couple) acknowledged(l *traffic, node int) {
	g.t.Helper()
	messages := 0
	for to, sent := range l.sent {
		for _, text := range sent {
			messages++
			g.until(fmt.Sprintf("%q, which was accepted, is delivered", text), func() bool { return to.has(text) })
		}
	}
	there := map[string]bool{}
	for list := json.NewDecoder(strings.NewReader(g.must(node, "user", "list", "--json"))); list.More(); {
		var v hss.View
		if err := list.Decode(&v); err != nil {
			g.t.Fatal(err)
		}
		there[strings.Split(v.ID, "@")[0]] = true
	}
	for _, name := range l.users {
		if !there[name] {
			g.t.Errorf("subscriber %s was acknowledged, and %s does not know it", name, g.names[node])
		}
	}
	g.t.Logf("node %s has all: %d messages, %d subscribers", g.names[node], messages, len(l.users))
}
