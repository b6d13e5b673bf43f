// Command summary reads the output of "go test -json" and tells a person what happened.
//
//	go test -json ./... | go run ./test/summary [-missing file] [-budget 15m]
//
// While the tests run it prints one line per package with its time and counts, and the full
// output of whatever failed. At the end it lists every skip with its reason, the slowest tests,
// and closes with the line
//
//	N passed, N failed, N skipped
//
// A test counts once: parents of subtests count only when they fail by themselves. A package that
// does not build, or dies outside its tests, counts as one failure. The lines of the -missing file
// (test/setup.sh writes it) count as skips. The exit status is 1 if anything failed or if there
// was nothing to count, so that an empty run is not mistaken for a good one.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

func main() {
	missing := flag.String("missing", "", "file with one reason per line for what could not be tested at all")
	budget := flag.Duration("budget", 15*time.Minute, "say so when the run took longer")
	flag.Parse()

	start := time.Now()
	r := newReport(os.Stdout)
	if err := r.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "summary:", err)
		os.Exit(1)
	}
	if err := r.addMissing(*missing); err != nil {
		fmt.Fprintln(os.Stderr, "summary:", err)
		os.Exit(1)
	}
	if !r.close(time.Since(start), *budget) {
		os.Exit(1)
	}
}

// addMissing counts the lines of the file as skips; no name or no file means there are none.
func (r *report) addMissing(name string) error {
	if name == "" {
		return nil
	}
	data, err := os.ReadFile(name)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		r.skips = append(r.skips, skip{"set-up", strings.TrimSpace(line)})
	}
	return nil
}

// read takes events until the input ends. Lines that are no events are passed on as they are:
// they come from the go command itself, or from a test that writes to the real standard output.
func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			if e, ok := parseEvent(line); ok {
				r.take(e)
			} else {
				fmt.Fprint(r.out, line)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
