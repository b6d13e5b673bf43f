package filter

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"imsafe/refpoint/cx"
)

// Version names the criteria of a profile by what they say: the same criteria have the same version in every process and after every
// restart, and others have another.
type Version [16]byte

// Cursor is a place in one version of a profile: in the evaluation of one initial request everything before Next is done. It goes
// with the request to an application server and comes back with it (in the original dialog identifier, TS 24.229 5.4.3.4), so
// that criteria are neither skipped nor run twice: it is worth nothing in another version, where the same number may be another
// criterion (docs/decisions/020). Whoever keeps it must seal it.
type Cursor struct {
	Version Version
	Next    uint16 // number of the next criterion, from 0 in the order of priorities
}

// CursorSize is the size of a cursor in octets.
const CursorSize = len(Version{}) + 2

// ErrCursor is returned for octets that are no cursor.
var ErrCursor = errors.New("filter: no cursor")

// Append appends the cursor in CursorSize octets.
func (c Cursor) Append(dst []byte) []byte {
	return binary.BigEndian.AppendUint16(append(dst, c.Version[:]...), c.Next)
}

// ParseCursor reads what Append wrote. It returns ErrCursor for any other length.
func ParseCursor(b []byte) (c Cursor, err error) {
	if len(b) != CursorSize {
		return c, ErrCursor
	}
	copy(c.Version[:], b)
	c.Next = binary.BigEndian.Uint16(b[len(c.Version):])
	return c, nil
}

// Version returns the version of the criteria. All that have none share one.
func (f *Filter) Version() Version {
	if f == nil {
		return Version{}
	}
	return f.version
}

// placed is a criterion and where it stood.
type placed struct {
	*cx.InitialFilterCriteria
	set   int // SharedIFCSetID, -1 for the profile's own
	place string
}

// versionOf hashes criteria in their order, unambiguously. Those that are none have the zero version.
func versionOf(list []placed) (v Version) {
	if len(list) == 0 {
		return v
	}
	w := writer{[]byte("filter 1")} // its form: what is evaluated in another way must have another version
	for _, c := range list {
		w.number(c.Priority, c.set, int(c.Part), int(c.Server.DefaultHandling), flag(c.Server.IncludeRegisterRequest),
			flag(c.Server.IncludeRegisterResponse))
		w.text(c.Server.ServerName, c.Server.ServiceInfo)
		if c.Trigger == nil {
			w.number(-1)
			continue
		}
		w.number(len(c.Trigger.SPTs), flag(c.Trigger.CNF))
		for i := range c.Trigger.SPTs {
			s := &c.Trigger.SPTs[i]
			w.number(flag(s.Negated), int(s.Kind), int(s.Case), int(s.Registrations), flag(s.HasContent), len(s.Groups))
			w.number(s.Groups...)
			w.text(s.Pattern, s.Content)
		}
	}
	sum := sha256.Sum256(w.b)
	copy(v[:], sum[:])
	return v
}

type writer struct{ b []byte }

func (w *writer) number(list ...int) {
	for _, n := range list {
		w.b = binary.AppendVarint(w.b, int64(n))
	}
}

func (w *writer) text(list ...string) {
	for _, s := range list {
		w.number(len(s))
		w.b = append(w.b, s...)
	}
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
