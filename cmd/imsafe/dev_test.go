package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDev: the demo happens; then the system stays up and can be used as it says, and comes up again in the same directory.
func TestDev(t *testing.T) {
	parent, err := os.MkdirTemp("", "imsafe") // short: a Unix socket has room for 107 octets
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(parent)
	for range 2 {
		testDev(t, filepath.Join(parent, "dev")) // which it makes
	}
}

func testDev(t *testing.T, dir string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var stdout, stderr lockedBuffer
	done := make(chan int, 1)
	go func() {
		done <- realMain(&app{ctx: ctx, stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, getenv: os.Getenv}, []string{"dev", "--json", "--dir", dir})
	}()
	for !strings.Contains(stdout.String(), "accounts") || !strings.HasSuffix(stdout.String(), "}\n") {
		select {
		case status := <-done:
			t.Fatalf("exit %d: %s%s", status, stdout.String(), stderr.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
	var demo struct{ Done bool }
	var system struct {
		TLS        []string
		CA         string
		Management string
		Accounts   []account
	}
	read := json.NewDecoder(strings.NewReader(stdout.String()))
	if err := read.Decode(&demo); err != nil || !demo.Done {
		t.Fatalf("%v %+v", err, demo)
	}
	if err := read.Decode(&system); err != nil || len(system.Accounts) != 2 {
		t.Fatalf("%v %+v", err, system)
	}
	run := func(args ...string) {
		t.Helper()
		var said lockedBuffer
		if status := realMain(&app{ctx: ctx, stdin: strings.NewReader(""), stdout: io.Discard, stderr: &said, getenv: os.Getenv}, args); status != exitDone {
			t.Errorf("imsafe %s: exit %d: %s", strings.Join(args, " "), status, said.String())
		}
	}
	run("ue", "register", "--card", system.Accounts[0].Card, "--proxy", system.TLS[0], "--ca", system.CA)
	run("user", "show", system.Accounts[1].Name, "--socket", system.Management)
	cancel()
	if status := <-done; status != exitDone {
		t.Errorf("exit %d: %s", status, stderr.String())
	}
}
