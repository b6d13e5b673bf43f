package evidence_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"imsafe/proof/evidence"
)

// TestCanonical: the examples of RFC 8785 3.2.2 and 3.2.3, without its numbers that are no integers.
func TestCanonical(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"literals": {`{"numbers":[333, 4.50e0],"literals":[null, true, false]}`, ""},
		"string":   {`{"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/"}`, "{\"string\":\"\u20ac$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}"},
		"sorted": {`{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}`,
			"{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u0080\":\"Control\",\"\u00f6\":\"Latin Small Letter O With Diaeresis\",\"\u20ac\":\"Euro Sign\",\"\U0001F600\":\"Emoji: Grinning Face\",\"\ufb33\":\"Hebrew Letter Dalet With Dagesh\"}"},
		"blanks":    {"{ \"b\" : [ 1 , -2 ] , \"a\" : { } }", `{"a":{},"b":[1,-2]}`},
		"line ends": {`"a\u2028<b>&"`, "\"a\u2028<b>&\""},
		"too large": {`9007199254740992`, ""},
	} {
		got, err := evidence.Canonical(json.RawMessage(c.in))
		if (err != nil) != (c.want == "") || string(got) != c.want {
			t.Errorf("%s: %q, %v\nwant %q", name, got, err, c.want)
		}
	}
}

func record() *evidence.Record {
	return &evidence.Record{Attack: "ci.identity.asserted", Number: "CI-07", Start: evidence.Time(time.Unix(1700000000, 5)),
		ControlsOff: []string{"a.b", "c.d"}, Target: evidence.Target{Profile: "tls", Mode: "direct"}, Covers: map[string]string{"build": "1", "row": "2"}, Verdict: evidence.Blocked,
		Credentials: []string{"one subscription"}, Oracles: []evidence.Oracle{{Kind: evidence.KindPeer, Outside: true, Saw: "its own"}}}
}

func TestRecord(t *testing.T) {
	r := record()
	b, err := evidence.Canonical(r)
	if err != nil {
		t.Fatal(err)
	}
	back, err := evidence.Read(b)
	if err != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("read back %+v, %v", back, err)
	}
	again, err := evidence.Canonical(back)
	if err != nil || string(again) != string(b) {
		t.Errorf("encoded again: %s, %v", again, err)
	}
	if _, err := evidence.Read([]byte(`{"attack":"x","verdikt":"blocked"}`)); err == nil {
		t.Error("a field that nobody knows was read")
	}
	if want := "ci.identity.asserted/tls/off-a.b-c.d.json"; r.Name() != want {
		t.Errorf("name %q, want %q", r.Name(), want)
	}
	r.ControlsOff, r.Variant = nil, "clear"
	if want := "ci.identity.asserted/clear/tls/on.json"; r.Name() != want {
		t.Errorf("name %q, want %q", r.Name(), want)
	}
}

func TestStale(t *testing.T) {
	r := record()
	if stale := r.Stale(map[string]string{"build": "1", "row": "2", "more": "3"}); stale != nil {
		t.Errorf("nothing changed, but %v", stale)
	}
	if stale := r.Stale(map[string]string{"row": "3"}); !reflect.DeepEqual(stale, []string{"build", "row"}) {
		t.Errorf("%v is stale, want both", stale)
	}
}
