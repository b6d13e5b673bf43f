// Package passport is the Personal Assertion Token (PASSporT, RFC 8225) and the SIP Identity header field that carries it (RFC 8224):
// parsed strictly, signed, verified.
//
// It knows four types: the plain one of a request, "div" of a call that was diverted (RFC 8946), "rsp" of an answer (RFC 9970), and "grant",
// our own, which says that a service platform is an end of the media and what it may do with them. A token is read in one form only, the
// canonical one of RFC 8225 9, and in full; the signature is go-jose's. Certificate chains are judged by Chain, replays by Once; where
// certificates come from, and who is believed about whom, is for others to say.
//
// It does not do the compact form, SHAKEN (RFC 8588), nor certificates with lists of numbers (RFC 8226). Values are not changed once made;
// all functions are safe for concurrent use.
package passport

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Type is the type of a PASSporT, as its ppt names it (RFC 8225 8.1).
type Type string

// The types.
const (
	Plain Type = ""      // of the caller, in a request (RFC 8225)
	Div   Type = "div"   // of a network that sends the call elsewhere (RFC 8946)
	Rsp   Type = "rsp"   // of who has answered, in a response (RFC 9970)
	Grant Type = "grant" // of a service platform that is an end of the media (ours)
)

// Errors of Parse, ParseIdentity, Verify and Fresh.
var (
	ErrForm      = errors.New("passport: malformed, or not in canonical form")
	ErrType      = errors.New("passport: unknown type")
	ErrAlgorithm = errors.New("passport: algorithm is not ES256")
	ErrClaims    = errors.New("passport: claims do not fit the type")
	ErrInfo      = errors.New("passport: header field and token name different certificates or types")
	ErrSignature = errors.New("passport: signature does not verify")
	ErrStale     = errors.New("passport: iat is not recent, or the grant has ended")
)

// Sizes. An Identity header field that is longer is not read.
const (
	MaxToken = 4096 // octets of a token
	maxList  = 16   // identities, fingerprints, media classes
)

// MaxLife is the longest life of a grant: it bounds the beginning of a session, the dialog bounds its end.
const MaxLife = 60 * time.Second

// Window is how far iat may be from the clock of who verifies, both ways (RFC 8224 5.2: a minute).
const Window = 60 * time.Second

// Identity is a telephone number, digits alone (RFC 8224 8.3), or a URI in canonical form; the zero value is none.
type Identity struct{ TN, URI string }

// String returns the number with its plus sign, or the URI.
func (i Identity) String() string {
	if i.TN != "" {
		return "tel:+" + i.TN
	}
	return i.URI
}

// IdentityOf makes the identity of a canonical SIP or tel URI: a global number is written as one (RFC 8224 8.3).
func IdentityOf(uri string) Identity {
	if tn, global := strings.CutPrefix(uri, "tel:+"); global {
		return Identity{TN: tn}
	}
	return Identity{URI: uri}
}

// Fingerprint is one media key (RFC 8225 5.2.2): the name of a hash, and its digest in upper-case hexadecimal without colons.
type Fingerprint struct {
	Algorithm string `json:"alg"`
	Digest    string `json:"dig"`
}

// Media bounds one class of media of a grant.
type Media struct {
	Class string `json:"class"` // "audio", "video"
	Kbps  int    `json:"kbps"`  // highest bit rate, kbit/s; 0: no bound is stated
}

// Grants is what a grant says beside the identities and the keys. Service is the SPIFFE id of the platform.
type Grants struct {
	Service string
	Scope   []string // of "send", "receive", "record", "mix"; sorted
	Media   []Media
	Expires time.Time // MaxLife after iat at the latest, in whole seconds
	ID      string    // jti
	Session string    // odi: hash of the original dialog identifier, or "" where the platform has begun the session
}

// May says whether the scope has a direction.
func (g *Grants) May(direction string) bool { return g != nil && slices.Contains(g.Scope, direction) }

// PASSporT is one token.
type PASSporT struct {
	Type     Type
	Info     string // x5u: the URL of the signer's certificates
	Orig     Identity
	Dest     []Identity
	IssuedAt time.Time // in whole seconds
	Keys     []Fingerprint
	Div      Identity // Div: from whom the call was diverted
	Grants   *Grants  // of a grant, and of an answer that is one

	token string // as it was read or signed
}

// protected is the protected header, in the order of RFC 8225 9.
type protected struct {
	Alg string `json:"alg"`
	Ppt Type   `json:"ppt,omitempty"`
	Typ string `json:"typ"`
	X5U string `json:"x5u"`
}

// many is the dest claim, one the orig and div claims (RFC 8225 5.2.1).
type (
	many struct {
		TN  []string `json:"tn,omitempty"`
		URI []string `json:"uri,omitempty"`
	}
	one struct {
		TN  string `json:"tn,omitempty"`
		URI string `json:"uri,omitempty"`
	}
)

// payload is the claims, in the order of RFC 8225 9.
type payload struct {
	Dest many          `json:"dest"`
	Div  *one          `json:"div,omitempty"`
	Exp  int64         `json:"exp,omitempty"`
	Iat  int64         `json:"iat"`
	Jti  string        `json:"jti,omitempty"`
	Mky  []Fingerprint `json:"mky,omitempty"`
	Ml   []Media       `json:"ml,omitempty"`
	Odi  string        `json:"odi,omitempty"`
	Orig one           `json:"orig"`
	Scp  []string      `json:"scp,omitempty"`
	Svc  string        `json:"svc,omitempty"`
}

// canonical writes JSON as RFC 8225 9 wants it: no white space, nothing escaped that need not be, members in the order of the types above.
func canonical(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Parse reads a token in the full, canonical form. It does not verify the signature: Verify does. Errors: ErrForm, ErrAlgorithm, ErrType,
// ErrClaims.
func Parse(token string) (*PASSporT, error) {
	if len(token) > MaxToken {
		return nil, ErrForm
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 || parts[2] == "" {
		return nil, ErrForm
	}
	var h protected
	var c payload
	if err := read(parts[0], &h); err != nil {
		return nil, err
	}
	switch {
	case h.Alg != string(jose.ES256):
		return nil, ErrAlgorithm
	case h.Typ != "passport" || h.X5U == "":
		return nil, ErrForm
	case h.Ppt != Plain && h.Ppt != Div && h.Ppt != Rsp && h.Ppt != Grant:
		return nil, ErrType
	}
	if err := read(parts[1], &c); err != nil {
		return nil, err
	}
	p := &PASSporT{Type: h.Ppt, Info: h.X5U, IssuedAt: time.Unix(c.Iat, 0), Orig: Identity(c.Orig), Keys: c.Mky, token: token}
	for _, n := range c.Dest.TN {
		p.Dest = append(p.Dest, Identity{TN: n})
	}
	for _, u := range c.Dest.URI {
		p.Dest = append(p.Dest, Identity{URI: u})
	}
	if c.Div != nil {
		p.Div = Identity(*c.Div)
	}
	if c.Svc != "" || c.Exp != 0 || c.Jti != "" || c.Odi != "" || len(c.Scp)+len(c.Ml) > 0 {
		p.Grants = &Grants{Service: c.Svc, Scope: c.Scp, Media: c.Ml, Expires: time.Unix(c.Exp, 0), ID: c.Jti, Session: c.Odi}
	}
	return p, p.check()
}

// read decodes one part of a token into v and refuses what v would not be written as: white space, other orders, members twice or unknown.
// Two readers can then not read it differently.
func read(part string, v any) error {
	text, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return ErrForm
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return ErrForm
	}
	again, err := canonical(v)
	if err != nil || !bytes.Equal(again, text) {
		return ErrForm
	}
	return nil
}

// check wants the claims that the type has, and no others.
func (p *PASSporT) check() error {
	orig, div := p.Orig.sound(), p.Div.sound()
	switch {
	case !orig || len(p.Dest) == 0 || len(p.Dest) > maxList || slices.ContainsFunc(p.Dest, func(i Identity) bool { return !i.sound() }):
		return fmt.Errorf("%w: orig and dest", ErrClaims)
	case p.IssuedAt.Unix() <= 0 || p.IssuedAt.Unix() > 1<<40:
		return fmt.Errorf("%w: iat", ErrClaims)
	case (p.Type == Div) != div || p.Div != (Identity{}) && !div:
		return fmt.Errorf("%w: div", ErrClaims)
	case len(p.Keys) > maxList || !slices.IsSortedFunc(p.Keys, compareKeys) || p.Type == Div && len(p.Keys) > 0:
		return fmt.Errorf("%w: mky", ErrClaims)
	case slices.ContainsFunc(p.Keys, func(f Fingerprint) bool { return f.Algorithm == "" || !isHex(f.Digest) }):
		return fmt.Errorf("%w: mky", ErrClaims)
	case p.Type == Grant && p.Grants == nil, p.Grants != nil && p.Type != Grant && p.Type != Rsp:
		return fmt.Errorf("%w: svc", ErrClaims)
	case p.Grants != nil:
		return p.Grants.check(p)
	}
	return nil
}

func (i Identity) sound() bool {
	if i.TN != "" {
		return i.URI == "" && strings.Trim(i.TN, "0123456789") == ""
	}
	return i.URI != ""
}

func (g *Grants) check(p *PASSporT) error {
	life := g.Expires.Sub(p.IssuedAt)
	known := func(s string) bool { return s == "mix" || s == "receive" || s == "record" || s == "send" }
	switch {
	case g.Service == "" || g.ID == "" || len(p.Keys) == 0:
		return fmt.Errorf("%w: svc, jti and mky", ErrClaims)
	case life <= 0 || life > MaxLife:
		return fmt.Errorf("%w: exp", ErrClaims)
	case len(g.Scope) == 0 || !slices.IsSorted(g.Scope) || len(slices.Compact(slices.Clone(g.Scope))) != len(g.Scope) ||
		slices.ContainsFunc(g.Scope, func(s string) bool { return !known(s) }):
		return fmt.Errorf("%w: scp", ErrClaims)
	case len(g.Media) > maxList || slices.ContainsFunc(g.Media, func(m Media) bool { return m.Class == "" || m.Kbps < 0 }):
		return fmt.Errorf("%w: ml", ErrClaims)
	}
	return nil
}

func isHex(s string) bool { return s != "" && strings.Trim(s, "0123456789ABCDEF") == "" }

// compareKeys orders media keys by name and digest together (RFC 8225 5.2.2).
func compareKeys(a, b Fingerprint) int {
	return strings.Compare(a.Algorithm+a.Digest, b.Algorithm+b.Digest)
}

// Verify checks the signature with the public key of the signer, on P-256: ErrSignature.
func (p *PASSporT) Verify(key *ecdsa.PublicKey) error {
	signed, err := jose.ParseSignedCompact(p.token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if _, err := signed.Verify(key); err != nil {
		return ErrSignature
	}
	return nil
}

// Fresh says whether the token is of now: iat within Window of it, a grant not over (RFC 8224 6.2.3). ErrStale.
func (p *PASSporT) Fresh(now time.Time) error {
	if d := now.Sub(p.IssuedAt); d > Window || d < -Window {
		return ErrStale
	}
	if p.Grants != nil && now.After(p.Grants.Expires) {
		return ErrStale
	}
	return nil
}

// Covers says whether the signed media keys are these and no others, in whatever order.
func (p *PASSporT) Covers(keys []Fingerprint) bool {
	return slices.Equal(p.Keys, Sorted(keys))
}

// Sorted returns media keys in the order of the claim, each once.
func Sorted(keys []Fingerprint) []Fingerprint {
	list := slices.Clone(keys)
	slices.SortFunc(list, compareKeys)
	return slices.Compact(list)
}

// For says whether an identity is one of those that the token is for.
func (p *PASSporT) For(i Identity) bool { return slices.Contains(p.Dest, i) }

// Token returns the token as it was read or signed.
func (p *PASSporT) Token() string { return p.token }
