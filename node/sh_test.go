package node_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"imsafe/ca"
	"imsafe/config"
	"imsafe/imsbox/hss"
	"imsafe/node"
	"imsafe/proto/diameter"
	"imsafe/proto/shard"
	"imsafe/refpoint/sh"
	"imsafe/refpoint/sh/shwire"
)

const (
	mailHost  = "voicemail.as." + splitDomain
	otherHost = "other.as." + splitDomain
)

// heardSh is the push side of a service.
type heardSh chan sh.PushNotificationRequest

func (h heardSh) PushNotification(_ *shard.Task, r *sh.PushNotificationRequest) error {
	h <- *r
	return nil
}

// certificateOf is a key with the certificates that vouch for it.
func certificateOf(key *ecdsa.PrivateKey, chain []*x509.Certificate) tls.Certificate {
	c := tls.Certificate{PrivateKey: key}
	for _, one := range chain {
		c.Certificate = append(c.Certificate, one.Raw)
	}
	return c
}

// service is a service in a process of its own, as far as the node can tell.
type service struct {
	*shwire.Client
	sh *shard.Shard
	up chan bool
}

// startService connects to an HSS with a certificate of the authority, under a name.
func startService(t *testing.T, authority *ca.CA, host string, at netip.AddrPort, as sh.Client) *service {
	t.Helper()
	cert, err := authority.Node(time.Hour, []string{host})
	if err != nil {
		t.Fatal(err)
	}
	return startServiceWith(t, cert, authority, host, at, as)
}

// startServiceWith is startService with a certificate that is there; authority vouches for the HSS.
func startServiceWith(t *testing.T, cert tls.Certificate, authority *ca.CA, host string, at netip.AddrPort, as sh.Client) *service {
	t.Helper()
	var err error
	s := &service{sh: shard.New(shard.Config{Clock: shard.RealClock()}), up: make(chan bool, 16)}
	if s.Client, err = shwire.NewClient(shwire.ClientConfig{Realm: splitDomain, AS: as, Shards: []*shard.Shard{s.sh}}); err != nil {
		t.Fatal(err)
	}
	n, err := diameter.New(diameter.Config{Identities: diameter.Identities{Host: host, Realm: splitDomain}, Product: "service", Shard: s.sh,
		Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Random: rand.Reader, Reconnect: time.Second,
		TLS:          &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, RootCAs: authority.Pool()},
		Applications: []diameter.ApplicationConfig{s.Application()}, Changed: func(_ string, up bool) { s.up <- up },
		Peers: []diameter.PeerConfig{{Host: "hss." + splitDomain, Realm: splitDomain, Role: shwire.RoleHSS(), Dial: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", at.String())
		}}}})
	if err != nil {
		t.Fatal(err)
	}
	s.Bind(n)
	ctx, cancel := context.WithCancel(context.Background())
	var running, shards sync.WaitGroup
	shards.Go(func() { _ = s.sh.Run(context.Background()) })
	running.Go(func() { _ = n.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait(); s.sh.Close(); shards.Wait() })
	return s
}

// wantUp waits until the HSS has taken the service in, or let it go.
func (s *service) wantUp(t *testing.T, want bool) {
	t.Helper()
	select {
	case up := <-s.up:
		if up != want {
			t.Fatalf("up is %v", up)
		}
	case <-time.After(time.Minute):
		t.Fatalf("not up %v", want)
	}
}

func (s *service) pull(t *testing.T, impu sh.IMPU, k sh.Key) (a *sh.UserDataAnswer, err error) {
	t.Helper()
	if e := s.sh.Call(t.Context(), func(task *shard.Task) {
		a, err = s.UserData(task, &sh.UserDataRequest{User: sh.UserIdentity{Public: impu}, Key: k})
	}); e != nil {
		t.Fatal(e)
	}
	return a, err
}

// shNode is an HSS with a wire for application servers, and a subscriber of the group staff.
func shNode(t *testing.T) (*split, *node.Node, netip.AddrPort) {
	t.Helper()
	authority, err := ca.New(rand.Reader, shard.RealClock().Wall, splitDomain, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	s := &split{authority: authority, stop: map[*node.Node]func(){}, socket: map[*node.Node]string{}}
	c := config.Default()
	c.Node.Roles, c.Node.Number = []string{"hss"}, 3
	c.Sh.Listen = free(t)
	c.Sh.Services = []config.ShService{{Name: "voicemail", Hosts: []string{mailHost}}}
	c.Sh.Grants = []config.ShGrant{{Service: "voicemail", Data: []string{"*"}, Operations: []string{"pull", "update", "subscribe"}, Groups: []string{"staff"}, Rate: 1000}}
	s.home = s.start(t, &c, "hss."+splitDomain)
	ctx := context.Background()
	err = errors.Join(s.home.HSS.PutGroup(ctx, &hss.Group{Name: "staff"}), s.home.HSS.Add(ctx, &hss.Subscriber{Group: "staff",
		Card:   hss.Card{IMPI: "alice@" + splitDomain, K: hss.Secret(strings.Repeat("0102", 8)), OPc: hss.Secret(strings.Repeat("0304", 8))},
		Public: []hss.Public{{IMPU: "sip:alice@" + splitDomain}, {IMPU: "tel:+15550001"}}}))
	if err != nil {
		t.Fatal(err)
	}
	return s, s.home, c.Sh.Listen.AddrPort
}

// A service with a certificate asks the HSS of a node for what it was granted, and hears of changes.
func TestSh(t *testing.T) {
	s, n, at := shNode(t)
	told := make(heardSh, 4)
	mail := startService(t, s.authority, mailHost, at, told)
	mail.wantUp(t, true)
	const alice = "sip:alice@" + splitDomain
	if a, err := mail.pull(t, alice, sh.Key{Reference: sh.RefIMSPublicIdentity}); err != nil || a.Data == nil || len(a.Data.Identifiers.IMPUs) != 2 {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := mail.pull(t, alice, sh.Key{Reference: sh.RefMSISDN}); !errors.Is(err, sh.ErrUserDataCannotBeRead) {
		t.Errorf("MSISDN by a wildcard: %v", err)
	}
	if _, err := mail.pull(t, "sip:nobody@"+splitDomain, sh.Key{Reference: sh.RefIMSUserState}); !errors.Is(err, sh.ErrUserDataCannotBeRead) {
		t.Errorf("nobody: %v", err)
	}
	var err error
	if e := mail.sh.Call(t.Context(), func(task *shard.Task) {
		_, err = mail.SubscribeNotifications(task, &sh.SubscribeNotificationsRequest{User: sh.UserIdentity{Public: alice}, Key: sh.Key{Reference: sh.RefIMSPublicIdentity}})
	}); e != nil || err != nil {
		t.Fatal(e, err)
	}
	if err := n.HSS.Update(context.Background(), &hss.Subscriber{Group: "staff", Card: hss.Card{IMPI: "alice@" + splitDomain},
		Public: []hss.Public{{IMPU: alice}, {IMPU: "tel:+15550001"}, {IMPU: "sip:a@" + splitDomain}}}); err != nil {
		t.Fatal(err)
	}
	select {
	case r := <-told:
		if len(r.Data.Identifiers.IMPUs) != 3 {
			t.Errorf("told %+v", r.Data.Identifiers)
		}
	case <-time.After(time.Minute):
		t.Error("nothing was told")
	}
}

// Who was not admitted is nobody, whatever his certificate; who is dismissed is out at once, and stays out.
func TestSh_admitted_and_dismissed(t *testing.T) {
	s, n, at := shNode(t)
	other := startService(t, s.authority, otherHost, at, nil)
	if _, err := other.pull(t, "sip:alice@"+splitDomain, sh.Key{Reference: sh.RefIMSUserState}); err == nil {
		t.Error("a stranger was answered")
	}
	if err := errors.Join(n.AdmitSh("other", otherHost), n.Permissions.Set("other", hss.Grant{Data: []sh.DataReference{sh.RefIMSUserState},
		Ops: sh.Pull, Everybody: true, PerSecond: 100})); err != nil {
		t.Fatal(err)
	}
	other.wantUp(t, true)
	if a, err := other.pull(t, "sip:alice@"+splitDomain, sh.Key{Reference: sh.RefIMSUserState}); err != nil || *a.Data.IMS.UserState != sh.NotRegistered {
		t.Errorf("%+v, %v", a, err)
	}
	if err := n.DismissSh(otherHost); err != nil {
		t.Fatal(err)
	}
	other.wantUp(t, false)
	if _, err := other.pull(t, "sip:alice@"+splitDomain, sh.Key{Reference: sh.RefIMSUserState}); err == nil {
		t.Error("it is answered still")
	}
}
