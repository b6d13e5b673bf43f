package rtpport

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imsafe/proto/sdp"
	"imsafe/test/peer"
)

func udp(t testing.TB, address string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(address)})
	if err != nil {
		peer.Missing(t, address+": "+err.Error())
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// voice is an RTP packet of G.711 A-law with a number in it.
func voice(number uint32) []byte {
	b := make([]byte, 172)
	b[0], b[1] = 0x80, 8
	binary.BigEndian.PutUint16(b[2:], uint16(number))
	binary.BigEndian.PutUint32(b[8:], 7)
	binary.BigEndian.PutUint32(b[12:], number)
	return b
}

func numbered(b []byte) uint32 { return binary.BigEndian.Uint32(b[12:]) }

// listens adds a plain leg for who sends from remote.
func listens(t testing.TB, p *Port, remote netip.AddrPort, relay func(b []byte, control bool)) *Leg {
	t.Helper()
	e := newEnd(t, nil, func(c *Config) {
		c.Conn, c.Receive = nil, nil
		c.Port, c.Relay, c.AllowPlain = p, relay, true
	})
	p.Add(e.Leg)
	a := sdp.Agreed{Keying: sdp.PlainRTP, RecvPT: 8, Send: true, Receive: true, Remote: remote, RTCPMux: true}
	if err := e.Start(a); err != nil {
		t.Fatal(err)
	}
	e.begin()
	t.Cleanup(e.Close)
	return e.Leg
}

func addressOf(c *net.UDPConn) netip.AddrPort { return addrPort(c.LocalAddr()) }

// still is a thread that nobody runs: the test does it, round by round.
func still(t testing.TB) *thread {
	t.Helper()
	th, err := newThread(&PollerConfig{Failed: func(_ *Port, err error) { t.Error(err) }, Unsent: func() {}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(th.close)
	return th
}

// hears runs rounds until nothing is left.
func (t *thread) hears() {
	for {
		n, err := t.poll(false)
		if n == 0 || err != nil {
			return
		}
		t.round(n)
	}
}

func portOn(t testing.TB, th *thread, address string) *Port {
	t.Helper()
	p, err := (&Poller{threads: []*thread{th}}).NewPort(udp(t, address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func TestPoller(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1"} {
		t.Run(address, func(t *testing.T) {
			p, err := NewPoller(PollerConfig{Threads: 2})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			var ports [3]*Port
			ends := [3]*net.UDPConn{udp(t, address), udp(t, address), udp(t, address)}
			heard := make(chan uint32, 100)
			for i := range ports {
				if ports[i], err = p.NewPort(udp(t, address)); err != nil {
					t.Fatal(err)
				}
				defer ports[i].Close()
				listens(t, ports[i], addressOf(ends[i]), func(b []byte, _ bool) { heard <- numbered(b) })
			}
			for i, e := range ends {
				if _, err := e.WriteToUDPAddrPort(voice(uint32(i)), ports[i].Local()); err != nil {
					t.Fatal(err)
				}
				if _, err := e.WriteToUDPAddrPort(voice(99), ports[(i+1)%3].Local()); err != nil { // a stranger there
					t.Fatal(err)
				}
			}
			got := map[uint32]bool{}
			for range ports {
				select {
				case n := <-heard:
					got[n] = true
				case <-time.After(time.Minute):
					t.Fatalf("only %v was heard", got)
				}
			}
			if !got[0] || !got[1] || !got[2] {
				t.Errorf("heard %v", got)
			}
			if err := ports[0].Send(voice(5), addressOf(ends[0])); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 500)
			_ = ends[0].SetReadDeadline(time.Now().Add(time.Minute))
			if n, from, err := ends[0].ReadFromUDPAddrPort(b); err != nil || n != 172 || numbered(b) != 5 || netip.AddrPortFrom(from.Addr().Unmap(), from.Port()) != ports[0].Local() {
				t.Errorf("%d octets from %v, %v", n, from, err)
			}
		})
	}
}

func TestPoller_no_socket_of_udp(t *testing.T) {
	p, err := NewPoller(PollerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.NewPort(newNetwork().listen(alice)); !errors.Is(err, ErrUnpollable) {
		t.Error(err)
	}
	closed := udp(t, "127.0.0.1")
	_ = closed.Close()
	if _, err := p.NewPort(closed); err == nil {
		t.Error("a closed socket was taken")
	}
}

// TestPoller_a_flood_waits_its_turn: of a port with a thousand packets one is read, as of every other.
func TestPoller_a_flood_waits_its_turn(t *testing.T) {
	th := still(t)
	from := udp(t, "127.0.0.1")
	var heard [2]int
	var ports [2]*Port
	for i := range ports {
		ports[i] = portOn(t, th, "127.0.0.1")
		listens(t, ports[i], addressOf(from), func([]byte, bool) { heard[i]++ })
	}
	for n := range uint32(100) {
		_, _ = from.WriteToUDPAddrPort(voice(n), ports[0].Local())
	}
	_, _ = from.WriteToUDPAddrPort(voice(0), ports[1].Local())
	n, err := th.poll(false)
	if err != nil || n != 2 {
		t.Fatalf("%d ports are ready, %v", n, err)
	}
	if th.round(n); heard != [2]int{1, 1} {
		t.Errorf("after one round %v were heard", heard)
	}
	if th.hears(); heard != [2]int{100, 1} {
		t.Errorf("in the end %v were heard", heard)
	}
}

// TestPoller_a_burst_is_read_at_once: a picture of a video is many packets at one port. It pauses when nothing is left, not before.
func TestPoller_a_burst_is_read_at_once(t *testing.T) {
	th := still(t)
	from := udp(t, "127.0.0.1")
	heard, paused := 0, []int(nil)
	th.pause = func(time.Duration) { paused = append(paused, heard) }
	for range 2 {
		listens(t, portOn(t, th, "127.0.0.1"), addressOf(from), func([]byte, bool) { heard++ })
	}
	say := func(n int) {
		for i := range n {
			for _, p := range th.ports {
				if p != nil {
					_, _ = from.WriteToUDPAddrPort(voice(uint32(i)), p.Local())
				}
			}
		}
	}
	th.gathering = true
	for _, n := range []int{1, 50} {
		say(n)
		for range n {
			if err := th.step(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if heard != 102 || len(paused) != 0 {
		t.Errorf("%d were heard, with pauses after %v", heard, paused)
	}
	th.pause = func(time.Duration) { paused = append(paused, heard); say(1) }
	if err := th.step(); err != nil || len(paused) != 1 || paused[0] != 102 || heard != 104 || !th.gathering {
		t.Errorf("%d were heard, with pauses after %v, %v", heard, paused, err)
	}
}

// TestPoller_what_is_sent_in_a_round leaves after it, in order, and what is sent at other times leaves at once.
func TestPoller_what_is_sent_in_a_round(t *testing.T) {
	th := still(t)
	from, to := udp(t, "127.0.0.1"), udp(t, "127.0.0.1")
	in, out := portOn(t, th, "127.0.0.1"), portOn(t, th, "127.0.0.1")
	waiting := func() int {
		raw, err := to.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		_ = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ) })
		return n
	}
	far := listens(t, out, addressOf(to), func([]byte, bool) {})
	listens(t, in, addressOf(from), func(b []byte, _ bool) {
		for range 3 {
			if err := far.Forward(b, false); err != nil {
				t.Error(err)
			}
		}
		if numbered(b) == 0 && waiting() != 0 { // afterwards there is what left after rounds of before
			t.Error("it left within the round")
		}
	})
	const sent = 30
	for n := range uint32(sent) {
		_, _ = from.WriteToUDPAddrPort(voice(n), in.Local())
	}
	th.hears()
	b := make([]byte, 500)
	for i := range uint32(3 * sent) {
		_ = to.SetReadDeadline(time.Now().Add(time.Minute))
		if _, _, err := to.ReadFromUDPAddrPort(b); err != nil || numbered(b) != i/3 {
			t.Fatalf("packet %d is number %d, %v", i, numbered(b), err)
		}
	}
	if _ = far.Forward(voice(77), false); waiting() == 0 {
		t.Error("it did not leave at once")
	}
}

func TestPoller_a_packet_costs_no_allocation(t *testing.T) {
	th := still(t)
	from, to := udp(t, "127.0.0.1"), udp(t, "127.0.0.1")
	in, out := portOn(t, th, "127.0.0.1"), portOn(t, th, "127.0.0.1")
	far := listens(t, out, addressOf(to), func([]byte, bool) {})
	passed := 0
	listens(t, in, addressOf(from), func(b []byte, control bool) {
		if far.Forward(b, control) == nil {
			passed++
		}
	})
	n := uint32(0)
	packet := voice(0)
	at := in.Local()
	step := func() {
		n++
		binary.BigEndian.PutUint16(packet[2:], uint16(n))
		_, _ = from.WriteToUDPAddrPort(packet, at)
		th.hears()
	}
	step()
	if a := testing.AllocsPerRun(500, step); a != 0 {
		t.Errorf("%v allocations for a packet through", a)
	}
	if passed != int(n) {
		t.Errorf("%d of %d went through", passed, n)
	}
}

// TestPoller_ports_come_and_go under traffic, with other goroutines sending: nothing is sent by, or read from, a descriptor that is another's by now,
// and none is left.
func TestPoller_ports_come_and_go(t *testing.T) {
	before := descriptors(t)
	p, err := NewPoller(PollerConfig{Threads: 2, Failed: func(_ *Port, err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	var wrong atomic.Uint64
	var wg sync.WaitGroup
	for worker := range uint32(4) {
		wg.Go(func() {
			from, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Error(err)
				return
			}
			defer from.Close()
			for range 50 {
				conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
				if err != nil {
					t.Error(err)
					return
				}
				port, err := p.NewPort(conn)
				if err != nil {
					t.Error(err)
					return
				}
				leg := listens(t, port, addressOf(from), func(b []byte, _ bool) {
					if numbered(b) != worker {
						wrong.Add(1)
					}
				})
				for range 5 {
					_, _ = from.WriteToUDPAddrPort(voice(worker), port.Local())
					_ = leg.Forward(voice(worker), false)
				}
				closing := make(chan struct{})
				go func() { defer close(closing); port.Close() }()
				_ = port.Send(voice(worker), addressOf(from)) // before or after: it must only not be another's
				<-closing
				if err := port.Send(voice(worker), addressOf(from)); !errors.Is(err, net.ErrClosed) && err != nil {
					t.Error(err)
				}
				port.Close()
			}
		})
	}
	wg.Wait()
	p.Close()
	if wrong.Load() != 0 {
		t.Errorf("%d packets came to another port", wrong.Load())
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors are open, %d before", after, before)
	}
}

func descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestPoller_what_is_too_long is cut by the system, as if nobody had asked for whole datagrams.
func TestPoller_what_is_too_long(t *testing.T) {
	if !peer.InNamespace(t) {
		return
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err == nil {
		lo.SetUint32(1280)
		err = unix.IoctlIfreq(fd, unix.SIOCSIFMTU, lo)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"127.0.0.1", "::1"} {
		port, to := portOn(t, still(t), address), udp(t, address)
		b := make([]byte, 2000)
		for _, n := range []int{172, 1500, 172, 1500} {
			if err := port.Send(b[:n], addressOf(to)); err != nil {
				t.Fatal(address, n, err)
			}
			_ = to.SetReadDeadline(time.Now().Add(time.Minute))
			if got, err := to.Read(b); err != nil || got != n {
				t.Errorf("%s: %d octets of %d, %v", address, got, n, err)
			}
		}
		if err := port.Send(make([]byte, 1<<16), addressOf(to)); !errors.Is(err, unix.EMSGSIZE) {
			t.Error(address, "more than a datagram holds:", err)
		}
	}
}
