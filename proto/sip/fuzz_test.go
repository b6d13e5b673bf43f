package sip

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
)

// seeds adds the torture messages, the benchmarks' messages and small ones.
func seeds(f *testing.F, add func(data []byte)) {
	for _, tt := range torture {
		add(read(f, tt.file))
	}
	for _, m := range benchMessages {
		add(m.data)
	}
	for _, s := range []string{small, good, "SIP/2.0 200 OK\r\n\r\n", "A b SIP/2.0\r\nk:a,\"b,c\"\r\n\r\n", "\r\n\r\nA b SIP/2.0\r\nX\r\n:\r\nVia:(,),\r\n\r\n"} {
		add([]byte(s))
	}
}

// FuzzParse: what the parser takes is emitted as a message that it takes for the same.
func FuzzParse(f *testing.F) {
	seeds(f, func(data []byte) { f.Add(data) })
	p := testPool()
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := p.Parse(data)
		if err != nil {
			return
		}
		defer m.Release()
		for name, v := range m.Fields() {
			if !isSafe(v) || !isToken(name) {
				t.Fatalf("%q: %q may not leave", name, v)
			}
		}
		if m.Defects()&(DefectVersion|DefectStatus) == 0 {
			checkFixedPoint(t, p, m)
		}
		// Edits keep the index whole.
		c := m.Clone()
		defer c.Release()
		if c.Defects()&(DefectVersion|DefectStatus|DefectStartLine) == 0 {
			forward(c, nil)
			checkFixedPoint(t, p, c)
		}
	})
}

// FuzzListEdit: a list that we write becomes the fields that the parser would make of it, here and after the wire.
func FuzzListEdit(f *testing.F) {
	for _, s := range []string{"a, b", `"x, \" y" <sip:a,b>, c`, ",a,,b,", `"open, b`, "<open, b", "SIP/2.0/UDP a (b, (c)), d"} {
		f.Add([]byte(s))
	}
	p := testPool()
	f.Fuzz(func(t *testing.T, data []byte) {
		if !isSafe(data) || len(data) > 1000 || bytes.Count(data, []byte{','}) > 60 {
			return
		}
		for _, h := range []HeaderID{HdrVia, HdrContact, HdrSupported} {
			ours := p.NewRequest(OPTIONS, "sip:a")
			ours.Set(h, data)
			checkFixedPoint(t, p, ours)
			theirs, err := p.Parse(fmt.Appendf(nil, "OPTIONS sip:a SIP/2.0\r\n%s: %s\r\n\r\n", h, data))
			if err == nil && (len(trim(data)) > 0 || ours.Has(h)) {
				for i := range max(ours.Count(h), theirs.Count(h)) {
					if a, b := ours.Nth(h, i), theirs.Nth(h, i); !bytes.Equal(a, b) {
						t.Errorf("%v, value %d of %q: edit %q, parser %q", h, i, data, a, b)
					}
				}
				theirs.Release()
			}
			ours.Release()
		}
	})
}

// FuzzValidate: no panic, a status that exists, and what is good stays good over the wire.
func FuzzValidate(f *testing.F) {
	seeds(f, func(data []byte) { f.Add(data) })
	p := testPool()
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := p.Parse(data)
		if err != nil {
			return
		}
		defer m.Release()
		if r := Validate(m); r != nil {
			if r.Silent == (r.Status != 0) || r.Reason == "" || !r.Silent && (!m.IsRequest() || !m.Has(HdrVia)) {
				t.Fatalf("%+v", r)
			}
			return
		}
		again, err := p.Parse(m.AppendTo(nil))
		if err != nil {
			t.Fatal(err)
		}
		defer again.Release()
		if r := Validate(again); r != nil {
			t.Fatalf("good before the wire, then %+v:\n%q", r, m.AppendTo(nil))
		}
		res := p.NewResponse(m, 400, "")
		defer res.Release()
		res.SetToTag("x")
		if r := Validate(res); m.IsRequest() && r != nil && r != &badSource.silent {
			t.Fatalf("our answer is %+v:\n%q", r, res.AppendTo(nil))
		}
	})
}

// FuzzURI: what parses is written back octet for octet, equals itself, and has one canonical form.
func FuzzURI(f *testing.F) {
	for _, s := range []string{"sip:a:b@c:1;d=e?f=g", "tel:+1-2;ext=3", "sips:[::1]", "urn:service:sos", "sip:%41%2f@[2001:db8:::1.2.3.4]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		u, err := ParseURI(data)
		if err != nil {
			return
		}
		if !u.Equal(&u) {
			t.Error("not equal to itself")
		}
		aor := u.AppendAOR(nil)
		canonical, err := ParseURI(aor)
		if err != nil {
			t.Fatalf("%q: AOR %q: %v", data, aor, err)
		}
		if again := canonical.AppendAOR(nil); !bytes.Equal(again, aor) {
			t.Errorf("%q: AOR %q, then %q", data, aor, again)
		}
		out := u.AppendTo(nil)
		v, err := ParseURI(out)
		if err != nil || !bytes.Equal(v.AppendTo(nil), out) || !u.Equal(&v) {
			t.Errorf("%q became %q: %v", data, out, err)
		}
	})
}

// FuzzNameAddr: the parts cover what was there, and put together they parse to the same.
func FuzzNameAddr(f *testing.F) {
	for _, s := range []string{`"a\"b" <sip:c@d>;tag=e`, "a b <sip:c>", "sip:c;tag=e", "c<sip:d>;x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := ParseNameAddr(data)
		if err != nil {
			return
		}
		text := fmt.Appendf(nil, "<%s>", n.URI)
		if n.Display != nil {
			text = fmt.Appendf(nil, "\"%s\" <%s>", n.Display, n.URI)
		}
		if n.Params != nil {
			text = fmt.Appendf(text, ";%s", n.Params)
		}
		again, err := ParseNameAddr(text)
		if err != nil || !bytes.Equal(again.Display, n.Display) || !bytes.Equal(again.URI, n.URI) || !bytes.Equal(again.Params, n.Params) {
			t.Fatalf("%q: %+v became %q: %+v, %v", data, n, text, again, err)
		}
		if checkParams(n.Params) {
			for rest := n.Params; rest != nil; {
				p, next, _ := nextParam(rest, ';')
				if v, ok := n.Param(string(p.name)); !ok || string(v) != string(p.value) {
					t.Errorf("%q: %q is %q, %v", data, p.name, v, ok)
				}
				rest = next
			}
		}
	})
}

// FuzzVia: what parses is sound in each part, and noting the source keeps it so.
func FuzzVia(f *testing.F) {
	for _, s := range []string{"SIP/2.0/UDP a;branch=z9hG4bKx;rport", "SIP / 2.0 / TCP [::1] : 5 ;received=1.2.3.4;x=\"y;\"", "SIP/2.0/UDP a;maddr=b;ttl=1"} {
		f.Add([]byte(s))
	}
	p := testPool()
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := ParseVia(data)
		if err != nil || !isSafe(data) || len(data) > 60000 {
			return
		}
		if !isToken(v.Transport) || !isHostname(v.Host) && !isIPv6(v.Host) {
			t.Errorf("%q: %+v", data, v)
		}
		m := p.NewRequest(OPTIONS, "sip:a")
		defer m.Release()
		m.Set(HdrVia, data)
		if err := m.SetReceived("192.0.2.1", 7); err != nil {
			t.Fatal(err)
		}
		w, err := m.TopVia()
		if err != nil || string(w.Received) != "192.0.2.1" || w.HasRPort != v.HasRPort || v.HasRPort && w.RPort != 7 ||
			!bytes.Equal(w.Branch, v.Branch) || !bytes.Equal(w.Host, v.Host) || w.Port != v.Port || !bytes.Equal(w.MAddr, v.MAddr) {
			t.Errorf("%q became %q: %v", data, m.Get(HdrVia), err)
		}
		if read, err := ParseVia(m.Get(HdrVia)); err != nil || !reflect.DeepEqual(read, w) {
			t.Errorf("%q is read as %+v, and was kept as %+v: %v", m.Get(HdrVia), read, w, err)
		}
	})
}

// FuzzCredentials: what parses is written in a form that parses to the same.
func FuzzCredentials(f *testing.F) {
	for _, s := range []string{`Digest username="a\"", realm="b",nonce="",uri="sip:c",response="",algorithm=AKAv1-MD5,auts="x",nc=1`, "Digest qop=auth", "Basic a=b"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := ParseCredentials(data); err == nil {
			// These may be quoted in what came and are tokens in what we write; a quoted one may hold anything.
			for _, v := range [][]byte{c.Algorithm, c.QOP, c.NC} {
				if v != nil && !isToken(v) {
					return
				}
			}
			out := c.AppendTo(nil)
			d, err := ParseCredentials(out)
			if string(out) == "Digest " {
				return // none of the parameters was ours
			}
			if again := d.AppendTo(nil); err != nil || !bytes.Equal(again, out) {
				t.Errorf("%q became %q, then %q: %v", data, out, again, err)
			}
		}
		_, _ = ParseChallenge(data)
	})
}

// FuzzAuthenticationInfo: what parses is written in a form that parses to the same.
func FuzzAuthenticationInfo(f *testing.F) {
	for _, s := range []string{`qop=auth, rspauth="6629fae4", cnonce="0a4f113b", nc=00000001`, `nextnonce="a\"b"`, "x=y"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := ParseAuthenticationInfo(data)
		if err != nil || a.QOP != nil && !isToken(a.QOP) || a.NC != nil && !isToken(a.NC) {
			return
		}
		out := a.AppendTo(nil)
		if len(out) == 0 {
			return // none of the parameters was ours
		}
		b, err := ParseAuthenticationInfo(out)
		if again := b.AppendTo(nil); err != nil || !bytes.Equal(again, out) {
			t.Errorf("%q became %q, then %q: %v", data, out, again, err)
		}
	})
}

// FuzzFramer: however the stream is split, the messages are the same, and the parser sees each as the framer did.
func FuzzFramer(f *testing.F) {
	seeds(f, func(data []byte) { f.Add(append(append([]byte("\r\n\r\n"), data...), small...), uint8(3)) })
	p := testPool()
	f.Fuzz(func(t *testing.T, stream []byte, n uint8) {
		if len(stream) > 4096 {
			return
		}
		want := cut(NewFramer(Limits{Poison: true}), stream, len(stream)+1)
		got := cut(p.NewFramer(), stream, int(n)+1)
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Fatalf("in pieces of %d\n%q\nwhole\n%q", int(n)+1, got, want)
		}
		for _, msg := range want {
			m, err := p.Parse([]byte(msg))
			if err != nil {
				continue
			}
			if l, ok := m.ContentLength(); !ok || l != len(m.Body()) {
				t.Fatalf("length %d %v, body %d octets of\n%q", l, ok, len(m.Body()), msg)
			}
			m.Release()
		}
	})
}
