package as

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"imsafe/proto/sip"
	"imsafe/refpoint/isc"
)

// Denied says that the service may not do what it wanted to. It was noticed Here, before anything left, or the core has refused it.
type Denied struct {
	Control string // the dotted id of what refuses: `imsafe explain` tells more
	Reason  string // in the words of the core: "scope=session.redirect"
	Scope   string // the scope that is missing, "" if it is something else
	Here    bool
}

// Error says what and why.
func (d *Denied) Error() string {
	if d.Here {
		return fmt.Sprintf("as: not granted: %s", d.Reason)
	}
	return fmt.Sprintf("as: the core refuses: %s %s", d.Control, d.Reason)
}

// control is that of the manifest, which this side knows as well.
const control = "is.authorization.manifest"

// rights are the scopes that the service has as far as it knows. What the core has refused it does not ask for again before it is connected
// anew. Safe for concurrent use.
type rights struct {
	mu      sync.RWMutex
	granted isc.Scopes
	refused map[string]bool
}

func (r *rights) has(scope isc.Scope) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.granted.Has(scope) && !r.refused[scope.String()]
}

func (r *rights) lose(scope string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refused == nil {
		r.refused = map[string]bool{}
	}
	r.refused[scope] = true
}

func (r *rights) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = nil
}

// learn takes what the core says of media, in the topmost Feature-Caps of an INVITE (RFC 6809 4.2.1), and takes it off: the scp of the service's grants. It says
// what was left out, and what was given back.
func (r *rights) learn(m *sip.Message) {
	list, ours := strings.CutPrefix(string(m.Get(sip.HdrFeatureCaps)), `*;+g.imsafe.media="`)
	list, closed := strings.CutSuffix(list, `"`)
	if !ours || !closed {
		return
	}
	m.RemoveFirst(sip.HdrFeatureCaps) // it is for us; what others have indicated goes on
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refused == nil {
		r.refused = map[string]bool{}
	}
	for _, scope := range []isc.Scope{isc.MediaSend, isc.MediaReceive, isc.MediaRecord, isc.MediaMix} {
		name := strings.TrimPrefix(scope.String(), "media.")
		r.refused[scope.String()] = !slices.Contains(strings.Split(list, ","), name)
	}
}

// Counters say what a service did. They only grow. Safe for concurrent use.
type Counters struct {
	Sessions atomic.Uint64 // requests that a handler was asked about
	Denied   atomic.Uint64 // verbs that were not granted, noticed here or by the core
	Failed   atomic.Uint64 // handlers that returned an error
}

// Counters returns the counters.
func (s *Service) Counters() *Counters { return &s.counters }

// Grants says whether a scope was granted, by its name. A service on its own machine knows what it asked for, and learns from each refusal.
func (s *Service) Grants(scope string) bool {
	scopes, err := isc.ParseScopes([]string{scope})
	if err != nil {
		return false
	}
	s.rights.mu.RLock()
	defer s.rights.mu.RUnlock()
	return len(scopes.Without(s.rights.granted).List()) == 0 && !s.rights.refused[scope]
}

// needs returns a *Denied if a scope is missing.
func (s *Service) needs(scope isc.Scope) error {
	if s.rights.has(scope) {
		return nil
	}
	s.counters.Denied.Add(1)
	return &Denied{Control: control, Reason: "scope=" + scope.String(), Scope: scope.String(), Here: true}
}

// denial reads a refusal of the core from its answer: 403 with a Warning 399 that names the control, and this service as whom it is about
// (RFC 3261 20.43): one further on in the chain may have been refused as well. nil if it is none.
func (s *Service) denial(m *sip.Message) error {
	if m.Status() != 403 {
		return nil
	}
	of, text, quoted := strings.Cut(string(m.Get(sip.HdrWarning)), `"`)
	text, closed := strings.CutSuffix(text, `"`)
	id, reason, _ := strings.Cut(text, " ")
	if !quoted || !closed || !strings.HasPrefix(id, "is.") || strings.TrimSpace(of) != "399 "+s.host {
		return nil
	}
	d := &Denied{Control: id, Reason: reason}
	if scope, missing := strings.CutPrefix(reason, "scope="); missing {
		d.Scope = scope
		s.rights.lose(scope)
	}
	s.counters.Denied.Add(1)
	s.log.Warn("the core refuses what the service wants", "control", id, "reason", reason)
	return d
}

// verdict is the error in the final answer to something that the service began; nil for success.
func (s *Service) verdict(m *sip.Message) error {
	if m.Status()/100 == 2 {
		return nil
	}
	if err := s.denial(m); err != nil {
		return err
	}
	return &StatusError{Code: m.Status(), Reason: string(m.Reason())}
}

// CheckTarget refuses what is not a SIP or tel URI; headers and passwords in it would be smuggled into the request. An error is an ErrURI.
func CheckTarget(target string) error {
	uri, err := sip.ParseURI([]byte(target))
	if err != nil || !uri.IsSIP() && !uri.IsTel() || uri.Headers != nil || uri.Password != nil {
		return fmt.Errorf("%w: %q", ErrURI, target)
	}
	return nil
}

// deniedStatus is what a handler's error answers.
func deniedStatus(err error) int {
	var d *Denied
	if errors.As(err, &d) {
		return 403
	}
	return 500
}
