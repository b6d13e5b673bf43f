package kernelesp

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imsafe/proto/esp"
	"imsafe/test/kernelesp/machine"
)

// injections is how often each forged packet is sent.
const injections = 20

// attacks are what a stranger, or a client that means harm, puts on the wire. drop is the counter that has to move, once for each packet, and
// no other may; Accepted is that none moves.
var attacks = []struct {
	name string
	drop esp.Drop
}{
	{"replay", esp.DropReplay}, // one of them is the first, and is accepted
	{"flip", esp.DropAuth},
	{"unknown-spi", esp.DropUnknown},
	{"zeros", esp.DropUnknown},
	{"three-octets", esp.DropLength},
	{"other-source", esp.DropSelector},
	{"inner-port", esp.DropSelector},
	{"plain-from-agreed-port", esp.Accepted},
	{"plain-from-other-port", esp.Accepted},
	{"fragments", esp.DropReplay}, // as for replay: fragments that fit are put together
	{"overlapping-fragments", esp.Accepted},
}

// injection is the honest agreement that an attack is made beside.
func (w *wire) injection(t *testing.T, k *machine.Kernel, attack string, drop esp.Drop, uc uint16) {
	g, ref := w.agree(t, esp.PCSCF, pairs[0].alg, pairs[0].ealg, uc, 0x1001, false)
	associations := w.associations(g, pairs[0].words)
	// The same association takes packets of another port: so a client's own kernel would make what the P-CSCF must refuse.
	other := strings.ReplaceAll(associations, fmt.Sprintf("sport %d dport 5999 dir out", uc), fmt.Sprintf("sport %d dport 5999 dir out", otherPort))
	for _, line := range strings.SplitAfter(other, "\n") {
		if strings.Contains(line, fmt.Sprintf("sport %d ", otherPort)) {
			associations += line
		}
	}
	n := w.engine.Counters()
	counters := func() (c []uint64) {
		for _, d := range esp.Drops() {
			c = append(c, n.Dropped(d))
		}
		return append(c, n.Opened.Load())
	}
	before := counters()
	out := k.Sh(associations + w.guestDoes(t, g, order{Attack: attack}) + flush)
	if !strings.HasPrefix(out, "GUEST-OK") {
		t.Fatalf("the guest says:\n%s", out)
	}
	want, opened := append([]uint64(nil), before...), uint64(0)
	for i, d := range esp.Drops() {
		if d == drop {
			want[i] += injections
		}
	}
	if drop == esp.DropReplay {
		opened = 1
		want[len(want)-1]++
	}
	// What was sent last may still be on its way.
	for i := range 1200 {
		if i > 5 && fmt.Sprint(counters()) == fmt.Sprint(want) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if got := counters(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("counters %v, and what was opened:\nbefore %v\nafter  %v\nwant   %v", esp.Drops(), before, got, want)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropped = map[esp.Drop]uint64{}
	for _, d := range esp.Drops() {
		w.dropped[d] = n.Dropped(d)
	}
	if uint64(w.came[ref]) != opened {
		t.Errorf("%d datagrams came through, want %d", w.came[ref], opened)
	}
	clear(w.came)
}

// otherPort is a port of the UE that no agreement has.
const otherPort = 39777

// attack is the guest's half: it lets its kernel make an authentic packet that does not arrive, and sends what it makes of it.
func (o *order) attack() error {
	switch o.Attack {
	case "plain-from-agreed-port":
		return o.plain(o.UC.Port())
	case "plain-from-other-port":
		return o.plain(otherPort)
	}
	port := o.UC.Port()
	if o.Attack == "inner-port" {
		port = otherPort
	}
	packets, err := o.authentic(port, injections)
	if err != nil {
		return err
	}
	packet, source := packets[0], o.UC.Addr()
	switch o.Attack {
	case "replay":
		packets = append(packets[:1], slices.Repeat(packets[:1], injections)...)
	case "flip":
		for i, p := range packets {
			p[8+i*5] ^= 1 << (i % 8)
		}
	case "unknown-spi":
		for _, p := range packets {
			p[3] ^= 1
		}
	case "zeros":
		packets = slices.Repeat([][]byte{make([]byte, 9)}, injections)
	case "three-octets":
		packets = slices.Repeat([][]byte{packet[:3]}, injections)
	case "other-source":
		source = netip.MustParseAddr("10.77.0.3")
		if out, err := exec.Command("/sbin/ip", "addr", "replace", source.String()+"/24", "dev", "vec0").CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
	case "fragments":
		return o.fragments(packet, injections+1, 64)
	case "overlapping-fragments":
		return o.fragments(packet, injections, 32)
	}
	c, err := net.ListenIP(esp.Network4, &net.IPAddr{IP: source.AsSlice()})
	if err != nil {
		return err
	}
	for _, p := range packets {
		if _, err := c.WriteToIP(p, &net.IPAddr{IP: o.PS.Addr().AsSlice()}); err != nil {
			return err
		}
	}
	return nil
}

// authentic are packets that this kernel sealed for the P-CSCF and sent to a station that is not there.
func (o *order) authentic(port uint16, times int) (packets [][]byte, err error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, int(ntohs(unix.ETH_P_ALL)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 60}); err != nil {
		return nil, err
	}
	neighbour := func(words ...string) error {
		words = append([]string{"neigh", words[0], o.PS.Addr().String(), "dev", "vec0"}, words[1:]...)
		if out, err := exec.Command("/sbin/ip", words...).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	if err := neighbour("replace", "lladdr", "02:00:00:00:00:99", "nud", "permanent"); err != nil {
		return nil, err
	}
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(o.UC.Addr(), port)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	for range times {
		if _, err := c.WriteToUDPAddrPort(make([]byte, 100), o.PS); err != nil {
			return nil, err
		}
	}
	buf := make([]byte, 2048)
	for len(packets) < times {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			return nil, fmt.Errorf("nothing captured: %w", err)
		}
		if n > 20 && buf[0] == 0x45 && buf[9] == 50 {
			packets = append(packets, slices.Clone(buf[20:n]))
		}
	}
	return packets, neighbour("del")
}

// plain sends datagrams in clear to the protected port. A raw socket shows the kernel no ports, so that no policy takes them.
func (o *order) plain(port uint16) error {
	c, err := net.ListenIP("ip4:17", &net.IPAddr{IP: o.UC.Addr().AsSlice()})
	if err != nil {
		return err
	}
	p := binary.BigEndian.AppendUint16(nil, port)
	p = binary.BigEndian.AppendUint16(p, o.PS.Port())
	p = append(binary.BigEndian.AppendUint16(p, 13), 0, 0, 'h', 'e', 'l', 'l', 'o')
	for range injections {
		if _, err := c.WriteToIP(p, &net.IPAddr{IP: o.PS.Addr().AsSlice()}); err != nil {
			return err
		}
	}
	// An answer would come in clear, or by the other association, to one of these.
	for _, local := range []netip.AddrPort{netip.AddrPortFrom(o.UC.Addr(), port), o.US} {
		u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(local))
		if err != nil {
			return err
		}
		if err := u.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
			return err
		}
		if n, from, err := u.ReadFromUDPAddrPort(make([]byte, 2048)); err == nil {
			return fmt.Errorf("an answer of %d octets from %v", n, from)
		}
	}
	return nil
}

// fragments sends packet in two fragments, the first of 64 octets, the second from an octet on that may lie within the first.
func (o *order) fragments(packet []byte, times, second int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	for i := range times {
		for _, part := range []struct{ from, to, more int }{{0, 64, 1 << 13}, {second, len(packet), 0}} {
			h := make([]byte, 20)
			h[0], h[8], h[9] = 0x45, 64, 50
			binary.BigEndian.PutUint16(h[4:], uint16(700+i))
			binary.BigEndian.PutUint16(h[6:], uint16(part.more|part.from/8))
			copy(h[12:], o.UC.Addr().AsSlice())
			copy(h[16:], o.PS.Addr().AsSlice())
			h = append(h, packet[part.from:part.to]...)
			if err := unix.Sendto(fd, h, 0, &unix.SockaddrInet4{Addr: o.PS.Addr().As4()}); err != nil {
				return err
			}
		}
	}
	return nil
}

// ntohs turns a number for the packet socket into network order.
func ntohs(v uint16) uint16 { return v<<8 | v>>8 }
