package imsservice

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"imsafe/ca"
	"imsafe/refpoint/isc"
	"imsafe/secure"
)

// widest are the bounds of a manifest without the control: what the store can keep.
var widest = isc.Bounds{Octets: 4 << 20, Depth: 4 << 20, Entries: 4 << 20}

// parse reads a manifest within the bounds that are in force.
func (r *Registry) parse(text []byte) (*isc.Manifest, error) {
	m, err := isc.Parse(text)
	var large isc.TooLarge
	if errors.As(err, &large) && !r.tooLarge("manifest") {
		return isc.ParseWithin(text, widest)
	}
	return m, err
}

// tooLarge is the enforcement point against documents that cost more to read than to write.
func (r *Registry) tooLarge(reason string) bool {
	return r.ports.Gate.Refuse(secure.ISAvailabilityDocumentLimits, secure.Event{Reason: reason})
}

// Request takes what a platform asks for with its one-use token: the manifest in its exact octets, and the request for a certificate in
// DER. It waits there until an operator approves it; a request before it of the same service is replaced. ErrToken, isc.TooLarge,
// isc.Problems, ca.ErrRequest, ca.ErrNames, ErrDomain, ErrTaken, ErrRevokedKey, ErrFull. After an error other than of the disk the token
// still holds.
func (r *Registry) Request(token string, manifest, csr []byte) (*isc.Manifest, isc.Fingerprint, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var none isc.Fingerprint
	spent, err := r.spend(token)
	if err != nil {
		return nil, none, err
	}
	m, err := r.parse(manifest)
	if err != nil {
		return nil, none, err
	}
	instance, f, err := r.applicant(m, csr)
	if err != nil {
		return nil, none, err
	}
	next := &record{State: StateRequested, Epoch: r.cfg.RestoreEpoch}
	if e := r.state.Load().services[m.Service]; e != nil {
		_, next, _ = r.find(m.Service)
	} else if len(r.state.Load().services) >= maxServices {
		return nil, none, ErrFull
	}
	next.Pending = &request{Manifest: slices.Clone(manifest), Instance: instance, Key: f[:], At: r.ports.Clock.Wall().UTC()}
	return m, f, r.change(Deed{DeedRequested, m.Service, f.String(), fmt.Sprintf("manifest %x", sha256.Sum256(manifest))}, next, nil, spent)
}

// applicant checks who asks: the names are those of the manifest, the manifest is for this network, and names and key are not somebody
// else's.
func (r *Registry) applicant(m *isc.Manifest, der []byte) (instance string, f isc.Fingerprint, err error) {
	if m.Domain != r.cfg.Domain {
		return "", f, ErrDomain
	}
	var wrong isc.Problems
	for i, psi := range m.PSI {
		if !strings.HasSuffix(psi, "@"+r.cfg.Domain) { // our HSS serves no other
			wrong = append(wrong, isc.Problem{Key: fmt.Sprintf("psi[%d]", i), Text: fmt.Sprintf("%s is not of the domain %s itself, so no request for it would come here", psi, r.cfg.Domain)})
		}
	}
	if len(wrong) > 0 {
		return "", f, wrong
	}
	csr, err := ca.ParseRequest(der)
	if err != nil {
		return "", f, err
	}
	ok := false
	if len(csr.URIs) == 1 {
		instance, ok = m.Instance(csr.URIs[0].String())
	}
	if !ok || ca.CheckNames(csr, m.Identity(instance), m.Host()) != nil {
		return "", f, ca.ErrNames
	}
	f = isc.FingerprintOf(csr.RawSubjectPublicKeyInfo)
	if r.state.Load().revoked[revokedKey(f)] {
		return "", f, ErrRevokedKey
	}
	for name, e := range r.state.Load().services {
		if name != m.Service && slices.ContainsFunc(e.Keys, func(k key) bool { return string(k.Key) == string(f[:]) }) {
			return "", f, ErrTaken
		}
	}
	return instance, f, r.free(m)
}

// Certificate issues a certificate to whoever has the key of a request in DER, if that key is approved: the request, signed by it, is the
// proof, and the answer is of use to nobody else. So a platform fetches its first certificate, and another one after it was down for
// longer than a certificate lives. ErrNotApproved while the request waits; ErrUnknownService for all that is nobody's.
func (r *Registry) Certificate(der []byte) ([]*x509.Certificate, error) {
	csr, err := ca.ParseRequest(der)
	if err != nil {
		return nil, err
	}
	s := r.state.Load()
	f := isc.FingerprintOf(csr.RawSubjectPublicKeyInfo)
	e, instance := s.named(&x509.Certificate{URIs: csr.URIs})
	waits := slices.ContainsFunc(slices.Collect(maps.Values(s.services)), func(e *entry) bool { return e.Pending != nil && string(e.Pending.Key) == string(f[:]) })
	switch {
	case e != nil && e.active() && e.hasKey(instance, f) && !s.revoked[revokedKey(f)]:
		return r.issue(e.service, der, instance)
	case waits:
		return nil, ErrNotApproved
	}
	return nil, ErrUnknownService
}

// Renew issues a new certificate over a connection that was made with leaf, for its key or a new one. The names are leaf's. ErrStanding if
// leaf proves nothing now; ca.ErrNames, ErrRevokedKey, ErrTaken.
func (r *Registry) Renew(leaf *x509.Certificate, der []byte) ([]*x509.Certificate, error) {
	csr, err := ca.ParseRequest(der)
	if err != nil {
		return nil, err
	}
	service, standing := r.ByPeer(leaf)
	if standing != StandingActive {
		return nil, fmt.Errorf("%w: %s", ErrStanding, standing)
	}
	f := isc.FingerprintOf(csr.RawSubjectPublicKeyInfo)
	instance, _ := service.Manifest.Instance(leaf.URIs[0].String())
	if err := ca.CheckNames(csr, service.Manifest.Identity(instance), service.Manifest.Host()); err != nil {
		return nil, err
	}
	if err := r.renewedKey(service.Name(), instance, f); err != nil {
		return nil, err
	}
	return r.issue(service, der, instance)
}

// renewedKey admits a key that came with a renewal, unless it is known already.
func (r *Registry) renewedKey(name, instance string, f isc.Fingerprint) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, next, err := r.find(name)
	switch {
	case err != nil:
		return err
	case r.state.Load().revoked[revokedKey(f)] || !e.active():
		return ErrRevokedKey
	case e.hasKey(instance, f):
		return nil
	}
	for other, e := range r.state.Load().services {
		if other != name && slices.ContainsFunc(e.Keys, func(k key) bool { return string(k.Key) == string(f[:]) }) {
			return ErrTaken
		}
	}
	next.admit(key{Instance: instance, Key: f[:], Since: r.ports.Clock.Wall().UTC(), Renewed: true})
	return r.change(Deed{DeedGranted, name, f.String(), "key of instance " + instance}, next, nil)
}

// issue issues a certificate that ends with the manifest at the latest.
func (r *Registry) issue(s *isc.Service, der []byte, instance string) ([]*x509.Certificate, error) {
	life := min(r.cfg.Life, s.Manifest.Expires.Sub(r.ports.Clock.Wall()))
	if life <= 0 {
		return nil, ErrNotApproved
	}
	chain, err := r.ports.Authority.Service(der, s.Manifest.Identity(instance), s.Manifest.Host(), life)
	if err != nil {
		return nil, err
	}
	key := isc.FingerprintOf(chain[0].RawSubjectPublicKeyInfo)
	if err := r.record(Deed{DeedGranted, s.Name(), key.String(), "certificate " + chain[0].SerialNumber.Text(16)}); err != nil {
		return nil, err
	}
	return chain, nil
}

// EncodeChain returns certificates in PEM.
func EncodeChain(chain []*x509.Certificate) (text []byte) {
	for _, cert := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	return text
}

// Entry is a service as it is shown. Nothing in it is secret.
type Entry struct {
	Name       string     `json:"name"`
	State      State      `json:"state"`
	Held       string     `json:"held,omitempty"` // why it does not run although it is active
	Expired    bool       `json:"expired,omitempty"`
	Set        int        `json:"set,omitempty"`
	Serial     uint64     `json:"serial"` // of the last approval
	Granted    []string   `json:"granted,omitempty"`
	AllUsers   bool       `json:"all_users,omitempty"`
	Approver   string     `json:"approver,omitempty"`
	ApprovedAt *time.Time `json:"approved_at,omitempty"`
	Manifest   string     `json:"manifest,omitempty"`
	Key        string     `json:"key,omitempty"` // fingerprint that was approved
	// ApprovedKey is the whole hash of that key, for the next approval.
	ApprovedKey []byte        `json:"approved_key,omitempty"`
	Keys        []EntryKey    `json:"keys,omitempty"`
	Pending     *EntryRequest `json:"pending,omitempty"`
}

// EntryKey is one key of an instance.
type EntryKey struct {
	Instance    string    `json:"instance"`
	Fingerprint string    `json:"fingerprint"`
	Since       time.Time `json:"since"`
	Renewed     bool      `json:"renewed,omitempty"`
}

// EntryRequest is a request that waits.
type EntryRequest struct {
	Manifest    string    `json:"manifest"`
	Instance    string    `json:"instance"`
	Fingerprint string    `json:"fingerprint"`
	Key         []byte    `json:"key"` // the whole hash, for the approval
	At          time.Time `json:"at"`
}

// Show returns a service: ErrUnknownService.
func (r *Registry) Show(name string) (*Entry, error) {
	e := r.state.Load().services[name]
	if e == nil {
		return nil, fmt.Errorf("%w: %s", ErrUnknownService, name)
	}
	return r.show(e), nil
}

// List returns all services by name.
func (r *Registry) List() []*Entry {
	s := r.state.Load()
	all := make([]*Entry, 0, len(s.services))
	for _, name := range slices.Sorted(maps.Keys(s.services)) {
		all = append(all, r.show(s.services[name]))
	}
	return all
}

// Service returns what is approved of a service, whether it is active or not; nil if nothing is.
func (r *Registry) Service(name string) *isc.Service {
	if e := r.state.Load().services[name]; e != nil {
		return e.service
	}
	return nil
}

// Active says whether a service may do something now.
func (r *Registry) Active(name string) bool {
	e := r.state.Load().services[name]
	return e != nil && e.active() && !e.service.Manifest.Expired(r.ports.Clock.Wall())
}

// ActiveCount is how many services are active, those included whose manifest has ended since the last Sweep.
func (r *Registry) ActiveCount() int { return len(r.state.Load().hosts) }

func (r *Registry) show(e *entry) *Entry {
	out := &Entry{Name: e.name, State: e.State, Held: e.held, Set: e.Set, Serial: e.Serial, Manifest: string(e.Manifest)}
	if a, err := isc.ParseApproval(e.Approval); err == nil {
		out.Granted, out.AllUsers, out.Approver, out.ApprovedAt, out.Key = a.Granted.List(), a.AllUsers, a.Approver, &a.Time, a.Key.String()
	}
	out.ApprovedKey = e.Approved
	if e.service != nil {
		out.Expired = e.service.Manifest.Expired(r.ports.Clock.Wall())
	}
	for _, k := range e.Keys {
		if f, err := fingerprint(k.Key); err == nil {
			out.Keys = append(out.Keys, EntryKey{k.Instance, f.String(), k.Since, k.Renewed})
		}
	}
	if p := e.Pending; p != nil {
		f, err := fingerprint(p.Key)
		if err == nil {
			out.Pending = &EntryRequest{string(p.Manifest), p.Instance, f.String(), p.Key, p.At}
		}
	}
	return out
}
