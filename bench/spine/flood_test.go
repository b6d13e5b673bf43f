package spine

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// honest are clients that do what clients do, while others flood: half over TLS, half at addresses over UDP from which they have registered
// lately, each at an address of its own.
type honest struct {
	phones []*client
	pairs  []pair

	mu          sync.Mutex
	tried, done int
	took        []time.Duration
}

func newHonest(b *testing.B, s *server, phones, pairs int) *honest {
	b.Helper()
	pin(1)
	h := &honest{}
	for i := range phones + 2*pairs {
		c := clientAt(b, s, net.IPv4(127, 9, byte(i), 1), i, i%2 == 1 && i < phones)
		if i < phones {
			h.phones = append(h.phones, c)
		} else if (i-phones)%2 == 1 {
			h.pairs[len(h.pairs)-1].b = c
		} else {
			h.pairs = append(h.pairs, pair{a: c})
		}
		if !c.register() {
			b.FailNow()
		}
	}
	return h
}

// clientAt makes a client of a user at an address.
func clientAt(b *testing.B, s *server, at net.IP, user int, secured bool) *client {
	b.Helper()
	if secured {
		d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: at}}
		conn, err := tls.DialWithDialer(d, "tcp", s.secured.String(), &tls.Config{RootCAs: s.trusted, ServerName: "pcscf." + domain})
		if err != nil {
			b.Fatal(err)
		}
		return clientOn(b, conn, "TLS", conn.LocalAddr().(*net.TCPAddr).AddrPort(), users/2+user)
	}
	conn, err := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: at}}).Dial("udp", s.address.String())
	if err != nil {
		b.Fatal(err)
	}
	return clientOn(b, conn, "UDP", conn.LocalAddr().(*net.UDPAddr).AddrPort(), user)
}

func (h *honest) try(do func() bool) {
	begun := time.Now()
	ok := do()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tried++; ok {
		h.done++
		h.took = append(h.took, time.Since(begun))
	}
}

// serve lets each phone register so many times in d, spread evenly, and each pair call once a second.
func (h *honest) serve(times int, d time.Duration) {
	var all sync.WaitGroup
	begun := time.Now()
	each := func(count int, share float64, do func(turn int) bool) {
		all.Go(func() {
			for n := range count {
				<-time.After(time.Until(begun.Add(time.Duration((float64(n) + share) / float64(count) * float64(d)))))
				h.try(func() bool { return do(n) })
			}
		})
	}
	for i, c := range h.phones {
		again := c.register
		if c.via == "TLS" {
			again = c.refresh // nobody is challenged anew on a connection of his own
		}
		each(times, float64(i)/float64(len(h.phones)), func(int) bool { return again() })
	}
	for i, p := range h.pairs {
		each(int(d/time.Second), float64(i)/float64(len(h.pairs)), p.call)
	}
	all.Wait()
}

// flood sends first REGISTERs of nobody from some addresses, so many a second, until stop is closed. It returns how many.
func flood(b *testing.B, s *server, sources, rate int, stop chan struct{}) (sent int) {
	var conns []net.Conn
	for i := range sources {
		conn, err := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, byte(20+i/200), byte(i%200), 1)}}).Dial("udp", s.address.String())
		if err != nil {
			b.Error(err)
			return 0
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); ; {
		select {
		case <-stop:
			return sent
		case <-tick.C:
		}
		for due := int(time.Since(begun).Seconds() * float64(rate)); sent < due; sent++ {
			name := fmt.Sprintf("nobody%d@%s", sent, domain)
			_, _ = fmt.Fprintf(conns[sent%len(conns)], "REGISTER sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;rport;branch=z9hG4bKf%d\r\nMax-Forwards: 70\r\n"+
				"From: <sip:%s>;tag=f\r\nTo: <sip:%s>\r\nCall-ID: f%d\r\nCSeq: 1 REGISTER\r\nContact: <sip:x@192.0.2.1>\r\n"+
				"Authorization: Digest username=\"%s\",realm=\"%s\",nonce=\"\",uri=\"sip:%s\",response=\"\"\r\nContent-Length: 0\r\n\r\n",
				domain, sent, name, name, sent, name, domain, domain)
		}
	}
}

// BenchmarkFlood is P13: honest clients register and call for ten seconds while strangers flood at ten times what is admitted: of one address,
// of all together that were never proven, and at 50,000 a second. With the budgets wide it is what a node without them does.
func BenchmarkFlood(b *testing.B) {
	for _, f := range []struct {
		name          string
		sources, rate int
		wide          bool
	}{
		{"idle", 0, 0, false}, {"one address tenfold", 1, 1000, false}, {"all addresses tenfold", 1000, 10000, false},
		{"all addresses 50000", 1000, 50000, false}, {"all addresses tenfold without budgets", 1000, 10000, true},
	} {
		b.Run(f.name, func(b *testing.B) {
			for b.Loop() {
				var env []string
				if !f.wide {
					env = []string{childBudgets + "=production"}
				}
				s := start(b, env...)
				h := newHonest(b, s, 80, 10)
				stop, sent := make(chan struct{}), make(chan int, 1)
				if f.rate > 0 {
					go func() { sent <- flood(b, s, f.sources, f.rate, stop) }()
				} else {
					sent <- 0
				}
				before, end := s.cpu(b), s.profiles(b, "."+strings.ReplaceAll(f.name, " ", "-"))
				h.serve(4, 10*time.Second)
				end()
				b.ReportMetric(float64((s.cpu(b)-before).Milliseconds())/100, "%cpu")
				close(stop)
				b.ReportMetric(float64(<-sent), "datagrams")
				slices.Sort(h.took)
				b.ReportMetric(100*float64(h.done)/float64(h.tried), "%honest")
				if n := len(h.took); n > 0 {
					b.ReportMetric(float64(h.took[n/2].Microseconds()), "us-p50")
					b.ReportMetric(float64(h.took[n*99/100].Microseconds()), "us-p99")
				}
			}
		})
	}
}
