package scscf

import (
	"crypto/sha256"
	"sync"
	"time"

	"imsafe/imsbox/filter"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/secure"
	"imsafe/store"
)

// TableServiceProfile holds the filter criteria of service profiles, each different one once: what a registration names them by -> the
// criteria. They are here again after a restart, before the HSS is asked for anything.
const TableServiceProfile store.Table = 34

// profileKey names the criteria of a service profile by what they say. "" is none.
type profileKey string

// filterLife is how long a filter is kept that nobody asks for: longer than a registration lives.
const filterLife = 24 * time.Hour

// profiles are the criteria in use. Users who have the same share them. Safe for concurrent use.
type profiles struct {
	library *filter.Library

	mu    sync.RWMutex
	known map[profileKey]*cx.ServiceProfile // criteria and shared sets alone
}

func newProfiles() *profiles {
	return &profiles{library: filter.NewLibrary(nil, filterLife), known: map[profileKey]*cx.ServiceProfile{}}
}

func (p *profiles) get(key profileKey) *cx.ServiceProfile {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.known[key]
}

func (p *profiles) put(key profileKey, profile *cx.ServiceProfile) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known[key] = profile
}

// Share replaces the shared sets of filter criteria (TS 29.228 B.2.1). A set without criteria is known and empty. Safe for concurrent use.
func (s *SCSCF) Share(sets filter.SharedSets) { s.profiles.library.SetShared(sets) }

// criteriaOf returns what of a service profile its filter is made of, as it is kept, and its name.
func criteriaOf(p *cx.ServiceProfile) (profileKey, []byte) {
	if len(p.Criteria) == 0 && len(p.SharedIFCSetIDs) == 0 {
		return "", nil
	}
	bare := cx.UserProfile{IMPI: "none", ServiceProfiles: []cx.ServiceProfile{{SubscribedMediaProfile: -1, Criteria: p.Criteria,
		SharedIFCSetIDs: p.SharedIFCSetIDs, PublicIdentities: []cx.PublicIdentity{{Identity: "sip:none", ServicePriorityLevel: -1}}}}}
	text := bare.AppendXML(nil)
	sum := sha256.Sum256(text)
	return profileKey(sum[:16]), text
}

// keep makes sure that the criteria of a service profile are known here, and will be after a restart, and returns their name.
func (s *SCSCF) keep(t *shard.Task, p *cx.ServiceProfile) (profileKey, bool) {
	key, text := criteriaOf(p)
	if key == "" || s.profiles.get(key) != nil {
		return key, true
	}
	var err error
	t.Await(func(w shard.Waker) {
		s.ports.Store.ApplyAsync(string(key), []store.Op{{Table: TableServiceProfile, Key: []byte(key), Value: text}}, func(e error) {
			err = e
			w.Wake()
		})
	})
	if err != nil {
		return "", false
	}
	s.profiles.put(key, &cx.ServiceProfile{Criteria: p.Criteria, SharedIFCSetIDs: p.SharedIFCSetIDs})
	return key, true
}

// profileOf returns the criteria that a name stands for, nil if they are lost.
func (s *SCSCF) profileOf(t *shard.Task, key profileKey) *cx.ServiceProfile {
	if p := s.profiles.get(key); p != nil {
		return p
	}
	record, found := s.read(t, TableServiceProfile, []byte(key))
	if !found {
		return nil
	}
	user, err := cx.DecodeProfile(record.Value)
	if err != nil || len(user.ServiceProfiles) != 1 {
		return nil
	}
	p := &user.ServiceProfiles[0]
	s.profiles.put(key, p)
	return p
}

// filterOf returns the compiled criteria of a name. It is false if they cannot be known or are refused: then nobody can say which
// platforms a request should go to, one that screens it maybe, and it must not go on.
func (s *SCSCF) filterOf(t *shard.Task, key profileKey) (*filter.Filter, bool) {
	if key == "" {
		return nil, true
	}
	p := s.profileOf(t, key)
	if p == nil {
		return nil, !s.failsClosed("profile-lost")
	}
	return s.compile(t, p)
}

func (s *SCSCF) compile(t *shard.Task, p *cx.ServiceProfile) (*filter.Filter, bool) {
	f, err := s.profiles.library.Compile(t.Now(), p)
	if err != nil {
		return nil, !s.failsClosed("profile-refused")
	}
	return f, true
}

// failsClosed is the enforcement point of default handling: where a platform that screens cannot be asked, the request does not go on.
func (s *SCSCF) failsClosed(reason string) bool {
	return s.ports.Gate.Refuse(secure.ISIntegrityFailClosed, secure.Event{Reason: reason})
}
