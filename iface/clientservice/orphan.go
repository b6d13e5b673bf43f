package clientservice

import (
	"encoding/binary"
	"time"

	"imsafe/proto/rtpport"
	"imsafe/refpoint/iq"
	"imsafe/secure"
)

// orphan is what a session has whose P-CSCF has died. Nobody will release it, so it ends by what its media say.
type orphan struct {
	since time.Duration
	sides [2]struct {
		heard uint64        // packets when they were last looked at
		at    time.Duration // since when there were as many
	}
}

// Abandon is for an anchor whose P-CSCF has died: calls that were answered go on as they are, with their keys, their gates and their bounds,
// and all others end. Sweep ends those that go on when nobody is there any more, or their time is over.
func (g *Gateway) Abandon() {
	now := g.ports.Clock.Now()
	var ended []iq.Session
	g.mu.Lock()
	for id, s := range g.sessions {
		switch {
		case s.orphan != nil:
		case !s.confirmed || s.lost || g.cfg.Outlives <= 0 || !g.outlives(s):
			ended = append(ended, id)
		default:
			s.orphan = &orphan{since: now}
			for side := range s.orphan.sides {
				s.orphan.sides[side].at = now
			}
			for _, st := range s.streams {
				st.orphan.Store(true)
			}
			g.counters.Orphans.Add(1)
		}
	}
	g.mu.Unlock()
	for _, id := range ended {
		g.Release(id)
	}
}

// outlives is the enforcement point of "a call that stands does not end with its signalling".
func (g *Gateway) outlives(s *session) bool {
	return g.ports.Gate.Refuse(secure.CSAvailabilityOutlives, secure.Event{Reason: "signalling-lost", Subject: s.user})
}

// sweepOrphans ends what Abandon left: after their time, when a side has fallen silent that may speak or has said that it leaves (RTCP BYE, RFC
// 3550 6.6), or when the other half of the call is gone.
func (g *Gateway) sweepOrphans(now time.Duration) {
	var ended []iq.Session
	g.mu.Lock()
	for id, s := range g.sessions {
		if s.orphan != nil && g.isOver(s, now) {
			ended = append(ended, id)
		}
	}
	g.mu.Unlock()
	for _, id := range ended {
		g.Release(id)
	}
}

// isOver judges an orphan. g.mu is held.
func (g *Gateway) isOver(s *session, now time.Duration) bool {
	if now-s.orphan.since >= g.cfg.Outlives {
		return true
	}
	var heard [2]uint64
	var open [2]bool
	for _, st := range s.streams {
		if st.gone.Load() {
			return true
		}
		for side := range st.ends {
			far := st.access.Load()
			if iq.Side(side) == iq.Core {
				far = st.core.Load()
			}
			if far != nil && far.link != nil && g.sessions[far.link.session.id] != far.link.session {
				return true
			}
			heard[side] += far.packets()
			open[side] = open[side] || st.open[side].Load()
		}
	}
	silent := [2]bool{}
	for side := range s.orphan.sides {
		o := &s.orphan.sides[side]
		if heard[side] != o.heard {
			o.heard, o.at = heard[side], now
		}
		silent[side] = now-o.at >= g.cfg.OrphanSilence
	}
	return silent[iq.Access] && (open[iq.Access] || silent[iq.Core]) || silent[iq.Core] && open[iq.Core]
}

// packets is how many authenticated ones a far end has sent.
func (f *far) packets() (n uint64) {
	switch {
	case f == nil:
	case f.link != nil:
		n = f.link.access.Load().packets()
	default:
		for _, leg := range []*rtpport.Leg{f.media, f.control} {
			if leg != nil {
				n += leg.Counters().PacketsIn.Load() + leg.Counters().ControlIn.Load()
			}
		}
	}
	return n
}

// bye is the packet type by which a source says that it leaves.
const bye = 203

// leaves reports whether a compound packet, which is known to be sound, has a BYE in it.
func leaves(b []byte) bool {
	for len(b) >= 4 {
		if b[1] == bye {
			return true
		}
		b = b[min(len(b), 4+4*int(binary.BigEndian.Uint16(b[2:]))):]
	}
	return false
}
