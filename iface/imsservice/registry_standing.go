// Package imsservice is the I-S door: what stands between the core and service platforms (reference point ISC, TS 23.228 4.2.4).
//
// Here are the register of services, which says who is approved for what and by which certificate it is known, and the door through
// which a platform enrols. node assembles it. Safe for concurrent use.
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
