package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// TestTrace: an operator sees the ladder of a registration in the terminal, and gets into the page with what `imsafe page` prints, once. Without a node, or a
// node that keeps no ladders, he is told what to do.
func TestTrace(t *testing.T) {
	d := newDesk(t)
	stop := d.start()
	d.refused(exitFailed, []string{"this node has no page", "[metrics]"}, "page")
	d.refused(exitFailed, []string{"keeps no ladders", "[page]"}, "trace", "alice")
	stop()
	d.refused(exitFailed, []string{"no node runs here"}, "page")

	d.write("imsafe.toml", strings.Replace(d.read("imsafe.toml"), "[metrics]\nlisten = \"\"", "[page]\nladders = 8\n[metrics]\nlisten = \"127.0.0.1:0\"", 1))
	stop = d.start()
	defer stop()
	d.do("user", "add", "alice", "--random", "--card-out", d.path("alice.card"))
	d.register("alice.card")
	drawn := d.do("trace", "--last", "alice@"+testDomain)
	if short := d.do("trace", "--last", "alice"); short != drawn {
		t.Errorf("alice is not alice@%s:\n%s", testDomain, short)
	}
	if told := d.do("explain", "registration", "alice"); !strings.Contains(told, "alice@"+testDomain) || !strings.Contains(told, "registered") {
		t.Errorf("the registration of alice is told so: %s", told)
	}
	for _, want := range []string{"REGISTER [TLS]", "Multimedia-Auth-Request [in process]", "401 Unauthorized [TLS]", "✓ 200 OK [in process]", "200 OK [TLS]"} {
		if !strings.Contains(drawn, want) {
			t.Errorf("%q is not on the ladder:\n%s", want, drawn)
		}
	}
	d.refused(exitFailed, []string{"nothing of bob", "imsafe page"}, "trace", "bob")
	var page struct{ URL string }
	if err := json.Unmarshal([]byte(d.do("page", "--json")), &page); err != nil {
		t.Fatal(err)
	}
	at, code, found := strings.Cut(page.URL, "/#code=")
	if !found {
		t.Fatalf("the address of the page: %q", page.URL)
	}
	for i, want := range []int{http.StatusOK, http.StatusForbidden} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at+"/login", strings.NewReader(`{"code":"`+code+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Origin", at)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if answer.Body.Close(); answer.StatusCode != want {
			t.Errorf("login %d: %d, want %d", i+1, answer.StatusCode, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
