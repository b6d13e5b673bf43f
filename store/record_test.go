package store

import (
	"bytes"
	"errors"
	"testing"
)

// FuzzDecodeChange reads any octets as a record of the journal: what is read is written back the same, the rest is damage.
func FuzzDecodeChange(f *testing.F) {
	c := change{block: []byte("keyvalue"), keyLen: 3, table: 7, expires: 1 << 40, deleted: true}
	b := make([]byte, recordSize(3, 5))
	c.encode(b)
	f.Add(b)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeChange(9, b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		again := make([]byte, recordSize(len(c.key()), len(c.value())))
		c.encode(again)
		if c.version != 9 || !bytes.Equal(again, b) {
			t.Fatalf("read %x, wrote %x", b, again)
		}
	})
}
