package passport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

// example is the token of RFC 8225 Appendix A. Its signature verifies with neither of the keys that A.1 and A.2 print, so it is a vector of the
// form alone.
const example = "eyJhbGciOiJFUzI1NiIsInR5cCI6InBhc3Nwb3J0IiwieDV1IjoiaHR0cHM6Ly9jZXJ0LmV4YW1wbGUub3JnL3Bhc3Nwb3J0LmNlciJ9" +
	".eyJkZXN0Ijp7InVyaSI6WyJzaXA6YWxpY2VAZXhhbXBsZS5jb20iXX0sImlhdCI6MTQ3MTM3NTQxOCwib3JpZyI6eyJ0biI6IjEyMTU1NTUxMjEyIn19" +
	".VLBCIVDCaeK6M4hLJb6SHQvacAQVvoiiEOWQ_iUkqk79UD81fHQ0E1b3_GluIkba7UWYRM47ZbNFdOJquE35cw"

// diverted is the token of RFC 8946 3.
const diverted = "eyJhbGciOiJFUzI1NiIsInBwdCI6ImRpdiIsInR5cCI6InBhc3Nwb3J0IiwieDV1IjoiaHR0cHM6Ly93d3cuZXhhbXBsZS5jb20vY2VydC5jZXIifQ" +
	".eyJkZXN0Ijp7InRuIjpbIjEyMTU1NTUxMjE0Il19LCJkaXYiOnsidG4iOiIxMjE1NTU1NTEyMTMifSwiaWF0IjoxNDQzMjA4MzQ1LCJvcmlnIjp7InRuIjoiMTIxNTU1NTEyMTIifX0" +
	".xBHWipDEEJ8a6TsdX6xUXAnblsFiGUiAxwLiv0HLC9IICj6eG9jQd6WzeSSjHRBwxmChHhVIiMTSqIlk3yCNkg"

func TestVectors(t *testing.T) {
	p, err := Parse(example)
	if err != nil {
		t.Fatal(err)
	}
	if p.Orig != (Identity{TN: "12155551212"}) || !p.For(Identity{URI: "sip:alice@example.com"}) || p.IssuedAt.Unix() != 1471375418 ||
		p.Info != "https://cert.example.org/passport.cer" || p.Type != Plain {
		t.Errorf("%+v", p)
	}
	d, err := Parse(diverted)
	if err != nil {
		t.Fatal(err)
	}
	if d.Type != Div || d.Div.TN != "121555551213" || !d.For(Identity{TN: "12155551214"}) {
		t.Errorf("%+v", d)
	}
	for _, want := range []*PASSporT{p, d} { // what is signed are the very octets of the standard
		s, err := NewSigner(newKey(t), want.Info)
		if err != nil {
			t.Fatal(err)
		}
		got := *want
		if err := s.Sign(&got); err != nil {
			t.Fatal(err)
		}
		if g, w := strings.Split(got.Token(), "."), strings.Split(want.Token(), "."); g[0] != w[0] || g[1] != w[1] {
			t.Errorf("signs %v, the standard %v", g, w)
		}
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newSigner(t testing.TB, key *ecdsa.PrivateKey) *Signer {
	t.Helper()
	s, err := NewSigner(key, "https://cs.ims.example/certificates/k1")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var (
	now   = time.Unix(1790000000, 0)
	keyA  = Fingerprint{"sha-256", "4AADB9B13F82183B540212DF3E5D496B19E57CAB3E4B652E7D463F5442CD54F1"}
	keyB  = Fingerprint{"sha-256", "021ACC5427ABEB9C533F3E4B652E7D463F5442CD54F17A03A27DF9B07F4619B2"}
	alice = Identity{URI: "sip:alice@ims.example"}
	echo  = Identity{URI: "sip:echo@ims.example"}
)

func grant() *PASSporT {
	return &PASSporT{Type: Grant, Orig: echo, Dest: []Identity{alice}, IssuedAt: now, Keys: []Fingerprint{keyA, keyB}, Grants: &Grants{
		Service: "spiffe://ims.example/as/example/echo", Scope: []string{"send", "receive"}, Media: []Media{{"audio", 128}},
		Expires: now.Add(MaxLife), ID: "j1", Session: "o1"}}
}

func TestSignedIsReadBack(t *testing.T) {
	key := newKey(t)
	s := newSigner(t, key)
	plain := &PASSporT{Orig: alice, Dest: []Identity{{TN: "4930123"}, echo}, IssuedAt: now, Keys: []Fingerprint{keyA, keyB}}
	rsp := grant()
	rsp.Type = Rsp
	for name, p := range map[string]*PASSporT{
		"plain": plain, "grant": grant(), "answer of a service": rsp,
		"div":    {Type: Div, Orig: alice, Dest: []Identity{echo}, Div: Identity{URI: "sip:bob@ims.example"}, IssuedAt: now},
		"answer": {Type: Rsp, Orig: alice, Dest: []Identity{echo}, IssuedAt: now, Keys: []Fingerprint{keyB}},
	} {
		if err := s.Sign(p); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := ParseIdentity(p.AppendIdentity(nil))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(got, p) {
			t.Errorf("%s: read %+v, wrote %+v", name, got, p)
		}
		if err := got.Verify(&key.PublicKey); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := got.Verify(&newKey(t).PublicKey); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: another's key verifies: %v", name, err)
		}
	}
	if !plain.Covers([]Fingerprint{keyB, keyA, keyA}) || plain.Covers([]Fingerprint{keyA}) || plain.Covers(nil) {
		t.Error("media keys are compared as a list, or in part")
	}
}

// TestMediaKeys is the example of RFC 8225 5.2.2: sorted, without colons.
func TestMediaKeys(t *testing.T) {
	p := &PASSporT{Orig: Identity{TN: "12155551212"}, Dest: []Identity{{URI: "sip:alice@example.com"}}, IssuedAt: time.Unix(1443208345, 0),
		Keys: []Fingerprint{keyA, keyB}}
	if err := newSigner(t, newKey(t)).Sign(p); err != nil {
		t.Fatal(err)
	}
	text, _ := base64.RawURLEncoding.DecodeString(strings.Split(p.Token(), ".")[1])
	want := `{"dest":{"uri":["sip:alice@example.com"]},"iat":1443208345,"mky":[{"alg":"sha-256","dig":"` + keyB.Digest +
		`"},{"alg":"sha-256","dig":"` + keyA.Digest + `"}],"orig":{"tn":"12155551212"}}`
	if string(text) != want {
		t.Errorf("%s", text)
	}
}

// token writes a token of these two JSON texts, with a signature that nobody has looked at yet.
func token(header, claims string) string {
	e := base64.RawURLEncoding
	return e.EncodeToString([]byte(header)) + "." + e.EncodeToString([]byte(claims)) + "." + strings.Repeat("A", 86)
}

func TestParseRefuses(t *testing.T) {
	const head = `{"alg":"ES256","typ":"passport","x5u":"https://a/b"}`
	const claims = `{"dest":{"tn":["1"]},"iat":1,"orig":{"tn":"2"}}`
	const divHead = `{"alg":"ES256","ppt":"div","typ":"passport","x5u":"https://a/b"}`
	const grantHead = `{"alg":"ES256","ppt":"grant","typ":"passport","x5u":"https://a/b"}`
	if _, err := Parse(token(head, claims)); err != nil {
		t.Fatalf("the sound one: %v", err)
	}
	for name, c := range map[string]struct {
		token string
		want  error
	}{
		"nothing":               {"", ErrForm},
		"the compact form":      {".." + strings.Repeat("A", 86), ErrForm},
		"four parts":            {token(head, claims) + ".A", ErrForm},
		"no signature":          {strings.TrimRight(token(head, claims), "A"), ErrForm},
		"too long":              {token(head, claims) + strings.Repeat("A", MaxToken), ErrForm},
		"alg none":              {token(`{"alg":"none","typ":"passport","x5u":"https://a/b"}`, claims), ErrAlgorithm},
		"alg HS256":             {token(`{"alg":"HS256","typ":"passport","x5u":"https://a/b"}`, claims), ErrAlgorithm},
		"another typ":           {token(`{"alg":"ES256","typ":"JWT","x5u":"https://a/b"}`, claims), ErrForm},
		"no x5u":                {token(`{"alg":"ES256","typ":"passport","x5u":""}`, claims), ErrForm},
		"a key in the header":   {token(`{"alg":"ES256","jwk":{},"typ":"passport","x5u":"https://a/b"}`, claims), ErrForm},
		"unknown type":          {token(`{"alg":"ES256","ppt":"shaken","typ":"passport","x5u":"https://a/b"}`, claims), ErrType},
		"alg twice":             {token(`{"alg":"none","alg":"ES256","typ":"passport","x5u":"https://a/b"}`, claims), ErrForm},
		"orig twice":            {token(head, `{"dest":{"tn":["1"]},"iat":1,"orig":{"tn":"3"},"orig":{"tn":"2"}}`), ErrForm},
		"another order":         {token(head, `{"iat":1,"dest":{"tn":["1"]},"orig":{"tn":"2"}}`), ErrForm},
		"white space":           {token(head, `{"dest":{"tn":["1"]}, "iat":1,"orig":{"tn":"2"}}`), ErrForm},
		"other capitals":        {token(head, `{"dest":{"tn":["1"]},"iat":1,"Orig":{"tn":"2"}}`), ErrForm},
		"iat as text":           {token(head, `{"dest":{"tn":["1"]},"iat":"1","orig":{"tn":"2"}}`), ErrForm},
		"iat with a fraction":   {token(head, `{"dest":{"tn":["1"]},"iat":1.5,"orig":{"tn":"2"}}`), ErrForm},
		"something behind":      {token(head, claims+"{}"), ErrForm},
		"nobody":                {token(head, `{"dest":{"tn":["1"]},"iat":1,"orig":{}}`), ErrClaims},
		"for nobody":            {token(head, `{"dest":{},"iat":1,"orig":{"tn":"2"}}`), ErrClaims},
		"orig with two names":   {token(head, `{"dest":{"tn":["1"]},"iat":1,"orig":{"tn":"2","uri":"sip:a@b"}}`), ErrClaims},
		"a number with letters": {token(head, `{"dest":{"tn":["1"]},"iat":1,"orig":{"tn":"+2"}}`), ErrClaims},
		"div in a plain one":    {token(head, `{"dest":{"tn":["1"]},"div":{"tn":"3"},"iat":1,"orig":{"tn":"2"}}`), ErrClaims},
		"div without div":       {token(divHead, claims), ErrClaims},
		"svc in a plain one":    {token(head, `{"dest":{"tn":["1"]},"iat":1,"orig":{"tn":"2"},"svc":"x"}`), ErrClaims},
		"grant without claims":  {token(grantHead, claims), ErrClaims},
		"grant of two minutes": {token(grantHead, `{"dest":{"tn":["1"]},"exp":122,"iat":1,"jti":"j","mky":[{"alg":"sha-256","dig":"AA"}],"orig":{"tn":"2"},"scp":["send"],"svc":"x"}`),
			ErrClaims},
		"grant without keys": {token(grantHead, `{"dest":{"tn":["1"]},"exp":31,"iat":1,"jti":"j","orig":{"tn":"2"},"scp":["send"],"svc":"x"}`), ErrClaims},
		"an unknown scope":   {token(grantHead, `{"dest":{"tn":["1"]},"exp":31,"iat":1,"jti":"j","mky":[{"alg":"sha-256","dig":"AA"}],"orig":{"tn":"2"},"scp":["all"],"svc":"x"}`), ErrClaims},
		"keys out of order":  {token(head, `{"dest":{"tn":["1"]},"iat":1,"mky":[{"alg":"sha-256","dig":"BB"},{"alg":"sha-256","dig":"AA"}],"orig":{"tn":"2"}}`), ErrClaims},
		"keys with colons":   {token(head, `{"dest":{"tn":["1"]},"iat":1,"mky":[{"alg":"sha-256","dig":"AA:BB"}],"orig":{"tn":"2"}}`), ErrClaims},
	} {
		if _, err := Parse(c.token); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestIdentityRefuses(t *testing.T) {
	tok := token(`{"alg":"ES256","ppt":"div","typ":"passport","x5u":"https://a/b"}`, `{"dest":{"tn":["1"]},"div":{"tn":"3"},"iat":1,"orig":{"tn":"2"}}`)
	if _, err := ParseIdentity([]byte(tok + `; info = <https://a/b> ;ALG=ES256; ppt="div";x=";,"`)); err != nil {
		t.Fatalf("the sound one: %v", err)
	}
	for name, c := range map[string]struct {
		rest string
		want error
	}{
		"no info":            {"", ErrForm},
		"another info":       {";info=<https://a/c>", ErrInfo},
		"info twice":         {";info=<https://a/b>;info=<https://a/b>", ErrForm},
		"another algorithm":  {";info=<https://a/b>;alg=none", ErrInfo},
		"another type":       {";info=<https://a/b>;ppt=shaken", ErrInfo},
		"an open bracket":    {";info=<https://a/b", ErrForm},
		"nothing at the end": {";info=<https://a/b>;", ErrForm},
	} {
		if _, err := ParseIdentity([]byte(tok + c.rest)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestKeysOf(t *testing.T) {
	body := "v=0\r\na=fingerprint:SHA-256 4a:AD:b9\r\nm=audio 1 UDP/TLS/RTP/SAVP 8\r\n A=Fingerprint:sha-1 00:11\ra=setup:actpass\na=fingerprint:sha-256  02"
	want := []Fingerprint{{"sha-256", "4AADB9"}, {"sha-1", "0011"}, {"sha-256", "02"}}
	if got := KeysOf([]byte(body)); !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
	if KeysOf(nil) != nil || KeysOf([]byte("a=setup:fingerprint:sha-256 00\r\n")) != nil {
		t.Error("keys out of nothing")
	}
}

func TestFresh(t *testing.T) {
	for name, c := range map[string]struct {
		at   time.Duration
		want error
	}{
		"now": {0, nil}, "at the end of the window": {Window, nil}, "behind it": {Window + time.Second, ErrStale},
		"before it": {-Window - time.Second, ErrStale}, "a clock that is a little behind": {-Window, nil},
	} {
		if err := grant().Fresh(now.Add(c.at)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	g := grant()
	g.Grants.Expires = now.Add(time.Second)
	if err := g.Fresh(now.Add(2 * time.Second)); !errors.Is(err, ErrStale) {
		t.Errorf("a grant that has ended: %v", err)
	}
}

func TestOnce(t *testing.T) {
	var o Once
	s := newSigner(t, newKey(t))
	a, again := grant(), grant()
	for _, p := range []*PASSporT{a, again} {
		if err := s.Sign(p); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		what string
		p    *PASSporT
		call string
		want bool
	}{
		{"first", a, "c1", true}, {"a fork of the same call", a, "c1", true}, {"another call", a, "c2", false},
		{"the same jti signed again", again, "c2", false},
	} {
		if got := o.First(c.p, c.call, now); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}

func FuzzParseIdentity(f *testing.F) {
	f.Add([]byte(example + ";info=<https://cert.example.org/passport.cer>;alg=ES256"))
	f.Add([]byte(diverted + ";info=<https://www.example.com/cert.cer>;ppt=div"))
	p := grant()
	if err := newSigner(f, newKey(f)).Sign(p); err != nil {
		f.Fatal(err)
	}
	f.Add(p.AppendIdentity(nil))
	f.Fuzz(func(t *testing.T, value []byte) {
		p, err := ParseIdentity(value)
		if err != nil {
			return
		}
		again, err := ParseIdentity(p.AppendIdentity(nil))
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Fatalf("%+v is read back as %+v: %v", p, again, err)
		}
		text, err := canonical(p.claims())
		if err != nil || base64.RawURLEncoding.EncodeToString(text) != strings.Split(p.Token(), ".")[1] {
			t.Fatalf("claims are written as %s: %v", text, err)
		}
	})
}

func BenchmarkSign(b *testing.B) {
	s, p := newSigner(b, newKey(b)), grant()
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Sign(p); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(p.AppendIdentity(nil))), "octets")
}

func BenchmarkParseVerify(b *testing.B) {
	key := newKey(b)
	p := grant()
	if err := newSigner(b, key).Sign(p); err != nil {
		b.Fatal(err)
	}
	value := p.AppendIdentity(nil)
	b.ReportAllocs()
	for b.Loop() {
		got, err := ParseIdentity(value)
		if err == nil {
			err = got.Verify(&key.PublicKey)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
