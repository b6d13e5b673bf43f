package hss

import (
	"errors"
	"strings"
	"testing"

	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/cx/cxtest"
)

// Keys of TS 35.233: test sets 1 (K of 128 bits) and 2 (256 bits), with f2 of set 2.
const (
	tuakK     = "abababababababababababababababac" // the published one is uniform, which is a mistake: see below
	tuakTOP   = "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"
	tuakK256  = "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0"
	tuakTOPc  = "305425427e18c503c8a4b294ea72c95d0c36c6c6b29d0c65de5974d5977f8524" // of tuakK256 and tuakTOP
	tuakRAND  = "0123456789abcdef0123456789abcdef"
	tuakRES   = "e9d749dc4eea0035"
	tuakOther = "0952be13556c32ebc58195d9dd930493e12a9003669988ffde5fa1f0fe35cc01"
)

// tuakSubscriber is a sound one with K and TOPc of 256 bits.
func tuakSubscriber() *Subscriber {
	s := subscriber()
	s.K, s.OPc, s.TOPc, s.Algorithm = tuakK256, "", tuakTOPc, "tuak"
	return s
}

// tuakCard is the card that belongs to s.
func tuakCard(t *testing.T, s *Subscriber) aka.Algorithm {
	t.Helper()
	topc, err := aka.ParseTOPc(string(s.TOPc))
	if s.TOPc == "" {
		var top aka.TOP
		if top, err = aka.ParseTOP(string(s.TOP)); err == nil {
			if k, short := aka.ParseK(string(s.K)); short == nil {
				topc = aka.DeriveTOPc(k, top)
			} else if k, err := aka.ParseK256(string(s.K)); err == nil {
				topc = aka.DeriveTOPc256(k, top)
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	var card aka.Algorithm
	if k, short := aka.ParseK(string(s.K)); short == nil {
		card, err = aka.NewTUAK(k, topc, aka.TUAKOptions{})
	} else if k, long := aka.ParseK256(string(s.K)); long == nil {
		card, err = aka.NewTUAK256(k, topc, aka.TUAKOptions{})
	}
	if err != nil || card == nil {
		t.Fatal(err)
	}
	return card
}

func TestTUAK_a_card_answers_its_vector(t *testing.T) {
	for what, change := range map[string]func(*Subscriber){
		"K of 256 bits and TOPc": func(*Subscriber) {},
		"K of 256 bits and TOP":  func(s *Subscriber) { s.TOP, s.TOPc = tuakTOP, "" },
		"K of 128 bits and TOPc": func(s *Subscriber) { s.K = tuakK },
		"K of 128 bits and TOP":  func(s *Subscriber) { s.K, s.TOP, s.TOPc = tuakK, tuakTOP, "" },
		"with a known answer": func(s *Subscriber) {
			s.Check = &KnownAnswer{RAND: tuakRAND, RES: tuakRES}
		},
	} {
		t.Run(what, func(t *testing.T) {
			h := newHouse(t)
			s := tuakSubscriber()
			change(s)
			if err := h.Add(background, s); err != nil {
				t.Fatal(err)
			}
			card := tuakCard(t, s)
			h.run(func(task *shard.Task) {
				ask := &cx.MultimediaAuthRequest{IMPI: aliceIMPI, IMPU: aliceIMPU, ServerName: scscfName, Scheme: cx.SchemeDigestAKA, Items: 1}
				a, err := h.MultimediaAuth(task, ask)
				if err != nil {
					t.Error(err)
					return
				}
				v := &a.Items[0].Vector
				if o, err := aka.Open(card, v.RAND, v.AUTN); err != nil || !o.RES.Equal(&v.XRES) || v.XRES.Len() != 8 || o.CK != v.CK || o.IK != v.IK {
					t.Errorf("the card refuses: %v", err)
				}
				ask.Resync = &cx.Resync{RAND: v.RAND, AUTS: aka.MakeAUTS(card, v.RAND, aka.MakeSQN(1000, 0))}
				if a, err = h.MultimediaAuth(task, ask); err != nil {
					t.Errorf("resynchronisation: %v", err)
					return
				}
				v = &a.Items[0].Vector
				if o, err := aka.Open(card, v.RAND, v.AUTN); err != nil || o.SQN.SEQ() <= 1000 {
					t.Errorf("after the resynchronisation: number %d, %v", o.SQN.SEQ(), err)
				}
			})
			view, err := h.Show(s.IMPI)
			if err != nil || view.Cards[0].Algorithm != "tuak" {
				t.Errorf("%+v, %v", view, err)
			}
			if r := view.Cards[0].Resynced; r == nil || r.Seen != 1000 || r.Next != 2 || r.At.IsZero() {
				t.Errorf("the resynchronisation is remembered as %+v", r)
			}
			if n, err := h.CheckKeys(background); n != 1 || err != nil {
				t.Errorf("%d cards open, %v", n, err)
			}
		})
	}
}

func TestTUAK_mistakes_are_named(t *testing.T) {
	h := newHouse(t)
	for what, c := range map[string]struct {
		field, text string
		change      func(*Subscriber)
	}{
		"an unknown algorithm":  {"algorithm", "milenage and tuak", func(s *Subscriber) { s.Algorithm = "TUAK" }},
		"K of 192 bits":         {"k", "32 or 64 are needed (128 or 256 bits)", func(s *Subscriber) { s.K = Secret(tuakK256[:48]) }},
		"no K":                  {"k", "missing", func(s *Subscriber) { s.K = "" }},
		"a space in K":          {"k", "not a hexadecimal digit", func(s *Subscriber) { s.K = Secret(" " + tuakK256[1:]) }},
		"a uniform K":           {"k", "all octets", func(s *Subscriber) { s.K = "abababababababababababababababab" }},
		"TOPc of 128 bits":      {"topc", "64 are needed (256 bits)", func(s *Subscriber) { s.TOPc = Secret(tuakTOPc[:32]) }},
		"TOP too short":         {"top", "64 are needed", func(s *Subscriber) { s.TOPc, s.TOP = "", Secret(tuakTOP[:62]) }},
		"TOP and TOPc":          {"topc", "give one", func(s *Subscriber) { s.TOP = tuakTOP }},
		"neither":               {"topc", "neither TOPc nor TOP", func(s *Subscriber) { s.TOPc = "" }},
		"OPc for tuak":          {"topc", "OPc or OP is for another algorithm", func(s *Subscriber) { s.TOPc, s.OPc = "", subscriber().OPc }},
		"OPc and TOPc":          {"topc", "OPc or OP is for another algorithm", func(s *Subscriber) { s.OPc = subscriber().OPc }},
		"K as TOPc":             {"topc", "the same value", func(s *Subscriber) { s.TOPc = tuakK256 }},
		"TOPc for milenage":     {"opc", "TOPc or TOP is for another algorithm", func(s *Subscriber) { s.Algorithm = "" }},
		"K of 256 for milenage": {"k", "32 are needed (128 bits)", func(s *Subscriber) { s.Algorithm, s.TOPc, s.OPc = "milenage", "", subscriber().OPc }},
		"TOP given as TOPc": {"topc", "this is TOP, not TOPc", func(s *Subscriber) {
			s.TOPc, s.Check = tuakTOP, &KnownAnswer{RAND: tuakRAND, RES: tuakRES}
		}},
		"TOPc given as TOP": {"top", "this is TOPc, not TOP", func(s *Subscriber) {
			s.TOPc, s.TOP, s.Check = "", tuakTOPc, &KnownAnswer{RAND: tuakRAND, RES: tuakRES}
		}},
		"another TOPc": {"check", "does not fit", func(s *Subscriber) {
			s.TOPc, s.Check = tuakOther, &KnownAnswer{RAND: tuakRAND, RES: tuakRES}
		}},
		"tuak and a password": {"scheme", "without a card", func(s *Subscriber) {
			s.Scheme, s.K, s.TOPc, s.Password = "SHA-256", "", "", "a good long secret"
		}},
		"TOPc and a password": {"scheme", "without a card", func(s *Subscriber) {
			s.Scheme, s.Algorithm, s.K, s.Password = "SHA-256", "", "", "a good long secret"
		}},
	} {
		s := tuakSubscriber()
		c.change(s)
		err := h.Add(background, s)
		h.wantMistake(what, err, c.field)
		if err == nil {
			continue
		}
		if !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %q in it", what, err, c.text)
		}
		for _, key := range []string{tuakK256, tuakK, tuakTOP, tuakTOPc, tuakOther} {
			if strings.Contains(err.Error(), key[4:12]) {
				t.Errorf("%s: the mistake quotes a key", what)
			}
		}
	}
}

func TestTUAK_keys_are_kept_for_their_algorithm_only(t *testing.T) {
	h := newHouse(t)
	if err := h.Add(background, tuakSubscriber()); err != nil {
		t.Fatal(err)
	}
	s := tuakSubscriber()
	s.K, s.TOPc = "", ""
	if err := h.Update(background, s); err != nil {
		t.Errorf("the keys are left out: %v", err)
	}
	s.Algorithm = "milenage"
	h.wantMistake("the keys of TUAK for Milenage", h.Update(background, s), "scheme")

	p := mustSubscription(t, h, s.IMPI).privates[0]
	p.algorithm = algorithmMilenage
	if _, err := h.openKeys(&p); err == nil {
		t.Error("the keys of TUAK opened as those of Milenage")
	}
	p.algorithm = 99
	if _, err := h.openKeys(&p); !errors.Is(err, errRecord) {
		t.Errorf("an algorithm that is none: %v", err)
	}
}

func TestTUAK_import_finds_TOP_in_the_place_of_TOPc(t *testing.T) {
	h := newHouse(t)
	line := func(n, k string) string {
		return `{"impi":"tuak` + n + "@" + cxtest.Home + `","algorithm":"tuak","k":"` + k + `","topc":"` + tuakOther + `","public":[{"impu":"sip:tuak` + n + "@" + cxtest.Home + `"}]}` + "\n"
	}
	_, err := h.Import(background, strings.NewReader(line("1", tuakK)+line("2", tuakK256)), true, nil)
	h.wantMistake("one TOPc for two K", err, "topc")
	if err == nil || !strings.Contains(err.Error(), "this is TOP, which goes into the field top") {
		t.Error(err)
	}
}
