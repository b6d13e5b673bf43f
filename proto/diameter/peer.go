package diameter

import (
	"context"
	"slices"
	"strings"
	"time"

	"imsafe/proto/shard"
)

// peer is one expected peer. On the shard.
type peer struct {
	n       *Node
	cfg     *PeerConfig
	conn    *conn // open, or leaving
	dialled *conn // on its way, until its CEA has come
	timer   shard.Timer
	backoff time.Duration
	// suspicious: the last connection was given up by the watchdog, so the next one must answer three of them first
	// (RFC 3539 3.4.1 [5]).
	suspicious bool
	// gone: it is no peer any more (Dismiss).
	gone bool
	// dismissed: the peer said that it does not want to talk to us (RFC 6733 5.4.3).
	dismissed bool
}

// firstRetry is the first wait after a connection was lost; each failure doubles it, up to Reconnect (Tc).
const firstRetry = time.Second

// dial opens a connection, if that is our part and there is none.
func (p *peer) dial() {
	if p.cfg.Dial == nil || p.conn != nil || p.dialled != nil || p.gone {
		return
	}
	c := p.n.add(nil, p)
	if c == nil {
		return // the Node ends
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	p.dialled = c
	p.n.sh.Arm(&c.timer, p.n.cfg.Capabilities, (*tick)(c))
	go c.run(ctx)
}

// retry is a peer as the event of its timer.
type retry peer

// Run implements shard.Event.
func (r *retry) Run(*shard.Shard) { (*peer)(r).dial() }

// lost is told by a connection that has ended in a state.
func (p *peer) lost(c *conn, was state) {
	switch c {
	case p.dialled:
		p.dialled = nil
	case p.conn:
		p.conn = nil
		p.n.n.Up.Add(-1)
		if p.n.cfg.Changed != nil {
			p.n.cfg.Changed(p.cfg.Host, false)
		}
		p.backoff = 0
	}
	c.abandon()
	if was >= stateOpen && p.dismissed {
		p.backoff = p.n.cfg.Reconnect
	}
	p.redial()
}

// redial arms the next attempt.
func (p *peer) redial() {
	if p.n.leaving || p.gone || p.cfg.Dial == nil || p.timer.Armed() || p.conn != nil || p.dialled != nil {
		return
	}
	p.backoff = min(max(2*p.backoff, firstRetry), p.n.cfg.Reconnect)
	wait := p.backoff/2 + time.Duration(p.n.random.Int64N(int64(p.backoff)))
	p.n.sh.Arm(&p.timer, wait, (*retry)(p))
}

// opened makes c the connection of the peer.
func (p *peer) opened(c *conn) {
	if p.dialled == c {
		p.dialled = nil
	}
	p.n.known(c)
	c.proven()
	p.conn, p.backoff, p.dismissed = c, 0, false
	p.n.sh.Disarm(&p.timer)
	c.state, c.limit, c.peer = stateOpen, p.n.cfg.MaxMessage, p
	c.pending = map[uint32]*call{}
	c.hopByHop = p.n.random.Uint32()
	if p.suspicious {
		c.reopen = 3
	}
	p.n.n.Opened.Add(1)
	p.n.n.Up.Add(1)
	c.startWatchdog()
	if p.n.cfg.Changed != nil {
		p.n.cfg.Changed(p.cfg.Host, true)
	}
}

// leave sends DPR (RFC 6733 5.4): we are going down.
func (p *peer) leave() {
	p.n.sh.Disarm(&p.timer)
	if p.dialled != nil {
		p.dialled.kill(&p.n.n.ClosedLocal)
	}
	if c := p.conn; c != nil && c.state == stateOpen {
		c.disconnect(causeRebooting)
	}
}

func (p *peer) status() PeerStatus {
	s := PeerStatus{Host: p.cfg.Host, Realm: p.cfg.Realm, State: "closed"}
	switch {
	case p.conn != nil:
		c := p.conn
		s.Up = c.state == stateOpen && !c.suspect
		s.State, s.Secure, s.Product, s.Pending = stateNames[c.state], c.secure, c.product, len(c.pending)
		switch {
		case c.suspect:
			s.State = "suspect"
		case c.reopen > 0:
			s.State = "reopening"
		case c.unresponsive:
			s.State = "unresponsive"
		}
	case p.dialled != nil:
		s.State = stateNames[p.dialled.state]
	}
	return s
}

// serves says whether requests for a realm may go to the peer (RFC 6733 2.7).
func (p *peer) serves(realm string) bool {
	return strings.EqualFold(p.cfg.Realm, realm) ||
		slices.ContainsFunc(p.cfg.Realms, func(r string) bool { return strings.EqualFold(r, realm) })
}

// grade says how fit the peer is for a request: 0 not at all, 1 while it is being tried again (RFC 3539 3.4.1) or is in doubt, 2 fit.
func (p *peer) grade(k *call) int {
	c := p.conn
	switch {
	case k.secure && (c == nil || !c.secure):
		return 0
	case c == nil || c.state != stateOpen || c.suspect || len(c.pending) >= p.n.cfg.MaxPending:
		return 0
	case !c.relay && !c.apps[k.app]:
		return 0
	case c.reopen > 0, c.unresponsive && p.n.sh.Now() < c.trial:
		return 1
	}
	return 2
}

// choose finds the connection for a request (RFC 6733 6.1.4): the named host if it is a peer, else the best of those that serve
// the realm. Peers that were tried already are left out.
func (n *Node) choose(k *call) *conn {
	if k.host != "" {
		if p := n.byHost[strings.ToLower(k.host)]; p != nil {
			if p.grade(k) == 0 || slices.Contains(k.tried, p) {
				return nil
			}
			return p.conn
		}
	}
	var best *peer
	grade := 0
	n.turn++
	for i := range n.peers {
		p := n.peers[(i+n.turn)%len(n.peers)]
		if !p.serves(k.realm) || k.host != "" && !p.cfg.Agent || slices.Contains(k.tried, p) {
			continue
		}
		if g := p.grade(k); g > grade || g > 0 && g == grade && p.cfg.Priority < best.cfg.Priority {
			best, grade = p, g
		}
	}
	if best == nil {
		return nil
	}
	return best.conn
}

// tick is a connection as the event of its timer: what it means depends on the state.
type tick conn

// Run implements shard.Event.
func (t *tick) Run(*shard.Shard) {
	c := (*conn)(t)
	switch c.state {
	case stateConnecting, stateWaitCER, stateWaitCEA:
		c.kill(&c.n.n.ClosedCapabilities)
	case stateOpen:
		c.watch()
	case stateLeaving:
		c.kill(&c.n.n.ClosedLocal)
	}
}
