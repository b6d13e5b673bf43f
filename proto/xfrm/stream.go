package xfrm

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"imsafe/proto/esp"
	"imsafe/proto/shard"
)

// Conn is a TCP connection of the kernel over an agreement, and ends with it.
type Conn struct {
	net.Conn
	p     *Ports
	ref   esp.Ref
	owner shard.Place
	side  esp.Side
	ours  bool // we began it
}

// backlog is how many connections wait for a shard.
const backlog = 64

// Agreement tells whose connection it is, for all its life.
func (c *Conn) Agreement() (esp.Ref, shard.Place, esp.Side) { return c.ref, c.owner, c.side }

// lingerer is what can be told to end without a word.
type lingerer interface{ SetLinger(seconds int) error }

// Close implements net.Conn. A connection that we began ends at once: its ports are all that the agreement has, and the next one needs them.
func (c *Conn) Close() error {
	c.p.e.release(c)
	if c.ours {
		return c.end()
	}
	return c.Conn.Close()
}

// abort ends the connection at once. Nothing that waited is given out any more.
func (c *Conn) abort() { _ = c.end() }

func (c *Conn) end() error {
	if l, ok := c.Conn.(lingerer); ok {
		_ = l.SetLinger(0)
	}
	return c.Conn.Close()
}

// hold notes that a connection is of its agreement; false if that has ended.
func (e *Engine) hold(c *Conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	of := e.sets[c.ref]
	if of == nil {
		return false
	}
	if of.conns == nil {
		of.conns = map[*Conn]struct{}{}
	}
	of.conns[c] = struct{}{}
	return true
}

func (e *Engine) release(c *Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if of := e.sets[c.ref]; of != nil {
		delete(of.conns, c)
	}
}

// own makes nc the connection of c; nil if that has ended.
func (p *Ports) own(nc net.Conn, ref esp.Ref, owner shard.Place, side esp.Side, ours bool) *Conn {
	c := &Conn{Conn: nc, p: p, ref: ref, owner: owner, side: side, ours: ours}
	if !p.e.hold(c) {
		c.abort()
		return nil
	}
	return c
}

// Dial opens a connection over r, from our client port to the peer's server port (TS 33.203 7.1). The error is esp.ErrGone if r has ended.
func (p *Ports) Dial(ctx context.Context, r esp.Ref) (net.Conn, error) {
	way, ok := p.e.Path(r, esp.Client)
	if !ok || way.InUDP {
		return nil, esp.ErrGone
	}
	nc, err := p.cfg.Dial(ctx, way.Local, way.Peer)
	if err != nil {
		return nil, err
	}
	c := p.own(nc, r, way.Owner, esp.Client, true)
	if c == nil {
		return nil, esp.ErrGone
	}
	p.e.n.Dialled.Add(1)
	return c, nil
}

// accept takes connections to the shard of their agreement's owner.
func (p *Ports) accept(ctx context.Context) error {
	here := addrPortOf(p.cfg.Server.Addr())
	for {
		nc, err := p.cfg.Server.Accept()
		switch {
		case err == nil:
			p.take(nc, here)
		case over(ctx, err):
			return nil
		default: // no descriptors left, or the peer was gone at once: the listener is still good
			p.cfg.Pause(ctx)
		}
	}
}

func (p *Ports) take(nc net.Conn, here netip.AddrPort) {
	of, side := p.e.between(here, addrPortOf(nc.RemoteAddr()))
	if of == nil || int(of.owner.Shard) >= len(p.listeners) {
		p.e.n.Stray.Add(1)
		(&Conn{Conn: nc, p: p}).abort()
		return
	}
	c := p.own(nc, of.ref, of.owner, side, false)
	if c == nil {
		p.e.n.Stray.Add(1)
		return
	}
	p.e.n.Accepted.Add(1)
	p.listeners[of.owner.Shard].put(c)
}

// listener is the protected server port for one shard.
type listener struct {
	p     *Ports
	queue chan *Conn
	once  sync.Once
	done  chan struct{}
}

var _ net.Listener = (*listener)(nil)

// Listeners are the protected server port as a net.Listener for each shard: what they accept is a *Conn of an agreement whose owner is of
// that shard.
func (p *Ports) Listeners() (all []net.Listener) {
	for _, l := range p.listeners {
		all = append(all, l)
	}
	return all
}

func (l *listener) put(c *Conn) {
	select {
	case <-l.done:
		c.p.e.release(c)
		c.abort()
	case l.queue <- c:
	default:
		l.p.e.n.Backlog.Add(1)
		c.p.e.release(c)
		c.abort()
	}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.done:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.p.cfg.Server.Addr() }
