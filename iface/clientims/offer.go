package clientims

import (
	"net/netip"
	"strings"

	"imsafe/proto/esp"
	"imsafe/proto/secagree"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
	"imsafe/secure"
)

// offer is what a client announced in the Security-Client of a REGISTER, and what we take of it (TS 33.203 7.2). It waits for the
// challenge.
type offer struct {
	said    secagree.Said
	there   secagree.Endpoint
	peer    netip.Addr // the source of the REGISTER
	profile *secagree.Profile
	choice  secagree.Choice
	user    user
	resync  bool // the REGISTER has AUTS (RFC 3310 3.4)
}

// user is who a client says it is, at the address it says it from: a REGISTER of somebody else in the same name does not touch what it has
// (TS 33.203 6.1.2.3; docs/decisions/018).
type user struct {
	impi string
	addr netip.Addr
}

// takeOffer reads the Security-Client of a REGISTER that came over f: on the unprotected port, or on the current associations of the
// association a. The error is a secagree.Reason.
func (g *Gm) takeOffer(f siptransport.Flow, m *sip.Message, a association, c *Chapter) (*offer, error) {
	var space [4][]byte
	values := listed(m, sip.HdrSecurityClient, space[:0])
	list, err := secagree.Parse(values)
	if err != nil {
		return nil, err
	}
	c.Offered = &list
	e, ok := list.IPsec()
	switch {
	case list.Empty():
		return nil, secagree.ErrRequired
	case !ok:
		return nil, secagree.ErrNothingAcceptable
	}
	o := &offer{said: secagree.Quote(values), there: e.Endpoint(), peer: f.Peer.Addr().Unmap()}
	o.user, o.resync = user{c.IMPI, o.peer}, c.Resync
	behindNAT, err := isBehindNAT(m, o.peer)
	if err != nil {
		return nil, err
	}
	o.profile = g.profileFor(o.user.impi, m)
	o.choice, err = g.choose(&list, o, g.modes(behindNAT, a))
	switch {
	case err == secagree.ErrNoTunnel && !behindNAT:
		return nil, secagree.ErrNothingAcceptable // it is we who have no other way
	case err != nil:
		return nil, err
	}
	if err := g.portsFree(o, a); err != nil {
		return nil, err
	}
	return o, nil
}

// modes are the ways ESP may take to a client, best first. Old associations encapsulated: new ones too (TS 33.203 M.7.1).
func (g *Gm) modes(behindNAT bool, a association) (modes []secagree.Mode) {
	tunnelled := a.sa != nil && a.sa.sets[current].set != nil && a.sa.sets[current].set.choice.Mode == secagree.UDPTunnel
	if g.carrier[byTransport] != nil && !behindNAT && !tunnelled {
		modes = append(modes, secagree.Transport)
	}
	if g.carrier[byTunnel] != nil {
		modes = append(modes, secagree.UDPTunnel)
	}
	return modes
}

// isBehindNAT reports whether a first REGISTER says that it comes from elsewhere than it does (TS 33.203 M.7.1). A name in the Via would
// have to be resolved first: it is refused.
func isBehindNAT(m *sip.Message, source netip.Addr) (bool, error) {
	host, err := viaHost(m, source)
	if err != nil {
		return false, secagree.ErrSyntax
	}
	return host != source, nil
}

// viaHost is the address in the topmost Via: nearly always the source, as we write it ourselves.
func viaHost(m *sip.Message, source netip.Addr) (netip.Addr, error) {
	via, err := m.TopVia()
	if err != nil {
		return netip.Addr{}, err
	}
	var text [64]byte
	if string(via.Host) == string(source.AppendTo(text[:0])) {
		return source, nil
	}
	addr, err := netip.ParseAddr(string(via.Host))
	return addr.Unmap(), err
}

// profileFor is the list of algorithms for one client: the access's own, with those that a device exception adds.
func (g *Gm) profileFor(impi string, m *sip.Message) *secagree.Profile {
	if len(g.Exceptions) == 0 {
		return &g.Profile
	}
	imei := instanceIMEI(m)
	for i := range g.Exceptions {
		if g.Exceptions[i].Applies(impi, imei, g.door.ports.Shards[0].Wall()) {
			wider := g.Profile.With(&g.Exceptions[i])
			return &wider
		}
	}
	return &g.Profile
}

// What each of two controls keeps out: integrity alone, and algorithms that no profile has.
var (
	unencrypted = []secagree.Suite{{Mechanism: secagree.IPsec3GPP, Alg: secagree.AlgGMAC, EAlg: secagree.EAlgNull},
		{Mechanism: secagree.IPsec3GPP, Alg: secagree.AlgSHA1, EAlg: secagree.EAlgNull}}
	weak = []secagree.Suite{{Mechanism: secagree.IPsec3GPP, Alg: secagree.AlgSHA1, EAlg: secagree.EAlgCBC},
		{Mechanism: secagree.IPsec3GPP, Alg: secagree.AlgSHA1, EAlg: secagree.EAlg3DES},
		{Mechanism: secagree.IPsec3GPP, Alg: secagree.AlgMD5, EAlg: secagree.EAlgCBC},
		{Mechanism: secagree.IPsec3GPP, Alg: secagree.AlgMD5, EAlg: secagree.EAlg3DES},
		{Mechanism: secagree.IPsec3GPP, Alg: secagree.AlgMD5, EAlg: secagree.EAlgNull}}
)

// choose takes the first suite of our own list that the client has (TS 33.203 7.2). It is the enforcement point against clients that
// want no encryption, or algorithms that nobody should use: where such a control is off, they get what they want.
func (g *Gm) choose(client *secagree.List, o *offer, modes []secagree.Mode) (secagree.Choice, error) {
	choice, err := secagree.Choose(client, *o.profile, modes...)
	if err != secagree.ErrNothingAcceptable {
		return choice, err
	}
	event := secure.Event{Reason: "offer", Subject: o.user.impi, Source: o.peer}
	wider := o.profile.With(&secagree.Exception{Suites: unencrypted})
	if c, e := secagree.Choose(client, wider, modes...); e == nil {
		if g.door.ports.Gate.Refuse(secure.CIConfidentialityESP, event) {
			return choice, err
		}
		o.profile = &wider
		return c, nil
	}
	wider = o.profile.With(&secagree.Exception{Suites: weak})
	if c, e := secagree.Choose(client, wider, modes...); e == nil {
		if g.door.ports.Gate.Refuse(secure.CIConfidentialityAlgorithms, event) {
			return choice, err
		}
		o.profile = &wider
		return c, nil
	}
	return choice, err
}

// portsFree refuses ports of a client that are in the table already, for somebody else or for associations that stay (TS 33.203 7.1
// rule 3, M.7.1 rule 6). The client may try others.
func (g *Gm) portsFree(o *offer, a association) error {
	ref, _, taken := g.Engine.Find(netip.AddrPortFrom(g.Local, g.ServerPort), netip.AddrPortFrom(o.peer, o.there.PortC))
	if taken && (a.sa == nil || a.sa.find(ref) != fresh) && !g.door.users.pending(o.user, ref, g.door) {
		return secagree.ErrPortInUse
	}
	return nil
}

// refusal is the answer to a REGISTER whose offer is not taken, and what is added to it (RFC 3329 2.3.1; TS 33.203 7.2).
func (g *Gm) refusal(err error) (status int, more func(*sip.Message)) {
	reason, known := err.(secagree.Reason)
	if !known {
		reason = secagree.ErrSyntax
	}
	switch status = reason.Status(); status {
	case 0:
		return siptxn.Silence, nil
	case 421:
		return status, func(r *sip.Message) { r.AppendString(sip.HdrRequire, secAgree) }
	case 494:
		return status, func(r *sip.Message) {
			appendAgreement(r, secagree.AppendOffer(nil, g.Profile, secagree.Endpoint{}, g.modes(false, association{})...))
		}
	}
	return status, nil
}

// secAgree is the option tag of RFC 3329.
const secAgree = "sec-agree"

// appendAgreement writes a Security-Server, one header field for each mechanism.
func appendAgreement(m *sip.Message, list []secagree.Entry) {
	var b [256]byte
	for i := range list {
		m.Append(sip.HdrSecurityServer, list[i].AppendTo(b[:0]))
	}
}

// instanceIMEI is the IMEI that a client says it has (RFC 7254), "" if it says none.
func instanceIMEI(m *sip.Message) string {
	contact, err := sip.ParseNameAddr(m.Get(sip.HdrContact))
	if err != nil {
		return ""
	}
	instance, _ := contact.Param("+sip.instance")
	imei, found := strings.CutPrefix(strings.ToLower(strings.Trim(string(instance), `"<>`)), "urn:gsma:imei:")
	if !found {
		return ""
	}
	return strings.ReplaceAll(imei, "-", "")
}

// ends says what one side announced in the words of the engine.
func ends(e secagree.Endpoint) esp.Ends {
	return esp.Ends{Port: [2]uint16{esp.Client: e.PortC, esp.Server: e.PortS}, SPI: [2]uint32{esp.Client: e.SPIC, esp.Server: e.SPIS}}
}
