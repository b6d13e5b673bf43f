package main

import (
	"strings"
	"testing"
	"time"
)

// run feeds a stream of events to a report and returns what it printed and its verdict.
func run(t *testing.T, input string) (string, bool) {
	t.Helper()
	var out strings.Builder
	r := newReport(&out)
	if err := r.read(strings.NewReader(input)); err != nil {
		t.Fatal(err)
	}
	good := r.close(time.Minute, time.Hour)
	return out.String(), good
}

func TestReport(t *testing.T) {
	for _, c := range []struct {
		name  string
		input string
		want  []string // parts of the output, in any order
		last  string
		good  bool
	}{
		{"subtests count, their parent does not",
			`{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestA/x"}
{"Action":"run","Package":"p","Test":"TestA/y"}
{"Action":"pass","Package":"p","Test":"TestA/x"}
{"Action":"pass","Package":"p","Test":"TestA/y"}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":2}
{"Action":"pass","Package":"p","Elapsed":2.5}
`, []string{"ok   p", "2.5s  2 passed", "slow    2.0s p TestA"}, "2 passed, 0 failed, 0 skipped", true},

		{"a failed subtest is one failure and speaks",
			`{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestA/x"}
{"Action":"output","Package":"p","Test":"TestA/x","Output":"    a_test.go:3: want 1, have 2\n"}
{"Action":"fail","Package":"p","Test":"TestA/x"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"fail","Package":"p"}
`, []string{"FAIL TestA/x\n        a_test.go:3: want 1, have 2\n"}, "0 passed, 1 failed, 0 skipped", false},

		{"a parent that fails after good subtests counts",
			`{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestA/x"}
{"Action":"pass","Package":"p","Test":"TestA/x"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"fail","Package":"p"}
`, []string{"FAIL TestA\n"}, "1 passed, 1 failed, 0 skipped", false},

		{"a note of a test that passed is told",
			`{"Action":"output","Package":"p","Test":"TestN","Output":"    n_test.go:9: note: seed 42: fine\n"}
{"Action":"pass","Package":"p","Test":"TestN"}
{"Action":"pass","Package":"p"}
`, []string{"note p seed 42: fine\n"}, "1 passed, 0 failed, 0 skipped", true},
		{"a skip gives its reason",
			`{"Action":"run","Package":"p","Test":"TestS"}
{"Action":"output","Package":"p","Test":"TestS","Output":"=== RUN   TestS\n"}
{"Action":"output","Package":"p","Test":"TestS","Output":"    s_test.go:9: peer missing: sipp\n"}
{"Action":"output","Package":"p","Test":"TestS","Output":"--- SKIP: TestS (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestS"}
{"Action":"pass","Package":"p","Test":"TestT"}
{"Action":"pass","Package":"p"}
`, []string{"skip p TestS: s_test.go:9: peer missing: sipp\n"}, "1 passed, 0 failed, 1 skipped", true},

		{"a package that does not build is a failure",
			`{"ImportPath":"q [q.test]","Action":"build-output","Output":"q.go:1: undefined: x\n"}
{"ImportPath":"q [q.test]","Action":"build-fail"}
{"Action":"fail","Package":"q"}
`, []string{"    q.go:1: undefined: x\n", "FAIL q"}, "0 passed, 1 failed, 0 skipped", false},

		{"a test that panics or hangs is named",
			`{"Action":"run","Package":"p","Test":"TestHang"}
{"Action":"output","Package":"p","Output":"panic: test timed out\n"}
{"Action":"fail","Package":"p"}
`, []string{"FAIL TestHang", "did not finish", "panic: test timed out"}, "0 passed, 1 failed, 0 skipped", false},

		{"output that breaks off is a failure",
			`{"Action":"pass","Package":"p","Test":"TestA"}
`, []string{"the output ends before the package does"}, "1 passed, 1 failed, 0 skipped", false},

		{"nothing at all is not a good run", "", []string{"no test ran"}, "0 passed, 0 failed, 0 skipped", false},

		{"packages without tests are silent, foreign lines pass",
			`go: downloading something
{"Action":"skip","Package":"empty"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p"}
`, []string{"go: downloading something\n"}, "1 passed, 0 failed, 0 skipped", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, good := run(t, c.input)
			if good != c.good {
				t.Errorf("good = %v", good)
			}
			for _, w := range c.want {
				if !strings.Contains(out, w) {
					t.Errorf("no %q in the output", w)
				}
			}
			if !strings.HasSuffix(out, "\n"+c.last+"\n") && out != c.last+"\n" {
				t.Errorf("last line is not %q", c.last)
			}
			if t.Failed() {
				t.Log("\n" + out)
			}
		})
	}
}
