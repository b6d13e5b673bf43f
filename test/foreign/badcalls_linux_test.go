package foreign

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"imsafe/client/isim"
	"imsafe/client/ue"
	"imsafe/config"
	"imsafe/imsbox/charging"
	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/proto/siptxn"
	"imsafe/test/capture"
	"imsafe/test/live"
	"imsafe/test/peer"
	"imsafe/test/relay"
)

// The timers of the node and of all clients, a fifth of the usual ones: what is lost is sent again soon, and all is over soon.
const t1, t2, t4 = 100 * time.Millisecond, 800 * time.Millisecond, time.Second

// TestCallsOverABadNetwork: datagrams are lost, come twice and overtake each other while our clients call, and SIPp where it bears that.
// Each call ends in one way, the same at both ends, and is charged once; of all of them no transaction is left; and tshark finds nothing
// malformed in what we sent.
func TestCallsOverABadNetwork(t *testing.T) {
	peer.Need(t, "sipp")
	peer.Need(t, "tshark")
	if !peer.InNamespace(t) {
		return
	}
	callers, callees := sippUsers("caller", 20), live.NewUsers("callee", 3, live.AKAv1)
	users := live.NewUsers("phone", 12, live.AKAv1)
	n := live.Start(t, live.Options{LogLevel: slog.LevelDebug, Configure: func(c *config.Config) {
		c.Timers.Core = config.SIPTimers{T1: config.Of(t1), T2: config.Of(t2), T4: config.Of(t4)}
	}})
	for _, u := range [][]*live.User{callers, callees, users} {
		if err := n.Provision(t.Context(), u...); err != nil {
			t.Fatal(err)
		}
	}
	bad := relay.Start(t, n.Lab, relay.Options{Seed: 3, Loss: 0.1, Duplicate: 0.2, Delay: time.Millisecond, Jitter: 30 * time.Millisecond})
	// SIPp takes what has overtaken something else for a mistake, so on its way nothing does; and a repeated INVITE, so it only calls.
	straight := relay.Start(t, n.Lab, relay.Options{Seed: 4, Loss: 0.1, Duplicate: 0.2, Delay: 2 * time.Millisecond})
	for _, u := range callees {
		answering := phoneOf(t, u, bad.Address(), func(c *ue.Call) { c.Answer(ue.Voice{}) })
		if _, err := answering.Register(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	phones, answered, refused := callAll(t, users, bad.Address())
	c := capture.New(t, "-d", fmt.Sprintf("udp.port==%d,sip", n.Lab.Port()))
	c.During(t, func() {
		talking := make(chan error, 1)
		go func() { talking <- phones() }()
		r := run{scenario: "caller", transport: "u1", users: inject(t, callers, callees), calls: len(callers), rate: 10, hold: 100 * time.Millisecond,
			t1: t1} // as the node's: what it repeated later would be another transaction, and charged again
		got, err := play(t, straight.Address(), r)
		if err != nil || got.Successful != r.calls {
			t.Errorf("%s: %v, %v", r.scenario, got, err)
		}
		if err := <-talking; err != nil {
			t.Error(err)
		}
	})
	t.Logf("bad: %+v, for SIPp: %+v", bad.Counts(), straight.Counts())
	if b, s := bad.Counts(), straight.Counts(); b.Dropped == 0 || b.Duplicated == 0 || b.Overtaken == 0 || s.Dropped == 0 || s.Duplicated == 0 {
		t.Error("the network was good")
	}
	waitFor(t, "the end of all transactions", func() bool {
		u, err := n.Usage()
		// An INVITE that we sent and that was refused is remembered for timer D, 32 s whatever T1 is (RFC 3261 17.1.1.2).
		return err == nil && u.Tasks == 0 && counter(t, n, "siptxn_servers") == 0 && counter(t, n, "siptxn_clients") <= float64(refused)
	})
	charged(t, n, answered+len(callers), refused) // the last of them when the last call has ended
	c.Good(t, "sip", fmt.Sprintf("udp.srcport == %d", n.Lab.Port()), 300)
}

// callAll makes clients of users, and returns what lets each two of them call each other: answered, busy, given up; and how many calls
// will be answered then, and how many not.
func callAll(t *testing.T, users []*live.User, at netip.AddrPort) (calls func() error, answered, refused int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*live.Patience)
	t.Cleanup(cancel)
	var pairs []func() error
	for i := 0; i < len(users); i += 2 {
		incoming := make(chan *ue.Call, 10)
		alice := phoneOf(t, users[i], at, nil)
		bob := phoneOf(t, users[i+1], at, func(c *ue.Call) { incoming <- c })
		pairs = append(pairs, func() error { return callThrice(ctx, alice, bob, users[i+1].IMPU, incoming) })
		answered, refused = answered+1, refused+2
	}
	return func() error {
		var group errgroup.Group
		for _, pair := range pairs {
			group.Go(pair)
		}
		return group.Wait()
	}, answered, refused
}

// callThrice lets alice call bob: he answers and she hangs up, he is busy, she gives up.
func callThrice(ctx context.Context, alice, bob *ue.UE, bobs string, incoming chan *ue.Call) error {
	for _, u := range []*ue.UE{alice, bob} {
		if _, err := u.Register(ctx); err != nil {
			return fmt.Errorf("registration: %w", err)
		}
	}
	for _, way := range []string{"answered", "busy", "given up"} {
		out, err := alice.Call(ctx, bobs, ue.Voice{})
		if err != nil {
			return fmt.Errorf("a call that is %s: %w", way, err)
		}
		var in *ue.Call
		select {
		case in = <-incoming:
		case <-ctx.Done():
			return fmt.Errorf("a call that is %s does not arrive: %w", way, ctx.Err())
		}
		var want [2]error
		switch way {
		case "answered":
			in.Answer(ue.Voice{})
			for _, c := range []*ue.Call{out, in} {
				if _, err := c.Until(ctx, ue.Answered); err != nil {
					return fmt.Errorf("a call that is %s: %w", way, err)
				}
			}
			out.Hangup()
		case "busy":
			in.Reject(486)
			want[0] = &ue.StatusError{Code: 486} // who refuses ends in order
		default:
			in.Ring() // which may be lost
			out.Hangup()
			want = [2]error{ue.ErrCancelled, ue.ErrCancelled}
		}
		for side, c := range []*ue.Call{out, in} {
			select {
			case <-c.Done():
			case <-ctx.Done():
				return fmt.Errorf("a call that is %s does not end at side %d", way, side)
			}
			if end := c.Result(); !same(end.Err, want[side]) {
				return fmt.Errorf("a call that is %s ends at side %d with %v, %+v", way, side, end.Err, end)
			}
		}
		if len(incoming) > 0 {
			return fmt.Errorf("a call that is %s came twice", way)
		}
	}
	return errors.Join(alice.Deregister(ctx), bob.Deregister(ctx))
}

func same(got, want error) bool {
	var a, b *ue.StatusError
	if errors.As(want, &b) {
		return errors.As(got, &a) && a.Code == b.Code
	}
	return errors.Is(got, want)
}

// phoneOf runs our client of u over lab-udp until the test ends.
func phoneOf(t *testing.T, u *live.User, at netip.AddrPort, onCall func(*ue.Call)) *ue.UE {
	t.Helper()
	card, err := isim.New(isim.Config{Identity: isim.Identity{IMPI: u.IMPI, HomeDomain: live.Domain, IMPUs: []string{u.IMPU}}, K: u.K, OPc: u.OPc,
		State: isim.Volatile{}})
	if err != nil {
		t.Fatal(err)
	}
	timers := siptxn.Derive(t1, t2, t4)
	client, err := ue.New(ue.Config{Card: card, Proxy: at, Transport: ue.UDP, Lab: true, PlainRTP: true, Scheme: aka.AKAv1MD5, Timers: &timers,
		Clock: shard.RealClock(), Rand: rand.Reader, OnCall: onCall,
		ListenPacket: func(local netip.Addr) (net.PacketConn, error) {
			return net.ListenPacket("udp", netip.AddrPortFrom(local, 0).String())
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- client.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return client
}

// charged wants the records of so many calls that were answered and so many that were not: of each half one start and one stop, or one
// event.
func charged(t *testing.T, n *live.Node, answered, refused int) {
	t.Helper()
	halves := map[string][]charging.Type{}
	for cursor := []byte(nil); ; {
		records, next, err := n.Store.Scan(charging.TableCall, nil, cursor, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			record, err := charging.Decode(r.Value)
			if err != nil {
				t.Fatal(err)
			}
			half := record.CallID + " " + record.Role
			halves[half] = append(halves[half], record.Type)
		}
		if cursor = next; next == nil {
			break
		}
	}
	var talked, failed int
	for half, types := range halves {
		switch {
		case slices.Equal(types, []charging.Type{charging.Start, charging.Stop}):
			talked++
		case slices.Equal(types, []charging.Type{charging.Event}):
			failed++
		default:
			t.Errorf("%s has the records %v", half, types)
		}
	}
	if talked != 2*answered || failed != 2*refused {
		t.Errorf("%d halves are charged as answered and %d as not, want %d and %d", talked, failed, 2*answered, 2*refused)
	}
}
