package attack

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"time"

	"imsafe/secure"
)

// srtpReuse: what was said once is said again, or two things are said under one key and one index.
func srtpReuse() Attack {
	return Attack{
		ID: "cs.srtp.reuse", Number: "CS-06", Title: "media packets played again, and indices forced twice",
		Text:     "old words would be heard as new ones; of two that share a keystream, whoever knows one reads the other",
		Services: []Service{Confidentiality, Integrity}, Stride: Tampering, Threats: []Threat{Disclosure, Corruption}, Module: ServicesUser,
		Source: "RFC 3711 3.3.2, 9.1; ReVoLTE", Access: []Access{TLS}, Media: true,
		Bounds: Bounds{Packets: 400, Bytes: 200_000, Conns: 6, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "replay", Position: OnPath, Run: playAgain, Controls: []secure.ControlID{secure.CSIntegritySRTPReplay, secure.CSConfidentialityKeyFresh}},
			{Name: "rtcp", Position: OnPath, Run: reportAgain, Controls: []secure.ControlID{secure.CSIntegritySRTPReplay}},
			{Name: "key", Position: OnPath, Run: oneKey, Controls: []secure.ControlID{secure.CSConfidentialityKeyFresh}},
			{Name: "keystream", Position: Subscriber, Run: keystream, Controls: []secure.ControlID{secure.CSConfidentialityKeyFresh}},
		},
	}
}

// playAgain sends again what carol has said, from where she said it.
func playAgain(ctx context.Context, f *Field, o *Outcome) error {
	carol, tap, err := f.tappedParty(ctx, Carol)
	if err != nil {
		return err
	}
	out, in, err := carol.Talk(ctx, f.Bob)
	if err != nil {
		return err
	}
	defer func() { out.Hangup(); in.Hangup() }()
	const times, wanted = 200, 20
	for {
		if said, _ := tap().sent(); len(said) >= wanted {
			break
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	said, to := tap().sent()
	for n := range times {
		if _, err := tap().PacketConn.WriteTo(said[n%wanted], to); err != nil {
			return err
		}
		if err := pause(ctx, 4*time.Millisecond); err != nil {
			return err
		}
	}
	if err := settle(ctx); err != nil {
		return err
	}
	// Bob's own window keeps him from hearing it; what it has refused was passed on to him.
	passed := in.Media().Refused["replay"]
	o.Arrived("%d packets were sent again from carol's own address", times)
	o.Wire(false, "%d packets of %d kept", times, wanted)
	reached := passed > times/4
	o.Peer(reached, "bob was passed %d packets that he had heard before", passed)
	if reached {
		o.Users = 1
		return nil
	}
	return ends(ctx, out, in)
}

// reportAgain sends again what a telephone has reported in a call with carol, from where it did. It is that of mallory, who does nothing but talk; the attacker is in his
// path. The anchor seals anew what it passes on, so that nobody behind it can tell.
func reportAgain(ctx context.Context, f *Field, o *Outcome) error {
	mallory, err := f.witness(ctx, Mallory, nil)
	if err != nil {
		return err
	}
	if err := mallory.Register(ctx); err != nil {
		return err
	}
	carol, tap, err := f.tappedParty(ctx, Carol)
	if err != nil {
		return err
	}
	var his *tapped
	s, call, err := f.speakOn(ctx, mallory, carol, func(conn net.PacketConn) net.PacketConn {
		his = &tapped{PacketConn: conn}
		return his
	})
	if err != nil {
		return err
	}
	defer s.close()
	defer call.Hangup()
	const reports, times = 5, 10
	for len(tap().reported()) < reports { // the first may come to an anchor that has no keys yet
		if err := s.leg.Forward([]byte{0x80, 201, 0, 1, 0, 0, 0x5e, 0xed}, true); err != nil {
			return err
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("attack: of mallory's reports %d have come: %w", len(tap().reported()), err)
		}
	}
	if err := settle(ctx); err != nil {
		return err
	}
	before := len(tap().reported())
	said, to := his.reportedOut()
	said = said[len(said)-reports:]
	for range times {
		for _, b := range said {
			if _, err := his.PacketConn.WriteTo(b, to); err != nil {
				return err
			}
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	if err := settle(ctx); err != nil {
		return err
	}
	passed := len(tap().reported()) - before
	o.Arrived("%d reports were sent %d times again from mallory's own address", reports, times)
	o.Wire(false, "%d packets", reports*times)
	reached := passed > reports*times/4
	o.Peer(reached, "carol is passed %d reports that she had before", passed)
	if reached {
		o.Users = 1
	}
	return nil
}

// oneKey: carol's telephone has one key in the descriptions of all its calls. Who is in the path of her media has two texts under one keystream.
func oneKey(ctx context.Context, f *Field, o *Outcome) error {
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	carol.answers.Store(false)
	key, statuses, stand := f.mediaKey(), []int{}, 0
	const times = 4
	for range times {
		answer, err := f.callWithKey(ctx, carol, key)
		if err != nil {
			return err
		}
		statuses = append(statuses, answer.Status())
		if answer.Status() == 200 && contains(answer.Body(), "a=crypto:") { // a call whose media are refused stands without them
			stand++
		}
	}
	if stand == 0 {
		return fmt.Errorf("attack: no call has media by a key in its description: %v", statuses)
	}
	o.Arrived("%d calls with one key are answered %v", times, statuses)
	o.Users = min(stand-1, 1)
	o.Wire(false, "nothing but what passes")
	o.Peer(stand > 1, "%d of carol's calls have media under one key", stand)
	return nil
}

// keystream says two known things with one source and the same numbers, under two keys of mallory's own: before and after he moves. Carol's
// wire shows whether they left the anchor under one of his.
func keystream(ctx context.Context, f *Field, o *Outcome) error {
	s, tap, end, err := f.malloryCallsCarol(ctx)
	if err != nil {
		return err
	}
	defer end()
	first, second := bytes.Repeat([]byte{0x11}, 160), bytes.Repeat([]byte{0x2f}, 160)
	if err := s.say(ctx, first); err != nil {
		return err
	}
	before := s.leg.Counters().PacketsOut.Load()
	if err := s.offer(ctx, f, nil); err != nil {
		return fmt.Errorf("attack: mallory cannot move: %w", err)
	}
	if err := s.say(ctx, second); err != nil {
		return err
	}
	if err := settle(ctx); err != nil {
		return err
	}
	o.Arrived("%d packets before and %d after he has moved", before, s.leg.Counters().PacketsOut.Load())
	got := tap().got()
	twice := sameKeystream(got, 0x11^0x2f)
	if twice > 0 {
		o.Users = 1
	}
	o.Wire(false, "%d packets with source and numbers of the attacker's choice", 2*spoken)
	o.Peer(twice > 0, "on carol's wire %d pairs of packets are each other's XOR of %d", twice, len(got))
	return nil
}

// The numbers of what mallory says: the same each time.
const (
	chosenSource = 0x5eed
	chosenNumber = 1000
	spoken       = 20
)

func (s *speaker) say(ctx context.Context, payload []byte) error {
	for n := range uint16(spoken) {
		if err := s.leg.Forward(rtpPacket(chosenSource, chosenNumber+n, payload), false); err != nil {
			return err
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// sameKeystream counts pairs with one source and number whose ciphertexts differ by what is known of their plaintexts.
func sameKeystream(packets [][]byte, known byte) (pairs int) {
	for i, a := range packets {
		for _, b := range packets[i+1:] {
			if len(a) != len(b) || len(a) < 12+160 || !bytes.Equal(a[2:4], b[2:4]) || !bytes.Equal(a[8:12], b[8:12]) {
				continue
			}
			same := true
			for k := 12; k < 12+160; k++ {
				same = same && a[k]^b[k] == known
			}
			if same {
				pairs++
			}
		}
	}
	return pairs
}
