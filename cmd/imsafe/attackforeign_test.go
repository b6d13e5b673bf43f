package main

import (
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imsafe/proof/attack"
	"imsafe/proof/evidence"
	"imsafe/proof/runner"
	"imsafe/secure"
)

// everyControl are those that attacks over SIP alone are stopped by, as far as they have a switch.
func everyControl() (all []secure.ControlID) {
	for _, x := range attack.All() {
		for _, v := range x.Variants {
			if v.NoAblation != "" || !strings.HasPrefix(x.ID, "ci.") {
				continue
			}
			for _, c := range v.Controls {
				all = append(all, c)
			}
		}
	}
	return all
}

// targetFile writes the file of a target that is imsafe, as somebody would who does not know that.
func targetFile(t *testing.T, c *child) (file string, environment map[string]string) {
	t.Helper()
	dir := t.TempDir()
	s := c.Site()
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), []byte(c.ready.CA), 0o600); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `format = 1
name = "imsafe"
domain = %q
scheme = "AKAv2-SHA-256"
premium = %q
[owner]
name = "the test"
statement = "This is a target of the test's own, and it may be attacked."
until = 2026-12-31
[entry]
udp = %q
#tcp = %q
tls = %q
tls_authority = "ca.pem"
[limits]
rate = 5000
`, s.Domain, s.Premium, s.Clear, s.Clear, s.TLS)
	environment = map[string]string{}
	for name, u := range s.Users {
		fmt.Fprintf(&b, "[subscribers.%s]\nimpi = %q\nimpu = %q\nkeys = \"env:KEYS_%s\"\n", name, u.IMPI, u.IMPU, name)
		environment["KEYS_"+name] = hex.EncodeToString(u.K[:]) + " " + hex.EncodeToString(u.OPc[:])
		if name == attack.Dave {
			environment["KEYS_"+name] = u.Password
		}
	}
	file = filepath.Join(dir, "imsafe.toml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, environment
}

func TestForeignTry(t *testing.T) {
	l := theLauncher(t)
	var off []secure.ControlID
	if os.Getenv("OFF") != "" {
		off = everyControl()
	}
	got, err := l.Launch(t.Context(), runner.Setup{Off: off, Access: attack.Clear, Digest: true, Tight: os.Getenv("TIGHT") != "", Cast: append(attack.Telephones(), attack.Dave)})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	file, environment := targetFile(t, got.(*child))
	var stdout, stderr lockedBuffer
	a := &app{ctx: t.Context(), stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, getenv: func(n string) string { return environment[n] }}
	var ids []string
	if only := os.Getenv("ONLY"); only != "" {
		ids = strings.Split(only, ",")
	}
	status := a.status((&attackRunCmd{Target: file, IDs: ids}).Run(a))
	t.Log(status, "\n", stdout.String(), stderr.String())
	_ = pem.Block{}
	_ = json.Marshal
	_ = evidence.Foreign
}
