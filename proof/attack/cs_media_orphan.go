package attack

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"time"

	"imsafe/client/ue"
	"imsafe/secure"
)

// mediaOrphan: whoever brings the signalling of a network down wants its calls to end with it, or ends those that go on without it.
func mediaOrphan() Attack {
	return Attack{
		ID: "cs.media.orphan", Number: "CS-16", Title: "the signalling dies, and calls that stand are to end with it",
		Text:     "one defect of the signalling that an attacker finds would silence everybody who talks, an emergency call as well",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption}, Module: InfrastructureUser,
		Source: "ITU-T X.805 8.8; RFC 3550 6.6, 9.1", Access: []Access{TLS}, Media: true,
		Bounds: Bounds{Packets: 30, Bytes: 4_000, Conns: 2, Time: 5 * time.Second, Wait: 2 * time.Second},
		Variants: []Variant{
			{Name: "cut", Position: OffPath, Run: cutSignalling, Controls: []secure.ControlID{secure.CSAvailabilityOutlives},
				Ours: "the operator of the target is asked to lose its signalling"},
			{Name: "goodbye", Position: OnPath, Run: sayGoodbye, Controls: []secure.ControlID{secure.CSIntegritySRTPVerify},
				Ours: "the operator of the target is asked to lose its signalling"},
		},
	}
}

// cutSignalling takes the signalling away during a call. No message is known that does it, so the operator is asked to: what an attacker has found who
// does it himself makes no difference to the call.
func cutSignalling(ctx context.Context, f *Field, o *Outcome) error {
	out, in, err := f.Alice.Talk(ctx, f.Bob)
	if err != nil {
		return err
	}
	defer func() { out.Hangup(); in.Hangup() }()
	if err := f.operate(ctx, LoseSignalling, ""); err != nil {
		return err
	}
	o.Arrived("the media anchor has lost its signalling")
	return f.orphansTalk(ctx, o, out, in)
}

// sayGoodbye tells the anchor in carol's name that she leaves (RTCP BYE), by packets of somebody in her path: without signalling that is what ends a call.
func sayGoodbye(ctx context.Context, f *Field, o *Outcome) error {
	carol, tap, err := f.tappedParty(ctx, Carol)
	if err != nil {
		return err
	}
	out, in, err := carol.Talk(ctx, f.Bob)
	if err != nil {
		return err
	}
	defer func() { out.Hangup(); in.Hangup() }()
	if err := f.operate(ctx, LoseSignalling, ""); err != nil {
		return err
	}
	const packets = 10
	trailer := make([]byte, 16+4) // a tag, and the index of a packet that is not encrypted (RFC 3711 3.4)
	for range packets {
		if _, err := io.ReadFull(f.Random, trailer[:16]); err != nil {
			return err
		}
		if _, err := tap().PacketConn.WriteTo(append(goodbye(0xbad), trailer...), net.UDPAddrFromAddrPort(out.Media().Remote)); err != nil {
			return err
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	o.Arrived("%d packets were sent from carol's own address", packets)
	o.Wire(false, "%d forged goodbyes in carol's name", packets)
	return f.orphansTalk(ctx, o, out, in)
}

// goodbye is an RTCP packet by which a source leaves (RFC 3550 6.6).
func goodbye(ssrc uint32) []byte { return binary.BigEndian.AppendUint32([]byte{0x81, 203, 0, 1}, ssrc) }

// looked is more than the time after which an anchor has looked at calls that have no signalling.
const looked = 1500 * time.Millisecond

// orphansTalk reports whether both ends of a call hear each other when the anchor has looked at their call.
func (f *Field) orphansTalk(ctx context.Context, o *Outcome, out, in *ue.Call) error {
	if err := pause(ctx, looked); err != nil {
		return err
	}
	if err := f.stillTalk(ctx, out, in); err != nil {
		o.Users = 2
		o.Peer(true, "%v", err)
		return nil
	}
	o.Peer(false, "both ends go on talking")
	return ends(ctx, out, in)
}
