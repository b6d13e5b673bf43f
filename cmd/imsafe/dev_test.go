package main

import (
	"bytes"
	"encoding/json"
	"net"
	"strings"
	"testing"
)

// TestDev_once is the demo, on a machine where somebody has one of its ports already.
func TestDev_once(t *testing.T) {
	if ln, err := net.Listen("tcp", "127.0.0.1:5061"); err == nil {
		defer ln.Close() // else another process has it, which is as good
	}
	var out, errs bytes.Buffer
	a := &app{ctx: t.Context(), stdin: strings.NewReader(""), stdout: &out, stderr: &errs, getenv: func(string) string { return "" }}
	if status := realMain(a, []string{"dev", "--once", "--json"}); status != exitDone {
		t.Fatalf("exit status %d\n%s%s", status, out.String(), errs.String())
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if !r.Done || !strings.Contains(strings.Join(r.Replaced, " "), "127.0.0.1:5061") {
		t.Errorf("done %v, replaced %v", r.Done, r.Replaced)
	}
	protected := map[string]string{"alice - P-CSCF": "IPsec ESP in UDP, null/aes-gcm", "bob - P-CSCF": "IPsec ESP in UDP, null/aes-gcm", "alice - anchor - bob, voice": "DTLS-SRTP AEAD_AES_256_GCM",
		"alice - HTTPS door": "TLS 1.3", "echo - core": "mutual TLS 1.3", "alice - core - echo": "I-S: mutual TLS 1.3", "alice - anchor - echo, voice": "DTLS-SRTP AEAD_AES_256_GCM"}
	for _, s := range r.Steps {
		if want := protected[s.Leg]; s.Error != "" || !strings.HasPrefix(s.Protection, want) {
			t.Errorf("%s: protection %q, want %q, error %q", s.What, s.Protection, want, s.Error)
		}
		delete(protected, s.Leg)
	}
	if len(protected) > 0 {
		t.Errorf("nothing was said of %v", protected)
	}
}
