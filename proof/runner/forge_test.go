package runner

import (
	"errors"
	"io"
	"net/netip"
	"testing"
	"time"

	"imsafe/proof/attack"
)

// rawPipes is pipes on a host that gives raw sockets.
type rawPipes struct {
	pipes
	wrote *int
}

func (p rawPipes) Forge(_, _ netip.AddrPort) (io.WriteCloser, error) { return p, nil }

func (p rawPipes) Write(b []byte) (int, error) { *p.wrote += len(b); return len(b), nil }

func (p rawPipes) Close() error { return nil }

// TestLimiter_forge: forged sources are of loopback, go to the target alone, and count.
func TestLimiter_forge(t *testing.T) {
	victim := netip.MustParseAddrPort("127.100.1.1:9")
	l := limit(t, attack.Bounds{Packets: 1, Bytes: 100, Conns: 9, Time: time.Second})
	if _, err := l.Forge(victim, at); !errors.Is(err, attack.ErrNotHere) {
		t.Errorf("no raw sockets: %v", err)
	}
	wrote := 0
	l.network = rawPipes{pipes{t}, &wrote}
	for from, to := range map[netip.AddrPort]netip.AddrPort{victim: netip.MustParseAddrPort("127.0.0.1:22"), netip.MustParseAddrPort("192.0.2.1:9"): at} {
		if _, err := l.Forge(from, to); !errors.Is(err, ErrBounds) {
			t.Errorf("from %v to %v: %v", from, to, err)
		}
	}
	w, err := l.Forge(victim, at)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 10)); err != nil {
		t.Error(err)
	}
	if _, err := w.Write(make([]byte, 10)); !errors.Is(err, ErrBounds) || wrote != 10 {
		t.Errorf("more packets than the row allows: %v, %d octets written", err, wrote)
	}
}
