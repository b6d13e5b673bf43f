package sip

import (
	"strings"
	"testing"
)

const small = "OPTIONS sip:bob@example.org SIP/2.0\r\n" +
	"Via: SIP/2.0/UDP a.example.org;branch=z9hG4bKa, SIP/2.0/TCP b.example.org;branch=z9hG4bKb\r\n" +
	"Max-Forwards: 70\r\n" +
	"From: <sip:alice@example.org>;tag=1\r\n" +
	"To: <sip:bob@example.org>\r\n" +
	"Call-ID: c1\r\n" +
	"CSeq: 7 OPTIONS\r\n" +
	"Supported: path, gruu,timer\r\n" +
	"X-One: 1\r\n" +
	"x-one: 2\r\n" +
	"l: 0\r\n" +
	"\r\n"

// head is the start of what small becomes untouched.
const smallOut = "OPTIONS sip:bob@example.org SIP/2.0\r\n" +
	"Via: SIP/2.0/UDP a.example.org;branch=z9hG4bKa\r\n" +
	"Via: SIP/2.0/TCP b.example.org;branch=z9hG4bKb\r\n" +
	"Max-Forwards: 70\r\n" +
	"From: <sip:alice@example.org>;tag=1\r\n" +
	"To: <sip:bob@example.org>\r\n" +
	"Call-ID: c1\r\n" +
	"CSeq: 7 OPTIONS\r\n" +
	"Supported: path, gruu, timer\r\n" +
	"X-One: 1\r\n" +
	"x-one: 2\r\n" +
	"Content-Length: 0\r\n" +
	"\r\n"

func mustParse(t testing.TB, p *Pool, text string) *Message {
	t.Helper()
	m, err := p.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Release)
	return m
}

func wire(m *Message) string { return string(m.AppendTo(nil)) }

func TestEmission(t *testing.T) {
	m := mustParse(t, testPool(), small)
	if got := wire(m); got != smallOut {
		t.Errorf("got\n%s\nwant\n%s", got, smallOut)
	}
}

func TestEdits(t *testing.T) {
	v := func(s string) []byte { return []byte(s) }
	tests := []struct {
		name     string
		edit     func(m *Message)
		old, new string // what the emission replaces by what; old "" = it inserts new behind the start line
	}{
		{"prepend Via", func(m *Message) { m.Prepend(HdrVia, v("SIP/2.0/UDP p;branch=z9hG4bKp")) },
			"Via: SIP/2.0/UDP a", "Via: SIP/2.0/UDP p;branch=z9hG4bKp\r\nVia: SIP/2.0/UDP a"},
		{"remove first Via of a line", func(m *Message) { m.RemoveFirst(HdrVia) },
			"Via: SIP/2.0/UDP a.example.org;branch=z9hG4bKa\r\n", ""},
		{"remove last Via", func(m *Message) { m.RemoveLast(HdrVia) },
			"Via: SIP/2.0/TCP b.example.org;branch=z9hG4bKb\r\n", ""},
		{"first Record-Route stands behind the Vias", func(m *Message) { m.Prepend(HdrRecordRoute, v("<sip:p;lr>")) },
			"Max-Forwards", "Record-Route: <sip:p;lr>\r\nMax-Forwards"},
		{"append where there is none", func(m *Message) { m.AppendString(HdrPrivacy, "id") },
			"Content-Length", "Privacy: id\r\nContent-Length"},
		{"append stands behind the last of its kind", func(m *Message) { m.AppendString(HdrVia, "SIP/2.0/UDP z") },
			"Max-Forwards", "Via: SIP/2.0/UDP z\r\nMax-Forwards"},
		{"set replaces all in the place of the first", func(m *Message) { m.SetString(HdrSupported, "outbound") },
			"Supported: path, gruu, timer", "Supported: outbound"},
		{"set a number", func(m *Message) { m.SetUint(HdrMaxForwards, 69) }, "Max-Forwards: 70", "Max-Forwards: 69"},
		{"set of an absent field", func(m *Message) { m.SetString(HdrPrivacy, "id") },
			"Content-Length", "Privacy: id\r\nContent-Length"},
		{"replace first", func(m *Message) { m.ReplaceFirst(HdrVia, v("SIP/2.0/UDP q")) },
			"SIP/2.0/UDP a.example.org;branch=z9hG4bKa", "SIP/2.0/UDP q"},
		{"replace first of none", func(m *Message) { m.ReplaceFirst(HdrRoute, v("<sip:r;lr>")) },
			"Max-Forwards", "Route: <sip:r;lr>\r\nMax-Forwards"},
		{"remove the middle of a joined line", func(m *Message) {
			m.RemoveFirst(HdrSupported)
		}, "Supported: path, gruu, timer", "Supported: gruu, timer"},
		{"remove", func(m *Message) { m.Remove(HdrSupported) }, "Supported: path, gruu, timer\r\n", ""},
		{"remove a token in any case", func(m *Message) { m.RemoveToken(HdrSupported, "GRUU") }, "path, gruu, timer", "path, timer"},
		{"remove the only token", func(m *Message) { m.SetString(HdrSupported, "path"); m.RemoveToken(HdrSupported, "path") }, "Supported: path, gruu, timer\r\n", ""},
		{"remove no token", func(m *Message) { m.RemoveToken(HdrSupported, "gru"); m.RemoveToken(HdrRequire, "gruu") }, "", ""},
		{"remove by name in any case", func(m *Message) { m.RemoveName("X-ONE") }, "X-One: 1\r\nx-one: 2\r\n", ""},
		{"remove by compact name", func(m *Message) { m.RemoveName("K") }, "Supported: path, gruu, timer\r\n", ""},
		{"set by name", func(m *Message) { m.SetName("X-one", v("3")) }, "X-One: 1\r\nx-one: 2\r\n", "X-one: 3\r\n"},
		{"set by compact name", func(m *Message) { m.SetName("t", v("<sip:c@d>")) },
			"To: <sip:bob@example.org>", "To: <sip:c@d>"},
		{"set by a new name", func(m *Message) { m.SetName("X-Two", v("3")) },
			"Content-Length", "X-Two: 3\r\nContent-Length"},
		{"append by name", func(m *Message) { m.AppendName("X-One", v("3")) },
			"Content-Length", "X-One: 3\r\nContent-Length"},
		{"request URI", func(m *Message) { m.SetRequestURI(v("tel:+1")) }, "sip:bob@example.org SIP", "tel:+1 SIP"},
		{"body", func(m *Message) { m.SetBody("text/plain", v("a\r\n\x00b")) },
			"Content-Length: 0\r\n\r\n", "Content-Type: text/plain\r\nContent-Length: 5\r\n\r\na\r\n\x00b"},
		{"body removed", func(m *Message) { m.SetBody("text/plain", v("ab")); m.SetBody("", nil) }, "", ""},
		{"to tag", func(m *Message) { m.SetToTag("77"); m.SetToTag("88") },
			"To: <sip:bob@example.org>", "To: <sip:bob@example.org>;tag=77"},
		{"a value is trimmed", func(m *Message) { m.SetString(HdrCallID, " \tx ") }, "Call-ID: c1", "Call-ID: x"},
		{"Content-Length is no field", func(m *Message) { m.SetString(HdrContentLength, "99") }, "", ""},
		{"a value of the same message", func(m *Message) { m.Set(HdrCallID, m.Get(HdrFrom)) },
			"Call-ID: c1", "Call-ID: <sip:alice@example.org>;tag=1"},
		{"a list of tokens is split and leaves on one line", func(m *Message) {
			m.SetString(HdrSupported, "a,b , c,")
			if m.Count(HdrSupported) != 3 || !m.HasToken(HdrSupported, "b") {
				panic("not split")
			}
		}, "Supported: path, gruu, timer", "Supported: a, b, c"},
		{"a list of addresses is split", func(m *Message) {
			m.PrependString(HdrRoute, `"x, y" <sip:a;lr>,<sip:b,c;lr>`)
		}, "Max-Forwards", "Route: \"x, y\" <sip:a;lr>\r\nRoute: <sip:b,c;lr>\r\nMax-Forwards"},
		{"a list replaces the first of a list", func(m *Message) { m.ReplaceFirst(HdrVia, v("SIP/2.0/UDP x, SIP/2.0/UDP y")) },
			"Via: SIP/2.0/UDP a.example.org;branch=z9hG4bKa", "Via: SIP/2.0/UDP x\r\nVia: SIP/2.0/UDP y"},
		{"not only tokens: a line each", func(m *Message) { m.SetString(HdrSupported, `a, "b`) },
			"Supported: path, gruu, timer", "Supported: a\r\nSupported: \"b"},
		{"received and rport", func(m *Message) {
			m.ReplaceFirst(HdrVia, v("SIP/2.0/UDP a;rport;received=9.9.9.9;branch=z9hG4bKa"))
			if err := m.SetReceived("2001:db8::1", 5061); err != nil {
				panic(err)
			}
		}, "SIP/2.0/UDP a.example.org;branch=z9hG4bKa",
			"SIP/2.0/UDP a;rport=5061;branch=z9hG4bKa;received=2001:db8::1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := testPool()
			m := mustParse(t, p, small)
			other := m.Clone()
			defer other.Release()
			tt.edit(m)
			want := strings.Replace(smallOut, tt.old, tt.new, 1)
			if got := wire(m); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			checkFixedPoint(t, p, m)
			if got := wire(other); got != smallOut {
				t.Errorf("the clone changed:\n%s", got)
			}
		})
	}
}

func TestAppendFiltered(t *testing.T) {
	m := mustParse(t, testPool(), small)
	without := func(h HeaderID) *HeaderSet {
		s := AllHeaders()
		s.Drop(h)
		return s
	}
	tests := []struct {
		name  string
		allow *HeaderSet
		want  string
	}{
		{"nothing", NewHeaderSet(), "OPTIONS sip:bob@example.org SIP/2.0\r\nContent-Length: 0\r\n\r\n"},
		{"one", NewHeaderSet(HdrCallID), "OPTIONS sip:bob@example.org SIP/2.0\r\nCall-ID: c1\r\nContent-Length: 0\r\n\r\n"},
		{"all but the unknown", without(HdrOther), strings.Replace(smallOut, "X-One: 1\r\nx-one: 2\r\n", "", 1)},
		{"all but the first", without(HdrVia), strings.Replace(smallOut, "Via: SIP/2.0/UDP a.example.org;branch=z9hG4bKa\r\n"+
			"Via: SIP/2.0/TCP b.example.org;branch=z9hG4bKb\r\n", "", 1)},
		{"all but one in the middle", without(HdrFrom), strings.Replace(smallOut, "From: <sip:alice@example.org>;tag=1\r\n", "", 1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(m.AppendFiltered(nil, tt.allow)); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
			kept := m.Clone()
			defer kept.Release()
			kept.Keep(tt.allow)
			if got := wire(kept); got != tt.want {
				t.Errorf("Keep differs:\n%s", got)
			}
		})
	}
}

// TestUnsafeEdits: what must not leave panics in tests and is dropped and counted in production.
func TestUnsafeEdits(t *testing.T) {
	edits := []struct {
		name string
		edit func(m *Message)
		want string // replaces To in the emission; "" = nothing changes
	}{
		{"LF in a value set", func(m *Message) { m.SetString(HdrTo, "a\nb") }, "-"},
		{"CR in a value set", func(m *Message) { m.Set(HdrTo, []byte("a\rb")) }, "-"},
		{"NUL in a value replaced", func(m *Message) { m.ReplaceFirst(HdrTo, []byte("a\x00b")) }, "-"},
		{"header injected by append", func(m *Message) { m.AppendString(HdrTo, "a\r\nRoute: <sip:x>") }, ""},
		{"header injected by prepend", func(m *Message) { m.PrependString(HdrTo, "a\r\nRoute: <sip:x>") }, ""},
		{"header injected by name", func(m *Message) { m.SetName("X: y\r\nRoute", []byte("<sip:x>")) }, ""},
		{"empty name", func(m *Message) { m.AppendName("", []byte("x")) }, ""},
		{"no name", func(m *Message) { m.AppendString(HdrOther, "x") }, ""},
		{"id out of range", func(m *Message) { m.AppendString(numHeaders, "x") }, ""},
		{"space in the Request-URI", func(m *Message) { m.SetRequestURI([]byte("sip:a SIP/2.0")) }, ""},
		{"line end in the Request-URI", func(m *Message) { m.SetRequestURI([]byte("sip:a\r\nX:")) }, ""},
		{"value too long", func(m *Message) { m.Append(HdrTo, make([]byte, 70000)) }, ""},
		{"tag with line end", func(m *Message) { m.SetToTag("x\r\ny") }, "-"},
	}
	for _, tt := range edits {
		t.Run(tt.name, func(t *testing.T) {
			func() {
				defer func() {
					if recover() == nil {
						t.Error("no panic under Poison")
					}
				}()
				m, err := testPool().Parse([]byte(small))
				if err != nil {
					t.Fatal(err)
				}
				tt.edit(m)
			}()
			if raceEnabled {
				return
			}
			p := NewPool(Limits{})
			m := mustParse(t, p, small)
			tt.edit(m)
			want := smallOut
			if tt.want == "-" {
				want = strings.Replace(want, "To: <sip:bob@example.org>\r\n", "", 1)
			}
			if got := wire(m); got != want {
				t.Errorf("got\n%s", got)
			}
			if p.DroppedEdits() != 1 {
				t.Errorf("%d edits counted", p.DroppedEdits())
			}
		})
	}
}

func TestNewRequest(t *testing.T) {
	p := testPool()
	m := p.NewRequest(MESSAGE, "sip:bob@example.org")
	defer m.Release()
	m.PrependString(HdrVia, "SIP/2.0/UDP a;branch=z9hG4bK1")
	m.SetString(HdrTo, "<sip:bob@example.org>")
	m.SetString(HdrFrom, "<sip:alice@example.org>;tag=1")
	m.SetString(HdrCallID, "x")
	m.SetString(HdrCSeq, "1 MESSAGE")
	m.SetBody("text/plain", []byte("hello"))
	want := "MESSAGE sip:bob@example.org SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nTo: <sip:bob@example.org>\r\n" +
		"From: <sip:alice@example.org>;tag=1\r\nCall-ID: x\r\nCSeq: 1 MESSAGE\r\nContent-Type: text/plain\r\n" +
		"Content-Length: 5\r\n\r\nhello"
	if got := wire(m); got != want {
		t.Errorf("got\n%s", got)
	}
	if r := Validate(m); r != nil {
		t.Errorf("Validate: %+v", r)
	}
	named := p.NewRequestNamed("FOO", "sip:bob@example.org")
	defer named.Release()
	if got := wire(named); named.Method() != MethodOther || got != "FOO sip:bob@example.org SIP/2.0\r\nContent-Length: 0\r\n\r\n" {
		t.Errorf("got\n%s", got)
	}
}

func TestNewResponse(t *testing.T) {
	p := testPool()
	req, err := p.Parse([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	if err := req.SetReceived("192.0.2.9", 5060); err != nil { // an edit: the response must carry it
		t.Fatal(err)
	}
	res := p.NewResponse(req, 404, "")
	res.SetToTag("99")
	req.Release() // the response holds the slab by itself
	defer res.Release()
	want := "SIP/2.0 404 Not Found\r\n" +
		"Via: SIP/2.0/UDP a.example.org;branch=z9hG4bKa;received=192.0.2.9\r\n" +
		"Via: SIP/2.0/TCP b.example.org;branch=z9hG4bKb\r\n" +
		"From: <sip:alice@example.org>;tag=1\r\nTo: <sip:bob@example.org>;tag=99\r\nCall-ID: c1\r\nCSeq: 7 OPTIONS\r\n" +
		"Content-Length: 0\r\n\r\n"
	if got := wire(res); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if res.Size() != len(want) || res.IsRequest() || res.Status() != 404 || res.MethodName() != nil || res.RequestURI() != nil {
		t.Errorf("size %d, request %v, status %d", res.Size(), res.IsRequest(), res.Status())
	}
	res.SetStatus(500, "Kaputt")
	if got := string(res.Reason()); got != "Kaputt" || res.Status() != 500 {
		t.Errorf("%d %s", res.Status(), got)
	}
}

func TestTooManyEdits(t *testing.T) {
	if raceEnabled {
		t.Skip("panics under the race detector, as it should")
	}
	p := NewPool(Limits{})
	m := p.NewRequest(OPTIONS, "sip:a")
	defer m.Release()
	for range overflowFields + 10 {
		m.AppendString(HdrRoute, "<sip:a;lr>")
	}
	if n := m.Count(HdrRoute); n != overflowFields || p.DroppedEdits() != 10 {
		t.Errorf("%d fields, %d dropped", n, p.DroppedEdits())
	}
}
