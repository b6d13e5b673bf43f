package diameter

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A peer that is admitted while the node runs is one; when it is dismissed it is nobody, at once.
func TestAdmitAndDismiss(t *testing.T) {
	bubble(t, func(t *testing.T, w *network) {
		server := w.start(config(beta))
		client := w.start(config(alpha, PeerConfig{Host: beta, Dial: w.dial(alpha, beta)}))
		time.Sleep(5 * time.Second)
		if _, err := client.ask(asks(client)); !errors.Is(err, ErrNoPeer) {
			t.Fatalf("before: %v", err)
		}
		role := Role{Requests: map[Application][]Command{AppCx: {UAR}}}
		if err := server.Admit(PeerConfig{Host: alpha, Realm: realm, Cleartext: true, Role: role}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // until it dials again
		client.wantAnswer("admitted", asks(client), ResultSuccess)
		for what, c := range map[string]PeerConfig{"twice": {Host: alpha, Realm: realm, Cleartext: true}, "itself": {Host: beta, Realm: realm, Cleartext: true},
			"no name": {Host: "a b", Realm: realm, Cleartext: true}, "no TLS": {Host: "gamma." + realm, Realm: realm}} {
			if err := server.Admit(c); !errors.Is(err, ErrPeer) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := server.Dismiss(alpha); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := client.ask(asks(client)); !errors.Is(err, ErrNoPeer) {
			t.Errorf("dismissed: %v", err)
		}
		time.Sleep(5 * time.Minute)
		if _, err := client.ask(asks(client)); !errors.Is(err, ErrNoPeer) {
			t.Errorf("when it has tried again: %v", err)
		}
		if err := server.Dismiss(alpha); err != nil {
			t.Errorf("again: %v", err)
		}
	})
}

// A peer that is dialled is dialled when it is admitted, and not when it was dismissed.
func TestAdmit_dials(t *testing.T) {
	bubble(t, func(t *testing.T, w *network) {
		w.start(config(beta, PeerConfig{Host: alpha}))
		client := w.start(config(alpha))
		if err := client.Admit(PeerConfig{Host: beta, Realm: realm, Cleartext: true, Dial: w.dial(alpha, beta)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		client.wantAnswer("dialled", asks(client), ResultSuccess)
		if err := client.Dismiss(beta); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if _, err := client.ask(asks(client)); !errors.Is(err, ErrNoPeer) {
			t.Errorf("dismissed: %v", err)
		}
	})
}

func asks(h *house) Outgoing { return Outgoing{Message: request(h.Node, "a", nil), Realm: realm} }
