package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imsafe/imsbox/hss"
)

// TestEndToEnd is a day of an operator and two users: everything through the verbs, as a person would type them.
func TestEndToEnd(t *testing.T) {
	d := newDesk(t)
	stop := d.start()
	defer func() { stop() }()
	for _, name := range []string{"alice", "bob"} {
		d.do("user", "add", name, "--random", "--card-out", d.path(name+".card"))
	}
	d.register("alice.card")
	d.message()
	d.talk()
	d.rotate("key-1") // while the node runs

	backup := d.path("backup.db")
	d.do("backup", backup)
	stop()

	// The node is stopped: the same verbs work on its store.
	if list := d.do("user", "list"); !strings.Contains(list, "alice@"+testDomain) || !strings.Contains(list, "2 subscribers") {
		t.Errorf("list without a node: %s", list)
	}
	d.do("user", "remove", "bob")
	oldKey := d.rotate("key-2")

	// Numbers that the backup does not know of are used up before it comes back.
	stop = d.start()
	for range 3 {
		d.register("alice.card")
	}
	stop()
	used := d.shown("alice").Cards[0].ReservedSEQ
	d.restore(backup, oldKey)
	stop = d.start()
	d.register("alice.card")
	d.register("bob.card") // the removed one is back, with his keys
	if after := d.shown("alice").Cards[0].ReservedSEQ; after < used+1000 {
		t.Errorf("after the restore numbers below %d are reserved, %d were before: it did not jump", after, used)
	}
}

// register registers a card over TLS.
func (d *desk) register(card string) {
	d.t.Helper()
	e := events(d.t, d.do(d.client("register", card)...))
	if p := e["registered"].Protection; !strings.HasPrefix(p, "TLS 1.3") || e["deregistered"].Event == "" {
		d.t.Errorf("%s: protection %q, events %v", card, p, e)
	}
}

// background runs a verb of a client until it has printed word, and returns what it did in the end.
func (d *desk) background(word string, args ...string) (result func() outcome) {
	d.t.Helper()
	_, result = d.interruptible(word, args...)
	return result
}

// interruptible is background, for a user who stops the verb.
func (d *desk) interruptible(word string, args ...string) (stop func(), result func() outcome) {
	d.t.Helper()
	var stdout, stderr lockedBuffer
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	done := make(chan int, 1)
	go func() {
		done <- realMain(&app{ctx: ctx, stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, getenv: os.Getenv}, args)
	}()
	for !strings.Contains(stdout.String(), word) && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	return cancel, func() outcome {
		defer cancel()
		return outcome{<-done, stdout.String(), stderr.String()}
	}
}

func (d *desk) message() {
	d.t.Helper()
	const text = "does it hold?"
	bob := d.background("registered", d.client("message", "bob.card", "--receive", "1", "--wait", "1m")...)
	d.do(d.client("message", "alice.card", "bob", text)...)
	o := bob()
	m := events(d.t, o.stdout)["message"]
	if o.status != exitDone || m.Text != text || m.Peer != "sip:alice@"+testDomain || !m.Asserted {
		d.t.Errorf("bob: exit %d, %+v %s", o.status, m, o.stderr)
	}
}

// talk lets alice call bob: each plays a tone, each must hear the other's.
func (d *desk) talk() {
	d.t.Helper()
	recorded := d.path("bob.wav")
	bob := d.background("registered", d.client("answer", "bob.card", "--tone", "620", "--hear", "440", "--record", recorded, "--wait", "1m")...)
	alice := events(d.t, d.do(d.client("call", "alice.card", "bob", "--tone", "440", "--hear", "620", "--for", "1s")...))
	o := bob()
	if o.status != exitDone {
		d.t.Errorf("bob: exit %d: %s%s", o.status, o.stdout, o.stderr)
	}
	if p := alice["call"].Protection; p != "DTLS-SRTP AEAD_AES_256_GCM" {
		d.t.Errorf("voice under %q", p)
	}
	if in := events(d.t, o.stdout)["incoming"]; in.Peer != "sip:alice@"+testDomain || !in.Asserted {
		d.t.Errorf("bob saw %+v", in)
	}
	if info, err := os.Stat(recorded); err != nil || info.Size() < 8000 || info.Mode().Perm() != 0o600 {
		d.t.Errorf("recording: %v %v", info, err)
	}
	// What was recorded can be played again.
	bob = d.background("registered", d.client("answer", "bob.card", "--hear", "440", "--wait", "1m")...)
	d.do(d.client("call", "alice.card", "bob", "--play", recorded)...)
	if o := bob(); o.status != exitDone {
		d.t.Errorf("bob did not hear the recording: exit %d: %s%s", o.status, o.stdout, o.stderr)
	}
}

// rotate renews the sealing key: everything is sealed with the new one, and the file has no other. It returns where the old one is.
func (d *desk) rotate(kept string) string {
	d.t.Helper()
	before := d.read("sealing")
	var r rotated
	decode(d.t, d.do("key", "rotate", "--keep-old", d.path(kept), "--json"), &r)
	after := d.read("sealing")
	if d.read(kept) != before || strings.Count(after, "\nkey ") != 1 || after == before {
		d.t.Error("the key file was not renewed")
	}
	if r.Resealed == 0 || !d.shown("alice").Cards[0].KeyCurrent {
		d.t.Errorf("not resealed: %+v", r)
	}
	return d.path(kept)
}

func (d *desk) read(name string) string {
	d.t.Helper()
	text, err := os.ReadFile(d.path(name))
	if err != nil {
		d.t.Fatal(err)
	}
	return string(text)
}

// restore brings a backup back that was made under an older sealing key.
func (d *desk) restore(backup, oldKey string) {
	d.t.Helper()
	d.refused(exitFailed, []string{"holds a store", "--replace"}, "restore", backup)
	d.refused(exitUnverified, []string{"not every K in it can be opened"}, "restore", backup, "--replace")
	if err := os.Rename(oldKey, d.path("sealing")); err != nil {
		d.t.Fatal(err)
	}
	var r restored
	decode(d.t, d.do("restore", backup, "--replace", "--json"), &r)
	if _, err := os.Stat(filepath.Join(r.Aside, "image.db")); err != nil || r.Epoch != 1 {
		d.t.Errorf("%+v: %v", r, err)
	}
}

// shown returns a user as `user show` prints it.
func (d *desk) shown(name string) *hss.View {
	d.t.Helper()
	var view hss.View
	decode(d.t, d.do("user", "show", name, "--json"), &view)
	return &view
}

func decode(t *testing.T, text string, out any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), out); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}
