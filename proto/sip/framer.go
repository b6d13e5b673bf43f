package sip

import "bytes"

// What Framer.Next reports besides messages. ErrPong and ErrPing are no failures: call Next again.
var (
	// ErrPong: one CRLF came between messages: the answer to a ping of ours (RFC 5626 4.4.1), or a line end to ignore
	// (RFC 3261 7.5).
	ErrPong = &ParseError{"CRLF between messages"}
	// ErrPing: the second CRLF of a pair came: a ping, to be answered with one CRLF (RFC 5626 4.4.1). ErrPong was
	// reported for the first.
	ErrPing = &ParseError{"double CRLF between messages"}
	// ErrNoLength: a message on a stream without a Content-Length (RFC 3261 18.3, 20.14).
	ErrNoLength = &ParseError{"no Content-Length on a stream"}
	// ErrLength: a Content-Length that is no number, or two that differ: the end of the message is anybody's guess.
	ErrLength = &ParseError{"ambiguous Content-Length"}
)

// Framer cuts a byte stream into messages (RFC 3261 18.3), strictly: where two readers could see different ends it
// fails, and the caller closes the connection. It holds no memory while it waits between messages, and memory only
// for octets that came, never for octets that a Content-Length announced. Not safe for concurrent use.
//
//	framer.Write(octets)
//	for {
//		msg, err := framer.Next()
//		...                          // err: ErrPing, ErrPong, or close
//		if msg == nil && err == nil { break } // read more
//	}
type Framer struct {
	limits Limits
	pool   *Pool  // where block comes from
	in     []byte // what is to be cut: borrowed from the caller of Write, or owned, a part of block
	block  *slab  // octets of a message not yet complete
	owned  bool

	line   int   // start in in of the line that is not yet complete
	field  int   // start of the header field that line belongs to, 0 = it is the start line
	length int   // the Content-Length found so far, -1 = none
	need   int   // octets of the message at the start of in, 0 = not yet known
	crlf   bool  // the last thing that came was a single CRLF
	err    error // the stream has failed

	doubter Doubter // is asked about a length that is not clear; nil for nobody
}

// Doubter decides about a stream that two readers could cut at different places: true ends it, as RFC 3261 18.3 wants. False lets it go
// on with the first length that came, as lenient readers do: that is for laboratories which show why strict framing is needed.
type Doubter interface{ Doubt(err error) bool }

// SetDoubter lets d decide. Without one every doubt ends the stream.
func (f *Framer) SetDoubter(d Doubter) { f.doubter = d }

// NewFramer returns a Framer with memory of its own. Pool.NewFramer is better where there are many.
func NewFramer(l Limits) *Framer { return NewPool(l).NewFramer() }

// NewFramer returns a Framer with the limits and the slabs of p. Close it when the connection ends.
func (p *Pool) NewFramer() *Framer {
	return &Framer{limits: p.limits, pool: p, block: noBlock, length: -1}
}

// Write takes octets of the stream. It borrows p: p must not change before Next has returned nil, nil or an error that
// ends the stream. It returns len(p), or the error of a stream that has failed.
func (f *Framer) Write(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	if len(f.in) == 0 {
		f.drop()
		f.in = p
		return len(p), nil
	}
	if !f.owned || cap(f.in)-len(f.in) < len(p) {
		f.own(len(p))
	}
	f.in = append(f.in, p...)
	return len(p), nil
}

// Next returns the next message, a view that is valid until the next call of Write or Next. It returns nil, nil when
// more octets are needed; ErrPong and ErrPing for keep-alives; any other error, a *ParseError, ends the stream.
func (f *Framer) Next() (msg []byte, err error) {
	if f.err != nil {
		return nil, f.err
	}
	if f.need == 0 {
		if err := f.begin(); err != nil {
			if err != ErrPing && err != ErrPong {
				f.fail(err)
			}
			return nil, err
		}
	}
	if f.need == 0 || len(f.in) < f.need {
		f.settle()
		return nil, nil
	}
	msg = f.in[:f.need:f.need]
	f.take(f.need)
	return msg, nil
}

// Buffered returns the octets of an incomplete message that the Framer holds: a connection on which it stays above 0
// for long is to be closed (RFC 4475 3.1.2.2).
func (f *Framer) Buffered() int { return len(f.in) }

// Close gives the memory back. The Framer must not be used afterwards.
func (f *Framer) Close() { f.fail(ErrEmpty) }

func (f *Framer) fail(err error) {
	f.err, f.need = err, 0
	f.drop()
}

// begin looks at the start of in: a keep-alive, or a message whose length it finds in the header.
func (f *Framer) begin() error {
	if len(f.in) == 0 {
		return nil
	}
	switch c := f.in[0]; {
	case c == '\r':
		if len(f.in) == 1 {
			return nil
		}
		if f.in[1] != '\n' {
			return ErrLineEnd
		}
		f.take(2)
		if f.crlf = !f.crlf; f.crlf {
			return ErrPong
		}
		return ErrPing
	case class[c]&clsToken == 0:
		return ErrStartLine // no method and no "SIP/" begins like this
	}
	f.crlf = false
	return f.header()
}

// header goes on through the lines of the header, each once however the stream was split. At the empty line it sets
// need.
func (f *Framer) header() error {
	for {
		i := bytes.IndexByte(f.in[f.line:], '\n')
		if i < 0 {
			switch {
			case len(f.in) > f.limits.MaxMessage:
				return ErrTooLarge
			case len(f.in)-f.line > f.limits.MaxLine:
				return ErrLineTooLong
			}
			return nil
		}
		next := f.line + i + 1
		if i == 0 || f.in[next-2] != '\r' || i > 1 && f.in[f.line] == '\r' {
			return ErrLineEnd
		}
		// A line that begins with white space goes on with the field before it (RFC 3261 7.3.1).
		if f.line > 0 && !isLWS(f.in[f.line]) {
			if f.field > 0 {
				if err := f.contentLength(f.in[f.field:f.line]); err != nil {
					return err
				}
			}
			f.field = f.line
		}
		if i == 1 && f.line > 0 {
			return f.end(next)
		}
		f.line = next
	}
}

// end works out the length of a message whose header is head octets long.
func (f *Framer) end(head int) error {
	// Every LF has a CR before it. A CR on its own would be a line end to some readers and none to others.
	if bytes.Count(f.in[:head], crOctet) != bytes.Count(f.in[:head], lfOctet) {
		return ErrLineEnd
	}
	if f.length < 0 {
		return ErrNoLength
	}
	if f.length > f.limits.MaxBody || head+f.length > f.limits.MaxMessage {
		return ErrTooLarge
	}
	f.need = head + f.length
	return nil
}

var crOctet, lfOctet = []byte{'\r'}, []byte{'\n'}

// contentLength looks at one header field, folds and line end included. It knows names as the parser does, so the two
// cannot disagree about which field is a Content-Length. Two that agree are left for Validate.
func (f *Framer) contentLength(field []byte) error {
	if c := field[0] | 0x20; c != 'c' && c != 'l' {
		return nil
	}
	colon := bytes.IndexByte(field, ':')
	if colon < 0 || LookupHeader(trim(field[:colon])) != HdrContentLength {
		return nil
	}
	n, ok := parseUint(bytes.Trim(field[colon+1:], " \t\r\n"), ceilingMessage)
	switch {
	case ok && f.length < 0:
		f.length = int(n)
	case ok && f.length == int(n):
	case f.length < 0 || f.doubter == nil || f.doubter.Doubt(ErrLength):
		return ErrLength
	}
	return nil
}

// take drops n octets from the front of in.
func (f *Framer) take(n int) {
	f.in = f.in[n:]
	f.line, f.field, f.length, f.need = 0, 0, -1, 0
}

// settle keeps what is left of the caller's octets, or gives memory back if nothing is.
func (f *Framer) settle() {
	switch {
	case len(f.in) == 0:
		f.drop()
	case !f.owned:
		f.own(0)
	}
}

// own moves in to the front of a block of ours with room for n octets more: the block at hand if it is large enough,
// else one at least twice as large, so that a message that comes octet by octet is not copied each time.
func (f *Framer) own(n int) {
	need := len(f.in) + n
	if need <= len(f.block.buf) {
		f.in = f.block.buf[:copy(f.block.buf, f.in)]
		return
	}
	old := f.block
	if need <= slabSizes[len(slabSizes)-1] {
		f.block = f.pool.getSlab(need)
	} else {
		f.block = &slab{buf: make([]byte, 2*need)} // more than one message at once
	}
	f.in = append(f.block.buf[:0], f.in...)
	f.owned = true
	f.giveBack(old)
}

// drop gives the block back.
func (f *Framer) drop() {
	f.giveBack(f.block)
	f.in, f.block, f.owned = nil, noBlock, false
}

func (f *Framer) giveBack(s *slab) {
	if n := len(s.buf); n > 0 && n <= slabSizes[len(slabSizes)-1] {
		f.pool.putSlab(s)
	}
}

// noBlock is the block of a Framer that holds nothing. It is never written.
var noBlock = new(slab)
