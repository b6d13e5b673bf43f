package shard_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"imsafe/proto/shard"
)

var somePlace = shard.Place{Node: 0xfffe, Shard: 7, Slot: 0x01020304, Gen: 0xa0b0}

const spelling = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

func TestSealer(t *testing.T) {
	x := shard.NewSealer(shard.SealingKey{1, 2, 3})
	token := x.Seal([]byte("z9hG4bK"), 'v', somePlace)[7:]
	if len(token) != shard.TokenSize {
		t.Fatalf("%d octets", len(token))
	}
	if p, ok := x.Open('v', token); !ok || p != somePlace {
		t.Fatal(p, ok)
	}
	refuse := func(t *testing.T, kind byte, token []byte) {
		t.Helper()
		if p, ok := x.Open(kind, token); ok || p != (shard.Place{}) {
			t.Errorf("%q opened as %+v", token, p)
		}
	}
	t.Run("another kind", func(t *testing.T) { refuse(t, 'w', token) })
	t.Run("any other character at any position", func(t *testing.T) {
		for i := range token {
			for _, c := range []byte(spelling + "=+/\r\n \x00") {
				if bad := bytes.Clone(token); c != bad[i] {
					bad[i] = c
					refuse(t, 'v', bad)
				}
			}
		}
	})
	t.Run("other lengths", func(t *testing.T) {
		refuse(t, 'v', nil)
		refuse(t, 'v', token[:21])
		refuse(t, 'v', append(bytes.Clone(token), 'A'))
		refuse(t, 'v', append(bytes.Clone(token), '=', '='))
		refuse(t, 'v', append(bytes.Clone(token[:20]), '\r', '\n'))
	})
	t.Run("another key", func(t *testing.T) {
		if _, ok := shard.NewSealer(shard.SealingKey{1, 2, 4}).Open('v', token); ok {
			t.Error("opened")
		}
	})
	t.Run("rotation keeps one key before", func(t *testing.T) {
		x.Rotate(shard.SealingKey{9})
		if p, ok := x.Open('v', token); !ok || p != somePlace {
			t.Error("token of the key before does not open")
		}
		if bytes.Equal(x.Seal(nil, 'v', somePlace), token) {
			t.Error("still sealed with the key before")
		}
		x.Rotate(shard.SealingKey{10})
		refuse(t, 'v', token)
	})
	t.Run("no allocations", func(t *testing.T) {
		buf := make([]byte, 0, 64)
		if n := testing.AllocsPerRun(100, func() {
			buf = x.Seal(buf[:0], 'v', somePlace)
			if _, ok := x.Open('v', buf); !ok {
				t.Error("does not open")
			}
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
	t.Run("the key does not print", func(t *testing.T) {
		key := shard.SealingKey{0xab, 0xcd}
		text, err := json.Marshal(map[string]any{"key": key})
		if err != nil {
			t.Fatal(err)
		}
		all := fmt.Sprintf("%v %+v %#v %s %x %s %v", key, key, key, key, key, text, key.LogValue())
		for _, leak := range []string{"171", "ab", "cd"} {
			if bytes.Contains([]byte(all), []byte(leak)) {
				t.Errorf("%q in %q", leak, all)
			}
		}
	})
}

func TestEveryPlaceSurvivesSealing(t *testing.T) {
	x := shard.NewSealer(shard.SealingKey{5})
	rapid.Check(t, func(t *rapid.T) {
		p := shard.Place{
			Node: rapid.Uint16().Draw(t, "node"), Shard: rapid.Byte().Draw(t, "shard"),
			Slot: rapid.Uint32().Draw(t, "slot"), Gen: rapid.Uint16().Draw(t, "gen"),
		}
		kind := rapid.Byte().Draw(t, "kind")
		if q, ok := x.Open(kind, x.Seal(nil, kind, p)); !ok || q != p {
			t.Fatalf("%+v became %+v, %v", p, q, ok)
		}
	})
}

// FuzzOpen looks for a token that opens although it was not sealed; only the spelling that Seal writes may.
func FuzzOpen(f *testing.F) {
	x := shard.NewSealer(shard.SealingKey{5})
	f.Add([]byte("AAAAAAAAAAAAAAAAAAAAAA"), byte(0))
	f.Add(x.Seal(nil, 1, somePlace), byte(1))
	f.Fuzz(func(t *testing.T, token []byte, kind byte) {
		if p, ok := x.Open(kind, token); ok && !bytes.Equal(x.Seal(nil, kind, p), token) {
			t.Fatalf("%q opened as %+v, which is spelled otherwise", token, p)
		}
	})
}
