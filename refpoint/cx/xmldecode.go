package cx

import (
	"errors"
	"fmt"
	"slices"

	"imsafe/proto/xmltree"
)

// MaxProfileSize is the most octets of XML that a profile has. One beyond this, or the limits below, is refused whole.
const MaxProfileSize = 256 << 10

// limits are those of a profile; Annex E needs nine levels.
func limits() xmltree.Limits {
	return xmltree.Limits{Octets: MaxProfileSize, Depth: 16, Elements: 20000, Text: 4096}
}

// ErrProfile is wrapped by every error of DecodeProfile.
var ErrProfile = errors.New("cx: user profile")

// DecodeProfile reads the XML form of TS 29.228 Annex E, as strictly as xmltree does, and no value out of its range. Elements that a later
// release put into an Extension, or that stand in a foreign namespace, are skipped. Criteria come back ordered by priority. Every error
// wraps ErrProfile and names the element.
func DecodeProfile(data []byte) (*UserProfile, error) {
	p := &UserProfile{}
	if err := p.read(data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProfile, err)
	}
	return p, nil
}

func (p *UserProfile) read(data []byte) error {
	root, err := xmltree.Parse(data, limits())
	if err != nil {
		return err
	}
	if root.Name != "IMSSubscription" {
		return fmt.Errorf("the root is %q, not IMSSubscription", root.Name)
	}
	err = root.Each([]string{"ServiceProfile", "ReferenceLocationInformation"}, func(e *xmltree.Element) error {
		switch e.Name {
		case "PrivateID":
			return xmltree.String(e, &p.IMPI)
		case "IMSI":
			return xmltree.String(e, &p.IMSI)
		case "ReferenceLocationInformation":
			return referenceLocation(e, &p.ReferenceLocation)
		case "ServiceProfile":
			s, err := serviceProfile(e)
			p.ServiceProfiles = append(p.ServiceProfiles, s)
			return err
		}
		return xmltree.ErrUnknown
	})
	switch {
	case err != nil:
		return err
	case p.IMPI == "":
		return errors.New("PrivateID is missing")
	case len(p.ServiceProfiles) == 0:
		return errors.New("ServiceProfile is missing")
	}
	return nil
}

func referenceLocation(e *xmltree.Element, to **ReferenceLocation) error {
	if *to != nil {
		return nil // more than one: the first is taken (table E.2 note 5)
	}
	r := &ReferenceLocation{}
	*to = r
	return e.Each(nil, func(k *xmltree.Element) error {
		switch k.Name {
		case "AccessType":
			return xmltree.String(k, &r.AccessType)
		case "AccessInfo":
			return xmltree.String(k, &r.AccessInfo)
		case "AccessValue":
			return xmltree.String(k, &r.AccessValue)
		}
		return xmltree.ErrUnknown
	})
}

func serviceProfile(e *xmltree.Element) (ServiceProfile, error) {
	s := ServiceProfile{SubscribedMediaProfile: -1}
	repeatable := []string{"PublicIdentity", "InitialFilterCriteria", "SharedIFCSetID"}
	err := e.Each(repeatable, func(k *xmltree.Element) error {
		switch k.Name {
		case "PublicIdentity":
			p, err := publicIdentity(k)
			s.PublicIdentities = append(s.PublicIdentities, p)
			return err
		case "CoreNetworkServicesAuthorization":
			return servicesAuthorization(k, &s)
		case "InitialFilterCriteria":
			c, err := ReadCriterion(k)
			s.Criteria = append(s.Criteria, c)
			return err
		case "SharedIFCSetID":
			id, err := k.Number(0, 1<<31-1)
			s.SharedIFCSetIDs = append(s.SharedIFCSetIDs, id)
			return err
		}
		return xmltree.ErrUnknown
	})
	if err == nil && len(s.PublicIdentities) == 0 {
		err = errors.New("PublicIdentity is missing in ServiceProfile")
	}
	slices.SortStableFunc(s.Criteria, func(a, b InitialFilterCriteria) int { return a.Priority - b.Priority })
	return s, err
}

func servicesAuthorization(e *xmltree.Element, s *ServiceProfile) error {
	return e.Each(nil, func(k *xmltree.Element) error {
		switch k.Name {
		case "SubscribedMediaProfileId":
			return xmltree.Integer(k, &s.SubscribedMediaProfile, 0, 1<<31-1)
		case "ListOfServiceIds":
			s.AllowedServiceIDs = []string{}
			return k.Each([]string{"ServiceId"}, func(id *xmltree.Element) error {
				if id.Name != "ServiceId" {
					return xmltree.ErrUnknown
				}
				s.AllowedServiceIDs = append(s.AllowedServiceIDs, "")
				return xmltree.String(id, &s.AllowedServiceIDs[len(s.AllowedServiceIDs)-1])
			})
		}
		return xmltree.ErrUnknown
	})
}

func publicIdentity(e *xmltree.Element) (PublicIdentity, error) {
	p := PublicIdentity{ServicePriorityLevel: -1}
	err := e.Each([]string{"ExtendedPriority"}, func(k *xmltree.Element) error {
		switch k.Name {
		case "BarringIndication":
			return xmltree.Boolean(k, &p.Barred)
		case "Identity":
			return xmltree.String(k, &p.Identity)
		case "IdentityType":
			return xmltree.Integer(k, &p.Type, 0, int(WildcardedIMPU))
		case "WildcardedPSI":
			return xmltree.String(k, &p.WildcardedPSI)
		case "DisplayName":
			return xmltree.String(k, &p.DisplayName)
		case "AliasIdentityGroupID":
			return xmltree.String(k, &p.AliasGroupID)
		case "WildcardedIMPU":
			return xmltree.String(k, &p.WildcardedIMPU)
		case "ServiceLevelTraceInfo":
			return xmltree.String(k, &p.ServiceLevelTraceInfo)
		case "ServicePriorityLevel":
			return xmltree.Integer(k, &p.ServicePriorityLevel, 0, 4)
		case "ExtendedPriority":
			return extendedPriority(k, &p)
		case "MaxNumOfAllowedSimultRegistrations":
			return xmltree.Integer(k, &p.MaxRegistrations, 1, 1<<16)
		}
		return xmltree.ErrUnknown
	})
	// The identity of a range is the range: the element that stands in its place says nothing (TS 29.228 B.2.1).
	switch {
	case p.Type == WildcardedPSI && p.WildcardedPSI != "":
		p.Identity = p.WildcardedPSI
	case p.Type == WildcardedIMPU && p.WildcardedIMPU != "":
		p.Identity = p.WildcardedIMPU
	}
	if err == nil && p.Identity == "" {
		err = errors.New("an Identity is missing in PublicIdentity")
	}
	return p, err
}

func extendedPriority(e *xmltree.Element, p *PublicIdentity) error {
	var x ExtendedPriority
	err := e.Each(nil, func(k *xmltree.Element) error {
		switch k.Name {
		case "PriorityNamespace":
			return xmltree.String(k, &x.Namespace)
		case "PriorityLevel":
			return xmltree.String(k, &x.Level)
		}
		return xmltree.ErrUnknown
	})
	p.ExtendedPriorities = append(p.ExtendedPriorities, x)
	return err
}

// ReadCriterion reads one filter criterion, an InitialFilterCriteria element: Sh has it in the same form (TS 29.328 Annex D).
func ReadCriterion(e *xmltree.Element) (InitialFilterCriteria, error) {
	c := InitialFilterCriteria{Priority: -1}
	err := e.Each(nil, func(k *xmltree.Element) error {
		switch k.Name {
		case "Priority":
			return xmltree.Integer(k, &c.Priority, 0, 1<<31-1)
		case "TriggerPoint":
			t, err := triggerPoint(k)
			c.Trigger = t
			return err
		case "ApplicationServer":
			return applicationServer(k, &c.Server)
		case "ProfilePartIndicator":
			n, err := k.Number(0, 1)
			c.Part = ProfilePart(n + 1)
			return err
		}
		return xmltree.ErrUnknown
	})
	switch {
	case err != nil:
	case c.Priority < 0:
		err = errors.New("a Priority is missing in InitialFilterCriteria")
	case c.Server.ServerName == "":
		err = errors.New("ServerName is missing in InitialFilterCriteria")
	}
	return c, err
}

func applicationServer(e *xmltree.Element, s *ApplicationServer) error {
	return e.Each(nil, func(k *xmltree.Element) error {
		switch k.Name {
		case "ServerName":
			return xmltree.String(k, &s.ServerName)
		case "DefaultHandling":
			return xmltree.Integer(k, &s.DefaultHandling, 0, int(SessionTerminated))
		case "ServiceInfo":
			return xmltree.String(k, &s.ServiceInfo)
		case "IncludeRegisterRequest":
			s.IncludeRegisterRequest = true
			return nil
		case "IncludeRegisterResponse":
			s.IncludeRegisterResponse = true
			return nil
		}
		return xmltree.ErrUnknown
	})
}

func triggerPoint(e *xmltree.Element) (*TriggerPoint, error) {
	t, hasType := &TriggerPoint{}, false
	err := e.Each([]string{"SPT"}, func(k *xmltree.Element) error {
		switch k.Name {
		case "ConditionTypeCNF":
			hasType = true
			return xmltree.Boolean(k, &t.CNF)
		case "SPT":
			s, err := spt(k)
			t.SPTs = append(t.SPTs, s)
			return err
		}
		return xmltree.ErrUnknown
	})
	if err == nil && (!hasType || len(t.SPTs) == 0) {
		err = errors.New("ConditionTypeCNF or SPT is missing in TriggerPoint")
	}
	return t, err
}

func spt(e *xmltree.Element) (SPT, error) {
	var s SPT
	choose := func(kind SPTKind) error {
		if s.Kind != 0 {
			return errors.New("two conditions in one SPT")
		}
		s.Kind = kind
		return nil
	}
	err := e.Each([]string{"Group", "RegistrationType"}, func(k *xmltree.Element) error {
		switch k.Name {
		case "ConditionNegated":
			return xmltree.Boolean(k, &s.Negated)
		case "Group":
			g, err := k.Number(0, 1<<31-1)
			s.Groups = append(s.Groups, g)
			return err
		case "RequestURI":
			return errors.Join(choose(SPTRequestURI), xmltree.String(k, &s.Pattern))
		case "Method":
			return errors.Join(choose(SPTMethod), xmltree.String(k, &s.Pattern))
		case "SIPHeader":
			return errors.Join(choose(SPTSIPHeader), pair(k, "Header", &s))
		case "SessionCase":
			return errors.Join(choose(SPTSessionCase), xmltree.Integer(k, &s.Case, 0, int(OriginatingCDIV)))
		case "SessionDescription":
			return errors.Join(choose(SPTSessionDescription), pair(k, "Line", &s))
		case "RegistrationType":
			n, err := k.Number(0, 2)
			s.Registrations |= 1 << n
			return err
		}
		return xmltree.ErrUnknown
	})
	switch {
	case err != nil:
	case s.Kind == 0:
		err = errors.New("an SPT without a condition")
	case len(s.Groups) == 0:
		err = errors.New("an SPT without a Group")
	case s.Registrations != 0 && (s.Kind != SPTMethod || s.Pattern != "REGISTER"):
		err = errors.New("RegistrationType without Method REGISTER") // TS 29.228 B.2.3
	}
	return s, err
}

func pair(e *xmltree.Element, first string, s *SPT) error {
	return e.Each(nil, func(k *xmltree.Element) error {
		switch k.Name {
		case first:
			return xmltree.String(k, &s.Pattern)
		case "Content":
			s.HasContent = true
			return xmltree.String(k, &s.Content)
		}
		return xmltree.ErrUnknown
	})
}
