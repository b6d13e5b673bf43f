package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"imsafe/proof/attack"
	"imsafe/proof/evidence"
	"imsafe/proof/runner"
	targetfile "imsafe/proof/target"
	"imsafe/secure"
)

// some are the rows that run here, the light ones of those whose places begin a group of six: `imsafe attack run --target` runs all of them by the same profiles.
func some() (rows []attack.Attack) {
	for i, x := range attack.All() {
		if i%everyAttack == 0 && x.Bounds.Packets < 500 {
			rows = append(rows, x)
		}
	}
	return rows
}

// TestAimed_imsafe: with its controls on nothing gets through, and without them what has a switch does. The same eyes see both.
func TestAimed_imsafe(t *testing.T) {
	for profile, want := range map[string]int{"imsafe": exitDone, "imsafe-open": exitFailed} {
		t.Run(profile, func(t *testing.T) {
			text, known := targetfile.Profile(profile)
			x, err := targetfile.Read([]byte(text), targetfile.Means{})
			if err != nil || !known {
				t.Fatal(known, err)
			}
			var stdout, stderr lockedBuffer
			a := &app{ctx: t.Context(), stdout: &stdout, stderr: &stderr, json: true}
			status := a.status((&attackRunCmd{}).aimAt(t.Context(), a, x, theLauncher(t), some()))
			var rows []runner.Foreign
			if err := json.Unmarshal([]byte(stdout.String()), &rows); err != nil || status != want {
				t.Fatalf("exit status %d, %v\n%s", status, err, stderr.String())
			}
			aimed := 0
			for _, row := range rows {
				aimed += seenOfImsafe(t, &row, x.Start.Open)
			}
			if aimed < len(some())/3 {
				t.Errorf("of %d runs %d could be aimed", len(rows), aimed)
			}
		})
	}
}

// seenOfImsafe judges a row, and returns 1 if it could be aimed.
func seenOfImsafe(t *testing.T, row *runner.Foreign, open bool) int {
	t.Helper()
	if row.Record == nil || row.Record.Kind != evidence.Foreign || len(row.Record.Events) > 0 || row.Record.Expected != "" || len(row.Record.ControlsOff) > 0 {
		t.Errorf("%s claims more than could be seen: %+v", row.Name(), row.Record)
	}
	for _, c := range secure.Controls() {
		if strings.Contains(row.Saw, c.String()) {
			t.Errorf("%s names a control: %s", row.Name(), row.Saw)
		}
	}
	if row.Outcome == evidence.NotApplicable {
		return 0
	}
	x, _ := attack.Find(row.Attack)
	v := x.Variants[slices.IndexFunc(x.Variants, func(v attack.Variant) bool { return v.Name == row.Variant })]
	want := evidence.Blocked
	if open && v.NoAblation == "" {
		want = evidence.Succeeded
	}
	if row.Outcome != want || row.Record.Left != "" {
		t.Errorf("%s is %s, not %s: %s %s", row.Name(), row.Outcome, want, row.Saw, row.Record.Left)
	}
	return 1
}

// writeTarget writes the file of a target that is imsafe, as somebody would who did not start it. TCP and UDP are the lab's; without them there is TLS alone.
func writeTarget(t *testing.T, c *child, scheme string) (file string, environment map[string]string) {
	t.Helper()
	dir, s := t.TempDir(), c.Site()
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), []byte(c.ready.CA), 0o600); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	clear := ""
	if s.Clear.IsValid() {
		clear = fmt.Sprintf("udp = %[1]q\ntcp = %[1]q\n", s.Clear)
	}
	fmt.Fprintf(&b, `format = 1
name = "lab"
domain = %[1]q
scheme = %[5]q
[owner]
name = "the test"
statement = "This is a target of the test's own, and it may be attacked."
until = %[2]s
[entry]
%[3]stls = %[4]q
tls_authority = "ca.pem"
[limits]
rate = 5000
`, s.Domain, time.Now().Format(time.DateOnly), clear, s.TLS, scheme)
	environment = map[string]string{}
	for name, u := range s.Users {
		fmt.Fprintf(&b, "[subscribers.%s]\nimpi = %q\nimpu = %q\nkeys = \"env:KEYS_%s\"\n", name, u.IMPI, u.IMPU, name)
		if u.Password != "" {
			environment["KEYS_"+name] = u.Password
			continue
		}
		environment["KEYS_"+name] = hex.EncodeToString(u.K[:]) + " " + hex.EncodeToString(u.OPc[:])
	}
	file = filepath.Join(dir, "lab.toml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, environment
}

// TestAttack_target is the verb against something that runs already: what it prints, what it writes, and that no key is in it.
func TestAttack_target(t *testing.T) {
	started, err := theLauncher(t).Launch(t.Context(), runner.Setup{Access: attack.Clear, Cast: attack.Telephones()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := started.Close(); err != nil {
			t.Error(err)
		}
	}()
	file, environment := writeTarget(t, started.(*child), "AKAv2-SHA-256")
	dir := t.TempDir()
	var stdout, stderr lockedBuffer
	a := &app{ctx: t.Context(), stdout: &stdout, stderr: &stderr, getenv: func(name string) string { return environment[name] }}
	run := attackRunCmd{Target: file, IDs: []string{"CI-07", "CI-02"}, Evidence: dir}
	if status := a.status(run.Run(a)); status != exitDone {
		t.Fatalf("exit status %d\n%s%s", status, stdout.String(), stderr.String())
	}
	all := stdout.String() + stderr.String()
	for _, want := range []string{"ci.identity.asserted/tls", "ci.identity.asserted/tcp", "ci.identity.asserted/udp", "MESSAGE 200 (10)", "not applicable", "ipsec-3gpp", "3 blocked", "allowed by the test"} {
		if !strings.Contains(all, want) {
			t.Errorf("it does not say %q:\n%s", want, all)
		}
	}
	for _, access := range []string{"tls", "tcp", "udp"} {
		b, err := os.ReadFile(filepath.Join(dir, "ci.identity.asserted", access, "on.json"))
		if err != nil {
			t.Fatal(err)
		}
		r, err := evidence.Read(b)
		if err != nil || r.Kind != evidence.Foreign || r.Verdict != evidence.Blocked || r.Target.Name != "lab" || !strings.HasPrefix(r.Allowed, "the test, until ") {
			t.Errorf("%v %+v", err, r)
		}
		all += string(b)
	}
	for name, keys := range environment {
		for _, key := range strings.Fields(keys) {
			if strings.Contains(all, key) {
				t.Errorf("a key of %s is told", name)
			}
		}
	}
}

// TestAttack_targetRefused: nothing is sent to what must not be attacked, and the exit status says that the file is at fault.
func TestAttack_targetRefused(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "public.toml")
	text := "format = 1\nname = \"x\"\ndomain = \"example.org\"\n[entry]\nudp = \"198.51.100.7:5060\"\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"run", "list"} {
		o := (&desk{t: t}).call(context.Background(), "", "attack", verb, "--target", file)
		if o.status != exitUsage || !strings.Contains(o.stderr, "198.51.100.7:5060 is a public address") || !strings.Contains(o.stderr, "owner.statement") {
			t.Errorf("attack %s: %+v", verb, o)
		}
	}
	if o := (&desk{t: t}).call(context.Background(), "", "attack", "run", "--target", filepath.Join(dir, "none.toml")); o.status != exitUsage {
		t.Errorf("a file that is not there: %+v", o)
	}
	if o := (&desk{t: t}).call(context.Background(), "", "attack", "profile", "nobody"); o.status != exitUsage || !strings.Contains(o.stderr, "kamailio") {
		t.Errorf("a profile that is not there: %+v", o)
	}
	o := (&desk{t: t}).call(context.Background(), "", "attack", "profile", "imsafe")
	open := filepath.Join(dir, "imsafe.toml")
	if err := os.WriteFile(open, []byte(o.stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	if o = (&desk{t: t}).call(context.Background(), "", "attack", "list", "--target", open); o.status != exitDone || !strings.Contains(o.stdout, "is.as.rogue/without") || !strings.Contains(o.stdout, "yes") {
		t.Errorf("what of the catalogue is for others: %+v", o)
	}
}

// TestGotThrough: what got through outweighs what could not be seen, and both are told from a block.
func TestGotThrough(t *testing.T) {
	blocked, unseen, through := runner.Foreign{Outcome: evidence.Blocked}, runner.Foreign{Outcome: evidence.Inconclusive}, runner.Foreign{Outcome: evidence.Succeeded}
	for _, c := range []struct {
		rows []runner.Foreign
		want int
	}{
		{[]runner.Foreign{blocked, {Outcome: evidence.NotApplicable}}, exitDone}, {[]runner.Foreign{blocked, unseen}, exitUnverified},
		{[]runner.Foreign{unseen, through, blocked}, exitFailed}, {[]runner.Foreign{{Outcome: evidence.Degraded}}, exitFailed},
	} {
		a := &app{ctx: t.Context(), stderr: &lockedBuffer{}}
		if got := a.status(gotThrough(c.rows)); got != c.want {
			t.Errorf("%+v: exit status %d, want %d", c.rows, got, c.want)
		}
	}
}

// TestAttack_target_passwords: imsafe over TLS as a SIP system whose users have passwords, for whoever does not know that it is an IMS. What its own
// events say it refused is what a run says did not get through.
func TestAttack_target_passwords(t *testing.T) {
	all := append(attack.Telephones(), attack.Dave)
	started, err := theLauncher(t).Launch(t.Context(), runner.Setup{Access: attack.TLS, Digest: true, NoCard: all, Cast: all})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := started.Close(); err != nil {
			t.Error(err)
		}
	}()
	file, environment := writeTarget(t, started.(*child), "SHA-256")
	var stdout, stderr lockedBuffer
	a := &app{ctx: t.Context(), stdout: &stdout, stderr: &stderr, getenv: func(name string) string { return environment[name] }}
	run := attackRunCmd{Target: file, IDs: []string{"CI-07", "CI-27", "CI-02"}}
	if status := a.status(run.Run(a)); status != exitDone {
		t.Fatalf("exit status %d\n%s%s", status, stdout.String(), stderr.String())
	}
	said := stdout.String() + stderr.String()
	for _, want := range []string{"ci.identity.asserted/tls", "ci.digest.crack/online/tls", "ci.digest.crack/unasked/tls", "needs a card", "3 blocked", "1 not applicable"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
	events, err := started.Events(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []secure.ControlID{secure.CIAuthenticationSAIdentity, secure.CIAuthenticationDigestPolicy} {
		if !slices.ContainsFunc(events, func(e evidence.Event) bool { return e.Control == c.String() }) {
			t.Errorf("%s has refused nothing", c)
		}
	}
}
