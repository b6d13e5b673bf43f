package node

import (
	"encoding/hex"

	"imsafe/hop"
	"imsafe/proto/sip"
)

// protections are the values of integrity-protected on a wire (TS 24.229 7.2A.2.2).
var protections = map[hop.Protection]string{
	hop.ProtectionNo: "no", hop.ProtectionYes: "yes", hop.ProtectionTLSPending: "tls-pending", hop.ProtectionTLSYes: "tls-yes",
	hop.ProtectionTLSConnected: "tls-connected",
}

// putProtection writes how a REGISTER was protected into its Authorization.
func putProtection(m *sip.Message, p hop.Protection) {
	value, said := protections[p]
	if !said || m.Method() != sip.REGISTER {
		return
	}
	c, err := m.Credentials(0)
	if err != nil {
		return
	}
	c.IntegrityProtected = []byte(value)
	var b [1024]byte
	m.Set(sip.HdrAuthorization, c.AppendTo(b[:0]))
}

// takeProtection reads it off again.
func takeProtection(m *sip.Message) hop.Protection {
	if m.Method() != sip.REGISTER {
		return hop.ProtectionAbsent
	}
	c, err := m.Credentials(0)
	if err != nil || c.IntegrityProtected == nil {
		return hop.ProtectionAbsent
	}
	said := string(c.IntegrityProtected)
	c.IntegrityProtected = nil
	var b [1024]byte
	m.Set(sip.HdrAuthorization, c.AppendTo(b[:0]))
	for p, value := range protections {
		if value == said {
			return p
		}
	}
	return hop.ProtectionNo
}

// appendKeys writes the session keys into a challenge, as ck and ik (TS 24.229 7.2A.1).
func appendKeys(m *sip.Message, k *hop.Keys) {
	v := append([]byte(nil), m.Get(sip.HdrWWWAuthenticate)...)
	v = append(v, `,ck="`...)
	v = hex.AppendEncode(v, k.CK[:])
	v = append(v, `",ik="`...)
	v = hex.AppendEncode(v, k.IK[:])
	m.ReplaceFirst(sip.HdrWWWAuthenticate, append(v, '"'))
}

// takeKeys takes the session keys off the challenges of a response, and returns those of the first challenge that has them. Every value is
// encoded again from its type, which has no place for keys; one that can't be read can't be cleaned, and does not go on.
func takeKeys(m *sip.Message) (keys *hop.Keys) {
	if !m.Has(sip.HdrWWWAuthenticate) {
		return nil
	}
	var clean [][]byte
	for value := range m.Values(sip.HdrWWWAuthenticate) {
		c, err := sip.ParseChallenge(value)
		if err != nil {
			continue
		}
		var k hop.Keys
		if keys == nil && readKey(k.CK[:], value, "ck") && readKey(k.IK[:], value, "ik") {
			keys = &k
		}
		clean = append(clean, c.AppendTo(nil))
	}
	m.Remove(sip.HdrWWWAuthenticate)
	for _, value := range clean {
		m.Append(sip.HdrWWWAuthenticate, value)
	}
	return keys
}

// readKey decodes the key called name of a challenge into dst.
func readKey(dst, challenge []byte, name string) bool {
	digits := sip.AuthParam(challenge, name)
	if len(digits) != 2*len(dst) {
		return false
	}
	_, err := hex.Decode(dst, digits)
	return err == nil
}
