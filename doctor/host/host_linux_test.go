package host

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"imsafe/doctor"
	"imsafe/test/peer"
)

// TestLoops: ESP and fragments arrive on loopback; fragments do not where the kernel may keep none.
func TestLoops(t *testing.T) {
	if !peer.InNamespace(t) {
		return
	}
	h, ctx := Host{}, context.Background()
	for _, at := range []netip.Addr{loopback, netip.MustParseAddr("127.0.0.2"), netip.IPv6Loopback()} {
		if err := h.LoopESP(ctx, at); err != nil {
			t.Errorf("ESP at %v: %v", at, err)
		}
	}
	for _, mtu := range []string{"65536", "1280", "576"} { // the least that a host must take (RFC 791 3.1)
		if out, err := exec.Command(peer.Need(t, "ip"), "link", "set", "lo", "mtu", mtu).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for _, size := range []int{3000, 1, 544, 545, 8000} {
			if err := h.LoopFragments(ctx, loopback, size); err != nil {
				t.Errorf("%d octets in fragments, MTU %s: %v", size, mtu, err)
			}
		}
	}
	if err := h.LoopFragments(ctx, netip.IPv6Loopback(), 3000); !errors.Is(err, errOnlyIPv4) {
		t.Error(err)
	}
	nowhere := netip.MustParseAddr("192.0.2.1")
	if err := h.LoopESP(ctx, nowhere); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Error(err)
	}
	if err := h.LoopFragments(ctx, nowhere, 3000); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Error(err)
	}
	// Memory for fragments of this namespace: none.
	for _, limit := range []string{"low", "high"} {
		if err := os.WriteFile("/proc/sys/net/ipv4/ipfrag_"+limit+"_thresh", []byte("0"), 0o644); err != nil {
			peer.Missing(t, "the limits of fragments cannot be set here: "+err.Error())
		}
	}
	if err := h.LoopFragments(ctx, loopback, 3000); !errors.Is(err, doctor.ErrNoEcho) {
		t.Errorf("fragments that the kernel drops: %v", err)
	}
	if err := h.LoopFragments(ctx, loopback, 100); err != nil {
		t.Errorf("a whole packet: %v", err)
	}
}
