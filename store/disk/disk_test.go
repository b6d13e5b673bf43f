package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestSame: the real disk and the fake one answer alike, as long as the power stays on.
func TestSame(t *testing.T) {
	for name, d := range map[string]Disk{"os": OS(t.TempDir()), "fake": NewFake(1)} {
		t.Run(name, func(t *testing.T) {
			f, err := d.Create("a")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.Create("a"); !errors.Is(err, fs.ErrExist) {
				t.Errorf("created twice: %v", err)
			}
			if _, err := d.Open("b"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("opened nothing: %v", err)
			}
			if err := d.Remove("b"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("removed nothing: %v", err)
			}
			if err := f.Preallocate(3 << 20); err != nil {
				t.Fatal(err)
			}
			if size, err := f.Size(); err != nil || size != 3<<20 {
				t.Errorf("size %d %v", size, err)
			}
			if _, err := f.WriteAt([]byte("hello"), 2<<20); err != nil {
				t.Fatal(err)
			}
			if err := f.Datasync(); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(f.Close(), d.Rename("a", "c"), d.SyncDir()); err != nil {
				t.Fatal(err)
			}
			if f, err = d.Open("c"); err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			got := make([]byte, 7)
			if _, err := f.ReadAt(got, 2<<20-1); err != nil || string(got) != "\x00hello\x00" {
				t.Errorf("%q %v", got, err)
			}
			if n, err := f.ReadAt(got, 3<<20-2); n != 2 || err == nil {
				t.Errorf("over the end: %d %v", n, err)
			}
			lock, err := d.Lock()
			if err != nil {
				t.Fatal(err)
			}
			var locked *LockedError
			if _, err := d.Lock(); !errors.As(err, &locked) {
				t.Errorf("locked twice: %v", err)
			}
			if err := lock.Close(); err != nil {
				t.Fatal(err)
			}
			if lock, err = d.Lock(); err != nil {
				t.Fatal(err)
			}
			defer lock.Close()
			names, err := d.ReadDir()
			names = slices.DeleteFunc(names, func(n string) bool { return n == lockName })
			if err != nil || !slices.Equal(names, []string{"c"}) {
				t.Errorf("%q %v", names, err)
			}
		})
	}
}

func TestOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	d := OS(dir)
	f, err := d.Create("a")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if info, err := os.Stat(filepath.Join(dir, "a")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

func create(t *testing.T, d *Fake, name string, size int64) File {
	t.Helper()
	f, err := d.Create(name)
	if err == nil {
		err = f.Preallocate(size)
	}
	if err == nil {
		err = d.SyncDir()
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func content(t *testing.T, d *Fake, name string) []byte {
	t.Helper()
	f, err := d.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	size, _ := f.Size()
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestPowerCut: what was synced is there; of what was not, every sector is the old one or the new one, and over many seeds both occur,
// also in the middle of a write.
func TestPowerCut(t *testing.T) {
	kept, lost, torn := 0, 0, 0
	for seed := range uint64(40) {
		d := NewFake(seed)
		f := create(t, d, "a", 8*sector)
		synced := bytes.Repeat([]byte("s"), 4*sector)
		fresh := bytes.Repeat([]byte("n"), 4*sector)
		if _, err := f.WriteAt(synced, 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Datasync(); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(fresh, 2*sector); err != nil {
			t.Fatal(err)
		}
		after := d.Crash()
		if _, err := f.WriteAt(fresh, 0); !errors.Is(err, ErrCut) {
			t.Errorf("the old disk lives: %v", err)
		}
		b := content(t, after, "a")
		if !bytes.Equal(b[:2*sector], synced[:2*sector]) {
			t.Fatal("a synced sector was lost")
		}
		news := 0
		for s := 2; s < 6; s++ {
			got := b[s*sector : (s+1)*sector]
			old := bytes.Repeat([]byte{"ss\x00\x00"[s-2]}, sector)
			switch {
			case bytes.Equal(got, fresh[:sector]):
				news++
			case !bytes.Equal(got, old):
				t.Fatalf("seed %d, sector %d: %q", seed, s, got[:8])
			}
		}
		switch news {
		case 0:
			lost++
		case 4:
			kept++
		default:
			torn++
		}
	}
	if kept == 0 || lost == 0 || torn == 0 {
		t.Errorf("of 40 cuts %d kept, %d lost, %d tore the write", kept, lost, torn)
	}
}

// TestDirectoryCut: a name is durable after SyncDir and not before.
func TestDirectoryCut(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(60) {
		d := NewFake(seed)
		create(t, d, "old", sector)
		if err := d.Rename("old", "new"); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Create("other"); err != nil {
			t.Fatal(err)
		}
		names, _ := d.Crash().ReadDir()
		seen[fmt.Sprint(names)] = true
	}
	for _, want := range []string{"[old]", "[new]", "[new other]"} {
		if !seen[want] {
			t.Errorf("never %s: %v", want, seen)
		}
	}
	if len(seen) != 3 {
		t.Errorf("not a prefix of what was done: %v", seen)
	}
	d := NewFake(1)
	create(t, d, "a", sector)
	if err := errors.Join(d.Remove("a"), d.SyncDir()); err != nil {
		t.Fatal(err)
	}
	if names, _ := d.Crash().ReadDir(); len(names) != 0 {
		t.Errorf("removed and back: %q", names)
	}
}

// TestCutAfter: the power goes in the operation it was told, and everything after it fails.
func TestCutAfter(t *testing.T) {
	d := NewFake(1)
	f := create(t, d, "a", sector)
	d.CutAfter(2)
	if _, err := f.WriteAt([]byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := f.Datasync(); !errors.Is(err, ErrCut) {
			t.Fatalf("sync: %v", err)
		}
	}
	if _, err := d.Open("a"); !errors.Is(err, ErrCut) {
		t.Errorf("open: %v", err)
	}
	if _, err := f.ReadAt(make([]byte, 1), 0); !errors.Is(err, ErrCut) {
		t.Errorf("read: %v", err)
	}
	if err := d.SyncDir(); !errors.Is(err, ErrCut) {
		t.Errorf("directory: %v", err)
	}
}

// TestFailSync: after a failed sync the data is read back, the next sync succeeds, and the power cut shows that it lied.
func TestFailSync(t *testing.T) {
	d := NewFake(1)
	f := create(t, d, "a", sector)
	d.FailSync(1)
	if _, err := f.WriteAt([]byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Datasync(); !errors.Is(err, ErrSync) {
		t.Fatal(err)
	}
	if err := f.Datasync(); err != nil {
		t.Fatal(err)
	}
	if content(t, d, "a")[0] != 'x' {
		t.Error("not read back")
	}
	if content(t, d.Crash(), "a")[0] != 0 {
		t.Error("it was durable after all")
	}
}

func TestCapacity(t *testing.T) {
	d := NewFake(1)
	d.Capacity(4 * sector)
	f := create(t, d, "a", 3*sector)
	g, err := d.Create("b")
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Preallocate(2 * sector); !errors.Is(err, ErrFull) {
		t.Errorf("preallocate: %v", err)
	}
	if _, err := f.WriteAt(make([]byte, 3*sector), 0); err != nil {
		t.Errorf("inside: %v", err)
	}
	if _, err := f.WriteAt(make([]byte, 2*sector), 3*sector); !errors.Is(err, ErrFull) {
		t.Errorf("beyond: %v", err)
	}
	if err := d.Remove("a"); err != nil {
		t.Fatal(err)
	}
	if err := g.Preallocate(2 * sector); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// TestSlowSync: durable when the clock says so, whether the caller sleeps or asks.
func TestSlowSync(t *testing.T) {
	now := time.Duration(0)
	clock := func() time.Duration { return now }
	delay := func() time.Duration { return 10 * time.Millisecond }
	for at, want := range map[time.Duration]byte{10 * time.Millisecond: 'x', 9 * time.Millisecond: 0} {
		lost := false
		for seed := range uint64(20) {
			now = 0
			d := NewFake(seed)
			f := create(t, d, "a", sector)
			d.SlowSync(clock, delay, nil)
			if _, err := f.WriteAt([]byte("x"), 0); err != nil {
				t.Fatal(err)
			}
			if err := f.Datasync(); err != nil || d.Busy() != 10*time.Millisecond {
				t.Fatalf("%v, busy until %v", err, d.Busy())
			}
			now = at
			lost = lost || content(t, d.Crash(), "a")[0] == 0
		}
		if lost != (want == 0) {
			t.Errorf("crash at %v: lost %v", at, lost)
		}
	}
	slept := time.Duration(0)
	d := NewFake(1)
	f := create(t, d, "a", sector)
	d.SlowSync(clock, delay, func(wait time.Duration) { slept += wait })
	if _, err := f.WriteAt([]byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Datasync(); err != nil || slept != 10*time.Millisecond {
		t.Errorf("%v after %v", err, slept)
	}
	if content(t, d.Crash(), "a")[0] != 'x' {
		t.Error("not durable")
	}
}
