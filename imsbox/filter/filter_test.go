package filter

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
)

// TestTriggers holds every kind of service point trigger against one INVITE (TS 29.228 B.2.3, Annex F).
func TestTriggers(t *testing.T) {
	m := invite(t)
	for name, c := range map[string]struct {
		spt  cx.SPT
		want bool
	}{
		"the method":                                {method("INVITE"), true},
		"another method":                            {method("MESSAGE"), false},
		"a method without a number":                 {method("SPLICE"), false},
		"any kind of REGISTER, of an INVITE":        {method("REGISTER"), false},
		"the session case":                          {sessionCase(cx.OriginatingRegistered), true},
		"another session case":                      {sessionCase(cx.TerminatingRegistered), false},
		"the host of the Request-URI":               {requestURI(`^ims\.example$`), true},
		"a part of the host":                        {requestURI(`ims`), true},
		"the user is not in the host":               {requestURI(`bob`), false},
		"a parameter is not in the host":            {requestURI(`phone`), false},
		"an expression with a scheme":               {requestURI(`^sip:bob@`), true},
		"an expression with a scheme, not anchored": {requestURI(`sips?:b.b@ims`), true},
		"an expression with an @":                   {requestURI(`o[abc]@ims\.example`), true},
		"another scheme":                            {requestURI(`^tel:`), false},
		"a header that is there":                    {header("P-Asserted-Service"), true},
		"a header in other letters":                 {header("p-asserted-SERVICE"), true},
		"a header by its compact form":              {header("f", "alice"), true},
		"a header that is not there":                {header("Privacy"), false},
		"content of a header":                       {header("P-Asserted-Service", `mmtel$`), true},
		"content that begins":                       {header("P-Asserted-Service", `^urn:urn-7:`), true},
		"content that fills it":                     {header("X-House", `^blue$`), true},
		"content that nearly fills it":              {header("X-House", `^blu$`), false},
		"content anywhere":                          {header("P-Asserted-Service", `.*3gpp-service.*`), true},
		"content with alternatives":                 {header("Accept-Contact", `icsi\.(chat|mmtel)`), true},
		"other content":                             {header("P-Asserted-Service", `chat`), false},
		"content in other letters":                  {header("P-Asserted-Service", `MMTEL`), false},
		"an empty content":                          {header("P-Asserted-Service", ""), true},
		"an empty content of no header":             {header("Privacy", ""), false},
		"content of the second value":               {header("P-Asserted-Identity", `^<tel:\+44`), true},
		"content of an option tag":                  {header("Supported", `^timer$`), true},
		"a header without an id":                    {header("x-house"), true},
		"its second field":                          {header("X-House", `^Red`), true},
		"a name is no part of another":              {header("House"), false},
		"a name as an expression":                   {header("X-H.*", "door"), true},
		"a name as an expression, other letters":    {header("x-(house|garden)"), true},
		"a name as an expression is a whole name":   {header("X-H[aeiou]u"), false},
		"a line of the session description":         {line("m"), true},
		"a line that is not there":                  {line("k"), false},
		"content of a line":                         {line("m", "^video "), true},
		"content of no line":                        {line("m", "^message "), false},
		"a value has no line end":                   {line("a", "^sendrecv$"), true},
		"content of another line":                   {line("a", "^video"), false},
		"letters as an expression":                  {line("[bt]", "^AS:4"), true},
		"a letter with its =":                       {line("m="), false},
		"POSIX classes":                             {line("m", "[[:digit:]]{5} RTP/AVP"), true},
	} {
		for negated := range 2 {
			spt, want := c.spt, c.want
			if negated == 1 {
				spt, want = not(spt), !want
			}
			for _, cnf := range []bool{true, false} {
				f := compiled(t, criterion(7, cnf, spt))
				if got := len(priorities(t, f.Evaluate(Request{Message: m}))) == 1; got != want {
					t.Errorf("%s, negated %d, CNF %t: %t", name, negated, cnf, got)
				}
			}
		}
	}
}

func TestRequestURI(t *testing.T) {
	for uri, c := range map[string]struct{ subject, hit, miss string }{
		"sip:ims.example":                     {"ims.example", `^ims`, `sip`},
		"sips:bob@ims.example:5061":           {"ims.example:5061", `:5061$`, `bob`},
		"sip:+447700900123@[2001:db8::1];a=b": {"[2001:db8::1]", `db8`, `4477`},
		"sip:b;x=1@h.example;lr?Subject=z":    {"h.example", `^h\.example$`, `x=1`},
		"tel:+447700900123":                   {"+447700900123", `^\+44`, `tel`},
		"tel:1234;phone-context=ims.example":  {"1234;phone-context=ims.example", `^1234;`, `sip`},
		"urn:service:sos":                     {"urn:service:sos", `^urn:service:sos`, `h`},
		"http://www.ims.example/":             {"http://www.ims.example/", `^http`, `sip`},
	} {
		if got := string(uriSubject([]byte(uri))); got != c.subject {
			t.Errorf("%s: %q", uri, got)
		}
		m := request(t, "INVITE "+uri, "", "")
		f := compiled(t, criterion(1, true, requestURI(c.hit)), criterion(2, true, requestURI(c.miss)))
		if got := priorities(t, f.Evaluate(Request{Message: m})); !slices.Equal(got, []int{1}) {
			t.Errorf("%s: %v", uri, got)
		}
	}
}

func TestSessionCaseAndProfilePart(t *testing.T) {
	m := invite(t)
	var criteria []cx.InitialFilterCriteria
	for c := cx.OriginatingRegistered; c <= cx.OriginatingCDIV; c++ {
		criteria = append(criteria, criterion(int(c), true, sessionCase(c)))
	}
	registered, unregistered := criterion(10, true), criterion(11, true)
	registered.Part, unregistered.Part = cx.PartRegistered, cx.PartUnregistered
	f := compiled(t, append(criteria, registered, unregistered, criterion(12, true))...)
	for _, c := range []struct {
		request Request
		part    int
	}{
		{Request{Case: cx.OriginatingRegistered}, 10}, {Request{Case: cx.TerminatingRegistered}, 10},
		{Request{Case: cx.TerminatingUnregistered}, 11}, {Request{Case: cx.OriginatingUnregistered}, 11},
		{Request{Case: cx.OriginatingCDIV}, 10}, {Request{Case: cx.OriginatingCDIV, Unregistered: true}, 11},
	} {
		c.request.Message = m
		if got, want := priorities(t, f.Evaluate(c.request)), []int{int(c.request.Case), c.part, 12}; !slices.Equal(got, want) {
			t.Errorf("%+v: %v, want %v", c.request, got, want)
		}
	}
}

func TestRegistrationTypes(t *testing.T) {
	m := request(t, "REGISTER sip:ims.example", "Expires: 0\r\n", "")
	of := func(priority int, types cx.RegistrationTypes) cx.InitialFilterCriteria {
		s := method("REGISTER")
		s.Registrations = types
		return criterion(priority, true, s)
	}
	f := compiled(t, of(0, 0), of(1, cx.InitialRegistration), of(2, cx.ReRegistration), of(4, cx.Deregistration),
		of(5, cx.InitialRegistration|cx.Deregistration), criterion(9, true, method("INVITE")))
	for kind, want := range map[cx.RegistrationTypes][]int{
		cx.InitialRegistration: {0, 1, 5}, cx.ReRegistration: {0, 2}, cx.Deregistration: {0, 4, 5},
	} {
		if got := priorities(t, f.Evaluate(Request{Message: m, Registration: kind})); !slices.Equal(got, want) {
			t.Errorf("%b: %v, want %v", kind, got, want)
		}
	}
}

// annexC is the example of TS 29.228 Annex C (as recalled): INVITE, or MESSAGE, or a SUBSCRIBE that is not from joe.
const annexC = `<IMSSubscription><PrivateID>IMPI1@homedomain.com</PrivateID><ServiceProfile><PublicIdentity><Identity>sip:IMPU1@homedomain.com</Identity>` +
	`</PublicIdentity><InitialFilterCriteria><Priority>0</Priority><TriggerPoint><ConditionTypeCNF>%s</ConditionTypeCNF>%s</TriggerPoint>` +
	`<ApplicationServer><ServerName>sip:AS1@homedomain.com</ServerName><DefaultHandling index="0">0</DefaultHandling></ApplicationServer>` +
	`</InitialFilterCriteria></ServiceProfile></IMSSubscription>`

func TestExampleOfAnnexC(t *testing.T) {
	spt := func(negated, groups, condition string) string {
		text := "<SPT><ConditionNegated>" + negated + "</ConditionNegated>"
		for _, g := range strings.Fields(groups) {
			text += "<Group>" + g + "</Group>"
		}
		return text + condition + "</SPT>"
	}
	const isInvite, isMessage, isSubscribe = `<Method>INVITE</Method>`, `<Method>MESSAGE</Method>`, `<Method>SUBSCRIBE</Method>`
	const fromJoe = `<SIPHeader><Header>From</Header><Content>joe</Content></SIPHeader>`
	for form, text := range map[string]string{
		"DNF": fmt.Sprintf(annexC, "0", spt("0", "0", isInvite)+spt("0", "1", isMessage)+spt("0", "2", isSubscribe)+spt("1", "2", fromJoe)),
		"CNF": fmt.Sprintf(annexC, "1", spt("0", "0", isInvite)+spt("0", "0", isMessage)+spt("0", "0", isSubscribe)+
			spt("0", "1", isInvite)+spt("0", "1", isMessage)+spt("1", "1", fromJoe)),
		"CNF, a trigger in two groups": fmt.Sprintf(annexC, "1", spt("0", "0 1", isInvite)+spt("0", "0 1", isMessage)+spt("0", "0", isSubscribe)+
			spt("1", "1", fromJoe)),
	} {
		p, err := cx.DecodeProfile([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		f, err := Compile(&p.ServiceProfiles[0], nil)
		if err != nil {
			t.Fatal(err)
		}
		for start, want := range map[string]map[string]bool{
			"INVITE sip:b@h": {"joe": true, "ann": true}, "MESSAGE sip:b@h": {"joe": true, "ann": true},
			"SUBSCRIBE sip:b@h": {"joe": false, "ann": true}, "PUBLISH sip:b@h": {"joe": false, "ann": false},
		} {
			for from, want := range want {
				m := request(t, start, "", "")
				m.SetString(sip.HdrFrom, "<sip:"+from+"@homedomain.com>;tag=1")
				if got := len(priorities(t, f.Evaluate(Request{Message: m}))) == 1; got != want {
					t.Errorf("%s: %s from %s: %t", form, start, from, got)
				}
			}
		}
	}
}

func TestPriorityAndServer(t *testing.T) {
	last := criterion(200, true, method("INVITE"))
	last.Server = cx.ApplicationServer{ServerName: "sips:tas@as.ims.example:5061;lr", DefaultHandling: cx.SessionTerminated, ServiceInfo: "gold",
		IncludeRegisterRequest: true, IncludeRegisterResponse: true}
	f := compiled(t, last, criterion(3, true), criterion(100, false, method("MESSAGE")), criterion(0, false, method("INVITE"), method("MESSAGE", 1)))
	m := invite(t)
	if got := priorities(t, f.Evaluate(Request{Message: m})); !slices.Equal(got, []int{0, 3, 200}) {
		t.Errorf("%v", got)
	}
	if got := f.At(3); !reflect.DeepEqual(got.Server, last.Server) || got.SharedSet != -1 {
		t.Errorf("%+v", got)
	}
}

func TestSharedSets(t *testing.T) {
	shared := SharedSets{5: {criterion(2, true), criterion(8, true, method("MESSAGE"))}, 9: {criterion(4, true, method("INVITE"))}}
	p := profile(criterion(3, true))
	p.SharedIFCSetIDs = []int{9, 5, 9}
	f, err := Compile(p, shared)
	if err != nil {
		t.Fatal(err)
	}
	if got := priorities(t, f.Evaluate(Request{Message: invite(t)})); !slices.Equal(got, []int{2, 3, 4}) {
		t.Errorf("%v", got)
	}
	if f.At(0).SharedSet != 5 || f.At(1).SharedSet != -1 || f.At(2).SharedSet != 9 {
		t.Error("a criterion forgot the set that it stands in")
	}
}

func TestNoCriteria(t *testing.T) {
	f, err := Compile(profile(), nil)
	if f != nil || err != nil {
		t.Fatal(f, err)
	}
	e := f.Evaluate(Request{Message: invite(t)})
	if e.Next() != nil || e.Err() != nil || e.Cursor() != (Cursor{}) {
		t.Error("nothing matches something")
	}
	if len(f.Explain(Request{})) != 0 {
		t.Error("nothing is explained")
	}
}

// TestWalk goes from server to server as a S-CSCF does, where each changes the request.
func TestWalk(t *testing.T) {
	f := compiled(t, criterion(1, true, method("INVITE")), criterion(2, true, not(header("X-Screened"))), criterion(3, true, header("X-Screened")),
		criterion(4, true, requestURI("ims")), criterion(5, true))
	m := invite(t)
	var seen []int
	cursor := Cursor{Version: f.Version()}
	for {
		e := f.Resume(Request{Message: m}, cursor)
		c := e.Next()
		if c == nil {
			break
		}
		seen = append(seen, c.Priority)
		var err error
		if cursor, err = ParseCursor(e.Cursor().Append(nil)); err != nil {
			t.Fatal(err)
		}
		switch c.Priority {
		case 1:
			m.SetName("X-Screened", []byte("yes"))
		case 3:
			m.SetRequestURI([]byte("sip:carol@elsewhere.example"))
		}
	}
	if !slices.Equal(seen, []int{1, 3, 5}) {
		t.Errorf("%v", seen)
	}
}

// TestProfileChangesInMidCall: a cursor counts in its own version only. What would be skipped or repeated is refused, unless the former
// version is still there.
func TestProfileChangesInMidCall(t *testing.T) {
	m := invite(t)
	library := NewLibrary(nil, 100)
	former, err := library.Compile(0, profile(criterion(10, true), criterion(20, true), criterion(30, true)))
	if err != nil {
		t.Fatal(err)
	}
	e := former.Evaluate(Request{Message: m})
	if c := e.Next(); c.Priority != 10 {
		t.Fatal(c)
	}
	cursor := e.Cursor()
	inserted := criterion(5, true)
	current, err := library.Compile(10, profile(inserted, criterion(10, true), criterion(20, true), criterion(30, true)))
	if err != nil {
		t.Fatal(err)
	}
	if current.Version() == former.Version() {
		t.Fatal("another profile has the same version")
	}
	stale := current.Resume(Request{Message: m}, cursor)
	if stale.Next() != nil || !errors.Is(stale.Err(), ErrVersion) {
		t.Error("a cursor of the former version was taken for one of the current: criterion 10 would run twice")
	}
	again, found := library.Find(20, cursor.Version)
	if !found {
		t.Fatal("the former version is gone")
	}
	if got := priorities(t, again.Resume(Request{Message: m}, cursor)); !slices.Equal(got, []int{20, 30}) {
		t.Errorf("%v", got)
	}
	// A restart makes the same version of the same criteria, in whatever order the HSS sends them.
	restarted := compiled(t, criterion(30, true), criterion(10, true), criterion(20, true))
	if got := priorities(t, restarted.Resume(Request{Message: m}, cursor)); !slices.Equal(got, []int{20, 30}) {
		t.Errorf("after a restart: %v", got)
	}
	beyond := former.Resume(Request{Message: m}, Cursor{Version: former.Version(), Next: 4})
	if beyond.Next() != nil || !errors.Is(beyond.Err(), ErrVersion) {
		t.Error("a cursor beyond the end was taken")
	}
	var none *Filter
	gone := none.Resume(Request{Message: m}, cursor)
	if gone.Next() != nil || !errors.Is(gone.Err(), ErrVersion) {
		t.Error("without criteria the cursor of a former version was taken: what is left of it would be skipped")
	}
}

func TestParseCursor(t *testing.T) {
	for _, n := range []int{0, CursorSize - 1, CursorSize + 1} {
		if _, err := ParseCursor(make([]byte, n)); !errors.Is(err, ErrCursor) {
			t.Errorf("%d octets: %v", n, err)
		}
	}
}

// TestVersion: whatever changes what is evaluated, or what follows, changes the version.
func TestVersion(t *testing.T) {
	sound := func() cx.InitialFilterCriteria {
		return criterion(1, true, in(header("Event", "a"), 1), in(method("REGISTER"), 1, 2))
	}
	versions := map[Version]string{}
	for name, change := range map[string]func(*cx.InitialFilterCriteria){
		"none":                 func(*cx.InitialFilterCriteria) {},
		"priority":             func(c *cx.InitialFilterCriteria) { c.Priority = 2 },
		"part":                 func(c *cx.InitialFilterCriteria) { c.Part = cx.PartUnregistered },
		"server":               func(c *cx.InitialFilterCriteria) { c.Server.ServerName = "sip:x.example" },
		"default handling":     func(c *cx.InitialFilterCriteria) { c.Server.DefaultHandling = cx.SessionTerminated },
		"service information":  func(c *cx.InitialFilterCriteria) { c.Server.ServiceInfo = "x" },
		"the request included": func(c *cx.InitialFilterCriteria) { c.Server.IncludeRegisterRequest = true },
		"the answer included":  func(c *cx.InitialFilterCriteria) { c.Server.IncludeRegisterResponse = true },
		"no trigger":           func(c *cx.InitialFilterCriteria) { c.Trigger = nil },
		"the normal form":      func(c *cx.InitialFilterCriteria) { c.Trigger.CNF = false },
		"a negation":           func(c *cx.InitialFilterCriteria) { c.Trigger.SPTs[0].Negated = true },
		"a group":              func(c *cx.InitialFilterCriteria) { c.Trigger.SPTs[0].Groups = []int{2} },
		"one more group":       func(c *cx.InitialFilterCriteria) { c.Trigger.SPTs[0].Groups = []int{1, 2} },
		"the header":           func(c *cx.InitialFilterCriteria) { c.Trigger.SPTs[0].Pattern = "Even" },
		"the content":          func(c *cx.InitialFilterCriteria) { c.Trigger.SPTs[0].Content = "b" },
		"no content":           func(c *cx.InitialFilterCriteria) { c.Trigger.SPTs[0].Content, c.Trigger.SPTs[0].HasContent = "", false },
		"the registration":     func(c *cx.InitialFilterCriteria) { c.Trigger.SPTs[1].Registrations = cx.Deregistration },
		"one more criterion":   nil,
	} {
		c := sound()
		list := []cx.InitialFilterCriteria{c}
		if change == nil {
			list = append(list, criterion(9, true))
		} else {
			change(&list[0])
		}
		v := compiled(t, list...).Version()
		if other, found := versions[v]; found {
			t.Errorf("%s: the version of %s", name, other)
		}
		versions[v] = name
	}
}

func TestLibrary(t *testing.T) {
	shared := SharedSets{1: {criterion(1, true)}}
	l := NewLibrary(shared, 100)
	p := profile(criterion(10, true))
	p.SharedIFCSetIDs = []int{1}
	first, err := l.Compile(0, p)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := l.Compile(50, p); err != nil || again != first || l.Len() != 1 {
		t.Error("the same criteria were compiled twice", err)
	}
	if none, err := l.Compile(50, profile()); none != nil || err != nil || l.Len() != 1 {
		t.Error("nothing was kept", err)
	}
	if _, err := l.Compile(50, profile(criterion(-1, true))); err == nil || l.Len() != 1 {
		t.Error("what is malformed was kept", err)
	}
	l.SetShared(SharedSets{1: {criterion(2, true)}})
	second, err := l.Compile(150, p) // the first was seen at 50
	if err != nil || second.Version() == first.Version() || l.Len() != 2 {
		t.Error("a shared set has changed, and the filter has not", err)
	}
	if _, found := l.Find(150, first.Version()); !found {
		t.Error("the former filter went too early")
	}
	if _, err := l.Compile(260, profile(criterion(3, true))); err != nil {
		t.Fatal(err)
	}
	if _, found := l.Find(260, first.Version()); found || l.Len() != 1 {
		t.Error("a filter that nobody has asked for is still there")
	}
	if f, found := l.Find(260, Version{}); f != nil || !found {
		t.Error("to have no criteria is a version too")
	}
}

func TestLibraryIsBounded(t *testing.T) {
	l := NewLibrary(nil, 100)
	l.most = 3
	for i := range 5 {
		if _, err := l.Compile(time.Duration(i), profile(criterion(i, true))); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		if _, found := l.Find(5, compiled(t, criterion(i, true)).Version()); found != (i >= 2) {
			t.Errorf("filter %d: %t", i, found)
		}
	}
}

// TestMethods: methods without a number of their own are told apart too.
func TestMethods(t *testing.T) {
	f := compiled(t, criterion(1, true, method("SPLICE")), criterion(2, true, method("Splice")), criterion(3, true, method("INVITE")))
	if got := priorities(t, f.Evaluate(Request{Message: request(t, "SPLICE sip:b@h.example", "", "")})); !slices.Equal(got, []int{1}) {
		t.Errorf("%v", got)
	}
}

// TestMultipart: a session description among other parts is found (RFC 5621 3).
func TestMultipart(t *testing.T) {
	const sdpPart = "Content-Type: application/SDP; charset=utf-8\r\n\r\n" + description
	const pidfPart = "Content-Type: application/pidf+xml\r\nContent-ID: <1@a>\r\n\r\nm=video\r\n"
	mixed := func(parts ...string) string {
		body := "preamble m=x\r\n"
		for _, p := range parts {
			body += "--b1\r\n" + p + "\r\n"
		}
		return body + "--b1--\r\nepilogue\r\n"
	}
	const ofMixed = `multipart/mixed; boundary="b1"`
	for name, c := range map[string]struct {
		contentType, body string
		want              bool
	}{
		"alone":                        {"application/sdp", description, true},
		"with a parameter":             {"Application/sdp ;x=y", description, true},
		"with bare line feeds":         {"application/sdp", strings.ReplaceAll(description, "\r\n", "\n"), true},
		"without the last line end":    {"application/sdp", strings.TrimRight(description, "\r\n"), true},
		"of another type":              {"text/plain", description, false},
		"the first of two":             {ofMixed, mixed(sdpPart, pidfPart), true},
		"the second of two":            {ofMixed, mixed(pidfPart, sdpPart), true},
		"the second of two, a token":   {"multipart/mixed;boundary=b1", mixed(pidfPart, sdpPart), true},
		"none of two":                  {ofMixed, mixed(pidfPart, pidfPart), false},
		"without a closing delimiter":  {ofMixed, "--b1\r\n" + sdpPart, true},
		"behind the closing delimiter": {ofMixed, mixed(pidfPart) + "--b1\r\n" + sdpPart, false},
		"another boundary":             {`multipart/mixed; boundary=b2`, mixed(sdpPart), false},
		"a longer boundary":            {`multipart/mixed; boundary=b`, mixed(sdpPart), false},
		"no boundary":                  {"multipart/mixed", mixed(sdpPart), false},
		"a multipart in a multipart": {`multipart/mixed; boundary=b2`,
			"--b2\r\nContent-Type: multipart/alternative; boundary=b1\r\n\r\n" + mixed(pidfPart, sdpPart) + "\r\n--b2--", true},
		"a boundary in the middle of a line": {ofMixed, "--b1\r\n" + pidfPart + " --b1\r\n" + sdpPart + "\r\n--b1--", false},
		"a line without its =":               {"application/sdp", "v=0\r\nm video 1 RTP/AVP 2\r\nm\r\n\r\nmvideo \r\n", false},
		"no body":                            {"application/sdp", "", false},
	} {
		m := request(t, "INVITE sip:b@h.example", "", "")
		m.SetBody(c.contentType, []byte(c.body))
		f := compiled(t, criterion(1, true, line("m", "^video ")))
		if got := len(priorities(t, f.Evaluate(Request{Message: m}))) == 1; got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestDeepMultipart: multiparts are opened so many deep, and no deeper.
func TestDeepMultipart(t *testing.T) {
	f := compiled(t, criterion(1, true, line("m", "^video ")))
	contentType, body := "application/sdp", description
	for depth := range maxMultipart + 2 {
		m := request(t, "INVITE sip:b@h.example", "", "")
		m.SetBody(contentType, []byte(body))
		if got := len(priorities(t, f.Evaluate(Request{Message: m}))) == 1; got != (depth <= maxMultipart) {
			t.Errorf("%d deep: %t", depth, got)
		}
		body = fmt.Sprintf("--d%d\r\nContent-Type: %s\r\n\r\n%s\r\n--d%d--\r\n", depth, contentType, body, depth)
		contentType = fmt.Sprintf("multipart/mixed;boundary=d%d", depth)
	}
}

// TestTooMuchWork: a request that would take too long is refused, and matches nothing: not even what is negated.
func TestTooMuchWork(t *testing.T) {
	wide := strings.Repeat("[ab]{0,90}", 5) + "c"
	f := compiled(t, criterion(1, true, not(line("a", wide))), criterion(2, true))
	m := request(t, "INVITE sip:b@h.example", "", "")
	m.SetBody("application/sdp", []byte(strings.Repeat("a="+strings.Repeat("ab", 500)+"\r\n", 60)))
	e := f.Evaluate(Request{Message: m})
	if c := e.Next(); c != nil || !errors.Is(e.Err(), ErrTooMuchWork) {
		t.Errorf("%v, %v", c, e.Err())
	}
	if c := e.Next(); c != nil {
		t.Error("it goes on after an error")
	}
	var shallow []cx.InitialFilterCriteria
	for i := range MaxCriteria {
		shallow = append(shallow, criterion(i, false, in(line("a", fmt.Sprintf("^x%d", i)), 0), in(line(string(rune('A'+i%26)), fmt.Sprintf("^y%d", i)), 1),
			in(header("x-"+fmt.Sprint(i)), 2)))
	}
	many := compiled(t, shallow...)
	m.SetBody("application/sdp", []byte(strings.Repeat("a=\n", 20000)))
	if e := many.Evaluate(Request{Message: m}); e.Next() != nil || !errors.Is(e.Err(), ErrTooMuchWork) {
		t.Errorf("many short lines, many conditions: %v", e.Err())
	}
	m.SetBody("application/sdp", []byte(strings.Repeat("a="+strings.Repeat("ab", 500)+"\r\n", 60)))
	x := f.Explain(Request{Message: m})
	if x[0].Matches || !strings.Contains(x[0].Why, "too long") || !x[1].Matches {
		t.Errorf("%+v", x)
	}
}
