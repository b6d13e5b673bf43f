package esp

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"imsafe/proto/aka"
	"imsafe/proto/shard"
)

// TestBothWays carries datagrams over all four associations with every pair of algorithms, family and mode.
func TestBothWays(t *testing.T) {
	for _, tr := range transforms {
		for _, mode := range []string{"transport IPv4", "transport IPv6", "tunnel IPv4", "tunnel IPv6"} {
			t.Run(tr.String()+" "+mode, func(t *testing.T) {
				r := newRig(t, tr, strings.HasSuffix(mode, "6"), strings.HasPrefix(mode, "tunnel"))
				for n := range 70 {
					payload := strings.Repeat("SIP/2.0 ", n*5)[n%7*n/7:]
					for _, side := range []Side{Client, Server} {
						pkt, to, err := r.ue.SealUDP(nil, r.ueRef, side, []byte(payload))
						if err != nil || to.Addr() != r.ueG.Peer || (to.Port() == 4500) != r.ueG.Tunnel {
							t.Fatalf("to %v: %v", to, err)
						}
						d, drop := r.atP(pkt)
						if drop != Accepted || string(d.Payload) != payload || d.Agreement != r.pRef || d.Owner != r.pG.Owner || d.Side != side.other() ||
							d.Peer != netip.AddrPortFrom(r.pG.Peer, r.ueG.Here.Port[side]) || d.Local != netip.AddrPortFrom(r.pG.Local, r.pG.Here.Port[side.other()]) {
							t.Fatalf("up %d: %v %+v", n, drop, d)
						}
						pkt, to, err = r.p.SealUDP(nil, r.pRef, side, []byte(payload))
						if err != nil || to.Addr() != r.pG.Peer || (to.Port() == natPort) != r.pG.Tunnel {
							t.Fatalf("to %v: %v", to, err)
						}
						if d, drop := r.atUE(pkt); drop != Accepted || string(d.Payload) != payload || d.Agreement != r.ueRef {
							t.Fatalf("down %d: %v %+v", n, drop, d)
						}
					}
				}
				if len(r.notices) != 0 {
					t.Errorf("notices %v", r.notices)
				}
				st, ok := r.p.Status(r.pRef)
				if !ok || st.Received != [2]uint32{70, 70} || st.Sent != [2]uint32{70, 70} || !st.Used() {
					t.Errorf("status %+v", st)
				}
			})
		}
	}
}

// TestRawInjection is the list of attacks: the counter named moves and nothing else.
func TestRawInjection(t *testing.T) {
	for _, tr := range transforms {
		t.Run(tr.String(), func(t *testing.T) {
			r := newRig(t, tr, false, false)
			good := r.up("REGISTER sip:example.org SIP/2.0\r\n\r\n")
			if _, drop := r.atP(bytes.Clone(good)); drop != Accepted {
				t.Fatal(drop)
			}
			fresh := func() []byte { return r.up(strings.Repeat("hello ", 20)) }
			wrongPort := func() []byte { // authentic, from a port the agreement does not have
				a := r.ue.at(r.ueRef.slot)
				a.ports[Client].here++
				defer func() { a.ports[Client].here-- }()
				return r.up("hello")
			}
			for _, c := range []struct {
				name string
				from netip.Addr
				pkt  []byte
				want Drop
			}{
				{"exact replay", ueAddr, bytes.Clone(good), DropReplay},
				{"one octet of the payload flipped", ueAddr, flip(fresh(), 20), DropAuth},
				{"last octet of the ICV flipped", ueAddr, flip(fresh(), -1), DropAuth},
				{"sequence number raised", ueAddr, flip(fresh(), 5), DropAuth},
				{"first octet of the IV or payload flipped", ueAddr, flip(fresh(), 8), DropAuth},
				{"unknown SPI", ueAddr, flip(fresh(), 3), DropUnknown},
				{"nine zero octets", ueAddr, make([]byte, 9), DropUnknown},
				{"three octets", ueAddr, []byte{1, 2, 3}, DropLength},
				{"nothing", ueAddr, nil, DropLength},
				{"known SPI and no more", ueAddr, fresh()[:8], DropLength},
				{"cut by an octet", ueAddr, cut(fresh(), 1), DropLength},
				{"cut by sixteen octets", ueAddr, cut(fresh(), 16), DropAuth},
				{"another client's address", netip.MustParseAddr("192.0.2.11"), fresh(), DropSelector},
				{"another inner port", ueAddr, wrongPort(), DropSelector},
				{"reflected to its sender's engine", ueAddr, reflect(r), DropUnknown},
			} {
				before := counts(r.p)
				st, _ := r.p.Status(r.pRef)
				var d Datagram
				drop := r.p.Open(c.pkt, netip.AddrPortFrom(c.from, 0), pAddr, &d)
				if drop != c.want || !onlyOne(r.p, before, c.want) {
					t.Errorf("%s: %v, want %v", c.name, drop, c.want)
				}
				if d.Payload != nil || d.Segment != nil {
					t.Errorf("%s: the datagram was filled in", c.name)
				}
				after, _ := r.p.Status(r.pRef)
				if c.want != DropSelector && after.Received != st.Received {
					t.Errorf("%s: the window moved", c.name)
				}
			}
			if _, drop := r.atP(fresh()); drop != Accepted {
				t.Errorf("the association is harmed: %v", drop)
			}
		})
	}
}

func flip(p []byte, i int) []byte {
	if i < 0 {
		i += len(p)
	}
	p[i] ^= 1
	return p
}

func cut(p []byte, n int) []byte { return p[:len(p)-n] }

// reflect is a packet of the P-CSCF, which comes back to it.
func reflect(r *rig) []byte {
	pkt, _, err := r.p.SealUDP(nil, r.pRef, Client, []byte("hello"))
	if err != nil {
		r.t.Fatal(err)
	}
	return pkt
}

// TestReplayWindowAtPacketLevel: in and behind the window, and a window that an attacker cannot move.
func TestReplayWindowAtPacketLevel(t *testing.T) {
	r := newRig(t, transforms[0], false, false)
	var pkts [][]byte
	for range 300 {
		pkts = append(pkts, r.up("x"))
	}
	forged := bytes.Clone(pkts[0])
	binary.BigEndian.PutUint32(forged[4:], 1<<31)
	if _, drop := r.atP(forged); drop != DropAuth {
		t.Fatal(drop)
	}
	for i, want := range map[int]Drop{299: Accepted} {
		if _, drop := r.atP(bytes.Clone(pkts[i])); drop != want {
			t.Fatalf("packet %d: %v", i+1, drop)
		}
	}
	if _, drop := r.atP(bytes.Clone(pkts[43])); drop != DropReplay { // number 44: 256 behind 300
		t.Errorf("just behind the window: %v", drop)
	}
	if _, drop := r.atP(bytes.Clone(pkts[44])); drop != Accepted { // number 45: the last within
		t.Errorf("at the edge of the window: %v", drop)
	}
	if _, drop := r.atP(bytes.Clone(pkts[44])); drop != DropReplay {
		t.Errorf("twice at the edge: %v", drop)
	}
}

// TestOneNonceSpace: no two of the four associations of any agreement share a prefix, at either end, in the packets themselves.
func TestOneNonceSpace(t *testing.T) {
	for _, tr := range transforms[:2] {
		for range 200 {
			r := newRig(t, tr, false, false)
			seen := map[string]bool{}
			for range 3 {
				for _, side := range []Side{Client, Server} {
					u, _, err1 := r.ue.SealUDP(nil, r.ueRef, side, nil)
					d, _, err2 := r.p.SealUDP(nil, r.pRef, side, nil)
					if err1 != nil || err2 != nil {
						t.Fatal(err1, err2)
					}
					for _, iv := range [][]byte{u[8:16], d[8:16]} {
						if seen[string(iv)] {
							t.Fatalf("nonce %x twice", iv)
						}
						seen[string(iv)] = true
					}
					if u[8]>>6 != byte(side) || d[8]>>6 != 2|byte(side) {
						t.Fatalf("role and association in the nonce: %x %x", u[8], d[8])
					}
				}
			}
		}
	}
}

// TestNonceNotices: a peer that takes our prefix, and one that starts its IVs at the same value in both associations.
func TestNonceNotices(t *testing.T) {
	r := newRig(t, transforms[0], false, false)
	ue := r.ue.at(r.ueRef.slot)
	ue.out[Client].prefix = r.p.at(r.pRef.slot).out[Server].prefix
	for range 3 {
		if _, drop := r.atP(r.up("x")); drop != Accepted {
			t.Fatal(drop)
		}
	}
	if fmt.Sprint(r.notices) != "[nonce-collision]" || r.p.n.Nonce.Load() != 1 {
		t.Errorf("notices %v", r.notices)
	}

	r = newRig(t, transforms[0], false, false)
	ue = r.ue.at(r.ueRef.slot)
	ue.out[Client].prefix, ue.out[Server].prefix = 0, 0
	for range 3 {
		for _, side := range []Side{Client, Server} {
			pkt, _, err := r.ue.SealUDP(nil, r.ueRef, side, nil)
			if _, drop := r.atP(pkt); err != nil || drop != Accepted {
				t.Fatal(err, drop)
			}
		}
	}
	if fmt.Sprint(r.notices) != "[nonce-broken-peer]" || r.p.n.Nonce.Load() != 1 {
		t.Errorf("notices %v", r.notices)
	}
}

// TestEndOfSequenceNumbers: asked to renew at half, nothing leaves beyond the last.
func TestEndOfSequenceNumbers(t *testing.T) {
	r := newRig(t, transforms[0], false, false)
	ue := r.ue.at(r.ueRef.slot)
	ue.out[Client].seq = 1<<31 - 2
	if _, drop := r.atP(r.up("x")); drop != Accepted || len(r.notices) != 0 {
		t.Fatal(drop, r.notices)
	}
	for range 2 {
		if _, drop := r.atP(r.up("x")); drop != Accepted {
			t.Fatal(drop)
		}
	}
	if fmt.Sprint(r.notices) != "[renew renew]" { // one at each end
		t.Errorf("notices %v", r.notices)
	}
	ue.out[Client].seq = 1<<32 - 2
	if _, drop := r.atP(r.up("last")); drop != Accepted {
		t.Error(drop)
	}
	pkt, _, err := r.ue.SealUDP(nil, r.ueRef, Client, []byte("x"))
	if err != ErrExhausted || pkt != nil || ue.out[Client].seq != 1<<32-1 || r.ue.n.Exhausted.Load() != 1 {
		t.Errorf("after the last: %v", err)
	}
}

// TestGenerations: the old agreement and the new one hold beside each other, then the old one opens nothing.
func TestGenerations(t *testing.T) {
	r := newRig(t, transforms[0], false, false)
	oldUE, oldP, oldG := r.ueRef, r.pRef, r.pG
	r.agree(transforms[2], false, false, 38002)
	onOld, _, err := r.ue.SealUDP(nil, oldUE, Client, []byte("old"))
	if err != nil {
		t.Fatal(err)
	}
	late, _, _ := r.ue.SealUDP(nil, oldUE, Client, []byte("late"))
	if d, drop := r.atP(onOld); drop != Accepted || d.Agreement != oldP {
		t.Fatal(drop)
	}
	if d, drop := r.atP(r.up("new")); drop != Accepted || d.Agreement != r.pRef {
		t.Fatal(drop)
	}
	ref, side, ok := r.p.Find(netip.AddrPortFrom(pAddr, 6000), netip.AddrPortFrom(ueAddr, 39001))
	if !ok || ref != oldP || side != Client {
		t.Errorf("the old agreement is not found by its ports: %v %v", ref, side)
	}
	r.p.Remove(oldP)
	r.p.Remove(oldP)
	before := counts(r.p)
	if _, drop := r.atP(late); drop != DropUnknown || !onlyOne(r.p, before, DropUnknown) {
		t.Error(drop)
	}
	if _, _, err := r.p.SealUDP(nil, oldP, Client, nil); err != ErrGone {
		t.Error(err)
	}
	if _, ok := r.p.Status(oldP); ok || r.p.Len() != 1 {
		t.Error("the old agreement lives")
	}
	if _, _, ok := r.p.Find(netip.AddrPortFrom(pAddr, 6000), netip.AddrPortFrom(ueAddr, 39001)); ok {
		t.Error("the old agreement is found")
	}
	if a := r.p.at(oldP.slot); a.ck != (aka.CK{}) || a.ik != (aka.IK{}) {
		t.Error("keys were not wiped")
	}
	// The slot is used again, under another name.
	oldG.Here.SPI, _ = r.p.Reserve(pAddr)
	again, err := r.p.Install(&oldG)
	if err != nil || again.slot != oldP.slot || again == oldP {
		t.Errorf("%v %v", again, err)
	}
}

func TestInstallRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Agreement)
		want   error
	}{
		{"two families", func(g *Agreement) { g.Peer = ueAddr6 }, ErrAddress},
		{"no peer", func(g *Agreement) { g.Peer = netip.Addr{} }, ErrAddress},
		{"IPv4 in IPv6", func(g *Agreement) {
			g.Local, g.Peer = netip.AddrFrom16(g.Local.As16()), netip.AddrFrom16(g.Peer.As16())
		}, ErrAddress},
		{"inner address of another family", func(g *Agreement) { g.Inner = ueAddr6 }, ErrAddress},
		{"a zone", func(g *Agreement) { g.Local, g.Peer = netip.MustParseAddr("fe80::1%lo"), ueAddr6 }, ErrAddress},
		{"port 5060", func(g *Agreement) { g.There.Port[Client] = 5060 }, ErrPorts},
		{"port 0", func(g *Agreement) { g.Here.Port[Server] = 0 }, ErrPorts},
		{"one port twice", func(g *Agreement) { g.There.Port[Client] = g.There.Port[Server] }, ErrPorts},
		{"the same ports of the same peer", func(*Agreement) {}, ErrPortsInUse},
		{"SPI of the peer is ours", func(g *Agreement) { g.There.SPI[0] = g.Here.SPI[1] }, ErrSPI},
		{"SPI below 256", func(g *Agreement) { g.There.SPI[0] = 255 }, ErrSPI},
		{"SPI not reserved", func(g *Agreement) { g.Here.SPI[0]++ }, ErrSPI},
		{"address that is not ours", func(g *Agreement) { g.Local = netip.MustParseAddr("198.51.100.2") }, ErrSPI},
		{"no integrity", func(g *Agreement) { g.Transform = Transform{} }, ErrTransform},
		{"MD5 without an exception", func(g *Agreement) { g.Transform.Integrity, g.AllowWithdrawn = HMACMD5, false }, ErrTransform},
		{"encryption of no kind", func(g *Agreement) { g.Transform = Transform{HMACSHA1, 9} }, ErrTransform},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, transforms[3], false, false)
			g := r.pG
			var err error
			if g.Here.SPI, err = r.p.Reserve(pAddr); err != nil {
				t.Fatal(err)
			}
			spis := len(r.p.spis)
			c.change(&g)
			if _, err := r.p.Install(&g); err != c.want {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if r.p.Len() != 1 || len(r.p.spis) != spis || len(r.p.flows) != 2 {
				t.Error("something stayed")
			}
		})
	}
}

// TestReserve: ten digits, no SPI twice, none of the peer's, given back when nothing came of it.
func TestReserve(t *testing.T) {
	// A reader that says the same number again and again before it moves on.
	e := New(Config{Random: &stutter{}, Max: 4})
	var all []uint32
	for range 8 {
		s, err := e.Reserve(pAddr, 3_000_000_001)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s[:]...)
	}
	seen := map[uint32]bool{3_000_000_001: true}
	for _, s := range all {
		if seen[s] || s < 1_000_000_000 {
			t.Errorf("SPI %d", s)
		}
		seen[s] = true
	}
	if _, err := e.Reserve(pAddr); err != ErrFull {
		t.Errorf("more SPIs than agreements could use: %v", err)
	}
	e.Release(pAddr, [2]uint32{all[0], all[1]})
	if _, err := e.Reserve(pAddr); err != nil {
		t.Error(err)
	}
}

// TestBrokenRandomness: an error or an endless repetition ends a Reserve, and nothing stays reserved.
func TestBrokenRandomness(t *testing.T) {
	for _, source := range []io.Reader{zeros{}, io.LimitReader(&stutter{}, 4), io.LimitReader(&stutter{}, 0)} {
		e := New(Config{Random: source})
		if spi, err := e.Reserve(pAddr); err == nil || len(e.spis) != 0 || spi != [2]uint32{} {
			t.Errorf("%T: %v, %d stay", source, err, len(e.spis))
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// stutter gives 4-octet numbers 3,000,000,000 ... each three times, and small ones in between.
type stutter struct{ n uint32 }

func (s *stutter) Read(p []byte) (int, error) {
	v := 3_000_000_000 + s.n/3
	if s.n%7 == 3 {
		v = s.n
	}
	s.n++
	return copy(p, binary.BigEndian.AppendUint32(nil, v)), nil
}

func TestFull(t *testing.T) {
	r := newRig(t, transforms[0], false, false)
	r.p.cfg.Max = 1
	g := r.pG
	g.Here.SPI, _ = r.p.Reserve(pAddr)
	g.Here.Port[Client], g.There.Port[Client] = 6010, 38010
	if _, err := r.p.Install(&g); err != ErrFull {
		t.Error(err)
	}
	r.p.Remove(r.pRef)
	if _, err := r.p.Install(&g); err != nil {
		t.Error(err)
	}
}

// TestNAT: the outer port is learned from authentic packets only, from the newest, and never the address.
func TestNAT(t *testing.T) {
	r := newRig(t, transforms[0], false, true)
	if _, _, err := r.p.SealUDP(nil, r.pRef, Client, nil); err != ErrNoPath {
		t.Fatalf("before the first packet: %v", err)
	}
	open := func(pkt []byte, addr netip.Addr, port uint16) Drop {
		var d Datagram
		return r.p.Open(pkt, netip.AddrPortFrom(addr, port), pAddr, &d)
	}
	outer := func() uint16 { st, _ := r.p.Status(r.pRef); return st.Peer.Port() }
	first, held, third := r.up("1"), r.up("2"), r.up("3")
	if drop := open(flip(r.up("x"), 30), ueAddr, 666); drop != DropAuth || outer() != 0 {
		t.Errorf("a forger's port: %v %d", drop, outer())
	}
	if drop := open(first, ueAddr, 40001); drop != Accepted || outer() != 40001 {
		t.Errorf("%v %d", drop, outer())
	}
	if drop := open(third, ueAddr, 40002); drop != Accepted || outer() != 40002 {
		t.Errorf("the NAT chose another port: %v %d", drop, outer())
	}
	if drop := open(held, ueAddr, 666); drop != Accepted || outer() != 40002 {
		t.Errorf("a packet that was held back moved the port: %v %d", drop, outer())
	}
	if drop := open(r.up("x"), netip.MustParseAddr("203.0.113.9"), 40002); drop != DropSelector || outer() != 40002 {
		t.Errorf("another address: %v", drop)
	}
	if drop := open(r.up("x"), ueAddr, 0); drop != DropSelector {
		t.Errorf("outside UDP: %v", drop)
	}
	pkt, to, err := r.p.SealUDP(nil, r.pRef, Client, []byte("down"))
	if err != nil || to.Port() != 40002 {
		t.Fatal(to, err)
	}
	var d Datagram
	if drop := r.ue.Open(bytes.Clone(pkt), netip.AddrPortFrom(pAddr, 666), r.ueG.Local, &d); drop != DropSelector {
		t.Errorf("a UE takes another port than 4500: %v", drop)
	}
}

// TestCool: idle agreements lose their expanded keys and work on; forged packets do not keep them warm.
func TestCool(t *testing.T) {
	r := newRig(t, transforms[0], false, false)
	r.atP(r.up("x"))
	place := &r.p.chunks[0].keys[r.pRef.slot]
	if *place == nil || r.p.Cool(chunkSize) != 0 {
		t.Fatal("cooled at once")
	}
	r.atP(flip(r.up("x"), -1))
	if r.p.Cool(chunkSize) != 1 || *place != nil {
		t.Error("a forged packet keeps keys warm")
	}
	if _, drop := r.atP(r.up("x")); drop != Accepted || r.p.n.Expanded.Load() != 2 {
		t.Error(drop)
	}
}

// TestLife: what is over opens and seals nothing even before Cool comes by; a life is lengthened, never shortened.
func TestLife(t *testing.T) {
	r := newRig(t, transforms[0], false, false)
	clock := shard.NewFake(time.Unix(0, 0))
	r.p.cfg.Clock = clock
	g := r.pG
	r.p.Remove(r.pRef)
	var err error
	if g.Here.SPI, err = r.p.Reserve(pAddr); err != nil {
		t.Fatal(err)
	}
	r.ue.at(r.ueRef.slot).out[Client].spi = g.Here.SPI[Server]
	g.Life = time.Minute
	ref, err := r.p.Install(&g)
	if err != nil {
		t.Fatal(err)
	}
	if !r.p.Extend(ref, time.Second) || !r.p.Extend(ref, 2*time.Minute) || r.p.Extend(Ref{}, time.Hour) {
		t.Error("extend")
	}
	clock.Advance(2*time.Minute - 1)
	if _, drop := r.atP(r.up("x")); drop != Accepted || r.p.Cool(chunkSize) != 0 || r.p.Len() != 1 {
		t.Fatal(drop)
	}
	clock.Advance(1)
	before := counts(r.p)
	if _, drop := r.atP(r.up("x")); drop != DropExpired || !onlyOne(r.p, before, DropExpired) {
		t.Error(drop)
	}
	if _, _, err := r.p.SealUDP(nil, ref, Client, nil); err != ErrGone || r.p.Extend(ref, time.Hour) {
		t.Errorf("after its end: %v", err)
	}
	r.p.Cool(chunkSize)
	if r.p.Len() != 0 || fmt.Sprint(r.notices) != "[expired]" {
		t.Errorf("%d left, notices %v", r.p.Len(), r.notices)
	}
	r.p.cfg.Clock = nil
	if _, err := r.p.Install(&g); err != ErrLife {
		t.Error(err)
	}
}

// TestManyAtOnce: packets, agreements that come and go, and the sweep, from several goroutines. The race detector judges; besides, what is
// sealed for an agreement opens there or nowhere.
func TestManyAtOnce(t *testing.T) {
	r := newRig(t, transforms[2], false, false)
	r.p.cfg.Clock = shard.NewFake(time.Unix(0, 0))
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() { // a client that registers again and again
			for n := range 60 {
				g := r.pG
				var err error
				if g.Here.SPI, err = r.p.Reserve(pAddr); err != nil {
					t.Error(err)
					return
				}
				g.Peer, g.Life = netip.AddrFrom4([4]byte{10, 0, byte(i), byte(n)}), time.Hour
				ref, err := r.p.Install(&g)
				if err != nil {
					t.Error(err)
					return
				}
				if _, _, err := r.p.SealUDP(nil, ref, Client, []byte("x")); err != nil || !r.p.Extend(ref, 2*time.Hour) {
					t.Error(err)
				}
				found, _, ok := r.p.Find(netip.AddrPortFrom(pAddr, g.Here.Port[Client]), netip.AddrPortFrom(g.Peer, g.There.Port[Server]))
				if !ok || found != ref {
					t.Error("not found")
				}
				r.p.Remove(ref)
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for range 300 {
				if d, drop := r.atP(r.up("hello")); drop != Accepted || d.Agreement != r.pRef || string(d.Payload) != "hello" {
					if drop != DropReplay { // the other goroutine was 256 packets ahead: possible, if unlikely
						t.Error(drop)
					}
				}
				r.p.Cool(20)
				r.p.Status(r.pRef)
			}
		})
	}
	wg.Wait()
	if r.p.Len() != 1 || len(r.p.spis) != 2 || len(r.p.flows) != 2 {
		t.Errorf("%d agreements, %d SPIs, %d flows left", r.p.Len(), len(r.p.spis), len(r.p.flows))
	}
}

// TestAuthFailures: with different keys nothing opens, and the status tells.
func TestAuthFailures(t *testing.T) {
	r := newRig(t, transforms[3], false, false)
	r.p.at(r.pRef.slot).ik[0]++
	for range 3 {
		if _, drop := r.atP(r.up("x")); drop != DropAuth {
			t.Fatal(drop)
		}
	}
	if st, _ := r.p.Status(r.pRef); st.AuthFailed != 3 || st.Used() {
		t.Errorf("%+v", st)
	}
}

// TestKeysNeverPrint: neither an agreement to install nor what the engine holds shows key octets.
func TestKeysNeverPrint(t *testing.T) {
	g := Agreement{CK: aka.CK{0xab, 0xcd, 0xef}, IK: aka.IK{0xab, 0xcd, 0xef}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%x"} {
		out := strings.ToLower(fmt.Sprintf(verb, g))
		if strings.Contains(out, "abcdef") || strings.Contains(out, "171 205 239") || strings.Contains(out, "0xab, 0xcd") {
			t.Errorf("%s: %s", verb, out)
		}
	}
}

// TestNoAllocations: sealing into room and opening in place allocate nothing.
func TestNoAllocations(t *testing.T) {
	for _, tr := range transforms {
		for _, tunnel := range []bool{false, true} {
			r := newRig(t, tr, false, tunnel)
			payload := bytes.Repeat([]byte("x"), 700)
			buf := make([]byte, 0, len(payload)+Overhead)
			var d Datagram
			from := netip.AddrPortFrom(ueAddr, 0)
			if tunnel {
				from = netip.AddrPortFrom(ueAddr, natPort)
			}
			n := testing.AllocsPerRun(200, func() {
				pkt, _, err := r.ue.SealUDP(buf, r.ueRef, Client, payload)
				if err != nil || r.p.Open(pkt, from, pAddr, &d) != Accepted {
					t.Fatal(err)
				}
			})
			if n != 0 {
				t.Errorf("%v tunnel %v: %v allocations", tr, tunnel, n)
			}
		}
	}
}

// TestSealBounds: what is too large or speaks from another port does not leave, and no number is spent.
func TestSealBounds(t *testing.T) {
	r := newRig(t, transforms[0], false, false)
	if _, _, err := r.ue.SealUDP(nil, r.ueRef, Client, make([]byte, 65500)); err != ErrTooLarge {
		t.Error(err)
	}
	if _, _, err := r.ue.SealUDP(nil, r.ueRef, Client, make([]byte, 65400)); err != nil {
		t.Error(err)
	}
	seg := make([]byte, 28)
	for _, next := range []byte{protoUDP, protoTCP, 1} {
		if _, _, err := r.ue.Seal(nil, r.ueRef, Client, next, seg); err != ErrProtocol {
			t.Errorf("protocol %d with wrong ports: %v", next, err)
		}
	}
	if _, _, err := r.ue.SealUDP(nil, Ref{}, Client, nil); err != ErrGone {
		t.Error(err)
	}
	if st, _ := r.ue.Status(r.ueRef); st.Sent != [2]uint32{1, 0} {
		t.Errorf("numbers spent: %v", st.Sent)
	}
	if _, err := New(Config{Random: rand.Reader}).Reserve(pAddr); err != nil {
		t.Error(err)
	}
}

// TestTCPSegment: segments pass whole, with their checksum looked at.
func TestTCPSegment(t *testing.T) {
	r := newRig(t, transforms[0], false, false)
	seg := make([]byte, tcpHeader+3)
	binary.BigEndian.PutUint16(seg, r.ueG.Here.Port[Client])
	binary.BigEndian.PutUint16(seg[2:], r.ueG.There.Port[Server])
	seg[12] = 5 << 4
	src, dst := addressOf(ueAddr), addressOf(pAddr)
	binary.BigEndian.PutUint16(seg[16:], ^fold(sum(pseudo(&src, &dst, protoTCP, len(seg)), seg)))
	pkt, _, err := r.ue.Seal(nil, r.ueRef, Client, protoTCP, seg)
	if err != nil {
		t.Fatal(err)
	}
	if d, drop := r.atP(pkt); drop != Accepted || d.Protocol != protoTCP || d.Payload != nil || !bytes.Equal(d.Segment, seg) {
		t.Errorf("%v %+v", drop, d)
	}
	seg[21] ^= 1
	pkt, _, _ = r.ue.Seal(nil, r.ueRef, Client, protoTCP, seg)
	if _, drop := r.atP(pkt); drop != DropInner {
		t.Errorf("wrong checksum: %v", drop)
	}
}

// TestPath: the way of each side in both modes, and none when the agreement's life is over or it was removed.
func TestPath(t *testing.T) {
	for _, tunnel := range []bool{false, true} {
		r := newRig(t, transforms[0], false, tunnel)
		clock := shard.NewFake(time.Unix(0, 0))
		r.ue.cfg.Clock = clock
		want := Path{Owner: r.ueG.Owner, Outer: r.ueG.Local, InUDP: tunnel, Local: netip.AddrPortFrom(ueAddr, 38001), Peer: netip.AddrPortFrom(pAddr, 5999)}
		if p, ok := r.ue.Path(r.ueRef, Client); !ok || p != want {
			t.Errorf("uc -> ps, tunnel %v: %+v", tunnel, p)
		}
		want.Local, want.Peer = netip.AddrPortFrom(ueAddr, 39001), netip.AddrPortFrom(pAddr, 6000)
		if p, ok := r.ue.Path(r.ueRef, Server); !ok || p != want {
			t.Errorf("pc -> us, tunnel %v: %+v", tunnel, p)
		}
		a, _ := r.ue.lock(r.ueRef)
		a.until = time.Second
		a.mu.Unlock()
		clock.Advance(time.Second)
		if _, ok := r.ue.Path(r.ueRef, Client); ok {
			t.Error("a way after the end of life")
		}
		if _, ok := r.ue.Path(Ref{slot: 1 << 30}, Client); ok {
			t.Error("a way of nothing")
		}
	}
}

// TestWhenGone: each end is told once, without a lock, by Remove and by Cool; what names nothing is no end.
func TestWhenGone(t *testing.T) {
	r := newRig(t, transforms[0], false, false)
	clock := shard.NewFake(time.Unix(0, 0))
	r.p.cfg.Clock = clock
	var gone []Ref
	r.p.WhenGone(func(ref Ref) {
		gone = append(gone, ref)
		r.p.Len() // it would wait for ever under the engine's lock
	})
	r.p.Remove(r.pRef)
	r.p.Remove(r.pRef)
	r.p.Remove(Ref{slot: 1 << 30})
	if len(gone) != 1 || gone[0] != r.pRef {
		t.Errorf("told of %v", gone)
	}
	r.agree(transforms[0], false, false, 38002)
	a, _ := r.p.lock(r.pRef)
	a.until = time.Second
	a.mu.Unlock()
	clock.Advance(time.Second)
	r.p.Cool(chunkSize)
	if len(gone) != 2 || gone[1] != r.pRef {
		t.Errorf("told of %v", gone)
	}
	r.p.WhenGone(nil)
	r.agree(transforms[0], false, false, 38003)
	r.p.Remove(r.pRef)
	if len(gone) != 2 {
		t.Error("told of an end after it was taken away")
	}
}
