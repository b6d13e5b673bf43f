package postgres_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"imsafe/store"
	"imsafe/store/postgres"
	"imsafe/store/storetest"
	server "imsafe/test/postgres"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wallClock is real time.
type wallClock struct{ start time.Time }

func (c wallClock) Now() time.Duration { return time.Since(c.start) }
func (c wallClock) Wall() time.Time    { return time.Now() }

func options(t testing.TB, s *server.Server, node uint16, weaken ...string) postgres.Options {
	t.Helper()
	target, err := postgres.ParseTarget(s.URL(), "", weaken)
	if err != nil {
		t.Fatal(err)
	}
	return postgres.Options{Target: target, Node: node, Clock: wallClock{time.Now()}, Random: rand.Reader, Tables: storetest.Tables(), Readers: 1,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

// open opens node's end of the store until the test ends.
func open(t testing.TB, o postgres.Options) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() }) // the test may have done so
	return db
}

// TestPostgres runs all that needs a server on one.
func TestPostgres(t *testing.T) {
	s := server.Start(t)
	engine := func(node uint16) storetest.Engine {
		return storetest.Engine{
			Open:  func(t testing.TB) store.Store { return open(t, options(t, s, node)) },
			Close: func(t testing.TB, st store.Store) { st.(*postgres.DB).Close() },
			Crash: func(t testing.TB, st store.Store) { st.(*postgres.DB).Abandon() },
		}
	}
	clean := func() { s.SQL("set client_min_messages = error; drop schema if exists imsafe cascade") }
	t.Run("conformance", func(t *testing.T) {
		storetest.Run(t, func(testing.TB) storetest.Engine {
			clean()
			return engine(1)
		})
	})
	clean()
	for _, c := range []struct {
		name string
		test func(*testing.T, *server.Server)
	}{
		{"a node number is had once", testNumber},
		{"two nodes count and reserve together", testTogether},
		{"what the other node writes is known at once", testStaleness},
		{"nothing is missed in the outbox of two nodes", testOutbox},
		{"the oldest changes go", testTrim},
		{"a mark of a laboratory", testMark},
		{"weak durability is refused", testWeak},
		{"killed with writers", testKill},
		{"away for longer than anybody waits", testAway},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, s) })
	}
}

func testNumber(t *testing.T, s *server.Server) {
	first := open(t, options(t, s, 7))
	if _, err := postgres.Open(options(t, s, 7)); !errors.Is(err, postgres.ErrNodeTaken) {
		t.Fatalf("a second node 7: %v", err)
	}
	other := open(t, options(t, s, 8))
	if first.Meta().ID != other.Meta().ID {
		t.Error("two nodes of one database have two stores")
	}
	first.Close()
	open(t, options(t, s, 7)).Close()
}

// put changes one record and returns its version.
func put(st store.Store, key, value string, cond store.Cond, version uint64) (uint64, error) {
	ops := []store.Op{{Table: storetest.Loud, Key: []byte(key), Value: []byte(value), Cond: cond, Version: version}}
	err := st.Apply(key, ops...)
	return ops[0].Version, err
}

// count adds one to a record as often as asked, as the rooms do it: after a conflict it reads again.
func count(t *testing.T, st store.Store, key string, times int) (conflicts int) {
	for done := 0; done < times; {
		rec, err := st.Get(storetest.Loud, []byte(key))
		cond := store.IfVersion
		if errors.Is(err, store.ErrNotFound) {
			cond = store.IfAbsent
		} else if err != nil {
			t.Error(err)
			return conflicts
		}
		switch _, err := put(st, key, string(rec.Value)+"x", cond, rec.Version); {
		case err == nil:
			done++
		case errors.Is(err, store.ErrConflict):
			conflicts++
		default:
			t.Error(err)
			return conflicts
		}
	}
	return conflicts
}

func testTogether(t *testing.T, s *server.Server) {
	nodes := []*postgres.DB{open(t, options(t, s, 1)), open(t, options(t, s, 2))}
	const each, workers, takes = 15, 3, 20
	var mu sync.Mutex
	given := map[uint64]bool{}
	var conflicts atomic.Int64
	var group sync.WaitGroup
	for _, n := range nodes {
		for range workers {
			group.Go(func() { conflicts.Add(int64(count(t, n, "shared", each))) })
			group.Go(func() {
				for range takes {
					from, to, err := n.Reserve("counter", 3)
					if err != nil || to != from+3 {
						t.Errorf("reserved %d to %d, %v", from, to, err)
						return
					}
					mu.Lock()
					for v := from; v < to; v++ {
						if given[v] {
							t.Errorf("%d was given twice", v)
						}
						given[v] = true
					}
					mu.Unlock()
				}
			})
		}
	}
	group.Wait()
	for i, n := range nodes {
		rec, err := n.Get(storetest.Loud, []byte("shared"))
		if want := 2 * workers * each; err != nil && i == 0 || len(rec.Value) > want {
			t.Errorf("node %d has counted %d of %d, %v", i+1, len(rec.Value), want, err)
		}
	}
	if got := len(s.SQL("select encode(value, 'escape') from imsafe.records where key = 'shared'")); got != 2*workers*each {
		t.Errorf("%d of %d were counted", got, 2*workers*each)
	}
	if conflicts.Load() == 0 {
		t.Error("nobody met anybody: the test has shown nothing")
	}
}

// testStaleness: what one node has acknowledged the other one stops to believe otherwise, soon, and Changed says so before.
func testStaleness(t *testing.T, s *server.Server) {
	a, b := open(t, options(t, s, 1)), open(t, options(t, s, 2))
	for i := range 20 {
		was, err := put(a, "k", "old", store.Always, 0)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the old one", func() bool { return version(t, b, "k") == was })
		eventually(t, "it is kept", func() bool { // not while the news of it is still on its way
			misses := b.Stats().Misses
			return version(t, b, "k") == was && b.Stats().Misses == misses
		})
		changed := b.Changed(storetest.Loud)
		is, err := put(a, "k", "new", store.IfVersion, was)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 { // a change on what is old by now is a conflict, and after it what is read is new
			if _, err := put(b, "k", "late", store.IfVersion, was); !errors.Is(err, store.ErrConflict) {
				t.Fatalf("a late write: %v", err)
			}
			if got := version(t, b, "k"); got != is {
				t.Fatalf("after a conflict version %d is read, not %d", got, is)
			}
		}
		eventually(t, "the new one", func() bool { return version(t, b, "k") == is })
		eventually(t, "the number of the table is another", func() bool { return b.Changed(storetest.Loud) != changed })
		if _, err := b.Get(storetest.Loud, []byte("absent")); !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
	}
}

func version(t *testing.T, st store.Store, key string) uint64 {
	t.Helper()
	rec, err := st.Get(storetest.Loud, []byte(key))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	return rec.Version
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after half a minute: %s", what)
		}
	}
}

// testOutbox: two nodes write while a third follows. A version that was drawn first and committed second must not be passed over.
func testOutbox(t *testing.T, s *server.Server) {
	a, b := open(t, options(t, s, 1)), open(t, options(t, s, 2))
	follower := open(t, options(t, s, 3))
	_, cursor, err := follower.Changes(0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	written, seen := map[uint64]string{}, map[uint64]bool{} // a follower may see a change before its writer hears that it stands
	var writers sync.WaitGroup
	for i, n := range []*postgres.DB{a, b} {
		for w := range 4 {
			writers.Go(func() {
				for range 40 {
					key := string(rune('a'+i)) + string(rune('0'+w))
					v, err := put(n, key, "v", store.Always, 0)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					written[v] = key
					mu.Unlock()
				}
			})
		}
	}
	done := make(chan struct{})
	go func() {
		writers.Wait()
		close(done)
	}()
	for ended := false; ; {
		select {
		case <-done:
			ended = true
		default:
		}
		rows, next, err := follower.Changes(cursor, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range rows {
			seen[c.Sequence] = true
		}
		if cursor = next; ended && len(rows) == 0 {
			break
		}
	}
	// Several changes of one record in a batch are folded into the last: a writer waits for each, so here there are none.
	for v, key := range written {
		if !seen[v] {
			t.Errorf("change %d of %s was passed over", v, key)
		}
	}
}

func testTrim(t *testing.T, s *server.Server) {
	o := options(t, s, 1)
	o.ChangesKept = 3
	node := open(t, o)
	var versions []uint64
	for range 10 {
		v, err := put(node, "trimmed", "v", store.Always, 0)
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, v)
	}
	if err := node.Trim(); err != nil {
		t.Fatal(err)
	}
	_, next, err := node.Changes(versions[0], 100)
	if !errors.Is(err, store.ErrTrimmed) || next < versions[9] {
		t.Fatalf("changes that are gone: next %d, %v", next, err)
	}
	rows, _, err := node.Changes(versions[6], 100)
	if err != nil || len(rows) != 3 {
		t.Errorf("%d changes are left after the trim, %v", len(rows), err)
	}
	if rows, _, err = node.Changes(next, 100); err != nil || len(rows) != 0 {
		t.Errorf("after the cursor that was given: %d rows, %v", len(rows), err)
	}
}

func testMark(t *testing.T, s *server.Server) {
	o := options(t, s, 1)
	o.Lab = true
	if _, err := postgres.Open(o); !errors.Is(err, store.ErrWrongMark) {
		t.Errorf("a laboratory on a production database: %v", err)
	}
}

func testWeak(t *testing.T, s *server.Server) {
	node := open(t, options(t, s, 1))
	for _, c := range []struct{ set, reset, weakening string }{
		{"alter role imsafe set synchronous_commit = off", "alter role imsafe reset synchronous_commit", postgres.WeakenCommitOff},
		{"alter database postgres set synchronous_commit = off", "alter database postgres reset synchronous_commit", postgres.WeakenCommitOff},
		{"alter system set synchronous_commit = off", "alter system reset synchronous_commit", postgres.WeakenCommitOff},
		{"alter system set fsync = off", "alter system reset fsync", postgres.WeakenFsync},
	} {
		s.SQL(c.set)
		s.SQL("select pg_reload_conf()")
		eventually(t, "the server has reloaded", func() bool {
			db, err := postgres.Open(options(t, s, 2))
			if err == nil {
				db.Close()
				return false
			}
			if !errors.Is(err, postgres.ErrWeak) || !strings.Contains(err.Error(), c.weakening) {
				t.Fatalf("%s: %v", c.set, err)
			}
			return true
		})
		open(t, options(t, s, 2, c.weakening)).Close()
		system := strings.HasPrefix(c.set, "alter system")
		if system { // who has a connection notices it too
			eventually(t, "the node sees it", func() bool { return errors.Is(node.Failure(), postgres.ErrWeak) })
		}
		s.SQL(c.reset)
		s.SQL("select pg_reload_conf()")
		eventually(t, "the node serves again", func() bool { return node.Failure() == nil })
		if _, err := put(node, "weak", "v", store.Always, 0); err != nil {
			t.Fatalf("after %s: %v", c.reset, err)
		}
	}
}

// keepsWriting lets a writer who is alone with his record make it longer by an octet, again and again until ctx ends. What fails may come to be or not.
func keepsWriting(ctx context.Context, t *testing.T, n *postgres.DB, key string, acknowledged, failed *atomic.Int64) {
	for ctx.Err() == nil {
		rec, err := n.Get(storetest.Loud, []byte(key))
		cond := store.IfVersion
		if errors.Is(err, store.ErrNotFound) {
			cond = store.IfAbsent
		} else if err != nil {
			<-time.After(time.Millisecond)
			continue
		}
		switch _, err := put(n, key, string(rec.Value)+"x", cond, rec.Version); {
		case err == nil:
			acknowledged.Add(1)
		case errors.Is(err, store.ErrFailed):
			failed.Add(1)
		default:
			t.Errorf("a writer who is alone with his record: %v", err)
			return
		}
	}
}

// testKill: all processes of the server die while two nodes write. What was acknowledged is there; the nodes come back by themselves, and no
// change is made twice though connections were lost between a commit and its answer.
func testKill(t *testing.T, s *server.Server) {
	const workers, rounds = 6, 2
	nodes := []*postgres.DB{open(t, options(t, s, 1)), open(t, options(t, s, 2))}
	var acknowledged, failed [2 * workers]atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var group sync.WaitGroup
	for w := range 2 * workers {
		group.Go(func() {
			keepsWriting(ctx, t, nodes[w%2], string(rune('A'+w)), &acknowledged[w], &failed[w])
		})
	}
	progress := func(what string) {
		var before [2 * workers]int64
		for w := range before {
			before[w] = acknowledged[w].Load()
		}
		eventually(t, what, func() bool {
			for w := range before {
				if acknowledged[w].Load() < before[w]+3 {
					return t.Failed()
				}
			}
			return true
		})
	}
	for range rounds {
		progress("all write")
		s.Kill()
		s.Run()
	}
	progress("all write after the last kill")
	stop()
	group.Wait()
	total := int64(0)
	for w := range 2 * workers {
		key := string(rune('A' + w))
		rec, err := nodes[w%2].Get(storetest.Loud, []byte(key))
		least, most := acknowledged[w].Load(), acknowledged[w].Load()+failed[w].Load()
		if got := int64(len(rec.Value)); err != nil || got < least || got > most {
			t.Errorf("%s: %d changes are there, %d were acknowledged, %d unknown, %v", key, got, least, failed[w].Load(), err)
		}
		total += least
	}
	t.Logf("%d changes acknowledged, %d conflicts over %d kills", total, nodes[0].Stats().Conflicts+nodes[1].Stats().Conflicts, rounds)
}

// testAway: a database that does not come back is told of, and nobody waits for ever; once it has been away for longer than that nobody waits at all; when
// it comes, the node serves.
func testAway(t *testing.T, s *server.Server) {
	o := options(t, s, 1)
	o.Patience = 300 * time.Millisecond
	node := open(t, o)
	if _, err := put(node, "k", "v", store.Always, 0); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if _, err := put(node, "k", "lost", store.Always, 0); !errors.Is(err, store.ErrFailed) {
		t.Errorf("a change without a database: %v", err)
	}
	eventually(t, "the node says so", func() bool { return node.Failure() != nil })
	if before := node.Changed(storetest.Loud); before == node.Changed(storetest.Loud) {
		t.Error("what others change cannot be known, and Changed says that nothing does")
	}
	if _, err := node.Get(storetest.Loud, []byte("k")); !errors.Is(err, store.ErrFailed) {
		t.Errorf("a read without a database: %v", err)
	}
	waits := time.Duration(0)
	for range 50 { // each would wait for o.Patience
		began := time.Now()
		if _, err := put(node, "k", "lost", store.Always, 0); !errors.Is(err, store.ErrFailed) {
			t.Errorf("a change without a database: %v", err)
		}
		waits += time.Since(began)
	}
	if waits > 25*o.Patience {
		t.Errorf("fifty who came late have waited %v", waits)
	}
	s.Run()
	eventually(t, "the node serves again", func() bool { return node.Failure() == nil })
	if _, err := put(node, "k", "again", store.Always, 0); err != nil {
		t.Error(err)
	}
}
