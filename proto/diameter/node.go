package diameter

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"imsafe/proto/shard"
)

// Node is a Diameter node: its peers, its connections, its requests that wait. All of its state lives on one shard.
type Node struct {
	cfg    Config
	n      *Counters
	sh     *shard.Shard
	dup    *duplicates
	apps   map[Application]*ApplicationConfig
	random *rand.Rand // on the shard; jitter and identifiers need no secrecy

	session  atomic.Uint64
	endToEnd atomic.Uint32

	// On the shard.
	peers   []*peer
	byHost  map[string]*peer // by lower-case host
	turn    int              // of peers with equal priority
	sweeper shard.Timer
	leaving bool

	mu         sync.Mutex // guards what follows
	conns      map[*conn]struct{}
	handshakes int
	closed     bool
	running    sync.WaitGroup // goroutines of connections; Add only while !closed
}

// New makes a Node. It opens nothing: Run dials, Serve accepts.
func New(c Config) (*Node, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	var seed [24]byte
	if _, err := io.ReadFull(c.Random, seed[:]); err != nil {
		return nil, fmt.Errorf("diameter: randomness: %w", err)
	}
	word := binary.BigEndian.Uint64
	n := &Node{cfg: c, n: c.Counters, sh: c.Shard, dup: newDuplicates(c.MaxDuplicates, c.Duplicates),
		apps: map[Application]*ApplicationConfig{}, byHost: map[string]*peer{}, conns: map[*conn]struct{}{},
		random: rand.New(rand.NewPCG(word(seed[:]), word(seed[8:])))}
	for i := range c.Applications {
		n.apps[c.Applications[i].ID] = &c.Applications[i]
	}
	for i := range c.Peers {
		p := &peer{n: n, cfg: &c.Peers[i]}
		n.peers = append(n.peers, p)
		n.byHost[strings.ToLower(p.cfg.Host)] = p
	}
	// RFC 6733 3 and 8.8: identifiers begin with the time, so that they are new after a restart.
	now := c.Shard.Wall().Unix()
	n.endToEnd.Store(uint32(now)<<20 | binary.BigEndian.Uint32(seed[16:])&0xfffff)
	n.session.Store(uint64(now)<<32 | uint64(binary.BigEndian.Uint32(seed[20:])))
	return n, nil
}

// Run dials the peers that are to be dialled and keeps at it. When ctx ends it takes leave of all peers (RFC 6733 5.4) and
// returns when no connection is left. Call it once.
func (n *Node) Run(ctx context.Context) error {
	n.enter(shard.EventFunc(func(*shard.Shard) {
		n.sh.Arm(&n.sweeper, sweepEvery, (*sweep)(n))
		for _, p := range n.peers {
			p.dial()
		}
	}))
	<-ctx.Done()
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	if !n.enter(shard.EventFunc(func(*shard.Shard) { n.leave() })) {
		n.cut()
	}
	n.running.Wait()
	n.enter(shard.EventFunc(func(*shard.Shard) { n.sh.Disarm(&n.sweeper) }))
	return nil
}

// leave says goodbye to every peer and closes what is no peer.
func (n *Node) leave() {
	n.leaving = true
	for _, p := range n.peers {
		p.leave()
	}
	n.mu.Lock()
	var strangers []*conn
	for c := range n.conns {
		strangers = append(strangers, c)
	}
	n.mu.Unlock()
	for _, c := range strangers {
		if c.state < stateOpen {
			c.kill(&n.n.ClosedLocal)
		}
	}
}

// cut closes all sockets without a word.
func (n *Node) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		c.out.stop()
		c.hangUp()
	}
}

// enter brings an event to the shard and waits while it is full, a second at most.
func (n *Node) enter(e shard.Event) bool {
	const pause, tries = 2 * time.Millisecond, 500
	for range tries {
		if n.sh.Exec(e) {
			return true
		}
		if n.cfg.Sleep == nil {
			return false
		}
		n.n.ShardWaits.Add(1)
		n.cfg.Sleep(pause)
	}
	return false
}

// Serve accepts connections until ctx ends or ln is closed; both return nil. It closes ln. encrypted says that they begin with
// TLS; without it only peers with Cleartext get any further than their CER. Run it beside Run.
func (n *Node) Serve(ctx context.Context, ln net.Listener, encrypted bool) error {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer func() {
		stop()
		_ = ln.Close()
	}()
	for failures := 0; ; {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			failures = 0
			n.Accept(nc, encrypted)
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return nil
		case n.cfg.Sleep == nil || failures > 100: // out of descriptors for good
			return fmt.Errorf("diameter: accept: %w", err)
		default:
			failures++
			n.cfg.Sleep(time.Duration(failures) * time.Millisecond)
		}
	}
}

// Accept takes a connection that a peer has opened. It returns at once; the connection is closed if there is no room for it.
func (n *Node) Accept(nc net.Conn, encrypted bool) {
	c := n.add(nc, nil)
	if c == nil {
		n.n.RefusedHandshakes.Add(1)
		_ = nc.Close()
		return
	}
	n.n.Accepted.Add(1)
	c.encrypted = encrypted
	go c.run(context.Background())
}

// add makes a connection within the bounds, or nil. p is nil if it was accepted.
func (n *Node) add(nc net.Conn, p *peer) *conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || p == nil && n.handshakes >= n.cfg.MaxHandshakes {
		return nil
	}
	c := &conn{n: n, nc: nc, peer: p, dialled: p != nil, limit: maxCapabilities}
	c.in.done = make(chan struct{}, 1)
	c.out.init(n.cfg.MaxQueue)
	if p == nil {
		n.handshakes++
		c.stranger = true
	}
	n.conns[c] = struct{}{}
	n.n.Conns.Add(1)
	n.running.Add(1)
	return c
}

// known says that a connection is that of a peer now, or gone: it no longer counts as a handshake.
func (n *Node) known(c *conn) {
	n.mu.Lock()
	if c.stranger {
		c.stranger = false
		n.handshakes--
	}
	n.mu.Unlock()
}

func (n *Node) remove(c *conn) {
	n.known(c)
	n.mu.Lock()
	delete(n.conns, c)
	n.mu.Unlock()
	n.n.Conns.Add(-1)
	n.running.Done()
}

// refuse asks whether something is to be refused, and counts it.
func (n *Node) refuse(r Refusal) bool {
	if r.Reason == 0 {
		return false
	}
	n.n.RefusedReason[r.Reason].Add(1)
	return n.cfg.Refuse == nil || n.cfg.Refuse(r)
}

// Us returns what we are called.
func (n *Node) Us() Identities { return n.cfg.Identities }

// AppendSessionID appends a new Session-Id: host, two numbers of 32 bits (RFC 6733 8.8).
func (n *Node) AppendSessionID(dst []byte) []byte {
	v := n.session.Add(1)
	dst = append(append(dst, n.cfg.Host...), ';')
	dst = append(strconv.AppendUint(dst, v>>32, 10), ';')
	return strconv.AppendUint(dst, v&0xffffffff, 10)
}

// jitter spreads d by up to two seconds to either side (RFC 3539 3.4.1 [1]). On the shard.
func (n *Node) jitter(d time.Duration) time.Duration {
	return d + time.Duration(n.random.Int64N(int64(4*time.Second))) - 2*time.Second
}

// sweepEvery is how often answers that are too old are cleared.
const sweepEvery = 30 * time.Second

// sweep is a Node as the event of its timer.
type sweep Node

// Run implements shard.Event.
func (s *sweep) Run(sh *shard.Shard) {
	s.dup.sweep(sh.Now())
	sh.Arm(&s.sweeper, sweepEvery, s)
}

// PeerStatus is what is known of a peer.
type PeerStatus struct {
	Host, Realm string
	Up          bool   // in service
	State       string // for people
	Secure      bool   // mutual TLS
	Product     string
	Pending     int // our requests that wait for an answer
}

// Peers returns the peers in the order of the configuration. Not on the shard: it waits for it.
func (n *Node) Peers(ctx context.Context) ([]PeerStatus, error) {
	result := make(chan []PeerStatus, 1)
	if !n.enter(shard.EventFunc(func(*shard.Shard) {
		all := make([]PeerStatus, 0, len(n.peers))
		for _, p := range n.peers {
			all = append(all, p.status())
		}
		result <- all
	})) {
		return nil, shard.ErrFull
	}
	select {
	case all := <-result:
		return all, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// clientTLS is the configuration for dialling host.
func (n *Node) clientTLS(host string) *tls.Config {
	c := n.cfg.TLS.Clone()
	c.ServerName = host
	return c
}
