package hss

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/cx/cxtest"
	"imsafe/store"
)

func TestSequenceNumbersAfterPowerCuts(t *testing.T) {
	h := newHouse(t)
	h.cfg.ReserveSQN = 4
	h.crashless()
	if err := h.Add(background, subscriber()); err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	for cut := range 25 {
		for range cut % 7 {
			n := h.seq()
			if n <= last {
				t.Fatalf("cut %d: SEQ %d after %d", cut, n, last)
			}
			if n > last+5 {
				t.Errorf("cut %d: SEQ %d after %d: more was skipped than was reserved", cut, n, last)
			}
			last = n
		}
		h.crash()
	}
}

// slowDisk is a store that answers no change until it is told to.
type slowDisk struct {
	store.Store
	mu      sync.Mutex
	slow    bool
	changes []func() // that wait for their answer
}

func (d *slowDisk) ApplyAsync(partition string, ops []store.Op, done func(error)) {
	d.mu.Lock()
	slow := d.slow
	d.mu.Unlock()
	if !slow {
		d.Store.ApplyAsync(partition, ops, done)
		return
	}
	d.Store.ApplyAsync(partition, ops, func(err error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.changes = append(d.changes, func() { done(err) })
	})
}

func (d *slowDisk) beSlow(slow bool) {
	d.mu.Lock()
	d.slow = slow
	answers := d.changes
	d.changes = nil
	d.mu.Unlock()
	for _, answer := range answers {
		answer()
	}
}

// TestSequenceNumbersAhead: the next numbers are reserved while there are some, and whoever draws one of these does not wait for that.
func TestSequenceNumbersAhead(t *testing.T) {
	h := newHouse(t)
	disk := &slowDisk{Store: h.db}
	h.cfg.ReserveSQN, h.ports.Store = 8, disk
	h.crashless()
	if err := h.Add(background, subscriber()); err != nil {
		t.Fatal(err)
	}
	first := h.seq()
	disk.beSlow(true)
	for want := first + 1; want < first+8; want++ {
		if n := h.seq(); n != want { // it would wait for ever
			t.Fatalf("SEQ %d, want %d", n, want)
		}
	}
	if err := h.db.Apply("x", store.Op{Table: TableRepository, Key: []byte("behind what was reserved"), Value: []byte{1}}); err != nil {
		t.Fatal(err)
	}
	rec, err := h.db.Get(TableSQN, []byte(aliceIMPI))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := decodeSequence(rec.Value); err != nil || s.mark != first+6+8 { // made when 2 were left of 8
		t.Errorf("mark %d after %d: %v", s.mark, first, err)
	}
	disk.beSlow(false)
	if n := h.seq(); n != first+8 {
		t.Errorf("SEQ %d after %d", n, first+7)
	}
	h.crash()
	if n := h.seq(); n != first+6+8 {
		t.Errorf("SEQ %d after a crash, want %d", n, first+6+8)
	}
}

func TestSequenceNumbersFromManyProcedures(t *testing.T) {
	h := newHouse(t)
	h.cfg.ReserveSQN = 4
	h.crashless()
	if err := h.Add(background, subscriber()); err != nil {
		t.Fatal(err)
	}
	other := shard.New(shard.Config{ID: 1, Clock: h.clock})
	ctx, cancel := context.WithCancel(background)
	var wg sync.WaitGroup
	wg.Go(func() { _ = other.Run(ctx) }) // the error is that of ctx
	defer wg.Wait()
	defer cancel()

	second, err := New(h.cfg, h.ports) // another node on the same store
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	seen := map[uint64]bool{}
	var callers sync.WaitGroup
	for i := range 200 {
		callers.Go(func() {
			node, on := h.HSS, h.shard
			if i%2 == 1 {
				node, on = second, other
			}
			if err := on.Call(background, func(task *shard.Task) {
				u, card, err := node.byPrivate(task, aliceIMPI)
				if err != nil {
					t.Error(err)
					return
				}
				n, err := node.draw(task, u, u.privates[card].impi)
				mu.Lock()
				defer mu.Unlock()
				if err != nil || seen[n] {
					t.Errorf("SEQ %d, seen before: %v, %v", n, seen[n], err)
				}
				seen[n] = true
			}); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if len(seen) != 200 {
		t.Errorf("%d different numbers", len(seen))
	}
}

func TestSequenceNumbersAfterRestore(t *testing.T) {
	h := newHouse(t)
	if err := h.Add(background, subscriber()); err != nil {
		t.Fatal(err)
	}
	h.seq()
	backup, err := h.db.Get(TableSQN, []byte(aliceIMPI))
	if err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	for range 100 {
		last = h.seq()
	}
	restore := func(after time.Duration) {
		h.clock.move(after)
		if err := h.db.Apply("x", store.Op{Table: TableSQN, Key: []byte(aliceIMPI), Value: backup.Value}); err != nil {
			t.Fatal(err)
		}
		h.cfg.RestoreEpoch++
		h.cfg.RestoredAt = h.clock.Wall()
		h.crashless()
	}
	var card aka.Window
	if err := card.Accept(aka.MakeSQN(last, h.cfg.IND)); err != nil {
		t.Fatal(err)
	}
	for _, after := range []time.Duration{time.Second, time.Hour, 24 * time.Hour} {
		restore(after)
		for range 50 {
			n := h.seq()
			if err := card.Accept(aka.MakeSQN(n, h.cfg.IND)); err != nil {
				t.Fatalf("restored %v later: SEQ %d after %d: %v", after, n, last, err)
			}
			last = n
		}
	}
	// A backup so old that a card would not follow is left to the card's token.
	restore(10 * 365 * 24 * time.Hour)
	if n := h.seq(); n > restoreMost+1<<20 {
		t.Errorf("SEQ %d jumped further than a card follows", n)
	}
	// Only once: what was written after the restore does not jump again.
	one := h.seq()
	h.crashless()
	if n := h.seq(); n > one+2*32 {
		t.Errorf("SEQ %d after %d: jumped twice", n, one)
	}
}

func TestCardThatIsFarBehind(t *testing.T) {
	// A record that went wrong, or a replaced card: SQN is so far ahead that the card refuses for ever.
	h := newHouse(t)
	s := subscriber()
	s.SEQ = 1 << 40
	if err := h.Add(background, s); err != nil {
		t.Fatal(err)
	}
	h.seq()
	h.run(func(task *shard.Task) {
		u, _, err := h.byPrivate(task, aliceIMPI)
		if err == nil {
			err = h.moveTo(task, u, string(aliceIMPI), 77)
		}
		if err != nil {
			t.Error(err)
		}
	})
	if n := h.seq(); n != 78 {
		t.Errorf("SEQ %d, want 78", n)
	}
	h.run(func(task *shard.Task) {
		u, _, err := h.byPrivate(task, aliceIMPI)
		if err != nil {
			t.Error(err)
			return
		}
		if err := h.moveTo(task, u, string(aliceIMPI), aka.MaxSEQ-1); !errors.Is(err, cx.ErrUnableToComply) {
			t.Errorf("a card at the end of the numbers: %v", err)
		}
	})
	h.seq() // and it did no harm
}

func TestSealedKeysCannotBeMoved(t *testing.T) {
	h := newHouse(t)
	if err := h.Add(background, subscriber()); err != nil {
		t.Fatal(err)
	}
	mallory := subscriber()
	mallory.IMPI = "001010000000066@" + cxtest.Home
	mallory.Public = []Public{{IMPU: "sip:mallory@" + cxtest.Home}}
	mallory.K = "000102030405060708090a0b0c0d0e0f"
	if err := h.Add(background, mallory); err != nil {
		t.Fatal(err)
	}
	stolen, err := h.db.Get(TableSubscription, []byte(mallory.IMPI))
	if err != nil {
		t.Fatal(err)
	}
	record, err := h.db.Get(TableSubscription, []byte(aliceIMPI))
	if err != nil {
		t.Fatal(err)
	}
	from, err1 := decodeSubscription(stolen.Value)
	to, err2 := decodeSubscription(record.Value)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	to.privates[0].sealed = from.privates[0].sealed // whoever can write the database gives Alice a key he knows
	if err := h.db.Apply("x", store.Op{Table: TableSubscription, Key: []byte(aliceIMPI), Value: to.encode()}); err != nil {
		t.Fatal(err)
	}
	h.run(func(task *shard.Task) {
		_, err := h.MultimediaAuth(task, &cx.MultimediaAuthRequest{IMPI: aliceIMPI, IMPU: aliceIMPU, ServerName: scscfName,
			Scheme: cx.SchemeDigestAKA, Items: 1})
		if !errors.Is(err, cx.ErrUnableToComply) {
			t.Errorf("a moved key makes vectors: %v", err)
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	h := newHouse(t)
	h.cfg.CacheSubscriptions = 8
	h.crashless()
	const users = 100
	for i := range users {
		s := subscriber()
		s.IMPI = fmt.Sprintf("0010100000%05d@%s", i, cxtest.Home)
		s.Public = []Public{{IMPU: fmt.Sprintf("sip:u%d@%s", i, cxtest.Home)}}
		if err := h.Add(background, s); err != nil {
			t.Fatal(err)
		}
	}
	h.run(func(task *shard.Task) {
		for round := range 2 {
			for i := range users {
				impi, impu := cx.IMPI(fmt.Sprintf("0010100000%05d@%s", i, cxtest.Home)), cx.IMPU(fmt.Sprintf("sip:u%d@%s", i, cxtest.Home))
				if _, err := h.UserAuthorization(task, &cx.UserAuthorizationRequest{IMPI: impi, IMPU: impu}); err != nil {
					t.Errorf("round %d, user %d: %v", round, i, err)
				}
			}
		}
	})
	names := 0
	for i := range h.cache.stripes {
		names += len(h.cache.stripes[i].names)
	}
	if n := h.cache.users.Load(); n > 8 || names > 8*2 {
		t.Errorf("%d users under %d names in a cache for 8", n, names)
	}
}

func TestStoreThatFails(t *testing.T) {
	h := newHouse(t)
	if err := h.Add(background, subscriber()); err != nil {
		t.Fatal(err)
	}
	h.register()
	h.db.Abandon() // the disk is gone; what is in memory is no excuse to promise anything
	h.run(func(task *shard.Task) {
		_, err := h.ServerAssignment(task, &cx.ServerAssignmentRequest{IMPI: aliceIMPI, IMPUs: []cx.IMPU{aliceIMPU},
			ServerName: scscfName, Type: cx.UserDeregistration})
		if !errors.Is(err, cx.ErrUnableToComply) {
			t.Errorf("de-registration that is not durable: %v", err)
		}
	})
	h.disk = h.disk.Crash()
	h.start()
	if v, err := h.Show(string(aliceIMPI)); err != nil || v.Sets[0].State != "registered" {
		t.Errorf("%+v, %v", v, err)
	}
}
