package siptxn

import (
	"time"

	"imsafe/proto/overload"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
)

// offered is what the sender of a request understands of overload control (RFC 7339 5.1).
func (l *Layer) offered(m *sip.Message) overload.Algorithms {
	if l.cfg.Report == nil {
		return 0
	}
	return overload.Offered(m.Get(sip.HdrVia))
}

// report tells a client how much it may send (RFC 7339 5.2). What others have written into its Via is not ours to tell: it is taken off.
func (l *Layer) report(to siptransport.Flow, offered overload.Algorithms, m *sip.Message) {
	via := m.Get(sip.HdrVia)
	if offered != 0 {
		if r, ok := l.cfg.Report(to, offered); ok {
			l.word = overload.AppendReport(l.word[:0], via, r)
			m.ReplaceFirst(sip.HdrVia, l.word)
			return
		}
	}
	if overload.Says(via) && overload.Offered(via) == 0 {
		l.word = overload.AppendWithout(l.word[:0], via)
		m.ReplaceFirst(sip.HdrVia, l.word)
	}
}

// heard takes what the server tells in a response (RFC 7339 5.4).
func (l *Layer) heard(from siptransport.Flow, m *sip.Message) {
	if l.cfg.Heard == nil {
		return
	}
	if r, ok := overload.Reported(m.Get(sip.HdrVia)); ok {
		l.cfg.Heard(from, r)
	}
}

// Repeats is how long a request over datagrams may be repeated: timer B, and timer F (RFC 3261 17.1).
func (l *Layer) Repeats() time.Duration { return max(l.cfg.Timers.B, l.cfg.Timers.F) }
