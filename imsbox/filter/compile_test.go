package filter

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"imsafe/refpoint/cx"
)

// TestRefusals: what is malformed or too much is refused with a place, a reason and what to do.
func TestRefusals(t *testing.T) {
	of := func(spts ...cx.SPT) []cx.InitialFilterCriteria {
		return []cx.InitialFilterCriteria{criterion(0, true), criterion(1, true, spts...)}
	}
	repeat := func(n int, make func(i int) cx.SPT) (list []cx.SPT) {
		for i := range n {
			list = append(list, make(i))
		}
		return list
	}
	server := func(name, info string) []cx.InitialFilterCriteria {
		c := criterion(1, true)
		c.Server = cx.ApplicationServer{ServerName: name, ServiceInfo: info}
		return []cx.InitialFilterCriteria{c}
	}
	initial := method("INVITE")
	initial.Registrations = cx.InitialRegistration
	badType := method("REGISTER")
	badType.Registrations = 1 << 3
	stray := method("INVITE")
	stray.HasContent = true
	var many, wide, full []cx.InitialFilterCriteria
	for i := range MaxCriteria + 1 {
		many = append(many, criterion(i, true))
	}
	for i := range 20 {
		wide = append(wide, criterion(i, true, header("Subject", fmt.Sprintf("[ab%c]{1000}", 'c'+i))))
		full = append(full, criterion(i, true, repeat(MaxTriggers-1, func(j int) cx.SPT { return method("INVITE", j, j+1) })...))
	}
	for name, c := range map[string]struct {
		criteria []cx.InitialFilterCriteria
		place    string
		reason   Reason
	}{
		"too many criteria":           {many, "criteria", TooManyCriteria},
		"too many triggers":           {of(repeat(MaxTriggers+1, func(int) cx.SPT { return method("INVITE") })...), "criteria[1].trigger", TooManyTriggers},
		"too many groups":             {of(repeat(33, func(i int) cx.SPT { return method("INVITE", i, i+100) })...), "criteria[1].trigger", TooManyGroups},
		"too many terms":              {full, "criteria", TooManyTerms},
		"an expression too long":      {of(method("INVITE"), requestURI(strings.Repeat("a", MaxPattern+1))), "criteria[1].trigger[1]", PatternTooLong},
		"content too long":            {of(header("Event", strings.Repeat("a", MaxPattern+1))), "criteria[1].trigger[0].content", PatternTooLong},
		"an expression too large":     {of(line("a", "(ab|cd){1000}")), "criteria[1].trigger[0].content", ExpressionTooLarge},
		"too many instructions":       {wide, "criteria", TooMuchToMatch},
		"a server too long":           {server("sip:"+strings.Repeat("a", MaxPattern), ""), "criteria[0].server", PatternTooLong},
		"a service information":       {server("sip:a.example", strings.Repeat("a", MaxServiceInfo+1)), "criteria[0].service_info", TextTooLong},
		"an open parenthesis":         {of(requestURI("(")), "criteria[1].trigger[0]", BadExpression},
		"two halves of parentheses":   {of(header("a)|(b")), "criteria[1].trigger[0]", BadExpression},
		"digits of another dialect":   {of(header("Event", `\d+`)), "criteria[1].trigger[0].content", BadExpression},
		"a flag of another dialect":   {of(header("Event", `(?i)a`)), "criteria[1].trigger[0].content", BadExpression},
		"a back reference":            {of(header("Event", `(a)\1`)), "criteria[1].trigger[0].content", BadExpression},
		"a repetition of nothing":     {of(header("Event", `*`)), "criteria[1].trigger[0].content", BadExpression},
		"octets that are no text":     {of(header("Event", "\xff")), "criteria[1].trigger[0].content", BadExpression},
		"a method in small letters":   {of(method("invite")), "criteria[1].trigger[0]", BadMethod},
		"two methods":                 {of(method("INVITE|MESSAGE")), "criteria[1].trigger[0]", BadMethod},
		"a header that we make":       {of(header("content-length")), "criteria[1].trigger[0]", BadHeader},
		"that header in its short":    {of(header("l")), "criteria[1].trigger[0]", BadHeader},
		"priorities that are equal":   {[]cx.InitialFilterCriteria{criterion(4, true), criterion(5, true), criterion(4, false)}, "criteria[2].priority", BadPriority},
		"a negative priority":         {[]cx.InitialFilterCriteria{criterion(-1, true)}, "criteria[0].priority", BadPriority},
		"no server":                   {server("", ""), "criteria[0].server", BadServer},
		"a server that is a number":   {server("tel:+447700900123", ""), "criteria[0].server", BadServer},
		"a server that is no URI":     {server("sip:a b", ""), "criteria[0].server", BadServer},
		"a trigger point of nothing":  {[]cx.InitialFilterCriteria{{Server: cx.ApplicationServer{ServerName: "sip:a"}, Trigger: &cx.TriggerPoint{}}}, "criteria[0].trigger", BadTrigger},
		"no kind":                     {of(cx.SPT{Groups: []int{0}}), "criteria[1].trigger[0]", BadTrigger},
		"an unknown kind":             {of(cx.SPT{Groups: []int{0}, Kind: 9, Pattern: "x"}), "criteria[1].trigger[0]", BadTrigger},
		"an unknown session case":     {of(sessionCase(5)), "criteria[1].trigger[0]", BadTrigger},
		"no method":                   {of(method("")), "criteria[1].trigger[0]", BadTrigger},
		"no header":                   {of(header("", "x")), "criteria[1].trigger[0]", BadTrigger},
		"a registration by INVITE":    {of(initial), "criteria[1].trigger[0]", BadTrigger},
		"an unknown registration":     {of(badType), "criteria[1].trigger[0]", BadTrigger},
		"content of a method":         {of(stray), "criteria[1].trigger[0].content", BadTrigger},
		"a trigger without a group":   {of(in(method("INVITE"))), "criteria[1].trigger[0]", NoGroup},
		"the second trigger is wrong": {of(method("INVITE"), in(method("INVITE"))), "criteria[1].trigger[1]", NoGroup},
	} {
		f, err := Compile(profile(c.criteria...), nil)
		var problems Problems
		if f != nil || !errors.As(err, &problems) || len(problems) == 0 {
			t.Errorf("%s: filter %v, error %v", name, f, err)
			continue
		}
		p := problems[len(problems)-1]
		if p.Place != c.place || p.Reason != c.reason || p.What == "" || p.Do == "" {
			t.Errorf("%s: %+v", name, problems)
		}
		if len(Check(c.criteria)) != len(problems) || !strings.Contains(err.Error(), problems[0].String()) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRefusalsOfSharedSets(t *testing.T) {
	p := profile(criterion(1, true))
	p.SharedIFCSetIDs = []int{3, 4}
	_, err := Compile(p, SharedSets{3: {criterion(2, true), criterion(2, false)}})
	var problems Problems
	if !errors.As(err, &problems) || len(problems) != 2 {
		t.Fatal(err)
	}
	if u := problems[0]; u.Place != "shared_sets[1]" || u.Reason != UnknownSharedSet {
		t.Errorf("%+v", u)
	}
	if d := problems[1]; d.Place != "shared set 3: criteria[1].priority" || d.Reason != BadPriority || !strings.Contains(d.What, "criteria[0]") {
		t.Errorf("%+v", d)
	}
}

// TestEqualPriorities: services that know nothing of each other may have the same number; the profile's own come first, then set by set.
func TestEqualPriorities(t *testing.T) {
	p := profile(criterion(1, true))
	p.SharedIFCSetIDs = []int{9, 4}
	f, err := Compile(p, SharedSets{9: {criterion(1, true)}, 4: {criterion(1, true)}})
	if err != nil || f.Len() != 3 || f.At(0).SharedSet != -1 || f.At(1).SharedSet != 4 || f.At(2).SharedSet != 9 {
		t.Errorf("%v, %v", f, err)
	}
}

// TestAtTheLimits: what stands just within the limits is compiled.
func TestAtTheLimits(t *testing.T) {
	var criteria []cx.InitialFilterCriteria
	for i := range MaxCriteria {
		var spts []cx.SPT
		for j := range MaxTerms / MaxCriteria {
			spts = append(spts, header("Subject", fmt.Sprintf("^(%d|%d)", i, j)))
		}
		criteria = append(criteria, criterion(i, true, spts...))
	}
	criteria[0].Trigger.SPTs[0].Content = strings.Repeat("a", MaxPattern)
	f := compiled(t, criteria...)
	if len(f.conditions) != MaxTerms {
		t.Errorf("%d conditions", len(f.conditions))
	}
	if got := priorities(t, f.Evaluate(Request{Message: invite(t)})); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

func TestManyMistakesAreFew(t *testing.T) {
	var criteria []cx.InitialFilterCriteria
	for i := range MaxCriteria {
		criteria = append(criteria, criterion(i, true, requestURI("("), requestURI(")")))
	}
	if got := len(Check(criteria)); got > maxProblems+2 {
		t.Errorf("%d problems", got)
	}
	if Check([]cx.InitialFilterCriteria{criterion(1, true)}) != nil {
		t.Error("a sound criterion has problems")
	}
}

// TestFixedTexts: expressions that are fixed texts are recognised, and mean what the engine says.
func TestFixedTexts(t *testing.T) {
	texts := []string{"", "a", "ab", "abc", "xabc", "abcx", "xabcx", "a.c", "ABC", "x\nabc\ny"}
	for pattern, want := range map[string]how{
		"abc": containing, "^abc": beginning, "abc$": ending, "^abc$": equal, ".*abc": containing, ".*abc.*": containing, "^.*abc.*$": containing,
		"^abc.*": beginning, ".*abc$": ending, "(abc)": containing, "^(abc)$": equal, `a\.c`: containing, "": containing, "^$": equal, ".*": containing,
		"a.c": byProgram, "abc|x": byProgram, "(.*abc)+": byProgram, "ab*c": byProgram, "[aA]bc": byProgram,
	} {
		x, err := parseExpression(pattern, false, false)
		if err != nil {
			t.Fatal(err)
		}
		if x.how != want {
			t.Errorf("%s: %d, want %d", pattern, x.how, want)
		}
		program := *x
		if x.program == nil {
			program.how, program.program = byProgram, mustCompile(pattern)
		}
		for _, text := range texts {
			if got, want := x.match([]byte(text)), program.match([]byte(text)); got != want {
				t.Errorf("%s in %q: %t, the engine says %t", pattern, text, got, want)
			}
		}
	}
}
