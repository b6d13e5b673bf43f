package pcscf

import (
	"imsafe/proto/passport"
	"imsafe/proto/sip"
)

// Voucher signs for the home network, and knows what it has signed. Safe for concurrent use; it does not wait.
type Voucher interface {
	Sign(p *passport.PASSporT) error
	// Genuine reports whether a token was signed by this network, with a key that is still good.
	Genuine(p *passport.PASSporT) bool
}

// vouchAnew signs the media keys that the client of this P-CSCF is shown, where the anchor stands between it and those that were signed
// (RFC 8224 5, for who changes a description). before are the keys of the description as it came. Only what the network has signed, for these
// very keys, is signed again, with all that it says: what fits no more stays as it is, and the client refuses it.
func (p *PCSCF) vouchAnew(m *sip.Message, before []passport.Fingerprint) {
	if p.ports.Voucher == nil || !m.Has(sip.HdrIdentity) {
		return
	}
	var fields []string
	for value := range m.Values(sip.HdrIdentity) {
		fields = append(fields, p.anew(value, before, passport.KeysOf(m.Body())))
	}
	m.Remove(sip.HdrIdentity)
	for _, f := range fields {
		m.AppendString(sip.HdrIdentity, f)
	}
}

// anew is one Identity field with other media keys, or as it was.
func (p *PCSCF) anew(value []byte, before, after []passport.Fingerprint) string {
	t, err := passport.ParseIdentity(value)
	if err != nil || t.Type == passport.Div || !t.Covers(before) || !p.ports.Voucher.Genuine(t) {
		return string(value)
	}
	t.Keys = after
	if p.ports.Voucher.Sign(t) != nil {
		return string(value)
	}
	return string(t.AppendIdentity(nil))
}
