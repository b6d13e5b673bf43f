package siptransport

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"imsafe/proto/shard"
)

// clientEnv makes the test binary a load generator: "udp|tcp address count window". It runs in a process of its own, so that the
// CPU that a benchmark reports is that of the server.
const clientEnv = "IMSAFE_SIPTRANSPORT_CLIENT"

// request is a SIP message of about 1 kB.
func request() []byte {
	head := "OPTIONS sip:home.example SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKa;rport\r\nCall-ID: a\r\nCSeq: 1 OPTIONS\r\n" +
		"From: <sip:a@home.example>;tag=1\r\nTo: <sip:home.example>\r\nMax-Forwards: 70\r\n"
	body := strings.Repeat("x", 1000-len(head)-30)
	return fmt.Appendf(nil, "%sContent-Length: %d\r\n\r\n%s", head, len(body), body)
}

// echoClient keeps window messages on their way until count came back, and prints how many were lost.
func echoClient(arg string) {
	var network, addr string
	var count, window int
	if _, err := fmt.Sscan(arg, &network, &addr, &count, &window); err != nil {
		panic(err)
	}
	switch network {
	case "idle-tcp":
		idleClient(addr, count, nil)
		return
	case "idle-tls":
		idleClient(addr, count, &tls.Config{InsecureSkipVerify: true}) // the certificate is made anew for each run
		return
	}
	msg := request()
	c, err := net.Dial(network, addr)
	if err != nil {
		panic(err)
	}
	switch network {
	case "udp":
		fmt.Println(udpClient(c.(*net.UDPConn), msg, count, window))
	case "tcp":
		tcpClient(c, msg, count, window)
	}
}

// idleClient holds count connections that have sent one message each, until its input ends.
func idleClient(addr string, count int, config *tls.Config) {
	conns := make([]net.Conn, count)
	for i := range conns {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			panic(err)
		}
		if config != nil {
			c = tls.Client(c, config)
		}
		if _, err := c.Write(request()); err != nil {
			panic(err)
		}
		conns[i] = c
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func udpClient(c *net.UDPConn, msg []byte, count, window int) (lost int) {
	d := &Datagrams{pc: c, o: Options{}.withDefaults()}
	d.n = d.o.Counters
	io := newPacketIO(d)
	b := newBatch(d, nil)
	var g gathered
	sent, back := 0, 0
	peer := c.RemoteAddr().(*net.UDPAddr).AddrPort()
	connected := &connectedIO{c}
	for back+lost < count {
		g.reset()
		for sent < count && sent-back-lost < window {
			g.add(peer, msg)
			sent++
		}
		connected.write(&g)
		_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if err := io.read(b); err != nil {
			lost = sent - back
			continue
		}
		back += b.n
	}
	return lost
}

// connectedIO writes to a connected socket, which takes no address.
type connectedIO struct{ c *net.UDPConn }

func (x *connectedIO) write(g *gathered) {
	for i := range g.len() {
		_, _ = x.c.Write(g.at(i))
	}
}

func tcpClient(c net.Conn, msg []byte, count, window int) {
	burst := bytes.Repeat(msg, window)
	buf := make([]byte, 64<<10)
	for sent := 0; sent < count; sent += window {
		if _, err := c.Write(burst); err != nil {
			panic(err)
		}
		for want := len(burst); want > 0; {
			n, err := c.Read(buf)
			if err != nil {
				panic(err)
			}
			want -= n
		}
	}
}

// cpu is the CPU time of this process.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// load runs the generator against addr and reports the server's CPU per message.
func load(b *testing.B, network string, addr net.Addr, window int) {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), clientEnv+"="+fmt.Sprint(network, " ", addr, " ", b.N, " ", window))
	cmd.Stderr = os.Stderr
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu(b)
	out, err := cmd.Output()
	used := cpu(b) - before
	b.StopTimer()
	if err != nil {
		b.Fatal(err)
	}
	lost, _ := strconv.Atoi(strings.TrimSpace(string(out)))
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(lost)/float64(b.N), "lost/op")
}

// BenchmarkUDPEcho is 1 kB in and out over loopback. cpu-ns/op is what the server spent, kernel included.
func BenchmarkUDPEcho(b *testing.B) {
	for _, window := range []int{1, 16, 64} {
		for _, batch := range []int{1, 32} {
			b.Run(fmt.Sprintf("window=%d/batch=%d", window, batch), func(b *testing.B) {
				d := serve(b, testShard(b, 0, 0), loopback(b, 1)[0], receiverFunc(echo), Options{Batch: batch})
				load(b, "udp", net.UDPAddrFromAddrPort(d.Local()), window)
			})
		}
	}
	// What Go's own calls cost, for comparison: one goroutine, one datagram per call.
	for _, window := range []int{1, 64} {
		b.Run(fmt.Sprintf("window=%d/net", window), func(b *testing.B) { benchmarkNet(b, window) })
	}
}

func benchmarkNet(b *testing.B, window int) {
	c := loopback(b, 1)[0]
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 65536)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	load(b, "udp", c.LocalAddr(), window)
	_ = c.Close()
	<-done
}

// BenchmarkTCPEcho is the same over one stream.
func BenchmarkTCPEcho(b *testing.B) {
	for _, window := range []int{1, 16} {
		b.Run(fmt.Sprintf("window=%d", window), func(b *testing.B) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			shards := []*shard.Shard{testShard(b, 0, 0)}
			go func() {
				done <- ServeListener(ctx, shards, ln, func(*shard.Shard) Receiver { return receiverFunc(echo) }, Options{})
			}()
			load(b, "tcp", ln.Addr(), window)
			cancel()
			<-done
		})
	}
}

// BenchmarkIdleConnection reports the memory of the server for one open connection that has had a message and waits. An operation is the
// opening of one.
func BenchmarkIdleConnection(b *testing.B) {
	for _, network := range []string{"tcp", "tls"} {
		b.Run(network, func(b *testing.B) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			var n Counters
			o := Options{MaxPerSource: 1 << 20, MaxConns: 1 << 20, Counters: &n}
			if network == "tls" {
				o.TLS, _ = certificate(b)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			shards := []*shard.Shard{testShard(b, 0, 0)}
			go func() {
				done <- ServeListener(ctx, shards, ln, func(*shard.Shard) Receiver { return receiverFunc(func(Flow, []byte) {}) }, o)
			}()
			before := memory()
			self, err := os.Executable()
			if err != nil {
				b.Fatal(err)
			}
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), clientEnv+"="+fmt.Sprint("idle-", network, " ", ln.Addr(), " ", b.N, " ", 0))
			cmd.Stderr = os.Stderr
			in, _ := cmd.StdinPipe()
			out, _ := cmd.StdoutPipe()
			b.ResetTimer()
			used := cpu(b)
			if err := cmd.Start(); err != nil {
				b.Fatal(err)
			}
			_, _ = bufio.NewReader(out).ReadString('\n')
			for n.MessagesIn.Load() < uint64(b.N) {
				runtime.Gosched()
			}
			b.StopTimer()
			b.ReportMetric(float64(cpu(b)-used)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(memory()-before)/float64(b.N), "B/conn")
			_ = in.Close()
			_ = cmd.Wait()
			cancel()
			<-done
		})
	}
}

// memory is what the heap and the stacks use.
func memory() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // sync.Pool gives up at the second
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
