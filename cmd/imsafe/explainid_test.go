package main

import (
	"encoding/json"
	"strings"
	"testing"

	"imsafe/policy"
	"imsafe/proof/attack"
	"imsafe/proof/evidence"
)

// TestExplain_everything: there is something to say of every attack and every control: what, why, where and what to do.
func TestExplain_everything(t *testing.T) {
	t.Chdir(t.TempDir())
	var ids []string
	for _, x := range attack.All() {
		ids = append(ids, x.ID)
	}
	for _, r := range policy.Rows() {
		ids = append(ids, r.Control.String())
	}
	for _, id := range ids {
		x := explained(t, id)
		if x.ID != id || x.What == "" || x.Why == "" || len(x.Do) == 0 || x.Source+x.Clause == "" || len(x.Touches) == 0 {
			t.Errorf("%s: %+v", id, x)
		}
		if len(x.Where) != 1 && x.State != evidence.StateGap {
			t.Errorf("%s is at %v", id, x.Where)
		}
		if x.State == evidence.StateProven {
			t.Errorf("%s is proven, and nothing was run", id)
		}
	}
}

func explained(t *testing.T, words ...string) *explanation {
	t.Helper()
	o := (&desk{t: t}).call(t.Context(), "", append(append([]string{"explain"}, words...), "--json")...)
	x := new(explanation)
	if err := json.Unmarshal([]byte(o.stdout), x); err != nil || o.status != exitDone {
		t.Fatalf("%v: %v, %+v", words, err, o)
	}
	return x
}

// TestExplain: by number, as a cell in two ways, as a threat, as an asset; and the verb for registrations is still there.
func TestExplain(t *testing.T) {
	t.Chdir(t.TempDir())
	for kind, words := range map[string][]string{"attack CI-07": {"ci-07"}, "cell": {"C-I", "integrity"}, "threat": {"corruption"}, "asset": {"content"}} {
		if x := explained(t, words...); x.Kind != kind || len(x.Touches) == 0 {
			t.Errorf("%v: %+v", words, x)
		}
	}
	if a, b := explained(t, "C-I integrity"), explained(t, "ci.integrity"); a.ID != b.ID {
		t.Errorf("%s and %s", a.ID, b.ID)
	}
	o := (&desk{t: t}).call(t.Context(), "", "explain", "ci.identity.nobody")
	if o.status != exitUsage {
		t.Errorf("%+v", o)
	}
	if o = (&desk{t: t}).call(t.Context(), "", "explain", "ci.identity"); o.status != exitUsage || !strings.Contains(o.stderr, "ci.identity.asserted") {
		t.Errorf("half an id: %+v", o)
	}
	o = (&desk{t: t}).call(t.Context(), "", "explain", "core.keys.sniff")
	for _, want := range []string{"code", "proof/attack/core_keys_sniff.go", "imsafe prove"} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("%q is not in\n%s", want, o.stdout)
		}
	}
}
