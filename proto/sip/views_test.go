package sip

import (
	"strings"
	"testing"
)

func TestParseURI(t *testing.T) {
	tests := []struct {
		in   string
		want URI // with strings for octets; zero = refused
		aor  string
	}{
		{"sip:a@b", URI{Scheme: b("sip"), User: b("a"), Host: b("b")}, "sip:a@b"},
		{"sip:b", URI{Scheme: b("sip"), Host: b("b")}, "sip:b"},
		{"SIPS:A:pw@B.Example:5061;lr;transport=tcp?x=y&z=", URI{Scheme: b("SIPS"), User: b("A"), Password: b("pw"), Host: b("B.Example"),
			Port: 5061, Params: b("lr;transport=tcp"), Headers: b("x=y&z=")}, "sip:A@b.example:5061"},
		{"sip:user;par=u%40example.net@example.com", URI{Scheme: b("sip"), User: b("user;par=u%40example.net"), Host: b("example.com")},
			"sip:user;par=u%40example.net@example.com"},
		{"sip:%61%6cice%2f%2F@b", URI{Scheme: b("sip"), User: b("%61%6cice%2f%2F"), Host: b("b")}, "sip:alice%2F%2F@b"},
		{"sip:a@[2001:DB8::1]:5070", URI{Scheme: b("sip"), User: b("a"), Host: b("2001:DB8::1"), Port: 5070}, "sip:a@[2001:db8::1]:5070"},
		{"sip:[::ffff:192.0.2.1]", URI{Scheme: b("sip"), Host: b("::ffff:192.0.2.1")}, "sip:[::ffff:192.0.2.1]"},
		{"sip:a@1host.example;maddr=[::1]", URI{Scheme: b("sip"), User: b("a"), Host: b("1host.example"), Params: b("maddr=[::1]")}, "sip:a@1host.example"},
		{"sip:b?Route=%3Csip:x%3E", URI{Scheme: b("sip"), Host: b("b"), Headers: b("Route=%3Csip:x%3E")}, "sip:b"},
		{"sip:*31#@b;user=phone", URI{Scheme: b("sip"), User: b("*31#"), Host: b("b"), Params: b("user=phone")}, "sip:*31#@b"},
		{"tel:+1-555.123(4)", URI{Scheme: b("tel"), User: b("+1-555.123(4)")}, "tel:+15551234"},
		{"tel:*21#;phone-context=IMS.example.org;x", URI{Scheme: b("tel"), User: b("*21#"), Params: b("phone-context=IMS.example.org;x")},
			"tel:*21#;phone-context=ims.example.org"},
		{"urn:service:sos", URI{Scheme: b("urn"), Opaque: b("service:sos")}, "urn:service:sos"},
		{"soap.beep://192.0.2.103:3002", URI{Scheme: b("soap.beep"), Opaque: b("//192.0.2.103:3002")}, "soap.beep://192.0.2.103:3002"},

		{in: ""}, {in: "sip"}, {in: "sip:"}, {in: ":a"}, {in: "<sip:a@b>"}, {in: "1sip:a"},
		{in: "sip:@b"}, {in: "sip:a@"}, {in: "sip:a@b@c"}, {in: "sip:a b@c"}, {in: "sip:a@b c"}, {in: " sip:a@b"}, {in: "sip:a@b "},
		{in: "sip:a%4@b"}, {in: "sip:a%4g@b"}, {in: "sip:a%@b"}, {in: "sip:a\"@b"}, {in: "sip:a@b\x00"},
		{in: "sip:a@b:"}, {in: "sip:a@b:0"}, {in: "sip:a@b:65536"}, {in: "sip:a@b:5o60"}, {in: "sip:a@b:-1"}, {in: "sip:a@b:5060:5061"},
		{in: "sip:a@b;"}, {in: "sip:a@b;;lr"}, {in: "sip:a@b;=x"}, {in: "sip:a@b;x="}, {in: "sip:a@b;x=\"y\""}, {in: "sip:a@b;lr;LR"}, {in: "sip:a@b;lr=1;%6cr=2"}, {in: "tel:+1;ext=1;ext=2"}, {in: "sip:a@b?"}, {in: "sip:a@b? x"},
		{in: "sip:2001:db8::10"}, {in: "sip:[2001:db8::10"}, {in: "sip:[2001:db8::10]x"}, {in: "sip:[1:2:3:4:5:6:7:8:9]"}, {in: "sip:[:1]"},
		{in: "sip:[1::2::3]"}, {in: "sip:[12345::]"}, {in: "sip:[::1.2.3]"}, {in: "sip:[fe80::1%25eth0]"}, {in: "sip:[]"},
		{in: "sip:a..b"}, {in: "sip:.a"}, {in: "sip:1.2.3"}, {in: "sip:1.2.3.256"}, {in: "sip:1.2.3.4.5"}, {in: "sip:" + strings.Repeat("a", 256)},
		{in: "tel:"}, {in: "tel:+"}, {in: "tel:+1a"}, {in: "tel:1x"}, {in: "tel:+*1"}, {in: "tel:+1;"}, {in: "tel:()"},
		{in: "http:a b"}, {in: "ht tp:a"},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			u, err := ParseURI([]byte(tt.in))
			if tt.want.Scheme == nil {
				if err != ErrURI {
					t.Errorf("got %+v, %v", u, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range []struct {
				name      string
				got, want []byte
			}{
				{"scheme", u.Scheme, tt.want.Scheme}, {"user", u.User, tt.want.User}, {"password", u.Password, tt.want.Password},
				{"host", u.Host, tt.want.Host}, {"params", u.Params, tt.want.Params}, {"headers", u.Headers, tt.want.Headers},
				{"opaque", u.Opaque, tt.want.Opaque},
			} {
				if string(part.got) != string(part.want) || (part.got == nil) != (part.want == nil) {
					t.Errorf("%s %q, want %q", part.name, part.got, part.want)
				}
			}
			if u.Port != tt.want.Port {
				t.Errorf("port %d", u.Port)
			}
			if got := string(u.AppendTo(nil)); got != tt.in {
				t.Errorf("AppendTo %q", got)
			}
			if got := string(u.AppendAOR(nil)); got != tt.aor {
				t.Errorf("AppendAOR %q, want %q", got, tt.aor)
			}
			if !u.Equal(&u) {
				t.Error("not equal to itself")
			}
		})
	}
}

func b(s string) []byte { return []byte(s) }

// TestURIEqual: the examples of RFC 3261 19.1.4 and RFC 3966 4.
func TestURIEqual(t *testing.T) {
	tests := []struct {
		a, b string
		want bool
	}{
		{"sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", true},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;security=on", true},
		{"sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on", true},
		{"sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com", "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com", true},
		{"sip:alice@atlanta.com?subject=project%20x&priority=urgent", "sip:alice@atlanta.com?priority=urgent&subject=project%20x", true},
		{"SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", false},
		{"sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", false},
		{"sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", false},
		{"sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", false},
		{"sip:a@b", "sips:a@b", false},
		{"sip:a@b", "sip:a:@b", false},
		{"sip:a@b", "sip:b", false},
		{"sip:a%2fb@c", "sip:a/b@c", false},
		{"sip:a%2fb@c", "sip:a%2Fb@c", true},
		{"tel:+1-201-555-0123", "tel:+12015550123", true},
		{"tel:+12015550123;isub=1;ext=2", "TEL:+12015550123;EXT=2;isub=1", true},
		{"tel:+12015550123", "tel:+12015550123;ext=2", false},
		{"tel:+12015550123", "tel:12015550123", false},
		{"tel:863-1234;phone-context=a.com", "tel:8631234;phone-context=A.com", true},
		{"tel:863-1234;phone-context=a.com", "tel:8631234;phone-context=b.com", false},
		{"urn:service:sos", "URN:service:sos", true},
		{"urn:service:sos", "urn:service:sos.fire", false},
	}
	for _, tt := range tests {
		u, err1 := ParseURI([]byte(tt.a))
		v, err2 := ParseURI([]byte(tt.b))
		if err1 != nil || err2 != nil {
			t.Fatal(tt.a, err1, tt.b, err2)
		}
		if u.Equal(&v) != tt.want || v.Equal(&u) != tt.want {
			t.Errorf("%s and %s: want %v", tt.a, tt.b, tt.want)
		}
	}
}

func TestParseNameAddr(t *testing.T) {
	tests := []struct{ in, display, uri, params string }{
		{`"A. B" <sip:a@b>;tag=1`, "A. B", "sip:a@b", "tag=1"},
		{`"a \"<\\" <sip:a@b>`, `a \"<\\`, "sip:a@b", ""},
		{"Alice  B. <sip:a@b;lr?x=y> ; x = 1 ;y", "Alice  B.", "sip:a@b;lr?x=y", " x = 1 ;y"},
		{"caller<sip:a@b>", "caller", "sip:a@b", ""},
		{"<sip:a@b>", "", "sip:a@b", ""},
		{" sip:a@b ;tag=2", "", "sip:a@b", "tag=2"},
		{"sip:a@b;lr", "", "sip:a@b", "lr"},
		{"isbn:2983792873", "", "isbn:2983792873", ""},
		{"<http://www.example.com>;tag=3234233", "", "http://www.example.com", "tag=3234233"},
	}
	for _, tt := range tests {
		n, err := ParseNameAddr([]byte(tt.in))
		if err != nil || string(n.Display) != tt.display || string(n.URI) != tt.uri || string(n.Params) != tt.params {
			t.Errorf("%s: %q %q %q %v", tt.in, n.Display, n.URI, n.Params, err)
		}
	}
	for _, in := range []string{
		"", " ", "*", "a", "\"a <sip:a@b>", "\"a\" sip:a@b", "\"a\"", "<sip:a@b", "<>", "<sip:a@b>x", "Bell, A <sip:a@b>",
		"sip:a@b?x=y", "sip:a,b@c", "sip:a@b x", "\"\\\" <sip:a@b>", "a:b <sip:a@b>",
	} {
		if n, err := ParseNameAddr([]byte(in)); err != ErrNameAddr {
			t.Errorf("%q: %q %q %q %v", in, n.Display, n.URI, n.Params, err)
		}
	}
}

func TestParam(t *testing.T) {
	const params = ` a = 1 ;B;c="x;\"y";d="" ; e=[::1]`
	for name, want := range map[string]string{"a": "1", "A": "1", "b": "", "c": `x;\"y`, "d": "", "E": "[::1]"} {
		v, ok := Param([]byte(params), name)
		if !ok || string(v) != want || v == nil {
			t.Errorf("%s: %q %v", name, v, ok)
		}
	}
	if v, ok := Param([]byte(params), "f"); ok || v != nil {
		t.Errorf("absent: %q", v)
	}
	if _, ok := Param(nil, "a"); ok {
		t.Error("nil")
	}
	for _, bad := range []string{"", ";", "a;;b", "a;", "=1", "a=", "a=;b", `a="`, `a="x"y`, "a;a", "a=1;A=2", "a b", "a=<x>", "a=x,y"} {
		if checkParams([]byte(bad)) {
			t.Errorf("%q passes", bad)
		}
	}
	for _, good := range []string{params[0:], "a", "a=1", `a="1,2"`, "a=x=y"} {
		if !checkParams([]byte(good)) {
			t.Errorf("%q fails", good)
		}
	}
	if checkParams([]byte("p" + strings.Repeat(";p", maxParams))) {
		t.Error("too many pass")
	}
}

func TestParseVia(t *testing.T) {
	v, err := ParseVia([]byte("SIP / 2.0  / UDP [2001:db8::9:1] : 5070 ;branch=z9hG4bKx;received=[2001:db8::9:255];rport=77;maddr=239.0.0.1;ttl=1"))
	if err != nil || string(v.Transport) != "UDP" || string(v.Host) != "2001:db8::9:1" || v.Port != 5070 || string(v.Branch) != "z9hG4bKx" ||
		string(v.Received) != "2001:db8::9:255" || !v.HasRPort || v.RPort != 77 || string(v.MAddr) != "239.0.0.1" || !v.HasCookie() {
		t.Errorf("%+v %v", v, err)
	}
	v, err = ParseVia([]byte("SIP/2.0/TLS host.example.com;rport;branch=z9hG4bK"))
	if err != nil || string(v.Host) != "host.example.com" || v.Port != 0 || !v.HasRPort || v.RPort != 0 || v.Received != nil || v.HasCookie() {
		t.Errorf("%+v %v", v, err)
	}
	for _, in := range []string{
		"", "SIP/2.0/UDP", "SIP/2.0/UDP ", "SIP/2.0 a", "SIP/2.0/UDPa", "SIP/2.0/ a:1:2", "SIP/2.0/UDP a b", "SIP/2.0/UDP a:99999", "/2.0/UDP a", "SIP//UDP a",
		"SIP/2.0/UDP a;", "SIP/2.0/UDP a;;", "SIP/2.0/UDP a;branch=", "SIP/2.0/UDP a;branch", "SIP/2.0/UDP a;branch=x;branch=y", "SIP/2.0/UDP a;received=b",
		"SIP/2.0/UDP a;received=1.2.3.4;Received=1.2.3.5", "SIP/2.0/UDP a;rport=x", "SIP/2.0/UDP a;rport=65536", "SIP/2.0/UDP a;rport;rport=1",
		"SIP/2.0/UDP 2001:db8::1", "SIP/2.0/UDP ;branch=x",
	} {
		if v, err := ParseVia([]byte(in)); err != ErrVia {
			t.Errorf("%q: %+v %v", in, v, err)
		}
	}
}

func TestNumbers(t *testing.T) {
	p := testPool()
	head := "REGISTER sip:a SIP/2.0\r\n"
	tests := []struct {
		name, lines string
		check       func(m *Message) bool
	}{
		{"CSeq with leading zeros", "CSeq: 0009\t REGISTER", func(m *Message) bool {
			n, method, err := m.CSeq()
			return n == 9 && string(method) == "REGISTER" && err == nil && m.CSeqMethod() == REGISTER
		}},
		{"CSeq at its limit", "CSeq: 2147483647 X", func(m *Message) bool { n, _, err := m.CSeq(); return n == 1<<31-1 && err == nil }},
		{"CSeq above", "CSeq: 2147483648 X", func(m *Message) bool { _, _, err := m.CSeq(); return err == ErrCSeq }},
		{"CSeq beyond any number", "CSeq: 18446744073709551617 X", func(m *Message) bool { _, _, err := m.CSeq(); return err == ErrCSeq }},
		{"CSeq negative", "CSeq: -1 X", func(m *Message) bool { _, _, err := m.CSeq(); return err == ErrCSeq }},
		{"CSeq without method", "CSeq: 1", func(m *Message) bool { _, _, err := m.CSeq(); return err == ErrCSeq && m.CSeqMethod() == MethodOther }},
		{"CSeq of two methods", "CSeq: 1 A B", func(m *Message) bool { _, _, err := m.CSeq(); return err == ErrCSeq }},
		{"no CSeq", "To: x", func(m *Message) bool { _, _, err := m.CSeq(); return err == ErrMissing }},
		{"Max-Forwards", "Max-Forwards: 0068", func(m *Message) bool { n, ok := m.MaxForwards(); return n == 68 && ok }},
		{"Max-Forwards too large", "Max-Forwards: 256", func(m *Message) bool { _, ok := m.MaxForwards(); return !ok }},
		{"no Max-Forwards", "To: x", func(m *Message) bool { _, ok := m.MaxForwards(); return !ok }},
		{"Expires", "Expires: 4294967295", func(m *Message) bool { n, ok := m.Expires(); return n == 1<<32-1 && ok }},
		{"Expires too large", "Expires: 4294967296", func(m *Message) bool { _, ok := m.Expires(); return !ok }},
		{"expires of a Contact", "Expires: 5\r\nContact: <sip:a>, <sip:b>;expires=7, <sip:c>;expires=x", func(m *Message) bool {
			a, okA := m.ContactExpires(0)
			b, okB := m.ContactExpires(1)
			_, okC := m.ContactExpires(2)
			return a == 5 && okA && b == 7 && okB && !okC
		}},
		{"tags", "From: <sip:a>;tag=x\r\nTo: <sip:b;tag=no>", func(m *Message) bool { return string(m.FromTag()) == "x" && m.ToTag() == nil }},
		{"missing views", "X: y", func(m *Message) bool {
			_, e1 := m.TopVia()
			_, e2 := m.From()
			_, e3 := m.To()
			return e1 == ErrMissing && e2 == ErrMissing && e3 == ErrMissing && m.ToTag() == nil
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if !tt.check(mustParse(t, p, head+tt.lines+"\r\n\r\n")) {
				t.Error(tt.lines)
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	const first = `Digest username="001@ims.org",realm="ims.org",nonce="",uri="sip:ims.org",response=""`
	c, err := ParseCredentials([]byte(first))
	if err != nil || c.Nonce == nil || len(c.Nonce) != 0 || c.Response == nil || c.Algorithm != nil || string(c.Username) != "001@ims.org" {
		t.Errorf("%+v %v", c, err)
	}
	const full = `Digest username="u", realm="r", nonce="n==", uri="sip:x", response="00", algorithm=AKAv1-MD5, ` +
		`cnonce="c", qop=auth, nc=00000001, opaque="o", auts="a\"b", integrity-protected="tls-yes"`
	if c, err = ParseCredentials([]byte(full)); err != nil {
		t.Fatal(err)
	}
	if got := string(c.AppendTo(nil)); got != full {
		t.Errorf("got %s", got)
	}
	for _, in := range []string{
		"", "Digest", "Digest ", "Digest username", "Digest username=", `Digest username="a`, `Digest username="a" realm="b"`, "Digest a=b,",
		`Digest nonce="a",nonce="b"`, `Digest =b`, `Digest a="b"c`, "(Digest a=b",
	} {
		if c, err := ParseCredentials([]byte(in)); err != ErrCredentials {
			t.Errorf("%q: %+v %v", in, c, err)
		}
	}
	if _, err := ParseCredentials([]byte("NoOneKnowsThisScheme opaque-data=here")); err != ErrScheme {
		t.Error(err)
	}
	// A value cannot break out of its quotes.
	evil := Credentials{Username: b(`a",realm="x`), Realm: b(`b\`)}
	if got := string(evil.AppendTo(nil)); got != `Digest username="a\",realm=\"x", realm="b\\"` {
		t.Errorf("got %s", got)
	}
}

func TestChallenge(t *testing.T) {
	const full = `Digest realm="r", domain="sip:x", nonce="n", opaque="o", stale=true, algorithm=AKAv2-SHA-256, qop="auth, auth-int"`
	c, err := ParseChallenge([]byte(full))
	if err != nil || !c.Stale || !c.HasQOP("auth") || !c.HasQOP("AUTH-INT") || c.HasQOP("aut") {
		t.Errorf("%+v %v", c, err)
	}
	if got := string(c.AppendTo(nil)); got != full {
		t.Errorf("got %s", got)
	}
	c, err = ParseChallenge([]byte(`Digest realm="r",nonce="n",algorithm=AKAv1-MD5,ck="00",ik="11",qop=auth`))
	if err != nil || strings.Contains(string(c.AppendTo(nil)), "ck") {
		t.Errorf("%+v %v", c, err)
	}
	for _, in := range []string{"", "Digest", `Digest realm="a",realm="b"`, `Digest realm="a`, "Digest stale=true,stale=false"} {
		if _, err := ParseChallenge([]byte(in)); err != ErrChallenge {
			t.Errorf("%q: %v", in, err)
		}
	}
	if _, err := ParseChallenge([]byte("Basic realm=\"x\"")); err != ErrScheme {
		t.Error(err)
	}
}

func TestStatusError(t *testing.T) {
	for want, err := range map[string]error{
		"sip: 404 Not Found": &StatusError{Code: 404},
		"sip: 503 Busy":      &StatusError{Code: 503, Reason: "Busy", RetryAfter: 5},
		"sip: malformed URI": ErrURI,
	} {
		if err.Error() != want {
			t.Errorf("%s: %s", want, err)
		}
	}
}

func TestPublicIdentity(t *testing.T) {
	for in, want := range map[string]string{
		`"Alice" <sip:Alice@IMS.Example.Org;user=phone>;tag=1`: "sip:Alice@ims.example.org",
		"sips:alice@ims.example.org":                           "sip:alice@ims.example.org",
		"<tel:+1-555-0100;x=y>":                                "tel:+15550100",
		"urn:service:sos":                                      "",
		"<sip:a@@b>":                                           "",
		"alice":                                                "",
	} {
		got, ok := PublicIdentity([]byte(in))
		if got != want || ok != (want != "") {
			t.Errorf("%s: %q %v", in, got, ok)
		}
	}
}

func TestDerivedPrivateIdentity(t *testing.T) {
	for in, want := range map[string]string{
		"sip:alice@ims.example.org": "alice@ims.example.org",
		"tel:+15550100":             "",
		"sip:ims.example.org":       "",
		"sip:@ims.example.org":      "",
		"":                          "",
	} {
		got, ok := DerivedPrivateIdentity(in)
		if ok != (want != "") || got != want {
			t.Errorf("%s: %q %v", in, got, ok)
		}
	}
}

func TestAuthenticationInfo(t *testing.T) {
	in := `qop=auth, rspauth="6629fae49393a05397450978507c4ef1", cnonce="0a4f113b", nc=00000001`
	a, err := ParseAuthenticationInfo([]byte(in))
	if err != nil || string(a.Rspauth) != "6629fae49393a05397450978507c4ef1" || string(a.NC) != "00000001" || a.NextNonce != nil {
		t.Fatalf("%q, %v", a, err)
	}
	if out := string(a.AppendTo(nil)); out != in {
		t.Errorf("%s became %s", in, out)
	}
	a, err = ParseAuthenticationInfo([]byte(`nextnonce="x,y", new-one=1`))
	if err != nil || string(a.NextNonce) != "x,y" || a.Rspauth != nil {
		t.Errorf("%q, %v", a, err)
	}
	for _, bad := range []string{"", ",", "rspauth", `qop=auth,`, `nc=1, nc=1`, `rspauth="x`, "Digest qop=auth"} {
		if a, err := ParseAuthenticationInfo([]byte(bad)); err != ErrAuthInfo {
			t.Errorf("%q: %q, %v", bad, a, err)
		}
	}
}
