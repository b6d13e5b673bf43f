package media

import (
	"net/netip"

	"imsafe/bench/load"
	"imsafe/proto/sdp"
)

// Key is the SRTP key of one direction.
type Key = load.Key

// Seat is what the relay says to an end: where it listens for it, and with which key it seals towards it.
type Seat = load.Seat

// End is one end of a call, as its description says.
type End struct {
	At  netip.AddrPort `json:"at"`
	Key Key            `json:"key"` // with which it seals
}

// Relay is what stands between the ends of calls.
type Relay interface {
	// Name says what it is.
	Name() string
	// PIDs are its processes.
	PIDs() []int
	// Join lets two ends talk: seats[i] is for ends[i].
	Join(ends [2]End) (seats [2]Seat, err error)
	// Close ends it.
	Close() error
}

// Kind is what the two ends of a call speak.
type Kind struct {
	Name   string
	Suites [2]sdp.Suite
}

// Kinds are those that are measured. Where both ends speak SRTP each has a suite of its own, or a relay may hand on one end's key to the other
// and pass packets on unopened, which rtpengine does.
func Kinds() []Kind {
	return []Kind{
		{"rtp", [2]sdp.Suite{}},
		{"rtp-srtp", [2]sdp.Suite{sdp.NoSuite, sdp.AEADAES256GCM}},
		{"srtp", [2]sdp.Suite{sdp.AEADAES128GCM, sdp.AEADAES256GCM}},
		{"srtp-cm", [2]sdp.Suite{sdp.AESCM128SHA1, sdp.AEADAES256GCM}},
	}
}

// String is what a person reads.
func (k Kind) String() string {
	name := func(s sdp.Suite) string {
		if s == sdp.NoSuite {
			return "RTP"
		}
		return s.String()
	}
	return name(k.Suites[0]) + " - " + name(k.Suites[1])
}
