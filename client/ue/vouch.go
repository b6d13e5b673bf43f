package ue

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"imsafe/proto/passport"
	"imsafe/proto/sip"
)

// Vouching is how a client finds out whom its home network vouches for (RFC 8224 6): the other end of a call, its media keys, and the service
// platform that is an end of the media.
type Vouching struct {
	// Roots are what the certificates of the network's signers lead to.
	Roots *x509.CertPool
	// Fetch returns what is at an https URL of the home network: certificates in PEM (RFC 8555 9.1). It is called in a goroutine of its own and
	// must end. It is asked for no URL of anybody else: who could name others would learn who is called, and when.
	Fetch func(ctx context.Context, url string) ([]byte, error)
	// Required refuses every call that the network does not vouch for: 428 to who calls, BYE to who answers. Without it such a call is one of
	// which nothing is known. What is signed and false is refused in any case. An emergency call is ended for neither.
	Required bool
}

// Vouched is whom the home network vouches for at the other end of a call. The zero value is nobody.
type Vouched struct {
	By       string   // the network
	Identity string   // who calls, or who has answered; anonymous@anonymous.invalid for one who does not want to be known
	Service  string   // SPIFFE id of the service platform that is the end of the media; "" if it is Identity's own device
	Scope    []string // what it may do with them: "mix", "receive", "record", "send"
	Diverted []string // from whom the call was diverted, the first one first
}

// String says it in one line for a person: "IMS vouches: echo@as".
func (v Vouched) String() string {
	switch {
	case v.By == "":
		return "nobody vouches"
	case v.Service == "":
		return "IMS vouches: " + v.Identity
	}
	return "IMS vouches: " + v.Service[strings.LastIndexByte(v.Service, '/')+1:] + "@as"
}

// May says whether the service may do something with the media.
func (v Vouched) May(direction string) bool { return slices.Contains(v.Scope, direction) }

// Vouched returns whom the network vouches for. It is known from OnCall or Answered on. Any goroutine.
func (c *Call) Vouched() Vouched {
	c.events.mu.Lock()
	defer c.events.mu.Unlock()
	return c.vouched
}

// ErrVouched says that what vouches for the other end is missing, false, or for something else.
var ErrVouched = errors.New("ue: the network does not vouch for it")

// vouchError is why, with the status that RFC 8224 6.2.2 has for it.
type vouchError struct {
	code   int
	reason string
	cause  error
}

// Error says why.
func (e *vouchError) Error() string { return fmt.Sprintf("%v: %s", ErrVouched, e.reason) }

// Unwrap leads to ErrVouched and the cause.
func (e *vouchError) Unwrap() []error { return []error{ErrVouched, e.cause} }

// codeOf is the status that refuses an INVITE for err (RFC 8224 6.2.2).
func codeOf(err error) int {
	var why *vouchError
	if errors.As(err, &why) {
		return why.code
	}
	return 438
}

func unvouched(code int, reason string, cause error) *vouchError {
	return &vouchError{code, reason, cause}
}

// claim is what a message with a session description says of its sender, to be checked.
type claim struct {
	answer bool
	tokens []*passport.PASSporT
	keys   []passport.Fingerprint
	callID string
	called []passport.Identity // who we are
	sender passport.Identity   // whom the network asserts (RFC 3325); zero: nobody
	broken error               // an Identity field that cannot be read
	within bool                // it is a request in a dialog,
	with   string              // in which the network has vouched for him; "": for nobody
}

// maxIdentity bounds the Identity fields that are read: a voucher, and five diversions.
const maxIdentity = 8

// claimOf reads the claim of a message.
func (u *UE) claimOf(m *sip.Message) claim {
	c := claim{answer: !m.IsRequest(), keys: passport.KeysOf(m.Body()), callID: string(m.Get(sip.HdrCallID))}
	for v := range m.Values(sip.HdrIdentity) {
		p, err := passport.ParseIdentity(v)
		switch {
		case errors.Is(err, passport.ErrType): // for others
		case err != nil:
			c.broken = err
		case len(c.tokens) < maxIdentity:
			c.tokens = append(c.tokens, p)
		}
	}
	own := append([]string{u.impu}, u.reg.current.IMPUs...)
	if called, ok := sip.PublicIdentity(m.Get(sip.HdrPCalledPartyID)); ok {
		own = append(own, called)
	}
	for _, uri := range own {
		if id, ok := sip.PublicIdentity([]byte(uri)); ok {
			c.called = append(c.called, passport.IdentityOf(id))
		}
	}
	if id, ok := sip.PublicIdentity(m.Get(sip.HdrPAssertedIdentity)); ok {
		c.sender = passport.IdentityOf(id)
	}
	return c
}

// signerKey is a certificate that was fetched and leads to a root.
type signerKey struct {
	key    *ecdsa.PublicKey
	domain string
	until  time.Time
}

// vouchers are the signers that are known, and what was seen of them. On the shard.
type vouchers struct {
	known   map[string]signerKey // by URL
	waiting map[string][]func()  // for a URL that is being fetched
	once    passport.Once
}

// The bounds of what is remembered and fetched.
const (
	maxSigners = 32
	maxFetches = 4
)

// vouch checks a claim and says what came of it, at once or, where certificates must be fetched, later; on the shard.
func (u *UE) vouch(c claim, then func(Vouched, error)) {
	if u.cfg.Vouching == nil {
		then(Vouched{}, nil)
		return
	}
	var missing []string
	for _, p := range c.tokens {
		k, known := u.vouchers.known[p.Info]
		if (!known || u.cfg.Clock.Wall().After(k.until)) && u.isHome(p.Info) && !slices.Contains(missing, p.Info) {
			missing = append(missing, p.Info)
		}
	}
	open := len(missing)
	judge := func() {
		if open--; open <= 0 {
			then(u.judge(c))
		}
	}
	if open == 0 {
		judge()
	}
	for _, at := range missing {
		u.fetch(at, judge)
	}
}

// isHome reports whether certificates at a URL are the home network's: by https, at the name that the network has for it.
func (u *UE) isHome(at string) bool {
	parsed, err := url.Parse(at)
	return err == nil && parsed.Scheme == "https" && parsed.User == nil && strings.EqualFold(parsed.Hostname(), "cs."+u.identity.HomeDomain)
}

// fetch gets the certificates at a URL, once for all who wait for them.
func (u *UE) fetch(at string, then func()) {
	v := &u.vouchers
	waiting, running := v.waiting[at]
	if !running && len(v.waiting) >= maxFetches {
		then()
		return
	}
	if v.waiting == nil {
		v.waiting, v.known = map[string][]func(){}, map[string]signerKey{}
	}
	v.waiting[at] = append(waiting, then)
	if running {
		return
	}
	u.wg.Go(func() {
		text, err := u.cfg.Vouching.Fetch(u.ctx, at)
		u.post(func() { u.fetched(at, text, err) })
	})
}

// fetched keeps a signer whose certificates lead to a root, and lets those go on who waited.
func (u *UE) fetched(at string, text []byte, err error) {
	v := &u.vouchers
	var k signerKey
	if err == nil {
		k.key, k.domain, k.until, err = passport.Chain(text, u.cfg.Vouching.Roots, u.cfg.Clock.Wall())
	}
	if err != nil {
		u.log.Warn("certificates of a signer not accepted", "error", err)
	} else {
		if len(v.known) >= maxSigners {
			clear(v.known)
		}
		v.known[at] = k
	}
	waiting := v.waiting[at]
	delete(v.waiting, at)
	for _, then := range waiting {
		then()
	}
}

// judge is the verification service (RFC 8224 6.2), when all certificates are there that can be had.
func (u *UE) judge(c claim) (Vouched, error) {
	if c.broken != nil {
		return Vouched{}, unvouched(438, "an Identity field cannot be read", c.broken)
	}
	now := u.cfg.Clock.Wall()
	var sound []*passport.PASSporT
	var missing error
	for _, p := range c.tokens {
		k, known := u.vouchers.known[p.Info]
		if !known {
			missing = unvouched(436, "the certificates of a signer are not to be had", nil)
			continue
		}
		if err := p.Verify(k.key); err != nil {
			return Vouched{}, unvouched(438, "a signature does not verify", err)
		}
		if err := p.Fresh(now); err != nil {
			return Vouched{}, unvouched(403, "a token is stale", err)
		}
		if !u.vouchers.once.First(p, c.callID, now) {
			return Vouched{}, unvouched(438, "a token is of another call", nil)
		}
		if !u.speaks(k, p) {
			return Vouched{}, unvouched(437, "a signer speaks for another network", nil)
		}
		sound = append(sound, p)
	}
	v, err := c.vouches(sound)
	if err == nil && v.Identity == "" && u.cfg.Vouching.Required {
		err = missing
		if err == nil {
			err = unvouched(428, "nothing vouches for the other end", nil)
		}
	}
	if err == nil && v.Identity != "" {
		v.By = u.identity.HomeDomain
	}
	return v, err
}

// speaks reports whether a signer may speak for whom a token is about: those of his network, and telephone numbers for the home network's
// (RFC 8224 7.2).
func (u *UE) speaks(k signerKey, p *passport.PASSporT) bool {
	about := p.Orig
	switch {
	case p.Type == passport.Div:
		about = p.Div
	case p.Type == passport.Rsp:
		about = p.Dest[0]
	}
	if g := p.Grants; g != nil && !strings.HasPrefix(g.Service, "spiffe://"+k.domain+"/as/") {
		return false
	}
	_, host, sipURI := strings.Cut(about.URI, "@")
	return k.domain == u.identity.HomeDomain && (!sipURI || host == k.domain || host == "anonymous.invalid" || p.Type == passport.Grant || p.Grants != nil)
}

// vouches compares what was signed with the message it came in: who, for whom, and with which media keys. A Vouched without identity is that
// of nobody.
func (c *claim) vouches(sound []*passport.PASSporT) (v Vouched, err error) {
	var main *passport.PASSporT
	for _, p := range sound {
		if fits := p.Type == passport.Rsp; p.Type == passport.Div || fits != c.answer {
			continue
		}
		if main != nil {
			return v, unvouched(438, "two tokens vouch for one end", nil)
		}
		main = p
	}
	if main == nil {
		return v, nil
	}
	who := main.Orig
	if c.answer {
		who = main.Dest[0]
	}
	nobody := strings.HasSuffix(who.URI, "@anonymous.invalid")
	switch {
	case !main.Covers(c.keys):
		return v, unvouched(438, "the media keys are not the signed ones", nil)
	case c.with != "" && who.String() != c.with && main.Grants == nil:
		return v, unvouched(438, "the token is of somebody who is not in the call", nil)
	case !nobody && c.sender != (passport.Identity{}) && who != c.sender && !c.answer:
		return v, unvouched(438, "the token is of another caller", nil)
	}
	v.Identity = who.String()
	if g := main.Grants; g != nil {
		v.Service, v.Scope = g.Service, g.Scope
	}
	if c.answer {
		if !slices.Contains(c.called, main.Orig) && !strings.HasSuffix(main.Orig.URI, "@anonymous.invalid") {
			return Vouched{}, unvouched(438, "the token is for another caller", nil)
		}
		return v, nil
	}
	if c.within {
		return v, nil // whom it was for was seen when the call began: To names him by what the caller had dialled
	}
	v.Diverted, err = c.arrives(main, sound)
	if err != nil {
		return Vouched{}, err
	}
	return v, nil
}

// arrives follows the diversions from whom a token is for to us (RFC 8946 4.2).
func (c *claim) arrives(main *passport.PASSporT, sound []*passport.PASSporT) (diverted []string, err error) {
	at := main
	for range maxIdentity {
		if slices.ContainsFunc(c.called, at.For) {
			return diverted, nil
		}
		i := slices.IndexFunc(sound, func(p *passport.PASSporT) bool { return p.Type == passport.Div && at.For(p.Div) && p.Orig == main.Orig })
		if i < 0 {
			break
		}
		at = sound[i]
		diverted = append(diverted, at.Div.String())
	}
	return nil, unvouched(438, "the token is for somebody else", nil)
}
