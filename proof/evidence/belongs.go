package evidence

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A signature says that nobody has changed a bundle since, and nothing of what its runner put into it. So each record is held against the subject, and
// against the others: it is of the program and of the pack that the bundle is about, of its time, and of no moment in which another was made, for a runner
// makes one at a time. A record of another bundle, or one that was copied in the place of another, shows nothing.

// Strange says of records, by Key, why they are not what the runs of this bundle have left.
func (c *Case) Strange() map[string]string {
	all := map[string]string{}
	begun, ended := moment(c.Subject.Start), moment(c.Subject.End)
	var times []span
	for _, r := range c.Records {
		if r.Verdict != Blocked && r.Verdict != Succeeded && r.Verdict != Degraded {
			continue // nothing is computed from it
		}
		at := span{r.Key(), moment(r.Start), moment(r.End)}
		switch {
		case r.Target.Build != c.Subject.Program:
			all[at.key] = fmt.Sprintf("it is of the program %.12s, and the bundle of %.12s", r.Target.Build, c.Subject.Program)
		case r.PackVersion != c.Subject.Pack:
			all[at.key] = fmt.Sprintf("it is of version %q of the catalogue, and the bundle of %q", r.PackVersion, c.Subject.Pack)
		case at.from.IsZero() || at.to.Before(at.from) || at.from.Before(begun) || at.to.After(ended):
			all[at.key] = fmt.Sprintf("it was made from %q to %q, and the bundle from %q to %q", r.Start, r.End, c.Subject.Start, c.Subject.End)
		}
		times = append(times, at)
	}
	slices.SortFunc(times, func(a, b span) int {
		if n := a.from.Compare(b.from); n != 0 {
			return n
		}
		return strings.Compare(a.key, b.key)
	})
	latest := 0 // of those before: which ended last
	for i := 1; i < len(times); i++ {
		a, b := &times[latest], &times[i]
		if b.from.Before(a.to) {
			all[a.key], all[b.key] = together(all[a.key], b.key), together(all[b.key], a.key)
		}
		if b.to.After(a.to) {
			latest = i
		}
	}
	return all
}

// span is when a record was made.
type span struct {
	key      string
	from, to time.Time
}

// together is why a record is strange that was made while another was.
func together(known, other string) string {
	if known != "" {
		return known
	}
	return "it was made while " + other + " was, and a runner makes one at a time"
}

// moment reads a time as Time writes it; the zero time if it is none.
func moment(text string) time.Time {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}
	}
	return at
}
