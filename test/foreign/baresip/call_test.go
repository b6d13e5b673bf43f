package baresip

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"imsafe/client/isim"
	"imsafe/client/media"
	"imsafe/client/ue"
	"imsafe/config"
	"imsafe/proto/shard"
	"imsafe/test/live"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const aliceHz, bobHz = 440, 620

// house starts a node that admits softphones.
func house(t *testing.T, users ...*live.User) *live.Node { return houseWith(t, nil, users...) }

// houseWith is house with a further change of the configuration.
func houseWith(t *testing.T, change func(*config.Config), users ...*live.User) *live.Node {
	n := live.Start(t, live.Options{Configure: func(c *config.Config) {
		c.CI.Digest.Enabled, c.CI.DigestMD5.Enabled = true, true
		if change != nil {
			change(c)
		}
	}})
	if err := n.Provision(context.Background(), users...); err != nil {
		t.Fatal(err)
	}
	return n
}

// registered waits for so many users.
func registered(t *testing.T, n *live.Node, count int) {
	t.Helper()
	if !within(func() bool { return n.SCSCF.Registered() == count }) { // baresip may have told of it before we listened
		t.Fatalf("%d users are registered, want %d", n.SCSCF.Registered(), count)
	}
}

// within waits for a condition that nothing announces.
func within(met func() bool) bool {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(live.Patience)
	for !met() {
		select {
		case <-tick.C:
		case <-limit:
			return false
		}
	}
	return true
}

func TestTwoBaresipsCallEachOther(t *testing.T) {
	for _, keying := range []string{"dtls_srtp", "srtp-mand"} {
		t.Run(keying, func(t *testing.T) {
			users := live.NewUsers("soft", 2, live.MD5)
			n := house(t, users...)
			alice, bob := start(t, n, users[0], aliceHz, keying), start(t, n, users[1], bobHz, keying)
			registered(t, n, 2)
			alice.command("dial", bob.IMPU)
			alice.wait("CALL_ESTABLISHED")
			bob.wait("CALL_ESTABLISHED")
			bob.wantTone(aliceHz)
			alice.wantTone(bobHz)
			bob.command("hangup", "")
			if !within(func() bool { return n.Door.Walking() == 0 }) {
				t.Errorf("%d requests are still under way", n.Door.Walking())
			}
		})
	}
}

// client is one of ours.
type client struct {
	*ue.UE
	calls chan *ue.Call
}

func ours(t *testing.T, n *live.Node, u *live.User) *client {
	t.Helper()
	c := &client{calls: make(chan *ue.Call, 1)}
	o := ue.Config{Proxy: n.TLS, RootCAs: n.CA, ServerName: "pcscf." + live.Domain, Clock: shard.RealClock(), Rand: rand.Reader,
		OnCall: func(call *ue.Call) { c.calls <- call }, ListenPacket: func(local netip.Addr) (net.PacketConn, error) {
			return net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
		}}
	id := isim.Identity{IMPI: u.IMPI, HomeDomain: live.Domain, IMPUs: []string{u.IMPU}}
	var err error
	if u.Password != "" {
		o.Password = &ue.Password{Identity: id, Secret: ue.Secret(u.Password)}
	} else if o.Card, err = isim.New(isim.Config{Identity: id, K: u.K, OPc: u.OPc, State: isim.Volatile{}}); err != nil {
		t.Fatal(err)
	}
	if c.UE, err = ue.New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("our client: %v", err)
		}
	})
	return c
}

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 3*live.Patience)
	t.Cleanup(cancel)
	return ctx
}

// hears waits until call hears a clean tone.
func hears(ctx context.Context, call *ue.Call, hz float64) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if call.Media().Heard.Tone(hz) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), call.Result().Err)
		}
	}
}

func TestBaresipAndAClientOfOurs(t *testing.T) {
	for name, scheme := range map[string]string{"with a card": live.AKAv2, "with SHA-256": live.SHA256} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, live.NewUsers("soft", 1, live.MD5)[0], live.NewUsers("ours", 1, scheme)[0])
		})
	}
}

// bothWays lets the user of a baresip and one of ours call each other.
func bothWays(t *testing.T, softphone, own *live.User) {
	n := house(t, softphone, own)
	ctx := patient(t)
	bob := ours(t, n, own)
	if _, err := bob.Register(ctx); err != nil {
		t.Fatal(err)
	}
	alice := start(t, n, softphone, aliceHz, "dtls_srtp")
	registered(t, n, 2)

	t.Run("baresip calls", func(t *testing.T) {
		alice.command("dial", own.IMPU)
		var call *ue.Call
		select {
		case call = <-bob.calls:
		case <-ctx.Done():
			t.Fatalf("no call came; baresip told of %v", alice.seen)
		}
		if from, asserted := call.Peer(); from != alice.IMPU || !asserted {
			t.Errorf("from %s, asserted %v", from, asserted)
		}
		call.Ring()
		call.Answer(ue.Voice{Play: media.NewTone(bobHz, -10)})
		talk(t, ctx, alice, call)
		alice.command("hangup", "")
		ended(t, ctx, call)
	})
	t.Run("baresip is called", func(t *testing.T) {
		call, err := bob.Call(ctx, alice.IMPU, ue.Voice{Play: media.NewTone(bobHz, -10)})
		if err != nil {
			t.Fatal(err)
		}
		talk(t, ctx, alice, call)
		call.Hangup()
		ended(t, ctx, call)
	})
}

// talk lets both ends of a call be heard.
func talk(t *testing.T, ctx context.Context, alice *phone, call *ue.Call) {
	t.Helper()
	if _, err := call.Until(ctx, ue.Secured); err != nil {
		t.Fatalf("our end: %v", err)
	}
	if err := hears(ctx, call, aliceHz); err != nil {
		t.Errorf("our end hears %+v: %v", call.Media().Heard, err)
	}
	alice.wantTone(bobHz)
}

func ended(t *testing.T, ctx context.Context, call *ue.Call) {
	t.Helper()
	select {
	case <-call.Done():
	case <-ctx.Done():
		t.Fatal("the call does not end")
	}
	if err := call.Result().Err; err != nil {
		t.Errorf("the call ended with %v", err)
	}
}
