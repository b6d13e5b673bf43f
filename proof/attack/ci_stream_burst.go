package attack

import (
	"context"
	"crypto/tls"
	"net/netip"
	"time"

	"imsafe/secure"
)

// streamBurst: one host connects as fast as it can. Each connection ends at once, so that there are never many.
func streamBurst() Attack {
	return Attack{
		ID: "ci.stream.burst", Number: "CI-41", Title: "handshakes, one after the other, from one address",
		Text:     "a handshake costs the edge a signature and the attacker next to nothing: one host takes the processors of those who serve everybody",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption}, Module: InfrastructureControl,
		Source: "RFC 8446 4.2.2; RFC 4732 2.2.1", Access: []Access{TLS}, Tight: true,
		Bounds: Bounds{Packets: 5 * handshakes, Bytes: 4000 * handshakes, Conns: handshakes, Time: 3 * time.Second},
		Variants: []Variant{{Position: OffPath, Controls: []secure.ControlID{secure.CIAvailabilityBudgetSource},
			Ours: "it counts whom the edge turns away by the budget of imsafe; that of others may be wider",
			Run: func(ctx context.Context, f *Field, o *Outcome) error {
				return f.burst(ctx, o, f.TLS, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: f.Roots, ServerName: f.ServerName(), Time: f.Clock.Wall})
			}}},
	}
}

// How many handshakes are tried. A door grants an address Connections at once, and ConnectionsRate in a second.
const (
	handshakes      = 80
	Connections     = 50
	ConnectionsRate = 2
)

// burst connects, and closes when the door has done its half of the handshake.
func (f *Field) burst(ctx context.Context, o *Outcome, to netip.AddrPort, c *tls.Config) error {
	begun, done := f.Clock.Now(), 0
	for range handshakes {
		conn, err := f.attacker.Dial(ctx, "tcp", Elsewhere(0), to)
		if err != nil {
			return err
		}
		secured := tls.Client(conn, c)
		if secured.HandshakeContext(ctx) == nil {
			done++
		}
		_ = conn.Close() // without a word
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	granted := Connections + ConnectionsRate*(1+int((f.Clock.Now()-begun)/time.Second)) // what came back meanwhile
	o.Arrived("%d connections were opened", handshakes)
	o.Wire(done > granted, "the door has done its half of %d of %d handshakes for one address", done, handshakes)
	if done > granted {
		o.Users = 1
	}
	return nil
}
