package filter

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
)

// SharedSets are the shared sets of filter criteria that a S-CSCF has, by SharedIFCSetID (TS 29.228 B.2.1).
type SharedSets map[int][]cx.InitialFilterCriteria

// Compile compiles the criteria of a service profile, its own and those of the shared sets that it names, in the order of their
// priorities. It returns nil if there are none, and Problems if anything is wrong with them: a profile that is refused in part would
// leave out a service that screens. It keeps no reference to p.
func Compile(p *cx.ServiceProfile, shared SharedSets) (*Filter, error) {
	return compile(collect(p, shared))
}

// Check returns what is wrong with a profile's own criteria, nil if nothing is: for those who provision them where the shared sets are not
// known.
func Check(criteria []cx.InitialFilterCriteria) Problems {
	var problems Problems
	if _, err := compile(collect(&cx.ServiceProfile{Criteria: criteria}, nil)); err != nil {
		errors.As(err, &problems)
	}
	return problems
}

// collect brings criteria together in the order of their priorities (TS 29.228 B.2.2).
func collect(p *cx.ServiceProfile, shared SharedSets) (list []placed, problems Problems) {
	add := func(set int, place string, criteria []cx.InitialFilterCriteria) {
		for i := range criteria {
			if len(list) <= MaxCriteria {
				list = append(list, placed{&criteria[i], set, fmt.Sprintf("%scriteria[%d]", place, i)})
			}
		}
	}
	add(-1, "", p.Criteria)
	for i, id := range p.SharedIFCSetIDs {
		criteria, known := shared[id]
		switch {
		case !known:
			problems.add(fmt.Sprintf("shared_sets[%d]", i), UnknownSharedSet, "give the S-CSCF that set, or take its number off the profile",
				"the shared set %d is not known here", id)
		case !slices.Contains(p.SharedIFCSetIDs[:i], id):
			add(id, fmt.Sprintf("shared set %d: ", id), criteria)
		}
	}
	if len(list) > MaxCriteria {
		problems.add("criteria", TooManyCriteria, "put services together", "more than %d, with those of shared sets", MaxCriteria)
		return nil, problems
	}
	// Sets of different services know nothing of each other's numbers: between sets, the number of the set decides.
	slices.SortStableFunc(list, func(a, b placed) int { return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.set, b.set)) })
	for i := range list {
		c := &list[i]
		switch {
		case c.Priority < 0:
			problems.add(c.place+".priority", BadPriority, "priorities count from 0", "%d is negative", c.Priority)
		case i > 0 && list[i-1].Priority == c.Priority && list[i-1].set == c.set:
			problems.add(c.place+".priority", BadPriority, "give each its own: they say who is asked first (TS 29.228 B.2.2)",
				"%d stands twice: %s has it too", c.Priority, list[i-1].place)
		}
	}
	return list, problems
}

// maxProblems is after how many problems the compiler looks no further.
const maxProblems = 16

// compiler makes a Filter.
type compiler struct {
	Filter
	problems     Problems
	numbers      map[string]uint16 // of conditions, by what they say
	terms        int
	instructions int
}

func compile(list []placed, problems Problems) (*Filter, error) {
	c := &compiler{problems: problems, numbers: map[string]uint16{}}
	for i := range list {
		// Who makes so many mistakes makes them everywhere, and to find one can take long.
		if c.instructions <= MaxInstructions && c.terms <= MaxTerms && len(c.problems) < maxProblems {
			c.criterion(&list[i])
		}
	}
	if c.instructions > MaxInstructions {
		c.problems.add("criteria", TooMuchToMatch, "use simpler expressions: a fixed text counts 1", "the expressions have more than %d instructions together",
			MaxInstructions)
	}
	if c.terms > MaxTerms {
		c.problems.add("criteria", TooManyTerms, "put each trigger into fewer groups", "more than %d triggers, counted once for each group", MaxTerms)
	}
	switch {
	case c.problems != nil:
		return nil, c.problems
	case len(list) == 0:
		return nil, nil
	}
	c.version = versionOf(list)
	return &c.Filter, nil
}

func (c *compiler) criterion(p *placed) {
	c.server(p)
	out := Criterion{Priority: p.Priority, SharedSet: p.set, Part: p.Part, Server: p.Server, unconditional: p.Trigger == nil}
	if t := p.Trigger; t != nil {
		out.cnf = t.CNF
		switch n := len(t.SPTs); {
		case n == 0:
			c.problems.add(p.place+".trigger", BadTrigger, "leave the trigger point out if every request is meant", "it has no service point trigger")
		case n > MaxTriggers:
			c.problems.add(p.place+".trigger", TooManyTriggers, "an expression can say more than one trigger", "%d service point triggers, at most %d", n, MaxTriggers)
			return
		}
		for i := range t.SPTs {
			if len(c.problems) >= maxProblems {
				return
			}
			c.trigger(&out, &t.SPTs[i], fmt.Sprintf("%s.trigger[%d]", p.place, i))
		}
		if len(out.groups) > MaxGroups {
			c.problems.add(p.place+".trigger", TooManyGroups, "write the condition in the other normal form", "%d groups, at most %d", len(out.groups), MaxGroups)
		}
		c.sort(&out)
	}
	c.criteria = append(c.criteria, out)
}

// server checks where matching requests go (TS 29.228 B.2.4).
func (c *compiler) server(p *placed) {
	name := p.Server.ServerName
	uri, err := sip.ParseURI([]byte(name))
	switch {
	case len(name) > MaxPattern:
		c.problems.add(p.place+".server", PatternTooLong, "use a short SIP URI", "longer than %d octets", MaxPattern)
	case err != nil || !uri.IsSIP():
		c.problems.add(p.place+".server", BadServer, "write it as sip:name@host or sips:host", "%q is not a SIP URI", name)
	}
	if len(p.Server.ServiceInfo) > MaxServiceInfo {
		c.problems.add(p.place+".service_info", TextTooLong, "let the server look it up", "longer than %d octets", MaxServiceInfo)
	}
}

// trigger puts a service point trigger into its groups.
func (c *compiler) trigger(out *Criterion, s *cx.SPT, place string) {
	condition, sound := c.condition(s, place)
	if !sound {
		return
	}
	if len(s.Groups) == 0 {
		c.problems.add(place, NoGroup, "number it; triggers of one group belong together (TS 29.228 B.2.3)", "it is in no group")
	}
	for i, number := range s.Groups {
		if c.terms++; c.terms > MaxTerms {
			return
		}
		if slices.Contains(s.Groups[:i], number) {
			continue
		}
		at := slices.IndexFunc(out.groups, func(g group) bool { return g.number == number })
		if at < 0 {
			at = len(out.groups)
			out.groups = append(out.groups, group{number: number})
		}
		out.groups[at].terms = append(out.groups[at].terms, term{condition, s.Negated})
	}
}

// sort puts what is quick to test first: the order is nobody's business, since conditions change nothing.
func (c *compiler) sort(out *Criterion) {
	weight := func(t term) int {
		switch x := &c.conditions[t.condition]; x.kind {
		case cx.SPTSessionCase:
			return 0
		case cx.SPTMethod:
			return 1
		case cx.SPTRequestURI:
			return 3 + x.content.size
		case cx.SPTSIPHeader:
			if x.content == nil {
				return 2
			}
			return 4 + x.content.size
		}
		return 2 * maxInstructions
	}
	for _, g := range out.groups {
		slices.SortStableFunc(g.terms, func(a, b term) int { return weight(a) - weight(b) })
	}
	slices.SortStableFunc(out.groups, func(a, b group) int { return weight(a.terms[len(a.terms)-1]) - weight(b.terms[len(b.terms)-1]) })
}

// condition returns the number of what a trigger tests, the same for the same.
func (c *compiler) condition(s *cx.SPT, place string) (uint16, bool) {
	key := fmt.Sprintf("%d %d %d %t %d %s %s", s.Kind, s.Case, s.Registrations, s.HasContent, len(s.Pattern), s.Pattern, s.Content)
	if n, found := c.numbers[key]; found {
		return n, true
	}
	x := condition{kind: s.Kind}
	before := len(c.problems)
	if s.Registrations != 0 && (s.Kind != cx.SPTMethod || s.Pattern != "REGISTER") || s.Registrations > cx.InitialRegistration|cx.ReRegistration|cx.Deregistration {
		c.problems.add(place, BadTrigger, "take it off, or test for REGISTER", "a registration type needs the method REGISTER (TS 29.228 B.2.3)")
	}
	if s.HasContent && s.Kind != cx.SPTSIPHeader && s.Kind != cx.SPTSessionDescription {
		c.problems.add(place+".content", BadTrigger, "take it off", "only a header or a line has content")
	}
	switch {
	case s.Kind < cx.SPTRequestURI || s.Kind > cx.SPTSessionDescription:
		c.problems.add(place, BadTrigger, "say what is to be tested", "it has no condition")
	case s.Kind == cx.SPTSessionCase:
		x.sessionCase = s.Case
		if s.Case > cx.OriginatingCDIV {
			c.problems.add(place, BadTrigger, "use one of 0 to 4 (TS 29.228 table E.1)", "there is no session case %d", s.Case)
		}
	case s.Pattern == "":
		c.problems.add(place, BadTrigger, "say what is to be tested", "it tests for nothing")
	case s.Kind == cx.SPTMethod:
		x.registrations = s.Registrations
		c.method(&x, s.Pattern, place)
	case s.Kind == cx.SPTRequestURI:
		x.wholeURI = meansWholeURI(s.Pattern)
		x.content = c.expression(s.Pattern, place, false, false)
	default:
		c.field(&x, s, place)
	}
	if len(c.problems) > before {
		return 0, false
	}
	n := uint16(len(c.conditions))
	c.conditions = append(c.conditions, x)
	c.numbers[key] = n
	return n, true
}

// meansWholeURI recognises expressions that no host and no number can match, since they name a scheme or have an '@'. To compare
// them with a host, as TS 29.228 Annex F says, would be to ignore what the operator wrote.
func meansWholeURI(pattern string) bool {
	if strings.Contains(pattern, "@") {
		return true
	}
	pattern = strings.TrimLeft(pattern, "^(")
	for _, scheme := range []string{"sip:", "sips:", "sips?:", "tel:", "urn:"} {
		if strings.HasPrefix(pattern, scheme) {
			return true
		}
	}
	return false
}

// method reads a method. One that nobody sends, since methods are case-sensitive, is a slip (RFC 3261 7.1).
func (c *compiler) method(x *condition, name, place string) {
	x.method, x.name = sip.ParseMethod([]byte(name)), name
	switch {
	case len(name) > MaxPattern || !isToken(name):
		c.problems.add(place, BadMethod, "write one method; it is no expression", "%.64q is not a method", name)
	case x.method == sip.MethodOther && sip.ParseMethod([]byte(strings.ToUpper(name))) != sip.MethodOther:
		c.problems.add(place, BadMethod, "write "+strings.ToUpper(name), "%q is not a method: they are case-sensitive", name)
	}
}

// field reads a header or a line, and what is to stand in it.
func (c *compiler) field(x *condition, s *cx.SPT, place string) {
	header := s.Kind == cx.SPTSIPHeader
	switch {
	case header && isPlain(s.Pattern):
		x.header, x.name = sip.LookupHeader([]byte(s.Pattern)), s.Pattern
		if x.header == sip.HdrContentLength {
			c.problems.add(place, BadHeader, "test for Content-Type, or for a line of the session description", "Content-Length is made anew at every hop")
		}
		if x.header != sip.HdrOther {
			x.name = x.header.String()
		}
	case len(s.Pattern) == 1 && isPlain(s.Pattern):
		x.name = s.Pattern
	default:
		x.names = c.expression(s.Pattern, place, true, header)
	}
	if s.HasContent {
		x.content = c.expression(s.Content, place+".content", false, false)
	}
}

func (c *compiler) expression(text, place string, isName, fold bool) *expression {
	if len(text) > MaxPattern {
		c.problems.add(place, PatternTooLong, "shorten it", "the expression has %d octets, at most %d", len(text), MaxPattern)
		return nil
	}
	x, err := parseExpression(text, isName, fold)
	switch {
	case errors.Is(err, errTooLarge):
		c.problems.add(place, ExpressionTooLarge, "repeat less often: {1,100} counts a hundred times", "the expression %.64q is %v", text, err)
		return nil
	case err != nil:
		c.problems.add(place, BadExpression, `write a POSIX extended regular expression: [0-9] for \d, no (?...), no back references`,
			"the expression %.64q: %v", text, err)
		return nil
	}
	c.instructions += x.size
	return x
}

// isPlain says that an expression is nothing but a name.
func isPlain(s string) bool {
	for _, b := range []byte(s) {
		if !isAlphanumeric(b) && b != '-' && b != '_' {
			return false
		}
	}
	return true
}

// isToken: RFC 3261 25.1.
func isToken(s string) bool {
	for _, b := range []byte(s) {
		if !isAlphanumeric(b) && !strings.ContainsRune("-.!%*_+`'~", rune(b)) {
			return false
		}
	}
	return s != ""
}

func isAlphanumeric(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' || b >= '0' && b <= '9' }
