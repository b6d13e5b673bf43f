package hss

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"strings"
	"sync"

	"imsafe/store"
)

// ImportReport says what an import did or, in a dry run, would do.
type ImportReport struct {
	Subscribers int  `json:"subscribers"` // read
	Added       int  `json:"added"`
	DryRun      bool `json:"dry_run"`
}

// The limits of an import file.
const (
	maxImport      = 2_000_000 // subscribers
	maxImportLine  = 64 << 10  // octets
	importAhead    = 256       // changes that wait for the disk together
	importTogether = 512       // subscribers whose names are looked up together
)

// Import reads one Subscriber per line in JSON and adds them. All lines are checked first, against each other and the store; with any
// mistake, or in a dry run, nothing is changed. After that the file is read once more, and each subscriber is one durable change; if one
// fails the import stops, and what was added stays: the report counts it, and the same file without those lines goes on. Between
// the two readings only prints of the names are kept, some 100 octets of memory for each subscriber. told hears every now and
// then how far it is; nil: nobody does. It returns Mistakes, or an error of r or the store.
func (h *HSS) Import(ctx context.Context, r io.ReadSeeker, dryRun bool, told func(ImportReport)) (ImportReport, error) {
	if told == nil {
		told = func(ImportReport) {}
	}
	report := ImportReport{DryRun: dryRun}
	err := h.checkImport(ctx, r, &report, told)
	if err != nil || dryRun {
		return report, err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return report, fmt.Errorf("hss: import: %w", err)
	}
	return h.addImport(ctx, r, report, told)
}

// importLine is one subscriber of the file.
type importLine struct {
	number int
	Subscriber
	keys  []secrets
	found Mistakes // what is wrong with the line by itself
}

// eachImport reads the file, checks each line by itself, and hands out some at a time.
func (h *HSS) eachImport(ctx context.Context, r io.Reader, visit func([]importLine) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, maxImportLine/16), maxImportLine)
	together := make([]importLine, 0, importTogether)
	count := 0
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		if count++; count > maxImport {
			return Mistakes{{fmt.Sprintf("line %d", n), "file", fmt.Sprintf("more than %d subscribers", maxImport)}}
		}
		l := importLine{number: n}
		if l.Subscriber, l.found = decodeSubscriber(line); l.found == nil {
			l.keys, l.found = h.check(&l.Subscriber, false)
		}
		if together = append(together, l); len(together) < importTogether {
			continue
		}
		if err := errors.Join(ctx.Err(), visit(together)); err != nil {
			return err
		}
		clear(together)
		together = together[:0]
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("hss: import: %w", err)
	}
	return visit(together)
}

// prefetchImport looks the names of lines up together.
func (h *HSS) prefetchImport(lines []importLine, tables ...store.Table) error {
	var private, public [][]byte
	for i := range lines {
		if len(lines[i].found) > 0 {
			continue // they may be no names at all
		}
		for _, c := range lines[i].cards() {
			private = append(private, []byte(c.IMPI))
		}
		for _, set := range lines[i].sets() {
			for _, p := range set {
				public = append(public, []byte(p.IMPU))
			}
		}
	}
	for _, t := range tables {
		names := private
		if t == TablePublic {
			names = public
		}
		if err := h.ports.Store.Prefetch(t, names); err != nil {
			return err
		}
	}
	return nil
}

// checkImport checks all lines.
func (h *HSS) checkImport(ctx context.Context, r io.Reader, report *ImportReport, told func(ImportReport)) error {
	var found Mistakes
	seen := newSeenInFile()
	err := h.eachImport(ctx, r, func(lines []importLine) error {
		if err := h.prefetchImport(lines, TablePrivate, TablePublic); err != nil {
			return err
		}
		for i := range lines {
			l := &lines[i]
			m := l.found
			if len(m) == 0 {
				stored, err := h.checkAgainstStore(&l.Subscriber, "")
				if err != nil {
					return err
				}
				m = append(stored, seen.check(&l.Subscriber, l.keys, l.number)...)
			}
			for i := range m {
				m[i].Subject = fmt.Sprintf("line %d (%s)", l.number, m[i].Subject)
			}
			found = append(found, m...)
		}
		report.Subscribers += len(lines)
		told(*report)
		return nil
	})
	if err == nil && len(found) > 0 {
		return found
	}
	return err
}

// addImport adds the subscribers of a file that was checked. A name that somebody took meanwhile is a conflict of the store.
func (h *HSS) addImport(ctx context.Context, r io.Reader, report ImportReport, told func(ImportReport)) (ImportReport, error) {
	var (
		mu        sync.Mutex // guards report and failed; the committer calls back
		failed    error
		wildcards []string
		room      = make(chan struct{}, importAhead)
	)
	err := h.eachImport(ctx, r, func(lines []importLine) error {
		if err := h.prefetchImport(lines, TableSubscription, TablePrivate, TablePublic, TableSQN); err != nil {
			return err
		}
		for i := range lines {
			if len(lines[i].found) > 0 {
				return lines[i].found // the file is another by now
			}
			ops, id, err := h.planChecked(&lines[i].Subscriber, lines[i].keys)
			if err != nil {
				return err
			}
			room <- struct{}{}
			h.ports.Store.ApplyAsync(id, ops, func(err error) {
				mu.Lock()
				if err == nil {
					report.Added++
				} else if failed == nil {
					failed = fmt.Errorf("hss: import of %s: %w", id, err)
				}
				mu.Unlock()
				<-room
			})
			wildcards = append(wildcards, lines[i].wildcards()...)
		}
		mu.Lock()
		defer mu.Unlock()
		told(report)
		return failed
	})
	for range importAhead {
		room <- struct{}{} // until all have called back
	}
	mu.Lock()
	defer mu.Unlock()
	if failed == nil {
		failed = err
	}
	return report, errors.Join(failed, h.wildcards.refresh(h.ports.Store, wildcards))
}

// seenInFile knows what earlier lines of a file said, by prints of 128 bits: nobody can make two names fall together, since the seeds are
// drawn anew for each file.
type seenInFile struct {
	seeds [2]maphash.Seed
	names map[fingerprint]int32     // the line
	opcs  map[fingerprint]secretUse // of OPc and TOPc
}

// fingerprint stands for a name or a secret.
type fingerprint [2]uint64

func newSeenInFile() *seenInFile {
	return &seenInFile{[2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, map[fingerprint]int32{}, map[fingerprint]secretUse{}}
}

func (f *seenInFile) print(of []byte) fingerprint {
	return fingerprint{maphash.Bytes(f.seeds[0], of), maphash.Bytes(f.seeds[1], of)}
}

// secretUse remembers which K an OPc or TOPc was seen with.
type secretUse struct {
	k    fingerprint
	line int32
}

// check finds what only the whole file shows: names that stand twice, and an OP that was written into
// the column of OPc, which is then the same for several K.
func (f *seenInFile) check(s *Subscriber, keys []secrets, line int) Mistakes {
	v := &review{subject: s.IMPI}
	claim := func(field, name string) {
		at := f.print([]byte(name))
		if other, taken := f.names[at]; taken {
			v.add(field, "%s stands in line %d too", name, other)
			return
		}
		f.names[at] = int32(line)
	}
	for i, c := range s.cards() {
		claim("impi", c.IMPI)
		if c.OPc == "" && c.TOPc == "" {
			continue
		}
		card := &keys[i].card
		bound, k := f.print(card.bound), f.print(card.k)
		use, seen := f.opcs[bound]
		if seen && use.k != k {
			op := card.family.op
			v.add(strings.ToLower(card.family.bound), "the same value as in line %d, for another K: this is %s, which goes into the field %s",
				use.line, op, strings.ToLower(op))
		} else if !seen {
			f.opcs[bound] = secretUse{k, int32(line)}
		}
	}
	for _, set := range s.sets() {
		for _, p := range set {
			claim("public", p.IMPU)
		}
	}
	return v.found
}

// decodeSubscriber reads one JSON object, strictly: an unknown field is a mistake, not something to ignore.
func decodeSubscriber(line []byte) (Subscriber, Mistakes) {
	var s Subscriber
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, Mistakes{{"?", "json", jsonMistake(err)}}
	}
	if _, err := d.Token(); err != io.EOF {
		return s, Mistakes{{s.IMPI, "json", "something follows the object"}}
	}
	return s, nil
}

// jsonMistake words a decoding error without the values, which may be keys.
func jsonMistake(err error) string {
	var kind *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &kind):
		return fmt.Sprintf("field %s has a %s; write it as a string in quotes where it is digits", kind.Field, kind.Value)
	case errors.As(err, &syntax):
		return fmt.Sprintf("not JSON, at octet %d", syntax.Offset)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "not JSON: it ends too early"
	}
	return err.Error() // an unknown field, by name
}
