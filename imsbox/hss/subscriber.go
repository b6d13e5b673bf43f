package hss

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"imsafe/proto/aka"
	"imsafe/proto/sip"
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
	// K and exactly one of OPc and OP, 32 hexadecimal digits each. Only OPc is stored. With tuak K may have 64 digits, and
	// TOPc or TOP, of 64 digits, stand in the place of OPc and OP.
	K    Secret `json:"k,omitempty"`
	OPc  Secret `json:"opc,omitempty"`
	OP   Secret `json:"op,omitempty"`
	TOPc Secret `json:"topc,omitempty"`
	TOP  Secret `json:"top,omitempty"`
	AMF  string `json:"amf,omitempty"` // 4 hexadecimal digits, default 0000: the separation bit is 0 in the IMS
	// Algorithm is "milenage", which is the default, or "tuak" (TS 35.231, one iteration of Keccak, RES of 64 bits).
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
	// Service makes it a public service and no user: its public identities are public service identities, its private identity is a
	// private service identity without keys, and nobody registers (TS 23.228 5.4.12, TS 23.003 13.5, 13.6).
	Service *Service `json:"service,omitempty"`
}

// Service is what a public service has besides its identities.
type Service struct {
	// Server is the application server that hosts it, a SIP URI, where requests go to it without an S-CSCF (TS 23.228 5.7.6). Empty:
	// an S-CSCF finds it by the filter criteria of the service profile.
	Server string `json:"server,omitempty"`
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
	card cardKeys
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
		if s.Service != nil {
			keys[i] = h.checkService(v, prefix, c)
		} else {
			keys[i] = h.checkCard(v, prefix, c, keep)
		}
	}
	if s.Service != nil && s.Service.Server != "" && !isSIPURI(s.Service.Server) {
		v.add("service.server", "%q is not a SIP URI", s.Service.Server)
	}
	if s.Group != "" {
		if m := checkName(s.Group); m != "" {
			v.add("group", "%s", m)
		}
	}
	h.checkSets(v, s.sets(), s.Service != nil)
	return keys, v.found
}

// checkService examines the private identity of a service, which proves itself to nobody.
func (h *HSS) checkService(v *review, prefix string, c *Card) secrets {
	if m := checkIMPI(c.IMPI, h.cfg.HomeDomains); m != "" {
		v.add(prefix+"impi", "%s", m)
	}
	if prefix != "" {
		v.add(prefix+"impi", "a service has one private identity")
	}
	if !c.keyless() || c.Password != "" || c.HA1 != "" || c.AMF != "" || c.IMSI != "" || c.Algorithm != "" || c.Scheme != "" || c.SEQ != 0 || c.Check != nil {
		v.add(prefix+"k", "a service has no card and no password: it never registers")
	}
	return secrets{kept: true}
}

// checkSets examines implicit registration sets, of a user or of a service.
func (h *HSS) checkSets(v *review, sets [][]Public, service bool) {
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
			unbarred = unbarred || !p.Barred && !sip.IsWildcard(p.IMPU)
			registrable = registrable || strings.HasPrefix(p.IMPU, "sip:") && !sip.IsWildcard(p.IMPU)
		}
		switch {
		case len(set) == 0:
			v.add(where, "no public identity")
		case service:
		case !unbarred:
			v.add(where, "every distinct identity is barred, so nobody could register it (TS 29.228 6.1.1.1)")
		case !registrable:
			v.add(where, "no distinct SIP URI, and neither a tel URI nor a range can be registered by itself (TS 23.003 13.4)")
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
	if _, ok := c.algorithmNumber(); !ok && !c.digest() {
		v.add(prefix+"algorithm", "%q is not known; milenage and tuak are", c.Algorithm)
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
	if keep && c.keyless() {
		return secrets{kept: true}
	}
	keys, ok := checkKeys(v, prefix, c)
	if ok && selfTest(h, &keys, amf) != nil {
		v.add(prefix+"k", "the self-test of a vector failed")
	}
	return secrets{card: keys}
}

func uniform(b []byte) bool { return bytes.Count(b, b[:1]) == len(b) }

// errSelfTest is a vector that its own card does not accept.
var errSelfTest = errors.New("hss: vector self-test")

// selfTest makes a vector, lets a card with the same keys answer it, and resynchronises it.
func selfTest(h *HSS, keys *cardKeys, amf aka.AMF) error {
	m, err := keys.algorithm()
	if err != nil {
		return err
	}
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
