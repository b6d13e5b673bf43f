package foreign

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"imsafe/test/live"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var transports = map[string]string{"udp": "u1", "tcp": "t1"}

// must plays and wants every play to succeed.
func must(t *testing.T, n *live.Node, r run) {
	t.Helper()
	got, err := play(t, n.Lab, r)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s over %s: %v", r.scenario, r.transport, got)
	if got.Successful != r.calls || got.Failed != 0 {
		t.Fatalf("%s: %v", r.scenario, got)
	}
}

// start starts a node that knows users.
func start(t *testing.T, users ...[]*live.User) *live.Node {
	t.Helper()
	n := live.Start(t, live.Options{LogLevel: slog.LevelDebug})
	for _, u := range users {
		if err := n.Provision(context.Background(), u...); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func TestSIPpRegistersRefreshesAndLeaves(t *testing.T) {
	for name, transport := range transports {
		t.Run(name, func(t *testing.T) {
			users := sippUsers("sipp", 5)
			n := start(t, users)
			r := run{scenario: "register", transport: transport, port: freePort(t), users: inject(t, users, nil), calls: len(users), rate: 50, expires: 600}
			must(t, n, r)
			must(t, n, r) // the same contact again, over TCP by a new connection
			if got := n.SCSCF.Registered(); got != len(users) {
				t.Errorf("%d users are registered, want %d", got, len(users))
			}
			r.expires = 0
			must(t, n, r)
			if got := n.SCSCF.Registered(); got != 0 {
				t.Errorf("%d users are registered after all left", got)
			}
		})
	}
}

// present lets callees be registered at an SIPp of their own, which plays ooc when they are called, while during runs.
func present(t *testing.T, n *live.Node, transport, ooc string, callees []*live.User, stay time.Duration, during func()) {
	t.Helper()
	presentAt(t, n, n.Lab, transport, ooc, callees, stay, during)
}

// presentAt is present where the callees talk to another address than the node's: to a relay.
func presentAt(t *testing.T, n *live.Node, at netip.AddrPort, transport, ooc string, callees []*live.User, stay time.Duration, during func()) {
	t.Helper()
	before := n.SCSCF.Registered()
	done := make(chan error, 1)
	file := inject(t, callees, nil)
	go func() {
		_, err := play(t, at, run{scenario: "stay", transport: transport, users: file, calls: len(callees), rate: 200, hold: stay, ooc: ooc})
		done <- err
	}()
	deadline := time.Now().Add(15 * time.Second)
	for n.SCSCF.Registered() < before+len(callees) {
		select {
		case err := <-done:
			t.Fatalf("the callees left before they were called: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Errorf("%d callees are registered, want %d", n.SCSCF.Registered()-before, len(callees))
			break
		}
	}
	during()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestSIPpCalls(t *testing.T) {
	for name, transport := range transports {
		t.Run(name, func(t *testing.T) {
			callers, callees := sippUsers("caller", 5), sippUsers("callee", 3)
			n := start(t, callers, callees)
			present(t, n, transport, "callee", callees, 1500*time.Millisecond, func() {
				must(t, n, run{scenario: "caller", transport: transport, users: inject(t, callers, callees), calls: len(callers), rate: 50, hold: 100 * time.Millisecond})
			})
		})
	}
}

func TestSIPpSendsMessages(t *testing.T) {
	for name, transport := range transports {
		t.Run(name, func(t *testing.T) {
			senders, readers := sippUsers("sender", 5), sippUsers("reader", 3)
			n := start(t, senders, readers)
			present(t, n, transport, "reader", readers, time.Second, func() {
				must(t, n, run{scenario: "sender", transport: transport, users: inject(t, senders, readers), calls: len(senders), rate: 50})
			})
		})
	}
}
