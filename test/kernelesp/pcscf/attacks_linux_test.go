package pcscf

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"imsafe/client/ue"
	"imsafe/proto/esp"
	"imsafe/proto/secagree"
	"imsafe/test/kernelesp/machine"
	"imsafe/test/live"
	"imsafe/test/peer"
)

// elsewhere is an address on the wire that no client has.
var elsewhere = netip.MustParseAddr("10.77.0.3")

// tap is somebody in the path between a phone and the P-CSCF. It sees each packet, and may keep what the phone sends.
type tap struct {
	esp.Wire

	mu         sync.Mutex
	holds      bool
	sent, come [][]byte
}

// Write implements esp.Wire.
func (w *tap) Write(b []byte, to netip.AddrPort) error {
	w.mu.Lock()
	w.sent = append(w.sent, slices.Clone(b))
	holds := w.holds
	w.mu.Unlock()
	if holds {
		return nil
	}
	return w.Wire.Write(b, to)
}

// Read implements esp.Wire.
func (w *tap) Read(b []byte) (n int, from netip.AddrPort, err error) {
	n, from, err = w.Wire.Read(b)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.come = append(w.come, slices.Clone(b[:n]))
	}
	return n, from, err
}

// hold says whether the phone's packets are kept, and returns those of both directions since the last time.
func (w *tap) hold(keep bool) (sent, come [][]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	sent, come = w.sent, w.come
	w.holds, w.sent, w.come = keep, nil, nil
	return sent, come
}

// TestKernelBackEnd_attacks runs the rows of the catalogue that touch ESP, with the kernel's XFRM as the back end: CI-01, CI-10, CI-12 and CI-17.
// What must stop them is the kernel's here, so it is its counter that must move (RFC 4303 3.4; TS 33.203 7.1), and by as much as was sent; and
// behind each a message of the client's goes through, once.
func TestKernelBackEnd_attacks(t *testing.T) {
	if testing.Short() {
		t.Skip("boots another kernel")
	}
	t.Parallel() // each in a namespace and a process of its own
	if !peer.InNamespace(t) {
		return
	}
	p := prepare(t, machine.Boot(t, machine.UserMode(t), machine.Program{Name: "imsafe", Package: "imsafe/cmd/imsafe"}))
	p.start()
	suite, user := secagree.Legacy().Suites[0], live.NewUsers("kernel", 1, live.AKAv1)[0]
	waits := live.NewUsers("waits", 1, live.AKAv1)[0]
	p.provision(user, waits)
	for _, a := range []netip.Addr{elsewhere, elsewhere.Next()} {
		out, err := exec.Command(peer.Need(t, "ip"), "addr", "add", a.String()+"/24", "dev", "peer0").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	w := &tap{}
	p.tap = func(inner esp.Wire) esp.Wire { w.Wire = inner; return w }
	alice := p.phone(t, user, 0, ue.IPsecUDP, suite)
	ctx, cancel := context.WithTimeout(context.Background(), 5*live.Patience)
	defer cancel()
	for {
		_, err := alice.Register(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err, p.log())
		}
	}
	x := &intruder{p, w, alice, suite, map[string]bool{}}
	t.Run("ci.esp.replay", func(t *testing.T) { x.replays(ctx, t) })
	t.Run("ci.esp.replay reflect", func(t *testing.T) { x.reflects(ctx, t) })
	t.Run("ci.esp.replay flip", func(t *testing.T) { x.flips(ctx, t) })
	t.Run("ci.source.spoof", func(t *testing.T) { x.spoofs(ctx, t) })
	t.Run("ci.port.unprotected", func(t *testing.T) { x.speaksInClear(ctx, t) })
	t.Run("ci.sa.exhaust", func(t *testing.T) { x.exhausts(ctx, t, waits) })
	if t.Failed() {
		t.Log(p.log(), p.counts())
	}
}

// intruder is the attacker: in alice's path, or beside it.
type intruder struct {
	p     *pcscf
	w     *tap
	alice *phone
	suite secagree.Suite
	heard map[string]bool // what has come to alice
}

// says lets alice write to herself, until it comes: a guest that gets little of a processor may turn her away for a while. Nothing may come twice.
func (x *intruder) says(ctx context.Context, t *testing.T) {
	t.Helper()
	for {
		text := fmt.Sprintf("said %d", time.Now().UnixNano())
		err := x.alice.SendMessage(ctx, x.alice.user.IMPU, "text/plain", []byte(text))
		if err == nil {
			x.hears(ctx, t, text)
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("alice cannot say anything: %v", err)
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// hears waits until a text has come to alice.
func (x *intruder) hears(ctx context.Context, t *testing.T, text string) {
	t.Helper()
	for !x.heard[text] {
		select {
		case m := <-x.alice.messages:
			if x.heard[string(m.Body)] {
				t.Errorf("%q comes twice", m.Body)
			}
			x.heard[string(m.Body)] = true
		case <-ctx.Done():
			t.Fatalf("%q does not come", text)
		}
	}
}

// sends writes packets of ESP to the P-CSCF as they are, from an address.
func (x *intruder) sends(t *testing.T, from netip.Addr, packets [][]byte) {
	t.Helper()
	c, err := net.ListenIP(esp.Network4, &net.IPAddr{IP: from.AsSlice()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for _, b := range packets {
		if _, err := c.WriteToIP(b, &net.IPAddr{IP: guests[0].AsSlice()}); err != nil {
			t.Fatal(err)
		}
	}
}

// moves waits until one of the kernel's counters has moved by n since before, and writes a message behind that.
func (x *intruder) moves(ctx context.Context, t *testing.T, before map[string]uint64, n int, names ...string) {
	t.Helper()
	moved := func() (by uint64) {
		now := x.p.counts()
		for _, name := range names {
			by += now[name] - before[name]
		}
		return by
	}
	for end := time.Now().Add(live.Patience); moved() < uint64(n) && time.Now().Before(end); <-time.After(100 * time.Millisecond) {
	}
	if by := moved(); by != uint64(n) {
		t.Errorf("%v moved by %d, want %d: %v, before %v", names, by, n, x.p.counts(), before)
	}
	x.says(ctx, t)
}

// replays sends what alice has sent once more (CI-12).
func (x *intruder) replays(ctx context.Context, t *testing.T) {
	x.w.hold(false)
	x.says(ctx, t)
	sent, _ := x.w.hold(false)
	before := x.p.counts()
	x.sends(t, hosts[0], slices.Concat(sent, sent, sent))
	x.moves(ctx, t, before, 3*len(sent), "XfrmInStateSeqError")
}

// reflects sends back to the P-CSCF what it has sent (CI-12): it draws SPIs that are none of its own.
func (x *intruder) reflects(ctx context.Context, t *testing.T) {
	x.w.hold(false)
	x.says(ctx, t)
	_, come := x.w.hold(false)
	if len(come) == 0 {
		t.Fatal("nothing came to alice")
	}
	before := x.p.counts()
	x.sends(t, hosts[0], come)
	x.moves(ctx, t, before, len(come), "XfrmInNoStates")
}

// flips changes packets of alice's under way (CI-12): each bears a number that has not come yet, so that it is read.
func (x *intruder) flips(ctx context.Context, t *testing.T) {
	x.w.hold(false)
	x.says(ctx, t)
	sent, _ := x.w.hold(false)
	last := sent[len(sent)-1]
	var changed [][]byte
	for i := range 20 {
		b := slices.Clone(last)
		binary.BigEndian.PutUint32(b[4:], binary.BigEndian.Uint32(b[4:])+1000+uint32(i)) // sequence number (RFC 4303 2.2)
		b[8+i] ^= 1 << (i % 8)
		changed = append(changed, b)
	}
	before := x.p.counts()
	x.sends(t, hosts[0], changed)
	x.moves(ctx, t, before, len(changed), "XfrmInStateProtoError")
}

// spoofs sends authentic packets of alice's from another address (CI-10), before they have come from hers.
func (x *intruder) spoofs(ctx context.Context, t *testing.T) {
	x.w.hold(true)
	said := make(chan error, 1)
	go func() { said <- x.alice.SendMessage(ctx, x.alice.user.IMPU, "text/plain", []byte("kept")) }()
	var sent [][]byte
	for len(sent) == 0 {
		select {
		case <-time.After(20 * time.Millisecond):
			sent, _ = x.w.hold(true)
		case err := <-said:
			t.Fatalf("alice says nothing: %v", err)
		}
	}
	before := x.p.counts()
	x.sends(t, elsewhere, sent)
	for end := time.Now().Add(live.Patience); x.p.counts()["XfrmInStateMismatch"] == before["XfrmInStateMismatch"] &&
		x.p.counts()["XfrmInTmplMismatch"] == before["XfrmInTmplMismatch"] && time.Now().Before(end); {
		<-time.After(100 * time.Millisecond)
	}
	select {
	case err := <-said:
		t.Errorf("what alice has said from elsewhere was answered: %v", err)
	default:
	}
	x.w.hold(false)
	if err := <-said; err != nil { // said again, from where she is; or turned away by a guest that is starved
		t.Log(err)
	} else {
		x.hears(ctx, t, "kept")
	}
	x.moves(ctx, t, before, len(sent), "XfrmInStateMismatch", "XfrmInTmplMismatch")
}

// speaksInClear sends requests in alice's name to the port for first REGISTERs, from her address and from another (CI-01).
func (x *intruder) speaksInClear(ctx context.Context, t *testing.T) {
	for _, from := range []netip.Addr{hosts[0], elsewhere} {
		c, err := net.DialUDP("udp", &net.UDPAddr{IP: from.AsSlice()}, net.UDPAddrFromAddrPort(netip.AddrPortFrom(guests[0], 5060)))
		if err != nil {
			t.Fatal(err)
		}
		for i, method := range []string{"MESSAGE", "INVITE", "BYE", "OPTIONS"} {
			if _, err := c.Write([]byte(x.request(c, method, x.alice.user.IMPU, i, ""))); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 4096)
		if n, err := c.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("answered: %v, %q", err, b[:n])
		}
		_ = c.Close()
	}
	x.moves(ctx, t, nil, 0)
}

// request writes a request in alice's name.
func (x *intruder) request(c *net.UDPConn, method, uri string, number int, lines string) string {
	impu := x.alice.user.IMPU
	return fmt.Sprintf("%[1]s %[2]s SIP/2.0\r\nVia: SIP/2.0/UDP %[3]s;rport;branch=z9hG4bK%[1]s%[4]d\r\nMax-Forwards: 70\r\nFrom: <%[5]s>;tag=x\r\nTo: <%[5]s>\r\n"+
		"Call-ID: x%[4]d-%[3]s\r\nCSeq: 1 %[1]s\r\nContact: <sip:x@%[3]s>\r\n%[6]sContent-Length: 0\r\n\r\n", method, uri, c.LocalAddr(), number, impu, lines)
}
