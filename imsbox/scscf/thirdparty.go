package scscf

import (
	"slices"
	"strconv"
	"time"

	"imsafe/hop"
	"imsafe/imsbox/filter"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/isc"
)

// Service platforms that a profile names for REGISTER are told of registrations by a REGISTER of the S-CSCF's own (TS 24.229 5.4.1.7).

// tellPlatforms tells, in a procedure of its own, the platforms of whoever has registered, registered again or left: sets are the implicit
// registration sets, m the user's REGISTER or nil where the network acts.
func (s *SCSCF) tellPlatforms(t *shard.Task, a *assignment, sets []uint8, kind cx.RegistrationTypes, m *sip.Message) {
	if s.ports.ISC == nil {
		return
	}
	var users []identity // of each service profile with criteria the first that is not barred
	for _, id := range slices.Concat(a.identities, a.former) {
		known := slices.ContainsFunc(users, func(u identity) bool { return u.profile == id.profile && u.set == id.set })
		if id.profile != "" && !id.barred && !id.wildcard && slices.Contains(sets, id.set) && !known {
			users = append(users, id)
		}
	}
	if len(users) == 0 {
		return
	}
	reg := a.registration
	if m != nil {
		m = m.Clone()
	} else {
		m = s.ownRegister(users[0].impu)
	}
	started := t.Shard().Start(func(t *shard.Task) {
		defer m.Release()
		for i := range users {
			s.tellPlatformsOf(t, &reg, &users[i], kind, m)
		}
	})
	if !started {
		m.Release() // a shard without room for it: platforms learn of the next refresh
	}
}

// ownRegister stands for the REGISTER that nobody has sent.
func (s *SCSCF) ownRegister(impu string) *sip.Message {
	m := s.ports.Hop.Pool().NewRequest(sip.REGISTER, "sip:"+s.cfg.HomeDomain)
	m.AppendString(sip.HdrFrom, "<"+impu+">")
	m.AppendString(sip.HdrTo, "<"+impu+">")
	m.AppendString(sip.HdrExpires, "0")
	return m
}

// tellPlatformsOf tells those of one service profile.
func (s *SCSCF) tellPlatformsOf(t *shard.Task, reg *registration, user *identity, kind cx.RegistrationTypes, m *sip.Message) {
	f, sound := s.filterOf(t, user.profile)
	if !sound {
		return
	}
	var servers []cx.ApplicationServer
	e := f.Evaluate(filter.Request{Message: m, Case: cx.OriginatingRegistered, Registration: kind})
	for c := e.Next(); c != nil; c = e.Next() {
		servers = append(servers, c.Server)
	}
	for i := range servers {
		r := s.ports.Hop.Originate(t, s.cfg.Name, isc.Name, hop.Inbound{Msg: s.thirdParty(t, reg, user, &servers[i], m), Proof: s.ports.Origin})
		// todo TS 24.229 5.4.1.7: with default handling SESSION_TERMINATED a platform that is not there ends the registration
		if r.Msg != nil {
			r.Msg.Release()
		}
	}
}

// thirdParty makes the REGISTER for one platform (TS 24.229 5.4.1.7).
func (s *SCSCF) thirdParty(t *shard.Task, reg *registration, user *identity, server *cx.ApplicationServer, m *sip.Message) *sip.Message {
	out := s.ports.Hop.Pool().NewRequest(sip.REGISTER, server.ServerName)
	name := "<sip:" + string(s.cfg.Name) + ">"
	out.AppendString(sip.HdrMaxForwards, "70")
	out.AppendString(sip.HdrFrom, name+";tag="+strconv.FormatUint(reg.version, 36))
	out.AppendString(sip.HdrTo, "<"+user.impu+">")
	out.AppendString(sip.HdrCallID, "reg-"+strconv.FormatUint(uint64(fingerprint(reg.impi+user.impu+server.ServerName)), 36)+"@"+string(s.cfg.Name))
	out.AppendString(sip.HdrCSeq, strconv.FormatUint(reg.version&0x7fffffff, 10)+" REGISTER")
	out.AppendString(sip.HdrContact, name)
	out.AppendString(sip.HdrExpires, strconv.Itoa(int(reg.remains(user.set, t.Now())/time.Second)))
	for _, h := range []sip.HeaderID{sip.HdrPAccessNetworkInfo, sip.HdrPVisitedNetworkID, sip.HdrPChargingVector} {
		for v := range m.Values(h) {
			out.Append(h, v)
		}
	}
	switch {
	case server.IncludeRegisterRequest && m.Has(sip.HdrAuthorization):
		out.SetBody("message/sip", m.AppendTo(nil)) // the door lets it pass to who may see all that is in it
	case server.ServiceInfo != "":
		out.SetBody("application/3gpp-ims+xml", serviceInfo(server.ServiceInfo))
	}
	return out
}

// serviceInfo is the body that carries what a profile says to a platform (TS 24.229 7.6).
func serviceInfo(text string) []byte {
	b := append([]byte(nil), `<?xml version="1.0" encoding="UTF-8"?><ims-3gpp version="1"><service-info>`...)
	for i := range len(text) {
		switch c := text[i]; c {
		case '<':
			b = append(b, "&lt;"...)
		case '&':
			b = append(b, "&amp;"...)
		default:
			b = append(b, c)
		}
	}
	return append(b, "</service-info></ims-3gpp>"...)
}

// remains is how long the longest binding of a set still lives, 0 if there is none.
func (r *registration) remains(set uint8, now time.Duration) (longest time.Duration) {
	for _, c := range r.bound(set) {
		longest = max(longest, c.until-now)
	}
	return longest
}
