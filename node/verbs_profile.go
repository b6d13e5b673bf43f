package node

import (
	"fmt"
	"slices"
	"strings"

	"imsafe/iface/imsservice"
	"imsafe/imsbox/hss"
	"imsafe/refpoint/cx"
)

// ProfileText is a service profile as a person writes it: the words of TS 29.228 Annex B in JSON.
type ProfileText struct {
	Name string `json:"name"`
	// MediaProfile is SubscribedMediaProfileId; left out if there is none.
	MediaProfile *int `json:"media_profile,omitempty"`
	// Services are the ICSIs that members may use; left out: all.
	Services []string `json:"services,omitempty"`
	// SharedSets are the numbers of shared filter criteria that the S-CSCF has.
	SharedSets []int          `json:"shared_sets,omitempty"`
	Criteria   []CriteriaText `json:"criteria,omitempty"`
}

// CriteriaText is one initial filter criterion (TS 29.228 B.2.2).
type CriteriaText struct {
	Priority int `json:"priority"` // the lowest number is looked at first
	// Server is the SIP URI of the application server.
	Server string `json:"server"`
	// Part is "registered" or "unregistered"; left out: both.
	Part string `json:"part,omitempty"`
	// Otherwise is what happens when the server cannot be reached: "continue" (default) or "terminate".
	Otherwise   string `json:"otherwise,omitempty"`
	ServiceInfo string `json:"service_info,omitempty"`
	// What a third-party REGISTER to the server carries (TS 24.229 5.4.1.7).
	IncludeRegisterRequest  bool `json:"include_register_request,omitempty"`
	IncludeRegisterResponse bool `json:"include_register_response,omitempty"`
	// DSAI are tags by which the server may switch the criterion off and on for a subscriber, over Sh (TS 29.328 7.6.11): it counts as long as
	// one of them is on.
	DSAI []string `json:"dsai,omitempty"`
	// Trigger left out: every request.
	Trigger *TriggerText `json:"trigger,omitempty"`
}

// TriggerText is a trigger point (TS 29.228 B.2.3). Form "cnf": every group must hold, a group holds if one of its conditions
// does. Form "dnf": one group must hold, with all of its conditions.
type TriggerText struct {
	Form       string          `json:"form"`
	Conditions []ConditionText `json:"conditions"`
}

// ConditionText is a service point trigger: exactly one of RequestURI, Method, Header, SessionCase and Line.
type ConditionText struct {
	Groups []int `json:"groups"`
	Not    bool  `json:"not,omitempty"`

	RequestURI string `json:"request_uri,omitempty"`
	Method     string `json:"method,omitempty"`
	// Registrations narrows the method REGISTER: "initial", "refresh", "end".
	Registrations []string `json:"registrations,omitempty"`
	Header        string   `json:"header,omitempty"`
	SessionCase   string   `json:"session_case,omitempty"`
	Line          string   `json:"sdp_line,omitempty"`
	Content       *string  `json:"content,omitempty"` // of Header or Line
}

// The words of the enumerations, in the order of their values.
var (
	partWords         = []string{"", "registered", "unregistered"}
	otherwiseWords    = []string{"continue", "terminate"}
	caseWords         = []string{"originating", "terminating", "terminating-unregistered", "originating-unregistered", "originating-cdiv"}
	registrationWords = []string{"initial", "refresh", "end"} // bits
)

// reading collects what is wrong with a text.
type reading struct {
	subject string
	found   hss.Mistakes
}

func (r *reading) add(field, format string, args ...any) {
	r.found = append(r.found, hss.Mistake{Subject: r.subject, Field: field, Problem: fmt.Sprintf(format, args...)})
}

// word returns the number of a word; an empty one is the first.
func (r *reading) word(field, text string, words []string) int {
	if text == "" {
		return 0
	}
	i := slices.Index(words, text)
	if i < 0 {
		r.add(field, "%q is not one of %s", text, strings.TrimPrefix(strings.Join(words, ", "), ", "))
		return 0
	}
	return i
}

// profile reads the text. What the words mean together is checked by the HSS.
func (p *ProfileText) profile() (*cx.ServiceProfile, hss.Mistakes) {
	r := &reading{subject: "profile " + p.Name}
	out := &cx.ServiceProfile{SubscribedMediaProfile: -1, AllowedServiceIDs: p.Services, SharedIFCSetIDs: p.SharedSets}
	for i, number := range p.SharedSets {
		if number >= imsservice.FirstSet {
			r.add(fmt.Sprintf("shared_sets[%d]", i), "%d: numbers from %d on belong to service platforms, which an approval gives to groups", number, imsservice.FirstSet)
		}
	}
	if p.MediaProfile != nil {
		out.SubscribedMediaProfile = *p.MediaProfile
	}
	for i, c := range p.Criteria {
		field := fmt.Sprintf("criteria[%d]", i)
		ifc := cx.InitialFilterCriteria{Priority: c.Priority, Part: cx.ProfilePart(r.word(field+".part", c.Part, partWords)), DSAI: c.DSAI,
			Server: cx.ApplicationServer{ServerName: c.Server, ServiceInfo: c.ServiceInfo,
				DefaultHandling:        cx.DefaultHandling(r.word(field+".otherwise", c.Otherwise, otherwiseWords)),
				IncludeRegisterRequest: c.IncludeRegisterRequest, IncludeRegisterResponse: c.IncludeRegisterResponse}}
		if t := c.Trigger; t != nil {
			ifc.Trigger = &cx.TriggerPoint{CNF: t.Form == "cnf"}
			if t.Form != "cnf" && t.Form != "dnf" {
				r.add(field+".trigger.form", "%q is neither cnf nor dnf", t.Form)
			}
			for j, s := range t.Conditions {
				ifc.Trigger.SPTs = append(ifc.Trigger.SPTs, r.condition(fmt.Sprintf("%s.trigger.conditions[%d]", field, j), &s))
			}
		}
		out.Criteria = append(out.Criteria, ifc)
	}
	slices.SortStableFunc(out.Criteria, func(a, b cx.InitialFilterCriteria) int { return a.Priority - b.Priority })
	return out, r.found
}

func (r *reading) condition(field string, c *ConditionText) cx.SPT {
	s := cx.SPT{Negated: c.Not, Groups: c.Groups}
	kinds := 0
	for _, k := range []struct {
		kind cx.SPTKind
		text string
	}{{cx.SPTRequestURI, c.RequestURI}, {cx.SPTMethod, c.Method}, {cx.SPTSIPHeader, c.Header}, {cx.SPTSessionDescription, c.Line},
		{cx.SPTSessionCase, c.SessionCase}} {
		if k.text != "" {
			s.Kind, s.Pattern = k.kind, k.text
			kinds++
		}
	}
	if kinds != 1 {
		r.add(field, "exactly one of request_uri, method, header, sdp_line, session_case")
	}
	if s.Kind == cx.SPTSessionCase {
		s.Case, s.Pattern = cx.SessionCase(r.word(field+".session_case", c.SessionCase, caseWords)), ""
	}
	if c.Content != nil {
		s.Content, s.HasContent = *c.Content, true
		if s.Kind != cx.SPTSIPHeader && s.Kind != cx.SPTSessionDescription {
			r.add(field+".content", "belongs to header or sdp_line")
		}
	}
	for _, w := range c.Registrations {
		s.Registrations |= 1 << r.word(field+".registrations", w, registrationWords)
	}
	return s
}

// textOfProfile is the reverse of profile.
func textOfProfile(name string, p *cx.ServiceProfile) *ProfileText {
	out := &ProfileText{Name: name, Services: p.AllowedServiceIDs, SharedSets: p.SharedIFCSetIDs}
	if p.SubscribedMediaProfile >= 0 {
		out.MediaProfile = &p.SubscribedMediaProfile
	}
	for _, ifc := range p.Criteria {
		c := CriteriaText{Priority: ifc.Priority, Server: ifc.Server.ServerName, Part: partWords[ifc.Part], DSAI: ifc.DSAI,
			Otherwise: otherwiseWords[ifc.Server.DefaultHandling], ServiceInfo: ifc.Server.ServiceInfo,
			IncludeRegisterRequest: ifc.Server.IncludeRegisterRequest, IncludeRegisterResponse: ifc.Server.IncludeRegisterResponse}
		if t := ifc.Trigger; t != nil {
			c.Trigger = &TriggerText{Form: "dnf"}
			if t.CNF {
				c.Trigger.Form = "cnf"
			}
			for i := range t.SPTs {
				c.Trigger.Conditions = append(c.Trigger.Conditions, textOfCondition(&t.SPTs[i]))
			}
		}
		out.Criteria = append(out.Criteria, c)
	}
	return out
}

func textOfCondition(s *cx.SPT) ConditionText {
	c := ConditionText{Groups: s.Groups, Not: s.Negated}
	switch s.Kind {
	case cx.SPTRequestURI:
		c.RequestURI = s.Pattern
	case cx.SPTMethod:
		c.Method = s.Pattern
	case cx.SPTSIPHeader:
		c.Header = s.Pattern
	case cx.SPTSessionDescription:
		c.Line = s.Pattern
	case cx.SPTSessionCase:
		c.SessionCase = caseWords[s.Case]
	}
	if s.HasContent {
		c.Content = &s.Content
	}
	for bit, w := range registrationWords {
		if s.Registrations&(1<<bit) != 0 {
			c.Registrations = append(c.Registrations, w)
		}
	}
	return c
}
