package scscf

import (
	"imsafe/hop"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// tie is what a nonce is bound to: the client's association, as the door has proven it; or, where the P-CSCF is in another
// process, that P-CSCF's entry in Path, which it seals and which is one for one association. The zero value binds nothing.
type tie struct {
	association secure.Association
	path        string
}

// tieOf returns the flow of a REGISTER.
func tieOf(in hop.Inbound) tie {
	switch in.Proof.Kind() {
	case secure.KindAccess:
		return tie{association: in.Proof.Association()}
	case secure.KindNode:
		return tie{path: string(in.Msg.Last(sip.HdrPath))}
	}
	return tie{}
}

// flowToken is the parameter of our Service-Route by which a request of another process leads to its flow: the P-CSCF there
// gives the Service-Route of a registration to the requests of that association alone (TS 24.229 5.2.6.3.3).
const flowToken = "flow"

// caller returns which subscriber without a card sends an initial request, and what his nonces are tied to; "" if none does. It
// is false for one whose token leads nowhere any more, as after a restart: nobody can judge him then, so he must register anew.
func (s *SCSCF) caller(in hop.Inbound) (impi string, f tie, ok bool) {
	switch in.Proof.Kind() {
	case secure.KindAccess:
		if impi := in.Proof.IMPI(); s.digests.knows(impi) {
			return impi, tie{association: in.Proof.Association()}, true
		}
	case secure.KindNode:
		if token, found := routeToken(in.Msg); found {
			impi, f = s.digests.byToken(token)
			return impi, f, impi != ""
		}
	}
	return "", tie{}, true
}

// routeToken returns the token in our own Route entry.
func routeToken(m *sip.Message) (string, bool) {
	addr, err := sip.ParseNameAddr(m.Get(sip.HdrRoute))
	if err != nil {
		return "", false
	}
	uri, err := sip.ParseURI(addr.URI)
	if err != nil {
		return "", false
	}
	token, found := uri.Param(flowToken)
	return string(token), found
}

// nameFlow writes the token into the Service-Route of an accepted REGISTER, where there is a wire to cross.
func (s *SCSCF) nameFlow(reply hop.Reply, token string) {
	if token == "" || !reply.Msg.Has(sip.HdrServiceRoute) {
		return
	}
	reply.Msg.SetString(sip.HdrServiceRoute, "<sip:orig@"+string(s.cfg.Name)+";lr;"+flowToken+"="+token+">")
}
