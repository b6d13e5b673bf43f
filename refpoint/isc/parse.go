package isc

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	toml "github.com/pelletier/go-toml/v2"
)

// Bounds limit a manifest before and while it is read: a document must not cost the reader more than its writer.
type Bounds struct {
	Octets  int // of the whole text
	Depth   int // of brackets within brackets
	Entries int // of each list and of each kind of table
}

// DefaultBounds are those of Parse: a manifest is read by a person, too.
var DefaultBounds = Bounds{Octets: 16 << 10, Depth: 4, Entries: 32}

// maxPattern is the longest expression or pattern, in octets; no bound of the document changes it.
const maxPattern = 256

// Parse reads a manifest within DefaultBounds. The error is TooLarge, or Problems with all that is wrong.
func Parse(text []byte) (*Manifest, error) { return ParseWithin(text, DefaultBounds) }

// ParseWithin is Parse with bounds of the caller's.
func ParseWithin(text []byte, b Bounds) (*Manifest, error) {
	if err := b.check(text); err != nil {
		return nil, err
	}
	var document map[string]any
	if err := toml.Unmarshal(text, &document); err != nil {
		return nil, syntax(err)
	}
	r := &reader{bounds: b}
	m := r.manifest(&table{r: r, values: document})
	if r.tooLarge != nil {
		return nil, *r.tooLarge
	}
	if len(r.problems) > 0 {
		return nil, r.problems
	}
	return m, nil
}

// check looks at the text before anything is built of it. Brackets in texts and comments count too: no manifest needs them deep.
func (b Bounds) check(text []byte) error {
	if len(text) > b.Octets {
		return TooLarge{Problem{Text: fmt.Sprintf("it has %d octets, at most %d are read", len(text), b.Octets)}}
	}
	depth, line := 0, 1
	for _, c := range text {
		switch c {
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(0, depth-1)
		case '\n':
			line++
		}
		if depth > b.Depth {
			return TooLarge{Problem{Line: line, Text: fmt.Sprintf("brackets stand more than %d deep in each other", b.Depth)}}
		}
	}
	return nil
}

// syntax says an error of the TOML reader as a Problem.
func syntax(err error) Problems {
	p := Problem{Text: strings.TrimPrefix(err.Error(), "toml: ")}
	var wrong *toml.DecodeError
	if errors.As(err, &wrong) {
		p.Line, _ = wrong.Position()
		p.Key = strings.Join(wrong.Key(), ".")
	}
	return Problems{p}
}

// reader collects what is wrong.
type reader struct {
	bounds   Bounds
	problems Problems
	tooLarge *TooLarge

	instructions int // of the expressions so far
}

// refuse adds a problem if bad.
func (r *reader) refuse(bad bool, key, hint, format string, args ...any) bool {
	if bad {
		r.problems = append(r.problems, Problem{Key: key, Text: fmt.Sprintf(format, args...), Hint: hint})
	}
	return bad
}

// entries notes a list that is longer than the bound.
func (r *reader) entries(key string, n int) {
	if n > r.bounds.Entries && r.tooLarge == nil {
		r.tooLarge = &TooLarge{Problem{Key: key, Text: fmt.Sprintf("it has %d entries, at most %d are read", n, r.bounds.Entries)}}
	}
}

// table is one table of the document. Each key is taken once; what is left over is unknown.
type table struct {
	r      *reader
	path   string
	values map[string]any
	asked  []string
}

func (t *table) key(name string) string {
	if t.path == "" {
		return name
	}
	return t.path + "." + name
}

// take returns the value of a key in one of the types of TOML. A value of another type is a problem.
func take[T any](t *table, name, wanted string) (value T, ok bool) {
	t.asked = append(t.asked, name)
	v, has := t.values[name]
	if !has {
		return value, false
	}
	value, ok = v.(T)
	t.r.refuse(!ok, t.key(name), "", "it is %s, it must be %s", kindOf(v), wanted)
	return value, ok
}

func (t *table) text(name string) (string, bool) { return take[string](t, name, "a text in quotes") }

func (t *table) flag(name string) bool {
	v, _ := take[bool](t, name, "true or false")
	return v
}

// number returns a whole number between low and high, or otherwise if the key is not there.
func (t *table) number(name string, low, high, otherwise int) int {
	v, ok := take[int64](t, name, "a whole number")
	if !ok {
		return otherwise
	}
	if t.r.refuse(v < int64(low) || v > int64(high), t.key(name), "", "%d is not between %d and %d", v, low, high) {
		return otherwise
	}
	return int(v)
}

// list returns a list of texts, each once.
func (t *table) list(name string) []string {
	values, _ := take[[]any](t, name, "a list of texts")
	t.r.entries(t.key(name), len(values))
	var all []string
	seen := map[string]bool{}
	for i, v := range values {
		s, ok := v.(string)
		if t.r.refuse(!ok, fmt.Sprintf("%s[%d]", t.key(name), i), "", "it is %s, it must be a text in quotes", kindOf(v)) ||
			t.r.refuse(seen[s], fmt.Sprintf("%s[%d]", t.key(name), i), "", "%.80q stands twice", s) {
			continue
		}
		seen[s] = true
		all = append(all, s)
	}
	return all
}

// table returns a table in this one, empty if it is not there.
func (t *table) table(name string) *table {
	values, _ := take[map[string]any](t, name, "a table")
	return &table{r: t.r, path: t.key(name), values: values}
}

// tables returns the tables of [[name]], numbered from 0.
func (t *table) tables(name string) []*table {
	values, ok := take[[]any](t, name, "a list of tables")
	if !ok {
		return nil
	}
	t.r.entries(t.key(name), len(values))
	var all []*table
	for i, v := range values {
		path := fmt.Sprintf("%s[%d]", t.key(name), i)
		m, ok := v.(map[string]any)
		if !t.r.refuse(!ok, path, "write [["+name+"]]", "it is %s, it must be a table", kindOf(v)) {
			all = append(all, &table{r: t.r, path: path, values: m})
		}
	}
	return all
}

// done refuses the keys that nobody asked for.
func (t *table) done() {
	for _, name := range slices.Sorted(maps.Keys(t.values)) {
		t.r.refuse(!slices.Contains(t.asked, name), t.key(name), "there are "+strings.Join(t.asked, ", "), "there is no such key, and what is not known is not granted")
	}
}

func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "a text"
	case bool:
		return "true or false"
	case int64:
		return "a whole number"
	case float64:
		return "a number with a fraction"
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	}
	return "a date or time"
}
