package wire

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"imsafe/imsbox/hss"
	"imsafe/proto/diameter"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/sh"
	"imsafe/refpoint/sh/shtest"
	"imsafe/refpoint/sh/shwire"
	"imsafe/secure"
	"imsafe/store"
	"imsafe/store/disk"
	"imsafe/store/seal"
)

// services is an HSS and application servers, each a Diameter node with a certificate of its own, over loopback.
type services struct {
	t       testing.TB
	hss     *hss.HSS
	db      *store.DB
	disk    *disk.Fake
	image   *store.MemoryImage
	keys    *seal.Keyring
	list    *hss.Permissions
	shards  [2]*shard.Shard // of the HSS, of the application servers
	server  *shwire.Server
	node    *diameter.Node
	clients map[string]*shwire.Client // by service
	up      chan struct{}
}

// currentSh is the HSS that runs now: the suite crashes it.
type currentSh struct{ s *services }

func (c currentSh) UserData(t *shard.Task, r *sh.UserDataRequest) (*sh.UserDataAnswer, error) {
	return c.s.hss.UserData(t, r)
}
func (c currentSh) ProfileUpdate(t *shard.Task, r *sh.ProfileUpdateRequest) (*sh.ProfileUpdateAnswer, error) {
	return c.s.hss.ProfileUpdate(t, r)
}
func (c currentSh) SubscribeNotifications(t *shard.Task, r *sh.SubscribeNotificationsRequest) (*sh.SubscribeNotificationsAnswer, error) {
	return c.s.hss.SubscribeNotifications(t, r)
}

func newServices(t testing.TB, w shtest.World) *services {
	t.Helper()
	keys, err := seal.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &services{t: t, disk: disk.NewFake(1), image: store.Memory(), keys: keys, clients: map[string]*shwire.Client{}, up: make(chan struct{}, 16)}
	var shards, nodes sync.WaitGroup
	for i := range s.shards {
		sh := shard.New(shard.Config{Clock: shard.RealClock(), ID: uint8(i), OnPanic: func(v any, stack []byte) { t.Errorf("%v\n%s", v, stack) }})
		s.shards[i] = sh
		shards.Go(func() { _ = sh.Run(context.Background()) }) // until Close
	}
	s.list = hss.NewPermissions(shard.RealClock())
	for _, as := range w.Services {
		var grants []hss.Grant
		for _, g := range w.Grants {
			if g.Service == as.AS.Service {
				grants = append(grants, hss.Grant{Data: g.Data, AllData: g.AllData, Indications: g.Indications, Ops: g.Ops, Groups: g.Groups, Everybody: g.Everybody,
					PerSecond: g.PerSecond, Burst: g.Burst})
			}
		}
		s.must(s.list.Set(as.AS.Service, grants...))
	}
	s.start()
	s.provision(w)
	ctx, cancel := context.WithCancel(context.Background())
	all := s.join(ctx, w, &nodes)
	for _, n := range all {
		nodes.Go(func() { _ = n.Run(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		nodes.Wait()
		for _, sh := range s.shards {
			sh.Close()
		}
		s.must(s.db.Close())
		shards.Wait()
	})
	for range w.Services {
		select {
		case <-s.up:
		case <-time.After(time.Minute):
			t.Fatal("the nodes did not meet")
		}
	}
	return s
}

func (s *services) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// start opens the store and makes an HSS over it.
func (s *services) start() {
	s.t.Helper()
	var err error
	s.db, err = store.Open(store.Options{Disk: s.disk, Image: s.image.Open, Clock: shard.RealClock(), Tables: hss.Tables(), Window: -1,
		Random: mathrand.NewChaCha8([32]byte{1}), Lab: true, SegmentBytes: 4 << 20})
	s.must(err)
	s.hss, err = hss.New(hss.Config{HomeDomains: []string{shtest.Home}}, hss.Ports{Store: s.db, Keys: func() *seal.Keyring { return s.keys },
		Random: rand.Reader, Clock: shard.RealClock(), Gate: secure.NewGate(nil, nil), Shard: s.shards[0], Permission: s.list,
		Notify: func(as sh.AS) sh.Client { return s.server.Push(as) }})
	s.must(err)
}

func (s *services) provision(w shtest.World) {
	s.t.Helper()
	ctx, groups := context.Background(), map[string]*hss.Group{}
	for _, x := range w.Subscribers {
		groups[x.Group] = &hss.Group{Name: x.Group, Profile: x.Group}
	}
	for name, g := range groups {
		p := &cx.ServiceProfile{SubscribedMediaProfile: -1}
		for _, c := range w.Criteria {
			if c.Group == name {
				p.Criteria = append(p.Criteria, cx.InitialFilterCriteria{Priority: c.Priority, DSAI: c.DSAI, Server: cx.ApplicationServer{ServerName: c.Server}})
			}
		}
		if ccf := w.Charging[name]; ccf != "" {
			g.Charging = &cx.ChargingInformation{PrimaryCCF: ccf}
		}
		s.must(errors.Join(s.hss.PutProfile(ctx, name, p), s.hss.PutGroup(ctx, g)))
	}
	for i, x := range w.Subscribers {
		sub := hss.Subscriber{Card: hss.Card{IMPI: string(x.IMPI)}, Group: x.Group}
		if x.Service {
			sub.Service = &hss.Service{}
		} else {
			sub.K = hss.Secret(hex.EncodeToString(slices.Repeat([]byte{byte(i), 100}, 8)))
			sub.OPc = hss.Secret(hex.EncodeToString(slices.Repeat([]byte{byte(i), 200}, 8)))
		}
		for _, impu := range x.IMPUs {
			sub.Public = append(sub.Public, hss.Public{IMPU: string(impu), Barred: slices.Contains(x.Barred, impu)})
		}
		s.must(s.hss.Add(ctx, &sub))
	}
}

// join makes the nodes: that of the HSS, which listens, and one for each application server.
func (s *services) join(ctx context.Context, w shtest.World, serving *sync.WaitGroup) []*diameter.Node {
	s.t.Helper()
	names, hosts := map[string]string{}, []string{hssHost}
	for _, as := range w.Services {
		names[as.AS.Host] = as.AS.Service
		hosts = append(hosts, as.AS.Host)
	}
	certs := certificates(s.t, hosts...)
	var err error
	s.server, err = shwire.NewServer(shwire.ServerConfig{HSS: currentSh{s}, Shards: s.shards[:1], Service: func(host string) string { return names[host] }})
	s.must(err)
	cfg := nodeConfig(hssHost, certs[0], s.shards[0], s.server.Application())
	for _, as := range w.Services {
		cfg.Peers = append(cfg.Peers, diameter.PeerConfig{Host: as.AS.Host, Realm: shtest.Home, Role: shwire.RoleAS()})
	}
	s.node, err = diameter.New(cfg)
	s.must(err)
	s.server.Bind(s.node)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	s.must(err)
	serving.Go(func() { _ = s.node.Serve(ctx, ln, true) })
	all := []*diameter.Node{s.node}
	for i, as := range w.Services {
		client, err := shwire.NewClient(shwire.ClientConfig{Realm: shtest.Home, AS: as.Client, Shards: s.shards[1:]})
		s.must(err)
		cfg := nodeConfig(as.AS.Host, certs[i+1], s.shards[1], client.Application())
		cfg.Peers = []diameter.PeerConfig{{Host: hssHost, Realm: shtest.Home, Role: shwire.RoleHSS(), Dial: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
		}}}
		cfg.Changed = func(_ string, up bool) {
			if up {
				s.up <- struct{}{}
			}
		}
		n, err := diameter.New(cfg)
		s.must(err)
		client.Bind(n)
		s.clients[as.AS.Service] = client
		all = append(all, n)
	}
	return all
}

func nodeConfig(host string, cert *tls.Config, on *shard.Shard, app diameter.ApplicationConfig) diameter.Config {
	return diameter.Config{Identities: diameter.Identities{Host: host, Realm: shtest.Home}, Product: "imsafe",
		Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, TLS: cert, Shard: on, Random: rand.Reader, Sleep: time.Sleep,
		Applications: []diameter.ApplicationConfig{app}}
}

// assigns lets an S-CSCF beside the HSS take an identity, or give it up.
func (s *services) assigns(kind cx.ServerAssignmentType) func(sh.IMPI, sh.IMPU, string) {
	return func(impi sh.IMPI, impu sh.IMPU, server string) {
		s.t.Helper()
		s.must(s.shards[0].Call(context.Background(), func(t *shard.Task) {
			_, err := s.hss.ServerAssignment(t, &cx.ServerAssignmentRequest{IMPI: impi, IMPUs: []cx.IMPU{impu}, ServerName: server, Type: kind})
			if err != nil {
				s.t.Error(err)
			}
		}))
	}
}

// run runs a procedure of an application server.
func (s *services) run(fn func(t *shard.Task)) {
	s.t.Helper()
	s.must(s.shards[1].Call(context.Background(), fn))
}

func TestSh_contract(t *testing.T) {
	shtest.Run(t, func(t *testing.T, w shtest.World) *shtest.Fixture {
		s := newServices(t, w)
		return &shtest.Fixture{As: func(as sh.AS) sh.Server { return s.clients[as.Service] }, Run: s.run, Now: time.Now,
			Late:     func() <-chan time.Time { return time.After(time.Minute) },
			Register: s.assigns(cx.AssignRegistration), Deregister: s.assigns(cx.UserDeregistration),
			Remove: func(impu sh.IMPU) { s.must(s.hss.Remove(context.Background(), string(impu))) },
			Crash: func() {
				s.db.Abandon()
				s.disk = s.disk.Crash()
				s.start()
			}}
	})
}

// pullState asks for the state of a user.
func (s *services) pullState(service string, user sh.IMPU) (a *sh.UserDataAnswer, err error) {
	s.run(func(t *shard.Task) {
		a, err = s.clients[service].UserData(t, &sh.UserDataRequest{User: sh.UserIdentity{Public: user}, Key: sh.Key{Reference: sh.RefIMSUserState}})
	})
	return a, err
}

// quiet hears and says nothing.
type quiet struct{}

func (quiet) PushNotification(*shard.Task, *sh.PushNotificationRequest) error { return nil }

// oneService is a world with a user of the group staff and a service that may read his state.
func oneService() shtest.World {
	as := sh.AS{Service: "mail", Host: "mail.as." + shtest.Home}
	return shtest.World{Subscribers: []shtest.Subscriber{{IMPI: "001010000000001@" + shtest.Home, Group: "staff", IMPUs: []sh.IMPU{"sip:alice@" + shtest.Home}}},
		Grants: []shtest.Grant{{Service: as.Service, Data: []sh.DataReference{sh.RefIMSUserState, sh.RefRepositoryData}, Ops: sh.Pull | sh.Subscribe,
			Groups: []string{"staff"}, PerSecond: 1e9}},
		Services: []shtest.Service{{AS: as, Client: quiet{}}}}
}

// A service is who its certificate says: what it writes into its requests, or into its Origin-Host, changes nothing.
func TestSh_identity_is_the_certificate(t *testing.T) {
	w := oneService()
	other := sh.AS{Service: "other", Host: "other.as." + shtest.Home}
	w.Services = append(w.Services, shtest.Service{AS: other, Client: quiet{}})
	s := newServices(t, w)
	if _, err := s.pullState("mail", "sip:alice@"+shtest.Home); err != nil {
		t.Error(err)
	}
	var err error
	s.run(func(t *shard.Task) {
		_, err = s.clients["other"].UserData(t, &sh.UserDataRequest{AS: w.Services[0].AS, User: sh.UserIdentity{Public: "sip:alice@" + shtest.Home},
			Key: sh.Key{Reference: sh.RefIMSUserState}})
	})
	if !errors.Is(err, sh.ErrUserDataCannotBeRead) {
		t.Errorf("in another's name: %v", err)
	}
}

// BenchmarkSh measures Sh-Pull from the service's procedure to the HSS and back over mutual TLS on loopback, both sides, the work of the
// HSS and the kernel included; cpu-us/op is processor time. "in process" is the same without the wire.
func BenchmarkSh(b *testing.B) {
	for _, c := range []struct {
		name  string
		wire  bool
		tasks int
	}{{"Pull/in process", false, 1}, {"Pull/wire/1", true, 1}, {"Pull/wire/64", true, 64}} {
		b.Run(c.name, func(b *testing.B) {
			w := oneService()
			s := newServices(b, w)
			var server sh.Server = s.clients["mail"]
			on := s.shards[1]
			if !c.wire {
				server, on = s.hss, s.shards[0]
			}
			r := &sh.UserDataRequest{AS: w.Services[0].AS, User: sh.UserIdentity{Public: "sip:alice@" + shtest.Home}, Key: sh.Key{Reference: sh.RefIMSUserState}}
			b.ReportAllocs()
			b.ResetTimer()
			before := cpu()
			var done sync.WaitGroup
			for i := range c.tasks {
				n := b.N / c.tasks
				if i < b.N%c.tasks {
					n++
				}
				done.Go(func() {
					_ = on.Call(context.Background(), func(t *shard.Task) {
						for range n {
							if _, err := server.UserData(t, r); err != nil {
								b.Error(err)
								return
							}
						}
					})
				})
			}
			done.Wait()
			b.ReportMetric(float64((cpu()-before).Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
			b.StopTimer()
		})
	}
}
