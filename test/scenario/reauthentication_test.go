package scenario

import (
	"testing"
	"time"

	"imsafe/test/lab"
)

// TestRefresh_is_challenged_again_after_a_day: refreshes inside the protection of a registration do not put off the day on which
// the user must prove himself anew.
func TestRefresh_is_challenged_again_after_a_day(t *testing.T) {
	w, err := lab.New(lab.Options{Seed: 1, Protected: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	alice, err := w.Nodes[0].AddUser(lab.User{Name: "alice", Scheme: "AKAv2-SHA-256"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alice.Register(); err != nil {
		t.Fatal(err)
	}
	const between = 500 * time.Second
	for passed := between; passed < 25*time.Hour; passed += between {
		w.Advance(between)
		if err := alice.SendRegister(nil); err != nil {
			t.Fatal(err)
		}
		if alice.Response(200) != nil {
			continue
		}
		if alice.Response(401) == nil {
			t.Fatalf("after %v: %s", passed, alice.Pending())
		}
		if passed < 24*time.Hour {
			t.Errorf("challenged after %v already", passed)
		}
		return
	}
	t.Error("never challenged again")
}
