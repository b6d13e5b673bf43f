package clientservice

import (
	"crypto/rand"
	"net/netip"
	"testing"
	"time"

	"imsafe/proto/sdp"
	"imsafe/proto/shard"
	"imsafe/refpoint/iq"
	"imsafe/secure"
)

// TestAbandon: of a P-CSCF that has died the calls go on that were answered, with their gates, until somebody leaves.
func TestAbandon(t *testing.T) {
	g := start(t, nil, func(c *Config) { c.Outlives, c.OrphanSilence, c.PerUser = time.Hour, time.Hour, 0 })
	free := g.Free()
	a, b := newClient(t, "127.0.0.1", sdp.DTLSSRTP), newClient(t, "127.0.0.1", sdp.SDES)
	x, y := call(t, g, a, b)
	g.Confirm(x.Session, 5)
	g.Confirm(y.Session, 1)
	early := newHalf(t, g, newClient(t, "127.0.0.1", sdp.DTLSSRTP))
	g.Abandon()
	if g.Configure(early.Session, 0, iq.Core, 1, x.core()) != iq.ErrGone {
		t.Error("a call that was not answered is still there")
	}
	if n := g.Counters(); n.Orphans.Load() != 2 || n.Sessions.Load() != 2 {
		t.Errorf("%d orphans of %d sessions", n.Orphans.Load(), n.Sessions.Load())
	}
	talk(t, a, b)
	y.through(g, false, true) // nobody is there to say so; the gates are what they were, though
	gated := g.Counters().Gated.Load()
	until(t, "the gate holds", func() bool {
		must(t, b.WriteFrame(make([]byte, 160), 160, false))
		return g.Counters().Gated.Load() > gated+3
	})
	y.through(g, true, true)
	g.Sweep()
	g.Abandon() // a second P-CSCF has died
	c, d := newClient(t, "127.0.0.1", sdp.DTLSSRTP), newClient(t, "127.0.0.1", sdp.DTLSSRTP)
	call(t, g, c, d) // a third one's, beside
	talk(t, c, d)
	talk(t, a, b)
	a.stop() // says that it leaves
	until(t, "both halves end", func() bool { g.Sweep(); return g.Counters().Orphans.Load() == 0 })
	talk(t, c, d)
	if used := free - g.Free(); used != 4 || g.Counters().Sessions.Load() != 2 {
		t.Errorf("%d pairs of ports in use, want those of the call that has a P-CSCF", used)
	}
}

// TestAbandon_ends: in virtual time, by silence on a side that may speak, by silence on both, by age, and at once where nothing outlives.
func TestAbandon_ends(t *testing.T) {
	for _, c := range []struct {
		name              string
		outlives, silence time.Duration
		open              [2]bool
		stands, ends      time.Duration
	}{
		{"nothing outlives", 0, time.Hour, [2]bool{true, true}, -1, 0},
		{"silence", time.Hour, time.Minute, [2]bool{true, false}, 50 * time.Second, 70 * time.Second},
		{"silence on hold", time.Hour, time.Minute, [2]bool{}, 50 * time.Second, 70 * time.Second},
		{"age", time.Minute, time.Hour, [2]bool{true, true}, 50 * time.Second, 70 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock := shard.NewFake(time.Unix(1_700_000_000, 0))
			g, err := New(Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:13400")}, Ports: 40, Audio: 64, Video: 64, Outlives: c.outlives, OrphanSilence: c.silence},
				Ports{Clock: clock, Random: rand.Reader, Gate: secure.NewGate(nil, nil), Listen: listen, Log: quiet})
			must(t, err)
			defer g.Close()
			st, err := g.Reserve(0, iq.Medium{User: "a", Kind: "audio"})
			must(t, err)
			g.Through(st.Session, 0, c.open)
			g.Confirm(st.Session, 1)
			g.Abandon()
			after := func(d time.Duration) int64 {
				clock.AdvanceTo(d)
				g.Sweep()
				return g.Counters().Sessions.Load()
			}
			if c.stands >= 0 && after(c.stands) != 1 {
				t.Error("it ends too early")
			}
			if after(c.ends) != 0 || g.Counters().Ports.Load() != 0 {
				t.Error("it does not end")
			}
		})
	}
}
