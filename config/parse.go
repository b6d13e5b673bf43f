package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"

	toml "github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// maxFile bounds the file, in octets: a configuration is read by people.
const maxFile = 1 << 20

// Parse reads the configuration from data, on top of Default, and validates it. name is the file's name
// for the messages. The error is of type Problems and holds all that was found at one stage.
func Parse(name string, data []byte) (*Config, error) {
	s := &source{name: name, lines: strings.Split(string(data), "\n")}
	if len(data) > maxFile {
		return nil, Problems{{File: name, Text: fmt.Sprintf("is longer than %d octets", maxFile)}}
	}
	c := Default()
	var p Problems
	if p = s.check(data); len(p) == 0 {
		p = s.decode(data, &c)
	}
	if len(p) == 0 {
		p = s.place(c.Validate())
	}
	if len(p) > 0 {
		return nil, p
	}
	return &c, nil
}

// source is the text, and where its keys are.
type source struct {
	name  string
	lines []string
	keys  map[string]unstable.Position
}

// check goes through the file before it is decoded: it notes where each key stands, and refuses keys that
// do not exist and durations and sizes that are bare numbers. go-toml would take ims.MNC for ims.mnc, and
// give no position for the latter.
func (s *source) check(data []byte) Problems {
	known := knownKeys()
	s.keys = map[string]unstable.Position{}
	var problems Problems
	var parser unstable.Parser
	parser.Reset(data)
	table := ""
	for parser.NextExpression() {
		e := parser.Expression()
		if e.Kind == unstable.Comment {
			continue
		}
		key, at := keyOf(&parser, e)
		full := join(table, key)
		if e.Kind == unstable.Table || e.Kind == unstable.ArrayTable {
			table, full = key, key
		}
		if _, seen := s.keys[full]; !seen {
			s.keys[full] = at
		}
		problems = append(problems, s.checkKey(known, full, at, e)...)
	}
	if parser.Error() != nil {
		return nil // decode finds it again, and says it better
	}
	return problems
}

// keyOf returns the dotted key of a table header or of a key and value, and its position.
func keyOf(p *unstable.Parser, e *unstable.Node) (string, unstable.Position) {
	var parts []string
	var at unstable.Position
	for it := e.Key(); it.Next(); {
		if len(parts) == 0 {
			at = p.Shape(it.Node().Raw).Start
		}
		parts = append(parts, string(it.Node().Data))
	}
	return strings.Join(parts, "."), at
}

func (s *source) checkKey(known map[string]reflect.Type, key string, at unstable.Position, e *unstable.Node) Problems {
	t, ok := known[key]
	p := s.problem(key, at.Line, at.Column)
	switch {
	case !ok:
		p.Text = "there is no such key"
		if e.Kind != unstable.KeyValue {
			p.Text = "there is no such section"
		}
		if near := nearest(key, known); near != "" {
			p.Hint = "did you mean " + near + "?"
		}
	case e.Kind == unstable.KeyValue && e.Value().Kind == unstable.String && bytes.ContainsFunc(e.Value().Data, unicode.IsControl):
		p.Text = "the value holds a control character"
	case e.Kind == unstable.KeyValue && e.Value().Kind == unstable.InlineTable:
		p.Text, p.Hint = "inline tables are not used here", "write a section ["+key+"]"
	case (t == reflect.TypeFor[Duration]() || t == reflect.TypeFor[Size]()) && e.Value().Kind != unstable.String:
		p.Text = "a number without a unit"
		p.Hint = fmt.Sprintf(`write it in quotes with its unit: %s = "20s"`, last(key))
		if t == reflect.TypeFor[Size]() {
			p.Hint = fmt.Sprintf(`write it in quotes with its unit: %s = "256MiB"`, last(key))
		}
	default:
		return nil
	}
	return Problems{p}
}

// decode fills c from data and translates go-toml's errors.
func (s *source) decode(data []byte, c *Config) Problems {
	d := toml.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(c)
	var wrong *toml.DecodeError
	var unknown *toml.StrictMissingError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unknown):
		wrong = &unknown.Errors[0]
	case !errors.As(err, &wrong):
		return Problems{{File: s.name, Text: err.Error()}}
	}
	line, column := wrong.Position()
	p := s.problem(strings.Join(wrong.Key(), "."), line, column)
	p.Text, p.Hint = translate(strings.TrimPrefix(wrong.Error(), "toml: "), p.token(), p.Source)
	return Problems{p}
}

var wrongType = regexp.MustCompile(`cannot decode TOML (\w+) into .* of type (\S+)`)

// translate says a decoding error in the words of the file instead of those of Go.
func translate(text, token, line string) (string, string) {
	key, _, _ := strings.Cut(line, "=")
	key = strings.TrimSpace(key)
	switch m := wrongType.FindStringSubmatch(text); {
	case strings.Contains(text, "leading zeroes"):
		return text, fmt.Sprintf(`write it in quotes: %s = "%s"; without them a leading zero would be lost, and 01 is not 1`, key, token)
	case m != nil && m[2] == "string":
		return "a string is wanted here, this is an " + m[1], fmt.Sprintf(`write it in quotes: %s = "%s"`, key, token)
	case m != nil:
		return fmt.Sprintf("this is a TOML %s, which does not fit here", m[1]), ""
	case strings.Contains(text, "strings must be quoted"):
		return text, fmt.Sprintf(`write %s = "%s"`, key, token)
	}
	return text, ""
}

// place gives problems found by key their position in the text.
func (s *source) place(problems Problems) Problems {
	for i, p := range problems {
		at, ok := s.keys[p.Key]
		if !ok { // the key is not in the file: point at its section, if that is
			at = s.keys[p.Key[:max(0, strings.LastIndexByte(p.Key, '.'))]]
		}
		placed := s.problem(p.Key, at.Line, at.Column)
		placed.Text, placed.Hint = p.Text, p.Hint
		problems[i] = placed
	}
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), strings.Compare(a.Key, b.Key))
	})
	return problems
}

func (s *source) problem(key string, line, column int) Problem {
	p := Problem{File: s.name, Key: key, Line: line, Column: column}
	if line >= 1 && line <= len(s.lines) {
		p.Source = withoutPassword(strings.TrimRight(s.lines[line-1], "\r"))
	}
	return p
}

// knownKeys returns every key with its type, sections included.
func knownKeys() map[string]reflect.Type {
	keys := map[string]reflect.Type{}
	var add func(prefix string, t reflect.Type)
	add = func(prefix string, t reflect.Type) {
		for i := range t.NumField() {
			f := t.Field(i)
			key := join(prefix, f.Tag.Get("toml"))
			keys[key] = f.Type
			switch {
			case isSection(f.Type):
				add(key, f.Type)
			case isList(f.Type):
				add(key, f.Type.Elem())
			}
		}
	}
	add("", reflect.TypeFor[Config]())
	return keys
}

// isSection reports whether a type is a struct of keys and not a value with a text of its own.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t != reflect.TypeFor[Duration]() && t != reflect.TypeFor[Address]()
}

// isList reports whether a type is a list of sections, each with a header of its own: [[name]].
func isList(t reflect.Type) bool { return t.Kind() == reflect.Slice && isSection(t.Elem()) }

// nearest finds the known key that was probably meant, "" if none is near.
func nearest(key string, known map[string]reflect.Type) string {
	best, bestDistance := "", 3
	for _, k := range slices.Sorted(maps.Keys(known)) {
		d := Distance(strings.ToLower(key), k)
		if last(k) == strings.ToLower(last(key)) {
			d = min(d, 2) // the right key in the wrong section
		}
		if letters(key) == letters(k) {
			d = min(d, 1) // swapped letters
		}
		if d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

func letters(s string) string {
	b := []byte(strings.ToLower(s))
	slices.Sort(b)
	return string(b)
}

// Distance is that of Levenshtein: how many letters must be changed, added or left out to make b of a. It is for what a person has typed, which is short:
// of a 64 octets count.
func Distance(a, b string) int {
	a = a[:min(len(a), 64)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func join(section, key string) string {
	if section == "" {
		return key
	}
	return section + "." + key
}

func last(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }
