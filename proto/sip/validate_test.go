package sip

import (
	"strings"
	"testing"
)

const good = "INVITE sip:bob@example.org SIP/2.0\r\n" +
	"Via: SIP/2.0/UDP a.example.org;branch=z9hG4bKa\r\n" +
	"Max-Forwards: 70\r\n" +
	"From: <sip:alice@example.org>;tag=1\r\n" +
	"To: <sip:bob@example.org>\r\n" +
	"Call-ID: c1\r\n" +
	"CSeq: 7 INVITE\r\n" +
	"Contact: <sip:alice@a.example.org>\r\n" +
	"Route: <sip:p.example.org;lr>\r\n" +
	"Content-Type: text/plain\r\n" +
	"Content-Length: 2\r\n" +
	"\r\nab"

// TestValidate changes one thing in a good request and looks at the answer.
func TestValidate(t *testing.T) {
	tests := []struct {
		name, old, new string
		want           verdict
	}{
		{"good", "", "", passes},
		{"no Via: nobody to answer", "Via: SIP/2.0/UDP a.example.org;branch=z9hG4bKa\r\n", "", silent},
		{"no From", "From: <sip:alice@example.org>;tag=1\r\n", "", answers(400)},
		{"no To", "To: <sip:bob@example.org>\r\n", "", answers(400)},
		{"no Call-ID", "Call-ID: c1\r\n", "", answers(400)},
		{"no CSeq", "CSeq: 7 INVITE\r\n", "", answers(400)},
		{"no Max-Forwards is allowed", "Max-Forwards: 70\r\n", "", passes}, // RFC 3261 16.3 step 3
		{"no tag in From is of RFC 2543", ";tag=1", "", passes},
		{"Max-Forwards too large", "70", "256", answers(400)},
		{"Max-Forwards no number", "70", "7x", answers(400)},
		{"empty Call-ID", "c1", "", answers(400)},
		{"space in Call-ID", "c1", "c 1", answers(400)},
		{"second tag", "tag=1", "tag=1;Tag=2", answers(400)},
		{"bad From URI", "sip:alice@example.org>;tag", "sip:alice@@example.org>;tag", answers(400)},
		{"To without a scheme", "<sip:bob@example.org>\r\n", "bob\r\n", answers(400)},
		{"tel in To", "<sip:bob@example.org>\r\n", "<tel:+1-555>\r\n", passes},
		{"CSeq of another method", "7 INVITE", "7 invite", answers(400)},
		{"CSeq too large", "7 INVITE", "2147483648 INVITE", answers(400)},
		{"second CSeq", "Call-ID", "CSeq: 8 INVITE\r\nCall-ID", answers(400)},
		{"second From in compact form", "Call-ID", "f: <sip:x@y>;tag=2\r\nCall-ID", answers(400)},
		{"second Content-Type", "Content-Length", "c: a/b\r\nContent-Length", answers(400)},
		{"second Expires", "Call-ID", "Expires: 1\r\nexpires: 2\r\nCall-ID", answers(400)},
		{"two Authorizations are fine", "Call-ID", "Authorization: Digest a=b\r\nAuthorization: Digest c=d\r\nCall-ID", passes},
		{"second Content-Length", "Content-Length", "l: 2\r\nContent-Length", answers(400)},
		{"Content-Length too large", "Length: 2", "Length: 3", answers(400)},
		{"Content-Length with a sign", "Length: 2", "Length: +2", answers(400)},
		{"body without a type", "Content-Type: text/plain\r\n", "", answers(400)},
		{"bad version", "SIP/2.0\r\nVia", "SIP/3.0\r\nVia", answers(505)},
		{"version in lower case", "SIP/2.0\r\nVia", "sip/2.0\r\nVia", passes},
		{"unknown scheme", "INVITE sip:bob@example.org", "INVITE foo:bar", answers(416)},
		{"no scheme", "INVITE sip:bob@example.org", "INVITE bob", answers(400)},
		{"urn of a service", "INVITE sip:bob@example.org", "INVITE urn:service:sos", passes},
		{"tel", "INVITE sip:bob@example.org", "INVITE tel:+1", passes},
		{"bad escape in the Request-URI", "INVITE sip:bob@", "INVITE sip:b%zzob@", answers(400)},
		{"headers in the Request-URI", "example.org SIP", "example.org?a=b SIP", answers(400)},
		{"quotes in the Request-URI", "INVITE sip:bob", "INVITE sip:\"bob\"", answers(400)},
		{"tab in the start line", "bob@example.org SIP", "bob@example.org\t SIP", answers(400)},
		{"line without a colon", "Call-ID", "garbage\r\nCall-ID", answers(400)},
		{"line without a name", "Call-ID", ": x\r\nCall-ID", answers(400)},
		{"name with a space", "Call-ID", "X Y: z\r\nCall-ID", answers(400)},
		{"name with a bracket", "Call-ID", "X(Y: z\r\nCall-ID", answers(400)},
		{"control character", "c1", "c\x011", answers(400)},
		{"DEL in an unknown field", "Call-ID", "Xx: a long value \x7f of some octets\r\nCall-ID", answers(400)},
		{"control character in the start line", "INVITE sip:bob", "INVITE sip:\x01bob", answers(400)},
		{"tabs are white space", "Call-ID: c1", "Call-ID:\tc1\t", passes},
		{"control character escaped", "<sip:bob@example.org>\r\n", "\"a\\\x07b\" <sip:bob@example.org>\r\n", passes},
		{"control character in the body", "\r\nab", "\r\n\x00\x01", passes},
		{"UTF-8", "<sip:bob@example.org>\r\n", "\"Бob\" <sip:bob@example.org>\r\n", passes},
		{"bad second Via", "Max-Forwards", "Via: SIP/2.0/UDP\r\nMax-Forwards", answers(400)},
		{"second branch", "branch=z9hG4bKa", "branch=z9hG4bKa;branch=z9hG4bKb", answers(400)},
		{"empty element in Via", "branch=z9hG4bKa", "branch=z9hG4bKa,,SIP/2.0/UDP b", answers(400)},
		{"Route without brackets", "<sip:p.example.org;lr>", "sip:p.example.org;lr", answers(400)},
		{"open bracket in Route", "<sip:p.example.org;lr>", "<sip:p.example.org;lr", answers(400)},
		{"bad Path", "Route:", "Path: x\r\nRoute:", answers(400)},
		{"Contact star", "<sip:alice@a.example.org>", "*", passes},
		{"Contact star with a parameter", "<sip:alice@a.example.org>", "*;a", answers(400)},
		{"Contact in a bad list", "<sip:alice@a.example.org>", "<sip:alice@a.example.org>, ,<sip:b>", answers(400)},
		{"trailing comma in Supported", "Call-ID", "Supported: a, b,\r\nCall-ID", passes},
		{"ACK has no answer", "INVITE", "ACK", silent},
	}
	p := testPool()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(good, tt.old, tt.new, 1)
			if text == good && tt.old != "" {
				t.Fatal("nothing changed")
			}
			m := mustParse(t, p, text)
			got := passes
			r := Validate(m)
			if r != nil {
				got = verdict{status: r.Status, silent: r.Silent}
			}
			if got != tt.want {
				t.Errorf("got %+v (%+v), want %+v", got, r, tt.want)
			}
			if r == nil {
				checkFixedPoint(t, p, m)
			}
		})
	}
}

// TestValidateResponse: a bad response is never answered.
func TestValidateResponse(t *testing.T) {
	text := "SIP/2.0 200 OK" + strings.TrimPrefix(good, "INVITE sip:bob@example.org SIP/2.0")
	tests := []struct {
		name, old, new string
		want           verdict
	}{
		{"good", "", "", passes},
		{"code of two digits", "200", "20", silent},
		{"code of four digits", "200", "2000", silent},
		{"code below 100", "200", "099", silent},
		{"code above 699", "200", "700", silent},
		{"no reason, no space", "200 OK", "200", passes},
		{"bad version", "SIP/2.0 200", "SIP/2.1 200", silent},
		{"bad CSeq", "7 INVITE", "x INVITE", silent},
		{"no Via", "Via:", "Xx:", silent},
		{"first Via names the broadcast address", "a.example.org;branch", "255.255.255.255;branch", passes},
		{"second Via names a multicast address", "Max-Forwards", "Via: SIP/2.0/UDP 239.1.1.1\r\nMax-Forwards", silent},
		{"second Via was received from nowhere", "Max-Forwards", "Via: SIP/2.0/UDP a;received=0.0.0.0\r\nMax-Forwards", silent},
		{"second Via is fine", "Max-Forwards", "Via: SIP/2.0/UDP a;received=10.0.0.1\r\nMax-Forwards", passes},
	}
	p := testPool()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := mustParse(t, p, strings.Replace(text, tt.old, tt.new, 1))
			got := passes
			if r := Validate(m); r != nil {
				got = verdict{status: r.Status, silent: r.Silent}
			}
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// TestControlCharacters holds the eight-octets-at-once search against the plain rule.
func TestControlCharacters(t *testing.T) {
	for c := range 256 {
		for at := range 48 {
			v := []byte("abcdefghijk\xffmnop\x80rst0123456789012345678901234567")
			v[at] = byte(c)
			for n := at + 1; n <= len(v); n++ {
				if got := hasControl(v[:n]); got != (c < ' ') {
					t.Fatalf("octet %#x at %d of %d: got %v", c, at, n, got)
				}
			}
		}
	}
}
