package filter

import (
	"strings"
	"testing"

	"imsafe/refpoint/cx"
)

// typical is a profile of five criteria with three triggers each, as operators write them.
func typical() []cx.InitialFilterCriteria {
	const mmtel, smsip, chat = `3gpp-service\.ims\.icsi\.mmtel`, `\+g\.3gpp\.smsip`, `icsi\.(chat|oma\.cpm\.(msg|largemsg))`
	return []cx.InitialFilterCriteria{
		criterion(10, true, method("INVITE", 0), sessionCase(cx.TerminatingRegistered, 1), in(header("P-Asserted-Service", mmtel), 2)),
		criterion(20, true, method("INVITE", 0), sessionCase(cx.OriginatingRegistered, 1), in(header("P-Asserted-Service", mmtel), 2)),
		criterion(30, true, method("MESSAGE", 0), sessionCase(cx.OriginatingRegistered, 1), in(header("Accept-Contact", smsip), 2)),
		criterion(40, true, method("INVITE", 0), in(header("Accept-Contact", chat), 1), in(not(line("m", "^(message|image) ")), 2)),
		criterion(50, false, in(method("INVITE"), 0), in(requestURI(`^(conf|mcu)[0-9]*\.ims\.example$`), 0), in(not(header("Privacy", "user")), 0)),
	}
}

// large is an INVITE of two kilobytes.
func large(t testing.TB) Request {
	m := invite(t)
	for _, h := range []string{"Route", "P-Access-Network-Info", "P-Charging-Vector", "User-Agent", "X-Note"} {
		m.SetName(h, []byte("<sip:orig@scscf.ims.example;lr;token="+strings.Repeat("0123456789abcdef", 8)+">"))
	}
	m.SetBody("application/sdp", []byte(description+strings.Repeat("a=fmtp:104 mode-change-capability=2;max-red=220\r\n", 4)))
	if n := m.Size(); n < 1900 || n > 2300 {
		t.Fatalf("%d octets", n)
	}
	return Request{Message: m}
}

func BenchmarkEvaluate(b *testing.B) {
	r := large(b)
	run := func(name string, f *Filter, matches int) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				e := f.Evaluate(r)
				for c := e.Next(); c != nil; c = e.Next() {
					n++
				}
				if n != matches || e.Err() != nil {
					b.Fatal(n, e.Err())
				}
			}
		})
	}
	run("no criteria", nil, 0)
	run("one without trigger", compiled(b, criterion(1, true)), 1)
	run("typical", compiled(b, typical()...), 1)
	run("another method", compiled(b, criterion(1, true, method("REGISTER")), criterion(2, true, method("MESSAGE"))), 0)
}

// BenchmarkTooMuch is the most that one evaluation can take.
func BenchmarkTooMuch(b *testing.B) {
	var criteria []cx.InitialFilterCriteria
	for i := range 16 {
		criteria = append(criteria, criterion(i, true, line("a", strings.Repeat("[ab]{0,90}", 5)+string(rune('c'+i)))))
	}
	f := compiled(b, criteria...)
	m := request(b, "INVITE sip:b@h.example", "", "")
	m.SetBody("application/sdp", []byte(strings.Repeat("a="+strings.Repeat("ab", 500)+"\r\n", 60)))
	for b.Loop() {
		e := f.Evaluate(Request{Message: m})
		if e.Next() != nil || e.Err() == nil {
			b.Fatal("not too much")
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	p := profile(typical()...)
	b.Run("typical", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Compile(p, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("known to the library", func(b *testing.B) {
		b.ReportAllocs()
		l := NewLibrary(nil, 1)
		for b.Loop() {
			if _, err := l.Compile(0, p); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestAllocations: an evaluation takes no memory, and neither does a walk with cursors.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	f, r := compiled(t, append(typical(), criterion(60, true, header("X-.*", "[0-9]$")), criterion(61, true, line("[am]", "^v.*[0-9]")))...), large(t)
	n := testing.AllocsPerRun(200, func() {
		e := f.Evaluate(r)
		for c := e.Next(); c != nil; c = e.Next() {
			rest := f.Resume(r, e.Cursor())
			rest.Next()
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
