package filter

import (
	"slices"
	"strings"
	"testing"

	"imsafe/refpoint/cx"
)

func TestExplain(t *testing.T) {
	m := request(t, "INVITE sip:bob@ims.example", "Authorization: Digest response=\"secret\"\r\nX-Long: "+strings.Repeat("x", 500)+
		"\r\nX-A: 1\r\nX-B: 2\r\nX-C: 3\r\nX-D: 4\r\nX-E: 5\r\n", "")
	m.SetBody("application/sdp", []byte(description+"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0\r\nk=clear:secret\r\n"))
	registered := criterion(8, true)
	registered.Part, registered.Server.DefaultHandling = cx.PartUnregistered, cx.SessionTerminated
	for _, c := range []struct {
		criterion cx.InitialFilterCriteria
		matches   bool
		says      []string
	}{
		{criterion(1, true), true, []string{"no trigger point", "as if the server did not exist"}},
		{registered, false, []string{"unregistered users only", "is registered", "refused"}},
		{criterion(2, true, method("INVITE")), true, []string{"the method is INVITE", "it is INVITE", "each of its groups"}},
		{criterion(2, true, method("MESSAGE", 4), method("INVITE", 5)), false, []string{"group 4", "CNF", "it is INVITE"}},
		{criterion(2, false, method("MESSAGE", 4), method("INVITE", 5)), true, []string{"all triggers of group 5 hold"}},
		{criterion(2, false, method("MESSAGE", 4), method("REFER", 5)), false, []string{"DNF"}},
		{criterion(2, true, not(method("INVITE"))), false, []string{"not: the method is INVITE"}},
		{criterion(2, true, sessionCase(cx.TerminatingUnregistered)), false, []string{"terminating for an unregistered user", "it is originating"}},
		{criterion(2, true, requestURI("bob")), false, []string{`"ims.example"`, "compared with the whole Request-URI"}},
		{criterion(2, true, requestURI("^sip:bob@")), true, []string{"the Request-URI matches", `"sip:bob@ims.example"`}},
		{criterion(2, true, header("Privacy", "id")), false, []string{"a header Privacy with a value that matches", "there is none"}},
		{criterion(2, true, header("From", "ali[c]e")), true, []string{"Alice", `"ali[c]e"`}},
		{criterion(2, true, header("Authorization", "secret")), true, []string{"not shown"}},
		{criterion(2, true, header("Auth.*", "x")), false, []string{"Authorization", "not shown"}},
		{criterion(2, true, header("X-Long")), true, []string{`xxx"...`}},
		{criterion(2, true, header("X-.")), true, []string{"X-A", "and 1 more"}},
		{criterion(2, true, line("m", "^image")), false, []string{"m= in the session description", `"m=audio 49120`, `"m=video`}},
		{criterion(2, true, line("z")), false, []string{"it has no such line"}},
		{criterion(2, true, line("a", "crypto")), true, []string{"a=crypto:"}},
		{criterion(2, true, line("[k]")), true, []string{`"k=clear:"`}},
	} {
		x := compiled(t, c.criterion).Explain(Request{Message: m})[0]
		text := x.Why + " " + x.Otherwise
		for _, g := range x.Groups {
			for _, s := range g.Triggers {
				text += " " + s.Asks + " " + s.Found
			}
		}
		if x.Matches != c.matches {
			t.Errorf("matches is %t: %s", x.Matches, text)
		}
		for _, word := range c.says {
			if !strings.Contains(text, word) {
				t.Errorf("does not say %q: %s", word, text)
			}
		}
		if strings.Contains(text, "c2Vjc") || strings.Contains(strings.ReplaceAll(text, `"secret"`, ""), "secret") {
			t.Errorf("tells a secret: %s", text)
		}
	}
}

// TestExplainNoBody: without a session description that is said.
func TestExplainNoBody(t *testing.T) {
	x := compiled(t, criterion(1, true, line("m"))).Explain(Request{Message: request(t, "INVITE sip:b@h", "", "")})
	if found := x[0].Groups[0].Triggers[0].Found; found != "there is no session description" {
		t.Error(found)
	}
}

// FuzzCompile: no criteria make the compiler crash, and what it makes evaluates and is explained alike.
func FuzzCompile(f *testing.F) {
	f.Add("INVITE", "a+", "m", "^audio", byte(1), byte(0), 3)
	f.Add("sip:.*@h", `\.`, "[am]", "(x|y){2}", byte(0x42), byte(9), 0)
	f.Add("(", "[", "Content-Length", "*", byte(0xff), byte(0xff), -1)
	m := invite(f)
	f.Fuzz(func(t *testing.T, a, b, c, d string, kinds, bits byte, priority int) {
		first := cx.SPT{Kind: cx.SPTKind(kinds & 7), Pattern: a, Content: b, HasContent: bits&1 != 0, Negated: bits&2 != 0, Groups: []int{int(bits >> 6)},
			Case: cx.SessionCase(bits >> 4 & 7)}
		second := cx.SPT{Kind: cx.SPTKind(kinds >> 3 & 7), Pattern: c, Content: d, HasContent: bits&4 != 0, Negated: bits&8 != 0, Groups: []int{0, 1},
			Registrations: cx.RegistrationTypes(kinds >> 6)}
		p := profile(criterion(priority, bits&16 != 0, first, second), criterion(7, bits&32 != 0, second))
		filter, err := Compile(p, nil)
		if err != nil {
			if filter != nil || len(err.Error()) > 16<<10 {
				t.Fatalf("%v, %d octets of error", filter, len(err.Error()))
			}
			return
		}
		agree(t, filter, Request{Message: m, Case: first.Case})
	})
}

// FuzzEvaluate: no request makes the evaluation crash, and what it says is what is explained.
func FuzzEvaluate(f *testing.F) {
	criteria := []cx.InitialFilterCriteria{
		criterion(1, true, method("INVITE", 0), header("Accept-Contact", "mmtel|chat"), line("m", "^(video|audio) [0-9]+")),
		criterion(2, false, in(requestURI(`^(sip|ims)`), 1), in(not(header("X-.*", "[a-m]$")), 1, 2), in(line("[am]", "a"), 2)),
		criterion(3, true, not(requestURI("bob@"))), criterion(4, false, not(line("m", "video"))), criterion(5, true),
	}
	filter := compiled(f, criteria...)
	f.Add("INVITE", "sip:bob@ims.example", "Accept-Contact: *;x=mmtel", "application/sdp", description, byte(0))
	f.Add("REGISTER", "tel:+1", "X-a: b\r\nX-c: d", "multipart/mixed;boundary=b", "--b\r\nContent-Type: application/sdp\r\n\r\nm=video\r\n--b--", byte(3))
	f.Add("A", "urn:x:y", "", "multipart/mixed; boundary=\"--\"", "----\n\n------", byte(9))
	f.Fuzz(func(t *testing.T, method, uri, headers, contentType, body string, bits byte) {
		m, err := pool.Parse([]byte(method + " " + uri + " SIP/2.0\r\n" + headers + "\r\n\r\n"))
		if err != nil || !m.IsRequest() {
			return
		}
		m.SetBody(strings.Map(func(r rune) rune {
			if r < ' ' {
				return -1
			}
			return r
		}, contentType), []byte(body))
		agree(t, filter, Request{Message: m, Case: cx.SessionCase(bits & 7), Unregistered: bits&8 != 0, Registration: cx.RegistrationTypes(bits >> 5)})
	})
}

// agree compares evaluation, resumption after each match, and explanation.
func agree(t *testing.T, f *Filter, r Request) {
	t.Helper()
	e := f.Evaluate(r)
	var whole, resumed, explained []int
	for c := e.Next(); c != nil; c = e.Next() {
		whole = append(whole, c.Priority)
	}
	if e.Err() != nil {
		return
	}
	cursor := Cursor{Version: f.Version()}
	for {
		e := f.Resume(r, cursor)
		c := e.Next()
		if c == nil {
			break
		}
		resumed = append(resumed, c.Priority)
		cursor = e.Cursor()
	}
	for _, x := range f.Explain(r) {
		if x.Matches {
			explained = append(explained, x.Priority)
		}
	}
	if !slices.Equal(whole, resumed) || !slices.Equal(whole, explained) {
		t.Fatalf("evaluated %v, resumed %v, explained %v", whole, resumed, explained)
	}
}
