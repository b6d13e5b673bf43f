package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imsafe/proof/evidence"
	"imsafe/trace/ladder"
)

// TestLivePage: the page of a node without a proof, with one, and with one that somebody has altered.
func TestLivePage(t *testing.T) {
	p := newProver(t)
	keys := map[string]string{"XDG_CONFIG_HOME": p.dir}
	a := p.app(false)
	a.getenv = func(name string) string { return keys[name] }
	flag := proofs{Proof: filepath.Join(p.dir, "out")}
	ask := func(target string) (int, string) {
		page := flag.page(a, "ims.example.org")
		code, err := page.Login.Code()
		if err != nil {
			t.Fatal(err)
		}
		request := func(method, target, body string) *http.Request {
			r := httptest.NewRequest(method, target, strings.NewReader(body))
			r.Host = "127.0.0.1"
			r.Header.Set("Origin", "http://127.0.0.1")
			return r
		}
		w := httptest.NewRecorder()
		page.ServeHTTP(w, request("POST", "/login", `{"code":"`+code+`"}`))
		r := request("GET", target, "")
		r.AddCookie(w.Result().Cookies()[0])
		var told struct{ Key string }
		if err := json.Unmarshal(w.Body.Bytes(), &told); err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Imsafe-Key", told.Key)
		w = httptest.NewRecorder()
		page.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	const cells = "/api/cells"
	if status, page := ask(cells); status != http.StatusOK || !strings.Contains(page, "nothing was proven here yet") {
		t.Errorf("without a proof: %d\n%s", status, page)
	}
	dir, _, _ := p.prove(func(v *proveRunCmd) { v.Only, v.Key = []string{"CI-07"}, filepath.Join(p.dir, "imsafe", "runner.key") })
	_, page := ask(cells)
	for _, want := range []string{"0 of 12 cells are proven", `"C-S availability"`, `"state":"claimed"`, `"succeeded_without":true`} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not on the page", want)
		}
	}
	if strings.Contains(page, "pinned") || strings.Contains(page, "trials stale") {
		t.Errorf("this machine's own proof, of this program:\n%.2000s", page)
	}
	if status, page := ask("/proof"); status != http.StatusOK || !strings.Contains(page, "ci.identity.asserted") {
		t.Errorf("the whole proof: %d", status)
	}
	drawn(t, ask)
	keys["XDG_CONFIG_HOME"] = t.TempDir()
	if _, page := ask(cells); !strings.Contains(page, "nobody has pinned") {
		t.Error("who made it is not known, and nobody is told")
	}
	if err := os.WriteFile(filepath.Join(dir, evidence.PolicyFile), []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, page := ask(cells); !strings.Contains(page, "is not what was signed") {
		t.Error("it was altered, and nobody is told")
	}
}

// drawn: the ladders of an attack say which check stopped it, and without it that it would have.
func drawn(t *testing.T, ask func(string) (int, string)) {
	t.Helper()
	for run, want := range map[string]ladder.Did{"on": ladder.Refused, "off-ci.authentication.sa-identity": ladder.LetPass} {
		status, text := ask("/api/run?key=direct/1/ci.identity.asserted/tls/" + run + ".json")
		var stories []ladder.Story
		if err := json.Unmarshal([]byte(text), &stories); err != nil || status != http.StatusOK || len(stories) == 0 {
			t.Errorf("%s: %d, %d ladders: %v", run, status, len(stories), err)
			continue
		}
		did := map[ladder.Did]bool{}
		for i := range stories {
			for j := range stories[i].Arrows {
				for _, c := range stories[i].Arrows[j].Checks {
					did[c.Did] = did[c.Did] || c.Control == "ci.authentication.sa-identity"
				}
			}
		}
		if !did[want] || did[ladder.Refused] == did[ladder.LetPass] {
			t.Errorf("%s: the control %v, want %s:\n%s", run, did, want, stories[0].Text())
		}
	}
}
