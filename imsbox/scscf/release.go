package scscf

import (
	"slices"

	"imsafe/hop"
	"imsafe/imsbox/dialog"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/rf"
)

// What a registration ends, however it ends, are the calls that go over its bindings, those that stand (TS 24.229 5.4.5.1.2) and those that are being set
// up (5.4.5.1.1): a client that is registered no more can neither hang up nor be told to. Which binding a call goes over is kept with it (docs/decisions/017, 052).

// gone is the reason of our BYEs and CANCELs (RFC 3326).
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

// release ends the calls over the bindings that a has ended, answered or not; with the last binding all calls of the private identity.
func (s *SCSCF) release(t *shard.Task, a *assignment) {
	parts := dialog.All
	if len(a.contacts) > 0 {
		bindings := a.ended()
		if len(bindings) == 0 {
			return
		}
		parts = dialog.Parts(bindings)
	}
	s.invites.Release(a.impi, parts)
	s.hangUp(t, a.impi, parts)
}

// hangUp ends the calls of a private identity that stand over bindings for which parts says so.
func (s *SCSCF) hangUp(t *shard.Task, impi string, parts func(binding uint32) bool) {
	for _, d := range s.dialogs.Release(t, []byte(impi), parts, func(uint32) dialog.Side { return dialog.Caller | dialog.Callee }, gone) {
		role := rf.Originating
		if d.Half != roleUser(role) {
			role = rf.Terminating
		}
		s.ports.Charging.Stop(d.CallID, d.Name, role, s.ports.Clock.Wall())
	}
}

// settingUp takes down that an initial INVITE over a binding of impi waits for its final response, and what ends it when the binding goes: at once, if that went
// after asOf, while the request was on its way here. Another request is none, and nil. invites.Done takes it off.
func (s *SCSCF) settingUp(x *hop.Exchange, in hop.Inbound, impi string, binding uint32, asOf uint64, end func(*hop.Exchange)) *dialog.Invite {
	if in.Msg.Method() != sip.INVITE {
		return nil
	}
	i := s.invites.Begin(impi, binding, x, end)
	if s.invites.Releases() != asOf && !s.hasBinding(x.Task(), impi, binding) {
		i.End()
	}
	return i
}

// hasBinding reports whether impi is registered, over that binding if it is not 0.
func (s *SCSCF) hasBinding(t *shard.Task, impi string, binding uint32) bool {
	reg, alive := s.find(t, impi)
	return alive && (binding == 0 || slices.ContainsFunc(reg.contacts, func(c contact) bool { return c.binding() == binding }))
}

// callerGone cancels what is under way for a caller who is registered no more.
func callerGone(x *hop.Exchange) { x.Abort(gone) }

// calleeGone answers in the place of a device that is registered no more.
func calleeGone(x *hop.Exchange) { x.Lose(gone) }

// late reports whether r is the end of an INVITE that has lost its binding meanwhile. An answer that had left before the CANCEL came stands, and goes on: the call
// that it makes ends then, like others.
func (s *SCSCF) late(x *hop.Exchange, i *dialog.Invite, impi string, binding uint32, r hop.Reply) bool {
	if !i.Ended() || r.Status()/100 != 2 {
		return i.Ended()
	}
	// A shard without room for it loses it: the P-CSCF, which has lost the client, sees to the call.
	x.Task().Shard().Post(shard.EventFunc(func(sh *shard.Shard) {
		sh.Start(func(t *shard.Task) { s.hangUp(t, impi, dialog.Parts([]uint32{binding})) })
	}))
	return false
}
