package attack

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"imsafe/secure"
)

// streamSlowloris: connections that are opened and not used, or used an octet at a time.
func streamSlowloris() Attack {
	const ours = "it counts who is ended within the deadline of imsafe; others may have a longer one"
	controls := []secure.ControlID{secure.CIAvailabilityDeadline}
	return Attack{
		ID: "ci.stream.slowloris", Number: "CI-22", Title: "handshakes that never go on, and messages that never end",
		Text:     "one host takes all places for those who come, and nobody else gets in",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption}, Module: InfrastructureControl,
		Source: "Slowloris, Hansen 2009", Access: []Access{TLS},
		Bounds: Bounds{Packets: 11_000, Bytes: 400_000, Conns: silences + 10, Time: 6 * time.Second, Wait: slowFor},
		Variants: []Variant{
			{Name: "silent", Position: OffPath, Run: openAndWait, Controls: controls, Ours: ours},
			{Name: "hello", Position: OffPath, Hasty: true, Run: dripHello, Controls: controls, Ours: ours},
			{Name: "header", Position: OffPath, Hasty: true, Run: dripHeader, Controls: controls, Ours: ours},
		},
	}
}

// Connections that were opened and are not used: of who comes where clients do, and elsewhere.
const (
	silences = 10_000
	stalls   = 600
)

// stall opens so many, each with one octet of a handshake, and counts those that the target ends. over closes them.
func (f *Field) stall(ctx context.Context, to netip.AddrPort, times int) (ended *counter, over func(), err error) {
	ended = &counter{}
	var all sync.WaitGroup
	var conns []net.Conn
	over = func() {
		for _, c := range conns {
			_ = c.Close()
		}
		all.Wait()
	}
	for range times {
		conn, err := f.attacker.Dial(ctx, "tcp", Elsewhere(0), to)
		if err != nil {
			over()
			return nil, nil, fmt.Errorf("attack: %w", err)
		}
		conns = append(conns, conn)
		_, _ = conn.Write([]byte{0x16}) // who is turned away already needs none
		all.Go(func() {
			ended.end(conn)
			_ = conn.Close() // one that is over keeps no descriptor
		})
	}
	return ended, over, nil
}

// affordable is how many of times connections the attacker can open where his host counts what it lets one process have: half of that, since the rest is for all else
// that runs.
func (f *Field) affordable(times int) int {
	if host, counts := f.honest.(interface{ Sockets() int }); counts {
		return min(times, host.Sockets()/2)
	}
	return times
}

func openAndWait(ctx context.Context, f *Field, o *Outcome) error {
	times := f.affordable(silences)
	ended, over, err := f.stall(ctx, f.TLS, times)
	if err != nil {
		return err
	}
	defer over()
	o.Arrived("%d connections, each with one octet of a handshake", times)
	err = within(ctx, time.Second, func(ctx context.Context) error {
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

// Slow connections: as many as a hasty target has room for, half of them from each of two addresses, so that no address has too many. Each gets an octet at a time.
const (
	slowConns = HastyConns
	slowStep  = 50 * time.Millisecond
	slowFor   = 2 * time.Second // by then they are ended
	slowSteps = 50              // more than that takes, then they are still
)

// dripHello says hello, an octet at a time.
func dripHello(ctx context.Context, f *Field, o *Outcome) error {
	const hello = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" // the length of more than 500 octets, most of which are still to come
	return f.drips(ctx, o, hello+strings.Repeat("\x07", 100), func(conn net.Conn) (net.Conn, error) { return conn, nil })
}

// dripHeader does so with the header of a message, inside TLS.
func dripHeader(ctx context.Context, f *Field, o *Outcome) error {
	header := "OPTIONS sip:" + f.Domain + " SIP/2.0\r\nSubject: " + strings.Repeat("x", 100)
	return f.drips(ctx, o, header, func(conn net.Conn) (net.Conn, error) {
		c := tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: f.Roots, ServerName: f.ServerName(), Time: f.Clock.Wall})
		return c, c.HandshakeContext(ctx)
	})
}

// drips takes all places with slow connections, and looks whether carol gets in.
func (f *Field) drips(ctx context.Context, o *Outcome, text string, begin func(net.Conn) (net.Conn, error)) error {
	ended := &counter{}
	var all sync.WaitGroup
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
		all.Wait()
	}()
	for i := range slowConns {
		conn, err := f.attacker.Dial(ctx, "tcp", Elsewhere(i%2), f.TLS)
		if err != nil {
			return fmt.Errorf("attack: %w", err)
		}
		if conn, err = begin(conn); err != nil {
			_ = conn.Close() // the honest ones have places too
			ended.add(0)
			continue
		}
		conns = append(conns, conn)
		_, _ = io.WriteString(conn, text[:1])
		all.Go(func() { ended.end(conn) })
	}
	o.Arrived("%d connections, each with an octet at a time", slowConns)
	stop := make(chan struct{})
	defer close(stop)
	all.Go(func() { drip(stop, conns, text[1:]) })
	late := within(ctx, slowFor, func(ctx context.Context) error { return ended.until(ctx, slowConns*9/10) })
	n, _ := ended.seen()
	o.Wire(late != nil, "the edge ended %d of %d", n, slowConns)
	err := within(ctx, time.Second, func(ctx context.Context) error {
		_, err := f.Carol(ctx)
		return err
	})
	if err != nil {
		o.Users = 1
		o.Peer(true, "carol cannot connect and register beside them: %v", err)
		return nil
	}
	o.Peer(false, "carol connects and registers")
	return nil
}

// drip writes octets of text to each connection, one in each step, until it is told to stop.
func drip(stop <-chan struct{}, conns []net.Conn, text string) {
	step := time.NewTicker(slowStep)
	defer step.Stop()
	for i := range min(len(text), slowSteps) {
		select {
		case <-step.C:
		case <-stop:
			return
		}
		for _, c := range conns {
			_, _ = io.WriteString(c, text[i:i+1]) // one that was ended takes none
		}
	}
}
