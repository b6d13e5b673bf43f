package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"imsafe/proof/attack"
	"imsafe/proof/evidence"
	"imsafe/proof/runner"
	"imsafe/proto/shard"
	"imsafe/secure"
	"imsafe/test/peer"
)

func theLauncher(t *testing.T) *launcher {
	t.Helper()
	l, err := newLauncher()
	if err != nil {
		t.Fatal(err)
	}
	l.env = []string{asProgram + "=yes", "GORACE=atexit_sleep_ms=0"} // under the race detector a process sleeps a second before it ends
	return l
}

// everyAttack is how many of the rows run here, those whose places end a group of six: `make attack` runs all of them, without the race detector, which makes a target of a row slow.
const everyAttack = 6

// TestAttacks runs rows of the catalogue. With its controls on, an attack is blocked by the one that is named; with all of them off, it
// succeeds; with some off, the next blocks it.
func TestAttacks(t *testing.T) {
	l := theLauncher(t)
	for i, x := range attack.All() {
		if i%everyAttack != 5 {
			continue
		}
		t.Run(x.ID, func(t *testing.T) {
			r := runner.New(runner.Config{Launcher: l, Network: systemNetwork{}, Clock: shard.RealClock(), Random: rand.Reader})
			results, err := r.Run(t.Context(), &x)
			if err != nil {
				t.Fatal(err)
			}
			for _, result := range results {
				t.Run(path.Join(result.Variant, result.Access), func(t *testing.T) { showResult(t, &result) })
			}
		})
	}
}

func showResult(t *testing.T, result *runner.Result) {
	if result.Skipped {
		peer.Missing(t, result.Finding)
	}
	for i, record := range result.Records {
		name, want := "off", evidence.Blocked
		switch {
		case i == 0:
			name = "on"
		case record.Expected != "":
			name = "without_" + strings.Join(record.ControlsOff, "_")
		default:
			want = evidence.Succeeded
		}
		t.Run(name, func(t *testing.T) {
			if record.Verdict != want || record.Accident {
				t.Errorf("%s: %s", record.Verdict, record.Reason)
			}
		})
	}
	if !result.Proven {
		t.Error(result.Finding)
	}
}

// TestAttack_run is the verb: what it prints, what it writes, and its exit status.
func TestAttack_run(t *testing.T) {
	var stdout, stderr lockedBuffer
	a := &app{ctx: t.Context(), stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, getenv: func(string) string { return "" }, json: true}
	dir := t.TempDir()
	x, _ := attack.Find("CI-07")
	if status := a.status((&attackRunCmd{Evidence: dir}).run(a, theLauncher(t), []attack.Attack{x})); status != exitDone {
		t.Fatalf("exit status %d\n%s%s", status, stdout.String(), stderr.String())
	}
	var results []runner.Result
	if err := json.Unmarshal([]byte(stdout.String()), &results); err != nil || len(results) != 2 || !results[0].Proven || !results[1].Proven {
		t.Fatalf("%v\n%s", err, stdout.String())
	}
	for _, record := range append(results[0].Records, results[1].Records...) {
		b, err := os.ReadFile(filepath.Join(dir, record.Name()))
		if err != nil {
			t.Fatal(err)
		}
		kept, err := evidence.Read(b)
		if err != nil || kept.Verdict != record.Verdict || kept.Signed || kept.Target.Build == "" || len(kept.Covers) < 4 {
			t.Errorf("%s: %v, %+v", record.Name(), err, kept)
		}
		if string(b) != string(canonical(t, kept))+"\n" {
			t.Errorf("%s is not in canonical form", record.Name())
		}
	}
}

func canonical(t *testing.T, v any) []byte {
	t.Helper()
	b, err := evidence.Canonical(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAttack_list(t *testing.T) {
	o := (&desk{t: t}).call(context.Background(), "", "attack", "list")
	for _, x := range attack.All() {
		if !strings.Contains(o.stdout, x.ID) || !strings.Contains(o.stdout, x.Number) {
			t.Errorf("%s is not listed", x.ID)
		}
	}
	o = (&desk{t: t}).call(context.Background(), "", "attack", "list", "--json")
	var rows []attackRow
	if err := json.Unmarshal([]byte(o.stdout), &rows); err != nil || len(rows) != len(attack.All()) {
		t.Errorf("%v: %d rows", err, len(rows))
	}
	if o = (&desk{t: t}).call(context.Background(), "", "attack", "run", "no.such.attack"); o.status != exitUsage || !strings.Contains(o.stderr, "attack list") {
		t.Errorf("an unknown attack: %+v", o)
	}
	// A variant is run alone by the name that the list has for it.
	one, err := (&attackRunCmd{IDs: []string{"ci-01/response", "ci.identity.asserted"}}).attacks()
	if x, _ := attack.Find("CI-01"); err != nil || len(one) != 2 || len(one[0].Variants) != 1 || one[0].Variants[0].Name != "response" || len(x.Variants) < 2 {
		t.Errorf("%v, %+v", err, one)
	}
	if _, err := (&attackRunCmd{IDs: []string{"CI-01/nothing"}}).attacks(); err == nil {
		t.Error("there is no such variant")
	}
}

// TestConcluded: a failure outweighs what could not be run, and both are told from success.
func TestConcluded(t *testing.T) {
	proven, skipped, failed := runner.Result{Proven: true}, runner.Result{Skipped: true}, runner.Result{}
	for _, c := range []struct {
		results []runner.Result
		want    int
	}{
		{[]runner.Result{proven}, exitDone}, {[]runner.Result{proven, skipped}, exitUnverified},
		{[]runner.Result{failed, skipped, proven}, exitFailed},
	} {
		a := &app{ctx: t.Context(), stderr: &lockedBuffer{}}
		if got := a.status(concluded(c.results)); got != c.want {
			t.Errorf("%+v: exit status %d, want %d", c.results, got, c.want)
		}
	}
}

// TestTarget_refuses: a target that is asked for what cannot be says so, and the launcher passes it on.
func TestTarget_refuses(t *testing.T) {
	target, err := theLauncher(t).Launch(t.Context(), runner.Setup{Off: []secure.ControlID{secure.CIConfidentialityKeyEgress}})
	if err == nil {
		t.Fatal("a control that has no switch was switched off", target.Close())
	}
	if !strings.Contains(err.Error(), "cannot be switched off") {
		t.Error(err)
	}
}
