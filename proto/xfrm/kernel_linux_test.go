package xfrm

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imsafe/proto/esp"
	"imsafe/test/peer"
)

// espEnv tells this test binary that it runs where a kernel has ESP (test/kernelesp/pcscf).
const espEnv = "IMSAFE_TEST_ESP"

func hasESP() bool { return os.Getenv(espEnv) != "" }

// alone reports whether the test runs where it may change the kernel's tables: in a namespace of its own, or in the other kernel.
func alone(t *testing.T) bool { return hasESP() || peer.InNamespace(t) }

// needESP skips a test where the kernel has none. That is no missing peer: test/kernelesp/pcscf runs it where there is.
func needESP(t *testing.T) {
	t.Helper()
	if !hasESP() {
		t.Skip("in another kernel: test/kernelesp/pcscf")
	}
}

var allPairs = []esp.Transform{
	{Encryption: esp.AESGCM}, {Integrity: esp.AESGMAC}, {Integrity: esp.HMACSHA1, Encryption: esp.AESCBC}, {Integrity: esp.HMACSHA1},
	{Integrity: esp.HMACMD5}, {Integrity: esp.HMACMD5, Encryption: esp.DESEDE3CBC},
}

func open(t testing.TB) *Kernel {
	t.Helper()
	k, err := OpenKernel()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() }) // a test that ran has nothing to lose
	return k
}

// TestProbe: a kernel with ESP can do all pairs, and one without says so for each, in the words that help.
func TestProbe(t *testing.T) {
	if !alone(t) {
		return
	}
	k := open(t)
	lacks := k.Probe(allPairs, true, true)
	if hasESP() {
		if len(lacks) > 0 {
			t.Error(lacks)
		}
	} else if len(lacks) != 0 && len(lacks) != 2*len(allPairs) {
		t.Error(lacks) // ESP for one family alone
	}
	for _, l := range lacks {
		module := map[bool]string{true: "esp6", false: "esp4"}[l.IPv6]
		switch {
		case errors.Is(l, unix.EPROTONOSUPPORT):
			if !strings.Contains(l.Error(), module) {
				t.Error(l)
			}
		case !errors.Is(l, unix.ENOSYS):
			t.Errorf("%v: neither ESP nor an algorithm is missing", l)
		}
	}
	if found, err := k.Sweep(netip.MustParseAddr("192.0.2.2")); err != nil || found != (Swept{}) {
		t.Errorf("the probe left %+v, %v", found, err)
	}
}

// TestProbe_unprivileged: without CAP_NET_ADMIN nothing may be done, and the error says what to grant.
func TestProbe_unprivileged(t *testing.T) {
	if !alone(t) {
		return
	}
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&header, &caps[0]); err != nil {
		t.Fatal(err)
	}
	caps[0].Effective &^= 1 << unix.CAP_NET_ADMIN
	if err := unix.Capset(&header, &caps[0]); err != nil {
		t.Fatal(err)
	}
	k := open(t)
	lacks := k.Probe(allPairs[:1], true, false)
	if len(lacks) != 1 || !errors.Is(lacks[0], unix.EPERM) || !strings.Contains(lacks[0].Error(), "CAP_NET_ADMIN") {
		t.Error(lacks)
	}
	if err := k.Protect(pcscfAddr, 6060); !errors.Is(err, unix.EPERM) {
		t.Error(err)
	}
	lc := net.ListenConfig{Control: Require(netip.MustParseAddrPort("127.0.0.1:6060"))}
	if _, err := lc.ListenPacket(context.Background(), "udp", "127.0.0.1:6060"); !errors.Is(err, unix.EPERM) {
		t.Error(err)
	}
}

// TestProtect: policies stand as a whole, are found by their tag, and those of other addresses are left alone.
func TestProtect(t *testing.T) {
	if !alone(t) {
		return
	}
	k := open(t)
	six := netip.MustParseAddr("2001:db8::10")
	for _, a := range []netip.Addr{pcscfAddr, six} {
		if err := k.Protect(a, 6060, 6061, 6062); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Protect(pcscfAddr, 6063, 6061); !errors.Is(err, ErrTaken) {
		t.Errorf("%v, want %v", err, ErrTaken)
	}
	for _, a := range []netip.Addr{pcscfAddr, six} {
		for _, want := range []Swept{{Policies: 6}, {}} {
			if got, err := k.Sweep(a); err != nil || got != want {
				t.Errorf("%v: swept %+v, %v, want %+v", a, got, err, want)
			}
		}
	}
}

// TestRequire: on the loopback interface policies of the host do not hold, and those of a socket do: nothing comes or goes in clear.
func TestRequire(t *testing.T) {
	if !alone(t) {
		return
	}
	k := open(t)
	for _, local := range []string{"127.0.0.1:6060", "[::1]:6060"} {
		at := netip.MustParseAddrPort(local)
		if err := k.Protect(at.Addr(), at.Port()); err != nil {
			t.Fatal(err)
		}
		lc := net.ListenConfig{Control: Require(at)}
		conn, err := lc.ListenPacket(context.Background(), "udp", local)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		stranger, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at.Addr(), 0)))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = stranger.Close() }()
		if _, err := stranger.WriteToUDPAddrPort([]byte("in clear"), at); err != nil {
			t.Fatal(err)
		}
		out, err := newSender(conn.(*net.UDPConn))
		if err != nil {
			t.Fatal(err)
		}
		if err := out.send([]byte("in clear"), addrPortOf(stranger.LocalAddr())); !errors.Is(err, unix.EAGAIN) {
			t.Errorf("%v: %v: it left without an association", at, err)
		}
		for _, c := range []net.PacketConn{conn, stranger} {
			if err := c.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			if n, _, err := c.ReadFrom(make([]byte, 100)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%v: %d octets came in clear, %v", at, n, err)
			}
		}
		ln, err := lc.Listen(context.Background(), "tcp", local)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = ln.Close() }()
		d := net.Dialer{Timeout: 300 * time.Millisecond}
		if c, err := d.Dial("tcp", local); err == nil {
			t.Errorf("%v: a connection in clear", c.LocalAddr())
		} else if errors.Is(err, syscall.ECONNREFUSED) {
			t.Error("it was answered")
		}
	}
}
