package attack

import (
	"context"
	"fmt"
	"strings"
	"time"

	"imsafe/proto/sdp"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// mediaFlood: one user takes all that there is of media, or sends another more than a call has.
func mediaFlood() Attack {
	return Attack{
		ID: "cs.media.flood", Number: "CS-07", Title: "all ports of the anchor for one user, and a call that is a flood",
		Text:     "nobody else could call, or a telephone drowns in what its own call lets through",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption}, Module: InfrastructureUser,
		Source: "CVE-2021-41105", Access: []Access{TLS}, Media: true, Tight: true,
		Bounds: Bounds{Packets: 3200, Bytes: 900_000, Conns: 4, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "hoard", Position: Subscriber, Run: hoard, Controls: []secure.ControlID{secure.CSAvailabilityPortBudget}},
			{Name: "media", Position: Subscriber, Run: manyMedia, Controls: []secure.ControlID{secure.CSAvailabilityPortBudget}},
			{Name: "packets", Position: Subscriber, Run: drown, Controls: []secure.ControlID{secure.CSAvailabilityPortBudget}},
		},
	}
}

// hoard calls carol, who takes every call, until there are no ports; then alice wants to talk with bob.
func hoard(ctx context.Context, f *Field, o *Outcome) error {
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return err
	}
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	statuses := map[int]int{}
	for range TightPorts {
		s := &speaker{hand: mallory, invite: Request{Method: "INVITE", URI: carol.IMPU, FromTag: f.token(), CallID: f.token(), CSeq: 1, Body: offerOfNobody}}
		m, err := s.ask(ctx, nil)
		if m == nil {
			return err
		}
		statuses[m.Status()]++
	}
	o.Arrived("mallory's %d calls were answered %v", TightPorts, statuses)
	o.Wire(false, "%d calls that he does not end", TightPorts)
	out, in, err := f.Alice.Talk(ctx, f.Bob)
	if err != nil {
		o.Users = 2
		o.Peer(true, "%v", err)
		return nil
	}
	o.Peer(false, "alice and bob talk")
	return attackOver(Part(ctx, out, in))
}

// manyMedia offers carol more media in one call than two who talk can use: each takes ports, certificates and keys at both ends.
func manyMedia(ctx context.Context, f *Field, o *Outcome) error {
	carol, mallory, err := f.carolAndMallory(ctx)
	if err != nil {
		return err
	}
	const may, times = 4, 5 // a voice, a video, and a second of each
	description, media, _ := strings.Cut(offerOfNobody, "m=")
	description += strings.Repeat("m="+media, times)
	callID := f.token()
	answer, err := mallory.Ask(ctx, mallory.Text(Request{Method: "INVITE", URI: carol.IMPU, CallID: callID, Body: description,
		Lines: []string{"Contact: " + mallory.Contact(), "Content-Type: application/sdp"}}))
	if err != nil {
		return err
	}
	m, err := carol.Await(ctx, func(m *sip.Message) bool {
		return m.IsRequest() && m.Method() == sip.INVITE && string(m.Get(sip.HdrCallID)) == callID
	})
	if err != nil {
		return err
	}
	defer m.Release()
	offered, err := sdp.Parse(m.Body(), sdp.Limits{})
	if err != nil {
		return err
	}
	ports := map[uint16]bool{}
	for i := range offered.Media {
		if port := offered.Media[i].Port; port != 0 {
			ports[port] = true
		}
	}
	o.Arrived("mallory's call with %d media is answered %d", times, answer.Status())
	o.Wire(false, "one call")
	o.Peer(len(ports) > may, "carol is offered %d media of %d", len(ports), times)
	if len(ports) < may {
		return fmt.Errorf("attack: carol is offered %d media of a call that may have %d", len(ports), may)
	}
	return nil
}

// offerOfNobody is a good offer of a far end that is not there.
const offerOfNobody = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVP 8\r\na=setup:actpass\r\na=rtcp-mux\r\n" +
	"a=fingerprint:sha-256 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB:3E:4B:65:2E:7D:46:3F:54:42:CD:54:F1\r\n"

// drown sends carol far more in a call than a voice call has, all of it well protected.
func drown(ctx context.Context, f *Field, o *Outcome) error {
	s, tap, end, err := f.malloryCallsCarol(ctx)
	if err != nil {
		return err
	}
	defer end()
	const packets = 3000
	began := f.Clock.Now()
	for n := range packets {
		if err := s.leg.Forward(rtpPacket(chosenSource, uint16(n), make([]byte, voiceOctets)), false); err != nil {
			return err
		}
		if n%50 == 49 {
			if err := pause(ctx, 10*time.Millisecond); err != nil {
				return err
			}
		}
	}
	if err := settle(ctx); err != nil {
		return err
	}
	took := (f.Clock.Now() - began).Seconds()
	got := len(tap().got())
	rate := float64(got) / took
	o.Arrived("%d packets in %.1f s", packets, took)
	o.Wire(false, "%d packets of voice in one call", packets)
	reached := got > int(audio*(took+1)/voiceOctets) // what a second allows may come at once
	if reached {
		o.Users = 1
	}
	o.Peer(reached, "carol was passed %d of them, %.0f a second", got, rate)
	if !reached && got == 0 {
		return fmt.Errorf("attack: carol hears nothing at all")
	}
	return nil
}
