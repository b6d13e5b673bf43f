package siptransport

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"imsafe/proto/shard"
)

func TestStreams(t *testing.T) {
	for name, start := range streamKinds(t) {
		t.Run(name, func(t *testing.T) {
			s, dial := start(Options{MaxQueue: 1 << 20})
			s.on(echo)
			c := dial()
			defer c.Close()
			var want bytes.Buffer
			for i := range 100 {
				want.WriteString(message(strings.Repeat("x", i*i)))
			}
			go func() {
				// In pieces of changing sizes, so that messages begin and end everywhere.
				for b, n := want.Bytes(), 1; len(b) > 0; n = n*3%7001 + 1 {
					n := min(n, len(b))
					_, _ = c.Write(b[:n])
					b = b[n:]
				}
			}()
			got := make([]byte, want.Len())
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want.Bytes()) {
				t.Fatalf("echo differs: %v", err)
			}
			f := await(t, s.opened)
			if state := await(t, s.states); (state != nil) != strings.HasPrefix(name, "TLS") {
				t.Errorf("TLS state %v", state)
			}
			if proto := f.Via.Proto(); proto != name[:3] && name != "any conn" || !f.Via.Reliable() {
				t.Errorf("proto %s", proto)
			}
			_ = c.Close()
			if err := await(t, s.closed); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("closed: %v", err)
			}
			if in, out := s.n.MessagesIn.Load(), s.n.MessagesOut.Load(); in != 100 || out != 100 || s.n.Accepted.Load() != 1 {
				t.Errorf("%d in, %d out, %d accepted", in, out, s.n.Accepted.Load())
			}
		})
	}
}

// RFC 5626 4.4.1.
func TestPing(t *testing.T) {
	for name, start := range streamKinds(t) {
		t.Run(name, func(t *testing.T) {
			s, dial := start(Options{})
			s.on(echo)
			c := dial()
			defer c.Close()
			m := message("after")
			got := make([]byte, 2+len(m))
			go func() { _, _ = io.WriteString(c, "\r\n\r\n"+m) }()
			if _, err := io.ReadFull(c, got); err != nil {
				t.Fatal(err)
			}
			if string(got) != "\r\n"+m && string(got) != m+"\r\n" {
				t.Errorf("got %q", got)
			}
			go func() { _, _ = io.WriteString(c, "\r\n") }()
			await(t, s.pongs)
			if s.n.Pings.Load() != 1 {
				t.Errorf("%d pings", s.n.Pings.Load())
			}
		})
	}
}

// TestStreamThatIsClosed: what a peer must not do, or not do in time, and the reason that is given and counted.
func TestStreamThatIsClosed(t *testing.T) {
	const soon = 50 * time.Millisecond
	huge := "OPTIONS sip:h SIP/2.0\r\nContent-Length: 99999999\r\n\r\n"
	for _, tt := range []struct {
		name string
		o    Options
		send string
		err  error
		n    func(*Counters) *atomic.Uint64
	}{
		{"garbage", Options{}, "\x16\x03\x01 this is no SIP", ErrFraming, func(c *Counters) *atomic.Uint64 { return &c.ClosedFraming }},
		{"HTTP without a length", Options{}, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", ErrFraming, func(c *Counters) *atomic.Uint64 { return &c.ClosedFraming }},
		{"oversize body announced", Options{}, huge, ErrFraming, func(c *Counters) *atomic.Uint64 { return &c.ClosedFraming }},
		{"endless header", Options{}, "OPTIONS sip:h SIP/2.0\r\nX: " + strings.Repeat("x", 70000), ErrFraming, func(c *Counters) *atomic.Uint64 { return &c.ClosedFraming }},
		{"silence", Options{FirstMessage: soon}, "", ErrFirstMessage, func(c *Counters) *atomic.Uint64 { return &c.ClosedFirst }},
		{"message begun", Options{Unfinished: soon}, message("body")[:60], ErrUnfinished, func(c *Counters) *atomic.Uint64 { return &c.ClosedUnfinished }},
		{"idle after a message", Options{Idle: soon}, message(""), ErrIdle, func(c *Counters) *atomic.Uint64 { return &c.ClosedIdle }},
		{"idle after a ping", Options{Idle: soon}, "\r\n\r\n", ErrIdle, func(c *Counters) *atomic.Uint64 { return &c.ClosedIdle }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := listen(t, tt.o)
			c := dial(t, s.addr)
			_, _ = io.WriteString(c, tt.send)
			wantClosed(t, c)
			if err := await(t, s.closed); !errors.Is(err, tt.err) {
				t.Errorf("closed: %v", err)
			}
			if n := tt.n(s.n).Load(); n != 1 {
				t.Errorf("counted %d", n)
			}
		})
	}
}

// TestMessageBeforeGarbage: what came whole is delivered.
func TestMessageBeforeGarbage(t *testing.T) {
	s := listen(t, Options{})
	c := dial(t, s.addr)
	_, _ = io.WriteString(c, message("good")+"\x00\x00\x00")
	if got := await(t, s.packets); got.data != message("good") {
		t.Errorf("got %q", got.data)
	}
	if err := await(t, s.closed); !errors.Is(err, ErrFraming) {
		t.Errorf("closed: %v", err)
	}
}

func TestSlowReader(t *testing.T) {
	for name, start := range streamKinds(t) {
		t.Run(name, func(t *testing.T) {
			s, dial := start(Options{MaxQueue: 64 << 10})
			c := dial()
			defer c.Close()
			go func() { _, _ = io.WriteString(c, message("")) }()
			f := await(t, s.packets).flow
			data := bytes.Repeat([]byte("x"), 8<<10)
			failed := make(chan error, 1)
			s.sh.Exec(shard.EventFunc(func(*shard.Shard) {
				for range 100000 {
					if err := f.Send(data); err != nil {
						failed <- err
						return
					}
				}
				failed <- nil
			}))
			if err := await(t, failed); !errors.Is(err, ErrSlow) {
				t.Errorf("Send: %v", err)
			}
			if err := await(t, s.closed); !errors.Is(err, ErrSlow) {
				t.Errorf("closed: %v", err)
			}
			if s.n.ClosedSlow.Load() != 1 || f.Send(data) != ErrClosed {
				t.Errorf("counted %d", s.n.ClosedSlow.Load())
			}
		})
	}
}

// TestStuckReader: a peer that keeps a little too much unread for too long is closed as well.
func TestStuckReader(t *testing.T) {
	s, ln := listenPipe(t, Options{Writing: 50 * time.Millisecond})
	c := ln.dial()
	defer c.Close()
	_, _ = io.WriteString(c, message(""))
	_ = await(t, s.packets).flow.Send([]byte("x"))
	if err := await(t, s.closed); !errors.Is(err, ErrSlow) {
		t.Errorf("closed: %v", err)
	}
}

func TestConnectionLimits(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    Options
		n    func(*Counters) *atomic.Uint64
	}{
		{"in all", Options{MaxConns: 3}, func(c *Counters) *atomic.Uint64 { return &c.RefusedTotal }},
		{"per source", Options{MaxPerSource: 3}, func(c *Counters) *atomic.Uint64 { return &c.RefusedSource }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := listen(t, tt.o)
			var open []net.Conn
			for range 3 {
				open = append(open, dial(t, s.addr))
				await(t, s.opened)
			}
			wantClosed(t, dial(t, s.addr))
			if n := tt.n(s.n).Load(); n != 1 {
				t.Errorf("counted %d", n)
			}
			// One that ends makes room.
			_ = open[0].Close()
			await(t, s.closed)
			for s.n.Conns.Load() == 3 {
			}
			dial(t, s.addr)
			await(t, s.opened)
		})
	}
	t.Run("per source, but for who is proven", func(t *testing.T) {
		s := listen(t, Options{MaxPerSource: 1})
		for range 3 { // telephones behind one address
			dial(t, s.addr)
			c := await(t, s.opened).Via.(*Conn)
			c.Proven()
			c.Proven()
		}
		one := dial(t, s.addr)
		await(t, s.opened)
		wantClosed(t, dial(t, s.addr))
		_ = one.Close()
		await(t, s.closed)
		for s.n.Conns.Load() == 4 {
		}
		dial(t, s.addr)
		await(t, s.opened)
	})
	t.Run("handshakes", func(t *testing.T) {
		server, _ := certificate(t)
		s := listen(t, Options{MaxHandshakes: 1, TLS: server})
		dial(t, s.addr)
		for s.n.Conns.Load() == 0 {
		}
		wantClosed(t, dial(t, s.addr))
		if s.n.RefusedHandshakes.Load() != 1 {
			t.Errorf("counted %d", s.n.RefusedHandshakes.Load())
		}
	})
	t.Run("admission", func(t *testing.T) {
		var asked atomic.Value
		s := listen(t, Options{Admit: func(a netip.AddrPort) bool { asked.Store(a); return false }})
		c := dial(t, s.addr)
		wantClosed(t, c)
		if s.n.RefusedAdmit.Load() != 1 || asked.Load() != addrPort(c.LocalAddr()) {
			t.Errorf("counted %d, asked for %v", s.n.RefusedAdmit.Load(), asked.Load())
		}
	})
}

func TestSourceOf(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%lo": "fe80::/64",
	} {
		if got := sourceOf(netip.MustParseAddr(in)); got != netip.MustParsePrefix(want) {
			t.Errorf("%s: %v", in, got)
		}
	}
}

func TestHandshakeThatFails(t *testing.T) {
	server, _ := certificate(t)
	s := listen(t, Options{TLS: server, Handshake: 50 * time.Millisecond})
	_, _ = io.WriteString(dial(t, s.addr), message("in clear"))
	silent := dial(t, s.addr)
	wantClosed(t, silent)
	for s.n.ClosedHandshake.Load() != 2 {
	}
	select {
	case <-s.opened:
		t.Error("opened")
	case err := <-s.closed:
		t.Errorf("closed was told without opened: %v", err)
	default:
	}
}

// TestCloseDrains: what was sent before the end is still written.
func TestCloseDrains(t *testing.T) {
	for name, start := range streamKinds(t) {
		t.Run(name, func(t *testing.T) {
			s, dial := start(Options{MaxQueue: 8 << 20})
			c := dial()
			defer c.Close()
			go func() { _, _ = io.WriteString(c, message("")) }()
			f := await(t, s.packets).flow
			data := bytes.Repeat([]byte("x"), 4<<20) // more than the kernel buffers
			if err := f.Send(data); err != nil {
				t.Fatal(err)
			}
			go s.stop()
			got, err := io.ReadAll(bufio.NewReader(c))
			if len(got) != len(data) || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("got %d of %d octets: %v", len(got), len(data), err)
			}
			s.stop()
			if err := await(t, s.closed); !errors.Is(err, ErrClosed) {
				t.Errorf("closed: %v", err)
			}
		})
	}
}

// TestCloseCutsOff: a peer that does not read does not hold up the end for longer than the context says.
func TestCloseCutsOff(t *testing.T) {
	s := listen(t, Options{})
	r := newRecorder()
	dialler := NewStreams(Options{MaxQueue: 64 << 20})
	f := dialler.Dial(context.Background(), testShard(t, 1, 0), s.addr, r)
	await(t, r.opened)
	hold, entered := make(chan struct{}), make(chan struct{})
	s.on(func(Flow, []byte) { close(entered); <-hold })
	_ = f.Send([]byte(message("")))
	<-entered // the peer is stuck in its shard and reads no more
	_ = f.Send(bytes.Repeat([]byte("x"), 32<<20))
	ctx, cancel := context.WithCancel(context.Background())
	closed := make(chan error, 1)
	go func() { closed <- dialler.Close(ctx) }()
	cancel()
	if err := await(t, closed); !errors.Is(err, context.Canceled) {
		t.Errorf("Close: %v", err)
	}
	close(hold)
	if err := dialler.Close(context.Background()); err != nil {
		t.Errorf("Close again: %v", err)
	}
}

// TestBusyShard: a reader waits for a shard whose inbox is full; nothing is lost, since TCP holds the peer.
func TestBusyShard(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sh := testShard(t, 0, 2)
	s := serveStreams(t, sh, ln, Options{})
	c := dial(t, s.addr)
	await(t, s.opened)
	hold, entered := make(chan struct{}), make(chan struct{})
	go sh.Exec(shard.EventFunc(func(*shard.Shard) { close(entered); <-hold }))
	<-entered
	for range 2 {
		sh.Post(shard.EventFunc(func(*shard.Shard) {}))
	}
	_, _ = io.WriteString(c, message("patient"))
	for s.n.ShardWaits.Load() < 2 {
	}
	close(hold)
	if got := await(t, s.packets); got.data != message("patient") {
		t.Errorf("got %q", got.data)
	}
}

// TestManyWriters: any goroutine may send; messages stay whole.
func TestManyWriters(t *testing.T) {
	for name, start := range streamKinds(t) {
		t.Run(name, func(t *testing.T) {
			s, dial := start(Options{MaxQueue: 16 << 20})
			c := dial()
			defer c.Close()
			go func() { _, _ = io.WriteString(c, message("")) }()
			f := await(t, s.packets).flow
			const writers, each = 8, 200
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					line := []byte(strings.Repeat(string(rune('a'+w)), 500) + "\n")
					for range each {
						if err := f.Send(line); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			sc := bufio.NewScanner(c)
			for range writers * each {
				if !sc.Scan() || strings.Trim(sc.Text(), sc.Text()[:1]) != "" || len(sc.Text()) != 500 {
					t.Fatalf("broken line %q: %v", sc.Text(), sc.Err())
				}
			}
			wg.Wait()
		})
	}
}

func TestStreamAllocations(t *testing.T) {
	s := listen(t, Options{})
	s.on(echo)
	c := dial(t, s.addr)
	msg, buf := request(), make([]byte, 2000)
	one := func() {
		if _, err := c.Write(msg); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, buf[:len(msg)]); err != nil {
			t.Fatal(err)
		}
	}
	one()
	if n := testing.AllocsPerRun(200, one); n >= 1 && !raceEnabled {
		t.Errorf("%v allocations for a message in and out", n)
	}
}
