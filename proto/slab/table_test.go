package slab_test

import (
	"bytes"
	"testing"

	"imsafe/proto/slab"
	"pgregory.net/rapid"
)

// TestTableIsAMap runs random operations on a table and a Go map and compares them after each.
func TestTableIsAMap(t *testing.T) {
	t.Run("plain", func(t *testing.T) { tableIsAMap(t, nil) })
	t.Run("words", func(t *testing.T) {
		tableIsAMap(t, [][]byte{{3, 3}, {7}, bytes.Repeat([]byte{9}, 20), {0xff, 1}, {0}})
	})
}

func tableIsAMap(t *testing.T, words [][]byte) {
	rapid.Check(t, func(t *rapid.T) {
		// A weak hash makes keys of one stripe and of one tag meet.
		table := slab.New(slab.Config{Words: words, Hash: func(key []byte) uint64 { return uint64(len(key))<<56 | uint64(key[0])>>4 }})
		model := map[string][]byte{}
		most := slab.MaxRecord - 3
		if words != nil {
			most = slab.MaxRecord / 3 // octets may double
		}
		key := rapid.Custom(func(t *rapid.T) []byte {
			return rapid.SliceOfN(rapid.ByteRange(0, 31), 1, 3).Draw(t, "octets")
		})
		value := rapid.Custom(func(t *rapid.T) []byte {
			n := rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(0, most)).Draw(t, "length")
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
						return append(append(buf, old...), 'x'), len(old) < most
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
				case way == "build" && len(was) < most:
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

// TestWords: what a table repeats takes two octets, and what comes out is what went in.
func TestWords(t *testing.T) {
	domain := []byte("ims.mnc001.mcc001.3gppnetwork.org")
	table := slab.New(slab.Config{Words: [][]byte{domain}})
	key, value := append([]byte("u1@"), domain...), bytes.Repeat(append([]byte("sip:\xff\x00\x01@"), domain...), 5)
	if err := table.Put(key, value); err != nil {
		t.Fatal(err)
	}
	if got, found := table.Get(key, []byte("=")); !found || !bytes.Equal(got, append([]byte("="), value...)) {
		t.Errorf("%q, %v", got, found)
	}
	buf := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() { buf, _ = table.Get(key, buf[:0]); _ = table.Put(key, value) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if !table.Delete(key) || table.Len() != 0 {
		t.Error("not deleted")
	}
}

// FuzzWords: any record, with any words, comes out as it went in.
func FuzzWords(f *testing.F) {
	f.Add([]byte("key"), []byte("value\xff\x00\xff\x01"), []byte("al"), []byte("\xff"))
	f.Fuzz(func(t *testing.T, key, value, word, other []byte) {
		if len(key)+len(value) > slab.MaxRecord/3 {
			t.Skip()
		}
		var words [][]byte
		for _, w := range [][]byte{word, other} {
			if len(w) > 0 {
				words = append(words, w)
			}
		}
		table := slab.New(slab.Config{Words: words})
		if err := table.Put(key, value); err != nil {
			t.Fatal(err)
		}
		if got, found := table.Get(key, nil); !found || !bytes.Equal(got, value) {
			t.Fatalf("%q became %q, %v", value, got, found)
		}
		table.Range(func(k, v []byte) bool {
			if !bytes.Equal(k, key) || !bytes.Equal(v, value) {
				t.Fatalf("%q, %q", k, v)
			}
			return true
		})
	})
}
