package policy_test

import (
	"net/netip"
	"testing"

	"imsafe/policy"
	"imsafe/policy/lab"
	"imsafe/secure"
)

func TestEveryControlHasExactlyOneRow(t *testing.T) {
	seen := map[secure.ControlID]int{}
	for _, r := range policy.Rows() {
		seen[r.Control]++
		if r.Mechanism == "" || r.Clause == "" || r.Dimension == "" {
			t.Errorf("%v: incomplete row", r.Control)
		}
	}
	for _, c := range secure.Controls() {
		if seen[c] != 1 {
			t.Errorf("%v: %d rows, want 1", c, seen[c])
		}
	}
}

func TestDefaultRefusesByEveryControl(t *testing.T) {
	g := policy.Default().Gate(nil)
	for _, c := range secure.Controls() {
		if !g.Refuse(c, secure.Event{Reason: "test"}) {
			t.Errorf("%v does not refuse by default", c)
		}
	}
}

func TestWithout(t *testing.T) {
	loopback := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:5060")}
	cases := []struct {
		name    string
		ground  lab.Ground
		control secure.ControlID
		ok      bool
	}{
		{"not_lab", lab.Ground{Listeners: loopback}, secure.CIAuthenticationAKA, false},
		{"public_address", lab.Ground{Lab: true, Listeners: []netip.AddrPort{netip.MustParseAddrPort("8.8.8.8:5060")}}, secure.CIAuthenticationAKA, false},
		{"unspecified_address", lab.Ground{Lab: true, Listeners: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:5060")}}, secure.CIAuthenticationAKA, false},
		{"key_egress_never", lab.Ground{Lab: true, Listeners: loopback}, secure.CIConfidentialityKeyEgress, false},
		{"loopback_lab", lab.Ground{Lab: true, Listeners: loopback}, secure.CIAuthenticationAKA, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, err := lab.Without(policy.Default(), c.ground, c.control)
			if (err == nil) != c.ok {
				t.Fatalf("error %v, want success %v", err, c.ok)
			}
			g := p.Gate(nil)
			if stands := g.Refuse(c.control, secure.Event{}); stands == c.ok {
				t.Errorf("refusal stands: %v", stands)
			}
			refused, passed := g.Counts(c.control)
			if refused+passed != 1 || (passed == 1) != c.ok {
				t.Errorf("counted %d refused, %d passed", refused, passed)
			}
		})
	}
}

// TestWeaken holds that a named setting shows at the controls that it weakens, and that none can be in force without a name in the table.
func TestWeaken(t *testing.T) {
	p, err := policy.Default().Weaken("ipsec-legacy", "no encryption")
	if err != nil {
		t.Fatal(err)
	}
	if state, by := p.State(secure.CIConfidentialityESP); state != "weakened" || len(by) != 1 || by[0] != "ipsec-legacy" {
		t.Errorf("%s by %v", state, by)
	}
	if state, _ := p.State(secure.CIAuthenticationAKA); state != "on" {
		t.Errorf("another control is %s", state)
	}
	if state, _ := policy.Default().State(secure.CIConfidentialityESP); state != "on" {
		t.Errorf("the default policy has changed: %s", state)
	}
	if !p.Gate(nil).Refuse(secure.CIConfidentialityESP, secure.Event{}) {
		t.Error("a weakening is no off-switch")
	}
	if _, err := policy.Default().Weaken("nobody-knows", ""); err == nil {
		t.Error("a weakening that the table does not know is in force")
	}
}
