package rtpport

import (
	"github.com/pion/dtls/v3"
	"github.com/pion/srtp/v3"
)

// Profile is an SRTP protection profile by its number in the registry of RFC 5764 4.1.2. 0 is none.
type Profile uint16

// Profiles that a leg can use.
const (
	AES128CMSHA1  Profile = 0x0001 // RFC 5764 4.1.2
	AEADAES128GCM Profile = 0x0007 // RFC 7714 14.2
	AEADAES256GCM Profile = 0x0008
)

// String returns the registered name.
func (p Profile) String() string {
	switch p {
	case AES128CMSHA1:
		return "AES_CM_128_HMAC_SHA1_80"
	case AEADAES128GCM:
		return "AEAD_AES_128_GCM"
	case AEADAES256GCM:
		return "AEAD_AES_256_GCM"
	}
	return "none"
}

// DefaultProfiles returns all profiles, best first. The NULL and 32-bit tag profiles do not exist here.
func DefaultProfiles() []Profile { return []Profile{AEADAES256GCM, AEADAES128GCM, AES128CMSHA1} }

func (p Profile) srtp() srtp.ProtectionProfile { return srtp.ProtectionProfile(p) }

func dtlsProfiles(list []Profile) []dtls.SRTPProtectionProfile {
	out := make([]dtls.SRTPProtectionProfile, len(list))
	for i, p := range list {
		out[i] = dtls.SRTPProtectionProfile(p)
	}
	return out
}
