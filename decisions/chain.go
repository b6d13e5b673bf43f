package decisions

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// record is a line.
type record struct {
	N    uint64 `json:"n"`
	Time string `json:"t"`
	Decision
	Count uint64 `json:"count,omitempty"` // how often it was made, where that is not once
	First uint64 `json:"first,omitempty"` // of a head: the oldest record that is kept
	Prev  string `json:"prev"`
}

// The names of files.
const (
	segmentPrefix = "decisions-"
	segmentSuffix = ".log"
	headFile      = "head"
	headNew       = "head.new"
)

func segmentName(first uint64) string {
	return fmt.Sprintf("%s%016x%s", segmentPrefix, first, segmentSuffix)
}

// segmentFirst reads the name of a segment.
func segmentFirst(name string) (first uint64, ok bool) {
	digits, isLog := strings.CutSuffix(name, segmentSuffix)
	digits, isOurs := strings.CutPrefix(digits, segmentPrefix)
	if !isLog || !isOurs || len(digits) != 16 {
		return 0, false
	}
	first, err := strconv.ParseUint(digits, 16, 64)
	return first, err == nil
}

func hashOf(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}

// line makes the line of a note behind the end of a chain, and the end that it is.
func (l *Log) line(n *note, after tail) ([]byte, tail, error) {
	r := record{N: after.n + 1, Time: n.at.UTC().Format(time.RFC3339Nano), Decision: n.Decision, Prev: after.hash}
	if n.count > 1 {
		r.Count = n.count
	}
	text, err := json.Marshal(r)
	if err != nil {
		return nil, after, fmt.Errorf("decisions: %w", err)
	}
	return append(text, '\n'), tail{r.N, hashOf(text)}, nil
}

// pad makes a line cover so many octets. Spaces behind a JSON object mean nothing, but the hash covers them.
func pad(line []byte, octets int64) []byte {
	short := int(octets) - len(line)
	if short <= 0 {
		return line
	}
	line = append(line[:len(line)-1], bytes.Repeat([]byte{' '}, short)...)
	return append(line, '\n')
}

// append writes notes as records, in one write and one sync.
func (l *Log) append(all []note) error {
	if l.size >= l.o.SegmentBytes {
		if err := l.turn(); err != nil {
			return err
		}
	}
	l.buf = l.buf[:0]
	end := l.last
	for i := range all {
		line, next, err := l.line(&all[i], end)
		if err != nil {
			return err
		}
		l.buf, end = append(l.buf, line...), next
	}
	return l.write(l.buf, end)
}

// write makes octets durable behind the end of the segment. After an error nothing is known of them, so nothing is written again.
func (l *Log) write(b []byte, end tail) error {
	if l.broken != nil {
		return l.broken
	}
	_, err := l.file.WriteAt(b, l.size)
	if err == nil {
		err = l.file.Datasync()
	}
	if err != nil {
		l.broken = fmt.Errorf("%w: %w", ErrBroken, err)
		return l.broken
	}
	l.size += int64(len(b))
	l.last = end
	return nil
}

// turn begins the next segment, and takes away the oldest if there are too many: after a head that says what is kept from then on.
func (l *Log) turn() error {
	if l.broken != nil {
		return l.broken
	}
	if err := l.begin(); err != nil {
		l.broken = fmt.Errorf("%w: %w", ErrBroken, err)
		return l.broken
	}
	over := max(len(l.segments)-l.o.Segments, 0)
	old := l.segments[:over]
	l.segments = l.segments[over:]
	if err := l.sign(); err != nil {
		return err
	}
	for _, first := range old {
		if err := l.o.Disk.Remove(segmentName(first)); err != nil {
			return fmt.Errorf("decisions: %w", err)
		}
	}
	if over > 0 {
		return l.o.Disk.SyncDir()
	}
	return nil
}

// signedText is what a head is signed as: the line without its signature, for this use alone.
func signedText(unsigned []byte) []byte {
	return append([]byte("imsafe decision log head\x00"), unsigned...)
}

const signatureKey = `,"sig":"`

// sign writes a head over all that was written, and keeps it in a file besides.
func (l *Log) sign() error {
	now := l.o.Now()
	text, err := json.Marshal(record{N: l.last.n + 1, Time: now.UTC().Format(time.RFC3339Nano), Decision: Decision{Kind: signedHead}, First: l.segments[0], Prev: l.last.hash})
	if err != nil {
		return fmt.Errorf("decisions: %w", err)
	}
	sig := base64.RawStdEncoding.EncodeToString(ed25519.Sign(l.o.Key, signedText(text)))
	line := append(append(append(text[:len(text)-1:len(text)-1], signatureKey...), sig...), `"}`...)
	if err := l.write(append(bytes.Clone(line), '\n'), tail{l.last.n + 1, hashOf(line)}); err != nil {
		return err
	}
	l.head = headState{l.last.n, now, string(line)}
	if err := l.keep(line); err != nil {
		l.broken = fmt.Errorf("%w: %w", ErrBroken, err)
		return l.broken
	}
	return nil
}

// keep writes the last head into its file: whoever cuts off the end of the log must take that away as well.
func (l *Log) keep(line []byte) error {
	_ = l.o.Disk.Remove(headNew) // of a crash in between, if it is there
	f, err := l.o.Disk.Create(headNew)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(line, 0); err == nil {
		err = f.Datasync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = l.o.Disk.Rename(headNew, headFile)
	}
	if err == nil {
		err = l.o.Disk.SyncDir()
	}
	return err
}

// proves reports whether the line of a head was signed by key.
func proves(line []byte, key ed25519.PublicKey) bool {
	at := bytes.LastIndex(line, []byte(signatureKey))
	if at < 0 || !bytes.HasSuffix(line, []byte(`"}`)) {
		return false
	}
	sig, err := base64.RawStdEncoding.DecodeString(string(line[at+len(signatureKey) : len(line)-2]))
	return err == nil && ed25519.Verify(key, signedText(append(bytes.Clone(line[:at]), '}')), sig)
}
