package clientservice

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"imsafe/proto/sdp"
	"imsafe/refpoint/iq"
)

// TestLink_to_a_call_of_others: whoever has read the port and the certificate of a call of others in its description says that his own call leads there.
// The call does not lead to his: he is heard by nobody in it, and hears nobody.
func TestLink_to_a_call_of_others(t *testing.T) {
	g := start(t, nil, nil)
	a, b, m := newClient(t, "127.0.0.1", sdp.DTLSSRTP), newClient(t, "127.0.0.1", sdp.DTLSSRTP), newClient(t, "127.0.0.1", sdp.DTLSSRTP)
	x, y := call(t, g, a, b)
	talk(t, a, b)
	z := newHalf(t, g, m)
	wrong := x.core()
	wrong.Fingerprints = y.core().Fingerprints
	if err := g.Configure(z.Session, 0, iq.Core, 1, wrong); !errors.Is(err, iq.ErrAddress) {
		t.Errorf("a port of the anchor, with another certificate: %v", err)
	}
	must(t, g.Configure(z.Session, 0, iq.Core, 1, x.core()))
	z.through(g, true, true)
	select {
	case <-m.Ready():
	case <-time.After(time.Minute):
		t.Fatal("no keys")
	}
	const his = 0x5a
	gated := g.Counters().Gated.Load()
	until(t, "what he says goes nowhere", func() bool {
		must(t, m.WriteFrame(bytes.Repeat([]byte{his}, 160), 160, false))
		return g.Counters().Gated.Load() > gated+3
	})
	talk(t, a, b)
	for i := range a.count() {
		if a.said(i) == his {
			t.Fatal("he is heard in a call of others")
		}
	}
	if m.count() > 0 {
		t.Errorf("he hears %d frames of a call of others", m.count())
	}
}
