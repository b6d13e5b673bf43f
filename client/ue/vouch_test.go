package ue

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"imsafe/proto/passport"
	"imsafe/proto/sip"
)

// notary is the authentication service of a home network: a signing key with its certificate.
type notary struct {
	t      testing.TB
	signer *passport.Signer
	chain  []byte
	roots  *x509.CertPool
	at     string
	asked  atomic.Int32
}

func newNotary(t testing.TB, uri, host string) *notary {
	t.Helper()
	n := &notary{t: t, roots: x509.NewCertPool(), at: "https://" + host + "/certificates/1"}
	rootKey, key := newP256(t), newP256(t)
	identity, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "home"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, URIs: []*url.URL{identity},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, rootKey.Public(), rootKey)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	n.roots.AddCert(root)
	if der, err = x509.CreateCertificate(rand.Reader, leaf, root, key.Public(), rootKey); err != nil {
		t.Fatal(err)
	}
	n.chain = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if n.signer, err = passport.NewSigner(key, n.at); err != nil {
		t.Fatal(err)
	}
	return n
}

func newP256(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func homeNotary(t testing.TB) *notary { return newNotary(t, passport.SignerURI(domain), "cs."+domain) }

func (n *notary) vouching(required bool) *Vouching {
	return &Vouching{Roots: n.roots, Required: required, Fetch: func(_ context.Context, at string) ([]byte, error) {
		n.asked.Add(1)
		if at != n.at {
			return nil, errors.New("not found")
		}
		return n.chain, nil
	}}
}

// sign signs p now and returns the field.
func (n *notary) sign(p passport.PASSporT) string {
	if p.IssuedAt.IsZero() {
		p.IssuedAt = time.Unix(time.Now().Unix(), 0)
	}
	if p.Grants != nil {
		p.Grants.Expires = p.IssuedAt.Add(passport.MaxLife)
	}
	if err := n.signer.Sign(&p); err != nil {
		n.t.Error(err)
	}
	return string(p.AppendIdentity(nil))
}

func who(msin string) passport.Identity { return passport.IdentityOf(impuOf(msin)) }

// plain and rsp are what an honest network says of a call from alice to bob.
func plain(m *sip.Message) passport.PASSporT {
	return passport.PASSporT{Orig: who(alice), Dest: []passport.Identity{who(bob)}, Keys: passport.KeysOf(m.Body())}
}

func rsp(m *sip.Message) passport.PASSporT {
	p := plain(m)
	p.Type = passport.Rsp
	return p
}

// vouches edits what is relayed: what the network signs of the offer and of the answer; nil functions sign nothing.
func vouches(offer, answer func(m *sip.Message)) func(m *sip.Message) {
	return func(m *sip.Message) {
		edit := offer
		if !m.IsRequest() {
			edit = answer
		}
		if _, method, err := m.CSeq(); err == nil && string(method) == "INVITE" && len(m.Body()) > 0 && edit != nil {
			edit(m)
		}
	}
}

func (n *notary) adds(say func(m *sip.Message) passport.PASSporT) func(m *sip.Message) {
	return func(m *sip.Message) { m.AppendString(sip.HdrIdentity, n.sign(say(m))) }
}

// TestVouched_both_ends: who calls and who answers are known by the network's word, and the certificates are fetched once.
func TestVouched_both_ends(t *testing.T) {
	n := homeNotary(t)
	f, a, _, calls := pair(t, nil, func(c *Config) { c.Vouching = n.vouching(true) })
	f.mu.Lock()
	f.relay = vouches(n.adds(plain), n.adds(rsp))
	f.mu.Unlock()
	for range 2 {
		ca, cb := connect(t, a, calls, Voice{}, Voice{})
		if v := ca.Vouched(); v.By != domain || v.Identity != impuOf(bob) || v.Service != "" || v.String() != "IMS vouches: "+impuOf(bob) {
			t.Errorf("alice: %+v", v)
		}
		if v := cb.Vouched(); v.By != domain || v.Identity != impuOf(alice) {
			t.Errorf("bob: %+v", v)
		}
		ca.Hangup()
		ended(t, cb)
	}
	if asked := n.asked.Load(); asked != 2 { // once for each of the two
		t.Errorf("certificates fetched %d times", asked)
	}
}

// TestVouched_service: a service that answers is named, with what it may do.
func TestVouched_service(t *testing.T) {
	n := homeNotary(t)
	f, a, _, calls := pair(t, nil, func(c *Config) { c.Vouching = n.vouching(true) })
	f.mu.Lock()
	f.relay = vouches(n.adds(plain), n.adds(func(m *sip.Message) passport.PASSporT {
		p := rsp(m)
		p.Grants = &passport.Grants{Service: "spiffe://" + domain + "/as/example/echo", Scope: []string{"send", "receive"}, ID: "1"}
		return p
	}))
	f.mu.Unlock()
	ca, _ := connect(t, a, calls, Voice{}, Voice{})
	if v := ca.Vouched(); v.String() != "IMS vouches: echo@as" || !v.May("send") || v.May("record") {
		t.Errorf("%+v", v)
	}
}

// TestVouched_refused_calls: what does not ring.
func TestVouched_refused_calls(t *testing.T) {
	n, stranger := homeNotary(t), homeNotary(t)
	asPlatform := newNotary(t, "spiffe://"+domain+"/as/example/evil/1", "cs."+domain)
	stale := func(m *sip.Message) passport.PASSporT {
		p := plain(m)
		p.IssuedAt = time.Unix(time.Now().Unix()-3600, 0)
		return p
	}
	change := func(f func(*passport.PASSporT)) func(m *sip.Message) passport.PASSporT {
		return func(m *sip.Message) passport.PASSporT { p := plain(m); f(&p); return p }
	}
	swapped := func(m *sip.Message) {
		n.adds(plain)(m)
		at := strings.Index(string(m.Body()), "sha-256 ") + len("sha-256 ")
		b := []byte(string(m.Body()))
		if b[at] = '0'; string(b) == string(m.Body()) {
			b[at] = '1'
		}
		m.SetBody("application/sdp", b)
	}
	for name, c := range map[string]struct {
		offer  func(m *sip.Message)
		notary *notary
		always bool // refused without Required too
		code   int
	}{
		"nothing":              {nil, n, false, 428},
		"swapped media keys":   {swapped, n, true, 438},
		"signed by a stranger": {stranger.adds(plain), n, true, 438},
		"chain of a stranger":  {stranger.adds(plain), &notary{roots: n.roots, chain: stranger.chain, at: n.at}, false, 436},
		"chain of a platform":  {asPlatform.adds(plain), &notary{roots: asPlatform.roots, chain: asPlatform.chain, at: n.at}, false, 436},
		"nothing to fetch":     {n.adds(plain), &notary{roots: n.roots, at: "https://elsewhere.example/"}, false, 436},
		"at a foreign host":    {newNotary(t, passport.SignerURI(domain), "cs.evil.example").adds(plain), n, false, 436},
		"stale":                {n.adds(stale), n, true, 403},
		"another caller":       {n.adds(change(func(p *passport.PASSporT) { p.Orig.URI = "sip:boss@" + domain })), n, true, 438},
		"of a foreign network": {n.adds(change(func(p *passport.PASSporT) { p.Orig.URI = "sip:boss@evil.example" })), n, true, 437},
		"for somebody else":    {n.adds(change(func(p *passport.PASSporT) { p.Dest[0].URI = "sip:carol@" + domain })), n, true, 438},
		"more media keys": {n.adds(change(func(p *passport.PASSporT) {
			p.Keys = append(p.Keys, passport.Fingerprint{Algorithm: "sha-256", Digest: "AA"})
		})), n, true, 438},
		"two vouchers": {func(m *sip.Message) { n.adds(plain)(m); n.adds(plain)(m) }, n, true, 438},
		"not a token":  {func(m *sip.Message) { m.SetString(sip.HdrIdentity, "a.b.c;info=<https://a/>") }, n, true, 438},
		"of an answer": {n.adds(rsp), n, false, 428},
		"diverted from who knows": {func(m *sip.Message) {
			n.adds(change(func(p *passport.PASSporT) { p.Dest[0].URI = "sip:carol@" + domain }))(m)
			n.adds(change(func(p *passport.PASSporT) { p.Type, p.Keys, p.Div.URI = passport.Div, nil, "sip:dave@"+domain }))(m)
		}, n, true, 438},
	} {
		for _, required := range []bool{true, false} {
			t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
				f, alice, _, calls := pair(t, nil, func(cfg *Config) { cfg.Vouching = c.notary.vouching(required) })
				f.mu.Lock()
				f.relay = vouches(c.offer, nil)
				f.mu.Unlock()
				call, err := alice.Call(patiently(t), impuOf(bob), Voice{})
				if err != nil {
					t.Fatal(err)
				}
				if required || c.always {
					if e := ended(t, call); e.Code != c.code || len(calls) > 0 {
						t.Errorf("%+v, want %d; it rang %d times", e, c.code, len(calls))
					}
					return
				}
				if v := incoming(t, calls).Vouched(); v.By != "" || v.String() != "nobody vouches" {
					t.Errorf("%+v", v)
				}
			})
		}
	}
}

// TestVouched_refused_answers: whose media are not heard. The call ends, and nothing of it was answered.
func TestVouched_refused_answers(t *testing.T) {
	n := homeNotary(t)
	other := func(f func(*passport.PASSporT)) func(m *sip.Message) {
		return n.adds(func(m *sip.Message) passport.PASSporT { p := rsp(m); f(&p); return p })
	}
	for name, answer := range map[string]func(m *sip.Message){
		"nothing":            nil,
		"other media keys":   other(func(p *passport.PASSporT) { p.Keys[0].Digest = "AA" }),
		"for another caller": other(func(p *passport.PASSporT) { p.Orig.URI = "sip:carol@" + domain }),
		"of another service": other(func(p *passport.PASSporT) {
			p.Grants = &passport.Grants{Service: "spiffe://evil.example/as/example/echo", Scope: []string{"send"}, ID: "1"}
		}),
		"of a caller": n.adds(plain),
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			f, a, _, calls := pair(t, nil, func(c *Config) { c.Vouching = n.vouching(true) })
			f.mu.Lock()
			f.relay = vouches(n.adds(plain), answer)
			f.mu.Unlock()
			ca, err := a.Call(patiently(t), impuOf(bob), tone(440))
			if err != nil {
				t.Fatal(err)
			}
			cb := incoming(t, calls)
			cb.Answer(tone(880))
			if e, err := ca.Until(patiently(t), Answered); !errors.Is(err, ErrVouched) {
				t.Errorf("%+v, %v", e, err)
			}
			if e := ended(t, ca); !errors.Is(e.Err, ErrVouched) {
				t.Errorf("%+v", e)
			}
			if m := ca.Media(); m.PacketsIn > 0 || m.Protection != "none yet" {
				t.Errorf("%+v", m)
			}
			ended(t, cb)
		})
	}
}

// TestVouched_diverted: a call that was sent on is believed if each step is signed (RFC 8946 4.2).
func TestVouched_diverted(t *testing.T) {
	n := homeNotary(t)
	f, a, _, calls := pair(t, nil, func(c *Config) { c.Vouching = n.vouching(true) })
	carol, dave := passport.Identity{URI: "sip:carol@" + domain}, passport.Identity{TN: "15550009"}
	f.mu.Lock()
	f.relay = vouches(func(m *sip.Message) {
		p := plain(m)
		p.Dest[0] = carol
		second := passport.PASSporT{Type: passport.Div, Orig: who(alice), Div: dave, Dest: []passport.Identity{who(bob)}}
		first := passport.PASSporT{Type: passport.Div, Orig: who(alice), Div: carol, Dest: []passport.Identity{dave}}
		for _, p := range []passport.PASSporT{second, p, first} {
			m.AppendString(sip.HdrIdentity, n.sign(p))
		}
	}, nil)
	f.mu.Unlock()
	if _, err := a.Call(patiently(t), impuOf(bob), Voice{}); err != nil {
		t.Fatal(err)
	}
	v := incoming(t, calls).Vouched()
	if v.Identity != impuOf(alice) || strings.Join(v.Diverted, " ") != "sip:carol@"+domain+" tel:+15550009" {
		t.Errorf("%+v", v)
	}
}

// TestVouched_replayed: the voucher of one call is none of another.
func TestVouched_replayed(t *testing.T) {
	n := homeNotary(t)
	f, a, _, calls := pair(t, nil, func(c *Config) { c.Vouching = n.vouching(true) })
	var field string
	var body []byte
	f.mu.Lock()
	f.relay = vouches(func(m *sip.Message) {
		if field == "" {
			field, body = n.sign(plain(m)), append([]byte(nil), m.Body()...)
		}
		m.AppendString(sip.HdrIdentity, field)
		m.SetBody("application/sdp", body)
	}, nil)
	f.mu.Unlock()
	first, err := a.Call(patiently(t), impuOf(bob), Voice{})
	if err != nil {
		t.Fatal(err)
	}
	incoming(t, calls).Reject(486)
	ended(t, first)
	second, err := a.Call(patiently(t), impuOf(bob), Voice{})
	if err != nil {
		t.Fatal(err)
	}
	if e := ended(t, second); e.Code != 438 || len(calls) > 0 {
		t.Errorf("%+v", e)
	}
}

// TestVouched_reinvite: within a call a false signature is refused as at its beginning, and only a true one brings other media keys or another address; an
// offer that changes none needs no signature.
func TestVouched_reinvite(t *testing.T) {
	n, stranger := homeNotary(t), homeNotary(t)
	f, a, _, calls := pair(t, nil, func(c *Config) { c.Vouching = n.vouching(true) })
	f.mu.Lock()
	f.relay = vouches(n.adds(plain), n.adds(rsp))
	f.mu.Unlock()
	ca, cb := connect(t, a, calls, Voice{}, Voice{})
	says := func(by *notary, edit func(*passport.PASSporT)) func(string) string {
		return func(body string) string {
			p := passport.PASSporT{Orig: who(alice), Dest: []passport.Identity{who(bob)}, Keys: passport.KeysOf([]byte(body))}
			if edit != nil {
				edit(&p)
			}
			return "Identity: " + by.sign(p)
		}
	}
	hold := func(s string) string { return strings.Replace(s, "a=sendrecv", "a=sendonly", 1) }
	swap := func(s string) string {
		at := strings.Index(s, "sha-256 ") + len("sha-256 ")
		return s[:at] + strings.Repeat("AA:", 31) + "AA" + s[at+95:]
	}
	moved := func(s string) string { return strings.Replace(s, "c=IN IP4 127.0.0.1", "c=IN IP4 127.0.0.9", 1) }
	for i, c := range []struct {
		name string
		edit func(string) string
		say  func(string) string
		code string
	}{
		{"nobody signs what changes no key", hold, nil, "200"},
		{"the caller's network signs", hold, says(n, nil), "200"},
		{"dialled by another name", hold, says(n, func(p *passport.PASSporT) { p.Dest = []passport.Identity{{TN: "15550100"}} }), "200"},
		{"other keys are signed", hold, says(n, func(p *passport.PASSporT) { p.Keys[0].Digest = strings.Repeat("AA", 32) }), "438"},
		{"a stranger signs", hold, says(stranger, nil), "438"},
		{"long ago", hold, says(n, func(p *passport.PASSporT) { p.IssuedAt = time.Unix(time.Now().Unix()-3600, 0) }), "403"},
		{"of somebody else", hold, says(n, func(p *passport.PASSporT) { p.Orig = who("carol") }), "438"},
		{"no token", hold, func(string) string { return "Identity: forged;info=<https://evil.example/>" }, "438"},
		{"other keys", swap, nil, "488"},
		{"other keys, and others signed", swap, func(string) string { return says(n, nil)(hold("")) }, "438"},
		{"elsewhere", moved, nil, "488"},
		{"other keys, and signed", swap, says(n, nil), "200"},
		{"and again, before those stand", moved, says(n, nil), "491"},
	} {
		var more []func(string) string
		if c.say != nil {
			more = append(more, c.say)
		}
		if code := reinvite(t, f, 100+i, c.edit, more...); code != c.code {
			t.Errorf("%s: %s, want %s", c.name, code, c.code)
		}
	}
	if v := cb.Vouched(); v.Identity != impuOf(alice) {
		t.Errorf("%+v", v)
	}
	ca.Hangup()
	ended(t, ca)
}
