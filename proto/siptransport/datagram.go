package siptransport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"imsafe/proto/mmsg"
	"imsafe/proto/shard"
)

// batches is how many batches a reader owns: while one waits in the inbox of a busy shard, the other is being filled; then
// the reader waits and the kernel's buffer takes the rest.
const batches = 2

// maxUDP4 and maxUDP6 are the longest payloads of a UDP datagram: 65535 octets less the headers.
const (
	maxUDP4 = 65535 - 20 - 8
	maxUDP6 = 65535 - 8
)

// packetIO moves batches between a socket and memory. Reading is done by one goroutine at a time, and so is writing.
type packetIO interface {
	// read waits for datagrams and fills b from its start. It returns at least one, or an error.
	read(b *batch) error
	// write sends all of g as far as the socket takes it without blocking.
	write(g *gathered)
	// prepare makes a batch ready for read.
	prepare(b *batch)
}

// Datagrams is a packet socket: a Sender, and a reader that runs what it read on its shard. Make it with NewDatagrams.
type Datagrams struct {
	sh    *shard.Shard
	pc    net.PacketConn
	io    packetIO
	o     Options
	n     *Counters
	local netip.AddrPort
	free  chan *batch // batches that nobody uses; as many as there are
	waits func(wait, now time.Duration)

	mu       sync.Mutex // guards what follows
	gather   *gathered  // filled by SendTo
	spare    *gathered  // the other one, nil while it is being written
	queued   bool       // a flush waits in the shard
	flushing bool       // somebody writes
	closed   bool
}

var _ Sender = (*Datagrams)(nil)

// NewDatagrams makes the Sender of pc, whose packets are delivered on sh; it may send before Serve reads. For a *net.UDPConn it
// uses batched system calls where the system has them. Any other conn is used one datagram at a time; if it offers
// ReadFromUDPAddrPort and WriteToUDPAddrPort as *net.UDPConn does, without an allocation for the address.
func NewDatagrams(sh *shard.Shard, pc net.PacketConn, o Options) *Datagrams {
	o = o.withDefaults()
	def(&o.Proto, "UDP")
	d := &Datagrams{sh: sh, pc: pc, o: o, n: o.Counters, local: addrPort(pc.LocalAddr()), free: make(chan *batch, batches)}
	d.io = newPacketIO(d)
	d.gather, d.spare = new(gathered), new(gathered)
	return d
}

// ServePacket is NewDatagrams and Serve in one. The flows that r sees carry the Sender.
func ServePacket(ctx context.Context, sh *shard.Shard, pc net.PacketConn, r Receiver, o Options) error {
	return NewDatagrams(sh, pc, o).Serve(ctx, r)
}

// Flow is the flow from this socket to peer.
func (d *Datagrams) Flow(peer netip.AddrPort) Flow { return Flow{Via: d, Peer: peer} }

// Waits has f hear, on the shard, how long datagrams lay in the socket and before the shard until they were taken: one in each batch, the oldest. It
// hears nothing where the system does not say when a datagram came. A step of the clock is heard as one such wait. Before Serve.
func (d *Datagrams) Waits(f func(wait, now time.Duration)) {
	d.waits = f
}

// Reliable reports false.
func (d *Datagrams) Reliable() bool { return false }

// Proto is Options.Proto, by default "UDP".
func (d *Datagrams) Proto() string { return d.o.Proto }

// Local is the address the socket is bound to.
func (d *Datagrams) Local() netip.AddrPort { return d.local }

// Serve reads until ctx ends or the socket is closed, then flushes and closes the socket. It returns nil in these two cases,
// else the error of the socket. Call it once.
func (d *Datagrams) Serve(ctx context.Context, r Receiver) error {
	for range batches {
		d.free <- newBatch(d, r)
	}
	stop := context.AfterFunc(ctx, d.close)
	defer d.close()
	defer stop()
	for failures := 0; ; {
		b := <-d.free
		if err := d.io.read(b); err != nil {
			d.free <- b
			if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
				return nil
			}
			// Errors that the network puts on a UDP socket (ICMP) come one at a time; a socket that gives nothing else is broken.
			if failures++; failures > 64 {
				return err
			}
			continue
		}
		failures = 0
		n := b.n
		// The shard may still be at b when Exec returns: another goroutine took it. Then the next batch is used.
		if !d.sh.Exec(b) {
			d.n.InboxFull.Add(uint64(n))
			d.free <- b
		}
	}
}

// close sends what was gathered and closes the socket.
func (d *Datagrams) close() {
	d.mu.Lock()
	first := !d.closed
	d.closed = true
	d.mu.Unlock()
	if first {
		d.flush()
		_ = d.pc.Close() // nothing is lost by a failed close: what could leave has left
	}
}

// SendTo copies b into the burst that leaves when the shard has done its present work.
func (d *Datagrams) SendTo(peer netip.AddrPort, b []byte) error {
	a := peer.Addr().Unmap()
	if limit := maxUDP4; len(b) > limit && (a.Is4() || len(b) > maxUDP6) {
		return ErrTooLarge
	}
	// An IPv6 socket of ours is IPv6 only; a local address that is not an IP address takes any peer.
	if !a.IsValid() || d.local.IsValid() && a.Is4() != d.local.Addr().Unmap().Is4() {
		return ErrPeer
	}
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return ErrClosed
	}
	if d.gather.full(4 * d.o.Batch) { // only while somebody else is writing and the kernel is slow
		d.mu.Unlock()
		d.n.SendDropped.Add(1)
		return nil
	}
	d.gather.add(netip.AddrPortFrom(a, peer.Port()), b)
	now := d.gather.full(d.o.Batch) && !d.flushing
	post := !now && !d.queued
	d.queued = d.queued || post
	d.mu.Unlock()
	// On the shard Exec queues the flush behind the present event, elsewhere it runs it at once.
	if now || post && !d.sh.Exec((*datagramFlush)(d)) {
		d.flush()
	}
	return nil
}

// datagramFlush is the event that flushes a Datagrams.
type datagramFlush Datagrams

// Run implements shard.Event.
func (f *datagramFlush) Run(*shard.Shard) { (*Datagrams)(f).flush() }

// flush writes what was gathered. The lock is not held over the system call: a network in memory may deliver at once and come
// back with SendTo.
func (d *Datagrams) flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queued = false
	if d.flushing {
		return // whoever is at it takes ours as well
	}
	d.flushing = true
	for d.gather.len() > 0 {
		g := d.gather
		d.gather, d.spare = d.spare, nil
		d.mu.Unlock()
		d.io.write(g)
		g.reset()
		d.mu.Lock()
		d.spare = g
	}
	d.flushing = false
}

// gathered is a burst of datagrams in one buffer.
type gathered struct {
	buf   []byte
	ends  []int // ends[i] is where datagram i ends in buf
	peers []netip.AddrPort
}

// burstOctets is how many octets make a burst full, however few datagrams they are.
const burstOctets = 128 << 10

func (g *gathered) len() int { return len(g.ends) }

func (g *gathered) full(n int) bool { return len(g.ends) >= n || len(g.buf) >= burstOctets }

func (g *gathered) add(peer netip.AddrPort, b []byte) {
	g.buf = append(g.buf, b...)
	g.ends = append(g.ends, len(g.buf))
	g.peers = append(g.peers, peer)
}

// at is datagram i.
func (g *gathered) at(i int) []byte {
	start := 0
	if i > 0 {
		start = g.ends[i-1]
	}
	return g.buf[start:g.ends[i]]
}

func (g *gathered) reset() { g.buf, g.ends, g.peers = g.buf[:0], g.ends[:0], g.peers[:0] }

// batch is a set of datagrams that were read at once; as an event it delivers them.
type batch struct {
	d    *Datagrams
	r    Receiver
	in   *mmsg.Reader     // into bufs, where the socket has one
	bufs [][]byte         // where datagrams go
	n    int              // datagrams in it
	came int64            // when the first came, in nanoseconds of the time of day; 0 = nobody knows
	size []int            // octets of each; 0 = dropped already
	from []netip.AddrPort // where each came from
}

// newBatch allocates a batch. Buffers are as long as the longest datagram; memory that no datagram ever reached is never touched,
// so it costs address space only. The stride is no multiple of a page: else all datagrams would compete for the same cache sets.
func newBatch(d *Datagrams, r Receiver) *batch {
	n := d.o.Batch
	b := &batch{d: d, r: r, bufs: make([][]byte, n), size: make([]int, n), from: make([]netip.AddrPort, n)}
	length := d.o.MaxDatagram + 1 // the octet too many tells that a datagram was cut, where the system does not
	stride := (length+63)&^63 + 5*64
	mem := make([]byte, n*stride)
	for i := range b.bufs {
		b.bufs[i] = mem[i*stride : i*stride+length : i*stride+length]
	}
	d.io.prepare(b)
	return b
}

// fill notes that n datagrams were read with one call. get tells the octets of each, where it came from, and whether it was longer
// than its buffer. Counters are shared between cores, so they are touched once per batch.
func (b *batch) fill(n int, get func(i int) (size int, from netip.AddrPort, cut bool)) {
	octets := 0
	for i := range n {
		size, from, cut := get(i)
		b.set(i, size, from, cut)
		octets += size
	}
	b.n = n
	c := b.d.n
	c.ReadCalls.Add(1)
	c.PacketsIn.Add(uint64(n))
	c.OctetsIn.Add(uint64(octets))
}

// set notes datagram i, or drops it.
func (b *batch) set(i, size int, from netip.AddrPort, cut bool) {
	c := b.d.n
	switch {
	case cut || size > b.d.o.MaxDatagram:
		c.Truncated.Add(1)
		size = 0
	case size <= 4 && onlyCRLF(b.bufs[i][:size]):
		// Old clients keep NAT bindings open with CRLF or empty datagrams; RFC 5626 4.4.2 has STUN for that. No answer.
		c.KeepAlives.Add(1)
		size = 0
	}
	b.size[i], b.from[i] = size, from
}

// Run implements shard.Event: it delivers the datagrams and gives the batch back to the reader, also after a panic.
func (b *batch) Run(sh *shard.Shard) {
	defer func() { b.d.free <- b }()
	if b.came != 0 && b.d.waits != nil {
		b.d.waits(time.Duration(sh.Wall().UnixNano()-b.came), sh.Now())
	}
	for i := range b.n {
		if n := b.size[i]; n > 0 {
			b.r.Packet(Flow{Via: b.d, Peer: b.from[i]}, b.bufs[i][:n:n])
		}
	}
}

// onlyCRLF reports whether p holds nothing but CR, LF and NUL.
func onlyCRLF(p []byte) bool {
	for _, c := range p {
		if c != '\r' && c != '\n' && c != 0 {
			return false
		}
	}
	return true
}

// addrPort reads the address of a net.Addr, without a mapped IPv6 form; the zero value if it has none.
func addrPort(a net.Addr) netip.AddrPort {
	if x, ok := a.(interface{ AddrPort() netip.AddrPort }); ok {
		ap := x.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
