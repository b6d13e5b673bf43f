package hostile

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"imsafe/client/ue"
	"imsafe/config"
	"imsafe/proto/siptransport"
	"imsafe/test/live"
)

// town is a node with the budgets of production, and honest clients: half of them over TLS, half at addresses over UDP that have registered
// lately, each with an address of its own, and two that call each other.
type town struct {
	t      testing.TB
	n      *live.Node
	phones []*live.Phone
	caller *live.UE
	callee *live.UE
}

func newTown(t testing.TB, phones int) *town {
	t.Helper()
	n := live.Start(t, live.Options{Subscribers: phones / 2, Transport: siptransport.Options{}, Configure: func(c *config.Config) {
		c.CI.Budget = config.Default().CI.Budget
		c.CI.Budget.Unproven = config.Rate{Limit: unproven, Per: config.Of(time.Second), Burst: 2 * unproven} // what a machine can flood tenfold under the race detector
	}})
	secured := live.NewUsers("tls", phones/2+1, live.AKAv2)
	sealed := live.NewUsers("sim", 1, live.AKAv1)
	if err := n.Provision(context.Background(), append(slices.Clone(secured), sealed...)...); err != nil {
		t.Fatal(err)
	}
	x := &town{t: t, n: n}
	for i := range phones {
		at := net.IPv4(127, 9, byte(i), 1)
		var conn net.Conn
		var err error
		u, network := n.Users[i/2%len(n.Users)], "udp"
		if i%2 == 0 {
			conn, err = (&net.Dialer{LocalAddr: &net.UDPAddr{IP: at}}).Dial("udp", n.Lab.String())
		} else {
			u, network = secured[i/2], "tls"
			conn, err = tls.DialWithDialer(&net.Dialer{LocalAddr: &net.TCPAddr{IP: at}}, "tcp", n.TLS.String(), &tls.Config{RootCAs: n.CA, ServerName: "pcscf." + live.Domain})
		}
		if err != nil {
			t.Fatal(err)
		}
		p := live.NewPhone(conn, network, u)
		t.Cleanup(p.Close)
		x.phones = append(x.phones, p)
	}
	var err error
	if x.caller, err = n.UE(secured[phones/2], ue.TLS, nil); err != nil {
		t.Fatal(err)
	}
	if x.callee, err = n.UE(sealed[0], ue.IPsecUDP, nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*live.UE{x.caller, x.callee} {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if _, err := c.Register(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
	return x
}

// service is how honest clients fared.
type service struct {
	tried, done int
	took        []time.Duration
}

func (s *service) quantile(q float64) time.Duration {
	if len(s.took) == 0 {
		return 0
	}
	slices.Sort(s.took)
	return s.took[int(q*float64(len(s.took)-1))]
}

func (s *service) String() string {
	return fmt.Sprintf("%d of %d, p50 %v, p99 %v", s.done, s.tried, s.quantile(0.5).Round(10*time.Microsecond), s.quantile(0.99).Round(10*time.Microsecond))
}

// serve lets every phone register so many times within d, and the two call each other meanwhile.
func (x *town) serve(times int, d time.Duration) *service {
	var mu sync.Mutex
	s := &service{}
	try := func(what string, do func(context.Context) error) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		begun := time.Now()
		err := do(ctx)
		mu.Lock()
		defer mu.Unlock()
		s.tried++
		if err != nil {
			x.t.Logf("%s: %v", what, err)
			return
		}
		s.done++
		s.took = append(s.took, time.Since(begun))
	}
	var all sync.WaitGroup
	end := time.Now().Add(d)
	for i, p := range x.phones {
		all.Go(func() {
			for n := range times {
				wait := time.NewTimer(time.Until(end.Add(-d + d*time.Duration(n*len(x.phones)+i)/time.Duration(times*len(x.phones)))))
				<-wait.C
				try(p.Proto+" registers", func(ctx context.Context) error { return p.Register(ctx, 600) })
			}
		})
	}
	all.Go(func() {
		pace := time.NewTicker(100 * time.Millisecond) // a client may send some fifty requests a second
		defer pace.Stop()
		for time.Now().Before(end) {
			try("call", x.call)
			<-pace.C
		}
	})
	all.Wait()
	return s
}

// call rings and is given up.
func (x *town) call(ctx context.Context) error {
	out, err := x.caller.Call(ctx, x.callee.User.IMPU, ue.Voice{})
	if err != nil {
		return err
	}
	defer out.Hangup()
	select {
	case in := <-x.callee.Calls:
		in.Ring()
		_, err = out.Until(ctx, ue.Ringing)
		in.Reject(486)
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err == nil {
		<-out.Done()
	}
	return err
}

// flooder sends REGISTERs from some addresses at a rate until it is stopped.
type flooder struct {
	conns []*net.UDPConn
	rate  int // a second, of all together
	sent  int
}

func newFlooder(t testing.TB, n *live.Node, sources, rate int) *flooder {
	t.Helper()
	f := &flooder{rate: rate}
	for i := range sources {
		c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, byte(20+i/200), byte(i%200), 1)}, net.UDPAddrFromAddrPort(n.Lab))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		f.conns = append(f.conns, c)
	}
	return f
}

func (f *flooder) run(stop chan struct{}) {
	r := rand.New(rand.NewPCG(1, 1))
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); ; {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		for due := int(time.Since(begun).Seconds() * float64(f.rate)); f.sent < due; f.sent++ {
			name := fmt.Sprintf("nobody%d@%s", r.Uint64(), live.Domain)
			_, _ = fmt.Fprintf(f.conns[f.sent%len(f.conns)], "REGISTER sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;rport;branch=z9hG4bK%x\r\nMax-Forwards: 70\r\n"+
				"From: <sip:%s>;tag=%x\r\nTo: <sip:%s>\r\nCall-ID: %x\r\nCSeq: 1 REGISTER\r\nContact: <sip:x@192.0.2.1>\r\n"+
				"Authorization: Digest username=\"%s\",realm=\"%s\",nonce=\"\",uri=\"sip:%s\",response=\"\"\r\nContent-Length: 0\r\n\r\n",
				live.Domain, r.Uint64(), name, f.sent, name, r.Uint64(), name, live.Domain, live.Domain)
		}
	}
}

// unproven is how many first REGISTERs of addresses that were never proven are answered in a second.
const unproven = 100

// The floods at ten times what is admitted: of one address, and of all that were never proven together.
var floodsTenfold = map[string]struct{ sources, rate int }{
	"one address":          {1, 10 * 100},
	"a thousand at random": {1000, 10 * unproven},
}

// TestBudget_flood: honest clients register and call while strangers send ten times what they may (CI-18). What they had
// to wait is printed, not judged: bench/spine measures it.
func TestBudget_flood(t *testing.T) {
	x := newTown(t, 40)
	x.serve(1, 500*time.Millisecond) // everybody has registered lately
	idle := x.serve(2, 1500*time.Millisecond)
	t.Logf("idle: %v", idle)
	for name, kind := range floodsTenfold {
		f := newFlooder(t, x.n, kind.sources, kind.rate)
		stop, done := make(chan struct{}), make(chan struct{})
		go func() { defer close(done); f.run(stop) }()
		s := x.serve(2, 1500*time.Millisecond)
		close(stop)
		<-done
		t.Logf("%s, %d datagrams: %v", name, f.sent, s)
		if s.done*100 < s.tried*99 {
			t.Errorf("%s: %v", name, s)
		}
	}
	c, err := x.n.Counters()
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"clientims_over_datagrams_total", "clientims_over_unproven_total"} {
		if c[what] == 0 {
			t.Errorf("%s is 0", what)
		}
	}
	if c["clientims_amplification"] > 1.5 {
		t.Errorf("%v octets for each", c["clientims_amplification"])
	}
	t.Logf("amplification %.3f; %v datagrams and %v first REGISTERs of unproven addresses dropped, %v of one", c["clientims_amplification"],
		c["clientims_over_strangers_total"], c["clientims_over_unproven_total"], c["clientims_over_datagrams_total"])
}

// TestBudget_storm: whoever asks for challenges in a client's name, and answers them with AUTS, costs the HSS what his budget lets him, by
// the HSS's own count; the client registers meanwhile, over TLS and within its associations (CI-13, CI-18).
func TestBudget_storm(t *testing.T) {
	x := newTown(t, 2)
	victim := x.caller.User
	conn, err := tls.DialWithDialer(&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 66, 0, 1)}}, "tcp", x.n.TLS.String(),
		&tls.Config{RootCAs: x.n.CA, ServerName: "pcscf." + live.Domain})
	if err != nil {
		t.Fatal(err)
	}
	mallory := live.NewHandset(t, conn, "tls", victim)
	mallory.Lies, mallory.Ahead = true, true
	before := hssCounts(x.n)
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	begun, challenges := time.Now(), config.Default().CI.Budget.Challenge
	for range 200 {
		_, _ = mallory.Register(ctx, 600) // it is refused, each time
	}
	after := hssCounts(x.n)
	t.Logf("before %v\nafter  %v", before, after)
	if forged := after["forged_auts"] - before["forged_auts"]; forged > 4 {
		t.Errorf("the HSS judged %d AUTS, want 4 at most", forged)
	}
	lets := uint64(challenges.Burst) + uint64(time.Since(begun)*time.Duration(challenges.Limit)/challenges.Per.Std()) // in as long as it took
	if drawn := after["vectors"] - before["vectors"]; drawn > lets+2 {
		t.Errorf("%d vectors were drawn, and his budget is %d", drawn, lets)
	}
	for _, c := range []*live.UE{x.caller, x.callee} {
		if _, err := c.Register(ctx); err != nil {
			t.Errorf("%s cannot register: %v", c.User.Name, err)
		}
	}
	if err := x.call(ctx); err != nil {
		t.Errorf("no call: %v", err)
	}
}

func hssCounts(n *live.Node) map[string]uint64 {
	counts := map[string]uint64{}
	for _, c := range n.HSS.Counts() {
		counts[c.Name+c.Operation] = c.Value
	}
	return counts
}
