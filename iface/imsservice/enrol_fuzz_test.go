package imsservice_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"imsafe/iface/imsservice"
)

// FuzzEnrolment sends bodies to the door for enrolment: each is answered, none changes anything without a token.
func FuzzEnrolment(f *testing.F) {
	h := newHouse(f)
	door := imsservice.NewEnrolment(h.Registry, slog.New(slog.DiscardHandler))
	p := h.platform(manifest, "a")
	for _, body := range []any{imsservice.Application{Token: "x", Manifest: []byte(manifest), Request: p.csr}, imsservice.Proof{Request: p.csr}, 7} {
		text, err := json.Marshal(body)
		if err != nil {
			f.Fatal(err)
		}
		f.Add("/v1/enrol", text)
		f.Add("/v1/certificate", text)
		f.Add("/v1/renew", text)
	}
	answers := map[int]bool{http.StatusBadRequest: true, http.StatusForbidden: true, http.StatusNotFound: true, http.StatusRequestEntityTooLarge: true,
		http.StatusUnprocessableEntity: true}
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "https://enrol.ims.example/", bytes.NewReader(body))
		r.URL.Path = path
		r.Header.Set("Content-Type", "application/json")
		r.RemoteAddr = "192.0.2.1:1"
		h.clock.move(2 * time.Second) // so that no source comes too often
		w := httptest.NewRecorder()
		door.ServeHTTP(w, r)
		if !answers[w.Code] || len(h.List()) > 0 {
			t.Fatalf("%s: %d %s, %d services", path, w.Code, w.Body, len(h.List()))
		}
	})
}
