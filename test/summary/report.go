package main

import (
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"
	"time"
)

// event is a line of "go test -json"; the fields are those of cmd/test2json.
type event struct {
	Action     string
	Package    string
	ImportPath string // of build-output and build-fail
	Test       string
	Elapsed    float64 // seconds
	Output     string
}

// parseEvent reports false for a line that is not an event.
func parseEvent(line string) (event, bool) {
	var e event
	if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
		return event{}, false
	}
	return e, true
}

// report collects what the events say. The zero value lacks out; use newReport.
type report struct {
	out                     io.Writer
	packages                map[string]*pkg
	builds                  map[string]*strings.Builder // compiler output by import path
	passed, failed, skipped int                         // tests of all packages; skipped without r.skips of the set-up
	skips                   []skip
	notes                   []string // what tests that passed want to be read: seeds, figures
	slow                    []timed
}

type skip struct{ where, reason string }

type timed struct {
	name    string
	elapsed float64
}

// pkg is one package while it runs.
type pkg struct {
	tests                   map[string]*test
	output                  strings.Builder // outside any test
	passed, failed, skipped int
}

// test is one test or subtest while it runs.
type test struct {
	output    strings.Builder
	children  bool // it has subtests, which are counted in its stead
	badChild  bool // and one of them failed, so its own failure is no news
	concluded bool
}

func newReport(out io.Writer) *report {
	return &report{out: out, packages: map[string]*pkg{}, builds: map[string]*strings.Builder{}}
}

func (r *report) pkg(name string) *pkg {
	p := r.packages[name]
	if p == nil {
		p = &pkg{tests: map[string]*test{}}
		r.packages[name] = p
	}
	return p
}

// test returns the state of a test and tells its parent that it has children.
func (p *pkg) test(name string) *test {
	t := p.tests[name]
	if t == nil {
		t = &test{}
		p.tests[name] = t
		if parent := p.parent(name); parent != nil {
			parent.children = true
		}
	}
	return t
}

// parent returns the test that runs the subtest called name, nil for a top-level test.
func (p *pkg) parent(name string) *test {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		// A subtest's own name may hold slashes: the nearest known prefix is its parent.
		if t := p.tests[name[:i]]; t != nil {
			return t
		}
		return p.parent(name[:i])
	}
	return nil
}

// take moves the report forward by one event.
func (r *report) take(e event) {
	switch {
	case e.Action == "build-output":
		b := r.builds[e.ImportPath]
		if b == nil {
			b = &strings.Builder{}
			r.builds[e.ImportPath] = b
		}
		b.WriteString(e.Output)
	case e.Action == "build-fail":
		// Several test binaries may wait for the same package: its errors are printed once.
		if b := r.builds[e.ImportPath]; b != nil {
			fmt.Fprint(r.out, indent(b.String()))
			delete(r.builds, e.ImportPath)
		}
	case e.Package == "":
	case e.Test != "":
		r.takeTest(e)
	default:
		r.takePackage(e)
	}
}

func (r *report) takeTest(e event) {
	p := r.pkg(e.Package)
	t := p.test(e.Test)
	switch e.Action {
	case "output":
		t.output.WriteString(e.Output)
		if _, note, found := strings.Cut(e.Output, "note: "); found {
			r.notes = append(r.notes, e.Package+" "+strings.TrimSpace(note))
		}
		return
	case "pass", "fail", "skip":
		t.concluded = true
	default:
		return
	}
	switch e.Action {
	case "pass":
		if !t.children {
			p.passed++
		}
		r.slow = append(r.slow, timed{e.Package + " " + e.Test, e.Elapsed})
	case "skip":
		p.skipped++
		r.skips = append(r.skips, skip{e.Package + " " + e.Test, reason(t.output.String())})
	case "fail":
		r.fail(p, e.Test, t)
	}
	t.output.Reset()
}

// fail counts a failed test, prints what it said and marks its parents.
func (r *report) fail(p *pkg, name string, t *test) {
	t.concluded = true
	if !t.badChild {
		p.failed++
		fmt.Fprintf(r.out, "FAIL %s\n%s", name, indent(t.output.String()))
	}
	if parent := p.parent(name); parent != nil {
		parent.badChild = true
	}
}

func (r *report) takePackage(e event) {
	p := r.pkg(e.Package)
	switch e.Action {
	case "output":
		p.output.WriteString(e.Output)
		return
	case "pass", "skip":
	case "fail":
		r.failPackage(p)
	default:
		return
	}
	r.passed, r.failed, r.skipped = r.passed+p.passed, r.failed+p.failed, r.skipped+p.skipped
	if e.Action != "skip" { // skip means that it has no test files
		word := map[string]string{"pass": "ok  ", "fail": "FAIL"}[e.Action]
		fmt.Fprintf(r.out, "%s %-40s %6.1fs  %d passed, %d failed, %d skipped\n",
			word, e.Package, e.Elapsed, p.passed, p.failed, p.skipped)
	}
	delete(r.packages, e.Package)
}

// failPackage blames the tests that never ended, or, without any, the package itself.
func (r *report) failPackage(p *pkg) {
	var open []string
	for name, t := range p.tests {
		if !t.concluded {
			open = append(open, name)
		}
	}
	sort.Sort(sort.Reverse(sort.StringSlice(open))) // subtests before their parents
	for _, name := range open {
		p.tests[name].output.WriteString("did not finish\n")
		r.fail(p, name, p.tests[name])
	}
	if p.failed == 0 {
		p.failed++
	}
	fmt.Fprint(r.out, indent(p.output.String()))
}

// close prints the end of the report and says whether the run was good.
func (r *report) close(took, budget time.Duration) bool {
	for name, p := range r.packages {
		fmt.Fprintf(r.out, "FAIL %s: the output ends before the package does\n", name)
		p.failed++
		r.passed, r.failed, r.skipped = r.passed+p.passed, r.failed+p.failed, r.skipped+p.skipped
	}
	setup := 0
	for _, s := range r.skips {
		if s.where == "set-up" {
			setup++
		}
		fmt.Fprintf(r.out, "skip %s: %s\n", s.where, s.reason)
	}
	for _, n := range r.notes {
		fmt.Fprintf(r.out, "note %s\n", n)
	}
	r.printSlow()
	fmt.Fprintf(r.out, "took %s of %s\n", took.Round(time.Second), budget)
	if took > budget {
		fmt.Fprintf(r.out, "OVER BUDGET: make the slowest tests above faster\n")
	}
	if r.passed+r.failed == 0 {
		fmt.Fprintln(r.out, "no test ran")
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped+setup)
	return r.failed == 0 && r.passed > 0
}

// printSlow lists the tests that took longest, if they took more than a second.
func (r *report) printSlow() {
	sort.Slice(r.slow, func(i, j int) bool { return r.slow[i].elapsed > r.slow[j].elapsed })
	for i, t := range r.slow {
		if i == 5 || t.elapsed < 1 {
			break
		}
		fmt.Fprintf(r.out, "slow %6.1fs %s\n", t.elapsed, t.name)
	}
}

// reason finds what a test said when it skipped itself, between the runner's own lines.
func reason(output string) string {
	var said []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "===") || strings.HasPrefix(line, "--- ") {
			continue
		}
		said = append(said, line)
	}
	if len(said) == 0 {
		return "no reason given"
	}
	return strings.Join(said, " ")
}

func indent(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString("    " + strings.TrimRight(line, "\n") + "\n")
	}
	return b.String()
}
