package attack

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// covertData: two clients carry data for each other where nobody counts it.
func covertData() Attack {
	controls := []secure.ControlID{secure.CIAvailabilityTrafficShape}
	shape := []secure.ControlID{secure.CSAvailabilityMediaShape}
	return Attack{
		ID: "ci.covert.data", Number: "CI-39", Title: "data in the headers of signalling, in place of a voice, or beside one",
		Text:     "what stands in headers, comes faster than a voice, or in a packet where no voice is, is in no record: two clients have a free channel, at the cost of everybody's",
		Services: []Service{Availability}, Stride: Elevation, Threats: []Threat{Removal}, Module: ServicesUser,
		Source: "Kim et al., Li et al., CCS 2015", Access: both(), Carried: []Access{UDP, TCP}, Tight: true, Media: true,
		Bounds: Bounds{Packets: 700, Bytes: 700_000, Conns: 4, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "many", Position: Subscriber, Quick: true, Run: carryMuch, Controls: controls},
			{Name: "large", Position: Subscriber, Quick: true, Run: carryLarge, Controls: controls},
			{Name: "answers", Position: Subscriber, Run: carryInAnswers, Controls: controls},
			{Name: "bodies", Position: Subscriber, Quick: true, Run: carryInBodies, Controls: controls},
			{Name: "acks", Position: Subscriber, Run: carryInACKs, Controls: controls},
			{Name: "rtp", Position: Subscriber, Access: []Access{TLS}, Run: carryAsVoice, Controls: []secure.ControlID{secure.CSAvailabilityPortBudget}},
			{Name: "rtp-header", Position: Subscriber, Access: []Access{TLS}, Run: carryInRTPHeaders, Controls: shape},
			{Name: "rtp-padding", Position: Subscriber, Access: []Access{TLS}, Run: carryInPadding, Controls: shape},
			{Name: "rtcp", Position: Subscriber, Access: []Access{TLS}, Run: carryInReports, Controls: shape},
			{Name: "rtcp-names", Position: Subscriber, Access: []Access{TLS}, Run: carryInNames, Controls: shape},
			{Name: "rtcp-behind", Position: Subscriber, Access: []Access{TLS}, Run: carryBehindReports, Controls: shape},
			{Name: "rtp-bundle", Position: Subscriber, Access: []Access{TLS}, Run: carryAsOther, Controls: shape},
		},
	}
}

// carryMuch sends more octets than the policy allows in headers of ordinary size. Carol is in on it.
func carryMuch(ctx context.Context, f *Field, o *Outcome) error {
	const times, piece = 55, 800
	return f.carry(ctx, o, times, piece, TightSignalling)
}

// carryInBodies does the same with bodies, which no text of a message is.
func carryInBodies(ctx context.Context, f *Field, o *Outcome) error {
	const times, piece = 55, 800
	return f.carryBy(ctx, o, times, piece, TightSignalling, Request{Lines: []string{"Content-Type: application/data"}, Body: strings.Repeat("d", piece)})
}

// carryInACKs calls carol once, and acknowledges for as long as there are octets: nobody can refuse an ACK.
func carryInACKs(ctx context.Context, f *Field, o *Outcome) error {
	carol, mallory, err := f.carolAndMallory(ctx)
	if err != nil {
		return err
	}
	inside, _, err := mallory.talksTo(ctx, carol)
	if err != nil {
		return err
	}
	const times, piece = 55, 800
	carried := 0
	for i := range times {
		ack := inside
		ack.Method, ack.CSeq = "ACK", inside.CSeq-1
		ack.Lines = append(append([]string(nil), inside.Lines...), "X-Data: "+strings.Repeat("d", piece))
		if err := mallory.Write(mallory.Text(ack)); err != nil {
			return err
		}
		m, err := carol.Await(ctx, func(m *sip.Message) bool {
			return m.IsRequest() && m.Method() == sip.ACK && string(m.Get(sip.HdrCallID)) == inside.CallID
		})
		if err != nil {
			return err
		}
		carried += dataIn(m)
		m.Release()
		o.Arrived("%d ACKs with %d octets of data each", i+1, piece)
	}
	o.Peer(carried > TightSignalling, "%d octets have come out at carol's of %d", carried, times*piece)
	return nil
}

// carryLarge sends them in headers that no call needs.
func carryLarge(ctx context.Context, f *Field, o *Outcome) error {
	const piece = 7000
	return f.carry(ctx, o, 1, 6*piece, 0)
}

// carry sends requests with octets in a header of mallory's own making, and counts what arrives at carol's. More than policy is the goal.
func (f *Field) carry(ctx context.Context, o *Outcome, times, octets, policy int) error {
	var lines []string
	const line = 7000 // a line of less than 8 KiB, as any parser takes
	for left := octets; left > 0; left -= line {
		lines = append(lines, "X-Data: "+strings.Repeat("d", min(left, line)))
	}
	return f.carryBy(ctx, o, times, octets, policy, Request{Lines: lines})
}

// carryBy sends a request that has the octets.
func (f *Field) carryBy(ctx context.Context, o *Outcome, times, octets, policy int, r Request) error {
	carol, mallory, err := f.carolAndMallory(ctx)
	if err != nil {
		return err
	}
	r.Method, r.URI = "OPTIONS", carol.IMPU
	answered, carried := 0, 0
	for range times {
		// Inside IPsec carol is offered a connection first for what is large, and takes none for as long as a transaction may take.
		err := within(ctx, forgotten, func(ctx context.Context) error {
			_, err := mallory.Ask(ctx, mallory.Text(r))
			return err
		})
		if err != nil && !errors.Is(err, ErrSilence) || ctx.Err() != nil {
			return err
		}
		carried += carol.hasData(ctx)
		if err != nil {
			break // what is over is not answered over UDP, and the rest would not be either
		}
		answered++
	}
	o.Arrived("%d requests with %d octets of data each, %d of them answered", times, octets, answered)
	o.Peer(carried > policy, "%d octets have come out at carol's of %d", carried, times*octets)
	return nil
}

// hasData takes a request that has come, and says how many octets of data stand in it.
func (h *Hand) hasData(ctx context.Context) (octets int) {
	var m *sip.Message
	err := within(ctx, soon/10, func(ctx context.Context) (err error) {
		m, err = h.Await(ctx, func(m *sip.Message) bool { return m.IsRequest() && m.Method() == sip.OPTIONS })
		return err
	})
	if err != nil {
		return 0
	}
	return dataIn(m)
}

// dataIn says how many octets of data stand in a message.
func dataIn(m *sip.Message) (octets int) {
	for name, v := range m.Fields() {
		if string(name) == "X-Data" {
			octets += len(v)
		}
	}
	return octets + strings.Count(string(m.Body()), "d")*min(1, strings.Count(string(m.Get(sip.HdrContentType)), "application/data"))
}

// carryInAnswers lets carol ask, and answers with the octets.
func carryInAnswers(ctx context.Context, f *Field, o *Outcome) error {
	carol, mallory, err := f.carolAndMallory(ctx)
	if err != nil {
		return err
	}
	const times, piece = 55, 800
	data := "X-Data: " + strings.Repeat("d", piece)
	carried := 0
	for i := range times {
		callID := f.token()
		ofCall := func(m *sip.Message) bool { return string(m.Get(sip.HdrCallID)) == callID }
		if err := carol.Write(carol.Text(Request{Method: "OPTIONS", URI: mallory.IMPU, CallID: callID})); err != nil {
			return err
		}
		m, err := mallory.Await(ctx, ofCall)
		if err != nil {
			return err
		}
		if err := mallory.Answer(m, 200, data); err != nil {
			return err
		}
		answer, err := carol.Await(ctx, func(m *sip.Message) bool { return isFinal(m) && ofCall(m) })
		if err != nil {
			return err
		}
		carried += dataIn(answer)
		o.Arrived("%d answers with %d octets of data each", i+1, piece)
	}
	o.Peer(carried > TightSignalling, "%d octets have come out at carol's of %d", carried, times*piece)
	return nil
}

// carryAsVoice sends data in the packets of a call, well protected and of the right payload type: more than a voice of any codec has. Carol's telephone
// does not look at what it plays.
func carryAsVoice(ctx context.Context, f *Field, o *Outcome) error {
	s, tap, end, err := f.malloryCallsCarol(ctx)
	if err != nil {
		return err
	}
	defer end()
	const packets, size = 400, 1000
	began := f.Clock.Now()
	for n := range packets {
		if err := s.leg.Forward(rtpPacket(chosenSource, uint16(n), make([]byte, size)), false); err != nil {
			return err
		}
		if n%20 == 19 {
			if err := pause(ctx, 40*time.Millisecond); err != nil {
				return err
			}
		}
	}
	if err := settle(ctx); err != nil {
		return err
	}
	took := (f.Clock.Now() - began).Seconds()
	got := len(tap().got()) * size
	o.Arrived("%d octets of data in %.1f s of a call", packets*size, took)
	o.Wire(false, "%d packets of %d octets", packets, size)
	policy := int(audio * (took + 1)) // what a second allows may come at once
	o.Peer(got > policy, "%d octets have come out at carol's, of whom a voice has %d", got, policy)
	if got == 0 {
		return errors.New("attack: carol hears nothing at all")
	}
	return nil
}

// audio is how many octets a second the policy has for it.
const audio = 256_000 / 8

// carryInRTPHeaders puts data where a packet of voice names contributing sources, and into an extension that no description speaks of: of short elements, of long
// ones, of a kind that nobody knows (RFC 8285 4.2, 4.3; RFC 3550 5.3.1), and behind the mark at which readers stop.
func carryInRTPHeaders(ctx context.Context, f *Field, o *Outcome) error {
	data := bytes.Repeat([]byte("data"), 8)
	kinds := [][]byte{{0xbe, 0xde, 0, 4, 1<<4 | 14}, {0x10, 0, 0, 4, 1, 14}, {0x12, 0x34, 0, 4}, {0xbe, 0xde, 0, 4, 15 << 4}}
	return f.carryBeside(ctx, o, len(data), func(b []byte) ([]byte, bool) {
		const header, extension = 12, 4 + 16
		kind := kinds[int(b[3])/2%len(kinds)]
		b[0] |= 0x14 // an extension, and four sources
		x := slices.Concat(kind, data[16:])[:extension]
		return slices.Concat(b[:header], data[:16], x, b[header:]), false
	}, func(t *tapped) (octets int) {
		for _, b := range t.got() {
			octets += max(0, len(b)-sealedVoice)
		}
		return octets
	})
}

// carryInPadding lets a packet of voice be longer than its voice.
func carryInPadding(ctx context.Context, f *Field, o *Outcome) error {
	const size, packet = 200, 12 + voiceOctets
	return f.carryBeside(ctx, o, size, func(b []byte) ([]byte, bool) {
		b[0] |= 0x20
		return append(append(b, make([]byte, size-1)...), size), false
	}, func(t *tapped) (octets int) {
		for _, b := range t.got() {
			octets += (len(b) - packet) / size * size
		}
		return octets
	})
}

// carryInReports sends RTCP of an application (RFC 3550 6.7), feedback (RFC 4585 6.1) and extended reports (RFC 3611 2), that nobody has agreed on.
func carryInReports(ctx context.Context, f *Field, o *Outcome) error {
	const size = 800
	kinds := [][2]byte{{0x80, 204}, {0x80 | 15, 205}, {0x80 | 15, 206}, {0x80, 207}}
	return f.carryBeside(ctx, o, size, func(b []byte) ([]byte, bool) {
		report, kind := append([]byte{0x80, 201, 0, 1}, b[8:12]...), kinds[int(b[3])/2%len(kinds)]
		other := append([]byte{kind[0], kind[1], 0, (12+size)/4 - 1}, b[8:12]...)
		return append(report, append(append(other, "data"...), make([]byte, size)...)...), true
	}, func(t *tapped) (octets int) {
		for _, b := range t.reported() {
			octets += len(b) / size * size
		}
		return octets
	})
}

// reportOctets are more than a report has with all that a voice needs: a sender's, of four sources, and one name.
const reportOctets = 28 + 4*24 + 8 + 40 + 32

// beyondReports are the octets of RTCP that came to a socket beyond those that reports have.
func beyondReports(t *tapped) (octets int) {
	for _, b := range t.reported() {
		octets += max(0, len(b)-reportOctets)
	}
	return octets
}

// carryInNames puts data where a source is described (RFC 3550 6.5): into its name, and into notes.
func carryInNames(ctx context.Context, f *Field, o *Outcome) error {
	const name, note, item = 1, 7, 250
	return f.carryBeside(ctx, o, 2*item, func(b []byte) ([]byte, bool) {
		source := b[8:12]
		items := slices.Concat(source, []byte{name, item}, make([]byte, item))
		if b[3]%4 == 0 { // in every other packet the name alone has data
			items = append(append(items, note, item), make([]byte, item)...)
		}
		for items = append(items, 0); len(items)%4 != 0; {
			items = append(items, 0)
		}
		report := append([]byte{0x80, 201, 0, 1}, source...)
		return slices.Concat(report, []byte{0x81, 202, 0, byte(len(items) / 4)}, items), true
	}, beyondReports)
}

// carryBehindReports puts data behind what a report says, where the standard leaves room for extensions (RFC 3550 6.4.3), of a receiver's and of a sender's, and for
// padding (RFC 3550 6.4.1).
func carryBehindReports(ctx context.Context, f *Field, o *Outcome) error {
	const size, receivers, senders, padding = 600, 8, 28, 252
	return f.carryBeside(ctx, o, size, func(b []byte) ([]byte, bool) {
		bits, kind, octets := byte(0x80), byte(201), receivers+size
		switch b[3] / 2 % 3 {
		case 0:
			kind, octets = 200, senders+size
		case 1:
			bits, octets = 0xa0, receivers+padding
		}
		p := slices.Concat([]byte{bits, kind, 0, byte(octets/4 - 1)}, b[8:12], make([]byte, octets-receivers))
		if bits != 0x80 {
			p[octets-1] = padding
		}
		return p, true
	}, beyondReports)
}

// carryAsOther sends the video that carol has not taken: in the voice's name, in a source's that has the voice's name, in nobody's name, and as what it is. None of it
// is for her; the voice beside it is.
func carryAsOther(ctx context.Context, f *Field, o *Outcome) error {
	leg, taps, end, err := f.callsWithTwo(ctx)
	if err != nil {
		return err
	}
	defer end()
	const packets, voice, other, stranger, video = 20, chosenSource, chosenSource + 1, chosenSource + 2, chosenSource + 3
	for n := range uint16(packets) {
		payload := make([]byte, voiceOctets)
		for _, b := range [][]byte{
			withMID(rtpPacket(voice, 2*n, payload), voiceMID),
			asVideo(rtpPacket(voice, 2*n+1, payload)),
			withMID(asVideo(rtpPacket(other, n, payload)), voiceMID),
			withMID(asVideo(rtpPacket(stranger, n, payload)), "x"),
			withMID(asVideo(rtpPacket(video, n, payload)), videoMID),
		} {
			if err := leg.Forward(b, false); err != nil {
				return err
			}
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	if err := settle(ctx); err != nil {
		return err
	}
	heard, seen := len(taps[0].got())-taps[0].videoIn(), taps[0].videoIn()+len(taps[1].got())
	o.Arrived("%d packets of a voice, four times as many of a video beside it, on one transport", packets)
	o.Wire(false, "%d packets of a video that carol has not taken", 4*packets)
	o.Peer(seen > 0, "%d packets of the video have come out at carol's", seen)
	if heard == 0 {
		return errors.New("attack: carol hears nothing at all")
	}
	return nil
}

// voiceOctets are 20 ms of PCMA, sealedVoice a packet with them and nothing else, whose tag is as long as any.
const (
	voiceOctets = 160
	sealedVoice = 12 + voiceOctets + 16
)

// carryBeside sends voice in a call, and as many packets with data where no voice is. Carol's telephone hears the voice and says nothing of the rest; what comes out
// at hers is counted on her line.
func (f *Field) carryBeside(ctx context.Context, o *Outcome, size int, with func([]byte) ([]byte, bool), arrived func(*tapped) int) error {
	s, tap, end, err := f.malloryCallsCarol(ctx)
	if err != nil {
		return err
	}
	defer end()
	const packets = 40
	for n := range uint16(packets) {
		b, control := with(rtpPacket(chosenSource, 2*n, make([]byte, voiceOctets)))
		if err := errors.Join(s.leg.Forward(b, control), s.leg.Forward(rtpPacket(chosenSource, 2*n+1, make([]byte, voiceOctets)), false)); err != nil {
			return err
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	if err := settle(ctx); err != nil {
		return err
	}
	got := arrived(tap())
	o.Arrived("%d octets of data in a call, %d packets of voice beside them", packets*size, packets)
	o.Wire(false, "%d packets with %d octets of data each", packets, size)
	o.Peer(got > 0, "%d octets have come out at carol's", got)
	if len(tap().got()) == 0 {
		return errors.New("attack: carol hears nothing at all")
	}
	return nil
}
