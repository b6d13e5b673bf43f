package node

import (
	"testing"

	"imsafe/config"
	"imsafe/policy"
)

// TestWeakenings_are_in_the_table holds that whatever a configuration can weaken by name is shown at the controls it weakens.
func TestWeakenings_are_in_the_table(t *testing.T) {
	seen := map[string]bool{}
	for _, profile := range []string{"handset", "legacy"} {
		c := config.Example()
		c.Node.Lab, c.CI.DigestMD5.Enabled, c.CI.TLS.MinVersion = true, true, "1.2"
		c.Mw.Clear, c.Mw.Listen, c.Cx.LabCleartextKeys = true, c.CI.TLS.Listen[0], true
		c.CI.IPsec.Listen, c.CI.IPsec.Profile = c.CI.TLS.Listen, profile
		c.CI.IPsec.Exceptions = []config.CIException{{IMPI: "a@b", Algorithms: []string{"hmac-md5-96/null"}, Owner: "x", Until: "2027-01-01"}}
		e, err := effective(&Options{Config: &c, Policy: policy.Default()})
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range e.Weakenings() {
			seen[w.Name] = true
			for _, control := range w.Controls {
				if state, _ := e.State(control); state != "weakened" && state != "absent" {
					t.Errorf("%s weakens %v, which is %s", w.Name, control, state)
				}
			}
		}
	}
	if len(seen) != 8 {
		t.Errorf("%d weakenings were in force: %v; a new one belongs here", len(seen), seen)
	}
}
