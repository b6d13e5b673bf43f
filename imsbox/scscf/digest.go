package scscf

import (
	"bytes"
	"net/netip"
	"slices"
	"time"

	"imsafe/hop"
	"imsafe/proto/aka"
	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
	"imsafe/secure"
)

// SIP Digest (RFC 7616, RFC 8760; TS 33.203 Annex N and O; TS 24.229 5.4.1.2.3, 5.4.3.6) for subscribers without a card.
// No keys come out of it, so it runs inside TLS alone, and nothing of it outlives the TLS connection: a nonce belongs to
// the association that the door has proven. Requests that are no REGISTER are challenged too, each of them that opens
// something.

// identify reads whose REGISTER it is. A client that writes no Authorization, or no name into it, goes by the private
// identity that follows from the public one (TS 23.003 13.4B); it is challenged, whatever came before.
func (s *SCSCF) identify(m *sip.Message, r *register) bool {
	var err error
	if r.credentials, err = m.Credentials(0); err != nil && err != sip.ErrMissing {
		return false
	}
	r.impi, _ = m.Username()
	if r.impi == "" && s.digests != nil {
		r.impi, _ = sip.DerivedPrivateIdentity(string(r.impu))
	}
	return r.impi != ""
}

// scheme is what the HSS is asked for: where SIP Digest is on, the record of the subscriber says which it is.
func (s *SCSCF) scheme() cx.AuthScheme {
	if s.digests != nil {
		return cx.SchemeUnknown
	}
	return cx.SchemeDigestAKA
}

// registerByDigest judges a REGISTER that answers a challenge of SIP Digest on this association. False: it does not, and
// is challenged, or it is of somebody who has a card.
func (s *SCSCF) registerByDigest(x *hop.Exchange, in hop.Inbound, r *register) (hop.Reply, bool) {
	if s.digests == nil {
		return hop.Reply{}, false
	}
	now := x.Task().Now()
	f, from := tieOf(in), s.origins.client(in)
	known := s.origins.of(in, r.impi, now).Known
	if s.digests.guesses.banned(r.impi, from, known, now) && !s.digests.proven(r.impi, f) && s.refusesDigest(in, "banned", r.impi) {
		return x.Refuse(in, 403, ""), true
	}
	if !r.answers() || !s.digests.known(r.impi, f) {
		return hop.Reply{}, false
	}
	if s.digests.guesses.sprayed(from, known, now) && !s.digests.proven(r.impi, f) && s.refusesDigest(in, "sprayed", r.impi) {
		return x.Refuse(in, 403, ""), true // his answer, not his first REGISTER: who has a card has nothing to do with it
	}
	registered := s.standing(x.Task(), r).alive
	answer := s.digestAnswer(in, &r.credentials)
	switch s.judge(in, r.impi, f, forRegister, &answer, now, registered) {
	case digestStale:
		return s.challenge(x, in, r), true // the HSS is asked again: the password may be another meanwhile
	case digestWrong:
		s.keepRegistration(x.Task(), r)
		return x.Refuse(in, 403, ""), true
	}
	r.authenticated = true
	s.origins.prove(in, r.impi, now)
	info := s.digests.authenticationInfo(r.impi, &answer)
	reply := s.accept(x, in, r)
	if reply.Status() == 200 {
		s.nameFlow(reply, s.digests.accepted(r.impi, f, now+s.cfg.MaxExpires+digestOutlives))
		reply.Msg.Append(sip.HdrAuthenticationInfo, info)
	}
	return reply, true
}

// digestOutlives is how long a subscriber is remembered beyond his longest registration: longer than the door's association,
// so that none is ever treated as one that need not be challenged.
const digestOutlives = 5 * time.Minute

// challengeByDigest challenges with what the HSS said of a subscriber without a card (TS 24.229 5.4.1.2.1B). A right answer
// to a nonce that is not of this association gets stale=true (TS 33.203 N.2.3); a wrong one counts.
func (s *SCSCF) challengeByDigest(x *hop.Exchange, in hop.Inbound, r *register, d *cx.DigestAuthenticate) hop.Reply {
	f := tieOf(in)
	protected := in.Protection == hop.ProtectionTLSConnected || in.Protection == hop.ProtectionTLSYes || s.cfg.LabAccess
	allowed := s.digests != nil && slices.Contains(s.digests.algorithms, d.Algorithm) && d.Realm == s.cfg.HomeDomain
	switch {
	case !allowed:
		return x.Refuse(in, 403, "")
	case (!protected || f == tie{}) && s.refusesDigest(in, "path-not-protected", r.impi):
		return x.Refuse(in, 403, "")
	}
	now := x.Task().Now()
	s.digests.learn(r.impi, d, f, s.origins.of(in, r.impi, now), now, now+s.cfg.AwaitAuth)
	stale := false
	if r.answers() {
		answer := s.digestAnswer(in, &r.credentials)
		stale = s.digests.genuine(r.impi, &answer)
		if !stale {
			s.digests.guesses.failed(r.impi, s.origins.client(in), now)
			s.keepRegistration(x.Task(), r)
			return x.Refuse(in, 403, "")
		}
	}
	in.Msg.Release()
	reply := x.Respond(401, "")
	s.appendChallenge(reply.Msg, sip.HdrWWWAuthenticate, r.impi, f, forRegister, stale, now)
	return reply
}

// challengesOriginator demands a proof of an initial request of a subscriber without a card (TS 24.229 5.4.3.6, TS 33.203
// N.2.1.2); it answers true with the refusal. The credentials of a request that goes on are taken off: they are for us.
func (s *SCSCF) challengesOriginator(x *hop.Exchange, in hop.Inbound) (hop.Reply, bool) {
	impi, f, ok := s.caller(in)
	switch {
	case !ok:
		return x.Refuse(in, 403, ""), true
	case impi == "" || in.Msg.Method() == sip.ACK:
		return hop.Reply{}, false
	}
	now := x.Task().Now()
	stale := false
	if c, found := s.proxyCredentials(in.Msg); found && len(c.Response) > 0 {
		answer := s.digestAnswer(in, &c)
		switch s.judge(in, impi, f, forOthers, &answer, now, true) {
		case digestGenuine:
			s.dropProxyCredentials(in.Msg)
			return hop.Reply{}, false
		case digestWrong:
			return x.Refuse(in, 403, ""), true
		}
		stale = true
	}
	in.Msg.Release()
	reply := x.Respond(407, "")
	s.appendChallenge(reply.Msg, sip.HdrProxyAuthenticate, impi, f, forOthers, stale, now)
	return reply, true
}

func (s *SCSCF) appendChallenge(m *sip.Message, h sip.HeaderID, impi string, f tie, kind nonceKind, stale bool, now time.Duration) {
	nonce, algorithm := s.digests.challenge(impi, f, kind, now)
	c := sip.Challenge{Realm: s.realm, Nonce: nonce, Algorithm: []byte(algorithm.String()), QOP: []byte("auth"), Stale: stale}
	var b [512]byte
	m.Append(h, c.AppendTo(b[:0]))
}

// proxyCredentials returns the Proxy-Authorization for our realm.
func (s *SCSCF) proxyCredentials(m *sip.Message) (sip.Credentials, bool) {
	for v := range m.Values(sip.HdrProxyAuthorization) {
		if c, err := sip.ParseCredentials(v); err == nil && string(c.Realm) == s.cfg.HomeDomain {
			return c, true
		}
	}
	return sip.Credentials{}, false
}

// dropProxyCredentials takes off what is for our realm: whoever gets the request next has no business with it, and a client
// repeats it in every request of a dialog (RFC 3261 22.3).
func (s *SCSCF) dropProxyCredentials(m *sip.Message) {
	if _, found := s.proxyCredentials(m); !found {
		return
	}
	var others []string
	for v := range m.Values(sip.HdrProxyAuthorization) {
		if c, err := sip.ParseCredentials(v); err != nil || string(c.Realm) != s.cfg.HomeDomain {
			others = append(others, string(v))
		}
	}
	m.Remove(sip.HdrProxyAuthorization)
	for _, v := range others {
		m.AppendString(sip.HdrProxyAuthorization, v)
	}
}

// digestAnswer is an answer to a challenge: what enters its response, and whether it is for this request.
type digestAnswer struct {
	aka.Digest
	response []byte
	named    []byte // algorithm that the answer names; nil means MD5 (RFC 7616 3.3)
	target   bool   // the uri in it is that of the request
}

func (s *SCSCF) digestAnswer(in hop.Inbound, c *sip.Credentials) digestAnswer {
	return digestAnswer{Digest: aka.Digest{Username: c.Username, Realm: c.Realm, Nonce: c.Nonce, URI: c.URI,
		Method: in.Msg.MethodName(), QOP: c.QOP, NC: c.NC, Cnonce: c.Cnonce}, response: c.Response, named: c.Algorithm,
		target: s.isTarget(in.Msg, c.URI)}
}

// isTarget reports whether uri is the target of m (RFC 7616 3.4.6). The Request-URI of a REGISTER has been rewritten on its
// way here: there it is the home domain.
func (s *SCSCF) isTarget(m *sip.Message, uri []byte) bool {
	said, err := sip.ParseURI(uri)
	if err != nil {
		return false
	}
	if m.Method() == sip.REGISTER {
		return len(said.User) == 0 && bytes.EqualFold(said.Host, []byte(s.cfg.HomeDomain))
	}
	asked, err := sip.ParseURI(m.RequestURI())
	return err == nil && said.Equal(&asked)
}

// judge decides about an answer and takes its count. A genuine one that is used again, or elsewhere, is stale: it earns a
// new nonce and nothing else.
func (s *SCSCF) judge(in hop.Inbound, impi string, f tie, kind nonceKind, a *digestAnswer, now time.Duration, registered bool) digestVerdict {
	verdict, reason := s.digests.judge(impi, f, kind, a, now, registered)
	if verdict == digestStale && !s.ports.Gate.Refuse(secure.CIIntegrityDigestBinding,
		secure.Event{Reason: reason, Source: s.origins.client(in), Subject: impi}) {
		verdict = digestGenuine
	}
	switch verdict {
	case digestWrong:
		s.digests.guesses.failed(impi, s.origins.client(in), now)
	case digestGenuine:
		s.digests.guesses.succeeded(impi, s.origins.client(in))
	}
	return verdict
}

// refusesDigest is the enforcement point of the rules about SIP Digest: inside TLS only, and few guesses.
func (s *SCSCF) refusesDigest(in hop.Inbound, reason, impi string) bool {
	return s.ports.Gate.Refuse(secure.CIAuthenticationDigestPolicy, secure.Event{Reason: reason, Source: s.origins.client(in), Subject: impi})
}

// source is the client's address, zero if the door did not say.
func source(in hop.Inbound) netip.Addr {
	peer, err := netip.ParseAddrPort(in.Proof.Peer())
	if err != nil {
		return netip.Addr{}
	}
	return peer.Addr().Unmap()
}
