package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imsafe/node"
)

// TestLogVerify: the log of decisions is verified beside a node that runs and without one, also against a head that was kept elsewhere.
func TestLogVerify(t *testing.T) {
	e := newEnrolment(t)
	e.refused(exitFailed, []string{"there is no store"}, "log", "verify")
	stop := e.start()
	e.do("ca", "new", e.path("root.pem"))
	invited := jsonOf[node.Invited](e, "service", "invite")
	e.here(e.request("--ca-fingerprint", invited.CA, "--token", invited.Token)...)
	report := jsonOf[node.LogReport](e, "log", "verify")
	if !report.Whole || report.SignedTo != report.Last || report.Head == "" {
		t.Errorf("while the node runs: %+v", report)
	}
	head := e.write("head", report.Head+"\n")
	stop()
	log := filepath.Join(e.path("store"), "decisions")
	before, now := e.path("before"), e.path("now")
	e.copyTo(before, log)
	e.do("service", "revoke", "echo") // a decision without a node
	e.copyTo(now, log)
	e.copyTo(log, before)
	e.refused(exitFailed, []string{"not whole"}, "log", "verify") // the store knows that there was more
	e.copyTo(log, now)
	if said := e.do("log", "verify", "--head", head); !strings.Contains(said, "whole") {
		t.Errorf("without a node: %s", said)
	}
	e.refused(exitFailed, []string{"no head"}, "log", "verify", "--head", e.write("nothing", "x"))
	stop = e.start()
	e.do("key", "rotate", "--keep-old", e.path("old.key")) // what signs the log is sealed anew with all the rest
	stop()
	stop = e.start()
	if said := e.do("log", "verify", "--head", head); !strings.Contains(said, "whole") {
		t.Errorf("under a new sealing key: %s", said)
	}
	stop()

	files, err := filepath.Glob(filepath.Join(e.path("store"), "decisions", "*.log"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, deed := range []string{`"kind":"trusted","by":"operator","detail":"authority `, `"kind":"invited"`, `"kind":"revoked","subject":"echo","by":"operator"`} {
		if !strings.Contains(string(text), deed) {
			t.Errorf("%s is not in %s", deed, text)
		}
	}
	e.alter(files[0], strings.Replace(string(text), `"revoked"`, `"resumed"`, 1))
	e.refused(exitFailed, []string{"not whole"}, "log", "verify")
	if o := e.try("log", "verify", "--json"); o.status != exitFailed || !strings.Contains(o.stdout, `"how": "edited"`) {
		t.Errorf("%d: %s", o.status, o.stdout)
	}
	stop = e.start() // it serves all the same, and does not hide it
	if o := e.try("log", "verify"); o.status != exitFailed || !strings.Contains(o.stdout, "EDITED at record") {
		t.Errorf("beside a node: %d: %s", o.status, o.stdout)
	}
	stop()
}

// copyTo makes a directory what another one is.
func (e *enrolment) copyTo(to, from string) {
	e.t.Helper()
	if err := os.RemoveAll(to); err != nil {
		e.t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		e.t.Fatal(err)
	}
}

func (e *enrolment) alter(path, text string) {
	e.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		e.t.Fatal(err)
	}
}
