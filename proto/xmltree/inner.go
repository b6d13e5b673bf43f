package xmltree

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
)

// checkInner examines the content of an element that is carried on as it is. What it means must not depend on where it stands: a
// prefix that is declared outside would be another one, or none, in the next document. The document around it was read before, so it is
// well-formed; what the reader lets pass, an attribute twice, is refused here.
func checkInner(inner []byte) error {
	d := newDecoder(inner)
	var scopes [][]string // prefixes declared at each level
	for {
		tok, err := d.RawToken()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch tok := tok.(type) {
		case xml.ProcInst:
			return errInstruction
		case xml.StartElement:
			own, err := declared(tok.Attr)
			if err != nil {
				return err
			}
			scopes = append(scopes, own)
			if p, ok := undeclared(scopes, tok); !ok {
				return fmt.Errorf("the prefix %q is not declared inside", p)
			}
		case xml.EndElement:
			if len(scopes) == 0 {
				return errors.New("an end without a start")
			}
			scopes = scopes[:len(scopes)-1]
		}
	}
}

// declared returns the prefixes that attributes declare.
func declared(attrs []xml.Attr) (prefixes []string, err error) {
	for i, a := range attrs {
		for _, b := range attrs[:i] {
			if a.Name == b.Name {
				return nil, fmt.Errorf("the attribute %s stands twice", a.Name.Local)
			}
		}
		if a.Name.Space == "xmlns" {
			prefixes = append(prefixes, a.Name.Local)
		}
	}
	return prefixes, nil
}

// undeclared finds a prefix that the levels do not declare.
func undeclared(scopes [][]string, tok xml.StartElement) (prefix string, ok bool) {
	known := func(p string) bool {
		if p == "" || p == "xml" || p == "xmlns" {
			return true
		}
		for _, level := range scopes {
			for _, have := range level {
				if have == p {
					return true
				}
			}
		}
		return false
	}
	if !known(tok.Name.Space) {
		return tok.Name.Space, false
	}
	for _, a := range tok.Attr {
		if !known(a.Name.Space) {
			return a.Name.Space, false
		}
	}
	return "", true
}
