package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"imsafe/client/ue"
	"imsafe/proto/siptxn"
)

// sealedClient is a client with security associations whose patience is that of a test, and what it was told of its registration.
type sealedClient struct {
	*ue.UE
	calls   chan *ue.Call
	changes chan ue.Registration
}

// sealed makes a client of a card that registers over IPsec at addresses.
func (k *killing) sealed(card string, nat uint16, proxies ...string) *sealedClient {
	k.t.Helper()
	var out lockedBuffer
	a := &app{ctx: k.t.Context(), stdout: &out, stderr: &out, getenv: func(string) string { return "" }}
	p := &phone{a: a, calls: make(chan *ue.Call, 8)}
	var err error
	if p.card, err = a.openCard(k.path(card)); err != nil {
		k.t.Fatal(err)
	}
	p.domain = p.card.domain()
	l := &line{Proxy: proxies, Transport: "ipsec", Algorithms: "strict", ESP: "udp", NATPort: nat}
	c, err := l.config(p)
	if err != nil {
		k.t.Fatal(err)
	}
	s := &sealedClient{calls: p.calls, changes: make(chan ue.Registration, 64)}
	quick := siptxn.Derive(50*time.Millisecond, 200*time.Millisecond, 250*time.Millisecond) // timers B and F after 3.2 s, for 128 s on Gm
	c.Timers, c.OnRegistration = &quick, func(r ue.Registration) { s.changes <- r }
	if s.UE, err = ue.New(*c); err != nil {
		k.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	k.t.Cleanup(func() {
		stop()
		if err := errors.Join(<-done, p.card.Close()); err != nil {
			k.t.Error(err)
		}
	})
	if _, err := s.Register(k.t.Context()); err != nil {
		k.t.Fatalf("%s: %v\n%s", card, err, k.log["core"])
	}
	return s
}

// comesBack waits until the client is registered again.
func (s *sealedClient) comesBack(t *testing.T, since time.Time) {
	t.Helper()
	lost := false
	for late := time.After(time.Minute); ; {
		select {
		case r := <-s.changes:
			if lost = lost || r.Err != nil; lost && r.State == ue.Registered {
				t.Logf("registered again after %v", time.Since(since).Round(time.Millisecond))
				return
			}
		case <-late:
			t.Fatal("it does not register again")
		}
	}
}

// rung calls somebody and returns the answer: 200 if he rings, and is hung up.
func (s *sealedClient) rung(t *testing.T, who string, calls chan *ue.Call) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := s.Call(ctx, "sip:"+who+"@"+testDomain, ue.Voice{})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case in := <-calls:
		in.Answer(ue.Voice{})
		if _, err := out.Until(ctx, ue.Secured); err != nil {
			t.Errorf("%s answers: %v", who, err)
		}
		out.Hangup()
		<-in.Done()
		return 200
	case <-out.Done():
		return out.Result().Code
	case <-ctx.Done():
		t.Fatalf("nothing happens in a call to %s", who)
		return 0
	}
}

// TestRestart_under_security_associations: a node is killed with SIGKILL while clients have associations with it and two of them talk, and starts again. It knows their
// registrations and none of their associations: who calls one is answered 480 at once, not silence (TS 24.229 5.2.3, 5.4.3.3). Each client finds out by its next request,
// which has no answer; it registers anew in clear, and is called.
func TestRestart_under_security_associations(t *testing.T) {
	d := newDesk(t)
	k := &killing{enrolment: &enrolment{desk: d}, processes: map[string]*exec.Cmd{}, log: map[string]*lockedBuffer{}}
	gm, nat := freePort(t), netip.MustParseAddrPort(freePort(t)).Port()
	d.write("imsafe.toml", k.read("imsafe.toml")+fmt.Sprintf("[ci.ipsec]\nlisten = [%q]\nesp = \"off\"\nnat_port = %d\n", gm, nat))
	t.Cleanup(func() { k.kill("core") })
	k.core()
	for _, name := range []string{"alice", "bob", "carol"} {
		k.do("user", "add", name, "--random", "--scheme", "AKAv1-MD5", "--card-out", k.path(name))
	}
	alice, bob := k.sealed("alice", nat, gm), k.sealed("bob", nat, gm)
	call, err := alice.Call(t.Context(), "sip:bob@"+testDomain, ue.Voice{})
	if err != nil {
		t.Fatal(err)
	}
	(<-bob.calls).Answer(ue.Voice{})
	if _, err := call.Until(t.Context(), ue.Secured); err != nil {
		t.Fatal(err)
	}

	k.kill("core")
	k.core()
	carol := k.sealed("carol", nat, gm)
	began := time.Now()
	if code := carol.rung(t, "bob", bob.calls); code != 480 {
		t.Errorf("who has associations of before is called: %d, want 480", code)
	}
	t.Logf("a call to him is answered after %v", time.Since(began).Round(time.Millisecond))

	began = time.Now()
	if _, err := alice.Call(t.Context(), "sip:carol@"+testDomain, ue.Voice{}); err != nil {
		t.Fatal(err)
	}
	alice.comesBack(t, began)
	call.Hangup() // its media have gone on: nobody else ends it
	<-call.Done()
	began = time.Now()
	if err := bob.SendMessage(t.Context(), "sip:alice@"+testDomain, "text/plain", []byte("are you there")); !errors.Is(err, siptxn.ErrTimeout) {
		t.Errorf("a message over associations that nobody knows: %v", err)
	}
	bob.comesBack(t, began)
	for who, calls := range map[string]chan *ue.Call{"alice": alice.calls, "bob": bob.calls} {
		if code := carol.rung(t, who, calls); code != 200 {
			t.Errorf("%s is called again: %d", who, code)
		}
	}
	if log := k.log["core"].String(); strings.Contains(log, "panic") {
		t.Error(log)
	}
}
