// Package clientservice is the C-S door: the media anchor that stands between a client and whoever it talks with (IMS access gateway, TS
// 23.334). Its P-CSCF tells it by refpoint/iq what was agreed; it has the sockets and the keys.
//
//	port -> leg: source, rate, payload type, SSRC -> tag, replay -> gate -> leg of the other side: index used before? -> seal -> port
//
// Each end of each medium has a port, a certificate and keys of its own, made for one call. DTLS-SRTP comes first; keys of the descriptions
// (SDES) where the client's signalling is confidential; RTP in clear by a waiver. A packet is authenticated before anything is learned from
// it or it is passed on, and there is no other mode: the gate knows each check by the name of its control, for laboratories.
//
// Two sessions of this anchor that lead to each other, as those of a call between two of its clients do, are linked: what comes in at the
// access of one leaves at the access of the other, and no keys are made for the way between them.
//
// It knows no SIP and no SDP text, and decodes nothing. node assembles it. All methods are safe for concurrent use.
package clientservice

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"imsafe/proto/rtpport"
	"imsafe/proto/sdp"
	"imsafe/proto/shard"
	"imsafe/refpoint/iq"
	"imsafe/secure"
)

// Config is what an operator sets.
type Config struct {
	Listen  []netip.AddrPort // addresses, each with its first port; one of a family is enough
	Ports   int              // so many from the first on, for each address
	PerUser int              // sessions that one user may hold; 0 sets no bound
	Audio   int              // kbit/s that an end may send of audio
	Video   int              // and of anything else
	Silence time.Duration    // after which a session with open gates is lost; 0: never

	Outlives      time.Duration // how long calls go on at most whose P-CSCF has died; 0: not at all
	OrphanSilence time.Duration // or until a side that may speak has not for so long
}

// Ports are what the anchor is handed.
type Ports struct {
	Clock  shard.Clock
	Random io.Reader // unpredictable, safe for concurrent use
	Gate   *secure.Gate
	Listen func(at netip.AddrPort) (net.PacketConn, error)
	Log    *slog.Logger
}

// Gateway is the anchor.
type Gateway struct {
	cfg      Config
	ports    Ports
	push     iq.Push
	counters Counters
	ctx      context.Context //nolint:containedctx // the life of all legs
	cancel   context.CancelFunc
	poller   *rtpport.Poller // reads all ports
	wg       sync.WaitGroup  // of legs, and of ports that the poller cannot read
	seed     maphash.Seed

	mu       sync.Mutex // guards the fields below, and sessions and streams but for their atomics. Never held while a leg is closed
	pools    []*pool
	sessions map[iq.Session]*session
	holding  map[string]int             // sessions of each user
	cores    map[netip.AddrPort]*stream // by the port towards the core
	keys     recent
	last     iq.Session
	closed   bool
}

var _ iq.Gateway = (*Gateway)(nil)

// New makes an anchor. Close ends it.
func New(c Config, p Ports) (*Gateway, error) {
	if len(c.Listen) == 0 || c.Ports < 4 || p.Clock == nil || p.Random == nil || p.Gate == nil || p.Listen == nil || p.Log == nil {
		return nil, fmt.Errorf("clientservice: addresses, ports, clock, randomness, gate, sockets and log are needed")
	}
	g := &Gateway{cfg: c, ports: p, seed: maphash.MakeSeed(), sessions: map[iq.Session]*session{}, holding: map[string]int{}, cores: map[netip.AddrPort]*stream{}}
	for _, first := range c.Listen {
		pool, err := newPool(first, c.Ports, p.Random)
		if err != nil {
			return nil, err
		}
		g.pools = append(g.pools, pool)
	}
	var err error
	if g.poller, err = rtpport.NewPoller(rtpport.PollerConfig{Threads: threads(), Failed: g.portFailed, Unsent: func() { g.counters.Unsent.Add(1) }}); err != nil {
		return nil, fmt.Errorf("clientservice: %w", err)
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g, nil
}

// Plug tells whom to tell. Before the node runs.
func (g *Gateway) Plug(push iq.Push) { g.push = push }

// Close ends all sessions and waits for what served them.
func (g *Gateway) Close() {
	g.mu.Lock()
	g.closed = true
	all := make([]*session, 0, len(g.sessions))
	for _, s := range g.sessions {
		all = append(all, s)
	}
	g.mu.Unlock()
	for _, s := range all {
		g.Release(s.id)
	}
	g.cancel()
	g.wg.Wait()
	g.poller.Close()
}

// threads is how many read ports: all processors but one. A thread that waits for packets keeps its place at Go's scheduler for some time, and
// signalling must not wait for it.
func threads() int { return max(1, runtime.GOMAXPROCS(0)-1) }

// Reserve implements iq.Gateway.
func (g *Gateway) Reserve(id iq.Session, m iq.Medium) (iq.Stream, error) {
	st := &stream{g: g, kind: m.Kind, branches: map[iq.Branch]*far{}}
	r, err := g.reserve(id, st, m)
	if err != nil {
		st.close()
	}
	return r, err
}

// maxStreams is how many media a session may have: voice, video, a second of each.
const maxStreams = 4

func (g *Gateway) reserve(id iq.Session, st *stream, m iq.Medium) (iq.Stream, error) {
	for side := range st.ends {
		e, err := g.open(st, iq.Side(side), m)
		if err != nil {
			return iq.Stream{}, err
		}
		st.ends[side] = e
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s, err := g.session(id, m.User)
	if err != nil {
		return iq.Stream{}, err
	}
	if len(s.streams) >= maxStreams && g.overBudget("streams", m.User) {
		return iq.Stream{}, iq.ErrUser
	}
	st.session, st.number = s, len(s.streams)
	s.streams = append(s.streams, st)
	g.cores[st.ends[iq.Core].media.Local()] = st
	return iq.Stream{Session: s.id, Number: st.number, Ends: [2]iq.End{st.ends[iq.Access].describe(), st.ends[iq.Core].describe()}}, nil
}

// session returns a session, or makes one. g.mu is held.
func (g *Gateway) session(id iq.Session, user string) (*session, error) {
	if g.closed {
		return nil, iq.ErrGone
	}
	if id != 0 {
		if s := g.sessions[id]; s != nil {
			return s, nil
		}
		return nil, iq.ErrGone
	}
	if g.cfg.PerUser > 0 && g.holding[user] >= g.cfg.PerUser && g.overBudget("sessions", user) {
		return nil, iq.ErrUser
	}
	s := &session{user: user}
	for side := range s.names {
		var err error
		if s.names[side], err = g.name(); err != nil {
			return nil, err
		}
	}
	g.last++
	s.id = g.last
	g.sessions[s.id] = s
	g.holding[user]++
	g.counters.Sessions.Add(1)
	g.counters.Begun.Add(1)
	return s, nil
}

// name draws a CNAME that says nothing: 96 bits (RFC 7022 4.2).
func (g *Gateway) name() (string, error) {
	var b [12]byte
	if _, err := io.ReadFull(g.ports.Random, b[:]); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(b[:]), nil
}

// open makes one end: its ports, its certificate, its keys, and the leg that waits for the far end.
func (g *Gateway) open(st *stream, side iq.Side, m iq.Medium) (*end, error) {
	e := &end{g: g, stream: st, side: side}
	var err error
	if e.certificate, err = rtpport.NewCertificate(g.ports.Random, g.ports.Clock.Wall()); err != nil {
		return nil, err
	}
	if side == iq.Access {
		for i, suite := range m.Suites {
			key, err := sdp.NewCrypto(g.ports.Random, uint32(i+1), suite)
			if err != nil {
				return nil, err
			}
			e.crypto = append(e.crypto, key)
		}
	}
	var names [16 + 4 + 16]byte
	if _, err := io.ReadFull(g.ports.Random, names[:]); err != nil {
		return nil, err
	}
	e.tlsID = hex.EncodeToString(names[:16])
	if side == iq.Access { // RFC 8839 5.4: 24 bits of ufrag and 128 of password at least
		e.ufrag, e.password = hex.EncodeToString(names[16:20]), hex.EncodeToString(names[20:])
	}
	if err := e.listen(m.Families[side], m.Separate[side]); err != nil {
		return nil, err
	}
	if e.first, err = e.newLegs(); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

// Renew implements iq.Gateway.
func (g *Gateway) Renew(id iq.Session, number int, side iq.Side, m iq.Medium) (iq.End, error) {
	g.mu.Lock()
	st := g.stream(id, number)
	g.mu.Unlock()
	if st == nil {
		return iq.End{}, iq.ErrGone
	}
	e, err := g.open(st, side, m)
	if err != nil {
		return iq.End{}, err
	}
	unused, renewed := g.replace(id, number, st, e)
	for _, old := range unused {
		old.close()
	}
	if !renewed {
		e.close()
		return iq.End{}, iq.ErrGone
	}
	return e.describe(), nil
}

// replace puts a new end in the place of another, whose legs go on until a far end was told of the new one. One that no far end was told of
// is returned, to be closed: who moves again and again holds no more than two.
func (g *Gateway) replace(id iq.Session, number int, st *stream, e *end) (unused []closer, renewed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stream(id, number) != st {
		return nil, false
	}
	if old := st.ends[e.side]; old != nil { // who shared a transport had none
		st.old = append(st.old, old)
	}
	st.ends[e.side] = e
	if e.side == iq.Core {
		g.cores[e.media.Local()] = st
	}
	return st.left(), true
}

// stream finds one. g.mu is held.
func (g *Gateway) stream(id iq.Session, number int) *stream {
	s := g.sessions[id]
	if s == nil || number < 0 || number >= len(s.streams) {
		return nil
	}
	return s.streams[number]
}

// Through implements iq.Gateway.
func (g *Gateway) Through(id iq.Session, number int, from [2]bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if st := g.stream(id, number); st != nil {
		for side, open := range from {
			st.open[side].Store(open)
		}
	}
}

// Confirm implements iq.Gateway.
func (g *Gateway) Confirm(id iq.Session, b iq.Branch) {
	g.mu.Lock()
	var ended []*far
	if s := g.sessions[id]; s != nil {
		s.confirmed = true
		for _, st := range s.streams {
			ended = append(ended, st.confirm(b)...)
		}
	}
	g.mu.Unlock()
	for _, f := range ended {
		f.close()
	}
}

// Release implements iq.Gateway.
func (g *Gateway) Release(id iq.Session) {
	g.mu.Lock()
	s := g.sessions[id]
	if s != nil {
		delete(g.sessions, id)
		if g.holding[s.user]--; g.holding[s.user] <= 0 {
			delete(g.holding, s.user)
		}
		for _, st := range s.streams {
			delete(g.cores, st.ends[iq.Core].media.Local())
			for _, e := range st.old {
				delete(g.cores, e.media.Local())
			}
		}
	}
	g.mu.Unlock()
	if s == nil {
		return
	}
	for _, st := range s.streams {
		st.close()
	}
	if s.orphan != nil {
		g.counters.Orphans.Add(-1)
	}
	g.counters.Sessions.Add(-1)
}

// Sweep looks for sessions whose both gates are open and that nobody has said anything in for long: their ends are gone without a word; and for
// those of a P-CSCF that has died. The owner calls it now and then.
func (g *Gateway) Sweep() {
	now := g.ports.Clock.Now()
	g.sweepOrphans(now)
	if g.cfg.Silence <= 0 {
		return
	}
	g.mu.Lock()
	var silent []iq.Session
	for id, s := range g.sessions {
		if s.orphan == nil && s.silent(now, g.cfg.Silence) {
			silent = append(silent, id)
		}
	}
	g.mu.Unlock()
	for _, id := range silent {
		g.lost(id, iq.ReasonSilence)
	}
}

// lost tells the P-CSCF, once for each session.
func (g *Gateway) lost(id iq.Session, why iq.Reason) {
	g.mu.Lock()
	s := g.sessions[id]
	tell := s != nil && !s.lost && !g.closed
	orphan := tell && s.orphan != nil
	if tell {
		s.lost = true
		g.counters.Lost.Add(1)
	}
	g.mu.Unlock()
	switch {
	case orphan:
		g.Release(id)
	case tell && g.push != nil:
		g.push.Lost(id, why)
	}
}
