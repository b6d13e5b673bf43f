package node_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"imsafe/node"
)

// TestTraceService explains the criteria of a subscriber's profile against requests that nobody sends.
func TestTraceService(t *testing.T) {
	o := open(t)
	o.do("user.add", user("alice"))
	trace := func(input string) (out node.ServiceTrace) {
		t.Helper()
		if err := json.Unmarshal(o.do("service.trace", input), &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got := trace(`{"identity":"sip:alice@` + home + `","case":"originating"}`); got.Profile != "" || got.Criteria == nil || len(got.Criteria) != 0 {
		t.Errorf("without a profile: %+v", got)
	}
	o.do("profile.put", `{"name":"all","criteria":[
		{"priority":30,"server":"sip:log.example"},
		{"priority":10,"server":"sip:mail.example","part":"unregistered","trigger":{"form":"cnf","conditions":[{"groups":[0],"method":"INVITE"}]}},
		{"priority":20,"server":"sip:video.example","trigger":{"form":"cnf","conditions":[
			{"groups":[0],"method":"INVITE"},{"groups":[1],"sdp_line":"m","content":"^video"},{"groups":[2],"not":true,"header":"Privacy"}]}},
		{"priority":40,"server":"sip:reg.example","trigger":{"form":"dnf","conditions":[{"groups":[0],"method":"REGISTER","registrations":["end"]}]}}]}`)
	o.do("group.put", `{"name":"default","profile":"all"}`)
	for name, c := range map[string]struct{ input, request, servers string }{
		"a call":               {`"case":"terminating"`, "INVITE sip:alice@" + home, "log"},
		"a call while away":    {`"case":"terminating-unregistered"`, "INVITE sip:alice@" + home, "mail log"},
		"with video":           {`"case":"originating","sdp":"v=0\nm=video 9 RTP/AVP 31\n","uri":"tel:+447700900123"`, "INVITE tel:+447700900123", "video log"},
		"with video, withheld": {`"case":"originating","sdp":"v=0\nm=video 9 RTP/AVP 31\n","headers":["Privacy: id"]`, "INVITE sip:somebody@" + home, "log"},
		"a message":            {`"case":"originating","method":"MESSAGE","uri":"sip:bob@` + home + `"`, "MESSAGE sip:bob@" + home, "log"},
		"a registration":       {`"case":"originating","method":"REGISTER"`, "REGISTER sip:" + home, "log"},
		"its end":              {`"case":"originating","method":"REGISTER","registration":"end"`, "REGISTER sip:" + home, "log reg"},
		"a diversion":          {`"case":"originating-cdiv","unregistered":true`, "INVITE sip:somebody@" + home, "mail log"},
	} {
		got := trace(`{"identity":"alice@` + home + `",` + c.input + `}`)
		var servers []string
		for _, x := range got.Criteria {
			if x.Matches {
				servers = append(servers, strings.TrimSuffix(strings.TrimPrefix(x.Server, "sip:"), ".example"))
			}
			if x.Why == "" {
				t.Errorf("%s: no reason for %s", name, x.Server)
			}
		}
		if got.Identity != "sip:alice@"+home || got.Profile != "all" || got.Request != c.request || strings.Join(servers, " ") != c.servers || len(got.Criteria) != 4 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for input, says := range map[string]string{
		`"case":"both"`: "session case",
		`"case":"originating","registration":"end"`:                               "needs the method REGISTER",
		`"case":"originating","method":"REGISTER","registration":"never"`:         "registration type",
		`"case":"originating","unregistered":true`:                                "originating-cdiv",
		`"case":"originating","headers":["Privacy"]`:                              "no header field",
		`"case":"originating","headers":["Privacy: id\r\nEvil: 1"]`:               "no header field",
		`"case":"originating","uri":"sip:a b"`:                                    "malformed",
		`"case":"originating","headers":["CSeq: 1 BYE"]`:                          "refused with 400",
		`"case":"originating","headers":["X: ` + strings.Repeat("x", 9000) + `"]`: "cannot be read",
	} {
		if e := o.refused("service.request", "service.trace", `{"identity":"alice@`+home+`",`+input+`}`); !strings.Contains(e.Message, says) || e.Hint == "" {
			t.Errorf("%s: %v", input[:min(len(input), 80)], e)
		}
	}
	o.refused("not-found", "service.trace", `{"identity":"nobody","case":"originating"}`)
	o.do("profile.put", `{"name":"all","shared_sets":[7],"criteria":[{"priority":1,"server":"sip:a.example"}]}`)
	if got := trace(`{"identity":"alice@` + home + `","case":"originating"}`); !slices.Equal(got.UnknownSets, []int{7}) || len(got.Criteria) != 1 {
		t.Errorf("a shared set that nobody here has: %+v", got)
	}
}
