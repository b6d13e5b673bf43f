package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imsafe/ca"
	"imsafe/node"
	"imsafe/store/disk"
	"imsafe/store/sqlite"
)

// TestClient: what a client says and returns when things go otherwise.
func TestClient(t *testing.T) {
	d := newDesk(t)
	stop := d.start()
	defer stop()
	for _, name := range []string{"alice", "bob", "gone"} {
		d.do("user", "add", name, "--random", "--card-out", d.path(name))
	}
	d.do("user", "add", "old", "--random", "--scheme", "AKAv1-MD5", "--card-out", d.path("old"))
	d.do("user", "remove", "gone")
	d.write("forged", strings.Replace(d.read("alice"), `"k": "`, `"k": "0`, 1)) // one digit too many
	_, opc, _ := strings.Cut(d.read("bob"), `"opc": "`)
	_, own, _ := strings.Cut(d.read("alice"), `"opc": "`)
	d.write("stranger", strings.Replace(d.read("alice"), own[:32], opc[:32], 1))
	d.write("not.wav", "RIFF")

	bare := func(verb, card string, args ...string) []string {
		return append([]string{"ue", verb, "--card", d.path(card), "--proxy", d.proxy}, args...)
	}
	sealed := func(verb, card string, args ...string) []string {
		return append(bare(verb, card, "--ca", d.path("ca.crt")), args...)
	}
	clear := func(card string, args ...string) []string {
		return append([]string{"ue", "register", "--card", d.path(card), "--proxy", d.clear}, args...)
	}
	for _, s := range []struct {
		name   string
		status int
		words  []string
		args   []string
	}{
		{"an unknown authority", exitFailed, []string{"unknown authority", "--ca"}, bare("register", "alice")},
		{"another name in the certificate", exitFailed, []string{"not other.example", "--server-name"}, sealed("register", "alice", "--server-name", "other.example")},
		{"nobody listens", exitFailed, []string{"refused", "--proxy"}, []string{"ue", "register", "--card", d.path("alice"), "--ca", d.path("ca.crt"), "--proxy", "127.0.0.1:1"}},
		{"a P-CSCF without an address", exitFailed, []string{"is not found", "--proxy"}, []string{"ue", "register", "--card", d.path("alice")}},
		{"a CA file without certificates", exitFailed, []string{"no certificate in PEM"}, bare("register", "alice", "--ca", d.path("not.wav"))},
		{"a subscriber who was removed", exitFailed, []string{"did not prove", "user show"}, sealed("register", "gone")},
		{"another OPc than the network has", exitFailed, []string{"compare K and OPc"}, sealed("register", "stranger")},
		{"a key that is none", exitFailed, []string{"k: "}, sealed("register", "forged")},
		{"in clear without the lab", exitUsage, []string{"need Lab"}, clear("alice", "--transport", "udp")},
		{"AKAv1-MD5 without the lab", exitUsage, []string{"AKAv1-MD5", "needs Lab"}, sealed("register", "old")},
		{"nobody of that name", exitFailed, []string{"404", "nobody of that name"}, sealed("call", "alice", "carol")},
		{"not registered", exitFailed, []string{"480", "registered?"}, sealed("call", "alice", "bob")},
		{"a message to nobody", exitFailed, []string{"not accepted", "404"}, sealed("message", "alice", "carol", "hello")},
		{"a message without a text", exitUsage, []string{"what should bob read"}, sealed("message", "alice", "bob")},
		{"a page in clear", exitUsage, []string{"over TLS alone"}, sealed("get", "alice", "http://127.0.0.1/registration")},
		{"a page that is nowhere", exitUsage, []string{"/PATH"}, sealed("get", "alice", "registration")},
		{"nothing to do", exitUsage, []string{"--receive"}, sealed("message", "alice")},
		{"no message comes", exitFailed, []string{"0 of 1 messages"}, sealed("message", "alice", "--receive", "1", "--wait", "50ms")},
		{"no call comes", exitFailed, []string{"0 of 1 calls", "none in 50ms"}, sealed("answer", "alice", "--wait", "50ms")},
		{"a tone for dogs", exitUsage, []string{"100 to 3900"}, sealed("call", "alice", "bob", "--tone", "20000")},
		{"a file that is no sound", exitUsage, []string{"not.wav", "not a WAV file"}, sealed("answer", "alice", "--play", d.path("not.wav"))},
		{"a status that refuses nobody", exitUsage, []string{"400 to 699"}, sealed("answer", "alice", "--reject", "200")},
	} {
		t.Run(s.name, func(t *testing.T) {
			wantRefused(t, d.call(context.Background(), "", s.args...), s.status, s.words, s.args)
		})
	}
	t.Run("the lab, in clear", func(t *testing.T) {
		for _, transport := range []string{"udp", "tcp"} {
			e := events(t, d.do(clear("old", "--transport", transport, "--lab", "--json")...))
			if p := e["registered"]; !strings.Contains(p.Protection, "in clear") || p.Scheme != "AKAv1-MD5" {
				t.Errorf("%+v", p)
			}
		}
	})
}

// TestCalls_that_do_not_come_about, and what both ends make of it.
func TestCalls_that_do_not_come_about(t *testing.T) {
	d := newDesk(t)
	stop := d.start()
	defer stop()
	for _, name := range []string{"alice", "bob"} {
		d.do("user", "add", name, "--random", "--card-out", d.path(name))
	}
	text := func(verb, card string, args ...string) []string {
		return append([]string{"ue", verb, "--card", d.path(card), "--proxy", d.proxy, "--ca", d.path("ca.crt")}, args...)
	}
	for _, s := range []struct {
		name          string
		bob, alice    []string
		bobs, alices  int
		bobsays, says string
	}{
		{"refused", []string{"--reject", "486"}, nil, exitDone, exitFailed, "", "486"},
		{"not answered", []string{"--ring", "20s"}, []string{"--ring", "200ms"}, exitFailed, exitFailed, "gave up", "nobody answered in 200ms"},
		{"another tone than wanted", nil, []string{"--hear", "1000", "--for", "500ms"}, exitDone, exitFailed, "", "no clean tone of 1000 Hz"},
		{"too short", []string{"--for", "300ms"}, []string{"--for", "20s"}, exitDone, exitFailed, "", "of 20s"},
	} {
		t.Run(s.name, func(t *testing.T) {
			bob := d.background("registered", text("answer", "bob", append(s.bob, "--tone", "620", "--wait", "1m")...)...)
			alice := d.call(context.Background(), "", text("call", "alice", append(s.alice, "bob")...)...)
			wantRefused(t, alice, s.alices, []string{s.says}, []string{"alice"})
			wantRefused(t, bob(), s.bobs, []string{s.bobsays}, []string{"bob"})
		})
	}
	t.Run("stopped by its user", func(t *testing.T) {
		bob := d.background("registered", text("answer", "bob", "--wait", "1m")...)
		stop, end := d.interruptible("DTLS-SRTP", text("call", "alice", "bob", "--for", "20s")...)
		stop()
		alice := end()
		wantRefused(t, alice, exitFailed, []string{"stopped after"}, []string{"alice"})
		if !strings.Contains(alice.stdout, "deregistered") {
			t.Error("the registration was left behind")
		}
		if o := bob(); !strings.Contains(o.stdout, "hung up by the other end") { // perhaps before alice's voice had come
			t.Errorf("bob: exit %d, %s%s", o.status, o.stdout, o.stderr)
		}
	})
}

// TestRemove_of_a_registered_user: the S-CSCF is told at once.
func TestRemove_of_a_registered_user(t *testing.T) {
	d := newDesk(t)
	stop := d.start()
	defer stop()
	d.do("user", "add", "alice", "--random", "--card-out", d.path("alice"))
	leave, alice := d.interruptible("registered", append(d.client("register", "alice"), "--for", "1h")...)
	registered := func() int {
		var s node.Status
		decode(t, d.do("status", "--json"), &s)
		return s.Registered
	}
	if n := registered(); n != 1 || d.shown("alice").Sets[0].State != "registered" {
		t.Errorf("%d registered before", n)
	}
	d.do("user", "remove", "alice")
	if n := registered(); n != 0 {
		t.Errorf("%d registered after", n)
	}
	leave()
	alice() // whatever it makes of that
}

// TestStatus_without_a_node: it says who has the store, and does not open it.
func TestStatus_without_a_node(t *testing.T) {
	d := newDesk(t)
	d.do("user", "add", "alice", "--random", "--card-out", d.path("alice"))
	dir := d.path("store")
	image, err := os.ReadFile(filepath.Join(dir, sqlite.FileName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, sqlite.FileName), []byte("no store at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	var s node.Status
	if decode(t, d.do("status", "--json"), &s); s.Running || s.Domain == "" {
		t.Errorf("without a node: %+v", s)
	}
	if err := os.WriteFile(filepath.Join(dir, sqlite.FileName), image, 0o600); err != nil {
		t.Fatal(err)
	}
	lock, err := disk.OS(dir).Lock()
	if err != nil {
		t.Fatal(err)
	}
	d.refused(exitFailed, []string{"in use by process"}, "status")
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	d.do("status")
}

// TestUE_expired: a P-CSCF whose certificate has ended is not taken for one that does not listen.
func TestUE_expired(t *testing.T) {
	d := newDesk(t)
	d.do("user", "add", "alice", "--random", "--card-out", d.path("alice"))
	past := time.Now().Add(-48 * time.Hour)
	authority, err := ca.New(rand.Reader, func() time.Time { return past }, testDomain, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := authority.Server(time.Hour, []string{"pcscf." + testDomain}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake() // the client ends it
			conn.Close()
		}
	}()
	args := []string{"ue", "register", "--card", d.path("alice"), "--ca", d.write("past.crt", string(authority.PEM())), "--proxy", ln.Addr().String()}
	wantRefused(t, d.call(t.Context(), "", args...), exitFailed, []string{"certificate has expired", "a clock is wrong"}, args)
}
