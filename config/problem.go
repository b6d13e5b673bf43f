package config

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong in a configuration.
type Problem struct {
	File         string
	Key          string // dotted, "" if it concerns no key
	Line, Column int    // from 1; 0 if the key is not in the file
	Source       string // the line
	Text         string // what is wrong
	Hint         string // what to write instead, may be empty
}

// Error says the problem in one line.
func (p Problem) Error() string {
	where := p.File
	if p.Line > 0 {
		where = fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	}
	for _, part := range []string{p.Key, p.Text} {
		if part != "" {
			where += ": " + part
		}
	}
	return strings.TrimPrefix(where, ": ")
}

// Explain says the problem as a person wants to read it: with the line, a caret under the place, and
// what to do. It ends in a newline.
func (p Problem) Explain() string {
	text := p.Error() + "\n"
	if p.Line > 0 {
		number := fmt.Sprintf("%5d | ", p.Line)
		text += number + strings.ReplaceAll(p.Source, "\t", " ") + "\n"
		text += strings.Repeat(" ", len(number)-2) + "| " + strings.Repeat(" ", max(0, p.Column-1)) + strings.Repeat("^", max(1, len(p.token()))) + "\n"
	}
	if p.Hint != "" {
		text += "        " + p.Hint + "\n"
	}
	return text
}

// token is the word at the place of the problem.
func (p Problem) token() string {
	if p.Column < 1 || p.Column > len(p.Source) {
		return ""
	}
	rest := p.Source[p.Column-1:]
	if rest[0] == '"' || rest[0] == '\'' {
		if end := strings.IndexByte(rest[1:], rest[0]); end >= 0 {
			return rest[:end+2]
		}
	}
	if end := strings.IndexAny(rest, " \t=,]#"); end >= 0 {
		return rest[:end]
	}
	return rest
}

// Problems is everything that is wrong, in the order of the file. As an error it is the lines of
// Explain.
type Problems []Problem

// Error explains all of them.
func (ps Problems) Error() string {
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.Explain())
	}
	return strings.TrimSuffix(b.String(), "\n")
}
