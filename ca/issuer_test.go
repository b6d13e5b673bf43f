package ca

import (
	"bytes"
	"crypto/rand"
	"testing"
	"time"
)

// FuzzIssuer reads records of intermediates: what is read is written the same.
func FuzzIssuer(f *testing.F) {
	now := func() time.Time { return time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC) }
	root, err := NewRoot(rand.Reader, now, "ims.example", time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	whole := (&issuer{cert: root.cert, root: root.cert, sealed: []byte("sealed")}).encode()
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte{recordVersion, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, record []byte) {
		if i, err := decodeIssuer(record); err == nil && !bytes.Equal(i.encode(), record) {
			t.Fatalf("%x is written %x", record, i.encode())
		}
	})
}
