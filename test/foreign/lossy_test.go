package foreign

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"imsafe/proto/sip"
	"imsafe/test/live"
	"imsafe/test/relay"
)

// TestSIPpOverALossyNetwork: one datagram in ten is lost in each direction. Within the time of a transaction (RFC 3261 17: 64 T1)
// registrations and calls come to their end all the same. SIPp takes what is duplicated or overtaken for a mistake, so that is not
// in this test: see the next.
func TestSIPpOverALossyNetwork(t *testing.T) {
	users, callers, callees := sippUsers("sipp", 40), sippUsers("caller", 20), sippUsers("callee", 3)
	n := start(t, users, callers, callees)
	r := relay.Start(t, n.Lab, relay.Options{Seed: 1, Loss: 0.1, Delay: 2 * time.Millisecond})
	plays := func(r run, at *relay.Relay) {
		got, err := play(t, at.Address(), r)
		t.Logf("%s: %v, %+v", r.scenario, got, at.Counts())
		if err != nil || got.Successful != r.calls {
			t.Errorf("%s: %v, %v", r.scenario, got, err)
		}
	}
	plays(run{scenario: "register", transport: "u1", users: inject(t, users, nil), calls: len(users), rate: 40, expires: 600}, r)
	presentAt(t, n, r.Address(), "u1", "callee", callees, 12*time.Second, func() {
		plays(run{scenario: "caller", transport: "u1", users: inject(t, callers, callees), calls: len(callers), rate: 20, hold: 100 * time.Millisecond}, r)
	})
	if got := r.Counts(); got.Dropped < got.Received/20 {
		t.Errorf("the network was good: %+v", got)
	}
}

// TestMessagesOverABadNetwork: datagrams are lost, come twice and overtake each other. Every message arrives, answered once to its
// sender, and no copy of it becomes a second message.
func TestMessagesOverABadNetwork(t *testing.T) {
	const each = 5
	users := live.NewUsers("bad", 10, live.AKAv1)
	n := start(t, users)
	r := relay.Start(t, n.Lab, relay.Options{Seed: 2, Loss: 0.1, Duplicate: 0.2, Delay: time.Millisecond, Jitter: 30 * time.Millisecond})
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	var writers, readers []*live.Phone
	var group errgroup.Group
	for i, u := range users {
		conn, err := net.Dial("udp", r.Address().String())
		if err != nil {
			t.Fatal(err)
		}
		p := live.NewPhone(conn, "udp", u)
		t.Cleanup(p.Close)
		group.Go(func() error { return p.Register(ctx, 600) })
		if i%2 == 0 {
			writers = append(writers, p)
		} else {
			readers = append(readers, p)
		}
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	reading, stop := context.WithCancel(ctx)
	var listening errgroup.Group
	for _, p := range readers {
		listening.Go(func() error { return readAll(reading, p, each) })
	}
	for i, p := range writers {
		group.Go(func() error {
			for k := range each {
				to := readers[i].IMPU
				m, err := p.Ask(ctx, p.Request("MESSAGE", to, to, fmt.Sprint("number ", k), "Content-Type: text/plain"))
				if err != nil || m.Status() != 200 {
					return fmt.Errorf("message %d of %s: %v, %w", k, p.Name, m, err)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	stop()
	if err := listening.Wait(); err != nil {
		t.Error(err)
	}
	got := r.Counts()
	t.Logf("%+v", got)
	if got.Dropped == 0 || got.Duplicated == 0 || got.Overtaken == 0 {
		t.Errorf("the network was good: %+v", got)
	}
}

// readAll answers messages until ctx ends and wants to have heard so many, each in one transaction of the node's.
func readAll(ctx context.Context, p *live.Phone, want int) error {
	branches := map[string]string{} // by body
	for ctx.Err() == nil {
		m, err := p.Read(100 * time.Millisecond)
		if err != nil || m.Method() != sip.MESSAGE {
			continue
		}
		via, err := m.TopVia()
		if err != nil {
			return err
		}
		if former, again := branches[string(m.Body())]; again && former != string(via.Branch) {
			return fmt.Errorf("%s heard %q twice, as %s and %s", p.Name, m.Body(), former, via.Branch)
		}
		branches[string(m.Body())] = string(via.Branch)
		if err := p.Answer(m, 200); err != nil {
			return err
		}
	}
	if len(branches) != want {
		return fmt.Errorf("%s heard %d messages, want %d", p.Name, len(branches), want)
	}
	return nil
}
