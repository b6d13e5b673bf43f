package live_test

import (
	"context"
	"net/netip"
	"strings"
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
			ctx, cancel := context.WithTimeout(t.Context(), 3*live.Patience)
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

// TestAnchoredCall_of_a_client_that_is_lost: the other end is told, and the ports come back.
func TestAnchoredCall_of_a_client_that_is_lost(t *testing.T) {
	node := live.Start(t, live.Options{Configure: anchors})
	ctx, cancel := context.WithTimeout(t.Context(), 3*live.Patience)
	defer cancel()
	free := node.Media.Free()
	parties := registeredUEs(t, ctx, node, ue.TLS, ue.TLS)
	_, in := talk(t, ctx, parties[0], parties[1])
	node.Door.Disconnect(netip.MustParseAddr("127.0.0.1"))
	idle(t, ctx, node, free)
	in.Hangup() // whoever has no connection has to find out himself
}

// TestAnchoredCalls_in_clear: a node without a waiver refuses them, one with it lets them be, and says so when it starts. One for telephones with
// security associations is for nobody else.
func TestAnchoredCalls_in_clear(t *testing.T) {
	const nobody, named, telephones = "nobody", "named", "telephones"
	for name, c := range map[string]struct {
		waiver    string
		transport ue.Transport
		waived    bool
	}{
		"refused":                       {nobody, ue.TLS, false},
		"waived":                        {named, ue.TLS, true},
		"refused to telephones":         {nobody, ue.IPsecUDP, false},
		"waived for telephones":         {telephones, ue.IPsecUDP, true},
		"waived for telephones, by TLS": {telephones, ue.TLS, false},
	} {
		t.Run(name, func(t *testing.T) {
			scheme, waived := live.AKAv2, c.waived
			if c.transport != ue.TLS {
				scheme = live.AKAv1
			}
			users := live.NewUsers("plain", 2, scheme)
			node := live.Start(t, live.Options{Configure: func(to *config.Config) {
				anchors(to)
				switch waiver := (config.CSWaiver{Owner: "the laboratory", Until: "2099-12-31"}); c.waiver {
				case named:
					waiver.Identities = []string{users[0].IMPU, users[1].IMPU}
					to.CS.Waivers = append(to.CS.Waivers, waiver)
				case telephones:
					waiver.IPsec = true
					to.CS.Waivers = append(to.CS.Waivers, waiver)
				}
			}})
			ctx, cancel := context.WithTimeout(t.Context(), 3*live.Patience)
			defer cancel()
			if err := node.Provision(ctx, users...); err != nil {
				t.Fatal(err)
			}
			free := node.Media.Free()
			var parties []*live.UE
			for _, u := range users {
				x, err := node.UE(u, c.transport, func(c *ue.Config) { c.Lab, c.PlainRTP = true, true })
				if err != nil {
					t.Fatal(err)
				}
				if _, err := x.Register(ctx); err != nil {
					t.Fatal(err)
				}
				parties = append(parties, x)
			}
			if !waived {
				call, err := parties[0].Call(ctx, users[1].IMPU, ue.Voice{})
				if err != nil {
					t.Fatal(err)
				}
				<-call.Done()
				if code := call.Result().Code; code != 488 {
					t.Errorf("a call in clear ended with %d", code)
				}
				idle(t, ctx, node, free)
				return
			}
			out, in := talk(t, ctx, parties[0], parties[1])
			if p := out.Media().Protection; p != "RTP in clear" {
				t.Errorf("the call is %s", p)
			}
			out.Hangup()
			<-in.Done()
			idle(t, ctx, node, free)
			if log := string(node.Log()); !strings.Contains(log, "media-waiver") || strings.Contains(log, users[0].IMPU) {
				t.Errorf("the log does not say that there is a waiver, or for whom: %s", log)
			}
		})
	}
}

// TestAnchoredCall_reliable: 183 with the answer, PRACK and a 200 without a description pass the network (RFC 3262), both ends believe nobody but it, and
// the gates of the anchor are those of the 183.
func TestAnchoredCall_reliable(t *testing.T) {
	h := live.StartOperated(t, 0, func(c *config.Config) { c.HTTPS.Listen = live.AnyPort(); anchors(c) })
	ctx, cancel := context.WithTimeout(t.Context(), 3*live.Patience)
	defer cancel()
	free := h.Media.Free()
	users := live.NewUsers("ue", 2, live.AKAv2)
	if err := h.Provision(ctx, users...); err != nil {
		t.Fatal(err)
	}
	var parties []*live.UE
	for _, u := range users {
		x, err := h.UE(u, ue.TLS, func(c *ue.Config) { c.Reliable, c.Web, c.Vouching = true, h.Web(), h.Vouching(true) })
		if err == nil {
			_, err = x.Register(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
		parties = append(parties, x)
	}
	out, err := parties[0].Call(ctx, users[1].IMPU, ue.Voice{Play: media.NewTone(440, -10)})
	if err != nil {
		t.Fatal(err)
	}
	var in *ue.Call
	select {
	case in = <-parties[1].Calls:
	case <-ctx.Done():
		t.Fatalf("no call came: %+v", out.Result())
	}
	in.Ring()
	if _, err := out.Until(ctx, ue.Ringing); err != nil { // a 180 that comes behind the PRACK of the 183
		t.Fatal(err)
	}
	in.Answer(ue.Voice{Play: media.NewTone(620, -10)})
	hears(t, ctx, out, 620)
	hears(t, ctx, in, 440)
	if who := out.Vouched().Identity; who != users[1].IMPU {
		t.Errorf("the network vouches for %q", who)
	}
	out.Hangup()
	<-in.Done()
	idle(t, ctx, h.Node, free)
}
