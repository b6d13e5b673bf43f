// Package gmtest is the contract suite of refpoint/gm: what every C-I door must do for a P-CSCF.
//
// It is imported by the tests of doors.
package gmtest

import (
	"errors"
	"testing"
	"time"

	"imsafe/proto/aka"
	"imsafe/refpoint/gm"
	"imsafe/secure"
)

// Harness is one door under test.
type Harness struct {
	Door gm.Door
	// Open makes a client send its first REGISTER and returns the association that the door opened for it.
	Open func() secure.Association
	// Proof returns what the door's proof says about the client of the association when it sends its next message.
	Proof func(secure.Association) secure.Proof
	// Close ends the client's connection, or what stands for it.
	Close func(secure.Association)
	// Advance lets time pass.
	Advance func(time.Duration)
	// Gone returns the reasons that the door has pushed for the association.
	Gone func(secure.Association) []gm.Reason
}

var alice = gm.Registration{IMPI: "alice@ims.example", IMPUs: []string{"sip:alice@ims.example", "tel:+1555"}, Expires: time.Hour}

// Run runs the suite on fresh doors.
func Run(t *testing.T, fresh func(t *testing.T) Harness) {
	for name, test := range map[string]func(*testing.T, Harness){
		"Open/proves_nothing":                testOpen,
		"Promote/binds_identities":           testPromote,
		"Promote/only_lengthens":             testLengthen,
		"Promote/not_another_private_id":     testOtherUser,
		"Promote/ends":                       testExpiry,
		"Remove/after_a_while":               testRemove,
		"Gone/when_the_connection_ends":      testClose,
		"Gone/names_are_never_given_twice":   testFreshNames,
		"Install/needs_a_living_association": testInstall,
	} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
	}
}

func testOpen(t *testing.T, h Harness) {
	a := h.Open()
	if p := h.Proof(a); p.Registered() || p.IMPI() != "" || p.Association() != a || p.Kind() != secure.KindAccess {
		t.Errorf("a first REGISTER is proof of %v", p)
	}
	if !h.Door.Alive(a) || h.Door.Alive(secure.Association{}) {
		t.Error("the association must live, and the zero one must not")
	}
}

func testPromote(t *testing.T, h Harness) {
	a := h.Open()
	if err := h.Door.Promote(a, alice); err != nil {
		t.Fatal(err)
	}
	p := h.Proof(a)
	if !p.Registered() || p.IMPI() != alice.IMPI || p.DefaultIMPU() != alice.IMPUs[0] || !p.Owns([]byte("tel:+1555")) || p.Owns([]byte("sip:bob@ims.example")) {
		t.Errorf("after the 200 the proof says %v", p)
	}
}

func testLengthen(t *testing.T, h Harness) {
	a := h.Open()
	short := alice
	short.Expires = time.Minute
	for _, r := range []gm.Registration{alice, short} {
		if err := h.Door.Promote(a, r); err != nil {
			t.Fatal(err)
		}
	}
	h.Advance(30 * time.Minute)
	if !h.Door.Alive(a) {
		t.Error("a refresh has shortened the life of an association (TS 33.203 7.4)")
	}
}

func testOtherUser(t *testing.T, h Harness) {
	a := h.Open()
	mallory := gm.Registration{IMPI: "mallory@ims.example", IMPUs: []string{"sip:mallory@ims.example"}, Expires: time.Hour}
	if err := h.Door.Promote(a, alice); err != nil {
		t.Fatal(err)
	}
	if err := h.Door.Promote(a, mallory); !errors.Is(err, gm.ErrOtherUser) {
		t.Errorf("%v, want %v", err, gm.ErrOtherUser)
	}
	if p := h.Proof(a); p.IMPI() != alice.IMPI {
		t.Errorf("the association belongs to %s now", p.IMPI())
	}
}

func testExpiry(t *testing.T, h Harness) {
	a, b := h.Open(), h.Open()
	if err := h.Door.Promote(a, alice); err != nil {
		t.Fatal(err)
	}
	h.Advance(30 * time.Minute)
	if !h.Door.Alive(a) || h.Door.Alive(b) {
		t.Error("a registered association must live for its hour, one that never registered must not live half of it")
	}
	h.Advance(2 * time.Hour)
	if h.Door.Alive(a) {
		t.Error("the association has outlived its registration by an hour")
	}
	if got := h.Gone(a); len(got) != 1 || got[0] != gm.ReasonExpired {
		t.Errorf("pushed %v, want one %s", got, gm.ReasonExpired)
	}
	if err := h.Door.Promote(a, alice); !errors.Is(err, gm.ErrGone) {
		t.Errorf("%v, want %v", err, gm.ErrGone)
	}
}

func testRemove(t *testing.T, h Harness) {
	a := h.Open()
	if err := h.Door.Promote(a, alice); err != nil {
		t.Fatal(err)
	}
	h.Door.Remove(a, 10*time.Second)
	if p := h.Proof(a); p.Registered() {
		t.Error("a removed registration is still proven")
	}
	h.Advance(5 * time.Second)
	if !h.Door.Alive(a) {
		t.Error("the association is gone before the last answer had its time")
	}
	h.Advance(time.Minute)
	if h.Door.Alive(a) {
		t.Error("a removed association lives on")
	}
}

func testClose(t *testing.T, h Harness) {
	a := h.Open()
	if err := h.Door.Promote(a, alice); err != nil {
		t.Fatal(err)
	}
	h.Close(a)
	if h.Door.Confidential(a) {
		t.Error("what is gone keeps no secrets")
	}
	if h.Door.Alive(a) {
		t.Error("the association has outlived its connection")
	}
	if got := h.Gone(a); len(got) != 1 {
		t.Errorf("pushed %v, want one reason", got)
	}
}

func testFreshNames(t *testing.T, h Harness) {
	seen := map[secure.Association]bool{}
	for range 20 {
		a := h.Open()
		if seen[a] || a.IsZero() {
			t.Fatalf("%v names another association too", a)
		}
		seen[a] = true
		h.Close(a)
	}
}

func testInstall(t *testing.T, h Harness) {
	a := h.Open()
	install := func() (err error) {
		told := make(chan error, 2)
		h.Door.Install(a, aka.CK{1}, aka.IK{2}, func(_ []string, err error) { told <- err })
		err = <-told
		if len(told) != 0 {
			t.Error("it was told twice")
		}
		return err
	}
	if err := install(); err != nil {
		t.Error(err)
	}
	h.Close(a)
	if err := install(); !errors.Is(err, gm.ErrGone) {
		t.Errorf("%v, want %v: a challenge whose keys are nowhere must not be sent", err, gm.ErrGone)
	}
}
