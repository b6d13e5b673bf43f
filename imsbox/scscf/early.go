package scscf

import (
	"sync"
	"time"

	"imsafe/hop"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// An INVITE that is held before it rings binds the called handset, which shows nothing of it and can place no call: a ghost call
// (attacks CI-33). So few may be under way to one user, fewer from one caller, and none may be silent for long.

const (
	maxEarlyCallee = 6                // INVITEs without final response to one identity: fewer than a handset has room for
	maxEarlyPair   = 2                // of these, from one caller
	maxSilence     = 20 * time.Second // from INVITE to ringing; preconditions need a few seconds
)

// earlyCalls counts the INVITEs under way. Safe for concurrent use.
type earlyCalls struct {
	mu     sync.Mutex
	counts map[string]int // by callee, and by callee and caller
}

func newEarlyCalls() *earlyCalls { return &earlyCalls{counts: map[string]int{}} }

// enter counts one more call and reports whether it is one too many.
func (e *earlyCalls) enter(callee, pair string) (tooMany bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.counts[callee]++
	e.counts[pair]++
	return e.counts[callee] > maxEarlyCallee || e.counts[pair] > maxEarlyPair
}

func (e *earlyCalls) leave(callee, pair string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, key := range [...]string{callee, pair} {
		if e.counts[key]--; e.counts[key] <= 0 {
			delete(e.counts, key)
		}
	}
}

// early runs what takes an INVITE to the called user, within the bounds of calls that have no answer yet. Other requests have none, nor
// do calls to who answers emergencies.
func (s *SCSCF) early(x *hop.Exchange, in hop.Inbound, u user, deliver func(up hop.Up) hop.Reply) hop.Reply {
	if in.Msg.Method() != sip.INVITE || u.served == s.cfg.EmergencyIdentity {
		return deliver(nil)
	}
	pair := u.served + "\n" + u.other
	defer s.calls.leave(u.served, pair)
	if s.calls.enter(u.served, pair) && s.refusesEarly(in, "too-many") {
		return x.Refuse(in, 486, "")
	}
	held := false
	var timer shard.Timer
	sh, proof := x.Task().Shard(), in
	sh.Arm(&timer, maxSilence, shard.EventFunc(func(*shard.Shard) {
		if held = s.refusesEarly(proof, "silent"); held {
			x.Abort("")
		}
	}))
	defer sh.Disarm(&timer)
	r := deliver(func(r hop.Reply) hop.Reply {
		if status := r.Status(); status == 180 || status == 182 {
			sh.Disarm(&timer)
		}
		return r
	})
	if held && r.Status() == 487 {
		r.Msg.Release()
		return x.Respond(480, "")
	}
	return r
}

// refusesEarly is the enforcement point of the bounds of early dialogs.
func (s *SCSCF) refusesEarly(in hop.Inbound, reason string) bool {
	return s.ports.Gate.Refuse(secure.CIAvailabilityEarlyDialog, secure.Event{Reason: reason, Subject: in.Proof.IMPI()})
}
