package as_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"imsafe/proto/sip"
	"imsafe/refpoint/mr/mrtest"
	"imsafe/servicebox/as"
	"imsafe/servicebox/as/astest"
)

// calls is a service that calls bob when somebody says so.
func calls(t *testing.T, handle func(context.Context, *as.Call) error, grants ...astest.Grant) (*stage, *mrtest.Fake, *[]error) {
	t.Helper()
	media, ends := mrtest.NewFake(4), &[]error{}
	s := newStage(t, manifest("talk", mediates+" session.originate message.receive"), func(svc *as.Service) {
		svc.UseMedia(media)
		svc.HandleMessages(as.Terminating, func(ctx context.Context, x *as.Session) error {
			if err := x.Accept(); err != nil {
				return err
			}
			c, err := svc.OriginateMedia(context.WithoutCancel(ctx), "sip:bob@"+astest.Domain, []float64{1000})
			if err == nil {
				err = handle(context.WithoutCancel(ctx), c)
			}
			*ends = append(*ends, err)
			return nil
		})
	}, grants...)
	return s, media, ends
}

// TestOriginateMedia: a call of the service's own, with its own media: what it plays is heard, what the called user presses is an event, and when he hangs up
// nothing is left. The core signs who calls.
func TestOriginateMedia(t *testing.T) {
	var heard []byte
	s, media, ends := calls(t, func(ctx context.Context, c *as.Call) error {
		if err := c.Secured(ctx); err != nil {
			return err
		}
		if err := c.Play(ctx, &hum{left: 25}); err != nil {
			return err
		}
		for {
			e, err := c.Next(ctx)
			if err != nil || e.Kind == as.Ended {
				return err
			}
			if e.Digit != 0 {
				heard = append(heard, e.Digit)
			}
		}
	})
	if status := s.alice.Say("talk", "call bob"); status != 200 {
		t.Fatalf("answered %d", status)
	}
	s.Settle()
	open := media.Calls()
	if len(open) != 1 || !open[0].Started() || s.bob.Invite() == nil {
		t.Fatalf("%d calls are open, bob was called: %v", len(open), s.bob.Invite() != nil)
	}
	if offer := string(s.bob.Invite().Body()); !strings.Contains(offer, "UDP/TLS/RTP/SAVP 8 0") {
		t.Errorf("he is offered\n%s", offer)
	}
	open[0].Secure()
	s.Advance(time.Second)
	open[0].Press('4')
	open[0].Press('2')
	s.Settle()
	s.bob.Hangup()
	s.Settle()
	if string(heard) != "42" || open[0].Sent() != 25 || len(*ends) != 1 || (*ends)[0] != nil || len(media.Calls()) != 0 {
		t.Errorf("heard %q, %d frames sent, %v, %d channels are left over", heard, open[0].Sent(), *ends, len(media.Calls()))
	}
	s.over()
}

// TestOriginateMedia_ends: a call that comes to nothing leaves nothing, and says why.
func TestOriginateMedia_ends(t *testing.T) {
	for name, c := range map[string]struct {
		bob    func(*astest.UE)
		grants []astest.Grant
		want   func(error) bool
	}{
		"busy": {func(u *astest.UE) { u.Busy() }, nil, func(err error) bool {
			var status *as.StatusError
			return errors.As(err, &status) && status.Code == 486
		}},
		"no right to call":  {nil, []astest.Grant{astest.Without("session.originate")}, func(err error) bool { return denied(err) == "session.originate" }},
		"no right to media": {nil, []astest.Grant{astest.Without("media.send", "media.receive", "media.mix", "media.record")}, func(err error) bool { return denied(err) == "media.send" }},
		"none, and it does not know": {nil, []astest.Grant{astest.Unknown("session.originate")}, func(err error) bool {
			return denied(err) == "session.originate"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s, media, ends := calls(t, func(context.Context, *as.Call) error { return nil }, c.grants...)
			if c.bob != nil {
				c.bob(s.bob)
			}
			s.alice.Say("talk", "call bob")
			s.Settle()
			if len(*ends) != 1 || !c.want((*ends)[0]) || len(media.Calls()) != 0 {
				t.Errorf("%v, %d channels are left over", *ends, len(media.Calls()))
			}
			s.over()
		})
	}
}

// denied is the scope that an error names, "" for none.
func denied(err error) string {
	var d *as.Denied
	if errors.As(err, &d) {
		return d.Scope
	}
	return ""
}

// connects is a service in the path of bob's calls: it answers, lets the caller hear that it rings, calls on, and connects the two.
func connects(t *testing.T) (*stage, *mrtest.Fake, *[]error) {
	t.Helper()
	media, ends := mrtest.NewFake(4), &[]error{}
	trigger := "[[trigger]]\ncase = \"terminating\"\nmethods = [\"INVITE\"]\npriority = 10\non_failure = \"continue\"\n"
	s := newStage(t, manifest("talk", mediates, trigger), func(svc *as.Service) {
		svc.UseMedia(media)
		svc.Handle(as.Terminating, func(ctx context.Context, x *as.Session) (err error) {
			defer func() { *ends = append(*ends, err) }()
			caller, err := x.AnswerMedia(ctx, nil)
			if err != nil {
				return err
			}
			if err := caller.PlayOn(&hum{left: 1 << 20}); err != nil {
				return err
			}
			called, err := caller.CallOn(ctx)
			if err != nil {
				caller.Hangup()
				return err
			}
			if _, err := caller.Connect(called); err != nil {
				return err
			}
			return caller.Wait(ctx)
		})
	})
	return s, media, ends
}

// TestConnect: the caller hears the service while bob rings; then both are in one mix, bob knows who calls, and who hangs up ends both calls.
func TestConnect(t *testing.T) {
	for name, hangup := range map[string]func(*stage, *astest.Call){
		"the caller hangs up": func(_ *stage, c *astest.Call) { c.Hangup() },
		"the called hangs up": func(s *stage, _ *astest.Call) { s.bob.Hangup() },
	} {
		t.Run(name, func(t *testing.T) {
			s, media, ends := connects(t)
			s.bob.NoAnswer()
			call := s.alice.Call("bob").Answered()
			open := media.Calls()
			if len(open) != 2 || !s.bob.Ringing() {
				t.Fatalf("%d channels are open, bob rings: %v", len(open), s.bob.Ringing())
			}
			open[0].Secure()
			s.Advance(time.Second)
			if open[0].Sent() < 20 {
				t.Errorf("the caller has heard %d frames", open[0].Sent())
			}
			if id, _ := sip.PublicIdentity(s.bob.Invite().Get(sip.HdrPAssertedIdentity)); id != s.alice.IMPU() {
				t.Errorf("bob is called by %s", id)
			}
			s.bob.PickUp()
			s.Settle()
			if slices.ContainsFunc(open, func(c *mrtest.Call) bool { return !c.Mixed() || !c.Started() }) {
				t.Error("they are not connected")
			}
			hangup(s, call)
			s.Settle()
			if len(media.Calls()) != 0 || len(*ends) != 1 || (*ends)[0] != nil {
				t.Errorf("%d channels are left over, %v", len(media.Calls()), *ends)
			}
			s.over()
		})
	}
}

// TestConnect_not: bob does not take the call, or the caller gives up before he does: nothing is left, nobody rings.
func TestConnect_not(t *testing.T) {
	s, media, ends := connects(t)
	s.bob.Busy()
	s.alice.Call("bob").Answered()
	var status *as.StatusError
	if len(*ends) != 1 || !errors.As((*ends)[0], &status) || status.Code != 486 || !s.alice.HungUp || len(media.Calls()) != 0 {
		t.Errorf("busy: %v, hung up %v, %d channels", *ends, s.alice.HungUp, len(media.Calls()))
	}
	s.bob.NoAnswer()
	call := s.alice.Call("bob").Answered()
	call.Hangup()
	s.Settle()
	if len(*ends) != 2 || !errors.Is((*ends)[1], as.ErrGone) || s.bob.Ringing() || len(media.Calls()) != 0 {
		t.Errorf("given up: %v, bob rings %v, %d channels", *ends, s.bob.Ringing(), len(media.Calls()))
	}
	s.over()
}
