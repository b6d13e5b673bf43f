package attack

import (
	"context"
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
		Approved: []Approved{{Name: chat, Manifest: rights("session.proxy", "message.send", "message.receive") + asked("terminating", 10, "continue")}},
		Bounds:   Bounds{Packets: 1500, Bytes: 1_500_000, Conns: 1, Time: 3*time.Second + 2*deadAfter, Wait: 2 * deadAfter},
		Variants: []Variant{
			{Name: "flood", Position: EnrolledPlatform, Controls: controls, Run: floodCarol},
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
	if took > time.Second {
		o.Users = 1
	}
	o.Peer(took > time.Second, "when five messages have waited in vain, the next one of dave is with carol after %v", took.Round(time.Millisecond))
	o.Wire(n > 5, "the platform is asked %d times", n)
	return nil
}
