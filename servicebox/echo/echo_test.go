package echo_test

import (
	"strings"
	"testing"
	"time"

	"imsafe/refpoint/mr/mrtest"
	"imsafe/servicebox/as"
	"imsafe/servicebox/as/astest"
	"imsafe/servicebox/echo"
)

// TestCall: what is heard goes back, from the moment in which the answer is acknowledged to the end of the call; then nothing is left.
func TestCall(t *testing.T) {
	net, media := astest.New(t), mrtest.NewFake(2)
	svc := net.Service("echo.service.toml", func(s *as.Service) { s.UseMedia(media); echo.Setup(s) })
	alice := net.UE("alice").Register()
	call := alice.Call("echo").Answered()
	if notes := strings.Join(call.Notes(), "\n"); !strings.Contains(notes, "C-S: media offered with DTLS-SRTP, which ends here") {
		t.Errorf("it says\n%s", notes)
	}
	open := media.Calls()
	if len(open) != 1 || !open[0].Started() || !open[0].Looping() || open[0].Terms.Record || string(call.Answer.Body()) != string(open[0].Answer()) {
		t.Fatalf("%d calls are open", len(open))
	}
	if again := call.Reoffer(); again.Status != 200 {
		t.Errorf("the same offer again: %d", again.Status)
	}
	call.Hangup()
	if n := len(media.Calls()); n != 0 {
		t.Errorf("%d calls are left over", n)
	}
	if n := svc.Counters().Failed.Load(); n != 0 {
		t.Errorf("%d handlers have failed", n)
	}
}

// TestLate: who calls without an offer gets one in the answer, and media begin with the ACK that answers it; where there are none to offer the call is refused.
func TestLate(t *testing.T) {
	net, media := astest.New(t), mrtest.NewFake(2)
	net.Service("echo.service.toml", func(s *as.Service) { s.UseMedia(media); echo.Setup(s) })
	call := net.UE("alice").Register().CallLate("echo").Answered()
	open := media.Calls()
	if len(open) != 1 || !open[0].Started() || !open[0].Looping() || !strings.Contains(string(call.Answer.Body()), "UDP/TLS/RTP/SAVP") {
		t.Fatalf("%d calls are open, it answers\n%s", len(open), call.Answer.Body())
	}
	call.Hangup()
	if n := len(media.Calls()); n != 0 {
		t.Errorf("%d calls are left over", n)
	}
	without := astest.New(t)
	without.Service("echo.service.toml", echo.Setup)
	without.UE("alice").Register().CallLate("echo").Fails(488)
}

// TestHold: who holds hears nothing and is answered so; then he hears himself again. The channel is the same, and so are its keys.
func TestHold(t *testing.T) {
	net, media := astest.New(t), mrtest.NewFake(2)
	net.Service("echo.service.toml", func(s *as.Service) { s.UseMedia(media); echo.Setup(s) })
	call := net.UE("alice").Register().Call("echo").Answered()
	open := media.Calls()
	if body := string(call.Hold().Answered().Answer.Body()); !strings.Contains(body, "a=recvonly") || !open[0].Held() {
		t.Errorf("hold is answered\n%s", body)
	}
	if body := string(call.Resume().Answered().Answer.Body()); strings.Contains(body, "a=recvonly") || open[0].Held() || !open[0].Looping() {
		t.Errorf("resumed with\n%s", body)
	}
	if again := media.Calls(); len(again) != 1 || again[0] != open[0] {
		t.Error("it is another channel")
	}
}

// TestNotGranted: without the right to media there are none, and the call stands all the same.
func TestNotGranted(t *testing.T) {
	net, media := astest.New(t), mrtest.NewFake(2)
	net.Service("echo.service.toml", func(s *as.Service) { s.UseMedia(media); echo.Setup(s) }, astest.Without("media.send", "media.receive"))
	call := net.UE("alice").Register().Call("echo").Answered()
	if body := string(call.Answer.Body()); !strings.Contains(body, "m=audio 0 ") {
		t.Errorf("it answers\n%s", body)
	}
}

// TestWithoutMediaServer: it says which protections hold, and declines.
func TestWithoutMediaServer(t *testing.T) {
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
