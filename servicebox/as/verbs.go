package as

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"imsafe/proto/sip"
	"imsafe/refpoint/isc"
)

// onward is how a session goes on.
type onward struct {
	targets []string // Request-URIs; none: the one that it came with
	stay    bool
	holds   bool // failures wait for the handler
	within  time.Duration
	cause   Cause
	unseen  bool
	tells   telling
	request []func(*sip.Message)
	reply   []func(*sip.Message)
	needs   []isc.Scope
}

// How says how a session goes on, beside the verb.
type How func(*onward)

// To sends the session elsewhere: a SIP or tel URI; several are tried at the same time. It needs session.redirect, and session.fork for
// several.
func To(targets ...string) How { return func(o *onward) { o.targets = targets } }

// Stay keeps the service in the path of the dialog, which it then hears the end of. It needs session.proxy.
func Stay() How {
	return func(o *onward) { o.stay = true; o.needs = append(o.needs, isc.SessionProxy) }
}

// Within ends the attempt if there is no final answer within d: NoAnswer.
func Within(d time.Duration) How { return func(o *onward) { o.within = d } }

// Because says why To sends the session elsewhere: History-Info tells of it (RFC 7044, TS 24.604 4.5.2.6.2).
func Because(cause Cause) How { return func(o *onward) { o.cause = cause } }

// telling is what a caller hears before his call goes elsewhere.
type telling uint8

const (
	tellsNothing telling = iota
	tellsThat
	tellsWhere
)

// Announced tells the caller, before the call goes elsewhere, that it does: 181 (Call Is Being Forwarded), with where in History-Info if that is
// to be shown (TS 24.604 4.5.2.6.4).
func Announced(where bool) How {
	return func(o *onward) {
		o.tells = tellsThat
		if where {
			o.tells = tellsWhere
		}
	}
}

// Unseen withholds from whoever a call is diverted to who was called before (TS 24.604 4.5.2.6.2.2, RFC 7044 10.1.2). It needs
// identity.privacy.
func Unseen() How {
	return func(o *onward) { o.unseen = true; o.needs = append(o.needs, isc.IdentityPrivacy) }
}

// withhold adds to what is asked to be withheld (RFC 3323 4.2).
func withhold(m *sip.Message, what string) {
	asked := strings.TrimSpace(string(m.Get(sip.HdrPrivacy)))
	switch {
	case asked == "" || strings.EqualFold(asked, "none"):
		m.SetString(sip.HdrPrivacy, what)
	case !slices.ContainsFunc(strings.Split(asked, ";"), func(v string) bool { return strings.EqualFold(strings.TrimSpace(v), what) }):
		m.SetString(sip.HdrPrivacy, asked+";"+what)
	}
}

// Anonymous withholds the caller's identity from whoever is called (OIR, TS 24.607 4.5.2.4; for one who has no OIP, 4.5.2.9). It needs
// identity.privacy.
func Anonymous() How {
	return func(o *onward) {
		o.needs = append(o.needs, isc.IdentityPrivacy)
		o.request = append(o.request, func(m *sip.Message) {
			withhold(m, "id")
			m.SetString(sip.HdrFrom, `"Anonymous" <sip:anonymous@anonymous.invalid>;tag=`+string(m.FromTag()))
		})
	}
}

// AnonymousAnswer withholds the identity of whoever answers from the caller (TIR, TS 24.608 4.5.2.9). It needs identity.privacy.
func AnonymousAnswer() How {
	return func(o *onward) {
		o.needs = append(o.needs, isc.IdentityPrivacy)
		o.reply = append(o.reply, func(m *sip.Message) { withhold(m, "id") })
	}
}

// WithoutAnswerer does not show the caller who answers: he has not subscribed to that (TIP, TS 24.608 4.5.2.4).
func WithoutAnswerer() How {
	return func(o *onward) {
		o.reply = append(o.reply, func(m *sip.Message) { m.Remove(sip.HdrPAssertedIdentity) })
	}
}

// Continue lets the session go on its way, and returns when it does. What comes of it is told by Next; without Stay the service is out of
// the path when it is answered. A refusal of the core answers the caller, and Next tells of it.
func (s *Session) Continue(how ...How) error {
	o := s.build(how)
	return s.decide(func() error { return s.goOn(o) })
}

// Redirect sends the session to another target; History-Info says why if there is a Because.
func (s *Session) Redirect(target string, how ...How) error {
	return s.Continue(append([]How{To(target)}, how...)...)
}

// Fork sends it to several targets at the same time. The first that answers wins (RFC 3261 16.7).
func (s *Session) Fork(targets []string, how ...How) error {
	return s.Continue(append([]How{To(targets...)}, how...)...)
}

// Try is Continue, but waits for what comes of it: Answered, Busy, NoAnswer, Failed or Gone. A failure is held back: the handler may try
// something else; if it returns, the caller gets the best failure. A refusal of the core is returned as a *Denied.
func (s *Session) Try(ctx context.Context, how ...How) (Event, error) {
	o := s.build(how)
	o.holds = true
	if err := s.decide(func() error { return s.goOn(o) }); err != nil {
		return Event{}, err
	}
	for {
		e, err := s.Next(ctx)
		if err != nil {
			return Event{}, err
		}
		if e.Kind >= Answered && e.Kind <= Gone {
			return e, e.Err
		}
	}
}

// Reject refuses the session with a status code of 400 to 699.
func (s *Session) Reject(code int) error { return s.RejectWith(code, "") }

// RejectWith is Reject with a text for people (Warning 399, RFC 3261 20.43); "" is none.
func (s *Session) RejectWith(code int, text string) error {
	if code < 400 || code > 699 {
		return fmt.Errorf("as: %d is no refusal", code)
	}
	return s.decide(func() error {
		if err := s.open(); err != nil {
			return err
		}
		s.reply(code, func(m *sip.Message) { warn(m, s.svc.host, text) })
		return nil
	})
}

// warn says something to people.
func warn(m *sip.Message, host, text string) {
	if text != "" {
		m.AppendString(sip.HdrWarning, "399 "+host+" "+quote(text))
	}
}

// quote writes a quoted-string (RFC 3261 25.1): what could end it, or the line, is left out.
func quote(text string) string {
	b := []byte{'"'}
	for _, c := range []byte(text) {
		switch {
		case c < ' ' || c == 0x7f:
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, c)
		}
	}
	return string(append(b, '"'))
}

// Accept takes a MESSAGE: 200. It needs message.receive.
func (s *Session) Accept() error {
	if err := s.svc.needs(isc.MessageReceive); err != nil {
		return err
	}
	return s.decide(func() error {
		if err := s.open(); err != nil {
			return err
		}
		if s.method == sip.INVITE {
			return fmt.Errorf("%w: a call is answered", ErrDecided)
		}
		s.reply(200, nil)
		return nil
	})
}

func (s *Session) build(how []How) onward {
	var o onward
	for _, h := range how {
		h(&o)
	}
	return o
}

// decide runs a verb on the shard.
func (s *Session) decide(verb func() error) error {
	if errors.Is(context.Cause(s.ctx), ErrGone) {
		return ErrGone
	}
	return s.svc.do(verb)
}

// open returns why nothing can be decided any more.
func (s *Session) open() error {
	switch {
	case s.gone:
		return ErrGone
	case s.tx == nil || s.phase == answered || slices.ContainsFunc(s.branches, func(b *branch) bool { return !b.done }):
		return ErrDecided
	}
	return nil
}

// permits checks what a way on needs: here first, so that a service hears what it lacks before anything leaves.
func (s *Session) permits(o *onward) error {
	scopes := slices.Clone(o.needs)
	for _, t := range o.targets {
		if t != s.Called {
			if err := CheckTarget(t); err != nil {
				return err
			}
			scopes = append(scopes, isc.SessionRedirect)
		}
	}
	n := len(s.branches) + max(len(o.targets), 1)
	if n > 1 {
		scopes = append(scopes, isc.SessionFork)
	}
	for _, scope := range scopes {
		if err := s.svc.needs(scope); err != nil {
			return err
		}
	}
	if n > 1 && n > s.svc.manifest.Limits.Fork {
		s.svc.counters.Denied.Add(1)
		return &Denied{Control: "is.integrity.odi", Reason: "spent", Here: true}
	}
	return nil
}
