package nftdrop

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"imsafe/test/peer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench are two guarded ports, and one beside them.
type bench struct {
	t                *testing.T
	packets, streams netip.AddrPort
	beside           net.PacketConn
	udp              net.PacketConn
	rules            *Rules
}

func newBench(t *testing.T, ip string) *bench {
	b := &bench{t: t}
	var err error
	if b.udp, err = net.ListenPacket("udp", net.JoinHostPort(ip, "0")); err != nil {
		t.Fatal(err)
	}
	if b.beside, err = net.ListenPacket("udp", net.JoinHostPort(ip, "0")); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _, _, _, _ = ln.Close(), b.udp.Close(), b.beside.Close(), <-done })
	b.packets, b.streams = netip.MustParseAddrPort(b.udp.LocalAddr().String()), netip.MustParseAddrPort(ln.Addr().String())
	return b
}

// guard opens rules whose sources stay for so long.
func (b *bench) guard(stay time.Duration) {
	b.t.Helper()
	var err error
	if b.rules, err = Open(Config{Table: "imsafe-test", Packets: []netip.AddrPort{b.packets}, Streams: []netip.AddrPort{b.streams}, For: stay}); err != nil {
		b.t.Fatal(err)
	}
}

// drop has a source dropped, and returns when the kernel knows.
func (b *bench) drop(from string, connections bool) {
	b.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.rules.Run(ctx) }()
	before := b.rules.Sources.Load() + b.rules.Lost.Load()
	b.rules.Drop(netip.MustParseAddr(from), connections)
	for deadline := time.Now().Add(time.Minute); b.rules.Sources.Load()+b.rules.Lost.Load() == before; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatal("the kernel was not asked")
		}
	}
	stop()
	<-done
	if n := b.rules.Lost.Load(); n > 0 {
		b.t.Fatalf("%d sources are lost", n)
	}
}

// hears reports whether a datagram arrives: on loopback it is there when Write returns, or never.
func (b *bench) hears(from string, at net.PacketConn) bool {
	b.t.Helper()
	c, err := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)}}).Dial("udp", at.LocalAddr().String())
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte("x")); err != nil {
		b.t.Fatal(err)
	}
	raw, err := at.(*net.UDPConn).SyscallConn()
	if err != nil {
		b.t.Fatal(err)
	}
	var none error
	if err := raw.Read(func(fd uintptr) bool {
		_, _, none = syscall.Recvfrom(int(fd), make([]byte, 9), syscall.MSG_DONTWAIT)
		return true
	}); err != nil || none != nil && none != syscall.EAGAIN {
		b.t.Fatal(err, none)
	}
	return none == nil
}

// connects reports whether a connection opens.
func (b *bench) connects(from string) bool { return b.connectsIn(from, 20*time.Second) }

// connectsIn reports whether it does within some time.
func (b *bench) connectsIn(from string, patience time.Duration) bool {
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}).Dial("tcp", b.streams.String())
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}

// TestRules: datagrams of a dropped source do not arrive at the guarded port, for as long as was said; its connections do, and what others send, and
// what goes elsewhere. Closed rules leave nothing; rules that a process has left behind are taken over.
func TestRules(t *testing.T) {
	if !peer.InNamespace(t) {
		return
	}
	b := newBench(t, "127.0.0.1")
	b.guard(time.Hour)
	const bad, good = "127.7.7.7", "127.8.8.8"
	if !b.hears(bad, b.udp) || !b.connects(bad) {
		t.Fatal("a source that has earned nothing is dropped")
	}
	b.drop(bad, false)
	if b.hears(bad, b.udp) || !b.hears(bad, b.beside) || !b.connects(bad) || !b.hears(good, b.udp) {
		t.Error("not the datagrams of one source to one port are dropped, or not they alone")
	}
	b.drop(good, true)
	if b.connectsIn(good, 100*time.Millisecond) || !b.hears(good, b.udp) {
		t.Error("not the connections of one source are dropped, or not they alone")
	}
	if n, err := b.rules.Dropped(); err != nil || n == 0 {
		t.Errorf("%d packets are dropped, %v", n, err)
	}
	left := b.rules // a process that has crashed
	b.guard(time.Hour)
	if !b.hears(bad, b.udp) || !b.connects(good) {
		t.Error("rules of before still hold")
	}
	b.drop(bad, false)
	if b.hears(bad, b.udp) {
		t.Error("rules that took the place of others drop nothing")
	}
	if err := errors.Join(b.rules.Close(), b.rules.Close()); err != nil {
		t.Error(err)
	}
	if !b.hears(bad, b.udp) {
		t.Error("closed rules drop")
	}
	_ = left.Close() // its table is gone; the socket is what is left
	b.guard(time.Second)
	b.drop(bad, false)
	for deadline := time.Now().Add(time.Minute); !b.hears(bad, b.udp); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a source is dropped for longer than was said")
		}
	}
	if err := b.rules.Close(); err != nil {
		t.Error(err)
	}
}

// TestRules_six: an IPv6 source is its /64.
func TestRules_six(t *testing.T) {
	if !peer.InNamespace(t) {
		return
	}
	b := newBench(t, "::1")
	b.guard(time.Hour)
	b.drop("::ffff", false)
	if b.hears("::1", b.udp) || !b.hears("::1", b.beside) || !b.connects("::1") {
		t.Error("not the datagrams of a /64 are dropped, or not they alone")
	}
	if err := b.rules.Close(); err != nil {
		t.Error(err)
	}
}

// TestDrop_full: who asks does not wait, also when nobody tells the kernel.
func TestDrop_full(t *testing.T) {
	r := &Rules{queue: make(chan source, 2)}
	for range 5 {
		r.Drop(netip.MustParseAddr("192.0.2.1"), false)
	}
	if n := r.Lost.Load(); n != 3 {
		t.Errorf("%d are lost, want 3", n)
	}
}
