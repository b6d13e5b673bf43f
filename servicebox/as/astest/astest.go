// Package astest tests services without a telephone: the whole core runs in the test's process, in virtual time over a network in memory,
// with clients that do what the test says.
//
//	net := astest.New(t)
//	svc := net.Service("hello.service.toml")
//	hello.Setup(svc)
//	alice, bob := net.UE("alice").Register(), net.UE("bob").Register()
//	bob.Busy()
//	alice.Call("bob").Fails(486)
//
// The service is approved for all users, with all that its manifest asks for or with less (Without), and connected; the guard of the core
// judges it as it would judge a stranger. Time passes in Net.Advance alone, so that a no-answer timer of a minute takes no time; a handler
// must therefore wait by verbs of its session or by Service.Sleep. One that waits for something else holds the test up, and one that never
// stops ends it.
//
// Only tests import it. It is not safe for concurrent use.
package astest

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"imsafe/hop"
	"imsafe/proto/shard"
	"imsafe/proto/siptransport"
	"imsafe/refpoint/isc"
	"imsafe/servicebox/as"
	"imsafe/test/lab"
)

// Domain is the home domain of the core: manifests of services under test name it, or Service puts it in the place of theirs.
const Domain = lab.Domain

// Net is a core, its clients and the services under test.
type Net struct {
	// World is the simulation underneath, for tests that want more than sentences.
	World *lab.World

	t        testing.TB
	node     *lab.Node
	ues      []*UE
	services []*Service
	dropped  map[netip.AddrPort]bool
}

// Option changes the core.
type Option func(*lab.Options)

// Strict lets every hop inside the core write and read its messages again.
func Strict(o *lab.Options) { o.Mode = hop.Strict }

// Direct hands messages over inside the core without writing them, as a node does by default.
func Direct(o *lab.Options) { o.Mode = hop.Direct }

// Seed gives the world other random numbers.
func Seed(n uint64) Option { return func(o *lab.Options) { o.Seed = n } }

// New starts a core; it ends with the test.
func New(t testing.TB, options ...Option) *Net {
	t.Helper()
	o := lab.Options{Seed: 1, Poison: true}
	for _, option := range options {
		option(&o)
	}
	w, err := lab.New(o)
	if err != nil {
		t.Fatal(err)
	}
	n := &Net{World: w, t: t, node: w.Nodes[0], dropped: map[netip.AddrPort]bool{}}
	w.Fate = n.fate
	t.Cleanup(func() {
		for _, s := range n.services {
			s.Kill()
		}
		w.Close()
	})
	return n
}

func (n *Net) fate(from, to netip.AddrPort) []time.Duration {
	if n.dropped[from] || n.dropped[to] {
		return nil
	}
	return []time.Duration{0}
}

// Service is a service under test, with the connection that it has to the core.
type Service struct {
	*as.Service
	net      *Net
	name     string
	manifest string
	granted  []string // by the core
	believed []string // by the service
	setup    func(*as.Service)
	platform *lab.Platform
	flow     siptransport.Flow
	up       bool
}

// Grant changes what the operator grants.
type Grant func(*Service)

// Without leaves scopes out.
func Without(scopes ...string) Grant {
	return func(s *Service) {
		s.granted = less(s.granted, scopes)
		s.believed = less(s.believed, scopes)
	}
}

// Unknown leaves scopes out and does not tell the service, as where it runs elsewhere: only the core refuses.
func Unknown(scopes ...string) Grant {
	return func(s *Service) { s.granted = less(s.granted, scopes) }
}

func less(granted, scopes []string) (left []string) {
	for _, g := range granted {
		if !slices.Contains(scopes, g) {
			left = append(left, g)
		}
	}
	return left
}

// Take takes scopes away from a service that runs, which is not told.
func (s *Service) Take(scopes ...string) {
	s.net.t.Helper()
	s.granted = less(s.granted, scopes)
	granted, err := isc.ParseScopes(s.granted)
	if err != nil {
		s.net.t.Fatal(err)
	}
	changed := *s.platform.Service // as a new approval would: what is in use is not changed
	changed.Granted = granted
	s.platform.Service = &changed
}

// Service approves a service and connects it. manifest is a file's name or the text itself; its domain becomes that of the core, and its users
// all of them. setup gives it its handlers.
func (n *Net) Service(manifest string, setup func(*as.Service), grants ...Grant) *Service {
	n.t.Helper()
	text := manifest
	if !strings.Contains(manifest, "\n") {
		b, err := os.ReadFile(manifest)
		if err != nil {
			n.t.Fatal(err)
		}
		text = string(b)
	}
	s := &Service{net: n, manifest: localise(text), setup: setup}
	platform, err := n.node.AddPlatform(s.manifest)
	if err != nil {
		n.t.Fatalf("the manifest: %v", err)
	}
	s.platform, s.name = platform, platform.Service.Name()
	s.granted = platform.Service.Manifest.Asked.List()
	s.believed = s.granted
	for _, grant := range grants {
		grant(s)
	}
	if platform.Service.Granted, err = isc.ParseScopes(s.granted); err != nil {
		n.t.Fatal(err)
	}
	s.start()
	n.World.Plug(platform.Address, s)
	n.World.Join(s)
	n.services = append(n.services, s)
	return s
}

// start makes the process of the service.
func (s *Service) start() {
	svc, err := as.InProcess(as.Parts{Manifest: []byte(s.manifest), Granted: s.believed, Clock: s.net.World.Clock,
		Rand: rand.NewChaCha8([32]byte{byte(len(s.net.services)), byte(s.net.World.Random.Uint32())})})
	if err != nil {
		s.net.t.Fatal(err)
	}
	s.Service, s.up = svc, true
	s.setup(svc)
	s.flow = siptransport.Flow{Via: &pipe{s}, Peer: s.net.node.Address}
	svc.Connect(s.flow)
}

// pipe is the service's end of its connection.
type pipe struct{ s *Service }

func (p *pipe) SendTo(_ netip.AddrPort, b []byte) error {
	p.s.net.World.Send(p.s.platform.Address, p.s.net.node.Address, b)
	return nil
}
func (*pipe) Reliable() bool          { return true }
func (*pipe) Proto() string           { return "TLS" }
func (p *pipe) Local() netip.AddrPort { return p.s.platform.Address }

// Receive implements lab.Endpoint.
func (s *Service) Receive(_ netip.AddrPort, data []byte) {
	if s.up {
		s.Deliver(s.flow, data)
		s.Idle() // what its handlers send is sent before anything else happens
	}
}

// Step implements lab.Process: the service's shard, and its handlers until all of them wait.
func (s *Service) Step(now time.Duration) time.Duration {
	if !s.up {
		return shard.Never
	}
	s.Idle()
	for {
		next := s.Shard().Step(now)
		if !s.Idle() {
			return next
		}
	}
}

// Kill ends the process of the service at once, as kill -9 does: what it had to say is not heard, its connection is closed.
func (s *Service) Kill() {
	if !s.up {
		return
	}
	s.up = false
	s.net.dropped[s.platform.Address] = true
	s.Close()
	delete(s.net.dropped, s.platform.Address)
	s.platform.Disconnect()
}

// Restart starts it anew: it knows nothing of what was before.
func (s *Service) Restart() {
	s.Kill()
	s.start()
	s.platform.Connect()
}

// Drop loses everything between the core and a service, or a client, until Restore.
func (n *Net) Drop(name string) { n.dropped[n.address(name)] = true }

// Restore ends Drop.
func (n *Net) Restore(name string) { delete(n.dropped, n.address(name)) }

func (n *Net) address(name string) netip.AddrPort {
	n.t.Helper()
	for _, s := range n.services {
		if s.name == name {
			return s.platform.Address
		}
	}
	for _, u := range n.ues {
		if u.Name == name {
			return u.client.Address
		}
	}
	n.t.Fatalf("there is neither a service nor a client called %s", name)
	return netip.AddrPort{}
}

// KillCore ends the core as kill -9 does, and starts it again on what it had written. What it had promised is there
// afterwards; calls and the ways to the clients are not: they register again.
func (n *Net) KillCore() {
	n.t.Helper()
	n.node.Exit()
	if err := n.node.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.Settle()
}

// slice is how much time passes before the clients look at what has come.
const slice = 50 * time.Millisecond

// Advance lets time pass.
func (n *Net) Advance(d time.Duration) {
	n.idle()
	for d > 0 {
		n.World.Advance(min(d, slice))
		d -= slice
		n.Settle()
	}
}

// Settle lets everybody do what is to be done at this moment.
func (n *Net) Settle() {
	n.idle()
	for again := true; again; {
		n.World.Settle()
		again = false
		for _, u := range n.ues {
			again = u.react() || again
		}
	}
}

// idle waits until no handler is at work: one that the test itself has started, or woken, may be.
func (n *Net) idle() {
	for _, s := range n.services {
		if s.up {
			s.Idle()
		}
	}
}

// Refusals are the controls of the core that have refused something so far.
func (n *Net) Refusals() (list []string) {
	for _, e := range n.World.Events {
		list = append(list, e.Control.String()+" "+e.Reason)
	}
	return list
}

// Transactions is how many transactions the core has under way.
func (n *Net) Transactions() int { return n.node.Transactions() }

// Denied fails the test unless err is a *as.Denied for want of scope.
func Denied(t testing.TB, err error, scope string) {
	t.Helper()
	var d *as.Denied
	if !errors.As(err, &d) || d.Scope != scope {
		t.Errorf("%v; want it denied for want of %s", err, scope)
	}
}

// localise makes a manifest one of this core: its domain, and no groups of subscribers that are not here.
func localise(text string) string {
	var out strings.Builder
	old := ""
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, "=")
		switch strings.TrimSpace(key) {
		case "domain":
			old = strings.Trim(strings.TrimSpace(strings.SplitN(value, "#", 2)[0]), `"`)
		case "users":
			line = "users = { all = true }\n"
		}
		out.WriteString(line)
	}
	if old == "" {
		return out.String()
	}
	return strings.ReplaceAll(out.String(), old, Domain)
}
