package g711

import (
	"bytes"
	"math"
	"testing"
)

// The digital milliwatt of ITU-T G.711 tables 5 and 6: eight octets that are one period of 1000 Hz, symmetrical in time and sign.
func TestDigitalMilliwatt(t *testing.T) {
	for _, c := range []struct {
		codec Codec
		eight []byte
	}{
		{ALaw(), []byte{0x34, 0x21, 0x21, 0x34, 0xb4, 0xa1, 0xa1, 0xb4}},
		{MuLaw(), []byte{0x1e, 0x0b, 0x0b, 0x1e, 0x9e, 0x8b, 0x8b, 0x9e}},
	} {
		pcm := c.codec.Decode(nil, c.eight)
		if pcm[0] != pcm[3] || pcm[1] != pcm[2] || pcm[0] != -pcm[4] || pcm[1] != -pcm[5] || !bytes.Equal(c.codec.Encode(nil, pcm), c.eight) {
			t.Errorf("%s: %v", c.codec.Name(), pcm)
		}
	}
}

// Ends of the ranges of G.711 tables 1 and 2, on the 16-bit scale.
func TestG711_known_values(t *testing.T) {
	for _, c := range []struct {
		codec Codec
		octet byte
		pcm   int16
	}{
		{ALaw(), 0xd5, 8}, {ALaw(), 0x55, -8}, {ALaw(), 0xaa, 32256}, {ALaw(), 0x2a, -32256},
		{MuLaw(), 0xff, 0}, {MuLaw(), 0x80, 32124}, {MuLaw(), 0x00, -32124}, {MuLaw(), 0x7e, -8},
	} {
		if got := c.codec.Decode(nil, []byte{c.octet})[0]; got != c.pcm {
			t.Errorf("%s %#x: %d, want %d", c.codec.Name(), c.octet, got, c.pcm)
		}
	}
}

func TestG711_every_octet_survives_and_every_sample_is_near(t *testing.T) {
	for _, c := range []Codec{ALaw(), MuLaw()} {
		for o := range 256 {
			back := c.Encode(nil, c.Decode(nil, []byte{byte(o)}))[0]
			if back != byte(o) && !(c.Name() == "PCMU" && o == 0x7f) { // two zeros in mu-law
				t.Errorf("%s: %#x became %#x", c.Name(), o, back)
			}
		}
		for s := -32768; s < 32768; s++ {
			got := int(c.Decode(nil, c.Encode(nil, []int16{int16(s)}))[0])
			if d := got - s; d*d > 16*16 && math.Abs(float64(d)) > math.Abs(float64(s))/27 { // half a step at the foot of a segment
				t.Fatalf("%s: %d became %d", c.Name(), s, got)
			}
		}
	}
}

func TestByName(t *testing.T) {
	for _, name := range []string{"PCMA", "PCMU"} {
		if c, ok := ByName(name); !ok || c.Name() != name || c.Decode(nil, []byte{c.Silence()})[0] > 8 {
			t.Errorf("%s: %v, %v", name, c.Name(), ok)
		}
	}
	if _, ok := ByName("G722"); ok {
		t.Error("G722 is there")
	}
}
