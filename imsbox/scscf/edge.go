package scscf

import (
	"slices"
	"strconv"

	"imsafe/hop"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
)

// tellLater tells of a change, in a procedure of its own, whoever must know: the watchers of the registration and of those that share
// identities with it, and the P-CSCFs whose clients lost a binding without having asked for it themselves. own is the Path of the REGISTER that made the change: that P-CSCF sees
// the answer.
func (s *SCSCF) tellLater(t *shard.Task, a *assignment, own []string) {
	s.release(t, a)
	var lost []contact
	for _, c := range a.change.gone {
		if len(c.path) > 0 && !slices.Equal(c.path, own) && a.change.why != eventExpired {
			lost = append(lost, c)
		}
	}
	heard := !a.change.silent && (len(a.watchers) > 0 || a.shared())
	if len(lost) == 0 && !heard {
		return
	}
	reg, changed := a.registration, a.change
	// A shard without room for another procedure loses it: the next change brings watchers the whole state again, and an association
	// that should have ended ends with the life it was given.
	t.Shard().Start(func(t *shard.Task) {
		if heard {
			s.notify(t, reg, changed, "")
			for _, other := range s.others(t, &reg) {
				s.notify(t, other, change{}, "")
			}
		}
		for i := range lost {
			s.tellEdge(t, &reg, &lost[i], changed)
		}
	})
}

// tellEdge tells a P-CSCF that a binding it stands for has ended (docs/decisions/014): a NOTIFY of the registration event package
// to its Path entry, in the subscription that this entry implies (TS 24.229 5.2.3 has the P-CSCF subscribe).
func (s *SCSCF) tellEdge(t *shard.Task, reg *registration, c *contact, changed change) {
	entry, err := sip.ParseNameAddr([]byte(c.path[0]))
	if err != nil {
		return
	}
	one := *reg
	one.contacts = nil
	changed.gone = []contact{*c}
	m := s.ports.Hop.Pool().NewRequest(sip.NOTIFY, string(entry.URI))
	m.AppendString(sip.HdrMaxForwards, "70")
	m.AppendString(sip.HdrFrom, s.notifier()+";tag="+strconv.FormatUint(uint64(fingerprint(c.callID)), 36))
	m.AppendString(sip.HdrTo, "<"+string(entry.URI)+">")
	m.AppendString(sip.HdrCallID, "edge-"+strconv.FormatUint(uint64(fingerprint(c.uri+c.callID+c.path[0])), 36)+"-"+strconv.FormatUint(reg.version, 36))
	m.AppendString(sip.HdrCSeq, "1 NOTIFY")
	m.AppendString(sip.HdrContact, s.notifier())
	m.AppendString(sip.HdrEvent, "reg")
	m.AppendString(sip.HdrSubscriptionState, "terminated;reason=noresource")
	m.SetBody("application/reginfo+xml", appendReginfo(nil, &one, nil, 0, changed, t.Now()))
	next, known := s.ports.Hop.Next(m)
	if !known {
		m.Release()
		return
	}
	if r := s.ports.Hop.Originate(t, s.cfg.Name, next, hop.Inbound{Msg: m, Proof: s.ports.Origin}); r.Msg != nil {
		r.Msg.Release()
	}
}
