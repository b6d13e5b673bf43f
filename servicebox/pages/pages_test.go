package pages

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"imsafe/proto/oauth"
	"imsafe/proto/shard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	origin = "https://mailbox.as.ims.example"
	issuer = "https://cs.ims.example"
	alice  = "sip:alice@ims.example"
)

// house is a service that serves pages, the network that issues tokens, and a client with a key.
type house struct {
	*Server
	t       *testing.T
	clock   *shard.Fake
	network *oauth.Issuer
	keys    ring
	client  *oauth.Prover
	asked   int  // for keys
	deaf    bool // the network does not answer
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, clock: shard.NewFake(time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC))}
	h.restarts()
	var err error
	if h.client, err = oauth.NewProver(rand.Reader); err != nil {
		t.Fatal(err)
	}
	certificate := selfSigned(t)
	h.Server, err = New(Config{Origin: origin, Issuer: issuer, Clock: h.clock, Certificate: func() (*tls.Certificate, error) { return certificate, nil },
		Keys: func(ctx context.Context) ([]byte, error) {
			h.asked++
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if h.deaf {
				return nil, errors.New("no way")
			}
			return h.network.Keys()
		}})
	if err != nil {
		t.Fatal(err)
	}
	h.Handle("GET /messages", func(w http.ResponseWriter, _ *http.Request, v Visitor) { _, _ = io.WriteString(w, "for "+v.Subject) })
	return h
}

// restarts lets the network have another key, as after a restart of the core.
func (h *house) restarts() {
	h.t.Helper()
	h.keys = nil
	h.turns()
}

// turns gives it one more.
func (h *house) turns() {
	h.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		h.t.Fatal(err)
	}
	h.keys = append(ring{key}, h.keys...)
	h.network = oauth.NewIssuer(issuer, h.keys, rand.Reader)
}

// ring are the keys of a network; the first one signs.
type ring []*ecdsa.PrivateKey

func (r ring) Signing() (string, *ecdsa.PrivateKey, error) { return strconv.Itoa(len(r)), r[0], nil }

func (r ring) Verifying() map[string]*ecdsa.PublicKey {
	all := map[string]*ecdsa.PublicKey{}
	for i, k := range r {
		all[strconv.Itoa(len(r)-i)] = &k.PublicKey
	}
	return all
}

// claims are those of a token as the network issues it.
func (h *house) claims() oauth.Claims {
	c := oauth.Claims{Subject: alice, Audience: origin, Scope: oauth.ScopeService}
	c.Key.Thumbprint = h.client.Thumbprint()
	return c
}

// ask asks for a page with a token of claims.
func (h *house) ask(c oauth.Claims, edit func(*http.Request)) *httptest.ResponseRecorder {
	h.t.Helper()
	token, _, err := h.network.Issue(c, h.clock.Wall(), 0)
	if err != nil {
		h.t.Fatal(err)
	}
	return h.with(token, edit)
}

// with asks for a page with a token and a fresh proof.
func (h *house) with(token string, edit func(*http.Request)) *httptest.ResponseRecorder {
	h.t.Helper()
	proof, err := h.client.Prove("GET", origin+"/messages", token, h.clock.Wall())
	if err != nil {
		h.t.Fatal(err)
	}
	r := httptest.NewRequest("GET", origin+"/messages", nil)
	r.Header.Set("Authorization", "DPoP "+token)
	r.Header.Set("DPoP", proof)
	if edit != nil {
		edit(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestPage(t *testing.T) {
	h := newHouse(t)
	if w := h.ask(h.claims(), nil); w.Code != 200 || w.Body.String() != "for "+alice || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if h.asked != 1 || h.Counters.Served.Load() != 1 {
		t.Errorf("asked for keys %d times, served %d", h.asked, h.Counters.Served.Load())
	}
}

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		claims func(c *oauth.Claims)
		edit   func(r *http.Request)
		status int
	}{
		"without a token": {nil, func(r *http.Request) { r.Header.Del("Authorization") }, 401},
		"without a proof": {nil, func(r *http.Request) { r.Header.Del("DPoP") }, 401},
		"as a bearer": {nil, func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "DPoP", "Bearer", 1))
		}, 401},
		"for another service":     {func(c *oauth.Claims) { c.Audience = "https://other.as.ims.example" }, nil, 401},
		"of another key":          {func(c *oauth.Claims) { c.Key.Thumbprint = "x" }, nil, 401},
		"that reaches less":       {func(c *oauth.Claims) { c.Scope = "registration.read" }, nil, 403},
		"for another page":        {nil, func(r *http.Request) { r.URL.Path = "/other" }, 401},
		"by another method":       {nil, func(r *http.Request) { r.Method = "DELETE" }, 401},
		"under another name":      {nil, func(r *http.Request) { r.Host = "other.as.ims.example" }, 421},
		"a page that is not here": {nil, func(r *http.Request) { r.Header = http.Header{}; r.URL.Path = "/nothing" }, 401},
	} {
		h := newHouse(t)
		claims := h.claims()
		if c.claims != nil {
			c.claims(&claims)
		}
		if w := h.ask(claims, c.edit); w.Code != c.status || strings.Contains(w.Body.String(), alice) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if h.Counters.Served.Load() != 0 {
			t.Errorf("%s: served", name)
		}
	}
}

// TestKeys: a core that was restarted has another key, which is fetched when a token is shown that it has signed; who shows forged ones makes nobody ask more
// often than now and then, and what was used stays used.
func TestKeys(t *testing.T) {
	h := newHouse(t)
	old, _, err := h.network.Issue(h.claims(), h.clock.Wall(), 0)
	if err != nil {
		t.Fatal(err)
	}
	var kept *http.Request
	if w := h.with(old, func(r *http.Request) { kept = r }); w.Code != 200 {
		t.Fatal(w.Code)
	}
	for range 10 {
		h.with("a.b.c", nil)
	}
	if h.asked != 1 {
		t.Errorf("forged tokens made the service ask %d times", h.asked)
	}
	h.clock.Advance(between)
	h.with("a.b.c", nil)
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, kept); w.Code != 401 || h.asked != 2 {
		t.Errorf("a proof was good twice, since the same key was fetched again: %d, asked %d times", w.Code, h.asked)
	}
	h.clock.Advance(between)
	h.restarts()
	if w := h.ask(h.claims(), nil); w.Code != 200 {
		t.Errorf("after a restart of the core: %d", w.Code)
	}
	if w := h.with(old, nil); w.Code != 401 {
		t.Errorf("a token of the run before: %d", w.Code)
	}
}

// TestKeys_turn: the network signs with another key, and those of before are good for as long as it says so: they are asked for once, and what was used stays used.
func TestKeys_turn(t *testing.T) {
	h := newHouse(t)
	old, _, err := h.network.Issue(h.claims(), h.clock.Wall(), 0)
	if err != nil {
		t.Fatal(err)
	}
	var kept *http.Request
	if w := h.with(old, func(r *http.Request) { kept = r }); w.Code != 200 {
		t.Fatal(w.Code)
	}
	h.clock.Advance(between)
	h.turns()
	for range 2 {
		if w := h.ask(h.claims(), nil); w.Code != 200 {
			t.Errorf("by the next key: %d", w.Code)
		}
		if w := h.with(old, nil); w.Code != 200 {
			t.Errorf("by the key of before: %d", w.Code)
		}
	}
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, kept); w.Code != 401 || h.asked != 2 {
		t.Errorf("a proof was good twice, since there is another key: %d, asked %d times", w.Code, h.asked)
	}
}

// TestKeys_of_who_has_gone: the core was restarted, and the first whose token is of no known key shows a forged one and hangs up. The next key is learnt all the same.
func TestKeys_of_who_has_gone(t *testing.T) {
	h := newHouse(t)
	h.ask(h.claims(), nil)
	h.clock.Advance(between)
	h.restarts()
	h.with("a.b.c", func(r *http.Request) {
		gone, hangsUp := context.WithCancel(r.Context())
		hangsUp()
		*r = *r.WithContext(gone)
	})
	if w := h.ask(h.claims(), nil); w.Code != 200 {
		t.Errorf("nobody reads a page after who hung up: %d", w.Code)
	}
}

func TestNoKeys(t *testing.T) {
	h := newHouse(t)
	h.deaf = true
	if w := h.ask(h.claims(), nil); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("without the issuer's key: %d", w.Code)
	}
	h.deaf = false
	h.clock.Advance(between)
	if w := h.ask(h.claims(), nil); w.Code != 200 {
		t.Errorf("when it is there again: %d", w.Code)
	}
}

func selfSigned(t *testing.T) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mailbox"}, DNSNames: []string{"mailbox.as.ims.example"},
		NotBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestServe: TLS 1.3 and nothing below, and no token no page.
func TestServe(t *testing.T) {
	h := newHouse(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(ctx, ln) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for most, want := range map[uint16]bool{tls.VersionTLS12: false, tls.VersionTLS13: true} {
		dialer := tls.Dialer{Config: &tls.Config{MaxVersion: most, InsecureSkipVerify: true}} // the certificate is another test's business
		c, err := dialer.DialContext(ctx, "tcp", ln.Addr().String())
		if err == nil {
			_, err = io.WriteString(c, "GET /messages HTTP/1.1\r\nHost: mailbox.as.ims.example\r\nConnection: close\r\n\r\n")
			answer, _ := io.ReadAll(c)
			_ = c.Close()
			if want && !strings.HasPrefix(string(answer), "HTTP/1.1 401 ") {
				t.Errorf("%s", answer)
			}
		}
		if (err == nil) != want {
			t.Errorf("%s: %v", tls.VersionName(most), err)
		}
	}
}
