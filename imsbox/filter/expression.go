package filter

import (
	"bytes"
	"regexp"
	"regexp/syntax"
)

// maxInstructions bounds one compiled expression.
const maxInstructions = 1024

// expression is a POSIX extended regular expression (IEEE 1003.1, chapter 9), as TS 29.228 Annex F asks for. It matches anywhere in a
// text unless it is anchored, and in linear time: Go's engine knows no back references. What is but a fixed text is compared as such.
type expression struct {
	text    string
	how     how
	literal []byte
	program *regexp.Regexp
	size    int // instructions
}

// how a text is compared.
type how uint8

const (
	byProgram how = iota
	containing
	beginning
	ending
	equal
)

// parseExpression compiles an expression. One for names has to match all of a name, in any case if it is to fold: a trigger on To is none
// on Reply-To.
func parseExpression(text string, isName, fold bool) (*expression, error) {
	flags := syntax.POSIX
	if fold {
		flags |= syntax.FoldCase
	}
	tree, err := syntax.Parse(text, flags)
	if err != nil {
		return nil, err
	}
	tree = plain(tree)
	if isName {
		tree = &syntax.Regexp{Op: syntax.OpConcat, Sub: []*syntax.Regexp{{Op: syntax.OpBeginText}, tree, {Op: syntax.OpEndText}}}
	}
	x := &expression{text: text, size: 1}
	if x.fixed(tree) {
		return x, nil
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, err
	}
	if x.size = len(program.Inst); x.size > maxInstructions {
		return nil, errTooLarge
	}
	x.program, err = regexp.Compile(tree.String())
	return x, err
}

// plain makes a tree of the one text that there is: its begin and end are those of the line, any character is any, and nobody asks what
// was captured.
func plain(t *syntax.Regexp) *syntax.Regexp {
	for t.Op == syntax.OpCapture {
		t = t.Sub[0]
	}
	c := *t
	switch t.Op {
	case syntax.OpBeginLine:
		c.Op = syntax.OpBeginText
	case syntax.OpEndLine:
		c.Op = syntax.OpEndText
	case syntax.OpAnyCharNotNL:
		c.Op = syntax.OpAnyChar
	}
	c.Sub = make([]*syntax.Regexp, len(t.Sub))
	for i, s := range t.Sub {
		c.Sub[i] = plain(s)
	}
	return &c
}

// fixed recognises what is a fixed text with or without anchors: ^text, text$, .*text.*
func (x *expression) fixed(t *syntax.Regexp) bool {
	parts := flatten(t, nil)
	begins, ends := false, false
	if len(parts) > 0 && parts[0].Op == syntax.OpBeginText {
		begins, parts = true, parts[1:]
	}
	if n := len(parts); n > 0 && parts[n-1].Op == syntax.OpEndText {
		ends, parts = true, parts[:n-1]
	}
	for len(parts) > 0 && isAnything(parts[0]) {
		begins, parts = false, parts[1:]
	}
	for n := len(parts); n > 0 && isAnything(parts[n-1]); n = len(parts) {
		ends, parts = false, parts[:n-1]
	}
	for _, p := range parts {
		if p.Op != syntax.OpLiteral || p.Flags&syntax.FoldCase != 0 {
			x.literal = nil
			return false
		}
		x.literal = append(x.literal, string(p.Rune)...)
	}
	switch {
	case begins && ends:
		x.how = equal
	case begins:
		x.how = beginning
	case ends:
		x.how = ending
	default:
		x.how = containing
	}
	return true
}

func flatten(t *syntax.Regexp, parts []*syntax.Regexp) []*syntax.Regexp {
	switch t.Op {
	case syntax.OpEmptyMatch:
		return parts
	case syntax.OpConcat:
		for _, s := range t.Sub {
			parts = flatten(s, parts)
		}
		return parts
	}
	return append(parts, t)
}

func isAnything(t *syntax.Regexp) bool {
	return t.Op == syntax.OpStar && t.Sub[0].Op == syntax.OpAnyChar
}

// match says whether the expression matches a text.
func (x *expression) match(text []byte) bool {
	switch x.how {
	case containing:
		return bytes.Contains(text, x.literal)
	case beginning:
		return bytes.HasPrefix(text, x.literal)
	case ending:
		return bytes.HasSuffix(text, x.literal)
	case equal:
		return bytes.Equal(text, x.literal)
	}
	return x.program.Match(text)
}

// cost bounds the steps of a match with a text of n octets.
func (x *expression) cost(n int) int { return x.size * (n + 1) }
