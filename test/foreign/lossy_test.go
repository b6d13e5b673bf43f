package foreign

import (
	"context"
	"errors"
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
// in this test: see the next. Nor can it be called here: it hangs up when an INVITE is sent again after its 200 was.
func TestSIPpOverALossyNetwork(t *testing.T) {
	users, callers, callees := sippUsers("sipp", 40), sippUsers("caller", 20), live.NewUsers("callee", 3, live.AKAv1)
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
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	var called errgroup.Group
	for _, p := range phonesAt(ctx, t, r, callees) {
		called.Go(func() error { return answerAll(ctx, p) })
	}
	plays(run{scenario: "caller", transport: "u1", users: inject(t, callers, callees), calls: len(callers), rate: 20, hold: 100 * time.Millisecond}, r)
	leave()
	if err := called.Wait(); err != nil {
		t.Error(err)
	}
	if got := r.Counts(); got.Dropped < got.Received/20 {
		t.Errorf("the network was good: %+v", got)
	}
}

// phonesAt registers a phone for each user, through a relay.
func phonesAt(ctx context.Context, t *testing.T, r *relay.Relay, users []*live.User) (phones []*live.Phone) {
	t.Helper()
	var group errgroup.Group
	for _, u := range users {
		conn, err := net.Dial("udp", r.Address().String())
		if err != nil {
			t.Fatal(err)
		}
		p := live.NewPhone(conn, "udp", u)
		t.Cleanup(p.Close)
		group.Go(func() error { return p.Register(ctx, 600) })
		phones = append(phones, p)
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	return phones
}

// answer200 is a 200 to INVITE that its caller has not acknowledged.
type answer200 struct {
	octets string
	next   time.Time
	wait   time.Duration
}

// answerAll answers calls until ctx ends. A 200 to INVITE is sent again until its ACK comes (RFC 3261 13.3.1.4: T1, doubled up to T2).
func answerAll(ctx context.Context, p *live.Phone) error {
	const t1, t2 = 500 * time.Millisecond, 4 * time.Second
	open := map[string]*answer200{} // by Call-ID
	known := map[string]bool{}
	for ctx.Err() == nil {
		for _, a := range open {
			if now := time.Now(); now.After(a.next) {
				a.wait = min(2*a.wait, t2)
				a.next = now.Add(a.wait)
				if err := p.Write(a.octets); err != nil {
					return err
				}
			}
		}
		m, err := p.Read(50 * time.Millisecond)
		if err != nil || !m.IsRequest() {
			continue
		}
		call := string(m.Get(sip.HdrCallID))
		switch m.Method() {
		case sip.INVITE:
			if known[call] {
				continue
			}
			known[call] = true
			lines := []string{"Contact: " + p.Contact()}
			for route := range m.Values(sip.HdrRecordRoute) {
				lines = append(lines, "Record-Route: "+string(route))
			}
			open[call] = &answer200{octets: p.Response(m, 200, lines...), next: time.Now().Add(t1), wait: t1}
			err = errors.Join(p.Answer(m, 180, lines...), p.Write(open[call].octets))
		case sip.ACK:
			delete(open, call)
		default:
			err = p.Answer(m, 200)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// TestMessagesOverABadNetwork: datagrams are lost, come twice and overtake each other. Every message arrives, answered once to its
// sender, and no copy of it becomes a second message.
func TestMessagesOverABadNetwork(t *testing.T) {
	const each = 5
	users := live.NewUsers("bad", 10, live.AKAv1)
	n := start(t, users)
	r := relay.Start(t, n.Lab, relay.Options{Seed: 2, Loss: 0.1, Duplicate: 0.2, Delay: time.Millisecond, Jitter: 30 * time.Millisecond})
	ctx, cancel := context.WithTimeout(context.Background(), 3*live.Patience)
	defer cancel()
	var writers, readers []*live.Phone
	var group errgroup.Group
	for i, p := range phonesAt(ctx, t, r, users) {
		if i%2 == 0 {
			writers = append(writers, p)
		} else {
			readers = append(readers, p)
		}
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
