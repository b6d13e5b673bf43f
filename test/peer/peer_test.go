package peer

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// verdict is a testing.TB that remembers how a test ended instead of ending one.
type verdict struct {
	testing.TB
	skipped, failed string
}

func (v *verdict) Helper()                   {}
func (v *verdict) Skip(args ...any)          { v.skipped = fmt.Sprint(args...); runtime.Goexit() }
func (v *verdict) Fatal(args ...any)         { v.failed = fmt.Sprint(args...); runtime.Goexit() }
func (v *verdict) Fatalf(f string, a ...any) { v.failed = fmt.Sprintf(f, a...); runtime.Goexit() }

// ask calls Need on a goroutine of its own, because Skip and Fatal end the goroutine.
func ask(t *testing.T, name string) (path string, v *verdict) {
	v = &verdict{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		path = Need(v, name)
	}()
	<-done
	return path, v
}

func TestNeed(t *testing.T) {
	stub := t.TempDir()
	if err := os.WriteFile(filepath.Join(stub, "sipp"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}

	t.Run("there", func(t *testing.T) {
		t.Setenv("PATH", stub)
		if path, v := ask(t, "sipp"); path != filepath.Join(stub, "sipp") {
			t.Errorf("path %q, skipped %q, failed %q", path, v.skipped, v.failed)
		}
	})
	t.Run("missing on a laptop", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		t.Setenv("CI", "")
		if _, v := ask(t, "sipp"); !strings.HasPrefix(v.skipped, SkipPrefix+"sipp (Debian: sip-tester)") || v.failed != "" {
			t.Errorf("skipped %q, failed %q", v.skipped, v.failed)
		}
	})
	t.Run("missing in CI", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		t.Setenv("CI", "true")
		if _, v := ask(t, "sipp"); v.skipped != "" || !strings.HasPrefix(v.failed, SkipPrefix+"sipp") {
			t.Errorf("skipped %q, failed %q", v.skipped, v.failed)
		}
	})
	t.Run("unknown name is a mistake of the test", func(t *testing.T) {
		t.Setenv("CI", "")
		if _, v := ask(t, "no-such-peer"); v.skipped != "" || !strings.Contains(v.failed, "not in test/peer/peers.tsv") {
			t.Errorf("skipped %q, failed %q", v.skipped, v.failed)
		}
	})
}

func TestTable(t *testing.T) {
	peers, err := Peers()
	if err != nil {
		t.Fatal(err)
	}
	if len(peers) == 0 {
		t.Fatal("no peers in peers.tsv")
	}
	seen := map[string]bool{}
	for _, p := range peers {
		if seen[p.Name] {
			t.Errorf("%s stands twice in peers.tsv", p.Name)
		}
		seen[p.Name] = true
	}
}
