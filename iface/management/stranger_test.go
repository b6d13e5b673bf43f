package management_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"imsafe/iface/management"
	"imsafe/secure"
	"log/slog"
)

const asStranger = "IMSAFE_TEST_MANAGEMENT_SOCKET"

// TestMain lets the test binary be the stranger: another process of another user.
func TestMain(m *testing.M) {
	path := os.Getenv(asStranger)
	if path == "" {
		os.Exit(m.Run())
	}
	err := management.NewClient(path).Call(context.Background(), "echo", 1, nil)
	fmt.Print(err)
}

func testAsNobody(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "imsafe-management")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "door")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	// The file rights let everybody in, so that it is the door that refuses.
	for name, mode := range map[string]os.FileMode{dir: 0o755, path: 0o777} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "stranger")
	octets, err := os.ReadFile(self)
	if err == nil {
		err = os.WriteFile(binary, octets, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	gate := secure.NewGate(nil, nil)
	server := management.New(management.Config{Gate: gate, Log: slog.New(slog.DiscardHandler)},
		map[string]management.Verb{"echo": {Needs: management.Viewer, Do: func(_ context.Context, in json.RawMessage) (any, error) { return in, nil }}})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, ln) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	stranger := exec.Command(binary)
	stranger.Env = []string{asStranger + "=" + path}
	stranger.Dir = dir
	stranger.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := stranger.CombinedOutput()
	if err != nil {
		t.Fatalf("the stranger did not run: %v: %s", err, out)
	}
	if !bytes.Contains(out, []byte("may not do that")) {
		t.Errorf("the stranger heard %q", out)
	}
	if refused, _ := gate.Counts(secure.ManagementAuthenticationAdmin); refused != 1 {
		t.Errorf("%d refusals counted, want 1", refused)
	}
}
