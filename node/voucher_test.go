package node

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"path"
	"testing"
	"time"

	"imsafe/ca"
	"imsafe/iface/clientweb"
	"imsafe/proto/passport"
	"imsafe/proto/shard"
	"imsafe/store"
	"imsafe/store/seal"
)

// notary is a voucher on an authority of its own, with a clock that the test moves.
type notary struct {
	*voucher
	t         testing.TB
	now       time.Time
	root      *ca.Root
	authority *ca.Authority
	keys      *ca.Signers
	store     store.Store
	keyring   *seal.Keyring
}

const signs = "ims.example"

func newNotary(t testing.TB) *notary {
	t.Helper()
	n := &notary{t: t, now: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return n.now }
	keyring, err := seal.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.InMemory(shard.RealClock())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if n.root, err = ca.NewRoot(rand.Reader, clock, signs, 1000*time.Hour); err != nil {
		t.Fatal(err)
	}
	if n.authority, err = ca.OpenAuthority(signs, ca.Ports{Store: db, Keys: func() *seal.Keyring { return keyring }, Random: rand.Reader, Now: clock}); err != nil {
		t.Fatal(err)
	}
	n.store, n.keyring = db, keyring
	n.signs(false)
	return n
}

// signs gives it its voucher.
func (n *notary) signs(shared bool) {
	n.t.Helper()
	var err error
	if n.keys, err = n.authority.Signers(passport.SignerURI(signs), clientweb.Host(signs), ca.MaxServiceLife, shared); err != nil {
		n.t.Fatal(err)
	}
	n.voucher = newVoucher(n.keys, clientweb.Certificates("https://origin.example"))
}

// node is one more node of the same network, which has what the store has.
func (n *notary) node() *notary {
	n.t.Helper()
	other := &notary{t: n.t, root: n.root, store: n.store, keyring: n.keyring}
	var err error
	if other.authority, err = ca.OpenAuthority(signs, ca.Ports{Store: n.store, Keys: func() *seal.Keyring { return n.keyring }, Random: rand.Reader, Now: func() time.Time { return n.now }}); err != nil {
		n.t.Fatal(err)
	}
	other.signs(true)
	if err := other.keys.Keep(); err != nil {
		n.t.Fatal(err)
	}
	return other
}

// install gives the authority an intermediate.
func (n *notary) install() {
	n.t.Helper()
	request, err := n.authority.Request()
	if err == nil {
		request, err = n.root.Sign(request, 900*time.Hour)
	}
	if err == nil {
		err = n.authority.Install(request)
	}
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *notary) sign() *passport.PASSporT {
	n.t.Helper()
	p := &passport.PASSporT{Orig: passport.Identity{URI: "sip:alice@" + signs}, Dest: []passport.Identity{{TN: "4930"}}, IssuedAt: n.now}
	if err := n.Sign(p); err != nil {
		n.t.Fatal(err)
	}
	return p
}

// verify does what a client does: fetch, judge the chain, verify.
func (n *notary) verify(p *passport.PASSporT) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(n.root.Certificate())
	key, domain, _, err := passport.Chain(n.Chain(path.Base(p.Info)), roots, n.now)
	if err == nil && domain != signs {
		n.t.Errorf("signs for %q", domain)
	}
	if err != nil {
		return err
	}
	return p.Verify(key)
}

// TestVoucher: nothing is signed without an intermediate; keys are replaced by time and with the intermediate; what an old one signed verifies
// until its certificate ends.
func TestVoucher(t *testing.T) {
	n := newNotary(t)
	p := &passport.PASSporT{Orig: passport.Identity{TN: "1"}, Dest: []passport.Identity{{TN: "2"}}, IssuedAt: n.now}
	if err := n.Sign(p); !errors.Is(err, ca.ErrNone) {
		t.Errorf("without an intermediate: %v", err)
	}
	n.install()
	first := n.sign()
	if again := n.sign(); again.Info != first.Info {
		t.Error("each token has a key of its own")
	}
	n.now = n.now.Add(17 * time.Hour)
	second := n.sign()
	n.install()
	third := n.sign()
	if second.Info == first.Info || third.Info == second.Info {
		t.Errorf("keys: %s, %s, %s", first.Info, second.Info, third.Info)
	}
	for _, p := range []*passport.PASSporT{first, second, third} {
		if err := n.verify(p); err != nil {
			t.Errorf("%s: %v", p.Info, err)
		}
	}
	n.now = n.now.Add(8 * time.Hour)
	if err := n.verify(first); err == nil || n.Chain(path.Base(first.Info)) != nil {
		t.Errorf("the first key's certificate has ended: %v", err)
	}
}

// TestChainOfOthers: neither the certificate of a platform nor that of a server of the core makes a signer, nor one of a stranger's root.
func TestChainOfOthers(t *testing.T) {
	n, stranger := newNotary(t), newNotary(t)
	n.install()
	stranger.install()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(n.root.Certificate())
	key, err := ca.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	identity, host := "spiffe://"+signs+"/as/example/evil/1", "evil.as."+signs
	csr, err := ca.NewRequest(rand.Reader, key, identity, host)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := n.authority.Service(csr, identity, host, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var platform []byte
	for _, c := range chain {
		platform = append(platform, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	own, err := n.authority.Own("isc."+signs, time.Hour).Certificate()
	if err != nil {
		t.Fatal(err)
	}
	var server []byte
	for _, der := range own.Certificate {
		server = append(server, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	good := n.Chain(path.Base(n.sign().Info))
	for name, text := range map[string][]byte{
		"a platform": platform, "a server": server, "a stranger": stranger.Chain(path.Base(stranger.sign().Info)), "nothing": nil,
		"half of it": good[:len(good)/3], "no certificate": []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
	} {
		if _, _, _, err := passport.Chain(text, roots, n.now); !errors.Is(err, passport.ErrChain) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, _, err := passport.Chain(good, roots, n.now.Add(25*time.Hour)); !errors.Is(err, passport.ErrChain) {
		t.Errorf("tomorrow: %v", err)
	}
}

// TestGenuine: what this node has signed is known as such, remembered or not; what somebody else has signed, or changed, is not.
func TestGenuine(t *testing.T) {
	n, stranger := newNotary(t), newNotary(t)
	n.install()
	stranger.install()
	first := n.sign()
	for range maxRecent {
		n.remember(first.Token() + "x") // pushes the first out
	}
	parse := func(token string) *passport.PASSporT {
		p, err := passport.Parse(token)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if _, remembered := n.recent[first.Token()]; remembered || len(n.recent) > maxRecent {
		t.Errorf("remembered: %v, of %d", remembered, len(n.recent))
	}
	if !n.Genuine(parse(first.Token())) || !n.Genuine(parse(n.sign().Token())) {
		t.Error("its own are not known")
	}
	token := []byte(first.Token())
	if token[len(token)-10] ^= 1; n.Genuine(parse(string(token))) {
		t.Error("a changed signature is taken")
	}
	if n.Genuine(parse(stranger.sign().Token())) {
		t.Error("a stranger's is taken")
	}
	n.now = n.now.Add(25 * time.Hour)
	if n.Genuine(parse(first.Token())) {
		t.Error("its certificate has ended")
	}
}

// TestGenuine_of_another_node: what one node of a network has signed is known at the others, and its certificates are found there, until they end; also when
// that node is gone and another key signs.
func TestGenuine_of_another_node(t *testing.T) {
	n := newNotary(t)
	n.install()
	a, b := n.node(), n.node()
	a.now = n.now
	p := a.sign()
	name := path.Base(p.Info)
	if !b.Genuine(p) || !bytes.Equal(a.Chain(name), b.Chain(name)) || len(b.Chain(name)) == 0 {
		t.Error("the other node does not know what it signs")
	}
	changed := []byte(p.Token())
	changed[len(changed)-10] ^= 1
	if q, err := passport.Parse(string(changed)); err != nil || b.Genuine(q) {
		t.Errorf("a changed signature is taken, or %v", err)
	}
	stranger := newNotary(t)
	stranger.install()
	if b.Genuine(stranger.sign()) {
		t.Error("a stranger's is taken")
	}
	n.now = n.now.Add(17 * time.Hour)
	if err := b.keys.Keep(); err != nil {
		t.Fatal(err)
	}
	n.now = n.now.Add(time.Minute)
	b.now = n.now
	c := n.node()
	next := b.sign()
	if next.Info == p.Info {
		t.Error("there is no other key")
	}
	for at, node := range map[string]*notary{"one that goes on": b, "one that starts": c} {
		if !node.Genuine(p) || !node.Genuine(next) || len(node.Chain(name)) == 0 || len(node.Chain(path.Base(next.Info))) == 0 {
			t.Errorf("%s: both keys are good", at)
		}
	}
	n.now = n.now.Add(7 * time.Hour)
	if b.Genuine(p) || b.Chain(name) != nil || !c.Genuine(next) {
		t.Error("the certificate of the first has ended, and not that of the second")
	}
}

func BenchmarkGenuine(b *testing.B) {
	n := newNotary(b)
	n.install()
	p := n.sign()
	for _, remembered := range []bool{true, false} {
		if !remembered {
			clear(n.recent)
		}
		b.Run(map[bool]string{true: "remembered", false: "verified"}[remembered], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !n.Genuine(p) {
					b.Fatal("not genuine")
				}
			}
		})
	}
}

func BenchmarkSignNow(b *testing.B) {
	n := newNotary(b)
	n.install()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := n.voucher.now(); err != nil {
			b.Fatal(err)
		}
	}
}
