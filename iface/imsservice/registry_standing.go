package imsservice

// Standing is how a certificate stands.
type Standing string

// The standings of a certificate.
const (
	StandingActive    Standing = ""
	StandingStranger  Standing = "stranger"  // of nobody we know
	StandingMismatch  Standing = "mismatch"  // its names are not those of its manifest
	StandingExpired   Standing = "expired"   // the certificate or the manifest
	StandingSuspended Standing = "suspended" // for now
	StandingRevoked   Standing = "revoked"   // for good
)
