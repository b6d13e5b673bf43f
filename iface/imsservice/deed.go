package imsservice

import "fmt"

// Deed is a decision of the register about a service, for the record: what, about whom, by whom, and what of it. It holds no secrets.
type Deed struct {
	What    string // DeedApproved for example
	Service string // its name
	By      string // the operator's name, or the fingerprint of the key that has asked
	Detail  string // the hash of a manifest, the serial number of a certificate
}

// What is done.
const (
	DeedRequested = "requested" // a platform has asked to be approved
	DeedApproved  = "approved"
	DeedGranted   = "granted" // a certificate, or that a new key counts
	DeedSuspended = "suspended"
	DeedResumed   = "resumed"
	DeedRevoked   = "revoked"
	DeedUndone    = "undone" // the disk has refused the change

	DeedInvited = "invited" // somebody may ask once
	DeedTrusted = "trusted" // an authority may certify services
	DeedRetired = "retired" // and may not any more
)

// ByOperator is who has decided what comes over the operator's door.
const ByOperator = "operator"

// record writes a deed down. What nobody could prove later does not happen.
func (r *Registry) record(d Deed) error {
	if r.ports.Record == nil {
		return nil
	}
	if err := r.ports.Record(d); err != nil {
		return fmt.Errorf("imsservice: a decision that cannot be recorded is not made: %w", err)
	}
	return nil
}
