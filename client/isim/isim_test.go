package isim

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"imsafe/proto/aka"
)

// memory is a State that can fail.
type memory struct {
	data []byte
	fail error
}

func (m *memory) Load() ([]byte, error) { return m.data, m.fail }
func (m *memory) Save(b []byte) error {
	if m.fail == nil {
		m.data = append([]byte(nil), b...)
	}
	return m.fail
}

var (
	testK   = aka.K{1, 2, 3}
	testOPc = aka.OPc{4, 5, 6}
)

func newCard(t testing.TB, s State) *Card {
	t.Helper()
	id, err := FromIMSI("001", "01", "0000000001")
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{Identity: id, K: testK, OPc: testOPc, State: s})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// challenge makes a vector as the home network would.
func challenge(t testing.TB, sqn aka.SQN) *aka.Vector {
	t.Helper()
	v := new(aka.Vector)
	if err := aka.Generate(aka.NewMilenage(testK, testOPc), rand.Reader, sqn, aka.AMF{}, v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAuthenticate(t *testing.T) {
	c := newCard(t, Volatile{})
	v := challenge(t, aka.MakeSQN(10, 2))
	k, err := c.Authenticate(v.RAND, v.AUTN)
	if err != nil || !k.RES.Equal(&v.XRES) || k.CK != v.CK || k.IK != v.IK {
		t.Fatalf("a fresh challenge: %v", err)
	}

	t.Run("the same challenge again", func(t *testing.T) {
		k, err := c.Authenticate(v.RAND, v.AUTN)
		var sync *SyncFailure
		if !errors.As(err, &sync) || k != (Keys{}) {
			t.Fatalf("keys %v, error %v", k, err)
		}
		home := aka.NewMilenage(testK, testOPc)
		sqn, err := aka.OpenAUTS(home, v.RAND, sync.AUTS)
		if err != nil || sqn != aka.MakeSQN(10, 2) {
			t.Errorf("AUTS says %x, %v", sqn, err)
		}
		next := challenge(t, aka.MakeSQN(sqn.SEQ()+1, 2))
		if _, err := c.Authenticate(next.RAND, next.AUTN); err != nil {
			t.Errorf("after the resynchronisation: %v", err)
		}
	})
	t.Run("vectors out of order with different IND", func(t *testing.T) {
		a, b := challenge(t, aka.MakeSQN(20, 4)), challenge(t, aka.MakeSQN(21, 5))
		for _, v := range []*aka.Vector{b, a} {
			if _, err := c.Authenticate(v.RAND, v.AUTN); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("more than delta ahead", func(t *testing.T) {
		far := challenge(t, aka.MakeSQN(aka.Delta+100, 0))
		var sync *SyncFailure
		if _, err := c.Authenticate(far.RAND, far.AUTN); !errors.As(err, &sync) {
			t.Error(err)
		}
	})
	t.Run("a network that does not know K", func(t *testing.T) {
		forged := challenge(t, aka.MakeSQN(1000, 0))
		forged.AUTN[15] ^= 1
		if k, err := c.Authenticate(forged.RAND, forged.AUTN); !errors.Is(err, ErrMAC) || k != (Keys{}) {
			t.Error(err)
		}
		stale := challenge(t, aka.MakeSQN(1, 0)) // wrong MAC and stale: it must not learn that it is stale
		stale.AUTN[14] ^= 1
		if _, err := c.Authenticate(stale.RAND, stale.AUTN); !errors.Is(err, ErrMAC) {
			t.Error(err)
		}
	})
}

// TestCardWithTUAK: the card's procedures are the same with another set of functions.
func TestCardWithTUAK(t *testing.T) {
	home, err := aka.NewTUAK256(aka.K256{1}, aka.DeriveTOPc256(aka.K256{1}, aka.TOP{2}), aka.TUAKOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{Identity: Identity{"a@b", "b", []string{"sip:a@b"}}, Algorithm: home, State: Volatile{}})
	if err != nil {
		t.Fatal(err)
	}
	v := new(aka.Vector)
	if err := aka.Generate(home, rand.Reader, aka.MakeSQN(9, 1), aka.AMF{}, v); err != nil {
		t.Fatal(err)
	}
	if k, err := c.Authenticate(v.RAND, v.AUTN); err != nil || !k.RES.Equal(&v.XRES) || k.CK != v.CK || k.IK != v.IK {
		t.Fatalf("a fresh challenge: %v", err)
	}
	var again *SyncFailure
	if _, err := c.Authenticate(v.RAND, v.AUTN); !errors.As(err, &again) {
		t.Fatal(err)
	}
	if sqn, err := aka.OpenAUTS(home, v.RAND, again.AUTS); err != nil || sqn != aka.MakeSQN(9, 1) {
		t.Errorf("AUTS says %x, %v", sqn, err)
	}
	milenage := challenge(t, aka.MakeSQN(10, 1))
	if _, err := c.Authenticate(milenage.RAND, milenage.AUTN); !errors.Is(err, ErrMAC) {
		t.Errorf("a challenge by Milenage: %v", err)
	}
}

func TestMemoryOverRestart(t *testing.T) {
	m := &memory{}
	v := challenge(t, aka.MakeSQN(10, 2))
	if _, err := newCard(t, m).Authenticate(v.RAND, v.AUTN); err != nil {
		t.Fatal(err)
	}
	var sync *SyncFailure
	if _, err := newCard(t, m).Authenticate(v.RAND, v.AUTN); !errors.As(err, &sync) {
		t.Errorf("a restarted card accepts an old challenge: %v", err)
	}

	t.Run("a card that cannot save accepts nothing", func(t *testing.T) {
		m := &memory{}
		c := newCard(t, m)
		m.fail = errors.New("disk full")
		if k, err := c.Authenticate(v.RAND, v.AUTN); !errors.Is(err, m.fail) || k != (Keys{}) {
			t.Error(err)
		}
		m.fail = nil
		if _, err := c.Authenticate(v.RAND, v.AUTN); err != nil {
			t.Errorf("the refused challenge was remembered: %v", err)
		}
	})
	t.Run("a memory that is not one", func(t *testing.T) {
		for name, data := range map[string][]byte{
			"short": m.data[1:], "another version": append([]byte{9}, m.data[1:]...), "empty": {},
			"a number beyond 43 bits": append([]byte{1, 0xff}, m.data[2:]...),
		} {
			_, err := New(Config{Identity: Identity{"a@b", "b", []string{"sip:a@b"}}, State: &memory{data: data}})
			if !errors.Is(err, ErrState) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	t.Run("a memory that does not load", func(t *testing.T) {
		gone := errors.New("no such disk")
		if _, err := New(Config{Identity: Identity{"a@b", "b", []string{"sip:a@b"}}, State: &memory{fail: gone}}); !errors.Is(err, gone) {
			t.Error(err)
		}
	})
}

func TestEachChallengeOnceUnderConcurrency(t *testing.T) {
	c := newCard(t, Volatile{})
	v := challenge(t, aka.MakeSQN(10, 2))
	var wg sync.WaitGroup
	accepted := make(chan bool, 16)
	for range 16 {
		wg.Go(func() {
			_, err := c.Authenticate(v.RAND, v.AUTN)
			accepted <- err == nil
		})
	}
	wg.Wait()
	close(accepted)
	n := 0
	for ok := range accepted {
		if ok {
			n++
		}
	}
	if n != 1 {
		t.Errorf("accepted %d times", n)
	}
}

func TestFromIMSI(t *testing.T) {
	id, err := FromIMSI("262", "01", "1234567890")
	want := Identity{"262011234567890@ims.mnc001.mcc262.3gppnetwork.org", "ims.mnc001.mcc262.3gppnetwork.org",
		[]string{"sip:262011234567890@ims.mnc001.mcc262.3gppnetwork.org"}}
	if err != nil || fmt.Sprint(id) != fmt.Sprint(want) {
		t.Errorf("%v, %v", id, err)
	}
	if id, err := FromIMSI("310", "410", "123456789"); err != nil || id.HomeDomain != "ims.mnc410.mcc310.3gppnetwork.org" {
		t.Errorf("%v, %v", id, err)
	}
	for _, bad := range [][3]string{{"26", "01", "1"}, {"262", "1", "1"}, {"262", "0x", "1"}, {"262", "01", ""},
		{"262", "01", "12345678901"}, {"262", "001", "1234567890"}, {"262", "01 ", "1"}, {"2６2", "01", "1"}} {
		if _, err := FromIMSI(bad[0], bad[1], bad[2]); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	id := Identity{"a@b", "b", []string{"sip:a@b"}}
	for name, c := range map[string]Config{
		"no state": {Identity: id}, "no IMPI": {Identity: Identity{"", "b", id.IMPUs}, State: Volatile{}},
		"no domain": {Identity: Identity{"a@b", "", id.IMPUs}, State: Volatile{}},
		"no IMPU":   {Identity: Identity{"a@b", "b", nil}, State: Volatile{}},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s accepted", name)
		}
	}
}

func TestIdentityIsACopy(t *testing.T) {
	c := newCard(t, Volatile{})
	c.Identity().IMPUs[0] = "sip:mallory@example.org"
	if strings.Contains(c.Identity().IMPUs[0], "mallory") {
		t.Error("the caller can change the card")
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	c := newCard(b, Volatile{})
	v := challenge(b, aka.MakeSQN(1, 0))
	b.ReportAllocs()
	for range b.N {
		c.window = aka.Window{}
		if _, err := c.Authenticate(v.RAND, v.AUTN); err != nil {
			b.Fatal(err)
		}
	}
}
