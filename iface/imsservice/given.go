package imsservice

import (
	"crypto/sha256"
	"slices"

	"imsafe/proto/sip"
	"imsafe/refpoint/isc"
)

// asking are the requests inside a dialog that ask somebody for something by what they say, and the scope that a platform needs for one of its own: to write to
// him (RFC 3428), to have him call elsewhere (RFC 3515).
var asking = map[sip.Method]isc.Scope{sip.MESSAGE: isc.MessageSend, sip.REFER: isc.SessionRedirect}

// given are requests of asking that went to a platform inside a dialog, or its stay, and did not come back yet, by what they say. The oldest come first. Not for
// concurrent use.
type given []said

// said is what a request says: a platform that stays in the path passes it on as it is.
type said struct {
	method sip.Method
	what   [sha256.Size]byte
}

// maxGiven bounds what is remembered: a platform that keeps more than that to itself loses the oldest.
const maxGiven = 60

func sayingOf(m *sip.Message) said {
	if m.Method() == sip.REFER {
		return said{sip.REFER, sha256.Sum256(uriOf(m.Get(sip.HdrReferTo)))}
	}
	return said{m.Method(), sha256.Sum256(m.Body())}
}

func (g *given) add(m *sip.Message) {
	if len(*g) == maxGiven {
		*g = slices.Delete(*g, 0, 1)
	}
	*g = append(*g, sayingOf(m))
}

// take removes a request that says the same as m; false if there is none.
func (g *given) take(m *sip.Message) bool {
	i := slices.Index(*g, sayingOf(m))
	if i < 0 {
		return false
	}
	*g = slices.Delete(*g, i, i+1)
	return true
}
