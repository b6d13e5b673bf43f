package secure_test

import (
	"testing"

	"imsafe/secure"
	"imsafe/secure/mint"
)

// TestOver holds that what came over security associations has the proof of its client, with integrity, and that only there a claim counts.
func TestOver(t *testing.T) {
	inClear := mint.Access(mint.Client{Peer: "192.0.2.1:5060", Association: secure.Association{Slot: 1, Gen: 1}, Profile: "ipsec-3gpp", Claimed: "alice@ims.example"})
	if inClear.Protected() || inClear.Claimed() != "" || inClear.Generation() != secure.GenerationNone {
		t.Errorf("in clear: protected %v, claimed %q, %v associations", inClear.Protected(), inClear.Claimed(), inClear.Generation())
	}
	sealed := mint.Over(inClear, secure.GenerationNew)
	if !sealed.Protected() || sealed.Claimed() != "alice@ims.example" || sealed.Generation() != secure.GenerationNew || sealed.Registered() ||
		sealed.Association() != inClear.Association() || sealed.Peer() != inClear.Peer() || sealed.Kind() != secure.KindAccess {
		t.Errorf("inside: protected %v, claimed %q, %v associations, registered %v", sealed.Protected(), sealed.Claimed(), sealed.Generation(), sealed.Registered())
	}
	if nobody := mint.Over(secure.Proof{}, secure.GenerationCurrent); nobody != (secure.Proof{}) || nobody.Protected() {
		t.Error("who was never seen has a proof")
	}
}
