// Package xmltree reads small XML documents into a tree, strictly, and writes them: the user data of Cx (TS 29.228 Annex E) and Sh
// (TS 29.328 Annex D), which come in AVPs from other people's HSS and services.
//
// It is strict where a mistake could change somebody's rights: no document type, no entities of its own, no processing instructions,
// UTF-8 only, bounds on octets, depth, elements and text, no element twice that stands once in the schema, no unknown element outside an
// Extension, no text beside elements. Elements in a foreign namespace are kept without a name, and everybody skips them. Attributes are
// not looked at: neither schema has one that says anything.
//
// The reader of tokens is that of the standard library. Everything here belongs to one goroutine.
package xmltree

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Limits of a document. One beyond them is refused whole.
type Limits struct {
	Octets   int
	Depth    int // nested elements, those of an opaque one included
	Elements int
	Text     int // octets of one value, outside opaque elements

	// Opaque says whether the content of an element is kept as it is, in Inner, and not looked into; nil: of none.
	Opaque func(parent *Element, name string) bool
}

// Element is a parsed element.
type Element struct {
	Name  string // "" in a foreign namespace
	Text  string // of leaves only, without white space around it
	Inner []byte // content of an opaque element, inside the document
	Kids  []*Element
	start int // of its content, in the document
}

// Parse reads one document into memory, within the limits. Opaque content was well-formed and stands on its own: see CheckInner.
func Parse(data []byte, l Limits) (*Element, error) {
	if len(data) > l.Octets {
		return nil, fmt.Errorf("%d octets, at most %d", len(data), l.Octets)
	}
	d := newDecoder(data)
	t := tree{Limits: l, data: data}
	for {
		before := int(d.InputOffset())
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		switch tok := tok.(type) {
		case xml.Directive:
			err = errors.New("a document type is not allowed")
		case xml.ProcInst:
			if t.root != nil || tok.Target != "xml" {
				err = errInstruction
			}
		case xml.StartElement:
			err = t.begin(tok.Name, int(d.InputOffset()))
		case xml.EndElement:
			err = t.end(before)
		case xml.CharData:
			err = t.chars(tok)
		}
		if err != nil {
			return nil, err
		}
	}
	if t.root == nil {
		return nil, errors.New("no element")
	}
	return t.root, nil
}

var errInstruction = errors.New("a processing instruction is not allowed")

// newDecoder reads one document: only the five entities of XML, only UTF-8.
func newDecoder(data []byte) *xml.Decoder {
	d := xml.NewDecoder(bytes.NewReader(data))
	d.Entity = map[string]string{}
	d.CharsetReader = func(charset string, _ io.Reader) (io.Reader, error) {
		return nil, fmt.Errorf("encoding %q, only UTF-8", charset)
	}
	return d
}

// tree is a document while it is read.
type tree struct {
	Limits
	data     []byte
	root     *Element
	open     []*Element
	opaque   int // levels inside an element that is not looked into
	elements int
}

func (t *tree) begin(name xml.Name, offset int) error {
	if t.elements++; t.elements > t.Elements || len(t.open)+t.opaque >= t.Depth {
		return fmt.Errorf("more than %d elements or %d levels", t.Elements, t.Depth)
	}
	if t.opaque > 0 {
		t.opaque++
		return nil
	}
	e := &Element{Name: name.Local, start: offset}
	if name.Space != "" {
		e.Name = ""
	}
	switch {
	case len(t.open) > 0:
		top := t.open[len(t.open)-1]
		top.Kids = append(top.Kids, e)
		if t.Opaque != nil && t.Opaque(top, e.Name) {
			t.opaque = 1
		}
	case t.root == nil:
		t.root = e
	default:
		return errors.New("a second root")
	}
	t.open = append(t.open, e)
	return nil
}

func (t *tree) end(before int) error {
	if t.opaque > 1 {
		t.opaque--
		return nil
	}
	top := t.open[len(t.open)-1]
	t.open = t.open[:len(t.open)-1]
	if t.opaque == 1 {
		t.opaque = 0
		top.Inner = t.data[top.start:max(before, top.start)] // an element that closes itself has no content
		return checkInner(top.Inner)
	}
	top.Text = strings.TrimSpace(top.Text)
	if len(top.Kids) > 0 && top.Text != "" {
		return fmt.Errorf("text beside the elements of %s", top.Name)
	}
	return nil
}

func (t *tree) chars(text xml.CharData) error {
	if t.opaque > 0 {
		return nil
	}
	if len(t.open) == 0 {
		if len(bytes.TrimSpace(text)) > 0 {
			return errors.New("text outside the root")
		}
		return nil
	}
	top := t.open[len(t.open)-1]
	if len(top.Text)+len(text) > t.Text {
		return fmt.Errorf("the text of %s is longer than %d octets", top.Name, t.Text)
	}
	top.Text += string(text)
	return nil
}

// ErrUnknown is what a visitor returns for a name that it does not know.
var ErrUnknown = errors.New("unknown element")

// Each visits the children, those inside nested Extensions too (Annexes E and D nest one per release). An element outside repeatable may
// stand once. Unknown elements are skipped inside an Extension only.
func (e *Element) Each(repeatable []string, visit func(*Element) error) error {
	var seen []string
	var walk func(*Element, bool) error
	walk = func(parent *Element, strict bool) error {
		extended := false
		for _, k := range parent.Kids {
			switch {
			case k.Name == "":
				continue
			case k.Name == "Extension":
				if extended {
					return fmt.Errorf("two Extensions in %s", parent.Name)
				}
				extended = true
				if err := walk(k, false); err != nil {
					return err
				}
				continue
			case !slices.Contains(repeatable, k.Name):
				if slices.Contains(seen, k.Name) {
					return fmt.Errorf("%s stands twice in %s", k.Name, e.Name)
				}
				seen = append(seen, k.Name)
			}
			err := visit(k)
			if err == ErrUnknown {
				if !strict {
					continue
				}
				return fmt.Errorf("unknown element %s in %s", k.Name, e.Name)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return walk(e, true)
}

// Number reads an integer from least to most.
func (e *Element) Number(least, most int) (int, error) {
	n, err := strconv.Atoi(e.Text)
	if err != nil || n < least || n > most || len(e.Kids) > 0 {
		return 0, fmt.Errorf("%s is %q, not a number from %d to %d", e.Name, e.Text, least, most)
	}
	return n, nil
}

// Integer reads an integer from least to most into a field, which stays as it is after an error.
func Integer[T ~int | ~uint8 | ~uint16](e *Element, to *T, least, most int) error {
	n, err := e.Number(least, most)
	if err == nil {
		*to = T(n)
	}
	return err
}

// Boolean reads xs:boolean into a field.
func Boolean(e *Element, to *bool) error {
	switch {
	case len(e.Kids) > 0:
		return fmt.Errorf("%s has elements", e.Name)
	case e.Text == "1", e.Text == "true":
		*to = true
	case e.Text == "0", e.Text == "false":
		*to = false
	default:
		return fmt.Errorf("%s is %q, not a boolean", e.Name, e.Text)
	}
	return nil
}

// String reads text, which may be empty, into a field.
func String[T ~string](e *Element, to *T) error {
	if len(e.Kids) > 0 {
		return fmt.Errorf("%s has elements", e.Name)
	}
	*to = T(e.Text)
	return nil
}
