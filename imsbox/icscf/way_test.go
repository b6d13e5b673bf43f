package icscf

import (
	"errors"
	"testing"

	"imsafe/refpoint/cx"
)

// TestRefusals: what a client hears when the HSS says no, or nothing (TS 24.229 5.3.1.2, 5.3.2.1).
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		err               error
		register, session int // that of REGISTER to who is registered already
	}{
		{cx.ErrUserUnknown, 403, 404},
		{cx.ErrIdentitiesDontMatch, 403, 480},
		{cx.ErrRoamingNotAllowed, 403, 480},
		{cx.ErrAuthorizationRejected, 403, 480},
		{cx.ErrIdentityNotRegistered, 403, 480},
		{cx.ErrUnableToComply, 480, 480},
		{cx.ErrTooBusy, 480, 480},
		{errors.New("no way to the HSS"), 480, 480},
	} {
		if got := registerRefusal(c.err); got != c.register {
			t.Errorf("REGISTER, %v: %d, want %d", c.err, got, c.register)
		}
		if got := sessionRefusal(c.err); got != c.session {
			t.Errorf("INVITE, %v: %d, want %d", c.err, got, c.session)
		}
	}
}

func TestIdentities(t *testing.T) {
	i := &ICSCF{cfg: Config{Domain: "ims.example"}}
	for uri, want := range map[string][]string{
		"sip:Alice@IMS.example;gr=x":                               {"sip:Alice@ims.example"},
		"tel:+1-555-0100":                                          {"tel:+15550100", "sip:+15550100@ims.example"},
		"tel:100;phone-context=ims.example":                        {"tel:100;phone-context=ims.example", "sip:100@ims.example"},
		"tel:100;phone-context=other.example":                      {"tel:100;phone-context=other.example"},
		"sip:+1-555-0100@ims.example;user=phone":                   {"tel:+15550100", "sip:+15550100@ims.example"},
		"sip:100@ims.example;user=phone":                           {"sip:100@ims.example", "tel:100;phone-context=ims.example"},
		"sip:100;phone-context=ims.example@ims.example;user=phone": {"sip:100@ims.example", "tel:100;phone-context=ims.example"},
		"sip:+15550100@other.example;user=phone":                   {"sip:+15550100@other.example"},
		"urn:service:sos":                                          nil,
	} {
		got := i.identities([]byte(uri))
		if len(got) != len(want) {
			t.Errorf("%s: %q, want %q", uri, got, want)
			continue
		}
		for n := range want {
			if got[n] != want[n] {
				t.Errorf("%s: %q, want %q", uri, got, want)
			}
		}
	}
}
