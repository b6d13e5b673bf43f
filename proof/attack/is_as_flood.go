package attack

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// asFlood: an approved platform costs everybody else more than it may.
func asFlood() Attack {
	controls := []secure.ControlID{secure.ISAvailabilityQuota}
	return Attack{
		ID: "is.as.flood", Number: "IS-08", Title: "a platform floods, asks itself in a loop, or lets everybody wait",
		Text:     "one service that is broken, or was broken into, takes the core with it, and every user of every other service",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption}, Module: ApplicationsControl,
		Source: "RFC 7339", Access: []Access{ISC},
		Approved: []Approved{{Name: chat, Manifest: rights("session.proxy", "message.send", "message.receive") + asked("terminating", 10, "continue")},
			{Name: unhurried, Manifest: limited("cps = 5", "sessions = 50", "message.send")}, {Name: solitary, Manifest: limited("cps = 50", "sessions = 5", "message.send", "session.originate")},
			{Name: talkative, Manifest: limited("cps = 1", "sessions = 1", "session.originate")}},
		Bounds: Bounds{Packets: 1500, Bytes: 1_500_000, Conns: 1, Time: 3*time.Second + 2*deadAfter, Wait: 2 * deadAfter},
		Variants: []Variant{
			{Name: "flood", Position: EnrolledPlatform, Controls: controls, Run: floodCarol},
			{Name: "pace", Position: EnrolledPlatform, Controls: controls, Run: outpaces},
			{Name: "hold", Position: EnrolledPlatform, Controls: controls, Run: holdsOpen},
			{Name: "calls", Position: EnrolledPlatform, Controls: controls, Run: keepsCalls},
			{Name: "within", Position: EnrolledPlatform, Controls: controls, Run: floodsWithin},
			{Name: "loop", Position: EnrolledPlatform, Controls: controls, Run: asksItself},
			{Name: "hang", Position: EnrolledPlatform, Controls: controls, Run: letsWait},
		},
	}
}

// floodCarol: the platform, which may begin 50 requests in a second, begins 200 at once.
func floodCarol(ctx context.Context, f *Field, o *Outcome) error {
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	s, err := f.server(ctx, f.attacker, chat, nil)
	if err != nil {
		return err
	}
	const sent, text = 200, "flood"
	for range sent {
		if err := s.Write(s.writes(carol.IMPU, text)); err != nil {
			return err
		}
	}
	taken := 0
	for range sent {
		answer, err := s.Await(ctx, func(m *sip.Message) bool { return !m.IsRequest() && m.Status() >= 200 })
		if err != nil {
			return err
		}
		o.Arrived("%d messages at once, the last answered %d", sent, answer.Status())
		if answer.Status() == 200 {
			taken++
		}
	}
	for range taken {
		m, err := carol.Got(ctx, sip.MESSAGE, text)
		if err != nil {
			return err
		}
		m.Release()
	}
	o.Users = min(max(taken-sent*3/4, 0), 1)
	o.Wire(taken > sent*3/4, "%d of %d messages are taken at once, where 50 in a second were approved", taken, sent)
	o.Peer(taken > sent*3/4, "carol's telephone gets %d of %d", taken, sent)
	return nil
}

// Platforms that may write, the one little at a time and the other few at once: of one that may do both the first bound would hide the second.
const (
	unhurried = "unhurried"
	solitary  = "solitary"
	talkative = "talkative" // calls, and does not stop within
)

// limited is a manifest with other limits than rights gives.
func limited(cps, sessions string, scopes ...string) string {
	return strings.NewReplacer("cps = 50", cps, "sessions = 50", sessions).Replace(rights(scopes...))
}

// outpaces: the platform, which may begin 5 requests in a second, begins one after the other, each when the last is answered.
func outpaces(ctx context.Context, f *Field, o *Outcome) error {
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	s, err := f.server(ctx, f.attacker, unhurried, nil)
	if err != nil {
		return err
	}
	const sent, perSecond, text = 60, 5, "pace"
	taken, began := 0, f.Clock.Now()
	for range sent {
		answer, err := s.Ask(ctx, s.writes(carol.IMPU, text))
		if err != nil {
			return err
		}
		o.Arrived("%d messages one after the other, the last answered %d", sent, answer.Status())
		if answer.Status() == 200 {
			taken++
		}
	}
	took := (f.Clock.Now() - began).Seconds()
	approved := int(perSecond * (took + 1)) // what a second allows may come at once
	for range taken {
		m, err := carol.Got(ctx, sip.MESSAGE, text)
		if err != nil {
			return err
		}
		m.Release()
	}
	o.Users = min(max(taken-approved-perSecond, 0), 1)
	o.Wire(taken > approved+perSecond, "%d of %d messages are taken in %.1f s, where %d in a second were approved", taken, sent, took, perSecond)
	o.Peer(taken > approved+perSecond, "carol's telephone gets %d of %d", taken, sent)
	return nil
}

// holdsOpen: the platform, which may have 5 requests under way, begins 40 that carol does not answer.
func holdsOpen(ctx context.Context, f *Field, o *Outcome) error {
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	carol.answers.Store(false)
	s, err := f.server(ctx, f.attacker, solitary, nil)
	if err != nil {
		return err
	}
	const sent, approved, text = 40, 5, "hold"
	for range sent {
		if err := s.Write(s.writes(carol.IMPU, text)); err != nil {
			return err
		}
	}
	refused, held, seen := 0, 0, map[string]bool{}
	for refused+held < sent {
		err := within(ctx, soon, func(ctx context.Context) error { // one of both comes for each
			if _, err := s.Await(ctx, func(m *sip.Message) bool { return !m.IsRequest() && m.Status() >= 300 }); err == nil {
				refused++
				return nil
			}
			return ctx.Err()
		})
		if err == nil {
			continue
		}
		before := held
		for {
			var m *sip.Message
			if err := within(ctx, soon/10, func(ctx context.Context) (err error) { m, err = carol.Got(ctx, sip.MESSAGE, text); return err }); err != nil {
				break
			}
			if callID := string(m.Get(sip.HdrCallID)); !seen[callID] {
				seen[callID], held = true, held+1
			}
			m.Release()
		}
		if held == before {
			break
		}
	}
	o.Arrived("%d messages at once, %d of them refused", sent, refused)
	o.Users = min(max(held-2*approved, 0), 1)
	o.Wire(false, "%d messages that nobody has answered", sent-refused)
	o.Peer(held > 2*approved, "%d of %d wait at carol's telephone, where %d at once were approved", held, sent, approved)
	return nil
}

// keepsCalls: the platform, which may be in 5 calls, calls carol 20 times, one after the other. She takes each, and nobody hangs up.
func keepsCalls(ctx context.Context, f *Field, o *Outcome) error {
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	s, err := f.server(ctx, f.attacker, solitary, nil)
	if err != nil {
		return err
	}
	const sent, approved = 20, 5
	carol.answers.Store(false)
	taking, enough := context.WithCancel(ctx)
	defer enough()
	rang := make(chan int, 1)
	go func() { rang <- carol.takesCalls(taking) }()
	taken, last := 0, 0
	for range sent {
		var inside Request
		if inside, last, err = s.calling(ctx, carol.IMPU); err != nil {
			return err
		}
		if inside.CallID != "" {
			taken++
		}
	}
	enough()
	o.Arrived("%d calls one after the other, the last answered %d", sent, last)
	has := <-rang
	o.Users = min(max(has-2*approved, 0), 1)
	o.Wire(taken > 2*approved, "the platform is in %d calls at once, where %d were approved", taken, approved)
	o.Peer(has > 2*approved, "carol's telephone has taken %d of %d calls", has, sent)
	return nil
}

// calling calls somebody as the platform, and acknowledges. It returns what a request within the dialog begins with, nothing if the call is refused.
func (s *Server) calling(ctx context.Context, whom string) (inside Request, status int, err error) {
	answer, err := s.Ask(ctx, s.Begins(Request{Method: "INVITE", URI: whom, Lines: []string{s.contact()}}))
	if err != nil || answer.Status() != 200 {
		return inside, statusOf(answer), err
	}
	if inside, err = insideOf(answer, whom); err != nil {
		return inside, 200, err
	}
	inside.Method, inside.CSeq, inside.From = "ACK", s.number, s.PSI
	err = s.Write(s.Begins(inside))
	return inside, 200, err
}

// floodsWithin: the platform, which may begin one call in a second, calls carol once and tells her 160 things within the call.
func floodsWithin(ctx context.Context, f *Field, o *Outcome) error {
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	s, err := f.server(ctx, f.attacker, talkative, nil)
	if err != nil {
		return err
	}
	carol.answers.Store(false)
	taking, enough := context.WithCancel(ctx)
	defer enough()
	rang := make(chan int, 1)
	go func() { rang <- carol.takesCalls(taking) }()
	inside, status, err := s.calling(ctx, carol.IMPU)
	if err != nil || status != 200 {
		return fmt.Errorf("attack: the platform's call is answered %d: %w", status, err)
	}
	carol.answers.Store(true)
	enough()
	<-rang
	const sent, approved = 160, 20 // ten for each call that it may have, or begin in a second
	taken, last := 0, 0
	for range sent {
		answer, err := s.asksWithin(ctx, &inside, "INFO", "")
		if err != nil {
			return err
		}
		if last = answer.Status(); last == 200 {
			taken++
		}
	}
	o.Arrived("%d requests within one call, the last answered %d", sent, last)
	heard := 0
	for range taken {
		m, err := carol.Got(ctx, sip.INFO, "")
		if err != nil {
			return err
		}
		m.Release()
		heard++
	}
	o.Users = min(max(heard-4*approved, 0), 1)
	o.Wire(taken > 4*approved, "%d of %d requests within one call are taken, where %d at once may be", taken, sent, approved)
	o.Peer(heard > 4*approved, "carol's telephone gets %d of %d", heard, sent)
	return nil
}

// takesCalls answers calls until ctx ends, and counts them.
func (h *Hand) takesCalls(ctx context.Context) (n int) {
	for {
		m, err := h.Got(ctx, sip.INVITE, "")
		if err != nil {
			return n
		}
		lines := []string{"Contact: " + h.Contact()}
		for v := range m.Values(sip.HdrRecordRoute) {
			lines = append(lines, "Record-Route: "+string(v))
		}
		if h.Answer(m, 200, lines...) != nil {
			return n
		}
		m.Release()
		n++
	}
}

// asksItself: each message for the platform makes two more, until there were 200. A host that is busy takes longer for them: it is waited for as long as
// there are more.
func asksItself(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	const enough, text = 200, "again"
	var sent, came atomic.Int64
	full := make(chan struct{})
	s, err := f.server(ctx, f.attacker, chat, func(s *Server) {
		s.Handle = func(m *sip.Message) bool {
			if string(m.Body()) != text {
				return false
			}
			if came.Add(1) == enough {
				close(full)
			}
			_ = s.Answer(m, 200) // who has closed needs no answer
			for range 2 {
				if sent.Add(1) <= enough {
					_ = s.Write(s.writes(s.PSI, text))
				}
			}
			return true
		}
	})
	if err != nil {
		return err
	}
	sent.Add(1)
	if err := s.Write(s.writes(s.PSI, text)); err != nil {
		return err
	}
	for last, looks := int64(-1), 0; looks < 6 && came.Load() > last; looks++ { // what is refused leaves the loop, so it may end before
		last = came.Load()
		_ = within(ctx, 400*time.Millisecond, func(ctx context.Context) error {
			select {
			case <-full:
				looks = 6
			case <-ctx.Done():
			}
			return nil
		})
	}
	n := came.Load()
	o.Arrived("the loop makes %d messages", sent.Load())
	o.Wire(n >= enough, "the platform asks itself %d times, where 50 in a second were approved, and the loop ends with the first that is refused", n)
	read, err := f.counts(ctx, dave, carol, func(m *sip.Message) bool { return string(m.Body()) == text })
	if err != nil {
		return err
	}
	o.Peer(false, "dave reaches carol meanwhile; she gets %d messages of the loop", read)
	return nil
}

// letsWait: the platform takes what it is asked about and never answers. dave writes to carol, five times and then once more.
func letsWait(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	s, err := f.server(ctx, f.attacker, chat, func(s *Server) { s.Handle = func(*sip.Message) bool { return true } })
	if err != nil {
		return err
	}
	for range 5 {
		if err := dave.Write(dave.Message(carol.IMPU, "slow")); err != nil {
			return err
		}
	}
	for range 5 {
		m, err := carol.Got(ctx, sip.MESSAGE, "slow")
		if err != nil {
			return err
		}
		m.Release()
	}
	began := f.Clock.Now()
	if err := dave.Write(dave.Message(carol.IMPU, "after")); err != nil {
		return err
	}
	if _, err := carol.Got(ctx, sip.MESSAGE, "after"); err != nil {
		return err
	}
	took := f.Clock.Now() - began
	n := len(s.Seen("MESSAGE"))
	o.Arrived("the platform lets %d messages wait", n)
	const late = 3 * time.Second // of the four for which the core waits for a platform; what a busy machine takes is less
	if took > late {
		o.Users = 1
	}
	o.Peer(took > late, "when five messages have waited in vain, the next one of dave is with carol after %v", took.Round(time.Millisecond))
	o.Wire(n > 5, "the platform is asked %d times", n)
	return nil
}
