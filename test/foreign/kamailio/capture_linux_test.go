package kamailio

import (
	"testing"

	"imsafe/test/capture"
)

// captured captures everything on loopback while play runs. Then tshark judges what was sent from the addresses of ours: SIP and
// Diameter, nothing malformed, no word of its experts.
func captured(t *testing.T, ours []string, play func()) {
	t.Helper()
	c := capture.New(t, "-d", "udp.port==5060,sip", "-d", "tcp.port==3868,diameter")
	defer func() { // of a test that ends in the middle too: its capture says why
		for _, address := range ours {
			c.Good(t, "(sip || diameter)", "ip.src == "+address, 10)
		}
		if t.Failed() && testing.Verbose() {
			t.Logf("what was sent:\n%s", c.Tshark(t, "-Y", "sip || diameter", "-T", "fields", "-e", "frame.time_relative", "-e", "ip.src", "-e", "ip.dst",
				"-e", "_ws.col.Info"))
		}
	}()
	c.During(t, play)
}
