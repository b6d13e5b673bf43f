package as_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"imsafe/proto/sip"
	"imsafe/servicebox/as"
	"imsafe/servicebox/as/astest"
)

// newBridge is a stage on which every call to bob is bridged; what the handler saw is in err.
func newBridge(t *testing.T, how ...as.How) (s *stage, failed *error) {
	t.Helper()
	var err error
	s = newStage(t, manifest("bridge", "session.answer session.redirect", trigger("terminating", 10, "reject")), func(svc *as.Service) {
		svc.Handle(as.Terminating, func(ctx context.Context, x *as.Session) error {
			_, err = x.Bridge(ctx, how...) // the two halves live on by themselves
			return nil
		})
	})
	return s, &err
}

// TestBridge: two dialogs, one call: answered, digits pass, each end may hang up.
func TestBridge(t *testing.T) {
	s, failed := newBridge(t)
	for _, hangup := range []func(c *astest.Call){func(c *astest.Call) { c.Hangup() }, func(*astest.Call) { s.bob.Hangup() }} {
		call := s.alice.Call("bob").Answered()
		m := s.bob.Invite()
		if string(m.Get(sip.HdrCallID)) == string(call.Answer.Get(sip.HdrCallID)) {
			t.Error("it is one dialog")
		}
		if !call.Rang {
			t.Error("alice does not hear it ring")
		}
		call.Press('7')
		hangup(call)
		if !s.bob.HungUp && !s.alice.HungUp {
			t.Error("the other end does not hear of the end")
		}
		if *failed != nil {
			t.Error(*failed)
		}
	}
	if len(s.bob.Invited) != 2 {
		t.Errorf("bob was called %d times", len(s.bob.Invited))
	}
	s.over()
}

// TestBridgeReoffers: a re-INVITE of either end passes to the other.
func TestBridgeReoffers(t *testing.T) {
	s, _ := newBridge(t)
	call := s.alice.Call("bob").Answered()
	call.Reoffer().Ends(200)
	if s.bob.Reinvited != 1 {
		t.Errorf("bob got %d re-INVITEs", s.bob.Reinvited)
	}
	call.Hangup()
	if !s.bob.HungUp {
		t.Error("bob does not hear that alice hung up")
	}
	s.over()
}

// TestBridgeFails: what the called side says is what the caller hears.
func TestBridgeFails(t *testing.T) {
	for _, code := range []int{404, 486, 603} {
		s, failed := newBridge(t)
		s.bob.Declines(code)
		s.alice.Call("bob").Fails(code)
		var status *as.StatusError
		if !errors.As(*failed, &status) || status.Code != code {
			t.Errorf("%d: the handler sees %v", code, *failed)
		}
		s.over()
	}
}

// TestBridgeGivenUp: the caller gives up while it rings, or in the moment of the answer; nobody is left in a call alone.
func TestBridgeGivenUp(t *testing.T) {
	s, failed := newBridge(t)
	s.bob.NoAnswer()
	call := s.alice.Call("bob")
	call.Cancel()
	call.Fails(487)
	if s.bob.Ringing() || *failed == nil {
		t.Errorf("bob rings: %v; the handler sees %v", s.bob.Ringing(), *failed)
	}
	s.over()

	call = s.alice.Call("bob")
	call.CancelRace(s.bob)
	switch call.Status {
	case 200:
		call.Hangup()
	case 487:
	default:
		t.Errorf("alice hears %d", call.Status)
	}
	s.Advance(time.Minute)
	if !s.bob.HungUp && call.Status == 487 {
		t.Error("bob is alone in the call")
	}
	s.over()
}

// TestBridgeElsewhere: the second half may go to somebody else.
func TestBridgeElsewhere(t *testing.T) {
	s, _ := newBridge(t, as.To("sip:carol@"+astest.Domain), as.Because(as.CauseUnconditional))
	carol := s.UE("carol").Register()
	s.alice.Call("bob").Answered()
	if len(s.bob.Invited) != 0 || len(carol.Invited) != 1 {
		t.Errorf("bob was called %d times, carol %d", len(s.bob.Invited), len(carol.Invited))
	}
}
