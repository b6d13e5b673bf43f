package ue

import (
	"errors"
	"fmt"
	"strings"

	"imsafe/client/isim"
	"imsafe/proto/aka"
	"imsafe/proto/sip"
)

// Why a challenge is not answered. None of these leads to a weaker attempt.
var (
	ErrChallenge = errors.New("ue: malformed challenge")
	ErrRealm     = errors.New("ue: challenge of another realm")
	ErrDowngrade = errors.New("ue: challenge for another scheme than the subscriber's")
	ErrNetwork   = errors.New("ue: the network did not prove that it knows the key")
	ErrSync      = errors.New("ue: the network keeps sending old challenges")
	ErrRefused   = errors.New("ue: the network does not accept correct answers")
)

// maxBad is how many bad challenges in a row are answered (TS 24.229 5.1.1.5.3).
const maxBad = 2

// maxGood is how often a challenge is answered correctly in one procedure: twice, because the first may have been overtaken by a
// newer one.
const maxGood = 2

// authentication is one procedure of challenge and response.
type authentication struct {
	bad, good int
	wants     *proof     // what the network must show, with a password
	keys      *isim.Keys // of the last good challenge, for security associations
}

// answer reads the challenge in a 401 or 407 and returns the credentials for the same request again. It verifies before it
// answers: own realm, own scheme, AUTN by the card (TS 33.203 6.1.1, TS 24.229 5.1.1.5.1).
func (u *UE) answer(a *authentication, resp *sip.Message, header sip.HeaderID, method, uri string) (string, error) {
	c, err := u.ownChallenge(resp, header)
	if err != nil {
		return "", err
	}
	if u.cfg.Password != nil {
		return u.answerPassword(a, &c, method, uri)
	}
	nonce, err := aka.ParseNonce(c.Nonce)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrChallenge, err)
	}
	keys, err := u.cfg.Card.Authenticate(nonce.RAND, nonce.AUTN)
	var sync *isim.SyncFailure
	switch {
	case err == nil:
		if a.good++; a.good > maxGood {
			return "", ErrRefused
		}
		a.bad, a.keys = 0, &keys
		var b [64]byte
		password := u.cfg.Scheme.AppendPassword(b[:0], &keys.RES, &keys.CK, &keys.IK)
		return u.credentials(&c, method, uri, password, nil), nil
	case errors.As(err, &sync):
		if a.bad++; a.bad > maxBad {
			return "", ErrSync
		}
		// RFC 3310 3.4: the token, and a response by the empty password.
		return u.credentials(&c, method, uri, nil, aka.AppendAUTS(nil, sync.AUTS)), nil
	case errors.Is(err, isim.ErrMAC):
		if a.bad++; a.bad > maxBad {
			return "", ErrNetwork
		}
		// TS 24.229 5.1.1.5.3: no response and no AUTS; the network learns that it failed, and nothing else.
		return u.emptyCredentials(uri), nil
	}
	return "", fmt.Errorf("ue: card: %w", err)
}

// ownChallenge finds the challenge of the own realm and scheme. Others are never answered: not one of another realm, which
// would carry our response to a stranger, and not one of another algorithm, by which a box in the path bids us down.
func (u *UE) ownChallenge(resp *sip.Message, header sip.HeaderID) (sip.Challenge, error) {
	reason := ErrChallenge
	for v := range resp.Values(header) {
		c, err := sip.ParseChallenge(v)
		switch {
		case err != nil:
			continue
		case string(c.Realm) != u.identity.HomeDomain:
			if reason == ErrChallenge {
				reason = ErrRealm
			}
			continue
		}
		algorithm, known := aka.ParseDigestAlgorithm(c.Algorithm)
		if !known || algorithm != u.cfg.Scheme {
			reason = ErrDowngrade
			continue
		}
		return c, nil
	}
	return sip.Challenge{}, reason
}

// credentials computes the response (RFC 7616 3.4.1).
func (u *UE) credentials(c *sip.Challenge, method, uri string, password, auts []byte) string {
	d := aka.Digest{
		Algorithm: u.cfg.Scheme, Username: []byte(u.identity.IMPI), Realm: c.Realm, Nonce: c.Nonce,
		Method: []byte(method), URI: []byte(uri),
	}
	if c.HasQOP("auth") {
		d.QOP, d.NC, d.Cnonce = []byte("auth"), []byte("00000001"), []byte(u.token(24))
	}
	var b [64]byte
	out := sip.Credentials{
		Username: d.Username, Realm: d.Realm, Nonce: d.Nonce, URI: d.URI, Response: d.AppendResponse(b[:0], password),
		Algorithm: []byte(u.cfg.Scheme.String()), QOP: d.QOP, NC: d.NC, Cnonce: d.Cnonce, Opaque: c.Opaque, AUTS: auts,
	}
	return string(out.AppendTo(nil))
}

// emptyCredentials name the private identity and answer nothing (TS 24.229 5.1.1.2.2); "" at a server that is no IMS.
func (u *UE) emptyCredentials(uri string) string {
	if u.plain() {
		return ""
	}
	c := sip.Credentials{
		Username: []byte(u.identity.IMPI), Realm: []byte(u.identity.HomeDomain), Nonce: []byte{}, URI: []byte(uri),
		Response: []byte{}, Algorithm: []byte(u.cfg.Scheme.String()),
	}
	return string(c.AppendTo(nil))
}

// quotable reports whether a text may stand in a quoted string or a URI of ours as it is.
func quotable(s string) bool { return !strings.ContainsAny(s, "\"\\\r\n\x00") }
