package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"imsafe/proof/cells"
	"imsafe/proof/evidence"
)

// Sign stands before a state, so that colour is never the only difference.
func Sign(s evidence.State) string {
	return map[evidence.State]string{evidence.StateProven: "✓", evidence.StateClaimed: "~", evidence.StateStale: "↻", evidence.StateGap: "✗",
		evidence.StateNone: "–"}[s]
}

// Text writes the report for a terminal.
func (r *Report) Text(w io.Writer) error {
	p := &printer{w: w}
	p.table(r)
	p.wholes("The five security associations (TS 33.203)", r.Associations, func(x *cells.Whole) string { return fmt.Sprintf("%d %s", x.Number, x.Name) })
	p.wholes("Risks by layer", r.Layers, func(x *cells.Whole) string { return x.Layer + ": " + x.Name })
	p.x805(r)
	p.risks(r)
	p.trouble(r)
	return p.err
}

type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if _, err := fmt.Fprintf(p.w, format+"\n", args...); p.err == nil {
		p.err = err
	}
}

func (p *printer) columns(rows func(w io.Writer)) {
	w := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	rows(w)
	if err := w.Flush(); p.err == nil {
		p.err = err
	}
}

func (p *printer) table(r *Report) {
	p.columns(func(w io.Writer) {
		fmt.Fprint(w, "\t", strings.Join(cells.Services(), "\t"), "\n")
		for i, c := range r.Cells {
			if i%len(cells.Services()) == 0 {
				fmt.Fprint(w, c.Door)
			}
			fmt.Fprintf(w, "\t%s %s %d/%d", Sign(c.State), c.State, c.Proven, c.Total)
			if (i+1)%len(cells.Services()) == 0 {
				fmt.Fprintln(w)
			}
		}
	})
	for _, c := range r.Cells {
		if c.State != evidence.StateProven {
			p.line("  %s: %s", c.Name, first(c.Why))
		}
	}
}

func first(why []string) string {
	switch len(why) {
	case 0:
		return ""
	case 1:
		return why[0]
	}
	return fmt.Sprintf("%s (and %d more)", why[0], len(why)-1)
}

func (p *printer) wholes(title string, all []cells.Whole, name func(*cells.Whole) string) {
	p.line("\n%s", title)
	p.columns(func(w io.Writer) {
		for i := range all {
			x := &all[i]
			fmt.Fprintf(w, "  %s %s\t%d/%d\t%s\n", Sign(x.State), x.State, x.Proven, x.Total, name(x))
		}
	})
}

func (p *printer) x805(r *Report) {
	p.line("\nX.805: %d slots, %d with an attack%s", r.X805.Slots, r.X805.Tried, marked(r.X805.Mark))
	for _, s := range []evidence.State{evidence.StateProven, evidence.StateClaimed, evidence.StateStale, evidence.StateGap, evidence.StateNone} {
		if n := r.X805.States[s]; n > 0 {
			p.line("  %s %-7s %d", Sign(s), s, n)
		}
	}
}

func marked(mark string) string {
	if mark == "" {
		return ""
	}
	return " (table " + mark + ")"
}

func (p *printer) risks(r *Report) {
	g := r.Register
	mark := ""
	if len(g.Marks) > 0 {
		mark = " (tables unverified)"
	}
	p.line("\nRisks (TVRA), by the worse of both profiles%s", mark)
	p.columns(func(w io.Writer) {
		fmt.Fprint(w, "  \tbefore\tafter\n")
		for _, band := range []string{"critical", "major", "minor"} {
			fmt.Fprintf(w, "  %s\t%d\t%d\n", band, g.Headline.Before[band], g.Headline.After[band])
		}
	})
	floor := 0
	for _, e := range g.Entries {
		if e.AtFloor {
			floor++
		}
	}
	p.line("  %d of %d are at their floor: less likelihood cannot lower them", floor, len(g.Entries))
	if len(g.Differ) > 0 {
		p.line("  the profiles disagree about %d: %s", len(g.Differ), strings.Join(g.Differ, ", "))
	}
	if g.Confirm > 0 {
		p.line("  %d would be another band if enhanced-basic meant likely", g.Confirm)
	}
	if len(g.Unrated) > 0 {
		p.line("  nobody has said which asset these are aimed at, so the highest is assumed: %s", strings.Join(g.Unrated, ", "))
	}
}

// most is how many of a kind a terminal is told; the page has all.
const most = 12

// trouble names what keeps the proof from being whole.
func (p *printer) trouble(r *Report) {
	c := r.Conclusion
	for _, list := range []struct {
		title string
		all   []string
	}{{"Failed", c.Failed}, {"Stale", c.Stale}, {"Without evidence", c.Unknown}, {"Not run here", c.Elsewhere},
		{"Blocked, and by nature without a switch (not counted)", c.Excused}, {"Not run over two nodes", c.NotWire}} {
		if len(list.all) == 0 {
			continue
		}
		p.line("\n%s", list.title)
		for _, text := range list.all[:min(len(list.all), most)] {
			p.line("  %s", text)
		}
		if more := len(list.all) - most; more > 0 {
			p.line("  and %d more, which the page names", more)
		}
	}
	for _, text := range r.Subject.Repeated {
		p.line("\nRun once more, because the first time proved nothing: %s", text)
	}
	p.line("\nTables that nobody has compared with the standard yet: %d of %d", len(r.Unverified()), len(r.Tables))
	p.line("%s", r.Sentence())
}

// Changes says what is another in now than it was in before: states of cells, associations, layers, controls and risks.
func Changes(before, now *Report) []string {
	var said []string
	told := func(what string, old, new map[string]string) {
		for _, name := range slices.Sorted(maps.Keys(new)) {
			switch was, known := old[name]; {
			case !known:
				said = append(said, fmt.Sprintf("%s %s is new: %s", what, name, new[name]))
			case was != new[name]:
				said = append(said, fmt.Sprintf("%s %s: %s, was %s", what, name, new[name], was))
			}
		}
		for _, name := range slices.Sorted(maps.Keys(old)) {
			if _, there := new[name]; !there {
				said = append(said, fmt.Sprintf("%s %s is gone: it was %s", what, name, old[name]))
			}
		}
	}
	told("cell", before.cellStates(), now.cellStates())
	told("association", wholeStates(before.Associations), wholeStates(now.Associations))
	told("layer", wholeStates(before.Layers), wholeStates(now.Layers))
	told("control", before.controlStates(), now.controlStates())
	told("risk", before.riskStates(), now.riskStates())
	told("acceptance of", before.acceptances(), now.acceptances())
	told("slot", before.slotStates(), now.slotStates())
	told("table", before.tableSums(), now.tableSums())
	if was, is := fmt.Sprint(before.Subject.Modes, " with seeds ", before.Subject.Seeds), fmt.Sprint(now.Subject.Modes, " with seeds ", now.Subject.Seeds); was != is {
		said = append(said, "run in modes "+is+", were "+was)
	}
	if before.Subject.Program != now.Subject.Program {
		said = append(said, "the program is another")
	}
	if before.Subject.Configuration != now.Subject.Configuration {
		said = append(said, "the configuration is another")
	}
	return said
}

func (r *Report) cellStates() map[string]string {
	all := map[string]string{}
	for _, c := range r.Cells {
		all[c.Name] = string(c.State)
	}
	return all
}

func wholeStates(w []cells.Whole) map[string]string {
	all := map[string]string{}
	for _, x := range w {
		all[strings.TrimSpace(x.Layer+" "+x.Name)] = string(x.State)
	}
	return all
}

func (r *Report) controlStates() map[string]string {
	all := map[string]string{}
	for _, q := range r.Requirements {
		all[q.Control] = string(q.State)
	}
	return all
}

func (r *Report) riskStates() map[string]string {
	all := map[string]string{}
	for _, e := range r.Register.Entries {
		all[e.Name()] = fmt.Sprintf("%s %d", e.After.Risk.Band, e.After.Risk.Value)
	}
	return all
}

func (r *Report) acceptances() map[string]string {
	all := map[string]string{}
	for _, e := range r.Register.Entries {
		if e.Acceptance != "" {
			all[e.Name()] = e.Acceptance
		}
	}
	return all
}

func (r *Report) slotStates() map[string]string {
	all := map[string]string{}
	if r.X805 == nil { // of a report that somebody has cut
		return all
	}
	for _, m := range r.X805.Modules {
		for _, c := range m.Cells {
			for _, s := range c.Slots {
				all[strings.Join([]string{m.Layer, m.Plane, c.Dimension, s.Threat}, ", ")] = string(s.State)
			}
		}
	}
	return all
}

// tableSums are the hashes of the tables, as many digits as tell them apart.
func (r *Report) tableSums() map[string]string {
	all := map[string]string{}
	for _, t := range r.Tables {
		all[t.File] = t.SHA256[:min(len(t.SHA256), 12)]
	}
	return all
}
