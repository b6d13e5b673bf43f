package node_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"imsafe/ca"
	"imsafe/client/isim"
	"imsafe/client/media"
	"imsafe/client/ue"
	"imsafe/config"
	"imsafe/iface/management"
	"imsafe/imsbox/hss"
	"imsafe/node"
	"imsafe/policy"
	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/store"
	"imsafe/store/seal"
	"imsafe/test/port"
)

const splitDomain = "ims.split.example"

// split is a P-CSCF and the rest of the core as nodes on loopback, with mutual TLS between them.
type split struct {
	authority         *ca.CA
	edge, heart, home *node.Node     // home has the HSS; it is heart, or apart
	client            netip.AddrPort // where clients meet the edge
	stop              map[*node.Node]func()
	socket            map[*node.Node]string // of the operator
	approver          ed25519.PrivateKey    // of service platforms, where the HSS is apart
}

// free is an address on loopback that is the test's own until it ends.
func free(t *testing.T) config.Address {
	t.Helper()
	return config.Address{AddrPort: port.Free(t, "127.0.0.1")}
}

// newSplit starts the P-CSCF and the rest; with apart, the HSS in a third node, with Diameter between it and the CSCFs.
func newSplit(t *testing.T, apart bool) *split {
	t.Helper()
	clock := shard.RealClock()
	authority, err := ca.New(rand.Reader, clock.Wall, splitDomain, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	s := &split{authority: authority, stop: map[*node.Node]func(){}, socket: map[*node.Node]string{}}
	edge, heart := config.Default(), config.Default()
	edge.Mw.Listen, heart.Mw.Listen = free(t), free(t)
	edge.Node.Roles, heart.Node.Roles = []string{"pcscf"}, []string{"icscf", "scscf", "hss"}
	edge.Node.Number, heart.Node.Number = 1, 2
	edge.Mw.ICSCF = config.MwPeer{Address: heart.Mw.Listen, Certificate: "heart." + splitDomain}
	edge.Mw.SCSCF = config.MwPeer{Address: heart.Mw.Listen, Certificate: "heart." + splitDomain}
	heart.Mw.PCSCF = config.MwPeer{Address: edge.Mw.Listen, Certificate: "edge." + splitDomain}
	edge.CI.TLS.Listen = []config.Address{free(t)}
	s.client = edge.CI.TLS.Listen[0].AddrPort
	if apart {
		home := config.Default()
		home.Node.Roles, home.Node.Number, heart.Node.Roles = []string{"hss"}, 3, []string{"icscf", "scscf"}
		home.Cx.Listen, home.Cx.Clients = free(t), []string{"cscf." + splitDomain}
		heart.Cx.Server = home.Cx.Listen
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		home.IS.ApprovalKeys, s.approver = []string{config.FormatApprovalKey(public)}, private
		s.home = s.start(t, &home, "hss."+splitDomain)
	}
	s.edge = s.start(t, &edge, "edge."+splitDomain)
	s.heart = s.start(t, &heart, "heart."+splitDomain, "cscf."+splitDomain)
	if !apart {
		s.home = s.heart
		return s
	}
	for up := false; !up; {
		peers, err := s.heart.CxPeers(t.Context())
		if err != nil || len(peers) != 1 {
			t.Fatalf("the CSCFs have the HSSs %v, %v", peers, err)
		}
		if up = peers[0].Up; !up {
			<-time.After(5 * time.Millisecond)
		} else if !peers[0].Secure {
			t.Error("Cx is not secure")
		}
	}
	return s
}

// start runs a node until the test ends.
func (s *split) start(t *testing.T, c *config.Config, names ...string) *node.Node {
	t.Helper()
	c.Node.Lab, c.Node.DataDir, c.IMS.Domain, c.Metrics.Listen = true, t.TempDir(), splitDomain, config.Address{}
	clock := shard.RealClock()
	st, err := store.InMemory(clock)
	if err != nil {
		t.Fatal(err)
	}
	identity := &node.Identity{Authority: s.authority.Pool()}
	if identity.Certificate, err = s.authority.Node(time.Hour, names); err != nil {
		t.Fatal(err)
	}
	server, err := s.authority.Server(time.Hour, []string{"pcscf." + splitDomain}, nil)
	if err != nil {
		t.Fatal(err)
	}
	keyring, err := seal.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := node.Listen(c, node.Shards(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.New(node.Options{Config: c, Clock: clock, Random: rand.Reader, Log: slog.New(slog.DiscardHandler), Store: st, Keyring: keyring,
		Certificate: &server, Identity: identity, Sockets: sockets, Policy: policy.Default()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	s.socket[n] = c.ManagementSocket()
	s.stop[n] = sync.OnceFunc(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		st.Close()
	})
	t.Cleanup(s.stop[n])
	return n
}

// phone provisions a subscriber and starts his client.
func (s *split) phone(t *testing.T, name string, onCall func(*ue.Call)) *ue.UE {
	t.Helper()
	var k aka.K
	var op aka.OP
	for _, key := range [][]byte{k[:], op[:]} {
		if _, err := rand.Read(key); err != nil {
			t.Fatal(err)
		}
	}
	opc := aka.DeriveOPc(k, op)
	impi, impu := name+"@"+splitDomain, "sip:"+name+"@"+splitDomain
	if err := s.home.HSS.Add(t.Context(), &hss.Subscriber{Card: hss.Card{IMPI: impi, K: hss.Secret(hex.EncodeToString(k[:])),
		OPc: hss.Secret(hex.EncodeToString(opc[:]))}, Public: []hss.Public{{IMPU: impu}}}); err != nil {
		t.Fatal(err)
	}
	card, err := isim.New(isim.Config{Identity: isim.Identity{IMPI: impi, HomeDomain: splitDomain, IMPUs: []string{impu}}, K: k, OPc: opc, State: isim.Volatile{}})
	if err != nil {
		t.Fatal(err)
	}
	u, err := ue.New(ue.Config{Card: card, Proxy: s.client, Transport: ue.TLS, RootCAs: s.authority.Pool(), ServerName: "pcscf." + splitDomain,
		Clock: shard.RealClock(), Rand: rand.Reader, OnCall: onCall,
		ListenPacket: func(local netip.Addr) (net.PacketConn, error) {
			return net.ListenPacket("udp", netip.AddrPortFrom(local, 0).String())
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- u.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return u
}

// TestSplit_over_mutual_TLS: two phones register and talk through a P-CSCF that stands in another node than the rest.
func TestSplit_over_mutual_TLS(t *testing.T) { talk(t, newSplit(t, false)) }

// TestSplit_HSS_apart: the same, with the HSS in a node of its own; in the end the operator takes a subscriber away, and the S-CSCF
// hears of it.
func TestSplit_HSS_apart(t *testing.T) {
	s := newSplit(t, true)
	talk(t, s)
	if left := s.heart.SCSCF.Registered(); left != 1 {
		t.Fatalf("%d are registered, not bob alone", left)
	}
	if err := s.home.HSS.Remove(t.Context(), "bob@"+splitDomain); err != nil {
		t.Fatal(err)
	}
	if left := s.heart.SCSCF.Registered(); left != 0 {
		t.Errorf("bob is gone, and %d are registered", left)
	}
}

// TestSplit_HSS_gone: without its HSS a CSCF answers at once that it cannot serve, and nothing waits.
func TestSplit_HSS_gone(t *testing.T) {
	s := newSplit(t, true)
	alice := s.phone(t, "alice", nil)
	s.stop[s.home]()
	begun := time.Now()
	_, err := alice.Register(t.Context())
	if err == nil || !strings.Contains(err.Error(), "480") {
		t.Errorf("a registration without an HSS: %v", err)
	}
	if waited := time.Since(begun); waited >= 10*time.Second { // what a request takes that is sent, and has no answer
		t.Errorf("the refusal took %v", waited)
	}
}

// TestSplit_services: an S-CSCF on another node than the register gets the criteria themselves. It has no door to the platform, so default
// handling decides about calls to its users. A set that it does not know would let none through.
func TestSplit_services(t *testing.T) {
	s := newSplit(t, true)
	client := management.NewClient(s.socket[s.home])
	defer client.Close()
	a := &agency{office: &office{t: t}, Operations: &node.Operations{Registry: s.home.Registry, Authority: s.home.Authority, HSS: s.home.HSS}, approver: s.approver}
	a.establish(splitDomain)
	alice, bob := s.phone(t, "alice", nil), s.phone(t, "bob", func(c *ue.Call) { c.Reject(486) })
	for _, u := range []*ue.UE{alice, bob} {
		if _, err := u.Register(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	rings := func(when string, want bool) {
		t.Helper()
		call, err := alice.Call(t.Context(), "sip:bob@"+splitDomain, ue.Voice{})
		if err != nil {
			t.Fatal(err)
		}
		<-call.Done()
		if status := call.Result().Code; (status == 486) != want {
			t.Errorf("%s: the call ends with %d, %v", when, status, call.Result().Err)
		}
	}
	rings("before", true)
	for _, onFailure := range []string{"continue", "reject"} {
		manifest := strings.NewReplacer(home, splitDomain, `"staff"`, `"default"`, `when     = ["unregistered"]`, `on_failure = "`+onFailure+`"`).Replace(mailbox)
		approval, err := a.request(manifest)
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Call(t.Context(), "service.approve", node.ApproveService{Approval: string(approval.Marshal())}, nil); err != nil {
			t.Fatal(err)
		}
		rings("approved, on failure "+onFailure, onFailure == "continue")
	}
	if err := client.Call(t.Context(), "service.revoke", node.RevokeService{Name: "mailbox"}, nil); err != nil {
		t.Fatal(err)
	}
	rings("revoked", true)
}

func talk(t *testing.T, s *split) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	incoming := make(chan *ue.Call, 1)
	alice, bob := s.phone(t, "alice", nil), s.phone(t, "bob", func(c *ue.Call) { incoming <- c })
	for _, u := range []*ue.UE{alice, bob} {
		if _, err := u.Register(ctx); err != nil {
			t.Fatal(err)
		}
	}
	out, err := alice.Call(ctx, "sip:bob@"+splitDomain, ue.Voice{Play: media.NewTone(440, -10)})
	if err != nil {
		t.Fatal(err)
	}
	in := <-incoming
	if peer, asserted := in.Peer(); peer != "sip:alice@"+splitDomain || !asserted {
		t.Errorf("bob sees %s, asserted %v", peer, asserted)
	}
	in.Answer(ue.Voice{})
	for _, c := range []*ue.Call{out, in} {
		if _, err := c.Until(ctx, ue.Secured); err != nil {
			t.Fatal(err)
		}
	}
	out.Hangup()
	<-in.Done()
	if end := in.Result(); end.Err != nil {
		t.Error(end.Err)
	}
	if err := alice.Deregister(ctx); err != nil {
		t.Error(err)
	}
}
