package cx

import "imsafe/proto/xmltree"

// AppendXML appends the XML form of TS 29.228 Annex E to dst: the content of the User-Data AVP. The
// form is deterministic. Text that XML cannot carry is replaced by U+FFFD; a profile from
// DecodeProfile or from checked provisioning has none.
func (p *UserProfile) AppendXML(dst []byte) []byte {
	w := &xmltree.Writer{Buf: append(dst, xmltree.Declaration...)}
	w.Open("IMSSubscription")
	w.Text("PrivateID", string(p.IMPI))
	for i := range p.ServiceProfiles {
		writeServiceProfile(w, &p.ServiceProfiles[i])
	}
	w.Extension(
		func() { w.Optional("IMSI", p.IMSI) },
		func() {
			if r := p.ReferenceLocation; r != nil {
				w.Open("ReferenceLocationInformation")
				w.Optional("AccessType", r.AccessType)
				w.Optional("AccessInfo", r.AccessInfo)
				w.Optional("AccessValue", r.AccessValue)
				w.Close("ReferenceLocationInformation")
			}
		},
	)
	w.Close("IMSSubscription")
	return w.Buf
}

func writeServiceProfile(w *xmltree.Writer, s *ServiceProfile) {
	w.Open("ServiceProfile")
	for i := range s.PublicIdentities {
		writePublicIdentity(w, &s.PublicIdentities[i])
	}
	if s.SubscribedMediaProfile >= 0 || s.AllowedServiceIDs != nil {
		w.Open("CoreNetworkServicesAuthorization")
		if s.SubscribedMediaProfile >= 0 {
			w.Number("SubscribedMediaProfileId", s.SubscribedMediaProfile)
		}
		w.Extension(func() {
			if s.AllowedServiceIDs == nil {
				return
			}
			w.Open("ListOfServiceIds")
			for _, id := range s.AllowedServiceIDs {
				w.Text("ServiceId", id)
			}
			w.Close("ListOfServiceIds")
		})
		w.Close("CoreNetworkServicesAuthorization")
	}
	for i := range s.Criteria {
		WriteCriterion(w, &s.Criteria[i])
	}
	w.Extension(func() {
		for _, id := range s.SharedIFCSetIDs {
			w.Number("SharedIFCSetID", id)
		}
	})
	w.Close("ServiceProfile")
}

func writePublicIdentity(w *xmltree.Writer, p *PublicIdentity) {
	w.Open("PublicIdentity")
	if p.Barred {
		w.Boolean("BarringIndication", true)
	}
	w.Text("Identity", string(p.Identity))
	w.Extension(
		func() {
			if p.Type != DistinctIMPU {
				w.Number("IdentityType", int(p.Type))
			}
			w.Optional("WildcardedPSI", string(p.WildcardedPSI))
		},
		func() {
			w.Optional("DisplayName", p.DisplayName)
			w.Optional("AliasIdentityGroupID", p.AliasGroupID)
		},
		func() {
			w.Optional("WildcardedIMPU", string(p.WildcardedIMPU))
			w.Optional("ServiceLevelTraceInfo", p.ServiceLevelTraceInfo)
			if p.ServicePriorityLevel >= 0 {
				w.Number("ServicePriorityLevel", p.ServicePriorityLevel)
			}
		},
		func() {
			for _, e := range p.ExtendedPriorities {
				w.Open("ExtendedPriority")
				w.Text("PriorityNamespace", e.Namespace)
				w.Text("PriorityLevel", e.Level)
				w.Close("ExtendedPriority")
			}
		},
		func() {
			if p.MaxRegistrations > 0 {
				w.Number("MaxNumOfAllowedSimultRegistrations", p.MaxRegistrations)
			}
		},
	)
	w.Close("PublicIdentity")
}

// WriteCriterion writes one filter criterion. Sh has it too, in the same form (TS 29.328 Annex D).
func WriteCriterion(w *xmltree.Writer, c *InitialFilterCriteria) {
	w.Open("InitialFilterCriteria")
	w.Number("Priority", c.Priority)
	if c.Trigger != nil {
		w.Open("TriggerPoint")
		w.Boolean("ConditionTypeCNF", c.Trigger.CNF)
		for i := range c.Trigger.SPTs {
			writeSpt(w, &c.Trigger.SPTs[i])
		}
		w.Close("TriggerPoint")
	}
	w.Open("ApplicationServer")
	w.Text("ServerName", c.Server.ServerName)
	w.Number("DefaultHandling", int(c.Server.DefaultHandling))
	w.Optional("ServiceInfo", c.Server.ServiceInfo)
	w.Extension(func() {
		if c.Server.IncludeRegisterRequest {
			w.Text("IncludeRegisterRequest", "")
		}
		if c.Server.IncludeRegisterResponse {
			w.Text("IncludeRegisterResponse", "")
		}
	})
	w.Close("ApplicationServer")
	if c.Part != PartCommon {
		w.Number("ProfilePartIndicator", int(c.Part)-1) // 0 registered, 1 unregistered (table E.1)
	}
	w.Close("InitialFilterCriteria")
}

func writeSpt(w *xmltree.Writer, s *SPT) {
	w.Open("SPT")
	w.Boolean("ConditionNegated", s.Negated)
	for _, g := range s.Groups {
		w.Number("Group", g)
	}
	switch s.Kind {
	case SPTRequestURI:
		w.Text("RequestURI", s.Pattern)
	case SPTMethod:
		w.Text("Method", s.Pattern)
	case SPTSIPHeader:
		writePair(w, "SIPHeader", "Header", s)
	case SPTSessionCase:
		w.Number("SessionCase", int(s.Case))
	case SPTSessionDescription:
		writePair(w, "SessionDescription", "Line", s)
	}
	w.Extension(func() {
		for i := range 3 {
			if s.Registrations&(1<<i) != 0 {
				w.Number("RegistrationType", i)
			}
		}
	})
	w.Close("SPT")
}

func writePair(w *xmltree.Writer, outer, first string, s *SPT) {
	w.Open(outer)
	w.Text(first, s.Pattern)
	if s.HasContent {
		w.Text("Content", s.Content)
	}
	w.Close(outer)
}
