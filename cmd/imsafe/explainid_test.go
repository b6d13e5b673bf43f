package main

import (
	"encoding/json"
	"path"
	"slices"
	"strings"
	"testing"

	"imsafe/doctor"
	"imsafe/policy"
	"imsafe/proof/attack"
	"imsafe/proof/evidence"
)

// TestExplain_everything: there is something to say of every attack, control, cell, threat, asset and code of the doctor: what, why, the source or the clause, where in the code, the
// last evidence, and what to do. Nothing was run here, and nothing is proven.
func TestExplain_everything(t *testing.T) {
	k := known(t)
	kinds := map[string]int{}
	for _, id := range k.names() {
		x := k.explain(id)
		if x == nil {
			t.Errorf("%s is named, and nothing is said of it", id)
			continue
		}
		kind, _, _ := strings.Cut(x.Kind, " ")
		kinds[kind]++
		if kind == "code" {
			if x.What == "" || x.Source == "" || len(x.Do) == 0 || x.State != "" || strings.Contains(x.Do[0], "%") {
				t.Errorf("%s: %+v", id, x)
			}
			continue
		}
		if x.What == "" || x.Why == "" || x.Source+x.Clause == "" || x.State == "" || len(x.Evidence) == 0 || len(x.Do) == 0 || len(x.Touches) == 0 {
			t.Errorf("%s: %+v", id, x)
		}
		if absent := kind == "control" && x.State == evidence.StateGap; len(x.Where) == 0 && !absent {
			t.Errorf("%s is nowhere", id)
		}
		if (kind == "attack" || kind == "control") && len(x.Where) > 1 {
			t.Errorf("%s is at %v", id, x.Where)
		}
		if kind == "cell" && x.Clause == "" || kind == "control" && x.Clause == "" || kind == "attack" && x.Source == "" {
			t.Errorf("%s has no clause: %+v", id, x)
		}
		if x.State == evidence.StateProven {
			t.Errorf("%s is proven, and nothing was run", id)
		}
	}
	// By id and by number; policy and catalogue have nothing that is not named.
	for kind, n := range map[string]int{"attack": 2 * len(attack.All()), "control": len(policy.Rows()), "cell": 12, "threat": 11, "asset": len(k.set.Judgement.Assets),
		"code": len(doctor.Codes())} {
		if kinds[kind] != n {
			t.Errorf("%d of kind %s, not %d", kinds[kind], kind, n)
		}
	}
	for _, a := range k.c.Attacks {
		for _, v := range a.Variants { // as attack list and evidence name them
			for _, access := range append([]string{""}, v.Access...) {
				name := path.Join(a.ID, v.Name, access)
				if x := k.explain(name); x == nil || x.ID != name || len(x.Touches) < 3 || len(x.Where) == 0 {
					t.Errorf("%s: %+v", name, x)
				}
			}
		}
		for _, name := range append(slices.Clone(a.Threats), a.Stride) {
			if x := k.explain(name); x == nil || x.Kind != "threat" {
				t.Errorf("%s does %q, and nothing is said of that", a.ID, name)
			}
		}
	}
}

// known is what a program knows without a bundle.
func known(t *testing.T) *knowledge {
	t.Helper()
	t.Chdir(t.TempDir())
	k, err := new(explainIDCmd).knows()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestExplain_near: who mistypes is told what is most like it.
func TestExplain_near(t *testing.T) {
	k := known(t)
	for typed, want := range map[string]string{"ci.identity.assorted": "ci.identity.asserted", "CI-7": "CI-07", "c-i integrty": "C-I integrity", "coruption": "corruption",
		"contents": "content", "D-CLOK": "D-CLOCK", "ci.port.unprotected/cal": "ci.port.unprotected", "sa-identity": "ci.authentication.sa-identity", "is.authentication.mtsl": "is.authentication.mtls", "zz-99": "ZB-01"} {
		if near := k.near(typed); len(near) == 0 || !slices.Contains(near, want) && typed != "zz-99" || len(near) > nearAtMost {
			t.Errorf("%q: %v", typed, near)
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
	for kind, words := range map[string][]string{"attack CI-07": {"ci-07"}, "cell": {"C-I", "integrity"}, "threat": {"corruption"}, "asset": {"content"}, "variant of CI-01": {"ci-01/call/tls"},
		"code of imsafe doctor": {"d-clock"}} {
		if x := explained(t, words...); x.Kind != kind || len(x.Do) == 0 {
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
