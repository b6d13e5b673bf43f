package scscf

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"imsafe/hop"
	"imsafe/proto/aka"
	"imsafe/proto/budget"
	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
	"imsafe/secure"
	"imsafe/secure/mint"
)

const digestIMPI = "soft@ims.example"

var here, elsewhere = tie{association: secure.Association{Node: 1, Slot: 1, Gen: 1}}, tie{association: secure.Association{Node: 1, Slot: 2, Gen: 1}}

func digestTable(t *testing.T) *digests {
	t.Helper()
	d, err := newDigests([]aka.DigestAlgorithm{aka.SHA256}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	d.crowded = func(string) bool { return true }
	return d
}

// know lets d know a subscriber, as a MAA does.
func (d *digests) know(impi string, f tie, now time.Duration) {
	ha1 := aka.SHA256.AppendHA1(nil, []byte(impi), []byte("ims.example"), []byte("a password"))
	d.learn(impi, &cx.DigestAuthenticate{Algorithm: aka.SHA256, HA1: cx.NewSecretHex(string(ha1))}, f, budget.Waiting{}, now, now+time.Minute)
}

// TestDigests_crowd: whoever begins to register is not pushed out by a crowd of a few networks that does so in her name.
func TestDigests_crowd(t *testing.T) {
	d := digestTable(t)
	said := &cx.DigestAuthenticate{Algorithm: aka.SHA256, HA1: cx.NewSecretHex("00")}
	d.learn(digestIMPI, said, here, budget.Waiting{Network: 1, Address: 1}, 0, time.Minute)
	for i := range 5 * maxDigestPaths {
		f := tie{association: secure.Association{Node: 1, Slot: uint32(10 + i), Gen: 1}}
		d.learn(digestIMPI, said, f, budget.Waiting{Network: budget.Key(2 + i%20), Address: budget.Key(100 + i)}, time.Second, time.Minute+time.Second)
	}
	if !d.known(digestIMPI, here) {
		t.Error("the crowd has pushed her out")
	}
}

// answerTo is the right answer to a nonce.
func answerTo(nonce, nc string) *digestAnswer {
	a := &digestAnswer{Digest: aka.Digest{Algorithm: aka.SHA256, Username: []byte(digestIMPI), Realm: []byte("ims.example"), Nonce: []byte(nonce),
		Method: []byte("REGISTER"), URI: []byte("sip:ims.example"), QOP: []byte("auth"), NC: []byte(nc), Cnonce: []byte("c")},
		named: []byte("SHA-256"), target: true}
	a.response = a.AppendResponse(nil, []byte("a password"))
	return a
}

func TestDigests_judge(t *testing.T) {
	const hour = time.Hour
	for name, c := range map[string]struct {
		nc         string
		at         tie
		kind       nonceKind
		after      time.Duration
		registered bool
		edit       func(*digestAnswer)
		want       digestVerdict
		reason     string
	}{
		"right":                        {want: digestGenuine},
		"with a gap in the count":      {nc: "0000ffff", want: digestGenuine},
		"the count of before":          {nc: "00000001", want: digestStale, reason: "nonce-count"},
		"a count of zero":              {nc: "00000000", want: digestStale, reason: "nonce-count"},
		"on another connection":        {at: elsewhere, want: digestStale, reason: "foreign-nonce"},
		"for another kind of request":  {kind: forOthers, want: digestStale, reason: "foreign-nonce"},
		"a nonce that waited too long": {after: 5 * time.Minute, want: digestStale, reason: "old-nonce"},
		"the same of a registered one": {after: 5 * time.Minute, registered: true, want: digestGenuine},
		"an old nonce":                 {after: 3 * hour, registered: true, want: digestStale, reason: "old-nonce"},
		"for another target":           {edit: func(a *digestAnswer) { a.target = false }, want: digestStale, reason: "other-target"},
		"a nonce that we never gave":   {edit: func(a *digestAnswer) { *a = *answerTo("abc", "00000002") }, want: digestStale, reason: "foreign-nonce"},
		"no nonce":                     {edit: func(a *digestAnswer) { *a = *answerTo("", "00000002") }, want: digestStale, reason: "foreign-nonce"},
		"a wrong response":             {edit: func(a *digestAnswer) { a.response[0] ^= 1 }, want: digestWrong},
		"no response":                  {edit: func(a *digestAnswer) { a.response = nil }, want: digestWrong},
		"MD5 by name":                  {edit: func(a *digestAnswer) { a.named = []byte("MD5") }, want: digestWrong},
		"MD5 by leaving it out":        {edit: func(a *digestAnswer) { a.named = nil }, want: digestWrong},
		"without qop":                  {edit: func(a *digestAnswer) { a.QOP = nil; a.response = a.AppendResponse(nil, []byte("a password")) }, want: digestWrong},
		"with auth-int": {edit: func(a *digestAnswer) {
			a.QOP = []byte("auth-int")
			a.response = a.AppendResponse(nil, []byte("a password"))
		}, want: digestWrong},
		"without a cnonce":       {edit: func(a *digestAnswer) { a.Cnonce = nil; a.response = a.AppendResponse(nil, []byte("a password")) }, want: digestWrong},
		"a count that is none":   {edit: func(a *digestAnswer) { a.NC = []byte("00000g01") }, want: digestWrong},
		"a short count":          {edit: func(a *digestAnswer) { a.NC = []byte("2") }, want: digestWrong},
		"in the name of another": {edit: func(a *digestAnswer) { a.Username = []byte("x@ims.example") }, want: digestWrong},
	} {
		t.Run(name, func(t *testing.T) {
			d := digestTable(t)
			d.know(digestIMPI, here, 0)
			d.know(digestIMPI, elsewhere, 0)
			nonce, _ := d.challenge(digestIMPI, here, forRegister, 0)
			if v, _ := d.judge(digestIMPI, here, forRegister, answerTo(string(nonce), "00000001"), 0, false); v != digestGenuine {
				t.Fatal("the first answer is refused")
			}
			nc, at := c.nc, c.at
			if nc == "" {
				nc = "00000002"
			}
			if at == (tie{}) {
				at = here
			}
			a := answerTo(string(nonce), nc)
			if c.edit != nil {
				c.edit(a)
			}
			v, reason := d.judge(digestIMPI, at, c.kind, a, c.after, c.registered)
			if v != c.want || reason != c.reason {
				t.Errorf("%d %q, want %d %q", v, reason, c.want, c.reason)
			}
		})
	}
}

func TestDigests_forget(t *testing.T) {
	d := digestTable(t)
	d.know(digestIMPI, here, 0)
	nonce, _ := d.challenge(digestIMPI, here, forRegister, 0)
	d.forget(digestIMPI)
	if v, _ := d.judge(digestIMPI, here, forRegister, answerTo(string(nonce), "00000001"), 0, true); v != digestWrong || d.knows(digestIMPI) {
		t.Error("an H(A1) that the HSS has taken back is still good")
	}
	var off *digests
	off.forget(digestIMPI)
	if off.knows(digestIMPI) {
		t.Error("nobody is known where SIP Digest is off")
	}
}

// TestDigests_bounds: connections of strangers in a user's name neither fill the memory nor push his own out.
func TestDigests_bounds(t *testing.T) {
	d := digestTable(t)
	d.know(digestIMPI, here, 0)
	nonce, _ := d.challenge(digestIMPI, here, forOthers, 0)
	d.accepted(digestIMPI, here, time.Hour)
	for i := range 1000 {
		a := tie{association: secure.Association{Node: 1, Slot: uint32(10 + i), Gen: 1}}
		d.know(digestIMPI, a, time.Second)
		d.challenge(digestIMPI, a, forRegister, time.Second)
	}
	if n := len(d.users[digestIMPI].paths); n > maxDigestPaths {
		t.Errorf("%d associations of one user are kept", n)
	}
	if v, reason := d.judge(digestIMPI, here, forOthers, answerTo(string(nonce), "00000001"), time.Second, true); v != digestGenuine {
		t.Errorf("the user's own nonce is gone: %s", reason)
	}
	for i := range 1000 {
		d.know(fmt.Sprintf("u%d@ims.example", i), here, time.Duration(i)*time.Second)
	}
	if n := len(d.users); n > 200 {
		t.Errorf("%d subscribers are kept, most of whom have left", n)
	}
	if !d.knows(digestIMPI) {
		t.Error("a registered subscriber was forgotten")
	}
}

func TestDigests_need_randomness(t *testing.T) {
	if _, err := newDigests([]aka.DigestAlgorithm{aka.SHA256}, nil); err == nil {
		t.Error("nonces without randomness")
	}
	d, err := newDigests([]aka.DigestAlgorithm{aka.SHA256}, broken{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a nonce that is known was given out")
		}
	}()
	d.challenge(digestIMPI, here, forRegister, 0)
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("no entropy") }

// Where the guesses of these tests come from.
var (
	guessHome = netip.MustParseAddr("192.0.2.1")
	guessAway = netip.MustParseAddr("198.51.100.1")
)

// TestGuesses_pair: the ban is of one name from one address, and it ends.
func TestGuesses_pair(t *testing.T) {
	g := newGuesses()
	for range guessesOfPair {
		if g.banned("a", guessHome, false, 0) {
			t.Error("banned before the budget is spent")
		}
		g.failed("a", guessHome, 0)
	}
	if !g.banned("a", guessHome, false, banFor-1) || g.banned("a", guessHome, false, banFor) || g.banned("a", guessAway, false, 0) || g.banned("b", guessHome, false, 0) {
		t.Error("a pair: the ban is of that name from there, and ends")
	}
	g.failed("a", guessHome, banFor)
	if g.banned("a", guessHome, false, banFor) {
		t.Error("the budget is not new after the ban")
	}
}

// TestGuesses_success: who gets it right has made typing errors before.
func TestGuesses_success(t *testing.T) {
	g := newGuesses()
	for range guessesOfPair - 1 {
		g.failed("a", guessHome, 0)
	}
	g.succeeded("a", guessHome)
	g.failed("a", guessHome, 0)
	if g.banned("a", guessHome, false, 0) {
		t.Error("typing errors are not forgiven")
	}
}

// TestGuesses_address: one password for many names from one address.
func TestGuesses_address(t *testing.T) {
	g := newGuesses()
	for i := range guessesOfAddress {
		g.failed(fmt.Sprint(i), guessHome, 0)
	}
	if !g.banned("never tried", guessHome, false, 0) || g.banned("never tried", guessAway, false, 0) {
		t.Error("one password for many names")
	}
}

// TestGuesses_name: one name from many addresses.
func TestGuesses_name(t *testing.T) {
	g := newGuesses()
	for i := range guessesOfName {
		g.failed("a", netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 0)
	}
	if !g.banned("a", guessHome, false, 0) || g.banned("b", guessHome, false, 0) {
		t.Error("one name from many addresses")
	}
}

// TestGuesses_proven: whoever else guesses a name, who has proven it from an address goes on there.
func TestGuesses_proven(t *testing.T) {
	g := newGuesses()
	for i := range guessesOfName {
		g.failed("a", netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 0)
	}
	if g.banned("a", guessHome, true, 0) || !g.banned("a", guessAway, false, 0) {
		t.Error("a name that others guess, where it has been proven before")
	}
}

// TestGuesses_all: one password for many names from many addresses: each address has one guess.
func TestGuesses_all(t *testing.T) {
	g := newGuesses()
	for i := range guessesOfAll - 1 { // another name, from another address, each time
		g.failed(fmt.Sprint(i), netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), time.Duration(i)*time.Second)
	}
	if g.sprayed(netip.AddrFrom4([4]byte{10, 0, 1, 1}), false, banFor-1) {
		t.Error("an address has one guess before the budget of all is spent")
	}
	g.failed("z", guessAway, banFor-1)
	g.failed("y", guessHome, banFor-1)
	if !g.sprayed(guessAway, false, banFor-1) || !g.sprayed(guessHome, false, banFor-1) || g.sprayed(guessAway, false, banFor) {
		t.Error("one password for many names from many addresses: each has one guess, and the window ends")
	}
	if g.sprayed(guessHome, true, banFor-1) || g.sprayed(netip.MustParseAddr("10.0.2.1"), false, banFor-1) || g.sprayed(netip.Addr{}, false, banFor-1) {
		t.Error("who guesses locks others out: one that is where he has been proven, one that has guessed nothing, one without an address here")
	}
}

// TestGuesses_household: addresses of one IPv6 /64 are one.
func TestGuesses_household(t *testing.T) {
	g := newGuesses()
	household := []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")}
	for i := range guessesOfPair {
		g.failed("a", household[i%2], 0)
	}
	if !g.banned("a", netip.MustParseAddr("2001:db8::3"), false, 0) {
		t.Error("another address of the same household")
	}
}

// TestGuesses_bound: so many are kept, and no more.
func TestGuesses_bound(t *testing.T) {
	g := newGuesses()
	for i := range maxTallies {
		g.failed(fmt.Sprint(i), netip.Addr{}, 0)
	}
	if len(g.tallies) > maxTallies+3 {
		t.Errorf("%d tallies are kept", len(g.tallies))
	}
}

func BenchmarkDigestJudge(b *testing.B) {
	d, err := newDigests([]aka.DigestAlgorithm{aka.SHA256}, rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	d.know(digestIMPI, here, 0)
	nonce, _ := d.challenge(digestIMPI, here, forOthers, 0)
	a := answerTo(string(nonce), "00000001")
	b.ReportAllocs()
	for b.Loop() {
		if v, _ := d.judge(digestIMPI, here, forOthers, a, 0, true); v == digestWrong {
			b.Fatal("wrong")
		}
	}
}

// TestDigests_tokens: beyond a wire a token leads to the user and the flow of one registration, and ends with it.
func TestDigests_tokens(t *testing.T) {
	d := digestTable(t)
	far := tie{path: "<sip:token@pcscf.ims.example;lr>"}
	d.know(digestIMPI, far, 0)
	if d.proven(digestIMPI, far) {
		t.Error("proven before anything was accepted")
	}
	token := d.accepted(digestIMPI, far, time.Hour)
	if again := d.accepted(digestIMPI, far, time.Hour); token == "" || again != token {
		t.Errorf("token %q, then %q", token, again)
	}
	if impi, f := d.byToken(token); impi != digestIMPI || f != far || !d.proven(digestIMPI, far) {
		t.Errorf("the token leads to %s, %v", impi, f)
	}
	if impi, _ := d.byToken("another"); impi != "" {
		t.Error("a token that was never given leads to somebody")
	}
	for i := range 3 * maxDigestPaths {
		f := tie{path: fmt.Sprint(i)}
		d.know(digestIMPI, f, 0)
		d.accepted(digestIMPI, f, 2*time.Hour)
	}
	if n := len(d.tokens); n > maxDigestPaths {
		t.Errorf("%d tokens are kept", n)
	}
	d.know(digestIMPI, here, 0)
	if token := d.accepted(digestIMPI, here, time.Hour); token != "" {
		t.Error("an association of this process needs no token")
	}
	d.forget(digestIMPI)
	if impi, _ := d.byToken(token); impi != "" || len(d.tokens) != 0 {
		t.Error("a token outlives its user")
	}
}

// TestDigest_token_that_leads_nowhere: a request of a subscriber without a card is not let through because the S-CSCF has
// forgotten him.
func TestDigest_token_that_leads_nowhere(t *testing.T) {
	pool := sip.NewPool(sip.Limits{})
	for name, d := range map[string]*digests{"after a restart": digestTable(t), "where SIP Digest is off by now": nil} {
		s := &SCSCF{cfg: Config{Name: "scscf.ims.example"}, digests: d}
		for route, want := range map[string]bool{"<sip:orig@scscf.ims.example;lr;flow=0123>": false, "<sip:orig@scscf.ims.example;lr>": true} {
			m := pool.NewRequest(sip.MESSAGE, "sip:bob@ims.example")
			m.AppendString(sip.HdrRoute, route)
			impi, _, ok := s.caller(hop.Inbound{Msg: m, Proof: mint.Node("pcscf.ims.example")})
			if ok != want || impi != "" {
				t.Errorf("%s, %s: %q, %v", name, route, impi, ok)
			}
		}
	}
}
