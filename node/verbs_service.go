package node

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"imsafe/iface/management"
	"imsafe/imsbox/filter"
	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
)

// TraceService is the input of service.trace: whose criteria, and a request that nobody sends.
type TraceService struct {
	Identity string `json:"identity"` // private or public
	// Case is a session case, in the words of a profile: "originating", "terminating-unregistered", ...
	Case string `json:"case"`
	// Unregistered says of the case "originating-cdiv" that the user is not registered.
	Unregistered bool   `json:"unregistered,omitempty"`
	Method       string `json:"method,omitempty"` // INVITE if left out
	// URI is the Request-URI; left out: the user himself if he is called, else somebody of the home domain.
	URI     string   `json:"uri,omitempty"`
	Headers []string `json:"headers,omitempty"` // as "Name: value"
	SDP     string   `json:"sdp,omitempty"`     // the body, a session description
	// Registration is what a REGISTER is: "initial" (if left out), "refresh" or "end".
	Registration string `json:"registration,omitempty"`
}

// ServiceTrace is the answer of service.trace.
type ServiceTrace struct {
	Identity string `json:"identity"` // the public one whose criteria these are
	Profile  string `json:"profile,omitempty"`
	Case     string `json:"case"`
	Request  string `json:"request"` // its start line
	// UnknownSets are shared sets of the profile whose criteria this node does not have: what they would do is not told.
	UnknownSets []int `json:"unknown_sets,omitempty"`
	// Criteria are all others of the profile, in the order of their priorities, each held against the request as it stands here.
	Criteria []filter.Explanation `json:"criteria"`
}

// badTrace says what is wrong with the input.
func badTrace(hint, format string, args ...any) error {
	return &management.Error{Code: "service.request", Message: fmt.Sprintf(format, args...), Hint: hint}
}

// traceService explains which filter criteria of a subscriber match a request, and why (TS 29.228 Annex B).
func (o *Operations) traceService(_ context.Context, in TraceService) (out ServiceTrace, err error) {
	r, err := in.conditions()
	if err != nil {
		return out, err
	}
	var profile *cx.ServiceProfile
	if out.Identity, out.Profile, profile, err = o.HSS.ServiceProfileOf(in.Identity); err != nil {
		return out, err
	}
	var shared filter.SharedSets
	if o.SharedSets != nil {
		shared = o.SharedSets()
	}
	profile.SharedIFCSetIDs = slices.DeleteFunc(profile.SharedIFCSetIDs, func(id int) bool {
		_, known := shared[id]
		if !known {
			out.UnknownSets = append(out.UnknownSets, id)
		}
		return !known
	})
	f, err := filter.Compile(profile, shared)
	if err != nil {
		return out, &management.Error{Code: "service.criteria", Message: err.Error(),
			Hint: "no S-CSCF of ours could run the profile " + out.Profile + ": `imsafe profile show` it, mend it, `imsafe profile put` it"}
	}
	if r.Message, err = in.message(out.Identity, o.Domain); err != nil {
		return out, err
	}
	defer r.Message.Release()
	out.Case, out.Criteria = in.Case, f.Explain(r)
	out.Request = string(r.Message.MethodName()) + " " + string(r.Message.RequestURI())
	return out, nil
}

// conditions reads what a request does not say itself.
func (in *TraceService) conditions() (r filter.Request, err error) {
	at := slices.Index(caseWords, in.Case)
	if at < 0 {
		return r, badTrace("one of "+strings.Join(caseWords, ", "), "%q is no session case", in.Case)
	}
	r.Case, r.Unregistered = cx.SessionCase(at), in.Unregistered
	if in.Unregistered && r.Case != cx.OriginatingCDIV {
		return r, badTrace("leave it out", "only originating-cdiv does not say itself whether the user is registered")
	}
	if in.Method != sip.REGISTER.String() {
		if in.Registration != "" {
			return r, badTrace("leave it out, or ask for the method REGISTER", "a registration type needs the method REGISTER")
		}
		return r, nil
	}
	at = 0
	if in.Registration != "" {
		at = slices.Index(registrationWords, in.Registration)
	}
	if at < 0 {
		return r, badTrace("one of "+strings.Join(registrationWords, ", "), "%q is no registration type", in.Registration)
	}
	r.Registration = 1 << at
	return r, nil
}

// message writes the request as it would come on the wire, and reads it as the door would.
func (in *TraceService) message(identity, domain string) (*sip.Message, error) {
	method, caller, called := in.Method, "sip:somebody@"+domain, "sip:somebody@"+domain
	if method == "" {
		method = sip.INVITE.String()
	}
	if strings.HasPrefix(in.Case, "terminating") {
		called = identity
	} else {
		caller = identity
	}
	uri := in.URI
	switch {
	case uri != "":
	case method == sip.REGISTER.String():
		uri, called = "sip:"+domain, identity
	default:
		uri = called
	}
	fields := []string{"Via: SIP/2.0/TCP trace.invalid;branch=z9hG4bKtrace", "Max-Forwards: 70", "From: <" + caller + ">;tag=trace", "To: <" + called + ">",
		"Call-ID: trace", "CSeq: 1 " + method, "P-Asserted-Identity: <" + caller + ">"}
	if in.SDP != "" {
		fields = append(fields, "Content-Type: application/sdp")
	}
	for _, h := range in.Headers {
		name, _, found := strings.Cut(h, ":")
		if !found || strings.ContainsAny(h, "\r\n\x00") || strings.TrimSpace(name) == "" {
			return nil, badTrace(`write it as "Name: value"`, "%.64q is no header field", h)
		}
		// What the caller gives stands for what we would have made up.
		fields = slices.DeleteFunc(fields, func(f string) bool {
			made, _, _ := strings.Cut(f, ":")
			return sip.LookupHeader([]byte(made)) == sip.LookupHeader([]byte(strings.TrimSpace(name)))
		})
	}
	if strings.ContainsAny(method+uri, " \t\r\n\x00") {
		return nil, badTrace("take the white space out", "the method or the Request-URI is malformed")
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s SIP/2.0\r\n", method, uri)
	for _, f := range append(fields, in.Headers...) {
		b.WriteString(f + "\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(in.SDP), in.SDP)
	m, err := sip.NewPool(sip.Limits{}).Parse(b.Bytes())
	if err != nil {
		return nil, badTrace("compare it with a request that a telephone sends", "the request cannot be read: %v", err)
	}
	if rejected := sip.Validate(m); rejected != nil {
		m.Release()
		return nil, badTrace("compare it with a request that a telephone sends", "the request would be refused with %d: %s", rejected.Status, rejected.Reason)
	}
	return m, nil
}
