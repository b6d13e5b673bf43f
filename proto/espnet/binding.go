package espnet

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"imsafe/proto/esp"
	"imsafe/proto/shard"
)

// tuple is a connection as TCP knows it, with inner addresses.
type tuple struct{ local, peer netip.AddrPort }

// way is two associations of an agreement, there and back; they can have one connection.
type way struct {
	ref  esp.Ref
	side esp.Side
}

// sender is how segments leave: a way, and the front that carries it.
type sender struct {
	way
	f *esp.Front
}

// binding is what joins a connection to its agreement, for as long as gVisor has anything of the connection.
type binding struct {
	tuple
	sender
	owner    shard.Place
	listener *Listener // who gets it; nil if we began it

	fresh atomic.Bool // the SYN that made it has not been looked at yet
	up    atomic.Bool // the handshake is done
	ep    atomic.Pointer[tcpip.Endpoint]
	cause atomic.Pointer[error] // why it has to end; then nothing more is sent
	abort atomic.Bool           // somebody is at ending it

	// Guarded by Stack.mu.
	half   bool // counted in Counters.HalfOpen
	queued bool // counted in listener.held
}

// state is gVisor's state of the connection.
func (b *binding) state() tcp.EndpointState {
	if ep := b.ep.Load(); ep != nil {
		return tcp.EndpointState((*ep).State())
	}
	return tcp.StateConnecting
}

// over reports whether gVisor has done with the connection.
func (b *binding) over() bool {
	s := b.state()
	return s == tcp.StateClose || s == tcp.StateError
}

// ending reports whether both ends have closed the connection and only acknowledgements are left.
func (b *binding) ending() bool {
	s := b.state()
	return s == tcp.StateTimeWait || s == tcp.StateLastAck || s == tcp.StateClosing
}

// established reports whether the peer has agreed to the connection, and nothing has ended it since.
func (b *binding) established() bool {
	s := b.state()
	return s == tcp.StateEstablished || s == tcp.StateCloseWait
}

// bind notes a connection: the only place where an agreement gets one. b.listener is set if a peer begins it. It is the error that says what
// is in the way. After it there is a task.
func (s *Stack) bind(b *binding) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := b.listener
	switch {
	case s.closed || l != nil && l.closed:
		return net.ErrClosed
	case s.conns[b.tuple] != nil || s.ways[b.way] != nil:
		return ErrInUse
	case len(s.conns) >= s.cfg.MaxConns:
		s.n.DropConns.Add(1)
		return ErrFull
	case l != nil && s.n.HalfOpen.Load() >= int64(s.cfg.MaxHalfOpen):
		s.n.DropHalfOpen.Add(1)
		return ErrFull
	case l != nil && l.held >= s.cfg.Backlog:
		s.n.DropBacklog.Add(1)
		return ErrFull
	}
	if l != nil {
		l.held++
		b.half, b.queued = true, true
		s.n.HalfOpen.Add(1)
	}
	s.conns[b.tuple], s.ways[b.way] = b, b
	s.n.Conns.Add(1)
	s.tasks.Add(1)
	return nil
}

// unbind forgets a connection of which gVisor has nothing any more. Twice is harmless.
func (s *Stack) unbind(b *binding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle(b)
	s.release(b)
	if s.conns[b.tuple] == b {
		delete(s.conns, b.tuple)
		delete(s.ways, b.way)
		s.n.Conns.Add(-1)
	}
}

// settle notes that the handshake of a connection is done, well or not. mu is held.
func (s *Stack) settle(b *binding) {
	if b.half {
		b.half = false
		s.n.HalfOpen.Add(-1)
	}
}

// release gives back the place that a connection had in its listener. mu is held.
func (s *Stack) release(b *binding) {
	if b.queued {
		b.queued = false
		b.listener.held--
	}
}

// bound is the binding of a connection; nil if there is none.
func (s *Stack) bound(t tuple) *binding {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.conns[t]
}

// receive is the hook of a front: an opened segment. The engine has seen that addresses and ports are those of the agreement it came by, and that
// its lengths and checksum are right; unless a laboratory has it let in all (esp.Config.Refuse). Whose a connection is holds there too.
func (s *Stack) receive(f *esp.Front, d *esp.Datagram) {
	s.n.SegmentsIn.Add(1)
	s.n.OctetsIn.Add(uint64(len(d.Segment)))
	if !whole(d.Segment) || !d.Local.IsValid() || !d.Peer.IsValid() {
		s.n.DropProtocol.Add(1)
		return
	}
	t, via := tuple{d.Local, d.Peer}, sender{way{d.Agreement, d.Side}, f}
	s.mu.RLock()
	b, l, closed := s.conns[t], s.ports[t.local].of(d.Owner), s.closed
	if l != nil && l.closed {
		l = nil
	}
	s.mu.RUnlock()
	begins := beginsConnection(d.Segment)
	switch {
	case closed:
		s.n.DropClosed.Add(1)
		return
	case portsOf(d.Segment) != [2]uint16{d.Peer.Port(), d.Local.Port()}:
		s.n.DropForeign.Add(1) // gVisor would look at these, and find another's connection
		return
	case b != nil && b.way == via.way && s.reopen(b, begins):
		b = nil
	}
	switch {
	case b != nil && b.way != via.way:
		// The ports are another agreement's now: the one that the connection belongs to has ended, or these two are of one NAT's making.
		s.n.DropForeign.Add(1)
		if _, holds := s.engine.Path(b.ref, b.side); !holds {
			s.end(b, ErrGone)
		}
	case d.Segment[flagsAt]&flagSYN != 0 && announcedMSS(d.Segment) < leastMSS:
		s.n.DropMSS.Add(1)
	case b != nil:
		s.linkOf(t.local.Addr()).deliver(t, d.Segment)
	case begins && l != nil:
		s.begin(&binding{tuple: t, sender: via, owner: d.Owner, listener: l}, d.Segment)
	default:
		s.refuse(t, via, begins, d.Segment)
	}
}

// What we look at in a TCP header (RFC 9293 3.1): the octet of its length, that of its flags, and these.
const (
	offsetAt = 12
	flagsAt  = 13
	flagFIN  = 1 << 0
	flagSYN  = 1 << 1
	flagRST  = 1 << 2
	flagACK  = 1 << 4
)

// whole reports whether a segment has its header.
func whole(segment []byte) bool {
	if len(segment) < tcpHeader {
		return false
	}
	header := int(segment[offsetAt]>>4) * 4
	return header >= tcpHeader && header <= len(segment)
}

// portsOf are the source and the destination port of a segment.
func portsOf(segment []byte) [2]uint16 {
	return [2]uint16{binary.BigEndian.Uint16(segment), binary.BigEndian.Uint16(segment[2:])}
}

// beginsConnection reports whether a segment is the first of a connection.
func beginsConnection(segment []byte) bool {
	return segment[flagsAt]&(flagFIN|flagSYN|flagRST|flagACK) == flagSYN
}

// reopen makes room for the next connection over the same ports, which are all that an agreement has; false if the old one lives. A peer may begin
// the next when ours is in TIME-WAIT (RFC 9293 3.6.1, MAY-2), and so may we: the old segments that TIME-WAIT is there to wait for do not
// pass ESP's replay window. It may when our FIN has no answer yet, too: who begins anew has closed the old one.
func (s *Stack) reopen(b *binding, begins bool) bool {
	switch {
	case begins && b.ending():
		s.n.Reopened.Add(1)
		cause := error(net.ErrClosed)
		b.cause.CompareAndSwap(nil, &cause) // the reset that gVisor makes is not for the peer
		s.stop(b)
	case !b.over():
		return false
	}
	s.unbind(b)
	return true
}

// begin starts the handshake that a SYN asks for; beyond the bounds the SYN is dropped, and the peer sends it again.
func (s *Stack) begin(b *binding, segment []byte) {
	b.fresh.Store(true)
	if s.bind(b) != nil {
		return
	}
	s.know(b.local.Addr())
	s.linkOf(b.local.Addr()).deliver(b.tuple, segment)
	if b.fresh.Swap(false) { // gVisor did not even look at it
		s.unbind(b)
		s.tasks.Done()
	}
}

// refuse lets gVisor answer a segment of no connection with a reset (RFC 9293 3.5.2), by the agreement that it came by.
func (s *Stack) refuse(t tuple, via sender, begins bool, segment []byte) {
	if begins {
		s.n.Refused.Add(1)
	} else {
		s.n.Strays.Add(1)
	}
	s.know(t.local.Addr())
	s.mu.Lock()
	s.replies[t] = via
	s.mu.Unlock()
	s.linkOf(t.local.Addr()).deliver(t, segment)
	s.mu.Lock()
	delete(s.replies, t)
	s.mu.Unlock()
}

// send sends what gVisor made, by the agreement of the connection and by no other. gVisor holds the connection's lock.
func (s *Stack) send(t tuple, segment []byte) bool {
	s.mu.RLock()
	b, closed := s.conns[t], s.closed
	via, known := s.replies[t]
	s.mu.RUnlock()
	switch {
	case b != nil:
		via = b.sender
		if closed && !b.up.Load() {
			s.end(b, net.ErrClosed)
		}
		if cause := b.cause.Load(); cause != nil {
			s.n.DropGone.Add(1)
			s.end(b, *cause) // its end may have come before its beginning
			return false
		}
	case !known:
		s.n.DropUnbound.Add(1)
		return false
	}
	err := via.f.SendSegment(via.ref, via.side, byte(tcp.ProtocolNumber), segment)
	switch {
	case err == nil:
		s.n.SegmentsOut.Add(1)
		s.n.OctetsOut.Add(uint64(len(segment)))
		return true
	case !errors.Is(err, esp.ErrGone) && !errors.Is(err, esp.ErrExhausted):
		s.n.SendErrors.Add(1)
		return false
	}
	s.n.DropGone.Add(1)
	if b != nil {
		cause := ErrGone
		if errors.Is(err, esp.ErrExhausted) {
			cause = ErrExhausted
		}
		s.end(b, cause)
	}
	return false
}

// gone is told by the engine that an agreement has ended: its connections end too.
func (s *Stack) gone(r esp.Ref) {
	for side := esp.Client; side <= esp.Server; side++ {
		s.mu.RLock()
		b := s.ways[way{r, side}]
		s.mu.RUnlock()
		if b != nil {
			s.end(b, ErrGone)
		}
	}
}

// end ends a connection for a reason, from wherever it is called: the work is left to a goroutine.
func (s *Stack) end(b *binding, cause error) {
	if b.cause.CompareAndSwap(nil, &cause) && cause != net.ErrClosed {
		s.n.Gone.Add(1)
	}
	if !b.abort.CompareAndSwap(false, true) {
		return
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed && b.up.Load() {
		return // Close is at it; what is not up has a task, for which it waits
	}
	s.tasks.Go(func() {
		s.stop(b)
		b.abort.Store(false)
	})
}

// stop has gVisor end a connection at once.
func (s *Stack) stop(b *binding) {
	if ep := b.ep.Load(); ep != nil {
		(*ep).Abort()
	} else if ep := s.find(b.tuple); ep != nil {
		ep.Abort()
	}
}
