package slab_test

import (
	"bytes"
	"testing"

	"imsafe/proto/slab"
	"pgregory.net/rapid"
)

// TestTableIsAMap runs random operations on a table and a Go map and compares them after each.
func TestTableIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// A weak hash makes keys of one stripe and of one tag meet.
		table := slab.New(slab.Config{Hash: func(key []byte) uint64 { return uint64(len(key))<<56 | uint64(key[0])>>4 }})
		model := map[string][]byte{}
		key := rapid.Custom(func(t *rapid.T) []byte {
			return rapid.SliceOfN(rapid.ByteRange(0, 31), 1, 3).Draw(t, "octets")
		})
		value := rapid.Custom(func(t *rapid.T) []byte {
			n := rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(0, slab.MaxRecord-3)).Draw(t, "length")
			return bytes.Repeat([]byte{rapid.Byte().Draw(t, "fill")}, n)
		})
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				k, v := key.Draw(t, "key"), value.Draw(t, "value")
				if err := table.Put(k, v); err != nil {
					t.Fatal(err)
				}
				model[string(k)] = v
			},
			"delete": func(t *rapid.T) {
				k := key.Draw(t, "key")
				_, there := model[string(k)]
				if table.Delete(k) != there {
					t.Fatalf("Delete(%x) != %v", k, there)
				}
				delete(model, string(k))
			},
			"update": func(t *rapid.T) {
				k, v := key.Draw(t, "key"), value.Draw(t, "value")
				way := rapid.SampledFrom([]string{"replace", "build", "shorten", "change", "remove"}).Draw(t, "way")
				was, there := model[string(k)]
				err := table.Update(k, func(old, buf []byte) ([]byte, bool) {
					if (old != nil) != there || !bytes.Equal(old, was) || len(buf) != 0 {
						t.Fatalf("old is %d octets, want %d", len(old), len(was))
					}
					switch way {
					case "build":
						return append(append(buf, old...), 'x'), len(old) < slab.MaxRecord-3
					case "shorten":
						return old[:len(old)/2], there
					case "change":
						for i := range old {
							old[i]++
						}
						return old, there
					case "remove":
						return nil, false
					}
					return v, true
				})
				if err != nil {
					t.Fatal(err)
				}
				switch {
				case way == "replace":
					model[string(k)] = v
				case way == "build" && len(was) < slab.MaxRecord-3:
					model[string(k)] = append(bytes.Clone(was), 'x')
				case way == "shorten" && there:
					model[string(k)] = was[:len(was)/2]
				case way == "change" && there:
					next := bytes.Clone(was)
					for i := range next {
						next[i]++
					}
					model[string(k)] = next
				default:
					delete(model, string(k))
				}
			},
			"": func(t *rapid.T) {
				if table.Len() != len(model) {
					t.Fatalf("Len %d, want %d", table.Len(), len(model))
				}
				seen := 0
				table.Range(func(k, v []byte) bool {
					seen++
					if want, ok := model[string(k)]; !ok || !bytes.Equal(v, want) {
						t.Fatalf("key %x holds %d octets, want %d (there: %v)", k, len(v), len(want), ok)
					}
					return true
				})
				if seen != len(model) {
					t.Fatalf("Range saw %d of %d", seen, len(model))
				}
			},
		})
	})
}
