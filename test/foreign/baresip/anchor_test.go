package baresip

import (
	"net/netip"
	"testing"

	"imsafe/client/media"
	"imsafe/client/ue"
	"imsafe/config"
	"imsafe/test/live"
)

// anchored lets media pass the anchor.
func anchored(c *config.Config) {
	c.CS.Listen = []config.Address{{AddrPort: netip.MustParseAddrPort("127.0.0.1:16000")}}
	c.CS.Ports = 2000
}

// gone waits until the anchor has all its ports back.
func gone(t *testing.T, n *live.Node, free int) {
	t.Helper()
	if !within(func() bool { return n.Media.Free() == free && n.PCSCF.Anchored() == 0 }) {
		t.Errorf("%d pairs of ports are free, %d before; %d calls are anchored", n.Media.Free(), free, n.PCSCF.Anchored())
	}
}

// TestBaresipsThroughTheAnchor: whatever either of them can do for its media, they hear each other.
func TestBaresipsThroughTheAnchor(t *testing.T) {
	for _, keying := range [][2]string{{"dtls_srtp", "dtls_srtp"}, {"srtp-mand", "srtp-mand"}, {"dtls_srtp", "srtp-mand"}, {"srtp-mand", "dtls_srtp"}} {
		t.Run(keying[0]+" calls "+keying[1], func(t *testing.T) {
			users := live.NewUsers("soft", 2, live.MD5)
			n := houseWith(t, anchored, users...)
			free := n.Media.Free()
			alice, bob := start(t, n, users[0], aliceHz, keying[0]), start(t, n, users[1], bobHz, keying[1])
			registered(t, n, 2)
			alice.command("dial", bob.IMPU)
			alice.wait("CALL_ESTABLISHED")
			bob.wait("CALL_ESTABLISHED")
			bob.wantTone(aliceHz)
			alice.wantTone(bobHz)
			holds(alice, bob)
			holds(bob, alice)
			bob.command("hangup", "")
			gone(t, n, free)
		})
	}
}

// TestBaresipWithICEThroughTheAnchor: the anchor goes where the checks of a full agent come from, and sends nothing before.
func TestBaresipWithICEThroughTheAnchor(t *testing.T) {
	users := live.NewUsers("soft", 2, live.MD5)
	n := houseWith(t, anchored, users...)
	free := n.Media.Free()
	alice, bob := start(t, n, users[0], aliceHz, "dtls_srtp;medianat=ice"), start(t, n, users[1], bobHz, "srtp-mand")
	registered(t, n, 2)
	alice.command("dial", bob.IMPU)
	alice.wait("CALL_ESTABLISHED")
	bob.wait("CALL_ESTABLISHED")
	bob.wantTone(aliceHz)
	alice.wantTone(bobHz)
	bob.command("hangup", "")
	gone(t, n, free)
}

// TestBaresipAndAClientOfOursThroughTheAnchor: one has keys in its description, the other by DTLS.
func TestBaresipAndAClientOfOursThroughTheAnchor(t *testing.T) {
	softphone, own := live.NewUsers("soft", 1, live.MD5)[0], live.NewUsers("ours", 1, live.AKAv2)[0]
	n := houseWith(t, anchored, softphone, own)
	free := n.Media.Free()
	ctx := patient(t)
	bob := ours(t, n, own)
	if _, err := bob.Register(ctx); err != nil {
		t.Fatal(err)
	}
	alice := start(t, n, softphone, aliceHz, "srtp-mand")
	registered(t, n, 2)
	call, err := bob.Call(ctx, alice.IMPU, ue.Voice{Play: media.NewTone(bobHz, -10)})
	if err != nil {
		t.Fatal(err)
	}
	talk(t, ctx, alice, call)
	call.Hangup()
	ended(t, ctx, call)
	gone(t, n, free)
}
