package media

import (
	"crypto/rand"
	"fmt"
	"net/netip"

	"github.com/pion/srtp/v3"

	"imsafe/proto/sdp"
)

// Key is the SRTP key of one direction: master key and master salt, as a=crypto has them (RFC 4568 6.1). The zero value is RTP in clear.
type Key struct {
	Suite  string `json:"suite,omitempty"` // the registered name
	Master []byte `json:"master,omitempty"`
}

// newKey draws one; the suite may be none.
func newKey(suite sdp.Suite) (Key, error) {
	if suite == sdp.NoSuite {
		return Key{}, nil
	}
	k, s := suite.Lengths()
	key := Key{Suite: suite.String(), Master: make([]byte, k+s)}
	_, err := rand.Read(key.Master)
	return key, err
}

// context is what seals or opens with the key; nil in clear.
func (k Key) context(o ...srtp.ContextOption) (*srtp.Context, error) {
	profile := srtp.ProtectionProfile(0)
	for suite, p := range map[sdp.Suite]srtp.ProtectionProfile{sdp.AEADAES256GCM: srtp.ProtectionProfileAeadAes256Gcm,
		sdp.AEADAES128GCM: srtp.ProtectionProfileAeadAes128Gcm, sdp.AESCM128SHA1: srtp.ProtectionProfileAes128CmHmacSha1_80} {
		if suite.String() == k.Suite {
			profile = p
		}
	}
	switch n, _ := profile.KeyLen(); {
	case k.Suite == "":
		return nil, nil
	case profile == 0 || len(k.Master) <= n:
		return nil, fmt.Errorf("no key of %q", k.Suite)
	default:
		return srtp.CreateContext(k.Master[:n], k.Master[n:], profile, o...)
	}
}

// End is one end of a call, as its description says.
type End struct {
	At  netip.AddrPort `json:"at"`
	Key Key            `json:"key"` // with which it seals
}

// Seat is what the relay says to an end: where it listens for it, and with which key it seals towards it.
type Seat struct {
	At  netip.AddrPort `json:"at"`
	Key Key            `json:"key"`
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
