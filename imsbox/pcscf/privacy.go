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

// privacyOf reads Privacy, all of it: who asks twice gets both. The words stand between semicolons; some clients write commas (RFC 3323 4.2).
func privacyOf(m *sip.Message) (asked privacy) {
	for v := range m.Values(sip.HdrPrivacy) {
		for word := range bytes.FieldsFuncSeq(v, func(r rune) bool { return r == ';' || r == ',' }) {
			asked |= privacyWord(bytes.TrimSpace(word))
		}
	}
	return asked
}

func privacyWord(word []byte) privacy {
	switch {
	case bytes.EqualFold(word, []byte("id")):
		return privacyID
	case bytes.EqualFold(word, []byte("user")):
		return privacyUser
	case bytes.EqualFold(word, []byte("header")):
		return privacyHeader
	case bytes.EqualFold(word, []byte("session")):
		return privacySession
	case bytes.EqualFold(word, []byte("history")):
		return privacyHistory
	case bytes.EqualFold(word, []byte("critical")):
		return privacyCritical
	}
	return 0
}

// wantsAnonymity reports whether the sender of a message does not want the other party to know who he is (TS 24.607 4.5.2.4).
func wantsAnonymity(m *sip.Message) bool { return privacyOf(m).anonymous() }

func (asked privacy) anonymous() bool { return asked&(privacyID|privacyUser) != 0 }

// beyondUs reports whether a request insists on what nobody here can give: media goes from client to client, so each learns the address of
// the other (RFC 3323 5: 500).
func (asked privacy) beyondUs() bool { return asked&privacySession != 0 && asked&privacyCritical != 0 }

// disclosure is what a dialog lets its parties know of each other beyond what each message says. It is part of the token in Record-Route,
// so requests inside the dialog, which say nothing of it, are treated alike.
type disclosure byte

const (
	anonymity       disclosure = 1 // the caller does not want to be known
	noContact       disclosure = 2 // nor where he is reached
	allKnown        disclosure = 4 // who answers emergency calls learns all there is
	endOfDisclosure disclosure = 8
)

// disclosureOf says it of an initial request that goes to callee.
func (p *PCSCF) disclosureOf(m *sip.Message, callee string) (d disclosure) {
	if callee != "" && callee == p.answersEmergencies {
		return allKnown
	}
	asked := privacyOf(m)
	if asked.anonymous() {
		d |= anonymity
	}
	if asked&privacyHeader != 0 {
		d |= noContact
	}
	return d
}
