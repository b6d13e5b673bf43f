package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"imsafe/store/disk"
)

// batches are written by writeAll: batch i has i%3+1 records.
type batch struct {
	first   uint64
	records [][]byte
}

func makeBatches(n int) (all []batch) {
	rng := rand.New(rand.NewPCG(1, 2))
	next := uint64(1)
	for i := range n {
		b := batch{first: next}
		for range i%3 + 1 {
			record := make([]byte, rng.IntN(3000))
			for k := range record {
				record[k] = byte(rng.Uint32())
			}
			b.records = append(b.records, record)
			next++
		}
		all = append(all, b)
	}
	return all
}

func (b batch) appendTo(t testing.TB, j *Journal) {
	t.Helper()
	j.Begin(b.first)
	for _, r := range b.records {
		copy(j.Record(len(r)), r)
	}
	if err := j.Append(); err != nil {
		t.Fatal(err)
	}
}

func options(d disk.Disk) Options {
	return Options{Disk: d, Random: rand.NewChaCha8([32]byte{1}), SegmentBytes: 8 * block, Identity: Identity{Store: [16]byte{7}}}
}

// replayed is what an Open gave.
type replayed struct {
	records [][]byte
	first   uint64
}

func open(t testing.TB, o Options, after uint64) (*Journal, replayed, uint64, error) {
	t.Helper()
	var got replayed
	j, last, err := Open(o, after, func(seq uint64, record []byte) error {
		if len(got.records) == 0 {
			got.first = seq
		}
		if seq != got.first+uint64(len(got.records)) {
			t.Errorf("record %d after %d records from %d", seq, len(got.records), got.first)
		}
		got.records = append(got.records, slices.Clone(record))
		return nil
	})
	return j, got, last, err
}

func flatten(all []batch) (records [][]byte) {
	for _, b := range all {
		records = append(records, b.records...)
	}
	return records
}

func written(t testing.TB, all []batch) *disk.Fake {
	t.Helper()
	d := disk.NewFake(1)
	j, _, _, err := open(t, options(d), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range all {
		b.appendTo(t, j)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestReplay(t *testing.T) {
	all := makeBatches(40)
	d := written(t, all)
	records := flatten(all)
	for _, after := range []uint64{0, 1, 5, uint64(len(records)) - 1, uint64(len(records))} {
		j, got, last, err := open(t, options(d), after)
		if err != nil {
			t.Fatal(err)
		}
		if last != uint64(len(records)) || !slices.EqualFunc(got.records, records[after:], bytes.Equal) {
			t.Fatalf("after %d: %d records, last %d", after, len(got.records), last)
		}
		j.Close()
	}
}

// TestContinue: each Open goes on where the last one ended, also behind a torn batch.
func TestContinue(t *testing.T) {
	all := makeBatches(30)
	d := disk.NewFake(1)
	for i, b := range all {
		o := options(d)
		o.Random = rand.NewChaCha8([32]byte{byte(i)})
		j, got, last, err := open(t, o, 0)
		if err != nil || last+1 != b.first || !slices.EqualFunc(got.records, flatten(all[:i]), bytes.Equal) {
			t.Fatalf("open %d: last %d, %d records, %v", i, last, len(got.records), err)
		}
		b.appendTo(t, j)
		if i%2 == 0 { // and one more, that tears
			next := batch{first: b.first + uint64(len(b.records)), records: [][]byte{bytes.Repeat([]byte("x"), 10000)}}
			j.Begin(next.first)
			copy(j.Record(10000), next.records[0])
			d.CutAfter(1)
			if err := j.Append(); err == nil {
				t.Fatal("no cut")
			}
			d = d.Crash()
		}
	}
}

// TestRecycle: segments come back when the image has their records, and not before.
func TestRecycle(t *testing.T) {
	all := makeBatches(60)
	d := disk.NewFake(1)
	j, _, _, err := open(t, options(d), 0)
	if err != nil {
		t.Fatal(err)
	}
	image := uint64(0)
	for i, b := range all {
		b.appendTo(t, j)
		if i%7 == 6 {
			image = all[i-5].first // in the middle of what the segments hold
			if err := j.Recycle(image); err != nil {
				t.Fatal(err)
			}
			if err := j.Prepare(); err != nil {
				t.Fatal(err)
			}
		}
	}
	names, _ := d.ReadDir()
	if len(names) > 10 {
		t.Errorf("files are not used again: %q", names)
	}
	j.Close()
	_, got, _, err := open(t, options(d), image)
	if err != nil || !slices.EqualFunc(got.records, flatten(all)[image:], bytes.Equal) {
		t.Fatalf("%d records, %v", len(got.records), err)
	}
	// Without the image they came for, what is left is not a whole log.
	if _, _, _, err := open(t, options(d), 0); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("a log without its beginning: %v", err)
	}
}

// TestDamage: what was acknowledged and is not readable any more is an error. Only the end of the log may be torn.
func TestDamage(t *testing.T) {
	all := makeBatches(20)
	base := written(t, all)
	names, _ := base.ReadDir()
	edit := func(t *testing.T, name string, at int64, b []byte) disk.Disk {
		d := written(t, all)
		f, err := d.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
		return d
	}
	rot := []byte{0xde, 0xad}
	for name, c := range map[string]struct {
		disk disk.Disk
		want error
	}{
		"header of the first segment": {edit(t, names[0], 17, rot), ErrCorrupt},
		"name and number differ":      {edit(t, names[0], 32, rot), ErrCorrupt},
		"first batch":                 {edit(t, names[0], block+frameHeader+10, rot), ErrCorrupt},
		"mark of the first batch":     {edit(t, names[0], block, rot), ErrCorrupt},
		"length of the first batch":   {edit(t, names[0], block+16, []byte{0xff, 0xff, 0xff, 0xff}), ErrCorrupt},
		"count of the first batch":    {edit(t, names[0], block+20, []byte{0}), ErrCorrupt},
		"before other batches of the last segment": {func() disk.Disk {
			d := disk.NewFake(1)
			j, _, _, err := open(t, options(d), 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range all[:2] {
				b.appendTo(t, j)
			}
			if j.number != 1 {
				t.Fatal("more than one segment: the test shows nothing")
			}
			if _, err := j.current.file.WriteAt(rot, block+frameHeader+10); err != nil {
				t.Fatal(err)
			}
			j.Close()
			return d
		}(), ErrCorrupt},
		"end of a segment that is not the last": {func() disk.Disk {
			d := written(t, all)
			f, _ := d.Open(names[0])
			for at := int64(2 * block); at < 8*block; at += block { // all but its first batch
				if _, err := f.WriteAt(make([]byte, block), at); err != nil {
					t.Fatal(err)
				}
			}
			return d
		}(), ErrCorrupt},
		"a segment is gone": {func() disk.Disk {
			d := written(t, all)
			if err := d.Remove(names[1]); err != nil {
				t.Fatal(err)
			}
			return d
		}(), ErrCorrupt},
		"the first segment is gone": {func() disk.Disk {
			d := written(t, all)
			if err := d.Remove(names[0]); err != nil {
				t.Fatal(err)
			}
			return d
		}(), ErrCorrupt},
		"a file with a strange name": {func() disk.Disk {
			d := written(t, all)
			if _, err := d.Create("journal-1.seg"); err != nil {
				t.Fatal(err)
			}
			return d
		}(), ErrCorrupt},
	} {
		if j, got, _, err := open(t, options(c.disk), 0); !errors.Is(err, c.want) {
			t.Errorf("%s: %d records, %v", name, len(got.records), err)
			if j != nil {
				j.Close()
			}
		}
	}
}

// TestForeign: another store, the other mark, a format from the future.
func TestForeign(t *testing.T) {
	d := written(t, makeBatches(3))
	o := options(d)
	o.Identity.Lab = true
	if _, _, _, err := open(t, o, 0); !errors.Is(err, ErrForeign) {
		t.Errorf("other mark: %v", err)
	}
	o.Identity = Identity{Store: [16]byte{8}}
	if _, _, _, err := open(t, o, 0); !errors.Is(err, ErrForeign) {
		t.Errorf("other store: %v", err)
	}
	id, ok, err := Identify(d)
	if err != nil || !ok || id != options(d).Identity {
		t.Errorf("identify: %v %v %v", id, ok, err)
	}
	if _, ok, err := Identify(disk.NewFake(1)); ok || err != nil {
		t.Errorf("identify nothing: %v %v", ok, err)
	}
}

func TestTooLarge(t *testing.T) {
	j, _, _, err := open(t, options(disk.NewFake(1)), 0)
	if err != nil {
		t.Fatal(err)
	}
	room := 7*block - frameHeader - 4
	for _, size := range []int{room, room + 1} {
		j.Begin(1)
		j.Record(size)
		err := j.Append()
		if fits := j.Fits(1, size); fits != (err == nil) || !fits && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%d octets: fits %v, append %v", size, fits, err)
		}
	}
}

// FuzzReplay changes a good log anywhere: Open must give a prefix of whole batches or an error.
func FuzzReplay(f *testing.F) {
	all := makeBatches(12)
	base := written(f, all)
	names, _ := base.ReadDir()
	ends := map[int]bool{0: true}
	records := flatten(all)
	n := 0
	for _, b := range all {
		n += len(b.records)
		ends[n] = true
	}
	f.Add(uint8(0), uint32(block), []byte{1}, []byte("x"))
	f.Add(uint8(1), uint32(100), []byte{}, bytes.Repeat([]byte{0}, 2*block))
	f.Add(uint8(0), uint32(block+16), binary.LittleEndian.AppendUint32(nil, 1<<31), []byte{})
	f.Fuzz(func(t *testing.T, which uint8, at uint32, over, extra []byte) {
		d := written(t, all)
		name := names[int(which)%len(names)]
		file, err := d.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		at %= 8 * block
		if len(over) > 0 {
			if _, err := file.WriteAt(over[:min(len(over), 1<<14)], int64(at)); err != nil {
				t.Fatal(err)
			}
		}
		if len(extra) > 0 { // and a file of anything
			g, err := d.Create(segmentName(uint64(which) + 1))
			if err == nil {
				if _, err := g.WriteAt(extra, 0); err != nil {
					t.Fatal(err)
				}
			}
		}
		j, got, last, err := open(t, options(d), 0)
		if err != nil {
			return
		}
		j.Close()
		if !ends[len(got.records)] || last != uint64(len(got.records)) {
			t.Fatalf("%d records, last %d: not whole batches", len(got.records), last)
		}
		if !slices.EqualFunc(got.records, records[:len(got.records)], bytes.Equal) {
			t.Fatal("records that nobody wrote")
		}
	})
}

// FuzzSegment reads a segment of any content behind a good header.
func FuzzSegment(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 3*block))
	f.Fuzz(func(t *testing.T, content []byte) {
		d := disk.NewFake(1)
		j := &Journal{o: options(d)}
		s := &segment{number: 1, name: segmentName(1)}
		file, err := d.Create(s.name)
		if err != nil {
			t.Fatal(err)
		}
		header := j.header(s, 5)
		// Let the fuzzer write frames: a block that begins with F gets the mark, and a sum if it asks for one.
		body := slices.Clone(content)
		for at := 0; at+frameHeader <= len(body); at += block {
			if body[at] != 'F' {
				continue
			}
			binary.LittleEndian.PutUint64(body[at:], s.mark)
			length := int(binary.LittleEndian.Uint32(body[at+16:]))
			if body[at+28] == 'S' && length <= len(body)-at-frameHeader {
				binary.LittleEndian.PutUint32(body[at+24:], frameSum(body[at:], length))
			}
		}
		for at, b := range map[int64][]byte{0: header, block: body} {
			if _, err := file.WriteAt(b, at); err != nil {
				t.Fatal(err)
			}
		}
		opened, _, _, err := open(t, options(d), 0)
		if err == nil {
			opened.Close()
		}
	})
}
