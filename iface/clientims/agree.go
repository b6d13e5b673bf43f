package clientims

import (
	"net"

	"imsafe/proto/esp"
	"imsafe/proto/secagree"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
	"imsafe/secure"
	"imsafe/secure/mint"
)

// agrees holds a request to the security agreement (TS 33.203 7.1, 7.2; RFC 3329 2.3.1): what came over security associations has to repeat
// what was agreed, and a REGISTER that may be challenged has to offer something. It returns the answer to one that does not.
func (p *Port) agrees(f siptransport.Flow, m *sip.Message, a association) (status int, more func(*sip.Message)) {
	s := p.setOf(f)
	sealed := s != nil
	if m.Method() != sip.REGISTER {
		if err := p.confirm(a, s, m); err != nil && p.refusesAgreement(a, err) {
			return p.disagree(a, s)
		}
		return 0, nil
	}
	c := p.chapter(f, m, a)
	defer func() { p.screened.chapter = c }()
	if sealed && p.refusesVia(f, m) {
		p.tell(&c, errVia, siptxn.Silence)
		return siptxn.Silence, nil
	}
	if sealed {
		if err := p.confirm(a, s, m); err != nil && p.refusesAgreement(a, err) {
			p.tell(&c, err, 494)
			return p.disagree(a, s)
		}
	}
	var refused error
	if a.proof.Generation() != secure.GenerationNew {
		if p.screened.offer, refused = p.access.gm.takeOffer(f, m, a, &c); refused != nil {
			status, more = p.access.gm.refusal(refused)
		}
	}
	p.tell(&c, refused, status)
	return status, more
}

// errVia is why a protected REGISTER gets no answer.
const errVia = secagree.Reason("the Via is not the source")

// refusesVia reports whether the source of a protected REGISTER is not the address in its Via (TS 33.203 7.1 rule 2).
func (p *Port) refusesVia(f siptransport.Flow, m *sip.Message) bool {
	host, err := viaHost(m, f.Peer.Addr().Unmap())
	return (err != nil || host != f.Peer.Addr().Unmap()) && p.door.refusesSelector("via", f.Peer.Addr())
}

// confirm compares the lists of a protected request with what was said before.
func (p *Port) confirm(a association, s *set, m *sip.Message) error {
	if s == nil {
		return nil // in clear: an emergency call
	}
	var entries [4]secagree.Entry
	var client, verify [4][]byte
	agreed := s.agreement(entries[:0])
	switch again := listed(m, sip.HdrSecurityVerify, verify[:0]); {
	case m.Method() != sip.REGISTER:
		return agreed.Verify(again)
	case a.proof.Generation() == secure.GenerationNew:
		agreed.Client = a.sa.said
		return agreed.Confirm(listed(m, sip.HdrSecurityClient, client[:0]), again)
	default:
		return agreed.Renew(listed(m, sip.HdrSecurityClient, client[:0]), again)
	}
}

// listed appends the values of a header field: of a list of mechanisms, one for each.
func listed(m *sip.Message, h sip.HeaderID, dst [][]byte) [][]byte {
	for v := range m.Values(h) {
		dst = append(dst, v)
	}
	return dst
}

// refusesAgreement is the enforcement point of "what was offered and chosen is said again under protection, and compared".
func (p *Port) refusesAgreement(a association, err error) bool {
	reason := "sec-agree"
	if r, known := err.(secagree.Reason); known && r.BidDown() {
		reason = "bid-down"
	}
	return p.door.ports.Gate.Refuse(secure.CIIntegritySecAgree, secure.Event{Reason: reason, Subject: a.proof.IMPI(), Source: sourceOf(a)})
}

// disagree answers what does not repeat the agreement with what was agreed. An authentication under way ends with it, and with it its
// associations; those before stay (TS 33.203 7.2).
func (p *Port) disagree(a association, s *set) (status int, more func(*sip.Message)) {
	if a.proof.Generation() == secure.GenerationNew {
		p.door.tableOf(a.ref).abort(a.ref, s)
	}
	return 494, func(r *sip.Message) {
		appendAgreement(r, s.securityServer(nil))
	}
}

// setOf returns the set that a message came over, nil in clear. A TCP connection belongs to one set for as long as it lives.
func (p *Port) setOf(f siptransport.Flow) *set {
	switch via := f.Via.(type) {
	case *set:
		return via
	case *turning:
		return via.set
	case carried:
		c, sealed := via.NetConn().(agreedConn)
		if !sealed {
			return nil
		}
		ref, owner, _ := c.Agreement()
		if a, known := p.door.lookup(secure.Association(owner)); known && a.sa != nil {
			if at := a.sa.find(ref); at >= 0 {
				return a.sa.sets[at].set
			}
		}
		return strangerSet // what its associations were is forgotten: it is not in clear, and nobody's
	}
	return nil
}

// carried is a stream, a *siptransport.Conn, which knows what carries it.
type carried interface{ NetConn() net.Conn }

// agreedConn is a TCP connection inside security associations (proto/espnet).
type agreedConn interface {
	Agreement() (esp.Ref, shard.Place, esp.Side)
}

// recogniseSealed returns the association whose set a message came by, with the proof of that set. From the first message over the current
// set on, a request or an answer, the client is reached by it (TS 33.203 7.4).
func (p *Port) recogniseSealed(s *set) (association, bool) {
	a, known := p.door.lookup(s.owner)
	if !known || a.sa == nil {
		return association{}, false
	}
	at := a.sa.find(s.ref)
	if at < 0 {
		return association{}, false
	}
	a.proof = mint.Over(a.proof, a.sa.generation(at))
	if at == current && a.sa.switchAt != 0 {
		p.door.tableOf(a.ref).taken(a.ref)
	}
	return a, true
}

// dropAgreement takes off what is between client and P-CSCF alone (RFC 3329 2.3.1; TS 24.229 5.2.2).
func dropAgreement(m *sip.Message) {
	for _, h := range []sip.HeaderID{sip.HdrSecurityClient, sip.HdrSecurityServer, sip.HdrSecurityVerify} {
		m.Remove(h)
	}
	for _, h := range []sip.HeaderID{sip.HdrRequire, sip.HdrProxyRequire, sip.HdrSupported} {
		m.RemoveToken(h, secAgree)
	}
}
