package as

import (
	"strconv"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptxn"
)

// branch is one way on of a session: a client transaction towards the core, which goes on behind the criterion that asked the service.
type branch struct {
	session *Session
	target  string
	client  *siptxn.Client // until gone
	rang    bool
	late    bool // Within has passed
	done    bool // the final response came
	gone    bool // the transaction has left the table
}

// goOn sends a session on its way (RFC 3261 16.6). On the shard.
func (x *Session) goOn(o onward) error {
	if err := x.open(); err != nil {
		return err
	}
	if err := x.permits(&o); err != nil {
		return err
	}
	if len(o.targets) == 0 {
		o.targets = []string{x.Called}
	}
	hops, limited := x.request.MaxForwards()
	breadth, split := x.breadth(len(o.targets))
	switch {
	case limited && hops == 0:
		x.reply(483, nil)
		return nil
	case split && breadth == 0:
		x.reply(440, nil) // RFC 5393 5.3.3.2
		return nil
	}
	x.phase, x.how, x.holding = onTheWay, o, false
	if o.tells != tellsNothing {
		x.announce(o.targets[0])
	}
	var failed error
	for _, target := range o.targets {
		m := x.onward(target)
		if split {
			m.SetUint(sip.HdrMaxBreadth, uint64(breadth))
		}
		b := &branch{session: x, target: target}
		if b.client, failed = x.svc.send(m, b); failed != nil {
			break
		}
		x.branches = append(x.branches, b)
	}
	if failed != nil && !x.cancelBranches("") {
		x.phase = deciding
		return failed
	}
	if o.within > 0 {
		x.svc.shard.Arm(&x.noAnswer, o.within, (*patience)(x))
	}
	return nil
}

// announce says 181 (TS 24.604 4.5.2.6.4). Whoever diverts is not named: a service may not assert its user towards a caller, who knows whom he
// has called.
func (x *Session) announce(target string) {
	if x.tx == nil || x.method != sip.INVITE {
		return
	}
	x.svc.respond(x.tx, x.request, 181, func(r *sip.Message) {
		for v := range x.request.Values(sip.HdrRecordRoute) { // RFC 3261 12.1.1: an early dialog, in which nothing is to be done
			r.Append(sip.HdrRecordRoute, v)
		}
		r.SetString(sip.HdrContact, x.svc.contact())
		if x.how.tells != tellsWhere {
			return
		}
		for v := range x.request.Values(sip.HdrHistoryInfo) {
			r.Append(sip.HdrHistoryInfo, v)
		}
		tellHistory(r, x.Called, target, x.how.cause, false)
	})
}

// breadth is what each of n branches gets of Max-Breadth (RFC 5393 5.3.3).
func (x *Session) breadth(n int) (int, bool) {
	v := x.request.Get(sip.HdrMaxBreadth)
	breadth, err := strconv.Atoi(string(v))
	return breadth / n, v != nil && err == nil
}

// onward makes the request of a branch.
func (x *Session) onward(target string) *sip.Message {
	m := x.request.Clone()
	m.RemoveFirst(sip.HdrRoute)
	if n, present := m.MaxForwards(); present {
		m.SetUint(sip.HdrMaxForwards, uint64(n-1))
	}
	if x.how.stay && m.Method().MakesDialog() {
		m.PrependString(sip.HdrRecordRoute, "<sip:"+x.svc.host+";transport=tls;lr>")
	}
	if x.how.cause != 0 {
		tellHistory(m, x.Called, target, x.how.cause, x.how.unseen)
	}
	if target != x.Called {
		m.SetRequestURI([]byte(target))
	}
	for _, edit := range x.how.request {
		edit(m)
	}
	return m
}

// patience is over: nobody has answered Within.
type patience Session

// Run implements shard.Event.
func (p *patience) Run(*shard.Shard) {
	x := (*Session)(p)
	for _, b := range x.branches {
		if !b.done {
			b.late = true
		}
	}
	x.cancelBranches("")
}

// cancelBranches cancels what has no final response, for a reason (RFC 3326) or "", and reports whether there was something.
func (x *Session) cancelBranches(reason string) bool {
	open := false
	for _, b := range x.branches {
		if !b.done && b.client != nil {
			open = true
			x.svc.layer.CancelFor(b.client, reason)
		}
	}
	return open
}

// Response implements siptxn.Responder (RFC 3261 16.7).
func (b *branch) Response(_ *siptxn.Client, m *sip.Message) {
	x := b.session
	m.RemoveFirst(sip.HdrVia)
	switch code := m.Status(); {
	case code == 100:
		m.Release()
	case code < 200:
		b.rings(m)
	case code < 300:
		b.done = true
		x.svc.shard.Disarm(&x.noAnswer)
		x.cancelBranches("")
		first := x.phase != answered
		x.phase = answered
		e := x.svc.outcome(m, b)
		x.pass(m)
		if first {
			x.follows()
			x.put(e)
		}
	default:
		b.fails(m)
	}
}

// rings passes a provisional response on.
func (b *branch) rings(m *sip.Message) {
	x := b.session
	e := Event{Kind: Ringing, Status: m.Status(), Reason: string(m.Reason()), Target: b.target}
	first := !b.rang && m.Status() != 181
	b.rang = b.rang || first
	if x.phase == answered {
		m.Release()
		return
	}
	x.pass(m)
	if first {
		x.put(e)
	}
}

// pass sends a response of a branch to the caller.
func (x *Session) pass(m *sip.Message) {
	if x.tx == nil {
		m.Release()
		return
	}
	if m.Status() < 300 {
		for _, edit := range x.how.reply {
			edit(m)
		}
	}
	if err := x.svc.layer.Respond(x.tx, m); err != nil {
		x.svc.log.Debug("response not sent", "error", err)
	}
}

// fails keeps a failure, and goes on when it was the last (RFC 3261 16.7 step 6).
func (b *branch) fails(m *sip.Message) {
	x := b.session
	if b.done {
		m.Release()
		return
	}
	b.done = true
	e := x.svc.outcome(m, b)
	if x.phase == answered {
		m.Release()
		return
	}
	if m.Status() >= 600 {
		x.cancelBranches("")
	}
	if x.best == nil || better(m.Status(), x.best.Status()) {
		x.best.Release()
		x.best = m
	} else {
		m.Release()
	}
	for _, other := range x.branches {
		if !other.done {
			return
		}
	}
	x.svc.shard.Disarm(&x.noAnswer)
	if x.how.holds && !x.gone && !x.returned {
		x.holding = true
	} else {
		x.release()
	}
	x.put(e)
}

// better reports whether a failure is to be preferred: 6xx before all, then the lowest class, and in it what the caller can act on.
func better(a, b int) bool {
	if (a >= 600) != (b >= 600) {
		return a >= 600
	}
	if a/100 != b/100 {
		return a/100 < b/100
	}
	acts := func(code int) bool {
		return code == 401 || code == 407 || code == 415 || code == 420 || code == 484
	}
	return acts(a) && !acts(b)
}

// release answers the caller with the best failure.
func (x *Session) release() {
	x.holding = false
	if x.best == nil || x.phase == answered {
		return
	}
	x.phase = answered
	m := x.best
	x.best = nil
	x.pass(m)
}

// follows listens to the dialog for as long as the handler does.
func (x *Session) follows() {
	if x.how.stay && x.method == sip.INVITE && !x.returned {
		x.svc.follow[string(x.request.Get(sip.HdrCallID))] = x
	}
}

// Failed implements siptxn.Responder: a time-out counts as 408, a lost connection as 503 (RFC 3261 16.9).
func (b *branch) Failed(_ *siptxn.Client, err error) {
	x := b.session
	if b.done || x.request == nil {
		return
	}
	m := x.svc.pool.NewResponse(x.request, failureOf(err), "")
	m.SetToTag(x.svc.token(16))
	b.fails(m)
}

// Again implements siptxn.Retransmitter.
func (b *branch) Again(_ *siptxn.Client, m *sip.Message) bool {
	return b.session.tx != nil && b.session.svc.layer.Retransmit2xx(b.session.tx, m.ToTag())
}

// Gone implements siptxn.Forgetter.
func (b *branch) Gone(*siptxn.Client) {
	b.gone, b.client = true, nil
	b.session.settle()
}
