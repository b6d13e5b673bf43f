package esp

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"imsafe/test/peer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loopRig is a UE and a P-CSCF with fronts on real sockets of the loopback interface.
type loopRig struct {
	*rig
	ueFront, pFront *Front
	stop            func()
}

// newLoopRig makes one: raw sockets on 127.0.0.2 and .3 or, in tunnel mode, UDP sockets.
func newLoopRig(t testing.TB, tr Transform, tunnel bool, pCfg FrontConfig) *loopRig {
	t.Helper()
	ue, p := netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")
	r := &loopRig{rig: &rig{t: t}}
	var wires [2]Wire
	var ports [2]uint16
	for i, a := range []netip.Addr{ue, p} {
		lc := net.ListenConfig{Control: SocketOptions}
		network, addr := "ip4:50", a.String()
		if tunnel {
			network, addr = "udp4", netip.AddrPortFrom(a, 0).String()
		}
		pc, err := lc.ListenPacket(context.Background(), network, addr)
		if errors.Is(err, os.ErrPermission) {
			peer.Missing(t, "CAP_NET_RAW: raw sockets are not tested here")
		}
		if err != nil {
			t.Fatal(err)
		}
		if u, ok := pc.(*net.UDPConn); ok {
			wires[i] = Encapsulation(u, netip.Addr{})
			ports[i] = u.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		} else {
			wires[i] = Raw(pc.(*net.IPConn))
		}
	}
	r.rig = newRig(t, tr, false, false) // replaced below by one on these addresses
	r.ue.Remove(r.ueRef)
	r.p.Remove(r.pRef)
	var err error
	r.ueG.Local, r.ueG.Peer, r.pG.Local, r.pG.Peer = ue, p, p, ue
	r.ueG.Tunnel, r.pG.Tunnel, r.ueG.PeerPort = tunnel, tunnel, ports[1]
	if r.ueG.Here.SPI, err = r.ue.Reserve(ue); err != nil {
		t.Fatal(err)
	}
	if r.pG.Here.SPI, err = r.p.Reserve(p, r.ueG.Here.SPI[:]...); err != nil {
		t.Fatal(err)
	}
	r.ueG.There.SPI, r.pG.There.SPI = r.pG.Here.SPI, r.ueG.Here.SPI
	if r.ueRef, err = r.ue.Install(&r.ueG); err != nil {
		t.Fatal(err)
	}
	if r.pRef, err = r.p.Install(&r.pG); err != nil {
		t.Fatal(err)
	}
	r.ueFront, r.pFront = NewFront(r.ue, wires[0], FrontConfig{}), NewFront(r.p, wires[1], pCfg)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, f := range []*Front{r.ueFront, r.pFront} {
		wg.Go(func() {
			if err := f.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	r.stop = func() { cancel(); wg.Wait() }
	return r
}

// TestLoopback: requests from uc to ps, answers from pc to us, over raw sockets and over UDP, small and in fragments.
func TestLoopback(t *testing.T) {
	for _, tunnel := range []bool{false, true} {
		name := "raw"
		if tunnel {
			name = "udp"
		}
		t.Run(name, func(t *testing.T) {
			r := newLoopRig(t, transforms[0], tunnel, FrontConfig{})
			defer r.stop()
			ps, err1 := r.pFront.ListenPacket(5999)
			pc, err2 := r.pFront.ListenPacket(6000)
			us, err3 := r.ueFront.ListenPacket(39001)
			uc, err4 := r.ueFront.ListenPacket(38001)
			if err := errors.Join(err1, err2, err3, err4); err != nil {
				t.Fatal(err)
			}
			if _, err := r.pFront.ListenPacket(5999); err != ErrPortTaken {
				t.Error(err)
			}
			buf := make([]byte, 70000)
			for _, size := range []int{1, 400, 1300, 3000, 20000} {
				payload := []byte(strings.Repeat("x", size))
				if _, err := uc.WriteTo(payload, net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.3:5999"))); err != nil {
					t.Fatal(err)
				}
				d, err := ps.ReadDatagram(buf)
				if err != nil || !bytes.Equal(d.Payload, payload) || d.Agreement != r.pRef || d.Owner != r.pG.Owner || d.Peer != netip.MustParseAddrPort("127.0.0.2:38001") {
					t.Fatalf("%d octets: %v %+v", size, err, d)
				}
				if _, err := pc.WriteToUDPAddrPort(payload, netip.MustParseAddrPort("127.0.0.2:39001")); err != nil {
					t.Fatal(err)
				}
				n, from, err := us.ReadFrom(buf)
				if err != nil || !bytes.Equal(buf[:n], payload) || from.String() != "127.0.0.3:6000" {
					t.Fatalf("%d octets back: %v %v", size, err, from)
				}
			}
			if _, err := pc.WriteToUDPAddrPort([]byte("x"), netip.MustParseAddrPort("127.0.0.2:38001")); err != ErrGone {
				t.Errorf("to a port that has no association with ours: %v", err)
			}
			if tunnel {
				if err := r.ueFront.KeepAlive(r.ueRef); err != nil {
					t.Error(err)
				}
			}
			if err := ps.Close(); err != nil {
				t.Error(err)
			}
			if _, err := ps.ReadDatagram(buf); !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
			r.stop()
			if _, err := us.ReadDatagram(buf); !errors.Is(err, net.ErrClosed) {
				t.Errorf("after the front ended: %v", err)
			}
		})
	}
}

// TestDemultiplex: ports without a conn go to the function, segments of TCP to the hook; a full queue drops.
func TestDemultiplex(t *testing.T) {
	r := newRig(t, transforms[0], false, false)
	var got []string
	f := NewFront(r.p, nullWire{}, FrontConfig{Queue: 2,
		UDP: func(d *Datagram) { got = append(got, "udp "+string(d.Payload)) },
		TCP: func(d *Datagram) { got = append(got, "tcp") }})
	arrive := func(d Datagram) { f.deliver(&d) }
	udp, _ := r.atP(r.up("one"))
	arrive(udp)
	arrive(Datagram{Protocol: protoTCP})
	c, err := f.ListenPacket(5999)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		arrive(udp)
	}
	if len(got) != 2 || got[0] != "udp one" || got[1] != "tcp" || c.len != 2 || r.p.n.DropSlow.Load() != 1 {
		t.Errorf("%q, %d wait, %d dropped", got, c.len, r.p.n.DropSlow.Load())
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	arrive(udp)
	if len(got) != 3 {
		t.Error("a closed conn keeps its port")
	}
	if err := f.Send(r.pRef, Client, []byte("x")); err != ErrWire {
		t.Errorf("transport mode over UDP: %v", err)
	}
	f = NewFront(r.p, nullWire{}, FrontConfig{})
	f.deliver(&Datagram{Protocol: protoTCP})
	if r.p.n.DropTCP.Load() != 1 {
		t.Error("a segment without a hook")
	}
}

// nullWire carries nothing.
type nullWire struct{}

func (nullWire) Read([]byte) (int, netip.AddrPort, error) { return 0, netip.AddrPort{}, net.ErrClosed }
func (nullWire) Write([]byte, netip.AddrPort) error       { return nil }
func (nullWire) InUDP() bool                              { return true }
func (nullWire) Local() netip.Addr                        { return pAddr }
func (nullWire) Close() error                             { return nil }

// BenchmarkRoundTrip is a request of 800 octets and an answer of 400 over the loopback interface, both ends in this process; the P-CSCF
// answers on the goroutine that reads.
func BenchmarkRoundTrip(b *testing.B) {
	for _, tunnel := range []bool{false, true} {
		b.Run(map[bool]string{false: "raw", true: "udp"}[tunnel], func(b *testing.B) {
			answer := bytes.Repeat([]byte("a"), 400)
			var r *loopRig
			r = newLoopRig(b, transforms[0], tunnel, FrontConfig{UDP: func(d *Datagram) { _ = r.pFront.Send(d.Agreement, Client, answer) }})
			defer r.stop()
			us, err := r.ueFront.ListenPacket(39001)
			if err != nil {
				b.Fatal(err)
			}
			request, buf := bytes.Repeat([]byte("q"), 800), make([]byte, 2000)
			b.ReportAllocs()
			for b.Loop() {
				if err := r.ueFront.Send(r.ueRef, Client, request); err != nil {
					b.Fatal(err)
				}
				if n, _, err := us.ReadFromUDPAddrPort(buf); err != nil || n != len(answer) {
					b.Fatal(n, err)
				}
			}
		})
	}
}
