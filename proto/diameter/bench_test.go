package diameter

import (
	"context"
	"crypto/rand"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"imsafe/proto/shard"
)

func BenchmarkEncodeMAA(b *testing.B) {
	b.ReportAllocs()
	buf := make([]byte, 0, 1024)
	for b.Loop() {
		buf = maa(buf[:0])
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkDecodeMAA(b *testing.B) {
	b.ReportAllocs()
	msg := maa(nil)
	b.SetBytes(int64(len(msg)))
	for b.Loop() {
		m, err := Parse(msg)
		if err != nil || m.Check(grammarMAA) != nil {
			b.Fatal("bad")
		}
		for a := range m.AVPs().All() {
			if a.ID() == SIPAuthDataItem {
				for g := range a.Group().All() {
					_ = g.ID()
				}
			}
		}
	}
}

// BenchmarkRoundTrip measures request and answer between two nodes of this process over loopback, both ends and the kernel
// included. In the report, cpu-us/op is processor time.
func BenchmarkRoundTrip(b *testing.B) {
	for _, how := range []struct {
		name      string
		encrypted bool
		tasks     int
	}{{"TCP/1", false, 1}, {"TCP/64", false, 64}, {"TLS/1", true, 1}, {"TLS/64", true, 64}} {
		b.Run(how.name, func(b *testing.B) { roundTrips(b, how.encrypted, how.tasks) })
	}
}

func roundTrips(b *testing.B, encrypted bool, tasks int) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	up := make(chan struct{}, 4)
	ca := newAuthority(b)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	start := func(host, other string, dial func(context.Context) (net.Conn, error)) *house {
		h := &house{t: b, sh: shard.New(shard.Config{Clock: shard.RealClock()})}
		c := Config{Identities: Identities{host, realm}, Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Shard: h.sh,
			Random: rand.Reader, Sleep: time.Sleep, Changed: func(_ string, is bool) {
				if is {
					up <- struct{}{}
				}
			},
			Applications: []ApplicationConfig{{ID: AppCx, Vendor: Vendor3GPP, Accepts: map[Command]Grammar{UAR: grammarTest}, Handler: h}},
			Peers: []PeerConfig{{Host: other, Realm: realm, Dial: dial, Cleartext: !encrypted,
				Role: Role{Requests: map[Application][]Command{AppCx: {UAR}}}}}}
		if encrypted {
			c.TLS = ca.config(host)
		}
		if h.Node, err = New(c); err != nil {
			b.Fatal(err)
		}
		running.Go(func() { _ = h.sh.Run(context.Background()) })
		return h
	}
	server := start(beta, alpha, nil)
	client := start(alpha, beta, func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
	})
	var nodes sync.WaitGroup
	nodes.Go(func() { _ = server.Node.Serve(ctx, ln, encrypted) })
	nodes.Go(func() { _ = server.Run(ctx) })
	nodes.Go(func() { _ = client.Run(ctx) })
	<-up
	<-up

	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	var done sync.WaitGroup
	for i := range tasks {
		n := b.N / tasks
		if i < b.N%tasks {
			n++
		}
		done.Go(func() {
			_ = client.sh.Call(ctx, func(t *shard.Task) {
				for range n {
					if _, err := client.Do(t, &Outgoing{Message: request(client.Node, "001010000000001@ims.example", nil), Realm: realm}); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
	done.Wait()
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
	b.StopTimer()
	cancel()
	nodes.Wait()
	client.sh.Close()
	server.sh.Close()
	running.Wait()
	runtime.GC()
}

// cpu is the processor time of this process.
func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
