package foreign

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// loadTime is how long the load lasts. IMSAFE_LOAD makes it longer (or shorter), such as IMSAFE_LOAD=1m.
func loadTime(t *testing.T) time.Duration {
	if s := os.Getenv("IMSAFE_LOAD"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if testing.Short() {
		return time.Second
	}
	return 5 * time.Second
}

// TestSIPpLoad offers 200 registrations and 50 calls per second, over UDP and TCP, and wants at most one play in a thousand to
// fail (ETSI TS 186 008-2 6.1: inadequately handled scenarios).
func TestSIPpLoad(t *testing.T) {
	const perMille = 0.001
	seconds := int(loadTime(t).Seconds())
	overUDP, overTCP := sippUsers("udp", 140*seconds), sippUsers("tcp", 60*seconds)
	callers, callees := sippUsers("caller", 50*seconds), sippUsers("callee", 50)
	n := start(t, overUDP, overTCP, callers, callees)
	runs := []run{
		{scenario: "register", transport: "u1", users: inject(t, overUDP, nil), calls: len(overUDP), rate: 140, expires: 600},
		{scenario: "register", transport: "t1", users: inject(t, overTCP, nil), calls: len(overTCP), rate: 60, expires: 600},
		{scenario: "caller", transport: "u1", users: inject(t, callers[:30*seconds], callees), calls: 30 * seconds, rate: 30, hold: 100 * time.Millisecond},
		{scenario: "caller", transport: "t1", users: inject(t, callers[30*seconds:], callees), calls: 20 * seconds, rate: 20, hold: 100 * time.Millisecond},
	}
	results := make([]result, len(runs))
	present(t, n, "u1", "callee", callees, func() {
		var group errgroup.Group
		for i, r := range runs {
			group.Go(func() (err error) {
				results[i], err = play(t, n.Lab, r)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
	})
	for i, r := range runs {
		t.Logf("%s over %s at %d/s: %v", r.scenario, r.transport, r.rate, results[i])
		if got := results[i]; got.Created != r.calls || got.failures() > perMille {
			t.Errorf("%s over %s: %v", r.scenario, r.transport, got)
		}
	}
	got, err := n.Counters()
	if err != nil {
		t.Fatal(err)
	}
	if lost := got["charging_records_lost"]; lost > 0 {
		t.Errorf("%v call records lost", lost)
	}
	// Plays try again when SIPp has cut a RES, one in 32 times. More vectors than that would be refusals of ours.
	vectors, accepted := got["hss_vectors"], got["hss_server_assignment_answers"]
	t.Logf("%v vectors for %v registrations", vectors, accepted)
	if accepted == 0 || vectors > 1.08*accepted+5 {
		t.Errorf("%v vectors for %v registrations", vectors, accepted)
	}
}
