package attack

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"imsafe/secure"
)

// streamSlowloris: connections that are opened and not used.
func streamSlowloris() Attack {
	return Attack{
		ID: "ci.stream.slowloris", Number: "CI-22", Title: "handshakes that never go on",
		Text:     "one host takes all places for those who come, and nobody else gets in",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption}, Module: InfrastructureControl,
		Source: "Slowloris, Hansen 2009", Access: []Access{TLS},
		Bounds: Bounds{Packets: 1300, Bytes: 10_000, Conns: 610, Time: 3 * time.Second},
		Variants: []Variant{{Position: OffPath, Run: openAndWait, Controls: []secure.ControlID{secure.CIAvailabilityDeadline},
			Ours: "it counts who is ended within the deadline of imsafe; others may have a longer one"}},
	}
}

// stalls are connections that were opened and are not used.
const stalls = 600

// stall opens them, each with one octet of a handshake, and counts those that the target ends. over closes them.
func (f *Field) stall(ctx context.Context, to netip.AddrPort) (ended *counter, over func(), err error) {
	ended = &counter{}
	var all sync.WaitGroup
	var conns []net.Conn
	over = func() {
		for _, c := range conns {
			_ = c.Close()
		}
		all.Wait()
	}
	for range stalls {
		conn, err := f.attacker.Dial(ctx, "tcp", Elsewhere(0), to)
		if err != nil {
			over()
			return nil, nil, fmt.Errorf("attack: %w", err)
		}
		conns = append(conns, conn)
		_, _ = conn.Write([]byte{0x16}) // who is turned away already needs none
		all.Go(func() { ended.end(conn) })
	}
	return ended, over, nil
}

func openAndWait(ctx context.Context, f *Field, o *Outcome) error {
	ended, over, err := f.stall(ctx, f.TLS)
	if err != nil {
		return err
	}
	defer over()
	o.Arrived("%d connections, each with one octet of a handshake", stalls)
	err = within(ctx, time.Second, func(ctx context.Context) error {
		_, err := f.Carol(ctx)
		return err
	})
	n, _ := ended.seen()
	o.Wire(n < stalls/10, "the edge ended %d of %d", n, stalls)
	if err != nil {
		o.Users = 1
		o.Peer(true, "carol cannot connect and register: %v", err)
		return nil
	}
	o.Peer(false, "carol connects and registers")
	return nil
}

// end waits until the other side ends a connection.
func (c *counter) end(conn net.Conn) {
	var b [64]byte
	for {
		if _, err := conn.Read(b[:]); err != nil {
			c.add(0)
			return
		}
	}
}
