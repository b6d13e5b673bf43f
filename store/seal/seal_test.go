package seal

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func ring(t testing.TB) *Keyring {
	t.Helper()
	k, err := Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sealed(t testing.TB, k *Keyring, table uint8, key, plain string) []byte {
	t.Helper()
	b, err := k.Seal(nil, rand.Reader, table, []byte(key), []byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSealed(t *testing.T) {
	k := ring(t)
	for _, plain := range []string{"", "x", strings.Repeat("k", 1000)} {
		s := sealed(t, k, 3, "alice", plain)
		if len(s) != len(plain)+Overhead {
			t.Errorf("%d octets for %d", len(s), len(plain))
		}
		got, err := k.Open([]byte("in front "), 3, []byte("alice"), s)
		if err != nil || string(got) != "in front "+plain {
			t.Errorf("%q: %q %v", plain, got, err)
		}
		if len(plain) > 1 && bytes.Contains(s, []byte(plain)) {
			t.Error("the plaintext is in it")
		}
		if bytes.Equal(s, sealed(t, k, 3, "alice", plain)) {
			t.Error("the same twice")
		}
	}
}

// TestVector: AES-256-GCM with key, nonce and associated data as this package lays them out, worked out with another implementation.
func TestVector(t *testing.T) {
	var s secret
	for i := range s {
		s[i] = byte(i)
	}
	sealing, err := newKey(7, s)
	if err != nil {
		t.Fatal(err)
	}
	k := &Keyring{keys: []key{sealing}}
	nonce := []byte("nonce of 12.")
	got, err := k.Seal(nil, bytes.NewReader(nonce), 9, []byte("alice@ims.example"), []byte("sixteen octets!!"))
	if err != nil {
		t.Fatal(err)
	}
	want := "01000000076e6f6e6365206f662031322e708fa2f4c0887202942048e0fbd555c7c28fd8613ead4eeeea46afd45b1ddfb7"
	if hex.EncodeToString(got) != want {
		t.Errorf("got  %x\nwant %s", got, want)
	}
}

func TestMovedOrChanged(t *testing.T) {
	k := ring(t)
	s := sealed(t, k, 3, "alice", "the key of alice")
	refuse := func(name string, table uint8, key string, value []byte, want error) {
		t.Helper()
		got, err := k.Open(nil, table, []byte(key), value)
		if !errors.Is(err, want) || len(got) != 0 {
			t.Errorf("%s: %q, %v, want %v", name, got, err, want)
		}
	}
	refuse("other subscriber", 3, "alicf", s, ErrForged)
	refuse("other table", 4, "alice", s, ErrForged)
	refuse("empty", 3, "alice", nil, ErrForged)
	refuse("cut", 3, "alice", s[:len(s)-1], ErrForged)
	refuse("header only", 3, "alice", s[:headerSize], ErrForged)
	for i := range s {
		bad := bytes.Clone(s)
		bad[i] ^= 0x10
		want := ErrForged
		if i >= 1 && i < nonceAt {
			want = ErrKey
		}
		refuse(fmt.Sprintf("octet %d", i), 3, "alice", bad, want)
	}
	k = ring(t) // same id, other key
	refuse("key of another house", 3, "alice", s, ErrForged)
}

func TestRotate(t *testing.T) {
	first := ring(t)
	old := sealed(t, first, 1, "a", "value")
	second, err := first.Rotate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if second.Current(old) || !first.Current(old) {
		t.Error("current is not the new key")
	}
	fresh, err := second.Reseal(nil, rand.Reader, 1, []byte("a"), old)
	if err != nil || !second.Current(fresh) {
		t.Fatalf("reseal: %v", err)
	}
	if _, err := first.Open(nil, 1, []byte("a"), fresh); !errors.Is(err, ErrKey) {
		t.Errorf("the old ring opens it: %v", err)
	}
	last := second.Retire()
	if got, err := last.Open(nil, 1, []byte("a"), fresh); err != nil || string(got) != "value" {
		t.Errorf("after retiring: %q %v", got, err)
	}
	if _, err := last.Open(nil, 1, []byte("a"), old); !errors.Is(err, ErrKey) {
		t.Errorf("a retired key opens: %v", err)
	}
	if _, err := second.Reseal(nil, rand.Reader, 1, []byte("b"), old); !errors.Is(err, ErrForged) {
		t.Errorf("reseal for another record: %v", err)
	}
	for k := first; ; {
		if k, err = k.Rotate(rand.Reader); err != nil {
			break
		}
		if k.Keys() > maxKeys {
			t.Fatal("no bound")
		}
	}
	var none Keyring
	if _, err := none.Seal(nil, rand.Reader, 1, nil, nil); !errors.Is(err, ErrKey) {
		t.Errorf("the zero keyring seals: %v", err)
	}
}

// TestDerive: whoever has the ring has the same keys for a purpose, also those of older sealing keys; each purpose has others, and none is a key of the ring.
func TestDerive(t *testing.T) {
	k := ring(t)
	one, next := k.Derive("codes"), k.Derive("others")
	if len(one) != 1 || len(one[0]) != 32 || bytes.Equal(one[0], next[0]) || bytes.Equal(one[0], k.keys[0].secret[:]) {
		t.Errorf("%x, %x", one, next)
	}
	rotated, err := k.Rotate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if both := rotated.Derive("codes"); len(both) != 2 || !bytes.Equal(both[1], one[0]) || bytes.Equal(both[0], one[0]) {
		t.Errorf("after a rotation: %x", both)
	}
	if none := new(Keyring).Derive("codes"); len(none) != 0 {
		t.Errorf("of no key: %x", none)
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "seal.key")
	k := ring(t)
	if err := k.Save(path); err != nil {
		t.Fatal(err)
	}
	if err := k.Save(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("saved over a keyring: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v %v", info.Mode(), err)
	}
	s := sealed(t, k, 1, "a", "value")
	for _, load := range []func() (*Keyring, error){
		func() (*Keyring, error) { return Load(path) },
		func() (*Keyring, error) { return LoadCredential(dir, "seal.key") },
	} {
		got, err := load()
		if err != nil {
			t.Fatal(err)
		}
		if v, err := got.Open(nil, 1, []byte("a"), s); err != nil || string(v) != "value" {
			t.Errorf("%q %v", v, err)
		}
	}
	second, err := k.Rotate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte("of an attempt that died"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := second.Replace(path); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil || got.Keys() != 2 || !got.Current(sealed(t, second, 1, "a", "x")) {
		t.Errorf("after replace: %v", err)
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o601} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); !errors.Is(err, ErrRights) {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	if _, err := Load(filepath.Join(dir, "none")); !errors.Is(err, ErrNotFound) {
		t.Errorf("no file: %v", err)
	}
	if _, err := Load(dir); err == nil {
		t.Error("a directory is a keyring")
	}
	for _, name := range []string{"", "..", "../seal.key", "a/b"} {
		if _, err := LoadCredential(dir, name); !errors.Is(err, ErrNotFound) {
			t.Errorf("credential %q: %v", name, err)
		}
	}
}

func TestParse(t *testing.T) {
	good := strings.Repeat("0a", 32)
	for name, text := range map[string]string{
		"empty":            "",
		"no key":           fileMagic + "\n",
		"other file":       "-----BEGIN PRIVATE KEY-----\n",
		"short key":        fileMagic + "\nkey 1 0a0a\n",
		"not hexadecimal":  fileMagic + "\nkey 1 " + strings.Repeat("zz", 32) + "\n",
		"id 0":             fileMagic + "\nkey 0 " + good + "\n",
		"id too large":     fileMagic + "\nkey 4294967296 " + good + "\n",
		"an id twice":      fileMagic + "\nkey 1 " + good + "\nkey 1 " + good + "\n",
		"something behind": fileMagic + "\nkey 1 " + good + " x\n",
		"an empty line":    fileMagic + "\nkey 1 " + good + "\n\n",
		"too many keys": fileMagic + "\n" + func() (s string) {
			for i := range maxKeys + 1 {
				s += fmt.Sprintf("key %d %s\n", i+1, good)
			}
			return s
		}(),
	} {
		if _, err := parse([]byte(text)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), "0a0a") {
			t.Errorf("%s: the error has the key in it", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(fileMagic + "\nkey 1 " + strings.Repeat("0a", 32) + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := parse(text)
		if err != nil {
			return
		}
		again, err := parse(k.text())
		if err != nil || !bytes.Equal(again.text(), k.text()) {
			t.Fatalf("does not read what it writes: %v", err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	k := ring(f)
	f.Add(sealed(f, k, 1, "a", "value"))
	f.Fuzz(func(t *testing.T, value []byte) {
		if _, err := k.Open(nil, 2, []byte("a"), value); err == nil {
			t.Fatal("opened what nobody sealed")
		}
	})
}

// TestRedacted: no way of printing shows a key.
func TestRedacted(t *testing.T) {
	k := ring(t)
	raw := *k.keys[0].secret
	marshalled, _ := json.Marshal(map[string]any{"k": k, "v": *k, "s": raw})
	var logged bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "k", k, "v", *k, "s", raw)
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "k", k, "v", *k, "s", raw)
	for _, text := range []string{
		fmt.Sprint(k, *k, raw), fmt.Sprintf("%v %+v %#v %s %q %x %d", k, k, k, k, k, k, k), fmt.Sprintf("%v %+v %#v %s %x %X %d", *k, *k, *k, *k, *k, *k, *k),
		fmt.Sprintf("%v %+v %#v %s %x %d", raw, raw, raw, raw, raw, raw), fmt.Sprintf("%+v %#v %v", k.keys, k.keys[0], k),
		string(marshalled), logged.String(),
	} {
		for _, form := range []string{hex.EncodeToString(raw[:4]), fmt.Sprintf("%d %d %d", raw[0], raw[1], raw[2]), fmt.Sprintf("0x%x, 0x%x", raw[0], raw[1]), string(raw[:4])} {
			if strings.Contains(strings.ToLower(text), form) {
				t.Errorf("shows the key: %s", text)
			}
		}
		if !strings.Contains(text, redacted) {
			t.Errorf("does not say so: %s", text)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	k := ring(b)
	s := sealed(b, k, 1, "001010000000001@ims.example", strings.Repeat("k", 32))
	dst := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Open(dst, 1, []byte("001010000000001@ims.example"), s); err != nil {
			b.Fatal(err)
		}
	}
}
