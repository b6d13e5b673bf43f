package attack

import (
	"context"
	"crypto/tls"
	"time"

	"imsafe/secure"
)

// iscBurst: the same where service platforms connect.
func iscBurst() Attack {
	controls := []secure.ControlID{secure.ISAvailabilityDeadline}
	return Attack{
		ID: "is.isc.burst", Number: "IS-17", Title: "handshakes, one after the other, where service platforms connect and enrol",
		Text:     "one host without any credentials takes the processors of the core, and its services with it",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption}, Module: InfrastructureControl,
		Source: "RFC 8446 4.2.2; RFC 4732 2.2.1", Access: []Access{ISC},
		Approved: []Approved{{Name: screen, Manifest: rights("session.proxy") + asked("terminating", 10, "reject")}},
		Bounds:   Bounds{Packets: 5 * handshakes, Bytes: 4000 * handshakes, Conns: handshakes, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "isc", Position: Platform, Controls: controls, Run: func(ctx context.Context, f *Field, o *Outcome) error {
				return f.burst(ctx, o, f.ISC, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: f.EnrolRoots, ServerName: "isc." + f.Domain, Time: f.Clock.Wall})
			}},
			{Name: "enrol", Position: Platform, Access: []Access{Enrol}, Controls: controls, Run: func(ctx context.Context, f *Field, o *Outcome) error {
				return f.burst(ctx, o, f.Enrol, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: f.EnrolRoots, ServerName: "enrol." + f.Domain, Time: f.Clock.Wall})
			}},
		},
	}
}
