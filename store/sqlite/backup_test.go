package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"imsafe/store"
	"imsafe/store/disk"
	"imsafe/store/sqlite"
	"imsafe/store/storetest"
	"imsafe/test/peer"
)

func put(t testing.TB, db *store.DB, key, value string) uint64 {
	t.Helper()
	ops := []store.Op{{Table: storetest.Loud, Key: []byte(key), Value: []byte(value)}}
	if err := db.Apply(key, ops...); err != nil {
		t.Fatal(err)
	}
	return ops[0].Version
}

// TestBackup: a backup that is taken under load has everything acknowledged before it, pairs are whole in it, and what is restored
// from it can be told from the original.
func TestBackup(t *testing.T) {
	dir := t.TempDir()
	db := open(t, filepath.Join(dir, "a"), options())
	before := put(t, db, "before", "1")
	if _, _, err := db.Reserve("sqn", 100); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Appendf(nil, "w%d", w)
				ops := []store.Op{
					{Table: storetest.Loud, Key: key, Value: fmt.Append(nil, n)},
					{Table: storetest.Quiet, Key: key, Value: fmt.Append(nil, n)},
				}
				if err := db.Apply(string(key), ops...); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	backup := filepath.Join(dir, "backup.db")
	atLeast := db.Meta().Sequence
	if err := db.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	close(stop)
	wg.Wait()
	after := put(t, db, "after", "1")
	meta := db.Meta()
	if err := db.Backup(t.Context(), backup); !errors.Is(err, fs.ErrExist) {
		t.Errorf("wrote over a backup: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(backup); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("backup: %v %v", info.Mode(), err)
	}
	taken, err := sqlite.Manifest(backup)
	if err != nil || taken.Meta.ID != meta.ID || taken.Meta.Sequence < atLeast || time.Since(taken.At) > time.Minute {
		t.Fatalf("manifest %+v, %v", taken, err)
	}

	at := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	restored, err := sqlite.Restore(backup, filepath.Join(dir, "b"), at)
	if err != nil {
		t.Fatal(err)
	}
	if restored.ID != meta.ID || restored.Epoch != 1 || !restored.RestoredAt.Equal(at) || restored.Sequence <= after {
		t.Errorf("restored %+v", restored)
	}
	db = open(t, filepath.Join(dir, "b"), options())
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	if got := db.Meta(); got != restored {
		t.Errorf("opened as %+v, restored as %+v", got, restored)
	}
	if rec, err := db.Get(storetest.Loud, []byte("before")); err != nil || rec.Version != before {
		t.Errorf("before: %+v %v", rec, err)
	}
	if _, err := db.Get(storetest.Loud, []byte("after")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after: %v", err)
	}
	for w := range 4 {
		a, errA := db.Get(storetest.Loud, fmt.Appendf(nil, "w%d", w))
		b, errB := db.Get(storetest.Quiet, fmt.Appendf(nil, "w%d", w))
		if errors.Is(errA, store.ErrNotFound) && errors.Is(errB, store.ErrNotFound) {
			continue
		}
		if errA != nil || errB != nil || string(a.Value) != string(b.Value) {
			t.Errorf("half a change in the backup: %q %v, %q %v", a.Value, errA, b.Value, errB)
		}
	}
	// Versions and cursors of the time that was lost mean nothing any more.
	if v := put(t, db, "again", "1"); v <= after {
		t.Errorf("version %d comes a second time", v)
	}
	if _, _, err := db.Changes(after, 10); !errors.Is(err, store.ErrTrimmed) {
		t.Errorf("a cursor of the lost time: %v", err)
	}
	if from, _, err := db.Reserve("sqn", 1); err != nil || from != 100 {
		t.Errorf("counter at %d, %v", from, err)
	}
}

// TestRestoreRefuses: not over anything, and not from anything but a whole backup.
func TestRestoreRefuses(t *testing.T) {
	dir := t.TempDir()
	db := open(t, filepath.Join(dir, "a"), options())
	for i := range 200 {
		put(t, db, fmt.Sprintf("key%d", i), strings.Repeat("v", 500))
	}
	backup := filepath.Join(dir, "backup.db")
	if err := db.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Restore(backup, filepath.Join(dir, "a"), time.Now()); !errors.Is(err, sqlite.ErrNotEmpty) {
		t.Errorf("over a store: %v", err)
	}
	whole, err := os.ReadFile(backup)
	if err != nil {
		t.Fatal(err)
	}
	rotten := append([]byte(nil), whole...)
	for i := range 2000 {
		rotten[len(rotten)/2+i] ^= 0x55
	}
	image, err := os.ReadFile(filepath.Join(dir, "a", sqlite.FileName))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"an image is no backup": image,
		"rotten":                rotten,
		"cut":                   whole[:len(whole)/2],
		"empty":                 {},
		"text":                  []byte("this is not a database, not even a bit of one"),
	} {
		from := filepath.Join(dir, "bad.db")
		if err := os.WriteFile(from, content, 0o600); err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, "c")
		if _, err := sqlite.Restore(from, to, time.Now()); err == nil {
			t.Errorf("%s: restored", name)
		}
		if left, _ := os.ReadDir(to); len(left) != 0 {
			t.Errorf("%s: left %v behind", name, left)
		}
	}
	if _, err := sqlite.Restore(filepath.Join(dir, "none"), filepath.Join(dir, "c"), time.Now()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("from nothing: %v", err)
	}
	if _, err := sqlite.Restore(backup, filepath.Join(dir, "c"), time.Now()); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

func TestBackupStops(t *testing.T) {
	dir := t.TempDir()
	db := open(t, filepath.Join(dir, "a"), options())
	defer db.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	backup := filepath.Join(dir, "backup.db")
	if err := db.Backup(ctx, backup); err == nil {
		t.Error("a cancelled backup succeeded")
	}
	if _, err := os.Stat(backup); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

// TestTables: a number keeps its name, and the other way round.
func TestTables(t *testing.T) {
	dir := t.TempDir()
	o := options()
	db := open(t, dir, o)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for name, tables := range map[string][]store.TableSpec{
		"another name":   {{Table: storetest.Loud, Name: "other"}},
		"another number": {{Table: 200, Name: "loud"}},
		"swapped":        {{Table: storetest.Loud, Name: "quiet"}, {Table: storetest.Quiet, Name: "loud"}},
	} {
		o.Tables = tables
		if db, err := sqlite.Open(dir, o); err == nil {
			t.Errorf("%s: opened", name)
			db.Close()
		}
	}
	o.Tables = append(storetest.Tables(), store.TableSpec{Table: 242, Name: "later"})
	open(t, dir, o).Close()
	o.Tables = storetest.Tables() // and one less again
	open(t, dir, o).Close()
}

// TestPrivate: nobody else can read the directory or what is in it.
func TestPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	db := open(t, dir, options())
	defer db.Close()
	put(t, db, "a", "1")
	if err := db.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", sqlite.FileName, sqlite.FileName + "-wal", sqlite.FileName + "-shm", "lock", "journal-0000000000000001.seg"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
}

// TestShell: a person reads the image with the tool everybody has.
func TestShell(t *testing.T) {
	shell := peer.Need(t, "sqlite3")
	dir := t.TempDir()
	db := open(t, dir, options())
	put(t, db, "sip:alice@ims.example", `{"state":"registered"}`)
	if _, _, err := db.Reserve("sqn/001", 32); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(shell, filepath.Join(dir, sqlite.FileName), `
		SELECT value, ver, expires FROM loud WHERE key = 'sip:alice@ims.example';
		SELECT key, value FROM counters;
		SELECT name, value FROM meta WHERE name IN ('mark', 'sequence');
		SELECT name FROM tables JOIN changes USING (number);`).CombinedOutput()
	want := "{\"state\":\"registered\"}|1|0\nsqn/001|32\nmark|production\nsequence|2\nloud\n"
	if err != nil || string(out) != want {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestLocked: a verb on a running node's store is told who holds it.
func TestLocked(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, options())
	defer db.Close()
	var locked *disk.LockedError
	if _, err := sqlite.Open(dir, options()); !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Errorf("opened twice: %v", err)
	}
}
