package scscf

import (
	"slices"

	"imsafe/imsbox/dialog"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/rf"
)

// What a registration ends, however it ends, are the calls that went over its bindings (TS 24.229 5.4.5.1.2): a client that is registered no
// more can neither hang up nor be told to. Which binding a call goes over is kept with its dialog (docs/decisions/017).

// gone is the reason of our BYEs (RFC 3326).
const gone = `SIP;cause=480;text="Not registered any more"`

// half names the half of a session in the ledger: one S-CSCF may have both.
func half(role rf.Role) []byte { return []byte(roleUser(role)) }

// binding is what dialogs know a binding by: the device and flow, which keep their name over a new registration, or the URI.
func (c *contact) binding() uint32 {
	name := c.uri
	if c.instance != "" {
		name = c.instance + "\x00" + string(rune(c.regID))
	}
	return max(fingerprint(string(rune('0'+c.set))+name), 1)
}

// bindingOf returns the binding that an INVITE of impu comes by, 0 if its Contact does not say.
func (r *registration) bindingOf(m *sip.Message, impu string) uint32 {
	if m.Method() != sip.INVITE {
		return 0
	}
	addr, err := sip.ParseNameAddr(m.Get(sip.HdrContact))
	if err != nil {
		return 0
	}
	uri, err := sip.ParseURI(addr.URI)
	if err != nil {
		return 0
	}
	gr, _ := uri.Param("gr")
	set, _ := r.setOf(impu)
	for _, c := range r.bound(set) {
		have, err := sip.ParseURI([]byte(c.uri))
		if err == nil && have.Equal(&uri) || len(gr) > 0 && c.instance != "" && grValue(r.impi, c.instance) == string(gr) {
			return c.binding()
		}
	}
	return 0
}

// ended returns the bindings that a change of a registration has ended: those that went, and those whose device came back with a
// new address under a new Call-ID.
func (a *assignment) ended() (bindings []uint32) {
	for _, list := range [][]contact{a.change.gone, a.dropped} {
		for i := range list {
			c := &list[i]
			stays := slices.ContainsFunc(a.contacts, func(now contact) bool { return now.set == c.set && now.uri == c.uri })
			if !stays {
				bindings = append(bindings, c.binding())
			}
		}
	}
	return bindings
}

// release ends the calls over the bindings that a has ended; with the last binding all calls of the private identity.
func (s *SCSCF) release(t *shard.Task, a *assignment) {
	parts := dialog.All
	if len(a.contacts) > 0 {
		bindings := a.ended()
		if len(bindings) == 0 {
			return
		}
		parts = dialog.Parts(bindings)
	}
	for _, d := range s.dialogs.Release(t, []byte(a.impi), parts, func(uint32) dialog.Side { return dialog.Caller | dialog.Callee }, gone) {
		role := rf.Originating
		if d.Half != roleUser(role) {
			role = rf.Terminating
		}
		s.ports.Charging.Stop(d.CallID, d.Name, role, s.ports.Clock.Wall())
	}
}
