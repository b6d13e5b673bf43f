package node

import (
	"errors"
	"net/netip"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/siptransport"
)

// A peer whose process dies closes its connections, and whoever waits for it hears so at once. One whose machine is off, whose cable is cut or whose
// process hangs closes nothing: it is found out by pings (RFC 5626 4.4.1), which its transport answers by itself. Until it answers again nobody waits
// for it: a request is as good as refused at once, and somebody else may be asked (TS 23.380 4.2, 4.3).

const (
	pingEvery = time.Second
	// missed is how many pings in a row have no answer before the peer is silent: a busy machine answers late.
	missed = 3
)

// line is a stream that we opened to a peer.
type line struct {
	flow  siptransport.Flow
	owed  int // pings without a pong
	timer shard.Timer
}

// silent is a peer that does not answer, and when it is tried again.
type silent struct{ again shard.Timer }

var _ siptransport.Ponger = (*Port)(nil)

// lineTo returns the stream to a peer, and opens one if there is none.
func (p *Port) lineTo(to netip.AddrPort) siptransport.Flow {
	l := p.dialled[to]
	if l == nil {
		l = &line{flow: p.dial(to)}
		p.dialled[to] = l
	}
	return l.flow
}

// stands begins the watch over a stream of ours that has opened.
func (p *Port) stands(f siptransport.Flow) {
	l := p.dialled[f.Peer]
	if l == nil || l.flow != f {
		return
	}
	if s := p.silent[f.Peer]; s != nil {
		p.shard.Disarm(&s.again)
		delete(p.silent, f.Peer)
	}
	p.ping(l)
}

// ping sends a ping, unless too many have no answer: then the stream is given up.
func (p *Port) ping(l *line) {
	if l.owed >= missed {
		if c, able := l.flow.Via.(interface{ Close() }); able {
			c.Close() // Closed follows
		}
		return
	}
	l.owed++
	if l.flow.Send([]byte("\r\n\r\n")) == nil {
		p.shard.Arm(&l.timer, pingEvery, shard.EventFunc(func(*shard.Shard) { p.ping(l) }))
	}
}

// Pong implements siptransport.Ponger.
func (p *Port) Pong(f siptransport.Flow) {
	if l := p.dialled[f.Peer]; l != nil && l.flow == f {
		l.owed = 0
	}
}

// hungUp forgets a stream of ours that has ended. If the peer has not even refused it, it is silent, and is tried again by ourselves.
func (p *Port) hungUp(f siptransport.Flow, err error) {
	l := p.dialled[f.Peer]
	if l == nil || l.flow != f {
		return
	}
	p.shard.Disarm(&l.timer)
	delete(p.dialled, f.Peer)
	var late interface{ Timeout() bool }
	if l.owed < missed && !(errors.As(err, &late) && late.Timeout()) {
		if s := p.silent[f.Peer]; s != nil {
			p.shard.Disarm(&s.again)
			delete(p.silent, f.Peer)
		}
		return
	}
	s := p.silent[f.Peer]
	if s == nil {
		s = &silent{}
		p.silent[f.Peer] = s
	}
	p.shard.Arm(&s.again, pingEvery, shard.EventFunc(func(*shard.Shard) { p.lineTo(f.Peer) }))
}
