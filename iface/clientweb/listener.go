package clientweb

import (
	"net"
	"net/netip"
	"sync"
)

// maxOfSource is how many of the connections one address may have at a time: many clients stand behind one translator of addresses, but one of
// them cannot have them all. IPv6 counts by /64.
const maxOfSource = 64

// fairListener closes the connections that a source has beyond its share at once.
type fairListener struct {
	net.Listener
	limited func() // is told of each

	mu   sync.Mutex
	open map[netip.Addr]int // of sources that have one at least
}

// Accept implements net.Listener.
func (l *fairListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		at, err := netip.ParseAddrPort(c.RemoteAddr().String())
		if err != nil {
			return c, nil // no address to count by: tests on pipes
		}
		source := at.Addr().Unmap()
		if source.Is6() {
			prefix, _ := source.Prefix(64) // of an IPv6 address there is one
			source = prefix.Addr()
		}
		if l.enter(source) {
			return &fairConn{Conn: c, leave: sync.OnceFunc(func() { l.leave(source) })}, nil
		}
		l.limited()
		_ = c.Close() // who came too often needs no answer
	}
}

func (l *fairListener) enter(source netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[source] >= maxOfSource {
		return false
	}
	l.open[source]++
	return true
}

func (l *fairListener) leave(source netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[source]--; l.open[source] <= 0 {
		delete(l.open, source)
	}
}

// fairConn gives its place back when it is closed.
type fairConn struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *fairConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
