package espnet

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/faketime"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"imsafe/proto/esp"
)

// rawPeer is a UE whose TCP is the test itself: it makes its segments by hand and looks at those that come.
type rawPeer struct {
	*rig
	front *esp.Front
	came  chan header.TCP
}

// newRawPeer is a rig whose UE is raw. The P-CSCF's stack is on clock.
func newRawPeer(t testing.TB, cfg Config, clock tcpip.Clock) *rawPeer {
	t.Helper()
	r := &rawPeer{rig: newRigWith(t, v4, false, Config{}, cfg, clock), came: make(chan header.TCP, 1024)}
	// The UE that the rig has made is unplugged, and this one plugged in.
	r.ue.cable, _ = newCables(v4, false)
	r.ue.cable.to, r.p.cable.to = r.p.cable, r.ue.cable
	r.ue.engine = esp.New(esp.Config{Random: rand.Reader})
	r.front = esp.NewFront(r.ue.engine, r.ue.cable, esp.FrontConfig{TCP: func(d *esp.Datagram) {
		r.came <- header.TCP(append([]byte(nil), d.Segment...))
	}})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.front.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return r
}

// segment makes a segment of the rig's addresses.
func segment(from, to netip.AddrPort, flags header.TCPFlags, seq, ack uint32, payload string) header.TCP {
	b := make([]byte, tcpHeader+len(payload))
	copy(b[tcpHeader:], payload)
	h := header.TCP(b)
	h.Encode(&header.TCPFields{SrcPort: from.Port(), DstPort: to.Port(), SeqNum: seq, AckNum: ack, DataOffset: tcpHeader, Flags: flags, WindowSize: 65535})
	x := header.PseudoHeaderChecksum(header.TCPProtocolNumber, tcpip.AddrFromSlice(from.Addr().AsSlice()), tcpip.AddrFromSlice(to.Addr().AsSlice()), uint16(len(b)))
	h.SetChecksum(^checksum.Checksum(b, x))
	return h
}

// send sends a segment from uc to ps over a.
func (r *rawPeer) send(a *agreed, flags header.TCPFlags, seq, ack uint32, payload string) {
	r.t.Helper()
	from, to := netip.AddrPortFrom(v4.ue, a.ueG.Here.Port[esp.Client]), netip.AddrPortFrom(v4.pcscf, ps)
	if err := r.front.SendSegment(a.ue, esp.Client, 6, segment(from, to, flags, seq, ack, payload)); err != nil {
		r.t.Fatal(err)
	}
}

// next is the next segment that comes.
func (r *rawPeer) next() header.TCP {
	r.t.Helper()
	select {
	case s := <-r.came:
		return s
	case <-time.After(time.Minute):
		r.t.Fatal("nothing comes")
		return nil
	}
}

// handshake opens a connection by hand and returns our next number and the peer's.
func (r *rawPeer) handshake(a *agreed, seq uint32) (mine, theirs uint32) {
	r.t.Helper()
	r.send(a, header.TCPFlagSyn, seq, 0, "")
	s := r.next()
	for s.AckNumber() != seq+1 || s.DestinationPort() != a.ueG.Here.Port[esp.Client] { // a late one, of another connection
		s = r.next()
	}
	if s.Flags() != header.TCPFlagSyn|header.TCPFlagAck {
		r.t.Fatalf("the answer to SYN is %v", s.Flags())
	}
	r.send(a, header.TCPFlagAck, seq+1, s.SequenceNumber()+1, "")
	return seq + 1, s.SequenceNumber() + 1
}

const (
	pshAck = header.TCPFlagPsh | header.TCPFlagAck
	rstAck = header.TCPFlagRst | header.TCPFlagAck
)

// TestForeignAgreement is the rule of the house: when the ports of a client pass to another, the other's segments do not get into the
// connection, whose owner has not changed and which has ended; and the other gets one of his own.
func TestForeignAgreement(t *testing.T) {
	r := newRawPeer(t, Config{}, tcpip.NewStdClock())
	l := r.listen(&r.p, ps)
	a := r.agree(0, gcm)
	mine, theirs := r.handshake(a, 1000)
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	// Between the end of an agreement and the end of its connections there is a moment: here it lasts.
	r.p.engine.WhenGone(nil)
	r.p.engine.Remove(a.p)
	r.ue.engine.Remove(a.ue)
	b := r.agree(0, gcm)
	if b.p == a.p {
		t.Fatal("the same agreement")
	}
	r.send(b, pshAck, mine, theirs, "spoken by another")
	until(t, "the end of the connection", func() bool { return r.p.stack.n.Conns.Load() == 0 })
	buf := make([]byte, 100)
	for range 2 {
		if n, err := nc.Read(buf); n != 0 || !errors.Is(err, ErrGone) {
			t.Errorf("%q came in, %v", buf[:n], err)
		}
		if _, err := nc.Write(buf); !errors.Is(err, ErrGone) {
			t.Errorf("write: %v", err)
		}
	}
	if ref, owner, _ := nc.(*Conn).Agreement(); ref != a.p || owner != a.pG.Owner {
		t.Error("the connection changed its agreement")
	}
	if n := &r.p.stack.n; n.DropForeign.Load() != 1 || n.Gone.Load() != 1 {
		t.Errorf("%d foreign segments, %d connections gone", n.DropForeign.Load(), n.Gone.Load())
	}
	select {
	case s := <-r.came:
		t.Errorf("the other was answered %v", s.Flags())
	default:
	}
	r.handshake(b, 5000)
	own, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if ref, _, _ := own.(*Conn).Agreement(); ref != b.p {
		t.Error("a connection of the old agreement")
	}
	_ = nc.Close()
	_ = own.Close()
}

// TestForeignSegments: while an agreement holds, nothing of another one is let in under its name, whatever the flags say, and the connection does
// not notice.
func TestForeignSegments(t *testing.T) {
	r := newRig(t, v4, false, Config{}, Config{})
	a := r.agree(0, gcm)
	b := r.agree(1, gcm)
	c, s := r.pair(r.listen(&r.p, ps), a)
	from, to := netip.AddrPortFrom(v4.ue, uc), netip.AddrPortFrom(v4.pcscf, ps)
	for flags := range header.TCPFlags(64) {
		d := esp.Datagram{Agreement: b.p, Owner: b.pG.Owner, Side: esp.Server, Protocol: 6, Peer: from, Local: to, Segment: segment(from, to, flags, 1, 1, "x")}
		r.p.stack.receive(r.p.front, &d)
		d.Agreement, d.Side = a.p, esp.Client // the right agreement, the wrong associations
		r.p.stack.receive(r.p.front, &d)
	}
	// A laboratory that lets in what the selectors refuse: b's agreement, a's ports in the segment.
	d := esp.Datagram{Agreement: b.p, Owner: b.pG.Owner, Side: esp.Server, Protocol: 6, Peer: netip.AddrPortFrom(v4.ue, uc+1), Local: to,
		Segment: segment(from, to, pshAck, 1, 1, "x")}
	r.p.stack.receive(r.p.front, &d)
	if n := r.p.stack.n.DropForeign.Load(); n != 129 {
		t.Errorf("%d dropped", n)
	}
	for _, offset := range []byte{0, 4 << 4, 15 << 4} {
		d.Segment[offsetAt] = offset
		r.p.stack.receive(r.p.front, &d)
	}
	d.Segment = d.Segment[:tcpHeader-1]
	r.p.stack.receive(r.p.front, &d)
	if n := r.p.stack.n.DropProtocol.Swap(0); n != 4 {
		t.Errorf("%d malformed", n)
	}
	echo(t, c, s, 10_000)
	// The UE closed first. What another may not begin in TIME-WAIT either:
	until(t, "TIME-WAIT", func() bool { return c.b.ending() })
	d = esp.Datagram{Agreement: b.ue, Side: esp.Client, Protocol: 6, Peer: to, Local: from, Segment: segment(to, from, header.TCPFlagSyn, 1, 0, "")}
	r.ue.stack.receive(r.ue.front, &d)
	if r.ue.stack.bound(c.b.tuple) != c.b || r.ue.stack.n.DropForeign.Load() != 1 {
		t.Error("another ended TIME-WAIT")
	}
}

// TestAgreementEnds: removal in the middle of a transfer, and the end of its life, end both connections of an agreement and no others.
func TestAgreementEnds(t *testing.T) {
	r := newRig(t, v4, false, Config{}, Config{})
	toP, toUE := r.listen(&r.p, ps), r.listen(&r.ue, us)
	a, b := r.agree(0, gcm), r.agree(1, cbc)
	c, s := r.pair(toP, a)
	m, u := connect(t, &r.p, a.p, toUE)
	d, e := r.pair(toP, b)
	var wg sync.WaitGroup
	wg.Go(func() {
		var err error
		for err == nil {
			_, err = s.Write(make([]byte, 1000))
		}
		if !errors.Is(err, ErrGone) {
			t.Errorf("write: %v", err)
		}
	})
	wg.Go(func() {
		if n, err := m.Read(make([]byte, 10)); n != 0 || !errors.Is(err, ErrGone) {
			t.Errorf("read: %v", err)
		}
	})
	if _, err := c.Read(make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	r.p.engine.Remove(a.p)
	wg.Wait()
	if _, err := r.p.stack.Dial(t.Context(), a.p); err != ErrGone {
		t.Errorf("dial: %v", err)
	}
	echo(t, d, e, 10_000)
	if n := r.p.stack.n.Gone.Load(); n != 2 {
		t.Errorf("%d connections gone", n)
	}
	for _, c := range []*Conn{c, u, m, s} {
		c.Abort()
	}
	// A life that ends: the engine refuses to send before it comes by and removes it.
	b2 := r.agree(2, gcm)
	b2.pG.Life = time.Minute
	r.p.engine.Remove(b2.p)
	var err error
	if b2.pG.Here.SPI, err = r.p.engine.Reserve(v4.pcscf); err != nil {
		t.Fatal(err)
	}
	b2.ueG.There.SPI = b2.pG.Here.SPI
	r.ue.engine.Remove(b2.ue)
	if b2.ueG.Here.SPI, err = r.ue.engine.Reserve(v4.ue); err != nil {
		t.Fatal(err)
	}
	b2.pG.There.SPI = b2.ueG.Here.SPI
	if b2.p, err = r.p.engine.Install(&b2.pG); err != nil {
		t.Fatal(err)
	}
	if b2.ue, err = r.ue.engine.Install(&b2.ueG); err != nil {
		t.Fatal(err)
	}
	c, s = r.pair(toP, b2)
	r.clock.Advance(time.Minute)
	if _, err := s.Write([]byte("x")); err != nil {
		t.Errorf("the buffer takes it: %v", err)
	}
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, ErrGone) {
		t.Errorf("read: %v", err)
	}
	c.Abort()
}

// TestRefused: what is for nobody is answered by a reset, through the association, and the connection that we begin is refused likewise.
func TestRefused(t *testing.T) {
	r := newRawPeer(t, Config{}, tcpip.NewStdClock())
	a := r.agree(0, gcm)
	r.send(a, header.TCPFlagSyn, 1000, 0, "")
	if s := r.next(); s.Flags() != rstAck || s.AckNumber() != 1001 {
		t.Errorf("to SYN: %v %d", s.Flags(), s.AckNumber())
	}
	r.send(a, pshAck, 1000, 77, "x")
	if s := r.next(); s.Flags() != header.TCPFlagRst || s.SequenceNumber() != 77 {
		t.Errorf("to data: %v %d", s.Flags(), s.SequenceNumber())
	}
	r.send(a, header.TCPFlagRst, 1000, 0, "") // is never answered
	r.send(a, header.TCPFlagFin|header.TCPFlagAck, 1000, 78, "")
	if s := r.next(); s.Flags() != header.TCPFlagRst || s.SequenceNumber() != 78 {
		t.Errorf("to FIN: %v %d", s.Flags(), s.SequenceNumber())
	}
	if n := &r.p.stack.n; n.Refused.Load() != 1 || n.Strays.Load() != 3 || n.Conns.Load() != 0 {
		t.Errorf("%d refused, %d strays", n.Refused.Load(), n.Strays.Load())
	}

	until(t, "a clean table", func() bool {
		r.p.stack.mu.RLock()
		defer r.p.stack.mu.RUnlock()
		return len(r.p.stack.replies) == 0
	})

	both := newRig(t, v4, false, Config{}, Config{})
	if _, err := both.ue.stack.Dial(t.Context(), both.agree(0, gcm).ue); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial: %v", err)
	}
	if _, err := both.ue.stack.Dial(t.Context(), esp.Ref{}); err != ErrGone {
		t.Errorf("dial over nothing: %v", err)
	}
}

// TestDial: what is in the way of a connection that we begin.
func TestDial(t *testing.T) {
	r := newRig(t, v4, false, Config{MaxConns: 2}, Config{})
	l := r.listen(&r.p, ps)
	a, b, c := r.agree(0, gcm), r.agree(1, gcm), r.agree(2, gcm)
	one, s := r.pair(l, a)
	if _, err := r.ue.stack.Dial(t.Context(), a.ue); err != ErrInUse {
		t.Errorf("the same ports: %v", err)
	}
	two, u := r.pair(l, b)
	if _, err := r.ue.stack.Dial(t.Context(), c.ue); err != ErrFull || r.ue.stack.n.DropConns.Load() != 1 {
		t.Errorf("a third: %v", err)
	}
	for _, c := range []*Conn{one, two, s, u} {
		c.Abort()
	}
	// The peer does not answer.
	r.ue.cable.loss = func([]byte) bool { return true }
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("the caller hung up")
	cancel(reason)
	if _, err := r.ue.stack.Dial(ctx, c.ue); !errors.Is(err, reason) {
		t.Errorf("dial: %v", err)
	}
	r.ue.stack.cfg.Handshake = time.Millisecond
	if _, err := r.ue.stack.Dial(t.Context(), c.ue); err != ErrTimeout {
		t.Errorf("dial: %v", err)
	}
	r.ue.stack.cfg.Handshake = time.Minute
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := r.ue.stack.Dial(t.Context(), c.ue); !errors.Is(err, ErrGone) {
			t.Errorf("dial: %v", err)
		}
	})
	until(t, "a dial", func() bool { return r.ue.stack.n.Conns.Load() == 1 })
	r.ue.engine.Remove(c.ue)
	wg.Wait()
	if r.ue.stack.n.Conns.Load() != 0 {
		t.Error("something is left of it")
	}
	r.ue.stack.fronts = nil
	if _, err := r.ue.stack.Dial(t.Context(), a.ue); err != ErrNoFront {
		t.Errorf("dial: %v", err)
	}
}

// TestAgain: the ports of an agreement are all it has, so the next connection has the same; at once, whoever closed first.
func TestAgain(t *testing.T) {
	r := newRig(t, v4, false, Config{}, Config{})
	l := r.listen(&r.p, ps)
	a := r.agree(0, gcm)
	for i := range 40 {
		c, s := r.pair(l, a)
		first, second := c, s
		if i%2 == 0 {
			first, second = s, c
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		if n, err := second.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Fatal("data")
		}
		if err := second.Close(); err != nil {
			t.Fatal(err)
		}
		until(t, "the FIN of the other", func() bool { return c.b.ending() || c.b.over() })
	}
	if n := r.p.stack.n.Accepted.Load(); n != 40 {
		t.Errorf("%d accepted", n)
	}
}

// TestHalfOpen: handshakes that peers begin and do not finish are bounded and end in time.
func TestHalfOpen(t *testing.T) {
	clock := faketime.NewManualClock()
	r := newRawPeer(t, Config{MaxHalfOpen: 3, Handshake: 5 * time.Second}, clock)
	l := r.listen(&r.p, ps)
	n := &r.p.stack.n
	var all []*agreed
	for i := range uint16(5) {
		a := r.agree(i, gcm)
		all = append(all, a)
		for range 50 { // one client's flood is one handshake
			r.send(a, header.TCPFlagSyn, 1000, 0, "")
		}
	}
	until(t, "the flood's end", func() bool {
		return n.SegmentsIn.Load() == 250 && n.HalfOpen.Load() == 3 && n.DropHalfOpen.Load() == 100
	})
	until(t, "the answers", func() bool { return n.SegmentsOut.Load() >= 3 })
	if n.Conns.Load() != 3 || n.Accepted.Load() != 0 {
		t.Errorf("%d connections", n.Conns.Load())
	}
	clock.Advance(4 * time.Second)
	if n.HalfOpen.Load() != 3 {
		t.Error("they end too early")
	}
	until(t, "the end of the handshakes", func() bool {
		clock.Advance(time.Second) // a handshake may have begun after the last second
		return n.HalfOpen.Load() == 0 && n.Conns.Load() == 0
	})
	if n.FailedHandshakes.Load() != 3 {
		t.Errorf("%d failed", n.FailedHandshakes.Load())
	}
	for len(r.came) > 0 {
		<-r.came
	}
	r.handshake(all[4], 77)
	if _, err := l.Accept(); err != nil {
		t.Error(err)
	}
}

// TestHalfOpenEnds: an agreement that ends takes its handshake along.
func TestHalfOpenEnds(t *testing.T) {
	r := newRawPeer(t, Config{Handshake: time.Hour}, tcpip.NewStdClock())
	r.listen(&r.p, ps)
	a := r.agree(0, gcm)
	r.send(a, header.TCPFlagSyn, 1000, 0, "")
	r.next()
	r.p.engine.Remove(a.p)
	until(t, "its end", func() bool { return r.p.stack.n.Conns.Load() == 0 })
}

// TestBounds: connections in all, and those that nobody accepts. What is dropped is not answered, so the peer tries again.
func TestBounds(t *testing.T) {
	r := newRawPeer(t, Config{MaxConns: 4, Backlog: 2}, tcpip.NewStdClock())
	l := r.listen(&r.p, ps)
	n := &r.p.stack.n
	var all []*agreed
	for i := range uint16(6) {
		all = append(all, r.agree(i, gcm))
	}
	r.handshake(all[0], 1)
	r.handshake(all[1], 1)
	r.send(all[2], header.TCPFlagSyn, 1, 0, "")
	until(t, "a full backlog", func() bool { return n.DropBacklog.Load() == 1 })
	var conns []net.Conn
	for i := range 4 {
		if i >= 2 {
			r.handshake(all[i], 1)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	r.send(all[4], header.TCPFlagSyn, 1, 0, "")
	until(t, "the bound", func() bool { return n.DropConns.Load() == 1 })
	conns[0].(*Conn).Abort()
	until(t, "a free place", func() bool { return n.Conns.Load() == 3 })
	if s := r.next(); s.Flags() != rstAck {
		t.Errorf("an abort sends %v", s.Flags())
	}
	r.handshake(all[4], 1)
	if l.held != 1 {
		t.Errorf("%d held", l.held)
	}
	// What waits when the listener closes is reset.
	until(t, "the last of them", func() bool { return len(l.queue) == 1 })
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if s := r.next(); s.Flags() != rstAck {
		t.Errorf("what waits gets %v", s.Flags())
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if l.Close() != nil || l.Addr().String() != "198.51.100.1:5999" {
		t.Error("close twice, or the address")
	}
	l = r.listen(&r.p, ps)
	if _, err := r.p.stack.Listen(netip.MustParseAddrPort("198.51.100.1:5999")); err != ErrInUse {
		t.Errorf("listen twice: %v", err)
	}
}

// TestListenEach: a connection comes to the listener of its owner's shard, and is refused if there is none.
func TestListenEach(t *testing.T) {
	r := newRawPeer(t, Config{}, tcpip.NewStdClock())
	local := netip.AddrPortFrom(v4.pcscf, ps)
	all, err := r.p.stack.ListenEach(local, 2)
	if err != nil {
		t.Fatal(err)
	}
	agree := func(n uint16, shard uint8) *agreed {
		r.shard = shard
		return r.agree(n, gcm)
	}
	first, second, third := agree(0, 0), agree(1, 1), agree(2, 2)
	r.handshake(second, 1)
	r.handshake(first, 1)
	for i, want := range []*agreed{first, second} {
		c, err := all[i].Accept()
		if err != nil {
			t.Fatal(err)
		}
		if ref, owner, _ := c.(*Conn).Agreement(); ref != want.p || int(owner.Shard) != i {
			t.Errorf("listener %d has a connection of shard %d", i, owner.Shard)
		}
	}
	r.send(third, header.TCPFlagSyn, 1, 0, "")
	if s := r.next(); s.Flags() != rstAck {
		t.Errorf("a shard that there is not: %v", s.Flags())
	}
	_ = all[0].Close()
	if _, err := r.p.stack.Listen(local); err != ErrInUse {
		t.Errorf("the port of a closed listener beside an open one: %v", err)
	}
	r.send(agree(3, 0), header.TCPFlagSyn, 1, 0, "")
	if s := r.next(); s.Flags() != rstAck {
		t.Errorf("a closed listener: %v", s.Flags())
	}
	_ = all[1].Close()
	r.listen(&r.p, ps)
}

// TestSilence: a peer that has gone is found out by questions, and by what it does not acknowledge.
func TestSilence(t *testing.T) {
	clock := faketime.NewManualClock()
	r := newRawPeer(t, Config{KeepAlive: time.Minute, Unacknowledged: 100 * time.Second}, clock)
	l := r.listen(&r.p, ps)
	a := r.agree(0, gcm)
	mine, theirs := r.handshake(a, 1000)
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Minute)
	if s := r.next(); s.Flags() != header.TCPFlagAck || s.SequenceNumber() != theirs-1 {
		t.Errorf("a question is %v", s.Flags())
	}
	r.send(a, header.TCPFlagAck, mine, theirs, "")
	until(t, "the answer", func() bool { return r.p.stack.n.SegmentsIn.Load() == 3 })
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := nc.Read(make([]byte, 1)); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("read: %v", err)
		}
	})
	for range 60 {
		clock.Advance(time.Minute)
	}
	wg.Wait()
	until(t, "its end", func() bool { return r.p.stack.n.Conns.Load() == 0 })
	for len(r.came) > 0 {
		<-r.came
	}
	r.handshake(a, 5000)
	if nc, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	wg.Go(func() {
		if _, err := nc.Read(make([]byte, 1)); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("read: %v", err)
		}
	})
	for range 160 {
		clock.Advance(time.Second)
	}
	wg.Wait()
}

// TestNarrowPeer: who takes a few octets at a time gets no connection, whoever begins.
func TestNarrowPeer(t *testing.T) {
	r := newRawPeer(t, Config{Handshake: time.Hour}, tcpip.NewStdClock())
	r.listen(&r.p, ps)
	a := r.agree(0, gcm)
	announce := func(side esp.Side, from, to uint16, flags header.TCPFlags, ack uint32, mss uint16) {
		t.Helper()
		f, l := netip.AddrPortFrom(v4.ue, from), netip.AddrPortFrom(v4.pcscf, to)
		s := segment(f, l, flags, 1, ack, string([]byte{2, 4, byte(mss >> 8), byte(mss)}))
		s.SetDataOffset(tcpHeader + 4)
		s.SetChecksum(0)
		x := header.PseudoHeaderChecksum(header.TCPProtocolNumber, tcpip.AddrFromSlice(v4.ue.AsSlice()), tcpip.AddrFromSlice(v4.pcscf.AsSlice()), uint16(len(s)))
		s.SetChecksum(^checksum.Checksum(s, x))
		if err := r.front.SendSegment(a.ue, side, 6, s); err != nil {
			t.Fatal(err)
		}
	}
	n := &r.p.stack.n
	announce(esp.Client, uc, ps, header.TCPFlagSyn, 0, leastMSS-1)
	until(t, "a refusal", func() bool { return n.DropMSS.Load() == 1 })
	announce(esp.Client, uc, ps, header.TCPFlagSyn, 0, leastMSS)
	if s := r.next(); s.Flags() != header.TCPFlagSyn|header.TCPFlagAck {
		t.Errorf("who takes enough gets %v", s.Flags())
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := r.p.stack.Dial(t.Context(), a.p)
		if err != nil {
			t.Error(err)
			return
		}
		_ = c.Close()
	})
	syn := r.next()
	for syn.Flags() != header.TCPFlagSyn {
		syn = r.next()
	}
	announce(esp.Server, us, pc, header.TCPFlagSyn|header.TCPFlagAck, syn.SequenceNumber()+1, 1)
	until(t, "another refusal", func() bool { return n.DropMSS.Load() == 2 })
	announce(esp.Server, us, pc, header.TCPFlagSyn|header.TCPFlagAck, syn.SequenceNumber()+1, 1000)
	wg.Wait()
}

// TestMSS: what we announce, to those who ask and to those we ask.
func TestMSS(t *testing.T) {
	r := newRawPeer(t, Config{}, tcpip.NewStdClock())
	r.listen(&r.p, ps)
	a := r.agree(0, gcm)
	r.send(a, header.TCPFlagSyn, 1000, 0, "")
	if o := header.ParseSynOptions(r.next().Options(), true); o.MSS != MSS {
		t.Errorf("SYN ACK announces %d", o.MSS)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := r.p.stack.Dial(t.Context(), a.p); !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.ECONNABORTED) {
			t.Errorf("dial while the stack is closed: %v", err)
		}
	})
	for {
		if s := r.next(); s.Flags() == header.TCPFlagSyn {
			if o := header.ParseSynOptions(s.Options(), false); o.MSS != MSS {
				t.Errorf("SYN announces %d", o.MSS)
			}
			break
		}
	}
	if err := r.p.stack.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if _, err := r.p.stack.Dial(t.Context(), a.p); err != net.ErrClosed {
		t.Errorf("dial after close: %v", err)
	}
	if _, err := r.p.stack.Listen(netip.AddrPortFrom(v4.pcscf, ps)); err != net.ErrClosed {
		t.Errorf("listen after close: %v", err)
	}
	r.send(a, header.TCPFlagSyn, 1000, 0, "")
	until(t, "a late segment", func() bool { return r.p.stack.n.DropClosed.Load() != 0 })
}
