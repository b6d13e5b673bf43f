package attack

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// registerHarvest: an approved platform keeps what comes to it with registrations and sessions.
func registerHarvest() Attack {
	controls := []secure.ControlID{secure.ISConfidentialityHeaderMin}
	return Attack{
		ID: "is.register.harvest", Number: "IS-10", Title: "a platform reads where users are, with which device, how they proved who they are, and who they are",
		Text:     "a REGISTER that is passed on whole has the cell, the serial number of the device, and the answer to the challenge; no service needs them",
		Services: []Service{Confidentiality}, Stride: Disclosing, Threats: []Threat{Disclosure}, Module: ApplicationsControl,
		Source: "TS 24.229 5.4.1.7; TS 33.203 Annex J", Access: []Access{ISC},
		Approved: []Approved{{Name: presence, Whole: true, Manifest: rights("session.proxy") + asked("terminating", 10, "continue")}},
		Bounds:   Bounds{Packets: 60, Bytes: 60_000, Conns: 1, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "registration", Position: EnrolledPlatform, Controls: controls, Run: harvestRegistrations},
			{Name: "session", Position: EnrolledPlatform, Controls: controls, Run: harvestSessions},
			{Name: "identities", Position: EnrolledPlatform, Controls: controls, Run: harvestIdentities},
			{Name: "dialog", Position: EnrolledPlatform, Controls: controls, Run: harvestDialogs},
		},
	}
}

// presence is a platform that is told of registrations.
const presence = "presence"

// cell is where the users are; the number of the device is made up too.
const (
	cell   = "0010100a1b2c3d"
	device = "35-209900-176148-1"
)

// telling are the lines of a client that says where it is and what it is.
func telling() []string {
	return []string{"P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=" + cell, "User-Agent: telephone/1.0 " + device}
}

// finds says which of words stand in one of the messages.
func finds(messages []string, words map[string]string) (what []string) {
	for name, word := range words {
		for _, m := range messages {
			if strings.Contains(m, word) {
				what = append(what, name)
				break
			}
		}
	}
	return what
}

// harvestRegistrations has carol register five times.
func harvestRegistrations(ctx context.Context, f *Field, o *Outcome) error {
	came := make(chan struct{}, heardAtMost)
	s, err := f.server(ctx, f.attacker, presence, func(s *Server) {
		s.Handle = func(m *sip.Message) bool {
			if m.Method() != sip.REGISTER {
				return false
			}
			came <- struct{}{}
			return s.Answer(m, 200) == nil
		}
	})
	if err != nil {
		return err
	}
	carol, err := f.witness(ctx, Carol, nil)
	if err != nil {
		return err
	}
	words := map[string]string{"the cell": cell, "the device": device}
	for i := range 5 {
		answer, err := carol.RegisterAs(ctx, Registering{User: carol.User, Expires: 600, Lines: telling()})
		if err != nil || answer.Status() != 200 {
			return fmt.Errorf("attack: carol's registration is answered %d: %w", statusOf(answer), err)
		}
		_, response, _ := strings.Cut(carol.lastAuthorization, `response="`)
		response, _, _ = strings.Cut(response, `"`)
		words[fmt.Sprintf("answer %d to the challenge", i+1)] = response
		select {
		case <-came:
		case <-ctx.Done():
			return fmt.Errorf("attack: the platform is not told of registration %d", i+1)
		}
	}
	seen := s.Seen("REGISTER")
	o.Arrived("the platform is told of %d registrations of carol", len(seen))
	found := finds(seen, words)
	o.Users = min(len(found), 1)
	o.Wire(len(found) > 0, "in %d registrations the platform reads %d of %d: the cell, the device, the answers to the challenge", len(seen), len(found), len(words))
	return nil
}

// harvestSessions has dave write to carol, and call her: the Contact of a call has the name of the instance, which is often the number of the device
// (RFC 5626 4.1).
func harvestSessions(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	s, err := f.server(ctx, f.attacker, presence, nil)
	if err != nil {
		return err
	}
	const text = "hello"
	for range 5 {
		answer, err := dave.Ask(ctx, dave.Message(carol.IMPU, text, telling()...))
		if err != nil || answer.Status() != 200 {
			return fmt.Errorf("attack: dave's message is answered %d: %w", statusOf(answer), err)
		}
	}
	answer, err := dave.Ask(ctx, dave.Text(Request{Method: "INVITE", URI: carol.IMPU, Lines: append(telling(), "Contact: "+dave.Contact())}))
	if err != nil || answer.Status() != 200 {
		return fmt.Errorf("attack: dave's call is answered %d: %w", statusOf(answer), err)
	}
	seen := append(s.Seen("MESSAGE"), s.Seen("INVITE")...)
	if len(seen) == 6 {
		o.Arrived("%d messages and a call pass the platform", len(seen)-1)
	}
	found := finds(seen, map[string]string{"the cell": cell, "the device": device, "the instance": "urn:x-lab:" + dave.Name, "who is charged": "icid-value="})
	o.Users = min(len(found), 1)
	o.Wire(len(seen) == 6 && len(found) > 0, "in %d messages and a call of dave the platform reads %d of 4: the cell, the device, its instance, who is charged", len(seen)-1, len(found))
	read, err := f.counts(ctx, dave, carol, func(m *sip.Message) bool { return string(m.Body()) == text })
	if err != nil {
		return err
	}
	o.Peer(false, "carol gets %d of 5 messages over the platform", read)
	return nil
}

// harvestIdentities has dave write to carol, call her and ask her telephone to call bob, in ways that name all of them. The platform was not granted identity.private: it may
// do its work for users that it tells apart, and whom it does not know.
func harvestIdentities(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	var told []string
	s, err := f.server(ctx, f.attacker, presence, func(s *Server) {
		s.EditAnswer = func(m *sip.Message) { told = append(told, string(m.AppendTo(nil))) }
	})
	if err != nil {
		return err
	}
	contact := "Contact: " + dave.Contact()
	asked := []Request{
		{Method: "MESSAGE", Body: "hello", Lines: []string{"Content-Type: text/plain", "Reply-To: <" + dave.IMPU + ">", "Call-Info: <" + dave.IMPU + ">;purpose=card"}},
		{Method: "INVITE", Body: keyed(honestKey), Lines: []string{contact, "Content-Type: application/sdp", "History-Info: <" + f.Users[Bob].IMPU + ">;index=1"}},
		{Method: "REFER", Lines: []string{contact, "Refer-To: <" + f.Users[Bob].IMPU + ">", "Referred-By: <" + dave.IMPU + ">"}},
	}
	var seen []string
	for _, r := range asked {
		r.URI = carol.IMPU
		if answer, err := dave.Ask(ctx, dave.Text(r)); err != nil || answer.Status()/100 != 2 {
			return fmt.Errorf("attack: dave's %s is answered %d: %w", r.Method, statusOf(answer), err)
		}
		seen = append(seen, s.Seen(r.Method)...)
	}
	if len(seen) == len(asked) {
		o.Arrived("%d requests of dave's pass the platform, and %d answers", len(seen), len(told))
	}
	words := map[string]string{"who calls": dave.namedAs(), "who is called": carol.namedAs(), "who is spoken of": f.Users[Bob].IMPU, "who is vouched for": "\r\nIdentity: "}
	of, from := finds(seen, words), finds(told, words)
	slices.Sort(of)
	o.Users = min(len(of)+len(from), 3)
	o.Wire(len(of)+len(from) > 0, "in %d requests the platform reads %d of %d (%s), in %d answers %d", len(seen), len(of), len(words), cmp.Or(strings.Join(of, ", "), "none"), len(told), len(from))
	o.Peer(false, "carol gets %d requests over the platform", len(asked))
	return nil
}

// namedAs is how the URIs of a user begin, that of his telephone too.
func (h *Hand) namedAs() string { return "sip:" + h.Name + "@" }

// harvestDialogs has dave call carol; both telephones say where and what they are in all that follows: her answer, his ACK, a request within the call, its answer.
func harvestDialogs(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	answers := make(chan string, heardAtMost)
	s, err := f.server(ctx, f.attacker, presence, func(s *Server) {
		s.EditAnswer = func(m *sip.Message) { answers <- string(m.AppendTo(nil)) }
	})
	if err != nil {
		return err
	}
	inside, ack, err := dave.talksTo(ctx, carol, telling()...)
	if err != nil {
		return err
	}
	ack.Release()
	const rounds = 5
	carol.answers.Store(false)
	for range rounds {
		inside.CSeq++
		inside.Method = "INFO"
		info := inside
		info.Lines = append(append([]string(nil), inside.Lines...), telling()...)
		if err := dave.Write(dave.Text(info)); err != nil {
			return err
		}
		m, err := carol.Await(ctx, func(m *sip.Message) bool { return m.IsRequest() && m.Method() == sip.INFO })
		if err != nil {
			return err
		}
		if err := carol.Answer(m, 200, append(telling(), "Server: telephone/1.0 "+device)...); err != nil {
			return err
		}
		m.Release()
		if _, err := dave.Await(ctx, func(m *sip.Message) bool { return isFinal(m) && string(m.Get(sip.HdrCallID)) == inside.CallID }); err != nil {
			return err
		}
	}
	carol.answers.Store(true)
	asked := append(s.Seen("ACK"), s.Seen("INFO")...)
	var told []string
	for range len(answers) {
		told = append(told, <-answers)
	}
	if len(s.Seen("INFO")) == rounds && len(told) > rounds {
		o.Arrived("%d requests within a call of dave's pass the platform, and %d answers of carol's", len(asked), len(told))
	}
	words := map[string]string{"the cell": cell, "the device": device, "who is charged": "icid-value=", "who calls": dave.namedAs(), "who is called": carol.namedAs()}
	of, from := finds(asked, words), finds(told, words)
	o.Users = min(len(of)+len(from), 2)
	o.Wire(len(of)+len(from) > 0, "in %d requests within a call the platform reads %d of %d, in %d answers %d: the cell, the device, who is charged, calls and is called", len(asked), len(of), len(words), len(told), len(from))
	o.Peer(false, "dave is answered %d times over the platform", rounds)
	return nil
}
