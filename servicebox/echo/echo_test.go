package echo_test

import (
	"strings"
	"testing"

	"imsafe/servicebox/as/astest"
	"imsafe/servicebox/echo"
)

func TestCall(t *testing.T) {
	net := astest.New(t)
	net.Service("echo.service.toml", echo.Setup)
	alice := net.UE("alice").Register()
	call := alice.Call("echo").Answered()
	notes := strings.Join(call.Notes(), "\n")
	for _, want := range []string{"I-S: compiled into the core", "C-I: the core vouches for " + alice.IMPU(), "C-S: media offered with"} {
		if !strings.Contains(notes, want) {
			t.Errorf("it does not say %q:\n%s", want, notes)
		}
	}
	if body := string(call.Answer.Body()); !strings.Contains(body, "m=audio 0 ") {
		t.Errorf("it answers\n%s", body)
	}
	call.Hangup()
}
