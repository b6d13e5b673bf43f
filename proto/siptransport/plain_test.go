package siptransport

import (
	"io"
	"net/netip"
	"testing"
)

// TestPlain: a peer who does not begin with TLS goes on in clear only where somebody says so, and then none of his octets is lost.
func TestPlain(t *testing.T) {
	server, _ := certificate(t)
	for _, admits := range []bool{false, true} {
		asked := 0
		s := listen(t, Options{TLS: server, Plain: func(netip.AddrPort) bool { asked++; return admits }})
		s.on(echo)
		c := dial(t, s.addr)
		want := message("first") + message("second")
		if _, err := io.WriteString(c, want); err != nil {
			t.Fatal(err)
		}
		if !admits {
			wantClosed(t, c)
			s.stop()
			if asked != 1 || s.n.ClosedHandshake.Load() != 1 || s.n.MessagesIn.Load() != 0 {
				t.Errorf("asked %d times, %d handshakes failed, %d messages", asked, s.n.ClosedHandshake.Load(), s.n.MessagesIn.Load())
			}
			continue
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
			t.Fatalf("%q: %v", got, err)
		}
		if state := await(t, s.states); state != nil || asked != 1 {
			t.Errorf("state %v, asked %d times", state, asked)
		}
	}
}
