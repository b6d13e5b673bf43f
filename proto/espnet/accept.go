package espnet

import (
	"net"
	"net/netip"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"imsafe/proto/shard"
)

// Listener is a protected port as a net.Listener: connections that peers began over any agreement that has the port.
type Listener struct {
	s     *Stack
	port  *port
	local netip.AddrPort
	queue chan *Conn // has room for all that are held
	done  chan struct{}
	once  sync.Once

	// Guarded by Stack.mu.
	held   int // connections from their SYN until Accept
	closed bool
}

// port is a protected port on which somebody listens. left is guarded by Stack.mu.
type port struct {
	listeners []*Listener // by shard
	left      int         // of them
}

// of is the listener for an owner's connections; nil if there is none.
func (p *port) of(owner shard.Place) *Listener {
	switch {
	case p == nil:
		return nil
	case len(p.listeners) == 1:
		return p.listeners[0]
	case int(owner.Shard) < len(p.listeners):
		return p.listeners[owner.Shard]
	}
	return nil
}

var _ net.Listener = (*Listener)(nil)

// Accept waits for a connection; it is a *Conn. The error is net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		l.s.mu.Lock()
		l.s.release(c.b)
		l.s.mu.Unlock()
		return c, nil
	case <-l.done:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
}

// Addr is our address and the protected port, a *net.TCPAddr.
func (l *Listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.local) }

// Close ends Accept and resets what waits for it. Connections that were accepted live on; the port may be listened on again.
func (l *Listener) Close() error {
	l.once.Do(func() {
		l.s.mu.Lock()
		l.closed = true
		if l.port.left--; l.port.left == 0 {
			delete(l.s.ports, l.local)
		}
		l.s.mu.Unlock()
		close(l.done)
		l.drain()
	})
	return nil
}

// drain resets what nobody will accept.
func (l *Listener) drain() {
	for {
		select {
		case c := <-l.queue:
			c.Abort()
		default:
			return
		}
	}
}

// put hands a connection to Accept.
func (l *Listener) put(c *Conn) {
	l.queue <- c // its place is held
	select {
	case <-l.done:
		l.drain()
	default:
	}
}

// unmatched is asked by gVisor about a segment that is of none of its connections; false makes it answer with a reset.
func (s *Stack) unmatched(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	b := s.bound(tupleOf(id))
	if b == nil || b.listener == nil || b.up.Load() {
		return false
	}
	if b.fresh.Load() && s.syns.HandlePacket(id, pkt) {
		b.fresh.Store(false) // open runs, and ends the task
	}
	return true // or the handshake is about to begin
}

// open does the handshake of a connection that a peer began, on a goroutine of its own: there are at most Config.MaxHalfOpen.
func (s *Stack) open(r *tcp.ForwarderRequest) {
	defer s.tasks.Done()
	b := s.bound(tupleOf(r.ID()))
	c := newConn(s, b)
	late := s.clock.AfterFunc(s.cfg.Handshake, func() { s.stop(b) })
	ep, err := r.CreateEndpoint(&c.events)
	late.Stop()
	r.Complete(false) // before unbind: gVisor takes the next SYN of these ports only now
	if err != nil {
		s.n.FailedHandshakes.Add(1)
		s.unbind(b)
		return
	}
	s.mu.Lock()
	s.settle(b)
	s.mu.Unlock()
	s.n.Accepted.Add(1)
	c.start(ep)
	b.listener.put(c)
}
