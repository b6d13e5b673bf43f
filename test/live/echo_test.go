package live_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"imsafe/client/media"
	"imsafe/client/ue"
	"imsafe/config"
	"imsafe/servicebox/as"
	"imsafe/servicebox/echo"
	"imsafe/test/live"
)

// TestEcho: a client calls echo, with an offer and without, through the anchor or without one, and hears its own tone come back, also after it has held; nothing is left
// of it anywhere.
func TestEcho(t *testing.T) {
	for name, c := range map[string]struct {
		transport ue.Transport
		configure []func(*config.Config)
	}{
		"through the anchor, over IPsec": {ue.IPsecUDP, []func(*config.Config){anchors}},
		"through the anchor, over TLS":   {ue.TLS, []func(*config.Config){anchors}},
		"without an anchor":              {ue.TLS, nil},
	} {
		t.Run(name, func(t *testing.T) {
			svc, server := live.Echo(t)
			e := &enrolling{live.Operate(t, live.Options{Services: []*as.Service{svc}}, c.configure...), t}
			e.Enrol(echo.Manifest(live.Domain))
			room, free := server.Free(), 0
			if e.Media != nil {
				free = e.Media.Free()
			}
			alice := registeredUEs(t, e.Context, e.Node, c.transport)[0]
			for i, hz := range []float64{440, 1000} { // the second lets echo offer
				call, err := alice.Call(e.Context, "sip:echo@"+live.Domain, ue.Voice{Play: media.NewTone(hz, -10), NoOffer: i == 1})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := call.Until(e.Context, ue.Secured); err != nil {
					t.Fatal(err)
				}
				hears(t, e.Context, call, hz)
				if at := call.Media().Remote.Port(); (at >= 14000 && at < 16000) != (e.Media != nil) {
					t.Errorf("her media go to port %d", at)
				}
				if p := call.Media().Protection; p != "DTLS-SRTP AEAD_AES_256_GCM" || server.Free() != room-1 {
					t.Errorf("the call is %s, %d ports of %d are free", p, server.Free(), room)
				}
				if err := call.Hold(e.Context); err != nil {
					t.Fatal(err)
				}
				before := call.Media().PacketsIn
				if err := call.Resume(e.Context); err != nil {
					t.Fatal(err)
				}
				goesOn(t, e.Context, call, before)
				call.Hangup()
				<-call.Done()
			}
			returned(t, e, server.Free, room)
			if e.Media != nil {
				idle(t, e.Context, e.Node, free)
			}
			if n := svc.Counters().Failed.Load() + server.Counters().Failed.Load(); n != 0 {
				t.Errorf("%d have failed", n)
			}
		})
	}
}

// TestEcho_of_a_client_that_is_lost: the anchor's end of it ends the call at the service.
func TestEcho_of_a_client_that_is_lost(t *testing.T) {
	svc, server := live.Echo(t)
	e := &enrolling{live.Operate(t, live.Options{Services: []*as.Service{svc}}, anchors), t}
	e.Enrol(echo.Manifest(live.Domain))
	room, free := server.Free(), e.Media.Free()
	alice := registeredUEs(t, e.Context, e.Node, ue.TLS)[0]
	call, err := alice.Call(e.Context, "sip:echo@"+live.Domain, ue.Voice{Play: media.NewTone(440, -10)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := call.Until(e.Context, ue.Secured); err != nil {
		t.Fatal(err)
	}
	hears(t, e.Context, call, 440)
	e.Door.Disconnect(netip.MustParseAddr("127.0.0.1"))
	returned(t, e, server.Free, room)
	idle(t, e.Context, e.Node, free)
	call.Hangup() // whoever has no connection has to find out himself
}

// goesOn waits until more packets have come than before.
func goesOn(t *testing.T, ctx context.Context, c *ue.Call, before uint64) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for c.Media().PacketsIn < before+10 {
		select {
		case <-tick.C:
		case <-c.Done():
			t.Fatalf("the call ended: %+v", c.Result())
		case <-ctx.Done():
			t.Fatal("nothing is heard after hold")
		}
	}
}

// returned waits until a media server has all its ports back.
func returned(t *testing.T, e *enrolling, free func() int, want int) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for free() != want {
		select {
		case <-tick.C:
		case <-e.Context.Done():
			t.Fatalf("%d ports of %d are free", free(), want)
		}
	}
}
