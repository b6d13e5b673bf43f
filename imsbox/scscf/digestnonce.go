package scscf

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"imsafe/proto/aka"
	"imsafe/proto/budget"
	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
)

// The bounds of what is kept of a subscriber without a card.
const (
	maxDigestPaths = 32            // associations of one private identity, most of them perhaps those of somebody who guesses
	liveNonces     = 8             // of one association and kind: calls that begin at the same moment have one each
	nonceLife      = 2 * time.Hour // an older one is stale
)

// nonceKind keeps the nonces of REGISTER and of all other requests apart (TS 33.203 N.2.1.2).
type nonceKind uint8

const (
	forRegister nonceKind = iota
	forOthers
	nonceKinds
)

// digestVerdict is what came out of judging an answer.
type digestVerdict uint8

const (
	digestWrong digestVerdict = iota
	digestStale
	digestGenuine
)

// digests are the subscribers without a card that this S-CSCF knows: H(A1) and the nonces in use. Memory only: the TLS
// connections they belong to do not outlive the process either. Safe for concurrent use.
type digests struct {
	algorithms []aka.DigestAlgorithm
	random     io.Reader
	guesses    guesses

	crowded func(impi string) bool // SCSCF.refusesCrowd

	mu     sync.Mutex
	users  map[string]*digestUser // by private identity
	tokens map[string]tokenOf
	swept  time.Duration // when some of users were looked at
}

// digestUser is one subscriber. Whoever is here is challenged on every path.
type digestUser struct {
	algorithm aka.DigestAlgorithm
	ha1       cx.SecretHex
	until     time.Duration
	paths     []*digestPath // few, so they are looked through
}

// digestPath is one flow: its nonces are good there and nowhere else.
type digestPath struct {
	tie
	until  time.Duration
	from   budget.Waiting
	proven bool   // a registration was accepted by it
	token  string // in Service-Route, "" without a wire
	nonces [nonceKinds]nonceRing
}

// nonceRing keeps the newest nonces.
type nonceRing struct {
	all  [liveNonces]nonce
	next int
}

type nonce struct {
	octets random128
	given  bool   // this place has one
	count  uint32 // the highest nc that came
	issued time.Duration
}

// random128 are 128 random bits. Written out they are hexadecimal digits, in lower case.
type random128 [16]byte

func (r *random128) text() []byte { return hex.AppendEncode(make([]byte, 0, 2*len(r)), r[:]) }

// is reports whether text is r, written out.
func (r *random128) is(text []byte) bool {
	var digits [2 * len(r)]byte
	hex.Encode(digits[:], r[:])
	return string(digits[:]) == string(text)
}

func newDigests(algorithms []aka.DigestAlgorithm, random io.Reader) (*digests, error) {
	if len(algorithms) == 0 {
		return nil, nil
	}
	if random == nil {
		return nil, fmt.Errorf("scscf: SIP Digest needs randomness")
	}
	return &digests{algorithms: algorithms, random: random, users: map[string]*digestUser{}, tokens: map[string]tokenOf{}, guesses: newGuesses()}, nil
}

// learn takes what the HSS said of impi, and knows the flow f, from there, until the time until at least.
func (d *digests) learn(impi string, said *cx.DigestAuthenticate, f tie, from budget.Waiting, now, until time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.users[impi]
	if u == nil || now >= d.swept+sweepEvery {
		d.sweep(now)
		u = d.users[impi]
	}
	if u == nil {
		u = &digestUser{}
		d.users[impi] = u
	}
	u.algorithm, u.ha1, u.until = said.Algorithm, said.HA1, max(u.until, until)
	d.path(impi, u, f, from, until)
}

// path returns what u has by f, made if need be.
func (d *digests) path(impi string, u *digestUser, f tie, from budget.Waiting, until time.Duration) *digestPath {
	p := u.by(f)
	if p == nil {
		for len(u.paths) >= maxDigestPaths {
			d.dropOne(impi, u, from)
		}
		p = &digestPath{tie: f, from: from}
		u.paths = append(u.paths, p)
	}
	p.until = max(p.until, until)
	return p
}

// by returns what u has by f, nil if there is nothing; u may be nil.
func (u *digestUser) by(f tie) *digestPath {
	if u == nil {
		return nil
	}
	for _, p := range u.paths {
		if p.tie == f {
			return p
		}
	}
	return nil
}

// dropOne makes room for one more: of those that have proven nothing by budget.Yields; where there is none, that whose time ends first, of several
// the oldest.
func (d *digests) dropOne(impi string, u *digestUser, next budget.Waiting) {
	paths := slices.DeleteFunc(slices.Clone(u.paths), func(p *digestPath) bool { return p.proven })
	unproven := len(paths) > 0
	if !unproven {
		paths = slices.Clone(u.paths)
	}
	slices.SortStableFunc(paths, func(a, b *digestPath) int { return cmp.Compare(a.until, b.until) })
	i := 0
	if unproven {
		waiting := make([]budget.Waiting, len(paths))
		for k, p := range paths {
			waiting[k] = p.from
		}
		if i = budget.Yields(waiting, next); i > 0 && !d.crowded(impi) {
			i = 0
		}
	}
	delete(d.tokens, paths[i].token)
	at := slices.Index(u.paths, paths[i])
	u.paths = slices.Delete(u.paths, at, at+1)
}

// sweepUsers is how many subscribers are looked at when another one comes, or a challenge so long after the last look: the table shrinks
// faster than it grows, and shrinks where it does not grow.
const (
	sweepUsers = 4
	sweepEvery = 10 * time.Millisecond
)

func (d *digests) sweep(now time.Duration) {
	d.swept = now
	n := 0
	for impi, u := range d.users {
		if u.until <= now {
			d.drop(impi)
		}
		if n++; n == sweepUsers {
			return
		}
	}
}

// knows reports whether impi is a subscriber without a card.
func (d *digests) knows(impi string) bool {
	if d == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.users[impi] != nil
}

// known reports whether impi was challenged on a.
func (d *digests) known(impi string, f tie) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.users[impi].by(f) != nil
}

// accepted keeps impi, and its flow, for the life of a registration. It returns the token of a flow that crosses a wire.
func (d *digests) accepted(impi string, f tie, until time.Duration) (token string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.users[impi]
	if u == nil {
		return ""
	}
	u.until = max(u.until, until)
	p := d.path(impi, u, f, budget.Waiting{}, until)
	p.proven = true
	if f.path != "" && p.token == "" {
		token := d.draw()
		p.token = string(token.text())
		d.tokens[p.token] = tokenOf{impi, f}
	}
	return p.token
}

// tokenOf is where a token leads.
type tokenOf struct {
	impi string
	flow tie
}

// byToken returns whose token it is, and by which flow; "" for none that is in use.
func (d *digests) byToken(token string) (string, tie) {
	if d == nil {
		return "", tie{}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.tokens[token]
	return t.impi, t.flow
}

// proven reports whether impi is, or was, registered by f.
func (d *digests) proven(impi string, f tie) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.users[impi].by(f)
	return p != nil && p.proven
}

// drop forgets a subscriber and his tokens.
func (d *digests) drop(impi string) {
	if u := d.users[impi]; u != nil {
		for _, p := range u.paths {
			delete(d.tokens, p.token)
		}
		delete(d.users, impi)
	}
}

// forget drops H(A1) and nonces of impi: the HSS has ended its registration, or the password is another now.
func (d *digests) forget(impi string) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop(impi)
}

// draw returns 128 random bits.
func (d *digests) draw() (r random128) {
	if _, err := io.ReadFull(d.random, r[:]); err != nil {
		panic("scscf: no randomness: " + err.Error()) // the shard reports it and answers 500; what is known would be worse
	}
	return r
}

// challenge makes a nonce of 128 random bits for impi on a.
func (d *digests) challenge(impi string, f tie, kind nonceKind, now time.Duration) ([]byte, aka.DigestAlgorithm) {
	drawn := d.draw()
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.users[impi]
	if u == nil { // forgotten this moment: a nonce that nobody will accept
		return drawn.text(), d.algorithms[0]
	}
	ring := &d.path(impi, u, f, budget.Waiting{}, now).nonces[kind]
	ring.all[ring.next] = nonce{octets: drawn, given: true, issued: now}
	ring.next = (ring.next + 1) % liveNonces
	return drawn.text(), u.algorithm
}

// genuine reports whether whoever made the answer knows the password, whatever nonce it is for.
func (d *digests) genuine(impi string, a *digestAnswer) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.users[impi]
	return u != nil && u.made(impi, a)
}

// made checks an answer (RFC 7616 3.4.1): by the algorithm of the subscriber, in our realm, with qop=auth.
func (u *digestUser) made(impi string, a *digestAnswer) bool {
	named, known := aka.MD5, true
	if a.named != nil {
		named, known = aka.ParseDigestAlgorithm(a.named)
	}
	if !known || named != u.algorithm || string(a.Username) != impi || string(a.QOP) != "auth" || len(a.Cnonce) == 0 {
		return false
	}
	a.Algorithm = u.algorithm
	return a.VerifyHA1(a.response, []byte(u.ha1.Reveal()))
}

// judge decides about an answer of impi on the association a. Of a genuine one it takes the count, so that it is good
// once; reason says why one is stale.
func (d *digests) judge(impi string, f tie, kind nonceKind, answer *digestAnswer, now time.Duration, registered bool) (v digestVerdict, reason string) {
	count, err := strconv.ParseUint(string(answer.NC), 16, 32)
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.users[impi]
	if u == nil || err != nil || len(answer.NC) != 8 || !u.made(impi, answer) {
		return digestWrong, ""
	}
	if !answer.target {
		return digestStale, "other-target"
	}
	n := u.find(f, kind, answer.Nonce)
	switch {
	case n == nil:
		return digestStale, "foreign-nonce"
	case n.issued+nonceLife <= now, !registered && n.issued+pendingNonce <= now:
		return digestStale, "old-nonce"
	case uint32(count) <= n.count:
		return digestStale, "nonce-count"
	}
	n.count = uint32(count)
	return digestGenuine, ""
}

// pendingNonce is how long a nonce may wait for a registration (reg-await-auth, TS 24.229 7.8): somebody who is not
// registered must not live on an H(A1) that the HSS may have replaced.
const pendingNonce = 4 * time.Minute

func (u *digestUser) find(f tie, kind nonceKind, text []byte) *nonce {
	p := u.by(f)
	if p == nil {
		return nil
	}
	ring := &p.nonces[kind]
	for i := range liveNonces { // the newest first: nearly always it is that
		if n := &ring.all[(ring.next+liveNonces-1-i)%liveNonces]; n.given && n.octets.is(text) {
			return n
		}
	}
	return nil
}

// authenticationInfo is the proof of the network for a genuine answer (RFC 7616 3.5, TS 33.203 N.2.1.1).
func (d *digests) authenticationInfo(impi string, a *digestAnswer) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.users[impi]
	if u == nil {
		return nil
	}
	a.Algorithm = u.algorithm
	var b [64]byte
	info := sip.AuthenticationInfo{Rspauth: a.AppendRspauthHA1(b[:0], []byte(u.ha1.Reveal())), QOP: a.QOP, Cnonce: a.Cnonce, NC: a.NC}
	return info.AppendTo(make([]byte, 0, 192))
}
