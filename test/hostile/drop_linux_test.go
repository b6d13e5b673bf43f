package hostile

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"imsafe/config"
	"imsafe/test/live"
	"imsafe/test/peer"
)

// TestDrop: with [ci.drop] a stranger who does not heed thousands of refusals costs the node nothing any more; others are served beside him, and a
// node that has stopped leaves no rules.
func TestDrop(t *testing.T) {
	if !peer.InNamespace(t) {
		return
	}
	n := live.Start(t, live.Options{Subscribers: 1, Configure: func(c *config.Config) {
		c.CI.Budget = config.Default().CI.Budget
		c.CI.Drop.Enabled = true
		c.CI.Drop.After = config.Rate{Limit: 100, Per: config.Of(time.Second), Burst: 200}
	}})
	lab := n.Lab
	stranger, err := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, 7, 7, 7)}}).Dial("udp", lab.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Close() }()
	counters := func() map[string]float64 {
		c, err := n.Counters()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	deadline := time.Now().Add(2 * patience)
	for i := 0; counters()["nftdrop_packets"] < 100; i++ {
		for k := range 200 {
			_, _ = fmt.Fprintf(stranger, "OPTIONS sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP 127.7.7.7;branch=z9hG4bK%d-%d\r\n\r\n", live.Domain, i, k)
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing is dropped: %v", counters())
		}
	}
	if c := counters(); c["clientims_outcasts_total"] != 1 || c["nftdrop_sources_total"] != 1 || c["nftdrop_lost_total"] != 0 {
		t.Errorf("outcasts %v, asked for %v, lost %v", c["clientims_outcasts_total"], c["nftdrop_sources_total"], c["nftdrop_lost_total"])
	}
	conn, err := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, 8, 8, 8)}}).Dial("udp", lab.String())
	if err != nil {
		t.Fatal(err)
	}
	p := live.NewPhone(conn, "udp", n.Users[0])
	defer p.Close()
	if err := p.Register(context.Background(), 600); err != nil {
		t.Errorf("somebody else does not register: %v", err)
	}
	n.Stop()
	ear, err := net.ListenPacket("udp", lab.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ear.Close() }()
	_, _ = stranger.Write([]byte("x")) // the first hears that nobody was there
	_, _ = stranger.Write([]byte("x"))
	_ = ear.SetReadDeadline(time.Now().Add(patience))
	if _, _, err := ear.ReadFrom(make([]byte, 2000)); err != nil {
		t.Errorf("after the node has stopped its rules still drop: %v", err)
	}
}
