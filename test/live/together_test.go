package live

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"imsafe/ca"
	"imsafe/client/isim"
	"imsafe/client/media"
	"imsafe/client/ue"
	"imsafe/config"
	"imsafe/imsbox/scscf"
	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/refpoint/isc"
	"imsafe/servicebox/as"
	"imsafe/store"
	"imsafe/store/seal"
	"imsafe/test/postgres"
)

// together are two nodes with all functions on one database.
type together struct {
	t         *testing.T
	authority *ca.CA
	nodes     [2]*Part
	at        [2]config.Address  // of TLS
	clear     [2]config.Address  // of lab-udp
	gm        [2]config.Address  // of IPsec
	nat       uint16             // where both take ESP in UDP
	https     [2]config.Address  // where clients fetch
	approver  ed25519.PrivateKey // of service platforms

	keyring  *seal.Keyring // what it takes to start a node again
	configs  [2]config.Config
	services []*as.Service // of the first
}

// newTogether starts them; services are compiled into the first.
func newTogether(t *testing.T, s *postgres.Server, services ...*as.Service) *together {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := ca.New(rand.Reader, shard.RealClock().Wall, Domain, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	keyring, err := seal.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	g := &together{t: t, authority: authority, approver: private, keyring: keyring, services: services, nat: FreeAddress(t, "127.0.0.1").Port()}
	names, wire := [2]string{"a", "b"}, [2]config.Address{FreeAddress(t, "127.0.0.1"), FreeAddress(t, "127.0.0.1")}
	for i, name := range names {
		c, other := config.Default(), 1-i
		c.Node.Name, c.Node.Number, c.Mw.Listen = name, uint16(i+1), wire[i]
		c.Store.Engine, c.Store.URL = config.Postgres, s.URL()
		host := fmt.Sprintf("127.0.0.%d", i+1)
		g.at[i], g.clear[i], g.gm[i] = FreeAddress(t, host), FreeAddress(t, host), FreeAddress(t, host)
		c.CI.TLS.Listen, c.CI.LabUDP.Listen = []config.Address{g.at[i]}, []config.Address{g.clear[i]}
		c.CI.IPsec.Listen, c.CI.IPsec.ESP, c.CI.IPsec.NATPort = []config.Address{g.gm[i]}, "off", g.nat
		c.CI.Budget = config.Wide()
		c.IS.ApprovalKeys = []string{config.FormatApprovalKey(public)}
		g.https[i] = FreeAddress(t, host)
		c.HTTPS.Listen, c.HTTPS.Origin = g.https[i], togetherOrigin
		c.CS.Listen, c.CS.Ports = []config.Address{{AddrPort: netip.AddrPortFrom(g.at[i].Addr(), uint16(25000+2000*i))}}, 2000
		c.Mw.Nodes = []config.MwNode{{Name: names[other], Address: wire[other], Certificate: names[other] + "." + Domain}}
		g.configs[i] = c
		g.start(i)
	}
	return g
}

// start starts a node, or one that was stopped again.
func (g *together) start(node int) {
	g.t.Helper()
	c := &g.configs[node]
	var services []*as.Service
	if node == 0 {
		services = g.services
	}
	g.nodes[node] = StartSharing(g.t, g.authority, g.keyring, c, services, c.Node.Name+"."+Domain)
}

// client is a telephone whose card may move from node to node.
func (g *together) client(node int, card *isim.Card, incoming chan *ue.Call) *ue.UE {
	g.t.Helper()
	u, _ := g.telephone(card, ue.TLS, incoming, nil, node)
	return u
}

// telephone is a client over a transport that knows the nodes in this order. It ends with the test, or before.
func (g *together) telephone(card *isim.Card, transport ue.Transport, incoming chan *ue.Call, change func(*ue.Config), nodes ...int) (_ *ue.UE, end func()) {
	g.t.Helper()
	c := ue.Config{Card: card, Transport: transport, Clock: shard.RealClock(), Rand: rand.Reader, OnCall: func(c *ue.Call) { incoming <- c }, ListenPacket: listenPacket}
	where := g.at
	switch transport {
	case ue.TLS:
		c.RootCAs, c.ServerName = g.authority.Pool(), "pcscf."+Domain
	case ue.IPsecUDP, ue.IPsecTCP:
		where, c.IPsec.NATPort, c.Local = g.gm, g.nat, netip.AddrFrom4([4]byte{127, 0, 0, 1})
	default:
		where, c.Lab, c.Scheme, c.Local = g.clear, true, aka.AKAv1MD5, netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	c.Proxy = where[nodes[0]].AddrPort
	for _, n := range nodes[1:] {
		c.Proxies = append(c.Proxies, where[n].AddrPort)
	}
	if change != nil {
		change(&c)
	}
	u, err := ue.New(c)
	if err != nil {
		g.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- u.Run(ctx) }()
	end = sync.OnceFunc(func() {
		stop()
		<-done
	})
	g.t.Cleanup(end)
	return u, end
}

func (g *together) card(u *User) *isim.Card {
	g.t.Helper()
	card, err := isim.New(isim.Config{Identity: isim.Identity{IMPI: u.IMPI, HomeDomain: Domain, IMPUs: []string{u.IMPU}}, K: u.K, OPc: u.OPc, State: isim.Volatile{}})
	if err != nil {
		g.t.Fatal(err)
	}
	return card
}

// talks lets one call the other, until both hear each other.
func (g *together) talks(ctx context.Context, caller *ue.UE, to string, incoming chan *ue.Call) {
	g.t.Helper()
	out, err := caller.Call(ctx, to, ue.Voice{Play: media.NewTone(440, -10)})
	if err != nil {
		g.t.Fatal(err)
	}
	select {
	case in := <-incoming:
		in.Answer(ue.Voice{})
		for _, c := range []*ue.Call{out, in} {
			if _, err := c.Until(ctx, ue.Secured); err != nil {
				g.t.Fatal(err)
			}
		}
		out.Hangup()
		<-in.Done()
		if end := in.Result(); end.Err != nil {
			g.t.Error(end.Err)
		}
	case <-out.Done():
		g.t.Fatalf("the call ends with %d, %v", out.Result().Code, out.Result().Err)
	case <-ctx.Done():
		g.t.Fatal(ctx.Err())
	}
}

// TestTogether: two nodes with all functions on one database. Alice registers at one and Bob at the other, and each calls the other; a
// registration that one node has is not swept by the other. Then the node of Alice is gone: she registers at the other one, which takes
// her over from it, and is called there.
func TestTogether(t *testing.T) {
	g := newTogether(t, postgres.Start(t))
	ctx, cancel := context.WithTimeout(t.Context(), 3*Patience)
	defer cancel()
	users := NewUsers("user", 2, AKAv2)
	people := &Node{Node: g.nodes[0].Node}
	if err := people.Provision(ctx, users...); err != nil {
		t.Fatal(err)
	}
	cards := [2]*isim.Card{g.card(users[0]), g.card(users[1])}
	calls := [2]chan *ue.Call{make(chan *ue.Call, 1), make(chan *ue.Call, 1)}
	alice, bob := g.client(0, cards[0], calls[0]), g.client(1, cards[1], calls[1])
	for _, u := range []*ue.UE{alice, bob} {
		if _, err := u.Register(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range g.nodes {
		if n.SCSCF.Registered() != 1 {
			t.Errorf("node %d has %d registered users, not one", i, n.SCSCF.Registered())
		}
	}
	g.talks(ctx, alice, users[1].IMPU, calls[1])
	g.talks(ctx, bob, users[0].IMPU, calls[0])
	before := g.record(1, users[0])
	if before.Version == 0 {
		t.Fatal("the other node does not find Alice's registration in the store")
	}
	if err := g.expire(ctx, 1, users[0]); err != nil {
		t.Fatal(err)
	}
	if after := g.record(0, users[0]); after.Version != before.Version {
		t.Error("a node has ended a registration of the other one")
	}

	g.nodes[0].Stop()
	moved := make(chan *ue.Call, 1)
	again := g.client(1, cards[0], moved)
	if _, err := again.Register(ctx); err != nil {
		t.Fatalf("the node of Alice is gone, and at the other one: %v", err)
	}
	if n := g.nodes[1].SCSCF.Registered(); n != 2 {
		t.Errorf("%d users are registered at the node that is left, not both", n)
	}
	g.talks(ctx, again, users[1].IMPU, calls[1])
	g.talks(ctx, bob, users[0].IMPU, moved)
}

// record is a user's registration, as a node reads it.
func (g *together) record(node int, u *User) store.Record {
	g.t.Helper()
	rec, err := g.nodes[node].Store.Get(scscf.TableRegistration, []byte(u.IMPI))
	if err != nil {
		g.t.Fatal(err)
	}
	return rec
}

// expire has a node's S-CSCF end a registration as if its time were over.
func (g *together) expire(ctx context.Context, node int, u *User) (err error) {
	n := g.nodes[node]
	if e := n.Shards[0].Call(ctx, func(t *shard.Task) { err = n.SCSCF.Expire(t, u.IMPI) }); e != nil {
		return e
	}
	return err
}

// approve has a service approved, as operator and platform would, of which the one at hand is compiled in and needs no certificate.
func (g *together) approve(ctx context.Context, manifest string) {
	g.t.Helper()
	must := func(err error) {
		if err != nil {
			g.t.Helper()
			g.t.Fatal(err)
		}
	}
	n := g.nodes[0]
	g.founds(ctx)
	m, err := isc.Parse([]byte(manifest))
	must(err)
	key, err := ca.NewKey(rand.Reader)
	must(err)
	csr, err := ca.NewRequest(rand.Reader, key, m.Identity("a"), m.Host())
	must(err)
	token, err := n.Registry.Invite(time.Minute)
	must(err)
	_, fingerprint, err := n.Registry.Request(token, []byte(manifest), csr)
	must(err)
	approval := &isc.Approval{Service: m.Service, Manifest: sha256.Sum256([]byte(manifest)), Key: fingerprint, Granted: m.Asked, Approver: "operator",
		Time: time.Now().UTC().Truncate(time.Second), Serial: 1}
	must(approval.Sign(g.approver))
	must(n.Registry.Approve(approval))
}

const waker = `manifest = 1
service  = "wake"
provider = "example"
domain   = "` + Domain + `"
endpoint = "sips:wake.as.` + Domain + `:5061"
psi      = ["sip:wake@` + Domain + `"]
scopes   = ["session.originate"]
users    = { groups = ["default"] }
limits   = { cps = 20, sessions = 200, media_mbps = 1 }
expires  = 2099-12-31
`

// TestTogether_service: a service that is connected to one of two nodes calls a user of the other: it is judged where it is connected, since nobody else knows who
// it is, and within the call each end reaches the other.
func TestTogether_service(t *testing.T) {
	svc, err := as.InProcess(as.Parts{Manifest: []byte(waker), Clock: shard.RealClock(), Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	g := newTogether(t, postgres.Start(t), svc)
	ctx, cancel := context.WithTimeout(t.Context(), 3*Patience)
	defer cancel()
	users := NewUsers("user", 1, AKAv2)
	if err := (&Node{Node: g.nodes[0].Node}).Provision(ctx, users...); err != nil {
		t.Fatal(err)
	}
	g.approve(ctx, waker)
	calls := make(chan *ue.Call, 1)
	bob := g.client(1, g.card(users[0]), calls)
	if _, err := bob.Register(ctx); err != nil {
		t.Fatal(err)
	}
	for _, hangsUp := range []string{"bob", "wake"} {
		answered := make(chan *ue.Call, 1)
		go func() {
			defer close(answered)
			select {
			case in := <-calls:
				in.Answer(ue.Voice{})
				answered <- in
			case <-ctx.Done():
			}
		}()
		out, err := svc.Originate(ctx, users[0].IMPU, nil)
		if err != nil {
			t.Fatal(err)
		}
		in := <-answered
		if hangsUp == "bob" {
			in.Hangup()
			if err := out.Wait(ctx); err != nil {
				t.Errorf("bob hangs up, and the service hears %v", err)
			}
		} else {
			out.Hangup()
		}
		select {
		case <-in.Done():
		case <-ctx.Done():
			t.Fatalf("%s hangs up, and bob does not hear it", hangsUp)
		}
	}
}
