package attack

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
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
		Bounds: Bounds{Packets: 1200, Bytes: 600_000, Conns: 70, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "route", Position: Subscriber, Run: preloadRoute, Controls: []secure.ControlID{secure.CIAuthorizationEdgeOnly},
				Ours: "its witness knows the names of imsafe's functions in Record-Route, and no others"},
			{Name: "probe", Position: CoreNode, Access: []Access{Mw}, Run: probeCore, Controls: []secure.ControlID{secure.CoreAuthenticationMTLS}},
		},
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

// The probes of the one address at which I-CSCF, S-CSCF and HSS are reached where they are a node of their own.
const (
	probesByUDP     = 940 // to a port that is TCP's
	probesByTCP     = 40  // in clear
	probesByTLS     = 10  // without a certificate
	probesOfAnother = 10  // with that of another node
)

// probeCore writes to the functions behind the P-CSCF by each way that there may be: calls and questions as alice, who is not asked.
func probeCore(ctx context.Context, f *Field, o *Outcome) error {
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	replies, over, err := f.probeOutside(ctx)
	if err != nil {
		return err
	}
	defer over()
	h, _, err := f.onMw(ctx, &ServicePlatform{Certificate: f.Node})
	if err != nil {
		return err
	}
	answered, callID := 0, f.token()
	for range probesOfAnother {
		status, err := h.answered(ctx, h.Text(f.probe(probesOfAnother, callID)))
		if err != nil && !errors.Is(err, ErrClosed) {
			return err
		}
		if status > 0 {
			answered++
		}
	}
	text := f.token()
	if err := f.Bob.UE.SendMessage(ctx, f.Users[Carol].IMPU, "text/plain", []byte(text)); err != nil {
		return fmt.Errorf("attack: bob's own message: %w", err)
	}
	called := 0
	if _, err := carol.Await(ctx, func(m *sip.Message) bool {
		if m.IsRequest() && m.Method() == sip.INVITE && string(m.Get(sip.HdrCallID)) == callID {
			called++
		}
		return string(m.Body()) == text
	}); err != nil {
		return err
	}
	n, _ := replies.seen()
	const all = probesByUDP + probesByTCP + probesByTLS + probesOfAnother
	o.Arrived("%d probes, %d of them over TLS", all, probesByTLS+probesOfAnother)
	o.Users = min(called, 1)
	o.Wire(n+answered > 0, "%d SIP replies to %d probes from outside, %d to those with the certificate of another node", n, all-probesOfAnother, answered)
	o.Peer(called > 0, "carol is called %d times as by alice, past every P-CSCF", called)
	return nil
}

// probe is the i-th: a call to carol in alice's name, or a question, to the functions in turn.
func (f *Field) probe(i int, callID string) Request {
	to := []string{"scscf.", "icscf.", "hss.", "orig@scscf."}[i%4] + f.Domain
	r := Request{Method: []string{"OPTIONS", "REGISTER", "SUBSCRIBE", "MESSAGE"}[i/4%4], URI: "sip:" + to, From: f.Users[Alice].IMPU, CallID: callID}
	if i == probesOfAnother {
		r.Method, r.URI, r.Lines = "INVITE", f.Users[Carol].IMPU, []string{"Route: <sip:orig@scscf." + f.Domain + ";lr>", "P-Asserted-Identity: <" + r.From + ">",
			"P-Charging-Vector: icid-value=" + f.token(), "Contact: <sip:" + to + ">"}
	}
	return r
}

// probeOutside sends those of who is no node, and counts the SIP replies. over closes what is still open.
func (f *Field) probeOutside(ctx context.Context) (replies *counter, over func(), err error) {
	replies = &counter{}
	var all sync.WaitGroup
	var conns []net.Conn
	over = func() {
		for _, c := range conns {
			_ = c.Close()
		}
		all.Wait()
	}
	for i := range 1 + probesByTCP + probesByTLS {
		network, times := "tcp", 1
		if i == 0 {
			network, times = "udp", probesByUDP
		}
		conn, err := f.attacker.Dial(ctx, network, Elsewhere(0), f.Mw)
		if err != nil {
			over()
			return nil, nil, fmt.Errorf("attack: %w", err)
		}
		if i > probesByTCP {
			conn = tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: f.Roots, ServerName: "heart." + f.Domain, Time: f.Clock.Wall})
		}
		conns = append(conns, conn)
		h := makeHand(f, conn, strings.ToUpper(network))
		for j := range times {
			_, _ = io.WriteString(conn, h.Text(f.probe(i+j, f.token()))) // where nobody listens it is refused
		}
		all.Go(func() { replies.sip(conn) })
	}
	return replies, over, nil
}

// sip counts what comes by a connection that is SIP, until that ends.
func (c *counter) sip(conn net.Conn) {
	b := make([]byte, 65536)
	for {
		n, err := conn.Read(b)
		if contains(b[:n], "SIP/2.0") {
			c.add(n)
		}
		if err != nil && !errors.Is(err, syscall.ECONNREFUSED) { // told of one datagram, and not of what else comes
			return
		}
	}
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
