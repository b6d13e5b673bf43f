package imsservice

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"imsafe/ca"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/isc"
	"imsafe/secure"
	"imsafe/store"
)

// RegistryConfig is what the register must know.
type RegistryConfig struct {
	Domain string // the home network
	// Approvers are the public halves of the operator's approval keys. Without one nothing can be approved.
	Approvers []ed25519.PublicKey
	// Reserved are hosts that no service may have: those of the core.
	Reserved []string
	// Life is that of a service's certificate; default and most: ca.MaxServiceLife.
	Life time.Duration
	// RestoreEpoch is how often a backup was restored into the store. A service that was written before the last time is held until
	// an operator resumes it: the backup may be older than a suspension or a revocation.
	RestoreEpoch uint64
}

// RegistryPorts are what the register is plugged into.
type RegistryPorts struct {
	Store     store.Store
	Authority *ca.Authority
	Random    io.Reader // safe for concurrent use
	Clock     shard.Clock
	Gate      *secure.Gate
	// Record writes a deed down before it takes effect; an error stops it. nil: nobody keeps them.
	Record func(Deed) error
}

// Registry is the register of services. What the door asks of it for each message is answered from a snapshot without locks; what
// changes it waits for the disk. A change that was not committed changes nothing.
type Registry struct {
	cfg   RegistryConfig
	ports RegistryPorts

	state atomic.Pointer[registered]

	mu       sync.Mutex // held over a change: one at a time
	watchers []func(host string)
	ended    map[string]uint64 // services whose end was told, by the serial of their approval
}

var _ Services = (*Registry)(nil)

// registered is one state of the register. It is not changed once it is published.
type registered struct {
	services map[string]*entry
	hosts    map[string]*entry // of services that are active, by the host of their endpoint
	sets     map[int]*entry    // of all that are not revoked, by the number of their shared set
	revoked  map[string]bool   // keys of TableRevoked
}

// entry is one service.
type entry struct {
	*record
	name     string
	version  uint64                     // of its record in the store
	service  *isc.Service               // nil without a sound approval
	criteria []cx.InitialFilterCriteria // of its shared set
	held     string                     // why it is not active although its record says so: a code, or nothing
}

// Why a service is held.
const (
	HeldRestored = "restored" // a backup was restored: it may be older than a revocation
	HeldUnproven = "unproven" // no approval key that we know has signed this approval of this manifest
)

// active says whether the service may do anything; the end of its manifest is looked at by whoever asks.
func (e *entry) active() bool { return e.State == StateActive && e.service != nil && e.held == "" }

// OpenRegistry reads the register from the store.
func OpenRegistry(cfg RegistryConfig, ports RegistryPorts) (*Registry, error) {
	if cfg.Domain == "" || ports.Store == nil || ports.Authority == nil || ports.Random == nil || ports.Clock == nil || ports.Gate == nil {
		return nil, errors.New("imsservice: domain, store, authority, randomness, clock and gate are needed")
	}
	if cfg.Life <= 0 || cfg.Life > ca.MaxServiceLife {
		cfg.Life = ca.MaxServiceLife
	}
	r := &Registry{cfg: cfg, ports: ports, ended: map[string]uint64{}}
	next, err := r.load(nil)
	if err != nil {
		return nil, err
	}
	r.publish(next)
	return r, nil
}

// load reads the register. What was read before and has not changed is not proven again.
func (r *Registry) load(before map[string]*entry) (*registered, error) {
	next := &registered{services: map[string]*entry{}, revoked: map[string]bool{}}
	err := errors.Join(r.each(TableRevoked, func(rec store.Record) error {
		next.revoked[string(rec.Key)] = true
		return nil
	}), r.each(TableService, func(rec store.Record) error {
		if was := before[string(rec.Key)]; was != nil && was.version == rec.Version {
			next.services[was.name] = was
			return nil
		}
		decoded, err := decodeRecord(rec.Value)
		if err != nil {
			return fmt.Errorf("%w: service %s", err, rec.Key)
		}
		next.services[string(rec.Key)] = r.entry(string(rec.Key), decoded, rec.Version)
		return nil
	}))
	return next, err
}

// Reload reads the register anew: another node with the same store may have changed it. The watchers hear of each service that is another by now. It waits
// for the store.
func (r *Registry) Reload() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.state.Load()
	next, err := r.load(old.services)
	if err != nil {
		return err
	}
	revoked := !maps.Equal(old.revoked, next.revoked)
	r.publish(next)
	for name, e := range next.services {
		if was := old.services[name]; was != e || revoked {
			r.tell(hostsOf(was, e)...)
		}
	}
	return nil
}

func (r *Registry) each(table store.Table, visit func(store.Record) error) error {
	var cursor []byte
	for {
		page, next, err := r.ports.Store.Scan(table, nil, cursor, 256)
		if err != nil {
			return fmt.Errorf("imsservice: %w", err)
		}
		for _, rec := range page {
			if err := visit(rec); err != nil {
				return err
			}
		}
		if next == nil {
			return nil
		}
		cursor = next
	}
}

// entry makes what is asked of a record. What the record says is not believed: the approval is verified again.
func (r *Registry) entry(name string, rec *record, version uint64) *entry {
	e := &entry{record: rec, name: name, version: version}
	if len(rec.Approval) == 0 {
		return e
	}
	service, err := r.prove(name, rec)
	switch {
	case err != nil:
		e.held = HeldUnproven
		return e
	case rec.Epoch != r.cfg.RestoreEpoch:
		e.held = HeldRestored
	}
	e.service, e.criteria = service, service.Manifest.Criteria()
	return e
}

// prove makes the service of a record, if an approval key that we know vouches for it.
func (r *Registry) prove(name string, rec *record) (*isc.Service, error) {
	approval, err := isc.ParseApproval(rec.Approval)
	if err != nil {
		return nil, err
	}
	manifest, err := r.parse(rec.Manifest)
	if err != nil {
		return nil, err
	}
	keys, err := rec.fingerprints()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(r.signed(approval), approval.Covers(rec.Manifest, manifest)); err != nil {
		return nil, err
	}
	if manifest.Service != name || approval.Serial != rec.Serial {
		return nil, errRecord
	}
	return &isc.Service{Manifest: manifest, Granted: approval.Granted, AllUsers: approval.AllUsers, Set: rec.Set, Fingerprints: keys, Serial: rec.Serial}, nil
}

// signed says whether one of the approval keys has signed.
func (r *Registry) signed(a *isc.Approval) error {
	for _, approver := range r.cfg.Approvers {
		if a.Verify(approver) == nil {
			return nil
		}
	}
	return isc.ErrApprovalSignature
}

// publish makes a state the one that is asked from now on.
func (r *Registry) publish(next *registered) {
	next.hosts, next.sets = map[string]*entry{}, map[int]*entry{}
	for _, e := range next.services {
		if e.active() {
			next.hosts[e.service.Manifest.Host()] = e
		}
		if e.service != nil && e.State != StateRevoked {
			next.sets[e.Set] = e
		}
	}
	r.state.Store(next)
}

// ByServer returns the active platform whose host stands in a server name or a Route, in lower case; nil if none. It does not allocate.
func (r *Registry) ByServer(host []byte) *isc.Service {
	e := r.state.Load().hosts[string(host)]
	if e == nil || e.service.Manifest.Expired(r.ports.Clock.Wall()) {
		return nil
	}
	return e.service
}

// Shared returns the criteria of a shared set (TS 29.228 B.2.1); none if its service is revoked. Those of a service that is suspended, held or
// at its end stay: nobody is there then, and each criterion's default handling says whether the session goes on. A service that
// screens does not stop to do so because it was suspended. They are shared and not to be changed. It does not allocate.
func (r *Registry) Shared(set int) []cx.InitialFilterCriteria {
	if e := r.state.Load().sets[set]; e != nil {
		return e.criteria
	}
	return nil
}

// Sets returns the criteria of every set that a profile may carry, by number: none for a service that is revoked. A new map, whose
// criteria are shared and not to be changed.
func (r *Registry) Sets() map[int][]cx.InitialFilterCriteria {
	sets := map[int][]cx.InitialFilterCriteria{}
	for _, e := range r.state.Load().services {
		if e.Set != 0 {
			sets[e.Set] = r.Shared(e.Set)
		}
	}
	return sets
}

// ByPeer returns whose certificate it is; else why nobody's, and for one that is over, suspended or revoked whose it was. That its chain ends at the authority is for TLS to say; here are compared
// its names with those of the manifest, and its key with those of the approval. A certificate with a second URI is nobody's.
func (r *Registry) ByPeer(leaf *x509.Certificate) (*isc.Service, Standing) {
	now := r.ports.Clock.Wall()
	s := r.state.Load()
	e, instance := s.named(leaf)
	if e == nil {
		return nil, StandingStranger
	}
	f := isc.FingerprintOf(leaf.RawSubjectPublicKeyInfo)
	switch {
	case s.revoked[revokedKey(f)] || s.revoked[revokedSerial(leaf.SerialNumber.Text(16))] || e.State == StateRevoked:
		return e.service, StandingRevoked
	case e.service == nil:
		return nil, StandingStranger
	case !slices.Equal(leaf.DNSNames, []string{e.service.Manifest.Host()}) || !e.hasKey(instance, f):
		return nil, StandingMismatch
	case now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) || e.service.Manifest.Expired(now):
		return e.service, StandingExpired
	case !e.active():
		return e.service, StandingSuspended
	}
	return e.service, StandingActive
}

// named finds the service and its instance that a certificate's one URI names.
func (s *registered) named(leaf *x509.Certificate) (*entry, string) {
	if len(leaf.URIs) != 1 {
		return nil, ""
	}
	uri := leaf.URIs[0].String()
	parts := strings.Split(uri, "/") // spiffe: "" domain as provider service instance
	if len(parts) != 7 {
		return nil, ""
	}
	e := s.services[parts[5]]
	if e == nil || e.service == nil && e.State != StateRevoked {
		return nil, ""
	}
	if e.service == nil {
		return e, parts[6]
	}
	instance, ok := e.service.Manifest.Instance(uri)
	if !ok {
		return nil, ""
	}
	return e, instance
}

// Watch has changed called after each change of who may what, with the host of the service. It is called on the goroutine of the change
// and must not wait for the register.
func (r *Registry) Watch(changed func(host string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watchers = append(r.watchers, changed)
}

// Sweep tells the watchers of services whose manifest has ended. Once a minute is enough: whoever asks about such a service gets none.
func (r *Registry) Sweep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.ports.Clock.Wall()
	for name, e := range r.state.Load().services {
		if e.active() && e.service.Manifest.Expired(now) && r.ended[name] != e.Serial {
			r.ended[name] = e.Serial
			r.tell(e.service.Manifest.Host())
		}
	}
}

// tell calls the watchers. r.mu is held.
func (r *Registry) tell(hosts ...string) {
	for _, host := range hosts {
		for _, changed := range r.watchers {
			changed(host)
		}
	}
}

func revokedKey(f isc.Fingerprint) string     { return "key " + string(f[:]) }
func revokedSerial(serial string) string      { return "serial " + serial }
func tokenKey(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }
