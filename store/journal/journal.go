// Package journal is an append-only log of batches on preallocated segments: what was appended is durable when Append returns, at the
// price of one fdatasync that changes no metadata. Replay gives back whole batches, in order, a prefix of what was appended that
// contains everything acknowledged; a damaged place that is not the end is an error, never a shorter log.
//
// It knows nothing of tables and keys: a batch is a number of records, each with a sequence number, each of any octets. Imported by
// store only. Append is for one goroutine; Prepare, Recycle and Close may be called beside it from another.
//
// Layout. A segment is a file journal-<number>.seg of a fixed size: one block of header, then frames, each at a block boundary, so
// that a block that was acknowledged is never written again. All integers are little-endian.
//
//	header   "imsafejl" version:4 flags:4 store:16 number:8 salt:8 crc:4          flags: 1 = lab
//	frame    mark:8 first:8 length:4 count:4 crc:4 zero:4, then length octets:    count times (size:4 octets)
//
// The CRC-32C of a frame covers its first 24 octets and its payload. The mark is made of number and salt, and the salt is random for
// each use of a segment: what a recycled file held before is not taken for a frame, and a stored value cannot be shaped like one.
package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"imsafe/store/disk"
)

const (
	block       = 4096
	frameHeader = 32
	version     = 1
	flagLab     = 1
	magic       = "imsafejl"
	headerSize  = 8 + 4 + 4 + 16 + 8 + 8 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Errors of Open and Append.
var (
	// ErrCorrupt: damage before the end of the log, or a piece of the log is missing.
	ErrCorrupt = errors.New("journal: damaged")
	// ErrForeign: a segment of another store, or of the other mark (lab, production).
	ErrForeign = errors.New("journal: segment of another store")
	// ErrVersion: a segment in a format this program does not know.
	ErrVersion = errors.New("journal: unknown format version")
	// ErrTooLarge: the batch does not fit into a segment.
	ErrTooLarge = errors.New("journal: batch larger than a segment")
)

// Identity says whose journal this is.
type Identity struct {
	Store [16]byte
	Lab   bool
}

// Options says what a Journal stands on. All fields are needed.
type Options struct {
	Disk         disk.Disk
	Random       io.Reader // salts
	SegmentBytes int64     // size of new segments; a multiple of 4096, at least 8192
	Identity     Identity
}

// Journal is an open log. See the package comment for what may be called concurrently.
type Journal struct {
	o   Options
	buf []byte // the frame being written: Append only

	current *segment // Append only
	offset  int64    // where the next frame goes in current: Append only

	prepare sync.Mutex // held while a segment is made ready, so that Append and Prepare do not both make one
	mu      sync.Mutex // guards what follows
	full    []*segment // before current, oldest first
	ready   *segment   // after current
	spares  []string   // files to make segments of
	number  uint64     // of the newest segment made
	closed  bool
}

// segment is one file of the log.
type segment struct {
	number uint64
	mark   uint64 // what its frames begin with
	name   string
	size   int64
	last   uint64 // sequence of the last record in it; 0 none
	file   disk.File
}

func segmentName(number uint64) string { return fmt.Sprintf("journal-%016x.seg", number) }
func spareName(number uint64) string   { return fmt.Sprintf("journal-%016x.spare", number) }

func roundUp(n int64) int64 { return (n + block - 1) &^ (block - 1) }

// Fits reports whether a batch of count records with payload octets together can be appended.
func (j *Journal) Fits(count, payload int) bool {
	return roundUp(frameHeader+int64(count)*4+int64(payload)) <= j.o.SegmentBytes-block
}

// Begin starts the batch whose first record has the sequence number first.
func (j *Journal) Begin(first uint64) {
	j.buf = append(j.buf[:0], make([]byte, frameHeader)...)
	binary.LittleEndian.PutUint64(j.buf[8:], first)
}

// Record adds a record of size octets to the batch and returns the place to write it to, valid until the next call.
func (j *Journal) Record(size int) []byte {
	at := len(j.buf)
	need := at + 4 + size
	if cap(j.buf) < need {
		bigger := make([]byte, at, max(2*cap(j.buf), int(roundUp(int64(need)))))
		copy(bigger, j.buf)
		j.buf = bigger
	}
	j.buf = j.buf[:need]
	binary.LittleEndian.PutUint32(j.buf[at:], uint32(size))
	count := binary.LittleEndian.Uint32(j.buf[20:])
	binary.LittleEndian.PutUint32(j.buf[20:], count+1)
	return j.buf[at+4 : need]
}

// Append writes the batch that was begun and returns when it is durable. disk.ErrFull and ErrTooLarge: nothing was written, the
// journal is as before. After any other error the journal must not be used again.
func (j *Journal) Append() error {
	length := len(j.buf) - frameHeader
	size := roundUp(int64(len(j.buf)))
	if size > j.o.SegmentBytes-block {
		return ErrTooLarge
	}
	if j.current == nil || j.offset+size > j.current.size {
		if err := j.advance(); err != nil {
			return err
		}
	}
	j.buf = append(j.buf, zeros[:size-int64(len(j.buf))]...)
	b := j.buf
	binary.LittleEndian.PutUint64(b, j.current.mark)
	binary.LittleEndian.PutUint32(b[16:], uint32(length))
	binary.LittleEndian.PutUint32(b[24:], frameSum(b, length))
	if _, err := j.current.file.WriteAt(b, j.offset); err != nil {
		// Inside a preallocated segment a full disk is not a thing that can happen; if it does, blocks may have been written.
		return fmt.Errorf("journal: write %s: %v", j.current.name, err)
	}
	if err := j.current.file.Datasync(); err != nil {
		return fmt.Errorf("journal: sync %s: %v", j.current.name, err)
	}
	j.offset += size
	first := binary.LittleEndian.Uint64(b[8:])
	j.mu.Lock()
	j.current.last = first + uint64(binary.LittleEndian.Uint32(b[20:])) - 1
	j.mu.Unlock()
	return nil
}

var zeros [block]byte // never written to

// frameSum is the checksum of the frame at the start of b.
func frameSum(b []byte, length int) uint32 {
	sum := crc32.Update(0, castagnoli, b[:24])
	return crc32.Update(sum, castagnoli, b[frameHeader:frameHeader+length])
}

// advance makes the next segment the current one.
func (j *Journal) advance() error {
	if err := j.Prepare(); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.current != nil {
		j.full = append(j.full, j.current)
	}
	j.current, j.ready = j.ready, nil
	j.offset = block
	return nil
}

// Prepare makes the next segment ready, if it is not: call it in the background after a while of appending, so that Append does not
// have to. disk.ErrFull: no room, nothing has changed.
func (j *Journal) Prepare() error {
	j.prepare.Lock()
	defer j.prepare.Unlock()
	j.mu.Lock()
	if j.ready != nil || j.closed {
		j.mu.Unlock()
		return nil
	}
	number := j.number + 1
	spare := ""
	if n := len(j.spares); n > 0 {
		spare = j.spares[n-1]
	}
	j.mu.Unlock()

	s, err := j.makeSegment(number, spare)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if spare != "" {
		j.spares = j.spares[:len(j.spares)-1]
	}
	j.number = number
	j.ready = s
	return nil
}

// makeSegment writes a header into a spare or a new file and gives it its name. The header is durable before the name is: a file
// with the name of a segment and no valid header is damage, not a crash.
func (j *Journal) makeSegment(number uint64, spare string) (*segment, error) {
	var salt [8]byte
	if _, err := io.ReadFull(j.o.Random, salt[:]); err != nil {
		return nil, fmt.Errorf("journal: salt: %w", err)
	}
	s := &segment{number: number, name: segmentName(number), size: j.o.SegmentBytes}
	var err error
	fresh := spare == ""
	if fresh {
		spare = spareName(number)
		s.file, err = j.o.Disk.Create(spare)
		if err == nil {
			err = s.file.Preallocate(s.size)
		}
	} else if s.file, err = j.o.Disk.Open(spare); err == nil {
		s.size, err = s.file.Size()
	}
	if err == nil {
		_, err = s.file.WriteAt(j.header(s, binary.LittleEndian.Uint64(salt[:])), 0)
	}
	if err == nil {
		err = s.file.Datasync()
	}
	if err == nil {
		err = j.o.Disk.Rename(spare, s.name)
	}
	if err == nil {
		err = j.o.Disk.SyncDir()
	}
	if err == nil {
		return s, nil
	}
	if s.file != nil {
		s.file.Close()
		if fresh {
			_ = j.o.Disk.Remove(spare) // half a segment on a full disk makes the disk no emptier
		}
	}
	return nil, fmt.Errorf("journal: new segment: %w", err)
}

// header returns the header of s and sets its mark.
func (j *Journal) header(s *segment, salt uint64) []byte {
	b := make([]byte, block)
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[8:], version)
	if j.o.Identity.Lab {
		binary.LittleEndian.PutUint32(b[12:], flagLab)
	}
	copy(b[16:32], j.o.Identity.Store[:])
	binary.LittleEndian.PutUint64(b[32:], s.number)
	binary.LittleEndian.PutUint64(b[40:], salt)
	s.mark = frameMark(salt, s.number)
	binary.LittleEndian.PutUint32(b[48:], crc32.Checksum(b[:48], castagnoli))
	return b
}

// frameMark depends on the number too: a source of randomness that repeats itself cannot bring old frames back to life.
func frameMark(salt, number uint64) uint64 { return salt + number*0x9e3779b97f4a7c15 }

// maxSpares is how many files wait to be used again; more are removed.
const maxSpares = 2

// Recycle gives back the segments whose records are all at or before sequence: the image has them. The current one stays.
func (j *Journal) Recycle(sequence uint64) error {
	j.mu.Lock()
	var old []*segment
	for len(j.full) > 0 && j.full[0].last <= sequence {
		old = append(old, j.full[0])
		j.full = j.full[1:]
	}
	j.mu.Unlock()
	for _, s := range old { // oldest first, each durable before the next: what is left is never a log with a hole
		if err := j.release(s); err != nil {
			return err
		}
	}
	return nil
}

func (j *Journal) release(s *segment) error {
	if s.file != nil {
		s.file.Close()
	}
	j.mu.Lock()
	keep := len(j.spares) < maxSpares && s.size == j.o.SegmentBytes
	j.mu.Unlock()
	spare := spareName(s.number)
	var err error
	if keep {
		err = j.o.Disk.Rename(s.name, spare)
	} else {
		err = j.o.Disk.Remove(s.name)
	}
	if err == nil {
		err = j.o.Disk.SyncDir()
	}
	if err != nil {
		return fmt.Errorf("journal: recycle %s: %w", s.name, err)
	}
	if keep {
		j.mu.Lock()
		j.spares = append(j.spares, spare)
		j.mu.Unlock()
	}
	return nil
}

// Octets returns the size of the segments that were filled and not recycled.
func (j *Journal) Octets() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return int64(len(j.full)) * j.o.SegmentBytes
}

// Prepared reports whether the next segment is ready, so that Prepare has nothing to do.
func (j *Journal) Prepared() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.ready != nil
}

// Close closes the files. What was appended stays.
func (j *Journal) Close() error {
	j.prepare.Lock()
	defer j.prepare.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	var errs []error
	for _, s := range append(append(j.full, j.current), j.ready) {
		if s != nil && s.file != nil {
			errs = append(errs, s.file.Close())
		}
	}
	return errors.Join(errs...)
}
