package scscf

import (
	"slices"
	"time"

	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
)

// An emergency registration (TS 24.229 5.4.8) stands beside the ordinary one and is for calls back alone: whoever answers emergencies
// reaches the user by it, and the user reaches nobody but him, past the S-CSCF. The HSS lets in by it who is barred or may not roam
// (TS 29.228 6.1.1.1). It has no Service-Route and no reg event, and neither the user nor the network ends it: it ends by its time.

// maxEmergency bounds the life of an emergency registration; a longer call back period needs another REGISTER.
const maxEmergency = time.Hour

// judgeEmergency bounds the lives of emergency bindings, and refuses to end one: 501 (TS 24.229 5.4.8.3).
func (s *SCSCF) judgeEmergency(r *register) *refusal {
	for i := range r.contacts {
		w := &r.contacts[i]
		switch {
		case !sip.EmergencyURI(w.asked.URI):
		case w.expires == 0:
			return &refusal{status: 501}
		default:
			w.expires = min(w.expires, maxEmergency)
		}
	}
	return nil
}

// emergencies are the identities of the sets of r that emergency bindings keep registered, each with the private one (TS 29.228 6.1.3.1);
// of all sets, if none is named.
func (r *registration) emergencies(sets ...uint8) (kept []cx.IdentityPair) {
	for _, id := range r.identities {
		if len(sets) > 0 && !slices.Contains(sets, id.set) {
			continue
		}
		if slices.ContainsFunc(r.contacts, func(c contact) bool { return c.set == id.set && c.emergency() }) {
			kept = append(kept, cx.IdentityPair{IMPI: cx.IMPI(r.impi), IMPU: cx.IMPU(id.impu)})
		}
	}
	return kept
}
