package slab_test

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"time"

	"imsafe/proto/slab"
)

// Records as the registrar keeps them: an identity of some 40 octets and 400 octets of binding.
const (
	users     = 1_000_000
	valueSize = 400
)

func identity(dst []byte, n int) []byte {
	return fmt.Appendf(dst[:0], "sip:+1555%07d@ims.mnc001.mcc001.3gppnetwork.org", n)
}

func fill(b testing.TB, n int) *slab.Table {
	t := slab.New(slab.Config{})
	value := make([]byte, valueSize)
	var key []byte
	for i := range n {
		key = identity(key, i)
		binary.LittleEndian.PutUint64(value, uint64(i))
		if err := t.Put(key, value); err != nil {
			b.Fatal(err)
		}
	}
	return t
}

// collect is the time of a whole collection with nothing else to do, and the longest of its pauses.
func collect() (mark, pause time.Duration) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	runtime.GC()
	mark = time.Since(start)
	runtime.ReadMemStats(&after)
	return mark, time.Duration(after.PauseNs[(after.NumGC+255)%256])
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkMillionUsers is memory and collector time for a million records, in a table and, for comparison,
// in a Go map of pointers to structs, which is what one would write first.
func BenchmarkMillionUsers(b *testing.B) {
	report := func(b *testing.B, build func() any) {
		for b.Loop() {
			before := heap()
			start := time.Now()
			kept := build()
			b.ReportMetric(float64(time.Since(start))/users, "build-ns/user")
			b.ReportMetric(float64(heap()-before)/users, "B/user")
			mark, pause := collect()
			b.ReportMetric(float64(mark.Microseconds())/1000, "gc-ms")
			b.ReportMetric(float64(pause.Microseconds()), "pause-us")
			runtime.KeepAlive(kept)
		}
	}
	b.Run("slab", func(b *testing.B) {
		report(b, func() any { return fill(b, users) })
	})
	b.Run("map", func(b *testing.B) {
		type binding struct {
			identity, contact, path string
			_                       []string // contacts
			_                       [valueSize - 4*16 - 24 - 80]byte
		}
		report(b, func() any {
			m := map[string]*binding{}
			var key []byte
			for i := range users {
				key = identity(key, i)
				k := string(key)
				m[k] = &binding{identity: k, contact: string(key[:40]), path: string(key[:40])}
			}
			return m
		})
	})
}

func BenchmarkGet(b *testing.B) {
	for _, n := range []int{1000, users} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			t := fill(b, n)
			var key, value []byte
			i := uint64(0)
			b.ReportAllocs()
			for b.Loop() {
				i = i*6364136223846793005 + 1442695040888963407
				key = append(key[:0], "sip:+15550000000@ims.mnc001.mcc001.3gppnetwork.org"...)
				digits(key[9:16], int(i>>33)%n)
				var ok bool
				if value, ok = t.Get(key, value[:0]); !ok {
					b.Fatalf("%s not found", key)
				}
			}
		})
	}
}

// digits writes n over dst without the cost of fmt.
func digits(dst []byte, n int) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = byte('0' + n%10)
		n /= 10
	}
}

func BenchmarkGetParallel(b *testing.B) {
	t := fill(b, 100_000)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var key, value []byte
		i := uint64(0)
		for pb.Next() {
			i = i*6364136223846793005 + 1442695040888963407
			key = append(key[:0], "sip:+15550000000@ims.mnc001.mcc001.3gppnetwork.org"...)
			digits(key[9:16], int(i>>33)%100_000)
			value, _ = t.Get(key, value[:0])
		}
	})
}

func BenchmarkPut(b *testing.B) {
	t := fill(b, 100_000)
	value := make([]byte, valueSize)
	key := identity(nil, 4711)
	b.Run("same size", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = t.Put(key, value)
		}
	})
	b.Run("other size", func(b *testing.B) {
		n := 0
		b.ReportAllocs()
		for b.Loop() {
			n ^= 200
			_ = t.Put(key, value[:valueSize-n])
		}
	})
}

func BenchmarkUpdate(b *testing.B) {
	t := fill(b, 100_000)
	key := identity(nil, 4711)
	for name, fn := range map[string]func(old, buf []byte) ([]byte, bool){
		"in place": func(old, _ []byte) ([]byte, bool) { old[0]++; return old, true },
		"rebuilt":  func(old, buf []byte) ([]byte, bool) { return append(buf, old...), true },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = t.Update(key, fn)
			}
		})
	}
}

func BenchmarkPutDelete(b *testing.B) {
	t := fill(b, 100_000)
	value := make([]byte, valueSize)
	key := []byte("sip:nobody@example.org")
	b.ReportAllocs()
	for b.Loop() {
		_ = t.Put(key, value)
		t.Delete(key)
	}
}

func BenchmarkRange(b *testing.B) {
	t := fill(b, 100_000)
	for b.Loop() {
		n := 0
		t.Range(func(_, _ []byte) bool { n++; return true })
		if n != 100_000 {
			b.Fatal(n)
		}
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/100_000, "ns/user")
}
