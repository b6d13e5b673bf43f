package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestServiceNew: what it writes is built outside of our source, is in form, and passes its own tests, without a look at the network.
func TestServiceNew(t *testing.T) {
	source, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	d := newDesk(t)
	t.Chdir(d.dir)
	wantRefused(t, d.call(t.Context(), "", "service", "new", "hello"), exitUsage, []string{"--source"}, nil)
	wantRefused(t, d.call(t.Context(), "", "service", "new", "He llo", "--source", source), exitUsage, []string{"service"}, nil)
	if o := d.call(t.Context(), "", "service", "new", "hello", "--source", source, "--domain", "ims.example"); o.status != exitDone {
		t.Fatalf("%s%s", o.stdout, o.stderr)
	}
	wantRefused(t, d.call(t.Context(), "", "service", "new", "hello", "--source", source), exitFailed, []string{"is there already"}, nil)
	run := func(name string, args ...string) string {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir, cmd.Env = "hello", append(os.Environ(), "GOPROXY=off", "GOFLAGS=", "GOWORK=off")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	if left := run("gofmt", "-l", "."); left != "" {
		t.Errorf("not in form: %s", left)
	}
	run("go", "vet", ".")
	run("go", "test", "-count=1", ".")
}

// TestSourceOf: inside our source a service is a package of it, and needs no module.
func TestSourceOf(t *testing.T) {
	here, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if root, inside := sourceOf("."); !inside || root != here {
		t.Errorf("the source is at %q (%v), want %q", root, inside, here)
	}
	if root, inside := sourceOf(t.TempDir()); inside {
		t.Errorf("a directory elsewhere is in %q", root)
	}
}
