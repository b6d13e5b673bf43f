package attack

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// privacyLeak: whoever calls, or is called, reads in which cell the other is and what telephone he has.
func privacyLeak() Attack {
	controls := []secure.ControlID{secure.CIConfidentialityPrivacyEgress}
	return Attack{
		ID: "ci.privacy.leak", Number: "CI-38", Title: "cell, device and number of the other party, read off a call",
		Text:     "who knows a number could learn where its owner is, and follow him by his telephone's number",
		Services: []Service{Confidentiality}, Stride: Disclosing, Threats: []Threat{Disclosure}, Module: ServicesUser,
		Source: "RFC 7315 5.4; insinuator.net 2016", Access: both(),
		Bounds: Bounds{Packets: 80, Bytes: 80_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "caller", Position: Subscriber, Controls: controls, Run: readCaller},
			{Name: "callee", Position: Subscriber, Controls: controls, Run: readCallee},
			{Name: "later", Position: Subscriber, Controls: controls, Run: readLater},
		},
	}
}

// told are what an honest telephone tells its network, each with the word "secret" in it.
func told() []string {
	return []string{"P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=secret", "Cellular-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=secret",
		"Geolocation: <sip:secret@lis.example>"}
}

// userSays are headers by which a message tells of its sender: whoever asks for the privacy of a user does not want them read (RFC 3323 4.1, 5.3).
func userSays() []string {
	return []string{"Reply-To: <sip:secret@example.org>", "Organization: secret", "Subject: secret", "Call-Info: <https://example.org/secret>", "In-Reply-To: secret@example.org",
		"Warning: 399 example.org \"secret\"", "Referred-By: <sip:secret@example.org>"}
}

// secretCalls are the ways in which a call tells of its caller what he has asked, or need not ask, to be kept from the other party: few at once, since what is large
// takes a connection inside ESP.
func secretCalls() (calls []Request) {
	const asked, elsewhere, place = "Privacy: id;header;history", "Contact: <sip:192.0.2.1>", "<presence>secret</presence>"
	for _, line := range append(told(), "User-Agent: secret/1.0", "History-Info: <sip:secret@example.org>;index=1", "Diversion: <sip:secret@example.org>") {
		calls = append(calls, Request{Lines: []string{line, asked}})
	}
	user := userSays()
	parts := "--b\r\nContent-Type: application/pidf+xml\r\n\r\n" + place + "\r\n--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b--\r\n"
	return append(calls, Request{Lines: append([]string{elsewhere, "Privacy: user"}, user[:len(user)/2]...)}, Request{Lines: append([]string{elsewhere, "Privacy: none,user"}, user[len(user)/2:]...)},
		Request{Lines: []string{elsewhere, "Privacy: id", "History-Info: <sip:secret@example.org?Privacy=history>;index=1"}},
		Request{Lines: []string{asked, "Content-Type: application/pidf+xml"}, Body: place},
		Request{Lines: []string{asked, "Content-Type: multipart/mixed;boundary=b"}, Body: parts},
		Request{Lines: []string{elsewhere, "Content-Type: application/pidf+xml"}, Body: place},
		Request{Lines: []string{elsewhere, "Content-Type: multipart/mixed;boundary=b"}, Body: parts},
		Request{Lines: []string{elsewhere, "History-Info: <sip:secret@example.org?Privacy=history>;index=1"}})
}

// readCaller: carol calls the attacker, and does not want him to know who she is.
func readCaller(ctx context.Context, f *Field, o *Outcome) error {
	carol, mallory, err := f.carolAndMallory(ctx)
	if err != nil {
		return err
	}
	mallory.answers.Store(true)
	calls := secretCalls()
	return f.readOff(ctx, o, len(calls), func(i int, callID string) (m *sip.Message, words []string, err error) {
		r := calls[i]
		if strings.Contains(strings.Join(r.Lines, "\n"), "Privacy: ") {
			words = []string{"sip.instance", carol.IMPU, "carol@192.0.2.1"}
		}
		r.Method, r.URI, r.CallID = "INVITE", f.Users[Mallory].IMPU, callID
		if !strings.HasPrefix(r.Lines[0], "Contact") {
			r.Lines = append(r.Lines, "Contact: "+carol.Contact())
		}
		answer, err := carol.Ask(ctx, carol.Text(r))
		if err != nil {
			return nil, nil, err
		}
		o.Arrived("carol's calls to mallory, the last answered %d", answer.Status())
		m, err = mallory.Await(ctx, func(m *sip.Message) bool { return m.IsRequest() && string(m.Get(sip.HdrCallID)) == callID })
		return m, words, err
	})
}

// readCallee: the attacker calls carol.
func readCallee(ctx context.Context, f *Field, o *Outcome) error {
	carol, mallory, err := f.carolAndMallory(ctx)
	if err != nil {
		return err
	}
	carol.answers.Store(false)
	says := [][]string{append(told(), "Server: secret/1.0", "Contact: "+carol.Contact()), append(userSays(), "Privacy: user"),
		{"Geolocation-Error: 100 code=\"secret\"", "Diversion: <sip:secret@example.org>", "Privacy: history"}}
	return f.readOff(ctx, o, 2*len(says), func(i int, callID string) (read *sip.Message, words []string, err error) {
		if err := mallory.Write(mallory.Text(Request{Method: "INVITE", URI: carol.IMPU, CallID: callID, Lines: []string{"Contact: " + mallory.Contact()}})); err != nil {
			return nil, nil, err
		}
		m, err := carol.Await(ctx, func(m *sip.Message) bool { return m.IsRequest() && string(m.Get(sip.HdrCallID)) == callID })
		if err != nil {
			return nil, nil, err
		}
		status := []int{486, 180}[i/len(says)]
		if err := carol.Answer(m, status, says[i%len(says)]...); err != nil {
			return nil, nil, err
		}
		o.Arrived("carol has answered mallory's calls")
		read, err = mallory.Await(ctx, func(m *sip.Message) bool {
			return !m.IsRequest() && m.Status() == status && string(m.Get(sip.HdrCallID)) == callID
		})
		if err == nil && status < 200 { // so few calls may ring at once
			err = carol.Answer(m, 486)
		}
		return read, []string{"sip.instance"}, err
	})
}

// readLater: carol has called the attacker and does not want him to know who she is, which she said when she called. She says it no more.
func readLater(ctx context.Context, f *Field, o *Outcome) error {
	carol, mallory, err := f.carolAndMallory(ctx)
	if err != nil {
		return err
	}
	callID := f.token()
	ofCall := func(m *sip.Message) bool { return string(m.Get(sip.HdrCallID)) == callID }
	if err := carol.Write(carol.Text(Request{Method: "INVITE", URI: f.Users[Mallory].IMPU, CallID: callID, Body: keyed(honestKey),
		Lines: []string{"Contact: " + carol.Contact(), "Privacy: id;header", "Content-Type: application/sdp"}})); err != nil {
		return err
	}
	invite, err := mallory.Await(ctx, func(m *sip.Message) bool { return m.IsRequest() && ofCall(m) })
	if err != nil {
		return err
	}
	if err := mallory.answersKeyed(invite, honestKey, mallory.Contact()); err != nil {
		return err
	}
	answer, err := carol.Await(ctx, func(m *sip.Message) bool { return isFinal(m) && ofCall(m) })
	if err != nil {
		return err
	}
	inside, err := carol.acknowledges(answer, f.Users[Mallory].IMPU)
	if err != nil {
		return err
	}
	mallory.answers.Store(true)
	says := []Request{{Method: "INFO"}, {Method: "UPDATE", Lines: []string{"Contact: " + carol.Contact()}}, {Method: "MESSAGE", Lines: []string{"User-Agent: secret/1.0"}}, {Method: "BYE"}}
	return f.readOff(ctx, o, len(says), func(i int, _ string) (m *sip.Message, words []string, err error) {
		answer, err := carol.asksWithin(ctx, &inside, says[i].Method, "", says[i].Lines...)
		if err != nil {
			return nil, nil, err
		}
		o.Arrived("%s in carol's call, answered %d", says[i].Method, answer.Status())
		m, err = mallory.Await(ctx, func(m *sip.Message) bool {
			return m.IsRequest() && ofCall(m) && string(m.MethodName()) == says[i].Method
		})
		return m, []string{carol.IMPU, "carol@192.0.2.1"}, err
	})
}

func (f *Field) carolAndMallory(ctx context.Context) (carol, mallory *Hand, err error) {
	if carol, err = f.Carol(ctx); err == nil {
		mallory, err = f.Mallory(ctx)
	}
	return carol, mallory, err
}

// readOff looks in what some calls bring the attacker for the word "secret", and for others that must not be in this one.
func (f *Field) readOff(ctx context.Context, o *Outcome, times int, call func(i int, callID string) (m *sip.Message, words []string, err error)) error {
	learnt := map[string]bool{}
	for i := range times {
		m, words, err := call(i, fmt.Sprintf("%s-%d", f.token(), i))
		if err != nil {
			return err
		}
		for _, word := range append(words, "secret") {
			for name, v := range m.Fields() {
				if contains(v, word) {
					learnt[string(name)] = true
				}
			}
			if contains(m.Body(), word) {
				learnt["body"] = true
			}
		}
	}
	names := slices.Sorted(maps.Keys(learnt))
	o.Users = min(len(names), 1)
	o.Wire(len(names) > 0, "in %d calls mallory learns from %d headers and bodies of carol's: %s", times, len(names), strings.Join(names, ", "))
	return nil
}
