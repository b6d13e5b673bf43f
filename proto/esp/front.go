package esp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
)

// Wire carries ESP packets of one of our addresses: Raw or Encapsulation, or a network in memory. Read is called by one goroutine,
// Write by any.
type Wire interface {
	// Read waits for a packet, without outer headers. from is the sender, with its UDP port where ESP is in UDP and else port 0.
	Read(b []byte) (n int, from netip.AddrPort, err error)
	// Write sends a packet. It does not keep b.
	Write(b []byte, to netip.AddrPort) error
	// InUDP reports whether ESP is in UDP here: then agreements in tunnel mode go this way, and no others.
	InUDP() bool
	// Local is our address; packets are looked up under it.
	Local() netip.Addr
	// Close ends a Read that waits.
	Close() error
}

// FrontConfig says who gets what comes in. Functions are called on the goroutine that reads, one packet at a time; a Datagram and its
// views are theirs until they return.
type FrontConfig struct {
	// UDP gets datagrams for ports that no PacketConn has; nil drops them.
	UDP func(*Datagram)
	// TCP gets segments (Datagram.Segment); nil drops them. It is the door to proto/espnet.
	TCP func(*Datagram)
	// Queue is how many datagrams wait in one PacketConn; 0 means 256. More are dropped, as UDP may.
	Queue int
}

// Front joins an engine to a wire: the hand-made UDP path. Make it with NewFront, run it with Run.
type Front struct {
	e   *Engine
	w   Wire
	cfg FrontConfig
	buf sync.Pool // of *[]byte for sealing

	mu    sync.RWMutex
	conns map[uint16]*PacketConn
}

// Errors of Front.
var (
	ErrPortTaken = errors.New("esp: the protected port has a conn already")
	ErrWire      = errors.New("esp: the agreement goes over another wire") // in UDP, or not in UDP
)

// maxRead is the longest packet there can be.
const maxRead = 65535

// keepAlive is the NAT keep-alive (RFC 3948 2.3).
const keepAlive = 0xff

// NewFront makes a front of e on w. A wire has one front.
func NewFront(e *Engine, w Wire, cfg FrontConfig) *Front {
	if cfg.Queue <= 0 {
		cfg.Queue = 256
	}
	return &Front{e: e, w: w, cfg: cfg, conns: map[uint16]*PacketConn{},
		buf: sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}}
}

// Run reads until ctx ends or the wire is closed, then closes the wire and all conns. It returns nil in these two cases, else the
// error of the wire.
func (f *Front) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = f.w.Close() }) // a failed close has nothing to lose
	defer func() {
		stop()
		_ = f.w.Close()
		f.closeConns()
	}()
	buf, local := make([]byte, maxRead), f.w.Local()
	stamped, _ := f.w.(Stamped)
	var d Datagram
	for failures := 0; ; {
		n, from, err := f.w.Read(buf)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			// ICMP puts errors on a socket one at a time; a wire that gives nothing else is broken.
			if failures++; failures > 64 {
				return err
			}
			continue
		}
		failures = 0
		if from.Port() != 0 && n == 1 && buf[0] == keepAlive {
			f.e.n.DropKeepAlive.Add(1)
			continue
		}
		if f.e.Open(buf[:n], from, local, &d) == Accepted {
			if stamped != nil {
				d.Came = stamped.Came()
			}
			f.deliver(&d)
		}
	}
}

// deliver demultiplexes on the inner protocol: 17 by hand, 6 to the hook.
func (f *Front) deliver(d *Datagram) {
	if d.Protocol == protoTCP {
		if f.cfg.TCP == nil {
			f.e.n.DropTCP.Add(1)
			return
		}
		f.cfg.TCP(d)
		return
	}
	f.mu.RLock()
	c := f.conns[d.Local.Port()]
	f.mu.RUnlock()
	switch {
	case c != nil:
		if !c.put(d) {
			f.e.n.DropSlow.Add(1)
		}
	case f.cfg.UDP != nil:
		f.cfg.UDP(d)
	default:
		f.e.n.DropSlow.Add(1)
	}
}

// Send sends payload as a UDP datagram from our port side of r. It does not keep payload. Safe for concurrent use.
func (f *Front) Send(r Ref, side Side, payload []byte) error {
	return f.send(r, side, protoUDP, payload)
}

// SendSegment sends a whole TCP or UDP segment; see Engine.Seal.
func (f *Front) SendSegment(r Ref, side Side, protocol byte, segment []byte) error {
	if protocol != protoTCP && protocol != protoUDP || len(segment) < udpHeader {
		return ErrProtocol
	}
	return f.send(r, side, protocol|wholeSegment, segment)
}

func (f *Front) send(r Ref, side Side, kind byte, data []byte) error {
	b := f.buf.Get().(*[]byte)
	defer f.buf.Put(b)
	p, to, err := f.e.seal((*b)[:0], r, side, kind, data)
	if err != nil {
		return err
	}
	*b = p[:0]
	if (to.Port() != 0) != f.w.InUDP() {
		return ErrWire
	}
	if err := f.w.Write(p, to); err != nil {
		f.e.n.SendErrors.Add(1)
		return err
	}
	return nil
}

// KeepAlive keeps a NAT's binding towards the peer of r open (RFC 3948 4): a UE calls it every 20 seconds without traffic.
func (f *Front) KeepAlive(r Ref) error {
	s, ok := f.e.Status(r)
	if !ok {
		return ErrGone
	}
	if s.Peer.Port() == 0 || !f.w.InUDP() {
		return ErrNoPath
	}
	return f.w.Write([]byte{keepAlive}, s.Peer)
}

// ListenPacket gives the conn of one of our protected ports: what comes to it over any agreement, and a way back by the peer's address.
func (f *Front) ListenPacket(port uint16) (*PacketConn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conns[port] != nil {
		return nil, ErrPortTaken
	}
	c := newPacketConn(f, netip.AddrPortFrom(f.w.Local(), port))
	f.conns[port] = c
	return c, nil
}

func (f *Front) forget(port uint16) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, port)
}

func (f *Front) closeConns() {
	f.mu.RLock()
	var all []*PacketConn
	for _, c := range f.conns {
		all = append(all, c)
	}
	f.mu.RUnlock()
	for _, c := range all {
		_ = c.Close() // it has no error
	}
}
