package scenario

import (
	"testing"
	"time"

	"imsafe/proto/sip"
	"imsafe/test/lab"
)

// TestAllocations holds what is allocated for a scenario, everything counted: door, transactions, functions, HSS, store, and the clients and
// the network of the lab, which take about as much again. Time is virtual and there is one thread, so the figure is the same on any machine. A
// budget is what was measured when it was last lowered, and a little for another release of Go: lower it with what you save, and who raises one says why.
// What the node takes alone is measured by bench/spine.
func TestAllocations(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates too")
	}
	w, err := lab.New(lab.Options{Seed: 1, Wide: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	join := func(name string) *lab.Client {
		c, err := w.Nodes[0].AddUser(lab.User{Name: name})
		if err == nil {
			_, err = c.Register()
		}
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	alice, bob := join("alice"), join("bob")
	for _, c := range []struct {
		name   string
		budget float64 // objects
		run    func(t *testing.T)
	}{
		{"registration", 150, func(t *testing.T) {
			if _, err := alice.Register(); err != nil {
				t.Fatal(err)
			}
		}},
		{"call", 322, func(t *testing.T) { call(t, alice, bob) }},
		{"message", 97, func(t *testing.T) {
			alice.Send(sip.MESSAGE, bob.IMPU)
			answered(t, bob, alice, "MESSAGE")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, client := range []*lab.Client{alice, bob} { // a registration does not outlive two of these tests
				if _, err := client.Register(); err != nil {
					t.Fatal(err)
				}
			}
			scenario := func() {
				c.run(t)
				w.Advance(33 * time.Second) // transactions end, the image is written: that is counted too
			}
			for range 3 {
				scenario()
			}
			got := testing.AllocsPerRun(8, scenario)
			t.Logf("%.0f objects, budget %.0f", got, c.budget)
			if got > c.budget {
				t.Errorf("%.0f objects, more than its budget of %.0f", got, c.budget)
			}
		})
	}
}

// answered lets to accept what from has sent.
func answered(t *testing.T, to, from *lab.Client, method string) {
	t.Helper()
	if to.Request(method) == nil {
		t.Fatalf("no %s: %s", method, from.Pending())
	}
	to.Answer(200)
	if from.Response(200) == nil {
		t.Fatalf("no 200 to %s: %s", method, from.Pending())
	}
}

// call is INVITE, 200, ACK, BYE, 200.
func call(t *testing.T, from, to *lab.Client) {
	t.Helper()
	from.Send(sip.INVITE, to.IMPU)
	answered(t, to, from, "INVITE")
	from.SendInDialog(sip.ACK)
	if to.Request("ACK") == nil {
		t.Fatal(to.Pending())
	}
	from.SendInDialog(sip.BYE)
	answered(t, to, from, "BYE")
}
