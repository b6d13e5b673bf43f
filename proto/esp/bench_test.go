package esp

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
)

// BenchmarkSealOpen is one datagram sealed at one end and opened at the other.
func BenchmarkSealOpen(b *testing.B) {
	for _, tr := range transforms {
		for _, size := range []int{400, 1300} {
			b.Run(fmt.Sprintf("%v/%d", tr, size), func(b *testing.B) {
				r := newRig(b, tr, false, false)
				payload := bytes.Repeat([]byte("x"), size)
				buf := make([]byte, 0, size+Overhead)
				from := netip.AddrPortFrom(ueAddr, 0)
				var d Datagram
				b.ReportAllocs()
				b.SetBytes(int64(size))
				for b.Loop() {
					pkt, _, err := r.ue.SealUDP(buf, r.ueRef, Client, payload)
					if err != nil || r.p.Open(pkt, from, pAddr, &d) != Accepted {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkStranger is what a packet costs that nobody asked for.
func BenchmarkStranger(b *testing.B) {
	r := newRig(b, transforms[0], false, false)
	good := r.up("x")
	r.atP(bytes.Clone(good))
	var d Datagram
	from := netip.AddrPortFrom(ueAddr, 0)
	b.Run("unknown", func(b *testing.B) {
		pkt := make([]byte, 400)
		for b.Loop() {
			r.p.Open(pkt, from, pAddr, &d)
		}
	})
	b.Run("replay", func(b *testing.B) {
		for b.Loop() {
			r.p.Open(good, from, pAddr, &d)
		}
	})
	b.Run("auth", func(b *testing.B) {
		pkt := append(bytes.Clone(good), make([]byte, 400)...)
		pkt[7] = 99
		for b.Loop() {
			r.p.Open(pkt, from, pAddr, &d)
		}
	})
}

// installMany puts n agreements into e, each of another address.
func installMany(b testing.TB, e *Engine, n int) (refs []Ref) {
	for i := range n {
		spi, err := e.Reserve(pAddr)
		if err != nil {
			b.Fatal(err)
		}
		g := Agreement{Role: PCSCF, Local: pAddr, Peer: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}),
			Here:      Ends{Port: [2]uint16{6000, 5999}, SPI: spi},
			There:     Ends{Port: [2]uint16{38001, 39001}, SPI: [2]uint32{uint32(2*i + 256), uint32(2*i + 257)}},
			Transform: transforms[0], CK: testCK, IK: testIK}
		ref, err := e.Install(&g)
		if err != nil {
			b.Fatal(err)
		}
		refs = append(refs, ref)
	}
	return refs
}

// BenchmarkInstall is an agreement (four associations) with its SPIs drawn, and its end.
func BenchmarkInstall(b *testing.B) {
	e := New(Config{Random: rand.Reader})
	installMany(b, e, 100_000)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		spi, err := e.Reserve(pAddr)
		if err != nil {
			b.Fatal(err)
		}
		g := Agreement{Role: PCSCF, Local: pAddr, Peer: netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}),
			Here:      Ends{Port: [2]uint16{6000, 5999}, SPI: spi},
			There:     Ends{Port: [2]uint16{38001, 39001}, SPI: [2]uint32{256, 257}},
			Transform: transforms[0], CK: testCK, IK: testIK}
		ref, err := e.Install(&g)
		if err != nil {
			b.Fatal(err)
		}
		e.Remove(ref)
	}
	b.ReportMetric(4*float64(b.N)/b.Elapsed().Seconds(), "SAs/s")
}

// BenchmarkMemory says how many octets an association takes, at rest and with expanded keys.
func BenchmarkMemory(b *testing.B) {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const n = 100_000
	for b.Loop() {
		before := heap()
		e := New(Config{Random: rand.Reader})
		refs := installMany(b, e, n)
		idle := heap() - before - uint64(cap(refs)*8)
		var buf [1500]byte
		for _, r := range refs {
			if _, _, err := e.SealUDP(buf[:0], r, Client, nil); err != nil {
				b.Fatal(err)
			}
		}
		active := heap() - before - uint64(cap(refs)*8)
		b.ReportMetric(float64(idle)/n, "octets/idle-agreement")
		b.ReportMetric(float64(active)/n, "octets/active-agreement")
		runtime.KeepAlive(e)
	}
}
