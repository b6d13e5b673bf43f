package live_test

import (
	"context"
	"testing"
	"time"

	"imsafe/client/media"
	"imsafe/client/ue"
	"imsafe/proto/siptxn"
	"imsafe/test/live"
)

// TestIPsec_among_others lets clients inside security associations and over TLS write to each other and call each other, in both
// directions: who protects himself one way reaches who does it another way.
func TestIPsec_among_others(t *testing.T) {
	n := live.Start(t, live.Options{})
	ctx, cancel := context.WithTimeout(context.Background(), 3*live.Patience)
	defer cancel()
	var clients []*live.UE
	for _, kind := range []struct {
		name      string
		scheme    string
		transport ue.Transport
	}{{"ipsec", live.AKAv1, ue.IPsecUDP}, {"tls", live.AKAv2, ue.TLS}, {"also", live.AKAv1, ue.IPsecUDP}, {"stream", live.AKAv1, ue.IPsecTCP}} {
		user := live.NewUsers(kind.name, 1, kind.scheme)
		if err := n.Provision(ctx, user...); err != nil {
			t.Fatal(err)
		}
		x, err := n.UE(user[0], kind.transport, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := x.Register(ctx)
		if err != nil {
			t.Fatalf("%s: %v\n%s", kind.name, err, n.Log())
		}
		t.Logf("%s: %s, %s", kind.name, r.Protection, r.Scheme)
		clients = append(clients, x)
	}
	for _, from := range clients {
		for _, to := range clients {
			if from == to {
				continue
			}
			if err := from.SendMessage(ctx, to.User.IMPU, "text/plain", []byte("hello")); err != nil {
				t.Errorf("%s to %s: %v", from.User.Name, to.User.Name, err)
				continue
			}
			if m, err := to.Next(); err != nil || m.From != from.User.IMPU || !m.Asserted {
				t.Errorf("%s heard %+v, %v", to.User.Name, m, err)
			}
			call(ctx, t, from, to)
		}
	}
	for _, x := range clients {
		if err := x.Deregister(ctx); err != nil {
			t.Errorf("%s: %v", x.User.Name, err)
		}
	}
}

// call lets two clients hear each other.
func call(ctx context.Context, t *testing.T, from, to *live.UE) {
	t.Helper()
	out, err := from.Call(ctx, to.User.IMPU, ue.Voice{Play: media.NewTone(440, -10)})
	if err != nil {
		t.Fatalf("%s calls %s: %v", from.User.Name, to.User.Name, err)
	}
	var in *ue.Call
	select {
	case in = <-to.Calls:
	case <-ctx.Done():
		t.Fatalf("%s never rang", to.User.Name)
	}
	in.Answer(ue.Voice{Play: media.NewTone(620, -10)})
	for _, c := range []*ue.Call{out, in} {
		if _, err := c.Until(ctx, ue.Secured); err != nil {
			t.Fatalf("%s calls %s: %v", from.User.Name, to.User.Name, err)
		}
	}
	out.Hangup()
	for _, c := range []*ue.Call{out, in} {
		select {
		case <-c.Done():
		case <-ctx.Done():
			t.Fatal("the call did not end")
		}
	}
}

// TestIPsec_renewal registers again and again over the associations that stand, with and without a challenge, and from the start after
// the network has forgotten them.
func TestIPsec_renewal(t *testing.T) {
	n := live.Start(t, live.Options{})
	ctx, cancel := context.WithTimeout(context.Background(), 3*live.Patience)
	defer cancel()
	user := live.NewUsers("ipsec", 1, live.AKAv1)
	if err := n.Provision(ctx, user...); err != nil {
		t.Fatal(err)
	}
	quick := siptxn.Derive(50*time.Millisecond, 200*time.Millisecond, 250*time.Millisecond)
	for _, transport := range []ue.Transport{ue.IPsecUDP, ue.IPsecTCP} {
		t.Run(transport.String(), func(t *testing.T) { renew(ctx, t, n, user[0], transport, &quick) })
	}
}

func renew(ctx context.Context, t *testing.T, n *live.Node, user *live.User, transport ue.Transport, quick *siptxn.Timers) {
	x, err := n.UE(user, transport, func(c *ue.Config) { c.Timers = quick })
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		if i == 3 && n.Door.Disconnect(n.Gm.Addr()) != 1 { // as after a crash: no packet of the client opens any more
			t.Fatal("there was no association to forget")
		}
		if _, err := x.Register(ctx); err != nil {
			t.Fatalf("%v\n%s", err, n.Log())
		}
		if err := x.SendMessage(ctx, user.IMPU, "text/plain", []byte("to myself")); err != nil {
			t.Fatal(err)
		}
		if _, err := x.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if u, err := n.Usage(); err != nil || u.Associations != 1 {
		t.Errorf("%+v, %v: want one association", u, err)
	}
	if err := x.Deregister(ctx); err != nil {
		t.Error(err)
	}
}
