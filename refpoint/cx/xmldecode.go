package cx

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// The limits of a profile in XML. A profile beyond them is refused whole.
const (
	MaxProfileSize     = 256 << 10 // octets of XML
	maxProfileDepth    = 16        // nested elements; Annex E needs 9
	maxProfileElements = 20000
	maxProfileText     = 4096 // octets of one value
)

// ErrProfile is wrapped by every error of DecodeProfile.
var ErrProfile = errors.New("cx: user profile")

func profileError(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrProfile, fmt.Errorf(format, args...))
}

// DecodeProfile reads the XML form of TS 29.228 Annex E. It is strict where a mistake could change a
// user's rights: no DTD, no entities of its own, no element twice that stands once in the schema, no
// unknown element outside an Extension, no value out of its range. Elements that a later release put
// into an Extension, or that stand in a foreign namespace, are skipped. Criteria come back ordered by
// priority. Every error wraps ErrProfile and names the element.
func DecodeProfile(data []byte) (*UserProfile, error) {
	root, err := parseTree(data)
	if err != nil {
		return nil, err
	}
	if root.name != "IMSSubscription" {
		return nil, profileError("the root is %q, not IMSSubscription", root.name)
	}
	p := &UserProfile{}
	err = root.each([]string{"ServiceProfile", "ReferenceLocationInformation"}, func(e *element) error {
		switch e.name {
		case "PrivateID":
			p.IMPI = IMPI(e.text)
		case "IMSI":
			p.IMSI = e.text
		case "ReferenceLocationInformation":
			return e.referenceLocation(&p.ReferenceLocation)
		case "ServiceProfile":
			s, err := e.serviceProfile()
			p.ServiceProfiles = append(p.ServiceProfiles, s)
			return err
		default:
			return errUnknownElement
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case p.IMPI == "":
		return nil, profileError("PrivateID is missing")
	case len(p.ServiceProfiles) == 0:
		return nil, profileError("ServiceProfile is missing")
	}
	return p, nil
}

// DecodeCriterion reads one filter criterion, an InitialFilterCriteria element, as strictly as DecodeProfile. Every error wraps ErrProfile.
func DecodeCriterion(data []byte) (InitialFilterCriteria, error) {
	root, err := parseTree(data)
	switch {
	case err != nil:
		return InitialFilterCriteria{}, err
	case root.name != "InitialFilterCriteria":
		return InitialFilterCriteria{}, profileError("the root is %q, not InitialFilterCriteria", root.name)
	}
	return root.criterion()
}

// element is a parsed element. Text is kept of leaves only.
type element struct {
	name string
	text string
	kids []*element
}

// parseTree reads one document into memory, within the limits.
func parseTree(data []byte) (*element, error) {
	if len(data) > MaxProfileSize {
		return nil, profileError("%d octets, at most %d", len(data), MaxProfileSize)
	}
	d := xml.NewDecoder(bytes.NewReader(data))
	d.Entity = map[string]string{} // only the five of XML
	d.CharsetReader = func(charset string, _ io.Reader) (io.Reader, error) {
		return nil, fmt.Errorf("encoding %q, only UTF-8", charset)
	}
	t := tree{}
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, profileError("%w", err)
		}
		switch tok := tok.(type) {
		case xml.Directive:
			err = profileError("a document type is not allowed")
		case xml.StartElement:
			err = t.start(tok.Name)
		case xml.EndElement:
			err = t.end()
		case xml.CharData:
			err = t.chars(tok)
		}
		if err != nil {
			return nil, err
		}
	}
	if t.root == nil {
		return nil, profileError("no element")
	}
	return t.root, nil
}

// tree is a document while it is read.
type tree struct {
	root     *element
	open     []*element
	elements int
}

func (t *tree) start(name xml.Name) error {
	if t.elements++; t.elements > maxProfileElements || len(t.open) >= maxProfileDepth {
		return profileError("more than %d elements or %d levels", maxProfileElements, maxProfileDepth)
	}
	e := &element{name: name.Local}
	if name.Space != "" {
		e.name = "" // foreign namespace: kept as a nameless element, which everybody skips
	}
	if len(t.open) > 0 {
		top := t.open[len(t.open)-1]
		top.kids = append(top.kids, e)
	} else if t.root == nil {
		t.root = e
	} else {
		return profileError("a second root")
	}
	t.open = append(t.open, e)
	return nil
}

func (t *tree) end() error {
	top := t.open[len(t.open)-1]
	t.open = t.open[:len(t.open)-1]
	top.text = strings.TrimSpace(top.text)
	if len(top.kids) > 0 && top.text != "" {
		return profileError("text beside the elements of %s", top.name)
	}
	return nil
}

func (t *tree) chars(text xml.CharData) error {
	if len(t.open) == 0 {
		if len(bytes.TrimSpace(text)) > 0 {
			return profileError("text outside the root")
		}
		return nil
	}
	top := t.open[len(t.open)-1]
	if len(top.text)+len(text) > maxProfileText {
		return profileError("the text of %s is longer than %d octets", top.name, maxProfileText)
	}
	top.text += string(text)
	return nil
}

// errUnknownElement is what a visitor returns for a name it does not know.
var errUnknownElement = errors.New("unknown element")

// each visits the children, those inside nested Extensions too (Annex E nests one per release). An
// element outside repeatable may stand once. Unknown elements are skipped inside an Extension only.
func (e *element) each(repeatable []string, visit func(*element) error) error {
	var seen []string
	var walk func(*element, bool, int) error
	walk = func(parent *element, strict bool, depth int) error {
		extended := false
		for _, k := range parent.kids {
			switch {
			case k.name == "":
				continue
			case k.name == "Extension":
				if extended {
					return profileError("two Extensions in %s", parent.name)
				}
				extended = true
				if err := walk(k, false, depth+1); err != nil {
					return err
				}
				continue
			case !slices.Contains(repeatable, k.name):
				if slices.Contains(seen, k.name) {
					return profileError("%s stands twice in %s", k.name, e.name)
				}
				seen = append(seen, k.name)
			}
			err := visit(k)
			if err == errUnknownElement {
				if !strict {
					continue
				}
				return profileError("unknown element %s in %s", k.name, e.name)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return walk(e, true, 0)
}

// number reads an integer from least to most.
func (e *element) number(to *int, least, most int) error {
	n, err := strconv.Atoi(e.text)
	if err != nil || n < least || n > most || len(e.kids) > 0 {
		return profileError("%s is %q, not a number from %d to %d", e.name, e.text, least, most)
	}
	*to = n
	return nil
}

// boolean reads xs:boolean.
func (e *element) boolean(to *bool) error {
	switch e.text {
	case "1", "true":
		*to = true
	case "0", "false":
		*to = false
	default:
		return profileError("%s is %q, not a boolean", e.name, e.text)
	}
	return nil
}

func (e *element) referenceLocation(to **ReferenceLocation) error {
	if *to != nil {
		return nil // more than one: the first is taken (table E.2 note 5)
	}
	r := &ReferenceLocation{}
	*to = r
	return e.each(nil, func(k *element) error {
		switch k.name {
		case "AccessType":
			r.AccessType = k.text
		case "AccessInfo":
			r.AccessInfo = k.text
		case "AccessValue":
			r.AccessValue = k.text
		default:
			return errUnknownElement
		}
		return nil
	})
}

func (e *element) serviceProfile() (ServiceProfile, error) {
	s := ServiceProfile{SubscribedMediaProfile: -1}
	repeatable := []string{"PublicIdentity", "InitialFilterCriteria", "SharedIFCSetID"}
	err := e.each(repeatable, func(k *element) error {
		switch k.name {
		case "PublicIdentity":
			p, err := k.publicIdentity()
			s.PublicIdentities = append(s.PublicIdentities, p)
			return err
		case "CoreNetworkServicesAuthorization":
			return k.servicesAuthorization(&s)
		case "InitialFilterCriteria":
			c, err := k.criterion()
			s.Criteria = append(s.Criteria, c)
			return err
		case "SharedIFCSetID":
			var id int
			err := k.number(&id, 0, 1<<31-1)
			s.SharedIFCSetIDs = append(s.SharedIFCSetIDs, id)
			return err
		}
		return errUnknownElement
	})
	if err == nil && len(s.PublicIdentities) == 0 {
		err = profileError("PublicIdentity is missing in ServiceProfile")
	}
	slices.SortStableFunc(s.Criteria, func(a, b InitialFilterCriteria) int { return a.Priority - b.Priority })
	return s, err
}

func (e *element) servicesAuthorization(s *ServiceProfile) error {
	return e.each(nil, func(k *element) error {
		switch k.name {
		case "SubscribedMediaProfileId":
			return k.number(&s.SubscribedMediaProfile, 0, 1<<31-1)
		case "ListOfServiceIds":
			s.AllowedServiceIDs = []string{}
			return k.each([]string{"ServiceId"}, func(id *element) error {
				if id.name != "ServiceId" {
					return errUnknownElement
				}
				s.AllowedServiceIDs = append(s.AllowedServiceIDs, id.text)
				return nil
			})
		}
		return errUnknownElement
	})
}

func (e *element) publicIdentity() (PublicIdentity, error) {
	p := PublicIdentity{ServicePriorityLevel: -1}
	err := e.each([]string{"ExtendedPriority"}, func(k *element) error {
		switch k.name {
		case "BarringIndication":
			return k.boolean(&p.Barred)
		case "Identity":
			p.Identity = IMPU(k.text)
		case "IdentityType":
			var n int
			err := k.number(&n, 0, int(WildcardedIMPU))
			p.Type = IdentityType(n)
			return err
		case "WildcardedPSI":
			p.WildcardedPSI = IMPU(k.text)
		case "DisplayName":
			p.DisplayName = k.text
		case "AliasIdentityGroupID":
			p.AliasGroupID = k.text
		case "WildcardedIMPU":
			p.WildcardedIMPU = IMPU(k.text)
		case "ServiceLevelTraceInfo":
			p.ServiceLevelTraceInfo = k.text
		case "ServicePriorityLevel":
			return k.number(&p.ServicePriorityLevel, 0, 4)
		case "ExtendedPriority":
			return k.extendedPriority(&p)
		case "MaxNumOfAllowedSimultRegistrations":
			return k.number(&p.MaxRegistrations, 1, 1<<16)
		default:
			return errUnknownElement
		}
		return nil
	})
	// The identity of a range is the range: the element that stands in its place says nothing (TS 29.228 B.2.1).
	switch {
	case p.Type == WildcardedPSI && p.WildcardedPSI != "":
		p.Identity = p.WildcardedPSI
	case p.Type == WildcardedIMPU && p.WildcardedIMPU != "":
		p.Identity = p.WildcardedIMPU
	}
	if err == nil && p.Identity == "" {
		err = profileError("Identity is missing in PublicIdentity")
	}
	return p, err
}

func (e *element) extendedPriority(p *PublicIdentity) error {
	var x ExtendedPriority
	err := e.each(nil, func(k *element) error {
		switch k.name {
		case "PriorityNamespace":
			x.Namespace = k.text
		case "PriorityLevel":
			x.Level = k.text
		default:
			return errUnknownElement
		}
		return nil
	})
	p.ExtendedPriorities = append(p.ExtendedPriorities, x)
	return err
}

func (e *element) criterion() (InitialFilterCriteria, error) {
	c := InitialFilterCriteria{Priority: -1}
	err := e.each(nil, func(k *element) error {
		switch k.name {
		case "Priority":
			return k.number(&c.Priority, 0, 1<<31-1)
		case "TriggerPoint":
			t, err := k.triggerPoint()
			c.Trigger = t
			return err
		case "ApplicationServer":
			return k.applicationServer(&c.Server)
		case "ProfilePartIndicator":
			var n int
			err := k.number(&n, 0, 1)
			c.Part = ProfilePart(n + 1)
			return err
		}
		return errUnknownElement
	})
	switch {
	case err != nil:
	case c.Priority < 0:
		err = profileError("Priority is missing in InitialFilterCriteria")
	case c.Server.ServerName == "":
		err = profileError("ServerName is missing in InitialFilterCriteria")
	}
	return c, err
}

func (e *element) applicationServer(s *ApplicationServer) error {
	return e.each(nil, func(k *element) error {
		switch k.name {
		case "ServerName":
			s.ServerName = k.text
		case "DefaultHandling":
			var n int
			err := k.number(&n, 0, int(SessionTerminated))
			s.DefaultHandling = DefaultHandling(n)
			return err
		case "ServiceInfo":
			s.ServiceInfo = k.text
		case "IncludeRegisterRequest":
			s.IncludeRegisterRequest = true
		case "IncludeRegisterResponse":
			s.IncludeRegisterResponse = true
		default:
			return errUnknownElement
		}
		return nil
	})
}

func (e *element) triggerPoint() (*TriggerPoint, error) {
	t, hasType := &TriggerPoint{}, false
	err := e.each([]string{"SPT"}, func(k *element) error {
		switch k.name {
		case "ConditionTypeCNF":
			hasType = true
			return k.boolean(&t.CNF)
		case "SPT":
			s, err := k.spt()
			t.SPTs = append(t.SPTs, s)
			return err
		}
		return errUnknownElement
	})
	if err == nil && (!hasType || len(t.SPTs) == 0) {
		err = profileError("ConditionTypeCNF or SPT is missing in TriggerPoint")
	}
	return t, err
}

func (e *element) spt() (SPT, error) {
	var s SPT
	choose := func(kind SPTKind) error {
		if s.Kind != 0 {
			return profileError("two conditions in one SPT")
		}
		s.Kind = kind
		return nil
	}
	err := e.each([]string{"Group", "RegistrationType"}, func(k *element) error {
		switch k.name {
		case "ConditionNegated":
			return k.boolean(&s.Negated)
		case "Group":
			var g int
			err := k.number(&g, 0, 1<<31-1)
			s.Groups = append(s.Groups, g)
			return err
		case "RequestURI":
			s.Pattern = k.text
			return choose(SPTRequestURI)
		case "Method":
			s.Pattern = k.text
			return choose(SPTMethod)
		case "SIPHeader":
			return errors.Join(choose(SPTSIPHeader), k.pair("Header", &s))
		case "SessionCase":
			var n int
			err := k.number(&n, 0, int(OriginatingCDIV))
			s.Case = SessionCase(n)
			return errors.Join(choose(SPTSessionCase), err)
		case "SessionDescription":
			return errors.Join(choose(SPTSessionDescription), k.pair("Line", &s))
		case "RegistrationType":
			var n int
			err := k.number(&n, 0, 2)
			s.Registrations |= 1 << n
			return err
		}
		return errUnknownElement
	})
	switch {
	case err != nil:
	case s.Kind == 0:
		err = profileError("an SPT without a condition")
	case len(s.Groups) == 0:
		err = profileError("an SPT without a Group")
	case s.Registrations != 0 && (s.Kind != SPTMethod || s.Pattern != "REGISTER"):
		err = profileError("RegistrationType without Method REGISTER") // TS 29.228 B.2.3
	}
	return s, err
}

func (e *element) pair(first string, s *SPT) error {
	return e.each(nil, func(k *element) error {
		switch k.name {
		case first:
			s.Pattern = k.text
		case "Content":
			s.Content, s.HasContent = k.text, true
		default:
			return errUnknownElement
		}
		return nil
	})
}
