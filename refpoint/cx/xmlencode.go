package cx

import (
	"bytes"
	"encoding/xml"
	"strconv"
)

// AppendXML appends the XML form of TS 29.228 Annex E to dst: the content of the User-Data AVP. The
// form is deterministic. Text that XML cannot carry is replaced by U+FFFD; a profile from
// DecodeProfile or from checked provisioning has none.
func (p *UserProfile) AppendXML(dst []byte) []byte {
	w := xmlWriter{buf: append(dst, `<?xml version="1.0" encoding="UTF-8"?>`...)}
	w.open("IMSSubscription")
	w.text("PrivateID", string(p.IMPI))
	for i := range p.ServiceProfiles {
		w.serviceProfile(&p.ServiceProfiles[i])
	}
	w.extension(
		func() { w.optional("IMSI", p.IMSI) },
		func() {
			if r := p.ReferenceLocation; r != nil {
				w.open("ReferenceLocationInformation")
				w.optional("AccessType", r.AccessType)
				w.optional("AccessInfo", r.AccessInfo)
				w.optional("AccessValue", r.AccessValue)
				w.close("ReferenceLocationInformation")
			}
		},
	)
	w.close("IMSSubscription")
	return w.buf
}

// AppendCriterion appends the XML form of one filter criterion to dst. Sh has it too, in the same form (TS 29.328 Annex D).
func AppendCriterion(dst []byte, c *InitialFilterCriteria) []byte {
	w := xmlWriter{buf: dst}
	w.criterion(c)
	return w.buf
}

// xmlWriter appends elements without white space between them.
type xmlWriter struct{ buf []byte }

func (w *xmlWriter) open(name string)  { w.buf = append(append(append(w.buf, '<'), name...), '>') }
func (w *xmlWriter) close(name string) { w.buf = append(append(append(w.buf, "</"...), name...), '>') }

func (w *xmlWriter) text(name, value string) {
	w.open(name)
	b := bytes.NewBuffer(w.buf)
	_ = xml.EscapeText(b, []byte(value)) // a bytes.Buffer does not fail
	w.buf = b.Bytes()
	w.close(name)
}

func (w *xmlWriter) optional(name, value string) {
	if value != "" {
		w.text(name, value)
	}
}

func (w *xmlWriter) number(name string, n int) { w.text(name, strconv.Itoa(n)) }

func (w *xmlWriter) boolean(name string, v bool) {
	if v {
		w.text(name, "1")
	} else {
		w.text(name, "0")
	}
}

// extension writes the Extension elements that later releases nested into each other; a level that
// is empty, and has only empty ones below it, is left out.
func (w *xmlWriter) extension(levels ...func()) {
	if len(levels) == 0 {
		return
	}
	before := len(w.buf)
	w.open("Extension")
	start := len(w.buf)
	levels[0]()
	w.extension(levels[1:]...)
	if len(w.buf) == start {
		w.buf = w.buf[:before]
		return
	}
	w.close("Extension")
}

func (w *xmlWriter) serviceProfile(s *ServiceProfile) {
	w.open("ServiceProfile")
	for i := range s.PublicIdentities {
		w.publicIdentity(&s.PublicIdentities[i])
	}
	if s.SubscribedMediaProfile >= 0 || s.AllowedServiceIDs != nil {
		w.open("CoreNetworkServicesAuthorization")
		if s.SubscribedMediaProfile >= 0 {
			w.number("SubscribedMediaProfileId", s.SubscribedMediaProfile)
		}
		w.extension(func() {
			if s.AllowedServiceIDs == nil {
				return
			}
			w.open("ListOfServiceIds")
			for _, id := range s.AllowedServiceIDs {
				w.text("ServiceId", id)
			}
			w.close("ListOfServiceIds")
		})
		w.close("CoreNetworkServicesAuthorization")
	}
	for i := range s.Criteria {
		w.criterion(&s.Criteria[i])
	}
	w.extension(func() {
		for _, id := range s.SharedIFCSetIDs {
			w.number("SharedIFCSetID", id)
		}
	})
	w.close("ServiceProfile")
}

func (w *xmlWriter) publicIdentity(p *PublicIdentity) {
	w.open("PublicIdentity")
	if p.Barred {
		w.boolean("BarringIndication", true)
	}
	w.text("Identity", string(p.Identity))
	w.extension(
		func() {
			if p.Type != DistinctIMPU {
				w.number("IdentityType", int(p.Type))
			}
			w.optional("WildcardedPSI", string(p.WildcardedPSI))
		},
		func() {
			w.optional("DisplayName", p.DisplayName)
			w.optional("AliasIdentityGroupID", p.AliasGroupID)
		},
		func() {
			w.optional("WildcardedIMPU", string(p.WildcardedIMPU))
			w.optional("ServiceLevelTraceInfo", p.ServiceLevelTraceInfo)
			if p.ServicePriorityLevel >= 0 {
				w.number("ServicePriorityLevel", p.ServicePriorityLevel)
			}
		},
		func() {
			for _, e := range p.ExtendedPriorities {
				w.open("ExtendedPriority")
				w.text("PriorityNamespace", e.Namespace)
				w.text("PriorityLevel", e.Level)
				w.close("ExtendedPriority")
			}
		},
		func() {
			if p.MaxRegistrations > 0 {
				w.number("MaxNumOfAllowedSimultRegistrations", p.MaxRegistrations)
			}
		},
	)
	w.close("PublicIdentity")
}

func (w *xmlWriter) criterion(c *InitialFilterCriteria) {
	w.open("InitialFilterCriteria")
	w.number("Priority", c.Priority)
	if c.Trigger != nil {
		w.open("TriggerPoint")
		w.boolean("ConditionTypeCNF", c.Trigger.CNF)
		for i := range c.Trigger.SPTs {
			w.spt(&c.Trigger.SPTs[i])
		}
		w.close("TriggerPoint")
	}
	w.open("ApplicationServer")
	w.text("ServerName", c.Server.ServerName)
	w.number("DefaultHandling", int(c.Server.DefaultHandling))
	w.optional("ServiceInfo", c.Server.ServiceInfo)
	w.extension(func() {
		if c.Server.IncludeRegisterRequest {
			w.text("IncludeRegisterRequest", "")
		}
		if c.Server.IncludeRegisterResponse {
			w.text("IncludeRegisterResponse", "")
		}
	})
	w.close("ApplicationServer")
	if c.Part != PartCommon {
		w.number("ProfilePartIndicator", int(c.Part)-1) // 0 registered, 1 unregistered (table E.1)
	}
	w.close("InitialFilterCriteria")
}

func (w *xmlWriter) spt(s *SPT) {
	w.open("SPT")
	w.boolean("ConditionNegated", s.Negated)
	for _, g := range s.Groups {
		w.number("Group", g)
	}
	switch s.Kind {
	case SPTRequestURI:
		w.text("RequestURI", s.Pattern)
	case SPTMethod:
		w.text("Method", s.Pattern)
	case SPTSIPHeader:
		w.pair("SIPHeader", "Header", s)
	case SPTSessionCase:
		w.number("SessionCase", int(s.Case))
	case SPTSessionDescription:
		w.pair("SessionDescription", "Line", s)
	}
	w.extension(func() {
		for i := range 3 {
			if s.Registrations&(1<<i) != 0 {
				w.number("RegistrationType", i)
			}
		}
	})
	w.close("SPT")
}

func (w *xmlWriter) pair(outer, first string, s *SPT) {
	w.open(outer)
	w.text(first, s.Pattern)
	if s.HasContent {
		w.text("Content", s.Content)
	}
	w.close(outer)
}
