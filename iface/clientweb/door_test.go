package clientweb

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"imsafe/proto/oauth"
	"imsafe/proto/shard"
	"imsafe/secure"
)

const (
	origin = "https://origin.example"
	alice  = "sip:alice@ims.example"
)

// office is a door under a clock that the test moves, and a client with a key.
type office struct {
	*Door
	codeKeys func() [][]byte // nil: of each run
	t        testing.TB
	clock    *shard.Fake
	client   *oauth.Prover
}

func newOffice(t testing.TB) *office {
	t.Helper()
	o := &office{t: t, clock: shard.NewFake(time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC))}
	var err error
	if o.client, err = oauth.NewProver(rand.Reader); err != nil {
		t.Fatal(err)
	}
	o.restart()
	return o
}

// restart is a new process: its clock goes on.
func (o *office) restart() {
	o.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		o.t.Fatal(err)
	}
	o.Door, err = New(Config{Origin: origin}, Ports{Gate: secure.NewGate(nil, nil), Clock: o.clock, Random: rand.Reader, Log: slog.New(slog.DiscardHandler), Tokens: oauth.OneKey("1", key), CodeKeys: o.codeKeys,
		Certificate: func() (*tls.Certificate, error) { return nil, io.EOF },
		Chain: func(name string) []byte {
			if name == "known" {
				return []byte("chain")
			}
			return nil
		},
		Platform: func(host []byte) func(string) string {
			if string(host) != "mailbox.as.ims.example" {
				return nil
			}
			return func(user string) string { return "as " + user }
		}})
	if err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) code() string {
	o.t.Helper()
	var c oauth.Code
	if err := json.Unmarshal(o.Code(alice, o.client.Thumbprint()), &c); err != nil || c.TokenEndpoint != origin+"/token" {
		o.t.Fatalf("%+v, %v", c, err)
	}
	return c.Code
}

// trade asks for a token.
func (o *office) trade(code, resource string, edit func(r *http.Request)) (int, oauth.Token) {
	o.t.Helper()
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "resource": {resource}}
	r := httptest.NewRequest(http.MethodPost, origin+"/token", strings.NewReader(form.Encode()))
	proof, err := o.client.Prove(http.MethodPost, origin+"/token", "", o.clock.Wall())
	if err != nil {
		o.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("DPoP", proof)
	if edit != nil {
		edit(r)
	}
	w := httptest.NewRecorder()
	o.ServeHTTP(w, r)
	var t oauth.Token
	_ = json.Unmarshal(w.Body.Bytes(), &t)
	return w.Code, t
}

// get fetches a page with a token.
func (o *office) get(path, token string) int {
	o.t.Helper()
	r := httptest.NewRequest(http.MethodGet, origin+path, nil)
	if token != "" {
		proof, err := o.client.Prove(http.MethodGet, origin+path, token, o.clock.Wall())
		if err != nil {
			o.t.Fatal(err)
		}
		r.Header.Set("Authorization", "DPoP "+token)
		r.Header.Set("DPoP", proof)
	}
	w := httptest.NewRecorder()
	o.ServeHTTP(w, r)
	return w.Code
}

// subject is whom a token names.
func (o *office) subject(token string) string {
	o.t.Helper()
	part := strings.Split(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(part[min(1, len(part)-1)])
	var c oauth.Claims
	if err = errors.Join(err, json.Unmarshal(text, &c)); err != nil {
		o.t.Fatal(err)
	}
	return c.Subject
}

func TestTokenOfACode(t *testing.T) {
	o := newOffice(t)
	status, token := o.trade(o.code(), "", nil)
	if status != 200 || token.TokenType != "DPoP" || token.ExpiresIn != 300 || token.Scope != "registration.read" {
		t.Fatalf("%d %+v", status, token)
	}
	if s := o.get("/registration", token.AccessToken); s != 200 {
		t.Errorf("its page: %d", s)
	}
	if s := o.get("/registration", ""); s != 401 {
		t.Errorf("without a token: %d", s)
	}
	o.clock.Advance(5 * time.Minute)
	if s := o.get("/registration", token.AccessToken); s != 401 {
		t.Errorf("after its end: %d", s)
	}
	status, other := o.trade(o.code(), "https://mailbox.as.ims.example", nil)
	if status != 200 || other.Scope != "service.use" {
		t.Errorf("for a service: %d %+v", status, other)
	}
	if subject := o.subject(other.AccessToken); subject != "as "+alice {
		t.Errorf("the service is told of %q, whom it may not know by that name", subject)
	}
	if s := o.get("/registration", other.AccessToken); s != 401 {
		t.Errorf("a token for another service: %d", s)
	}
}

func TestTokenRefused(t *testing.T) {
	for name, c := range map[string]struct {
		code     func(o *office) string
		resource string
		edit     func(r *http.Request)
		want     string
	}{
		"guessed":           {func(*office) string { return strings.Repeat("A", 22) }, "", nil, "invalid_grant"},
		"used":              {func(o *office) string { c := o.code(); o.trade(c, "", nil); return c }, "", nil, "invalid_grant"},
		"too late":          {func(o *office) string { c := o.code(); o.clock.Advance(codeLife); return c }, "", nil, "invalid_grant"},
		"of another run":    {func(o *office) string { c := o.code(); o.restart(); return c }, "", nil, "invalid_grant"},
		"for a stranger":    {(*office).code, "https://evil.example", nil, "invalid_target"},
		"for a path":        {(*office).code, "https://mailbox.as.ims.example/x", nil, "invalid_target"},
		"in clear":          {(*office).code, "http://mailbox.as.ims.example", nil, "invalid_target"},
		"with another name": {(*office).code, "https://user@mailbox.as.ims.example", nil, "invalid_target"},
		"without a proof":   {(*office).code, "", func(r *http.Request) { r.Header.Del("DPoP") }, "invalid_dpop_proof"},
		"two proofs":        {(*office).code, "", func(r *http.Request) { r.Header.Add("DPoP", r.Header.Get("DPoP")) }, "invalid_dpop_proof"},
		"in the query":      {(*office).code, "", func(r *http.Request) { r.URL.RawQuery = "grant_type=authorization_code" }, "invalid_request"},
		"another grant":     {(*office).code, "", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("grant_type=password")) }, "unsupported_grant_type"},
	} {
		o := newOffice(t)
		if status, token := o.trade(c.code(o), c.resource, c.edit); status != 400 || token.Error != c.want || token.AccessToken != "" {
			t.Errorf("%s: %d %+v, want %s", name, status, token, c.want)
		}
	}
}

// TestStrangersFillNothing: proofs that anybody can make are not remembered before a code has shown whose they are.
func TestStrangersFillNothing(t *testing.T) {
	o := newOffice(t)
	again := oauth.Proven{}
	for range 3 {
		_, token := o.trade(strings.Repeat("A", 22), "", func(r *http.Request) {
			proof, err := oauth.Check(r.Header.Get("DPoP"), "POST", origin+"/token", "", o.clock.Wall())
			if err != nil {
				t.Fatal(err)
			}
			again = proof
		})
		if token.Error != "invalid_grant" {
			t.Error(token.Error)
		}
		if err := o.proofs.Use(again, o.clock.Wall()); err != nil {
			t.Errorf("the proof of a stranger is remembered: %v", err)
		}
	}
}

// TestCodesAreBounded: no code without a key and a user, and what was used is remembered for as long as it could be good, and while there is room.
func TestCodesAreBounded(t *testing.T) {
	o := newOffice(t)
	if o.Code("", o.client.Thumbprint()) != nil || o.Code(alice, "short") != nil || o.Code(alice, strings.Repeat("_", 43)) != nil {
		t.Error("a code for nobody, or for no key")
	}
	use := func() (before, room bool) {
		c, genuine := openCode(o.ports.CodeKeys(), o.code())
		if !genuine {
			t.Fatal("its own code is not known")
		}
		return o.codes.use(c.number, o.clock.Now())
	}
	if before, room := use(); before || !room {
		t.Error("the first is not taken")
	}
	for i := range uint64(maxCodes - 1) {
		var number [numberSize]byte
		binary.BigEndian.PutUint64(number[:], i)
		o.codes.use(number, o.clock.Now())
	}
	if _, room := use(); room {
		t.Error("there is room without end")
	}
	if status, token := o.trade(o.code(), "", nil); status != 400 || token.Error != "invalid_grant" {
		t.Errorf("a code that cannot be remembered: %d %+v", status, token)
	}
	o.clock.Advance(codeLife)
	if before, _ := o.codes.use([numberSize]byte{}, o.clock.Now()); !before {
		t.Error("one that was used may be used again")
	}
	o.clock.Advance(codeLife)
	if before, _ := o.codes.use([numberSize]byte{}, o.clock.Now()); !before {
		t.Error("one that was used may be used again, by a clock that is behind")
	}
	if _, room := use(); !room {
		t.Error("codes that are over keep their room")
	}
	o.clock.Advance(2 * codeLife)
	if before, _ := o.codes.use([numberSize]byte{}, o.clock.Now()); before {
		t.Error("it is remembered for ever")
	}
}

// TestCodeOfAnotherNode: where nodes have keys in common each takes the codes of the others, by the key of before as well; it says whom it is for, and nobody can write another one.
func TestCodeOfAnotherNode(t *testing.T) {
	a, b := newOffice(t), newOffice(t)
	keys := [][]byte{[]byte("the key of today"), []byte("the key of before")}
	a.codeKeys, b.codeKeys = func() [][]byte { return keys }, func() [][]byte { return keys }
	a.restart()
	b.restart()
	b.client = a.client
	first := a.code()
	if status, token := b.trade(first, "", nil); status != 200 || b.subject(token.AccessToken) != alice {
		t.Errorf("at the other node: %d %+v", status, token)
	}
	if _, token := b.trade(first, "", nil); token.Error != "invalid_grant" {
		t.Errorf("there once more: %+v", token)
	}
	second := a.code()
	keys = [][]byte{[]byte("the key of tomorrow"), keys[0]}
	if status, token := b.trade(second, "", nil); status != 200 {
		t.Errorf("by the key of before: %d %+v", status, token)
	}
	third := a.code()
	keys = keys[1:]
	if _, token := b.trade(third, "", nil); token.Error != "invalid_grant" {
		t.Errorf("by a key that is not there: %+v", token)
	}
	whole, err := base64.RawURLEncoding.DecodeString(a.code())
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		changed := bytes.Clone(whole)
		changed[i] ^= 1
		if _, token := b.trade(base64.RawURLEncoding.EncodeToString(changed), "", nil); token.Error != "invalid_grant" {
			t.Fatalf("with octet %d changed: %+v", i, token)
		}
		if _, genuine := openCode(keys, base64.RawURLEncoding.EncodeToString(whole[:i])); genuine {
			t.Fatalf("%d octets of it are a code", i)
		}
	}
	keys = nil
	if a.Code(alice, a.client.Thumbprint()) != nil {
		t.Error("a code without a key")
	}
}

// FuzzOpenCode: nobody writes a code who has not the key.
func FuzzOpenCode(f *testing.F) {
	key := []byte("key")
	c := code{subject: alice, jkt: strings.Repeat("A", 43)}
	text, _ := c.seal(key)
	f.Add(text)
	f.Fuzz(func(t *testing.T, shown string) {
		if got, genuine := openCode([][]byte{key}, shown); genuine && shown != text {
			t.Fatalf("%q is %+v", shown, got)
		}
	})
}

func TestPages(t *testing.T) {
	o := newOffice(t)
	for _, c := range []struct {
		method, at string
		status     int
	}{
		{"GET", origin + "/certificates/known", 200}, {"GET", origin + "/certificates/unknown", 404}, {"GET", origin + "/token/keys", 200},
		{"GET", origin + "/token", 405}, {"GET", "https://elsewhere.example/certificates/known", 421}, {"GET", origin + "/", 404},
	} {
		w := httptest.NewRecorder()
		o.ServeHTTP(w, httptest.NewRequest(c.method, c.at, nil))
		if w.Code != c.status || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s: %d", c.method, c.at, w.Code)
		}
	}
}

func BenchmarkCode(b *testing.B) {
	o := newOffice(b)
	b.ReportAllocs()
	for b.Loop() {
		if o.Code(alice, o.client.Thumbprint()) == nil {
			b.Fatal("no code")
		}
	}
}
