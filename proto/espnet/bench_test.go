package espnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"imsafe/proto/esp"
	"imsafe/test/peer"
)

// cpu is the processor time of this process in nanoseconds.
func cpu(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano() + u.Stime.Nano())
}

// roundTrips is a request of 800 octets and an answer of 400, again and again. Both ends are in this process, so the CPU is that of both.
func roundTrips(b *testing.B, c, s net.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() {
		in, out := make([]byte, 800), make([]byte, 400)
		for {
			if _, err := io.ReadFull(s, in); err != nil {
				return
			}
			if _, err := s.Write(out); err != nil {
				return
			}
		}
	})
	request, answer := make([]byte, 800), make([]byte, 400)
	b.ReportAllocs()
	begin := cpu(b)
	for b.Loop() {
		if _, err := c.Write(request); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, answer); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((cpu(b)-begin)/float64(b.N)/1000, "cpu-us/op")
	_ = c.Close()
	_ = s.Close()
	wg.Wait()
}

// BenchmarkRoundTrip is over a network in memory: what TCP and ESP cost, without sockets.
func BenchmarkRoundTrip(b *testing.B) {
	for _, tr := range []esp.Transform{gcm, cbc} {
		for _, tunnel := range []bool{false, true} {
			b.Run(fmt.Sprintf("%v/tunnel=%v", tr, tunnel), func(b *testing.B) {
				r := newRig(b, v4, tunnel, Config{}, Config{})
				c, s := r.pair(r.listen(&r.p, ps), r.agree(0, tr))
				roundTrips(b, c, s)
			})
		}
	}
}

// BenchmarkRoundTripRaw is over raw sockets on the loopback interface.
func BenchmarkRoundTripRaw(b *testing.B) {
	for _, tr := range []esp.Transform{gcm, cbc} {
		b.Run(tr.String(), func(b *testing.B) {
			f := family{ue: netip.MustParseAddr("127.0.0.2"), pcscf: netip.MustParseAddr("127.0.0.3")}
			r := newRig(b, f, false, Config{}, Config{})
			ctx, cancel := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			for e, a := range map[*end]netip.Addr{&r.ue: f.ue, &r.p: f.pcscf} {
				lc := net.ListenConfig{Control: esp.SocketOptions}
				pc, err := lc.ListenPacket(ctx, esp.Network4, a.String())
				if errors.Is(err, os.ErrPermission) {
					peer.Missing(b, "CAP_NET_RAW: raw sockets are not measured here")
				}
				if err != nil {
					b.Fatal(err)
				}
				e.stack.fronts = nil // in the cable's place
				e.front = e.stack.NewFront(esp.Raw(pc.(*net.IPConn)), esp.FrontConfig{})
				wg.Go(func() {
					if err := e.front.Run(ctx); err != nil {
						b.Error(err)
					}
				})
			}
			c, s := r.pair(r.listen(&r.p, ps), r.agree(0, tr))
			roundTrips(b, c, s)
			cancel()
			wg.Wait()
		})
	}
}

// BenchmarkPlainTCP is the same over the kernel's TCP on the loopback interface, to compare with.
func BenchmarkPlainTCP(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	roundTrips(b, c, s)
	_ = l.Close()
}

// BenchmarkThroughput is one direction, in large pieces.
func BenchmarkThroughput(b *testing.B) {
	r := newRig(b, v4, false, Config{}, Config{})
	c, s := r.pair(r.listen(&r.p, ps), r.agree(0, gcm))
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, s)
		close(done)
	}()
	piece := make([]byte, 32<<10)
	b.SetBytes(int64(len(piece)))
	for b.Loop() {
		if _, err := c.Write(piece); err != nil {
			b.Fatal(err)
		}
	}
	_ = c.CloseWrite()
	<-done
	_ = c.Close()
	_ = s.Close()
}

// BenchmarkConnect is a connection from SYN to the end, both ends.
func BenchmarkConnect(b *testing.B) {
	r := newRig(b, v4, false, Config{}, Config{})
	l := r.listen(&r.p, ps)
	a := r.agree(0, gcm)
	begin := cpu(b)
	for b.Loop() {
		c, s := r.pair(l, a)
		_ = s.Close()
		_, _ = c.Read(make([]byte, 1))
		_ = c.Close()
		until(b, "the end", func() bool { return c.b.over() || c.b.ending() })
	}
	b.ReportMetric((cpu(b)-begin)/float64(b.N)/1000, "cpu-us/op")
}

// BenchmarkMemory says how many octets an idle connection takes, of both ends together, and how many goroutines.
func BenchmarkMemory(b *testing.B) {
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	const n = 900
	for b.Loop() {
		r := newRig(b, v4, false, Config{}, Config{Backlog: 10})
		l := r.listen(&r.p, ps)
		var all []*agreed
		for i := range uint16(n) {
			all = append(all, r.agree(i, gcm))
			if _, _, err := r.ue.engine.SealUDP(nil, all[i].ue, esp.Client, nil); err != nil { // with its keys expanded
				b.Fatal(err)
			}
			if _, _, err := r.p.engine.SealUDP(nil, all[i].p, esp.Client, nil); err != nil {
				b.Fatal(err)
			}
		}
		before, goroutines := heap(), runtime.NumGoroutine()
		var conns []*Conn
		for _, a := range all {
			c, s := r.pair(l, a)
			if _, err := c.Write(make([]byte, 800)); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(s, make([]byte, 800)); err != nil {
				b.Fatal(err)
			}
			conns = append(conns, c, s)
		}
		b.ReportMetric(float64(heap()-before)/float64(len(conns)), "octets/conn")
		b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/float64(len(conns)), "goroutines/conn")
		runtime.KeepAlive(conns)
	}
}
