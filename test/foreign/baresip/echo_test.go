package baresip

import (
	"testing"

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
			if !within10s(func() bool { return server.Free() == room }) {
				t.Errorf("%d ports of %d are free at the service", server.Free(), room)
			}
		})
	}
}
