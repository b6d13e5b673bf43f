package filter

import (
	"bytes"
	"fmt"
	"strings"

	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
)

// Explanation says of one criterion why it matches a request or not, in plain words. It quotes of the request what the criterion looks at,
// but no credentials.
type Explanation struct {
	Priority  int    `json:"priority"`
	Server    string `json:"server"`
	SharedSet *int   `json:"shared_set,omitempty"`
	Matches   bool   `json:"matches"`
	Why       string `json:"why"`
	// Otherwise is what happens if it matches and the server does not answer.
	Otherwise string             `json:"otherwise"`
	Groups    []GroupExplanation `json:"groups,omitempty"`
}

// GroupExplanation tells of a group of a trigger point.
type GroupExplanation struct {
	Number   int                  `json:"group"`
	Holds    bool                 `json:"holds"`
	Triggers []TriggerExplanation `json:"triggers"`
}

// TriggerExplanation tells of a service point trigger: what it asks for, what the request has, and whether that is enough.
type TriggerExplanation struct {
	Asks  string `json:"asks"`
	Found string `json:"found"`
	Holds bool   `json:"holds"`
}

// Explain explains every criterion, each against the same request: what an application server would change is not known. What a request is
// too long for, Evaluate refuses and Explain says. It allocates.
func (f *Filter) Explain(r Request) []Explanation {
	out := make([]Explanation, 0, f.Len())
	for i := range f.Len() {
		c := &f.criteria[i]
		e := f.Evaluate(r) // each with all of the work: here nobody waits
		x := Explanation{Priority: c.Priority, Server: c.Server.ServerName, Matches: e.matches(c), Why: e.why(c),
			Otherwise: "the request goes on as if the server did not exist"}
		if set := c.SharedSet; set >= 0 {
			x.SharedSet = &set
		}
		if c.Server.DefaultHandling == cx.SessionTerminated {
			x.Otherwise = "the request is refused"
		}
		for j := range c.groups {
			x.Groups = append(x.Groups, e.explainGroup(c, &c.groups[j]))
		}
		if e.err != nil {
			x.Matches, x.Why = false, "nobody can say: "+strings.TrimPrefix(e.err.Error(), "filter: ")
		}
		out = append(out, x)
	}
	return out
}

// why says in one sentence why a criterion matches or not.
func (e *Evaluation) why(c *Criterion) string {
	if !c.counts(&e.request) {
		parts := [...]string{"unregistered", "registered"}
		is := flag(e.request.registered())
		return fmt.Sprintf("it counts for %s users only, and the user is %s", parts[1-is], parts[is])
	}
	if c.unconditional {
		return "it has no trigger point: every request matches"
	}
	var holding, failing []string
	for i := range c.groups {
		n := fmt.Sprint(c.groups[i].number)
		if e.groupHolds(c, &c.groups[i]) {
			holding = append(holding, n)
		} else {
			failing = append(failing, n)
		}
	}
	switch {
	case c.cnf && failing == nil:
		return "each of its groups has a trigger that holds"
	case c.cnf:
		return plural("no trigger holds in group %s", "no trigger holds in the groups %s", failing) + ", and every group needs one (CNF)"
	case holding != nil:
		return plural("all triggers of group %s hold", "all triggers of the groups %s hold", holding)
	}
	return "in no group do all triggers hold, and one such group is needed (DNF)"
}

func plural(one, many string, list []string) string {
	if len(list) == 1 {
		many = one
	}
	return fmt.Sprintf(many, strings.Join(list, ", "))
}

func (e *Evaluation) explainGroup(c *Criterion, g *group) GroupExplanation {
	x := GroupExplanation{Number: g.number, Holds: e.groupHolds(c, g)}
	for _, t := range g.terms {
		condition := &e.filter.conditions[t.condition]
		asks := condition.asks()
		if t.negated {
			asks = "not: " + asks
		}
		x.Triggers = append(x.Triggers, TriggerExplanation{Asks: asks, Found: e.found(condition), Holds: e.holds(t.condition) != t.negated})
	}
	return x
}

// The words of session cases and registration types, in the order of their values.
var (
	caseWords         = [...]string{"originating", "terminating", "terminating for an unregistered user", "originating for an unregistered user", "originating after a diversion"}
	registrationWords = [...]string{"an initial registration", "a re-registration", "a de-registration"}
)

func caseWord(c cx.SessionCase) string {
	if int(c) < len(caseWords) {
		return caseWords[c]
	}
	return fmt.Sprintf("no known one (%d)", c)
}

func registrationWord(r cx.RegistrationTypes) string {
	var words []string
	for i, w := range registrationWords {
		if r&(1<<i) != 0 {
			words = append(words, w)
		}
	}
	if words == nil {
		return "none that is known"
	}
	return strings.Join(words, " or ")
}

// asks says what a condition asks for.
func (c *condition) asks() string {
	switch c.kind {
	case cx.SPTMethod:
		if c.registrations != 0 {
			return "the method is REGISTER, and it is " + registrationWord(c.registrations)
		}
		return "the method is " + c.name
	case cx.SPTSessionCase:
		return "the session case is " + caseWord(c.sessionCase)
	case cx.SPTRequestURI:
		if c.wholeURI {
			return fmt.Sprintf("the Request-URI matches %q", c.content.text)
		}
		return fmt.Sprintf("the host or number of the Request-URI matches %q", c.content.text)
	}
	what := "header " + c.name
	if c.names != nil {
		what = fmt.Sprintf("header whose name matches %q", c.names.text)
	}
	if c.kind == cx.SPTSessionDescription {
		what = "line " + c.name + "= in the session description"
		if c.names != nil {
			what = fmt.Sprintf("line in the session description whose letter matches %q", c.names.text)
		}
	}
	if c.content != nil {
		return fmt.Sprintf("there is a %s with a value that matches %q", what, c.content.text)
	}
	return "there is a " + what
}

// found says what the request has of what a condition looks at.
func (e *Evaluation) found(c *condition) string {
	m := e.request.Message
	switch c.kind {
	case cx.SPTMethod:
		if c.registrations != 0 && m.Method() == sip.REGISTER {
			return "it is " + registrationWord(e.request.Registration)
		}
		return "it is " + string(m.MethodName())
	case cx.SPTSessionCase:
		return "it is " + caseWord(e.request.Case)
	case cx.SPTRequestURI:
		return e.foundURI(c)
	case cx.SPTSIPHeader:
		return e.foundHeader(c)
	}
	return e.foundLine(c)
}

func (e *Evaluation) foundURI(c *condition) string {
	uri := e.request.Message.RequestURI()
	found := "it is " + quote(c.subject(uri))
	if !c.wholeURI && !e.test(c) && e.match(c.content, uri) {
		found += "; an expression that begins with a scheme, as ^sip:, or has an @, is compared with the whole Request-URI"
	}
	return found
}

func (e *Evaluation) foundHeader(c *condition) string {
	var all findings
	for name, v := range e.request.Message.Fields() {
		if h := sip.LookupHeader(name); c.header != sip.HdrOther && h != c.header || c.header == sip.HdrOther && !e.isNamed(c, name) {
			continue
		}
		text := quote(v)
		switch sip.LookupHeader(name) {
		case sip.HdrAuthorization, sip.HdrProxyAuthorization, sip.HdrIdentity:
			text = "a value that is not shown"
		}
		if c.names != nil {
			text = string(name) + " " + text
		}
		all.add(text, c.content == nil || e.match(c.content, v))
	}
	return all.listed("there is none")
}

func (e *Evaluation) foundLine(c *condition) string {
	var all findings
	described := false
	m := e.request.Message
	eachDescription(m.Get(sip.HdrContentType), m.Body(), 0, func(sdp []byte) bool {
		described = true
		for l := (lines{rest: sdp}); l.next(); {
			if e.isLine(c, l.kind()) {
				value := l.value()
				hit := c.content == nil || e.match(c.content, value)
				if isKeyed(l.kind(), value) {
					value = value[:bytes.IndexByte(value, ':')+1]
				}
				all.add(quote(append([]byte(string(l.kind())+"="), value...)), hit)
			}
		}
		return false
	})
	if !described {
		return "there is no session description"
	}
	return all.listed("it has no such line")
}

// isKeyed recognises lines that hold media keys (RFC 4568, RFC 4567).
func isKeyed(kind, value []byte) bool {
	return kind[0] == 'a' && (bytes.HasPrefix(value, []byte("crypto:")) || bytes.HasPrefix(value, []byte("key-mgmt:"))) ||
		kind[0] == 'k' && bytes.IndexByte(value, ':') >= 0
}

// findings are values that a condition looked at: those that are as it asks, and the others.
type findings struct{ hits, others []string }

func (f *findings) add(text string, hit bool) {
	if hit {
		f.hits = append(f.hits, text)
	} else {
		f.others = append(f.others, text)
	}
}

// listed puts the first of them into words, hits before others.
func (f *findings) listed(none string) string {
	const shown = 4
	all := append(f.hits, f.others...)
	if len(all) == 0 {
		return none
	}
	text := "it is " + strings.Join(all[:min(len(all), shown)], ", ")
	if more := len(all) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// quote shows octets that somebody sent.
func quote(v []byte) string {
	const shown = 120
	if len(v) > shown {
		return fmt.Sprintf("%q...", v[:shown])
	}
	return fmt.Sprintf("%q", v)
}
