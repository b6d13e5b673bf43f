package aka

import (
	"bytes"
	"crypto/rand"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/iotest"
)

func set1(t testing.TB) (*Milenage, milenageSet) {
	s := sets(t)[0]
	return NewMilenage(K(s.k), OPc(s.opc)), s
}

func TestGenerate(t *testing.T) {
	m, s := set1(t)
	var v Vector
	if err := Generate(m, bytes.NewReader(s.rand), sqnOf([6]byte(s.sqn)), AMF(s.amf), &v); err != nil {
		t.Fatal(err)
	}
	// AUTN by hand: SQN xor f5, AMF, f1 of test set 1 (TS 33.102 6.3.2).
	wantHex(t, "AUTN", v.AUTN[:], unhex(t, "55f328b43577"+"b9b9"+"4a9ffac354dfafb3"))
	wantHex(t, "XRES", v.XRES.Append(nil), s.f2)
	wantHex(t, "CK", v.CK[:], s.f3)
	wantHex(t, "IK", v.IK[:], s.f4)

	t.Run("random source fails", func(t *testing.T) {
		broken := errors.New("no entropy")
		if err := Generate(m, iotest.ErrReader(broken), 1, AMF{}, &v); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		if err := Generate(m, bytes.NewReader(make([]byte, 15)), 1, AMF{}, &v); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("15 octets of RAND: got %v", err)
		}
	})
}

func TestOpen(t *testing.T) {
	m, _ := set1(t)
	var v Vector
	sqn := MakeSQN(77, 3)
	if err := Generate(m, rand.Reader, sqn, AMF{0x80, 0}, &v); err != nil {
		t.Fatal(err)
	}
	o, err := Open(m, v.RAND, v.AUTN)
	if err != nil || o.SQN != sqn || o.AMF != (AMF{0x80, 0}) || o.CK != v.CK || o.IK != v.IK || !o.RES.Equal(&v.XRES) {
		t.Fatalf("the card sees SQN %x, error %v", o.SQN, err)
	}
	for i := range v.AUTN {
		changed := v.AUTN
		changed[i] ^= 1
		if o, err := Open(m, v.RAND, changed); !errors.Is(err, ErrMAC) || o != (Opened{}) {
			t.Errorf("octet %d of AUTN changed: %v", i, err)
		}
	}
	other := NewMilenage(K{1}, OPc{2})
	if _, err := Open(other, v.RAND, v.AUTN); !errors.Is(err, ErrMAC) {
		t.Errorf("another card: %v", err)
	}
}

func TestAUTS(t *testing.T) {
	m, s := set1(t)
	rnd, sqn := RAND(s.rand), MakeSQN(123456, 31)
	auts := MakeAUTS(m, rnd, sqn)
	// By the second derivation: AMF is zero in MAC-S (TS 33.102 6.3.3).
	q := sqn.Bytes()
	o := textbook{s.k, s.opc}.outs(rnd[:], q[:], []byte{0, 0})
	for i := range q {
		q[i] ^= o[5][i]
	}
	wantHex(t, "AUTS", auts[:], append(q[:], o[1][8:]...))

	if got, err := OpenAUTS(m, rnd, auts); err != nil || got != sqn {
		t.Errorf("got %x, %v", got, err)
	}
	for i := range auts {
		changed := auts
		changed[i] ^= 0x40
		if got, err := OpenAUTS(m, rnd, changed); !errors.Is(err, ErrMAC) || got != 0 {
			t.Errorf("octet %d changed: %x, %v", i, got, err)
		}
	}
	if _, err := OpenAUTS(m, RAND{1}, auts); !errors.Is(err, ErrMAC) {
		t.Errorf("AUTS of another challenge: %v", err)
	}
}

func TestNonce(t *testing.T) {
	rnd, autn := RAND{1, 2, 3}, AUTN{4, 5, 6}
	for _, server := range [][]byte{nil, {9}, bytes.Repeat([]byte{7}, MaxServerData)} {
		text := AppendNonce(nil, rnd, autn, server)
		for _, in := range [][]byte{text, bytes.TrimRight(text, "=")} {
			n, err := ParseNonce(in)
			if err != nil || n.RAND != rnd || n.AUTN != autn || !bytes.Equal(n.ServerData(), server) {
				t.Errorf("%s: %v", in, err)
			}
		}
	}
	for name, bad := range map[string]string{
		"empty":            "",
		"31 octets":        "AQIDAAAAAAAAAAAAAAAAAAQFBgAAAAAAAAAAAAAAAA==",
		"not base64":       strings.Repeat("?", 44),
		"line break":       "AQIDAAAAAAAAAAAAAAAAAAQF\nBgAAAAAAAAAAAAAAAAA=",
		"too much data":    string(AppendNonce(nil, rnd, autn, make([]byte, MaxServerData))) + "AAAA",
		"padding only":     "====",
		"url-safe letters": strings.Repeat("-", 44),
	} {
		if _, err := ParseNonce([]byte(bad)); !errors.Is(err, ErrNonce) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		var buf [64]byte
		if _, err := ParseNonce(AppendNonce(buf[:0], rnd, autn, nil)); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestParseAUTS(t *testing.T) {
	auts := AUTS{1, 2, 3, 13: 7}
	if got, err := ParseAUTS(AppendAUTS(nil, auts)); err != nil || got != auts {
		t.Errorf("%x, %v", got, err)
	}
	for _, bad := range []string{"", "5PYxMuX2NOT2NeQ", "AAAAAAAAAAAAAAAAAAAAAA==", "AAAAAAAAAAAAAAAAAAA\r\n"} {
		if _, err := ParseAUTS([]byte(bad)); !errors.Is(err, ErrAUTS) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParseNonce(f *testing.F) {
	f.Add([]byte("AQIDAAAAAAAAAAAAAAAAAAQFBgAAAAAAAAAAAAAAAAA="))
	f.Add([]byte("CjPk9mRqNuT25eRkajM09uTl9nM09uTl9nMz5OX25PZz=="))
	f.Fuzz(func(t *testing.T, in []byte) {
		n, err := ParseNonce(in)
		if err != nil {
			return
		}
		again, err := ParseNonce(AppendNonce(nil, n.RAND, n.AUTN, n.ServerData()))
		if err != nil || again != n {
			t.Errorf("%q does not survive", in)
		}
	})
}

func TestKeysNeverPrint(t *testing.T) {
	secret := [16]byte{0xde, 0xad, 0xbe, 0xef, 0xde, 0xad, 0xbe, 0xef, 0xde, 0xad, 0xbe, 0xef, 0xde, 0xad, 0xbe, 0xef}
	long := [32]byte(append(secret[:], secret[:]...))
	values := []any{K256(long), TOP(long), TOPc(long), K(secret), OP(secret), OPc(secret), CK(secret), IK(secret), AK(secret[:6]), NewRES(secret[:8]),
		&Vector{CK: CK(secret), IK: IK(secret), XRES: NewRES(secret[:])},
		struct{ Inner K }{K(secret)}, []CK{CK(secret)}, map[string]RES{"x": NewRES(secret[:])}}
	for _, v := range values {
		var out strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%X", "%s", "%q", "%d"} {
			fmt.Fprintf(&out, verb, v)
		}
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "key", v)
		if b, err := json.Marshal(v); err == nil {
			out.Write(b)
		}
		if tm, ok := v.(encoding.TextMarshaler); ok {
			b, err := tm.MarshalText()
			if err != nil {
				t.Fatal(err)
			}
			out.Write(b)
		}
		for _, leak := range []string{"dead", "DEAD", "222 173", "222,173", "3q2+"} {
			if strings.Contains(out.String(), leak) {
				t.Errorf("%T prints its octets: %.200s", v, out.String())
			}
		}
	}
}

func TestParseKeys(t *testing.T) {
	if k, err := ParseK("465B5ce8b199b49faa5f0a2ee238a6bc"); err != nil || k[0] != 0x46 {
		t.Errorf("mixed case: %v", err)
	}
	for _, bad := range []string{"", "465b", "465b5ce8b199b49faa5f0a2ee238a6b", "465b5ce8b199b49faa5f0a2ee238a6bcc", "g65b5ce8b199b49faa5f0a2ee238a6bc", " 65b5ce8b199b49faa5f0a2ee238a6bc", "465b5ce8 199b49faa5f0a2ee238a6bc"} {
		_, err := ParseOPc(bad)
		if !errors.Is(err, ErrKeyLength) || (len(bad) > 4 && strings.Contains(err.Error(), bad)) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestParseKeys256(t *testing.T) {
	good := "465B5ce8b199b49faa5f0a2ee238a6bc465b5ce8b199b49faa5f0a2ee238a6bd"
	k, err := ParseK256(good)
	top, err2 := ParseTOP(good)
	topc, err3 := ParseTOPc(good)
	if errors.Join(err, err2, err3) != nil || k[0] != 0x46 || k[31] != 0xbd || top != TOP(k) || topc != TOPc(k) {
		t.Errorf("mixed case: %v %v %v", err, err2, err3)
	}
	for _, bad := range []string{"", good[:32], good[:63], good + "0", "g" + good[1:], good[:63] + "g", good[:31] + " " + good[32:]} {
		if k, err := ParseK256(bad); !errors.Is(err, ErrKey256Length) || k != (K256{}) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestRES(t *testing.T) {
	a, b, empty := NewRES([]byte("12345678")), NewRES([]byte("12345679")), RES{}
	if !a.Equal(&a) || a.Equal(&b) || empty.Equal(&empty) {
		t.Error("comparison")
	}
	short := NewRES([]byte("1234"))
	if a.Equal(&short) {
		t.Error("a prefix is not equal")
	}
	for _, n := range []int{0, 3, 17} {
		if r := NewRES(make([]byte, n)); r.Len() != 0 {
			t.Errorf("%d octets accepted", n)
		}
	}
}

func TestWindow(t *testing.T) { // TS 33.102 C.2.2
	var w Window
	steps := []struct {
		name string
		sqn  SQN
		ok   bool
	}{
		{"a new card takes the first", MakeSQN(1, 0), true},
		{"the same again", MakeSQN(1, 0), false},
		{"the same SEQ with another IND", MakeSQN(1, 1), true},
		{"SEQ 0 is never fresh", MakeSQN(0, 2), false},
		{"a jump of exactly delta", MakeSQN(1+Delta, 5), true},
		{"an older SEQ of another IND, out of order", MakeSQN(2, 0), true},
		{"one more than delta above the highest", MakeSQN(2+2*Delta, 6), false},
		{"delta counts from the highest, not from its own IND", MakeSQN(2*Delta, 0), true},
	}
	for _, s := range steps {
		if err := w.Accept(s.sqn); (err == nil) != s.ok {
			t.Errorf("%s: %v", s.name, err)
		}
	}
	if w.Highest() != MakeSQN(2*Delta, 0) {
		t.Errorf("SQN_MS = %x", w.Highest())
	}
	before := w
	if w.Check(MakeSQN(3*Delta, 9)) != nil || w != before {
		t.Error("Check changed the window or refused")
	}
}

func TestSQN(t *testing.T) {
	s := MakeSQN(MaxSEQ, 31)
	if s != MaxSQN || s.SEQ() != MaxSEQ || s.IND() != 31 || sqnOf(s.Bytes()) != s {
		t.Errorf("%x", s)
	}
	if MakeSQN(MaxSEQ+1, 0) != 0 {
		t.Error("more than 48 bits")
	}
	if MakeSQN(1, 32).IND() != 0 {
		t.Error("IND has 5 bits")
	}
}

func BenchmarkGenerate(b *testing.B) {
	m, _ := set1(b)
	v := new(Vector)
	zero := zeroReader{}
	b.Run("vector", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			if err := Generate(m, zero, SQN(i), AMF{}, v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("vector and system randomness", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			if err := Generate(m, rand.Reader, SQN(i), AMF{}, v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("vector with key expansion", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			if err := Generate(NewMilenage(K{1}, OPc{}), zero, SQN(i), AMF{}, v); err != nil {
				b.Fatal(err)
			}
		}
	})
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestGenerateDoesNotAllocate(t *testing.T) {
	m, _ := set1(t)
	v := new(Vector)
	if n := testing.AllocsPerRun(200, func() { _ = Generate(m, zeroReader{}, 1, AMF{}, v) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
