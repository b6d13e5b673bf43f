package load

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/pion/srtp/v3"

	"imsafe/proto/sdp"
)

// Key is the SRTP key of one direction: master key and master salt, as a=crypto has them (RFC 4568 6.1). The zero value is RTP in clear.
type Key struct {
	Suite  string `json:"suite,omitempty"` // the registered name
	Master []byte `json:"master,omitempty"`
}

// NewKey draws one; the suite may be none.
func NewKey(suite sdp.Suite) (Key, error) {
	if suite == sdp.NoSuite {
		return Key{}, nil
	}
	k, s := suite.Lengths()
	key := Key{Suite: suite.String(), Master: make([]byte, k+s)}
	_, err := rand.Read(key.Master)
	return key, err
}

// Context is what seals or opens with the key; nil in clear.
func (k Key) Context(o ...srtp.ContextOption) (*srtp.Context, error) {
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

// Seat is where somebody takes the media of an end, and with which key he seals towards it.
type Seat struct {
	At  netip.AddrPort `json:"at"`
	Key Key            `json:"key"`
}

// ParseSeat finds address, port, and the key of a suite with its tag, in a description of one audio medium of IPv4.
func ParseSeat(text, suite string) (s Seat, tag int, err error) {
	var address netip.Addr
	port := uint64(0)
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		f := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "c=IN IP4 ") && len(f) > 2:
			address, err = netip.ParseAddr(f[2])
		case strings.HasPrefix(line, "m=audio ") && len(f) > 1:
			port, err = strconv.ParseUint(f[1], 10, 16)
		case strings.HasPrefix(line, "a=crypto:") && len(f) > 2 && f[1] == suite:
			s.Key.Suite = suite
			if tag, err = strconv.Atoi(f[0][len("a=crypto:"):]); err == nil {
				s.Key.Master, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.TrimPrefix(f[2], "inline:"), "="))
			}
		}
		if err != nil {
			return Seat{}, 0, err
		}
	}
	if s.At = netip.AddrPortFrom(address, uint16(port)); !address.IsValid() || port == 0 || s.Key.Suite != suite {
		return Seat{}, 0, fmt.Errorf("no address, port or key of %q in it:\n%s", suite, text)
	}
	return s, tag, nil
}
