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
		Bounds: Bounds{Packets: 40, Bytes: 40_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "caller", Position: Subscriber, Controls: controls, Run: readCaller},
			{Name: "callee", Position: Subscriber, Controls: controls, Run: readCallee},
		},
	}
}

// told are what an honest telephone tells its network, each with the word "secret" in it.
func told() []string {
	return []string{"P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=secret", "Geolocation: <sip:secret@lis.example>"}
}

// readCaller: carol calls the attacker, and does not want him to know who she is.
func readCaller(ctx context.Context, f *Field, o *Outcome) error {
	carol, mallory, err := f.carolAndMallory(ctx)
	if err != nil {
		return err
	}
	mallory.answers.Store(true)
	says, n := append(told(), "User-Agent: secret/1.0", "History-Info: <sip:secret@example.org>;index=1"), 0
	return f.readOff(ctx, o, func(callID string) (*sip.Message, error) {
		lines := []string{says[n%len(says)], "Contact: " + carol.Contact(), "Privacy: id;header;history"} // one each: all of them need a connection inside ESP
		n++
		answer, err := carol.Ask(ctx, carol.Text(Request{Method: "INVITE", URI: f.Users[Mallory].IMPU, CallID: callID, Lines: lines}))
		if err != nil {
			return nil, err
		}
		o.Arrived("carol's calls to mallory, the last answered %d", answer.Status())
		return mallory.Await(ctx, func(m *sip.Message) bool { return m.IsRequest() && string(m.Get(sip.HdrCallID)) == callID })
	}, "sip.instance", carol.IMPU, "carol@192.0.2.1")
}

// readCallee: the attacker calls carol.
func readCallee(ctx context.Context, f *Field, o *Outcome) error {
	carol, mallory, err := f.carolAndMallory(ctx)
	if err != nil {
		return err
	}
	carol.answers.Store(false)
	return f.readOff(ctx, o, func(callID string) (*sip.Message, error) {
		if err := mallory.Write(mallory.Text(Request{Method: "INVITE", URI: carol.IMPU, CallID: callID, Lines: []string{"Contact: " + mallory.Contact()}})); err != nil {
			return nil, err
		}
		m, err := carol.Await(ctx, func(m *sip.Message) bool { return m.IsRequest() && string(m.Get(sip.HdrCallID)) == callID })
		if err != nil {
			return nil, err
		}
		if err := carol.Answer(m, 486, append(told(), "Server: secret/1.0", "Contact: "+carol.Contact())...); err != nil {
			return nil, err
		}
		o.Arrived("carol has answered mallory's calls")
		return mallory.Await(ctx, func(m *sip.Message) bool {
			return !m.IsRequest() && m.Status() >= 200 && string(m.Get(sip.HdrCallID)) == callID
		})
	}, "sip.instance")
}

func (f *Field) carolAndMallory(ctx context.Context) (carol, mallory *Hand, err error) {
	if carol, err = f.Carol(ctx); err == nil {
		mallory, err = f.Mallory(ctx)
	}
	return carol, mallory, err
}

// readOff looks in what a few calls bring the attacker for the word "secret" and for others.
func (f *Field) readOff(ctx context.Context, o *Outcome, call func(callID string) (*sip.Message, error), words ...string) error {
	const times = 5
	learnt := map[string]bool{}
	for i := range times {
		m, err := call(fmt.Sprintf("%s-%d", f.token(), i))
		if err != nil {
			return err
		}
		for _, word := range append(words, "secret") {
			for name, v := range m.Fields() {
				if contains(v, word) {
					learnt[string(name)] = true
				}
			}
		}
	}
	names := slices.Sorted(maps.Keys(learnt))
	o.Users = min(len(names), 1)
	o.Wire(len(names) > 0, "in %d calls mallory learns from %d headers of carol's: %s", times, len(names), strings.Join(names, ", "))
	return nil
}
