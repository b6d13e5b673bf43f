package sdp

import "errors"

// Errors of Parse. They are wrapped with the place; errors.Is finds them.
var (
	ErrTooLarge = errors.New("sdp: over a limit")
	ErrSyntax   = errors.New("sdp: malformed")
	ErrAddress  = errors.New("sdp: connection address not acceptable")
)

// Limits bound what Parse accepts. A zero field means the value of DefaultLimits.
type Limits struct {
	Octets     int // whole body
	Lines      int
	LineOctets int // without the line end
	Media      int // m= lines
	Formats    int // per m= line
	Candidates int // ICE candidates per m= line
}

// DefaultLimits returns limits that hold any offer of a phone or a browser several times over.
func DefaultLimits() Limits {
	return Limits{Octets: 32 << 10, Lines: 1024, LineOctets: 2048, Media: 16, Formats: 64, Candidates: 64}
}

// Parse reads one session description. It accepts CRLF and LF line ends (RFC 8866 5), refuses what is
// ambiguous (an attribute we act on given twice, two rtpmaps for one type) and never keeps a reference to
// data. Errors: ErrTooLarge, ErrSyntax, ErrAddress, ErrFingerprint.
func Parse(data []byte, l Limits) (*Session, error) { panic("not yet") }

// ErrValue says that a value to be written holds CR, LF or NUL, or is empty where it must not be.
var ErrValue = errors.New("sdp: value cannot be written")

// Marshal writes the description with CRLF line ends. It returns ErrValue instead of ever writing a
// value that could start a line of its own.
func (s *Session) Marshal() ([]byte, error) { panic("not yet") }
