package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"imsafe/doctor"
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

// TestDev_doctor: a dev system is found, and examined, from another terminal, with the ports that it has indeed; when it is gone there is nothing to be found.
func TestDev_doctor(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	planted := filepath.Join(os.TempDir(), devPrefix+"planted") // whoever may write there might have written it
	if err := errors.Join(os.Mkdir(planted, 0o700), os.WriteFile(filepath.Join(planted, configName), []byte("[nonsense"), 0o600), os.Chmod(planted, 0o777)); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	told, says := io.Pipe()
	done := make(chan int, 1)
	go func() {
		a := &app{ctx: ctx, stdin: strings.NewReader(""), stdout: says, stderr: io.Discard, getenv: func(string) string { return "" }}
		done <- realMain(a, []string{"dev"})
		says.Close()
	}()
	command := ""
	for lines := bufio.NewScanner(told); command == "" && lines.Scan(); {
		_, command, _ = strings.Cut(lines.Text(), "imsafe doctor ")
	}
	go func() { _, _ = io.Copy(io.Discard, told) }()
	if command == "" {
		t.Fatalf("it ends, %d, and says nothing of doctor", <-done)
	}
	examine := func(arguments ...string) (found examined, said string) {
		var out, errs bytes.Buffer
		a := &app{ctx: ctx, stdin: strings.NewReader(""), stdout: &out, stderr: &errs, getenv: func(string) string { return "" }}
		status := realMain(a, append(arguments, "--json", "--all"))
		if err := json.Unmarshal(out.Bytes(), &found); err != nil {
			t.Fatalf("%d, %v: %s%s", status, err, out.String(), errs.String())
		}
		return found, errs.String()
	}
	codes := func(found examined) (all []string) {
		for _, f := range found.Findings {
			if f.Level == doctor.Breaks {
				t.Errorf("%s: %s", f.Code, f.What)
			}
			all = append(all, f.Code)
		}
		return all
	}
	named, _ := examine(append([]string{"doctor"}, strings.Fields(command)...)...)
	all := codes(named)
	for _, code := range []doctor.Code{doctor.Config, doctor.Refusals} { // the latter only a node that runs can tell
		if !slices.Contains(all, string(code)) {
			t.Errorf("nothing about %s: %v", code, all)
		}
	}
	if _, err := os.Stat(defaultConfig); err == nil {
		return // an installation comes first
	}
	if found, _ := examine("doctor"); !slices.Equal(codes(found), all) {
		t.Errorf("found by itself: %v, by name %v", found.Findings, all)
	}
	stop()
	if status := <-done; status != exitDone {
		t.Errorf("dev ends with %d", status)
	}
	if left := devSystems(t.Context()); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
