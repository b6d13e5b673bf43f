package link

import (
	"context"
	"crypto/tls"
	"errors"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/siptransport"
)

// The times of a connection.
const (
	firstWait = time.Second      // before the second attempt; doubled each time
	longWait  = 60 * time.Second // at most (RFC 5626 4.5 has more, for clients that are many)
	pingEvery = 95 * time.Second // RFC 5626 4.4.1: 80 to 100 % of 120 s
	pongIn    = 10 * time.Second // RFC 5626 4.4.1
	farewell  = 4 * time.Minute  // an old connection stays open for as long as a call may ring (RFC 3261 16.6: timer C)
)

// Run keeps a connection to the core until ctx ends, with a new one before the certificate of the old one ends, and renews the
// certificate. What comes goes to p, on sh.
func (d *Dialer) Run(ctx context.Context, sh *shard.Shard, p Pipe) {
	var beside sync.WaitGroup // old connections, and the renewal
	defer func() {
		beside.Wait()
		over, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		_ = d.streams.Close(over) // what is left is cut off
	}()
	if d.o.Enrol != "" {
		beside.Go(func() { d.keep(ctx) })
	}
	wait := firstWait
	for ctx.Err() == nil {
		l := &line{d: d, shard: sh, pipe: p, beside: &beside, closed: make(chan error, 1), pong: make(chan struct{}, 1)}
		began := d.o.Clock.Now()
		err := l.hold(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil { // it is time for another certificate
			wait = firstWait
			continue
		}
		d.counters.Lost.Add(1)
		if d.o.Clock.Now()-began > longWait {
			wait = firstWait
		}
		d.o.Log.Warn("no connection to the core", "peer", d.o.Core, "error", err)
		pause(ctx, wait+time.Duration(mathrand.Int64N(int64(wait)/2)))
		wait = min(2*wait, longWait)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// line is one connection. Its methods of siptransport.Receiver run on the shard.
type line struct {
	d      *Dialer
	shard  *shard.Shard
	pipe   Pipe
	beside *sync.WaitGroup
	flow   siptransport.Flow
	closed chan error
	pong   chan struct{}
}

var _ siptransport.Receiver = (*line)(nil)

// Packet implements siptransport.Receiver.
func (l *line) Packet(f siptransport.Flow, data []byte) { l.pipe.Packet(f, data) }

// Opened implements siptransport.Receiver.
func (l *line) Opened(f siptransport.Flow, state *tls.ConnectionState) {
	l.d.state.Store(state)
	l.d.counters.Connected.Add(1)
	l.d.o.Log.Info("connected to the core", "peer", l.d.o.Core)
	l.pipe.Opened(f)
}

// Closed implements siptransport.Receiver.
func (l *line) Closed(f siptransport.Flow, err error) {
	l.pipe.Closed(f)
	l.closed <- err
}

// Pong implements siptransport.Ponger.
func (l *line) Pong(siptransport.Flow) {
	select {
	case l.pong <- struct{}{}:
	default:
	}
}

// hold dials, and keeps the connection until it fails; nil if its certificate is about to end.
func (l *line) hold(ctx context.Context) error {
	pair, err := l.d.certificate()
	if err != nil {
		return err
	}
	var dialer net.Dialer
	l.flow = l.d.streams.DialBy(ctx, l.shard, netip.AddrPort{}, l, func(ctx context.Context) (net.Conn, error) {
		return dialer.DialContext(ctx, "tcp", l.d.o.Core)
	})
	conn, _ := l.flow.Via.(*siptransport.Conn)
	left := pair.Leaf.NotAfter.Sub(l.d.o.Clock.Wall())
	ends := time.NewTimer(left - left/10)
	defer ends.Stop()
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		select {
		case err := <-l.closed:
			l.d.state.Store(nil)
			if err == nil {
				err = siptransport.ErrClosed
			}
			return err
		case <-ctx.Done():
			conn.Close()
			return ctx.Err()
		case <-ends.C:
			l.beside.Go(func() { pause(ctx, farewell); conn.Close() })
			return nil
		case <-ping.C:
			if !l.lives(ctx) {
				conn.Close()
				return errors.New("link: the core is silent")
			}
		}
	}
}

// lives asks the core for a sign of life (RFC 5626 4.4.1).
func (l *line) lives(ctx context.Context) bool {
	select {
	case <-l.pong:
	default:
	}
	if l.flow.Send([]byte("\r\n\r\n")) != nil {
		return false
	}
	t := time.NewTimer(pongIn)
	defer t.Stop()
	select {
	case <-l.pong:
		return true
	case <-t.C:
		return false
	case err := <-l.closed:
		l.closed <- err
		return false
	case <-ctx.Done():
		return true
	}
}
