// Command beside measures imsafe and Kamailio in one run, with the same load at the same rate, one after the other again and again, and
// prints medians and ratios: what survives a noisy machine.
//
//	go run ./bench/beside            # all comparisons
//	go run ./bench/beside -only register,call -rounds 5 -time 20s
//
// Kamailio is Debian's, configured by test/foreign/kamailio: a registrar and proxy in memory, and the CSCFs of an IMS, three programs, which
// ask an HSS of ours by Cx. Everything runs in namespaces that this program makes for itself (root, or the right to make user namespaces), the
// servers on one processor and the load on another; when it ends, the kernel ends what it started.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"imsafe/bench/load"
	"imsafe/test/foreign/kamailio"
)

// options are the flags.
type options struct {
	program, only, out, dir string
	rounds, users           int
	time, hold, late, card  time.Duration
	scale                   float64
}

func main() {
	if err := dispatch(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "beside:", err)
		os.Exit(1)
	}
}

// dispatch looks at the first argument: a verb, or the flags of comparisons with Kamailio.
func dispatch(arguments []string) error {
	switch {
	case len(arguments) > 0 && arguments[0] == mediaVerb:
		return measureMedia(arguments[1:])
	case len(arguments) == 2 && arguments[0] == anchorVerb:
		return beAnchor(arguments[1])
	}
	return run()
}

func run() error {
	var o options
	flag.StringVar(&o.program, "imsafe", "", "program to measure; without it, this tree is built")
	flag.StringVar(&o.only, "only", "", "names of comparisons, with commas between")
	flag.StringVar(&o.out, "out", "", "file for the results as JSON")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each is measured")
	flag.IntVar(&o.users, "users", 8000, "subscribers of each")
	flag.DurationVar(&o.time, "time", 10*time.Second, "how long each measurement is")
	flag.DurationVar(&o.hold, "hold", time.Second, "mean length of a call")
	flag.DurationVar(&o.late, "late", 50*time.Millisecond, "how late one arrival in a hundred may be; more where others use the machine, because CPU is what is compared")
	flag.DurationVar(&o.card, "card", 20*time.Millisecond, "what a card takes to answer a challenge; Kamailio's S-CSCF knows its own challenge only some time after it has sent it")
	flag.Float64Var(&o.scale, "scale", 1, "factor for all rates")
	flag.Parse()
	inside, err := kamailio.Inside()
	if err != nil {
		return err
	}
	if !inside {
		return outside()
	}
	if err := kamailio.Processes(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if o.dir, err = os.MkdirTemp("", "imsafe-beside"); err != nil {
		return err
	}
	defer os.RemoveAll(o.dir)
	return o.compareAll(ctx)
}

// outside builds what is to be measured, where the tools are, and goes inside.
func outside() error {
	named := false
	flag.Visit(func(f *flag.Flag) { named = named || f.Name == "imsafe" })
	if !named {
		dir, err := os.MkdirTemp("", "imsafe-built")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		program := filepath.Join(dir, "imsafe")
		build := exec.Command("go", "build", "-o", program, "./cmd/imsafe")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("building imsafe (run this in the root of the tree): %w", err)
		}
		os.Args = slices.Insert(os.Args, 1, "-imsafe", program)
	}
	return enter()
}

// Comparison is one scenario offered to two systems.
type Comparison struct {
	Name    string   `json:"name"`
	What    string   `json:"what"`
	Note    string   `json:"note,omitempty"`
	Rate    float64  `json:"rate"`
	Theirs  Measured `json:"theirs"`
	Ours    Measured `json:"ours"`
	Ratio   float64  `json:"cpu_ratio"` // ours to theirs, of medians
	Latency float64  `json:"p99_ratio"`
	Dropped int      `json:"dropped"` // rounds in which one of the two was no measurement; both are dropped

	mix          load.Mix
	once         bool // nobody is called twice
	theirs, ours *system
}

// Measured is what one system took, in each round that counts.
type Measured struct {
	System string         `json:"system"`
	CPU    []float64      `json:"cpu_us"` // for each scenario
	P99    []int64        `json:"p99_us"`
	Failed []uint64       `json:"failed"`
	Runs   []*load.Report `json:"runs"`
}

func (m *Measured) add(r *load.Report) {
	m.Runs = append(m.Runs, r)
	m.CPU = append(m.CPU, r.CPU)
	m.Failed = append(m.Failed, r.Failed)
	if len(r.Latencies) > 0 {
		m.P99 = append(m.P99, r.Latencies[0].P99)
	}
}

// useless reports whether a run says nothing about what a scenario costs: the generator was the bottleneck, or one in twenty failed.
func useless(r *load.Report) bool { return len(r.Limits) > 0 || r.Failed > r.Offered/20 }

// median of what is not empty.
func median[T float64 | int64](values []T) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func (o *options) compareAll(ctx context.Context) (err error) {
	h := &house{options: o}
	defer func() { err = errors.Join(err, h.close()) }()
	comparisons, err := h.comparisons(ctx)
	if err != nil {
		return err
	}
	pin(os.Getpid(), 1)
	for _, c := range comparisons {
		if err := o.compare(ctx, c); err != nil {
			if ctx.Err() != nil {
				return err
			}
			fmt.Printf("%s: not measured: %v\n", c.Name, err)
			c.Note = "not measured: " + err.Error()
		}
	}
	if o.out != "" {
		text, err := json.MarshalIndent(comparisons, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.out, append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	return table(comparisons)
}

func (o *options) wants(name string) bool {
	return o.only == "" || slices.Contains(strings.Split(o.only, ","), name)
}

// warm is how long there is load before something is measured: as many calls end then as begin.
func warm(hold time.Duration) time.Duration { return 2*time.Second + 3*hold }

// compare alternates: theirs, ours, theirs, ours.
func (o *options) compare(ctx context.Context, c *Comparison) error {
	c.Theirs.System, c.Ours.System = c.theirs.name, c.ours.name
	for round := range o.rounds {
		var pair [2]*load.Report
		for i, s := range []*system{c.theirs, c.ours} {
			settings := load.Settings{Mix: c.mix, Rate: c.Rate, Time: o.time, Warm: warm(o.hold), Hold: o.hold, Seed: uint64(round + 1), PIDs: s.pids,
				Window: s.window, Card: o.card, MaxLate: o.late, Once: c.once}
			if _, err := s.generator.Prepare(ctx, &settings); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			r, err := s.generator.Run(ctx, settings)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			fmt.Printf("%s, round %d, %s: %.1f us, %d of %d failed, %s %s\n", c.Name, round+1, s.name, r.CPU, r.Failed, r.Offered, r.Verdict, strings.Join(r.Limits, "; "))
			for _, f := range r.Failures[:min(3, len(r.Failures))] {
				fmt.Printf("    %v: %d\n", &f.Failure, f.Count)
			}
			pair[i] = r
		}
		if useless(pair[0]) || useless(pair[1]) {
			c.Dropped++
			continue
		}
		c.Theirs.add(pair[0])
		c.Ours.add(pair[1])
	}
	if theirs := median(c.Theirs.CPU); theirs > 0 {
		c.Ratio = median(c.Ours.CPU) / theirs
	}
	if theirs := median(c.Theirs.P99); theirs > 0 {
		c.Latency = float64(median(c.Ours.P99)) / float64(theirs)
	}
	return nil
}

func table(all []*Comparison) error {
	fmt.Println()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "COMPARISON\tRATE\tTHEIRS\tCPU (us)\tFAILED\tOURS\tCPU (us)\tFAILED\tCPU RATIO\tP99 RATIO\tROUNDS")
	for _, c := range all {
		fmt.Fprintf(w, "%s\t%.0f\t%s\t%.1f\t%d\t%s\t%.1f\t%d\t%.2f\t%.2f\t%d\n", c.What, c.Rate, c.Theirs.System, median(c.Theirs.CPU), sum(c.Theirs.Failed),
			c.Ours.System, median(c.Ours.CPU), sum(c.Ours.Failed), c.Ratio, c.Latency, len(c.Ours.CPU))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, c := range all {
		if c.Note != "" {
			fmt.Printf("%s: %s\n", c.What, c.Note)
		}
		if c.Dropped > 0 {
			fmt.Printf("%s: %d rounds were dropped, because in one of the two the generator was the bottleneck, or more than 5 %% failed\n", c.What, c.Dropped)
		}
	}
	return nil
}

func sum(values []uint64) (n uint64) {
	for _, v := range values {
		n += v
	}
	return n
}

// pin keeps a process, and what it starts from now on, on one processor, if there are several.
func pin(pid, cpu int) {
	var have unix.CPUSet
	if unix.SchedGetaffinity(0, &have) != nil || !have.IsSet(cpu) {
		return
	}
	var set unix.CPUSet
	set.Set(cpu)
	_ = unix.SchedSetaffinity(pid, &set)
}
