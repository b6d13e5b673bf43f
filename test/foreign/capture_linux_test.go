package foreign

import (
	"fmt"
	"os"
	"testing"

	"imsafe/test/capture"
	"imsafe/test/peer"
)

// TestCapture plays a mixed load under a capture: registrations, calls and messages of SIPp over lab-udp and lab TCP and of phones
// over TLS. Then no key is found in it (ZB-01), nor in what was inside TLS, in the log or in the store, and tshark finds nothing
// malformed in what we sent.
func TestCapture(t *testing.T) {
	peer.Need(t, "sipp")
	peer.Need(t, "tshark")
	if !peer.InNamespace(t) {
		return
	}
	scale := 4
	if testing.Short() {
		scale = 1
	}
	m := newMix(t, scale)
	liar := ""
	lab, tls := m.node.Lab.Port(), m.node.TLS.Port()
	c := capture.New(t, "-o", "tls.keylog_file:"+m.keylog.Name(), "-d", fmt.Sprintf("udp.port==%d,sip", lab),
		"-d", fmt.Sprintf("tcp.port==%d,sip", lab), "-d", fmt.Sprintf("tls.port==%d,sip", tls))
	c.During(t, func() {
		liar = m.lie()
		m.play()
	})
	if t.Failed() {
		return
	}
	raw, err := os.ReadFile(c.File)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("no key walks", func(t *testing.T) { m.findNoKeys(t, raw) })
	t.Run("nothing is malformed", func(t *testing.T) {
		c.Good(t, "sip", fmt.Sprintf("udp.srcport == %d", lab), 10)
		c.Good(t, "sip", fmt.Sprintf("tcp.srcport == %d", lab), 10)
		c.Good(t, "sip", fmt.Sprintf("tcp.srcport == %d", tls), 10)
		// The same judge sees what another sent that is not good: else he proves nothing.
		if _, against := c.Judge(t, "sip", "udp.srcport == "+liar); len(against) == 0 {
			t.Error("tshark has nothing against what is malformed")
		}
	})
}
