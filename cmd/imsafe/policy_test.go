package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"imsafe/node"
	"imsafe/policy"
)

// TestPolicy: every control is shown whether a node runs or not: as the configuration has it, and without one as the default has it. A configuration that was named
// and is not there is a mistake.
func TestPolicy(t *testing.T) {
	d := newDesk(t)
	text, err := os.ReadFile(d.config)
	if err != nil {
		t.Fatal(err)
	}
	d.write("imsafe.toml", string(text)+"\n[ci.digest_md5]\nenabled = true\n")
	show := func(args ...string) (r node.PolicyReport) {
		t.Helper()
		if err := json.Unmarshal([]byte(d.do(append(args, "--json")...)), &r); err != nil || len(r.Rows) != len(policy.Rows()) {
			t.Fatalf("%v, %d rows", err, len(r.Rows))
		}
		return r
	}
	weak := func(r node.PolicyReport) (names string) {
		for _, w := range r.Weakenings {
			names += w.Name + " "
		}
		return names
	}
	stopped := show("policy")
	if !strings.Contains(weak(stopped), "digest-md5") {
		t.Errorf("weakened by %q", weak(stopped))
	}
	if said := d.do("policy"); !strings.HasPrefix(said, "No node runs here: this is how it stands with "+d.config) || !strings.Contains(said, "WEAKENED  ci.authentication.digest-policy") {
		t.Error(said)
	}
	stop := d.start()
	if now := show("policy"); weak(now) != weak(stopped) || strings.Contains(d.do("policy"), "No node runs") {
		t.Errorf("with a node: %q", weak(now))
	}
	stop()
	if o := d.call(t.Context(), "", "policy", "-c", d.path("nothing.toml")); o.status != exitUsage {
		t.Errorf("%+v", o)
	}
	if _, err := os.Stat(defaultDir); err == nil {
		return // this machine has a configuration of its own
	}
	if o := d.call(t.Context(), "", "policy"); o.status != exitDone || !strings.Contains(o.stdout, "with the default;") || strings.Contains(o.stdout, "Weaker") {
		t.Errorf("%+v", o)
	}
}

// TestHelp: who asks for help in words gets what --help prints.
func TestHelp(t *testing.T) {
	d := &desk{t: t}
	for asked, like := range map[string]string{"help": "--help", "help prove verify": "prove verify --help"} {
		a, b := d.call(t.Context(), "", strings.Fields(asked)...), d.call(t.Context(), "", strings.Fields(like)...)
		if a != b || a.status != exitDone || a.stdout == "" {
			t.Errorf("%s: %+v", asked, a)
		}
	}
	if o := d.call(t.Context(), "", "help", "nothing"); o.status != exitUsage || !strings.Contains(o.stderr, "imsafe --help lists the verbs") {
		t.Errorf("%+v", o)
	}
}
