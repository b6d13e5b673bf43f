package runner

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"imsafe/proof/attack"
	"imsafe/proto/shard"
)

// ErrBounds is what a driver gets that wants more than its row allows, or another address than the target's.
var ErrBounds = errors.New("runner: outside the bounds of this attack")

// limiter is the attacker's network: it counts, it refuses what is beyond the bounds, and it reaches the target alone. Safe for
// concurrent use.
type limiter struct {
	network attack.Network
	bounds  attack.Bounds
	targets []netip.AddrPort
	local   string // the operator's socket
	// The ports of the target's media anchor: so many from the first on.
	media      netip.AddrPort
	mediaPorts int
	clock      shard.Clock
	rate       int // packets in a second; 0 for as fast as it goes

	mu      sync.Mutex
	conns   int
	packets int
	bytes   int
	back    int           // octets that came
	over    error         // the first time that more was wanted
	next    time.Duration // when the rate lets the next packet go
	first   time.Duration // when the attacker opened his first socket and wrote his last octet
	last    time.Duration
}

var _ attack.Network = (*limiter)(nil)

// Dial implements attack.Network.
func (l *limiter) Dial(ctx context.Context, network string, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	if !l.ofTarget(to) {
		return nil, fmt.Errorf("%w: %v is no address of the target", ErrBounds, to)
	}
	if err := l.open(); err != nil {
		return nil, err
	}
	conn, err := l.network.Dial(ctx, network, from, to)
	if err != nil {
		return nil, err
	}
	return &limited{Conn: conn, l: l}, nil
}

// ofTarget reports whether an address is the target's.
func (l *limiter) ofTarget(a netip.AddrPort) bool {
	return slices.Contains(l.targets, a) || l.isMedia(a)
}

func (l *limiter) isMedia(a netip.AddrPort) bool {
	first := int(l.media.Port())
	return a.Addr().Unmap() == l.media.Addr() && int(a.Port()) >= first && int(a.Port()) < first+l.mediaPorts
}

// ListenPacket implements attack.Network: a relay's side towards an honest client, or the attacker's own media. It sends to nobody who has not
// sent first, but to the target's media anchor.
func (l *limiter) ListenPacket(local netip.Addr) (net.PacketConn, error) {
	if err := l.open(); err != nil {
		return nil, err
	}
	conn, err := l.network.ListenPacket(local)
	if err != nil {
		return nil, err
	}
	return &limitedPackets{PacketConn: conn, l: l, heard: map[string]bool{}}, nil
}

// limitedPackets is the side of a relay.
type limitedPackets struct {
	net.PacketConn
	l *limiter

	mu    sync.Mutex
	heard map[string]bool
}

// ReadFrom implements net.PacketConn.
func (c *limitedPackets) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.PacketConn.ReadFrom(b)
	if err == nil {
		c.mu.Lock()
		c.heard[from.String()] = true
		c.mu.Unlock()
	}
	return n, from, err
}

// WriteTo implements net.PacketConn within the bounds.
func (c *limitedPackets) WriteTo(b []byte, to net.Addr) (int, error) {
	c.mu.Lock()
	known := c.heard[to.String()]
	c.mu.Unlock()
	if at, err := netip.ParseAddrPort(to.String()); !known && (err != nil || !c.l.isMedia(at)) {
		return 0, fmt.Errorf("%w: %v has sent nothing", ErrBounds, to)
	}
	if err := c.l.spend(len(b)); err != nil {
		return 0, err
	}
	return c.PacketConn.WriteTo(b, to)
}

func (l *limiter) open() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns++; l.conns > l.bounds.Conns {
		return l.exceeds("%d sockets", l.bounds.Conns)
	}
	if l.conns == 1 {
		l.first = l.clock.Now()
		l.last = l.first
	}
	return nil
}

// spend takes one write of n octets out of the budget, and waits until the rate lets it go.
func (l *limiter) spend(n int) error {
	wait, err := l.take(n)
	if wait > 0 && err == nil {
		<-time.After(wait)
	}
	return err
}

func (l *limiter) take(n int) (wait time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.packets+1 > l.bounds.Packets:
		return 0, l.exceeds("%d packets", l.bounds.Packets)
	case l.bytes+n > l.bounds.Bytes:
		return 0, l.exceeds("%d octets", l.bounds.Bytes)
	}
	l.packets++
	l.bytes += n
	l.last = l.clock.Now()
	if l.rate > 0 {
		l.next = max(l.next, l.last) + time.Second/time.Duration(l.rate)
		wait = l.next - l.last - time.Second/time.Duration(l.rate)
		l.last += wait
	}
	return wait, nil
}

// exceeds notes that more than a bound was wanted. With the lock held.
func (l *limiter) exceeds(bound string, n int) error {
	err := fmt.Errorf("%w: more than "+bound, ErrBounds, n)
	if l.over == nil {
		l.over = err
	}
	return err
}

// lift ends the bounds: what the attacker writes from now on takes back what he has bound. The rate stays.
func (l *limiter) lift() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bounds = attack.Bounds{Packets: math.MaxInt, Bytes: math.MaxInt, Conns: math.MaxInt}
}

// exceeded is the first time that the attack wanted more than it may; nil if it never did.
func (l *limiter) exceeded() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over
}

// spent is what was sent, what came back, and how long it took.
func (l *limiter) spent() (packets, bytes, back int, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.packets, l.bytes, l.back, l.last - l.first
}

// limited is one socket of the attacker.
type limited struct {
	net.Conn
	l *limiter
}

// Write implements net.Conn within the bounds.
func (c *limited) Write(b []byte) (int, error) {
	if err := c.l.spend(len(b)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// Read implements net.Conn and counts.
func (c *limited) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.l.mu.Lock()
	c.l.back += n
	c.l.mu.Unlock()
	return n, err
}
