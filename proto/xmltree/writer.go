package xmltree

import (
	"bytes"
	"encoding/xml"
	"strconv"
)

// Writer appends elements to Buf, without white space between them. What it writes is the same for the same values. Text that XML
// cannot carry is replaced by U+FFFD.
type Writer struct{ Buf []byte }

// Declaration is what a document begins with.
const Declaration = `<?xml version="1.0" encoding="UTF-8"?>`

// Open begins an element.
func (w *Writer) Open(name string) { w.Buf = append(append(append(w.Buf, '<'), name...), '>') }

// Close ends an element.
func (w *Writer) Close(name string) { w.Buf = append(append(append(w.Buf, "</"...), name...), '>') }

// Raw writes an element with content that is XML already.
func (w *Writer) Raw(name string, content []byte) {
	w.Open(name)
	w.Buf = append(w.Buf, content...)
	w.Close(name)
}

// Text writes an element with text.
func (w *Writer) Text(name, value string) {
	w.Open(name)
	b := bytes.NewBuffer(w.Buf)
	_ = xml.EscapeText(b, []byte(value)) // a bytes.Buffer does not fail
	w.Buf = b.Bytes()
	w.Close(name)
}

// Optional writes an element with text unless that is empty.
func (w *Writer) Optional(name, value string) {
	if value != "" {
		w.Text(name, value)
	}
}

// Number writes an element with an integer.
func (w *Writer) Number(name string, n int) { w.Text(name, strconv.Itoa(n)) }

// Boolean writes an element with 1 or 0.
func (w *Writer) Boolean(name string, v bool) {
	if v {
		w.Text(name, "1")
	} else {
		w.Text(name, "0")
	}
}

// Extension writes the Extension elements that later releases nested into each other; a level that is empty, and has only empty ones
// below it, is left out.
func (w *Writer) Extension(levels ...func()) {
	if len(levels) == 0 {
		return
	}
	before := len(w.Buf)
	w.Open("Extension")
	start := len(w.Buf)
	levels[0]()
	w.Extension(levels[1:]...)
	if len(w.Buf) == start {
		w.Buf = w.Buf[:before]
		return
	}
	w.Close("Extension")
}
