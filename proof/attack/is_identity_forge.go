package attack

import (
	"context"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// identityForge: an approved platform says who is calling, and lies.
func identityForge() Attack {
	controls := []secure.ControlID{secure.ISAuthorizationAssert}
	return Attack{
		ID: "is.identity.forge", Number: "IS-03", Title: "an approved platform asserts identities that are not its own",
		Text:     "what an application server asserts is believed by everybody behind it: each of them could call as the police",
		Services: []Service{Authentication}, Stride: Spoofing, Threats: []Threat{Corruption}, Module: ApplicationsControl,
		Source: "TS 33.203 Annex J; RFC 3325 5", Access: []Access{ISC},
		Approved: []Approved{{Name: chat, Manifest: rights("session.proxy", "session.originate", "message.send") + asked("terminating", 10, "continue")}},
		Bounds:   Bounds{Packets: 80, Bytes: 80_000, Conns: 1, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "originate", Position: EnrolledPlatform, Controls: controls, Run: forgeOriginator},
			{Name: "passing", Position: EnrolledPlatform, Controls: controls, Run: forgePassing},
			{Name: "sender", Position: EnrolledPlatform, Controls: controls, Run: forgeSender},
			{Name: "left-out", Position: EnrolledPlatform, Controls: controls, Run: withholdWriter},
			{Name: "connected", Position: EnrolledPlatform, Controls: controls, Run: forgeConnected},
			{Name: "within", Position: EnrolledPlatform, Controls: controls, Run: forgeWithin},
		},
	}
}

const times = 10

// asserts reports whether a message is asserted as of whom.
func asserts(m *sip.Message, whom string) bool { return names(m, sip.HdrPAssertedIdentity, whom) }

// names reports whether a header field of a message has the address of whom.
func names(m *sip.Message, h sip.HeaderID, whom string) bool {
	name, err := sip.ParseNameAddr(m.Get(h))
	return err == nil && string(name.URI) == whom
}

// forgeOriginator writes to carol in alice's name.
func forgeOriginator(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	s, err := f.server(ctx, f.attacker, chat, nil)
	if err != nil {
		return err
	}
	alice, taken := f.Users[Alice].IMPU, 0
	forms := [][2]string{{alice, alice}, {s.PSI, alice}, {alice, s.PSI}} // From, and whom the network vouches for
	for i := range times {
		form := forms[i%len(forms)]
		answer, err := s.Ask(ctx, s.Begins(Request{Method: "MESSAGE", URI: carol.IMPU, From: form[0], Body: "send money",
			Lines: []string{"P-Asserted-Identity: <" + form[1] + ">", "Content-Type: text/plain"}}))
		if err != nil {
			return err
		}
		o.Arrived("%d messages in alice's name, the last answered %d", times, answer.Status())
		if answer.Status() == 200 {
			taken++
		}
	}
	shown, err := f.counts(ctx, dave, carol, func(m *sip.Message) bool { return asserts(m, alice) || names(m, sip.HdrFrom, alice) })
	if err != nil {
		return err
	}
	o.Users = min(shown, 1)
	o.Wire(taken > 0, "%d of %d messages in alice's name are taken", taken, times)
	o.Peer(shown > 0, "carol's telephone shows alice as the writer of %d of %d", shown, times)
	return nil
}

// forgePassing makes dave's messages to carol alice's while they pass, for the network.
func forgePassing(ctx context.Context, f *Field, o *Outcome) error {
	alice := f.Users[Alice].IMPU
	return f.forgeWriter(ctx, o, "alice as the writer", func(m *sip.Message) { m.SetString(sip.HdrPAssertedIdentity, "<"+alice+">") },
		func(m *sip.Message) bool { return asserts(m, alice) })
}

// forgeSender does the same for whoever believes From.
func forgeSender(ctx context.Context, f *Field, o *Outcome) error {
	alice := f.Users[Alice].IMPU
	return f.forgeWriter(ctx, o, "alice as the writer", func(m *sip.Message) { m.SetString(sip.HdrFrom, "<"+alice+">;tag="+string(m.FromTag())) },
		func(m *sip.Message) bool { return names(m, sip.HdrFrom, alice) })
}

// withholdWriter leaves out whom the network vouches for: dave writes as somebody for whom nobody does.
func withholdWriter(ctx context.Context, f *Field, o *Outcome) error {
	return f.forgeWriter(ctx, o, "nobody that the network vouches for", func(m *sip.Message) { m.Remove(sip.HdrPAssertedIdentity) },
		func(m *sip.Message) bool { return string(m.Body()) == forgedText && !m.Has(sip.HdrPAssertedIdentity) })
}

// forgeWriter has the platform edit dave's messages to carol, and counts those that fit when she has them: they show what is said in shows.
func (f *Field) forgeWriter(ctx context.Context, o *Outcome, shows string, edit func(*sip.Message), fits func(*sip.Message) bool) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	s, err := f.server(ctx, f.attacker, chat, func(s *Server) {
		s.Edit = func(m *sip.Message) {
			if string(m.Body()) == forgedText {
				edit(m)
			}
		}
	})
	if err != nil {
		return err
	}
	taken := 0
	for range times {
		answer, err := dave.Ask(ctx, dave.Message(carol.IMPU, forgedText))
		if err != nil {
			return err
		}
		if answer.Status() == 200 {
			taken++
		}
	}
	o.Arrived("the platform changes who has written %d messages", len(s.Seen("MESSAGE")))
	shown, err := f.counts(ctx, dave, carol, fits)
	if err != nil {
		return err
	}
	o.Users = min(shown, 1)
	o.Peer(shown > 0, "carol's telephone shows %s in %d of %d messages of dave", shows, shown, times)
	o.Wire(shown > 0 && taken > 0, "dave sees %d of them answered 200", taken)
	return nil
}

// forgeConnected tells dave, who calls carol, that alice has answered.
func forgeConnected(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	alice := f.Users[Alice].IMPU
	s, err := f.server(ctx, f.attacker, chat, func(s *Server) {
		s.EditAnswer = func(m *sip.Message) { m.SetString(sip.HdrPAssertedIdentity, "<"+alice+">") }
	})
	if err != nil {
		return err
	}
	answer, err := dave.Ask(ctx, dave.calls(carol.IMPU, f.token()))
	if err != nil {
		return err
	}
	o.Arrived("dave calls over the platform (%d calls), which changes the answer, a %d", len(s.Seen("INVITE")), answer.Status())
	if asserts(answer, alice) {
		o.Users = 1
	}
	o.Peer(asserts(answer, alice), "dave's telephone shows %q as who has answered", answer.Get(sip.HdrPAssertedIdentity))
	return nil
}

// forgeWithin changes who speaks within a call of dave's to carol.
func forgeWithin(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	alice := f.Users[Alice].IMPU
	s, err := f.server(ctx, f.attacker, chat, func(s *Server) {
		s.Edit = func(m *sip.Message) {
			switch m.Method() {
			case sip.INFO:
				m.SetString(sip.HdrPAssertedIdentity, "<"+alice+">")
			case sip.UPDATE:
				m.SetString(sip.HdrFrom, "<"+alice+">;tag="+string(m.FromTag()))
			}
		}
	})
	if err != nil {
		return err
	}
	inside, _, err := dave.talksTo(ctx, carol)
	if err != nil {
		return err
	}
	inside.Lines = append(inside.Lines, "Contact: "+dave.Contact())
	shown := 0
	for i := range times {
		inside.CSeq++
		inside.Method = []string{"INFO", "UPDATE"}[i%2]
		answer, err := dave.Ask(ctx, dave.Text(inside))
		if err != nil {
			return err
		}
		if answer.Status() != 200 {
			continue
		}
		m, err := carol.Await(ctx, func(m *sip.Message) bool { return m.IsRequest() && string(m.MethodName()) == inside.Method })
		if err != nil {
			return err
		}
		if asserts(m, alice) || names(m, sip.HdrFrom, alice) {
			shown++
		}
	}
	o.Arrived("the platform changes who speaks in %d requests within a call", len(s.Seen("INFO"))+len(s.Seen("UPDATE")))
	o.Users = min(shown, 1)
	o.Peer(shown > 0, "carol's telephone is told that alice speaks in %d of %d requests of dave's", shown, times)
	return nil
}
