package rtpport

import (
	"bytes"
	"slices"
	"strconv"
	"testing"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// Payload types and sources of the tests: the voice has 111 and 0, video 96 and 97; 98 both.
const (
	voiceLine, videoLine = 3, 5
	midExtension         = 4
)

// apartLeg is a leg in clear with a voice and a video, and what each was handed.
type apartLeg struct {
	*Leg
	got  map[int][][]byte // RTP, by line
	ctrl map[int][][]byte
}

func newBundle(tb testing.TB) *apartLeg {
	tb.Helper()
	b := &apartLeg{got: map[int][][]byte{}, ctrl: map[int][][]byte{}}
	e := newEnd(tb, newNetwork().listen(alice), func(c *Config) {
		c.Receive, c.Relay = nil, func([]byte, bool) { tb.Error("a packet for nobody") }
	})
	tb.Cleanup(e.Close)
	b.Leg = e.Leg
	b.state.set(started | hearing | ready)
	b.Bundle(b.lines(98))
	return b
}

func (b *apartLeg) lines(common uint8) *Bundle {
	line := func(number int, mid string, types ...uint8) Line {
		n := Line{Number: uint8(number), MID: mid, Shape: &Shape{Payload: 1<<1 | 1<<4 | 1<<15, Transport: 1 << 1}}
		n.Shape.Extensions[0] = 1 << midExtension
		for _, t := range append(types, common) {
			n.Types[t/64] |= 1 << (t % 64)
		}
		n.Relay = func(p []byte, control bool) {
			to := b.got
			if control {
				to = b.ctrl
			}
			to[number] = append(to[number], bytes.Clone(p))
		}
		return n
	}
	return &Bundle{Lines: []Line{line(voiceLine, "0", 111, 0), line(videoLine, "video", 96, 97)}, Extension: midExtension}
}

// comes lets an authentic packet come: mid "" is one without.
func (b *apartLeg) comes(tb testing.TB, ssrc uint32, seq uint16, pt uint8, mid string) {
	tb.Helper()
	p := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: pt, SequenceNumber: seq, SSRC: ssrc}, Payload: []byte("x")}
	if mid != "" {
		if err := p.SetExtension(midExtension, []byte(mid)); err != nil {
			tb.Fatal(err)
		}
	}
	raw, err := p.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	b.rtp(raw, 0)
}

// TestBundle_association goes through the steps of RFC 9143 9.2.
func TestBundle_association(t *testing.T) {
	b := newBundle(t)
	for i, step := range []struct {
		ssrc uint32
		seq  uint16
		pt   uint8
		mid  string
		line int  // 0: dropped,
		why  Drop // for this
	}{
		{1, 1, 111, "", voiceLine, 0},                                                            // by a payload type that one line has
		{1, 2, 98, "", voiceLine, 0},                                                             // by the source, which stays
		{1, 3, 96, "", 0, DropBundle},                                                            // which another payload type does not move
		{2, 1, 98, "", 0, DropBundle},                                                            // a payload type of two lines says nothing
		{2, 2, 98, "video", videoLine, 0},                                                        // a MID does
		{2, 3, 98, "", videoLine, 0},                                                             // and the source has it from there on
		{2, 4, 97, "video", videoLine, 0},                                                        //
		{2, 5, 111, "video", 0, DropBundle},                                                      // the MID's line does not have it
		{3, 1, 96, "stranger", 0, DropBundle},                                                    // a MID that no line has, whatever the payload type
		{1, 9, 98, "video", videoLine, 0},                                                        // a MID moves a source,
		{1, 8, 98, "0", videoLine, 0},                                                            // but not one that is older than the one that did
		{4, 1, 50, "", 0, DropPayloadType},                                                       // of nobody
		{4, 1, 50, "0", 0, DropPayloadType},                                                      //
		{10, 1, 0, "", voiceLine, 0},                                                             // so many sources has a line
		{11, 1, 0, "", voiceLine, 0}, {12, 1, 0, "", voiceLine, 0}, {13, 1, 0, "", voiceLine, 0}, //
		{14, 1, 0, "", 0, DropSSRC},   // and no more
		{15, 1, 96, "", videoLine, 0}, // which is nothing to the other
	} {
		voice, video, dropped := len(b.got[voiceLine]), len(b.got[videoLine]), b.counters.Dropped(step.why)
		b.comes(t, step.ssrc, step.seq, step.pt, step.mid)
		want := map[int]int{voiceLine: voice, videoLine: video}
		want[step.line]++
		if len(b.got[voiceLine]) != want[voiceLine] || len(b.got[videoLine]) != want[videoLine] {
			t.Errorf("step %d: %d and %d packets", i, len(b.got[voiceLine])-voice, len(b.got[videoLine])-video)
		}
		if step.line == 0 && b.counters.Dropped(step.why) != dropped+1 {
			t.Errorf("step %d: not dropped for %v", i, step.why)
		}
	}
}

// TestBundle_a_line_leaves: what was its own belongs to nobody, and its sources are forgotten.
func TestBundle_a_line_leaves(t *testing.T) {
	b := newBundle(t)
	b.comes(t, 2, 1, 98, "video")
	only := b.lines(98)
	only.Lines = only.Lines[:1]
	b.Bundle(only)
	b.comes(t, 2, 20, 98, "")
	b.comes(t, 2, 21, 96, "")
	if len(b.got[videoLine]) != 1 || b.counters.Dropped(DropBundle) != 1 || b.counters.Dropped(DropPayloadType) != 1 {
		t.Error("a line that has left the bundle is heard")
	}
	b.comes(t, 2, 22, 98, "") // which one line alone has by now
	if len(b.got[voiceLine]) != 1 {
		t.Error("a source of a line that has left cannot come back")
	}
}

// TestBundle_shape: each line passes what its own description has.
func TestBundle_shape(t *testing.T) {
	b := newBundle(t)
	u := b.lines(98)
	u.Lines[1].Shape.Extensions[0] = 0
	b.Bundle(u)
	b.comes(t, 1, 1, 111, "0")
	b.comes(t, 2, 1, 96, "video")
	if voice, video := b.got[voiceLine][0], b.got[videoLine][0]; voice[0]&extended == 0 || video[0]&extended != 0 {
		t.Error("the extensions of one line are those of another")
	}
}

// TestBundle_rate: a line that sends too much is bounded by itself, and the others go on.
func TestBundle_rate(t *testing.T) {
	b := newBundle(t)
	u := b.lines(98)
	u.Lines[0].Rate, u.Lines[1].Rate = Rate{Packets: 5}, Rate{Packets: 100}
	b.Bundle(u)
	for i := range uint16(50) {
		b.comes(t, 1, i, 111, "")
		b.comes(t, 2, i, 96, "")
	}
	if voice, video := len(b.got[voiceLine]), len(b.got[videoLine]); voice != 5 || video != 50 || b.counters.Dropped(DropRate) != 45 {
		t.Errorf("%d of the voice, %d of the video, %d dropped", voice, video, b.counters.Dropped(DropRate))
	}
	if all := b.rx.bundle.Load().rate; all.Packets != 105 {
		t.Errorf("all of them together may send %d", all.Packets)
	}
}

// sends lets the leg send in the name of a source, for a line.
func (b *apartLeg) sends(line uint8, ssrc uint32) {
	b.tx.fresh.take(ssrc, 1, line)
}

// TestBundle_reports: each line gets of a compound packet what is about its sources (RFC 9143 9.2).
func TestBundle_reports(t *testing.T) {
	b := newBundle(t)
	b.comes(t, 1, 1, 111, "")
	b.comes(t, 2, 1, 96, "")
	b.sends(voiceLine, 101)
	b.sends(videoLine, 102)
	about := func(ssrc uint32) rtcp.ReceptionReport {
		return rtcp.ReceptionReport{SSRC: ssrc, LastSequenceNumber: ssrc}
	}
	for name, test := range map[string]struct {
		comes        []rtcp.Packet
		voice, video []string
	}{
		"a sender report of the voice, with blocks about both": {
			[]rtcp.Packet{&rtcp.SenderReport{SSRC: 1, Reports: []rtcp.ReceptionReport{about(101), about(102)}}, rtcp.NewCNAMESourceDescription(1, "x")},
			[]string{"SR 1 [101]", "SDES 1"}, []string{"RR 1 [102]", "SDES 1"}},
		"a receiver report of somebody who does not send": {
			[]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 9, Reports: []rtcp.ReceptionReport{about(102), about(7)}}},
			nil, []string{"RR 9 [102]"}},
		"feedback about the video": {
			[]rtcp.Packet{&rtcp.PictureLossIndication{SenderSSRC: 9, MediaSSRC: 102}, &rtcp.FullIntraRequest{SenderSSRC: 9, FIR: []rtcp.FIREntry{{SSRC: 102}}},
				&rtcp.ReceiverEstimatedMaximumBitrate{SenderSSRC: 9, Bitrate: 1000, SSRCs: []uint32{102}}, &rtcp.TransportLayerNack{SenderSSRC: 9, MediaSSRC: 102, Nacks: []rtcp.NackPair{{PacketID: 4}}}},
			nil, []string{"PLI 102", "FIR 102", "REMB 102", "NACK 102"}},
		"feedback behind a report about the voice begins with a report": {
			[]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 9, Reports: []rtcp.ReceptionReport{about(101)}}, &rtcp.PictureLossIndication{SenderSSRC: 9, MediaSSRC: 102}},
			[]string{"RR 9 [101]"}, []string{"RR 9 []", "PLI 102"}},
		"feedback about nobody": {
			[]rtcp.Packet{&rtcp.PictureLossIndication{SenderSSRC: 9, MediaSSRC: 55}, &rtcp.FullIntraRequest{SenderSSRC: 9, FIR: []rtcp.FIREntry{{SSRC: 56}}}}, nil, nil},
		"a name by a MID": {
			[]rtcp.Packet{&rtcp.SenderReport{SSRC: 77}, &rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{Source: 77, Items: []rtcp.SourceDescriptionItem{
				{Type: rtcp.SDESCNAME, Text: "x"}, {Type: itemMID, Text: "video"}}}}}},
			nil, []string{"SR 77 []", "SDES 77"}},
		"a farewell": {[]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 2}, &rtcp.Goodbye{Sources: []uint32{2}}}, nil, []string{"RR 2 []", "BYE 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			b.ctrl = map[int][][]byte{}
			raw, err := rtcp.Marshal(test.comes)
			if err != nil {
				t.Fatal(err)
			}
			dropped := b.counters.Dropped(DropBundle)
			b.relayControl(raw, 0)
			for line, want := range map[int][]string{voiceLine: test.voice, videoLine: test.video} {
				if got := told(t, b.ctrl[line]); !slices.Equal(got, want) {
					t.Errorf("line %d is told %q, not %q", line, got, want)
				}
			}
			if nobody := len(test.voice)+len(test.video) == 0; (b.counters.Dropped(DropBundle) != dropped) != nobody {
				t.Error("what is about nobody is not counted, or something else is")
			}
		})
	}
	if b.rx.bundle.Load().members.of(2) != nil {
		t.Error("a source that has left is still known")
	}
}

// told says what a line was told, and that it is well-formed.
func told(t *testing.T, packets [][]byte) (all []string) {
	t.Helper()
	for _, raw := range packets {
		if !isCompound(raw) {
			t.Fatalf("malformed: %x", raw)
		}
		list, err := rtcp.Unmarshal(raw)
		if err != nil {
			t.Fatalf("malformed: %v: %x", err, raw)
		}
		for _, p := range list {
			all = append(all, say(p))
		}
	}
	return all
}

func say(p rtcp.Packet) string {
	number := func(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
	blocks := func(list []rtcp.ReceptionReport) string {
		s := "["
		for _, b := range list {
			s += number(b.SSRC)
		}
		return s + "]"
	}
	switch p := p.(type) {
	case *rtcp.SenderReport:
		return "SR " + number(p.SSRC) + " " + blocks(p.Reports)
	case *rtcp.ReceiverReport:
		return "RR " + number(p.SSRC) + " " + blocks(p.Reports)
	case *rtcp.SourceDescription:
		return "SDES " + number(p.Chunks[0].Source)
	case *rtcp.Goodbye:
		return "BYE " + number(p.Sources[0])
	case *rtcp.PictureLossIndication:
		return "PLI " + number(p.MediaSSRC)
	case *rtcp.FullIntraRequest:
		return "FIR " + number(p.FIR[0].SSRC)
	case *rtcp.ReceiverEstimatedMaximumBitrate:
		return "REMB " + number(p.SSRCs[0])
	case *rtcp.TransportLayerNack:
		return "NACK " + number(p.MediaSSRC)
	}
	return "?"
}

// TestForwardOf_one_source_for_two_lines: the peer could not tell them apart.
func TestForwardOf_one_source_for_two_lines(t *testing.T) {
	var f freshness
	if !f.take(7, 1, 0) || f.take(7, 2, 1) || !f.take(7, 3, 0) || !f.take(8, 1, 1) {
		t.Error("a source is of two lines, or of none")
	}
}

// BenchmarkBundle is what a packet costs to be told apart, beside BenchmarkSendAndReceive.
func BenchmarkBundle(b *testing.B) {
	l := newBundle(b)
	u := l.lines(98)
	for i := range u.Lines {
		u.Lines[i].Relay = func([]byte, bool) {}
	}
	l.Bundle(u)
	raw := packet(5, 1, make([]byte, 160))
	raw[1] = 111
	b.ReportAllocs()
	for b.Loop() {
		l.rtp(raw, 0)
	}
}

// FuzzBundle: whatever an authentic peer writes, what each line gets is well-formed, and nobody crashes.
func FuzzBundle(f *testing.F) {
	f.Add([]byte("\x90\x6f\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\xbe\xde\x00\x01\x40\x30\x00\x00x"), false)
	f.Add([]byte("\x81\xc9\x00\x07\x00\x00\x00\x09\x00\x00\x00\x65\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), true)
	f.Add([]byte("\x80\xc9\x00\x01\x00\x00\x00\x09\x84\xce\x00\x04\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x66\x01\x00\x00\x00"), true)
	f.Add([]byte("\x80\xc8\x00\x06\x00\x00\x00\x4d\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x81\xca\x00\x04\x00\x00\x00\x4d\x01\x01x\x0f\x05video\x00\x00\x00"), true)
	f.Fuzz(func(t *testing.T, b []byte, control bool) {
		l := newBundle(t)
		l.comes(t, 1, 1, 111, "")
		l.sends(videoLine, 102)
		l.got, l.ctrl = map[int][][]byte{}, map[int][][]byte{}
		if len(b) > maxPacket {
			return
		}
		if control {
			l.rtcp(b, 0)
		} else if len(b) > 1 && b[0]>>6 == 2 {
			l.rtp(b, 0)
		}
		for _, parts := range l.ctrl {
			for _, p := range parts {
				if !isCompound(p) {
					t.Errorf("malformed: %x", p)
				}
			}
		}
		for _, packets := range l.got {
			for _, p := range packets {
				if new(rtp.Packet).Unmarshal(p) != nil {
					t.Errorf("malformed: %x", p)
				}
			}
		}
	})
}
