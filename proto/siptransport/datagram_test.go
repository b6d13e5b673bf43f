package siptransport

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"imsafe/proto/shard"
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(clientEnv); addr != "" {
		echoClient(addr)
		return
	}
	goleak.VerifyTestMain(m)
}

// patience bounds every wait of these tests; nothing waits that long unless it is broken.
const patience = time.Minute

// testShard is a shard that runs for the length of a test.
func testShard(t testing.TB, id uint8, inbox int) *shard.Shard {
	t.Helper()
	sh := shard.New(shard.Config{ID: id, Clock: shard.RealClock(), Inbox: inbox, OnPanic: func(v any, stack []byte) {
		t.Errorf("panic on the shard: %v\n%s", v, stack)
	}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = sh.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		sh.Close()
	})
	return sh
}

// recorder is a Receiver that hands what it sees to a test.
type recorder struct {
	packets chan received
	opened  chan Flow
	states  chan *tls.ConnectionState
	closed  chan error
	pongs   chan Flow
	onData  atomic.Pointer[func(f Flow, data []byte)]
}

type received struct {
	flow Flow
	data string
}

func newRecorder() *recorder {
	return &recorder{packets: make(chan received, 10000), opened: make(chan Flow, 1000), closed: make(chan error, 1000),
		states: make(chan *tls.ConnectionState, 1000), pongs: make(chan Flow, 1000)}
}

// on makes packets go to fn.
func (r *recorder) on(fn func(f Flow, data []byte)) { r.onData.Store(&fn) }

func (r *recorder) Packet(f Flow, data []byte) {
	if on := r.onData.Load(); on != nil {
		(*on)(f, data)
		return
	}
	r.packets <- received{f, string(data)}
}

func (r *recorder) Opened(f Flow, state *tls.ConnectionState) {
	r.states <- state
	r.opened <- f
}
func (r *recorder) Closed(_ Flow, err error) { r.closed <- err }
func (r *recorder) Pong(f Flow)              { r.pongs <- f }

// await takes the next value of ch.
func await[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// serve runs a Datagrams for the length of a test.
func serve(t testing.TB, sh *shard.Shard, pc net.PacketConn, r Receiver, o Options) *Datagrams {
	t.Helper()
	d, _ := serveUntil(t, sh, pc, r, o)
	return d
}

// serveUntil runs a Datagrams until stop is called or the test ends.
func serveUntil(t testing.TB, sh *shard.Shard, pc net.PacketConn, r Receiver, o Options) (d *Datagrams, stop func()) {
	t.Helper()
	d = NewDatagrams(sh, pc, o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Serve(ctx, r) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(stop)
	return d, stop
}

func loopback(t testing.TB, n int) []*net.UDPConn {
	t.Helper()
	socks, err := ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"), n)
	if err != nil {
		t.Fatal(err)
	}
	return socks
}

func echo(f Flow, data []byte) { _ = f.Send(data) }

func TestDatagrams(t *testing.T) {
	single := func(u *net.UDPConn) net.PacketConn { return struct{ net.PacketConn }{u} }
	addrs := func(u *net.UDPConn) net.PacketConn {
		return struct {
			net.PacketConn
			addrPortConn
		}{u, u}
	}
	for name, wrap := range map[string]func(*net.UDPConn) net.PacketConn{
		"batched system calls":            func(u *net.UDPConn) net.PacketConn { return u },
		"any packet conn":                 single,
		"packet conn with addrport calls": addrs,
	} {
		t.Run(name, func(t *testing.T) {
			var n Counters
			r := newRecorder()
			r.on(echo)
			d, stop := serveUntil(t, testShard(t, 0, 0), wrap(loopback(t, 1)[0]), r, Options{Counters: &n})
			c, err := net.Dial("udp", d.Local().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			const count, window = 500, 50 // more on their way than the kernel buffers would be lost
			buf := make([]byte, 2000)
			for i := range count + window {
				if i < count {
					fmt.Fprintf(c, "message %d", i)
				}
				if i -= window; i < 0 {
					continue
				}
				_ = c.SetReadDeadline(time.Now().Add(patience))
				k, err := c.Read(buf)
				if err != nil || string(buf[:k]) != fmt.Sprintf("message %d", i) {
					t.Fatalf("echo %d: %q, %v", i, buf[:k], err)
				}
			}
			stop()
			if in, out := n.PacketsIn.Load(), n.PacketsOut.Load(); in != count || out != count || n.OctetsIn.Load() != n.OctetsOut.Load() {
				t.Errorf("counted %d in, %d out, %d and %d octets", in, out, n.OctetsIn.Load(), n.OctetsOut.Load())
			}
		})
	}
}

// TestBurst sends a burst before the reader starts, so what one system call brings is known.
func TestBurst(t *testing.T) {
	var n Counters
	r := newRecorder()
	r.on(echo)
	sock := loopback(t, 1)[0]
	c, err := net.Dial("udp", sock.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 40 {
		_, _ = c.Write([]byte("hello"))
	}
	_, stop := serveUntil(t, testShard(t, 0, 0), sock, r, Options{Counters: &n, Batch: 20})
	buf := make([]byte, 100)
	for range 40 {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := c.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if n.ReadCalls.Load() != 2 || n.WriteCalls.Load() != 2 {
		t.Errorf("%d reads and %d writes for two batches", n.ReadCalls.Load(), n.WriteCalls.Load())
	}
}

// late is a clock that is an hour ahead of the kernel's.
type late struct{ shard.Clock }

func (c late) Wall() time.Time { return c.Clock.Wall().Add(time.Hour) }

// TestWaits is a datagram that the kernel had an hour ago, by the clock of its shard.
func TestWaits(t *testing.T) {
	sh := shard.New(shard.Config{Clock: late{shard.RealClock()}})
	t.Cleanup(sh.Close)
	r := newRecorder()
	sock := loopback(t, 1)[0]
	d := NewDatagrams(sh, sock, Options{})
	waits := make(chan time.Duration, 10)
	d.Waits(func(wait, _ time.Duration) { waits <- wait })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Serve(ctx, r) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	c, err := net.Dial("udp", sock.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write([]byte("hello"))
	await(t, r.packets)
	if wait := await(t, waits); wait < time.Hour || wait > time.Hour+patience {
		t.Errorf("a datagram of an hour ago has waited %v", wait)
	}
}

func TestDatagramThatIsDropped(t *testing.T) {
	var n Counters
	r := newRecorder()
	d := serve(t, testShard(t, 0, 0), loopback(t, 1)[0], r, Options{Counters: &n, MaxDatagram: 100})
	c, err := net.Dial("udp", d.Local().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, p := range []string{"\r\n\r\n", "", string(make([]byte, 101)), string(make([]byte, 4)), "good"} {
		_, _ = c.Write([]byte(p))
	}
	if got := await(t, r.packets); got.data != "good" || got.flow != d.Flow(c.LocalAddr().(*net.UDPAddr).AddrPort()) {
		t.Errorf("got %+v", got)
	}
	if n.KeepAlives.Load() != 3 || n.Truncated.Load() != 1 {
		t.Errorf("%d keep-alives, %d truncated", n.KeepAlives.Load(), n.Truncated.Load())
	}
}

func TestLongestDatagram(t *testing.T) {
	r := newRecorder()
	sh := testShard(t, 0, 0)
	a := serve(t, sh, loopback(t, 1)[0], r, Options{})
	b := serve(t, sh, loopback(t, 1)[0], newRecorder(), Options{})
	data := bytes.Repeat([]byte("x"), maxUDP4)
	if err := b.SendTo(a.Local(), data); err != nil {
		t.Fatal(err)
	}
	if got := await(t, r.packets); got.data != string(data) {
		t.Errorf("got %d octets", len(got.data))
	}
	if err := b.SendTo(a.Local(), append(data, 'x')); !errors.Is(err, ErrTooLarge) {
		t.Errorf("an octet more: %v", err)
	}
}

func TestSendToThatIsRefused(t *testing.T) {
	sock := loopback(t, 1)[0]
	d := NewDatagrams(testShard(t, 0, 0), sock, Options{})
	if err := d.SendTo(netip.MustParseAddrPort("[::1]:5060"), []byte("x")); !errors.Is(err, ErrPeer) {
		t.Errorf("IPv6 peer on an IPv4 socket: %v", err)
	}
	if err := d.SendTo(netip.AddrPort{}, []byte("x")); !errors.Is(err, ErrPeer) {
		t.Errorf("no peer: %v", err)
	}
	if err := d.SendTo(netip.MustParseAddrPort("[::ffff:127.0.0.1]:5060"), []byte("x")); err != nil {
		t.Errorf("mapped peer on an IPv4 socket: %v", err)
	}
	d.close()
	if err := d.SendTo(d.Local(), []byte("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("after close: %v", err)
	}
}

// TestOneBadPeer: the kernel refuses one datagram of a burst (port 0), the others leave.
func TestOneBadPeer(t *testing.T) {
	var n Counters
	r := newRecorder()
	sh := testShard(t, 0, 0)
	a := serve(t, sh, loopback(t, 1)[0], r, Options{})
	b := NewDatagrams(sh, loopback(t, 1)[0], Options{Counters: &n})
	defer b.close()
	sh.Exec(shard.EventFunc(func(*shard.Shard) {
		_ = b.SendTo(a.Local(), []byte("one"))
		_ = b.SendTo(netip.AddrPortFrom(a.Local().Addr(), 0), []byte("bad"))
		_ = b.SendTo(a.Local(), []byte("two"))
	}))
	if x, y := await(t, r.packets).data, await(t, r.packets).data; x != "one" || y != "two" {
		t.Errorf("got %q, %q", x, y)
	}
	if n.SendErrors.Load() != 1 || n.PacketsOut.Load() != 2 {
		t.Errorf("%d errors, %d out", n.SendErrors.Load(), n.PacketsOut.Load())
	}
}

func TestListenUDPThatFails(t *testing.T) {
	taken, err := net.ListenPacket("udp4", "127.0.0.1:0") // without SO_REUSEPORT
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if socks, err := ListenUDP(addrPort(taken.LocalAddr()), 2); err == nil || socks != nil {
		t.Errorf("%v, %v", socks, err)
	}
}

// TestServePacket: the short form, and the end by the socket instead of the context.
func TestServePacket(t *testing.T) {
	r, sock := newRecorder(), loopback(t, 1)[0]
	done := make(chan error, 1)
	go func() { done <- ServePacket(context.Background(), testShard(t, 0, 0), sock, r, Options{Proto: "X"}) }()
	c, err := net.Dial("udp", sock.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write([]byte("hello"))
	if f := await(t, r.packets).flow; f.Via.Proto() != "X" || f.Via.Reliable() || f.IsZero() {
		t.Errorf("flow %v", f)
	}
	_ = sock.Close()
	if err := await(t, done); err != nil {
		t.Errorf("ServePacket: %v", err)
	}
}

func TestIPv6(t *testing.T) {
	socks, err := ListenUDP(netip.MustParseAddrPort("[::1]:0"), 1)
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	r := newRecorder()
	r.on(echo)
	d := serve(t, testShard(t, 0, 0), socks[0], r, Options{})
	c, err := net.Dial("udp", d.Local().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write([]byte("six"))
	buf := make([]byte, 10)
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if n, err := c.Read(buf); err != nil || string(buf[:n]) != "six" {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

// TestShards: each peer stays on one of the sockets, and a busy shard does not lose datagrams.
func TestShards(t *testing.T) {
	socks := loopback(t, 2)
	if a, b := socks[0].LocalAddr().String(), socks[1].LocalAddr().String(); a != b {
		t.Fatalf("%s and %s", a, b)
	}
	var mu sync.Mutex
	seen := map[netip.AddrPort]map[Sender]int{}
	arrived := make(chan struct{}, 1000)
	for i, s := range socks {
		r := newRecorder()
		r.on(func(f Flow, _ []byte) {
			mu.Lock()
			defer mu.Unlock()
			if seen[f.Peer] == nil {
				seen[f.Peer] = map[Sender]int{}
			}
			seen[f.Peer][f.Via]++
			arrived <- struct{}{}
		})
		serve(t, testShard(t, uint8(i), 0), s, r, Options{})
	}
	for range 32 {
		c, err := net.Dial("udp", socks[0].LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for range 10 {
			_, _ = c.Write([]byte("x"))
		}
	}
	for range 320 {
		await(t, arrived)
	}
	used := map[Sender]bool{}
	for peer, vias := range seen {
		if len(vias) != 1 {
			t.Errorf("%v was seen on %d sockets", peer, len(vias))
		}
		for v := range vias {
			used[v] = true
		}
	}
	if len(used) != 2 {
		t.Errorf("32 peers used %d sockets", len(used))
	}
}

// TestFullInbox: a shard that is stuck makes the reader wait or drop, and count; it never loses the reader.
func TestFullInbox(t *testing.T) {
	var n Counters
	r := newRecorder()
	sh := testShard(t, 0, 2)
	d := serve(t, sh, loopback(t, 1)[0], r, Options{Counters: &n, Batch: 1})
	hold, entered := make(chan struct{}), make(chan struct{})
	go sh.Exec(shard.EventFunc(func(*shard.Shard) { close(entered); <-hold }))
	<-entered
	for range 2 {
		sh.Post(shard.EventFunc(func(*shard.Shard) {}))
	}
	c, err := net.Dial("udp", d.Local().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for n.InboxFull.Load() < 3 {
		_, _ = c.Write([]byte("lost"))
	}
	close(hold)
	drained := make(chan struct{})
	for !sh.Exec(shard.EventFunc(func(*shard.Shard) { close(drained) })) {
	}
	await(t, drained)
	_, _ = c.Write([]byte("after"))
	for await(t, r.packets).data != "after" {
	}
}

func TestDatagramAllocations(t *testing.T) {
	sh := shard.New(shard.Config{Clock: shard.NewFake(time.Unix(0, 0))})
	d := NewDatagrams(sh, loopback(t, 1)[0], Options{})
	defer d.close()
	b := newBatch(d, receiverFunc(echo))
	self, data := d.Local(), bytes.Repeat([]byte("x"), 1000)
	d.free = make(chan *batch, 1)
	one := func() {
		_ = d.SendTo(self, data) // off the shard: leaves at once
		if err := d.io.read(b); err != nil {
			t.Fatal(err)
		}
		sh.Exec(b)
		<-d.free
		if err := d.io.read(b); err != nil { // the echo
			t.Fatal(err)
		}
	}
	one()
	if n := testing.AllocsPerRun(100, one); n != 0 && !raceEnabled {
		t.Errorf("%v allocations for a datagram in and out", n)
	}
}

// receiverFunc is a Receiver for packets only.
type receiverFunc func(Flow, []byte)

func (r receiverFunc) Packet(f Flow, data []byte)        { r(f, data) }
func (r receiverFunc) Opened(Flow, *tls.ConnectionState) {}
func (r receiverFunc) Closed(Flow, error)                {}

// TestListenUDP_taken_port: sharing is between our own shards, not with whoever has the port already.
func TestListenUDP_taken_port(t *testing.T) {
	first, err := ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"), 2)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, s := range first {
			s.Close()
		}
	}()
	second, err := ListenUDP(addrPort(first[0].LocalAddr()), 2)
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a taken port: %v, %v, want EADDRINUSE", second, err)
	}
}
