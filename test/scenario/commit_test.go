package scenario

import (
	"testing"

	"imsafe/imsbox/scscf"
	"imsafe/test/lab"
)

// TestRegister_is_one_commit holds that the HSS and the S-CSCF make a registration durable together: one batch of the journal
// for a REGISTER, a refresh and a de-registration each, and none for a challenge.
func TestRegister_is_one_commit(t *testing.T) {
	w, err := lab.New(lab.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	alice, err := w.Nodes[0].AddUser(lab.User{Name: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	commits := func(do func() error) uint64 {
		t.Helper()
		before := w.Nodes[0].Store.Stats().Batches
		if err := do(); err != nil {
			t.Fatal(err)
		}
		w.Settle()
		return w.Nodes[0].Store.Stats().Batches - before
	}
	register := func() error { _, err := alice.Register(); return err }
	leave := func() error {
		_, err := alice.Register(lab.Header("Contact", "<sip:alice@10.0.0.10:5060>;expires=0"))
		return err
	}
	commits(register) // the first one also reserves sequence numbers
	for name, do := range map[string]func() error{"refresh": register, "de-registration": leave, "registration": register} {
		if n := commits(do); n != 1 {
			t.Errorf("%s: %d commits, want 1", name, n)
		}
	}
	// A refresh leaves the index of the public identities alone: it is there, and says what it would say again.
	changes := func(do func() error) int {
		t.Helper()
		before := w.Nodes[0].Store.Stats().Changes
		commits(do)
		return int(w.Nodes[0].Store.Stats().Changes - before)
	}
	commits(register)
	index := func() int {
		records, _, err := w.Nodes[0].Store.Scan(scscf.TableIdentity, nil, nil, 10)
		if err != nil {
			t.Fatal(err)
		}
		return len(records)
	}
	if n, identities := changes(register), index(); n != 1 || identities == 0 {
		t.Errorf("a refresh changes %d records and leaves %d identities, want 1 and some", n, identities)
	}
	if commits(leave); index() != 0 {
		t.Errorf("%d identities outlive their registration", index())
	}
	challenge := func() error { return alice.SendRegister(nil) }
	if n := commits(challenge); n != 0 {
		t.Errorf("a challenge: %d commits, want none", n)
	}
}
