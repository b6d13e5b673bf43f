package decisions

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"imsafe/store/disk"
)

// How a log can be broken.
const (
	Edited    = "edited"    // a record is not what it was, or is none
	Cut       = "cut"       // records are missing
	Reordered = "reordered" // records stand where they did not
	Forged    = "forged"    // a head is not signed by this node
)

// Fault is the first place where a log is broken.
type Fault struct {
	How    string `json:"how"`
	Record uint64 `json:"record"` // its number
	File   string `json:"file"`   // where that stands, or stood
	Line   int    `json:"line"`   // in it, from 1
	Text   string `json:"text"`   // for people
}

// Report is what a look at a log has shown.
type Report struct {
	Records  uint64 `json:"records"` // that are kept
	First    uint64 `json:"first"`   // the number of the oldest
	Last     uint64 `json:"last"`
	Heads    int    `json:"heads"`     // valid ones
	SignedTo uint64 `json:"signed_to"` // the last head; what is behind it was not signed yet
	Torn     int64  `json:"torn"`      // octets of a record that was not finished when the power went
	Key      string `json:"key"`       // whose signatures were expected: fingerprint of the public key
	Fault    *Fault `json:"fault,omitempty"`
}

// Whole reports whether nothing is broken.
func (r *Report) Whole() bool { return r.Fault == nil }

// cause is what Open notes about the state in which it has found the log.
func (r *Report) cause() string {
	switch {
	case r.Fault != nil:
		return "broken-" + r.Fault.How
	case r.Torn > 0:
		return "after-crash"
	case r.Records == 0:
		return "new"
	}
	return ""
}

// Verify looks at a log whose node does not run, or whose key alone is known here.
func Verify(d disk.Disk, key ed25519.PublicKey) (*Report, error) {
	s, err := scan(d, key)
	if err != nil {
		return nil, err
	}
	return &s.Report, nil
}

// Head returns the last head, to be kept where nobody of this host can write.
func (l *Log) Head() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head.line
}

// Verify looks at the log that this process writes. It knows the last record, so that it sees also what is missing behind the last head.
func (l *Log) Verify() (*Report, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, err := scan(l.o.Disk, l.o.Key.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	if s.Fault == nil && (s.last != l.last || s.torn > 0) {
		at := min(s.last.n+1, l.last.n)
		s.fault(Cut, at, "the records from %d to %d, which this node has written, are not there", at, l.last.n)
	}
	return &s.Report, nil
}

// scanner reads a log from its beginning to its end.
type scanner struct {
	Report
	key      ed25519.PublicKey
	kept     []byte // line of the file head, nil without one
	found    bool   // it stands in the log
	seeks    []byte // another line
	sought   bool   // it stands in the log
	segments []uint64
	last     tail
	head     uint64 // number of the head in the file
	end      int64  // octets of the last segment that are good
	torn     int64  // and those behind them

	file string
	line int
}

// scan reads all that is there. An error is of the disk; what is wrong with the log stands in the report.
func scan(d disk.Disk, key ed25519.PublicKey) (*scanner, error) { return scanFor(d, key, nil) }

// scanFor is scan that looks for a line.
func scanFor(d disk.Disk, key ed25519.PublicKey, line []byte) (*scanner, error) {
	s := &scanner{key: key, seeks: line, last: tail{hash: firstHash}, Report: Report{Key: hashOf(key)[:16]}}
	names, err := d.ReadDir()
	if err != nil {
		return nil, fmt.Errorf("decisions: %w", err)
	}
	for _, name := range names {
		if first, ours := segmentFirst(name); ours {
			s.segments = append(s.segments, first)
		}
	}
	slices.Sort(s.segments)
	if err := s.readHead(d); err != nil {
		return nil, err
	}
	for i, first := range s.segments {
		if err := s.read(d, segmentName(first), i == len(s.segments)-1); err != nil {
			return nil, err
		}
	}
	s.conclude()
	return s, nil
}

// readHead reads the file of the last head.
func (s *scanner) readHead(d disk.Disk) error {
	f, err := d.Open(headFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("decisions: %w", err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("decisions: %w", err)
	}
	s.kept = make([]byte, min(size, maxLine))
	if _, err := f.ReadAt(s.kept, 0); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("decisions: %w", err)
	}
	s.file, s.line = headFile, 1
	r, ok := parse(s.kept)
	if !ok || r.Kind != signedHead || !proves(s.kept, s.key) {
		s.fault(Forged, r.N, "the last head, in the file %s, is not signed by this node", headFile)
	}
	s.head, s.First = r.N, r.First
	return nil
}

// maxLine is more than any line has.
const maxLine = 64 << 10

// read reads a segment.
func (s *scanner) read(d disk.Disk, name string, isLast bool) error {
	f, err := d.Open(name)
	if err != nil {
		return fmt.Errorf("decisions: %w", err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("decisions: %w", err)
	}
	s.file, s.line, s.end, s.torn = name, 0, 0, 0
	lines := bufio.NewReaderSize(io.NewSectionReader(f, 0, size), maxLine)
	for s.end < size {
		line, err := lines.ReadSlice('\n')
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("decisions: %w", err)
		}
		s.line++
		r, ok := parse(bytes.TrimSuffix(line, []byte("\n")))
		if err != nil || !ok || s.fresh(&r) {
			if isLast && s.last.n >= s.head && s.Fault == nil { // behind the last head: of a crash, for all that is known
				s.torn = size - s.end
				return nil
			}
		}
		if err != nil || !ok {
			s.fault(Edited, s.last.n+1, "this is no record")
			if err != nil {
				return nil // no end of a line follows
			}
		} else {
			s.take(&r, line[:len(line)-1])
		}
		s.end += int64(len(line))
	}
	return nil
}

// fresh reports whether r does not follow the record before it.
func (s *scanner) fresh(r *record) bool {
	return s.last.n > 0 && (r.N != s.last.n+1 || r.Prev != s.last.hash)
}

// parse reads a line.
func parse(line []byte) (r record, ok bool) {
	return r, json.Unmarshal(line, &r) == nil && r.N > 0 && r.Kind != ""
}

// take judges one record by the one before it.
func (s *scanner) take(r *record, line []byte) {
	first := s.Records == 0
	s.Records++
	switch {
	case s.Fault != nil: // the first is enough; but what was missing may stand elsewhere
		if s.Fault.How == Cut && r.N == s.Fault.Record {
			s.Fault.How, s.Fault.Text = Reordered, fmt.Sprintf("record %d stands in %s, line %d, behind later ones", r.N, s.file, s.line)
		}
	case first && r.N > max(s.First, 1):
		s.fault(Cut, max(s.First, 1), "the records before %d are not there", r.N)
	case first && r.N == 1 && r.Prev != firstHash:
		s.fault(Edited, r.N, "the first record follows another")
	case first:
	case r.N <= s.last.n:
		s.fault(Reordered, r.N, "record %d stands behind record %d", r.N, s.last.n)
	case r.N > s.last.n+1:
		s.fault(Cut, s.last.n+1, "record %d stands behind record %d", r.N, s.last.n)
	case r.Prev != s.last.hash:
		s.fault(Edited, s.last.n, "record %d is not the one that record %d follows", s.last.n, r.N)
		s.Fault.Line = max(s.line-1, 1)
	case r.Kind == signedHead && !proves(line, s.key):
		s.fault(Forged, r.N, "this head is not signed by this node: what stands between it and the head %d before it is not what was signed", s.SignedTo)
	}
	if s.Fault == nil && r.Kind == signedHead {
		s.Heads++
		s.SignedTo = r.N
	}
	if r.N == s.head && bytes.Equal(line, s.kept) {
		s.found = true
	}
	s.sought = s.sought || s.seeks != nil && bytes.Equal(line, s.seeks)
	if first {
		s.First = r.N
	}
	s.last = tail{r.N, hashOf(line)}
}

// conclude looks for the last head.
func (s *scanner) conclude() {
	s.Last, s.Torn = s.last.n, s.torn
	switch {
	case s.Fault != nil:
	case s.kept == nil && s.Heads > 1:
		s.fault(Cut, s.last.n, "the file %s with the last head is not there", headFile)
	case s.kept == nil || s.found:
	case s.last.n < s.head:
		s.fault(Cut, s.last.n+1, "the records up to the last head, %d, are not there", s.head)
	default:
		s.fault(Edited, s.head, "record %d is not the head that was signed last", s.head)
	}
}

// fault notes the first place where the log is broken.
func (s *scanner) fault(how string, n uint64, format string, args ...any) {
	if s.Fault == nil {
		s.Fault = &Fault{How: how, Record: n, File: s.file, Line: max(s.line, 1), Text: fmt.Sprintf(format, args...)}
	}
}

// Errors of Contains.
var (
	ErrNoHead  = errors.New("decisions: this is no head that this node has signed")
	ErrRotated = errors.New("decisions: this head is older than the oldest record that is kept")
)

// Contains reports whether a head that was kept elsewhere stands in the log: nobody has put an older state back. ErrNoHead; ErrRotated for one that
// proves nothing any more.
func Contains(d disk.Disk, key ed25519.PublicKey, head []byte) (bool, error) {
	head = bytes.TrimSpace(head)
	r, ok := parse(head)
	if !ok || r.Kind != signedHead || !proves(head, key) {
		return false, ErrNoHead
	}
	s, err := scanFor(d, key, head)
	switch {
	case err != nil:
		return false, err
	case r.N < s.First:
		return false, ErrRotated
	}
	return s.sought, nil
}
