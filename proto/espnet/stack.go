package espnet

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"imsafe/proto/esp"
)

// Config is the bounds of a stack. The zero value of a field means the value named there; Random must be given.
type Config struct {
	// Random gives initial sequence numbers (RFC 9293 3.4.1) and the like; crypto/rand.Reader in production.
	Random io.Reader
	// MaxConns is the most connections, handshakes and TIME-WAIT included: 100,000. An agreement has two at most: its four ports give two
	// pairs that a connection may have (TS 33.203 7.1).
	MaxConns int
	// MaxHalfOpen is the most handshakes at one time that peers began: 1,024.
	MaxHalfOpen int
	// Backlog is the most connections that a listener holds for Accept, their handshakes included: 1,024.
	Backlog int
	// Buffer is the most octets that a connection holds in each direction: 65,536. Received segments count with what they take in memory,
	// so a window is about half of it.
	Buffer int
	// Handshake is the time for opening a connection, either way: 10 s.
	Handshake time.Duration
	// KeepAlive is how long a connection may be silent before the peer is asked whether it is still there: 2 h, which RFC 9293 3.8.4 has as the
	// least default. Nine questions without an answer, 75 s apart, end the connection. It sleeps longer than most agreements live.
	KeepAlive time.Duration
	// Unacknowledged is how long what was sent may be without an answer before the connection ends: 100 s (R2 of RFC 9293 3.8.3).
	Unacknowledged time.Duration
}

// withDefaults returns c with its zero fields filled in.
func (c Config) withDefaults() Config {
	def(&c.MaxConns, 100_000)
	def(&c.MaxHalfOpen, 1024)
	def(&c.Backlog, 1024)
	def(&c.Buffer, 64<<10)
	def(&c.Handshake, 10*time.Second)
	def(&c.KeepAlive, 2*time.Hour)
	def(&c.Unacknowledged, 100*time.Second)
	return c
}

// def sets *v to d unless it is positive.
func def[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// leastBuffer is what a connection needs to hold a few segments.
const leastBuffer = 8 << 10

// Errors of a stack's functions. Those that end a connection are found with errors.Is in what Read and Write return.
var (
	ErrGone      = errors.New("espnet: the agreement has ended")
	ErrExhausted = errors.New("espnet: the sequence numbers of the association are used up")
	ErrInUse     = errors.New("espnet: a connection has these ports already")
	ErrFull      = errors.New("espnet: too many connections")
	ErrNoFront   = errors.New("espnet: no front carries the agreement")
	ErrTimeout   = errors.New("espnet: the peer did not answer the handshake")
)

// Stack is TCP over the agreements of one engine. Make it with New, give it fronts with NewFront, end it with Close.
type Stack struct {
	engine *esp.Engine
	cfg    Config
	n      Counters
	tcp    *stack.Stack
	clock  tcpip.Clock
	syns   *tcp.Forwarder
	links  [2]*link       // IPv4 and IPv6
	tasks  sync.WaitGroup // handshakes, Dials and ends that are on their way

	addressesMu sync.Mutex // held while gVisor is told of an address
	addresses   map[netip.Addr]bool

	// mu is not held while gVisor is called: its locks come before this one, for it calls send.
	mu      sync.RWMutex
	closed  bool
	fronts  []front
	ports   map[netip.AddrPort]*port // on which somebody listens
	conns   map[tuple]*binding
	ways    map[way]*binding // the same
	replies map[tuple]sender
}

// front is a front with what its wire said of itself.
type front struct {
	f     *esp.Front
	local netip.Addr
	inUDP bool
}

// New makes a stack for the agreements of e, and is told of their ends from now on.
func New(e *esp.Engine, cfg Config) (*Stack, error) {
	return newStack(e, cfg, tcpip.NewStdClock())
}

func newStack(e *esp.Engine, cfg Config, clock tcpip.Clock) (*Stack, error) {
	cfg = cfg.withDefaults()
	if cfg.Random == nil || cfg.Buffer < leastBuffer {
		return nil, fmt.Errorf("espnet: no randomness, or buffers of less than %d octets", leastBuffer)
	}
	s := &Stack{engine: e, cfg: cfg, clock: clock, addresses: map[netip.Addr]bool{}, ports: map[netip.AddrPort]*port{},
		conns: map[tuple]*binding{}, ways: map[way]*binding{}, replies: map[tuple]sender{}}
	if err := s.build(); err != nil {
		return nil, err
	}
	e.WhenGone(s.gone)
	return s, nil
}

// Counters are the stack's.
func (s *Stack) Counters() *Counters { return &s.n }

// NewFront is esp.NewFront with the stack as the hook for TCP. The wire's agreements are the engine's of New.
func (s *Stack) NewFront(w esp.Wire, cfg esp.FrontConfig) *esp.Front {
	var f *esp.Front
	cfg.TCP = func(d *esp.Datagram) { s.receive(f, d) }
	f = esp.NewFront(s.engine, w, cfg)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fronts = append(s.fronts, front{f, w.Local(), w.InUDP()})
	return f
}

// frontOf finds the front whose wire carries p.
func (s *Stack) frontOf(p *esp.Path) *esp.Front {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i := range s.fronts {
		if s.fronts[i].local == p.Outer && s.fronts[i].inUDP == p.InUDP {
			return s.fronts[i].f
		}
	}
	return nil
}

// Close resets all connections, closes the listeners and ends what the stack runs. Fronts should still run, or nobody hears the resets.
// Twice is harmless.
func (s *Stack) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	var all []*Listener
	for _, p := range s.ports {
		all = append(all, p.listeners...)
	}
	s.mu.Unlock()
	s.engine.WhenGone(nil)
	for _, l := range all {
		_ = l.Close() // it has no error
	}
	s.tcp.Close()
	s.tasks.Wait()
	s.tcp.Close() // what a handshake had made in that moment
	s.tcp.Wait()
	return nil
}

// Listen takes connections to one of our protected ports, of whatever agreement has it. local is the inner address of the agreements, which
// is that of the wire but for a UE behind a NAT. The error is ErrInUse, or net.ErrClosed after Close.
func (s *Stack) Listen(local netip.AddrPort) (*Listener, error) {
	all, err := s.ListenEach(local, 1)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// ListenEach is Listen for an owner with so many shards: the connections of an agreement come to the listener of its owner's shard
// (esp.Agreement.Owner), those of another shard are refused. With one shard all come to it. The port is in use until all are closed.
func (s *Stack) ListenEach(local netip.AddrPort, shards int) ([]*Listener, error) {
	p := &port{left: shards}
	for range shards {
		p.listeners = append(p.listeners, &Listener{s: s, port: p, local: local, queue: make(chan *Conn, s.cfg.Backlog), done: make(chan struct{})})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, net.ErrClosed
	case s.ports[local] != nil:
		return nil, ErrInUse
	}
	s.ports[local] = p
	return p.listeners, nil
}
