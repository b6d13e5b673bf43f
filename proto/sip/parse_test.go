package sip

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParseErrors(t *testing.T) {
	ok := strings.TrimSuffix(small, "\r\n")
	tests := []struct {
		name string
		data string
		want error
	}{
		{"nothing", "", ErrEmpty},
		{"keep-alive", "\r\n\r\n", ErrEmpty},
		{"no line end", "OPTIONS sip:a SIP/2.0", ErrLineEnd},
		{"bare LF behind the start line", "OPTIONS sip:a SIP/2.0\nTo: x\r\n\r\n", ErrLineEnd},
		{"bare LF behind a field", ok + "X: y\nRoute: <sip:evil;lr>\r\n\r\n", ErrLineEnd},
		{"bare CR within a field", ok + "X: y\rRoute: <sip:evil;lr>\r\n\r\n", ErrLineEnd},
		{"bare CR before CRLF", ok + "X: y\r\r\n\r\n", ErrLineEnd},
		{"bare CR before a fold", ok + "X: y\r\r\n z\r\n\r\n", ErrLineEnd},
		{"bare LF before a fold", ok + "X: y\n z\r\n\r\n", ErrLineEnd},
		{"bare LF as the empty line", ok + "\nX: y\r\n\r\n", ErrLineEnd},
		{"NUL in a field", ok + "X: a\x00b\r\n\r\n", ErrNUL},
		{"cut within a line", ok + "X: a", ErrNoEnd},
		{"cut within the empty line", ok + "\r", ErrNoEnd},
		{"HTTP", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", ErrStartLine},
		{"TLS", "\x16\x03\x01\x02\x00\r\n\r\n", ErrStartLine},
		{"no version", "OPTIONS sip:a\r\n\r\n", ErrStartLine},
		{"one word", "OPTIONS\r\n\r\n", ErrStartLine},
		{"method no token", "OPT(IONS sip:a SIP/2.0\r\n\r\n", ErrStartLine},
		{"folded start line", "OPTIONS sip:a SIP/2.0\r\n X: y\r\n\r\n", ErrStartLine},
		{"status line of one word", "SIP/2.0\r\n\r\n", ErrStartLine},
		{"too large", ok + "\r\n" + strings.Repeat("x", 1<<16), ErrTooLarge},
		{"line too long", ok + "X: " + strings.Repeat("x", 9000) + "\r\n\r\n", ErrLineTooLong},
		{"folds too long", ok + "X: " + strings.Repeat("x\r\n ", 3000) + "\r\n\r\n", ErrLineTooLong},
		{"too many fields", ok + strings.Repeat("X: y\r\n", 300) + "\r\n", ErrTooManyFields},
		{"too many values", ok + "Route: " + strings.Repeat("<sip:a>,", 65) + "<sip:a>\r\n\r\n", ErrTooManyValues},
		{"too many fields by lists", ok + strings.Repeat("Route: "+strings.Repeat("<sip:a>,", 50)+"<sip:a>\r\n", 6) + "\r\n", ErrTooManyFields},
	}
	p := testPool()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := p.Parse([]byte(tt.data))
			if err != tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if m != nil {
				m.Release()
			}
		})
	}
	if n := p.Live(); n != 0 {
		t.Errorf("%d messages leaked", n)
	}
}

// TestSplitting: one field per value, and what a comma does not split.
func TestSplitting(t *testing.T) {
	tests := []struct {
		line string
		h    HeaderID
		want []string
	}{
		{"Via: SIP/2.0/UDP a,SIP/2.0/UDP b , SIP/2.0/UDP c", HdrVia, []string{"SIP/2.0/UDP a", "SIP/2.0/UDP b", "SIP/2.0/UDP c"}},
		{"Via: SIP/2.0/UDP a (x, (y, \\) z)), SIP/2.0/UDP b", HdrVia, []string{"SIP/2.0/UDP a (x, (y, \\) z))", "SIP/2.0/UDP b"}},
		{"Via: SIP/2.0/UDP a ((((((((())))))))), SIP/2.0/UDP b", HdrVia, []string{"SIP/2.0/UDP a ((((((((())))))))), SIP/2.0/UDP b"}},
		{`Contact: "a, \", b" <sip:a@b>, "<" <sip:c,d@e>`, HdrContact, []string{`"a, \", b" <sip:a@b>`, `"<" <sip:c,d@e>`}},
		{"Route: <sip:a;x=\",\";lr>,<sip:b>", HdrRoute, []string{"<sip:a;x=\",\";lr>", "<sip:b>"}},
		{"P-Asserted-Identity: \"x\" <sip:a@b>, <tel:+1>", HdrPAssertedIdentity, []string{"\"x\" <sip:a@b>", "<tel:+1>"}},
		{"Supported:", HdrSupported, []string{""}},
		{"Supported: ,", HdrSupported, []string{""}},
		{"Supported: a,,b,", HdrSupported, []string{"a", "b"}},
		{"k: a\r\n , b\r\n\tc", HdrSupported, []string{"a", "b  \tc"}},
		{"Date: Sat, 13 Nov 2010 23:29:00 GMT", HdrDate, []string{"Sat, 13 Nov 2010 23:29:00 GMT"}},
		{"Subject: a, b", HdrSubject, []string{"a, b"}},
		{"Authorization: Digest a=\"b\", c=d", HdrAuthorization, []string{"Digest a=\"b\", c=d"}},
		{"Call-ID: a,b", HdrCallID, []string{"a,b"}},
	}
	const rest = "OPTIONS sip:a SIP/2.0\r\n"
	p := testPool()
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			m := mustParse(t, p, rest+tt.line+"\r\n\r\n")
			var got []string
			for v := range m.Values(tt.h) {
				got = append(got, string(v))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if m.Count(tt.h) != len(tt.want) || string(m.Last(tt.h)) != tt.want[len(tt.want)-1] || !m.Has(tt.h) {
				t.Errorf("Count %d, Last %q", m.Count(tt.h), m.Last(tt.h))
			}
			for i, want := range tt.want {
				if string(m.Nth(tt.h, i)) != want {
					t.Errorf("Nth %d: %q", i, m.Nth(tt.h, i))
				}
			}
			if m.Nth(tt.h, len(tt.want)) != nil {
				t.Error("Nth behind the end")
			}
			checkFixedPoint(t, p, m)
		})
	}
}

// TestJoining: what leaves on one line is tokens only; whatever could be read in two ways has a line of its own.
func TestJoining(t *testing.T) {
	tests := []struct{ in, out string }{
		{"Allow: INVITE,ACK ,\tBYE", "Allow: INVITE, ACK, BYE"},
		{"Supported: a, \"b, c\", d", "Supported: a\r\nSupported: \"b\r\nSupported: c\"\r\nSupported: d"},
		{"Supported: a\r\nk: b, c", "Supported: a\r\nSupported: b, c"},
		{"Route: <sip:a>, <sip:b>", "Route: <sip:a>\r\nRoute: <sip:b>"},
		{"Accept: a/b, c/d", "Accept: a/b\r\nAccept: c/d"},
		{"Require:  a", "Require: a"},
		{"Require: , a, b", "Require: a, b"},
	}
	p := testPool()
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			m := mustParse(t, p, "OPTIONS sip:a SIP/2.0\r\n"+tt.in+"\r\n\r\n")
			want := "OPTIONS sip:a SIP/2.0\r\n" + tt.out + "\r\nContent-Length: 0\r\n\r\n"
			if got := wire(m); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			checkFixedPoint(t, p, m)
		})
	}
}

// TestCanonicalNames: a duplicate in another spelling is seen as one, and leaves under its one name.
func TestCanonicalNames(t *testing.T) {
	m := mustParse(t, testPool(), "OPTIONS sip:a SIP/2.0\r\np-asserted-identity : <sip:a@b>\r\nP-ASSERTED-IDENTITY:<sip:c@d>\r\n\r\n")
	want := "OPTIONS sip:a SIP/2.0\r\nP-Asserted-Identity: <sip:a@b>\r\nP-Asserted-Identity: <sip:c@d>\r\nContent-Length: 0\r\n\r\n"
	if got := wire(m); got != want {
		t.Errorf("got\n%s", got)
	}
	if n := m.Remove(HdrPAssertedIdentity); n != 2 {
		t.Errorf("removed %d", n)
	}
}

func TestAccessors(t *testing.T) {
	m := mustParse(t, testPool(), small)
	if !m.IsRequest() || m.Method() != OPTIONS || string(m.MethodName()) != "OPTIONS" || string(m.RequestURI()) != "sip:bob@example.org" {
		t.Error("start line")
	}
	if m.Status() != 0 || len(m.Reason()) != 0 || m.Get(HdrRoute) != nil || m.Last(HdrRoute) != nil || m.Has(HdrRoute) {
		t.Error("what is not there")
	}
	if string(m.GetName("x-ONE")) != "1" || string(m.GetName("K")) != "path" || m.GetName("X-Two") != nil {
		t.Error("GetName")
	}
	if !m.HasToken(HdrSupported, "GRUU") || m.HasToken(HdrSupported, "gru") || m.HasToken(HdrRequire, "gruu") {
		t.Error("HasToken")
	}
	var names []string
	for name := range m.Fields() {
		names = append(names, string(name))
	}
	if got := fmt.Sprint(names); got != "[Via Via Max-Forwards From To Call-ID CSeq Supported Supported Supported X-One x-one]" {
		t.Error(got)
	}
	for range m.Fields() {
		break // an early end is no harm
	}
	for range m.Values(HdrVia) {
		break
	}
	if n, ok := m.ContentLength(); n != 0 || !ok || m.Get(HdrContentLength) != nil {
		t.Error("Content-Length")
	}
}

func TestEscapedNUL(t *testing.T) {
	m := mustParse(t, testPool(), "OPTIONS sip:a SIP/2.0\r\nTo: \"a\\\x00b\" <sip:a@b>\r\n\r\n")
	if got := string(m.Get(HdrTo)); got != `"a\?b" <sip:a@b>` {
		t.Errorf("got %q", got)
	}
}

func TestBodies(t *testing.T) {
	const head = "MESSAGE sip:a SIP/2.0\r\n"
	tests := []struct {
		name, rest, body string
		defects          Defect
	}{
		{"no length: the rest of the datagram", "\r\nhello", "hello", 0},
		{"octets behind the length are dropped", "l: 2\r\n\r\nhello", "he", 0},
		{"larger than the datagram", "l: 9\r\n\r\nhello", "hello", DefectTruncated},
		{"larger than any number", "l: 99999999999999999999\r\n\r\nhello", "hello", DefectTruncated},
		{"negative", "l: -1\r\n\r\nhello", "hello", DefectLength},
		{"hexadecimal", "l: 0x1\r\n\r\nhello", "hello", DefectLength},
		{"empty", "l:\r\n\r\nhello", "hello", DefectLength},
		{"twice the same", "l: 2\r\nContent-Length: 2\r\n\r\nhello", "hello", DefectLength},
		{"two that differ", "l: 2\r\nContent-Length: 3\r\n\r\nhello", "hello", DefectLength},
		{"any octets", "l: 4\r\n\r\n\x00\r\n\n", "\x00\r\n\n", 0},
	}
	p := testPool()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := mustParse(t, p, head+tt.rest)
			if string(m.Body()) != tt.body || m.Defects() != tt.defects {
				t.Errorf("body %q, defects %b", m.Body(), m.Defects())
			}
		})
	}
}

// TestLimits: smaller limits bite, larger ones than the ceiling do not.
func TestLimits(t *testing.T) {
	l := NewPool(Limits{MaxMessage: 1 << 20, MaxFields: 1 << 20, MaxList: 1 << 20, MaxLine: 1 << 20}).Limits()
	if l.MaxMessage != 65535 || l.MaxFields != 256 || l.MaxList != 256 || l.MaxLine != 65535 || l.MaxBody != 65535 {
		t.Errorf("%+v", l)
	}
	for _, l := range []Limits{{MaxMessage: 100}, {MaxFields: 5}, {MaxLine: 20}, {MaxList: 1}} {
		if m, err := NewPool(l).Parse([]byte(small)); err == nil {
			t.Errorf("%+v: %q passed", l, wire(m))
		}
	}
	if _, err := NewPool(Limits{MaxBody: 4}).Parse([]byte("MESSAGE sip:a SIP/2.0\r\n\r\nhello")); err != ErrTooLarge {
		t.Error(err)
	}
}

// TestManyFields fills the index beyond its inline part.
func TestManyFields(t *testing.T) {
	p := testPool()
	m := mustParse(t, p, strings.TrimSuffix(small, "\r\n")+strings.Repeat("Xx: y\r\n", 200)+"\r\n")
	if m.Count(HdrOther) != 202 {
		t.Errorf("%d", m.Count(HdrOther))
	}
	c := m.Clone()
	defer c.Release()
	if wire(c) != wire(m) {
		t.Error("the clone differs")
	}
	checkFixedPoint(t, p, m)
}
