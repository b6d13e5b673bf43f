package attack

import (
	"context"
	"fmt"
	"strings"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// screenFailOpen: the platform that screens calls is killed, so that they pass unscreened.
func screenFailOpen() Attack {
	controls := []secure.ControlID{secure.ISIntegrityFailClosed}
	return Attack{
		ID: "is.screen.fail-open", Number: "IS-09", Title: "the platform that screens is made to disappear, or is never asked",
		Text:     "whoever can cut a wire would switch off the screening of calls, lawful barring and all that a service is there to refuse",
		Services: []Service{Integrity}, Stride: Denial, Threats: []Threat{Interruption, Corruption}, Module: ApplicationsControl,
		Source: "TS 29.228 B.2.2; TS 24.229 5.4.3.3", Access: []Access{ISC},
		Approved: []Approved{{Name: screen, Manifest: rights("session.proxy") + strings.Replace(asked("terminating", 10, "reject"), "carol@", "carol@.{0,400}", 1)}},
		Bounds:   Bounds{Packets: 60, Bytes: 60_000, Conns: 1, Time: 2*time.Second + deadAfter, Wait: deadAfter},
		Variants: []Variant{
			{Name: "cut", Position: OnPath, Controls: controls, Run: unscreened(func(s *Server) { s.Close() })},
			{Name: "silent", Position: OnPath, Controls: controls, Run: unscreened(func(s *Server) { s.Silent.Store(true) })},
			{Name: "endless", Position: Subscriber, Controls: controls, Run: endless},
		},
	}
}

// deadAfter is more than how long a platform may be silent.
const deadAfter = 5 * time.Second

// unscreened cuts the platform off by kill, and dave writes to carol five times at once.
func unscreened(kill func(*Server)) func(context.Context, *Field, *Outcome) error {
	return func(ctx context.Context, f *Field, o *Outcome) error {
		dave, carol, err := f.callerAndCallee(ctx)
		if err != nil {
			return err
		}
		s, err := f.server(ctx, f.attacker, screen, nil)
		if err != nil {
			return err
		}
		if answer, err := dave.Ask(ctx, dave.Message(carol.IMPU, "screened")); err != nil || answer.Status() != 200 {
			return fmt.Errorf("attack: a message over the platform is answered %d: %w", statusOf(answer), err)
		}
		if n := len(s.Seen("MESSAGE")); n != 1 {
			return fmt.Errorf("attack: the platform has screened %d messages of 1", n)
		}
		kill(s)
		const unscreened, written = "unscreened", 5
		for range written {
			if err := dave.Write(dave.Message(carol.IMPU, unscreened)); err != nil {
				return err
			}
		}
		refused, last := 0, 0
		for range written {
			answer, err := dave.Await(ctx, func(m *sip.Message) bool { return !m.IsRequest() && m.Status() >= 200 })
			if err != nil {
				return err
			}
			if last = answer.Status(); last != 200 {
				refused++
			}
		}
		o.Arrived("%d messages when the platform is gone, the last answered %d", written, last)
		read := 0
		for ; read+refused < written; read++ {
			m, err := carol.Got(ctx, sip.MESSAGE, unscreened)
			if err != nil {
				return err
			}
			m.Release()
		}
		o.Users = min(read, 1)
		o.Peer(read > 0, "carol reads %d of %d messages that nobody has screened", read, written)
		o.Wire(refused < written, "dave hears that %d of %d are refused", refused, written)
		return nil
	}
}

// endless: dave writes to carol by a Request-URI of which nobody can say in time whether the platform is to be asked.
func endless(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	s, err := f.server(ctx, f.attacker, screen, nil)
	if err != nil {
		return err
	}
	const times, octets, text = 5, 6000, "unscreened"
	taken, last := 0, 0
	for range times {
		answer, err := dave.Ask(ctx, dave.Text(Request{Method: "MESSAGE", URI: carol.IMPU + ";x=" + strings.Repeat("x", octets), To: carol.IMPU,
			Lines: []string{"Content-Type: text/plain"}, Body: text}))
		if err != nil {
			return err
		}
		if last = answer.Status(); last == 200 {
			taken++
		}
	}
	read := 0
	for ; read < taken; read++ {
		m, err := carol.Got(ctx, sip.MESSAGE, text)
		if err != nil {
			return err
		}
		m.Release()
	}
	screened := len(s.Seen("MESSAGE"))
	o.Arrived("%d messages whose Request-URI has more than %d octets, the last answered %d; the platform has screened %d", times, octets, last, screened)
	o.Users = min(max(read-screened, 0), 1)
	o.Peer(read > screened, "carol reads %d of %d messages, %d of which somebody has screened", read, times, screened)
	return nil
}
