package trace

import (
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

type counters struct {
	PacketsIn atomic.Uint64 `help:"Datagrams read."`
	RTPOctets atomic.Uint64
	Conns     atomic.Int64
	own       atomic.Uint64
	Name      string
}

func TestCountersOfSeveralShardsAreAddedUp(t *testing.T) {
	a, b := &counters{}, &counters{}
	a.PacketsIn.Add(3)
	b.PacketsIn.Add(4)
	b.Conns.Add(-2)
	a.own.Add(1)
	r := NewRegistry()
	if err := r.Counters("siptransport", a, b); err != nil {
		t.Fatal(err)
	}
	values, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{
		"imsafe_siptransport_packets_in_total": 7,
		"imsafe_siptransport_rtp_octets_total": 0,
		"imsafe_siptransport_conns":            -2,
	} {
		if got, ok := values[name]; !ok || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for name := range values {
		if strings.HasPrefix(name, "imsafe_") && strings.Contains(name, "own") {
			t.Errorf("a field of the room's own is exported as %s", name)
		}
	}
}

func TestLabelled(t *testing.T) {
	r := NewRegistry()
	each := func(yield func(string, uint64) bool) {
		_ = yield("ci.authentication.aka", 5) && yield("ci.integrity.framer", 0)
	}
	if err := r.Labelled("secure", "refused_total", "Refusals by control.", "control", each); err != nil {
		t.Fatal(err)
	}
	if err := r.Gauge("store", "journal_octets", "Octets in the journal.", func() float64 { return 9 }); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{`imsafe_secure_refused_total{control="ci.authentication.aka"} 5`, "imsafe_store_journal_octets 9", "go_goroutines"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %s in the page", want)
		}
	}
}

func TestRegistryRefuses(t *testing.T) {
	type empty struct{ A int }
	none := func(func(string, uint64) bool) {}
	for name, register := range map[string]func(r *Registry) error{
		"identity as a label":   func(r *Registry) error { return r.Labelled("scscf", "calls_total", "", "impu", none) },
		"counter without total": func(r *Registry) error { return r.Labelled("scscf", "calls", "", "reason", none) },
		"a name that is none":   func(r *Registry) error { return r.Gauge("scscf", "Calls-now", "", nil) },
		"a room that is none":   func(r *Registry) error { return r.Counters("imsbox/scscf", &counters{}) },
		"no pointer":            func(r *Registry) error { return r.Counters("scscf", empty{}) },
		"no counters":           func(r *Registry) error { return r.Counters("scscf", &empty{}) },
		"nothing":               func(r *Registry) error { return r.Counters("scscf") },
		"two types":             func(r *Registry) error { return r.Counters("scscf", &counters{}, &empty{}) },
		"twice": func(r *Registry) error {
			_ = r.Counters("scscf", &counters{})
			return r.Counters("scscf", &counters{})
		},
	} {
		if err := register(NewRegistry()); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSnake(t *testing.T) {
	for name, want := range map[string]string{
		"PacketsIn": "packets_in", "RTPOctets": "rtp_octets", "SentRTP": "sent_rtp", "Conns": "conns",
	} {
		if got := snake(name); got != want {
			t.Errorf("snake(%q) = %q, want %q", name, got, want)
		}
	}
}
