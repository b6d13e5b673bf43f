package xfrm

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"imsafe/proto/esp"
	"imsafe/proto/shard"
)

// Config is what an engine is made of.
type Config struct {
	// Book keeps SPIs, ports and lives, and carries itself what is in UDP.
	Book  *esp.Engine
	Clock shard.Clock
	// Notify is told of notices, as that of Book is; nil for nobody.
	Notify func(esp.Ref, shard.Place, esp.Notice)
}

// Engine has the kernel carry agreements in transport mode; those in tunnel mode are its Book's. Make it with New and run it with Run. Safe
// for concurrent use; but for Run and Watch it never waits for the kernel.
type Engine struct {
	*esp.Engine
	cfg Config
	n   Counters

	mu   sync.RWMutex
	sets map[esp.Ref]*carried
	spis map[endpoint]esp.Ref // of what arrives, and of what leaves
	left map[ports]departed
	idle []*carried // as they were installed, until somebody has looked whether they are used

	jobs struct {
		sync.Mutex
		queue []job
		more  chan struct{}
	}
}

// Counters say what happened. All only grow. Safe for concurrent use.
type Counters struct {
	Installed, Removed, Extended atomic.Uint64 // agreements in the kernel
	Refused                      atomic.Uint64 // agreements that the kernel did not take, all of them undone
	Batches                      atomic.Uint64 // of requests to the kernel
	Broken                       atomic.Uint64 // batches after which nobody knew what the kernel had done, and which were undone
	Expired                      atomic.Uint64 // agreements that the kernel ended
	Received, Sent               atomic.Uint64 // datagrams
	Stray                        atomic.Uint64 // datagrams and connections of no agreement: it had ended meanwhile
	SendErrors                   atomic.Uint64
	Accepted, Dialled            atomic.Uint64 // connections
	Backlog                      atomic.Uint64 // connections that nobody took
}

// endpoint is how the kernel names an association.
type endpoint struct {
	dst netip.Addr
	spi uint32
}

// ports are the two ends of a pair of associations.
type ports struct{ here, there netip.AddrPort }

// departed is who had them last.
type departed struct {
	owner shard.Place
	until time.Duration
}

// quarantine is how long the ports of an agreement that has ended are nobody else's: what waits in a socket was said by its client.
const quarantine = 2 * time.Second

// carried is an agreement that the kernel carries.
type carried struct {
	set
	ref   esp.Ref
	owner shard.Place
	began time.Duration // when the kernel was asked
	used  [2]atomic.Bool
	wrong [2]atomic.Uint32 // packets with a wrong ICV, as last heard

	// Guarded by Engine.mu.
	life    time.Duration // from began on; 0: no end
	stands  bool
	failed  error
	waiting func(error)
	conns   map[*Conn]struct{}
}

// New makes an engine without agreements.
func New(cfg Config) *Engine {
	e := &Engine{Engine: cfg.Book, cfg: cfg, sets: map[esp.Ref]*carried{}, spis: map[endpoint]esp.Ref{}, left: map[ports]departed{}}
	e.jobs.more = make(chan struct{}, 1)
	return e
}

// Traffic returns the engine's own counters; those of Counters are its Book's.
func (e *Engine) Traffic() *Counters { return &e.n }

// Install books g and asks the kernel for its four associations, all or none; Standing tells when they are there. Errors are those of
// proto/esp; its ErrPortsInUse is also for ports that were somebody else's a moment ago.
func (e *Engine) Install(g *esp.Agreement) (esp.Ref, error) {
	if g.Tunnel {
		return e.Engine.Install(g)
	}
	now, s := e.cfg.Clock.Now(), setOf(g)
	if e.quarantined(&s, g.Owner, now) {
		return esp.Ref{}, esp.ErrPortsInUse
	}
	booked := *g
	booked.Outside = true
	ref, err := e.Engine.Install(&booked)
	if err != nil {
		return ref, err
	}
	c := &carried{set: s, ref: ref, owner: g.Owner, began: now, life: g.Life}
	e.mu.Lock()
	e.sets[ref] = c
	for i := range c.all {
		e.spis[c.all[i].endpoint()] = ref
	}
	e.idle = append(e.idle, c)
	e.mu.Unlock()
	e.ask(job{kind: msgNewSA, of: c, keys: keysOf(g.Transform, &g.CK, &g.IK), life: g.Life})
	return ref, nil
}

func (a *association) endpoint() endpoint { return endpoint{a.dst.Addr(), a.spi} }

// pairs are the ends of the two pairs of associations.
func (s *set) pairs() [2]ports {
	return [2]ports{{s.all[0].dst, s.all[0].src}, {s.all[2].dst, s.all[2].src}}
}

// quarantined reports whether one of the pairs was somebody else's until now.
func (e *Engine) quarantined(s *set, owner shard.Place, now time.Duration) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range s.pairs() {
		if d, known := e.left[p]; known && now < d.until && d.owner != owner {
			return true
		}
	}
	return false
}

// Standing tells done when the associations of r stand, or that they do not: esp.ErrSPI where the peer has an SPI twice, or what else the
// kernel says. Whose agreement is removed while he waits is told esp.ErrGone, and by Run: nothing else calls back, so Remove may be called with a lock
// held that done takes. At most one may ask.
func (e *Engine) Standing(r esp.Ref, done func(error)) {
	e.mu.Lock()
	c := e.sets[r]
	switch {
	case c == nil:
		e.mu.Unlock()
		if _, booked := e.Engine.Status(r); booked {
			done(nil) // its Book carries it
			return
		}
		done(esp.ErrGone)
	case c.stands || c.failed != nil:
		err := c.failed
		e.mu.Unlock()
		done(err)
	default:
		c.waiting = done
		e.mu.Unlock()
	}
}

// stood notes what the kernel said to an installation.
func (e *Engine) stood(c *carried, err error) {
	if errors.Is(err, syscall.EEXIST) { // the peer has one with this SPI: the book does not look at those
		err = fmt.Errorf("%w: %w", esp.ErrSPI, err)
	}
	if err == nil {
		e.n.Installed.Add(1)
	} else {
		e.n.Refused.Add(1)
	}
	e.mu.Lock()
	if c.failed != nil {
		err = c.failed // it was removed meanwhile
	}
	c.stands, c.failed = err == nil, err
	done := c.waiting
	c.waiting = nil
	e.mu.Unlock()
	if done != nil {
		done(err)
	}
}

// Remove ends all four associations of r: their connections at once, without a word, and what waits on the way is nobody's.
func (e *Engine) Remove(r esp.Ref) {
	e.Engine.Remove(r)
	e.forget(r)
}

// forget has the kernel delete what it carries of r.
func (e *Engine) forget(r esp.Ref) {
	now := e.cfg.Clock.Now()
	e.mu.Lock()
	c := e.sets[r]
	if c == nil {
		e.mu.Unlock()
		return
	}
	delete(e.sets, r)
	for i := range c.all {
		delete(e.spis, c.all[i].endpoint())
	}
	for p, d := range e.left { // a few: they go after two seconds
		if now >= d.until {
			delete(e.left, p)
		}
	}
	for _, p := range c.pairs() {
		e.left[p] = departed{c.owner, now + quarantine}
	}
	conns := c.conns
	c.conns = nil
	if !c.stands && c.failed == nil {
		c.failed = esp.ErrGone // who waits hears it when the kernel has answered
	}
	e.mu.Unlock()
	for conn := range conns {
		conn.abort()
	}
	e.ask(job{kind: msgDelSA, of: c})
}

// Extend lets r live for life from now on, if that is longer than it would anyhow.
func (e *Engine) Extend(r esp.Ref, life time.Duration) bool {
	if !e.Engine.Extend(r, life) {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.sets[r]; c != nil && c.life > 0 && e.cfg.Clock.Now()+life-c.began > c.life {
		c.life = e.cfg.Clock.Now() + life - c.began
		e.ask(job{kind: msgUpdSA, of: c, life: c.life})
	}
	return true
}

// Status reports what r has done. Of what the kernel carries it tells whether there was anything, not how much.
func (e *Engine) Status(r esp.Ref) (s esp.Status, ok bool) {
	s, ok = e.Engine.Status(r)
	if !ok {
		return s, false
	}
	if c := e.of(r); c != nil {
		for side := range c.used {
			if c.used[side].Load() {
				s.Received[side] = 1
			}
		}
		s.AuthFailed = c.wrong[esp.Client].Load() + c.wrong[esp.Server].Load()
	}
	return s, true
}

// lookAfter is when an agreement that nothing came by is looked at: with wrong keys, packets do come.
const lookAfter = 5 * time.Second

// Cool does what that of Book does, and has the kernel asked about agreements that nothing came by.
func (e *Engine) Cool(n int) (dropped int) {
	now := e.cfg.Clock.Now()
	e.mu.Lock()
	for ; n > 0 && len(e.idle) > 0 && now-e.idle[0].began >= lookAfter; n-- {
		c := e.idle[0]
		e.idle[0], e.idle = nil, e.idle[1:]
		if e.sets[c.ref] == c && !c.isUsed() {
			e.ask(job{kind: msgGetSA, of: c})
		}
	}
	e.mu.Unlock()
	return e.Engine.Cool(n)
}

func (c *carried) isUsed() bool { return c.used[esp.Client].Load() || c.used[esp.Server].Load() }

// of is what the kernel carries of r, nil if it carries nothing.
func (e *Engine) of(r esp.Ref) *carried {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.sets[r]
}

// Carries reports whether the kernel carries r.
func (e *Engine) Carries(r esp.Ref) bool { return e.of(r) != nil }

// between is what the kernel carries between two ports, nil if it carries nothing.
func (e *Engine) between(here, there netip.AddrPort) (*carried, esp.Side) {
	r, side, ok := e.Find(here, there)
	if !ok {
		return nil, 0
	}
	c := e.of(r)
	if c != nil && !c.used[side].Load() {
		c.used[side].Store(true)
	}
	return c, side
}

// Notice is for the notices of Book (esp.Config.Notify): it passes them on.
func (e *Engine) Notice(r esp.Ref, owner shard.Place, n esp.Notice) {
	if n&esp.NoticeExpired != 0 {
		e.forget(r)
	}
	if e.cfg.Notify != nil {
		e.cfg.Notify(r, owner, n)
	}
}
