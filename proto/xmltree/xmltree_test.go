package xmltree

import (
	"bytes"
	"strings"
	"testing"
)

func small() Limits {
	return Limits{Octets: 1024, Depth: 6, Elements: 20, Text: 64,
		Opaque: func(parent *Element, name string) bool { return parent.Name == "root" && name == "kept" }}
}

func TestParseRefuses(t *testing.T) {
	for name, doc := range map[string]string{
		"nothing":                  "",
		"two roots":                "<a/><b/>",
		"a document type":          "<!DOCTYPE x><a/>",
		"an entity of its own":     "<a>&e;</a>",
		"another encoding":         `<?xml version="1.0" encoding="UTF-16"?><a/>`,
		"a processing instruction": "<a><?x y?></a>",
		"one before the root":      "<?x y?><a/>",
		"one after the root":       "<a/><?xml version=\"1.0\"?>",
		"too many octets":          "<a>" + strings.Repeat(" ", 1024) + "</a>",
		"too deep":                 strings.Repeat("<a>", 7) + strings.Repeat("</a>", 7),
		"too deep where kept":      "<root><kept>" + strings.Repeat("<a>", 5) + strings.Repeat("</a>", 5) + "</kept></root>",
		"too many elements":        "<a>" + strings.Repeat("<b/>", 20) + "</a>",
		"a text too long":          "<a>" + strings.Repeat("x", 65) + "</a>",
		"text beside elements":     "<a>x<b/></a>",
		"text outside":             "x<a/>",
		"no end":                   "<a><b>",
		"a prefix from outside":    `<root xmlns:p="urn:p"><kept><p:a/></kept></root>`,
		"an attribute twice":       `<root><kept><a b="1" b="2"/></kept></root>`,
	} {
		if e, err := Parse([]byte(doc), small()); err == nil || e != nil {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
}

func TestParseKeepsWhatIsOpaque(t *testing.T) {
	const inside = ` <x y="1">text<z/></x> `
	root, err := Parse([]byte(Declaration+"<root><kept>"+inside+"</kept><kept/><p:other xmlns:p=\"urn:p\"/></root>"), small())
	if err != nil {
		t.Fatal(err)
	}
	if got := string(root.Kids[0].Inner); got != inside || len(root.Kids[0].Kids) != 0 {
		t.Errorf("kept %q", got)
	}
	if root.Kids[1].Inner == nil || len(root.Kids[1].Inner) != 0 {
		t.Errorf("an element that closes itself kept %q", root.Kids[1].Inner)
	}
	if root.Kids[2].Name != "" {
		t.Errorf("an element of another namespace is called %q", root.Kids[2].Name)
	}
}

func TestEach(t *testing.T) {
	visit := func(doc string, repeatable ...string) (seen string, err error) {
		root, err := Parse([]byte(doc), small())
		if err != nil {
			t.Fatal(err)
		}
		err = root.Each(repeatable, func(e *Element) error {
			if len(e.Name) > 1 {
				return ErrUnknown
			}
			seen += e.Name
			return nil
		})
		return seen, err
	}
	for name, c := range map[string]struct {
		doc, seen string
		refused   bool
	}{
		"in order":                  {"<r><a/><b/></r>", "ab", false},
		"in Extensions":             {"<r><a/><Extension><b/><Extension><c/></Extension></Extension></r>", "abc", false},
		"twice":                     {"<r><a/><a/></r>", "a", true},
		"twice, once in Extensions": {"<r><a/><Extension><a/></Extension></r>", "a", true},
		"repeatable":                {"<r><x/><x/></r>", "xx", false},
		"unknown":                   {"<r><surprise/></r>", "", true},
		"unknown in an Extension":   {"<r><Extension><later/></Extension></r>", "", false},
		"two Extensions":            {"<r><Extension/><Extension/></r>", "", true},
		"of another namespace":      {`<r><a xmlns="urn:x"/></r>`, "", false},
	} {
		if seen, err := visit(c.doc, "x"); seen != c.seen || err != nil != c.refused {
			t.Errorf("%s: saw %q, %v", name, seen, err)
		}
	}
}

func TestValues(t *testing.T) {
	leaf := &Element{Name: "n", Text: "7"}
	full := &Element{Name: "n", Text: "1", Kids: []*Element{{}}}
	var n uint8
	var b bool
	var s string
	if err := Integer(leaf, &n, 0, 7); err != nil || n != 7 {
		t.Error(n, err)
	}
	if err := Integer(leaf, &n, 0, 6); err == nil {
		t.Error("7 is at most 6")
	}
	if Boolean(leaf, &b) == nil || Boolean(&Element{Text: "true"}, &b) != nil || !b {
		t.Error("booleans")
	}
	if String(leaf, &s) != nil || s != "7" {
		t.Error(s)
	}
	if Integer(full, &n, 0, 7) == nil || Boolean(full, &b) == nil || String(full, &s) == nil {
		t.Error("an element with elements has a value")
	}
}

func TestWriter(t *testing.T) {
	w := Writer{Buf: []byte("before")}
	w.Open("r")
	w.Text("t", "a<b")
	w.Optional("o", "")
	w.Number("n", -1)
	w.Boolean("b", true)
	w.Raw("x", []byte("<y/>"))
	w.Extension(func() {}, func() { w.Boolean("l", false) }, func() {})
	w.Extension(func() {}, func() {})
	w.Close("r")
	const want = "before<r><t>a&lt;b</t><n>-1</n><b>1</b><x><y/></x><Extension><Extension><l>0</l></Extension></Extension></r>"
	if got := string(w.Buf); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// FuzzParse: what was read and is written again reads the same, and what is kept stands on its own.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`<root a="1"><kept xmlns:p="u"><p:x/></kept><b>t &amp; u</b></root>`))
	f.Add([]byte(`<root><kept><a xmlns:p="u"><p:x p:y="1"/></a></kept><c><d/></c></root>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		root, err := Parse(data, small())
		if err != nil {
			return
		}
		var w Writer
		write(&w, root)
		l := small()
		l.Octets = 8 * len(w.Buf) // references to characters take more octets
		again, err := Parse(w.Buf, l)
		if err != nil {
			t.Fatalf("%v in %s", err, w.Buf)
		}
		var twice Writer
		write(&twice, again)
		if !bytes.Equal(w.Buf, twice.Buf) {
			t.Fatalf("%s\n%s", w.Buf, twice.Buf)
		}
	})
}

// write writes a tree; a foreign element is written without its namespace.
func write(w *Writer, e *Element) {
	name := e.Name
	if name == "" {
		name = "foreign"
	}
	switch {
	case e.Inner != nil:
		w.Raw(name, e.Inner)
	case len(e.Kids) == 0:
		w.Text(name, e.Text)
	default:
		w.Open(name)
		for _, k := range e.Kids {
			write(w, k)
		}
		w.Close(name)
	}
}
