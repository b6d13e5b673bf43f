package management_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"imsafe/iface/management"
	"imsafe/secure"
)

// serve starts a door whose caller, this process, has the role given; root would always be an operator, so the
// test names itself by Roles and Self.
func serve(t *testing.T, self uint32, verbs map[string]management.Verb) (*management.Client, *secure.Gate) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "door")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	gate := secure.NewGate(nil, nil)
	server := management.New(management.Config{Owners: []uint32{self}, Gate: gate, Log: slog.New(slog.DiscardHandler)}, verbs)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, ln) }()
	client := management.NewClient(path)
	t.Cleanup(func() {
		client.Close()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		goleak.VerifyNone(t)
	})
	return client, gate
}

func echo(_ context.Context, in json.RawMessage) (any, error) { return in, nil }

func TestCall(t *testing.T) {
	secret := errors.New("the database password is hunter2")
	client, _ := serve(t, uint32(os.Getuid()), map[string]management.Verb{
		"echo": {Needs: management.Viewer, Do: echo},
		"refuse": {Needs: management.Operator, Do: func(context.Context, json.RawMessage) (any, error) {
			return nil, &management.Error{Code: "user.exists", Message: "alice exists", Hint: "choose another name"}
		}},
		"break": {Needs: management.Operator, Do: func(context.Context, json.RawMessage) (any, error) { return nil, secret }},
	})
	ctx := context.Background()
	var out map[string]int
	if err := client.Call(ctx, "echo", map[string]int{"a": 1}, &out); err != nil || out["a"] != 1 {
		t.Errorf("echo: %v, %v", out, err)
	}
	for verb, code := range map[string]string{"refuse": "user.exists", "break": "management.failed", "nothing": "management.unknown"} {
		var refusal *management.Error
		if err := client.Call(ctx, verb, nil, nil); !errors.As(err, &refusal) || refusal.Code != code {
			t.Errorf("%s: %v, want code %s", verb, err, code)
		} else if verb == "break" && refusal.Message == secret.Error() {
			t.Error("the inside of an error left the node")
		}
	}
}

func TestCall_by_a_stranger(t *testing.T) {
	if os.Getuid() == 0 {
		// Root is an operator everywhere. The rule for others is tested through a process of another user.
		t.Run("as_nobody", testAsNobody)
		return
	}
	client, gate := serve(t, uint32(os.Getuid())+1, map[string]management.Verb{"echo": {Needs: management.Viewer, Do: echo}})
	wantForbidden(t, client, gate)
}

func wantForbidden(t *testing.T, client *management.Client, gate *secure.Gate) {
	t.Helper()
	var refusal *management.Error
	if err := client.Call(context.Background(), "echo", 1, nil); !errors.As(err, &refusal) || refusal.Code != "management.forbidden" {
		t.Errorf("%v, want management.forbidden", err)
	}
	if refused, _ := gate.Counts(secure.ManagementAuthenticationAdmin); refused != 1 {
		t.Errorf("%d refusals counted, want 1", refused)
	}
}
