package secure

import (
	"log/slog"
	"net/netip"
	"sync/atomic"
)

// Event is one refusal (or, with the control off, one pass that should have been a refusal).
// Reason is a constant short code such as "digest-mismatch": it becomes a metric label. Identities
// never go into an Event's log form; Subject is for explain and evidence, kept in memory only.
type Event struct {
	Control  ControlID
	Reason   string
	Source   netip.Addr
	Subject  string
	Enforced bool
}

// LogValue leaves Subject out: identities are not for logs.
func (e Event) LogValue() slog.Value {
	return slog.GroupValue(slog.String("control", e.Control.String()), slog.String("reason", e.Reason),
		slog.Bool("enforced", e.Enforced))
}

// Sink receives events. It is called on the shard that refused: it must not block and must bound its own
// cost (counters first, samples second). Safe for concurrent use.
type Sink interface{ Refused(Event) }

// Gate decides refusals for one node. A check reads
//
//	if bad && gate.Refuse(secure.CIAuthenticationAKA, secure.Event{Reason: "digest-mismatch"}) {
//		return refusal
//	}
//
// so the block and its name cannot diverge, and good traffic pays for the condition alone. The set of
// controls that are off is fixed when the Gate is made. Safe for concurrent use.
type Gate struct {
	off     [controlCount]bool
	refused [controlCount]atomic.Uint64
	passed  [controlCount]atomic.Uint64
	sink    Sink
}

// NewGate makes a Gate with every control on but those in off. Only policy calls it: the table is the
// one place where a control is switched. sink may be nil.
func NewGate(off []ControlID, sink Sink) *Gate {
	g := &Gate{sink: sink}
	for _, c := range off {
		g.off[c] = true
	}
	return g
}

// Refuse counts e under c, tells the sink, and reports whether the refusal stands: always, unless the
// control was switched off in lab mode.
func (g *Gate) Refuse(c ControlID, e Event) bool {
	e.Control, e.Enforced = c, !g.off[c]
	g.Took(e)
	return e.Enforced
}

// Took counts an event and tells the sink. It is for what the Gate of another process of this node has
// decided; e.Control is to be one of Controls.
func (g *Gate) Took(e Event) {
	if e.Enforced {
		g.refused[e.Control].Add(1)
	} else {
		g.passed[e.Control].Add(1)
	}
	if g.sink != nil {
		g.sink.Refused(e)
	}
}

// On reports whether control c is on; mechanisms that are chosen at assembly ask it once.
func (g *Gate) On(c ControlID) bool { return !g.off[c] }

// Counts returns how often c refused, and how often it would have but was off.
func (g *Gate) Counts(c ControlID) (refused, passed uint64) {
	return g.refused[c].Load(), g.passed[c].Load()
}
