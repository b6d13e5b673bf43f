package trace

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"

	"imsafe/secure"
)

// Sampler counts what senders without proof cause, by kind, and keeps one example of each. Nothing is
// written until Flush: a flood of a million datagrams is one line per kind and interval. Note costs two
// atomic operations, allocates nothing and never waits, so it may be called on a shard.
type Sampler struct {
	log     *slog.Logger
	level   slog.Level
	message string
	name    string // of the attribute that holds the kind
	kinds   []sampled
}

// sampled is one kind. The lock guards reason and source; who finds it taken leaves no example.
type sampled struct {
	kind    string
	total   atomic.Uint64
	flushed atomic.Uint64 // part of total that was already told
	mu      sync.Mutex
	reason  string
	source  netip.Addr
}

// NewSampler returns a sampler for the kinds, whose lines say message and have the kind under the
// attribute name. Kinds are constants of the program, never a stranger's text.
func NewSampler(log *slog.Logger, message, name string, kinds []string) *Sampler {
	return newSampler(log, slog.LevelWarn, message, name, kinds)
}

func newSampler(log *slog.Logger, level slog.Level, message, name string, kinds []string) *Sampler {
	s := &Sampler{log: log, level: level, message: message, name: name, kinds: make([]sampled, len(kinds))}
	for i, k := range kinds {
		s.kinds[i].kind = k
	}
	return s
}

// Note counts one occurrence of the kind with index kind, with a constant reason and the sender's
// address as an example. It keeps reason.
func (s *Sampler) Note(kind int, reason string, source netip.Addr) {
	k := &s.kinds[kind]
	k.total.Add(1)
	if k.mu.TryLock() {
		k.reason, k.source = reason, source
		k.mu.Unlock()
	}
}

// Count returns how often the kind was noted.
func (s *Sampler) Count(kind int) uint64 { return s.kinds[kind].total.Load() }

// Flush writes one line for each kind that was noted since the last Flush: how often, and the last
// example. The node calls it at its interval, a second or more, and at its end, from one goroutine.
func (s *Sampler) Flush() {
	for i := range s.kinds {
		k := &s.kinds[i]
		total := k.total.Load()
		n := total - k.flushed.Swap(total)
		if n == 0 {
			continue
		}
		k.mu.Lock()
		reason, source := k.reason, k.source
		k.mu.Unlock()
		facts := []any{s.name, k.kind, "count", n, "reason", reason}
		if source.IsValid() { // what this node finds in its own files has no sender
			facts = append(facts, "peer", source)
		}
		s.log.Log(context.Background(), s.level, s.message, facts...)
	}
}

// Refusals is the sink of a node's gate: it samples refusals by control. What a control takes off the messages of honest people all day long is
// no warning: it is written for who looks for it, at the level of debugging.
type Refusals struct{ refused, routine *Sampler }

var _ secure.Sink = (*Refusals)(nil)

// NewRefusals returns a sink that writes to log at each Flush.
func NewRefusals(log *slog.Logger) *Refusals {
	var names []string
	for _, c := range secure.Controls() {
		names = append(names, c.String())
	}
	return &Refusals{NewSampler(log, "refused", "control", names), newSampler(log, slog.LevelDebug, "withheld", "control", names)}
}

// Refused notes the event; it implements secure.Sink. The event's subject is not kept.
func (r *Refusals) Refused(e secure.Event) {
	if e.Control == secure.ControlNone {
		return
	}
	sampler, reason := r.refused, e.Reason
	switch {
	case !e.Enforced:
		reason = "let through, control off: " + reason
	case e.Control.Routine():
		sampler = r.routine
	}
	sampler.Note(int(e.Control)-1, reason, e.Source)
}

// Flush writes the lines, see [Sampler.Flush].
func (r *Refusals) Flush() {
	r.refused.Flush()
	r.routine.Flush()
}
