package baresip

import (
	"context"
	"testing"
	"time"

	"imsafe/config"
	"imsafe/servicebox/as"
	"imsafe/servicebox/echo"
	"imsafe/test/live"
)

// TestBaresipCallsEcho: whatever keys it can agree on with the anchor, it hears its own tone come back from the service.
func TestBaresipCallsEcho(t *testing.T) {
	for _, keying := range []string{"dtls_srtp", "srtp-mand"} {
		t.Run(keying, func(t *testing.T) {
			svc, server := live.Echo(t)
			n := live.Operate(t, live.Options{Services: []*as.Service{svc}}, func(c *config.Config) {
				c.CI.Digest.Enabled, c.CI.DigestMD5.Enabled = true, true
				anchored(c)
			})
			n.Enrol(echo.Manifest(live.Domain))
			user := live.NewUsers("soft", 1, live.MD5)[0]
			if err := n.Provision(n.Context, user); err != nil {
				t.Fatal(err)
			}
			room, free := server.Free(), n.Media.Free()
			alice := start(t, n.Node, user, aliceHz, keying)
			registered(t, n.Node, 1)
			alice.command("dial", "sip:echo@"+live.Domain)
			alice.wait("CALL_ESTABLISHED")
			alice.wantTone(aliceHz)
			alice.command("hangup", "")
			gone(t, n.Node, free)
			if !within(func() bool { return server.Free() == room }) {
				t.Errorf("%d ports of %d are free at the service", server.Free(), room)
			}
		})
	}
}

// TestBaresipPressesKeys: what its user presses comes to a service as events (RFC 4733), through the anchor, each once.
func TestBaresipPressesKeys(t *testing.T) {
	svc, _ := live.Echo(t)
	pressed := make(chan byte, 16)
	svc.Handle(as.Terminating, func(ctx context.Context, s *as.Session) error {
		c, err := s.AnswerMedia(ctx, nil)
		if err != nil {
			return err
		}
		for {
			e, err := c.Next(ctx)
			if err != nil || e.Kind == as.Ended {
				return nil
			}
			if e.Kind == as.Info {
				pressed <- e.Digit
			}
		}
	})
	n := live.Operate(t, live.Options{Services: []*as.Service{svc}}, func(c *config.Config) {
		c.CI.Digest.Enabled, c.CI.DigestMD5.Enabled = true, true
		anchored(c)
	})
	n.Enrol(echo.Manifest(live.Domain))
	user := live.NewUsers("soft", 1, live.MD5)[0]
	if err := n.Provision(n.Context, user); err != nil {
		t.Fatal(err)
	}
	alice := start(t, n.Node, user, aliceHz, "dtls_srtp")
	registered(t, n.Node, 1)
	alice.command("dial", "sip:echo@"+live.Domain)
	alice.wait("CALL_ESTABLISHED")
	for i, key := range "5#05" {
		if i == 2 { // the call goes on after a hold, under the keys that it had
			for _, step := range []string{"hold", "resume"} {
				alice.command(step, "")
				alice.wait("CALL_REMOTE_SDP")
			}
		}
		alice.command("sndcode", string(key))
		select {
		case got := <-pressed:
			if got != byte(key) {
				t.Errorf("%q was pressed, %q is told", key, got)
			}
		case <-time.After(live.Patience):
			t.Fatalf("%q is not told", key)
		}
	}
	alice.command("hangup", "")
	if len(pressed) != 0 {
		t.Errorf("%d more are told", len(pressed))
	}
}
