package wire

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"imsafe/imsbox/hss"
	"imsafe/proto/aka"
	"imsafe/proto/diameter"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/cx/cxtest"
	"imsafe/refpoint/cx/cxwire"
	"imsafe/secure"
	"imsafe/store"
	"imsafe/store/disk"
	"imsafe/store/seal"
)

const (
	hssHost  = "hss." + cxtest.Home
	cscfHost = "cscf." + cxtest.Home
	scscf    = "sip:scscf1." + cxtest.Home
	second   = "sip:scscf2." + cxtest.Home // at the same node
)

// transport is what two nodes are joined by.
type transport struct {
	name string
	tls  bool
	lab  bool // keys in the clear, on both sides
	pipe bool
}

var transports = []transport{{name: "mutual TLS over loopback", tls: true}, {name: "pipe, lab", lab: true, pipe: true}}

// split is an HSS and a CSCF in two Diameter nodes.
type split struct {
	t        testing.TB
	hss      *hss.HSS
	db       *store.DB
	disk     *disk.Fake
	image    *store.MemoryImage
	keys     *seal.Keyring
	clock    shard.Clock
	shards   [2]*shard.Shard // of the HSS, of the CSCF
	server   *cxwire.Server
	client   *cxwire.Client
	nodes    [2]*diameter.Node
	scscf    *told
	refused  chan string
	counters diameter.Counters // of the HSS's node
	up       chan struct{}
}

// current is the HSS that runs now: the suite crashes it.
type current struct{ s *split }

func (c current) UserAuthorization(t *shard.Task, r *cx.UserAuthorizationRequest) (*cx.UserAuthorizationAnswer, error) {
	return c.s.hss.UserAuthorization(t, r)
}
func (c current) ServerAssignment(t *shard.Task, r *cx.ServerAssignmentRequest) (*cx.ServerAssignmentAnswer, error) {
	return c.s.hss.ServerAssignment(t, r)
}
func (c current) LocationInfo(t *shard.Task, r *cx.LocationInfoRequest) (*cx.LocationInfoAnswer, error) {
	return c.s.hss.LocationInfo(t, r)
}
func (c current) MultimediaAuth(t *shard.Task, r *cx.MultimediaAuthRequest) (*cx.MultimediaAuthAnswer, error) {
	return c.s.hss.MultimediaAuth(t, r)
}

// told is the push side of an S-CSCF.
type told struct {
	mu    sync.Mutex
	ended []cx.RegistrationTerminationRequest
	told  []cx.PushProfileRequest
}

func (f *told) RegistrationTermination(_ *shard.Task, r *cx.RegistrationTerminationRequest) (*cx.RegistrationTerminationAnswer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = append(f.ended, *r)
	return &cx.RegistrationTerminationAnswer{Result: cx.ResultSuccess}, nil
}

func (f *told) PushProfile(_ *shard.Task, r *cx.PushProfileRequest) (*cx.PushProfileAnswer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = append(f.told, *r)
	if r.Charging != nil && r.Charging.PrimaryECF == "" {
		return nil, cx.ErrNotSupportedUserData
	}
	return &cx.PushProfileAnswer{Result: cx.ResultSuccess}, nil
}

func newSplit(t testing.TB, how transport, subscribers []cxtest.Subscriber) *split {
	t.Helper()
	keys, err := seal.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &split{t: t, disk: disk.NewFake(1), image: store.Memory(), keys: keys, clock: shard.RealClock(), scscf: &told{},
		refused: make(chan string, 16), up: make(chan struct{}, 16)}
	ctx, cancel := context.WithCancel(context.Background())
	var shards, nodes sync.WaitGroup
	for i := range s.shards {
		sh := shard.New(shard.Config{Clock: s.clock, ID: uint8(i), OnPanic: func(v any, stack []byte) { t.Errorf("%v\n%s", v, stack) }})
		s.shards[i] = sh
		shards.Go(func() { _ = sh.Run(context.Background()) }) // until Close
	}
	s.start()
	for _, sub := range subscribers {
		s.provision(sub)
	}
	s.join(how)
	for _, n := range s.nodes {
		nodes.Go(func() { _ = n.Run(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		nodes.Wait()
		for _, sh := range s.shards {
			sh.Close()
		}
		if err := s.db.Close(); err != nil {
			t.Error(err)
		}
		shards.Wait()
	})
	select {
	case <-s.up:
	case <-time.After(time.Minute):
		t.Fatal("the nodes did not meet")
	}
	return s
}

// start opens the store and makes an HSS over it.
func (s *split) start() {
	s.t.Helper()
	var err error
	s.db, err = store.Open(store.Options{Disk: s.disk, Image: s.image.Open, Clock: s.clock, Tables: hss.Tables(), Window: -1,
		Random: mathrand.NewChaCha8([32]byte{1}), Lab: true, SegmentBytes: 4 << 20})
	if err != nil {
		s.t.Fatal(err)
	}
	ports := hss.Ports{Store: s.db, Keys: func() *seal.Keyring { return s.keys }, Random: rand.Reader, Clock: s.clock,
		Gate: secure.NewGate(nil, nil), Shard: s.shards[0], Push: func(name string) cx.Client { return s.server.Push(name) }}
	if s.hss, err = hss.New(hss.Config{HomeDomains: []string{cxtest.Home}, IND: 3}, ports); err != nil {
		s.t.Fatal(err)
	}
	s.must(s.hss.PutProfile(context.Background(), "voicemail", voicemail()))
}

func (s *split) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// join makes the two nodes.
func (s *split) join(how transport) {
	s.t.Helper()
	var err error
	s.server, err = cxwire.NewServer(cxwire.ServerConfig{HSS: current{s}, Shards: s.shards[:1], LabCleartextKeys: how.lab,
		Hosts:   map[string]string{scscf: cscfHost, second: cscfHost},
		Refused: func(_, reason string) { s.refused <- reason }})
	s.must(err)
	s.client, err = cxwire.NewClient(cxwire.ClientConfig{Realm: cxtest.Home, SCSCF: s.scscf, ServerName: scscf,
		Shards: s.shards[1:], LabCleartextKeys: how.lab})
	s.must(err)
	certs := make([]*tls.Config, 2)
	if how.tls {
		certs = certificates(s.t, hssHost, cscfHost)
	}
	cfg := func(i int, host, other string, role diameter.Role, app diameter.ApplicationConfig) diameter.Config {
		return diameter.Config{Identities: diameter.Identities{Host: host, Realm: cxtest.Home}, Product: "imsafe",
			Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, TLS: certs[i], Shard: s.shards[i], Random: rand.Reader,
			Sleep: time.Sleep, Applications: []diameter.ApplicationConfig{app}, Changed: func(_ string, up bool) {
				if up && host == cscfHost {
					s.up <- struct{}{}
				}
			},
			Peers: []diameter.PeerConfig{{Host: other, Realm: cxtest.Home, Role: role, Cleartext: !how.tls}}}
	}
	h := cfg(0, hssHost, cscfHost, cxwire.RoleCSCF(), s.server.Application())
	h.Counters = &s.counters
	s.nodes[0], err = diameter.New(h)
	s.must(err)
	s.server.Bind(s.nodes[0])
	c := cfg(1, cscfHost, hssHost, cxwire.RoleHSS(), s.client.Application())
	c.Peers[0].Dial = s.dialler(how)
	s.nodes[1], err = diameter.New(c)
	s.must(err)
	s.client.Bind(s.nodes[1])
}

func (s *split) dialler(how transport) func(context.Context) (net.Conn, error) {
	if how.pipe {
		return func(context.Context) (net.Conn, error) {
			x, y := net.Pipe()
			s.nodes[0].Accept(y, how.tls)
			return x, nil
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	s.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	s.t.Cleanup(func() { cancel(); serving.Wait() })
	node := func() *diameter.Node { return s.nodes[0] }
	serving.Go(func() { _ = node().Serve(ctx, ln, how.tls) })
	return func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
	}
}

// run runs a procedure of the CSCF.
func (s *split) run(fn func(t *shard.Task)) {
	s.t.Helper()
	s.must(s.shards[1].Call(context.Background(), fn))
}

func (s *split) provision(x cxtest.Subscriber) {
	s.t.Helper()
	var sub hss.Subscriber
	for i, impi := range x.IMPIs {
		if x.Service {
			sub.IMPI, sub.Service = string(impi), &hss.Service{Server: x.AS}
			break
		}
		c := hss.Card{IMPI: string(impi), K: hss.Secret(hex.EncodeToString(x.K[:])), OPc: hss.Secret(hex.EncodeToString(x.OPc[:])),
			AMF: hex.EncodeToString(x.AMF[:]), Scheme: x.Scheme.String()}
		if i == 0 {
			sub.Card = c
		} else {
			sub.MoreCards = append(sub.MoreCards, c)
		}
	}
	for i, set := range x.Sets {
		var list []hss.Public
		for _, id := range set {
			p := hss.Public{IMPU: string(id.IMPU), Barred: id.Barred}
			if x.Unregistered {
				p.Profile = "voicemail"
			}
			list = append(list, p)
		}
		if i == 0 {
			sub.Public = list
		} else {
			sub.Sets = append(sub.Sets, list)
		}
	}
	if x.Capabilities != nil {
		sub.Group = "capable"
		s.must(s.hss.PutGroup(context.Background(), &hss.Group{Name: sub.Group, Capabilities: x.Capabilities}))
	}
	s.must(s.hss.Add(context.Background(), &sub))
}

// voicemail is a service for users who are not there.
func voicemail() *cx.ServiceProfile {
	return &cx.ServiceProfile{SubscribedMediaProfile: -1, Criteria: []cx.InitialFilterCriteria{{Priority: 10,
		Trigger: &cx.TriggerPoint{CNF: true, SPTs: []cx.SPT{
			{Groups: []int{0}, Kind: cx.SPTMethod, Pattern: "INVITE"},
			{Groups: []int{1}, Kind: cx.SPTSessionCase, Case: cx.TerminatingUnregistered}}},
		Server: cx.ApplicationServer{ServerName: "sip:voicemail." + cxtest.Home}}}}
}

// certificates makes a CA and a configuration for each host, for both directions.
func certificates(t testing.TB, hosts ...string) (all []*tls.Config) {
	t.Helper()
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	sign := func(c, parent *x509.Certificate, k, by *ecdsa.PrivateKey) *x509.Certificate {
		c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, c, parent, k.Public(), by)
		if err != nil {
			t.Fatal(err)
		}
		made, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	caKey := key()
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	root := sign(template, template, caKey, caKey)
	pool := x509.NewCertPool()
	pool.AddCert(root)
	for _, host := range hosts {
		k := key()
		leaf := sign(&x509.Certificate{DNSNames: []string{host}, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, root, k, caKey)
		all = append(all, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: k}}, RootCAs: pool,
			ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13})
	}
	return all
}

func TestCx_contract(t *testing.T) {
	for _, how := range transports {
		t.Run(how.name, func(t *testing.T) {
			cxtest.Run(t, func(t *testing.T, subscribers []cxtest.Subscriber) *cxtest.Fixture {
				s := newSplit(t, how, subscribers)
				return &cxtest.Fixture{Server: s.client, Run: s.run, Crash: func() {
					s.db.Abandon()
					s.disk = s.disk.Crash()
					s.start()
				}}
			})
		})
	}
}

var alice = cxtest.Subscriber{K: aka.K{1}, OPc: aka.OPc{2}, Scheme: aka.AKAv1MD5, IMPIs: []cx.IMPI{"001010000000001@" + cxtest.Home}, Sets: [][]cxtest.Identity{{{IMPU: "sip:alice@" + cxtest.Home}}}}

func challenge() *cx.MultimediaAuthRequest {
	return &cx.MultimediaAuthRequest{IMPI: alice.IMPIs[0], IMPU: alice.Sets[0][0].IMPU, ServerName: scscf, Scheme: cx.SchemeDigestAKA, Items: 1}
}

func TestCx_keys_do_not_travel_in_the_clear(t *testing.T) {
	s := newSplit(t, transport{pipe: true}, []cxtest.Subscriber{alice})
	s.run(func(t *shard.Task) {
		if a, err := s.client.MultimediaAuth(t, challenge()); err == nil || a != nil {
			s.t.Errorf("the client asked in the clear: %v, %v", a, err)
		}
		if _, err := s.client.UserAuthorization(t, &cx.UserAuthorizationRequest{IMPI: alice.IMPIs[0], IMPU: alice.Sets[0][0].IMPU,
			VisitedNetworkID: cxtest.Home}); err != nil {
			s.t.Errorf("UAR, which has no keys: %v", err)
		}
	})

	// A client that would take them: the server refuses.
	greedy, err := cxwire.NewClient(cxwire.ClientConfig{Realm: cxtest.Home, LabCleartextKeys: true})
	s.must(err)
	greedy.Bind(s.nodes[1])
	s.run(func(t *shard.Task) {
		if a, err := greedy.MultimediaAuth(t, challenge()); !errors.Is(err, cx.ErrUnableToComply) || a != nil {
			s.t.Errorf("the server answered in the clear: %v, %v", a, err)
		}
	})
	if reason := <-s.refused; reason != cxwire.ReasonKeysInClear {
		t.Errorf("refused because of %s", reason)
	}
}

// A node speaks for its own S-CSCFs: no other one's users and vectors are to be had in its name (TS 29.228 6.1.2, 6.3).
func TestCx_the_name_of_another_SCSCF_is_refused(t *testing.T) {
	s := newSplit(t, transports[0], []cxtest.Subscriber{alice})
	s.run(func(t *shard.Task) {
		for _, name := range []string{"sip:scscf3." + cxtest.Home, "sip:" + hssHost, "SIP:scscf1." + cxtest.Home, scscf + ":5060", "sip:x@" + cscfHost, scscf + ";lr"} {
			r := challenge()
			r.ServerName = name
			if a, err := s.client.MultimediaAuth(t, r); err == nil || a != nil {
				s.t.Errorf("a vector in the name of %s: %v", name, err)
			}
			a, err := s.client.ServerAssignment(t, &cx.ServerAssignmentRequest{IMPI: alice.IMPIs[0], IMPUs: []cx.IMPU{alice.Sets[0][0].IMPU}, ServerName: name,
				Type: cx.UnregisteredUser})
			if err == nil || a != nil {
				s.t.Errorf("a user in the name of %s: %v", name, err)
			}
		}
		for _, name := range []string{scscf, second, "sip:" + cscfHost, "sip:" + cscfHost + ":6060"} {
			r := challenge()
			r.ServerName = name
			if _, err := s.client.MultimediaAuth(t, r); err != nil {
				s.t.Errorf("its own name %s: %v", name, err)
			}
		}
	})
	if n := s.counters.RefusedReason[diameter.ReasonValue].Load(); n != 12 {
		t.Errorf("%d refusals are counted", n)
	}
}

func TestCx_batch_is_refused(t *testing.T) {
	s := newSplit(t, transports[1], nil)
	s.run(func(t *shard.Task) {
		if _, err := s.client.ServerAssignment(t, &cx.ServerAssignmentRequest{Batch: new(cx.Batch)}); !errors.Is(err, cx.ErrUnableToComply) {
			s.t.Error(err)
		}
	})
}

// What the HSS pushes reaches the S-CSCF that sent the SAR.
func TestCx_push(t *testing.T) {
	s := newSplit(t, transports[0], []cxtest.Subscriber{alice})
	s.run(func(t *shard.Task) {
		if _, err := s.client.MultimediaAuth(t, challenge()); err != nil {
			s.t.Error(err)
		}
		if _, err := s.client.ServerAssignment(t, &cx.ServerAssignmentRequest{IMPI: alice.IMPIs[0], IMPUs: []cx.IMPU{alice.Sets[0][0].IMPU},
			ServerName: scscf, Type: cx.AssignRegistration}); err != nil {
			s.t.Error(err)
		}
	})
	s.must(s.hss.Remove(context.Background(), string(alice.IMPIs[0])))
	s.scscf.mu.Lock()
	defer s.scscf.mu.Unlock()
	if len(s.scscf.ended) != 1 || s.scscf.ended[0].IMPI != alice.IMPIs[0] || s.scscf.ended[0].ServerName != scscf {
		t.Errorf("%+v", s.scscf.ended)
	}
}
