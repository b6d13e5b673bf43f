package as

import (
	"context"
	"slices"
	"strings"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptxn"
)

// Session is one request that the core asks the service about, and what comes of it. What is exported does not change.
type Session struct {
	// Case is the part of the session, Diverted whether it is the rest of one that a service of the served user has diverted.
	Case     Case
	Diverted bool
	// Served is whose session it is: one of the service's users, or its own public service identity (TS 24.229 5.7.1.3.1). Registered says
	// whether he is.
	Served     string
	Registered bool
	// Caller is who calls as the core asserts it (RFC 3325), "" if it does not; CallerHidden that he does not want to be shown (TS 24.607):
	// a service for whoever is called must not show him. Without identity.private users are pseudonyms here and everywhere, of this service,
	// always the same; messages and calls to them arrive.
	Caller       string
	CallerHidden bool
	// Called is the target: the Request-URI.
	Called string
	// Message is the body of a MESSAGE or the session description of a call, and Type its media type.
	Message []byte
	Type    string

	svc     *Service
	request *sip.Message // as it came: what goes on is made from it
	method  sip.Method
	ctx     context.Context
	cancel  context.CancelCauseFunc

	// On the shard.
	tx       *siptxn.Server // nil when it has left the table
	phase    phase
	gone     bool // the caller gave up
	returned bool // the handler has
	holding  bool // a failure waits for the handler
	branches []*branch
	best     *sip.Message // of the failures so far
	how      onward       // of the last verb
	leg      *Leg
	events   events
	waits    waits
	under    waits // whatever its handler waits for
	noAnswer shard.Timer
}

// sessionOf finds the session that a context is of.
type sessionOf struct{}

// phase of a session, on the shard.
type phase uint8

const (
	deciding phase = iota // nothing was decided
	onTheWay              // branches are out
	answered              // a final response has left
)

// Method returns the method of the request: INVITE, MESSAGE.
func (s *Session) Method() string { return s.method.String() }

// Request returns the value of a header field of the request, as the core let it through, "" if there is none. It is for what Session has no
// field for.
func (s *Session) Request(header string) string {
	if h := sip.LookupHeader([]byte(header)); h != sip.HdrOther {
		return string(s.request.Get(h))
	}
	return string(s.request.GetName(header))
}

// Grants says whether the service was granted a scope.
func (s *Session) Grants(scope string) bool { return s.svc.Grants(scope) }

// Protections words which protections hold between the service and the core.
func (s *Session) Protections() []string { return s.svc.proof() }

// Service returns the service.
func (s *Session) Service() *Service { return s.svc }

// newSession reads a request into a session.
func (s *Service) newSession(tx *siptxn.Server, m *sip.Message) *Session {
	x := &Session{svc: s, tx: tx, request: m.Clone(), method: m.Method(), Called: string(m.RequestURI()), Message: slices.Clone(m.Body()),
		Type: string(m.Get(sip.HdrContentType))}
	ctx, cancel := context.WithCancelCause(s.ctx)
	x.ctx, x.cancel = context.WithValue(ctx, sessionOf{}, x), cancel
	x.Caller, _ = sip.PublicIdentity(m.Get(sip.HdrPAssertedIdentity))
	x.CallerHidden = hidden(m)
	x.serves(m)
	return x
}

// serves reads P-Served-User (RFC 5502, RFC 8498).
func (x *Session) serves(m *sip.Message) {
	v := m.Get(sip.HdrPServedUser)
	x.Served, _ = sip.PublicIdentity(v)
	addr, err := sip.ParseNameAddr(v)
	if err != nil {
		x.Case = Terminating
		return
	}
	sescase, _ := addr.Param("sescase")
	regstate, _ := addr.Param("regstate")
	_, x.Diverted = addr.Param("orig-cdiv")
	x.Registered = string(regstate) == "reg"
	switch {
	case string(sescase) == "orig" || x.Diverted:
		x.Case = Originating
	case x.Registered || slices.Contains(x.svc.manifest.PSI, x.Served):
		x.Case = Terminating
	default:
		x.Case = Unregistered
	}
}

// hidden reports whether the sender of a request asks not to be shown (RFC 3323 4.2, RFC 3325 9.3).
func hidden(m *sip.Message) bool {
	for v := range m.Values(sip.HdrPrivacy) {
		for _, token := range strings.Split(string(v), ";") {
			if t := strings.ToLower(strings.TrimSpace(token)); t == "id" || t == "header" || t == "user" {
				return true
			}
		}
	}
	from, err := m.From()
	return err == nil && strings.HasPrefix(strings.ToLower(string(from.URI)), "sip:anonymous@")
}

// run asks the handler.
func (x *Session) run(h Handler) {
	err := x.svc.watch(func() error { return h(x.ctx, x) })
	x.svc.enter(func() { x.over(err) })
}

// over is what becomes of a session when its handler has returned.
func (x *Session) over(err error) {
	x.returned = true
	switch {
	case x.phase == deciding && err != nil:
		x.reply(deniedStatus(err), nil)
	case x.phase == deciding:
		if x.goOn(onward{targets: []string{x.Called}}) != nil {
			x.reply(503, nil)
		}
	case x.holding:
		x.release()
	}
	x.settle()
}

// put tells the handler of an event.
func (x *Session) put(e Event) {
	x.events.put(e)
	x.svc.happened(&x.waits)
}

// Next returns the next event of a session that goes on or was answered, Ended at last. What was not looked at when the handler returns is
// nobody's.
func (x *Session) Next(ctx context.Context) (Event, error) {
	var e Event // the shard's until it says so
	found := false
	ready := func() bool {
		if !found {
			e, found = x.events.take()
		}
		return found
	}
	if err := x.svc.await(ctx, &x.waits, func() error { return nil }, ready); err != nil {
		return Event{}, err
	}
	return e, nil
}

// reply gives the final answer of the service itself.
func (x *Session) reply(code int, edit func(*sip.Message)) {
	if x.tx == nil || x.phase == answered {
		return
	}
	x.phase = answered
	x.svc.respond(x.tx, x.request, code, edit)
}

// giveUp takes a CANCEL (RFC 3261 16.10): what is out is cancelled for the same reason, what is not decided ends here.
func (x *Session) giveUp() {
	x.gone = true
	x.svc.shard.Disarm(&x.noAnswer)
	reason := x.tx.CancelReason()
	open := x.cancelBranches(reason)
	if x.leg != nil {
		x.leg.cancelled(reason)
	} else if !open {
		x.reply(487, nil)
	}
	x.put(Event{Kind: Gone, Status: 487}) // before the context ends: who waits for an event gets it
	x.end()
}

// hungUp says that the dialog in which the service stays is over.
func (x *Session) hungUp() {
	delete(x.svc.follow, string(x.request.Get(sip.HdrCallID)))
	x.put(Event{Kind: Ended})
	x.end()
}

// end ends the context of the handler. Who waits under it is woken here and not by the function that context runs: a simulation must know
// of it.
func (x *Session) end() {
	x.cancel(ErrGone)
	for _, w := range x.under {
		x.svc.work.wake(w, ErrGone)
	}
	x.under = nil
}

// settle gives back what a session held when nothing more can come to it.
func (x *Session) settle() {
	if !x.returned || x.tx != nil || slices.ContainsFunc(x.branches, func(b *branch) bool { return !b.gone }) || x.request == nil {
		return
	}
	x.svc.shard.Disarm(&x.noAnswer)
	x.cancel(nil)
	if id := string(x.request.Get(sip.HdrCallID)); x.svc.follow[id] == x {
		delete(x.svc.follow, id)
	}
	x.best.Release()
	x.best = nil
	x.request.Release()
	x.request = nil
}
