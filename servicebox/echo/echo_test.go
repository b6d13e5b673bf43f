package echo_test

import (
	"strings"
	"testing"
	"time"

	"imsafe/servicebox/as/astest"
	"imsafe/servicebox/echo"
)

func TestCall(t *testing.T) {
	net := astest.New(t)
	net.Service("echo.service.toml", echo.Setup)
	alice := net.UE("alice").Register()
	call := alice.Call("echo").Answered()
	notes := strings.Join(call.Notes(), "\n")
	for _, want := range []string{"I-S: compiled into the core", "C-I: the core vouches for sip:", "C-S: media offered with"} {
		if !strings.Contains(notes, want) {
			t.Errorf("it does not say %q:\n%s", want, notes)
		}
	}
	if body := string(call.Answer.Body()); !strings.Contains(body, "m=audio 0 ") {
		t.Errorf("it answers\n%s", body)
	}
	call.Hangup()
}

func TestMessage(t *testing.T) {
	net := astest.New(t)
	net.Service("echo.service.toml", echo.Setup)
	alice := net.UE("alice").Register()
	if status := alice.Say("echo", "hello"); status != 200 {
		t.Fatalf("answered %d", status)
	}
	if len(alice.Messages) != 1 || !strings.HasPrefix(alice.Messages[0], "hello\nI-S: compiled into the core\n") {
		t.Errorf("it says %q", alice.Messages)
	}
}

// TestForgotten: a call that nobody ends is ended after ten minutes.
func TestForgotten(t *testing.T) {
	net := astest.New(t)
	net.Service("echo.service.toml", echo.Setup)
	alice := net.UE("alice").Register()
	alice.Call("echo").Answered()
	net.Advance(9 * time.Minute)
	if alice.HungUp {
		t.Error("it hangs up early")
	}
	net.Advance(2 * time.Minute)
	if !alice.HungUp {
		t.Error("it never hangs up")
	}
	net.Advance(5 * time.Minute)
	if n := net.Transactions(); n != 0 {
		t.Errorf("%d transactions are left over", n)
	}
}
