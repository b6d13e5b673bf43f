package pcscf

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"

	"imsafe/hop"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// Kinds of the tokens this function issues: what a token was made for is part of its seal, so a Path token
// cannot be played as a Record-Route. That of a dialog says what its parties may know of each other.
const (
	tokenPath   = 'p'
	tokenDialog = 'd' // and those that follow, by disclosure
)

// appendToken appends <sip:TOKEN@host;lr>, where TOKEN names association a and is sealed; params are further parameters of the URI.
func (p *PCSCF) appendToken(b []byte, kind byte, a secure.Association, host, params string) []byte {
	return p.appendTied(b, kind, a, nil, host, params)
}

// appendTied is appendToken with the print of a dialog behind the token.
func (p *PCSCF) appendTied(b []byte, kind byte, a secure.Association, tie []byte, host, params string) []byte {
	b = append(b, "<sip:"...)
	b = p.ports.Sealer.Seal(b, kind, shard.Place(a))
	b = append(append(b, tie...), '@')
	b = append(b, host...)
	return append(append(append(b, ";lr"...), params...), '>')
}

// recordRoute keeps this P-CSCF in the dialog and ties the dialog to association a (RFC 3261 16.6 step 4;
// TS 33.203 7.1: the dialog belongs to its association).
//
// A client that comes by another way than the functions of the core gets an entry of its own beside theirs (RFC 5658 5): over TLS, by the
// host and port that the name leads to; inside security associations, at the protected server port (TS 24.229 5.2.6.3.3). The
// client's stands on its side.
//
// A called client's has the print of the dialog; a calling one's gets it with the answer (tiesCaller).
func (p *PCSCF) recordRoute(in hop.Inbound, a secure.Association, side side, d disclosure) {
	var b [256]byte
	var room [tieSize]byte
	var tie []byte
	if side == towardsClient {
		tie = p.ties.append(room[:0], in.Msg, in.Msg.FromTag(), sip.HdrRecordRoute, 0, in.Msg.Count(sip.HdrRecordRoute), 1)
	}
	kind := tokenDialog + byte(d)
	core := func(tie []byte) {
		in.Msg.Prepend(sip.HdrRecordRoute, p.appendTied(b[:0], kind, a, tie, string(p.cfg.Name), ""))
	}
	k, _ := p.kept(a)
	if k.edge == "" {
		core(tie)
		return
	}
	host, params := k.edge, ""
	if k.edge == edgeTLS {
		host, params = string(p.cfg.Name), overTLS
	}
	client := func() { in.Msg.Prepend(sip.HdrRecordRoute, p.appendTied(b[:0], kind, a, tie, host, params)) }
	if side == towardsClient {
		core(nil)
		client()
		return
	}
	client()
	core(nil)
}

// overTLS is what a client's entry says (RFC 3261 26.2.2 calls it deprecated; softphones know nothing else).
const overTLS = ";transport=tls"

// side is where a request goes that makes a dialog.
type side uint8

const (
	towardsCore side = iota
	towardsClient
)

// takeRoute takes our own entry off the top of Route, and its twin below.
func (p *PCSCF) takeRoute(in hop.Inbound) (e entry, ours bool) {
	if e, ours = p.entryOf(in.Msg.Get(sip.HdrRoute)); !ours {
		return e, false
	}
	in.Msg.RemoveFirst(sip.HdrRoute)
	if twin, also := p.entryOf(in.Msg.Get(sip.HdrRoute)); also && twin.association == e.association {
		in.Msg.RemoveFirst(sip.HdrRoute)
	}
	return e, true
}

// entryOf reads an entry of ours. The seal says whether it is one, not the host, of which there are several.
func (p *PCSCF) entryOf(nameAddr []byte) (e entry, ours bool) {
	addr, err := sip.ParseNameAddr(nameAddr)
	if err != nil {
		return e, false
	}
	uri, err := sip.ParseURI(addr.URI)
	if err != nil {
		return e, false
	}
	token := uri.User
	if e.tied = len(token) == shard.TokenSize+tieSize; e.tied {
		copy(e.tie[:], token[shard.TokenSize:])
		token = token[:shard.TokenSize]
	}
	open := func(kind byte) bool {
		place, genuine := p.ports.Sealer.Open(kind, token)
		e.association = secure.Association(place)
		return genuine
	}
	for e.known = 0; e.known < endOfDisclosure; e.known++ {
		if open(tokenDialog + byte(e.known)) {
			return e, true
		}
	}
	e.known = 0
	e.path = open(tokenPath)
	return e, e.path
}

// useServiceRoute replaces the route of an initial request by the Service-Route of the registration
// (TS 24.229 5.2.6.3.3 step 2 leaves refusing and replacing open; a client that preloads anything else has
// nothing to gain either way). It is false if the association has none: one whose registration is for emergency calls (TS 24.229 5.4.8.2).
func (p *PCSCF) useServiceRoute(x *hop.Exchange, in hop.Inbound) bool {
	if !in.Proof.Registered() {
		in.Msg.Remove(sip.HdrRoute) // of a stranger whom a lab let in
		return true
	}
	k, found := p.kept(in.Proof.Association())
	if !found || len(k.route) == 0 {
		return false
	}
	if p.addressesCore(x, in, k.route) && !p.skipsEdge(in) {
		return true // a lab follows him
	}
	in.Msg.Remove(sip.HdrRoute)
	for _, hop := range k.route {
		in.Msg.AppendString(sip.HdrRoute, hop)
	}
	return true
}

// addressesCore reports whether a client's Route leads to a function of the core past those of his Service-Route.
func (p *PCSCF) addressesCore(x *hop.Exchange, in hop.Inbound, route []string) bool {
	for v := range in.Msg.Values(sip.HdrRoute) {
		if slices.Contains(route, string(v)) {
			continue
		}
		addr, err := sip.ParseNameAddr(v)
		if err != nil {
			continue
		}
		uri, err := sip.ParseURI(addr.URI)
		if err == nil && string(uri.Host) != string(p.cfg.Name) && x.Knows(uri.Host) {
			return true
		}
	}
	return false
}

// skipsEdge is the enforcement point of "clients reach no function but the P-CSCF" (TS 33.203 Annex J): true if a client's way into
// the core is not followed.
func (p *PCSCF) skipsEdge(in hop.Inbound) bool {
	return p.ports.Gate.Refuse(secure.CIAuthorizationEdgeOnly, secure.Event{Reason: "route-into-core", Subject: in.Proof.IMPI()})
}

// stranger refuses an initial request of somebody who has proven nothing. The door has done so already; who comes here all the same is
// not given an identity (TS 33.203 7.1).
func (p *PCSCF) stranger(in hop.Inbound) bool {
	return !in.Proof.Registered() && p.foreignIdentity(in, "not-registered")
}

// assertIdentity writes P-Asserted-Identity from the proof: the preferred identity if it is one of the
// proven set, else the default one (TS 24.229 5.2.6.3.3; RFC 3325 5).
func (p *PCSCF) assertIdentity(in hop.Inbound) {
	if !in.Proof.Registered() { // an emergency call: nobody vouches for the caller
		in.Msg.Remove(sip.HdrPPreferredIdentity)
		return
	}
	identity := in.Proof.DefaultIMPU()
	if preferred := in.Msg.Get(sip.HdrPPreferredIdentity); preferred != nil {
		wish, valid := sip.PublicIdentity(preferred)
		if valid && (in.Proof.Owns([]byte(wish)) || !p.foreignIdentity(in, "preferred-identity")) {
			identity = wish
		}
		in.Msg.Remove(sip.HdrPPreferredIdentity)
	}
	var b [256]byte
	in.Msg.Set(sip.HdrPAssertedIdentity, append(append(append(b[:0], '<'), identity...), '>'))
}

// foreignIdentity is the enforcement point of "the user of the association is the user of the message"
// (TS 33.203 7.1, TS 24.229 5.2.6.3): true if the claim is refused.
func (p *PCSCF) foreignIdentity(in hop.Inbound, reason string) bool {
	return p.ports.Gate.Refuse(secure.CIAuthenticationSAIdentity,
		secure.Event{Reason: reason, Subject: in.Proof.IMPI()})
}

// foreignDialog returns the answer to a request of a client inside a dialog that came on another association than the dialog's, goes another way, or whose
// dialog is over; 0 to one that is in order.
func (p *PCSCF) foreignDialog(in hop.Inbound, e *entry) (refusal int) {
	reason := ""
	switch {
	case e.association != in.Proof.Association():
		reason, refusal = "other-association", 403
	case !p.follows(in, e):
		reason, refusal = "other-way", 400 // TS 24.229 5.2.6.3.9
	case standsAlone(in.Msg.Method()) && !p.inCall(in, e.association):
		reason, refusal = "no-dialog", 481
	default:
		return 0
	}
	if !p.ports.Gate.Refuse(secure.CIIntegrityDialogOwner, secure.Event{Reason: reason, Subject: in.Proof.IMPI()}) {
		return 0
	}
	return refusal
}

// calledParty returns the identity the request was for (RFC 7315 4.2), to be asserted in its responses.
func calledParty(in hop.Inbound) string {
	impu, _ := sip.PublicIdentity(in.Msg.Get(sip.HdrPCalledPartyID))
	return impu
}

// assertCallee writes the identity of the called party into a response of a client (TS 24.229 5.2.6.4.4):
// what the client claims about itself was removed at the door.
func assertCallee(r hop.Reply, callee string) hop.Reply {
	if r.Msg == nil {
		return r
	}
	r.Msg.Remove(sip.HdrPPreferredIdentity)
	if callee == "" {
		return r
	}
	var b [256]byte
	r.Msg.Set(sip.HdrPAssertedIdentity, append(append(append(b[:0], '<'), callee...), '>'))
	return r
}

// addChargingVector gives the dialog or transaction its charging identity (TS 24.229 5.2.1; RFC 7315 4.6).
func (p *PCSCF) addChargingVector(in hop.Inbound) {
	var b [128]byte
	v := append(append(b[:0], "icid-value=\""...), p.cfg.ChargingPrefix...)
	v = append(v, '-')
	v = strconv.AppendUint(v, p.icid.Add(1), 36)
	in.Msg.Set(sip.HdrPChargingVector, append(v, '"'))
}

// asksNetwork reports whether an OPTIONS is for no user: for this P-CSCF, by whatever name or address the client knows it, or for the
// home network. Clients ask so to find out whether their way is open.
func asksNetwork(x *hop.Exchange, m *sip.Message) bool {
	if m.Method() != sip.OPTIONS {
		return false
	}
	uri, err := sip.ParseURI(m.RequestURI())
	if err != nil || !uri.IsSIP() || uri.User != nil {
		return false
	}
	_, notAddress := netip.ParseAddr(string(bytes.Trim(uri.Host, "[]")))
	return notAddress == nil || x.Knows(uri.Host)
}

// capabilities answers such an OPTIONS (RFC 3261 11.2).
func capabilities(x *hop.Exchange, in hop.Inbound) hop.Reply {
	r := x.Refuse(in, 200, "")
	r.Msg.AppendString(sip.HdrAllow, "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, REFER, MESSAGE, SUBSCRIBE, NOTIFY, PUBLISH, REGISTER")
	r.Msg.AppendString(sip.HdrAccept, "application/sdp")
	r.Msg.AppendString(sip.HdrSupported, "path, outbound")
	return r
}

// unknownExtensions returns the option tags in Proxy-Require that this P-CSCF does not know (RFC 3261 16.3 step 5).
func unknownExtensions(m *sip.Message) (tags []string) {
	for v := range m.Values(sip.HdrProxyRequire) {
		if !bytes.EqualFold(v, []byte("sec-agree")) {
			tags = append(tags, string(v))
		}
	}
	return tags
}

// badExtension answers 420 and names them.
func badExtension(x *hop.Exchange, in hop.Inbound, tags []string) hop.Reply {
	r := x.Refuse(in, 420, "")
	for _, tag := range tags {
		if r.Msg != nil {
			r.Msg.AppendString(sip.HdrUnsupported, tag)
		}
	}
	return r
}
