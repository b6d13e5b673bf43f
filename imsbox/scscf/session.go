package scscf

import (
	"bytes"
	"strings"

	"imsafe/hop"
	"imsafe/imsbox/dialog"
	"imsafe/imsbox/filter"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/rf"
)

// user is the served user of a session: who is charged, and who the other party is; of a caller also the registration and the binding that
// he calls by.
type user struct {
	served, other string
	impi          string
	binding       uint32
	filter        *filter.Filter // his criteria; nil: none
	asOf          uint64         // what invites.Releases was before his registration was read
}

// roleUser is the user part of the S-CSCF's own route entries: it says which half of the session a message
// belongs to. In a Service-Route it also means "initial, originating" (TS 24.229 5.4.1.2.2F).
func roleUser(role rf.Role) string {
	if role == rf.Originating {
		return "orig"
	}
	return "term"
}

// routed reports whether the topmost Route is this S-CSCF's entry for role.
func (s *SCSCF) routed(in hop.Inbound, role rf.Role) bool {
	addr, err := sip.ParseNameAddr(in.Msg.Get(sip.HdrRoute))
	if err != nil {
		return false
	}
	uri, err := sip.ParseURI(addr.URI)
	return err == nil && string(uri.Host) == string(s.cfg.Name) && string(uri.User) == roleUser(role)
}

// addressed reports whether the request ends at this S-CSCF: its Request-URI is the S-CSCF's own, as in a dialog with it, or,
// after the originating half, the identity that is watched. There is no Route left then but our own.
func (s *SCSCF) addressed(in hop.Inbound) bool {
	if s.routed(in, rf.Originating) {
		return false
	}
	uri, err := sip.ParseURI(in.Msg.RequestURI())
	return err == nil && (string(uri.Host) == string(s.cfg.Name) || len(in.Msg.ToTag()) == 0)
}

// takeRoute takes our own entry off the top of Route and says which half of the session it names.
func (s *SCSCF) takeRoute(in hop.Inbound) (rf.Role, bool) {
	for _, role := range []rf.Role{rf.Originating, rf.Terminating} {
		if s.routed(in, role) {
			in.Msg.RemoveFirst(sip.HdrRoute)
			return role, true
		}
	}
	return 0, false
}

// recordRoute keeps the S-CSCF in the dialog (RFC 3261 16.6 step 4).
func (s *SCSCF) recordRoute(in hop.Inbound, role rf.Role) {
	if len(in.Msg.ToTag()) > 0 || !in.Msg.Method().MakesDialog() {
		return
	}
	var b [192]byte
	v := append(append(b[:0], "<sip:"...), roleUser(role)...)
	v = append(append(append(v, '@'), s.cfg.Name...), ";lr>"...)
	in.Msg.Prepend(sip.HdrRecordRoute, v)
}

// servedOriginator identifies the served user of an originating request (TS 24.229 5.4.3.2 steps 1, 2): the
// asserted identity, which the P-CSCF wrote from its proof. It must be registered here and not barred.
func (s *SCSCF) servedOriginator(t *shard.Task, in hop.Inbound) (user, int) {
	asOf := s.invites.Releases()
	impu, ok := sip.PublicIdentity(in.Msg.Get(sip.HdrPAssertedIdentity))
	if !ok {
		return user{}, 403
	}
	reg, found := s.findByIMPU(t, impu, in.Proof.IMPI())
	if !found || reg.barred(impu) || !reg.serves(impu) {
		return user{}, 403
	}
	criteria, sound := s.filterOf(t, reg.profileOf(impu))
	if !sound {
		return user{}, 500
	}
	reg.addNumber(in.Msg, impu)
	return user{served: impu, other: string(in.Msg.RequestURI()), impi: reg.impi, binding: reg.bindingOf(in.Msg, impu), filter: criteria, asOf: asOf}, 0
}

// addNumber asserts the user's number beside his default identity, so that the callee's phone book finds him (TS 24.229 5.4.3.2). Who
// chose another identity is not given away by it.
func (r *registration) addNumber(m *sip.Message, impu string) {
	if m.Count(sip.HdrPAssertedIdentity) != 1 || !strings.HasPrefix(impu, "sip:") {
		return
	}
	isDefault := true
	set, _ := r.setOf(impu)
	for _, id := range r.identities {
		switch {
		case id.barred || id.wildcard || id.set != set:
		case isDefault && id.impu != impu:
			return
		case strings.HasPrefix(id.impu, "tel:"):
			m.AppendString(sip.HdrPAssertedIdentity, "<"+id.impu+">")
			return
		default:
			isDefault = false
		}
	}
}

// servedCallee identifies the served user of a terminating request and the devices he can be reached at (TS 24.229 5.4.3.3
// steps 1, 2): 404 if barred, 480 if not registered and without services for that.
func (s *SCSCF) servedCallee(t *shard.Task, in hop.Inbound) (user, []device, int) {
	asOf := s.invites.Releases()
	asked, ok := s.calledBy(in.Msg.RequestURI())
	switch {
	case !ok:
		return user{}, nil, 416
	case asked.gone:
		return user{}, nil, 404
	}
	impu := asked.impu
	all, key, known := s.findCallee(t, in, impu)
	switch {
	case !known:
		return s.serveUnregistered(t, in, impu, key)
	case len(all) == 0:
		return user{}, nil, 480
	case all[0].barred(key):
		return user{}, nil, 404
	}
	caller, _ := sip.PublicIdentity(in.Msg.Get(sip.HdrPAssertedIdentity))
	devices := asked.only(devicesOf(all, key, caller != "" && caller == s.cfg.EmergencyIdentity))
	if len(devices) == 0 {
		return user{}, nil, 480
	}
	criteria, sound := s.filterOf(t, all[0].profileOf(key))
	if !sound {
		return user{}, nil, 500
	}
	return user{served: impu, other: caller, filter: criteria, asOf: asOf}, devices, 0
}

// barred reports whether impu may not be used for sessions (TS 23.228 4.3.3.2); an identity outside the set is.
func (r *registration) barred(impu string) bool {
	for _, id := range r.identities {
		if id.impu == impu {
			return id.barred
		}
	}
	return true
}

// home returns where an originating request goes: the I-CSCF of the called user's domain (TS 24.229 5.4.3.2
// step 10). Other domains have no way out of this core yet.
func (s *SCSCF) home(x *hop.Exchange, in hop.Inbound) (hop.Name, bool) {
	uri, err := sip.ParseURI(in.Msg.RequestURI())
	if err != nil {
		return "", false
	}
	if s.isGRUUHere(&uri) {
		in.Msg.Remove(sip.HdrRoute)
		return s.cfg.Name, true
	}
	if bytes.EqualFold(uri.Scheme, []byte("tel")) || string(uri.Host) == s.cfg.HomeDomain {
		in.Msg.Remove(sip.HdrRoute)
		return hop.Name(s.cfg.HomeDomain), true
	}
	return "", false
}

// account returns what writes the call records of an INVITE from its final responses: one for each telephone that answers (RFC 3261 13.2.2.4), since each of these
// dialogs may go on. nil for another request.
func (s *SCSCF) account(in hop.Inbound, role rf.Role, u user) hop.Up {
	if in.Msg.Method() != sip.INVITE {
		return nil
	}
	session := rf.Session{CallID: string(in.Msg.Get(sip.HdrCallID)), Role: role, Served: u.served, Other: u.other,
		ICID: icid(in.Msg.Get(sip.HdrPChargingVector))}
	return func(r hop.Reply) hop.Reply {
		switch now := s.ports.Clock.Wall(); {
		case r.Status()/100 == 2:
			session.Dialog = dialog.NameOf(r.Msg)
			s.ports.Charging.Start(session, now)
		case r.Final():
			s.ports.Charging.Unsuccessful(session, r.Status(), now)
		}
		return r
	}
}

// icid returns the icid-value of a P-Charging-Vector (RFC 7315 4.6).
func icid(vector []byte) string {
	v, _ := sip.Param(vector, "icid-value")
	return string(bytes.Trim(v, `"`))
}

// addIOI names the home network in the charging vector of a request, as that of the originating side, and returns what names it as
// the terminating side in the responses, never nil (TS 24.229 5.4.3.2, 5.4.3.3; RFC 7315 4.6). A request that comes without a vector is left
// alone: making one is for whom it met first.
func (s *SCSCF) addIOI(in hop.Inbound, role rf.Role) hop.Up {
	vector := in.Msg.Get(sip.HdrPChargingVector)
	if vector == nil {
		return func(r hop.Reply) hop.Reply { return r }
	}
	var b [256]byte
	v := append(b[:0], vector...)
	if _, named := sip.Param(vector, "orig-ioi"); !named && role == rf.Originating {
		v = append(append(v, ";orig-ioi="...), s.cfg.HomeDomain...)
		in.Msg.Set(sip.HdrPChargingVector, v)
	}
	if role == rf.Originating {
		return nil
	}
	answer := string(v) + ";term-ioi=" + s.cfg.HomeDomain
	return func(r hop.Reply) hop.Reply {
		if r.Msg != nil {
			r.Msg.SetString(sip.HdrPChargingVector, answer)
		}
		return r
	}
}
