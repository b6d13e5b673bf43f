package decisions

import (
	"bytes"
	"crypto/ed25519"
	"testing"
	"time"

	"imsafe/store/disk"
)

func benchLog(b *testing.B) *Log {
	b.Helper()
	l, _, err := Open(Options{Disk: disk.NewFake(1), Key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)), Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	return l
}

// BenchmarkNote is what a refusal costs the shard that refuses: the same one again, as in a flood.
func BenchmarkNote(b *testing.B) {
	l := benchLog(b)
	d := Decision{Kind: Refused, Control: "is.authentication.mtls", Reason: "stranger", Source: "192.0.2.1"}
	b.ReportAllocs()
	for b.Loop() {
		l.Note(d)
	}
}

// BenchmarkRecord is an operator's decision without the disk: line, hash, signature.
func BenchmarkRecord(b *testing.B) {
	l := benchLog(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Record(Decision{Kind: Approved, Subject: "echo", By: "operator"}); err != nil {
			b.Fatal(err)
		}
	}
}
