package clientservice

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"

	"imsafe/proto/rtpport"
	"imsafe/refpoint/iq"
)

// pool is the ports of one address, in pairs: RTP has the even one, RTCP the other where it needs one (RFC 3550 11). What comes back goes to
// the end of the line: what is still on its way to a call that is over meets nobody.
type pool struct {
	address netip.Addr
	mu      sync.Mutex
	free    []uint16            // even ports, the next one first
	used    map[uint16]struct{} // and those in use
}

// newPool puts the pairs into an order that nobody can tell.
func newPool(first netip.AddrPort, count int, random io.Reader) (*pool, error) {
	p := &pool{address: first.Addr(), used: map[uint16]struct{}{}}
	start := int(first.Port()) + int(first.Port())%2
	for port := start; port+1 < int(first.Port())+count && port+1 <= 65535; port += 2 {
		p.free = append(p.free, uint16(port))
	}
	if len(p.free) < 2 {
		return nil, fmt.Errorf("clientservice: %d ports from %v on are not enough", count, first)
	}
	var b [4]byte
	for i := len(p.free) - 1; i > 0; i-- {
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return nil, fmt.Errorf("clientservice: randomness: %w", err)
		}
		j := int(binary.BigEndian.Uint32(b[:]) % uint32(i+1))
		p.free[i], p.free[j] = p.free[j], p.free[i]
	}
	return p, nil
}

func (p *pool) take() (uint16, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) == 0 {
		return 0, false
	}
	port := p.free[0]
	p.free = p.free[1:]
	p.used[port] = struct{}{}
	return port, true
}

func (p *pool) put(port uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.used, port)
	p.free = append(p.free, port)
}

// has reports whether a port is in use here.
func (p *pool) has(port uint16) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, used := p.used[port&^1]
	return used
}

// Free is how many pairs of ports are left.
func (g *Gateway) Free() (pairs int) {
	for _, p := range g.pools {
		p.mu.Lock()
		pairs += len(p.free)
		p.mu.Unlock()
	}
	return pairs
}

// maxTaken is how many pairs in a row other processes may hold before we give up.
const maxTaken = 32

// listen opens the sockets of an end.
func (e *end) listen(family iq.Family, separate bool) error {
	p := e.g.poolOf(family)
	if p == nil {
		return iq.ErrFamily
	}
	for range maxTaken {
		port, left := p.take()
		if !left {
			break
		}
		if e.bind(p, port, separate) {
			e.pool, e.number = p, port
			e.g.counters.Ports.Add(1)
			return nil
		}
		p.put(port)
	}
	e.g.overBudget("ports", "") // no choice: there is none
	return iq.ErrFull
}

func (g *Gateway) poolOf(family iq.Family) *pool {
	for _, p := range g.pools {
		if family == iq.Any || iq.FamilyOf(p.address) == family {
			return p
		}
	}
	return nil
}

// bind opens one pair; false if somebody else has it.
func (e *end) bind(p *pool, port uint16, separate bool) bool {
	conn, err := e.g.ports.Listen(netip.AddrPortFrom(p.address, port))
	if err != nil {
		return false
	}
	e.media = e.g.serve(conn)
	if !separate {
		return true
	}
	if conn, err = e.g.ports.Listen(netip.AddrPortFrom(p.address, port+1)); err != nil {
		e.media.Close()
		e.media = nil
		return false
	}
	e.control = e.g.serve(conn)
	return true
}

// serve makes a port that is read until it is closed: with all others, or where a poller cannot do it by itself.
func (g *Gateway) serve(conn net.PacketConn) *rtpport.Port {
	if p, err := g.poller.NewPort(conn); err == nil {
		return p
	}
	p := rtpport.NewPort(conn)
	g.wg.Go(func() {
		if err := p.Serve(); err != nil {
			g.portFailed(p, err)
		}
	})
	return p
}

func (g *Gateway) portFailed(_ *rtpport.Port, err error) {
	g.ports.Log.Warn("a media port failed", "error", err)
}
