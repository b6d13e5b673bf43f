package media

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"imsafe/proto/sdp"
	"imsafe/test/peer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plain is a relay of a few lines: what comes to a socket leaves by the one beside it. It does not look at packets.
type plain struct {
	t     *testing.T
	socks []*net.UDPConn
	wrong bool // lead each call's first end to itself
	wg    sync.WaitGroup
}

func (p *plain) Name() string { return "plain" }
func (p *plain) PIDs() []int  { return []int{os.Getpid()} }

func (p *plain) Join(ends [2]End) (seats [2]Seat, err error) {
	var two [2]*net.UDPConn
	for i := range two {
		if two[i], err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
			return seats, err
		}
		seats[i] = Seat{At: two[i].LocalAddr().(*net.UDPAddr).AddrPort(), Key: ends[1-i].Key}
	}
	p.socks = append(p.socks, two[:]...)
	for i := range two {
		to, out := ends[1-i].At, two[1-i]
		if p.wrong {
			to, out = ends[i].At, two[i]
		}
		p.wg.Go(func() {
			var b [1024]byte
			for {
				n, _, err := two[i].ReadFromUDPAddrPort(b[:])
				if err != nil {
					return
				}
				_, _ = out.WriteToUDPAddrPort(b[:n], to)
			}
		})
	}
	return seats, nil
}

func (p *plain) Close() error {
	for _, s := range p.socks {
		_ = s.Close()
	}
	p.wg.Wait()
	return nil
}

func measure(t *testing.T, r Relay, k Kind, port uint16) *Run {
	t.Helper()
	out, err := Measure(t.Context(), r, Settings{Kind: k, Calls: 3, Warm: 100 * time.Millisecond, Time: 400 * time.Millisecond, Late: time.Minute, Port: port})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

// heard fails unless nearly everything arrived: the machine may be busy, but loopback loses nothing.
func heard(t *testing.T, r *Run) {
	t.Helper()
	if r.Sent < 10 || r.Lost > r.Sent/2 || r.Astray != 0 || r.P99 < r.P50 {
		t.Errorf("%+v", r)
	}
}

func TestMeasure(t *testing.T) {
	for i, k := range []Kind{{Name: "rtp"}, {Name: "one key through", Suites: [2]sdp.Suite{sdp.AEADAES256GCM, sdp.AEADAES256GCM}}} {
		t.Run(k.Name, func(t *testing.T) { heard(t, measure(t, &plain{t: t}, k, 6100+uint16(i))) })
	}
}

// TestMeasure_astray: who leads voice to the wrong end, or forges it, gets no figure.
func TestMeasure_astray(t *testing.T) {
	if r := measure(t, &plain{t: t, wrong: true}, Kind{Name: "rtp"}, 6110); r.Astray == 0 || len(r.Limits) == 0 {
		t.Errorf("voice that came back was not noticed: %+v", r)
	}
}

// TestMeasure_other_suite: a relay that seals otherwise than agreed is refused at once.
func TestMeasure_other_suite(t *testing.T) {
	r := &plain{t: t}
	_, err := Measure(t.Context(), r, Settings{Kind: Kinds()[1], Calls: 1, Time: time.Second, Port: 6111})
	if err == nil || !strings.Contains(err.Error(), "seals with") {
		t.Error(err)
	}
	_ = r.Close()
}

// TestEngine drives Debian's rtpengine through every kind.
func TestEngine(t *testing.T) {
	program := peer.Need(t, "rtpengine")
	for i, k := range Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			e, err := StartEngine(program, t.TempDir(), netip.AddrFrom4([4]byte{127, 0, 41, byte(i + 1)}))
			if err != nil {
				t.Fatal(err)
			}
			heard(t, measure(t, e, k, 6120+uint16(i)))
		})
	}
}
