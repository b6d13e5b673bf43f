package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imsafe/proof/evidence"
)

// TestLivePage: the page of a node without a proof, with one, and with one that somebody has altered.
func TestLivePage(t *testing.T) {
	p := newProver(t)
	keys := map[string]string{"XDG_CONFIG_HOME": p.dir}
	a := p.app(false)
	a.getenv = func(name string) string { return keys[name] }
	flag := proofs{Proof: filepath.Join(p.dir, "out")}
	ask := func(target string) (int, string) {
		page, err := flag.page(a, "ims.example.org")
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", target, nil)
		r.Host = "127.0.0.1"
		w := httptest.NewRecorder()
		page.handler.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	if status, page := ask("/"); status != http.StatusOK || !strings.Contains(page, "nothing was proven here yet") {
		t.Errorf("without a proof: %d\n%s", status, page)
	}
	dir, _, _ := p.prove(func(v *proveRunCmd) { v.Only, v.Key = []string{"CI-07"}, filepath.Join(p.dir, "imsafe", "runner.key") })
	_, page := ask("/")
	for _, want := range []string{"0 of 12 cells are proven", "C-S", "~ claimed"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not on the page", want)
		}
	}
	if strings.Contains(page, "pinned") || strings.Contains(page, "stale") && strings.Contains(page, "trials stale") {
		t.Errorf("this machine's own proof, of this program:\n%s", page)
	}
	if status, page := ask("/proof"); status != http.StatusOK || !strings.Contains(page, "ci.identity.asserted") {
		t.Errorf("the whole proof: %d", status)
	}
	keys["XDG_CONFIG_HOME"] = t.TempDir()
	if _, page := ask("/"); !strings.Contains(page, "nobody has pinned") {
		t.Error("who made it is not known, and nobody is told")
	}
	if err := os.WriteFile(filepath.Join(dir, evidence.PolicyFile), []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, page := ask("/"); !strings.Contains(page, "is not what was signed") {
		t.Error("it was altered, and nobody is told")
	}
}
