package rtpport

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// relaying is a leg in clear that keeps what it would pass on.
func relaying(tb testing.TB, s *Shape) (l *Leg, passed *[]byte) {
	tb.Helper()
	l, _ = keyedLeg(tb, 0)
	passed = new([]byte)
	l.rx.relay = func(b []byte, _ bool) { *passed = append((*passed)[:0], b...) }
	if s != nil {
		l.Shape(s)
	}
	return l, passed
}

// agreeing is a shape with some identifiers of extensions.
func agreeing(ids ...uint8) *Shape {
	s := &Shape{CNAME: "call"}
	for _, id := range ids {
		s.Extensions[id/64] |= 1 << (id % 64)
	}
	return s
}

// rtpWith is a packet of payload type 8 with what a test wants in front of and behind the octets "voice".
func rtpWith(first byte, front, behind string) []byte {
	return append(append([]byte{first, 8, 0, 7, 0, 0, 0, 9, 1, 2, 3, 4}, front...), "voice"+behind...)
}

func TestShape_of_a_packet(t *testing.T) {
	const (
		one = "\xbe\xde\x00\x02\x10\xaa\x21\xbb\xcc\x00\x00\x00" // identifiers 1, of an octet, and 2, of two; padding
		two = "\x10\x00\x00\x02\x01\x01\xaa\xc8\x02\xbb\xcc\x00" // identifiers 1 and 200
	)
	plain := rtpWith(0x80, "", "")
	for _, c := range []struct {
		name  string
		shape *Shape
		sent  []byte
		want  []byte // nil: nothing passes
		drops []Drop
	}{
		{"a voice and nothing else", nil, plain, plain, nil},
		{"padding", nil, rtpWith(0xa0, "", "data\x00\x06"), plain, []Drop{DropPadding}},
		{"padding of nothing", nil, rtpWith(0xa0, "", "\x00"), nil, []Drop{DropMalformed}},
		{"more padding than packet", nil, rtpWith(0xa0, "", "\x7f"), nil, []Drop{DropMalformed}},
		{"padding alone, as who tries the bandwidth sends it", nil, append([]byte{0xa0}, append(slices.Clone(plain[1:12]), 0, 0, 0, 4)...), plain[:12], []Drop{DropPadding}},
		{"contributing sources", nil, rtpWith(0x82, "datadata", ""), plain, []Drop{DropContributors}},
		{"an extension that nobody agreed on", nil, rtpWith(0x90, one, ""), plain, []Drop{DropExtension}},
		{"contributing sources, an extension and padding", nil, rtpWith(0xb1, "data"+one, "\x01"), plain, []Drop{DropPadding, DropExtension, DropContributors}},
		{"extensions that were agreed on", agreeing(1, 2), rtpWith(0x90, one, ""), rtpWith(0x90, one, ""), nil},
		{"one of two", agreeing(2), rtpWith(0x90, one, ""), rtpWith(0x90, "\xbe\xde\x00\x02\x00\x00\x21\xbb\xcc\x00\x00\x00", ""), []Drop{DropExtension}},
		{"one of two, beside contributing sources", agreeing(2), rtpWith(0x91, "data"+one, ""),
			rtpWith(0x90, "\xbe\xde\x00\x02\x00\x00\x21\xbb\xcc\x00\x00\x00", ""), []Drop{DropExtension, DropContributors}},
		{"of two octets", agreeing(1, 200), rtpWith(0x90, two, ""), rtpWith(0x90, two, ""), nil},
		{"of two octets, one of two", agreeing(1), rtpWith(0x90, two, ""), rtpWith(0x90, "\x10\x00\x00\x02\x01\x01\xaa\x00\x00\x00\x00\x00", ""), []Drop{DropExtension}},
		{"bits of an application", agreeing(1, 200), rtpWith(0x90, "\x10\x05"+two[2:], ""), rtpWith(0x90, two, ""), []Drop{DropExtension}},
		{"a profile of somebody's own", agreeing(1), rtpWith(0x90, "da\x00\x01\x10\xaa\x00\x00", ""), plain, []Drop{DropExtension}},
		{"padding in the place of elements", agreeing(1), rtpWith(0x90, "\xbe\xde\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00", ""), plain, []Drop{DropExtension}},
		{"data behind identifier 15", agreeing(1), rtpWith(0x90, "\xbe\xde\x00\x02\x10\xaa\xf0data\x00", ""),
			rtpWith(0x90, "\xbe\xde\x00\x02\x10\xaa\x00\x00\x00\x00\x00\x00", ""), []Drop{DropExtension}},
		{"data behind identifier 0 with a length", agreeing(1), rtpWith(0x90, "\xbe\xde\x00\x02\x10\xaa\x01data\x00", ""),
			rtpWith(0x90, "\xbe\xde\x00\x02\x10\xaa\x00\x00\x00\x00\x00\x00", ""), []Drop{DropExtension}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, passed := relaying(t, c.shape)
			l.packet(bytes.Clone(c.sent), l.agreed.Remote)
			if !bytes.Equal(*passed, c.want) {
				t.Errorf("passed\n%x, want\n%x", *passed, c.want)
			}
			for d := range drops {
				if got, want := l.counters.Dropped(d) > 0, slices.Contains(c.drops, d); got != want {
					t.Errorf("%v: counted %v, want %v", d, got, want)
				}
			}
		})
	}
}

// control is a compound packet of what the parts say.
func control(t testing.TB, parts ...rtcp.Packet) []byte {
	t.Helper()
	b, err := rtcp.Marshal(parts)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestShape_of_control(t *testing.T) {
	named := func(name string) *rtcp.SourceDescription { return rtcp.NewCNAMESourceDescription(7, name) }
	report := &rtcp.ReceiverReport{SSRC: 7, Reports: []rtcp.ReceptionReport{{SSRC: 9, Jitter: 3}}}
	speaks := &rtcp.SenderReport{SSRC: 7, NTPTime: 1 << 40, Reports: report.Reports}
	person := named("alice@her-telephone")
	person.Chunks[0].Items = append(person.Chunks[0].Items, rtcp.SourceDescriptionItem{Type: rtcp.SDESNote, Text: "data"})
	pli := &rtcp.PictureLossIndication{SenderSSRC: 7, MediaSSRC: 9}
	app := &rtcp.ApplicationDefined{SSRC: 7, Name: "data", Data: []byte("data")}
	xr := &rtcp.ExtendedReport{SenderSSRC: 7, Reports: []rtcp.ReportBlock{&rtcp.ReceiverReferenceTimeReportBlock{NTPTimestamp: 1}}}
	bye, quiet := &rtcp.Goodbye{Sources: []uint32{7}, Reason: "data"}, &rtcp.Goodbye{Sources: []uint32{7}}
	withData := func(p rtcp.Packet) []byte { // an extension of a report (RFC 3550 6.4.3)
		b := append(control(t, p), "data"...)
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)/4-1))
		return b
	}
	padding := control(t, report)
	padding = append(padding, "dat\x04"...)
	padding[0] |= padded
	binary.BigEndian.PutUint16(padding[2:], uint16(len(padding)/4-1))
	for _, c := range []struct {
		name   string
		shape  Shape
		sent   []byte
		want   []byte
		others bool
	}{
		{"reports, and who", Shape{}, control(t, speaks, named("alice@her-telephone")), control(t, speaks, named("call")), false},
		{"a note", Shape{}, control(t, report, person), control(t, report, named("call")), true},
		{"an application's", Shape{}, control(t, report, app), control(t, report), true},
		{"nothing else", Shape{}, control(t, app), nil, true},
		{"a reason", Shape{}, control(t, report, bye), control(t, report, quiet), true},
		{"an extension of a report", Shape{}, withData(report), control(t, report), true},
		{"of a sender's", Shape{}, withData(speaks), control(t, speaks), true},
		{"padding", Shape{}, padding, control(t, report), true},
		{"feedback that nobody agreed on", Shape{}, control(t, report, pli), control(t, report), true},
		{"another one", Shape{Payload: 1 << 4, Transport: 1 << 1}, control(t, report, pli), control(t, report), true},
		{"feedback", Shape{Payload: 1 << 1}, control(t, report, pli), control(t, report, pli), false},
		{"extended reports that nobody agreed on", Shape{}, control(t, report, xr), control(t, report), true},
		{"extended reports", Shape{Extended: true}, control(t, report, xr), control(t, report, xr), false},
		{"of a kind that nobody knows", Shape{}, append(control(t, report), 0x80, 199, 0, 1, 'd', 'a', 't', 'a'), control(t, report), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.shape.CNAME = "call"
			l, passed := relaying(t, &c.shape)
			l.packet(bytes.Clone(c.sent), l.agreed.Remote)
			if !bytes.Equal(*passed, c.want) {
				t.Errorf("passed\n%x, want\n%x", *passed, c.want)
			}
			if got := l.counters.Dropped(DropControl) > 0; got != c.others || l.counters.Dropped(DropMalformed) > 0 {
				t.Errorf("counted %v, want %v; malformed %d", got, c.others, l.counters.Dropped(DropMalformed))
			}
		})
	}
}

func TestShape_control_that_cannot_be_read_does_not_pass(t *testing.T) {
	for name, b := range map[string]string{
		"a report that is too short":     "\x81\xc9\x00\x01\x00\x00\x00\x07",
		"a chunk without an end":         "\x81\xca\x00\x02\x00\x00\x00\x07\x01\x02ab",
		"an item that is longer":         "\x81\xca\x00\x02\x00\x00\x00\x07\x01\x09ab",
		"a chunk that is not there":      "\x82\xca\x00\x02\x00\x00\x00\x07\x01\x01a\x00",
		"padding of three":               "\xa0\xc9\x00\x02\x00\x00\x00\x07\x00\x00\x00\x03",
		"more padding than there is":     "\xa0\xc9\x00\x02\x00\x00\x00\x07\x00\x00\x00\x0c",
		"sources that are not there":     "\x83\xcb\x00\x01\x00\x00\x00\x07",
		"more sources than there can be": "\x91\xca\x00\x22" + strings.Repeat("\x00\x00\x00\x07\x00\x00\x00\x00", 17),
	} {
		l, passed := relaying(t, nil)
		l.packet([]byte(b), l.agreed.Remote)
		if *passed != nil || l.counters.Dropped(DropMalformed) != 1 {
			t.Errorf("%s: passed %x, malformed %d", name, *passed, l.counters.Dropped(DropMalformed))
		}
	}
}

// Without a name of the owner's the leg has one, of 96 bits (RFC 7022 4.2).
func TestShape_a_name_is_never_the_far_ends(t *testing.T) {
	l, passed := relaying(t, nil)
	l.packet(control(t, &rtcp.ReceiverReport{SSRC: 7}, rtcp.NewCNAMESourceDescription(7, "alice@her-telephone")), l.agreed.Remote)
	if want := control(t, &rtcp.ReceiverReport{SSRC: 7}, rtcp.NewCNAMESourceDescription(7, l.tx.cname)); !bytes.Equal(*passed, want) || len(l.tx.cname) != 16 {
		t.Errorf("passed %q", *passed)
	}
}

// In a laboratory each of them can be seen to pass.
func TestShape_off(t *testing.T) {
	x := "\xbe\xde\x00\x01\x10\xaa\x00\x00"
	for d, b := range map[Drop][]byte{
		DropPadding: rtpWith(0xa0, "", "data\x00\x06"), DropContributors: rtpWith(0x82, "datadata", ""), DropExtension: rtpWith(0x90, x, ""),
		DropControl: control(t, &rtcp.ReceiverReport{SSRC: 7}, &rtcp.ApplicationDefined{SSRC: 7, Name: "data", Data: []byte("data")}),
	} {
		l, passed := relaying(t, nil)
		l.cfg.Refuse = func(asked Drop) bool { return asked != d }
		l.packet(bytes.Clone(b), l.agreed.Remote)
		if !bytes.Equal(*passed, b) || l.counters.Dropped(d) != 1 {
			t.Errorf("%v: passed %x, counted %d", d, *passed, l.counters.Dropped(d))
		}
	}
}

// FuzzShape: nothing that nobody agreed on comes through, whatever is sent, and what passes can be read.
func FuzzShape(f *testing.F) {
	f.Add(rtpWith(0xb1, "data\xbe\xde\x00\x01\x10\xaa\x00\x00", "\x01"), uint8(1))
	f.Add(rtpWith(0x90, "\x10\x05\x00\x02\x01\x01\xaa\xc8\x02\xbb\xcc\x00", ""), uint8(200))
	f.Add(control(f, &rtcp.SenderReport{SSRC: 7}, rtcp.NewCNAMESourceDescription(7, "alice"), &rtcp.Goodbye{Sources: []uint32{7}, Reason: "data"}), uint8(0))
	f.Add([]byte("\x81\xca\x00\x02\x00\x00\x00\x07\x01\x02ab"), uint8(0))
	l, passed := relaying(f, nil)
	f.Fuzz(func(t *testing.T, b []byte, id uint8) {
		*passed = nil
		l.rx.known = 0
		l.Shape(agreeing(id))
		kind := classify(b)
		l.packet(bytes.Clone(b), l.agreed.Remote)
		switch {
		case *passed == nil:
		case kind == kindRTP:
			checkVoice(t, b, *passed, id)
		default:
			checkControl(t, *passed)
		}
	})
}

func checkVoice(t *testing.T, sent, passed []byte, id uint8) {
	t.Helper()
	var p rtp.Packet
	if err := p.Unmarshal(passed); err != nil {
		t.Fatalf("%x cannot be read: %v", passed, err)
	}
	if p.Padding || len(p.CSRC) > 0 || !bytes.Equal(sent[1:12], passed[1:12]) {
		t.Fatalf("%+v of %x", p.Header, sent)
	}
	for _, x := range p.GetExtensionIDs() {
		if x != id {
			t.Fatalf("extension %d passed", x)
		}
	}
}

func checkControl(t *testing.T, passed []byte) {
	t.Helper()
	if !isCompound(passed) {
		t.Fatalf("%x is no compound packet", passed)
	}
	parts, err := rtcp.Unmarshal(passed)
	if err != nil {
		t.Fatalf("%x cannot be read: %v", passed, err)
	}
	for _, p := range parts {
		switch p := p.(type) {
		case *rtcp.SenderReport:
			if len(p.ProfileExtensions) > 0 {
				t.Fatal("an extension passed")
			}
		case *rtcp.ReceiverReport:
			if len(p.ProfileExtensions) > 0 {
				t.Fatal("an extension passed")
			}
		case *rtcp.Goodbye:
			if p.Reason != "" {
				t.Fatal("a reason passed")
			}
		case *rtcp.SourceDescription:
			for _, c := range p.Chunks {
				if len(c.Items) != 1 || c.Items[0].Type != rtcp.SDESCNAME || c.Items[0].Text != "call" {
					t.Fatalf("%+v passed", c)
				}
			}
		default:
			t.Fatalf("%T passed", p)
		}
	}
}

func TestShape_costs_no_allocation(t *testing.T) {
	l, _ := relaying(t, agreeing(2))
	l.rx.relay = func([]byte, bool) {}
	sent := rtpWith(0xb1, "data\xbe\xde\x00\x02\x10\xaa\x21\xbb\xcc\x00\x00\x00", "\x01")
	report := control(t, &rtcp.SenderReport{SSRC: 7}, rtcp.NewCNAMESourceDescription(7, "a"), &rtcp.ApplicationDefined{SSRC: 7, Name: "data", Data: []byte("data")})
	b := make([]byte, maxPacket)
	for _, p := range [][]byte{sent, report} {
		step := func() { l.packet(b[:copy(b, p)], l.agreed.Remote) }
		step()
		if n := testing.AllocsPerRun(1000, step); n != 0 {
			t.Errorf("%v allocations for %x", n, p)
		}
	}
}

// BenchmarkShape is what a packet costs that has something nobody agreed on, and a report, beside a voice that has nothing.
func BenchmarkShape(b *testing.B) {
	l, _ := relaying(b, agreeing(2))
	l.rx.relay = func([]byte, bool) {}
	buffer := make([]byte, maxPacket)
	for name, p := range map[string][]byte{
		"voice": rtpWith(0x80, "", ""), "all": rtpWith(0xb1, "data\xbe\xde\x00\x02\x10\xaa\x21\xbb\xcc\x00\x00\x00", "\x01"),
		"report": control(b, &rtcp.SenderReport{SSRC: 7, Reports: make([]rtcp.ReceptionReport, 1)}, rtcp.NewCNAMESourceDescription(7, "alice")),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.packet(buffer[:copy(buffer, p)], l.agreed.Remote)
			}
		})
	}
}
