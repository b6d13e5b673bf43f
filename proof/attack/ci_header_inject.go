package attack

import (
	"context"
	"fmt"
	"strings"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// headerInject: a client writes headers that are the network's word.
func headerInject() Attack {
	return Attack{
		ID: "ci.header.inject", Number: "CI-09", Title: "headers that only the network may write, from a client",
		Text:     "who is called, charged or located would be what the client says",
		Services: []Service{Integrity}, Stride: Tampering, Threats: []Threat{Corruption}, Module: ServicesControl,
		Source: "TS 33.203 P.3; TS 24.229 5.2.6.3", Access: both(),
		Bounds:   Bounds{Packets: 60, Bytes: 60_000, Conns: 2, Time: 3 * time.Second},
		Approved: []Approved{{Name: reader, Whole: true, Manifest: rights("session.proxy") + "headers = { see = [\"location\", \"charging\"] }\n" + asked("terminating", 10, "continue")}},
		Variants: []Variant{
			{Name: "callee", Position: Subscriber, Run: injectHeaders, Controls: []secure.ControlID{secure.CIIntegrityHeaderEdge}},
			{Name: "platform", Position: Subscriber, Access: []Access{ISC}, Run: injectForPlatform, Controls: []secure.ControlID{secure.CIIntegrityHeaderEdge}},
			{Name: "register", Position: Subscriber, Access: []Access{ISC}, Run: injectInRegister, Controls: []secure.ControlID{secure.CIIntegrityHeaderEdge}},
		},
	}
}

// injected are the headers, each with the word forged in it. What stays in the core (charging, visited network, location) shows at a
// service platform alone; the others at whoever is called.
func injected() []string {
	return []string{
		"P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=forged;network-provided", "P-Charging-Vector: icid-value=forged",
		"P-Visited-Network-ID: forged", "P-Asserted-Service: urn:urn-7:3gpp-service.forged", "Remote-Party-ID: <sip:forged@example.org>",
		"Feature-Caps: *;+g.forged", "P-Associated-URI: <sip:forged@example.org>", "P-Early-Media: forged", "P-Charge-Info: <sip:forged@example.org>",
		"Record-Route: <sip:forged@example.org;lr>", "Attestation-Info: forged", "Origination-Id: forged", "P-DCS-Billing-Info: forged@example.org",
		"P-DCS-LAES: forged", "P-DCS-Trace-Party-ID: <sip:forged@example.org>", "P-DCS-OSPS: forged", "P-DCS-Redirect: <sip:forged@example.org>",
		"Path: <sip:forged@example.org;lr>", "Service-Route: <sip:forged@example.org;lr>",
	}
}

// reader is a platform that may see where users are and who is charged.
const reader = "reader"

// injectedInside are the headers that stay in the core: a platform that may see them sees them.
func injectedInside() []string {
	return []string{"P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=forged;network-provided", "P-Charging-Function-Addresses: ccf=forged",
		"P-Visited-Network-ID: forged"}
}

// injectForPlatform writes to carol, about whom a platform is asked.
func injectForPlatform(ctx context.Context, f *Field, o *Outcome) error {
	carol, mallory, err := f.carolAndMallory(ctx)
	if err != nil {
		return err
	}
	s, err := f.server(ctx, f.honest, reader, nil)
	if err != nil {
		return err
	}
	lines := injectedInside()
	for i, line := range lines {
		answer, err := mallory.Ask(ctx, mallory.Message(carol.IMPU, fmt.Sprintf("injected %d", i), line))
		if err != nil || answer.Status() != 200 {
			return fmt.Errorf("attack: mallory's message is answered %d: %w", statusOf(answer), err)
		}
	}
	seen, forged := s.Seen("MESSAGE"), 0
	for _, m := range seen {
		if strings.Contains(m, "forged") {
			forged++
		}
	}
	if len(seen) == len(lines) {
		o.Arrived("%d messages pass the platform", len(seen))
	}
	o.Users = min(forged, 1)
	o.Peer(forged > 0, "of %d messages that the platform reads %d say what was forged", len(seen), forged)
	return nil
}

// injectInRegister registers with them. A platform is told of registrations, and sees them as they came.
func injectInRegister(ctx context.Context, f *Field, o *Outcome) error {
	came := make(chan struct{}, heardAtMost)
	s, err := f.server(ctx, f.honest, reader, func(s *Server) {
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
	mallory, err := f.MalloryInClear(ctx)
	if err != nil {
		return err
	}
	const times = 5
	for range times {
		answer, err := mallory.RegisterAs(ctx, Registering{User: mallory.User, Expires: 600, Lines: injectedInside()})
		if err != nil || answer.Status() != 200 {
			return fmt.Errorf("attack: the registration is answered %d: %w", statusOf(answer), err)
		}
		select {
		case <-came:
		case <-ctx.Done():
			return fmt.Errorf("attack: the platform is not told of a registration: %w", ctx.Err())
		}
	}
	seen, forged := s.Seen("REGISTER"), 0
	for _, m := range seen {
		if strings.Contains(m, "forged") {
			forged++
		}
	}
	o.Arrived("the platform is told of %d registrations", len(seen))
	o.Users = min(forged, 1)
	o.Peer(forged > 0, "of %d registrations that the platform reads %d say what was forged", len(seen), forged)
	return nil
}

func injectHeaders(ctx context.Context, f *Field, o *Outcome) error {
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return err
	}
	forged, named, arrived := 0, "none", 0
	for i, line := range injected() {
		text := fmt.Sprintf("injected %d", i)
		answer, err := mallory.Ask(ctx, mallory.Message(f.Users[Carol].IMPU, text, line))
		if err != nil {
			return err
		}
		o.Arrived("%d messages, the last answered %d", i+1, answer.Status())
		if answer.Status() != 200 {
			continue
		}
		m, err := carol.Got(ctx, sip.MESSAGE, text)
		if err != nil {
			return err
		}
		arrived++
		if name, found := says(m, "forged"); found {
			forged, named = forged+1, name
		}
	}
	if name, found, err := injectsOtherwise(ctx, f, carol, mallory); err != nil {
		return err
	} else if found {
		forged, named = forged+1, name
	}
	o.Users = min(forged, 1)
	o.Peer(forged > 0, "of %d messages that arrive at carol, and of an answer and an ACK, %d say what was forged, the last in %s", arrived, forged, named)
	return nil
}

// injectsOtherwise writes into an answer, and into what needs none. It returns in which of them carol reads what was forged.
func injectsOtherwise(ctx context.Context, f *Field, carol, mallory *Hand) (name string, found bool, err error) {
	const line = "Remote-Party-ID: <sip:forged@example.org>"
	text := f.token()
	if err := carol.Write(carol.Message(mallory.IMPU, text)); err != nil {
		return "", false, err
	}
	m, err := mallory.Got(ctx, sip.MESSAGE, text)
	if err != nil {
		return "", false, err
	}
	const word, whom, source = "Identity: forged;info=<https://forged.example.org/f.pem>", "P-Called-Party-ID: <sip:forged@example.org>", "Response-Source: forged"
	if err := mallory.Answer(m, 200, line, word, whom, source); err != nil {
		return "", false, err
	}
	callID := string(m.Get(sip.HdrCallID))
	answer, err := carol.Await(ctx, func(m *sip.Message) bool { return isFinal(m) && string(m.Get(sip.HdrCallID)) == callID })
	if err != nil {
		return "", false, err
	}
	if name, found = says(answer, "forged"); found {
		return name + " of an answer", true, nil
	}
	_, ack, err := mallory.talksTo(ctx, carol, line)
	if err != nil {
		return "", false, err
	}
	name, found = says(ack, "forged")
	return name + " of an ACK", found, nil
}
