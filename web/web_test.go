package web_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"imsafe/node"
	"imsafe/web"
)

func serve(t *testing.T, proof web.Proof) func(method, target, host string) *httptest.ResponseRecorder {
	t.Helper()
	h, err := web.Handler(web.Config{Domain: "ims.example.org", Proof: func() web.Proof { return proof }, Policy: func() node.PolicyReport {
		return node.PolicyReport{Rows: []node.PolicyRow{{Control: "a.quiet", State: "on"}, {Control: "a.busy", Mechanism: "turns away", State: "on", Refused: 41},
			{Control: "a.weak", State: "weakened", By: []string{"soft"}, Refused: 1}}, Weakenings: []node.NamedWeakening{{Name: "soft", Meaning: "<b>softer</b>"}}}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return func(method, target, host string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, target, nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
}

// TestPage: what has been refused, by whom; what is weaker; the cells in words.
func TestPage(t *testing.T) {
	ask := serve(t, web.Proof{Made: "yesterday", Sentence: "1 of 12 cells are proven", Page: []byte("the whole"), Cells: []web.Cell{{Door: "C-I",
		Service: "integrity", State: "proven", Sign: "✓", Proven: 3, Total: 3}, {Door: "I-S", Service: "integrity", State: "gap", Sign: "✗"}}})
	w := ask("GET", "/", "127.0.0.1:9464")
	page := w.Body.String()
	for _, want := range []string{"ims.example.org", "since it started: 42", "a.busy", "a.weak", "by soft", "&lt;b&gt;softer", "✓ proven", "✗ gap", "3 of 3", "/proof",
		"1 of 12 cells are proven"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not on the page", want)
		}
	}
	if strings.Contains(page, "a.quiet") || strings.Contains(page, "<script") || strings.Index(page, "a.busy") > strings.Index(page, "a.weak") {
		t.Error("the page has what it should not, or in another order")
	}
	if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf("the policy of the content: %q", csp)
	}
	if w := ask("GET", "/proof", "localhost"); w.Code != http.StatusOK || w.Body.String() != "the whole" {
		t.Errorf("the proof: %d", w.Code)
	}
}

// TestPage_refuses: names that are not this machine's, methods that change something, and addresses that are nothing.
func TestPage_refuses(t *testing.T) {
	ask := serve(t, web.Proof{Note: "there is none"})
	for _, c := range []struct {
		method, target, host string
		want                 int
	}{
		{"GET", "/", "rebind.example.org:9464", http.StatusMisdirectedRequest}, {"GET", "/proof", "192.0.2.1", http.StatusMisdirectedRequest},
		{"GET", "/", "", http.StatusMisdirectedRequest}, {"GET", "/", "[::1]:9464", http.StatusOK}, {"GET", "/", "LOCALHOST:1", http.StatusOK},
		{"POST", "/", "127.0.0.1", http.StatusMethodNotAllowed}, {"GET", "/elsewhere", "127.0.0.1", http.StatusNotFound},
		{"GET", "/proof", "127.0.0.1", http.StatusNotFound},
	} {
		if w := ask(c.method, c.target, c.host); w.Code != c.want {
			t.Errorf("%s %s at %q: %d, want %d", c.method, c.target, c.host, w.Code, c.want)
		}
	}
	if w := ask("GET", "/", "127.0.0.1"); !strings.Contains(w.Body.String(), "there is none") {
		t.Error("nobody is told that there is no proof")
	}
}
