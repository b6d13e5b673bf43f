package scscf

import (
	"slices"
	"sync"
	"time"

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
	pending := &pendingChallenge{algorithm: item.Algorithm, vector: item.Vector, of: tieOf(in)}
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
	c := sip.Challenge{Realm: []byte(s.cfg.HomeDomain), Nonce: pending.nonce,
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

// pendingChallenge is one challenge that waits for its answer. It holds the vector's secrets and so lives in
// memory only; after a crash the client is challenged afresh.
type pendingChallenge struct {
	nonce     []byte
	algorithm aka.DigestAlgorithm
	vector    aka.Vector
	of        tie // whom it went to
	number    uint64
	until     time.Duration
}

// challenges keeps the pending challenges of each private identity: one for each path, where a new one kills the older
// (TS 33.203 6.1.2.3). Anybody can ask for a challenge in another's name: that must not kill the one that he is about to
// answer. Safe for concurrent use.
type challenges struct {
	life time.Duration

	mu      sync.Mutex
	pending map[string][]*pendingChallenge // oldest first
	// When each challenge must be forgotten, oldest first; it holds no secret. An entry whose challenge was
	// taken or replaced meanwhile is found no more and is skipped.
	queue  []waiting
	number uint64
}

type waiting struct {
	impi   string
	number uint64
	until  time.Duration
}

// maxPending bounds the challenges that wait in one name: beyond it the oldest goes. The door has as many associations for
// them.
const maxPending = 16

func newChallenges(life time.Duration) *challenges {
	return &challenges{life: life, pending: map[string][]*pendingChallenge{}}
}

// put makes c a pending challenge of impi and forgets what has waited too long.
func (cs *challenges) put(impi string, c *pendingChallenge, now time.Duration) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.number++
	c.number, c.until = cs.number, now+cs.life
	all := slices.DeleteFunc(cs.pending[impi], func(old *pendingChallenge) bool { return old.of == c.of })
	if len(all) >= maxPending {
		all = slices.Delete(all, 0, 1)
	}
	cs.pending[impi] = append(all, c)
	cs.queue = append(cs.queue, waiting{impi, c.number, c.until})
	for cs.queue[0].until <= now {
		old := cs.queue[0]
		cs.drop(old.impi, func(p *pendingChallenge) bool { return p.number == old.number })
		cs.queue = cs.queue[1:]
	}
}

// drop removes and returns the challenge of impi that which chooses, nil if there is none.
func (cs *challenges) drop(impi string, which func(*pendingChallenge) bool) *pendingChallenge {
	all := cs.pending[impi]
	i := slices.IndexFunc(all, which)
	if i < 0 {
		return nil
	}
	c := all[i]
	if all = slices.Delete(all, i, i+1); len(all) == 0 {
		delete(cs.pending, impi)
	} else {
		cs.pending[impi] = all
	}
	return c
}

// take removes and returns the challenge of impi with this nonce if it has not expired: no answer is judged twice, and a
// wrong nonce costs the true client nothing.
func (cs *challenges) take(impi string, nonce []byte, now time.Duration) (*pendingChallenge, bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.drop(impi, func(c *pendingChallenge) bool { return c.until > now && string(c.nonce) == string(nonce) })
	return c, c != nil
}
