package attack

import (
	"context"
	"fmt"
	"strings"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// coreDirect: a client goes round the functions that it must pass.
func coreDirect() Attack {
	return Attack{
		ID: "ci.core.direct", Number: "CI-06", Title: "past the client's own functions, straight into the core",
		Text:     "what the home network does for every call of its user (barring, charging, screening) would not be done",
		Services: []Service{Authentication}, Stride: Elevation, Threats: []Threat{Removal}, Module: InfrastructureControl,
		Source: "TS 33.203 Annex J; TS 24.229 5.2.6.3", Access: both(),
		Bounds: Bounds{Packets: 40, Bytes: 40_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{{Name: "route", Position: Subscriber, Run: preloadRoute, Controls: []secure.ControlID{secure.CIAuthorizationEdgeOnly},
			Ours: "its witness knows the names of imsafe's functions in Record-Route, and no others"}},
	}
}

// preloadRoute calls carol along a Route that the client has made up: to her side of the core at once. Each function that the call has
// passed stands in its Record-Route.
func preloadRoute(ctx context.Context, f *Field, o *Outcome) error {
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return err
	}
	const times = 5
	skipped, passed := 0, ""
	for i := range times {
		invite := Request{Method: "INVITE", URI: f.Users[Carol].IMPU, CallID: fmt.Sprintf("%s-%d", f.token(), i),
			Lines: []string{"Contact: " + mallory.Contact(), "Route: <sip:icscf." + f.Domain + ";lr>"}}
		answer, err := mallory.Ask(ctx, mallory.Text(invite))
		if err != nil {
			return err
		}
		o.Arrived("%d INVITEs, the last answered %d", i+1, answer.Status())
		m, err := carol.Await(ctx, func(m *sip.Message) bool { return m.IsRequest() && string(m.Get(sip.HdrCallID)) == invite.CallID })
		if err != nil {
			continue
		}
		passed = f.functions(m)
		if !strings.Contains(passed, "orig@scscf") {
			skipped++
		}
	}
	o.Users = min(skipped, 1)
	o.Peer(skipped > 0, "%d of %d calls reach carol past mallory's own S-CSCF; the last came by %s", skipped, times, passed)
	return nil
}

// functions are the hosts of Record-Route, the last first; of the S-CSCF also whose side it was.
func (f *Field) functions(m *sip.Message) string {
	var all []string
	for v := range m.Values(sip.HdrRecordRoute) {
		addr, err := sip.ParseNameAddr(v)
		if err != nil {
			continue
		}
		uri, err := sip.ParseURI(addr.URI)
		if err != nil {
			continue
		}
		host := strings.TrimSuffix(string(uri.Host), "."+f.Domain)
		if host == "scscf" {
			host = string(uri.User) + "@" + host
		}
		all = append(all, host)
	}
	return strings.Join(all, ", ")
}
