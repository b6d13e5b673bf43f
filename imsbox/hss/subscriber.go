package hss

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"imsafe/proto/aka"
	"imsafe/refpoint/cx"
)

// Secret is key material as a person types it, in hexadecimal. It is read from JSON and never written: it
// prints and encodes as a placeholder.
type Secret string

// String returns a placeholder; "" stays "".
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[redacted]"
}

// Format writes a placeholder for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue logs a placeholder.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText encodes a placeholder.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Card is one private identity and the secrets of its card. In an update the keys may be left out: then those
// that are stored stay.
type Card struct {
	IMPI string `json:"impi"`
	IMSI string `json:"imsi,omitempty"`
	// K and exactly one of OPc and OP, 32 hexadecimal digits each. Only OPc is stored.
	K   Secret `json:"k,omitempty"`
	OPc Secret `json:"opc,omitempty"`
	OP  Secret `json:"op,omitempty"`
	AMF string `json:"amf,omitempty"` // 4 hexadecimal digits, default 0000: the separation bit is 0 in the IMS
	// Algorithm is "milenage", which is the default.
	Algorithm string `json:"algorithm,omitempty"`
	// Scheme is AKAv2-SHA-256 (default), AKAv2-MD5 or AKAv1-MD5; without a card SHA-256, or MD5 in the profile
	// digest-md5. It is fixed: no client picks it.
	Scheme string `json:"scheme,omitempty"`
	// Password, or H(A1) = hash(impi:realm:password) in hexadecimal, of a subscriber without a card. Only H(A1) is stored.
	Password Secret `json:"password,omitempty"`
	HA1      Secret `json:"ha1,omitempty"`
	// SEQ is where the sequence numbers of a card that was used elsewhere begin; a new card begins at 0.
	SEQ uint64 `json:"seq,omitempty"`
	// Check is a known answer of the card, from its data sheet or a reader: it proves that K and OPc are right
	// before the first registration fails.
	Check *KnownAnswer `json:"check,omitempty"`
}

// KnownAnswer is RAND and the RES that the card gives, in hexadecimal.
type KnownAnswer struct {
	RAND string `json:"rand"`
	RES  Secret `json:"res"`
}

// Public is one public identity.
type Public struct {
	IMPU        string `json:"impu"`
	Barred      bool   `json:"barred,omitempty"`
	DisplayName string `json:"display_name,omitempty"`
	Profile     string `json:"profile,omitempty"` // service profile; empty: that of the group
}

// Subscriber is an IMS subscription as a person provisions it. Public is one implicit registration set, in
// order: the first identity that is not barred is the default. Sets are further ones.
type Subscriber struct {
	Card
	MoreCards []Card     `json:"more_cards,omitempty"`
	Group     string     `json:"group,omitempty"`
	Public    []Public   `json:"public"`
	Sets      [][]Public `json:"sets,omitempty"`
}

// cards returns all private identities.
func (s *Subscriber) cards() []*Card {
	all := []*Card{&s.Card}
	for i := range s.MoreCards {
		all = append(all, &s.MoreCards[i])
	}
	return all
}

// sets returns all implicit registration sets.
func (s *Subscriber) sets() [][]Public { return append([][]Public{s.Public}, s.Sets...) }

// secrets are the checked keys of a card; kept is true if those in the store stay.
type secrets struct {
	k    aka.K
	opc  aka.OPc
	ha1  cx.SecretHex // without a card
	kept bool
}

// check examines everything that can be examined without the store. keep allows cards without keys.
func (h *HSS) check(s *Subscriber, keep bool) ([]secrets, Mistakes) {
	v := &review{subject: s.IMPI}
	if s.IMPI == "" {
		v.subject = "(no private identity)"
	}
	seen := map[string]bool{}
	cards := s.cards()
	if len(cards) > maxCards {
		v.add("more_cards", "%d private identities, at most %d", len(cards), maxCards)
	}
	keys := make([]secrets, len(cards))
	for i, c := range cards {
		prefix := ""
		if i > 0 {
			prefix = fmt.Sprintf("more_cards[%d].", i-1)
		}
		if seen[c.IMPI] {
			v.add(prefix+"impi", "%q stands twice", c.IMPI)
		}
		seen[c.IMPI] = true
		keys[i] = h.checkCard(v, prefix, c, keep)
	}
	if s.Group != "" {
		if m := checkName(s.Group); m != "" {
			v.add("group", "%s", m)
		}
	}
	h.checkSets(v, s.sets())
	return keys, v.found
}

func (h *HSS) checkSets(v *review, sets [][]Public) {
	if len(sets) > maxSets {
		v.add("sets", "%d implicit registration sets, at most %d", len(sets), maxSets)
	}
	seen := map[string]bool{}
	for i, set := range sets {
		where := "public"
		if i > 0 {
			where = fmt.Sprintf("sets[%d]", i-1)
		}
		if len(set) > maxIdentities {
			v.add(where, "%d identities, at most %d", len(set), maxIdentities)
		}
		unbarred, registrable := false, false
		for j, p := range set {
			field := fmt.Sprintf("%s[%d]", where, j)
			if m := checkIMPU(p.IMPU, h.cfg.HomeDomains); m != "" {
				v.add(field+".impu", "%s", m)
			}
			if seen[p.IMPU] {
				v.add(field+".impu", "%q stands twice", p.IMPU)
			}
			seen[p.IMPU] = true
			if m := checkDisplay(p.DisplayName); m != "" {
				v.add(field+".display_name", "%s", m)
			}
			if p.Profile != "" {
				if m := checkName(p.Profile); m != "" {
					v.add(field+".profile", "%s", m)
				}
			}
			unbarred = unbarred || !p.Barred
			registrable = registrable || strings.HasPrefix(p.IMPU, "sip:")
		}
		switch {
		case len(set) == 0:
			v.add(where, "no public identity")
		case !unbarred:
			v.add(where, "every identity is barred, so nobody could register it (TS 29.228 6.1.1.1)")
		case !registrable:
			v.add(where, "no SIP URI, and a tel URI cannot be registered by itself (TS 23.003 13.4)")
		}
	}
}

// checkCard examines one card and runs the self-test of its vectors.
func (h *HSS) checkCard(v *review, prefix string, c *Card, keep bool) secrets {
	if m := checkIMPI(c.IMPI, h.cfg.HomeDomains); m != "" {
		v.add(prefix+"impi", "%s", m)
	}
	if c.IMSI != "" && !digits(c.IMSI, 6, 15) {
		v.add(prefix+"imsi", "%q is not 6 to 15 digits", c.IMSI)
	}
	if c.Algorithm != "" && c.Algorithm != "milenage" {
		v.add(prefix+"algorithm", "%q is not known; only milenage is", c.Algorithm)
	}
	if _, ok := c.scheme(); !ok {
		v.add(prefix+"scheme", "%q is not one of AKAv2-SHA-256, AKAv2-MD5, AKAv1-MD5; SHA-256 and MD5 without a card", c.Scheme)
	}
	if c.digest() {
		return h.checkDigest(v, prefix, c, keep)
	}
	if c.Password != "" || c.HA1 != "" {
		v.add(prefix+"password", "a card has keys and no password; without one give scheme SHA-256")
	}
	amf, ok := c.amf()
	if !ok {
		v.add(prefix+"amf", "%q is not 4 hexadecimal digits", c.AMF)
	}
	if c.SEQ > aka.MaxSEQ/2 {
		v.add(prefix+"seq", "%d leaves too few of the 43-bit numbers", c.SEQ)
	}
	if keep && c.K == "" && c.OPc == "" && c.OP == "" {
		return secrets{kept: true}
	}
	keys, ok := checkKeys(v, prefix, c)
	if ok && selfTest(h, keys, amf) != nil {
		v.add(prefix+"k", "the self-test of a vector failed")
	}
	return keys
}

// checkKeys reads K and OPc or OP, and holds them against the known answer if there is one.
func checkKeys(v *review, prefix string, c *Card) (keys secrets, ok bool) {
	before := len(v.found)
	var err error
	if keys.k, err = aka.ParseK(string(c.K)); err != nil {
		v.add(prefix+"k", "%s", keyMistake(c.K))
	}
	var op aka.OP
	switch {
	case c.OPc != "" && c.OP != "":
		v.add(prefix+"opc", "both OPc and OP are given; OP is the operator's, OPc is computed from it and K: give one")
	case c.OPc == "" && c.OP == "":
		v.add(prefix+"opc", "neither OPc nor OP is given")
	case c.OPc != "":
		if keys.opc, err = aka.ParseOPc(string(c.OPc)); err != nil {
			v.add(prefix+"opc", "%s", keyMistake(c.OPc))
		}
	default:
		if op, err = aka.ParseOP(string(c.OP)); err != nil {
			v.add(prefix+"op", "%s", keyMistake(c.OP))
		}
	}
	if len(v.found) != before {
		return secrets{}, false
	}
	if c.OP != "" {
		keys.opc = aka.DeriveOPc(keys.k, op)
	}
	switch {
	case uniform(keys.k[:]):
		v.add(prefix+"k", "all octets are the same: that is not a key")
	case aka.OPc(keys.k) == keys.opc:
		v.add(prefix+"opc", "K and OPc are the same value")
	}
	if c.Check != nil {
		checkKnownAnswer(v, prefix, c, keys)
	}
	return keys, len(v.found) == before
}

// keyMistake says what is wrong with hexadecimal digits, without showing them.
func keyMistake(s Secret) string {
	switch {
	case s == "":
		return "missing"
	case strings.Trim(string(s), "0123456789abcdefABCDEF") != "" || strings.ContainsAny(string(s), " \t\r\n"):
		return "contains something that is not a hexadecimal digit (a space, a dot, an O for a 0?)"
	}
	return fmt.Sprintf("%d hexadecimal digits; 32 are needed (128 bits)", len(s))
}

func uniform(b []byte) bool { return bytes.Count(b, b[:1]) == len(b) }

// checkKnownAnswer finds the classic mistake: OP given as OPc, or the reverse.
func checkKnownAnswer(v *review, prefix string, c *Card, keys secrets) {
	rnd, err1 := hex.DecodeString(c.Check.RAND)
	want, err2 := hex.DecodeString(string(c.Check.RES))
	if errors.Join(err1, err2) != nil || len(rnd) != 16 || len(want) < 4 || len(want) > 16 {
		v.add(prefix+"check", "RAND is 32 hexadecimal digits, RES 8 to 32")
		return
	}
	answers := func(k aka.K, opc aka.OPc) bool {
		res, _, _, _ := aka.NewMilenage(k, opc).F2345(aka.RAND(rnd))
		expected := aka.NewRES(want)
		return res.Equal(&expected)
	}
	switch {
	case answers(keys.k, keys.opc):
	case c.OPc != "" && answers(keys.k, aka.DeriveOPc(keys.k, aka.OP(keys.opc))):
		v.add(prefix+"opc", "this is OP, not OPc: the known answer fits when it is taken as OP")
	case c.OP != "" && answers(keys.k, mustOPc(c.OP)):
		v.add(prefix+"op", "this is OPc, not OP: the known answer fits when it is taken as OPc")
	default:
		v.add(prefix+"check", "the known answer does not fit: K or OPc is wrong")
	}
}

// mustOPc reads digits that were read as OP before.
func mustOPc(s Secret) aka.OPc {
	opc, _ := aka.ParseOPc(string(s)) // the same digits were accepted as OP
	return opc
}

// errSelfTest is a vector that its own card does not accept.
var errSelfTest = errors.New("hss: vector self-test")

// selfTest makes a vector, lets a card with the same keys answer it, and resynchronises it.
func selfTest(h *HSS, keys secrets, amf aka.AMF) error {
	m := aka.NewMilenage(keys.k, keys.opc)
	v := new(aka.Vector)
	sqn := aka.MakeSQN(1, h.cfg.IND)
	if err := aka.Generate(m, h.ports.Random, sqn, amf, v); err != nil {
		return err
	}
	o, err := aka.Open(m, v.RAND, v.AUTN)
	if err != nil || o.SQN != sqn || o.AMF != amf || !o.RES.Equal(&v.XRES) {
		return errSelfTest
	}
	if back, err := aka.OpenAUTS(m, v.RAND, aka.MakeAUTS(m, v.RAND, sqn)); err != nil || back != sqn {
		return errSelfTest
	}
	return nil
}

func (c *Card) scheme() (aka.DigestAlgorithm, bool) {
	if c.Scheme == "" {
		return aka.AKAv2SHA256, true
	}
	a, ok := aka.ParseDigestAlgorithm([]byte(c.Scheme))
	return a, ok
}

func (c *Card) amf() (aka.AMF, bool) {
	var amf aka.AMF
	if c.AMF == "" {
		return amf, true
	}
	if len(c.AMF) != 4 {
		return amf, false
	}
	_, err := hex.Decode(amf[:], []byte(c.AMF))
	return amf, err == nil
}
