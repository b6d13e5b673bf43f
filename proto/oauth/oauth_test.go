package oauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	issuerName = "https://cs.ims.example"
	mailbox    = "https://mailbox.as.ims.example"
)

var now = time.Unix(1790000000, 0)

// desk is an issuer, a client with a token, and the verifier of a service.
type desk struct {
	t        testing.TB
	keys     *ring
	issuer   *Issuer
	client   *Prover
	verifier *Verifier
	token    string
	at       time.Time
}

func newDesk(t testing.TB) *desk {
	t.Helper()
	var err error
	d := &desk{t: t, at: now, keys: &ring{}}
	d.turn()
	d.issuer = NewIssuer(issuerName, d.keys, rand.Reader)
	if d.client, err = NewProver(rand.Reader); err != nil {
		t.Fatal(err)
	}
	d.verifier = d.issuer.Verifier(mailbox, func() time.Time { return d.at })
	d.token = d.issue(mailbox)
	return d
}

// ring are the keys of an issuer; the last one signs.
type ring struct{ keys []*ecdsa.PrivateKey }

func (r *ring) Signing() (string, *ecdsa.PrivateKey, error) {
	if len(r.keys) == 0 {
		return "", nil, errors.New("no key")
	}
	last := r.keys[len(r.keys)-1]
	name, err := thumbprint(&last.PublicKey)
	return name, last, err
}

func (r *ring) Verifying() map[string]*ecdsa.PublicKey {
	all := map[string]*ecdsa.PublicKey{}
	for _, k := range r.keys {
		if name, err := thumbprint(&k.PublicKey); err == nil {
			all[name] = &k.PublicKey
		}
	}
	return all
}

// turn gives the issuer another key beside those that it has.
func (d *desk) turn() {
	d.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		d.t.Fatal(err)
	}
	d.keys.keys = append(d.keys.keys, key)
}

func (d *desk) set() []byte {
	d.t.Helper()
	set, err := d.issuer.Keys()
	if err != nil {
		d.t.Fatal(err)
	}
	return set
}

func (d *desk) issue(audience string) string {
	d.t.Helper()
	c := Claims{Subject: "sip:alice@ims.example", Audience: audience, ClientID: "ue", Scope: "mailbox.read mailbox.delete"}
	c.Key.Thumbprint = d.client.Thumbprint()
	token, life, err := d.issuer.Issue(c, now, time.Second)
	if err != nil || life != MinLife {
		d.t.Fatal(life, err)
	}
	return token
}

// request is one that fits; edits make it another.
func (d *desk) request(by *Prover, method, at, token string) *http.Request {
	d.t.Helper()
	r := httptest.NewRequest(method, at, nil)
	proof, err := by.Prove(method, at, token, d.at)
	if err != nil {
		d.t.Fatal(err)
	}
	r.Header.Set("Authorization", "DPoP "+token)
	r.Header.Set("DPoP", proof)
	return r
}

func (d *desk) good() *http.Request {
	return d.request(d.client, "GET", mailbox+"/messages/1?x=y", d.token)
}

func TestAdmit(t *testing.T) {
	d := newDesk(t)
	c, err := d.verifier.Admit(d.good())
	if err != nil || c.Subject != "sip:alice@ims.example" || !c.May("mailbox.read") || c.May("mailbox") {
		t.Fatalf("%+v, %v", c, err)
	}
	keys, err := d.issuer.Keys()
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := NewVerifier(issuerName, mailbox, keys, func() time.Time { return d.at })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := elsewhere.Admit(d.good()); err != nil {
		t.Error(err)
	}
}

// TestKeysTurn: a token by the key of before is good for as long as that key is in the set, at the issuer's own service and elsewhere; one by a key that is not yet known
// elsewhere is when it is learnt; a proof that was used stays used.
func TestKeysTurn(t *testing.T) {
	d := newDesk(t)
	elsewhere, err := NewVerifier(issuerName, mailbox, d.set(), func() time.Time { return d.at })
	if err != nil {
		t.Fatal(err)
	}
	used := d.good()
	if _, err := elsewhere.Admit(used); err != nil {
		t.Fatal(err)
	}
	d.turn()
	next := d.issue(mailbox)
	if _, err := elsewhere.Admit(d.request(d.client, "GET", mailbox+"/", next)); !errors.Is(err, ErrToken) {
		t.Errorf("a key that nobody has told of: %v", err)
	}
	if err := elsewhere.Learn(d.set()); err != nil {
		t.Fatal(err)
	}
	for at, v := range map[string]*Verifier{"own": d.verifier, "elsewhere": elsewhere} {
		for which, token := range map[string]string{"before": d.token, "now": next} {
			if _, err := v.Admit(d.request(d.client, "GET", mailbox+"/", token)); err != nil {
				t.Errorf("%s, by the key of %s: %v", at, which, err)
			}
		}
	}
	if _, err := elsewhere.Admit(used); !errors.Is(err, ErrReplay) {
		t.Errorf("a proof that was used: %v", err)
	}
	d.keys.keys = d.keys.keys[1:]
	if err := elsewhere.Learn(d.set()); err != nil {
		t.Fatal(err)
	}
	for at, v := range map[string]*Verifier{"own": d.verifier, "elsewhere": elsewhere} {
		if _, err := v.Admit(d.good()); !errors.Is(err, ErrToken) {
			t.Errorf("%s, by a key that has ended: %v", at, err)
		}
	}
	if err := elsewhere.Learn([]byte(`{"keys":[]}`)); err == nil {
		t.Error("no keys are taken")
	}
	if _, err := elsewhere.Admit(d.request(d.client, "GET", mailbox+"/", next)); err != nil {
		t.Errorf("after a set that was not taken: %v", err)
	}
	d.keys.keys = nil
	if _, _, err := d.issuer.Issue(Claims{Subject: "x", Audience: "y", Key: struct {
		Thumbprint string `json:"jkt"`
	}{"z"}}, now, 0); err == nil {
		t.Error("signed without a key")
	}
}

func TestAdmitRefuses(t *testing.T) {
	thief, err := NewProver(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	stranger := newDesk(t)
	for name, c := range map[string]struct {
		make func(d *desk) *http.Request
		want error
	}{
		"nothing":             {func(*desk) *http.Request { return httptest.NewRequest("GET", mailbox+"/", nil) }, ErrMissing},
		"as a bearer token":   {func(d *desk) *http.Request { r := d.good(); r.Header.Set("Authorization", "Bearer "+d.token); return r }, ErrMissing},
		"stolen, no proof":    {func(d *desk) *http.Request { r := d.good(); r.Header.Del("DPoP"); return r }, ErrProof},
		"stolen, thief's key": {func(d *desk) *http.Request { return d.request(thief, "GET", mailbox+"/", d.token) }, ErrKey},
		"expired":             {func(d *desk) *http.Request { d.at = now.Add(MinLife); return d.good() }, ErrExpired},
		"from the future":     {func(d *desk) *http.Request { d.at = now.Add(-time.Hour); return d.good() }, ErrExpired},
		"for another service": {func(d *desk) *http.Request {
			return d.request(d.client, "GET", mailbox+"/", d.issue("https://other.as.ims.example"))
		}, ErrAudience},
		"of another issuer":    {func(d *desk) *http.Request { return d.request(d.client, "GET", mailbox+"/", stranger.token) }, ErrToken},
		"proof of another way": {func(d *desk) *http.Request { r := d.good(); r.Method = "DELETE"; return r }, ErrProof},
		"proof of another URL": {func(d *desk) *http.Request { r := d.good(); r.URL.Path = "/messages/2"; return r }, ErrProof},
		"proof of another token": {func(d *desk) *http.Request {
			r := d.good()
			r.Header.Set("Authorization", "DPoP "+d.issue(mailbox))
			return r
		}, ErrProof},
		"an old proof":             {func(d *desk) *http.Request { r := d.good(); d.at = now.Add(window + 2*time.Second); return r }, ErrProof},
		"two proofs":               {func(d *desk) *http.Request { r := d.good(); r.Header.Add("DPoP", r.Header.Get("DPoP")); return r }, ErrProof},
		"a token as its own proof": {func(d *desk) *http.Request { r := d.good(); r.Header.Set("DPoP", d.token); return r }, ErrProof},
		"a proof as a token": {func(d *desk) *http.Request {
			r := d.good()
			r.Header.Set("Authorization", "DPoP "+r.Header.Get("DPoP"))
			return r
		}, ErrToken},
		"alg none": {func(d *desk) *http.Request {
			r := d.good()
			e := base64.RawURLEncoding
			r.Header.Set("Authorization", "DPoP "+e.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt"}`))+"."+strings.Split(d.token, ".")[1]+".")
			return r
		}, ErrToken},
		"replayed": {func(d *desk) *http.Request {
			r := d.good()
			if _, err := d.verifier.Admit(r); err != nil {
				t.Error(err)
			}
			return r
		}, ErrReplay},
	} {
		d := newDesk(t)
		if _, err := d.verifier.Admit(c.make(d)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// TestProtect: what who asks is told (RFC 9449 7.1, RFC 6750 3.1).
func TestProtect(t *testing.T) {
	for name, c := range map[string]struct {
		scope  string
		edit   func(r *http.Request)
		status int
		header string
	}{
		"served":     {"mailbox.read", func(*http.Request) {}, 200, ""},
		"no token":   {"mailbox.read", func(r *http.Request) { r.Header.Del("Authorization") }, 401, `DPoP algs="ES256"`},
		"bad proof":  {"mailbox.read", func(r *http.Request) { r.Header.Del("DPoP") }, 401, `DPoP algs="ES256", error="invalid_dpop_proof"`},
		"bad token":  {"mailbox.read", func(r *http.Request) { r.Header.Set("Authorization", "DPoP a.b.c") }, 401, `DPoP algs="ES256", error="invalid_token"`},
		"not so far": {"mailbox.write", func(*http.Request) {}, 403, `DPoP algs="ES256", error="insufficient_scope"`},
	} {
		d := newDesk(t)
		w, r := httptest.NewRecorder(), d.good()
		c.edit(r)
		d.verifier.Protect(c.scope, func(w http.ResponseWriter, _ *http.Request, who *Claims) { _, _ = w.Write([]byte(who.Subject)) }).ServeHTTP(w, r)
		if w.Code != c.status || w.Header().Get("WWW-Authenticate") != c.header || c.status == 200 && w.Body.String() != "sip:alice@ims.example" {
			t.Errorf("%s: %d %q %s", name, w.Code, w.Header().Get("WWW-Authenticate"), w.Body)
		}
	}
}

// TestProofAtTheTokenEndpoint: each proof is good once.
func TestProofAtTheTokenEndpoint(t *testing.T) {
	d := newDesk(t)
	var p Proofs
	at := issuerName + "/token"
	text, err := d.client.Prove("POST", at, "", now)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := Check(text, "POST", at, "", now)
	if err != nil || proof.Thumbprint != d.client.Thumbprint() {
		t.Fatalf("%s, %v", proof.Thumbprint, err)
	}
	if err := p.Use(proof, now); err != nil {
		t.Error(err)
	}
	if err := p.Use(proof, now); !errors.Is(err, ErrReplay) {
		t.Error(err)
	}
}

// TestProofsAreBounded: one key cannot have all of the memory, all keys together have an end, and nothing is forgotten as long as it is valid.
func TestProofsAreBounded(t *testing.T) {
	var p Proofs
	use := func(key, number int, at time.Time) error {
		return p.Use(Proven{Thumbprint: strconv.Itoa(key), id: strconv.Itoa(number)}, at)
	}
	for i := range maxProofsOfOne {
		if err := use(1, i, now); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := use(1, maxProofsOfOne, now); !errors.Is(err, ErrTooMany) {
		t.Errorf("one key has more than its share: %v", err)
	}
	if err := use(2, 0, now.Add(proofLife-time.Second)); err != nil {
		t.Errorf("another has nothing: %v", err)
	}
	if err := use(1, maxProofsOfOne, now.Add(proofLife)); err != nil {
		t.Errorf("the share does not come back: %v", err)
	}
	if err := use(2, 0, now.Add(2*proofLife-2*time.Second)); !errors.Is(err, ErrReplay) {
		t.Errorf("a proof was forgotten while it was valid: %v", err)
	}
	later := now.Add(9 * proofLife)
	for i := range maxProofs {
		if err := use(i, 0, later); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := use(maxProofs, 0, later); !errors.Is(err, ErrTooMany) {
		t.Errorf("there is memory without end: %v", err)
	}
}

func FuzzAdmit(f *testing.F) {
	d := newDesk(f)
	r := d.good()
	f.Add(r.Header.Get("Authorization"), r.Header.Get("DPoP"))
	f.Add("DPoP a.b.c", "a.b.c")
	f.Fuzz(func(t *testing.T, authorization, proof string) {
		r := httptest.NewRequest("GET", mailbox+"/messages/1", nil)
		r.Header.Set("Authorization", authorization)
		r.Header.Set("DPoP", proof)
		if c, err := d.verifier.Admit(r); err == nil && c.Subject != "sip:alice@ims.example" {
			t.Fatalf("%+v", c)
		}
	})
}

func BenchmarkAdmit(b *testing.B) {
	d := newDesk(b)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		r := d.good()
		b.StartTimer()
		if _, err := d.verifier.Admit(r); err != nil {
			b.Fatal(err)
		}
	}
}
