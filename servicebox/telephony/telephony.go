// Package telephony is the telephony service of a home network: communication diversion (TS 24.604), barring (TS 24.611), and restriction
// of identities (TS 24.607, TS 24.608).
//
// Setup gives a service its handlers; who has what is in a Store, which the users change by feature codes (TS 22.030 6.5). A call of a user
// passes outgoing, a call to him incoming; each reads like its procedure.
//
// It does not have hold, waiting, transfer or Ut (TS 24.623): the first is between the ends, the others need media or XCAP. It is written
// with servicebox/as alone, and is enrolled like anybody's service. All of it is safe for concurrent use.
package telephony

import (
	"context"

	"imsafe/servicebox/as"
)

// maxDiversions is how often a call may be diverted (TS 24.604 4.5.2.6.1 leaves the number to the operator; the core has the same).
const maxDiversions = 5

// Telephony is the service.
type Telephony struct {
	svc   *as.Service
	store Store
}

// Setup gives a service the handlers of telephony.
func Setup(svc *as.Service, store Store) *Telephony {
	t := &Telephony{svc: svc, store: store}
	svc.Handle(as.Originating, t.outgoing)
	svc.Handle(as.Terminating, t.incoming)
	svc.Handle(as.Unregistered, t.absent)
	svc.HandleMessages(as.Originating, t.outgoingMessage)
	svc.HandleMessages(as.Terminating, t.incomingMessage)
	svc.HandleMessages(as.Unregistered, t.incomingMessage)
	return t
}

// outgoing is a call of the served user (TS 24.611 4.5.2.4, TS 24.607 4.5.2.4, TS 24.608 4.5.2.4).
func (t *Telephony) outgoing(ctx context.Context, s *as.Session) error {
	if code, is := codeOf(s.Called); is && !s.Diverted {
		return s.RejectWith(480, t.obey(ctx, s.Served, code)) // there are no media yet to say it with
	}
	settings, err := t.store.Settings(ctx, s.Served)
	if err != nil {
		return err
	}
	if settings.BarOutgoing {
		return s.RejectWith(603, "outgoing calls are barred")
	}
	var how []as.How
	if settings.HideCaller && !s.Diverted { // a diverted call is somebody else's
		how = append(how, as.Anonymous())
	}
	if settings.NoConnected {
		how = append(how, as.WithoutAnswerer())
	}
	return s.Continue(how...)
}

// incoming is a call to the served user, who is registered (TS 24.611 4.5.2.6, TS 24.604 4.5.2.6).
func (t *Telephony) incoming(ctx context.Context, s *as.Session) error {
	settings, err := t.store.Settings(ctx, s.Served)
	if err != nil {
		return err
	}
	if barred, err := bars(s, &settings); barred {
		return err
	}
	if settings.Unconditional != "" {
		return divert(s, &settings, settings.Unconditional, as.CauseUnconditional)
	}
	how := shown(&settings)
	if settings.NoAnswer != "" {
		how = append(how, as.Within(settings.noReply()))
	}
	outcome, err := s.Try(ctx, how...)
	if err != nil {
		return err
	}
	if target, cause := settings.after(outcome); target != "" {
		return divert(s, &settings, target, cause)
	}
	return nil // he answered, or the caller gets the failure that was held back
}

// absent is a call to the served user, who is not registered (TS 24.604 4.5.2.6.1: CFU, then CFNL).
func (t *Telephony) absent(ctx context.Context, s *as.Session) error {
	settings, err := t.store.Settings(ctx, s.Served)
	if err != nil {
		return err
	}
	if barred, err := bars(s, &settings); barred {
		return err
	}
	switch {
	case settings.Unconditional != "":
		return divert(s, &settings, settings.Unconditional, as.CauseUnconditional)
	case settings.NotRegistered != "":
		return divert(s, &settings, settings.NotRegistered, as.CauseNotRegistered)
	}
	return s.Continue(shown(&settings)...)
}

// bars refuses what the served user does not take (TS 24.611 4.5.2.6.1, 4.5.2.6.2).
func bars(s *as.Session, settings *Settings) (bool, error) {
	switch {
	case settings.BarAnonymous && s.CallerHidden:
		return true, s.RejectWith(433, "anonymous calls are barred") // RFC 5079
	case settings.BarIncoming:
		return true, s.RejectWith(603, "incoming calls are barred")
	}
	return false, nil
}

// shown is what caller and served user are shown of each other (TS 24.607 4.5.2.9, TS 24.608 4.5.2.9).
func shown(settings *Settings) []as.How {
	how := shownAnswerer(settings)
	if settings.NoCaller {
		how = append(how, as.Anonymous())
	}
	return how
}

// shownAnswerer is what the caller is shown of who answers, also where a call of the served user was diverted to.
func shownAnswerer(settings *Settings) []as.How {
	if settings.HideAnswerer {
		return []as.How{as.AnonymousAnswer()}
	}
	return nil
}

// after says where a call goes on after an attempt (TS 24.604 4.5.2.6.1), "" if nowhere.
func (s *Settings) after(o as.Event) (target string, cause as.Cause) {
	switch {
	case o.Kind == as.Busy:
		return s.Busy, as.CauseBusy
	case o.Kind == as.NoAnswer:
		return s.NoAnswer, as.CauseNoAnswer
	case o.Kind == as.Failed && o.Status == 302 && s.Deflection && o.Rang:
		return o.Contact, as.CauseDeflected
	case o.Kind == as.Failed && o.Status == 302 && s.Deflection:
		return o.Contact, as.CauseDeflectedNow
	case o.Kind == as.Failed && notReachable(o):
		return s.NotReachable, as.CauseNotReachable
	}
	return "", 0
}

// notReachable reports whether a failure says that no device could be reached (TS 24.604 4.5.2.6.1: 408, 500, 503 before it rang).
func notReachable(o as.Event) bool {
	return !o.Rang && (o.Status == 408 || o.Status == 480 || o.Status == 500 || o.Status == 503 || o.Status == 504)
}

// divert sends a call elsewhere, unless it came from there or was sent on too often (TS 24.604 4.5.2.6.1).
func divert(s *as.Session, settings *Settings, target string, cause as.Cause) error {
	if len(s.Diversions()) >= maxDiversions || s.Passed(target) || as.SameIdentity(target, s.Served) {
		code := 480
		switch cause {
		case as.CauseBusy:
			code = 486
		case as.CauseNotRegistered:
			code = 404
		}
		return s.RejectWith(code, "Too many diversions appeared")
	}
	how := append(shownAnswerer(settings), as.Because(cause))
	if settings.Announce {
		how = append(how, as.Announced(settings.Whereto))
	}
	if settings.Unseen {
		how = append(how, as.Unseen())
	}
	return s.Redirect(target, how...)
}

// outgoingMessage is a MESSAGE of the served user: one to a feature code is for us.
func (t *Telephony) outgoingMessage(ctx context.Context, s *as.Session) error {
	if code, is := codeOf(s.Called); is {
		done := t.obey(ctx, s.Served, code)
		t.svc.Log().Info("feature code", "reason", done)
		return s.Accept()
	}
	settings, err := t.store.Settings(ctx, s.Served)
	switch {
	case err != nil:
		return err
	case settings.BarOutgoing:
		return s.RejectWith(603, "outgoing messages are barred")
	case settings.HideCaller:
		return s.Continue(as.Anonymous())
	}
	return s.Continue()
}

// incomingMessage is a MESSAGE to the served user.
func (t *Telephony) incomingMessage(ctx context.Context, s *as.Session) error {
	settings, err := t.store.Settings(ctx, s.Served)
	if err != nil {
		return err
	}
	if barred, err := bars(s, &settings); barred {
		return err
	}
	return s.Continue()
}
