package phone

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"sync"
	"testing"

	"imsafe/proto/esp"
	"imsafe/test/kernelesp/handset"
	"imsafe/test/peer"
)

// behindNAT is a telephone whose packets come from elsewhere than it thinks: it does ESP in UDP (TS 33.203 Annex M).
func (b *bench) behindNAT(t *testing.T, family string) {
	n := b.nodes[legacy]
	gateway := translate(t, n.addr[family], family)
	sizes, transport := []int{10, 3000}, "udp"
	if family == "IPv6" {
		sizes, transport = sizes[:1], "tcp" // the guest fragments the inner packet, which proto/esp refuses (its README, Limits)
	}
	friend := n.witness(t, "nat"+family)
	p := b.phone(t, n, family, "nat", func(c *handset.Config) { c.Gateway = gateway }, cbc)
	set := p.challenge(handset.Clear, "udp")
	p.answer(transport)
	for range 2 {
		for _, size := range sizes {
			p.writes(friend, set, "udp", size)
		}
		p.hears(friend, 100, set, transport)
		p.hears(friend, 3000, set, "tcp")
		p.writes(friend, set, "tcp", 3000)
		set = p.challenge(set, transport)
		p.answer(transport)
		p.writes(friend, set, "udp", 10)
	}
	p.leaves(set, transport)
	p.gone(friend)
}

// translate is a NAT for one telephone at a time: what comes to the gateway's ports goes on to the P-CSCF's from an address and a port outside, and back.
func translate(t *testing.T, proxy netip.Addr, family string) (gateway netip.Addr) {
	t.Helper()
	gateway, outside := netip.MustParseAddr("10.77.0.7"), netip.MustParseAddr("10.77.0.8")
	if family == "IPv6" {
		gateway, outside = netip.MustParseAddr("fd77::7"), netip.MustParseAddr("fd77::8")
	}
	for _, a := range []netip.Addr{gateway, outside} {
		if out, err := exec.Command(peer.Need(t, "ip"), "addr", "add", fmt.Sprintf("%v/%d", a, a.BitLen()), "dev", "peer0", "nodad").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for _, port := range []uint16{5060, 4500} {
		lc := net.ListenConfig{Control: esp.SocketOptions} // what is large goes on in fragments
		in, err := lc.ListenPacket(context.Background(), "udp", netip.AddrPortFrom(gateway, port).String())
		if err != nil {
			t.Fatal(err)
		}
		out, err := lc.ListenPacket(context.Background(), "udp", netip.AddrPortFrom(outside, 40000+port).String())
		if err != nil {
			t.Fatal(err)
		}
		relay(t, in.(*net.UDPConn), out.(*net.UDPConn), netip.AddrPortFrom(proxy, port))
	}
	return gateway
}

// relay carries datagrams both ways: to the peer, and back to whoever spoke last from inside.
func relay(t *testing.T, in, out *net.UDPConn, peer netip.AddrPort) {
	var mu sync.Mutex
	var client netip.AddrPort
	var ends sync.WaitGroup
	t.Cleanup(func() {
		_, _ = in.Close(), out.Close()
		ends.Wait()
	})
	carry := func(from, to *net.UDPConn, where func(netip.AddrPort) netip.AddrPort) {
		buf := make([]byte, 65536)
		for {
			n, source, err := from.ReadFromUDPAddrPort(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = to.WriteToUDPAddrPort(buf[:n], where(source)) // lost, as a NAT may lose it
			}
		}
	}
	ends.Go(func() {
		carry(in, out, func(source netip.AddrPort) netip.AddrPort {
			mu.Lock()
			defer mu.Unlock()
			client = source
			return peer
		})
	})
	ends.Go(func() {
		carry(out, in, func(netip.AddrPort) netip.AddrPort {
			mu.Lock()
			defer mu.Unlock()
			return client
		})
	})
}
