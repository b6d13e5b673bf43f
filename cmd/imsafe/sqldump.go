package main

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"imsafe/imsbox/hss"
)

// A dump of a database in SQL, as sqlite3 (.dump), mysqldump and pg_dump write it: which columns a table has (CREATE TABLE), and its rows
// (INSERT INTO, or COPY FROM stdin). Nothing of it is executed; whatever is not one of these is passed over.

var sqlStart = regexp.MustCompile(`(?im)^\s*(INSERT\s+INTO|CREATE\s+TABLE|COPY\s+\S+\s*\()`)

func looksLikeSQL(data []byte) bool { return sqlStart.Match(data) }

// dumpRows returns the rows of the tables that are asked for.
func dumpRows(data []byte, tables []string) (rows []tableRow, mistakes []hss.Mistake) {
	d := &dump{scan: sqlScanner{text: data, line: 1}, tables: tables, columns: map[string][]string{}}
	for {
		t := d.scan.next()
		switch {
		case t.kind == sqlEnd:
			return d.rows, d.mistakes
		case t.is("create"):
			d.create()
		case t.is("insert"):
			d.insert()
		case t.is("copy"):
			d.copy()
		default:
			d.skip(t)
		}
	}
}

type dump struct {
	scan     sqlScanner
	tables   []string
	columns  map[string][]string // by table
	rows     []tableRow
	mistakes []hss.Mistake
}

// skip goes to the end of a statement.
func (d *dump) skip(t sqlToken) {
	for t.kind != sqlEnd && !t.is(";") {
		t = d.scan.next()
	}
}

// name reads the name of a table, without that of its schema, and what follows it.
func (d *dump) name() (string, sqlToken) {
	name := d.scan.next()
	next := d.scan.next()
	for next.is(".") {
		name, next = d.scan.next(), d.scan.next()
	}
	return strings.ToLower(name.text), next
}

// create reads CREATE TABLE name (column type, ..., PRIMARY KEY (...)).
func (d *dump) create() {
	t := d.scan.next()
	if !t.is("table") {
		d.skip(t)
		return
	}
	d.scan.take("if", "not", "exists")
	table, t := d.name()
	if !t.is("(") {
		d.skip(t)
		return
	}
	var columns []string
	first, depth := true, 1
	for depth > 0 {
		t = d.scan.next()
		switch {
		case t.kind == sqlEnd:
			return
		case t.is("("):
			depth++
		case t.is(")"):
			depth--
		case t.is(",") && depth == 1:
			first = true
			continue
		case first && (t.quoted || !slices.Contains([]string{"primary", "unique", "key", "constraint", "foreign", "check", "index", "fulltext"}, strings.ToLower(t.text))):
			columns = append(columns, strings.ToLower(t.text))
		}
		first = false
	}
	d.columns[table] = columns
	d.skip(d.scan.next())
}

// list reads names up to the closing parenthesis; the opening one is read.
func (d *dump) list() (names []string) {
	for {
		switch t := d.scan.next(); {
		case t.kind == sqlEnd || t.is(")"):
			return names
		case !t.is(","):
			names = append(names, strings.ToLower(t.text))
		}
	}
}

// insert reads INSERT INTO name (columns) VALUES (...), (...);
func (d *dump) insert() {
	t := d.scan.next()
	for !t.is("into") {
		if t.kind == sqlEnd || t.is(";") {
			return
		}
		t = d.scan.next() // INSERT OR REPLACE, INSERT IGNORE
	}
	table, t := d.name()
	columns := d.columns[table]
	if t.is("(") {
		columns, t = d.list(), d.scan.next()
	}
	if !t.is("values") || !slices.Contains(d.tables, table) {
		d.skip(t)
		return
	}
	for {
		t = d.scan.next()
		if !t.is("(") {
			d.skip(t)
			return
		}
		line := t.line
		values, ok := d.values()
		d.row(line, table, columns, values, ok)
		if t = d.scan.next(); !t.is(",") {
			d.skip(t)
			return
		}
	}
}

// values reads constants up to the closing parenthesis; nil stands for NULL.
func (d *dump) values() (values []*string, ok bool) {
	ok = true
	for {
		t := d.scan.next()
		switch {
		case t.kind == sqlEnd:
			return values, false
		case t.is(")"):
			return values, ok
		case t.is("("): // a function: not a constant
			ok = false
			d.list()
		case t.is(","):
		case !t.quoted && strings.EqualFold(t.text, "null"):
			values = append(values, nil)
		default:
			values = append(values, &t.text)
		}
	}
}

// row keeps a row, or says what is wrong with it.
func (d *dump) row(line int, table string, columns []string, values []*string, ok bool) {
	switch {
	case !ok:
		d.mistakes = append(d.mistakes, mistakeAt(line, table, "the row does not end, or has something else than constants"))
		return
	case len(columns) == 0:
		d.mistakes = append(d.mistakes, mistakeAt(line, table, "which columns these are is not said: dump the table with its CREATE TABLE, or with the names of columns (--complete-insert, --column-inserts)"))
		return
	case len(values) != len(columns):
		d.mistakes = append(d.mistakes, mistakeAt(line, table, "%d values; the table has %d columns", len(values), len(columns)))
		return
	}
	cells := map[string]string{}
	for i, v := range values {
		if v != nil && strings.TrimSpace(*v) != "" {
			cells[columns[i]] = strings.TrimSpace(*v)
		}
	}
	d.rows = append(d.rows, tableRow{line, table, cells})
}

// copy reads COPY name (columns) FROM stdin; and the rows behind it, between tabs, up to \.
func (d *dump) copy() {
	table, t := d.name()
	if !t.is("(") {
		d.skip(t)
		return
	}
	columns := d.list()
	d.skip(d.scan.next())
	d.scan.endLine()
	for {
		line := d.scan.line
		text, more := d.scan.readLine()
		if text == `\.` || !more && text == "" {
			return
		}
		if slices.Contains(d.tables, table) {
			d.row(line, table, columns, copyValues(text), true)
		}
	}
}

// copyValues takes a row of COPY apart.
func copyValues(text string) (values []*string) {
	unescape := strings.NewReplacer(`\\`, `\`, `\t`, "\t", `\n`, "\n", `\r`, "\r")
	for cell := range strings.SplitSeq(text, "\t") {
		if cell == `\N` {
			values = append(values, nil)
			continue
		}
		plain := unescape.Replace(cell)
		values = append(values, &plain)
	}
	return values
}

type sqlKind byte

const (
	sqlEnd sqlKind = iota
	sqlWord
	sqlMark
)

// sqlToken is a word, a constant, or a mark of one octet.
type sqlToken struct {
	kind   sqlKind
	text   string
	quoted bool // in quotes of any kind: never a word of the language
	line   int
}

func (t sqlToken) is(what string) bool {
	return t.kind != sqlEnd && !t.quoted && strings.EqualFold(t.text, what)
}

// sqlScanner takes text apart.
type sqlScanner struct {
	text []byte
	at   int
	line int // of text[at]
}

// next returns the next token. Comments are passed over.
func (s *sqlScanner) next() sqlToken {
	s.blank()
	if s.at >= len(s.text) {
		return sqlToken{line: s.line}
	}
	line := s.line
	switch c := s.text[s.at]; {
	case c == '\'' || c == '"' || c == '`':
		return sqlToken{sqlWord, s.quotedBy(c), true, line}
	case wordOctet(c):
		start := s.at
		number := c >= '0' && c <= '9' || c == '-' || c == '+'
		for s.at < len(s.text) && (wordOctet(s.text[s.at]) || number && s.text[s.at] == '.') {
			s.at++
		}
		return sqlToken{sqlWord, string(s.text[start:s.at]), false, line}
	default:
		s.at++
		return sqlToken{sqlMark, string(c), false, line}
	}
}

// take passes over words if all of them come next.
func (s *sqlScanner) take(words ...string) {
	before := *s
	for _, w := range words {
		if !s.next().is(w) {
			*s = before
			return
		}
	}
}

// wordOctet is what words and numbers are made of, but for the point in a number.
func wordOctet(c byte) bool {
	return c == '_' || c == '-' || c == '+' || c == '$' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// blank passes over blanks and comments.
func (s *sqlScanner) blank() {
	for s.at < len(s.text) {
		rest := s.text[s.at:]
		switch {
		case rest[0] == '\n':
			s.line++
			s.at++
		case rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\r':
			s.at++
		case bytes.HasPrefix(rest, []byte("--")) || rest[0] == '#':
			s.endLine()
		case bytes.HasPrefix(rest, []byte("/*")):
			end := bytes.Index(rest, []byte("*/"))
			if end < 0 {
				end = len(rest) - 2
			}
			s.line += bytes.Count(rest[:end+2], []byte("\n"))
			s.at += end + 2
		default:
			return
		}
	}
}

// quotedBy reads what stands in quotes; a doubled quote, or one behind a backslash, is part of it.
func (s *sqlScanner) quotedBy(quote byte) string {
	var b strings.Builder
	for s.at++; s.at < len(s.text); s.at++ {
		c := s.text[s.at]
		next := byte(0)
		if s.at+1 < len(s.text) {
			next = s.text[s.at+1]
		}
		switch {
		case c == quote && next == quote, c == '\\' && (next == quote || next == '\\'):
			s.at++
			c = next
		case c == quote:
			s.at++
			return b.String()
		case c == '\n':
			s.line++
		}
		b.WriteByte(c)
	}
	return b.String()
}

// endLine goes to the beginning of the next line.
func (s *sqlScanner) endLine() { s.readLine() }

// readLine returns the rest of the line, and whether it had an end.
func (s *sqlScanner) readLine() (string, bool) {
	rest, _, found := bytes.Cut(s.text[s.at:], []byte("\n"))
	s.at += len(rest)
	if found {
		s.at++
		s.line++
	}
	return strings.TrimSuffix(string(rest), "\r"), found
}
