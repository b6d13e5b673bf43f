// Package decisions is the record of what a node has decided about service platforms: a log whose lines are chained by hashes, and whose head
// the node signs again and again, so that nobody who can write the files can change, take out, move or cut off what is below the last head
// without being seen (non-repudiation, ITU-T X.805 6.3).
//
// It stands on a flat directory (store/disk) and knows nothing of stores, gates or doors: node brings decisions and the key, and calls Flush from time to
// time. It keeps no keys, no messages and no identities of users: a decision names a service, and of a stranger his address.
//
// A segment is a file decisions-<number of its first record, 16 hexadecimal digits>.log with one JSON object in each line; the file head has the last head.
// A line holds the hash (SHA-256) of the line before it, whichever file that was in. A head is a line of its own with an Ed25519 signature of
// all of it, and so of everything before. Imported by node only. Safe for concurrent use.
package decisions

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"imsafe/store/disk"
)

// Kind is what was decided.
type Kind string

// The kinds.
const (
	Requested  Kind = "requested" // a platform has asked to be approved
	Approved   Kind = "approved"  // the operator has approved it
	Granted    Kind = "granted"   // a certificate was issued
	Suspended  Kind = "suspended" // what it may do has ended for now
	Resumed    Kind = "resumed"   // and holds again
	Revoked    Kind = "revoked"   // and has ended for good
	Invited    Kind = "invited"   // somebody may ask once
	Trusted    Kind = "trusted"   // an authority may certify services
	Retired    Kind = "retired"   // and may not any more
	Undone     Kind = "undone"    // the decision before could not be carried out
	Refused    Kind = "refused"   // a control has refused something
	LetPass    Kind = "let-pass"  // a control that is off would have
	Weakened   Kind = "weakened"  // the node started with a control off
	Started    Kind = "started"   // the log was opened
	Lost       Kind = "lost"      // so many decisions were more than the log could take
	signedHead Kind = "head"      // all before it is signed
)

// firstHash stands in the first record of all.
const firstHash = "0000000000000000000000000000000000000000000000000000000000000000"

// Decision is one of them. It is comparable.
type Decision struct {
	Kind    Kind   `json:"kind"`
	Control string `json:"control,omitempty"` // which control; for those of a gate
	Reason  string `json:"reason,omitempty"`  // a code
	Subject string `json:"subject,omitempty"` // of which service: its name or its host
	Source  string `json:"source,omitempty"`  // address of whoever has no name
	By      string `json:"by,omitempty"`      // fingerprint of the key that has signed it, or who else
	Detail  string `json:"detail,omitempty"`  // what of it: the hash of a manifest, a serial number
}

// Options say what a log stands on. Disk, Key and Now are needed.
type Options struct {
	Disk disk.Disk // a directory of its own
	Key  ed25519.PrivateKey
	Now  func() time.Time
	// SegmentBytes is when a new segment is begun, and Segments how many are kept: 4 MB and 64 where they are 0.
	SegmentBytes int64
	Segments     int
	// HeadEvery is how long a record may wait for a head that covers it: 1 s where it is 0.
	HeadEvery time.Duration
}

// waiting bounds the decisions that are different from each other and wait to be written.
const waiting = 1024

// Log is an open log.
type Log struct {
	o Options

	mu       sync.Mutex // guards the files
	lock     io.Closer
	file     disk.File
	size     int64    // of file
	segments []uint64 // first records of those that are kept, in order
	last     tail
	head     headState
	broken   error // why nothing can be written any more
	buf      []byte

	noteMu sync.Mutex // guards what waits; never held with mu wanted
	notes  []note
	index  map[Decision]int
	lost   uint64
}

// tail is the end of a chain.
type tail struct {
	n    uint64
	hash string
}

// headState is the last head.
type headState struct {
	n    uint64
	at   time.Time
	line string
}

// note is a decision that waits, and how often it was made.
type note struct {
	Decision
	at    time.Time
	count uint64
}

// ErrBroken says that the disk has failed the log: what was written last may not be there.
var ErrBroken = errors.New("decisions: the log cannot be written any more")

// Open opens the log in a directory, or makes it. What a crash has left of a record that was being written is written over: the records that were
// durable are all there. Damage is not repaired and does not keep the node from going on; it is returned as found.
func Open(o Options) (l *Log, found *Report, err error) {
	if o.Disk == nil || len(o.Key) != ed25519.PrivateKeySize || o.Now == nil {
		return nil, nil, errors.New("decisions: disk, key and clock are needed")
	}
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = 4 << 20
	}
	if o.Segments <= 1 {
		o.Segments = 64
	}
	if o.HeadEvery <= 0 {
		o.HeadEvery = time.Second
	}
	l = &Log{o: o, index: map[Decision]int{}}
	if l.lock, err = o.Disk.Lock(); err != nil {
		return nil, nil, fmt.Errorf("decisions: %w", err)
	}
	if found, err = l.recover(); err == nil {
		err = l.commit(note{Decision: Decision{Kind: Started, Reason: found.cause()}, at: o.Now()})
	}
	if err != nil {
		return nil, nil, errors.Join(err, l.lock.Close())
	}
	return l, found, nil
}

// recover finds the end of what is there.
func (l *Log) recover() (*Report, error) {
	s, err := scan(l.o.Disk, l.o.Key.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	l.segments, l.last, l.head = s.segments, s.last, headState{n: s.head, at: l.o.Now(), line: string(s.kept)}
	if len(s.segments) == 0 {
		l.last.n = s.head // 0, unless all of it was taken away
		return &s.Report, l.begin()
	}
	if l.file, err = l.o.Disk.Open(segmentName(s.segments[len(s.segments)-1])); err != nil {
		return nil, fmt.Errorf("decisions: %w", err)
	}
	l.size = s.end
	if s.Fault != nil { // evidence: nothing of it is written over
		l.last.n = max(s.last.n, s.head, s.segments[len(s.segments)-1])
		return &s.Report, l.begin()
	}
	if err := l.cover(s.torn); err != nil {
		return nil, err
	}
	return &s.Report, nil
}

// cover writes over what a crash has left behind the last whole record: a record that says so, and spaces, since a file cannot be made shorter.
func (l *Log) cover(octets int64) error {
	if octets == 0 {
		return nil
	}
	line, next, err := l.line(&note{Decision: Decision{Kind: Lost, Reason: "torn"}, at: l.o.Now()}, l.last)
	if err != nil {
		return err
	}
	line = pad(line, octets)
	next.hash = hashOf(line[:len(line)-1])
	return l.write(line, next)
}

// begin begins a new segment with the next record.
func (l *Log) begin() error {
	first := l.last.n + 1
	f, err := l.o.Disk.Create(segmentName(first))
	if err == nil {
		err = l.o.Disk.SyncDir()
	}
	if err != nil {
		return fmt.Errorf("decisions: %w", err)
	}
	if l.file != nil {
		err = l.file.Close()
	}
	l.file, l.size, l.segments = f, 0, append(l.segments, first)
	return err
}

// Record writes a decision, and whatever waits, and signs a head over it. It is durable when Record returns without an error.
func (l *Log) Record(d Decision) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.commit(append(l.waiting(), note{Decision: d, at: l.o.Now()})...)
}

// Note takes a decision down to be written by the next Flush. It never waits for the disk. A decision that is made again before that is counted, not
// written twice; what is more than the log can take is counted as lost.
func (l *Log) Note(d Decision) {
	l.noteMu.Lock()
	defer l.noteMu.Unlock()
	i, there := l.index[d]
	switch {
	case there:
		l.notes[i].count++
	case len(l.notes) >= waiting:
		l.lost++
	default:
		l.index[d] = len(l.notes)
		l.notes = append(l.notes, note{Decision: d, at: l.o.Now(), count: 1})
	}
}

// waiting takes what waits.
func (l *Log) waiting() []note {
	l.noteMu.Lock()
	defer l.noteMu.Unlock()
	all := l.notes
	if l.lost > 0 {
		all = append(all, note{Decision: Decision{Kind: Lost}, at: l.o.Now(), count: l.lost})
	}
	l.notes, l.lost = nil, 0
	clear(l.index)
	return all
}

// Flush writes what waits, and signs a head where a record has waited for one long enough.
func (l *Log) Flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.waiting()
	if len(all) == 0 && (l.head.n == l.last.n || l.o.Now().Sub(l.head.at) < l.o.HeadEvery) {
		return nil
	}
	if len(all) > 0 {
		if err := l.append(all); err != nil {
			return err
		}
	}
	if l.o.Now().Sub(l.head.at) < l.o.HeadEvery {
		return nil
	}
	return l.sign()
}

// Close writes and signs what waits, and gives the directory back.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.broken
	if err == nil {
		err = l.commit(l.waiting()...)
	}
	l.broken = ErrBroken
	return errors.Join(err, l.file.Close(), l.lock.Close())
}

// commit writes records and a head over them. l.mu is held, or nobody has l yet.
func (l *Log) commit(all ...note) error {
	if len(all) > 0 {
		if err := l.append(all); err != nil {
			return err
		}
	}
	if l.head.n == l.last.n {
		return nil
	}
	return l.sign()
}
