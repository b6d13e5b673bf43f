package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"imsafe/imsbox/hss"
	"imsafe/store/disk"
)

// TestMistakes: each situation has its exit status, and words that say what, why and what to do.
func TestMistakes(t *testing.T) {
	d := newDesk(t)
	k, opc := d.write("k", testK+"\n"), d.write("opc", testOPc+"\n")
	keys := []string{"--k-file", k, "--opc-file", opc}
	add := func(name string, more ...string) []string {
		return append(append([]string{"user", "add", name}, keys...), more...)
	}
	d.refused(exitFailed, []string{"there is no store in", "user add"}, "user", "list")
	d.do(add("alice")...)
	public := d.write("public-k", testK)
	if err := os.Chmod(public, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, s := range []struct {
		name   string
		status int
		words  []string
		args   []string
	}{
		{"no keys", exitUsage, []string{"--k-file", "--prompt", "--random"}, []string{"user", "add", "bob"}},
		{"random keys that nobody would have", exitUsage, []string{"--card-out"}, []string{"user", "add", "bob", "--random"}},
		{"a key file that others can read", exitFailed, []string{"0644", "chmod 600 " + public}, []string{"user", "add", "bob", "--k-file", public, "--opc-file", opc}},
		{"a key file that is not there", exitFailed, []string{"no such file"}, []string{"user", "add", "bob", "--k-file", d.path("nothing"), "--opc-file", opc}},
		{"OPc and OP", exitUsage, []string{"opc-file", "op-file"}, add("bob", "--op-file", opc)},
		{"a key too short", exitFailed, []string{"k: 31 hexadecimal digits; 32 are needed"}, []string{"user", "add", "bob", "--k-file", d.write("short", testK[1:]), "--opc-file", opc}},
		{"no prompt without a terminal", exitUsage, []string{"--prompt needs a terminal"}, []string{"user", "add", "bob", "--prompt"}},
		{"a foreign realm", exitFailed, []string{"impi", `"example.com" is not a home domain`}, add("bob@example.com", "--impu", "sip:bob@"+testDomain)},
		{"a taken identity", exitFailed, []string{"public", "belongs to subscriber alice@" + testDomain}, add("bob", "--impu", "sip:alice@"+testDomain)},
		{"an unknown group", exitFailed, []string{"group", "make it first"}, add("bob", "--group", "staff")},
		{"an unknown scheme", exitFailed, []string{"scheme", "AKAv2-SHA-256"}, add("bob", "--scheme", "digest")},
		{"a mistake in a dry run", exitFailed, []string{"k: 31"}, []string{"user", "add", "bob", "--dry-run", "--k-file", d.path("short"), "--opc-file", opc}},
		{"show nobody", exitFailed, []string{"not found", "user list"}, []string{"user", "show", "bob"}},
		{"remove nobody", exitFailed, []string{"not found", "user list"}, []string{"user", "remove", "bob"}},
		{"a verb that is not there", exitUsage, []string{"unexpected argument fly", "--help"}, []string{"user", "fly"}},
		{"a flag that is not there", exitUsage, []string{"unknown flag --colour", "imsafe user add --help says more"}, []string{"user", "add", "bob", "--colour"}},
		{"a group that is in use by nobody", exitFailed, []string{"not found"}, []string{"group", "remove", "staff"}},
		{"a group that is no JSON", exitFailed, []string{"not JSON"}, []string{"group", "put", d.write("group", "name = x")}},
		{"a group with an unknown field", exitFailed, []string{"colour"}, []string{"group", "put", d.write("group2", `{"name":"x","colour":"red"}`)}},
		{"a backup over a file", exitFailed, []string{"is there already"}, []string{"backup", k}},
		{"a backup into nowhere", exitFailed, []string{"no such file", "directory"}, []string{"backup", d.path("no/where")}},
		{"restore of something else", exitFailed, []string{"is no backup of imsafe"}, []string{"restore", k}},
		{"a second key file of that name", exitFailed, []string{"not overwritten", "key rotate"}, []string{"key", "new", d.path("sealing")}},
		{"no node at a socket", exitFailed, []string{"no node answers at /nowhere", "--socket"}, []string{"user", "list", "--socket", "/nowhere"}},
	} {
		t.Run(s.name, func(t *testing.T) { wantRefused(t, d.try(s.args...), s.status, s.words, s.args) })
	}
	if o := d.try("user", "fly", "--json"); o.status != exitUsage || !strings.Contains(o.stdout, `"error": "unexpected argument fly`) {
		t.Errorf("for a machine: %d, %s%s", o.status, o.stdout, o.stderr)
	}
	if list := d.do("user", "list"); !strings.Contains(list, "1 subscribers") {
		t.Errorf("something was changed: %s", list)
	}
}

func TestMistakes_of_the_configuration(t *testing.T) {
	d := newDesk(t)
	call := func(args ...string) outcome { return d.call(context.Background(), "", args...) }
	wantRefused(t, call("user", "list", "-c", d.path("nothing")), exitUsage, []string{"there is no configuration at", "config print"}, nil)
	bad := d.write("bad.toml", "[ims]\ndomian = \"x.y\"\n")
	wantRefused(t, call("user", "list", "-c", bad), exitUsage, []string{"domian", ":2:"}, nil)
	if err := os.Remove(d.path("sealing")); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, call("user", "add", "alice", "--dry-run", "--random", "-c", d.config), exitFailed, []string{"sealing key", "key new"}, nil)
}

// TestStoreInUse: another process has the store, and no node answers.
func TestStoreInUse(t *testing.T) {
	d := newDesk(t)
	d.do("user", "add", "alice", "--random", "--card-out", d.path("card"))
	d.do("backup", d.path("backup"))
	lock, err := disk.OS(d.path("store")).Lock()
	if err != nil {
		t.Fatal(err)
	}
	words := []string{fmt.Sprintf("process %d", os.Getpid()), "no node answers", "--socket"}
	d.refused(exitFailed, words, "user", "list")
	d.refused(exitFailed, words, "restore", d.path("backup"), "--replace")
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	d.do("user", "list")
}

// TestStoreOfAnotherUser: root must not leave files in it that the node cannot open.
func TestStoreOfAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give a directory away")
	}
	d := newDesk(t)
	d.do("user", "add", "alice", "--random", "--card-out", d.path("card"))
	if err := os.Chown(d.path("store"), 12345, 12345); err != nil {
		t.Fatal(err)
	}
	d.refused(exitFailed, []string{"belongs to user 12345", "sudo -u '#12345'"}, "user", "list")
}

func TestAnswersForMachines(t *testing.T) {
	d := newDesk(t)
	var added struct {
		User hss.View `json:"user"`
		Card string   `json:"card"`
	}
	decode(t, d.do("user", "add", "alice", "--random", "--card-out", d.path("card"), "--json"), &added)
	if added.User.ID != "alice@"+testDomain || added.Card != d.path("card") {
		t.Errorf("%+v", added)
	}
	var p problem
	decode(t, d.try("user", "show", "bob", "--json").stdout, &p)
	if p.Code != "not-found" || p.Hint == "" || p.Error == "" {
		t.Errorf("%+v", p)
	}
	decode(t, d.try("user", "add", "alice", "--random", "--card-out", d.path("card2"), "--json").stdout, &p)
	if p.Code != "mistakes" || len(p.Mistakes) != 2 || p.Mistakes[0].Field != "impi" {
		t.Errorf("%+v", p)
	}
	if _, err := os.Stat(d.path("card2")); err == nil {
		t.Error("a card of nobody was left")
	}
}

func TestDryRuns(t *testing.T) {
	d := newDesk(t)
	d.do("user", "add", "alice", "--random", "--card-out", d.path("card"), "--dry-run")
	if _, err := os.Stat(d.path("card")); err == nil {
		t.Error("a dry run wrote a card")
	}
	d.do("user", "add", "alice", "--random", "--card-out", d.path("card"))
	if out := d.do("user", "remove", "alice", "--dry-run"); !strings.Contains(out, "would be removed") {
		t.Error(out)
	}
	d.do("user", "remove", "sip:alice@"+testDomain)
	d.refused(exitFailed, nil, "user", "show", "alice")
}

// TestKeysFromStandardInput: a key that comes through a pipe is on no disk and in no list of processes.
func TestKeysFromStandardInput(t *testing.T) {
	d := newDesk(t)
	args := d.configured([]string{"user", "add", "alice", "--k-file", "-", "--op-file", d.write("op", testOPc), "--card-out", d.path("card")})
	if o := d.call(context.Background(), testK, args...); o.status != exitDone {
		t.Fatalf("%+v", o)
	}
	var c struct{ K, OPc string }
	decode(t, d.read("card"), &c)
	if c.K != testK || c.OPc == testOPc || len(c.OPc) != 32 {
		t.Error("the card has other keys, or OP in the place of OPc")
	}
}

func TestGroupsAndProfiles(t *testing.T) {
	d := newDesk(t)
	stop := d.start()
	defer stop()
	profile := `{"name":"telephony","criteria":[{"priority":1,"server":"sip:as.` + testDomain + `","otherwise":"terminate","trigger":
		{"form":"cnf","conditions":[{"groups":[0],"method":"INVITE"},{"groups":[1],"not":true,"session_case":"terminating-unregistered"},
		{"groups":[2],"header":"Accept-Contact","content":"mmtel"},{"groups":[0],"method":"REGISTER","registrations":["initial","end"]}]}}]}`
	d.do("profile", "put", d.write("profile", profile))
	d.do("group", "put", d.write("group", `{"name":"staff","profile":"telephony","visited_networks":["visited.example"],"primary_ccf":"aaa://ccf.example"}`))
	d.refused(exitFailed, []string{"still in use", "group staff"}, "profile", "remove", "telephony")
	shown := d.do("profile", "show", "telephony")
	d.do("profile", "put", d.write("again", shown)) // what is shown can be put
	if again := d.do("profile", "show", "telephony"); again != shown || !strings.Contains(shown, "terminating-unregistered") {
		t.Errorf("%s\nis not\n%s", again, shown)
	}
	d.do("user", "add", "alice", "--group", "staff", "--random", "--card-out", d.path("card"))
	d.refused(exitFailed, []string{"still in use", "alice"}, "group", "remove", "staff")
	d.do("user", "remove", "alice")
	d.do("group", "remove", "staff")
	d.do("profile", "remove", "telephony")
	if list := d.do("group", "list") + d.do("profile", "list"); list != "there are no groups\nthere are no profiles\n" {
		t.Errorf("left: %s", list)
	}
	d.refused(exitFailed, []string{`part: "always" is not one of registered, unregistered`}, "profile", "put",
		d.write("bad", `{"name":"x","criteria":[{"priority":1,"server":"sip:as.x","part":"always"}]}`))
}

// TestCards: what a card file must be.
func TestCards(t *testing.T) {
	d := newDesk(t)
	d.do("user", "add", "alice", "--random", "--card-out", d.path("card"))
	good := d.read("card")
	register := func(name string) outcome { return d.call(context.Background(), "", d.client("register", name)...) }
	for _, s := range []struct {
		name, text string
		words      []string
	}{
		{"not JSON", "k = 5", []string{"is no card file", "--card-out"}},
		{"an unknown field", `{"pin":"1234"}`, []string{"pin"}},
		{"an unknown scheme", strings.Replace(good, "AKAv2-SHA-256", "MD5", 1), []string{"scheme"}},
		{"no K", `{"impi":"a@b.c","scheme":"AKAv2-MD5"}`, []string{": k: "}},
	} {
		t.Run(s.name, func(t *testing.T) {
			name := filepath.Base(d.write("bad-card", s.text))
			o := register(name)
			var p problem
			decode(t, o.stdout, &p)
			for _, w := range s.words {
				if o.status != exitFailed || !strings.Contains(p.Error, w) {
					t.Errorf("exit %d, %q is not in %q", o.status, w, p.Error)
				}
			}
		})
	}
	f, err := os.Open(d.path("card"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if o := register("card"); o.status != exitFailed || !strings.Contains(o.stdout, "in use by another process") {
		t.Errorf("a card in use: %+v", o)
	}
}

// TestCardRemembers: the sequence numbers that a card has accepted are there after a restart.
func TestCardRemembers(t *testing.T) {
	s := stateFile(filepath.Join(t.TempDir(), "seq"))
	if data, err := s.Load(); data != nil || err != nil {
		t.Errorf("a new card: %v %v", data, err)
	}
	for _, text := range []string{"one", "two"} {
		if err := s.Save([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if data, err := s.Load(); string(data) != text || err != nil {
			t.Errorf("%q %v, want %q", data, err, text)
		}
	}
}

// TestKeyTextNeverPrints: only JSON lets a key out, and a format verb does not.
func TestKeyTextNeverPrints(t *testing.T) {
	s := newSubscriber{K: testK}
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%+v %q %x", s, s.K, s.K), s.K.LogValue().String()} {
		if strings.Contains(text, testK) || strings.Contains(text, fmt.Sprintf("%x", testK)) {
			t.Errorf("printed: %s", text)
		}
	}
	if text, err := json.Marshal(s); err != nil || !strings.Contains(string(text), testK) {
		t.Errorf("%s %v", text, err)
	}
}
