package simulation

import (
	"context"
	"errors"
	"testing"

	"imsafe/imsbox/hss"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
	"imsafe/test/lab"
)

// TestOwed_termination: the HSS, a process of its own, dies after it has removed a user and before his S-CSCF has heard of it. That one goes on
// serving him; after the restart it is told, and everything of his ends. (TS 29.228 6.1.3; TS 24.229 5.4.1.5.)
func TestOwed_termination(t *testing.T) {
	w, err := lab.New(lab.Options{Seed: 1, Apart: true, Poison: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	n := w.Nodes[0]
	user := func(name string) *lab.Client {
		c, err := n.AddUser(lab.User{Name: name})
		if err == nil {
			_, err = c.Register()
		}
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	alice, bob := user("alice"), user("bob")
	talk(t, alice, bob)

	n.Severed = true
	var push *hss.PushError
	if err := n.Provision(func(ctx context.Context) error { return n.HSS().Remove(ctx, alice.IMPI) }); !errors.As(err, &push) {
		t.Fatalf("%v, want a push that failed", err)
	}
	if err := n.KillHSS(); err != nil {
		t.Fatal(err)
	}
	deliver(t, n, 1)
	alice.Send(sip.MESSAGE, bob.IMPU)
	if bob.Request("MESSAGE") == nil {
		t.Fatalf("the S-CSCF knows already: %s", alice.Pending())
	}
	bob.Answer(200)
	alice.Response(200)

	if err := n.KillHSS(); err != nil {
		t.Fatal(err)
	}
	n.Severed = false
	deliver(t, n, 0)
	for _, c := range []*lab.Client{alice, bob} {
		if c.Request("BYE") == nil {
			t.Errorf("the call of %s goes on: %s", c.Name, c.Pending())
			continue
		}
		c.Answer(200)
	}
	alice.Send(sip.MESSAGE, bob.IMPU)
	if alice.Response(403) == nil {
		t.Errorf("she is still served: %s, %s", alice.Pending(), bob.Pending())
	}
	if _, err := bob.Register(); err != nil {
		t.Error(err)
	}
	late(t, n, user("carol"))
}

// late wants that what was owed for an earlier assignment leaves a registration of a later one alone, though it is heard after it.
func late(t *testing.T, n *lab.Node, c *lab.Client) {
	t.Helper()
	var a *cx.RegistrationTerminationAnswer
	terminate := func(epoch uint64) {
		t.Helper()
		var err error
		if e := n.Call(func(task *shard.Task) {
			a, err = n.Core.SCSCF.RegistrationTermination(task, &cx.RegistrationTerminationRequest{IMPI: cx.IMPI(c.IMPI), Epoch: epoch})
		}); err != nil || e != nil || a.Result != cx.ResultSuccess {
			t.Fatalf("%+v, %v, %v", a, err, e)
		}
	}
	if _, err := c.Register(lab.Header("Contact", "<sip:"+c.Name+"@"+c.Address.String()+">;expires=0")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Register(); err != nil { // the second assignment
		t.Fatal(err)
	}
	before := n.Core.SCSCF.Registered()
	terminate(1)
	if n.Core.SCSCF.Registered() != before {
		t.Error("a request of the first assignment ended the second")
	}
	terminate(2)
	if n.Core.SCSCF.Registered() != before-1 {
		t.Error("one of the second did not")
	}
}

// talk makes a confirmed dialog.
func talk(t *testing.T, from, to *lab.Client) {
	t.Helper()
	from.Send(sip.INVITE, to.IMPU)
	if to.Request("INVITE") == nil {
		t.Fatal(from.Pending())
	}
	to.Answer(200)
	if from.Response(200) == nil {
		t.Fatal(from.Pending())
	}
	from.SendInDialog(sip.ACK)
	if to.Request("ACK") == nil {
		t.Fatal(to.Pending())
	}
}

func deliver(t *testing.T, n *lab.Node, left int) {
	t.Helper()
	if got, err := n.Deliver(); err != nil || got != left {
		t.Fatalf("%d letters left, %v; want %d", got, err, left)
	}
}
