package aka

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"testing"
)

// tuakSet is a test set of TS 35.233 6.3 to 6.8. Lengths of the outputs are part of the set; f5Star does not depend on
// them.
type tuakSet struct {
	name                   string
	k, rand, sqn, amf, top string
	iterations             int
	topc, f1, f1Star       string
	f2, f3, f4, f5, f5Star string
}

var tuakSets = []tuakSet{
	{
		name: "set 1, K 128, MAC 64, RES 32, CK 128, IK 128",
		k:    "abababababababababababababababab", rand: "42424242424242424242424242424242", sqn: "111111111111", amf: "ffff",
		top:        "5555555555555555555555555555555555555555555555555555555555555555",
		iterations: 1,
		topc:       "bd04d9530e87513c5d837ac2ad954623a8e2330c115305a73eb45d1f40cccbff",
		f1:         "f9a54e6aeaa8618d", f1Star: "e94b4dc6c7297df3",
		f2: "657acd64", f3: "d71a1e5c6caffe986a26f783e5c78be1", f4: "be849fa2564f869aecee6f62d4337e72",
		f5: "719f1e9b9054", f5Star: "e7af6b3d0e38",
	}, {
		name: "set 2, K 256, MAC 128, RES 64, CK 128, IK 128",
		k:    "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0",
		rand: "0123456789abcdef0123456789abcdef", sqn: "0123456789ab", amf: "abcd",
		top:        "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
		iterations: 1,
		topc:       "305425427e18c503c8a4b294ea72c95d0c36c6c6b29d0c65de5974d5977f8524",
		f1:         "c0b8c2d4148ec7aa5f1d78a97e4d1d58", f1Star: "ef81af7290f7842c6ceafa537fa0745b",
		f2: "e9d749dc4eea0035", f3: "a4cb6f6529ab17f8337f27baa8234d47", f4: "2274155ccf4199d5e2abcbf621907f90",
		f5: "480a9345cc1e", f5Star: "f84eb338848c",
	}, {
		name: "set 3, K 256, MAC 256, RES 64, CK 128, IK 256",
		k:    "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0",
		rand: "0123456789abcdef0123456789abcdef", sqn: "0123456789ab", amf: "abcd",
		top:        "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
		iterations: 1,
		topc:       "305425427e18c503c8a4b294ea72c95d0c36c6c6b29d0c65de5974d5977f8524",
		f1:         "d97b75a1776065271b1e212bc3b1bf173f438b21e6c64a55a96c372e085e5cc5",
		f1Star:     "427bbf07c6e3a86c54f8c5216499f3909a6fd4a164c9fe235b1550258111b821",
		f2:         "07021c73e7635c7d", f3: "4d59ac796834eb85d11fa148a5058c3c",
		f4: "126d47500136fdc5ddfd14f19ebf16749ce4b6435323fbb5715a3a796a6082bd",
		f5: "1d6622c4e59a", f5Star: "f84eb338848c",
	}, {
		name: "set 4, K 128, MAC 128, RES 128, CK 128, IK 128",
		k:    "b8da837a50652d6ac7c97da14f6acc61", rand: "6887e55425a966bd86c9661a5fa72be8", sqn: "0dea2ee2c5af", amf: "df1e",
		top:        "0952be13556c32ebc58195d9dd930493e12a9003669988ffde5fa1f0fe35cc01",
		iterations: 1,
		topc:       "2bc16eb657a68e1f446f08f57c0efb1d493527a2e652ce281eb6ca0e4487760a",
		f1:         "749214087958dd8f58bfcdf869d8ae3f", f1Star: "619e865afe80e382aee13063f9dfb56d",
		f2: "4041ce438e3e38e8aa96562eed83ac43", f3: "3e3bc01bea0cd914c4c2c83ce2d92757", f4: "666a8e6f577b1aa77b7fd53cebb8a3d6",
		f5: "1f880d005119", f5Star: "45e617d77fe5",
	}, {
		name: "set 5, K 256, MAC 64, RES 256, CK 256, IK 128",
		k:    "1574ca56881d05c189c82880f789c9cd4244955f4426aa2b69c29f15770e5aa5",
		rand: "c570aac68cde651fb1e3088322498bef", sqn: "c89bb71f3a41", amf: "297d",
		top:        "e59f6eb10ea406813f4991b0b9e02f181edf4c7e17b480f66d34da35ee88c95e",
		iterations: 1,
		topc:       "3c6052e41532a28a47aa3cbb89f223e8f3aaa976aecd48bc3e7d6165a55eff62",
		f1:         "d7340dad02b4cb01", f1Star: "c6021e2e66accb15",
		f2: "84d89b41db1867ffd4c7ba1d82163f4d526a20fbae5418fbb526940b1eeb905c",
		f3: "d419676afe5ab58c1d8bee0d43523a4d2f52ef0b31a4676a0c334427a988fe65",
		f4: "205533e505661b61d05cc0eac87818f4", f5: "d7b3d2d4980a", f5Star: "ca9655264986",
	}, {
		name: "set 6, K 256, MAC 256, RES 256, CK 256, IK 256, two iterations",
		k:    "1574ca56881d05c189c82880f789c9cd4244955f4426aa2b69c29f15770e5aa5",
		rand: "c570aac68cde651fb1e3088322498bef", sqn: "c89bb71f3a41", amf: "297d",
		top:        "e59f6eb10ea406813f4991b0b9e02f181edf4c7e17b480f66d34da35ee88c95e",
		iterations: 2,
		topc:       "b04a66f26c62fcd6c82de22a179ab65506ecf47f56245cd149966cfa9cec7a51",
		f1:         "90d2289ed1ca1c3dbc2247bb480d431ac71d2e4a7677f6e997cfddb0cbad88b7",
		f1Star:     "427355dbac30e825063aba61b556e87583abac638e3ab01c4c884ad9d458dc2f",
		f2:         "d67e6e64590d22eecba7324afa4af4460c93f01b24506d6e12047d789a94c867",
		f3:         "ede57edfc57cdffe1aae75066a1b7479bbc3837438e88d37a801cccc9f972b89",
		f4:         "48ed9299126e5057402fe01f9201cf25249f9c5c0ed2afcf084755daff1d3999",
		f5:         "6aae8d18c448", f5Star: "8c5f33b61f4e",
	},
}

// TestTUAKPublishedSets computes every published value in its own lengths, those that the IMS does not use included:
// they go through the same code.
func TestTUAKPublishedSets(t *testing.T) {
	for _, s := range tuakSets {
		t.Run(s.name, func(t *testing.T) {
			k := unhex(t, s.k)
			topc := deriveTOPc(k, TOP(unhex(t, s.top)), s.iterations)
			equal(t, "TOPc", topc[:], s.topc)
			a, err := newTUAK(k, topc, TUAKOptions{Iterations: s.iterations})
			if err != nil {
				t.Fatal(err)
			}
			challenge, sqn, amf := RAND(unhex(t, s.rand)), sqnOf([6]byte(unhex(t, s.sqn))), AMF(unhex(t, s.amf))
			mac := make([]byte, len(s.f1)/2)
			a.mac(mac, tuakF1, challenge, sqn, amf)
			equal(t, "f1", mac, s.f1)
			a.mac(mac, tuakF1Star, challenge, sqn, amf)
			equal(t, "f1*", mac, s.f1Star)
			o := tuakOut{make([]byte, len(s.f2)/2), make([]byte, len(s.f3)/2), make([]byte, len(s.f4)/2), make([]byte, 6)}
			a.f2345(o, challenge)
			equal(t, "f2", o.res, s.f2)
			equal(t, "f3", o.ck, s.f3)
			equal(t, "f4", o.ik, s.f4)
			equal(t, "f5", o.ak, s.f5)
			ak := a.F5Star(challenge)
			equal(t, "f5*", ak[:], s.f5Star)
		})
	}
}

func equal(t *testing.T, what string, got []byte, want string) {
	t.Helper()
	if !bytes.Equal(got, unhex(t, want)) {
		t.Errorf("%s is %x, published %s", what, got, want)
	}
}

// TestTUAKAsAlgorithm holds the exported methods against those published sets whose lengths the IMS uses.
func TestTUAKAsAlgorithm(t *testing.T) {
	short, long := tuakSets[0], tuakSets[1]
	a, err := NewTUAK(K(unhex(t, short.k)), DeriveTOPc(K(unhex(t, short.k)), TOP(unhex(t, short.top))), TUAKOptions{RESLength: 4})
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewTUAK256(K256(unhex(t, long.k)), DeriveTOPc256(K256(unhex(t, long.k)), TOP(unhex(t, long.top))), TUAKOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		a Algorithm
		s tuakSet
	}{{a, short}, {b, long}} {
		res, ck, ik, ak := c.a.F2345(RAND(unhex(t, c.s.rand)))
		equal(t, "f2", res.Append(nil), c.s.f2)
		equal(t, "f3", ck[:], c.s.f3)
		equal(t, "f4", ik[:], c.s.f4)
		equal(t, "f5", ak[:], c.s.f5)
		if c.a.Name() != "tuak" {
			t.Error(c.a.Name())
		}
	}
	sqn, amf := sqnOf([6]byte(unhex(t, short.sqn))), AMF(unhex(t, short.amf))
	mac := a.F1(RAND(unhex(t, short.rand)), sqn, amf)
	equal(t, "f1", mac[:], short.f1)
	mac = a.F1Star(RAND(unhex(t, short.rand)), sqn, amf)
	equal(t, "f1*", mac[:], short.f1Star)
}

func newTestTUAK(t testing.TB) *TUAK {
	a, err := NewTUAK256(K256{1, 2, 3}, DeriveTOPc256(K256{1, 2, 3}, TOP{4}), TUAKOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestTUAKExchange(t *testing.T) {
	a := newTestTUAK(t)
	v := new(Vector)
	sqn := MakeSQN(77, 3)
	if err := Generate(a, rand.Reader, sqn, AMF{0x12, 0x34}, v); err != nil {
		t.Fatal(err)
	}
	o, err := Open(a, v.RAND, v.AUTN)
	if err != nil || o.SQN != sqn || o.AMF != (AMF{0x12, 0x34}) || !o.RES.Equal(&v.XRES) || o.CK != v.CK || o.IK != v.IK {
		t.Errorf("the card reads %x, %v", o.SQN, err)
	}
	if back, err := OpenAUTS(a, v.RAND, MakeAUTS(a, v.RAND, sqn)); err != nil || back != sqn {
		t.Errorf("AUTS says %x, %v", back, err)
	}
	v.AUTN[8] ^= 1
	if _, err := Open(a, v.RAND, v.AUTN); err != ErrMAC {
		t.Errorf("a forged challenge: %v", err)
	}
}

func TestTUAKOptionsRefused(t *testing.T) {
	for _, o := range []TUAKOptions{{RESLength: 12}, {RESLength: 32}, {RESLength: -8}, {Iterations: -1}, {Iterations: maxIterations + 1}} {
		if _, err := NewTUAK(K{}, TOPc{}, o); err == nil {
			t.Errorf("%+v accepted", o)
		}
	}
}

// TestAlgorithmsPrintNothing: fmt reaches into a struct without asking its fields how they want to be shown.
func TestAlgorithmsPrintNothing(t *testing.T) {
	k, topc := K{0xab, 0xcd, 0xef}, TOPc{0xab, 0xcd, 0xef}
	tuak, err := NewTUAK(k, topc, TUAKOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []Algorithm{tuak, NewMilenage(k, OPc{0xab, 0xcd, 0xef})} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%d", "%s"} {
			for _, value := range []any{a, struct{ A Algorithm }{a}} {
				got := fmt.Sprintf(verb, value)
				for _, leak := range []string{"abcdef", "171 205", "171, 205", "0xab"} {
					if bytes.Contains([]byte(got), []byte(leak)) {
						t.Errorf("%s of %s prints its key", verb, a.Name())
					}
				}
			}
		}
	}
}

func TestTUAKAllocations(t *testing.T) {
	a := newTestTUAK(t)
	if n := testing.AllocsPerRun(200, func() {
		a.F2345(RAND{1})
		a.F1(RAND{1}, 1, AMF{})
		a.F1Star(RAND{1}, 1, AMF{})
		a.F5Star(RAND{1})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTUAK(b *testing.B) {
	a := newTestTUAK(b)
	b.Run("vector", func(b *testing.B) {
		b.ReportAllocs()
		v, random := new(Vector), zeroReader{}
		for range b.N {
			if err := Generate(a, random, 1, AMF{}, v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("card", func(b *testing.B) {
		b.ReportAllocs()
		v := new(Vector)
		if err := Generate(a, zeroReader{}, 1, AMF{}, v); err != nil {
			b.Fatal(err)
		}
		for range b.N {
			if _, err := Open(a, v.RAND, v.AUTN); err != nil {
				b.Fatal(err)
			}
		}
	})
}
