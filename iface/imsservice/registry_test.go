package imsservice_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"imsafe/ca"
	"imsafe/iface/imsservice"
	"imsafe/proto/shard"
	"imsafe/refpoint/isc"
	"imsafe/secure"
	"imsafe/store"
	"imsafe/store/seal"
)

const manifest = `manifest = 1
service  = "echo"
provider = "example"
domain   = "ims.example"
endpoint = "sips:echo.as.ims.example:5061"
psi      = ["sip:echo@ims.example"]
scopes   = ["session.answer", "media.send", "media.record"]
users    = { groups = ["staff"] }
limits   = { cps = 20, sessions = 200, media_mbps = 20 }
expires  = 2026-12-31
[[trigger]]
case     = "terminating"
methods  = ["INVITE"]
priority = 50
`

// clock is one that the test moves.
type clock struct {
	shard.Clock
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Wall() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Now() time.Duration { return c.Wall().Sub(time.Unix(0, 0)) }

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// failing is a store whose changes can be made to fail.
type failing struct {
	store.Store
	err error
}

func (f *failing) Apply(partition string, ops ...store.Op) error {
	if f.err != nil {
		return f.err
	}
	return f.Store.Apply(partition, ops...)
}

// house is a register on a store in memory, an operator with an approval key, and an authority.
type house struct {
	*imsservice.Registry
	t         testing.TB
	clock     *clock
	store     *failing
	authority *ca.Authority
	operator  ed25519.PrivateKey
	cfg       imsservice.RegistryConfig
	gate      *secure.Gate
	told      []string
	record    func(imsservice.Deed) error
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{t: t, clock: &clock{Clock: shard.RealClock(), now: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)}, gate: secure.NewGate(nil, nil)}
	db, err := store.InMemory(shard.RealClock())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	h.store = &failing{Store: db}
	keys, err := seal.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h.authority, err = ca.OpenAuthority("ims.example", ca.Ports{Store: db, Keys: func() *seal.Keyring { return keys }, Random: rand.Reader, Now: h.clock.Wall})
	if err != nil {
		t.Fatal(err)
	}
	root, err := ca.NewRoot(rand.Reader, h.clock.Wall, "ims.example", 10*365*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	request, err := h.authority.Request()
	if err != nil {
		t.Fatal(err)
	}
	signed, err := root.Sign(request, 2*365*24*time.Hour)
	if err == nil {
		err = h.authority.Install(signed)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, h.operator, err = ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h.cfg = imsservice.RegistryConfig{Domain: "ims.example", Approvers: []ed25519.PublicKey{h.operator.Public().(ed25519.PublicKey)}, Reserved: []string{"pcscf.ims.example"}}
	h.open()
	return h
}

// open opens the register again, as a process that starts does.
func (h *house) open() {
	h.t.Helper()
	var err error
	h.Registry, err = imsservice.OpenRegistry(h.cfg, imsservice.RegistryPorts{Store: h.store, Authority: h.authority, Random: rand.Reader, Clock: h.clock, Gate: h.gate, Record: h.record})
	if err != nil {
		h.t.Fatal(err)
	}
	h.Watch(func(host string) { h.told = append(h.told, host) })
}

func (h *house) invite() string {
	h.t.Helper()
	token, err := h.Invite(time.Hour)
	if err != nil {
		h.t.Fatal(err)
	}
	return token
}

// platform is a service platform with its key.
type platform struct {
	h        *house
	text     string
	manifest *isc.Manifest
	instance string
	key      *ecdsa.PrivateKey
	csr      []byte
}

func (h *house) platform(text, instance string) *platform {
	h.t.Helper()
	m, err := isc.Parse([]byte(text))
	if err != nil {
		h.t.Fatal(err)
	}
	p := &platform{h: h, text: text, manifest: m, instance: instance}
	p.newKey()
	return p
}

func (p *platform) newKey() {
	p.h.t.Helper()
	var err error
	if p.key, err = ca.NewKey(rand.Reader); err != nil {
		p.h.t.Fatal(err)
	}
	if p.csr, err = ca.NewRequest(rand.Reader, p.key, p.manifest.Identity(p.instance), p.manifest.Host()); err != nil {
		p.h.t.Fatal(err)
	}
}

func (p *platform) request() error {
	_, _, err := p.h.Request(p.h.invite(), []byte(p.text), p.csr)
	return err
}

// certificate fetches the leaf.
func (p *platform) certificate() *x509.Certificate {
	p.h.t.Helper()
	chain, err := p.h.Certificate(p.csr)
	if err != nil {
		p.h.t.Fatal(err)
	}
	return chain[0]
}

// approval is what an operator signs who has looked at what waits; change may tamper with it before it is signed.
func (h *house) approval(name string, change func(*isc.Approval)) *isc.Approval {
	h.t.Helper()
	e, err := h.Show(name)
	if err != nil {
		h.t.Fatal(err)
	}
	text := e.Manifest
	a := &isc.Approval{Service: name, Approver: "operator", Time: h.clock.Wall(), Serial: e.Serial + 1}
	if e.Pending != nil {
		text = e.Pending.Manifest
		copy(a.Key[:], e.Pending.Key)
	}
	m, err := isc.Parse([]byte(text))
	if err != nil {
		h.t.Fatal(err)
	}
	a.Manifest, a.Granted = sha256.Sum256([]byte(text)), m.Asked
	if change != nil {
		change(a)
	}
	if err := a.Sign(h.operator); err != nil {
		h.t.Fatal(err)
	}
	return a
}

// enrolled is a platform that was approved.
func (h *house) enrolled(text, instance string) *platform {
	h.t.Helper()
	p := h.platform(text, instance)
	if err := p.request(); err != nil {
		h.t.Fatal(err)
	}
	if err := h.Approve(h.approval(p.manifest.Service, nil)); err != nil {
		h.t.Fatal(err)
	}
	return p
}

func (h *house) standing(leaf *x509.Certificate) imsservice.Standing {
	_, standing := h.ByPeer(leaf)
	return standing
}

func TestRegistry(t *testing.T) {
	h := newHouse(t)
	p := h.platform(manifest, "a")
	if err := p.request(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Certificate(p.csr); !errors.Is(err, imsservice.ErrNotApproved) {
		t.Errorf("before it is approved: %v", err)
	}
	if h.ByServer([]byte("echo.as.ims.example")) != nil {
		t.Error("serves before it is approved")
	}
	granted := h.approval("echo", func(a *isc.Approval) {
		record, _ := isc.ParseScopes([]string{"media.record"})
		a.Granted = a.Granted.Without(record)
	})
	if err := h.Approve(granted); err != nil {
		t.Fatal(err)
	}
	h.open() // another process
	leaf := p.certificate()
	s, standing := h.ByPeer(leaf)
	if standing != imsservice.StandingActive || !s.May(isc.MediaSend) || s.May(isc.MediaRecord) || !s.HasKey(leaf) {
		t.Fatalf("%s, %+v", standing, s)
	}
	if h.ByServer([]byte("echo.as.ims.example")) != s || len(h.Shared(s.Set)) != 1 || h.Shared(s.Set)[0].Priority != 50 || h.Shared(s.Set+1) != nil {
		t.Errorf("set %d: %+v", s.Set, h.Shared(s.Set))
	}
	host := []byte("echo.as.ims.example")
	if n := testing.AllocsPerRun(100, func() { h.ByServer(host); h.Shared(s.Set) }); n != 0 {
		t.Errorf("%v allocations to ask", n)
	}
	for _, step := range []struct {
		do   func(string) error
		want imsservice.Standing
	}{{h.Suspend, imsservice.StandingSuspended}, {h.Suspend, imsservice.StandingSuspended}, {h.Resume, imsservice.StandingActive}, {h.Revoke, imsservice.StandingRevoked}} {
		h.told = nil
		if err := step.do("echo"); err != nil {
			t.Fatal(err)
		}
		active := step.want == imsservice.StandingActive
		if criteria, known := h.Sets()[s.Set]; !known || (len(criteria) == 1) != (step.want != imsservice.StandingRevoked) {
			t.Errorf("%q: the set has %+v, known %v", step.want, criteria, known)
		}
		if h.standing(leaf) != step.want || (h.ByServer(host) != nil) != active || (h.Shared(s.Set) != nil) != (step.want != imsservice.StandingRevoked) {
			t.Errorf("stands %q, wants %q", h.standing(leaf), step.want)
		}
		if !slices.Equal(h.told, []string{"echo.as.ims.example"}) {
			t.Errorf("%s: told %v", step.want, h.told)
		}
	}
	if err := h.Resume("echo"); !errors.Is(err, imsservice.ErrState) {
		t.Errorf("resumed after it was revoked: %v", err)
	}
	if err := h.Approve(h.approval("echo", func(a *isc.Approval) { a.Key = isc.FingerprintOf(leaf.RawSubjectPublicKeyInfo) })); !errors.Is(err, imsservice.ErrState) {
		t.Errorf("approved again after it was revoked: %v", err)
	}
	h.open()
	if err := p.request(); !errors.Is(err, imsservice.ErrRevokedKey) {
		t.Errorf("asks with the revoked key: %v", err)
	}
	p.newKey()
	if err := p.request(); err != nil {
		t.Fatal(err)
	}
	if err := h.Approve(h.approval("echo", nil)); err != nil {
		t.Fatal(err)
	}
	if again, standing := h.ByPeer(p.certificate()); standing != "" || again.Set != s.Set || again.Serial != 2 {
		t.Errorf("with a new key: %s, %+v", standing, again)
	}
	if h.standing(leaf) != imsservice.StandingRevoked {
		t.Error("the old key is good again")
	}
}

func TestToken(t *testing.T) {
	h := newHouse(t)
	p := h.platform(manifest, "a")
	token := h.invite()
	ask := func(token, text string) error { _, _, err := h.Request(token, []byte(text), p.csr); return err }
	if err := ask("wrong", manifest); !errors.Is(err, imsservice.ErrToken) {
		t.Errorf("wrong: %v", err)
	}
	if err := ask(token, "manifest = 2"); errors.Is(err, imsservice.ErrToken) || err == nil {
		t.Errorf("a mistake: %v", err)
	}
	if err := ask(token, manifest); err != nil {
		t.Errorf("after a mistake: %v", err)
	}
	if err := ask(token, manifest); !errors.Is(err, imsservice.ErrToken) {
		t.Errorf("used: %v", err)
	}
	late := h.invite()
	h.clock.move(time.Hour)
	if err := ask(late, manifest); !errors.Is(err, imsservice.ErrToken) {
		t.Errorf("over: %v", err)
	}
	from := h.invite()
	h.cfg.RestoreEpoch++
	h.open()
	if err := ask(from, manifest); !errors.Is(err, imsservice.ErrToken) {
		t.Errorf("from a backup: %v", err)
	}
	for _, life := range []time.Duration{0, -1, 8 * 24 * time.Hour} {
		if _, err := h.Invite(life); err == nil {
			t.Errorf("invited for %s", life)
		}
	}
	both := h.invite()
	var wait sync.WaitGroup
	results := make([]error, 8)
	for i := range results {
		wait.Go(func() { results[i] = ask(both, manifest) })
	}
	wait.Wait()
	if n := len(slices.DeleteFunc(results, func(err error) bool { return err != nil })); n != 1 {
		t.Errorf("one token was used %d times at once", n)
	}
}

func TestRequestRefuses(t *testing.T) {
	h := newHouse(t)
	h.enrolled(manifest, "a")
	change := func(old, new string) string { return strings.Replace(manifest, old, new, 1) }
	other := strings.NewReplacer(`"echo"`, `"other"`)
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"the_host_of_another":     {other.Replace(manifest), imsservice.ErrTaken},
		"the_identity_of_another": {other.Replace(change("echo.as", "other.as")), imsservice.ErrTaken},
		"another_provider":        {change(`"example"`, `"rogue"`), imsservice.ErrTaken},
		"a_host_of_the_core":      {other.Replace(change("echo.as.ims.example", "pcscf.ims.example")), imsservice.ErrTaken},
		"another_network":         {strings.NewReplacer("ims.example", "ims2.example").Replace(manifest), imsservice.ErrDomain},
		"a_manifest_update":       {change("sessions = 200", "sessions = 300"), nil},
		"a_second_instance":       {manifest, nil},
	} {
		if err := h.platform(c.text, "b").request(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	p := h.platform(manifest, "a")
	u1, _ := url.Parse(p.manifest.Identity("a"))
	u2, _ := url.Parse("spiffe://ims.example/as/example/telephony/a")
	for name, template := range map[string]*x509.CertificateRequest{
		"a_second_uri": {URIs: []*url.URL{u1, u2}, DNSNames: []string{p.manifest.Host()}},
		"another_uri":  {URIs: []*url.URL{u2}, DNSNames: []string{p.manifest.Host()}},
		"no_uri":       {DNSNames: []string{p.manifest.Host()}},
		"another_host": {URIs: []*url.URL{u1}, DNSNames: []string{"pcscf.ims.example"}},
	} {
		var err error
		if p.csr, err = x509.CreateCertificateRequest(rand.Reader, template, p.key); err != nil {
			t.Fatal(err)
		}
		if err := p.request(); !errors.Is(err, ca.ErrNames) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := h.Certificate(p.csr); err == nil {
			t.Errorf("%s: certified", name)
		}
	}
}

// TestApproveRefuses tampers with what an operator signs, and with what waits between his look and his signature.
func TestApproveRefuses(t *testing.T) {
	h := newHouse(t)
	p := h.platform(manifest, "a")
	if err := p.request(); err != nil {
		t.Fatal(err)
	}
	more, _ := isc.ParseScopes([]string{"session.answer", "session.redirect"})
	for name, c := range map[string]struct {
		change func(*isc.Approval)
		want   error
	}{
		"another_manifest": {func(a *isc.Approval) { a.Manifest[0]++ }, isc.ErrApprovalManifest},
		"another_key":      {func(a *isc.Approval) { a.Key[0]++ }, imsservice.ErrKey},
		"more_scopes":      {func(a *isc.Approval) { a.Granted = more }, isc.ErrApprovalScopes},
		"all_users":        {func(a *isc.Approval) { a.AllUsers = true }, isc.ErrApprovalScopes},
		"a_serial_to_come": {func(a *isc.Approval) { a.Serial = 7 }, imsservice.ErrSerial},
		"nobody_known":     {func(a *isc.Approval) { a.Service = "nobody" }, imsservice.ErrUnknownService},
	} {
		if err := h.Approve(h.approval("echo", c.change)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	tampered := h.approval("echo", nil)
	tampered.Granted = more
	if err := h.Approve(tampered); !errors.Is(err, isc.ErrApprovalSignature) {
		t.Errorf("tampered: %v", err)
	}
	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	foreign := h.approval("echo", nil)
	if err := foreign.Sign(stranger); err != nil {
		t.Fatal(err)
	}
	if err := h.Approve(foreign); !errors.Is(err, isc.ErrApprovalSignature) {
		t.Errorf("by a stranger: %v", err)
	}
	looked := h.approval("echo", nil)
	changed := h.platform(strings.Replace(manifest, `"session.answer"`, `"session.answer", "session.originate"`, 1), "a")
	if err := changed.request(); err != nil {
		t.Fatal(err)
	}
	if err := h.Approve(looked); !errors.Is(err, isc.ErrApprovalManifest) {
		t.Errorf("the manifest was changed after the operator looked: %v", err)
	}
	good := h.approval("echo", nil)
	if err := h.Approve(good); err != nil {
		t.Fatal(err)
	}
	if err := h.Approve(good); !errors.Is(err, imsservice.ErrSerial) {
		t.Errorf("replayed: %v", err)
	}
	h.cfg.Approvers = nil
	h.open()
	if err := h.Approve(good); !errors.Is(err, imsservice.ErrNoApprover) {
		t.Errorf("without an approval key: %v", err)
	}
}

// TestStoreIsNotBelieved changes a record behind the core's back: the approval covers it no more, and the service is held.
func TestStoreIsNotBelieved(t *testing.T) {
	h := newHouse(t)
	p := h.enrolled(manifest, "a")
	leaf := p.certificate()
	rec, err := h.store.Get(imsservice.TableService, []byte("echo"))
	if err != nil {
		t.Fatal(err)
	}
	value := strings.Replace(string(rec.Value), `"serial":1`, `"serial":2`, 1)
	if err := h.store.Apply("isc", store.Op{Table: imsservice.TableService, Key: []byte("echo"), Value: []byte(value)}); err != nil {
		t.Fatal(err)
	}
	h.open()
	if e, _ := h.Show("echo"); e.Held != imsservice.HeldUnproven || h.standing(leaf) == "" || h.ByServer([]byte("echo.as.ims.example")) != nil {
		t.Errorf("a changed record is believed: %+v", e)
	}
}

// TestBackup brings the register back as it was before a revocation.
func TestBackup(t *testing.T) {
	h := newHouse(t)
	p := h.enrolled(manifest, "a")
	leaf := p.certificate()
	before, err := h.store.Get(imsservice.TableService, []byte("echo"))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Revoke("echo"); err != nil {
		t.Fatal(err)
	}
	f := isc.FingerprintOf(leaf.RawSubjectPublicKeyInfo)
	ops := []store.Op{{Table: imsservice.TableService, Key: []byte("echo"), Value: before.Value}, {Table: imsservice.TableRevoked, Key: append([]byte("key "), f[:]...)}}
	if err := h.store.Apply("isc", ops...); err != nil {
		t.Fatal(err)
	}
	h.cfg.RestoreEpoch++
	h.open()
	check := func(want imsservice.Standing) {
		t.Helper()
		if got := h.standing(leaf); got != want {
			t.Errorf("stands %q, wants %q", got, want)
		}
	}
	check(imsservice.StandingSuspended)
	if err := h.platform(manifest, "b").request(); err != nil { // a request does not let it go on
		t.Fatal(err)
	}
	h.open()
	check(imsservice.StandingSuspended)
	if _, err := h.Certificate(p.csr); err == nil {
		t.Error("certified while it is held")
	}
	if err := h.Resume("echo"); err != nil {
		t.Fatal(err)
	}
	check(imsservice.StandingActive)
}

// TestFailedCommit fails the disk at every change: nothing is different afterwards.
func TestFailedCommit(t *testing.T) {
	h := newHouse(t)
	p := h.enrolled(manifest, "a")
	leaf := p.certificate()
	second := h.platform(manifest, "b")
	token := h.invite()
	h.told = nil
	h.store.err = store.ErrFailed
	for name, do := range map[string]func() error{
		"suspend": func() error { return h.Suspend("echo") },
		"revoke":  func() error { return h.Revoke("echo") },
		"request": func() error { _, _, err := h.Request(token, []byte(manifest), second.csr); return err },
		"revoke one": func() error {
			return h.RevokeCertificate("echo", leaf.SerialNumber.Text(16), "a")
		},
		"renew": func() error { _, err := h.Renew(leaf, h.platform(manifest, "a").csr); return err },
	} {
		if err := do(); !errors.Is(err, store.ErrFailed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	e, _ := h.Show("echo")
	if h.standing(leaf) != "" || e.Pending != nil || len(e.Keys) != 1 || len(h.told) != 0 {
		t.Errorf("something changed: %+v, told %v", e, h.told)
	}
	h.store.err = nil
	if _, _, err := h.Request(token, []byte(manifest), second.csr); err != nil {
		t.Errorf("the token was used up by a change that failed: %v", err)
	}
}

// TestRenewal goes through a day and more in virtual time.
func TestRenewal(t *testing.T) {
	h := newHouse(t)
	p := h.enrolled(manifest, "a")
	leaf := p.certificate()
	first := leaf
	for day := range 5 {
		h.clock.move(ca.RenewAt(leaf).Sub(h.clock.Wall()))
		p.newKey()
		chain, err := h.Renew(leaf, p.csr)
		if err != nil {
			t.Fatalf("renewal %d: %v", day, err)
		}
		if h.standing(leaf) != "" || h.standing(chain[0]) != "" {
			t.Errorf("renewal %d: the one before is refused while it is good, or the new one is", day)
		}
		leaf = chain[0]
	}
	if e, _ := h.Show("echo"); len(e.Keys) != 3 {
		t.Errorf("%d keys are good: the approved one and two of renewals should be", len(e.Keys))
	}
	if got := h.standing(first); got != imsservice.StandingExpired {
		t.Errorf("the first certificate stands %q after days", got)
	}
	if _, err := h.Renew(first, p.csr); err == nil {
		t.Error("renewed with a certificate that has ended")
	}
	other := h.platform(manifest, "b")
	if _, err := h.Renew(leaf, other.csr); !errors.Is(err, ca.ErrNames) {
		t.Errorf("renewed for another instance: %v", err)
	}
	h.clock.move(48 * time.Hour) // the platform was down for longer than a certificate lives
	if h.standing(leaf) != imsservice.StandingExpired || h.standing(p.certificate()) != "" {
		t.Error("it does not come back by its key")
	}
	if err := h.RevokeCertificate("echo", "", "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Certificate(p.csr); err == nil {
		t.Error("certified with the revoked key of an instance")
	}
}

// TestEnd is the end of a manifest: certificates end with it, and what is asked after it is answered with no.
func TestEnd(t *testing.T) {
	h := newHouse(t)
	p := h.enrolled(manifest, "a")
	end := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	h.clock.move(end.Add(-time.Hour).Sub(h.clock.Wall()))
	leaf := p.certificate()
	if !leaf.NotAfter.Equal(end) {
		t.Errorf("the certificate ends %s, the manifest %s", leaf.NotAfter, end)
	}
	s := h.ByServer([]byte("echo.as.ims.example"))
	h.clock.move(time.Hour)
	h.told = nil
	h.Sweep()
	h.Sweep()
	if h.standing(leaf) != imsservice.StandingExpired || h.ByServer([]byte("echo.as.ims.example")) != nil || h.Shared(s.Set) == nil || len(h.told) != 1 {
		t.Errorf("after its end: %q, told %v", h.standing(leaf), h.told)
	}
	if _, err := h.Certificate(p.csr); err == nil {
		t.Error("certified after its end")
	}
}

// TestPeers shows certificates that our own authority has issued, which is not enough.
func TestPeers(t *testing.T) {
	h := newHouse(t)
	p := h.enrolled(manifest, "a")
	leaf := p.certificate()
	issue := func(p *platform, identity, host string) *x509.Certificate {
		csr, err := ca.NewRequest(rand.Reader, p.key, identity, host)
		if err != nil {
			t.Fatal(err)
		}
		chain, err := h.authority.Service(csr, identity, host, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return chain[0]
	}
	id, host := p.manifest.Identity("a"), p.manifest.Host()
	two := *leaf
	u, _ := url.Parse(p.manifest.Identity("b"))
	two.URIs = append(slices.Clone(leaf.URIs), u)
	own, err := h.authority.Own("isc.ims.example", time.Hour).Certificate()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		leaf *x509.Certificate
		want imsservice.Standing
	}{
		"another_key":           {issue(h.platform(manifest, "a"), id, host), imsservice.StandingMismatch},
		"the_key_of_instance_a": {issue(p, p.manifest.Identity("b"), host), imsservice.StandingMismatch},
		"another_host":          {issue(p, id, "other.as.ims.example"), imsservice.StandingMismatch},
		"another_service":       {issue(p, "spiffe://ims.example/as/example/telephony/a", host), imsservice.StandingStranger},
		"another_provider":      {issue(p, "spiffe://ims.example/as/rogue/echo/a", host), imsservice.StandingStranger},
		"two_uris":              {&two, imsservice.StandingStranger},
		"the_core_itself":       {own.Leaf, imsservice.StandingStranger},
		"its_own":               {leaf, imsservice.StandingActive},
	} {
		if got := h.standing(c.leaf); got != c.want {
			t.Errorf("%s stands %q, wants %q", name, got, c.want)
		}
	}
	if err := h.RevokeCertificate("echo", leaf.SerialNumber.Text(16), ""); err != nil {
		t.Fatal(err)
	}
	if h.standing(leaf) != imsservice.StandingRevoked || h.standing(p.certificate()) != "" {
		t.Error("one certificate is revoked by its serial number, the next one of the key is good")
	}
}

// TestInstances has two at once; a new approval of one leaves the other.
func TestInstances(t *testing.T) {
	h := newHouse(t)
	a, b := h.enrolled(manifest, "a"), h.enrolled(manifest, "b")
	leafA, leafB := a.certificate(), b.certificate()
	if h.standing(leafA) != "" || h.standing(leafB) != "" {
		t.Fatal("two instances are not good at once")
	}
	a2 := h.enrolled(manifest, "a") // a lost its key
	if h.standing(leafA) != imsservice.StandingMismatch || h.standing(leafB) != "" || h.standing(a2.certificate()) != "" {
		t.Error("the new key of an instance does not take the place of the old one")
	}
}

// TestDocumentLimits sends a manifest that is too large, with the control and without.
func TestDocumentLimits(t *testing.T) {
	large := manifest + strings.Repeat("# \n", 20<<10)
	for _, off := range []bool{false, true} {
		h := newHouse(t)
		if off {
			h.gate = secure.NewGate([]secure.ControlID{secure.ISAvailabilityDocumentLimits}, nil)
			h.open()
		}
		p := h.platform(manifest, "a")
		_, _, err := h.Request(h.invite(), []byte(large), p.csr)
		if refused := errors.As(err, new(isc.TooLarge)); refused == off {
			t.Errorf("control off %v: %v", off, err)
		}
		refused, passed := h.gate.Counts(secure.ISAvailabilityDocumentLimits)
		if off && passed == 0 || !off && refused != 1 {
			t.Errorf("control off %v: refused %d, passed %d", off, refused, passed)
		}
	}
}

// BenchmarkRegistry asks what the door and the S-CSCF ask for each message and each connection.
func BenchmarkRegistry(b *testing.B) {
	h := newHouse(b)
	leaf := h.enrolled(manifest, "a").certificate()
	host, set := []byte("echo.as.ims.example"), h.Service("echo").Set
	for name, ask := range map[string]func() bool{
		"by_server": func() bool { return h.ByServer(host) != nil },
		"shared":    func() bool { return h.Shared(set) != nil },
		"by_peer":   func() bool { return h.standing(leaf) == imsservice.StandingActive },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !ask() {
					b.Fatal("no")
				}
			}
		})
	}
}
