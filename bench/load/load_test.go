package load

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestHistogram compares quantiles with those of the sorted values: at most a 64th above.
func TestHistogram(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var h, half histogram
	var values []float64
	for i := range 100_000 {
		d := time.Duration(random.ExpFloat64() * float64(20*time.Millisecond)).Truncate(time.Microsecond)
		values = append(values, float64(d/time.Microsecond))
		if i%2 == 0 {
			h.add(d)
		} else {
			half.add(d)
		}
	}
	h.merge(&half)
	slices.Sort(values)
	for _, q := range []float64{0.001, 0.5, 0.9, 0.99, 0.9999, 1} {
		exact := values[int(math.Ceil(q*float64(len(values))))-1]
		if got := float64(h.quantile(q) / time.Microsecond); got < exact || got > exact*(1+1.0/perOctave)+1 {
			t.Errorf("quantile %v is %v us, exactly %v", q, got, exact)
		}
	}
	if l := h.latency(); l.Count != 100_000 || l.Max != int64(values[len(values)-1]) || l.P50 > l.P90 || l.P90 > l.P99 || l.P99 > l.Max {
		t.Errorf("latency %+v", l)
	}
	if l := (&histogram{}).latency(); l != (Latency{}) {
		t.Errorf("latency of nothing: %+v", l)
	}
}

// TestBuckets: every value lies in its step, and steps do not overlap.
func TestBuckets(t *testing.T) {
	for v := uint64(0); v < 1<<31; v += 1 + v/200 {
		b := bucket(v)
		if upper(b) < v || b > 0 && upper(b-1) >= v {
			t.Fatalf("%d is in step %d, which ends at %d; the one before at %d", v, b, upper(b), upper(b-1))
		}
	}
	if bucket(math.MaxUint64) != len(histogram{}.counts)-1 {
		t.Error("what is too long is not in the last step")
	}
}

// TestPoisson: in virtual time, counts of arrivals have the variance of a Poisson process, and the mix is what was asked for.
func TestPoisson(t *testing.T) {
	const rate, seconds = 1000, 400
	a := newArrivals(7, StandardMix(), rate, 0)
	var counts [seconds]float64
	var kinds [scenarios]float64
	for now := time.Duration(0); now < seconds*time.Second; now += 700 * time.Microsecond {
		for {
			kind, at, ok := a.due(now)
			if !ok {
				break
			}
			if at > now || at < now-time.Millisecond {
				t.Fatalf("at %v comes an arrival of %v", now, at)
			}
			counts[min(int(at/time.Second), seconds-1)]++
			kinds[kind]++
		}
	}
	mean, variance := 0.0, 0.0
	for _, c := range counts {
		mean += c / seconds
	}
	for _, c := range counts {
		variance += (c - mean) * (c - mean) / (seconds - 1)
	}
	if math.Abs(mean-rate) > 0.02*rate || variance < 0.7*mean || variance > 1.4*mean {
		t.Errorf("mean %.0f and variance %.0f a second; of a Poisson process both are %d", mean, variance, rate)
	}
	total := mean * seconds
	for k, share := range StandardMix() {
		if got := 100 * kinds[k] / total; math.Abs(got-share) > 1 {
			t.Errorf("%v is %.1f %% of all, not %v", Scenario(k), got, share)
		}
	}
}

func TestParseMix(t *testing.T) {
	for text, want := range map[string]Mix{
		"mix": StandardMix(), "call": {Call: 1}, "call=40,message=60": {Call: 40, Message: 60}, "re-registration": {Reregistration: 1},
	} {
		if got, err := ParseMix(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "calls", "call=x", "call=-1", "call=0", "call=NaN", "call=Inf"} {
		if m, err := ParseMix(text); err == nil {
			t.Errorf("%q is taken as %v", text, m)
		}
	}
}

// TestSearch finds the capacity of an IMS that is good up to it, whatever the first rate.
func TestSearch(t *testing.T) {
	for _, first := range []float64{10, 700, 1000, 50_000} {
		hiccup := true
		f, err := Search(first, 0.05, func(rate float64) (Verdict, error) {
			if hiccup = !hiccup; rate > 1000 || hiccup && rate == 500 {
				return Bad, nil
			}
			return Good, nil
		})
		if err != nil || f.Rate > 1000 || f.Rate < 900 || f.Bad <= 1000 || f.Limited {
			t.Errorf("from %v: %+v, %v", first, f, err)
		}
	}
	f, _ := Search(10, 0.1, func(rate float64) (Verdict, error) {
		if rate > 300 {
			return Limited, nil
		}
		return Good, nil
	})
	if !f.Limited || f.Rate < 250 || f.Rate > 300 || !strings.Contains(f.String(), "at least") {
		t.Errorf("of a weak generator: %+v", f)
	}
	if f, _ := Search(10, 0.1, func(float64) (Verdict, error) { return Bad, nil }); f.Rate != 0 || f.Bad == 0 {
		t.Errorf("of an IMS that does nothing: %+v", f)
	}
	broken := errors.New("socket")
	if _, err := Search(10, 0.1, func(float64) (Verdict, error) { return Good, broken }); !errors.Is(err, broken) {
		t.Errorf("the error is %v", err)
	}
}

// TestWheel: timers fire in time, in any order of arming, after disarming never, also those of several rounds.
func TestWheel(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var w wheel
	const n = 2000
	w.grow(n)
	due := map[int32]time.Duration{}
	for i := range int32(n) {
		at := time.Duration(random.Int64N(int64(100 * time.Second)))
		w.arm(i, time.Hour)
		w.arm(i, at)
		due[i] = at
		if i%5 == 0 {
			w.disarm(i)
			delete(due, i)
		}
	}
	for now := time.Duration(0); now < 101*time.Second; now += 3 * time.Millisecond {
		w.advance(now, func(i int32) {
			at, armed := due[i]
			if !armed || at > now || at < now-4*tick {
				t.Fatalf("timer %d of %v (armed %v) fires at %v", i, at, armed, now)
			}
			delete(due, i)
			if i%7 == 0 && now < 50*time.Second { // from within
				w.arm(i, now+time.Second)
				due[i] = now + time.Second
			}
		})
	}
	if len(due) > 0 {
		t.Errorf("%d timers never fired", len(due))
	}
}

func TestClients(t *testing.T) {
	c := Clients{Addresses: netip.MustParsePrefix("10.1.0.0/30"), FirstPort: 20000, Ports: 2}
	if c.Len() != 4 {
		t.Errorf("%d pairs", c.Len())
	}
	for i, want := range []string{"10.1.0.1:20000", "10.1.0.1:20001", "10.1.0.2:20000", "10.1.0.2:20001"} {
		if got := c.At(i); got.String() != want {
			t.Errorf("UE %d is at %v, not %s", i, got, want)
		}
	}
	one := Clients{Addresses: netip.MustParsePrefix("192.0.2.7/32"), FirstPort: 1, Ports: 3}
	if one.Len() != 3 || one.At(2).String() != "192.0.2.7:3" {
		t.Errorf("%d pairs of one address, the last is %v", one.Len(), one.At(2))
	}
}

const goodTarget = `{"domain":"ims.example.org","proxies":["127.0.0.1:5060"],"subscribers":{"range":{"count":3,"seed":"00112233445566778899aabbccddeeff"}}}`

// TestUsers: what is written for the HSS is read as the same subscribers.
func TestUsers(t *testing.T) {
	target, err := ParseTarget([]byte(goodTarget))
	if err != nil {
		t.Fatal(err)
	}
	for _, scheme := range []string{"AKAv1-MD5", "AKAv2-SHA-256", "MD5"} {
		target.Users.Range.Scheme = scheme
		all, err := target.Users.Range.Subscribers(target.Domain)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := WriteCSV(&b, all); err != nil {
			t.Fatal(err)
		}
		back, err := ParseCSV(&b)
		if err != nil || len(back) != len(all) {
			t.Fatalf("%s: %d of %d came back, %v", scheme, len(back), len(all), err)
		}
		for i := range all {
			if back[i] != all[i] {
				t.Errorf("%s: subscriber %d is another", scheme, i)
			}
		}
		if all[0].IMPI != "u0000000@ims.example.org" || all[0].K == all[1].K && scheme != "MD5" || all[0].K != [16]byte{} && all[0].K == [16]byte(all[0].OPc) {
			t.Errorf("%s: keys are alike", scheme)
		}
	}
}

func TestTargetMistakes(t *testing.T) {
	for _, change := range [][2]string{
		{`"domain"`, `"domaine"`}, {"ims.example.org", "IMS example"}, {`["127.0.0.1:5060"]`, `[]`}, {`127.0.0.1:5060`, `[::1]:5060`}, {`"count":3`, `"count":0`},
		{`"count":3`, `"count":30000000`}, {`"count":3`, `"count":3,"digits":20`}, {`"count":3`, `"count":3,"first":99999999`}, {"0011", "zz11"}, {`"count":3`, `"count":3,"scheme":"none"`},
		{`"proxies"`, `"transport":"sctp","proxies"`}, {`"proxies"`, `"clients":{"ports":100000},"proxies"`}, {`"range"`, `"file":"x","range"`}, {"}}}", "}}} {}"},
		{`"count":3`, `"count":3,"prefix":"a b"`}, {`127.0.0.1:5060`, `192.0.2.1:5060`}, // where the UEs are is not known
	} {
		text := strings.Replace(goodTarget, change[0], change[1], 1)
		if text == goodTarget {
			t.Fatalf("%q is not there", change[0])
		}
		if _, err := ParseTarget([]byte(text)); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
	for _, text := range []string{"", "impi\n", "impi,impu,ki\n", "impi,impu,ki,opc\na@b,sip:a@b,00,11\n", "impi,impu,password\na@b,tel:1,x\n", "impi,impu,password\na@b,sip:a@b\n",
		"impi,impu,password\na\"b,sip:a@b,x\n", "impi,impu,scheme,password\na@b,sip:a@b,none,x\n", "impi,impu,scheme,password\na@b,sip:a@b,MD5,\n"} {
		if all, err := ParseCSV(strings.NewReader(text)); err == nil {
			t.Errorf("%q is taken as %d subscribers", text, len(all))
		}
	}
}

// FuzzTarget: a target that is taken has sound defaults and an address for each UE that it promises one.
func FuzzTarget(f *testing.F) {
	f.Add([]byte(goodTarget))
	f.Add([]byte(`{"domain":"a","proxies":["1.2.3.4:1"],"clients":{"addresses":"10.0.0.0/31","ports":3},"subscribers":{"file":"x"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		target, err := ParseTarget(data)
		if err != nil {
			return
		}
		if n := target.Clients.Len(); n < 1 || !target.Clients.Addresses.Contains(target.Clients.At(n-1).Addr()) || target.Clients.At(0) == target.Clients.At(n-1) && n > 1 {
			t.Fatalf("%d addresses, from %v to %v in %v", n, target.Clients.At(0), target.Clients.At(n-1), target.Clients.Addresses)
		}
		if r := target.Users.Range; target.Users.File == "" && r.Count <= 1000 {
			if all, err := r.Subscribers(target.Domain); err != nil || len(all) != r.Count {
				t.Fatalf("%d subscribers, %v", len(all), err)
			}
		}
	})
}

// FuzzSubscribers: what is taken from a CSV file can stand in a message.
func FuzzSubscribers(f *testing.F) {
	f.Add("impi,ki,opc,impu,scheme\nu1@a.org,00112233445566778899aabbccddeeff,00112233445566778899aabbccddeeff,sip:u1@a.org tel:+1,AKAv1-MD5\n")
	f.Add("impi,impu,password\nu1@a.org,sip:u1@a.org,secret\n")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := ParseCSV(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, s := range all {
			if strings.ContainsAny(s.IMPI+s.IMPU+s.User, "\r\n\"<> \x00") || s.User == "" {
				t.Fatalf("%q, %q", s.IMPI, s.IMPU)
			}
		}
	})
}

func TestProcessStat(t *testing.T) {
	p, err := parseStat([]byte("12 (a) (b c) S 1 12 12 0 -1 4194304 100 0 0 0 250 125 7 8 20 0 4 0 100 1000000 500 18446744073709551615 1 1 0"))
	if err != nil || p.PID != 12 || p.Name != "a) (b c" || p.User != 2.5 || p.System != 1.25 {
		t.Errorf("%+v, %v", p, err)
	}
	for _, bad := range []string{"", "12", "12 (", "x (a) S", "12 (a) S 1 2 3", ") 12 ("} {
		if p, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q is %+v", bad, p)
		}
	}
	own, err := family([]int{os.Getpid()})
	if err != nil || len(own) == 0 || own[0] != os.Getpid() {
		t.Errorf("our family is %v, %v", own, err)
	}
	if all, err := Sample(own[:1]); err != nil || all[0].Resident == 0 {
		t.Errorf("we are %+v, %v", all, err)
	}
}

// golden is a report with something in every field.
func golden() *Report {
	s := stats{Failures: map[Failure]uint64{{Scenario: "call", Step: "INVITE", Code: 503, Cause: "refused"}: 2, {Scenario: "call", Step: "BYE", Cause: "timeout"}: 1},
		Retransmissions: 4, Stray: 3, Malformed: 2, Resynchronisations: 1}
	s.Offered[Call], s.Succeeded[Call], s.Failed[Call] = 1000, 997, 3
	s.Offered[Message], s.Succeeded[Message] = 500, 500
	for i := range 1000 {
		s.latency[stepRing].add(time.Duration(i) * time.Microsecond)
		s.late.add(time.Duration(i/10) * time.Microsecond)
	}
	r := &Report{Target: "ims.example.org over udp", Rate: 150, Seconds: 10, UEs: 100, Registered: 90, CPU: 250, Limits: []string{},
		Processes: []Process{{PID: 7, Name: "imsafe", User: 0.25, System: 0.125, Resident: 100 << 20}}, Settings: Settings{Mix: StandardMix(), Rate: 150, Seed: 1}}
	r.Settings.defaults()
	r.fill(&s)
	r.Generator.Workers, r.Generator.CPU, r.Generator.Busy = 1, 60, 0.01
	r.judge()
	return r
}

// TestGolden holds the form of the report, which programs read. UPDATE=1 writes it anew.
func TestGolden(t *testing.T) {
	r := golden()
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	var people strings.Builder
	if err := r.WriteText(&people); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{"testdata/report.json": string(text) + "\n", "testdata/report.txt": people.String()} {
		if os.Getenv("UPDATE") != "" {
			if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil || string(want) != got {
			t.Errorf("%s is another (%v):\n%s", name, err, got)
		}
	}
}

// TestJudge: a generator that was the bottleneck reports no verdict on the IMS, and one scenario of many may not hide another's failures.
func TestJudge(t *testing.T) {
	if r := golden(); r.verdict() != Bad {
		t.Errorf("3 of 1000 calls failed, and the verdict is %s", r.Verdict)
	}
	for what, spoil := range map[string]func(r *Report){
		"late": func(r *Report) { r.Generator.Late.P99 = 60_000 }, "busy": func(r *Report) { r.Generator.Busy = 0.95 }, "lost": func(r *Report) { r.Generator.Lost = 10 },
		"starved": func(r *Report) { r.Generator.Starved = 10 }, "empty": func(r *Report) { r.Offered = 0 },
	} {
		r := golden()
		spoil(r)
		if r.judge(); r.verdict() != Limited || len(r.Limits) != 1 {
			t.Errorf("%s: %s, %q", what, r.Verdict, r.Limits)
		}
		var text strings.Builder
		if err := r.WriteText(&text); err != nil || strings.Contains(text.String(), "LATENCY") || !strings.Contains(text.String(), "bottleneck") {
			t.Errorf("%s: it reports\n%s", what, &text)
		}
		if r.Withhold(); r.CPU != 0 || len(r.Latencies)+len(r.Scenarios)+len(r.Processes) > 0 || r.Media != nil || len(r.Limits) != 1 {
			t.Errorf("%s: there are figures in %+v", what, r)
		}
	}
	if r := golden(); r.CPU == 0 || len(r.Latencies) == 0 {
		t.Errorf("%+v", r)
	} else if r.Withhold(); r.CPU == 0 || len(r.Latencies) == 0 {
		t.Error("there are no figures of what the generator could bear")
	}
}
