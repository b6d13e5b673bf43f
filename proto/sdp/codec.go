package sdp

import "strings"

// Codec is an audio encoding that an end can speak. PayloadType is what we ask for in our own
// descriptions; a peer may choose another number for the same encoding (RFC 3264 5.1).
type Codec struct {
	Name        string // registered subtype, compared without case
	ClockRate   uint32 // Hz
	PayloadType uint8
	Parameters  string // fmtp we write; "" for none
}

// PCMA returns G.711 A-law, static payload type 8 (RFC 3551 6).
func PCMA() Codec { return Codec{Name: "PCMA", ClockRate: 8000, PayloadType: 8} }

// PCMU returns G.711 mu-law, static payload type 0 (RFC 3551 6).
func PCMU() Codec { return Codec{Name: "PCMU", ClockRate: 8000, PayloadType: 0} }

// TelephoneEvent returns DTMF events 0 to 15 at 8 kHz (RFC 4733 2.4.1), dynamic payload type 101.
func TelephoneEvent() Codec {
	return Codec{Name: "telephone-event", ClockRate: 8000, PayloadType: 101, Parameters: "0-15"}
}

// matches compares as RFC 8866 6.6 does: encoding names without case, one channel.
func (c Codec) matches(f Format) bool {
	return strings.EqualFold(c.Name, f.Encoding) && c.ClockRate == f.ClockRate && f.Channels <= 1
}

func (c Codec) format() Format {
	return Format{PayloadType: c.PayloadType, Encoding: c.Name, ClockRate: c.ClockRate, Channels: 1, Parameters: c.Parameters}
}

// staticFormat returns what RFC 3551 6 assigns to a payload type below 96, if it is one of ours. All
// others stay unnamed: a static type that we cannot play needs no name.
func staticFormat(pt uint8) (Format, bool) {
	switch pt {
	case 0:
		return PCMU().format(), true
	case 8:
		return PCMA().format(), true
	}
	return Format{}, false
}
