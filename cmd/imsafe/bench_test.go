package main

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"

	"imsafe/bench/load"
)

// TestBench: subscribers of a target are written, imported and let loose on a node, by each scenario; nothing fails.
func TestBench(t *testing.T) {
	d := newDesk(t)
	_, port, _ := strings.Cut(freePort(t), ":")
	text := func(more string) string {
		return `{"domain":"` + testDomain + `","proxies":["` + d.clear + `"],"clients":{"addresses":"127.9.0.0/24","first_port":` + port + `},` +
			`"subscribers":` + more + `}`
	}
	target := d.write("target.json", text(`{"range":{"count":60,"seed":"00112233445566778899aabbccddeeff"}}`))
	d.do("bench", "users", target, d.path("users.csv"))
	d.refused(exitFailed, []string{"is there already"}, "bench", "users", target, d.path("users.csv"))
	stop := d.start()
	defer stop()
	d.do("user", "import", d.path("users.csv"))
	fromFile := d.write("file.json", text(`{"file":"users.csv"}`))
	cpu, measured := 0.0, 0
	for _, scenario := range []string{"registration", "re-registration", "call", "message", "de-registration=1,registration=1", "mix"} {
		o := d.try("bench", "run", fromFile, "--scenario", scenario, "--rate", "40", "--time", "500ms", "--warm", "100ms", "--hold", "100ms", "--patience", "1m", "--seed", "1",
			"--pid", strconv.Itoa(os.Getpid()), "--out", d.path("report.json"), "--json")
		var r benchResult
		if err := json.Unmarshal([]byte(o.stdout), &r); err != nil {
			t.Fatalf("%s: %v in %s", scenario, err, o.stdout)
		}
		if len(r.Runs) != 1 || r.Runs[0].Failed > 0 || r.Runs[0].Offered == 0 || r.Runs[0].Verdict == load.Bad.String() {
			t.Fatalf("%s: %d %s\n%s", scenario, o.status, o.stderr, o.stdout)
		}
		if d.read("report.json") != o.stdout {
			t.Errorf("%s: --out and --json differ", scenario)
		}
		if limited := r.Runs[0].Verdict == load.Limited.String(); limited != (o.status == exitFailed) || limited == (o.status == exitDone) {
			t.Errorf("%s: exit status %d, %s", scenario, o.status, r.Runs[0].Verdict)
		} else if limited {
			continue // on a busy machine the generator was the bottleneck, and says no figure
		}
		measured++
		if cpu += r.Runs[0].CPU; r.Runs[0].Processes[0].PID != os.Getpid() {
			t.Errorf("%s: nothing of process %d: %+v", scenario, os.Getpid(), r.Runs[0].Processes)
		}
	}
	if measured > 0 && cpu <= 0 { // it comes in hundredths of a second, so that one load alone may have taken none
		t.Errorf("no CPU of process %d", os.Getpid())
	}
	d.do("bench", "run", target, "--prepare")
	bad := d.write("bad.json", strings.Replace(text(`{"file":"users.csv"}`), "domain", "domaine", 1))
	for _, s := range []struct {
		status int
		words  []string
		args   []string
	}{
		{exitUsage, []string{"domaine"}, []string{bad}},
		{exitUsage, []string{"none of mix"}, []string{target, "--scenario", "shouting"}},
		{exitUsage, []string{"more than 0"}, []string{target, "--rate", "0"}},
		{exitFailed, []string{"no such file"}, []string{d.path("nowhere.json")}},
		{exitFailed, []string{"process"}, []string{target, "--pid", "999999999"}},
	} {
		d.refused(s.status, s.words, append([]string{"bench", "run"}, s.args...)...)
	}
	if err := os.Chmod(d.path("users.csv"), 0o644); err != nil {
		t.Fatal(err)
	}
	d.refused(exitFailed, []string{"chmod 600"}, "bench", "run", fromFile)
}
