// Package port hands out ports that stay a test's own until it ends.
//
// To listen on port 0, close, and write the number into a configuration gives the number back to the kernel: before the node listens on it,
// any connection of another test may have it as its own end. These ports are below those that Linux gives to connections by itself
// (net.ipv4.ip_local_port_range, from 32768), and who was given one keeps an abstract socket with its number in its name, so that no other
// process of the same network namespace is given it, and a test that was killed leaves nothing behind.
//
// For tests only. Everything may be called from any goroutine.
package port

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"testing"
)

// The ports that are handed out: no test and no foreign peer has a fixed one among them.
const (
	first = 10100
	after = 13000
)

// Free returns an address of host (an IP address) with a port that nobody has, for TCP and for UDP.
func Free(t testing.TB, host string) netip.AddrPort {
	t.Helper()
	return Run(t, host, 1)
}

// Run returns the first of n addresses whose ports follow each other.
func Run(t testing.TB, host string, n int) netip.AddrPort {
	t.Helper()
	addr, err := netip.ParseAddr(host)
	if err != nil {
		t.Fatal(err)
	}
	const choices = after - first
	for from, i := rand.IntN(choices), 0; i < choices; i++ {
		at := first + (from+i)%choices
		if at+n <= after && claim(t, addr, at, n) {
			return netip.AddrPortFrom(addr, uint16(at))
		}
	}
	t.Fatalf("%d ports in a row from %d to %d: other tests have them all", n, first, after-1)
	return netip.AddrPort{}
}

// claim takes n ports from at on until the test ends, all or none.
func claim(t testing.TB, host netip.Addr, at, n int) bool {
	var kept []net.Listener
	for p := at; p < at+n; p++ {
		name, err := net.Listen("unix", fmt.Sprintf("@imsafe-test-port-%d", p))
		if err == nil {
			kept = append(kept, name)
		}
		if err != nil || !unused(net.JoinHostPort(host.String(), strconv.Itoa(p))) {
			for _, k := range kept {
				_ = k.Close()
			}
			return false
		}
	}
	for _, k := range kept {
		t.Cleanup(func() { _ = k.Close() })
	}
	return true
}

// unused says whether nobody listens at the address, whoever that may be.
func unused(address string) bool {
	stream, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	defer func() { _ = stream.Close() }()
	packets, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	return packets.Close() == nil
}
