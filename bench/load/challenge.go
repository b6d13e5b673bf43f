package load

import (
	"errors"

	"imsafe/proto/aka"
	"imsafe/proto/sip"
)

// maxChallenges is how many a UE answers in one procedure: one that was overtaken, one after resynchronisation, one more.
const maxChallenges = 3

// challenged answers a 401 to REGISTER or a 407 to a request (TS 24.229 5.1.1.5, RFC 3261 22).
func (w *worker) challenged(id int32, m *sip.Message) {
	p := &w.plays[id]
	u, method := &w.ues[p.a], p.side[0].method
	fail := func(cause string) { w.finish(id, &Failure{Step: method.String(), Code: m.Status(), Cause: cause}) }
	if p.challenges++; p.challenges > maxChallenges {
		fail("challenged again and again")
		return
	}
	w.stats.Challenges++
	h := sip.HdrWWWAuthenticate
	if m.Status() == 407 {
		h = sip.HdrProxyAuthenticate
	}
	c, scheme, ok := w.ownChallenge(u, m, h)
	if !ok {
		fail("no challenge of the realm and scheme")
		return
	}
	k := &w.scratch
	k.password, k.auts = k.password[:0], nil
	if scheme.AKA() {
		if cause := w.authenticate(u, m, scheme, &c); cause != "" {
			fail(cause)
			return
		}
	} else {
		k.password = append(k.password, u.sub.Password...)
	}
	if method == sip.REGISTER {
		w.sendRegister(id, w.credentials(u, scheme, &c, k.register, w.registrar, k.password, k.auts))
		return
	}
	k.uri = append(k.uri[:0], w.ues[p.b].sub.IMPU...)
	k.method = append(k.method[:0], method.String()...)
	k.line = build(w.credentials(u, scheme, &c, k.method, k.uri, k.password, nil).AppendTo(build(k.line[:0]).s("Proxy-Authorization: "))).s("\r\n")
	w.invite(id, method, k.line)
}

// ownChallenge finds the challenge that the subscriber can answer: one that asks for less than he has is a downgrade.
func (w *worker) ownChallenge(u *ue, m *sip.Message, h sip.HeaderID) (sip.Challenge, aka.DigestAlgorithm, bool) {
	for v := range m.Values(h) {
		c, err := sip.ParseChallenge(v)
		if err != nil || string(c.Realm) != string(w.domain) {
			continue
		}
		scheme := aka.MD5
		if len(c.Algorithm) > 0 {
			known := false
			if scheme, known = aka.ParseDigestAlgorithm(c.Algorithm); !known {
				continue
			}
		}
		if scheme == u.sub.Scheme {
			return c, scheme, true
		}
	}
	return sip.Challenge{}, 0, false
}

// authenticate lets the card answer, and leaves the password of the Digest, or AUTS, in scratch. It returns what is wrong.
func (w *worker) authenticate(u *ue, m *sip.Message, scheme aka.DigestAlgorithm, c *sip.Challenge) string {
	nonce, err := aka.ParseNonce(c.Nonce)
	if err != nil {
		return "the nonce is none of AKA"
	}
	if u.card == nil {
		u.card = &card{functions: aka.NewMilenage(u.sub.K, u.sub.OPc)}
	}
	k := &w.scratch
	opened, auts, err := u.card.open(&nonce)
	switch {
	case err == nil:
		k.password = scheme.AppendPassword(k.password, &opened.RES, &opened.CK, &opened.IK)
		return w.protect(u, m, &opened)
	case errors.Is(err, aka.ErrSQNOutOfRange):
		w.stats.Resynchronisations++
		k.auts = aka.AppendAUTS(k.autsText[:0], auts)
		return ""
	}
	return "AUTN is wrong: the network does not know K"
}
