package as_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"imsafe/proto/sip"
	"imsafe/servicebox/as"
	"imsafe/servicebox/as/astest"
)

const answer = "v=0\r\no=- 3 3 IN IP4 10.0.0.77\r\ns=-\r\nc=IN IP4 10.0.0.77\r\nt=0 0\r\nm=audio 0 UDP/TLS/RTP/SAVP 8\r\n"

// manifest is that of a service called name.
func manifest(name string, scopes string, more ...string) string {
	fork := 1
	if strings.Contains(scopes, "session.fork") {
		fork = 3
	}
	media := ""
	if strings.Contains(scopes, "media.") {
		media = ", media_mbps = 1"
	}
	return `manifest = 1
service  = "` + name + `"
provider = "example"
domain   = "ims.example"
endpoint = "sips:` + name + `.as.ims.example:5061"
psi      = ["sip:` + name + `@ims.example"]
scopes   = ["` + strings.ReplaceAll(scopes, " ", `", "`) + `", "identity.private"]
users    = { all = true }
limits   = { cps = 100, sessions = 100, fork = ` + strconv.Itoa(fork) + media + ` }
expires  = 2030-01-01
` + strings.Join(more, "")
}

// trigger is one of a manifest.
func trigger(kase string, priority int, onFailure string) string {
	return fmt.Sprintf("[[trigger]]\ncase = %q\nmethods = [\"INVITE\"]\npriority = %d\non_failure = %q\n", kase, priority, onFailure)
}

// stage is a core with a service, and alice and bob, registered.
type stage struct {
	*astest.Net
	t          *testing.T
	service    *astest.Service
	alice, bob *astest.UE
}

func newStage(t *testing.T, manifest string, setup func(*as.Service), grants ...astest.Grant) *stage {
	t.Helper()
	s := &stage{Net: astest.New(t), t: t}
	if manifest != "" {
		s.service = s.Service(manifest, setup, grants...)
	}
	s.alice, s.bob = s.UE("alice").Register(), s.UE("bob").Register()
	return s
}

// over lets all timers pass and wants nothing left over.
func (s *stage) over() {
	s.t.Helper()
	s.Advance(2 * time.Second)
	s.World.Advance(5 * time.Minute) // nothing is to come that a client would have to answer
	if n := s.Transactions(); n != 0 {
		s.t.Errorf("%d transactions are left over", n)
	}
}

func ignore(context.Context, *as.Session) error { return nil }

const all = "session.proxy session.redirect session.answer session.originate session.fork message.receive message.send mwi.notify"

// TestWhatASessionIs: who calls whom is data.
func TestWhatASessionIs(t *testing.T) {
	var seen []*as.Session
	look := func(_ context.Context, s *as.Session) error { seen = append(seen, s); return nil }
	s := newStage(t, manifest("look", "session.proxy", trigger("originating", 10, "reject"), trigger("terminating", 11, "reject")), func(svc *as.Service) {
		svc.Handle(as.Originating, look)
		svc.Handle(as.Terminating, look)
	})
	s.alice.Call("bob").Answered()
	if len(seen) != 2 {
		t.Fatalf("asked %d times", len(seen))
	}
	for i, want := range []as.Session{
		{Case: as.Originating, Served: s.alice.IMPU(), Registered: true, Caller: s.alice.IMPU(), Called: s.bob.IMPU()},
		{Case: as.Terminating, Served: s.bob.IMPU(), Registered: true, Caller: s.alice.IMPU(), Called: s.bob.IMPU()},
	} {
		x := seen[i]
		if x.Case != want.Case || x.Served != want.Served || x.Registered != want.Registered || x.Caller != want.Caller || x.Called != want.Called ||
			x.CallerHidden || x.Diverted || !strings.HasPrefix(string(x.Message), "v=0") || x.Type != "application/sdp" || x.Method() != "INVITE" {
			t.Errorf("%v: served %q (registered %v), %q calls %q, %s", x.Case, x.Served, x.Registered, x.Caller, x.Called, x.Type)
		}
	}
	s.alice.Call("bob", astest.Header("Privacy", "id")).Answered()
	if x := seen[3]; !x.CallerHidden || x.Caller != s.alice.IMPU() {
		t.Errorf("hidden %v, caller %q", x.CallerHidden, x.Caller)
	}
}

func TestUnregistered(t *testing.T) {
	asked := 0
	s := newStage(t, manifest("away", "session.answer", trigger("terminating-unregistered", 10, "reject")), func(svc *as.Service) {
		svc.Handle(as.Unregistered, func(_ context.Context, x *as.Session) error {
			asked++
			if x.Registered {
				t.Error("he is there")
			}
			return x.RejectWith(480, "out for lunch")
		})
	})
	dave := s.UE("dave")
	call := s.alice.Call("dave").Fails(480)
	if notes := strings.Join(call.Notes(), ""); asked != 1 || !strings.Contains(notes, "out for lunch") {
		t.Errorf("asked %d times: %s", asked, notes)
	}
	dave.Register()
	s.alice.Call("dave").Answered()
	if asked != 1 {
		t.Error("asked about one who is there")
	}
}

// TestRegistered: a service hears of the registrations of its users.
func TestRegistered(t *testing.T) {
	var heard []string
	s := newStage(t, manifest("watch", "session.proxy", "[[trigger]]\ncase = \"registration\"\nmethods = [\"REGISTER\"]\npriority = 10\n"), func(svc *as.Service) {
		svc.Registered(func(_ context.Context, r *as.Registration) error {
			heard = append(heard, fmt.Sprint(r.Identity, r.Registered))
			return nil
		})
	})
	want := []string{s.alice.IMPU() + "true", s.bob.IMPU() + "true"}
	if fmt.Sprint(heard) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", heard, want)
	}
}

// TestStay: a service that stays hears what happens; one that does not is out of the path.
func TestStay(t *testing.T) {
	var heard []string
	s := newStage(t, manifest("stay", "session.proxy", trigger("terminating", 10, "reject")), func(svc *as.Service) {
		svc.Handle(as.Terminating, func(ctx context.Context, x *as.Session) error {
			if err := x.Continue(as.Stay()); err != nil {
				return err
			}
			for {
				e, err := x.Next(ctx)
				if err != nil {
					return err
				}
				word := e.Kind.String()
				if e.Digit != 0 {
					word += string(e.Digit)
				}
				heard = append(heard, word)
				if e.Kind == as.Ended {
					return nil
				}
			}
		})
	})
	call := s.alice.Call("bob").Answered()
	call.Press('5')
	call.Hangup()
	if got := strings.Join(heard, " "); got != "ringing answered info5 ended" {
		t.Errorf("it hears %s", got)
	}
	if !s.bob.HungUp {
		t.Error("bob does not hear that alice hung up")
	}
	s.over()
}

// TestFork: several are called at a time; who answers has the call, the others stop ringing.
func TestFork(t *testing.T) {
	s := newStage(t, manifest("team", all, trigger("terminating", 10, "reject")), func(svc *as.Service) {
		svc.Handle(as.Terminating, func(_ context.Context, x *as.Session) error {
			if !as.SameIdentity(x.Served, "sip:bob@"+astest.Domain) {
				return x.Continue()
			}
			return x.Fork([]string{x.Called, "sip:carol@" + astest.Domain})
		})
	})
	carol := s.UE("carol").Register()
	s.bob.NoAnswer()
	carol.NoAnswer()
	call := s.alice.Call("bob")
	if len(s.bob.Invited) != 1 || len(carol.Invited) != 1 {
		t.Fatalf("bob rings %d times, carol %d", len(s.bob.Invited), len(carol.Invited))
	}
	carol.PickUp()
	s.Settle()
	call.Answered()
	call.Hangup()
	if !carol.HungUp {
		t.Error("carol does not hear that alice hung up")
	}
	s.over()

	s.bob.Busy()
	carol.Declines(603)
	s.alice.Call("bob").Fails(603)
	s.over()
}

// TestHandlerFails: what a handler does wrong costs its own session.
func TestHandlerFails(t *testing.T) {
	for name, c := range map[string]struct {
		do   as.Handler
		want int
	}{
		"error":               {func(context.Context, *as.Session) error { return errors.New("no disk") }, 500},
		"not granted":         {func(_ context.Context, x *as.Session) error { return x.Redirect("sip:x@ims.example") }, 403},
		"panic":               {func(context.Context, *as.Session) error { panic("oops") }, 500},
		"no URI":              {func(_ context.Context, x *as.Session) error { return x.Continue(as.To("carol")) }, 500},
		"refusal of 200":      {func(_ context.Context, x *as.Session) error { return x.Reject(200) }, 500},
		"nothing decided":     {ignore, 200},
		"decided, then error": {func(_ context.Context, x *as.Session) error { return errors.Join(x.Continue(), errors.New("late")) }, 200},
		"decided twice":       {func(_ context.Context, x *as.Session) error { return errors.Join(x.Reject(486), x.Continue()) }, 486},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, manifest("bad", "session.proxy", trigger("terminating", 10, "reject")), func(svc *as.Service) { svc.Handle(as.Terminating, c.do) })
			s.alice.Call("bob").Ends(c.want)
			s.over()
		})
	}
}

// TestAnswer: the service is the far end: digits, a new offer, hanging up from both sides.
func TestAnswer(t *testing.T) {
	var pressed string
	var legs []*as.Leg
	s := newStage(t, manifest("menu", "session.answer"), func(svc *as.Service) {
		svc.Handle(as.Terminating, func(ctx context.Context, x *as.Session) error {
			leg, err := x.Answer(ctx, []byte(answer), `press "0"`)
			if err != nil {
				return err
			}
			legs = append(legs, leg)
			for {
				e, err := leg.Next(ctx)
				if err != nil || e.Kind == as.Ended {
					return nil
				}
				pressed += string(e.Digit)
				if e.Digit == '0' {
					leg.Hangup()
				}
			}
		})
	})
	call := s.alice.Call("menu").Answered()
	if got := strings.Join(call.Notes(), ""); !strings.Contains(got, `press \"0\"`) {
		t.Errorf("it says %s", got)
	}
	call.Press('4')
	call.Press('2')
	call.Press('0')
	if pressed != "420" || !s.alice.HungUp {
		t.Errorf("pressed %q, hung up %v", pressed, s.alice.HungUp)
	}
	if !strings.Contains(string(legs[0].Remote()), "m=audio 40000") {
		t.Errorf("the offer: %s", legs[0].Remote())
	}
	s.alice.Call("menu").Answered().Hangup()
	if err := legs[1].Wait(context.Background()); err != nil {
		t.Errorf("the leg that alice ended: %v", err)
	}
	s.over()
}

// TestRequires: a call that requires what the service does not have is refused by name (RFC 3261 8.2.2.3).
func TestRequires(t *testing.T) {
	s := newStage(t, manifest("menu", "session.answer"), func(svc *as.Service) {
		svc.Handle(as.Terminating, func(ctx context.Context, x *as.Session) error {
			leg, err := x.Answer(ctx, []byte(answer))
			if err != nil {
				return err
			}
			return leg.Wait(ctx)
		})
	})
	call := s.alice.Call("menu", astest.Header("Require", "precondition, 100rel")).Fails(420)
	if got := string(call.Answer.Get(sip.HdrUnsupported)); got != "precondition" {
		t.Errorf("unsupported: %q", got)
	}
	s.alice.Call("menu", astest.Header("Require", "100rel")).Answered().Hangup()
	s.over()
}

// TestOriginate: a service calls as itself, is refused, is not answered, and refers.
func TestOriginate(t *testing.T) {
	var svc *as.Service
	s := newStage(t, manifest("caller", "session.originate session.redirect media.send media.receive message.send mwi.notify"), func(x *as.Service) { svc = x })
	background := context.Background()
	run := func(f func() error) error {
		done := make(chan error, 1)
		svc.Go(func(context.Context) error { done <- f(); return nil })
		s.Settle()
		select {
		case err := <-done:
			return err
		default:
			t.Fatal("it still waits")
			return nil
		}
	}
	var leg *as.Leg
	if err := run(func() (err error) {
		leg, err = svc.Originate(background, s.bob.IMPU(), []byte(astest.Offer))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if m := s.bob.Invite(); m == nil || !strings.Contains(string(m.Get(sip.HdrPAssertedIdentity)), "sip:caller@") {
		t.Error("bob is not shown who calls")
	}
	if err := run(func() error { return leg.Refer(background, s.alice.IMPU()) }); err != nil {
		t.Errorf("refer: %v", err)
	}
	if err := run(func() error { return leg.Info(background, "text/plain", []byte("x")) }); err != nil {
		t.Errorf("info: %v", err)
	}
	leg.Hangup()
	s.Settle()
	if !s.bob.HungUp {
		t.Error("bob does not hear that it hung up")
	}
	if err := run(func() error { return leg.Info(background, "text/plain", nil) }); !errors.Is(err, as.ErrGone) {
		t.Errorf("info after the end: %v", err)
	}
	s.bob.Busy()
	var status *as.StatusError
	if err := run(func() error { _, err := svc.Originate(background, s.bob.IMPU(), []byte(astest.Offer)); return err }); !errors.As(err, &status) || status.Code != 486 {
		t.Errorf("busy: %v", err)
	}
	if err := run(func() error { return svc.Send(background, s.bob.IMPU(), "text/plain", []byte("hello")) }); err != nil || len(s.bob.Messages) != 1 {
		t.Errorf("message: %v, %q", err, s.bob.Messages)
	}
	if err := run(func() error {
		return svc.Notify(background, s.bob.IMPU(), "message-summary", "application/simple-message-summary", []byte("Messages-Waiting: yes\r\n"))
	}); err != nil {
		t.Errorf("notify: %v", err)
	}
	if err := run(func() error { return svc.Send(background, "sip:x@y?Route=z", "text/plain", nil) }); !errors.Is(err, as.ErrURI) {
		t.Errorf("a target with headers: %v", err)
	}
	s.over()
}

// TestOriginateGivesUp: when its context ends the call is cancelled.
func TestOriginateGivesUp(t *testing.T) {
	var svc *as.Service
	s := newStage(t, manifest("caller", "session.originate session.redirect media.send media.receive"), func(x *as.Service) { svc = x })
	s.bob.NoAnswer()
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	svc.Go(func(context.Context) error {
		_, err := svc.Originate(ctx, s.bob.IMPU(), []byte(astest.Offer))
		failed <- err
		return nil
	})
	s.Settle()
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	s.Settle()
	s.bob.PickUp() // must have no effect: it does not ring any more
	s.over()
	if s.bob.Ringing() {
		t.Error("bob still rings")
	}
}

// TestNotGranted: what the operator did not grant is refused here, and by the core where a service does not know.
func TestNotGranted(t *testing.T) {
	var here error
	s := newStage(t, manifest("greedy", all, trigger("terminating", 10, "continue")), func(svc *as.Service) {
		svc.Handle(as.Terminating, func(ctx context.Context, x *as.Session) error {
			_, here = x.Answer(ctx, []byte(answer))
			return nil
		})
	}, astest.Without("session.answer"))
	s.alice.Call("bob").Answered()
	astest.Denied(t, here, "session.answer")
}

// TestDeniedByTheCore: a program of its own knows only what it asks for. What the core refuses comes back as the same error, and is not asked
// for again.
func TestDeniedByTheCore(t *testing.T) {
	var errs []error
	s := newStage(t, manifest("greedy", all, trigger("terminating", 10, "continue")), func(svc *as.Service) {
		svc.Handle(as.Terminating, func(ctx context.Context, x *as.Session) error {
			_, err := x.Try(ctx, as.To("sip:carol@"+astest.Domain))
			errs = append(errs, err)
			return nil
		})
	}, astest.Unknown("session.redirect"))
	s.alice.Call("bob").Fails(403)
	s.alice.Call("bob").Answered() // it was refused here, and nothing was decided
	if len(errs) != 2 {
		t.Fatalf("asked %d times", len(errs))
	}
	for i, err := range errs {
		var d *as.Denied
		if !errors.As(err, &d) || d.Scope != "session.redirect" || d.Here != (i == 1) {
			t.Errorf("%d: %v", i, err)
		}
	}
}
