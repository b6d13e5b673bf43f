package siptransport

import (
	"io"
	"strings"
	"testing"
	"time"
)

// TestSendLater: what may wait leaves in one go when its time is over, or when there is much of it; what is sent meanwhile overtakes it.
func TestSendLater(t *testing.T) {
	const several = 10
	for name, c := range map[string]struct {
		message string
		within  time.Duration
		then    string // is sent at once behind them
		writes  uint64
	}{
		"its time is over": {message("soon"), time.Millisecond, "", 1},
		"something else":   {message("behind another"), 500 * time.Millisecond, message("now"), 2},
		"enough":           {message(strings.Repeat("x", lateOctets/several-len(message("xxx"))+4)), time.Hour, "", 1},
	} {
		for kind, start := range streamKinds(t) {
			if strings.Contains(kind, "any conn") {
				continue // has no system calls to count
			}
			t.Run(name+", "+kind, func(t *testing.T) {
				s, dial := start(Options{})
				count := 0
				s.on(func(f Flow, data []byte) {
					if err := f.SendLater(data, c.within); err != nil {
						t.Error(err)
					}
					if count++; count == several && c.then != "" {
						if err := f.Send([]byte(c.then)); err != nil {
							t.Error(err)
						}
					}
				})
				conn := dial()
				defer conn.Close()
				want := strings.Repeat(c.message, several)
				go func() { _, _ = io.WriteString(conn, want) }()
				got := make([]byte, len(want)+len(c.then))
				if _, err := io.ReadFull(conn, got); err != nil || string(got) != c.then+want {
					t.Fatalf("%v, got %q", err, got)
				}
				_ = conn.Close()
				await(t, s.closed) // behind the event that wrote
				if n := s.n.DirectWrites.Load(); n != c.writes {
					t.Errorf("%d writes", n)
				}
			})
		}
	}
}
