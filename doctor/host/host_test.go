package host

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

var loopback = netip.MustParseAddr("127.0.0.1")

func TestFiles(t *testing.T) {
	h, dir := Host{}, t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := h.ReadFile(filepath.Join(dir, "x")); string(data) != "text" || err != nil {
		t.Errorf("%q %v", data, err)
	}
	info, err := h.Stat(filepath.Join(dir, "x"))
	if err != nil {
		t.Fatal(err)
	}
	if file, process := h.Owner(info); file != os.Getuid() || process != os.Geteuid() {
		t.Errorf("%d %d", file, process)
	}
	if _, err := h.Stat(filepath.Join(dir, "y")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if free, err := h.Free(dir); free == 0 || err != nil {
		t.Errorf("%d %v", free, err)
	}
	if _, err := h.Free(filepath.Join(dir, "y")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if since := time.Since(h.Wall()); since.Abs() > time.Minute {
		t.Error(since)
	}
	if _, err := h.Synchronised(); err != nil {
		t.Error(err)
	}
}

// TestBind: free, taken, and an address of nobody.
func TestBind(t *testing.T) {
	h := Host{}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for network, taken := range map[string]netip.AddrPort{"udp": netip.MustParseAddrPort(pc.LocalAddr().String()), "tcp": netip.MustParseAddrPort(ln.Addr().String())} {
		if err := h.Bind(network, taken); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%s: %v", network, err)
		}
		if err := h.Bind(network, netip.AddrPortFrom(loopback, 0)); err != nil {
			t.Errorf("%s: %v", network, err)
		}
		if err := h.Bind(network, netip.MustParseAddrPort("192.0.2.1:0")); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("%s: %v", network, err)
		}
	}
	if err := h.KnockUDP(context.Background(), netip.MustParseAddrPort(pc.LocalAddr().String())); err != nil {
		t.Errorf("somebody listens: %v", err)
	}
	gone, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.KnockUDP(context.Background(), netip.MustParseAddrPort(gone.LocalAddr().String())); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestInterface(t *testing.T) {
	if name, mtu, err := (Host{}).Interface(netip.MustParseAddr("127.0.0.9")); name == "" || mtu < 1500 || err != nil {
		t.Errorf("%q %d %v", name, mtu, err)
	}
	if _, _, err := (Host{}).Interface(netip.MustParseAddr("192.0.2.1")); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Error(err)
	}
}

// What the tools print, cut down.
const (
	nftRules = `table ip nat {
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 10.45.0.0/16 oifname != "ogstun" masquerade
		ip saddr 10.46.0.0/16 counter packets 0 bytes 0 snat to 192.0.2.7
		# masqueraded no more
	}
}
`
	iptablesRules = "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -s 10.45.0.0/16 ! -o ogstun -j MASQUERADE\n-A PREROUTING -j DNAT --to 192.0.2.1\nCOMMIT\n"
)

func TestRewriting(t *testing.T) {
	for text, want := range map[string][]string{
		nftRules:      {`ip saddr 10.45.0.0/16 oifname != "ogstun" masquerade`, "ip saddr 10.46.0.0/16 counter packets 0 bytes 0 snat to 192.0.2.7"},
		iptablesRules: {"-A POSTROUTING -s 10.45.0.0/16 ! -o ogstun -j MASQUERADE"},
		"":            nil,
	} {
		if got := rewriting(text); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// FuzzRewriting: what is picked out stands there.
func FuzzRewriting(f *testing.F) {
	f.Add(nftRules)
	f.Add(iptablesRules)
	f.Fuzz(func(t *testing.T, text string) {
		for _, rule := range rewriting(text) {
			if rule == "" || !strings.Contains(text, rule) {
				t.Errorf("%q", rule)
			}
		}
	})
}
