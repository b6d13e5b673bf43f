package runner

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"imsafe/proof/attack"
	"imsafe/proto/shard"
)

// pipes is a network whose other ends read everything.
type pipes struct{ t *testing.T }

func (p pipes) Dial(context.Context, string, netip.Addr, netip.AddrPort) (net.Conn, error) {
	here, there := net.Pipe()
	p.t.Cleanup(func() { _ = here.Close(); _ = there.Close() })
	go func() {
		b := make([]byte, 100)
		for {
			if _, err := there.Read(b); err != nil {
				return
			}
		}
	}()
	return here, nil
}

func (p pipes) ListenPacket(netip.Addr) (net.PacketConn, error) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err == nil {
		p.t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

var at = netip.MustParseAddrPort("127.0.0.1:5061")

func limit(t *testing.T, b attack.Bounds) *limiter {
	return &limiter{network: pipes{t}, bounds: b, targets: []netip.AddrPort{at}, clock: shard.NewFake(time.Unix(0, 0))}
}

func TestLimiter(t *testing.T) {
	l := limit(t, attack.Bounds{Packets: 3, Bytes: 10, Conns: 2, Time: time.Second})
	ctx := context.Background()
	if _, err := l.Dial(ctx, "tcp", netip.Addr{}, netip.MustParseAddrPort("127.0.0.1:22")); !errors.Is(err, ErrBounds) {
		t.Errorf("another address: %v", err)
	}
	a, err := l.Dial(ctx, "tcp", netip.Addr{}, at)
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Dial(ctx, "tcp", netip.Addr{}, at)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Dial(ctx, "tcp", netip.Addr{}, at); !errors.Is(err, ErrBounds) {
		t.Errorf("a third socket: %v", err)
	}
	for i, step := range []struct {
		conn net.Conn
		text string
		ok   bool
	}{{a, "four", true}, {b, "seven..", false}, {b, "six...", true}, {a, "", true}, {a, "", false}} {
		if _, err := step.conn.Write([]byte(step.text)); (err == nil) != step.ok || err != nil && !errors.Is(err, ErrBounds) {
			t.Errorf("write %d of %q: %v", i, step.text, err)
		}
	}
	if !errors.Is(l.exceeded(), ErrBounds) {
		t.Error("nobody remembers that the bounds were exceeded")
	}
	if packets, octets, _, _ := l.spent(); packets != 3 || octets != 10 {
		t.Errorf("%d packets and %d octets were counted", packets, octets)
	}
}

// TestLimiter_relay: the side of a relay answers who has written, and nobody else.
func TestLimiter_relay(t *testing.T) {
	l := limit(t, attack.Bounds{Packets: 2, Bytes: 100, Conns: 1})
	c, err := l.ListenPacket(netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("udp", c.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := c.WriteTo([]byte("x"), client.LocalAddr()); !errors.Is(err, ErrBounds) {
		t.Errorf("to somebody who is silent: %v", err)
	}
	if _, err := client.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.ReadFrom(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	for i, ok := range []bool{true, true, false} {
		if _, err := c.WriteTo([]byte("x"), client.LocalAddr()); (err == nil) != ok {
			t.Errorf("answer %d: %v", i, err)
		}
	}
	if _, err := l.ListenPacket(netip.MustParseAddr("127.0.0.1")); !errors.Is(err, ErrBounds) {
		t.Errorf("a second socket: %v", err)
	}
}
