package pcscf

import (
	"bytes"

	"imsafe/proto/sip"
)

// privacy is what a Privacy header asks for (RFC 3323 4.2, RFC 3325 9.3, RFC 7044 10.1).
type privacy uint8

// Its values. "none" asks for nothing, and so does a word that nobody knows.
const (
	privacyID       privacy = 1 << iota // the asserted identity
	privacyUser                         // whatever of the message tells of the user
	privacyHeader                       // whatever of it tells where he is reached
	privacySession                      // addresses of media
	privacyHistory                      // how the request came here
	privacyCritical                     // rather no call than one without this
)

// privacyOf reads Privacy. The words stand between semicolons; some clients write commas (RFC 3323 4.2).
func privacyOf(m *sip.Message) (asked privacy) {
	v := m.Get(sip.HdrPrivacy)
	for len(v) > 0 {
		word := v
		if end := bytes.IndexAny(v, ";,"); end >= 0 {
			word, v = v[:end], v[end+1:]
		} else {
			v = nil
		}
		switch word = bytes.TrimSpace(word); {
		case bytes.EqualFold(word, []byte("id")):
			asked |= privacyID
		case bytes.EqualFold(word, []byte("user")):
			asked |= privacyUser
		case bytes.EqualFold(word, []byte("header")):
			asked |= privacyHeader
		case bytes.EqualFold(word, []byte("session")):
			asked |= privacySession
		case bytes.EqualFold(word, []byte("history")):
			asked |= privacyHistory
		case bytes.EqualFold(word, []byte("critical")):
			asked |= privacyCritical
		}
	}
	return asked
}

// wantsAnonymity reports whether the sender of a message does not want the other party to know who he is (TS 24.607 4.5.2.4).
func wantsAnonymity(m *sip.Message) bool { return privacyOf(m)&(privacyID|privacyUser) != 0 }
