package as

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"time"

	"imsafe/proto/passport"
	"imsafe/proto/sip"
	"imsafe/refpoint/mr/mrtest"
)

// TestVouchedFor: media keys that are not those of what was signed beside them are not answered; where nothing was signed nothing is compared.
func TestVouchedFor(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := passport.NewSigner(key, "https://cs.ims.example/certificates/k1")
	if err != nil {
		t.Fatal(err)
	}
	signed := func(keys []passport.Fingerprint) string {
		p := &passport.PASSporT{Orig: passport.Identity{URI: "sip:alice@ims.example"}, Dest: []passport.Identity{{URI: "sip:echo@ims.example"}},
			IssuedAt: time.Unix(1790000000, 0), Keys: keys}
		if err := signer.Sign(p); err != nil {
			t.Fatal(err)
		}
		return string(p.AppendIdentity(nil))
	}
	theirs := passport.KeysOf([]byte(mrtest.Offer))
	others := []passport.Fingerprint{{Algorithm: "sha-256", Digest: "4AADB9B13F82183B540212DF3E5D496B19E57CAB3E4B652E7D463F5442CD54F1"}}
	for name, c := range map[string]struct {
		identity []string
		want     bool
	}{
		"nothing signed":    {nil, true},
		"these":             {[]string{signed(theirs)}, true},
		"others":            {[]string{signed(others)}, false},
		"these and more":    {[]string{signed(append(others, theirs...))}, false},
		"these, and others": {[]string{signed(theirs), signed(others)}, false},
		"without keys":      {[]string{signed(nil)}, true},
		"not readable":      {[]string{"hello"}, true},
	} {
		m := sip.NewPool(sip.Limits{}).NewRequest(sip.INVITE, "sip:echo@ims.example")
		for _, v := range c.identity {
			m.AppendString(sip.HdrIdentity, v)
		}
		if got := vouchedFor(m, []byte(mrtest.Offer)); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
		m.Release()
	}
}
