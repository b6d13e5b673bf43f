package media

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"imsafe/proto/g711"
	"imsafe/proto/rtpport"
	"imsafe/proto/sdp"
	"imsafe/proto/shard"
	"imsafe/refpoint/mr"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

func listen(at netip.AddrPort) (net.PacketConn, error) {
	return net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
}

// newServer is a media server that is closed with the test, and must then have all of its ports.
func newServer(t testing.TB, change func(*Config)) *Server {
	t.Helper()
	c := Config{Address: loopback, Calls: 8, Clock: shard.RealClock(), Rand: rand.Reader, Listen: listen}
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	free := s.Free()
	t.Cleanup(func() {
		s.Close()
		if s.Free() != free || s.Counters().Open.Load() != 0 || len(s.channels) != 0 || len(s.conferences) != 0 {
			t.Errorf("%d ports are free of %d, %d channels are open", s.Free(), free, s.Counters().Open.Load())
		}
	})
	return s
}

// party is the other end of a call: a leg of its own, and the frames that came.
type party struct {
	t      testing.TB
	leg    *rtpport.Leg
	law    g711.Codec
	offer  *sdp.Session
	agreed sdp.Agreed
	caps   sdp.Capabilities

	mu     sync.Mutex
	heard  []byte // octets, in the order in which they came
	events []rtpport.Frame
}

// newParty makes one that offers; change may change what.
func newParty(t testing.TB, change func(*sdp.Capabilities, *sdp.Local)) *party {
	t.Helper()
	p := &party{t: t, caps: sdp.Capabilities{Audio: []sdp.Codec{sdp.PCMA()}, DTMF: true}}
	pc, err := listen(netip.AddrPortFrom(loopback, 0))
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := rtpport.NewCertificate(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p.leg, err = rtpport.New(rtpport.Config{Conn: pc, Clock: shard.RealClock(), Rand: rand.Reader, Certificate: certificate, Receive: p.hear})
	if err != nil {
		t.Fatal(err)
	}
	local := sdp.Local{ID: 1, Version: 1, Address: loopback, Port: p.leg.Local().Port(), Fingerprints: p.leg.Fingerprints(), TLSID: "an association"}
	if change != nil {
		change(&p.caps, &local)
	}
	p.offer = sdp.NewOffer(local, p.caps)
	done := make(chan struct{})
	go func() { defer close(done); _ = p.leg.Run(context.Background()) }()
	t.Cleanup(func() { p.leg.Close(); <-done })
	return p
}

func (p *party) hear(f *rtpport.Frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.agreed.DTMF && f.PayloadType == p.agreed.RecvDTMF {
		p.events = append(p.events, *f)
		return
	}
	p.heard = append(p.heard, f.Payload...)
}

// body is the offer as it goes out.
func (p *party) body() []byte {
	b, err := p.offer.Marshal()
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

// takes takes the answer; sends says which payload type it sends, the agreed one if it is 0.
func (p *party) takes(answer []byte, events bool) {
	p.t.Helper()
	parsed, err := sdp.Parse(answer, sdp.Limits{})
	if err != nil {
		p.t.Fatal(err)
	}
	g, err := sdp.Match(p.offer, parsed, p.caps)
	if err != nil {
		p.t.Fatalf("%v in\n%s", err, answer)
	}
	p.law, _ = g711.ByName(g.Codec.Name)
	if events {
		g.SendPT = g.SendDTMF
	}
	p.mu.Lock()
	p.agreed = g
	p.mu.Unlock()
	if err := p.leg.Start(g); err != nil {
		p.t.Fatal(err)
	}
}

// says sends octets of the law, 20 ms at a time.
func (p *party) says(octets []byte) {
	p.t.Helper()
	for n := 0; len(octets) > 0; octets = octets[n:] {
		n = min(mr.FrameSamples, len(octets))
		if err := p.leg.WriteFrame(octets[:n], uint32(n), false); err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p *party) octets() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]byte(nil), p.heard...)
}

// call opens a channel for a party and waits until both ends have keys.
func call(t testing.TB, s *Server, terms mr.Terms, change func(*sdp.Capabilities, *sdp.Local)) (*party, *channel) {
	t.Helper()
	p := newParty(t, change)
	opened, err := s.Open(p.body(), terms)
	if err != nil {
		t.Fatal(err)
	}
	p.takes(opened.Answer(), false)
	opened.Start()
	c := opened.(*channel)
	ready(t, p, c)
	return p, c
}

func ready(t testing.TB, p *party, c *channel) {
	t.Helper()
	for _, l := range []*rtpport.Leg{p.leg, c.leg} {
		select {
		case <-l.Ready():
		case <-l.Done():
			t.Fatal("a leg has ended")
		case <-t.Context().Done():
			t.Fatal("no keys")
		}
	}
}

// until waits for a condition that packets bring about.
func until(t testing.TB, what string, met func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for !met() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not in time: %s", what)
		}
	}
}

// sound makes samples of a sum of sines of a level each.
func sound(n int, dBm0 float64, hz ...float64) []int16 {
	pcm := make([]int16, n)
	for i := range pcm {
		v := 0.0
		for _, f := range hz {
			v += peakOf(dBm0) * math.Sin(2*math.Pi*f*float64(i)/g711.SampleRate)
		}
		pcm[i] = int16(max(-32768, min(32767, math.Round(v))))
	}
	return pcm
}

// all is what everybody may.
func all(tell func(mr.Event)) mr.Terms {
	return mr.Terms{Send: true, Receive: true, Record: true, Mix: true, Tell: tell}
}

// told collects events.
type told struct {
	mu   sync.Mutex
	list []mr.Event
}

func (x *told) tell(e mr.Event) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.list = append(x.list, e)
}

// has reports whether there was an event that satisfies f.
func (x *told) has(f func(mr.Event) bool) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, e := range x.list {
		if f(e) {
			return true
		}
	}
	return false
}

func (x *told) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return fmt.Sprintf("%+v", x.list)
}

func netUDP(a netip.AddrPort) net.Addr { return net.UDPAddrFromAddrPort(a) }
