package live_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"imsafe/client/media"
	"imsafe/client/ue"
	"imsafe/config"
	"imsafe/test/live"
)

// anchors lets a node anchor media on loopback.
func anchors(c *config.Config) {
	c.CS.Listen = []config.Address{{AddrPort: netip.MustParseAddrPort("127.0.0.1:14000")}}
	c.CS.Ports = 2000
}

// registeredUEs starts clients of ours and registers them.
func registeredUEs(t *testing.T, ctx context.Context, n *live.Node, transports ...ue.Transport) (all []*live.UE) {
	t.Helper()
	users := live.NewUsers("ue", len(transports), live.AKAv2)
	for i, transport := range transports {
		if transport != ue.TLS {
			users[i].Scheme = live.AKAv1
		}
		if err := n.Provision(ctx, users[i]); err != nil {
			t.Fatal(err)
		}
		x, err := n.UE(users[i], transport, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Register(ctx); err != nil {
			t.Fatalf("%s: %v", users[i].Name, err)
		}
		all = append(all, x)
	}
	return all
}

// talk lets a call b, and both be heard.
func talk(t *testing.T, ctx context.Context, a, b *live.UE) (out, in *ue.Call) {
	t.Helper()
	out, err := a.Call(ctx, b.User.IMPU, ue.Voice{Play: media.NewTone(440, -10)})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case in = <-b.Calls:
	case <-out.Done():
		t.Fatalf("the call ended: %+v", out.Result())
	case <-ctx.Done():
		t.Fatal("no call came")
	}
	in.Answer(ue.Voice{Play: media.NewTone(620, -10)})
	for call, hz := range map[*ue.Call]float64{out: 620, in: 440} {
		if _, err := call.Until(ctx, ue.Secured); err != nil {
			t.Fatalf("%v, %s", err, n(call))
		}
		hears(t, ctx, call, hz)
	}
	return out, in
}

func n(c *ue.Call) string { return c.Media().Protection }

// hears waits until a call hears a clean tone.
func hears(t *testing.T, ctx context.Context, c *ue.Call, hz float64) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !c.Media().Heard.Tone(hz) {
		select {
		case <-tick.C:
		case <-c.Done():
			t.Fatalf("the call ended: %+v", c.Result())
		case <-ctx.Done():
			t.Fatalf("%.0f Hz is not heard, but %+v", hz, c.Media())
		}
	}
}

// idle waits until the anchor has all its ports back.
func idle(t *testing.T, ctx context.Context, n *live.Node, free int) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n.Media.Free() != free || n.PCSCF.Anchored() != 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d pairs of ports free, %d before; %d calls are anchored", n.Media.Free(), free, n.PCSCF.Anchored())
		}
	}
}

func TestAnchoredCall(t *testing.T) {
	for name, transports := range map[string][]ue.Transport{"over TLS": {ue.TLS, ue.TLS}, "IPsec and TLS": {ue.IPsecUDP, ue.TLS}} {
		t.Run(name, func(t *testing.T) {
			node := live.Start(t, live.Options{Configure: anchors})
			ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
			defer cancel()
			free := node.Media.Free()
			parties := registeredUEs(t, ctx, node, transports...)
			out, in := talk(t, ctx, parties[0], parties[1])
			for _, call := range []*ue.Call{out, in} {
				if m := call.Media(); m.Remote.Port() < 14000 || m.Remote.Port() >= 16000 || m.Protection != "DTLS-SRTP AEAD_AES_256_GCM" {
					t.Errorf("media go to %v, %s", m.Remote, m.Protection)
				}
			}
			if out.Media().Remote == in.Media().Remote {
				t.Error("both ends have one port")
			}
			out.Hangup()
			<-in.Done()
			idle(t, ctx, node, free)
		})
	}
}
