package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strconv"
	"strings"

	"imsafe/store/disk"
)

// Identify returns whose journal lies on the disk; ok is false if there is none. A damaged header is ErrCorrupt.
func Identify(d disk.Disk) (id Identity, ok bool, err error) {
	segments, _, err := list(d)
	if err != nil || len(segments) == 0 {
		return Identity{}, false, err
	}
	s := &segment{name: segmentName(segments[0]), number: segments[0]}
	id, err = s.open(d)
	if s.file != nil {
		s.file.Close()
	}
	return id, err == nil, err
}

// Open replays the log over a state that contains everything up to the sequence number after, and gets it ready for appending.
// apply gets every record with a higher number, in order; record is valid during the call. An error of apply ends Open.
//
// Each Open goes on in a new segment, so a torn end stays where it is and nothing is ever written behind it.
func Open(o Options, after uint64, apply func(sequence uint64, record []byte) error) (*Journal, uint64, error) {
	if o.SegmentBytes < 2*block || o.SegmentBytes%block != 0 {
		return nil, 0, fmt.Errorf("journal: segment of %d octets", o.SegmentBytes)
	}
	numbers, spares, err := list(o.Disk)
	if err != nil {
		return nil, 0, err
	}
	j := &Journal{o: o}
	if err := j.keepSpares(spares); err != nil {
		return nil, 0, err
	}
	r := replay{after: after, have: after, apply: apply}
	for _, number := range numbers {
		s := &segment{number: number, name: segmentName(number)}
		if err := j.replaySegment(&r, s); err != nil {
			_ = j.Close()
			return nil, 0, err
		}
		j.number = number
		j.full = append(j.full, s)
	}
	if err := j.settle(&r); err != nil {
		_ = j.Close()
		return nil, 0, err
	}
	if err := j.dropEmpty(); err != nil {
		_ = j.Close()
		return nil, 0, err
	}
	if err := j.advance(); err != nil {
		_ = j.Close()
		return nil, 0, err
	}
	return j, r.have, nil
}

// dropEmpty gives back the segments that hold nothing: the last one of a clean end, and the one that was ready behind it.
func (j *Journal) dropEmpty() error {
	var kept []*segment
	for _, s := range j.full {
		if s.last != 0 {
			kept = append(kept, s)
		} else if err := j.release(s); err != nil {
			return err
		}
	}
	j.full = kept
	return nil
}

// list returns the numbers of the segments in order and the names of the spares.
func list(d disk.Disk) (segments []uint64, spares []string, err error) {
	names, err := d.ReadDir()
	if err != nil {
		return nil, nil, fmt.Errorf("journal: %w", err)
	}
	for _, name := range names {
		rest, ours := strings.CutPrefix(name, "journal-")
		text, isSegment := strings.CutSuffix(rest, ".seg")
		switch {
		case !ours:
		case isSegment:
			number, err := strconv.ParseUint(text, 16, 64)
			if err != nil || segmentName(number) != name {
				return nil, nil, fmt.Errorf("%w: strange file %s", ErrCorrupt, name)
			}
			segments = append(segments, number)
		case strings.HasSuffix(rest, ".spare"):
			spares = append(spares, name)
		}
	}
	slices.Sort(segments)
	return segments, spares, nil
}

// keepSpares takes over the spare files of the right size. One that was being made when the power went is as good: its blocks may
// not be written yet, which costs time at their first sync and nothing else.
func (j *Journal) keepSpares(names []string) error {
	for _, name := range names {
		f, err := j.o.Disk.Open(name)
		if err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		size, err := f.Size()
		f.Close()
		if err != nil {
			return fmt.Errorf("journal: %s: %w", name, err)
		}
		if size == j.o.SegmentBytes && len(j.spares) < maxSpares {
			j.spares = append(j.spares, name)
		} else if err := j.o.Disk.Remove(name); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
	}
	return nil
}

// replay is the state of one replay.
type replay struct {
	after uint64 // the image has everything up to here
	have  uint64 // the last sequence that is accounted for
	apply func(uint64, []byte) error

	buf       []byte // a segment
	lastFrame []byte // a copy of the last frame that was accepted, whole blocks
	lastAt    int64
	lastIn    *segment
}

func (j *Journal) replaySegment(r *replay, s *segment) error {
	id, err := s.open(j.o.Disk)
	if err != nil {
		return err
	}
	if id != j.o.Identity {
		return fmt.Errorf("%w: %s", ErrForeign, s.name)
	}
	if int64(cap(r.buf)) < s.size {
		r.buf = make([]byte, s.size)
	}
	data := r.buf[:s.size]
	if n, err := s.file.ReadAt(data, 0); err != nil && !(errors.Is(err, io.EOF) && int64(n) == s.size) {
		return fmt.Errorf("journal: read %s: %w", s.name, err)
	}
	next := uint64(0) // the number the next frame of this segment must have; 0 for the first
	for at := int64(block); at+frameHeader <= s.size; {
		f, ok := parseFrame(data[at:], s.mark)
		if !ok {
			return s.checkEnd(data, at)
		}
		if next != 0 && f.first != next {
			return fmt.Errorf("%w: %s at %d: record %d where %d belongs", ErrCorrupt, s.name, at, f.first, next)
		}
		if err := r.frame(s, f, at); err != nil {
			return err
		}
		next = f.first + uint64(f.count)
		s.last = next - 1
		at += f.size
	}
	return nil
}

// open reads the header of s.
func (s *segment) open(d disk.Disk) (Identity, error) {
	var id Identity
	f, err := d.Open(s.name)
	if err != nil {
		return id, fmt.Errorf("journal: %w", err)
	}
	s.file = f
	b := make([]byte, headerSize)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return id, fmt.Errorf("journal: read %s: %w", s.name, err)
	}
	if string(b[:8]) != magic || crc32.Checksum(b[:48], castagnoli) != binary.LittleEndian.Uint32(b[48:]) ||
		binary.LittleEndian.Uint64(b[32:]) != s.number {
		return id, fmt.Errorf("%w: header of %s", ErrCorrupt, s.name)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != version {
		return id, fmt.Errorf("%w: %s has version %d", ErrVersion, s.name, v)
	}
	id.Lab = binary.LittleEndian.Uint32(b[12:])&flagLab != 0
	copy(id.Store[:], b[16:32])
	s.mark = frameMark(binary.LittleEndian.Uint64(b[40:]), s.number)
	s.size, err = f.Size()
	return id, err
}

// frame is one batch as it lies in a segment.
type frame struct {
	first   uint64
	count   uint32
	payload []byte
	whole   []byte
	size    int64
}

// parseFrame returns the frame at the start of b if there is a whole and valid one.
func parseFrame(b []byte, mark uint64) (frame, bool) {
	if len(b) < frameHeader || binary.LittleEndian.Uint64(b) != mark {
		return frame{}, false
	}
	f := frame{first: binary.LittleEndian.Uint64(b[8:]), count: binary.LittleEndian.Uint32(b[20:])}
	length := int64(binary.LittleEndian.Uint32(b[16:]))
	f.size = roundUp(frameHeader + length)
	if f.count == 0 || f.first == 0 || f.first+uint64(f.count) < f.first || f.size > int64(len(b)) {
		return frame{}, false
	}
	if frameSum(b, int(length)) != binary.LittleEndian.Uint32(b[24:]) {
		return frame{}, false
	}
	f.payload = b[frameHeader : frameHeader+length]
	f.whole = b[:f.size]
	return f, true
}

// checkEnd tells the end of the log from damage: a batch is written only after the one before it was synced, so whatever lies behind
// the end of the log is no frame of this segment. What the next segment begins with is checked there.
func (s *segment) checkEnd(data []byte, end int64) error {
	for at := end + block; at+frameHeader <= s.size; at += block {
		if f, ok := parseFrame(data[at:], s.mark); ok {
			return fmt.Errorf("%w: %s at %d, before record %d at %d: acknowledged changes are missing", ErrCorrupt, s.name, end, f.first, at)
		}
	}
	return nil
}

// frame hands the records of f that are new to apply.
func (r *replay) frame(s *segment, f frame, at int64) error {
	last := f.first + uint64(f.count) - 1
	switch {
	case last <= r.after: // the image has it
	case f.first > r.have+1:
		return fmt.Errorf("%w: %s begins with record %d, the records from %d on are missing", ErrCorrupt, s.name, f.first, r.have+1)
	case r.have > r.after && f.first <= r.have:
		return fmt.Errorf("%w: %s at %d: record %d a second time", ErrCorrupt, s.name, at, f.first)
	}
	p := f.payload
	for seq := f.first; seq <= last; seq++ {
		if len(p) < 4 || uint64(len(p)-4) < uint64(binary.LittleEndian.Uint32(p)) {
			return fmt.Errorf("%w: %s at %d: record %d is cut", ErrCorrupt, s.name, at, seq)
		}
		size := 4 + int(binary.LittleEndian.Uint32(p))
		if seq > r.after {
			if err := r.apply(seq, p[4:size]); err != nil {
				return err
			}
		}
		p = p[size:]
	}
	if len(p) != 0 {
		return fmt.Errorf("%w: %s at %d: %d octets too many", ErrCorrupt, s.name, at, len(p))
	}
	r.have = max(r.have, last)
	r.lastFrame, r.lastAt, r.lastIn = append(r.lastFrame[:0], f.whole...), at, s
	return nil
}

// settle makes the last batch durable. It may never have been synced (the process died between write and sync), and it is about to
// be built upon. It is written again first: after a failed sync the kernel may hold pages that it calls clean and that are not on
// the disk. Only the last batch can be in that state.
func (j *Journal) settle(r *replay) error {
	if r.lastIn == nil || r.have == r.after {
		return nil
	}
	if _, err := r.lastIn.file.WriteAt(r.lastFrame, r.lastAt); err != nil {
		return fmt.Errorf("journal: settle %s: %w", r.lastIn.name, err)
	}
	if err := r.lastIn.file.Datasync(); err != nil {
		return fmt.Errorf("journal: settle %s: %w", r.lastIn.name, err)
	}
	return nil
}
