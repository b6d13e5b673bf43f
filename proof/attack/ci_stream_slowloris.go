package attack

import (
	"context"
	"fmt"
	"net"
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
		Bounds:   Bounds{Packets: 1300, Bytes: 10_000, Conns: 610, Time: 3 * time.Second},
		Variants: []Variant{{Position: OffPath, Run: openAndWait, Controls: []secure.ControlID{secure.CIAvailabilityDeadline}}},
	}
}

func openAndWait(ctx context.Context, f *Field, o *Outcome) error {
	const times = 600
	var ended counter
	var all sync.WaitGroup
	defer all.Wait()
	for range times {
		conn, err := f.attacker.Dial(ctx, "tcp", Elsewhere(0), f.TLS)
		if err != nil {
			return fmt.Errorf("attack: %w", err)
		}
		defer conn.Close()
		_, _ = conn.Write([]byte{0x16}) // of a handshake; who is turned away already needs none
		all.Go(func() { ended.end(conn) })
	}
	o.Arrived("%d connections, each with one octet of a handshake", times)
	err := within(ctx, time.Second, func(ctx context.Context) error {
		_, err := f.Carol(ctx)
		return err
	})
	n, _ := ended.seen()
	o.Wire(n < times/10, "the edge ended %d of %d", n, times)
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
