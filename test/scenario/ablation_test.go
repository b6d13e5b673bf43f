package scenario

import (
	"testing"

	"imsafe/policy"
	"imsafe/secure"
	"imsafe/test/lab"
)

// TestWithout_a_control plays what a control refuses with that control off: then it must succeed, or it was something else that refused.
func TestWithout_a_control(t *testing.T) {
	for _, c := range []struct {
		name    string
		control secure.ControlID
		script  string
	}{
		{"ghost_calls", secure.CIAvailabilityEarlyDialog, `
user mallory
user bob
mallory registers
bob registers
mallory > INVITE bob
bob < INVITE
bob > 183
mallory > INVITE bob
bob < INVITE
bob > 183
mallory > INVITE bob
bob < INVITE
bob > 183
after 60s
bob < nothing
`},
		{"early_media", secure.CIIntegrityHeaderEdge, `
user alice
user bob
alice registers
bob registers
alice > INVITE bob
bob < INVITE
bob > 183
    P-Early-Media: sendrecv
alice < 183
    has P-Early-Media: sendrecv
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			off, err := policy.Default().Ablate(c.control)
			if err != nil {
				t.Fatal(err)
			}
			Play(t, c.script, lab.Options{Seed: 1, Policy: off})
		})
	}
}
