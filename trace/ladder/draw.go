package ladder

import (
	"fmt"
	"html"
	"slices"
	"strings"
	"time"
)

// columns are the parties that a story needs, from left to right.
func (s *Story) columns() (all []Party) {
	for p := range parties {
		if slices.ContainsFunc(s.Arrows, func(a Arrow) bool { return a.From == p || a.To == p }) {
			all = append(all, p)
		}
	}
	return all
}

// The measures of the drawing, in units of CSS pixels.
const (
	headHeight = 34
	rowHeight  = 38
	narrowest  = 300
	narrow     = 560 // below it the columns have short names
	margin     = 30
	glyph      = 7 // about as wide as a character of a label
)

// grid says where columns and rows are.
type grid struct {
	width, step int
	of          map[Party]int
}

func (s *Story) grid(width int) grid {
	g := grid{width: max(width, narrowest), of: map[Party]int{}}
	columns := s.columns()
	g.step = (g.width - 2*margin) / max(len(columns)-1, 1)
	for i, p := range columns {
		g.of[p] = margin + i*g.step
	}
	return g
}

// SVG draws a story so many pixels wide. It is a fragment for a page that styles its classes: an arrow is a g of class "arrow" with its protection
// ("esp", "tls", "mtls", "process", "clear", "unknown") and what its checks did ("passed", "refused", "letpass"); data-arrow is its number. Each is a
// button for who uses the keyboard, and says in words what is drawn.
// All text in it is escaped.
func (s *Story) SVG(width int) string {
	g := s.grid(width)
	height := headHeight + len(s.Arrows)*rowHeight + 14
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="ladder" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="group" aria-label="%s">`,
		g.width, height, g.width, height, html.EscapeString("Messages of "+s.What))
	for _, p := range s.columns() {
		name := p.String()
		if g.width < narrow {
			name = p.short()
		}
		x := g.of[p]
		fmt.Fprintf(&b, `<line class="life" x1="%d" y1="%d" x2="%d" y2="%d"/><text class="party" x="%d" y="20" text-anchor="middle">%s</text>`,
			x, headHeight, x, height-6, x, name)
	}
	for i := range s.Arrows {
		s.Arrows[i].draw(&b, g, i, s.stopped(i))
	}
	b.WriteString("</svg>")
	return b.String()
}

// stopped reports whether a request went no further because a check refused it: the party that it came to answered, or said nothing, and asked nobody.
// What a check takes off a message that goes on is refused as well, and is not that.
func (s *Story) stopped(i int) bool {
	a := &s.Arrows[i]
	if a.Status != 0 || !a.has(Refused) {
		return false
	}
	for _, later := range s.Arrows[i+1:] {
		if later.From == a.To && (later.To == a.From || later.Status == 0) {
			return later.Status >= 300
		}
	}
	return true
}

// draw draws one arrow. One that is stopped ends before its party, with a cross.
func (a *Arrow) draw(b *strings.Builder, g grid, i int, stopped bool) {
	from, to := g.of[a.From], g.of[a.To]
	y := headHeight + i*rowHeight + 24
	class := "arrow " + a.Cover.class()
	if a.Status > 0 {
		class += " response"
	}
	if did := a.Worst(); did != "" {
		class += " " + strings.ReplaceAll(string(did), " ", "")
	}
	if stopped {
		class += " stopped"
	}
	fmt.Fprintf(b, `<g class="%s" data-arrow="%d" tabindex="0" role="button" aria-label="%s"><title>%s</title><rect class="row" x="0" y="%d" width="%d" height="%d"/>`,
		class, i, html.EscapeString(a.sentence()), html.EscapeString(a.sentence()), y-22, g.width, rowHeight)
	a.line(b, from, to, y, stopped)
	label := a.What
	if g.width < narrow {
		label = initials(label)
	}
	if room := max(g.step*2-8, 120) / glyph; g.width < narrow && len(label) > room {
		label = label[:room-1] + "…"
	}
	half := (len(label)+2)*glyph/2 + 2
	middle := (from + to) / 2
	if from == to {
		middle += half + 20
	}
	middle = min(max(middle, half), g.width-half)
	fmt.Fprintf(b, `<text class="what" x="%d" y="%d" text-anchor="middle">%s%s</text></g>`, middle, y-7, a.sign(stopped), html.EscapeString(label))
}

// initials are how operations of Diameter are called in short: UAR is the User-Authorization-Request.
func initials(what string) string {
	if !strings.HasSuffix(what, "-Request") && !strings.HasSuffix(what, "-Answer") {
		return what
	}
	short := ""
	for word := range strings.SplitSeq(what, "-") {
		short += word[:1]
	}
	return short
}

// line draws its shaft and its head, or a cross where it was stopped.
func (a *Arrow) line(b *strings.Builder, from, to, y int, stopped bool) {
	direction := 1
	if to < from {
		direction = -1
	}
	switch {
	case from == to: // from one half of a call to the other, in the same function
		fmt.Fprintf(b, `<path class="shaft" d="M%d %dh16v8h-8"/><path class="head" d="M%d %dl8 -5v10z"/>`, from, y-6, to, y+2)
	case stopped:
		x := to - direction*8
		fmt.Fprintf(b, `<path class="shaft" d="M%d %dH%d"/><path class="cross" d="M%d %dl10 10m0 -10l-10 10"/>`, from, y, x-direction*6, x-5, y-5)
	default:
		fmt.Fprintf(b, `<path class="shaft" d="M%d %dH%d"/><path class="head" d="M%d %dl%d -5v10z"/>`, from, y, to-direction*3, to, y, -direction*8)
	}
}

// sign stands before a label, so that colour is not needed to read it.
func (a *Arrow) sign(stopped bool) string {
	switch did := a.Worst(); {
	case stopped:
		return "✗ "
	case did == LetPass:
		return "! "
	case did == Refused:
		return "− " // something was taken off it, and it went on
	case did == Passed:
		return "✓ "
	}
	return ""
}

func (c Cover) class() string {
	if c == Process {
		return "process"
	}
	return strings.ToLower(string(c))
}

// sentence says an arrow in words.
func (a *Arrow) sentence() string {
	said := fmt.Sprintf("%s from %s to %s, %s", a.What, a.From, a.To, a.Cover)
	for _, c := range a.Checks {
		said += fmt.Sprintf("; %s %s", c.Control, c.Did)
		if c.Reason != "" {
			said += " (" + c.Reason + ")"
		}
	}
	return said
}

// Text draws a story for a terminal, one line for each arrow and for each check that refused or would have.
func (s *Story) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s\n%s\n", s.What, strings.Join(s.Who, ", "), s.Call)
	columns := s.columns()
	const wide = 12
	fmt.Fprintf(&b, "%13s", "")
	for _, p := range columns {
		fmt.Fprintf(&b, "%-*s", wide, p)
	}
	b.WriteString("\n")
	began := time.Time{}
	for i := range s.Arrows {
		a := &s.Arrows[i]
		if i == 0 {
			began = a.At
		}
		from, to := slices.Index(columns, a.From)*wide+1, slices.Index(columns, a.To)*wide+1
		fmt.Fprintf(&b, "%8s ms  %s  %s%s [%s]\n", fmt.Sprintf("%.1f", float64(a.At.Sub(began).Microseconds())/1000),
			shaft(len(columns)*wide, wide, from, to), a.sign(s.stopped(i)), a.What, a.Cover)
		for _, c := range a.Checks {
			if c.Did != Passed {
				did := string(c.Did)
				if c.Did == Refused && !s.stopped(i) {
					did = "refused a part of it" // and the message went on
				}
				fmt.Fprintf(&b, "%13s%*s  %s %s: %s\n", "", len(columns)*wide, "", c.Control, did, c.Reason)
			}
		}
	}
	if s.More > 0 {
		fmt.Fprintf(&b, "and %d more\n", s.More)
	}
	return b.String()
}

// shaft is an arrow between two columns of text, with the lines of the others.
func shaft(length, wide, from, to int) string {
	line := []rune(strings.Repeat(" ", length))
	for i := 1; i < length; i += wide {
		line[i] = '│'
	}
	for i := min(from, to) + 1; i < max(from, to); i++ {
		line[i] = '─'
	}
	switch {
	case to > from:
		line[to-1] = '>'
	case to < from:
		line[to+1] = '<'
	default: // from one half of a call to the other
		line[from+1], line[from+2] = '<', '┐'
	}
	return string(line)
}
