package hss

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/cx/cxtest"
)

// BenchmarkRegistration is what one AKA registration asks of the HSS, all subscriptions in memory: UAR for each
// REGISTER, MAR, and SAR as part of the S-CSCF's batch (its commit is not counted).
func BenchmarkRegistration(b *testing.B) {
	h := newHouse(b)
	if err := h.PutProfile(context.Background(), "voicemail", voicemail()); err != nil {
		b.Fatal(err)
	}
	if err := h.PutGroup(context.Background(), &Group{Name: "default", Profile: "voicemail"}); err != nil {
		b.Fatal(err)
	}
	if err := h.Add(context.Background(), subscriber()); err != nil {
		b.Fatal(err)
	}
	h.cfg.ReserveSQN = 1 << 16
	h.crashless()
	h.register()

	uar := &cx.UserAuthorizationRequest{IMPI: aliceIMPI, IMPU: aliceIMPU}
	mar := &cx.MultimediaAuthRequest{IMPI: aliceIMPI, IMPU: aliceIMPU, ServerName: scscfName, Scheme: cx.SchemeDigestAKA, Items: 1}
	sar := &cx.ServerAssignmentRequest{IMPI: aliceIMPI, IMPUs: []cx.IMPU{aliceIMPU}, ServerName: scscfName, Type: cx.AssignReRegistration}
	first := *sar
	first.Type = cx.AssignRegistration
	var batch cx.Batch
	first.Batch = &batch
	measure := func(name string, op func(t *shard.Task) error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			h.run(func(t *shard.Task) {
				for range b.N {
					if err := op(t); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
	measure("UAR", func(t *shard.Task) error { _, err := h.UserAuthorization(t, uar); return err })
	measure("LIR", func(t *shard.Task) error {
		_, err := h.LocationInfo(t, &cx.LocationInfoRequest{IMPU: aliceIMPU})
		return err
	})
	measure("MAR", func(t *shard.Task) error { _, err := h.MultimediaAuth(t, mar); return err })
	measure("SAR re-registration", func(t *shard.Task) error { _, err := h.ServerAssignment(t, sar); return err })
	h.run(func(t *shard.Task) {
		leave := *sar
		leave.Type = cx.UserDeregistration
		if _, err := h.ServerAssignment(t, &leave); err != nil {
			b.Error(err)
		}
	})
	registerOnce := func(t *shard.Task) error {
		_, err := h.ServerAssignment(t, &first)
		batch.Settle(fmt.Errorf("not committed"))
		return err
	}
	measure("SAR registration", registerOnce)
	measure("UAR MAR UAR SAR", func(t *shard.Task) error {
		_, err1 := h.UserAuthorization(t, uar)
		_, err2 := h.MultimediaAuth(t, mar)
		_, err3 := h.UserAuthorization(t, uar)
		for _, err := range []error{err1, err2, err3, registerOnce(t)} {
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// BenchmarkColdSubscriber is MAR for a subscription that is not parsed: the index, the record, the unsealing and
// the key expansion come on top.
func BenchmarkColdSubscriber(b *testing.B) {
	h := newHouse(b)
	if err := h.Add(context.Background(), subscriber()); err != nil {
		b.Fatal(err)
	}
	h.cfg.ReserveSQN = 1 << 16
	h.crashless()
	mar := &cx.MultimediaAuthRequest{IMPI: aliceIMPI, IMPU: aliceIMPU, ServerName: scscfName, Scheme: cx.SchemeDigestAKA, Items: 1}
	b.ReportAllocs()
	h.run(func(t *shard.Task) {
		for range b.N {
			if _, err := h.MultimediaAuth(t, mar); err != nil {
				b.Error(err)
				return
			}
			u := h.cache.get(TablePrivate, string(aliceIMPI))
			h.cache.drop(u)
			kept := u.volatile // the numbers are not what is measured
			fresh, err := h.find(t, TablePrivate, string(aliceIMPI))
			if err != nil {
				b.Error(err)
				return
			}
			fresh.volatile = kept
		}
	})
}

// BenchmarkMemory reports what a subscription takes in the cache after a registration.
func BenchmarkMemory(b *testing.B) {
	const users = 20000
	for range b.N {
		h := newHouse(b)
		for i := range users {
			s := subscriber()
			s.IMPI = fmt.Sprintf("0010100000%05d@%s", i, cxtest.Home)
			s.Public = []Public{{IMPU: fmt.Sprintf("sip:0010100000%05d@%s", i, cxtest.Home), Barred: true},
				{IMPU: fmt.Sprintf("sip:user%d@%s", i, cxtest.Home)}, {IMPU: fmt.Sprintf("tel:+1555%07d", i)}}
			if err := h.Add(context.Background(), s); err != nil {
				b.Fatal(err)
			}
		}
		h.run(func(t *shard.Task) {
			for i := range users {
				impi, impu := cx.IMPI(fmt.Sprintf("0010100000%05d@%s", i, cxtest.Home)), cx.IMPU(fmt.Sprintf("sip:user%d@%s", i, cxtest.Home))
				_, err1 := h.MultimediaAuth(t, &cx.MultimediaAuthRequest{IMPI: impi, IMPU: impu, ServerName: scscfName,
					Scheme: cx.SchemeDigestAKA, Items: 1})
				_, err2 := h.ServerAssignment(t, &cx.ServerAssignmentRequest{IMPI: impi, IMPUs: []cx.IMPU{impu},
					ServerName: scscfName, Type: cx.AssignRegistration})
				if err1 != nil || err2 != nil {
					b.Error(err1, err2)
				}
			}
		})
		with := heap()
		h.cache = newCache(1)
		b.ReportMetric(float64(with-heap())/users, "B/user")
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
