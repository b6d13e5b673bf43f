package management

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"imsafe/secure"
)

// TestOwn: other names, other origins; and what the gate says holds.
func TestOwn(t *testing.T) {
	shown := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	for _, c := range []struct {
		method, target string
		more           []string
		want           int
	}{
		{"GET", "/metrics", nil, http.StatusOK}, {"GET", "/metrics", []string{"Host", "rebind.example.org:9464"}, http.StatusMisdirectedRequest},
		{"GET", "/", []string{"Host", "192.0.2.1"}, http.StatusMisdirectedRequest}, {"GET", "/", []string{"Host", ""}, http.StatusMisdirectedRequest},
		{"GET", "/", []string{"Host", "127.0.0.1.example.org"}, http.StatusMisdirectedRequest},
		{"GET", "/", []string{"Host", "[::1]:9464"}, http.StatusOK}, {"GET", "/", []string{"Host", "LOCALHOST"}, http.StatusOK},
		{"POST", "/logout", []string{"Origin", "http://127.0.0.1:9464"}, http.StatusOK}, {"POST", "/logout", nil, http.StatusForbidden},
		{"POST", "/logout", []string{"Origin", "http://evil.example.org"}, http.StatusForbidden},
		{"POST", "/logout", []string{"Origin", "http://127.0.0.1:9999"}, http.StatusForbidden}, {"GET", "/api/cells", []string{"Origin", "null"}, http.StatusForbidden},
		{"GET", "/api/cells", []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden}, {"GET", "/api/cells", []string{"Sec-Fetch-Site", "same-site"}, http.StatusForbidden},
		{"GET", "/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, http.StatusOK},
		{"GET", "/page.js", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, http.StatusForbidden},
	} {
		r := httptest.NewRequest(c.method, c.target, nil)
		r.Host = "127.0.0.1:9464"
		for i := 0; i+1 < len(c.more); i += 2 {
			if r.Header.Set(c.more[i], c.more[i+1]); c.more[i] == "Host" {
				r.Host = c.more[i+1]
			}
		}
		for off, want := range map[secure.ControlID]int{secure.ControlNone: c.want, secure.ManagementAuthorizationOrigin: http.StatusOK} {
			gate := secure.NewGate([]secure.ControlID{off}, nil)
			w := httptest.NewRecorder()
			Own(shown, gate).ServeHTTP(w, r)
			refused, passed := gate.Counts(secure.ManagementAuthorizationOrigin)
			if w.Code != want || (refused+passed == 1) != (c.want != http.StatusOK) {
				t.Errorf("%s %s %v, %v off: %d, want %d; %d are counted", c.method, c.target, c.more, off, w.Code, want, refused+passed)
			}
		}
	}
}
