package ue

import (
	"cmp"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"testing"

	"imsafe/client/isim"
	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
)

const secretWord = "correct horse 7"

// password makes a configuration one without a card.
func password(c *Config) {
	c.Password = &Password{Identity: isim.Identity{IMPI: "soft@" + domain, HomeDomain: domain, IMPUs: []string{"sip:soft@" + domain}}, Secret: secretWord}
	c.Card = nil
}

// home is a home network that knows the password; its fields are what a false one does otherwise.
type home struct {
	f         *fake
	algorithm aka.DigestAlgorithm // 0 is SHA-256
	challenge func(c *sip.Challenge)
	info      func(a *sip.AuthenticationInfo) bool // false: none
	trusting  bool                                 // says 200 to everybody at once
	never     bool                                 // challenges whatever comes
	wrong     bool                                 // a response was wrong
}

// script plays the home network.
func (h *home) script(from *client, m *sip.Message) *sip.Message {
	header, challenge, code := sip.HdrAuthorization, sip.HdrWWWAuthenticate, 401
	if m.Method() != sip.REGISTER {
		header, challenge, code = sip.HdrProxyAuthorization, sip.HdrProxyAuthenticate, 407
	}
	algorithm := cmp.Or(h.algorithm, aka.SHA256)
	cred, err := sip.ParseCredentials(m.Get(header))
	if (err != nil || len(cred.Response) == 0 || h.never) && !h.trusting {
		r := h.f.respond(m, code)
		c := sip.Challenge{Realm: []byte(domain), Nonce: []byte("5ccc069c403ebaf9f0171e9517f40e41"), Algorithm: []byte(algorithm.String()), QOP: []byte("auth")}
		if h.challenge != nil {
			h.challenge(&c)
		}
		r.Append(challenge, c.AppendTo(nil))
		return r
	}
	d := aka.Digest{Algorithm: algorithm, Username: []byte("soft@" + domain), Realm: []byte(domain), Nonce: cred.Nonce, Method: m.MethodName(),
		URI: cred.URI, QOP: cred.QOP, NC: cred.NC, Cnonce: cred.Cnonce}
	if !h.trusting && !d.Verify(cred.Response, []byte(secretWord)) {
		h.wrong = true
		return h.f.respond(m, 403)
	}
	if m.Method() != sip.REGISTER {
		return h.f.respond(m, 200)
	}
	r := h.f.bind(from, m)
	info := sip.AuthenticationInfo{Rspauth: d.AppendRspauth(nil, []byte(secretWord)), QOP: []byte("auth"), NC: cred.NC, Cnonce: cred.Cnonce}
	if h.info == nil || h.info(&info) {
		r.Append(sip.HdrAuthenticationInfo, info.AppendTo(nil))
	}
	return r
}

func newHome(t *testing.T, edit func(*home)) (*fake, *home) {
	h := &home{}
	if edit != nil {
		edit(h)
	}
	f := newFake(t, func(f *fake, _ *tls.Config) { h.f, f.script = f, h.script })
	return f, h
}

func TestPassword(t *testing.T) {
	f, h := newHome(t, nil)
	u := newUE(t, f, alice, password)
	r, err := u.Register(patiently(t))
	if err != nil {
		t.Fatal(err)
	}
	if r.Scheme != "SHA-256" || !strings.HasPrefix(r.Protection, "TLS 1.3 ") {
		t.Errorf("%+v", r)
	}
	if err := u.SendMessage(patiently(t), "sip:bob@"+domain, "text/plain", []byte("hello")); err != nil {
		t.Errorf("a message that is challenged: %v", err)
	}
	if err := u.Deregister(patiently(t)); err != nil {
		t.Error(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if h.wrong {
		t.Error("a response was wrong")
	}
	if text := strings.Join(f.log, "\n"); strings.Contains(text, secretWord) {
		t.Error("the password itself was sent")
	}
}

// TestPassword_refuses: what a false network, or a box in the path, may try against a password.
func TestPassword_refuses(t *testing.T) {
	for name, c := range map[string]struct {
		edit     func(*home)
		want     error
		requests int
	}{
		"a challenge of another realm": {func(h *home) { h.challenge = func(c *sip.Challenge) { c.Realm = []byte("as.example") } }, ErrRealm, 1},
		"bidden down to MD5":           {func(h *home) { h.challenge = func(c *sip.Challenge) { c.Algorithm = []byte("MD5") } }, ErrDowngrade, 1},
		"MD5 by leaving it out":        {func(h *home) { h.challenge = func(c *sip.Challenge) { c.Algorithm = nil } }, ErrDowngrade, 1},
		"asked for AKA":                {func(h *home) { h.challenge = func(c *sip.Challenge) { c.Algorithm = []byte("AKAv2-SHA-256") } }, ErrDowngrade, 1},
		"without qop":                  {func(h *home) { h.challenge = func(c *sip.Challenge) { c.QOP = nil } }, ErrDowngrade, 1},
		"with auth-int alone":          {func(h *home) { h.challenge = func(c *sip.Challenge) { c.QOP = []byte("auth-int") } }, ErrDowngrade, 1},
		"without a nonce":              {func(h *home) { h.challenge = func(c *sip.Challenge) { c.Nonce = []byte{} } }, ErrChallenge, 1},
		"a network that trusts at once, so that it need not show anything": {func(h *home) { h.trusting = true }, ErrNetwork, 1},
		"no proof":       {func(h *home) { h.info = func(*sip.AuthenticationInfo) bool { return false } }, ErrNetwork, 2},
		"a wrong proof":  {func(h *home) { h.info = func(a *sip.AuthenticationInfo) bool { a.Rspauth[0] ^= 1; return true } }, ErrNetwork, 2},
		"an empty proof": {func(h *home) { h.info = func(a *sip.AuthenticationInfo) bool { a.Rspauth = []byte{}; return true } }, ErrNetwork, 2},
		"the proof of another answer": {func(h *home) {
			h.info = func(a *sip.AuthenticationInfo) bool { a.NC = []byte("00000002"); return true }
		}, ErrNetwork, 2},
		"the proof for a cnonce of old": {func(h *home) { h.info = func(a *sip.AuthenticationInfo) bool { a.Cnonce = []byte("x"); return true } }, ErrNetwork, 2},
		"a proof that speaks of no qop": {func(h *home) { h.info = func(a *sip.AuthenticationInfo) bool { a.QOP = nil; return true } }, ErrNetwork, 2},
		"our own response as its proof": {reflect, ErrNetwork, 2},
		"challenges without end":        {func(h *home) { h.never = true }, ErrRefused, 3},
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := newHome(t, c.edit)
			u := newUE(t, f, alice, password)
			r, err := u.Register(patiently(t))
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if r.State == Registered {
				t.Error("registered all the same")
			}
			if n := len(f.received("REGISTER ")); n != c.requests {
				t.Errorf("%d REGISTER, want %d", n, c.requests)
			}
		})
	}
}

// reflect lets a network that does not know the password send our response back.
func reflect(h *home) {
	h.info = func(a *sip.AuthenticationInfo) bool {
		list := h.f.log // the fake holds its lock
		cred, _ := sip.ParseCredentials([]byte(header(list[len(list)-1], "Authorization")))
		a.Rspauth = cred.Response
		return true
	}
}

func TestPassword_configuration(t *testing.T) {
	f, _ := newHome(t, nil)
	base := func() Config {
		c := Config{Proxy: f.addr, RootCAs: f.roots, ServerName: serverName, Clock: shard.RealClock(), Rand: rand.Reader, ListenPacket: listen}
		password(&c)
		return c
	}
	if _, err := New(base()); err != nil {
		t.Fatalf("the sound one: %v", err)
	}
	for name, edit := range map[string]func(*Config){
		"MD5":                         func(c *Config) { c.Scheme = aka.MD5 },
		"MD5, in the lab too":         func(c *Config) { c.Lab, c.Scheme = true, aka.MD5 },
		"plain, out of the lab":       func(c *Config) { c.Password.Plain = true },
		"plain AKA":                   func(c *Config) { c.Lab, c.Password.Plain, c.Scheme = true, true, aka.AKAv1MD5 },
		"AKA without a card":          func(c *Config) { c.Scheme = aka.AKAv2SHA256 },
		"in clear, in the lab too":    func(c *Config) { c.Lab, c.Transport = true, UDP },
		"over TCP":                    func(c *Config) { c.Lab, c.Transport = true, TCP },
		"a card as well":              func(c *Config) { c.Card = newCard(t, alice) },
		"no password":                 func(c *Config) { c.Password.Secret = "" },
		"no identity":                 func(c *Config) { c.Password.Identity.IMPUs = nil },
		"a name that ends its string": func(c *Config) { c.Password.Identity.IMPI = `a",realm="b` },
	} {
		c := base()
		edit(&c)
		if _, err := New(c); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if text := fmt.Sprintf("%v %+v %s %x", base(), base().Password, Secret(secretWord), Secret(secretWord)); strings.Contains(text, "horse") {
		t.Errorf("the password is printed: %s", text)
	}
}

// TestPassword_plain: a SIP server that is no IMS. It is told nothing before it asks, gets no headers of 3GPP, and proves nothing.
func TestPassword_plain(t *testing.T) {
	for _, algorithm := range []aka.DigestAlgorithm{aka.MD5, aka.SHA256} {
		t.Run(algorithm.String(), func(t *testing.T) {
			f, h := newHome(t, func(h *home) {
				h.algorithm = algorithm
				h.challenge = func(c *sip.Challenge) { c.QOP = nil }
				h.info = func(*sip.AuthenticationInfo) bool { return false }
			})
			u := newUE(t, f, alice, func(c *Config) { password(c); c.Lab, c.Scheme, c.Password.Plain = true, algorithm, true })
			if _, err := u.Register(patiently(t)); err != nil {
				t.Fatal(err)
			}
			if err := u.SendMessage(patiently(t), "sip:bob@"+domain, "text/plain", []byte("hello")); err != nil {
				t.Error(err)
			}
			if h.wrong {
				t.Error("a response was wrong")
			}
			if first := f.received("REGISTER ")[0]; header(first, "Authorization") != "" {
				t.Errorf("credentials that nobody has asked for:\n%s", first)
			}
			for _, m := range f.received("MESSAGE ") {
				if header(m, "P-Preferred-Identity") != "" || strings.Contains(header(m, "Route"), f.addr.String()) {
					t.Errorf("headers of an IMS:\n%s", m)
				}
			}
		})
	}
}
