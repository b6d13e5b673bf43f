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
			if heard := s.tellPlatformsOf(t, &reg, &users[i], kind, m); !heard && kind != cx.Deregistration {
				s.abandon(t, &reg, users[i].set)
			}
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

// tellPlatformsOf tells those of one service profile. It is false if one was not there without which there is to be no registration (default
// handling SESSION_TERMINATED).
func (s *SCSCF) tellPlatformsOf(t *shard.Task, reg *registration, user *identity, kind cx.RegistrationTypes, m *sip.Message) (heard bool) {
	f, sound := s.filterOf(t, user.profile)
	if !sound {
		return true
	}
	heard = true
	var servers []cx.ApplicationServer
	e := f.Evaluate(filter.Request{Message: m, Case: cx.OriginatingRegistered, Registration: kind})
	for c := e.Next(); c != nil; c = e.Next() {
		servers = append(servers, c.Server)
	}
	for i := range servers {
		r := s.ports.Hop.Originate(t, s.cfg.Name, isc.Name, hop.Inbound{Msg: s.thirdParty(t, reg, user, &servers[i], m), Proof: s.ports.Origin})
		if servers[i].DefaultHandling == cx.SessionTerminated && (r.Msg == nil || silent(r.Status())) {
			heard = false
		}
		if r.Msg != nil {
			r.Msg.Release()
		}
	}
	return heard
}

// abandon ends a registration that a platform had to be told of and was not (TS 24.229 5.4.1.7, 5.4.1.5). A later registration is another one.
func (s *SCSCF) abandon(t *shard.Task, told *registration, set uint8) {
	insist(t, func() (done bool) {
		reg, exists := s.lookup(t, told.impi)
		impu := reg.firstOf(set)
		if !exists || reg.epoch != told.epoch || impu == "" {
			return true
		}
		reg.alive(t.Now())
		a := leaving(reg, eventRejected, set)
		_, err := s.ports.Cx.ServerAssignment(t, &cx.ServerAssignmentRequest{IMPI: cx.IMPI(reg.impi), IMPUs: []cx.IMPU{cx.IMPU(impu)},
			ServerName: s.ServerName(), Type: cx.AdministrativeDeregistration, Batch: &a.batch})
		if err != nil {
			a.batch.Settle(err) // the HSS has given the user to another: only our own record goes
		}
		return s.finish(t, a) == nil
	})
}

// firstOf returns the first identity of a set that is no range, "" if there is none.
func (r *registration) firstOf(set uint8) string {
	for _, id := range r.identities {
		if id.set == set && !id.wildcard {
			return id.impu
		}
	}
	return ""
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
