package sip

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// cut feeds a stream in pieces of n octets and returns what the Framer made of it, as text.
func cut(f *Framer, stream []byte, n int) []string {
	var out []string
	buf := make([]byte, n) // reused, as a reader would: the Framer must not rely on it
	for r := bytes.NewReader(stream); ; {
		k, err := io.ReadFull(r, buf)
		if err == io.EOF {
			return out
		}
		f.Write(buf[:k])
		for {
			msg, err := f.Next()
			switch err {
			case nil:
			case ErrPing:
				out = append(out, "ping")
				continue
			case ErrPong:
				out = append(out, "pong")
				continue
			default:
				return append(out, err.Error())
			}
			if msg == nil {
				break
			}
			out = append(out, string(msg))
		}
	}
}

func TestFramer(t *testing.T) {
	const a = "OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/TCP a\r\nContent-Length: 5\r\n\r\nhe\r\no"
	const b = "SIP/2.0 200 OK\r\nl : 0\r\n\r\n"
	const folded = "OPTIONS sip:a SIP/2.0\r\nContent-Length:\r\n 2\r\nX: y\r\n\r\nab"
	const start = "OPTIONS sip:a SIP/2.0\r\n"
	fails := func(err error) string { return err.Error() }
	tests := []struct {
		name, stream string
		want         []string
	}{
		{"two messages", a + b, []string{a, b}},
		{"ping", "\r\n\r\n" + a, []string{"pong", "ping", a}},
		{"pong", a + "\r\n" + b, []string{a, "pong", b}},
		{"line end too many, twice", a + "\r\n" + b + "\r\n" + b, []string{a, "pong", b, "pong", b}},
		{"two pings", "\r\n\r\n\r\n\r\n", []string{"pong", "ping", "pong", "ping"}},
		{"compact and folded", folded + b, []string{folded, b}},
		{"two lengths that agree are for Validate", start + "l: 0\r\nContent-Length: 0\r\n\r\n" + b, []string{start + "l: 0\r\nContent-Length: 0\r\n\r\n", b}},
		{"incomplete", a[:len(a)-1], nil},
		{"a length within a fold is none", start + "X: y\r\n Content-Length: 9\r\nl: 0\r\n\r\n" + b, []string{start + "X: y\r\n Content-Length: 9\r\nl: 0\r\n\r\n", b}},

		{"no length", start + "X: y\r\n\r\n", []string{fails(ErrNoLength)}},
		{"two lengths that differ", start + "l: 0\r\nContent-Length: 1\r\n\r\n", []string{fails(ErrLength)}},
		{"negative length", start + "l: -1\r\n\r\n", []string{fails(ErrLength)}},
		{"signed length", start + "l: +1\r\n\r\n", []string{fails(ErrLength)}},
		{"no number", start + "l: five\r\n\r\n", []string{fails(ErrLength)}},
		{"empty length", start + "l:\r\n\r\n", []string{fails(ErrLength)}},
		{"two numbers", start + "l: 1, 1\r\n\r\n", []string{fails(ErrLength)}},
		{"number over a fold", start + "l: 1\r\n 1\r\n\r\n", []string{fails(ErrLength)}},
		{"huge length", start + "l: 99999999999999999999\r\n\r\n", []string{fails(ErrLength)}},
		{"over the limit", start + "l: 65535\r\n\r\n", []string{fails(ErrTooLarge)}},
		{"bare LF hides a length", start + "X: y\nl: 1\r\nl: 0\r\n\r\n", []string{fails(ErrLineEnd)}},
		{"bare CR hides a length", start + "X: y\rl: 1\r\nl: 0\r\n\r\n", []string{fails(ErrLineEnd)}},
		{"bare LF ends the header", start + "l: 0\r\n\n", []string{fails(ErrLineEnd)}},
		{"CR CR LF", start + "l: 0\r\n\r\r\n", []string{fails(ErrLineEnd)}},
		{"a lone CR between", a + "\rX", []string{a, fails(ErrLineEnd)}},
		{"a lone LF between", a + "\n" + b, []string{a, fails(ErrStartLine)}},
		{"TLS", "\x16\x03\x01", []string{fails(ErrStartLine)}},
		{"endless line", strings.Repeat("x", 9000), []string{fails(ErrLineTooLong)}},
		{"endless header", start + strings.Repeat("X: y\r\n", 20000), []string{fails(ErrTooLarge)}},
		{"nothing after a failure", "\x00" + a, []string{fails(ErrStartLine)}},
	}
	for _, tt := range tests {
		for _, n := range []int{1, 2, 3, 7, 64, 1 << 20} {
			t.Run(fmt.Sprintf("%s/%d octets", tt.name, n), func(t *testing.T) {
				for _, f := range []*Framer{NewFramer(Limits{Poison: true}), testPool().NewFramer()} {
					got := cut(f, []byte(tt.stream), n)
					if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", tt.want) {
						t.Errorf("got\n%q\nwant\n%q", got, tt.want)
					}
					f.Close()
					if msg, err := f.Next(); msg != nil || err == nil {
						t.Errorf("after Close: %q %v", msg, err)
					}
				}
			})
		}
	}
}

// TestFramerMemory: nothing is held between messages, and no more than came.
func TestFramerMemory(t *testing.T) {
	f := testPool().NewFramer()
	f.Write([]byte(inviteMessage))
	if msg, err := f.Next(); string(msg) != inviteMessage || err != nil {
		t.Fatal(err)
	}
	if msg, err := f.Next(); msg != nil || err != nil || len(f.block.buf) != 0 || f.Buffered() != 0 {
		t.Error("memory held by an idle stream")
	}
	f.Write([]byte("OPTIONS sip:a SIP/2.0\r\nl: 60000\r\n\r\n"))
	if msg, err := f.Next(); msg != nil || err != nil || len(f.block.buf) > 1024 {
		t.Errorf("%d octets held for 35", len(f.block.buf))
	}
	if f.Buffered() != 35 {
		t.Errorf("%d octets buffered", f.Buffered())
	}
}

// TestFramerAgreesWithParser: what the framer takes for one message the parser takes for the same, none left over.
func TestFramerAgreesWithParser(t *testing.T) {
	p := testPool()
	for _, tt := range torture {
		data := read(t, tt.file)
		f := p.NewFramer()
		f.Write(data)
		msg, err := f.Next()
		if err != nil || msg == nil {
			continue
		}
		m, err := p.Parse(msg)
		if err != nil {
			continue
		}
		if n, ok := m.ContentLength(); !ok || n != len(m.Body()) || m.Defects()&(DefectTruncated|DefectNoEnd) != 0 {
			t.Errorf("%s: length %d, body %d", tt.file, n, len(m.Body()))
		}
		m.Release()
	}
}

// lenient goes on with the first length of a stream, and counts.
type lenient int

func (l *lenient) Doubt(error) bool { *l++; return false }

// TestFramerDoubts: whoever is asked may go on where two readers could see different ends; nobody asks him where there is no end at all.
func TestFramerDoubts(t *testing.T) {
	const start, b = "OPTIONS sip:a SIP/2.0\r\n", "SIP/2.0 200 OK\r\nl : 0\r\n\r\n"
	for _, c := range []struct {
		name, stream string
		asked        lenient
		want         []string
	}{
		{"two lengths", start + "l: 0\r\nContent-Length: 9\r\n\r\n" + b, 1, []string{start + "l: 0\r\nContent-Length: 9\r\n\r\n", b}},
		{"a second that is no number", start + "l: 0\r\nContent-Length: x\r\n\r\n" + b, 1, []string{start + "l: 0\r\nContent-Length: x\r\n\r\n", b}},
		{"one that is no number", start + "Content-Length: x\r\n\r\n" + b, 0, []string{ErrLength.Error()}},
		{"none", start + "\r\n" + b, 0, []string{ErrNoLength.Error()}},
	} {
		var l lenient
		f := NewFramer(Limits{})
		f.SetDoubter(&l)
		if got := cut(f, []byte(c.stream), 7); !slices.Equal(got, c.want) || l != c.asked {
			t.Errorf("%s: asked %d times, %q", c.name, l, got)
		}
	}
}
