package rtpport

import (
	"net"
	"os"
	"sync"
	"time"
)

// pipe is the socket that a DTLS attempt sees: what the demultiplexer gives it, and the leg's socket outwards. Deadlines are
// real time, as pion's are.
type pipe struct {
	l    *Leg
	in   chan []byte
	once sync.Once
	done chan struct{}

	mu      sync.Mutex
	expired chan struct{} // closed at the read deadline
	timer   *time.Timer
}

// pipeDepth is more than two flights of a handshake; more than that is a flood and DTLS repeats what matters.
const pipeDepth = 32

func newPipe(l *Leg) *pipe {
	return &pipe{l: l, in: make(chan []byte, pipeDepth), done: make(chan struct{}), expired: make(chan struct{})}
}

// put copies b into the queue; false if it is full or the pipe closed.
func (p *pipe) put(b []byte) bool {
	select {
	case <-p.done:
		return false
	default:
	}
	select {
	case p.in <- append([]byte(nil), b...):
		return true
	default:
		return false
	}
}

func (p *pipe) ReadFrom(b []byte) (int, net.Addr, error) {
	p.mu.Lock()
	expired := p.expired
	p.mu.Unlock()
	select {
	case <-expired: // first, so that a passed deadline wins over a waiting packet
		return 0, nil, os.ErrDeadlineExceeded
	default:
	}
	select {
	case d := <-p.in:
		return copy(b, d), net.UDPAddrFromAddrPort(p.l.address()), nil
	case <-p.done:
		return 0, nil, net.ErrClosed
	case <-expired:
		return 0, nil, os.ErrDeadlineExceeded
	}
}

// WriteTo sends to the agreed address, whatever it is asked.
func (p *pipe) WriteTo(b []byte, _ net.Addr) (int, error) {
	if err := p.l.wire.write(b, p.l.address()); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Close ends reading. The leg's socket stays open: it is not the attempt's.
func (p *pipe) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipe) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(p.l.local) }

func (p *pipe) SetDeadline(t time.Time) error { return p.SetReadDeadline(t) }

// SetWriteDeadline does nothing: a datagram socket does not make a writer wait.
func (p *pipe) SetWriteDeadline(time.Time) error { return nil }

func (p *pipe) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil && !p.timer.Stop() {
		<-p.expired // it has fired and closes the channel, or has already
	}
	p.timer = nil
	select {
	case <-p.expired:
		p.expired = make(chan struct{})
	default:
	}
	switch d := time.Until(t); {
	case t.IsZero():
	case d <= 0:
		close(p.expired)
	default:
		expired := p.expired
		p.timer = time.AfterFunc(d, func() { close(expired) })
	}
	return nil
}
