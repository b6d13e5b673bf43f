package espnet

import (
	"context"
	"sync/atomic"

	"imsafe/proto/esp"
)

// Dial opens a connection over r, from our client port to the peer's server port, which is how connections are opened (TS 33.203 7.1): uc -> ps at
// a UE, pc -> us at a P-CSCF. It returns when the handshake is done. The error is ErrInUse if a connection has these ports, ErrGone if r has
// ended, ErrTimeout after Config.Handshake, the reason why ctx ended, or what the peer's TCP says (syscall.ECONNREFUSED).
func (s *Stack) Dial(ctx context.Context, r esp.Ref) (*Conn, error) {
	p, ok := s.engine.Path(r, esp.Client)
	if !ok {
		return nil, ErrGone
	}
	f := s.frontOf(&p)
	if f == nil {
		return nil, ErrNoFront
	}
	b := &binding{tuple: tuple{p.Local, p.Peer}, sender: sender{way{r, esp.Client}, f}, owner: p.Owner}
	if err := s.claim(b); err != nil {
		return nil, err
	}
	defer s.tasks.Done()
	s.know(p.Local.Addr())
	c := newConn(s, b)
	if err := c.dial(ctx); err != nil {
		s.n.FailedDials.Add(1)
		s.unbind(b)
		return nil, err
	}
	s.n.Dialled.Add(1)
	return c, nil
}

// claim binds b; a connection that is in TIME-WAIT makes room.
func (s *Stack) claim(b *binding) error {
	if old := s.bound(b.tuple); old != nil && old.way == b.way {
		s.reopen(old, true)
	}
	return s.bind(b)
}

// dial does the handshake. After an error gVisor has nothing of the connection.
func (c *Conn) dial(ctx context.Context) error {
	ep, err := c.s.connect(c.b.tuple, &c.events)
	if err != nil {
		return err
	}
	c.watch(ep)
	var late atomic.Bool
	timer := c.s.clock.AfterFunc(c.s.cfg.Handshake, func() {
		late.Store(true)
		c.write.wake()
	})
	defer timer.Stop()
	stop := context.AfterFunc(ctx, c.write.wake)
	defer stop()
	for {
		switch {
		case c.b.established():
			c.begin()
			return nil
		case c.b.cause.Load() != nil:
			err = *c.b.cause.Load()
		case c.b.over():
			if err = errorOf(ep.LastError()); err == nil {
				err = ErrTimeout
			}
		case ctx.Err() != nil:
			err = context.Cause(ctx)
		case late.Load():
			err = ErrTimeout
		default:
			<-c.write.ready
			continue
		}
		ep.Abort()
		return err
	}
}
