package overload

import (
	"testing"
	"time"

	"imsafe/proto/sip"
)

// TestReports reads and writes the examples of RFC 7339 6 and RFC 7415 4.
func TestReports(t *testing.T) {
	request := `SIP/2.0/TLS p1.example.net;branch=z9hG4bK2d4790.1;oc;oc-algo="loss,A"`
	if s := Offered([]byte(request)); !s.Has(Loss) || s.Has(Rate) {
		t.Errorf("%s offers %b", request, s)
	}
	if s := Offered([]byte(`SIP/2.0/TLS p1.example.net;branch=z9hG4bK2d4790.1;received=192.0.2.111;oc;oc-algo="loss,rate"`)); !s.Has(Loss) || !s.Has(Rate) {
		t.Errorf("loss and rate: %b", s)
	}
	for text, want := range map[string]Report{
		`SIP/2.0/TLS p1.example.net;branch=z9hG4bK2d4790.1;received=192.0.2.111;oc=0;oc-algo="loss";oc-validity=0`: {Algorithm: Loss},
		`SIP/2.0/TLS p1.example.net;branch=z9hG4bK2d4790.3;received=192.0.2.111;oc=20;oc-algo="loss";oc-validity=500;oc-seq=1282321615.782`: {
			Algorithm: Loss, Value: 20, Validity: 500 * time.Millisecond, Seq: 1282321615_78200},
		`SIP/2.0/TLS p1.example.net;branch=z9hG4bK2d4790.1;received=192.0.2.111;oc=0;oc-algo="rate";oc-validity=0;oc-seq=1282321615.781`: {
			Algorithm: Rate, Seq: 1282321615_78100},
		`SIP/2.0/UDP a;OC=7;Oc-Algo="rate"`: {Algorithm: Rate, Value: 7, Validity: DefaultValidity},
	} {
		if r, ok := Reported([]byte(text)); !ok || r != want {
			t.Errorf("%s\n is %+v, %v, wants %+v", text, r, ok, want)
		}
		again := AppendReport(nil, []byte(text), want)
		if r, ok := Reported(again); !ok || r != want {
			t.Errorf("%+v is written as %s", want, again)
		}
	}
	want := `SIP/2.0/TLS p1.example.net;branch=z9hG4bK2d4790.1;oc=20;oc-algo="loss";oc-validity=500;oc-seq=1282321615.00042`
	if got := AppendReport(nil, []byte(request), Report{Loss, 20, 500 * time.Millisecond, 1282321615_00042}); string(got) != want {
		t.Errorf("%s", got)
	}
}

// TestReportsRefuses gives what says nothing, or nothing that is true.
func TestReportsRefuses(t *testing.T) {
	for _, text := range []string{
		"SIP/2.0/TLS oc.example;branch=z9hG4bKoc", `SIP/2.0/TLS a;branch=z9hG4bK1;oc;oc-algo="loss"`, `SIP/2.0/TLS a;oc=101;oc-algo="loss"`,
		`SIP/2.0/TLS a;oc=10`, `SIP/2.0/TLS a;oc=10;oc-algo="window"`, `SIP/2.0/TLS a;oc=-1;oc-algo="loss"`, `SIP/2.0/TLS a;oc=10;oc-algo="loss";oc-validity=x`,
		`SIP/2.0/TLS a;oc=10;oc-algo="loss";oc-seq=1`, `SIP/2.0/TLS a;oc=10;oc-algo="loss";oc-seq=1234567890123.1`, `SIP/2.0/TLS a;oc=99999999999;oc-algo="rate"`,
		`SIP/2.0/TLS a;oc=10;oc-algo="loss";oc-seq=1.123456`, "SIP/2.0/TLS a",
	} {
		if r, ok := Reported([]byte(text)); ok {
			t.Errorf("%s is %+v", text, r)
		}
	}
	for _, text := range []string{"SIP/2.0/TLS a;oc=5", "SIP/2.0/TLS a;branch=oc", "SIP/2.0/TLS oc", `SIP/2.0/TLS a;oc-algo="loss"`, `SIP/2.0/TLS a;oc;oc-algo="A"`} {
		if s := Offered([]byte(text)); s != 0 {
			t.Errorf("%s offers %b", text, s)
		}
	}
}

// TestWithout takes off what is for one hop only, and nothing else.
func TestWithout(t *testing.T) {
	for text, want := range map[string]string{
		`SIP/2.0/TLS a;branch=z9hG4bK1;oc;oc-algo="loss"`:               "SIP/2.0/TLS a;branch=z9hG4bK1",
		`SIP/2.0/TLS a ; oc = 5;oc-seq=1.2;rport;OC-VALIDITY=3;ocean=1`: "SIP/2.0/TLS a ;rport;ocean=1",
		`SIP/2.0/TLS a;x="1;oc=3";y`:                                    `SIP/2.0/TLS a;x="1;oc=3";y`,
		"SIP/2.0/TLS a":                                                 "SIP/2.0/TLS a",
	} {
		if got := AppendWithout(nil, []byte(text)); string(got) != want {
			t.Errorf("%s is %s, wants %s", text, got, want)
		}
		if Says([]byte(want)) || Says([]byte(text)) != (text != want) {
			t.Errorf("%s: Says is wrong", text)
		}
	}
}

// TestThrottleLoss holds the shares of RFC 7339 7.2: less important requests first, and in all what was asked for.
func TestThrottleLoss(t *testing.T) {
	for _, x := range []struct {
		value       uint32
		first, rest float64 // what is held back of those that may be, and of the important ones; 40 % may be
	}{{0, 0, 0}, {10, 0.25, 0}, {40, 1, 0}, {70, 1, 0.5}, {100, 1, 1}} {
		var th Throttle
		var held, came [2]float64
		now := time.Second
		for i := range 20_000 {
			now += time.Millisecond
			if i%100 == 0 {
				th.Heard(Report{Loss, x.value, DefaultValidity, SeqOf(time.Unix(int64(i)+1, 0))}, now)
			}
			kind := 0
			if i%5 >= 2 {
				kind = 1
			}
			admitted := th.Admits(kind == 1, now)
			if i < 2000 {
				continue
			}
			if came[kind]++; !admitted {
				held[kind]++
			}
		}
		if a, b := held[0]/came[0], held[1]/came[1]; a < x.first-0.02 || a > x.first+0.02 || b < x.rest-0.02 || b > x.rest+0.02 {
			t.Errorf("oc=%d: %.2f and %.2f are held back, wants %.2f and %.2f", x.value, a, b, x.first, x.rest)
		}
	}
}

// TestThrottleRate holds the rate (RFC 7415 3.5), lets important requests go first, and ends with the report.
func TestThrottleRate(t *testing.T) {
	var th Throttle
	now, sent, important := time.Second, 0, 0
	for i := range 10_000 {
		now += time.Millisecond
		if i%100 == 0 {
			th.Heard(Report{Rate, 50, DefaultValidity, SeqOf(time.Unix(int64(i)+1, 0))}, now)
		}
		if th.Admits(false, now) {
			sent++
		}
		if i%100 == 50 && th.Admits(true, now) {
			sent++
			important++
		}
	}
	if sent < 490 || sent > 515 || important != 100 {
		t.Errorf("%d requests in 10 s at 50 a second, %d of 100 important ones", sent, important)
	}
	th.Heard(Report{Rate, 0, time.Second, SeqOf(time.Unix(1<<20, 0))}, now)
	if th.Admits(true, now) {
		t.Error("a rate of nothing lets something through")
	}
	if now += time.Second; !th.Admits(false, now) {
		t.Error("the report holds for longer than it says")
	}
}

// TestThrottleOrder takes responses that come late, twice, and from a server that counts anew (RFC 7339 4.4, 5.4, 5.7).
func TestThrottleOrder(t *testing.T) {
	var th Throttle
	now := time.Second
	at := func(s int64) Seq { return SeqOf(time.Unix(s, 0)) }
	hears := func(value uint32, validity time.Duration, seq Seq, held bool, what string) {
		t.Helper()
		th.Heard(Report{Loss, value, validity, seq}, now)
		if th.Admits(false, now) == held {
			t.Errorf("%s: held back is %v", what, !held)
		}
	}
	hears(100, time.Second, at(10_000), true, "an overload")
	hears(0, time.Second, at(9_999), true, "an older response")
	hears(0, time.Second, at(10_000), true, "the same again")
	hears(0, 0, at(10_001), false, "the end of it")
	hears(100, time.Second, at(10_002), true, "another one")
	hears(0, 0, at(5), false, "a server that counts anew")
	hears(100, time.Second, 0, true, "a server that does not count")
}

func FuzzReport(f *testing.F) {
	f.Add([]byte(`SIP/2.0/TLS p1.example.net;branch=z9hG4bK2d4790.3;oc=20;oc-algo="loss";oc-validity=500;oc-seq=1282321615.782`))
	f.Add([]byte(`SIP/2.0/TLS p1.example.net;branch=z9hG4bK2d4790.1;oc;oc-algo="loss,A"`))
	f.Fuzz(func(t *testing.T, via []byte) {
		r, ok := Reported(via)
		Offered(via)
		if _, err := sip.ParseVia(via); err != nil {
			return
		}
		clean := AppendWithout(nil, via)
		if v, err := sip.ParseVia(clean); err != nil || Says(clean) {
			t.Errorf("%q without it is %q: %+v, %v", via, clean, v, err)
		}
		again := AppendReport(nil, via, r)
		if back, good := Reported(again); ok && (!good || back != r) {
			t.Errorf("%q: %+v is written as %q, which is %+v", via, r, again, back)
		}
	})
}
