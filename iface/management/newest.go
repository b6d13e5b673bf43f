package management

import (
	"net"
	"net/http"
	"slices"
	"sync"
)

// Newest is a listener that has at most so many connections, and closes one of them for a new one: the oldest of those on which nothing is asked, or else the
// oldest. On one machine all come from one address, so a listener that made the new one wait would let whoever holds enough of them keep the operator out.
// An http.Server must tell it of its connections (State). Safe for concurrent use.
type Newest struct {
	net.Listener
	most int

	mu   sync.Mutex
	open []*heldConn // the oldest first
}

// heldConn is a connection that is counted.
type heldConn struct {
	net.Conn
	active bool
}

// NewNewest makes one that has at most so many, one or more.
func NewNewest(ln net.Listener, most int) *Newest { return &Newest{Listener: ln, most: most} }

// Accept implements net.Listener.
func (n *Newest) Accept() (net.Conn, error) {
	c, err := n.Listener.Accept()
	if err != nil {
		return nil, err
	}
	held := &heldConn{Conn: c}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.open) >= n.most {
		i := max(0, slices.IndexFunc(n.open, func(c *heldConn) bool { return !c.active }))
		_ = n.open[i].Close() // whatever is on it
		n.open = slices.Delete(n.open, i, i+1)
	}
	n.open = append(n.open, held)
	return held, nil
}

// State is for http.Server.ConnState.
func (n *Newest) State(c net.Conn, s http.ConnState) {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := slices.IndexFunc(n.open, func(held *heldConn) bool { return held == c })
	if i < 0 {
		return
	}
	if n.open[i].active = s == http.StateActive; s == http.StateClosed {
		n.open = slices.Delete(n.open, i, i+1)
	}
}
