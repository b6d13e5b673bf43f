package telephony_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"imsafe/proto/sip"
	"imsafe/servicebox/as"
	"imsafe/servicebox/as/astest"
	"imsafe/servicebox/telephony"
)

// town is a core with telephony, and alice, bob and carol, registered.
type town struct {
	*astest.Net
	t                 *testing.T
	service           *astest.Service
	store             *telephony.Memory
	alice, bob, carol *astest.UE
}

func newTown(t *testing.T, grants ...astest.Grant) *town {
	t.Helper()
	w := &town{Net: astest.New(t), t: t, store: telephony.NewMemory()}
	w.service = w.Service("telephony.service.toml", func(s *as.Service) { telephony.Setup(s, w.store) }, grants...)
	w.alice, w.bob, w.carol = w.UE("alice").Register(), w.UE("bob").Register(), w.UE("carol").Register()
	return w
}

func (w *town) has(u *astest.UE, change func(*telephony.Settings)) {
	w.t.Helper()
	if err := w.store.Change(context.Background(), u.IMPU(), change); err != nil {
		w.t.Fatal(err)
	}
}

// causes are the causes of the diversions in an INVITE, and how many entries History-Info has.
func causes(m *sip.Message) string {
	var list []string
	for v := range m.Values(sip.HdrHistoryInfo) {
		addr, _ := sip.ParseNameAddr(v)
		uri, _ := sip.ParseURI(addr.URI)
		cause, _ := uri.Param("cause")
		index, _ := addr.Param("index")
		list = append(list, string(uri.User)+":"+string(cause)+":"+string(index))
	}
	return strings.Join(list, " ")
}

func TestPlainCall(t *testing.T) {
	w := newTown(t)
	call := w.alice.Call("bob").Answered()
	if !call.Rang || len(w.bob.Invited) != 1 {
		t.Error("bob did not ring once")
	}
	w.bob.Hangup()
	if !w.alice.HungUp {
		t.Error("alice does not hear that bob hung up")
	}
	w.Advance(5 * time.Minute)
	if n := w.Transactions(); n != 0 {
		t.Errorf("%d transactions are left over", n)
	}
}

func TestForwarding(t *testing.T) {
	for name, c := range map[string]struct {
		set    func(w *town, s *telephony.Settings)
		manner func(u *astest.UE)
		after  time.Duration
		cause  as.Cause
		rings  int // at bob
	}{
		"unconditional": {func(w *town, s *telephony.Settings) { s.Unconditional = w.carol.IMPU() }, func(*astest.UE) {}, 0, as.CauseUnconditional, 0},
		"busy":          {func(w *town, s *telephony.Settings) { s.Busy = w.carol.IMPU() }, func(u *astest.UE) { u.Busy() }, 0, as.CauseBusy, 1},
		"no answer":     {func(w *town, s *telephony.Settings) { s.NoAnswer = w.carol.IMPU() }, func(u *astest.UE) { u.NoAnswer() }, 21 * time.Second, as.CauseNoAnswer, 1},
		"no answer in the time that was chosen": {func(w *town, s *telephony.Settings) { s.NoAnswer, s.NoReply = w.carol.IMPU(), 7 },
			func(u *astest.UE) { u.NoAnswer() }, 8 * time.Second, as.CauseNoAnswer, 1},
		"not reachable": {func(w *town, s *telephony.Settings) { s.NotReachable = w.carol.IMPU() }, func(u *astest.UE) { u.Declines(503) }, 0, as.CauseNotReachable, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t)
			w.has(w.bob, func(s *telephony.Settings) { c.set(w, s) })
			c.manner(w.bob)
			call := w.alice.Call("bob")
			w.Advance(c.after)
			call.Answered()
			if len(w.bob.Invited) != c.rings || len(w.carol.Invited) != 1 {
				t.Fatalf("bob was called %d times, carol %d", len(w.bob.Invited), len(w.carol.Invited))
			}
			if got, want := causes(w.carol.Invite()), fmt.Sprintf("bob::1 carol:%d:1.1", c.cause); got != want {
				t.Errorf("history %s, want %s", got, want)
			}
			call.Hangup()
			if !w.carol.HungUp {
				t.Error("carol does not hear that alice hung up")
			}
		})
	}
}

// TestAnnounced: the caller is told that he is forwarded, and where if that may be known; it rings on as before.
func TestAnnounced(t *testing.T) {
	for name, c := range map[string]struct {
		set     func(s *telephony.Settings)
		told    int
		history string
	}{
		"nothing":        {func(*telephony.Settings) {}, 0, ""},
		"that":           {func(s *telephony.Settings) { s.Announce = true }, 1, ""},
		"that and where": {func(s *telephony.Settings) { s.Announce, s.Whereto = true, true }, 1, "bob::1 carol:486:1.1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t)
			w.has(w.bob, func(s *telephony.Settings) { s.Busy = w.carol.IMPU(); c.set(s) })
			w.bob.Busy()
			call := w.alice.Call("bob").Answered()
			if len(call.Forwarded) != c.told {
				t.Fatalf("told %d times, want %d", len(call.Forwarded), c.told)
			}
			if c.told > 0 && causes(call.Forwarded[0]) != c.history {
				t.Errorf("history %q, want %q", causes(call.Forwarded[0]), c.history)
			}
			call.Hangup()
			if !w.carol.HungUp {
				t.Error("carol does not hear that alice hung up")
			}
			w.Advance(5 * time.Minute)
			if n := w.Transactions(); n != 0 {
				t.Errorf("%d transactions are left over", n)
			}
		})
	}
}

// TestUnseen: whom a call is forwarded to is not shown who was called.
func TestUnseen(t *testing.T) {
	w := newTown(t)
	w.has(w.bob, func(s *telephony.Settings) { s.Unconditional, s.Unseen = w.carol.IMPU(), true })
	w.alice.Call("bob").Answered()
	m := w.carol.Invite()
	if got := causes(m); got != "anonymous::1 carol:302:1.1" {
		t.Errorf("carol is shown %s", got)
	}
	if !m.Has(sip.HdrPAssertedIdentity) {
		t.Error("carol is not shown who calls")
	}
}

func TestForwardingNotRegistered(t *testing.T) {
	w := newTown(t)
	dave := w.UE("dave")
	w.has(dave, func(s *telephony.Settings) { s.NotRegistered = w.carol.IMPU() })
	w.alice.Call("dave").Answered()
	if got := causes(w.carol.Invite()); got != "dave::1 carol:404:1.1" {
		t.Errorf("history %s", got)
	}
}

func TestDeflection(t *testing.T) {
	w := newTown(t)
	w.has(w.bob, func(s *telephony.Settings) { s.Deflection = true })
	w.bob.NoAnswer()
	call := w.alice.Call("bob")
	w.bob.Deflect("carol")
	call.Answered()
	if got := causes(w.carol.Invite()); got != "bob::1 carol:487:1.1" {
		t.Errorf("history %s", got)
	}
}

// TestChain: a forwarded call is forwarded again by who it goes to, and History-Info tells all of it.
func TestChain(t *testing.T) {
	w := newTown(t)
	dave := w.UE("dave").Register()
	w.has(w.bob, func(s *telephony.Settings) { s.Unconditional = w.carol.IMPU() })
	w.has(w.carol, func(s *telephony.Settings) { s.Busy = dave.IMPU() })
	w.carol.Busy()
	w.alice.Call("bob").Answered()
	if got := causes(dave.Invite()); got != "bob::1 carol:302:1.1 dave:486:1.1.1" {
		t.Errorf("history %s", got)
	}
}

func TestLoop(t *testing.T) {
	w := newTown(t)
	w.has(w.bob, func(s *telephony.Settings) { s.Unconditional = w.carol.IMPU() })
	w.has(w.carol, func(s *telephony.Settings) { s.Unconditional = w.bob.IMPU() })
	call := w.alice.Call("bob").Fails(480)
	if notes := strings.Join(call.Notes(), ""); !strings.Contains(notes, "Too many diversions appeared") {
		t.Errorf("it says %s", notes)
	}
}

// TestTooManyDiversions: the fifth diversion is the last (TS 24.604 4.5.2.6.1).
func TestTooManyDiversions(t *testing.T) {
	w := newTown(t)
	chain := []*astest.UE{w.bob, w.carol}
	for i := range 5 {
		chain = append(chain, w.UE(fmt.Sprintf("next%d", i)).Register())
	}
	for i := range len(chain) - 1 {
		w.has(chain[i], func(s *telephony.Settings) { s.Unconditional = chain[i+1].IMPU() })
	}
	w.alice.Call("carol").Answered() // five
	w.alice.Call("bob").Fails(480)   // six
}

func TestBarring(t *testing.T) {
	for name, c := range map[string]struct {
		whose  func(w *town) *astest.UE
		set    func(s *telephony.Settings)
		status int
	}{
		"outgoing": {func(w *town) *astest.UE { return w.alice }, func(s *telephony.Settings) { s.BarOutgoing = true }, 603},
		"incoming": {func(w *town) *astest.UE { return w.bob }, func(s *telephony.Settings) { s.BarIncoming = true }, 603},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t)
			w.has(c.whose(w), c.set)
			w.alice.Call("bob").Fails(c.status)
			if w.alice.Say("bob", "hello") != c.status {
				t.Error("a message goes through")
			}
			if len(w.bob.Invited)+len(w.bob.Messages) != 0 {
				t.Error("bob hears of it")
			}
			w.bob.Call("carol").Answered() // it is nobody else's barring
		})
	}
}

func TestBarringAnonymous(t *testing.T) {
	w := newTown(t)
	w.has(w.bob, func(s *telephony.Settings) { s.BarAnonymous = true })
	w.alice.Call("bob", astest.Header("Privacy", "id")).Fails(433)
	w.alice.Call("bob").Answered()
	w.alice.Call("carol", astest.Header("Privacy", "id")).Answered()
}

// TestHiddenCaller: bob is shown nothing of alice (TS 24.607), and his service knows that she hides.
func TestHiddenCaller(t *testing.T) {
	w := newTown(t)
	w.has(w.alice, func(s *telephony.Settings) { s.HideCaller = true })
	w.alice.Call("bob").Answered()
	m := w.bob.Invite()
	if from, err := m.From(); err != nil || m.Has(sip.HdrPAssertedIdentity) || string(from.URI) != "sip:anonymous@anonymous.invalid" {
		t.Errorf("bob is shown\n%s", m.AppendTo(nil))
	}
	w.has(w.bob, func(s *telephony.Settings) { s.BarAnonymous = true })
	w.alice.Call("bob").Fails(433)
}

// TestNoOIP: who has no OIP is not shown who calls.
func TestNoOIP(t *testing.T) {
	w := newTown(t)
	w.has(w.bob, func(s *telephony.Settings) { s.NoCaller = true })
	w.alice.Call("bob").Answered()
	m := w.bob.Invite()
	if from, err := m.From(); err != nil || m.Has(sip.HdrPAssertedIdentity) || string(from.URI) != "sip:anonymous@anonymous.invalid" {
		t.Errorf("bob is shown\n%s", m.AppendTo(nil))
	}
	w.alice.Call("carol").Answered()
	if !w.carol.Invite().Has(sip.HdrPAssertedIdentity) {
		t.Error("carol is shown nobody: the test proves nothing")
	}
}

func TestHiddenAnswerer(t *testing.T) {
	for name, hide := range map[string]func(w *town){
		"by who answers": func(w *town) { w.has(w.bob, func(s *telephony.Settings) { s.HideAnswerer = true }) },
		"no TIP":         func(w *town) { w.has(w.alice, func(s *telephony.Settings) { s.NoConnected = true }) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t)
			if call := w.alice.Call("bob").Answered(); !call.Answer.Has(sip.HdrPAssertedIdentity) {
				t.Fatal("nobody is shown before: the test proves nothing")
			}
			w.alice.Call("carol").Answered()
			hide(w)
			if call := w.alice.Call("bob").Answered(); call.Answer.Has(sip.HdrPAssertedIdentity) {
				t.Errorf("alice is shown %s", call.Answer.Get(sip.HdrPAssertedIdentity))
			}
		})
	}
}

func TestFeatureCodes(t *testing.T) {
	w := newTown(t)
	dial := func(code string) string {
		return "sip:" + strings.ReplaceAll(code, "#", "%23") + "@" + astest.Domain
	}
	notes := func(c *astest.Call) string { return strings.Join(c.Notes(), " ") }
	if got := notes(w.bob.Call(dial("*21*carol#")).Fails(480)); !strings.Contains(got, "done: all calls are forwarded to "+w.carol.IMPU()) {
		t.Errorf("it says %s", got)
	}
	w.alice.Call("bob").Answered()
	if len(w.carol.Invited) != 1 {
		t.Error("carol is not called")
	}
	if got := w.bob.Say(dial("#21#"), "x"); got != 200 {
		t.Errorf("by MESSAGE: %d", got)
	}
	w.alice.Call("bob").Answered()
	if len(w.bob.Invited) != 1 {
		t.Error("bob is not called")
	}
	w.bob.Call(dial("*33#")).Fails(480)
	w.bob.Call("alice").Fails(603)
	w.bob.Call(dial("#33#")).Fails(480)
	w.bob.Call("alice").Answered()
	if got := notes(w.bob.Call(dial("*99#")).Fails(480)); !strings.Contains(got, "not done") {
		t.Errorf("an unknown code: %s", got)
	}
}

// TestGranted: what the operator has not granted does not happen.
func TestGranted(t *testing.T) {
	w := newTown(t, astest.Without("session.redirect"))
	w.has(w.bob, func(s *telephony.Settings) { s.Unconditional = w.carol.IMPU() })
	w.alice.Call("bob").Fails(403)
	if w.service.Counters().Denied.Load() != 1 {
		t.Error("nothing was denied")
	}
}

func TestServiceDown(t *testing.T) {
	w := newTown(t)
	w.service.Kill()
	w.alice.Call("bob").Fails(503) // it bars: without it nothing passes
	w.service.Restart()
	w.Advance(time.Minute) // the core has learnt that nobody is there, and tries again after a while
	w.alice.Call("bob").Answered()
}

func TestCoreRestarts(t *testing.T) {
	w := newTown(t)
	w.alice.Call("bob").Answered()
	w.KillCore()
	for _, u := range []*astest.UE{w.alice, w.bob, w.carol} {
		u.Register() // the ways to the clients did not outlive the core
	}
	w.has(w.bob, func(s *telephony.Settings) { s.Busy = w.carol.IMPU() })
	w.bob.Busy()
	w.alice.Call("bob").Answered()
	if len(w.carol.Invited) != 1 {
		t.Error("carol is not called")
	}
}

// TestCancel: who gives up while it rings ends the call at bob, and it is not forwarded.
func TestCancel(t *testing.T) {
	w := newTown(t)
	w.has(w.bob, func(s *telephony.Settings) { s.NoAnswer = w.carol.IMPU() })
	w.bob.NoAnswer()
	call := w.alice.Call("bob")
	w.Advance(5 * time.Second)
	call.Cancel()
	call.Fails(487)
	w.Advance(time.Minute)
	if len(w.carol.Invited) != 0 {
		t.Error("carol is called")
	}
	if n := w.Transactions(); n != 0 {
		t.Errorf("%d transactions are left over", n)
	}
}

// TestCancelRace: the answer and the cancellation cross. Whoever wins, both ends agree, and nothing is left over.
func TestCancelRace(t *testing.T) {
	w := newTown(t)
	w.has(w.bob, func(s *telephony.Settings) { s.NoAnswer = w.carol.IMPU() })
	w.bob.NoAnswer()
	call := w.alice.Call("bob")
	call.CancelRace(w.bob)
	switch call.Status {
	case 200:
		call.Hangup()
		if !w.bob.HungUp {
			t.Error("bob does not hear that alice hung up")
		}
	case 487:
	default:
		t.Errorf("alice hears %d", call.Status)
	}
	w.Advance(5 * time.Minute)
	if n := w.Transactions(); n != 0 {
		t.Errorf("%d transactions are left over", n)
	}
}

// TestAnswerAsTimeEnds: bob answers in the moment in which his time to answer ends.
func TestAnswerAsTimeEnds(t *testing.T) {
	w := newTown(t)
	w.has(w.bob, func(s *telephony.Settings) { s.NoAnswer = w.carol.IMPU() })
	w.bob.NoAnswer()
	call := w.alice.Call("bob")
	w.Advance(20*time.Second - 50*time.Millisecond)
	w.World.Advance(50 * time.Millisecond) // the timer fires; bob has not heard of it
	w.bob.PickUp()
	w.Settle()
	call.Answered()
	if len(w.carol.Invited) != 0 && !w.carol.HungUp {
		t.Error("carol is in the call as well")
	}
}
