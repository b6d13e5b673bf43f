package ladder

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// registration is a story with a challenge and a refusal.
func registration(t testing.TB) *Ring {
	t.Helper()
	r := NewRing(2)
	at := time.Unix(1_800_000_000, 0)
	add := func(a Arrow) Mark { a.At = at; return r.Add("call-1", a, "sip:alice@example.org") }
	first := add(Arrow{From: UE, To: PCSCF, What: "REGISTER", Cover: Clear})
	inner := add(Arrow{From: PCSCF, To: SCSCF, What: "REGISTER", Cover: Process})
	question := r.Go(inner.Story, Arrow{From: SCSCF, To: HSS, What: "Multimedia-Auth-Request", Cover: Process})
	r.Answer(question, Arrow{What: "Multimedia-Auth-Answer", Status: 200})
	r.Answer(inner, Arrow{What: "401 Unauthorized", Status: 401})
	r.Answer(first, Arrow{What: "401 Unauthorized", Status: 401})
	second := add(Arrow{From: UE, To: PCSCF, What: "REGISTER", Cover: ESP})
	r.Check(second, Check{Control: "ci.integrity.esp", Did: Passed})
	bad := add(Arrow{From: PCSCF, To: SCSCF, What: "REGISTER", Cover: Process})
	r.Check(bad, Check{Control: "ci.authentication.aka", Reason: "<digest>", Did: Refused})
	r.Answer(bad, Arrow{What: "403 Forbidden", Status: 403})
	r.Answer(second, Arrow{What: "403 Forbidden", Status: 403})
	return r
}

// TestRing: an answer goes back under the protection of its request; stories are found by identity and Call-ID, and the oldest goes.
func TestRing(t *testing.T) {
	r := registration(t)
	found := r.Find("alice@example.org")
	if len(found) != 1 || len(found[0].Arrows) != 10 {
		t.Fatalf("%+v", found)
	}
	last := found[0].Arrows[9]
	if last.From != PCSCF || last.To != UE || last.Cover != ESP {
		t.Errorf("the answer: %+v", last)
	}
	if h := r.List()[0]; h.Status != 403 || h.Refused != "ci.authentication.aka" || h.What != "REGISTER" {
		t.Errorf("in one line: %+v", h)
	}
	changed := r.Changed()
	other := r.Add("call-2", Arrow{From: UE, To: PCSCF, What: "MESSAGE"})
	select {
	case <-changed:
	default:
		t.Error("nobody is told")
	}
	r.Turn(other, UE, Peer)
	if s, _ := r.Get(other.Story); s.Arrows[0].From != Peer {
		t.Errorf("turned: %+v", s.Arrows[0])
	}
	r.Add("call-3", Arrow{What: "OPTIONS"})
	if _, there := r.Get(found[0].ID); there || len(r.List()) != 2 || len(r.Find("call-2")) != 1 {
		t.Errorf("of three, two are kept: %+v", r.List())
	}
	if at := r.Answer(Mark{Story: found[0].ID}, Arrow{}); at != (Mark{}) {
		t.Errorf("the answer in a story that has gone: %+v", at)
	}
}

// TestRing_bounds: strangers cannot make a story longer than it may be.
func TestRing_bounds(t *testing.T) {
	r := NewRing(4)
	long := strings.Repeat("x", 10_000)
	var at Mark
	for range maxArrows + 10 {
		at = r.Add(long, Arrow{What: "INVITE", Lines: []string{long}}, long)
	}
	for range maxChecks + 5 {
		r.Check(Mark{Story: at.Story}, Check{Control: "c", Reason: time.Now().String()})
	}
	s, _ := r.Get(at.Story)
	if len(s.Arrows) != maxArrows || s.More != 10 || len(s.Call) > maxLine || len(s.Who[0]) > maxLine || len(s.Arrows[0].Lines[0]) > maxLine || len(s.Arrows[0].Checks) != maxChecks {
		t.Errorf("%d arrows and %d more, Call-ID of %d", len(s.Arrows), s.More, len(s.Call))
	}
	r.Answer(at, Arrow{})
	r.Check(at, Check{Control: "of one that is not kept"})
}

// TestSVG: it is XML, whatever strangers have written; what is refused ends with a cross, and says so in words.
func TestSVG(t *testing.T) {
	s := registration(t).Find("call-1")[0]
	s.Arrows[0].What = `"><script>alert(1)</script>`
	for _, width := range []int{0, 390, 1200} {
		drawn := s.SVG(width)
		d := xml.NewDecoder(strings.NewReader(drawn))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%d wide: %v\n%s", width, err, drawn)
			}
		}
		if strings.Contains(drawn, "<script") || strings.Count(drawn, `class="cross"`) != 1 || strings.Count(drawn, "<g ") != 10 {
			t.Errorf("%d wide: %s", width, drawn)
		}
		if !strings.Contains(drawn, "ci.authentication.aka refused (&lt;digest&gt;)") || !strings.Contains(drawn, `arrow esp passed`) {
			t.Errorf("%d wide: what the checks did is not said", width)
		}
	}
}

// TestText: the same for a terminal.
func TestText(t *testing.T) {
	s := registration(t).Find("call-1")[0]
	text := s.Text()
	for _, want := range []string{"UE", "HSS", "✗ REGISTER [in process]", "✓ REGISTER [ESP]", "ci.authentication.aka refused: <digest>", "401 Unauthorized [clear]"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not there:\n%s", want, text)
		}
	}
}

// TestText_goesOn: a check that takes something off a message, which goes on all the same, has not refused the message.
func TestText_goesOn(t *testing.T) {
	r := NewRing(1)
	at := r.Add("call-1", Arrow{From: UE, To: PCSCF, What: "REGISTER", Cover: Clear})
	r.Check(at, Check{Control: "ci.availability.sa-cap", Reason: "unproven", Did: Refused})
	r.Add("call-1", Arrow{From: PCSCF, To: SCSCF, What: "REGISTER", Cover: Process})
	if text := r.Find("call-1")[0].Text(); !strings.Contains(text, "− REGISTER [clear]") || !strings.Contains(text, "ci.availability.sa-cap refused a part of it: unproven") {
		t.Error(text)
	}
}

// TestJSON: what is written is read back.
func TestJSON(t *testing.T) {
	s := registration(t).Find("call-1")[0]
	s.Arrows[0].From = Peer
	text, err := json.Marshal(&s)
	if err != nil {
		t.Fatal(err)
	}
	var back Story
	if err := json.Unmarshal(text, &back); err != nil || back.Arrows[0].From != Peer || back.Text() != s.Text() {
		t.Errorf("%v: %s", err, back.Text())
	}
}

// TestMerge: the halves of a call that two nodes have drawn are one, and the hop between them stands once.
func TestMerge(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(1_800_000_000, int64(ms)*1e6) }
	edge := []Story{{Call: "c", What: "INVITE", Who: []string{"a"}, Arrows: []Arrow{{At: at(0), From: UE, To: PCSCF, What: "INVITE", Cover: TLS},
		{At: at(1), From: PCSCF, To: SCSCF, What: "INVITE", Cover: MTLS}, {At: at(5), From: SCSCF, To: PCSCF, What: "403 Forbidden", Status: 403, Cover: MTLS}}}}
	core := []Story{{Call: "c", What: "INVITE", Who: []string{"a", "b"}, Arrows: []Arrow{{At: at(2), From: Node, To: SCSCF, What: "INVITE", Cover: MTLS},
		{At: at(4), From: SCSCF, To: Node, What: "403 Forbidden", Status: 403, Cover: MTLS}}}, {Call: "other", What: "OPTIONS"}}
	all := Merge(core, edge)
	if len(all) != 2 || len(all[0].Who) != 2 {
		t.Fatalf("%+v", all)
	}
	if text := all[0].Text(); strings.Count(text, "INVITE [mTLS]") != 1 || strings.Index(text, "INVITE [TLS]") > strings.Index(text, "INVITE [mTLS]") {
		t.Errorf("%s", text)
	}
	if alone := Merge(edge); len(alone) != 1 || len(alone[0].Arrows) != 3 {
		t.Errorf("of one node: %+v", alone)
	}
}
