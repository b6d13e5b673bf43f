package imsservice

import (
	"testing"

	"imsafe/proto/sip"
)

// newStay makes a stay at a platform and the dialog that comes with it.
func newStay(t *testing.T, v *visits, host, identifier, callID string) {
	t.Helper()
	m := sip.NewPool(sip.Limits{}).NewRequest(sip.INVITE, "sip:bob@ims.example")
	if !v.begin(identifier, &visit{host: host, original: m, method: sip.INVITE}) {
		t.Fatal("no room")
	}
	v.join(host, []byte(callID), identifier, 0)
}

// within is a request inside a dialog.
func within(callID string) *sip.Message {
	m := sip.NewPool(sip.Limits{}).NewRequest(sip.BYE, "sip:bob@ims.example")
	m.SetString(sip.HdrCallID, callID)
	return m
}

// TestVisitsOfAFork: a branch that failed takes the platform out of no other.
func TestVisitsOfAFork(t *testing.T) {
	v := newVisits()
	newStay(t, v, "as", "one", "call")
	newStay(t, v, "as", "two", "call")
	v.end("one")
	if !v.takesPart("as", within("call")) || v.dialogsOf("as") != 1 {
		t.Error("it is out of the call")
	}
	v.end("two")
	if v.takesPart("as", within("call")) || v.dialogsOf("as") != 0 || len(v.stays) != 0 {
		t.Error("it is in the call that came to nothing")
	}
}

// TestVisitsOfABridge: a back-to-back user agent that failed is out of both its dialogs.
func TestVisitsOfABridge(t *testing.T) {
	v := newVisits()
	newStay(t, v, "as", "one", "call")
	v.join("as", []byte("second"), "one", 0)
	v.end("one")
	if v.takesPart("as", within("call")) || v.takesPart("as", within("second")) || v.dialogsOf("as") != 0 {
		t.Error("it is in a call that came to nothing")
	}
}

// TestVisitsOfItsOwn: what a platform began outlives a visit by the same call.
func TestVisitsOfItsOwn(t *testing.T) {
	v := newVisits()
	v.join("as", []byte("call"), "", 0)
	newStay(t, v, "as", "one", "call")
	v.end("one")
	if !v.takesPart("as", within("call")) {
		t.Error("it is out of its own call")
	}
	v.leave("as", []byte("call"))
	if v.takesPart("as", within("call")) || v.dialogsOf("as") != 0 {
		t.Error("it is in a call that has ended")
	}
}

// TestVisitsOfSeveralAnswers: of a fork that several have answered all but one are hung up at once; the call goes on.
func TestVisitsOfSeveralAnswers(t *testing.T) {
	v := newVisits()
	newStay(t, v, "as", "one", "call")
	for _, tag := range []string{"a", "b", "b"} {
		v.answer("as", []byte("call"), []byte(tag))
	}
	for range 2 { // it passes the door twice: to the platform and back
		v.hangUp("as", []byte("call"), []byte("caller"), []byte("a"))
	}
	if !v.takesPart("as", within("call")) {
		t.Fatal("it is out of the call that goes on")
	}
	v.hangUp("as", []byte("call"), []byte("b"), []byte("caller"))
	if v.takesPart("as", within("call")) || len(v.stays) != 0 {
		t.Error("it is in a call that has ended")
	}
}
