package hss

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

// ImportReport says what an import did or, in a dry run, would do.
type ImportReport struct {
	Subscribers int  `json:"subscribers"` // read
	Added       int  `json:"added"`
	DryRun      bool `json:"dry_run"`
}

// The limits of an import file.
const (
	maxImport     = 2_000_000 // subscribers
	maxImportLine = 64 << 10  // octets
	importAhead   = 256       // changes that wait for the disk together
)

// Import reads one Subscriber per line in JSON and adds them. All lines are checked first, against each other
// and the store; with any mistake, or in a dry run, nothing is changed. After that each subscriber is one
// durable change; if one fails the import stops, and what was added stays: the report counts it, and the same
// file without those lines goes on. It returns Mistakes, or an error of r or the store.
func (h *HSS) Import(ctx context.Context, r io.Reader, dryRun bool) (ImportReport, error) {
	report := ImportReport{DryRun: dryRun}
	list, err := h.readImport(ctx, r)
	report.Subscribers = len(list)
	if err != nil || dryRun {
		return report, err
	}
	var (
		mu     sync.Mutex // guards what follows; the committer calls back
		failed error
		room   = make(chan struct{}, importAhead)
	)
	for i := range list {
		ops, id, err := h.planAdd(&list[i])
		mu.Lock()
		if failed == nil {
			failed = errors.Join(err, ctx.Err())
		}
		stop := failed != nil
		mu.Unlock()
		if stop {
			break
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
	}
	for range importAhead {
		room <- struct{}{} // until all have called back
	}
	mu.Lock()
	defer mu.Unlock()
	for i := range list {
		failed = errors.Join(failed, h.wildcards.refresh(h.ports.Store, list[i].wildcards()))
	}
	return report, failed
}

// readImport reads and checks all lines.
func (h *HSS) readImport(ctx context.Context, r io.Reader) ([]Subscriber, error) {
	var (
		list  []Subscriber
		found Mistakes
		names = map[string]int{}
		opcs  = map[string]secretUse{}
	)
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), maxImportLine)
	for n := 1; lines.Scan(); n++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		if len(list) == maxImport {
			return nil, Mistakes{{fmt.Sprintf("line %d", n), "file", fmt.Sprintf("more than %d subscribers", maxImport)}}
		}
		s, m := decodeSubscriber(line)
		if m == nil {
			var keys []secrets
			keys, m = h.check(&s, false)
			if len(m) == 0 {
				stored, err := h.checkAgainstStore(&s, "")
				if err != nil {
					return nil, err
				}
				m = append(stored, checkAgainstFile(&s, keys, n, names, opcs)...)
			}
		}
		for i := range m {
			m[i].Subject = fmt.Sprintf("line %d (%s)", n, m[i].Subject)
		}
		found = append(found, m...)
		list = append(list, s)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("hss: import: %w", err)
	}
	if len(found) > 0 {
		return list, found
	}
	return list, nil
}

// secretUse remembers which K an OPc or TOPc was seen with.
type secretUse struct {
	k    string
	line int
}

// checkAgainstFile finds what only the whole file shows: names that stand twice, and an OP that was written into
// the column of OPc, which is then the same for several K.
func checkAgainstFile(s *Subscriber, keys []secrets, line int, names map[string]int, opcs map[string]secretUse) Mistakes {
	v := &review{subject: s.IMPI}
	claim := func(field, name string) {
		if other, taken := names[name]; taken {
			v.add(field, "%s stands in line %d too", name, other)
			return
		}
		names[name] = line
	}
	for i, c := range s.cards() {
		claim("impi", c.IMPI)
		if c.OPc == "" && c.TOPc == "" {
			continue
		}
		card := &keys[i].card
		use, seen := opcs[string(card.bound)]
		if seen && use.k != string(card.k) {
			op := card.family.op
			v.add(strings.ToLower(card.family.bound), "the same value as in line %d, for another K: this is %s, which goes into the field %s",
				use.line, op, strings.ToLower(op))
		} else if !seen {
			opcs[string(card.bound)] = secretUse{string(card.k), line}
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
