package main

import (
	"encoding/json"
	"strings"
	"testing"

	"imsafe/node"
)

// TestServiceTrace asks which services a request would go to: of a running node, and of its store.
func TestServiceTrace(t *testing.T) {
	d := newDesk(t)
	stop := d.start()
	d.do("profile", "put", d.write("profile", `{"name":"telephony","criteria":[
		{"priority":5,"server":"sip:tas.`+testDomain+`","otherwise":"terminate","trigger":{"form":"cnf","conditions":[
			{"groups":[0],"method":"INVITE"},{"groups":[1],"sdp_line":"m","content":"^audio"},{"groups":[2],"header":"X-Note","content":"a, b"}]}},
		{"priority":9,"server":"sip:sms.`+testDomain+`","trigger":{"form":"dnf","conditions":[{"groups":[3],"method":"MESSAGE"}]}}]}`))
	d.do("group", "put", d.write("group", `{"name":"default","profile":"telephony"}`))
	d.do("user", "add", "alice", "--random", "--card-out", d.path("card"))
	sdp := d.write("offer.sdp", "v=0\nm=audio 49120 RTP/AVP 0\n")
	ask := []string{"service", "trace", "sip:alice@" + testDomain, "originating", "--header", "X-Note: a, b", "--uri", "tel:+447700900123", "--sdp", sdp}
	told := d.do(ask...)
	for _, words := range []string{"service profile telephony", "INVITE tel:+447700900123", "MATCHES  priority 5", "-        priority 9", "the request is refused",
		`yes  group 1: there is a line m= in the session description with a value that matches "^audio"; it is "m=audio 49120 RTP/AVP 0"`,
		"no   group 3: the method is MESSAGE; it is INVITE", "Asked in this order"} {
		if !strings.Contains(told, words) {
			t.Errorf("does not say %q:\n%s", words, told)
		}
	}
	if short := d.do(append([]string{"service", "trace", "alice"}, ask[3:]...)...); short != told {
		t.Errorf("alice is not sip:alice@%s:\n%s", testDomain, short)
	}
	d.refused(exitUsage, []string{"case"}, "service", "trace", "alice", "sideways")
	d.refused(exitFailed, []string{"no such file"}, "service", "trace", "alice", "originating", "--sdp", d.path("none"))
	d.refused(exitFailed, []string{"not found"}, "service", "trace", "nobody@"+testDomain, "originating")
	d.refused(exitFailed, []string{"larger"}, "service", "trace", "alice", "originating", "--sdp", d.write("large.sdp", strings.Repeat("a=x\n", maxSDP/4)+"a"))
	stop()
	var trace node.ServiceTrace
	if err := json.Unmarshal([]byte(d.do(append(ask, "--json")...)), &trace); err != nil || len(trace.Criteria) != 2 || !trace.Criteria[0].Matches {
		t.Errorf("of the store: %+v, %v", trace, err)
	}
}
