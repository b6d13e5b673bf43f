package wire

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"io"
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
	"imsafe/imsbox/hss"
	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/test/live"
)

// apart is P-CSCF, I- and S-CSCF, and HSS, each in a node of its own.
type apart struct {
	authority         *ca.CA
	edge, heart, home *live.Part
	client            netip.AddrPort // where clients come
	tapes             []*tape        // of Mw in both directions, and of Cx
}

// startApart starts them; everything that goes between them is recorded. configure may change the configuration of each.
func startApart(t *testing.T, configure func(edge, heart, home *config.Config)) *apart {
	t.Helper()
	authority, err := ca.New(rand.Reader, shard.RealClock().Wall, live.Domain, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	a := &apart{authority: authority}
	edge, heart, home := config.Default(), config.Default(), config.Default()
	edge.Node.Number, heart.Node.Number, home.Node.Number = 1, 2, 3
	edge.Node.Roles, heart.Node.Roles, home.Node.Roles = []string{"pcscf"}, []string{"icscf", "scscf"}, []string{"hss"}
	local := func() config.Address { return live.FreeAddress(t, "127.0.0.1") }
	edge.Mw.Listen, heart.Mw.Listen, home.Cx.Listen = local(), local(), local()
	toHeart := config.MwPeer{Address: a.tap(t, heart.Mw.Listen), Certificate: "heart." + live.Domain}
	edge.Mw.ICSCF, edge.Mw.SCSCF = toHeart, toHeart
	heart.Mw.PCSCF = config.MwPeer{Address: a.tap(t, edge.Mw.Listen), Certificate: "edge." + live.Domain}
	heart.Cx.Server, home.Cx.Clients = a.tap(t, home.Cx.Listen), []string{"cscf." + live.Domain}
	edge.CI.TLS.Listen = []config.Address{local()}
	a.client = edge.CI.TLS.Listen[0].AddrPort
	configure(&edge, &heart, &home)
	a.home = live.StartPart(t, authority, &home, "hss."+live.Domain)
	a.heart = live.StartPart(t, authority, &heart, "heart."+live.Domain, "cscf."+live.Domain)
	a.edge = live.StartPart(t, authority, &edge, "edge."+live.Domain)
	for late := time.Now().Add(time.Minute); ; <-time.After(5 * time.Millisecond) {
		peers, err := a.heart.CxPeers(t.Context())
		if err != nil || time.Now().After(late) {
			t.Fatalf("the HSS is not in service: %v, %v", peers, err)
		}
		if peers[0].Up {
			return a
		}
	}
}

// everywhere admits SIP Digest at each of the nodes.
func everywhere(all ...*config.Config) {
	for _, c := range all {
		c.CI.Digest.Enabled, c.CI.DigestMD5.Enabled = true, true
	}
}

// tape is what went over one wire, as octets.
type tape struct {
	mu   sync.Mutex
	data []byte
}

// tap records what goes to an address and back: who connects to the address it returns is connected there.
func (a *apart) tap(t *testing.T, to config.Address) config.Address {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	recorded := &tape{}
	a.tapes = append(a.tapes, recorded)
	var running sync.WaitGroup
	ends := make(chan net.Conn, 1000)
	running.Go(func() {
		for {
			from, err := ln.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("tcp", to.String())
			if err != nil {
				_ = from.Close()
				continue
			}
			ends <- from
			ends <- there
			running.Go(func() { recorded.carry(there, from) })
			running.Go(func() { recorded.carry(from, there) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		for len(ends) > 0 {
			_ = (<-ends).Close()
		}
		running.Wait()
	})
	return config.Address{AddrPort: netip.MustParseAddrPort(ln.Addr().String())}
}

// carry carries one direction of a connection.
func (r *tape) carry(to, from net.Conn) {
	defer func() { _ = to.Close() }()
	_, _ = io.Copy(io.MultiWriter(to, r), from)
}

// Write implements io.Writer.
func (r *tape) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.data = append(r.data, p...)
	return len(p), nil
}

// holds reports whether one of the forms of a secret was on a wire.
func (a *apart) holds(secret string) bool {
	octets, _ := hex.DecodeString(secret) // not hexadecimal: only the text
	for _, r := range a.tapes {
		r.mu.Lock()
		found := bytes.Contains(r.data, []byte(secret)) || len(octets) > 0 && bytes.Contains(r.data, octets)
		r.mu.Unlock()
		if found {
			return true
		}
	}
	return false
}

// ha1 is what the HSS keeps in the place of a password (RFC 7616 3.4.2).
func ha1(u *live.User) string {
	algorithm, _ := aka.ParseDigestAlgorithm([]byte(u.Scheme))
	return string(algorithm.AppendHA1(nil, []byte(u.IMPI), []byte(live.Domain), []byte(u.Password)))
}

// subscriber is a record of u for the HSS.
func subscriber(u *live.User) *hss.Subscriber {
	return &hss.Subscriber{Card: hss.Card{IMPI: u.IMPI, Scheme: u.Scheme, Password: hss.Secret(u.Password)}, Public: []hss.Public{{IMPU: u.IMPU}}}
}

// dial runs our client of a user with a password until the test ends.
func (a *apart) dial(t *testing.T, u *live.User, onCall func(*ue.Call)) *ue.UE {
	t.Helper()
	client, err := ue.New(ue.Config{Password: &ue.Password{Identity: isim.Identity{IMPI: u.IMPI, HomeDomain: live.Domain, IMPUs: []string{u.IMPU}},
		Secret: ue.Secret(u.Password)}, Scheme: aka.SHA256, Proxy: a.client, Transport: ue.TLS, RootCAs: a.authority.Pool(), ServerName: "pcscf." + live.Domain,
		Clock: shard.RealClock(), Rand: rand.Reader, OnCall: onCall,
		ListenPacket: func(local netip.Addr) (net.PacketConn, error) {
			return net.ListenPacket("udp", netip.AddrPortFrom(local, 0).String())
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- client.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return client
}

// TestDigest_apart: subscribers without a card, with the HSS in another node than the S-CSCF and that in another than the P-CSCF. They
// register and call; a new password ends the old one; and the password's hash is on no wire but inside mutual TLS.
func TestDigest_apart(t *testing.T) {
	a := startApart(t, func(edge, heart, home *config.Config) { everywhere(edge, heart, home) })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	users := live.NewUsers("digest", 2, live.SHA256)
	for _, u := range users {
		if err := a.home.HSS.Add(ctx, subscriber(u)); err != nil {
			t.Fatal(err)
		}
	}
	incoming := make(chan *ue.Call, 1)
	alice, bob := a.dial(t, users[0], nil), a.dial(t, users[1], func(c *ue.Call) { incoming <- c })
	for _, u := range []*ue.UE{alice, bob} {
		if _, err := u.Register(ctx); err != nil {
			t.Fatal(err)
		}
	}
	out, err := alice.Call(ctx, users[1].IMPU, ue.Voice{Play: media.NewTone(440, -10)})
	if err != nil {
		t.Fatal(err)
	}
	in := <-incoming
	if peer, asserted := in.Peer(); peer != users[0].IMPU || !asserted {
		t.Errorf("bob sees %s, asserted %v", peer, asserted)
	}
	in.Answer(ue.Voice{})
	if _, err := out.Until(ctx, ue.Secured); err != nil {
		t.Fatal(err)
	}
	out.Hangup()
	<-in.Done()

	// A new password: the registration ends by RTR over the wire, the old one is nothing any more (TS 33.203 N.2.5).
	old := ha1(users[0])
	users[0].Password = rand.Text()
	if err := a.home.HSS.Update(ctx, subscriber(users[0])); err != nil {
		t.Fatal(err)
	}
	if left := a.heart.SCSCF.Registered(); left != 1 {
		t.Errorf("%d are registered, not bob alone", left)
	}
	if _, err := alice.Register(ctx); err == nil {
		t.Error("the old password registers")
	}
	if _, err := a.dial(t, users[0], nil).Register(ctx); err != nil {
		t.Errorf("the new password: %v", err)
	}
	for _, secret := range []string{old, ha1(users[0]), ha1(users[1]), users[0].IMPI} {
		if a.holds(secret) {
			t.Errorf("%q is on a wire between the nodes", secret)
		}
	}
	for _, node := range []*live.Part{a.edge, a.heart, a.home} {
		if log := node.Log(); bytes.Contains(log, []byte(old)) || bytes.Contains(log, []byte(users[0].Password)) {
			t.Error("a secret is in a log")
		}
	}
}

// TestDigest_apart_MD5: the same with the weakening digest-md5, of a softphone that knows nothing better.
func TestDigest_apart_MD5(t *testing.T) {
	a := startApart(t, func(edge, heart, home *config.Config) { everywhere(edge, heart, home) })
	u := live.NewUsers("softphone", 1, live.MD5)[0]
	if err := a.home.HSS.Add(t.Context(), subscriber(u)); err != nil {
		t.Fatal(err)
	}
	if err := a.register(t, u); err != nil {
		t.Fatal(err)
	}
	wrong := *u
	wrong.Password += "!"
	if err := a.register(t, &wrong); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("a wrong password: %v", err)
	}
	if a.holds(ha1(u)) {
		t.Error("H(A1) is on a wire between the nodes")
	}
}

// TestDigest_apart_guessed: who tries a password for many names is not heard any more at the S-CSCF, which knows where he is from the P-CSCF alone; and nobody else
// is meant (TS 33.203 N.2; attacks CI-40).
func TestDigest_apart_guessed(t *testing.T) {
	a := startApart(t, func(edge, heart, home *config.Config) { everywhere(edge, heart, home) })
	const guesses = 25
	users := live.NewUsers("guessed", guesses+1, live.SHA256)
	for _, u := range users {
		if err := a.home.HSS.Add(t.Context(), subscriber(u)); err != nil {
			t.Fatal(err)
		}
	}
	here, elsewhere := netip.MustParseAddr("127.0.0.5"), netip.MustParseAddr("127.0.0.6")
	for _, u := range users[:guesses] {
		wrong := *u
		wrong.Password = "123456"
		if err := a.registerFrom(t, here, &wrong); err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("a wrong password: %v", err)
		}
	}
	last := users[guesses]
	if err := a.registerFrom(t, here, last); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("the right one after %d wrong ones, for other names: %v", guesses, err)
	}
	if err := a.registerFrom(t, elsewhere, last); err != nil {
		t.Errorf("from elsewhere: %v", err)
	}
}

// register registers a phone of u over TLS once.
func (a *apart) register(t *testing.T, u *live.User) error {
	t.Helper()
	return a.registerFrom(t, a.client.Addr(), u)
}

// registerFrom does so from an address.
func (a *apart) registerFrom(t *testing.T, from netip.Addr, u *live.User) error {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	conn, err := tls.DialWithDialer(dialer, "tcp", a.client.String(), &tls.Config{RootCAs: a.authority.Pool(), ServerName: "pcscf." + live.Domain})
	if err != nil {
		t.Fatal(err)
	}
	p := live.NewPhone(conn, "tls", u)
	defer p.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return p.Register(ctx, 600)
}

// TestDigest_apart_off: where the setting is not on there is no SIP Digest, whatever another node has.
func TestDigest_apart_off(t *testing.T) {
	for name, on := range map[string]func(edge, heart, home *config.Config){
		"nowhere":                 func(_, _, _ *config.Config) {},
		"not at the HSS":          func(edge, heart, _ *config.Config) { everywhere(edge, heart) },
		"not at the S-CSCF":       func(edge, _, home *config.Config) { everywhere(edge, home) },
		"SHA-256 not at the CSCF": func(edge, heart, home *config.Config) { everywhere(edge, heart, home); heart.CI.Digest.Enabled = false },
		"SHA-256 not at the HSS":  func(edge, heart, home *config.Config) { everywhere(edge, heart, home); home.CI.Digest.Enabled = false },
	} {
		t.Run(name, func(t *testing.T) {
			a := startApart(t, on)
			u := live.NewUsers("off", 1, live.SHA256)[0]
			err := a.home.HSS.Add(t.Context(), subscriber(u))
			if provisioned := err == nil; provisioned == (name == "nowhere" || strings.HasSuffix(name, "HSS")) {
				t.Errorf("a subscriber without a card is provisioned: %v", err)
			}
			refused := "403"
			if err != nil {
				refused = `digest algorithm "AKAv2-SHA-256"` // who is nobody is asked for a card like anybody
			}
			if err := a.register(t, u); err == nil || !strings.Contains(err.Error(), refused) {
				t.Errorf("he registers: %v, want %s", err, refused)
			}
			if a.holds(ha1(u)) || a.holds(u.IMPI) {
				t.Error("what should be inside TLS is on a wire")
			}
		})
	}
}

// TestDigest_in_clear: a laboratory may let session keys go over Diameter in clear, but never what a password was made to: that is worth
// something for years. The tape shows that it would have been seen.
func TestDigest_in_clear(t *testing.T) {
	a := startApart(t, func(edge, heart, home *config.Config) {
		everywhere(edge, heart, home)
		heart.Cx.LabCleartextKeys, home.Cx.LabCleartextKeys = true, true
	})
	u := live.NewUsers("clear", 1, live.SHA256)[0]
	if err := a.home.HSS.Add(t.Context(), subscriber(u)); err != nil {
		t.Fatal(err)
	}
	if err := a.register(t, u); err == nil {
		t.Error("H(A1) came over a wire in clear")
	}
	if a.holds(ha1(u)) {
		t.Error("H(A1) went over a wire in clear")
	}
	if !a.holds(u.IMPI) {
		t.Error("the tape is empty")
	}
}
