package attack

import (
	"bytes"
	"context"
	"sync/atomic"
	"time"

	"imsafe/proto/sip"
)

// iscTamper: somebody in the path changes what a platform sends.
func iscTamper() Attack {
	return Attack{
		ID: "is.isc.tamper", Number: "IS-14", Title: "a hand on the wire between core and service platform",
		Text:     "whoever has the path writes to every user in the name of the service, and changes where calls go",
		Services: []Service{Integrity}, Stride: Tampering, Threats: []Threat{Corruption}, Module: InfrastructureControl,
		Source: "TS 33.203 Annex J; RFC 3261 26.1.3", Access: []Access{ISC},
		Approved: []Approved{{Name: chat, Manifest: rights("message.send")}},
		Bounds:   Bounds{Packets: 60, Bytes: 60_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{{Position: OnPath, Controls: sealedISC(), Run: tamperISC}},
	}
}

// tamperISC changes a message of the platform to carol. What he cannot read he changes all the same: one bit in each record.
func tamperISC(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	const written, forged = "pay 10 to bob..", "pay 10 to eve.."
	var works atomic.Bool
	var heard eavesdropped
	s, sealed, err := f.careless(ctx, &heard, func(octets []byte) []byte {
		if !works.Load() {
			return octets
		}
		changed := bytes.ReplaceAll(octets, []byte(written), []byte(forged))
		if bytes.Equal(changed, octets) {
			changed[len(changed)-1] ^= 1
		}
		return changed
	})
	if err != nil {
		return err
	}
	first, err := f.asks(ctx, s, s.writes(carol.IMPU, "before"))
	if err != nil {
		return err
	}
	works.Store(true)
	second, err := f.asks(ctx, s, s.writes(carol.IMPU, written))
	if err != nil {
		return err
	}
	_, octets := heard.has(written)
	o.Arrived("the platform speaks over the attacker, under TLS: %v; %d octets", sealed, octets)
	read, err := f.counts(ctx, dave, carol, func(m *sip.Message) bool { return string(m.Body()) == forged })
	if err != nil {
		return err
	}
	o.Users = read
	o.Wire(second == 200, "what the attacker has let through is answered %d, what he has changed %d (0: not at all)", first, second)
	o.Peer(read > 0, "carol reads %d messages that the platform has not written", read)
	return nil
}
