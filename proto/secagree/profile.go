package secagree

import (
	"errors"
	"slices"
	"time"
)

// Suite is what may be chosen: a mechanism and, for ipsec-3gpp, a pair of algorithms.
type Suite struct{ Mechanism, Alg, EAlg string }

// Encrypts reports whether the suite gives confidentiality.
func (s Suite) Encrypts() bool { return s.Mechanism != IPsec3GPP || s.EAlg != EAlgNull }

// Withdrawn reports whether the suite has an algorithm that only a device exception allows: MD5 or 3DES.
func (s Suite) Withdrawn() bool { return s.Alg == AlgMD5 || s.EAlg == EAlg3DES }

// sound reports whether the pair means anything: null integrity and aes-gcm belong together, aes-gmac stands
// alone (TS 33.203 Annex H, RFC 4106 and RFC 4543).
func (s Suite) sound() bool {
	if s.Mechanism == TLS {
		return s.Alg == "" && s.EAlg == ""
	}
	switch s.EAlg {
	case EAlgGCM:
		return s.Mechanism == IPsec3GPP && s.Alg == AlgNull
	case EAlgNull:
		return s.Mechanism == IPsec3GPP && (s.Alg == AlgGMAC || s.Alg == AlgSHA1 || s.Alg == AlgMD5)
	case EAlgCBC, EAlg3DES:
		return s.Mechanism == IPsec3GPP && (s.Alg == AlgSHA1 || s.Alg == AlgMD5)
	}
	return false
}

// Profile is the core's own list, best first (TS 33.203 7.2). The zero value accepts nothing.
type Profile struct {
	Name   string
	Suites []Suite
}

// Strict is the default profile: AES-GCM and nothing else.
func Strict() Profile {
	return Profile{"strict", []Suite{{IPsec3GPP, AlgNull, EAlgGCM}}}
}

// Handset adds what Android's public interface can ask of a modem. It is a weakening that has a name.
func Handset() Profile {
	return Profile{"handset", append(Strict().Suites, Suite{IPsec3GPP, AlgSHA1, EAlgCBC})}
}

// Legacy adds integrity without encryption, for networks that trust the bearer's. It is a weakening that has a name.
func Legacy() Profile {
	return Profile{"legacy", append(Handset().Suites, Suite{IPsec3GPP, AlgGMAC, EAlgNull}, Suite{IPsec3GPP, AlgSHA1, EAlgNull})}
}

// OverTLS is the profile of a listener whose connections are TLS (TS 33.203 Annex O).
func OverTLS() Profile { return Profile{"tls", []Suite{{Mechanism: TLS}}} }

// ProfileNamed returns a profile for IPsec by its name in the configuration.
func ProfileNamed(name string) (Profile, bool) {
	for _, p := range []Profile{Strict(), Handset(), Legacy()} {
		if p.Name == name {
			return p, true
		}
	}
	return Profile{}, false
}

// Exception lets one device, or a range of them, have suites that no profile has. It has an owner and an end, after which it is
// void. Exactly one of IMPI and the range of IMEIs is set.
type Exception struct {
	IMPI             string
	IMEIFrom, IMEITo string // first 14 digits (TS 23.003 6.2.1), both inclusive
	Suites           []Suite
	Owner            string // who answers for it
	Ends             time.Time
}

// Errors of Exception.Validate.
var (
	ErrExceptionDevice = errors.New("secagree: a device exception names either a private identity or a range of IMEIs of 14 digits")
	ErrExceptionOwner  = errors.New("secagree: a device exception has an owner and an end date")
	ErrExceptionSuites = errors.New("secagree: a device exception names pairs of algorithms of ipsec-3gpp that belong together")
)

// Validate refuses an exception that names no device, no owner, no end, or algorithms that make no pair.
func (x *Exception) Validate() error {
	byIMEI := isIMEI(x.IMEIFrom) && isIMEI(x.IMEITo) && x.IMEIFrom <= x.IMEITo
	switch {
	case x.IMPI == "" && !byIMEI, x.IMPI != "" && x.IMEIFrom+x.IMEITo != "":
		return ErrExceptionDevice
	case x.Owner == "" || x.Ends.IsZero():
		return ErrExceptionOwner
	case len(x.Suites) == 0 || slices.ContainsFunc(x.Suites, func(s Suite) bool { return !s.sound() || s.Mechanism != IPsec3GPP }):
		return ErrExceptionSuites
	}
	return nil
}

func isIMEI(s string) bool {
	_, ok := parseNumber([]byte(s), 14, 1<<63)
	return ok && len(s) == 14
}

// Applies reports whether the exception holds at now for a client. imei may be empty, or longer than 14 digits; it is
// what the client says of itself, so a range is a convenience and no proof. A void exception applies to nobody.
func (x *Exception) Applies(impi, imei string, now time.Time) bool {
	if x.Validate() != nil || !now.Before(x.Ends) {
		return false
	}
	if x.IMPI != "" {
		return x.IMPI == impi
	}
	return len(imei) >= 14 && isIMEI(imei[:14]) && x.IMEIFrom <= imei[:14] && imei[:14] <= x.IMEITo
}

// With returns the profile with the exception's suites behind its own. Its name tells of the exception.
func (p Profile) With(x *Exception) Profile {
	out := Profile{p.Name + "+exception", slices.Clone(p.Suites)}
	for _, s := range x.Suites {
		if !slices.Contains(out.Suites, s) {
			out.Suites = append(out.Suites, s)
		}
	}
	return out
}
