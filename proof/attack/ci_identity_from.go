package attack

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// identityFrom: a registered client writes somebody else into From, which is what most clients show.
func identityFrom() Attack {
	controls := []secure.ControlID{secure.CIAuthenticationFromCheck}
	return Attack{
		ID: "ci.identity.from", Number: "CI-08", Title: "another user in From, or a number for a display name",
		Text:     "people believe what their telephone shows, whatever the network vouches for beside it",
		Services: []Service{Authentication}, Stride: Spoofing, Threats: []Threat{Removal}, Module: ServicesControl,
		Source: "TS 24.607 4.5.2.4; Kim et al., CCS 2015", Access: both(),
		Bounds: Bounds{Packets: 40, Bytes: 40_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "uri", Position: Subscriber, Controls: controls, Run: fromAnother},
			{Name: "display", Position: Subscriber, Controls: controls, Run: nameAnother},
			{Name: "in-dialog", Position: Subscriber, Controls: controls, Run: becomeAnother},
		},
	}
}

func fromAnother(ctx context.Context, f *Field, o *Outcome) error {
	const number = "tel:+15550109999"
	victim := f.Users[Alice].IMPU
	return forgeFrom(ctx, f, o, Request{From: victim}, Request{From: number}, Request{From: "sip:" + strings.TrimPrefix(number, "tel:") + "@" + f.Domain + ";user=phone"},
		Request{From: "im:" + strings.TrimPrefix(victim, "sip:")})
}

func nameAnother(ctx context.Context, f *Field, o *Outcome) error {
	const number = "+1 555 010 9999"
	fullwidth := strings.Map(func(r rune) rune { // looks the same
		if r >= '0' && r <= '9' {
			return r - '0' + '\uff10'
		}
		return r
	}, strings.TrimPrefix(number, "+"))
	address := strings.TrimPrefix(f.Users[Alice].IMPU, "sip:")
	return forgeFrom(ctx, f, o, Request{Display: number}, Request{Display: "0-0-1 555 01099 99"}, Request{Display: fullwidth}, Request{Display: address},
		Request{Display: strings.Replace(address, "@", "\uff20", 1)}, Request{Display: strings.Replace(address, "@", "\ufe6b", 1)}, Request{Display: "sip:alice"})
}

// forgeFrom sends messages with forged Froms, in turn, and looks in those that arrive for what was forged.
func forgeFrom(ctx context.Context, f *Field, o *Outcome, forgeries ...Request) error {
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return err
	}
	const times = 10
	shown, last, forged := 0, "nothing", ""
	for i := range times {
		r := forgeries[i%len(forgeries)]
		r.Method, r.URI, r.Lines = "MESSAGE", carol.IMPU, []string{"Content-Type: text/plain"}
		r.Body = fmt.Sprintf("forged %d", i)
		answer, err := mallory.Ask(ctx, mallory.Text(r))
		if err != nil {
			return err
		}
		o.Arrived("%d messages, the last answered %d", i+1, answer.Status())
		if answer.Status() != 200 {
			continue
		}
		m, err := carol.Got(ctx, sip.MESSAGE, r.Body)
		if err != nil {
			return err
		}
		if last = string(m.Get(sip.HdrFrom)); contains(m.Get(sip.HdrFrom), cmp.Or(r.Display, r.From)) {
			shown, forged = shown+1, cmp.Or(r.Display, r.From)
		}
	}
	o.Users = min(shown, 1)
	o.Peer(shown > 0, "carol's telephone shows what was forged in %d of %d messages, %q the last time; the last is from %s", shown, times, forged, last)
	return nil
}

// becomeAnother calls as who he is, and names another in a re-INVITE or an UPDATE: a telephone that knows connected identities shows that one from then on
// (RFC 4916 4.4).
func becomeAnother(ctx context.Context, f *Field, o *Outcome) error {
	carol, mallory, err := f.carolAndMallory(ctx)
	if err != nil {
		return err
	}
	inside, _, err := mallory.talksTo(ctx, carol)
	if err != nil {
		return err
	}
	const times = 4
	shown, victim := 0, f.Users[Alice].IMPU
	for i := range times {
		r := inside
		r.Method, r.CSeq, r.From, r.Body = []string{"INVITE", "UPDATE"}[i%2], inside.CSeq+uint32(i), victim, keyed(honestKey)
		r.Lines = append(append([]string(nil), inside.Lines...), "Contact: "+mallory.Contact(), "Content-Type: application/sdp")
		if err := mallory.Write(mallory.Text(r)); err != nil {
			return err
		}
		m, err := carol.Await(ctx, func(m *sip.Message) bool {
			return m.IsRequest() && string(m.MethodName()) == r.Method && len(m.ToTag()) > 0
		})
		if err != nil {
			return err
		}
		if contains(m.Get(sip.HdrFrom), victim) {
			shown++
		}
		o.Arrived("%d re-INVITEs and UPDATEs in alice's name", i+1)
		answer, err := mallory.Await(ctx, func(m *sip.Message) bool { return isFinal(m) && string(m.Get(sip.HdrCallID)) == inside.CallID })
		if err != nil {
			return err
		}
		if answer.Status() != 200 {
			return fmt.Errorf("attack: %s in a dialog is answered %d", r.Method, answer.Status())
		}
	}
	o.Users = min(shown, 1)
	o.Peer(shown > 0, "carol's telephone is told %d of %d times that she talks with alice", shown, times)
	return nil
}
