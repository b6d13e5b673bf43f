package hss

import (
	"fmt"
	"slices"
	"strings"

	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
)

// A subscriber without a card proves himself by a password (SIP Digest, TS 33.203 Annex N). The password is not
// kept: only H(A1), sealed like the keys of a card. It is as good as the password towards this home network, and
// worth nothing elsewhere, since the realm is in it. MD5 twins of a SHA-256 H(A1) are never made.

// The limits of a password. The least is for guesses made offline from one captured response; those made online
// the S-CSCF counts.
const (
	minPassword = 10
	maxPassword = 128
)

// digest reports whether p is a subscriber without a card.
func (p *private) digest() bool { return p.algorithm == algorithmDigest }

// algorithmName is how the algorithm is shown.
func (p *private) algorithmName() string {
	switch p.algorithm {
	case algorithmDigest:
		return "digest"
	case algorithmTUAK:
		return "tuak"
	case algorithmNone:
		return "none"
	}
	return "milenage"
}

// sound reports whether algorithm and scheme of a record fit each other.
func (p *private) sound() bool {
	switch p.algorithm {
	case algorithmMilenage, algorithmTUAK:
		return p.scheme.AKA()
	case algorithmDigest:
		return p.scheme == aka.SHA256 || p.scheme == aka.MD5
	case algorithmNone:
		return len(p.sealed) == 0
	}
	return false
}

// keeps reports whether the secret of the record serves c as well. Keys are for one algorithm, H(A1) for one hash.
func (p *private) keeps(c *Card) bool {
	scheme, _ := c.scheme()          // checked
	number, _ := c.algorithmNumber() // checked
	return p.algorithm == number && (!p.digest() || p.scheme == scheme)
}

// sealedFor is the associated data of the sealed secret: what was sealed as the one kind of secret does not open as
// another.
func (p *private) sealedFor() []byte {
	switch p.algorithm {
	case algorithmDigest:
		return []byte("H(A1):" + p.impi)
	case algorithmTUAK:
		return []byte("TUAK:" + p.impi)
	}
	return []byte(p.impi)
}

// digest reports whether the card is none: its scheme is one of SIP Digest.
func (c *Card) digest() bool {
	a, ok := c.scheme()
	return ok && !a.AKA()
}

// checkDigest examines a subscriber without a card and computes H(A1). Nothing of the password is quoted.
func (h *HSS) checkDigest(v *review, prefix string, c *Card, keep bool) secrets {
	algorithm, _ := c.scheme() // checked
	if !slices.Contains(h.cfg.Digest, algorithm) {
		v.add(prefix+"scheme", "%s", digestOff(algorithm))
	}
	if !c.keyless() || c.AMF != "" || c.Check != nil || c.Algorithm != "" || c.IMSI != "" || c.SEQ != 0 {
		v.add(prefix+"scheme", "%s is for subscribers without a card, so it goes with password alone", algorithm)
	}
	if keep && c.Password == "" && c.HA1 == "" {
		return secrets{kept: true}
	}
	switch {
	case c.Password != "" && c.HA1 != "":
		v.add(prefix+"password", "both password and ha1 are given; ha1 is computed from the password: give one")
	case c.HA1 != "":
		if len(c.HA1) != algorithm.HexLen() || strings.Trim(string(c.HA1), "0123456789abcdef") != "" {
			v.add(prefix+"ha1", "%d lower-case hexadecimal digits are needed for %s", algorithm.HexLen(), algorithm)
		}
		return secrets{ha1: cx.NewSecretHex(string(c.HA1))}
	default:
		if m := passwordMistake(string(c.Password), c.IMPI); m != "" {
			v.add(prefix+"password", "%s", m)
		}
	}
	return secrets{ha1: cx.NewSecretHex(string(algorithm.AppendHA1(nil, []byte(c.IMPI), []byte(h.realm()), []byte(c.Password))))}
}

// realm is that of the home network's challenges.
func (h *HSS) realm() string { return h.cfg.HomeDomains[0] }

func digestOff(algorithm aka.DigestAlgorithm) string {
	if algorithm == aka.MD5 {
		return "MD5 is only for softphones of the access profile digest-md5, which is off: enabled = true in [ci.digest_md5]"
	}
	return "SIP Digest is off: enabled = true in [ci.digest] admits subscribers without a card"
}

// passwordMistake says what is wrong with a password, without showing it.
func passwordMistake(password, impi string) string {
	user, _, _ := strings.Cut(impi, "@")
	switch {
	case password == "":
		return "missing"
	case len(password) < minPassword:
		return fmt.Sprintf("shorter than %d octets: who records one answer can try all of them", minPassword)
	case len(password) > maxPassword:
		return fmt.Sprintf("longer than %d octets", maxPassword)
	case strings.ContainsFunc(password, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "contains a control character (a line end that was copied with it?)"
	case user != "" && strings.Contains(strings.ToLower(password), strings.ToLower(user)):
		return "contains the name of the user"
	case strings.Trim(password, password[:1]) == "":
		return "all characters are the same"
	}
	return ""
}

// sealHA1 seals H(A1) for a record.
func (h *HSS) sealHA1(p *private, ha1 cx.SecretHex) ([]byte, error) {
	return h.ports.Keys().Seal(nil, h.ports.Random, uint8(TableSubscription), p.sealedFor(), []byte(ha1.Reveal()))
}

// openHA1 is the inverse of sealHA1.
func (h *HSS) openHA1(p *private) (cx.SecretHex, error) {
	plain, err := h.ports.Keys().Open(nil, uint8(TableSubscription), p.sealedFor(), p.sealed)
	if err != nil {
		return cx.SecretHex{}, err
	}
	defer clear(plain)
	if len(plain) != p.scheme.HexLen() {
		return cx.SecretHex{}, fmt.Errorf("%w: H(A1) of %d digits", errRecord, len(plain))
	}
	return cx.NewSecretHex(string(plain)), nil
}

// offers reports whether scheme may be asked for private identity p. The scheme is the subscriber's and nobody picks it
// (TS 33.203 P.3); an S-CSCF that knows no better may ask for "Unknown" where SIP Digest is on at all.
func (h *HSS) offers(p *private, scheme cx.AuthScheme) bool {
	switch {
	case p.digest() && !slices.Contains(h.cfg.Digest, p.scheme):
		return false // the profile of this subscriber is off
	case scheme == cx.SchemeUnknown:
		return len(h.cfg.Digest) > 0
	case p.digest():
		return scheme == cx.SchemeDigest
	}
	return scheme == cx.SchemeDigestAKA
}

// digestAuthenticate makes the one item of an MAA that SIP Digest has (TS 29.228 table 6.3.7).
func (h *HSS) digestAuthenticate(_ *shard.Task, p *pair, r *cx.MultimediaAuthRequest) (*cx.MultimediaAuthAnswer, error) {
	card := &p.owner.privates[p.card]
	if r.Resync != nil {
		return nil, cx.ErrUnableToComply // there is no sequence number
	}
	ha1, err := h.openHA1(card)
	if err != nil {
		return nil, h.unable("open H(A1)", err)
	}
	m := &struct { // one object
		maa
		digest cx.DigestAuthenticate
	}{maa{MultimediaAuthAnswer: cx.MultimediaAuthAnswer{Result: cx.ResultSuccess, IMPI: r.IMPI, IMPU: r.IMPU}},
		cx.DigestAuthenticate{Realm: h.realm(), Algorithm: card.scheme, QOP: "auth", HA1: ha1}}
	m.one[0] = cx.AuthDataItem{Algorithm: card.scheme, Digest: &m.digest}
	m.Items = m.one[:]
	return &m.MultimediaAuthAnswer, nil
}
