package ue

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"

	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"imsafe/client/isim"
	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
)

const (
	domain     = "ims.mnc001.mcc001.3gppnetwork.org"
	serverName = "pcscf.ims.example"
)

var (
	testK   = aka.K{1, 2, 3}
	testOPc = aka.OPc{4, 5, 6}
)

// fake is a scripted P-CSCF with a home network behind it in one object: it challenges with AKA, keeps bindings, and forwards as a
// stateless proxy between the clients that are connected. Hooks let a test be the attacker.
type fake struct {
	t     testing.TB
	ln    net.Listener
	addr  netip.AddrPort
	roots *x509.CertPool
	root  *x509.Certificate // the only one of them
	pool  *sip.Pool

	mu     sync.Mutex // guards what follows
	seq    uint64
	vector map[string]*aka.Vector // by IMPI: the challenge that waits
	users  map[string]*client     // by IMPU and by contact
	conns  map[*client]bool
	log    []string // everything received, as text
	origin map[string]*client

	// Set before the first client connects.
	scheme  aka.DigestAlgorithm
	granted string
	// challenge edits a challenge before it leaves, vector its AUTN; ok edits the 200.
	challenge func(n int, c *sip.Challenge)
	spoil     func(n int, v *aka.Vector)
	ok        func(m *sip.Message)
	// script answers or swallows a request itself; nil result means: go on.
	script func(from *client, m *sip.Message) *sip.Message
	// relay edits what is forwarded.
	relay  func(m *sip.Message)
	rounds int // challenges sent
}

type client struct {
	nc      net.Conn
	impu    string
	contact string
}

// authority makes a CA and a certificate for name.
func authority(t testing.TB, name string) (*x509.Certificate, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(caDER)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, DNSNames: []string{name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, root, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return root, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// newFake starts a P-CSCF; a nil config means no TLS (the lab).
func newFake(t testing.TB, edit func(*fake, *tls.Config)) *fake {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, ln: ln, addr: ln.Addr().(*net.TCPAddr).AddrPort(), pool: sip.NewPool(sip.Limits{}), vector: map[string]*aka.Vector{},
		users: map[string]*client{}, conns: map[*client]bool{}, origin: map[string]*client{}, scheme: aka.AKAv2SHA256, granted: "3600", seq: 10}
	root, cert := authority(t, serverName)
	f.trust(root)
	c := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
	if edit != nil {
		edit(f, c)
	}
	if c.Certificates != nil {
		f.ln = tls.NewListener(ln, c)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := f.ln.Accept()
			if err != nil {
				return
			}
			c := &client{nc: nc}
			f.mu.Lock()
			f.conns[c] = true
			f.mu.Unlock()
			wg.Go(func() { f.serve(c) })
		}
	})
	t.Cleanup(func() { ln.Close(); f.hangUp(); wg.Wait() })
	return f
}

// trust makes root the one authority that clients believe.
func (f *fake) trust(root *x509.Certificate) {
	f.root, f.roots = root, x509.NewCertPool()
	f.roots.AddCert(root)
}

// hangUp closes all connections.
func (f *fake) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		c.nc.Close()
	}
}

func (f *fake) serve(c *client) {
	defer c.nc.Close()
	framer := f.pool.NewFramer()
	defer framer.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := c.nc.Read(b)
		if err != nil {
			return
		}
		framer.Write(b[:n])
		for {
			data, err := framer.Next()
			if errors.Is(err, sip.ErrPing) || errors.Is(err, sip.ErrPong) {
				continue
			}
			if err != nil {
				return
			}
			if data == nil {
				break
			}
			m, err := f.pool.Parse(data)
			if err != nil {
				f.t.Errorf("the client sent what is no SIP: %v\n%s", err, data)
				return
			}
			if r := sip.Validate(m); r != nil {
				f.t.Errorf("the client sent a bad message: %d %s\n%s", r.Status, r.Reason, data)
			}
			f.take(c, m)
			m.Release()
		}
	}
}

func (f *fake) take(c *client, m *sip.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, string(m.AppendTo(nil)))
	if m.IsRequest() && f.script != nil {
		if r := f.script(c, m); r != nil {
			f.send(c, r)
			return
		}
	}
	switch {
	case !m.IsRequest():
		f.back(m)
	case m.Method() == sip.REGISTER:
		f.send(c, f.register(c, m))
	default:
		f.forward(c, m)
	}
}

// send writes m and gives it back.
func (f *fake) send(c *client, m *sip.Message) {
	if m.Reason() != nil && string(m.Reason()) == "swallowed" {
		m.Release()
		return
	}
	_, _ = c.nc.Write(m.AppendTo(nil)) // a client that is gone is the test's business
	m.Release()
}

// swallow is a script's answer that never leaves.
func (f *fake) swallow(m *sip.Message) *sip.Message { return f.pool.NewResponse(m, 200, "swallowed") }

func (f *fake) respond(m *sip.Message, code int) *sip.Message {
	r := f.pool.NewResponse(m, code, "")
	r.SetToTag("home")
	return r
}

// register is P-, S-CSCF and HSS in one.
func (f *fake) register(c *client, m *sip.Message) *sip.Message {
	cred, err := sip.ParseCredentials(m.Get(sip.HdrAuthorization))
	if err != nil {
		return f.respond(m, 400)
	}
	impi := string(cred.Username)
	v := f.vector[impi]
	if v != nil && len(cred.Response) > 0 && len(cred.AUTS) == 0 {
		delete(f.vector, impi)
		d := aka.Digest{Algorithm: f.scheme, Username: cred.Username, Realm: cred.Realm, Nonce: cred.Nonce, Method: []byte("REGISTER"),
			URI: cred.URI, QOP: cred.QOP, NC: cred.NC, Cnonce: cred.Cnonce}
		if !d.VerifyAKA(cred.Response, v) {
			return f.respond(m, 403)
		}
		return f.bind(c, m)
	}
	if len(cred.AUTS) > 0 && v != nil {
		auts, err := aka.ParseAUTS(cred.AUTS)
		if err == nil {
			if sqn, err := aka.OpenAUTS(aka.NewMilenage(testK, testOPc), v.RAND, auts); err == nil {
				f.seq = max(f.seq, sqn.SEQ())
			}
		}
	}
	f.seq++
	v = new(aka.Vector)
	if err := aka.Generate(aka.NewMilenage(testK, testOPc), rand.Reader, aka.MakeSQN(f.seq, 0), aka.AMF{}, v); err != nil {
		f.t.Error(err)
	}
	f.rounds++
	if f.spoil != nil {
		f.spoil(f.rounds, v)
	}
	f.vector[impi] = v
	ch := sip.Challenge{Realm: []byte(domain), Nonce: aka.AppendNonce(nil, v.RAND, v.AUTN, nil), Algorithm: []byte(f.scheme.String()), QOP: []byte("auth")}
	if f.challenge != nil {
		f.challenge(f.rounds, &ch)
	}
	r := f.respond(m, 401)
	r.Append(sip.HdrWWWAuthenticate, ch.AppendTo(nil))
	return r
}

func (f *fake) bind(c *client, m *sip.Message) *sip.Message {
	to, _ := m.To()
	contact, _ := sip.ParseNameAddr(m.Get(sip.HdrContact))
	r := f.respond(m, 200)
	seconds, _ := m.ContactExpires(0)
	c.impu, c.contact = string(to.URI), string(contact.URI)
	if seconds == 0 {
		delete(f.users, c.impu)
		delete(f.users, c.contact)
		return r
	}
	f.users[c.impu], f.users[c.contact] = c, c
	r.AppendString(sip.HdrContact, "<"+c.contact+">;expires="+f.granted)
	r.AppendString(sip.HdrServiceRoute, "<sip:orig@scscf."+domain+";lr>")
	r.AppendString(sip.HdrPAssociatedURI, "<"+c.impu+">")
	r.AppendString(sip.HdrPAssociatedURI, "<tel:+15550001>")
	if f.ok != nil {
		f.ok(r)
	}
	return r
}

// forward is a stateless proxy: the branch it adds follows from the branch it got, so ACK and CANCEL find their INVITE.
func (f *fake) forward(c *client, m *sip.Message) {
	to := f.users[string(m.RequestURI())]
	if to == nil {
		if m.Method() != sip.ACK {
			f.send(c, f.respond(m, 404))
		}
		return
	}
	via, err := m.TopVia()
	if err != nil {
		return
	}
	branch := "z9hG4bKfake" + string(via.Branch)
	f.origin[branch] = c
	out := m.Clone()
	out.Remove(sip.HdrRoute)
	if len(m.ToTag()) == 0 {
		out.Remove(sip.HdrPPreferredIdentity)
		out.SetString(sip.HdrPAssertedIdentity, "<"+c.impu+">")
		out.PrependString(sip.HdrRecordRoute, "<sip:"+f.addr.String()+";transport=tls;lr>")
		out.SetRequestURI([]byte(to.contact))
	}
	out.PrependString(sip.HdrVia, "SIP/2.0/TLS "+f.addr.String()+";branch="+branch)
	if f.relay != nil {
		f.relay(out)
	}
	f.send(to, out)
}

func (f *fake) back(m *sip.Message) {
	via, err := m.TopVia()
	if err != nil {
		return
	}
	to := f.origin[string(via.Branch)]
	if to == nil {
		return
	}
	out := m.Clone()
	out.RemoveFirst(sip.HdrVia)
	if f.relay != nil {
		f.relay(out)
	}
	f.send(to, out)
}

// received returns what came so far that begins with start.
func (f *fake) received(start string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for _, s := range f.log {
		if strings.HasPrefix(s, start) {
			list = append(list, s)
		}
	}
	return list
}

// inject sends octets to the client with that IMPU, as somebody behind the P-CSCF could.
func (f *fake) inject(impu string, lines ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, _ = f.users[impu].nc.Write([]byte(strings.Join(lines, "\r\n") + "\r\n\r\n"))
}

func newCard(t testing.TB, msin string) *isim.Card {
	t.Helper()
	id, err := isim.FromIMSI("001", "01", msin)
	if err != nil {
		t.Fatal(err)
	}
	card, err := isim.New(isim.Config{Identity: id, K: testK, OPc: testOPc, State: isim.Volatile{}})
	if err != nil {
		t.Fatal(err)
	}
	return card
}

func listen(local netip.Addr) (net.PacketConn, error) {
	return net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
}

// newUE makes a client of f and runs it.
func newUE(t testing.TB, f *fake, msin string, edit func(*Config)) *UE {
	t.Helper()
	c := Config{Card: newCard(t, msin), Proxy: f.addr, RootCAs: f.roots, ServerName: serverName, Clock: shard.RealClock(), Rand: rand.Reader,
		ListenPacket: listen}
	if edit != nil {
		edit(&c)
	}
	u, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- u.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return u
}

// patience is how long a test waits for what must come: on a busy machine that takes its time.
const patience = time.Minute

// patiently ends with the patience of a test.
func patiently(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// until waits for a condition that nothing announces.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not in time: %s", what)
		}
	}
}

func impuOf(msin string) string { return fmt.Sprintf("sip:00101%s@%s", msin, domain) }
