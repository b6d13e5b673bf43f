package scenario

import (
	"regexp"
	"strconv"
	"testing"

	"net/netip"

	"imsafe/test/lab"
)

// TestErrors holds the answers that handsets act on: they stop at 403, wait as long as Retry-After says, come back with what
// Min-Expires or Unsupported names, register anew after 504. Some read 305 as another P-CSCF and 406 as leave to do without
// IPsec: those are never sent; and a Retry-After beyond Timer F makes them leave this P-CSCF alone for good.
func TestErrors(t *testing.T) {
	cases := []struct{ name, script, want string }{
		{"register/unknown_user", "user alice unprovisioned\nalice > REGISTER", "401"},
		{"register/identity_of_another", "user alice\nuser bob\nalice > REGISTER\n To: <sip:bob@" + lab.Domain + ">", "401"},
		{"register/too_brief", "user alice\nalice > REGISTER\n Contact: <sip:alice@10.0.0.10>;expires=1", "423 Min-Expires: 60"},
		{"register/extension", "user alice\nalice > REGISTER\n Require: path, teleport", "420 Unsupported: teleport"},
		{"register/proxy_extension", "user alice\nalice > REGISTER\n Proxy-Require: sec-agree, teleport", "420 Unsupported: teleport"},
		{"register/wrong_key", "user alice\nalice > REGISTER\nalice < 401\nalice > REGISTER 401 wrong", "403"},
		{"register/contact_is_no_uri", "user alice\nalice > REGISTER\nalice < 401\nalice > REGISTER 401\n Contact: <>", "400"},
		{"register/star_and_not_zero", "user alice\nalice > REGISTER\n Contact: *\n Expires: 60", "400"},
		{"register/without_credentials", "user alice\nalice > REGISTER\n Authorization:", "400"},
		{"register/before_the_end", "user alice\ndrain\nalice > REGISTER", "503 Retry-After: 5"},
		{"invite/not_registered", "user alice\nuser bob\nbob registers\nalice > INVITE bob", "403"},
		{"invite/callee_not_registered", "user alice\nuser bob\nalice registers\nalice > INVITE bob", "480"},
		{"invite/callee_unknown", "user alice\nalice registers\nalice > INVITE sip:nobody@" + lab.Domain, "404"},
		{"invite/callee_barred", "user alice\nuser bob barred also=sip:robert@" + lab.Domain + "\nalice registers\nbob registers\nalice > INVITE bob", "404"},
		{"invite/other_domain", "user alice\nalice registers\nalice > INVITE sip:bob@elsewhere.example", "404"},
		{"invite/scheme", "user alice\nalice registers\nalice > INVITE http://ims.example/", "416"},
		{"invite/hops_used_up", "user alice\nuser bob\nalice registers\nbob registers\nalice > INVITE bob\n Max-Forwards: 1", "483"},
		{"invite/proxy_extension", "user alice\nuser bob\nalice registers\nbob registers\nalice > INVITE bob\n Proxy-Require: teleport", "420 Unsupported: teleport"},
		{"invite/before_the_end", "user alice\nuser bob\nalice registers\nbob registers\ndrain\nalice > INVITE bob", "503 Retry-After: 5"},
		{"bye/of_no_call", "user alice\nuser bob\nalice registers\nalice > BYE bob\n To: <sip:bob@" + lab.Domain + ">;tag=none", "481"},
		{"subscribe/of_another", "user alice\nuser bob\nalice registers\nbob registers\nalice > SUBSCRIBE bob\n Event: reg", "403"},
		{"subscribe/extension", "user alice\nalice registers\nalice > SUBSCRIBE alice\n Event: reg\n Require: teleport", "420 Unsupported: teleport"},
	}
	status := regexp.MustCompile(`\ASIP/2.0 (\d+) `)
	named := regexp.MustCompile(`\r\n((?:Min-Expires|Unsupported|Retry-After): [^\r]*)\r\n`)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			last := ""
			tap := func(from, to netip.AddrPort, data []byte) {
				code := status.FindSubmatch(data)
				if code == nil || from.String() != "10.0.0.1:5060" {
					return
				}
				if last = string(code[1]); named.Match(data) {
					last += " " + string(named.FindSubmatch(data)[1])
				}
			}
			Play(t, c.script+"\nafter 0s", lab.Options{Seed: 1, Tap: tap})
			if last != c.want {
				t.Errorf("%s: answered %q, want %q", c.name, last, c.want)
			}
			if after := regexp.MustCompile(`Retry-After: (\d+)`).FindStringSubmatch(last); after != nil {
				if n, err := strconv.Atoi(after[1]); err != nil || n > 128 {
					t.Errorf("Retry-After %s is beyond Timer F on Gm", after[1])
				}
			}
		})
	}
}
