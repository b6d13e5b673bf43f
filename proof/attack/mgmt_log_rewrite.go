package attack

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"imsafe/secure"
)

// Files are those of the log of decisions, as an account of the host that may write them has them.
type Files interface {
	// List returns their names, sorted.
	List() ([]string, error)
	Read(name string) ([]byte, error)
	// Write replaces what stands in a file.
	Write(name string, text []byte) error
}

// logRewrite: a local process makes that what was decided was never decided.
func logRewrite() Attack {
	controls := []secure.ControlID{secure.CoreIntegrityDecisionLog}
	variant := func(name string, change func(lines [][]byte, at int) [][]byte) Variant {
		return Variant{Name: name, Position: LocalAccount, Controls: controls, Run: rewritesLog(change)}
	}
	return Attack{
		ID: "mgmt.log.rewrite", Number: "MG-03", Title: "the record of what was decided about services is changed afterwards",
		Text:     "who has let a service in, or it has been refused what, could be denied by whoever has a shell on the host",
		Services: []Service{Integrity}, Stride: Repudiation, Threats: []Threat{Corruption, Removal}, Module: ServicesManagement,
		Source: "ITU-T X.805 6.3", Access: []Access{ISC},
		Approved: []Approved{{Name: tap, Manifest: rights("session.proxy")}},
		Bounds:   Bounds{Packets: 60, Bytes: 60_000, Conns: 1, Time: 3 * time.Second},
		Variants: []Variant{
			variant("edit", func(lines [][]byte, at int) [][]byte {
				lines[at] = bytes.Replace(lines[at], []byte(`"kind":"`), []byte(`"kind":"not-`), 1)
				return lines
			}),
			variant("remove", func(lines [][]byte, at int) [][]byte { return slices.Delete(lines, at, at+1) }),
			variant("reorder", func(lines [][]byte, at int) [][]byte {
				lines[at], lines[at+1] = lines[at+1], lines[at]
				return lines
			}),
			variant("resigned", resigned),
			variant("cut", func(lines [][]byte, at int) [][]byte { return lines[:at] }),
			{Name: "rollback", Position: LocalAccount, Controls: controls, Run: rollsBack},
		},
	}
}

// rewritesLog has a platform refused, waits until the node has signed that, and changes ten records below that head, one at a time.
func rewritesLog(change func(lines [][]byte, at int) [][]byte) func(context.Context, *Field, *Outcome) error {
	return func(ctx context.Context, f *Field, o *Outcome) error {
		if f.files == nil {
			return errors.New("attack: the target shows no log of decisions")
		}
		name, text, err := f.decided(ctx)
		if err != nil {
			return err
		}
		passed, stands, said := 0, 0, ""
		at := belowHead(text)
		for i := range times {
			forged := bytes.Join(change(bytes.SplitAfter(bytes.Clone(text), []byte("\n")), 1+i*(at-2)/times), nil)
			if err := f.files.Write(name, forged); err != nil {
				return err
			}
			if err := f.operate(ctx, VerifyLog, ""); err == nil {
				passed++
			} else {
				said = err.Error()
			}
			if now, err := f.files.Read(name); err == nil && bytes.Equal(now, forged) && !bytes.Equal(now, text) {
				stands++
			}
			if err := f.files.Write(name, text); err != nil {
				return err
			}
		}
		if stands == times {
			o.Arrived("%d records of %d in %s are changed, one at a time", stands, at, name)
		}
		o.Wire(passed > 0, "%d of %d changed logs are taken for the log; what the attacker has written stands in the file", passed, times)
		o.Peer(passed > 0, "whoever verifies hears %q", strings.TrimSpace(said))
		return f.operate(ctx, VerifyLog, "") // as it was: else it was not the change that was found
	}
}

// resigned changes a record and links all that follow anew, as a log with that record would have them. The heads, whose key the attacker has not, are signed by one
// of his own.
func resigned(lines [][]byte, at int) [][]byte {
	lines[at] = bytes.Replace(lines[at], []byte(`"kind":"`), []byte(`"kind":"not-`), 1)
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	for i := at + 1; i < len(lines) && len(lines[i]) > 0; i++ {
		link := sha256.Sum256(bytes.TrimSuffix(lines[i-1], []byte("\n")))
		lines[i] = prevLink.ReplaceAll(lines[i], fmt.Appendf(nil, `"prev":"%x"`, link))
		if unsigned, _, head := bytes.Cut(lines[i], []byte(`,"sig":"`)); head {
			text := append([]byte("imsafe decision log head\x00"), append(bytes.Clone(unsigned), '}')...)
			lines[i] = fmt.Appendf(unsigned, `,"sig":"%s"}`+"\n", base64.RawStdEncoding.EncodeToString(ed25519.Sign(key, text)))
		}
	}
	return lines
}

// prevLink is what ties a record to the one before it.
var prevLink = regexp.MustCompile(`"prev":"[0-9a-f]*"`)

// rollsBack keeps all files, has more decided, and puts them back as they were: a whole log with valid heads, of before.
func rollsBack(ctx context.Context, f *Field, o *Outcome) error {
	if f.files == nil {
		return errors.New("attack: the target shows no log of decisions")
	}
	if _, _, err := f.decided(ctx); err != nil {
		return err
	}
	before, err := f.allFiles()
	if err != nil {
		return err
	}
	if err := f.operate(ctx, Suspend, tap); err != nil { // what is to be denied
		return err
	}
	after, err := f.allFiles()
	if err != nil {
		return err
	}
	verified := f.swapped(ctx, before)
	now, err := f.allFiles()
	if err != nil {
		return err
	}
	back := maps.EqualFunc(now, before, bytes.Equal)
	if back && !maps.EqualFunc(after, before, bytes.Equal) {
		o.Arrived("%d files are what they were before the platform was suspended", len(before))
	}
	o.Wire(verified == nil && back, "a log that does not have the suspension is taken for the log: %v", verified == nil)
	o.Peer(verified == nil, "whoever verifies hears %v", verified)
	return f.swapped(ctx, after)
}

// swapped writes files and has the log verified.
func (f *Field) swapped(ctx context.Context, files map[string][]byte) error {
	for name, text := range files {
		if err := f.files.Write(name, text); err != nil {
			return err
		}
	}
	return f.operate(ctx, VerifyLog, "")
}

// allFiles reads the log: its records and its head.
func (f *Field) allFiles() (map[string][]byte, error) {
	names, err := f.files.List()
	all := map[string][]byte{}
	for _, name := range names {
		if name != "head" && !strings.HasSuffix(name, ".log") {
			continue
		}
		text, err := f.files.Read(name)
		if err != nil {
			return nil, err
		}
		all[name] = text
	}
	return all, err
}

// decided has decisions made, and returns the file in which they stand, once they are signed.
func (f *Field) decided(ctx context.Context) (name string, text []byte, err error) {
	s, err := f.server(ctx, f.attacker, tap, nil)
	if err != nil {
		return "", nil, err
	}
	for _, method := range []string{"MESSAGE", "INVITE", "SUBSCRIBE", "PUBLISH"} {
		if _, err := s.Ask(ctx, s.Begins(Request{Method: method, URI: f.Users[Carol].IMPU, Lines: []string{s.contact()}})); err != nil {
			return "", nil, err
		}
	}
	for {
		if name, text, err = f.lastSegment(); err != nil {
			return "", nil, err
		}
		lines, at := bytes.SplitAfter(text, []byte("\n")), belowHead(text)
		signed := len(bytes.Join(lines[min(at+1, len(lines)):], nil)) == 0 // else the node writes a head soon, into what the attacker is about to change
		if signed && bytes.Count(bytes.Join(lines[:at], nil), []byte(`"kind":"refused"`)) >= 4 {
			break
		}
		select {
		case <-ctx.Done():
			return "", nil, fmt.Errorf("attack: the decisions are not signed: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	if err = f.operate(ctx, VerifyLog, ""); err != nil {
		err = fmt.Errorf("attack: the log is broken before anybody has changed it: %w", err)
	}
	return name, text, err
}

// lastSegment returns the newest file of records.
func (f *Field) lastSegment() (name string, text []byte, err error) {
	names, err := f.files.List()
	if err != nil {
		return "", nil, err
	}
	for _, n := range names {
		if strings.HasSuffix(n, ".log") {
			name = n
		}
	}
	text, err = f.files.Read(name)
	return name, text, err
}

// belowHead is how many lines stand before the last signed head.
func belowHead(text []byte) int {
	lines := bytes.SplitAfter(text, []byte("\n"))
	for i := len(lines) - 1; i > 0; i-- {
		if bytes.Contains(lines[i], []byte(`"sig":"`)) {
			return i
		}
	}
	return 0
}
