package esp

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"

	"imsafe/proto/shard"
)

// Config is what an engine is made of.
type Config struct {
	// Random gives SPIs, nonce prefixes and IVs; crypto/rand.Reader in production.
	Random io.Reader
	// Clock tells when associations end; nil if none of them has a Life.
	Clock shard.Clock
	// Max is the most agreements; 0 means a million.
	Max int
	// Notify is told of notices, from the goroutine that opened or sealed, without a lock; nil for nobody.
	Notify func(Ref, shard.Place, Notice)
	// Refuse is asked before a packet is dropped for DropReplay, DropAuth or DropSelector; false lets it in all the same. nil drops it. It
	// is how a laboratory shows what each of the three checks is good for, and how its user counts what they stopped. It is called with
	// the agreement locked: it must not call the engine.
	Refuse func(Drop) bool
	// KeepForged copies each packet before it is opened, so that Refuse can let in those with a wrong ICV: a failed opening leaves nothing
	// of them.
	KeepForged bool
}

// Engine is the agreements of one node and what opens and seals for them. Make it with New.
type Engine struct {
	cfg Config
	n   Counters
	ivs ivPool

	mu     sync.RWMutex // guards the tables, not what is in an agreement; taken before an agreement's lock, never after
	locals []address
	spis   map[uint64]uint32  // local address and SPI -> slot<<1 | Side, or reserved
	flows  map[flowKey]uint32 // addresses and ports -> slot<<1 | Side
	chunks []*chunk
	free   []uint32
	used   int
	cursor int // of Cool
	gone   func(Ref)
}

// flowKey is how an agreement is found by what a socket knows (TS 33.203 7.1 rule 4).
type flowKey struct {
	peer            address
	herePort, there uint16
	local           uint8
}

// reserved marks an SPI that was drawn and has no agreement yet.
const reserved = 1<<32 - 1

// maxLocals bounds our addresses: a P-CSCF has a few.
const maxLocals = 250

// New makes an engine without agreements.
func New(cfg Config) *Engine {
	if cfg.Max <= 0 {
		cfg.Max = 1 << 20
	}
	return &Engine{cfg: cfg, ivs: ivPool{random: cfg.Random}, spis: map[uint64]uint32{}, flows: map[flowKey]uint32{}}
}

// Counters are the engine's.
func (e *Engine) Counters() *Counters { return &e.n }

// Len is how many agreements there are.
func (e *Engine) Len() int {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.used
}

// localIndex finds one of our addresses; -1 if it is none. mu is held.
func (e *Engine) localIndex(a address) int {
	for i := range e.locals {
		if e.locals[i] == a {
			return i
		}
	}
	return -1
}

// addLocal is localIndex that adds. mu is held for writing.
func (e *Engine) addLocal(a netip.Addr) (uint8, error) {
	key := addressOf(a)
	i := e.localIndex(key)
	if i < 0 {
		if i = len(e.locals); i == maxLocals {
			return 0, ErrFull
		}
		e.locals = append(e.locals, key)
	}
	return uint8(i), nil
}

func spiKey(local int, spi uint32) uint64 { return uint64(local)<<32 | uint64(spi) }

// firstSPI is the smallest that is drawn: so all of them have ten digits, as Annex H writes them.
const firstSPI = 1_000_000_000

// Reserve draws two SPIs for packets to local: random, of ten digits, different from each other, from all others of this address
// and from those in avoid (the peer's, if they are known: TS 33.203 7.1). They are ours until Install or Release.
func (e *Engine) Reserve(local netip.Addr, avoid ...uint32) (spi [2]uint32, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l, err := e.addLocal(local)
	if err != nil {
		return spi, err
	}
	if len(e.spis) >= 4*e.cfg.Max {
		return spi, ErrFull // reserved and never installed: somebody forgets to release
	}
	for i := range spi {
		if spi[i], err = e.drawSPI(l, avoid); err != nil {
			e.release(l, spi)
			return [2]uint32{}, err
		}
	}
	return spi, nil
}

// drawSPI draws and reserves one SPI. Three draws in four are good: a source that gives none in a thousand is broken.
func (e *Engine) drawSPI(l uint8, avoid []uint32) (uint32, error) {
	for range 1000 {
		var b [4]byte
		if _, err := io.ReadFull(e.cfg.Random, b[:]); err != nil {
			return 0, fmt.Errorf("esp: randomness: %w", err)
		}
		s := binary.BigEndian.Uint32(b[:])
		if _, taken := e.spis[spiKey(int(l), s)]; s < firstSPI || taken || slices.Contains(avoid, s) {
			continue
		}
		e.spis[spiKey(int(l), s)] = reserved
		return s, nil
	}
	return 0, ErrRandom
}

// Release gives back SPIs that were reserved and not installed.
func (e *Engine) Release(local netip.Addr, spi [2]uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l := e.localIndex(addressOf(local)); l >= 0 {
		e.release(uint8(l), spi)
	}
}

func (e *Engine) release(l uint8, spi [2]uint32) {
	for _, s := range spi {
		if e.spis[spiKey(int(l), s)] == reserved {
			delete(e.spis, spiKey(int(l), s))
		}
	}
}

// now is the time on the clock.
func (e *Engine) now() time.Duration {
	if e.cfg.Clock == nil {
		return 0
	}
	return e.cfg.Clock.Now()
}

// Extend lets r live for life from now on, if that is longer than it would anyhow: a life is never shortened (TS 33.203 7.4). It reports
// whether r names anything that has not ended.
func (e *Engine) Extend(r Ref, life time.Duration) bool {
	a, _ := e.lock(r)
	if a == nil {
		return false
	}
	defer a.mu.Unlock()
	if e.expired(a) {
		return false // else Cool, which has seen it end, would remove it after all
	}
	if a.until != 0 {
		a.until = max(a.until, e.now()+life)
	}
	return true
}

// expired reports whether the life of a is over. Its lock is held.
func (e *Engine) expired(a *agreement) bool { return a.until != 0 && e.now() >= a.until }

// Install puts the four associations of g in place: all or none. Its own SPIs were reserved. After an error they still are. Keys of one
// challenge are installed once. That a client's server port behind a NAT is nobody else's (TS 33.203 M.7.1) is for the caller to see: the
// engine knows no users, and one user's next agreement has the same.
func (e *Engine) Install(g *Agreement) (Ref, error) {
	if err := g.validate(); err != nil {
		return Ref{}, err
	}
	if g.Life < 0 || g.Life > 0 && e.cfg.Clock == nil {
		return Ref{}, ErrLife
	}
	prefixes, err := e.prefixes(g.Role)
	if err != nil {
		return Ref{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.localIndex(addressOf(g.Local))
	if l < 0 {
		return Ref{}, ErrSPI
	}
	var flows [2]flowKey
	for side := range flows {
		if e.spis[spiKey(l, g.Here.SPI[side])] != reserved {
			return Ref{}, ErrSPI
		}
		flows[side] = flowKey{addressOf(g.Peer), g.Here.Port[side], g.There.Port[Side(side).other()], uint8(l)}
		if _, taken := e.flows[flows[side]]; taken {
			return Ref{}, ErrPortsInUse
		}
	}
	slot, ok := e.takeSlot()
	if !ok {
		return Ref{}, ErrFull
	}
	for side := range flows {
		if !g.Outside { // else they stay reserved: no packet is opened by them
			e.spis[spiKey(l, g.Here.SPI[side])] = slot<<1 | uint32(side)
		}
		e.flows[flows[side]] = slot<<1 | uint32(side)
	}
	a := e.at(slot)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fill(g, uint8(l), prefixes)
	if g.Life > 0 {
		a.until = e.now() + g.Life
	}
	e.n.Installed.Add(1)
	return Ref{slot, a.gen}, nil
}

// prefixes draws the nonce prefixes of our two sending associations together: bit 31 is our role, bit 30 the association, the rest
// random. All four associations share key and salt, so no two may ever use one prefix (TS 33.203 7.2 note 3, RFC 4106 3.1).
func (e *Engine) prefixes(role Role) (p [2]uint32, err error) {
	var b [8]byte
	if _, err := io.ReadFull(e.cfg.Random, b[:]); err != nil {
		return p, fmt.Errorf("esp: randomness: %w", err)
	}
	for side := range p {
		p[side] = uint32(role)<<31 | uint32(side)<<30 | binary.BigEndian.Uint32(b[4*side:])>>2
	}
	return p, nil
}

// takeSlot finds room. mu is held for writing.
func (e *Engine) takeSlot() (uint32, bool) {
	if e.used >= e.cfg.Max {
		return 0, false
	}
	if len(e.free) == 0 {
		first := uint32(len(e.chunks) * chunkSize)
		e.chunks = append(e.chunks, &chunk{keys: new([chunkSize]*expanded)})
		for i := uint32(chunkSize); i > 0; i-- {
			e.free = append(e.free, first+i-1)
		}
	}
	slot := e.free[len(e.free)-1]
	e.free = e.free[:len(e.free)-1]
	e.used++
	return slot, true
}

// at is the agreement in a slot. mu is held.
func (e *Engine) at(slot uint32) *agreement { return &e.chunks[slot/chunkSize].rest[slot%chunkSize] }

// fill writes g into an empty slot. Its generation stays: it is raised when the slot becomes empty.
func (a *agreement) fill(g *Agreement, local uint8, prefixes [2]uint32) {
	a.gen = max(a.gen, 1) // the zero Ref names nothing
	a.owner, a.live, a.role = g.Owner, true, g.Role
	a.local, a.tunnel, a.here = local, g.Tunnel, addressOf(g.Local)
	if g.Tunnel {
		a.outer = g.PeerPort
		if g.Inner.IsValid() {
			a.here = addressOf(g.Inner)
		}
	}
	a.peer = addressOf(g.Peer)
	if !g.Outside { // without a pair nothing is sealed either
		a.t, a.ck, a.ik = g.Transform, g.CK, g.IK
	}
	for side := range a.in {
		there := Side(side).other()
		a.ports[side].here, a.ports[side].there = g.Here.Port[side], g.There.Port[there]
		a.in[side] = inbound{spi: g.Here.SPI[side]}
		a.out[side] = outbound{spi: g.There.SPI[there], prefix: prefixes[side]}
	}
}

// WhenGone has f told of each agreement that has ended, by Remove or because its life was over, from the goroutine that removed it, without
// a lock. There is one f, proto/espnet's, whose connections end then; nil takes it away.
func (e *Engine) WhenGone(f func(Ref)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gone = f
}

// Remove ends all four associations of r and wipes their keys. A Ref that names nothing is left alone.
func (e *Engine) Remove(r Ref) {
	if gone := e.remove(r); gone != nil {
		gone(r)
	}
}

// remove is Remove but for telling who has to be told.
func (e *Engine) remove(r Ref) func(Ref) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if int(r.slot) >= len(e.chunks)*chunkSize {
		return nil
	}
	a := e.at(r.slot)
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.live || a.gen != r.gen {
		return nil
	}
	for side := range a.in {
		delete(e.spis, spiKey(int(a.local), a.in[side].spi))
		delete(e.flows, flowKey{a.peer, a.ports[side].here, a.ports[side].there, a.local})
	}
	e.chunks[r.slot/chunkSize].keys[r.slot%chunkSize] = nil
	a.wipe()
	e.free = append(e.free, r.slot)
	e.used--
	e.n.Removed.Add(1)
	return e.gone
}

// wipe empties the slot but for its lock and its next generation. What the standard library expanded cannot be wiped: it is garbage.
func (a *agreement) wipe() {
	a.gen++
	a.owner, a.live, a.warm, a.role = shard.Place{}, false, false, 0
	a.local, a.tunnel, a.known, a.noticed, a.outer = 0, false, 0, 0, 0
	a.t, a.authFailed, a.until, a.peer, a.here = Transform{}, 0, 0, address{}, address{}
	clear(a.ck[:])
	clear(a.ik[:])
	clear(a.ports[:])
	clear(a.in[:])
	clear(a.out[:])
}

// lock returns the agreement that r names, locked, with its place for expanded keys; nil if there is none.
func (e *Engine) lock(r Ref) (*agreement, **expanded) {
	e.mu.RLock()
	if int(r.slot) >= len(e.chunks)*chunkSize {
		e.mu.RUnlock()
		return nil, nil
	}
	c := e.chunks[r.slot/chunkSize]
	e.mu.RUnlock()
	a := &c.rest[r.slot%chunkSize]
	a.mu.Lock()
	if !a.live || a.gen != r.gen {
		a.mu.Unlock()
		return nil, nil
	}
	return a, &c.keys[r.slot%chunkSize]
}

// Find returns the agreement that holds between our port at local and peer's (TS 33.203 7.1 rule 4), and which of our ports it is.
func (e *Engine) Find(local, peer netip.AddrPort) (r Ref, side Side, ok bool) {
	e.mu.RLock()
	l := e.localIndex(addressOf(local.Addr()))
	v, ok := e.flows[flowKey{addressOf(peer.Addr()), local.Port(), peer.Port(), uint8(l)}]
	if l < 0 || !ok {
		e.mu.RUnlock()
		return Ref{}, 0, false
	}
	a := e.at(v >> 1)
	e.mu.RUnlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	// Between the two locks the slot may have been given to somebody else.
	s := Side(v & 1)
	if !a.live || a.peer != addressOf(peer.Addr()) || a.ports[s].here != local.Port() || a.ports[s].there != peer.Port() {
		return Ref{}, 0, false
	}
	return Ref{v >> 1, a.gen}, s, true
}

// Path is what a transport above has to know of two associations of an agreement.
type Path struct {
	Owner       shard.Place    // what Install was told
	Outer       netip.Addr     // our address of the outer packets: that of the wire
	InUDP       bool           // the way goes over a wire that has ESP in UDP
	Local, Peer netip.AddrPort // inner addresses and ports, as Datagram has them
}

// Path returns the way between our port side of r and the peer's that it is joined to; ok is false if r names nothing that holds.
func (e *Engine) Path(r Ref, side Side) (p Path, ok bool) {
	a, _ := e.lock(r)
	if a == nil {
		return p, false
	}
	side &= 1
	p = Path{Owner: a.owner, InUDP: a.tunnel, Local: netip.AddrPortFrom(a.here.netip(), a.ports[side].here),
		Peer: netip.AddrPortFrom(a.peer.netip(), a.ports[side].there)}
	local, over := a.local, e.expired(a)
	a.mu.Unlock()
	if over {
		return Path{}, false
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	p.Outer = e.locals[local].netip() // an address keeps its index
	return p, true
}

// Status reports what r has done; ok is false if r names nothing.
func (e *Engine) Status(r Ref) (s Status, ok bool) {
	a, _ := e.lock(r)
	if a == nil {
		return s, false
	}
	defer a.mu.Unlock()
	for side := range a.in {
		s.Received[side], s.Sent[side] = a.in[side].window.top, a.out[side].seq
	}
	s.AuthFailed, s.Peer = a.authFailed, netip.AddrPortFrom(a.peer.netip(), a.outer)
	return s, true
}

// Cool looks at the next n slots: it removes agreements whose life is over, with a notice, and drops the expanded keys of those that
// carried nothing since it came by last. It returns how many keys it dropped. Call it now and then, so that it goes round once in the time
// after which an agreement counts as idle.
func (e *Engine) Cool(n int) (dropped int) {
	for range n {
		e.mu.Lock()
		if len(e.chunks) == 0 {
			e.mu.Unlock()
			return dropped
		}
		if e.cursor >= len(e.chunks)*chunkSize {
			e.cursor = 0
		}
		slot, c, i := uint32(e.cursor), e.chunks[e.cursor/chunkSize], e.cursor%chunkSize
		e.cursor++
		e.mu.Unlock()
		a := &c.rest[i]
		a.mu.Lock()
		if !a.warm && c.keys[i] != nil {
			c.keys[i] = nil
			dropped++
		}
		a.warm = false
		r, owner, over := Ref{slot, a.gen}, a.owner, a.live && e.expired(a)
		a.mu.Unlock()
		if over {
			e.Remove(r)
			e.notify(r, owner, NoticeExpired)
		}
	}
	return dropped
}

// keys returns the expanded keys of a, whose lock is held.
func (e *Engine) keys(a *agreement, place **expanded) (*expanded, error) {
	if *place == nil {
		k, err := expand(a.t, &a.ck, &a.ik)
		if err != nil {
			return nil, fmt.Errorf("esp: keys: %w", err)
		}
		e.n.Expanded.Add(1)
		*place = k
	}
	return *place, nil
}

// ivPool reads randomness for IVs of CBC in larger pieces. An IV is used once and wiped.
type ivPool struct {
	random io.Reader
	mu     sync.Mutex
	left   []byte
	buf    [1024]byte
}

// take fills iv.
func (p *ivPool) take(iv []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.left) < len(iv) {
		if _, err := io.ReadFull(p.random, p.buf[:]); err != nil {
			p.left = nil
			return fmt.Errorf("esp: randomness: %w", err)
		}
		p.left = p.buf[:]
	}
	copy(iv, p.left)
	clear(p.left[:len(iv)])
	p.left = p.left[len(iv):]
	return nil
}
