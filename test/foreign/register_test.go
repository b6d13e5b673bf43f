package foreign

import (
	"context"
	"log/slog"
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
func present(t *testing.T, n *live.Node, transport, ooc string, callees []*live.User, during func()) {
	t.Helper()
	before := n.SCSCF.Registered()
	leave := stay(t, n, run{transport: transport, users: inject(t, callees, nil), calls: len(callees), rate: 200, ooc: ooc})
	defer leave()
	waitFor(t, "the callees' registrations", func() bool { return n.SCSCF.Registered() >= before+len(callees) })
	during()
}

// stay lets an SIPp register the users of r, which stay until leave is called: how long they are needed nobody knows before.
func stay(t *testing.T, n *live.Node, r run) (leave func()) {
	t.Helper()
	until, done := make(chan struct{}), make(chan error, 1)
	r.scenario, r.until, r.hold = "stay", until, playLimit
	go func() {
		_, err := play(t, n.Lab, r)
		done <- err
	}()
	return func() {
		t.Helper()
		close(until)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestSIPpCalls(t *testing.T) {
	for name, transport := range transports {
		t.Run(name, func(t *testing.T) {
			callers, callees := sippUsers("caller", 5), sippUsers("callee", 3)
			n := start(t, callers, callees)
			present(t, n, transport, "callee", callees, func() {
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
			present(t, n, transport, "reader", readers, func() {
				must(t, n, run{scenario: "sender", transport: transport, users: inject(t, senders, readers), calls: len(senders), rate: 50})
			})
		})
	}
}
