package ca_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"imsafe/ca"
	"imsafe/proto/shard"
	"imsafe/store"
	"imsafe/store/seal"
)

const (
	domain   = "ims.example"
	identity = "spiffe://ims.example/as/example/voicemail/a"
	host     = "voicemail.as.ims.example"
)

// house is an authority on a store in memory, with a clock that the test moves.
type house struct {
	t     testing.TB
	now   time.Time
	keys  *seal.Keyring
	store *store.DB
	root  *ca.Root
	*ca.Authority
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{t: t, now: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)}
	var err error
	if h.keys, err = seal.Generate(rand.Reader); err != nil {
		t.Fatal(err)
	}
	if h.store, err = store.InMemory(shard.RealClock()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.store.Close(); err != nil {
			t.Error(err)
		}
	})
	if h.root, err = ca.NewRoot(rand.Reader, h.clock, domain, 10*365*24*time.Hour); err != nil {
		t.Fatal(err)
	}
	h.open()
	return h
}

func (h *house) clock() time.Time { return h.now }

// open opens the authority again over what is in the store, as a process that starts does.
func (h *house) open() {
	h.t.Helper()
	var err error
	h.Authority, err = ca.OpenAuthority(domain, ca.Ports{Store: h.store, Keys: func() *seal.Keyring { return h.keys }, Random: rand.Reader, Now: h.clock})
	if err != nil {
		h.t.Fatal(err)
	}
}

// rotate makes a new intermediate.
func (h *house) rotate() error {
	h.t.Helper()
	request, err := h.Request()
	if err != nil {
		h.t.Fatal(err)
	}
	signed, err := h.root.Sign(request, 365*24*time.Hour)
	if err != nil {
		h.t.Fatal(err)
	}
	return h.Install(signed)
}

func request(t testing.TB, identity, host string) []byte {
	t.Helper()
	key, err := ca.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := ca.NewRequest(rand.Reader, key, identity, host)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (h *house) service() []*x509.Certificate {
	h.t.Helper()
	chain, err := h.Service(request(h.t, identity, host), identity, host, 24*time.Hour)
	if err != nil {
		h.t.Fatal(err)
	}
	return chain
}

// trusts says whether the core accepts a chain as a client's now, from the intermediates alone.
func (h *house) trusts(leaf *x509.Certificate) error {
	_, err := leaf.Verify(x509.VerifyOptions{Roots: h.Pool(), CurrentTime: h.now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err
}

func TestAuthority(t *testing.T) {
	h := newHouse(t)
	if _, err := h.Service(request(t, identity, host), identity, host, time.Hour); !errors.Is(err, ca.ErrNone) {
		t.Errorf("without an intermediate: %v", err)
	}
	if err := h.rotate(); err != nil {
		t.Fatal(err)
	}
	h.open() // another process
	chain := h.service()
	leaf := chain[0]
	if err := h.trusts(leaf); err != nil {
		t.Error(err)
	}
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != identity || len(leaf.DNSNames) != 1 || leaf.DNSNames[0] != host || leaf.IsCA {
		t.Errorf("names %v %v, authority %v", leaf.URIs, leaf.DNSNames, leaf.IsCA)
	}
	if life := leaf.NotAfter.Sub(h.now); life != 24*time.Hour {
		t.Errorf("lives %s", life)
	}
	// What the service trusts of the core: the root, with the intermediate from the chain.
	own, err := h.Own("isc."+domain, time.Hour).Certificate()
	if err != nil {
		t.Fatal(err)
	}
	text, _ := h.Root()
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	between.AddCert(chain[1])
	if _, err := own.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: h.now, DNSName: "isc." + domain}); err != nil {
		t.Error(err)
	}
}

// TestRequests sends requests that ask for more than one service's names.
func TestRequests(t *testing.T) {
	h := newHouse(t)
	if err := h.rotate(); err != nil {
		t.Fatal(err)
	}
	make := func(curve elliptic.Curve, change func(*x509.CertificateRequest)) []byte {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		u, _ := url.Parse(identity)
		template := &x509.CertificateRequest{URIs: []*url.URL{u}, DNSNames: []string{host}}
		change(template)
		der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	other, _ := url.Parse("spiffe://ims.example/as/example/telephony/a")
	cases := map[string]struct {
		der  []byte
		want error
	}{
		"its_own":           {make(elliptic.P256(), func(*x509.CertificateRequest) {}), nil},
		"a_second_uri":      {make(elliptic.P256(), func(r *x509.CertificateRequest) { r.URIs = append(r.URIs, other) }), ca.ErrNames},
		"another_uri":       {make(elliptic.P256(), func(r *x509.CertificateRequest) { r.URIs = []*url.URL{other} }), ca.ErrNames},
		"no_uri":            {make(elliptic.P256(), func(r *x509.CertificateRequest) { r.URIs = nil }), ca.ErrNames},
		"a_second_dns_name": {make(elliptic.P256(), func(r *x509.CertificateRequest) { r.DNSNames = append(r.DNSNames, "pcscf."+domain) }), ca.ErrNames},
		"a_wildcard":        {make(elliptic.P256(), func(r *x509.CertificateRequest) { r.DNSNames = []string{"*." + domain} }), ca.ErrNames},
		"an_address":        {make(elliptic.P256(), func(r *x509.CertificateRequest) { r.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} }), ca.ErrNames},
		"mail":              {make(elliptic.P256(), func(r *x509.CertificateRequest) { r.EmailAddresses = []string{"a@ims.example"} }), ca.ErrNames},
		"another_curve":     {make(elliptic.P384(), func(*x509.CertificateRequest) {}), ca.ErrRequest},
		"nothing":           {nil, ca.ErrRequest},
		"too_long":          {make(elliptic.P256(), func(r *x509.CertificateRequest) { r.Subject.CommonName = strings.Repeat("a", 5000) }), ca.ErrRequest},
	}
	forged := make(elliptic.P256(), func(*x509.CertificateRequest) {})
	forged[len(forged)-1] ^= 1
	cases["not_signed_by_its_key"] = struct {
		der  []byte
		want error
	}{forged, ca.ErrRequest}
	for name, c := range cases {
		if _, err := h.Service(c.der, identity, host, time.Hour); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for _, life := range []time.Duration{0, -time.Hour, 24*time.Hour + 1} {
		if _, err := h.Service(request(t, identity, host), identity, host, life); !errors.Is(err, ca.ErrLife) {
			t.Errorf("life %s: %v", life, err)
		}
	}
}

// TestConstraints makes the intermediate sign what is not ours: whoever verifies it refuses it, since the constraints are in the chain.
func TestConstraints(t *testing.T) {
	h := newHouse(t)
	if err := h.rotate(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ identity, host string }{
		"host_elsewhere": {identity, "voicemail.elsewhere.example"},
		"uri_elsewhere":  {"spiffe://elsewhere.example/as/example/voicemail/a", host},
	} {
		chain, err := h.Service(request(t, c.identity, c.host), c.identity, c.host, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.trusts(chain[0]); err == nil {
			t.Errorf("%s: trusted", name)
		}
	}
}

// TestRotation has two intermediates at once, then one again.
func TestRotation(t *testing.T) {
	h := newHouse(t)
	if err := h.rotate(); err != nil {
		t.Fatal(err)
	}
	old := h.service()[0]
	own := h.Own("isc."+domain, time.Hour)
	before, err := own.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	h.now = h.now.Add(10 * time.Minute)
	if err := h.rotate(); err != nil {
		t.Fatal(err)
	}
	fresh := h.service()
	if fresh[1].Equal(h.Issuers()[1]) {
		t.Error("the old intermediate issues")
	}
	if err := errors.Join(h.trusts(old), h.trusts(fresh[0])); err != nil {
		t.Errorf("both are trusted while they rotate: %v", err)
	}
	if after, err := own.Certificate(); err != nil || string(after.Certificate[1]) != string(fresh[1].Raw) || after == before {
		t.Errorf("the core's own certificate is of the old intermediate: %v", err)
	}
	if err := h.rotate(); !errors.Is(err, ca.ErrTwo) {
		t.Errorf("a third: %v", err)
	}
	if err := h.Retire(h.Issuers()[1].SerialNumber.Text(16)); err != nil {
		t.Fatal(err)
	}
	h.open()
	if h.trusts(old) == nil || h.trusts(fresh[0]) != nil {
		t.Error("the retired one is trusted, or the other is not")
	}
	if err := h.rotate(); err != nil {
		t.Errorf("after that: %v", err)
	}
	if err := h.Retire("1"); !errors.Is(err, ca.ErrUnknown) {
		t.Errorf("an unknown one: %v", err)
	}
}

// TestInstallRefuses takes only what the root signed for the key that waits here.
func TestInstallRefuses(t *testing.T) {
	h := newHouse(t)
	first, err := h.Request()
	if err != nil {
		t.Fatal(err)
	}
	stale, err := h.root.Sign(first, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	second, err := h.Request()
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := ca.NewRoot(rand.Reader, h.clock, "elsewhere.example", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := elsewhere.Sign(second, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	good, err := h.root.Sign(second, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(good)
	for name, c := range map[string]struct {
		text []byte
		want error
	}{
		"for_the_request_before":  {stale, ca.ErrPending},
		"for_another_network":     {foreign, ca.ErrConstraints},
		"without_the_root":        {pem.EncodeToMemory(block), ca.ErrForm},
		"the_root_alone":          {append(h.root.Certificate(), h.root.Certificate()...), ca.ErrConstraints},
		"under_the_wrong_root":    {append(pem.EncodeToMemory(block), elsewhere.Certificate()...), ca.ErrConstraints},
		"nothing":                 {nil, ca.ErrForm},
		"with_a_key_in_the_block": {append(good, []byte("-----BEGIN X-----\n-----END X-----\n")...), ca.ErrForm},
	} {
		if err := h.Install(c.text); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := h.Install(good); err != nil {
		t.Errorf("the good one: %v", err)
	}
	if err := h.Install(good); !errors.Is(err, ca.ErrPending) {
		t.Errorf("twice: %v", err)
	}
}

// TestClock moves the clock of the core forth and back.
func TestClock(t *testing.T) {
	h := newHouse(t)
	if err := h.rotate(); err != nil {
		t.Fatal(err)
	}
	leaf := h.service()[0]
	behind := h.now.Add(-4 * time.Minute)
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: h.Pool(), CurrentTime: behind}); err != nil {
		t.Errorf("a peer that is four minutes behind: %v", err)
	}
	if at := ca.RenewAt(leaf); at != h.now.Add(16*time.Hour) {
		t.Errorf("renewed %s after it was issued", at.Sub(h.now))
	}
	h.now = h.now.Add(time.Hour)
	h.service()
	h.now = h.now.Add(-30 * time.Minute)
	if _, err := h.Service(request(t, identity, host), identity, host, time.Hour); !errors.Is(err, ca.ErrClock) {
		t.Errorf("the clock went back half an hour: %v", err)
	}
	h.open() // restarted with the clock right again, by the operator
	h.service()
	h.now = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC) // a machine whose clock has no battery
	h.open()
	if _, err := h.Service(request(t, identity, host), identity, host, time.Hour); !errors.Is(err, ca.ErrClock) {
		t.Errorf("in 1970: %v", err)
	}
	h.now = time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC)
	if _, err := h.Service(request(t, identity, host), identity, host, time.Hour); !errors.Is(err, ca.ErrNone) {
		t.Errorf("after the end of the intermediate: %v", err)
	}
}

// TestNeverLongerThanTheAuthority asks for a day in the last hour.
func TestNeverLongerThanTheAuthority(t *testing.T) {
	h := newHouse(t)
	if err := h.rotate(); err != nil {
		t.Fatal(err)
	}
	end := h.Issuers()[0].NotAfter
	h.now = end.Add(-time.Hour)
	if leaf := h.service()[0]; leaf.NotAfter.After(end) {
		t.Errorf("ends %s, its authority %s", leaf.NotAfter, end)
	}
}

// TestOwn renews itself at two thirds.
func TestOwn(t *testing.T) {
	h := newHouse(t)
	own := h.Own("isc."+domain, 3*time.Hour)
	if _, err := own.Certificate(); !errors.Is(err, ca.ErrNone) {
		t.Errorf("without an intermediate: %v", err)
	}
	if err := h.rotate(); err != nil {
		t.Fatal(err)
	}
	first, err := own.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	h.now = h.now.Add(119 * time.Minute)
	if same, _ := own.Certificate(); same != first {
		t.Error("renewed before two thirds")
	}
	h.now = h.now.Add(2 * time.Minute)
	if second, err := own.Certificate(); err != nil || second == first {
		t.Errorf("not renewed after two thirds: %v", err)
	}
}

// TestSealed rotates the sealing key: the intermediate goes on under the new one alone.
func TestSealed(t *testing.T) {
	h := newHouse(t)
	if err := h.rotate(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Request(); err != nil {
		t.Fatal(err)
	}
	next, err := h.keys.Rotate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h.keys = next
	for round, want := range []int{2, 0} {
		if n, err := h.Reseal(); err != nil || n != want {
			t.Fatalf("round %d: resealed %d, %v", round, n, err)
		}
	}
	h.keys = next.Retire()
	h.open()
	h.service()
	h.keys, _ = seal.Generate(rand.Reader)
	if _, err := h.Service(request(t, identity, host), identity, host, time.Hour); !errors.Is(err, seal.ErrKey) && !errors.Is(err, seal.ErrForged) {
		t.Errorf("under a foreign sealing key: %v", err)
	}
}

// TestRootFile is the root as a file, taken away and brought back.
func TestRootFile(t *testing.T) {
	h := newHouse(t)
	text, err := h.root.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if h.root, err = ca.ParseRoot(rand.Reader, h.clock, text); err != nil || h.root.Domain() != domain {
		t.Fatalf("%v, %v", h.root, err)
	}
	if err := h.rotate(); err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{nil, text[:len(text)/2], h.root.Certificate(), append(text, text...)} {
		if _, err := ca.ParseRoot(rand.Reader, h.clock, bad); !errors.Is(err, ca.ErrForm) {
			t.Errorf("%d octets: %v", len(bad), err)
		}
	}
}
