package decisions

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"imsafe/store/disk"
)

// desk is a log on a disk, and a clock that somebody moves.
type desk struct {
	*testing.T
	disk disk.Disk
	key  ed25519.PrivateKey
	now  time.Time
	o    Options
	*Log
}

func newDesk(t *testing.T, change func(*Options)) *desk {
	d := &desk{T: t, disk: disk.NewFake(1), key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)), now: time.Unix(1_700_000_000, 0)}
	d.o = Options{Key: d.key, Now: func() time.Time { return d.now }}
	if change != nil {
		change(&d.o)
	}
	d.open()
	return d
}

// open opens the log and returns what was found.
func (d *desk) open() *Report {
	d.Helper()
	d.o.Disk = d.disk
	var found *Report
	var err error
	if d.Log, found, err = Open(d.o); err != nil {
		d.Fatal(err)
	}
	return found
}

func (d *desk) close() {
	d.Helper()
	if err := d.Log.Close(); err != nil {
		d.Fatal(err)
	}
}

// records writes n decisions, one by one.
func (d *desk) records(n int) {
	d.Helper()
	for i := range n {
		if err := d.Record(Decision{Kind: Approved, Subject: fmt.Sprintf("service-%d", i), By: "operator"}); err != nil {
			d.Fatal(err)
		}
	}
}

// notes writes n decisions that no head covers yet.
func (d *desk) notes(n int) {
	d.Helper()
	for i := range n {
		d.Note(Decision{Kind: Refused, Control: "is.integrity.odi", Reason: "odi-forged", Subject: fmt.Sprintf("service-%d", i)})
		if err := d.Flush(); err != nil {
			d.Fatal(err)
		}
	}
}

// verify looks at the log from outside.
func (d *desk) verify() *Report {
	d.Helper()
	r, err := Verify(d.disk, d.key.Public().(ed25519.PublicKey))
	if err != nil {
		d.Fatal(err)
	}
	return r
}

// read returns a file.
func (d *desk) read(name string) string {
	d.Helper()
	f, err := d.disk.Open(name)
	if err != nil {
		d.Fatal(err)
	}
	defer f.Close()
	size, _ := f.Size()
	b := make([]byte, size)
	_, _ = f.ReadAt(b, 0)
	return string(b)
}

// alter changes a file as whoever has an editor would.
func (d *desk) alter(name string, change func(string) string) {
	d.Helper()
	text := change(d.read(name))
	if err := d.disk.Remove(name); err != nil {
		d.Fatal(err)
	}
	f, err := d.disk.Create(name)
	if err != nil {
		d.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		d.Fatal(err)
	}
	_ = f.Close()
}

func TestLog(t *testing.T) {
	d := newDesk(t, nil)
	d.records(3)
	for range 5 {
		d.Note(Decision{Kind: Refused, Control: "is.authentication.mtls", Reason: "stranger", Source: "192.0.2.1"})
	}
	if err := d.Flush(); err != nil {
		t.Fatal(err)
	}
	before := d.verify()
	if !before.Whole() || before.SignedTo != 8 || before.Last != 9 {
		t.Errorf("%+v, %+v", before, before.Fault)
	}
	d.now = d.now.Add(time.Second)
	if err := d.Flush(); err != nil {
		t.Fatal(err)
	}
	if r := d.verify(); !r.Whole() || r.SignedTo != 10 || r.Records != 10 || r.Heads != 5 {
		t.Errorf("a second later: %+v, %+v", r, r.Fault)
	}
	text := d.read(segmentName(1))
	if n := strings.Count(text, `"reason":"stranger"`); n != 1 || !strings.Contains(text, `"count":5`) {
		t.Errorf("%d lines of five refusals: %s", n, text)
	}
	d.close()
	if found := d.open(); !found.Whole() || found.Torn != 0 {
		t.Errorf("opened again: %+v", found)
	}
	if r, err := d.Log.Verify(); err != nil || !r.Whole() || r.SignedTo != r.Last {
		t.Errorf("%+v: %v", r, err)
	}
}

// TestVerify: every kind of damage below the last head is found, at the record where it begins.
func TestVerify(t *testing.T) {
	line := func(text string, n int) string { return strings.SplitAfter(text, "\n")[n-1] }
	for _, c := range []struct {
		name   string
		file   string
		change func(text string) string
		how    string
		record uint64
	}{
		{"nothing", segmentName(1), func(s string) string { return s }, "", 0},
		{"a word", segmentName(1), func(s string) string { return strings.Replace(s, "service-1", "service-9", 1) }, Edited, 5},
		{"a letter of no record", segmentName(1), func(s string) string { return strings.Replace(s, line(s, 5), "x"+line(s, 5), 1) }, Edited, 5},
		{"a space", segmentName(1), func(s string) string { return strings.Replace(s, line(s, 5), " "+line(s, 5), 1) }, Edited, 5},
		{"a time", segmentName(1), func(s string) string { return strings.Replace(s, "2023-11-14", "2023-11-15", 3) }, Edited, 1},
		{"a line gone", segmentName(1), func(s string) string { return strings.Replace(s, line(s, 5), "", 1) }, Cut, 5},
		{"the first gone", segmentName(1), func(s string) string { return strings.Replace(s, line(s, 1), "", 1) }, Cut, 1},
		{"two changed places", segmentName(1), func(s string) string {
			return strings.Replace(s, line(s, 5)+line(s, 6), line(s, 6)+line(s, 5), 1)
		}, Reordered, 5},
		{"one twice", segmentName(1), func(s string) string { return strings.Replace(s, line(s, 5), line(s, 5)+line(s, 5), 1) }, Reordered, 5},
		{"the end gone", segmentName(1), func(s string) string { return strings.Join(strings.SplitAfter(s, "\n")[:7], "") }, Cut, 8},
		{"all gone", segmentName(1), func(string) string { return "" }, Cut, 1},
		{"a signature", segmentName(1), func(s string) string { return strings.Replace(s, `"sig":"`, `"sig":"A`, 1) }, Forged, 2},
		{"the last head", headFile, func(s string) string { return strings.Replace(s, `"first":1`, `"first":2`, 1) }, Forged, 12},
		{"chained anew", segmentName(1), rechained, Forged, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, nil)
			d.records(5) // a start and its head, then a record and a head for each
			d.close()
			d.alter(c.file, c.change)
			r := d.verify()
			if c.how == "" {
				if !r.Whole() {
					t.Errorf("%+v", r.Fault)
				}
				return
			}
			if r.Fault == nil || r.Fault.How != c.how || r.Fault.Record != c.record {
				t.Fatalf("%+v, wants %s at %d", r.Fault, c.how, c.record)
			}
			found := d.open() // the node goes on, and what was found stays to be seen
			d.records(3)
			d.close()
			again := d.verify().Fault
			if c.file == headFile { // a new one has taken its place
				again = found.Fault
			}
			if found.Fault == nil || again == nil || again.Record != c.record {
				t.Errorf("opened again: %+v, later %+v", found.Fault, again)
			}
		})
	}
}

// rechained changes record 5 and makes the chain behind it anew, as far as one can who does not have the key.
func rechained(text string) string {
	lines := strings.SplitAfter(strings.Replace(text, "service-1", "service-9", 1), "\n")
	for i := 5; i < len(lines)-1; i++ {
		was := []byte(strings.TrimSuffix(lines[i-1], "\n"))
		at := strings.Index(lines[i], `"prev":"`) + len(`"prev":"`)
		lines[i] = lines[i][:at] + hashOf(was) + lines[i][at+64:]
	}
	return strings.Join(lines, "")
}

// TestVerify_tail: what no head covers yet is only known to the node that has written it.
func TestVerify_tail(t *testing.T) {
	d := newDesk(t, nil)
	d.notes(5)
	d.alter(segmentName(1), func(s string) string { return strings.Join(strings.SplitAfter(s, "\n")[:4], "") })
	if r := d.verify(); !r.Whole() || r.Last != 4 || r.SignedTo != 2 {
		t.Errorf("from outside: %+v, %+v", r, r.Fault)
	}
	if r, err := d.Log.Verify(); err != nil || r.Fault == nil || r.Fault.How != Cut || r.Fault.Record != 5 {
		t.Errorf("by the node: %+v, %v", r, err)
	}
}

// TestContains: a head that was kept elsewhere shows that an older state was put back.
func TestContains(t *testing.T) {
	d := newDesk(t, nil)
	public := d.key.Public().(ed25519.PublicKey)
	d.records(2)
	before := map[string]string{segmentName(1): d.read(segmentName(1)), headFile: d.read(headFile)}
	d.records(2)
	elsewhere := []byte(d.Head())
	if there, err := Contains(d.disk, public, elsewhere); !there || err != nil {
		t.Errorf("%v, %v", there, err)
	}
	for name, was := range before {
		d.alter(name, func(string) string { return was })
	}
	if r := d.verify(); !r.Whole() {
		t.Errorf("without what is elsewhere an old state looks like one: %+v", r.Fault)
	}
	if there, err := Contains(d.disk, public, elsewhere); there || err != nil {
		t.Errorf("an old state was put back: %v, %v", there, err)
	}
	if _, err := Contains(d.disk, public, []byte("{}")); err == nil {
		t.Error("something that is no head")
	}
}

// TestLog_rotation: the log is bounded, the chain goes on, and what was taken away by its own rule is not missed.
func TestLog_rotation(t *testing.T) {
	d := newDesk(t, func(o *Options) { o.SegmentBytes, o.Segments = 2000, 4 })
	d.records(200)
	r := d.verify()
	names, _ := d.disk.ReadDir()
	if !r.Whole() || r.First == 1 || len(d.segments) != 4 || len(names) > 6 {
		t.Fatalf("%+v, %+v, files %v", r, r.Fault, names)
	}
	d.close()
	if found := d.open(); !found.Whole() {
		t.Fatalf("%+v", found.Fault)
	}
	oldest := d.segments[0]
	d.close()
	if err := d.disk.Remove(segmentName(oldest)); err != nil {
		t.Fatal(err)
	}
	if r := d.verify(); r.Fault == nil || r.Fault.How != Cut || r.Fault.Record != oldest {
		t.Errorf("without the oldest segment: %+v", r.Fault)
	}
}

// TestLog_bounded: what comes faster than it can be written is counted.
func TestLog_bounded(t *testing.T) {
	d := newDesk(t, nil)
	for i := range 3 * waiting {
		d.Note(Decision{Kind: Refused, Reason: fmt.Sprint(i)})
	}
	if err := d.Flush(); err != nil {
		t.Fatal(err)
	}
	if r := d.verify(); !r.Whole() || r.Last != waiting+3 {
		t.Errorf("%+v", r)
	}
	if !strings.Contains(d.read(segmentName(1)), fmt.Sprintf(`"kind":"lost","count":%d`, 2*waiting)) {
		t.Error("nobody says what was lost")
	}
}

// TestLog_disk: after an error of the disk nothing is written, and whoever decides is told.
func TestLog_disk(t *testing.T) {
	d := newDesk(t, nil)
	d.disk.(*disk.Fake).FailSync(1)
	for range 2 {
		if err := d.Record(Decision{Kind: Approved}); !errors.Is(err, ErrBroken) {
			t.Fatal(err)
		}
	}
	if _, _, err := Open(d.o); err == nil {
		t.Error("a second process has opened the log")
	}
}

// TestLog_power: whatever is left after a power cut, all that was acknowledged is there, and the log is whole.
func TestLog_power(t *testing.T) {
	for seed := range uint64(100) {
		d := newDesk(t, func(o *Options) { o.SegmentBytes, o.Segments = 3000, 5 })
		random := rand.New(rand.NewPCG(seed, 1))
		for range 3 {
			d.disk.(*disk.Fake).CutAfter(1 + random.IntN(60))
			acknowledged := d.Log.last.n
			for i := 0; ; i++ {
				d.Note(Decision{Kind: Refused, Reason: fmt.Sprint(i)})
				err := d.Record(Decision{Kind: Approved, Subject: fmt.Sprint(i), Detail: strings.Repeat("x", random.IntN(700))})
				if err != nil {
					break
				}
				acknowledged = d.Log.last.n
			}
			d.disk = d.disk.(*disk.Fake).Crash()
			found := d.open()
			if !found.Whole() || found.Last < acknowledged {
				t.Fatalf("seed %d: %d were acknowledged; found %+v, %+v", seed, acknowledged, found, found.Fault)
			}
			if r, err := d.Log.Verify(); err != nil || !r.Whole() {
				t.Fatalf("seed %d: %+v, %v", seed, r.Fault, err)
			}
		}
	}
}
