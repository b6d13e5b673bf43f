package config

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func TestDurationText(t *testing.T) {
	for d, want := range map[time.Duration]string{time.Hour: "1h", 90 * time.Minute: "1h30m", 2 * time.Minute: "2m", 3 * time.Millisecond: "3ms", 0: "0s", time.Hour + time.Second: "1h0m1s"} {
		if got := Of(d).String(); got != want {
			t.Errorf("%v is written %q, want %q", d, got, want)
		}
		var back Duration
		if err := back.UnmarshalText([]byte(want)); err != nil || back.Std() != d {
			t.Errorf("%q is read as %v, %v", want, back, err)
		}
	}
}

func TestSizeText(t *testing.T) {
	for s, want := range map[Size]string{256 << 20: "256MiB", 3 << 30: "3GiB", 1000: "1000B", 0: "0B", 1 << 10: "1KiB"} {
		var back Size
		if got := s.String(); got != want {
			t.Errorf("%d is written %q, want %q", s, got, want)
		}
		if err := back.UnmarshalText([]byte(want)); err != nil || back != s {
			t.Errorf("%q is read as %d, %v", want, back, err)
		}
	}
	var s Size
	for _, bad := range []string{"", "MiB", "-1MiB", "1.5GiB", "9999999999GiB", "5"} {
		if s.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestSecretFile(t *testing.T) {
	for _, c := range []struct{ file, directory, want string }{
		{"/etc/imsafe/k", "", "/etc/imsafe/k"},
		{"credential:sealing", "/run/credentials/imsafe", "/run/credentials/imsafe/sealing"},
		{"credential:sealing", "", ""},
		{"credential:../x", "/run/credentials/imsafe", ""},
	} {
		got, err := SecretFile(c.file).Path(c.directory)
		if got != c.want || (err == nil) == (c.want == "") {
			t.Errorf("%s in %q: %q, %v", c.file, c.directory, got, err)
		}
	}
	var f SecretFile
	if err := f.UnmarshalText([]byte("-----BEGIN SOMETHING")); err == nil || strings.Contains(err.Error(), "SOMETHING") {
		t.Errorf("a secret as a value: %v", err)
	}
}

func TestCheckFiles(t *testing.T) {
	good := fstest.MapFS{
		"etc/imsafe/pcscf.crt":   {Mode: 0o644},
		"etc/imsafe/pcscf.key":   {Mode: 0o600},
		"etc/imsafe/sealing.key": {Mode: 0o400},
	}
	stat := func(name string) (fs.FileInfo, error) { return good.Stat(strings.TrimPrefix(name, "/")) }
	c := Example()
	if err := c.CheckFiles(stat, ""); err != nil {
		t.Fatal(err)
	}
	good["etc/imsafe/pcscf.key"].Mode = 0o640
	delete(good, "etc/imsafe/pcscf.crt")
	err := c.CheckFiles(stat, "")
	var problems Problems
	if !errors.As(err, &problems) || len(problems) != 2 ||
		!strings.Contains(err.Error(), "ci.tls.certificate_file") || !strings.Contains(err.Error(), "chmod 600 /etc/imsafe/pcscf.key") {
		t.Errorf("%v", err)
	}
	delete(good, "etc/imsafe/sealing.key")
	if err := c.CheckFiles(stat, ""); err == nil || !strings.Contains(err.Error(), "imsafe key new /etc/imsafe/sealing.key") {
		t.Errorf("without a sealing key: %v", err)
	}
}
