package decisions

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"imsafe/store/disk"
)

// childDir names the directory to a process that writes until it is killed.
const childDir = "IMSAFE_TEST_DECISIONS"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		writeForEver(dir)
	}
	os.Exit(m.Run())
}

func options(dir string) Options {
	return Options{Disk: disk.OS(dir), Key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)), Now: time.Now, SegmentBytes: 20_000, Segments: 100}
}

// writeForEver prints the number of each record that is durable.
func writeForEver(dir string) {
	l, _, err := Open(options(dir))
	for i := 0; err == nil; i++ {
		l.Note(Decision{Kind: Refused, Reason: fmt.Sprint(i)})
		if err = l.Record(Decision{Kind: Approved, Subject: fmt.Sprint(i)}); err == nil {
			fmt.Println(l.last.n)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// TestLog_kill: a process that is killed while it writes leaves a whole log with all that it has said to be durable.
func TestLog_kill(t *testing.T) {
	dir := t.TempDir()
	for round := range 5 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childDir+"="+dir)
		var mistakes bytes.Buffer
		child.Stderr = &mistakes
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		var acknowledged uint64
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if _, err := fmt.Sscan(lines.Text(), &acknowledged); err != nil {
				t.Fatal(err)
			}
			if n == 40+7*round {
				_ = child.Process.Kill() // what it has printed before is read all the same
			}
		}
		if err := child.Wait(); err == nil || mistakes.Len() > 0 {
			t.Fatalf("the process was not killed: %v, %s", err, mistakes.String())
		}
		l, found, err := Open(options(dir))
		if err != nil {
			t.Fatal(err)
		}
		if !found.Whole() || found.Last < acknowledged || acknowledged == 0 {
			t.Errorf("%d were durable; found %+v, %+v", acknowledged, found, found.Fault)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if r, err := Verify(disk.OS(dir), l.o.Key.Public().(ed25519.PublicKey)); err != nil || !r.Whole() || r.First != 1 {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

// FuzzScan: whatever stands in the files, reading them ends with a report, and the node can go on.
func FuzzScan(f *testing.F) {
	d := disk.NewFake(1)
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	o := Options{Disk: d, Key: key, Now: func() time.Time { return time.Unix(0, 0) }}
	l, _, err := Open(o)
	if err != nil {
		f.Fatal(err)
	}
	if err := l.Close(); err != nil {
		f.Fatal(err)
	}
	read := func(name string) []byte {
		file, err := d.Open(name)
		if err != nil {
			f.Fatal(err)
		}
		b := make([]byte, 4096)
		n, _ := file.ReadAt(b, 0)
		return b[:n]
	}
	f.Add(read(segmentName(1)), read(headFile))
	f.Add([]byte("{}\n{\"n\":1,\"kind\":\"head\"}\n"), []byte("{"))
	f.Add(bytes.Repeat([]byte("x"), 2*maxLine), []byte{})
	f.Fuzz(func(t *testing.T, segment, head []byte) {
		d := disk.NewFake(1)
		for name, text := range map[string][]byte{segmentName(1): segment, headFile: head} {
			file, err := d.Create(name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := file.WriteAt(text, 0); err != nil {
				t.Fatal(err)
			}
		}
		o.Disk = d
		l, found, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Record(Decision{Kind: Approved}); err != nil {
			t.Fatal(err)
		}
		if found.Whole() {
			if r, err := l.Verify(); err != nil || !r.Whole() {
				t.Errorf("it was whole, and is not any more: %+v, %v", r.Fault, err)
			}
		}
	})
}
