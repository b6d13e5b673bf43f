package rtpport

import (
	"testing"
	"time"

	"imsafe/proto/sdp"
)

// TestLeg_skip: time that passes in silence is seen in the next timestamp, and in nothing else.
func TestLeg_skip(t *testing.T) {
	a, b := call(t, newNetwork(), nil, nil)
	secured(t, a, b)
	frame := make([]byte, 160)
	for range 2 {
		if err := a.WriteFrame(frame, 160, true); err != nil {
			t.Fatal(err)
		}
		a.Skip(320)
	}
	until(t, "both frames", func() bool { return b.count() == 2 })
	if f := b.frames; f[1].Timestamp-f[0].Timestamp != 480 || f[1].Sequence-f[0].Sequence != 1 {
		t.Errorf("%+v", f)
	}
}

// TestLeg_closed_as_it_starts: what is closed before its handshake has begun does not wait for the end of one.
func TestLeg_closed_as_it_starts(t *testing.T) {
	for range 50 {
		n := newNetwork()
		a, b := newEnd(t, n.listen(alice), func(c *Config) { c.Handshake = time.Hour }), newEnd(t, n.listen(bob), nil)
		a.run(t)
		if err := a.Start(agreed(b, sdp.DTLSClient)); err != nil {
			t.Fatal(err)
		}
		a.Close()
		if err := a.wait(t); err != nil {
			t.Error(err)
		}
		b.Close()
	}
}
