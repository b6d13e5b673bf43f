package baresip

import (
	"context"
	"testing"

	"imsafe/client/media"
	"imsafe/client/ue"
	"imsafe/config"
	"imsafe/test/live"
)

// presses lets one press a key and the other hear it (RFC 4733): what it writes down of the voice ends with the first re-INVITE, whoever is at the other
// end, but events come in the same stream and under the same keys.
func presses(who, other *phone, key string) {
	who.t.Helper()
	who.command("sndcode", key)
	other.wait("CALL_DTMF_START")
	if e := other.seen[len(other.seen)-1]; e.Param != key {
		who.t.Errorf("%s was pressed, %s hears %q", key, other.Name, e.Param)
	}
}

// holds lets one of two baresips hold the call and resume it, which both agree on; afterwards each hears the other.
func holds(who, other *phone) {
	who.t.Helper()
	for _, step := range []string{"hold", "resume"} {
		who.command(step, "")
		other.wait("CALL_REMOTE_SDP")
		who.wait("CALL_REMOTE_SDP")
	}
	presses(who, other, "5")
	presses(other, who, "6")
}

// TestHold_a_client_of_ours: baresip and a client of ours hold each other, and resume; ours takes new keys in between, which baresip does not notice since
// the anchor is there; both hear each other after each step.
func TestHold_a_client_of_ours(t *testing.T) {
	for _, keying := range []string{"dtls_srtp", "srtp-mand"} {
		t.Run(keying, func(t *testing.T) {
			softphone, own := live.NewUsers("soft", 1, live.MD5)[0], live.NewUsers("ours", 1, live.AKAv2)[0]
			n := live.StartOperated(t, 0, func(c *config.Config) {
				c.HTTPS.Listen = live.AnyPort()
				c.CI.Digest.Enabled, c.CI.DigestMD5.Enabled = true, true
				anchored(c)
			})
			ctx := patient(t)
			if err := n.Provision(ctx, softphone, own); err != nil {
				t.Fatal(err)
			}
			bob, err := n.UE(own, ue.TLS, func(c *ue.Config) { c.Web, c.Vouching = n.Web(), n.Vouching(true) })
			if err != nil {
				t.Fatal(err)
			}
			if _, err := bob.Register(ctx); err != nil {
				t.Fatal(err)
			}
			alice := start(t, n.Node, softphone, aliceHz, keying)
			registered(t, n.Node, 2)
			free := n.Media.Free()
			alice.command("dial", own.IMPU)
			call := <-bob.Calls
			call.Answer(ue.Voice{Play: media.NewTone(bobHz, -10)})
			talk(t, ctx, alice, call)
			aliceHolds(t, ctx, alice, call)
			bobHolds(t, ctx, call)
			if err := call.Rekey(ctx); err != nil {
				t.Fatalf("new keys: %v", err)
			}
			if _, err := call.Until(ctx, ue.Secured); err != nil {
				t.Fatalf("new keys: %v", err)
			}
			again(t, call)
			alice.command("hangup", "")
			ended(t, ctx, call)
			gone(t, n.Node, free)
		})
	}
}

// bobHolds lets our client hold and resume.
func bobHolds(t *testing.T, ctx context.Context, call *ue.Call) {
	t.Helper()
	if err := call.Hold(ctx); err != nil {
		t.Fatalf("hold: %v", err)
	}
	if err := call.Resume(ctx); err != nil {
		t.Fatalf("resume: %v", err)
	}
	again(t, call)
}

// aliceHolds lets baresip hold and resume.
func aliceHolds(t *testing.T, ctx context.Context, alice *phone, call *ue.Call) {
	t.Helper()
	for _, step := range [][2]string{{"hold", "held"}, {"resume", "resumed"}} {
		alice.command(step[0], "")
		if e, err := call.Until(ctx, ue.Held); err != nil || e.Reason != step[1] {
			t.Fatalf("%s: our end is told %+v, %v", step[0], e, err)
		}
	}
	again(t, call)
}

// again waits until our end hears baresip, in windows that are new.
func again(t *testing.T, call *ue.Call) {
	t.Helper()
	windows := call.Media().Windows
	if !within(func() bool { m := call.Media(); return m.Windows > windows+2 && m.Heard.Tone(aliceHz) }) {
		t.Errorf("our end hears %+v", call.Media())
	}
}
