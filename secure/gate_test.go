package secure_test

import (
	"testing"

	"imsafe/secure"
	"imsafe/secure/mint"
)

func TestProof_zero_value_proves_nothing(t *testing.T) {
	var p secure.Proof
	if p.Kind() != secure.KindNone || p.Registered() || p.Protected() || p.Owns([]byte("sip:a@b")) || p.IMPI() != "" || !p.Association().IsZero() {
		t.Errorf("the zero proof proves something: %v", p)
	}
}

func TestProof_owns_its_set_only(t *testing.T) {
	p := mint.Access(mint.Client{IMPI: "a@b", IMPUs: []string{"sip:a@b", "tel:+1555"}})
	for impu, owned := range map[string]bool{"sip:a@b": true, "tel:+1555": true, "sip:c@b": false, "": false} {
		if p.Owns([]byte(impu)) != owned {
			t.Errorf("owns %q: %v, want %v", impu, !owned, owned)
		}
	}
	p.IMPUs()[0] = "sip:c@b" // a copy: the proof does not change
	if p.DefaultIMPU() != "sip:a@b" {
		t.Error("a proof was changed from outside")
	}
}

type sink []secure.Event

func (s *sink) Refused(e secure.Event) { *s = append(*s, e) }

func TestGate(t *testing.T) {
	var heard sink
	g := secure.NewGate([]secure.ControlID{secure.CIIntegrityHeaderEdge}, &heard)
	if !g.Refuse(secure.CIAuthenticationAKA, secure.Event{Reason: "x"}) || g.Refuse(secure.CIIntegrityHeaderEdge, secure.Event{Reason: "y"}) {
		t.Error("the control that is on must refuse, the one that is off must not")
	}
	if len(heard) != 2 || !heard[0].Enforced || heard[1].Enforced || heard[1].Control != secure.CIIntegrityHeaderEdge {
		t.Errorf("the sink heard %v", heard)
	}
}

func TestControl_names(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range secure.Controls() {
		if back, known := secure.ControlByName(c.String()); !known || back != c || seen[c.String()] {
			t.Errorf("control %d: name %q", c, c)
		}
		seen[c.String()] = true
	}
}

func BenchmarkProofOwns(b *testing.B) {
	p := mint.Access(mint.Client{IMPI: "a@b", IMPUs: []string{"sip:alice@ims.mnc001.mcc001.3gppnetwork.org", "tel:+15551234"}})
	impu := []byte("tel:+15551234")
	b.ReportAllocs()
	for b.Loop() {
		if !p.Owns(impu) {
			b.Fatal("not owned")
		}
	}
}

func BenchmarkGatePass(b *testing.B) {
	g := secure.NewGate(nil, nil)
	bad := false
	b.ReportAllocs()
	for b.Loop() {
		if bad && g.Refuse(secure.CIAuthenticationAKA, secure.Event{Reason: "x"}) {
			b.Fatal("refused")
		}
	}
}

func BenchmarkGateRefuse(b *testing.B) {
	g := secure.NewGate(nil, nil)
	b.ReportAllocs()
	for b.Loop() {
		g.Refuse(secure.CIAuthenticationAKA, secure.Event{Reason: "x"})
	}
}
