package attack

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"time"

	"imsafe/secure"
)

// httpBurst: the same where clients fetch.
func httpBurst() Attack {
	controls := []secure.ControlID{secure.CSAvailabilityConnections}
	return Attack{
		ID: "cs.http.burst", Number: "CS-21", Title: "handshakes without end and without an end, where clients fetch",
		Text:     "clients verify by certificates from there who calls them, and services read the keys of tokens: a few networks shut that door for everybody",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption}, Module: ServicesUser,
		Source: "RFC 8446 4.2.2; RFC 4732 2.2.1", Access: []Access{ISC}, Tight: true,
		Bounds: Bounds{Packets: 4500, Bytes: 4000 * handshakes, Conns: crowdNetworks*Connections + 10, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "pace", Position: OffPath, Controls: controls, NotWire: notOnNodes(), Run: func(ctx context.Context, f *Field, o *Outcome) error {
				return f.burst(ctx, o, f.HTTPS, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: f.EnrolRoots, ServerName: "cs." + f.Domain, Time: f.Clock.Wall})
			}},
			{Name: "crowd", Position: OffPath, Controls: controls, NotWire: notOnNodes(), Run: crowdsWeb},
		},
	}
}

// crowdNetworks is how many networks a crowd has: as many connections as an address is granted at once, of each, are more than the door has places.
const crowdNetworks = 22

// crowdsWeb holds connections from many networks before an honest client fetches.
func crowdsWeb(ctx context.Context, f *Field, o *Outcome) error {
	opened, over, err := f.crowd(ctx, f.HTTPS, crowdNetworks, Connections)
	if err != nil {
		return err
	}
	defer over()
	o.Arrived("%d connections from %d networks, each with one octet of a handshake", opened, crowdNetworks)
	failed := within(ctx, time.Second, func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.origin()+"/token/keys", nil)
		if err != nil {
			return err
		}
		answer, err := (&http.Client{Transport: f.web(f.honest)}).Do(r)
		if err != nil {
			return err
		}
		defer func() { _ = answer.Body.Close() }()
		if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusOK {
			return fmt.Errorf("attack: %d, %w", answer.StatusCode, err)
		}
		return nil
	})
	if failed != nil {
		o.Users = 1
	}
	o.Peer(failed != nil, "an honest client that fetches then hears: %v", failed)
	return nil
}
