package main

import (
	"context"
	"os"
	"strings"
	"testing"
)

// TestPassword is the way of a subscriber without a card: switched on, provisioned, registered by our client.
func TestPassword(t *testing.T) {
	d := newDesk(t)
	const secret = "correct horse 7"
	file := d.write("password", secret+"\n")
	soft := []string{"user", "add", "soft", "--scheme", "SHA-256", "--password-file", file, "--card-out", d.path("soft.card")}
	d.refused(exitFailed, []string{"SIP Digest is off", "[ci.digest]"}, soft...)
	if _, err := os.Stat(d.path("soft.card")); err == nil {
		t.Error("a card of nobody was left")
	}
	d.write("imsafe.toml", d.read("imsafe.toml")+"[ci.digest]\nenabled = true\n")
	for _, s := range []struct {
		name   string
		status int
		words  []string
		args   []string
	}{
		{"no password", exitUsage, []string{"--password-file", "--random"}, []string{"user", "add", "bob", "--scheme", "SHA-256"}},
		{"one that is short", exitFailed, []string{"password: shorter than 10"}, []string{"user", "add", "bob", "--scheme", "SHA-256", "--password-file", d.write("short", "Rj7!x")}},
		{"MD5, which is off", exitFailed, []string{"digest-md5, which is off", "[ci.digest_md5]"}, []string{"user", "add", "bob", "--scheme", "MD5", "--password-file", file}},
		{"a card and a password", exitUsage, []string{"k-file", "password-file"}, []string{"user", "add", "bob", "--k-file", file, "--password-file", file}},
	} {
		t.Run(s.name, func(t *testing.T) { wantRefused(t, d.try(s.args...), s.status, s.words, s.args) })
	}
	d.do(soft...)
	d.do("user", "add", "chance", "--scheme", "SHA-256", "--random", "--card-out", d.path("chance.card"))
	if shown := d.do("user", "show", "soft"); !strings.Contains(shown, "SHA-256") || strings.Contains(shown, secret) {
		t.Errorf("show: %s", shown)
	}
	stop := d.start()
	defer stop()
	d.register("soft.card")
	d.register("chance.card")
	wrong := d.write("wrong.card", strings.Replace(d.read("soft.card"), secret, "another horse 7", 1))
	if o := d.call(context.Background(), "", d.client("register", "wrong.card")...); o.status != exitFailed || strings.Contains(o.stdout, secret) {
		t.Errorf("%s: %+v", wrong, o)
	}
}

func TestConfigCheck_names_what_is_weaker(t *testing.T) {
	d := newDesk(t)
	check := func() string { return d.do("config", "check") }
	if text := check(); strings.Contains(text, "digest-md5") {
		t.Errorf("by default: %s", text)
	}
	d.write("imsafe.toml", d.read("imsafe.toml")+"[ci.digest_md5]\nenabled = true\n")
	if text := check(); !strings.Contains(text, "weaker than the default: digest-md5") {
		t.Errorf("with digest-md5: %s", text)
	}
}
