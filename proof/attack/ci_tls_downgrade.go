package attack

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"

	"imsafe/secure"
)

// tlsDowngrade: somebody in the path offers the edge less than the client did.
func tlsDowngrade() Attack {
	return Attack{
		ID: "ci.tls.downgrade", Number: "CI-37", Title: "an old TLS in the place of the one that the client offers",
		Text:     "what was agreed on by weak means can be read by whoever relays it",
		Services: []Service{Confidentiality}, Stride: Tampering, Threats: []Threat{Disclosure}, Module: InfrastructureControl,
		Source: "TS 33.310 6.2a; TS 33.203 O.1.1, O.2.1", Access: []Access{TLS},
		Bounds:   Bounds{Packets: 60, Bytes: 60_000, Conns: 6, Time: 3 * time.Second},
		Variants: []Variant{{Position: OnPath, Run: offerOldTLS, Controls: []secure.ControlID{secure.CIConfidentialityTLSFloor}}},
	}
}

func offerOldTLS(ctx context.Context, f *Field, o *Outcome) error {
	return offersOld(o, "edge", func(old *tls.Config) (net.Conn, error) {
		conn, _, err := f.connect(ctx, f.attacker, netip.Addr{}, old)
		return conn, err
	})
}

// offersOld tries handshakes for less than TLS 1.3 at a door.
func offersOld(o *Outcome, door string, connect func(*tls.Config) (net.Conn, error)) error {
	agreed, last := "", ""
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12} {
		for _, suites := range [][]uint16{{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}, {tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA}} {
			old := &tls.Config{MinVersion: version, MaxVersion: version, CipherSuites: suites}
			conn, err := connect(old)
			if err == nil {
				agreed = tls.VersionName(version) + " " + tls.CipherSuiteName(suites[0])
				_ = conn.Close() // the handshake is all
				continue
			}
			var alert tls.AlertError
			if !errors.As(err, &alert) && errors.Is(err, ErrClosed) {
				return err
			}
			last = err.Error()
		}
	}
	if agreed != "" {
		o.Arrived("a handshake for %s", agreed)
		o.Users = 1
		o.Wire(true, "the %s agrees on %s", door, agreed)
		return nil
	}
	o.Arrived("6 handshakes, the last ends with: %s", last)
	o.Wire(false, "the %s ends 6 handshakes below TLS 1.3: %s", door, last)
	return nil
}
