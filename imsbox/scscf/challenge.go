package scscf

import (
	"imsafe/hop"
	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/gm"
	"imsafe/secure"
)

// challenge draws a vector and challenges the user (TS 24.229 5.4.1.2.1; TS 33.203 6.1.1).
func (s *SCSCF) challenge(x *hop.Exchange, in hop.Inbound, r *register) hop.Reply {
	return s.challengeWith(x, in, r, nil)
}

// resynchronise gives the HSS the AUTS that answers our own challenge, and challenges afresh
// (TS 33.203 6.1.3). An AUTS is taken once: it consumes its challenge.
func (s *SCSCF) resynchronise(x *hop.Exchange, in hop.Inbound, r *register) hop.Reply {
	pending, found := s.challenges.take(r.impi, r.credentials.Nonce, x.Task().Now())
	if !found {
		return s.challenge(x, in, r)
	}
	auts, err := aka.ParseAUTS(r.credentials.AUTS)
	if err != nil {
		return x.Refuse(in, 400, "")
	}
	return s.challengeWith(x, in, r, &cx.Resync{RAND: pending.vector.RAND, AUTS: auts})
}

func (s *SCSCF) challengeWith(x *hop.Exchange, in hop.Inbound, r *register, resync *cx.Resync) hop.Reply {
	item, genuine, err := s.draw(x, in, r, resync)
	if err != nil {
		return s.refuse(x, in, authRefusal(err))
	}
	if item.Digest != nil {
		return s.challengeByDigest(x, in, r, item.Digest)
	}
	overTLS := in.Protection == hop.ProtectionTLSConnected || in.Protection == hop.ProtectionTLSYes
	if overTLS && !s.pathFits(in, item.Algorithm) {
		return x.Refuse(in, 403, "")
	}
	pending := &pendingChallenge{algorithm: item.Algorithm, vector: item.Vector, of: tieOf(in), from: s.origins.of(in, r.impi, x.Task().Now())}
	pending.nonce = aka.AppendNonce(nil, item.Vector.RAND, item.Vector.AUTN, nil)
	if genuine {
		s.challenges.put(r.impi, pending, x.Task().Now())
	} else {
		s.decoys.put(r.impi, pending.nonce, x.Task().Now())
	}
	in.Msg.Release()

	reply := x.Respond(401, "")
	if !genuine {
		reply = reply.Void()
	}
	c := sip.Challenge{Realm: s.realm, Nonce: pending.nonce,
		Algorithm: []byte(item.Algorithm.String()), QOP: []byte("auth")}
	var b [512]byte
	reply.Msg.Append(sip.HdrWWWAuthenticate, c.AppendTo(b[:0]))
	if overTLS {
		return reply // the path needs no keys of ours (TS 33.203 X.2.3.3)
	}
	return reply.WithKeys(&hop.Keys{CK: item.Vector.CK, IK: item.Vector.IK})
}

// draw asks the HSS for a vector. It is genuine, or one of nobody's.
func (s *SCSCF) draw(x *hop.Exchange, in hop.Inbound, r *register, resync *cx.Resync) (item *cx.AuthDataItem, genuine bool, err error) {
	answer, err := s.ports.Cx.MultimediaAuth(x.Task(), &cx.MultimediaAuthRequest{IMPI: cx.IMPI(r.impi),
		IMPU: r.impu, ServerName: s.ServerName(), Scheme: s.scheme(), Items: 1, Resync: resync})
	switch {
	case err == nil:
		return &answer.Items[0], true, nil
	case s.hides(in, r, err):
		item, err = s.decoy(in)
	}
	return item, false, err
}

// pathFits reports whether a challenge by algorithm may be answered over the path that in came by: AKAv1
// binds RES to nothing, so its answer must come inside IPsec; AKAv2 may come over TLS (RFC 4169;
// TS 33.203 Annex X). A first REGISTER that comes in clear is challenged all the same: the security
// associations follow, and the P-CSCF lets no challenge out that none go with.
func (s *SCSCF) pathFits(in hop.Inbound, algorithm aka.DigestAlgorithm) bool {
	fits := s.cfg.LabAccess && in.Proof.Profile() != gm.ProfileIPsec // who may have associations answers inside them, in a lab too
	switch in.Protection {
	case hop.ProtectionYes:
		fits = true
	case hop.ProtectionTLSConnected, hop.ProtectionTLSYes:
		fits = algorithm != aka.AKAv1MD5
	}
	return fits || !s.refusesAKA("path-not-protected", in.Proof.IMPI())
}

// refusesAKA is the enforcement point of "user and network prove themselves by AKA, over a path that fits".
func (s *SCSCF) refusesAKA(reason, impi string) bool {
	return s.ports.Gate.Refuse(secure.CIAuthenticationAKA, secure.Event{Reason: reason, Subject: impi})
}

// authenticate checks the answer to the challenge pending, which is consumed already (TS 24.229 5.4.1.2.2;
// TS 33.203 6.1.1). A failure leaves an existing registration alone.
func (s *SCSCF) authenticate(t *shard.Task, in hop.Inbound, r *register, pending *pendingChallenge) *refusal {
	if !s.pathFits(in, pending.algorithm) {
		return &refusal{status: 403}
	}
	c := r.credentials
	digest := aka.Digest{Algorithm: pending.algorithm, Username: c.Username, Realm: c.Realm, Nonce: c.Nonce,
		URI: c.URI, Method: in.Msg.MethodName(), QOP: c.QOP, NC: c.NC, Cnonce: c.Cnonce, Body: in.Msg.Body()}
	genuine := string(c.Realm) == s.cfg.HomeDomain && digest.VerifyAKA(c.Response, &pending.vector)
	if !genuine && s.refusesAKA("response-mismatch", r.impi) {
		s.keepRegistration(t, r)
		return &refusal{status: 403}
	}
	return nil
}

// keepRegistration refuses to let a failed authentication end the registration that is there (TS 33.203 6.1.1): anybody
// can fail in another's name. Where there is none the HSS hears of the failure, so that it does not hold us for the S-CSCF
// of somebody who never came (TS 29.228 6.1.2.1); what it answers changes nothing.
//
// todo TS 29.228 6.1.2.1: AUTHENTICATION_TIMEOUT, for a challenge that nobody answers.
func (s *SCSCF) keepRegistration(t *shard.Task, r *register) {
	reg, registered := s.find(t, r.impi)
	switch {
	case !registered:
		_, _ = s.ports.Cx.ServerAssignment(t, &cx.ServerAssignmentRequest{IMPI: cx.IMPI(r.impi), IMPUs: []cx.IMPU{r.impu},
			ServerName: s.ServerName(), Type: cx.AuthenticationFailure, UserDataAvailable: true})
	case !s.ports.Gate.Refuse(secure.CIAvailabilityKeepRegistration, secure.Event{Reason: "failed-authentication", Subject: r.impi}):
		_ = s.commit(t, leaving(reg, eventUnregistered)) // the lab's weakened registrar: what it cannot store it keeps
	}
}

// protectedRefresh reports whether a REGISTER without an answer may be taken as it is: it came inside the
// protection of the same user's last successful registration, which is not too old (TS 24.229 5.4.1.2.2E).
func (s *SCSCF) protectedRefresh(x *hop.Exchange, in hop.Inbound, r *register) bool {
	if in.Protection != hop.ProtectionYes && in.Protection != hop.ProtectionTLSYes {
		return false
	}
	if len(r.credentials.Username) == 0 || s.digests.knows(r.impi) {
		return false // a derived name proves nothing; without keys from AKA every REGISTER is proven (TS 33.203 N.2.2)
	}
	have := s.standing(x.Task(), r)
	return have.alive && have.registers(string(r.impu)) && x.Task().Now() < have.reauthAt
}

// authRefusal maps a failed MAR (TS 24.229 5.4.1.2.1).
func authRefusal(err error) *refusal {
	switch cx.ResultOf(err) {
	case cx.ResultUserUnknown, cx.ResultIdentitiesDontMatch, cx.ResultAuthSchemeNotSupported:
		return &refusal{status: 403}
	case cx.ResultTooBusy:
		return &refusal{status: 503, retryAfter: 30}
	}
	return &refusal{status: 504}
}
