package hss

import (
	"fmt"
	"testing"

	"imsafe/config"
	"imsafe/test/capture"
	"imsafe/test/peer"
)

// TestCapture plays the day once more in clear, in a namespace of its own, and tshark reads what our CSCFs sent to clients, to each other
// and to the HSS. It finds nothing malformed.
func TestCapture(t *testing.T) {
	peer.Need(t, "tshark")
	peer.Need(t, "erl")
	peer.Need(t, "osmo-auc-gen")
	if !peer.InNamespace(t) {
		return
	}
	authority := newAuthority(t)
	hss := run(t, authority, setting{name: "hss", at: free(t), clear: true})
	n := start(t, authority, []*foreign{hss}, func(c *config.Config) { c.Cx.LabCleartextKeys, c.Mw.Clear = true, true })
	decode := []string{"-d", fmt.Sprintf("tcp.port==%d,diameter", hss.at.Port())}
	for _, port := range []uint16{n.lab.Port(), n.inner[0].Port(), n.inner[1].Port()} {
		decode = append(decode, "-d", fmt.Sprintf("udp.port==%d,sip", port))
	}
	c := capture.New(t, decode...)
	c.During(t, func() { day(t, n, hss) })
	c.Good(t, "diameter", fmt.Sprintf("tcp.dstport == %d", hss.at.Port()), 30)
	c.Good(t, "sip", "ip.src == "+frontAddress, 30)
	c.Good(t, "sip", "ip.src == "+heartAddress, 30)
	hss.content(t)
}
