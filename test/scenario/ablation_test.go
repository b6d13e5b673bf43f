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
		{"route_into_core", secure.CIAuthorizationEdgeOnly, `
user alice
user bob
alice registers
bob registers
alice > INVITE bob
    Route: <sip:icscf.ims.mnc001.mcc001.3gppnetwork.org;lr>
bob < INVITE
    lacks Record-Route: orig@scscf.
`},
		{"claimed_protection", secure.CIIntegrityHeaderEdge, `
user alice
user mallory
alice registers
mallory > REGISTER
    Authorization: Digest username="alice@ims.mnc001.mcc001.3gppnetwork.org",realm="ims.mnc001.mcc001.3gppnetwork.org",nonce="",uri="sip:ims.mnc001.mcc001.3gppnetwork.org",response="",integrity-protected="tls-yes"
    To: <sip:alice@ims.mnc001.mcc001.3gppnetwork.org>
mallory < 401
refused ci.authentication.flag
`},
		{"forged_from", secure.CIAuthenticationFromCheck, `
user bob
user mallory
bob registers
mallory registers
mallory > MESSAGE bob
    From: "+1 555 0001234" <sip:mallory@ims.mnc001.mcc001.3gppnetwork.org>;tag=1
bob < MESSAGE
    has From: "+1 555 0001234"
`},
		{"place_and_device", secure.CIConfidentialityPrivacyEgress, `
user alice
user bob
alice registers
bob registers
alice > INVITE bob
    P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=0010100010000001
    Privacy: id
bob < INVITE
    has P-Access-Network-Info: 0010100010000001
    has P-Asserted-Identity: alice
`},
		{"watched_by_another", secure.CIAuthorizationSubscribe, `
user alice
user mallory
alice registers
mallory registers
mallory > SUBSCRIBE alice
    Event: reg
mallory < 200
mallory < NOTIFY
    body sip:alice@10.0.0.10
`},
		{"told_at_once", secure.CIAvailabilityNotifyPacing, `
user alice
alice registers
alice > SUBSCRIBE alice
    Event: reg
alice < 200
alice < NOTIFY
alice > REGISTER
alice < 401
alice > REGISTER 401
alice < 200
alice < NOTIFY
`},
		{"without_end", secure.CIAvailabilityBudgetUser, `budget
user alice
user bob
alice registers
bob registers
alice > REFER bob
    Refer-To: <sip:carol@ims.example>
bob < REFER
bob > 202
alice < 202
alice > REFER bob
    Refer-To: <sip:carol@ims.example>
bob < REFER
`},
		{"premium", secure.CIAuthorizationRoutePolicy, `numbering
user alice
user premium also=tel:+979123456
alice registers
premium registers
alice > INVITE tel:+979123456
premium < INVITE
`},
		{"strangers", secure.CIAuthorizationProtectedPort, `
user bob
user mallory
bob registers
mallory > INVITE bob
mallory < 403
refused ci.authentication.sa-identity
bob < nothing
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
