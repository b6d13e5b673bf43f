package load

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Report is what one run has shown. Times are in microseconds unless their name says otherwise.
type Report struct {
	Target     string            `json:"target"`     // domain and transport
	Rate       float64           `json:"rate"`       // scenarios a second, as asked
	Seconds    float64           `json:"seconds"`    // that were measured
	UEs        int               `json:"ues"`        //
	Registered int               `json:"registered"` // of them, at the end
	Offered    uint64            `json:"offered"`    // scenarios begun in that time
	Failed     uint64            `json:"failed"`     // of them
	CPU        float64           `json:"cpu_us"`     // of all processes, for each scenario; 0 without processes
	Verdict    string            `json:"verdict"`    // good, bad, limited
	Limits     []string          `json:"limits"`     // why the generator was the bottleneck: then no figure counts
	Scenarios  []ScenarioReport  `json:"scenarios"`  //
	Latencies  []NamedLatency    `json:"latencies"`  //
	Failures   []CountedFailure  `json:"failures"`   // the most frequent first
	Media      *MediaReport      `json:"media,omitempty"`
	Processes  []Process         `json:"processes"` //
	Generator  GeneratorReport   `json:"generator"` //
	Network    map[string]uint64 `json:"network"`   // retransmissions, strays and the like
	Settings   Settings          `json:"settings"`  //

	voice voiceStats
}

// MediaReport is what became of the packets of calls, where those have media.
type MediaReport struct {
	Kind   Media   `json:"kind"`
	Rate   float64 `json:"packets_s"`
	Sent   uint64  `json:"sent"`
	Lost   uint64  `json:"lost"`
	Astray uint64  `json:"astray"` // did not open, came from elsewhere, or are of another call
	Delay  Latency `json:"delay"`  // from one side to the other
	Late   Latency `json:"late"`   // from the time of a packet to its first octet, ours
}

// ScenarioReport counts one scenario.
type ScenarioReport struct {
	Name      string `json:"name"`
	Offered   uint64 `json:"offered"`
	Succeeded uint64 `json:"succeeded"`
	Failed    uint64 `json:"failed"`
}

// NamedLatency is the distribution of one step.
type NamedLatency struct {
	Name string `json:"name"`
	Latency
}

// CountedFailure is a failure and how often it was.
type CountedFailure struct {
	Failure
	Count uint64 `json:"count"`
}

// GeneratorReport is what the generator says of itself.
type GeneratorReport struct {
	Workers     int     `json:"workers"`
	Late        Latency `json:"late"`        // from the time of an arrival to its first octet
	CPU         float64 `json:"cpu_us"`      // of its own, for each scenario
	Allocations float64 `json:"allocations"` // for each scenario, of everything in its process
	Busy        float64 `json:"busy"`        // share of its workers' processors
	Lost        uint64  `json:"lost"`        // datagrams that this host dropped before they were read, or refused to send
	Starved     uint64  `json:"starved"`     // arrivals for which no UE was free
}

// Where the generator is the bottleneck: it was late, busy, lost datagrams itself, or had no UE for an arrival.
const (
	maxBusy    = 0.9
	maxStarved = Criterion
)

// judge fills in verdict and limits.
func (r *Report) judge() {
	g := &r.Generator
	limit := func(broken bool, format string, args ...any) {
		if broken {
			r.Limits = append(r.Limits, fmt.Sprintf(format, args...))
		}
	}
	arrivals := float64(r.Offered + g.Starved)
	limit(g.Late.P99 > r.Settings.MaxLate.Microseconds(), "one arrival in a hundred was more than %v late: give it a processor of its own, or a lower rate", r.Settings.MaxLate)
	limit(g.Busy > maxBusy, "its workers were busy for %.0f %% of the time: give it more processors (workers), or a lower rate", 100*g.Busy)
	limit(float64(g.Lost) > Criterion*arrivals, "this host lost %d datagrams before they were read", g.Lost)
	limit(float64(g.Starved) > maxStarved*arrivals, "for %d arrivals no UE was free: have more subscribers, or shorter calls", g.Starved)
	limit(r.Offered == 0, "nothing was offered: measure for longer")
	if m := r.Media; m != nil {
		limit(m.Late.P99 > r.Settings.MaxLate.Microseconds(), "one packet of voice in a hundred left more than %v late: give it a processor of its own, or fewer calls", r.Settings.MaxLate)
	}
	v := Good
	for _, s := range r.Scenarios {
		if float64(s.Failed) > Criterion*float64(s.Offered) {
			v = Bad
		}
	}
	if len(r.Limits) > 0 {
		v = Limited
	}
	r.Verdict = v.String()
}

// Withhold takes the figures out of a report in which the generator was the bottleneck: what is left says why, and nothing that could be taken for a result.
func (r *Report) Withhold() {
	if r.verdict() == Limited {
		r.CPU, r.Scenarios, r.Latencies, r.Processes, r.Media = 0, []ScenarioReport{}, []NamedLatency{}, []Process{}, nil
	}
}

// verdict is that of the text.
func (r *Report) verdict() Verdict {
	for v := Good; v <= Limited; v++ {
		if v.String() == r.Verdict {
			return v
		}
	}
	return Limited
}

// fill takes over what the workers saw.
func (r *Report) fill(s *stats) {
	for k := range scenarios {
		if s.Offered[k] > 0 {
			r.Scenarios = append(r.Scenarios, ScenarioReport{k.String(), s.Offered[k], s.Succeeded[k], s.Failed[k]})
		}
		r.Offered += s.Offered[k]
		r.Failed += s.Failed[k]
	}
	for i := range s.latency {
		if s.latency[i].n > 0 {
			r.Latencies = append(r.Latencies, NamedLatency{stepNames[i], s.latency[i].latency()})
		}
	}
	for f, n := range s.Failures {
		r.Failures = append(r.Failures, CountedFailure{f, n})
	}
	slices.SortFunc(r.Failures, func(a, b CountedFailure) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.String(), b.String()))
	})
	r.Network = map[string]uint64{"retransmissions": s.Retransmissions, "stray_responses": s.Stray, "malformed": s.Malformed, "challenges": s.Challenges,
		"resynchronisations": s.Resynchronisations}
	r.Generator.Late, r.Generator.Starved = s.late.latency(), s.Starved
	if v := &r.voice; r.Settings.Media != NoMedia {
		r.Media = &MediaReport{Kind: r.Settings.Media, Rate: float64(v.sent) / r.Seconds, Sent: v.sent, Lost: v.sent - min(v.arrived, v.sent), Astray: v.astray,
			Delay: v.delay.latency(), Late: v.late.latency()}
	}
}

// WriteText writes the report for people.
func (r *Report) WriteText(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s: %.0f scenarios a second for %.0f s, %d UEs, %d registered at the end\n", r.Target, r.Rate, r.Seconds, r.UEs, r.Registered)
	if len(r.Limits) > 0 {
		fmt.Fprintf(w, "The generator was the bottleneck, so there are no figures:\n")
		for _, l := range r.Limits {
			fmt.Fprintf(w, "  %s\n", l)
		}
		r.generator(w)
		return w.Flush()
	}
	fmt.Fprintf(w, "%s: %d of %d scenarios handled inadequately (%.3f %%; at most 0.1 %% of each may be)\n\n", r.Verdict, r.Failed, r.Offered, 100*float64(r.Failed)/float64(max(r.Offered, 1)))
	fmt.Fprintln(w, "SCENARIO\tOFFERED\tSUCCEEDED\tFAILED")
	for _, s := range r.Scenarios {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\n", s.Name, s.Offered, s.Succeeded, s.Failed)
	}
	fmt.Fprintln(w, "\nLATENCY (us)\tP50\tP90\tP99\tMAX")
	for _, l := range r.Latencies {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\n", l.Name, l.P50, l.P90, l.P99, l.Max)
	}
	if m := r.Media; m != nil {
		fmt.Fprintln(w, "\nMEDIA\tPACKETS/S\tSENT\tLOST\tASTRAY\tP50 (us)\tP99 (us)\tMAX (us)")
		fmt.Fprintf(w, "%s\t%.0f\t%d\t%d\t%d\t%d\t%d\t%d\n", m.Kind, m.Rate, m.Sent, m.Lost, m.Astray, m.Delay.P50, m.Delay.P99, m.Delay.Max)
	}
	if len(r.Failures) > 0 {
		fmt.Fprintln(w, "\nFAILURE\tTIMES")
		for _, f := range r.Failures {
			fmt.Fprintf(w, "%s\t%d\n", f.Failure.String(), f.Count)
		}
	}
	if len(r.Processes) > 0 {
		fmt.Fprintln(w, "\nPROCESS\tUSER (s)\tSYSTEM (s)\tRESIDENT (MB)")
		for _, p := range r.Processes {
			fmt.Fprintf(w, "%d %s\t%.2f\t%.2f\t%d\n", p.PID, p.Name, p.User, p.System, p.Resident>>20)
		}
		fmt.Fprintf(w, "CPU for each scenario: %.1f us\n", r.CPU)
	}
	fmt.Fprintln(w)
	r.generator(w)
	return w.Flush()
}

func (r *Report) generator(w io.Writer) {
	g := &r.Generator
	fmt.Fprintf(w, "generator: %.1f us and %.2f allocations for each scenario, %.0f %% busy, late %d us (p50), %d us (p99), %d us (most)\n", g.CPU, g.Allocations, 100*g.Busy, g.Late.P50, g.Late.P99, g.Late.Max)
	fmt.Fprintf(w, "network: %d challenges, %d resynchronisations, %d retransmissions, %d stray responses, %d malformed\n", r.Network["challenges"],
		r.Network["resynchronisations"], r.Network["retransmissions"], r.Network["stray_responses"], r.Network["malformed"])
}
