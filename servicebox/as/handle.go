package as

import (
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
)

var _ siptxn.Handler = (*Service)(nil)

// pending is what a server transaction is of.
type pending interface {
	giveUp() // a CANCEL has come
	ended()  // the transaction has left the table
}

// Request implements siptxn.Handler. What came this far came from the core: there is no other way in.
func (s *Service) Request(tx *siptxn.Server, m *sip.Message) {
	switch {
	case len(m.ToTag()) > 0:
		s.inDialog(tx, m)
	case m.Method() == sip.REGISTER:
		s.thirdParty(tx, m)
	case m.Method() == sip.OPTIONS && m.Count(sip.HdrRoute) < 2:
		s.respond(tx, m, 200, nil)
	default:
		s.initial(tx, m)
	}
}

// initial asks the handler of a case about a request outside dialogs.
func (s *Service) initial(tx *siptxn.Server, m *sip.Message) {
	s.rights.learn(m)
	x := s.newSession(tx, m)
	tx.User = x
	var h Handler
	switch m.Method() {
	case sip.INVITE:
		h = s.sessions[x.Case]
	case sip.MESSAGE:
		h = s.messages[x.Case]
	}
	if h == nil { // it did not ask for this: as if it were not there
		x.over(nil)
		return
	}
	s.counters.Sessions.Add(1)
	s.start(func() { x.run(h) })
}

// Registration is what the core tells of a user's registration.
type Registration struct {
	Identity   string // the public identity
	Registered bool
	Expires    uint32 // seconds
	Type       string // of Body: what the criterion carries for the service (TS 29.228 B.2.4)
	Body       []byte
}

// thirdParty takes a third-party REGISTER (TS 24.229 5.7.1.1).
func (s *Service) thirdParty(tx *siptxn.Server, m *sip.Message) {
	identity, ok := sip.PublicIdentity(m.Get(sip.HdrTo))
	if !ok {
		s.respond(tx, m, 400, nil)
		return
	}
	expires, said := m.Expires()
	r := &Registration{Identity: identity, Registered: !said || expires > 0, Expires: expires, Type: string(m.Get(sip.HdrContentType)),
		Body: append([]byte(nil), m.Body()...)}
	s.respond(tx, m, 200, func(a *sip.Message) {
		if said {
			a.SetUint(sip.HdrExpires, uint64(expires))
		}
	})
	if f := s.registered; f != nil {
		s.start(func() { _ = s.watch(func() error { return f(s.ctx, r) }) })
	}
}

// inDialog takes a request inside a dialog: one of ours, or one in whose path we stay.
func (s *Service) inDialog(tx *siptxn.Server, m *sip.Message) {
	if leg := s.legs[nameOf(m)]; leg != nil {
		leg.take(tx, m)
		return
	}
	if !s.takeRoute(m) {
		s.respond(tx, m, 481, nil)
		return
	}
	n, present := m.MaxForwards()
	if present && n == 0 {
		s.respond(tx, m, 483, nil)
		return
	}
	r := &relay{svc: s, tx: tx, follows: s.follow[string(m.Get(sip.HdrCallID))], method: m.Method()}
	out := m.Clone()
	out.RemoveFirst(sip.HdrRoute)
	if present {
		out.SetUint(sip.HdrMaxForwards, uint64(n-1))
	}
	if r.follows != nil && m.Method() == sip.INFO {
		r.follows.put(told(m))
	}
	r.request = m.Clone()
	tx.User = r
	var err error
	if r.client, err = s.send(out, r); err != nil {
		s.respond(tx, m, 503, nil)
	}
}

// takeRoute reports whether the topmost Route entry is ours.
func (s *Service) takeRoute(m *sip.Message) bool {
	addr, err := sip.ParseNameAddr(m.Get(sip.HdrRoute))
	if err != nil {
		return false
	}
	uri, err := sip.ParseURI(addr.URI)
	return err == nil && string(uri.Host) == s.host
}

// Ack implements siptxn.Handler.
func (s *Service) Ack(_ siptransport.Flow, m *sip.Message) {
	if leg := s.legs[nameOf(m)]; leg != nil {
		leg.confirmed(m)
		m.Release()
		return
	}
	if !s.takeRoute(m) {
		m.Release()
		return
	}
	m.RemoveFirst(sip.HdrRoute)
	if n, present := m.MaxForwards(); present {
		m.SetUint(sip.HdrMaxForwards, uint64(max(n-1, 0)))
	}
	s.acknowledge(m)
}

// Cancelled implements siptxn.Handler.
func (s *Service) Cancelled(tx *siptxn.Server) {
	if p, ok := tx.User.(pending); ok {
		p.giveUp()
		return
	}
	s.respond(tx, tx.Request(), 487, nil)
}

// Ended implements siptxn.Handler.
func (s *Service) Ended(tx *siptxn.Server) {
	if p, ok := tx.User.(pending); ok {
		p.ended()
	}
}

func (x *Session) ended() {
	x.tx = nil
	x.settle()
}

// relay is a request inside a dialog on its way through a service that stays in the path (RFC 3261 16).
type relay struct {
	svc     *Service
	tx      *siptxn.Server
	request *sip.Message
	client  *siptxn.Client
	follows *Session
	method  sip.Method
	done    bool
}

// Response implements siptxn.Responder.
func (r *relay) Response(_ *siptxn.Client, m *sip.Message) {
	m.RemoveFirst(sip.HdrVia)
	if m.Status() == 100 || r.tx == nil {
		m.Release()
		return
	}
	final := m.Status() >= 200
	if err := r.svc.layer.Respond(r.tx, m); err != nil {
		r.svc.log.Debug("response not sent", "error", err)
	}
	if final && !r.done {
		r.finish()
	}
}

// Failed implements siptxn.Responder.
func (r *relay) Failed(_ *siptxn.Client, err error) {
	if r.tx != nil {
		r.svc.respond(r.tx, r.request, failureOf(err), nil)
	}
	if !r.done {
		r.finish()
	}
}

// Again implements siptxn.Retransmitter.
func (r *relay) Again(_ *siptxn.Client, m *sip.Message) bool {
	return r.tx != nil && r.svc.layer.Retransmit2xx(r.tx, m.ToTag())
}

func (r *relay) finish() {
	r.done = true
	if r.follows != nil && r.method == sip.BYE {
		r.follows.hungUp()
	}
}

func (r *relay) giveUp() {
	if r.client != nil && !r.done {
		r.svc.layer.Cancel(r.client)
	}
}

func (r *relay) ended() {
	r.tx = nil
	r.request.Release()
	r.request = nil
}

// failureOf is what a transaction that failed stands for (RFC 3261 8.1.3.1, 16.9).
func failureOf(err error) int {
	if err == siptxn.ErrTimeout {
		return 408
	}
	return 503
}
