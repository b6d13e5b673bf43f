package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imsafe/servicebox/telephony"
)

// TestSettingsFile: what a feature code changes is on the disk, whole, and readable by nobody else.
func TestSettingsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "settings.json")
	fail := func(err error) { t.Error(err) }
	f, err := telephony.OpenFile(&osFile{path}, fail)
	if err != nil {
		t.Fatal(err)
	}
	const bob = "sip:bob@ims.example"
	if err := f.Change(context.Background(), bob, func(s *telephony.Settings) { s.Busy = "sip:carol@ims.example" }); err != nil {
		t.Fatal(err)
	}
	again, err := telephony.OpenFile(&osFile{path}, fail)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := again.Settings(context.Background(), bob); err != nil || s.Busy != "sip:carol@ims.example" {
		t.Errorf("%+v, %v", s, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// TestServiceRunRefuses: what cannot be proven, or is not here, does not start.
func TestServiceRunRefuses(t *testing.T) {
	d := newDesk(t)
	refused := func(status int, words []string, args ...string) {
		t.Helper()
		wantRefused(t, d.call(t.Context(), "", args...), status, words, args)
	}
	hello := strings.ReplaceAll(echoManifest, `service  = "echo"`, `service  = "hello"`)
	refused(exitUsage, []string{"no service \"hello\"", "echo and telephony"}, "service", "run", d.write("hello.service.toml", hello))
	telephone := strings.ReplaceAll(echoManifest, `service  = "echo"`, `service  = "telephony"`)
	refused(exitUsage, []string{"--settings"}, "service", "run", d.write("telephony.service.toml", telephone))
	refused(exitFailed, []string{"the core's root"}, "service", "run", d.write("echo.service.toml", echoManifest))
	refused(exitFailed, []string{"settings"}, "service", "run", d.path("telephony.service.toml"), "--settings", d.write("broken.json", `{"bob": 1}`))
}
