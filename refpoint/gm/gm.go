// Package gm is the contract between the C-I door and the P-CSCF (reference point Gm).
//
// The door owns sockets, associations and their generations, the comparison of security headers and the
// source budgets; the P-CSCF owns the SIP procedure. Requests of clients come from the door to the P-CSCF
// through hop with the door's proof; requests to a client go back through hop to the name Name, with
// hop.Inbound.Client set. What is left is this package: what the P-CSCF tells the door about an
// association, and what the door tells the P-CSCF when one is gone.
//
// refpoint/gm imports proto and secure. All methods are safe for concurrent use.
package gm

import (
	"time"

	"imsafe/proto/aka"
	"imsafe/secure"
)

// Name is the hop name of the C-I door, for requests on their way to a client. It is no host: no URI leads there past the P-CSCF.
const Name = "Gm door"

// ProfileIPsec is the access profile of clients with a SIM: SIP inside security associations (TS 33.203 7).
const ProfileIPsec = "ipsec-3gpp"

// Registration is what an authenticated registration binds to an association.
type Registration struct {
	IMPI    string        // private identity that authenticated
	IMPUs   []string      // its implicit registration set in canonical form, default first; not barred
	Expires time.Duration // how long the registration lives; the association outlives it a little
}

// Door is what the P-CSCF may ask of the C-I door (server side of the contract).
type Door interface {
	// Install gives the door the session keys of a challenge that is about to go to association a. done gets
	// the values of the Security-Server that goes with it (TS 33.203 7.2): with ipsec-3gpp the security
	// associations stand by then. Where the path is a TLS connection the keys have no use and there is none.
	// After an error the challenge must not be sent. ErrGone, ErrNoOffer, ErrPorts, ErrFull. done is called
	// once, from any goroutine, often before Install returns: a kernel may take a while. It must not block.
	Install(a secure.Association, ck aka.CK, ik aka.IK, done func(securityServer []string, err error))

	// Promote binds r to a: from now on the door's proofs carry its identities, until r.Expires has
	// passed (TS 24.229 5.2.2, 200 to REGISTER). Promoting again replaces the identities and may only
	// lengthen the life. ErrGone if a is no more, ErrOtherUser if a belongs to another private identity.
	Promote(a secure.Association, r Registration) error

	// Remove takes the registration off a and ends a after the time after, so that the response in
	// flight still goes out on it (TS 33.203 7.4).
	Remove(a secure.Association, after time.Duration)

	// Address is the host and port at which the client of a reaches the P-CSCF inside its security
	// associations, as they stand in a SIP URI; "" where the P-CSCF's name leads there.
	Address(a secure.Association) string

	// Confidential reports whether nobody reads on the way what goes over a: TLS, or security associations that all encrypt. Keys may stand
	// in a description then (RFC 4568 8.3).
	Confidential(a secure.Association) bool

	// Alive reports whether a can carry a request now.
	Alive(a secure.Association) bool
}

// Reason says why an association is gone.
type Reason string

// The reasons.
const (
	ReasonClosed  Reason = "closed"  // the client's connection ended
	ReasonExpired Reason = "expired" // the registration's life ended
	ReasonRemoved Reason = "removed" // the P-CSCF asked for it
	// ReasonReplaced is for an association whose client has begun anew (TS 33.203 7.4).
	ReasonReplaced Reason = "replaced"
)

// Push is what the door tells the P-CSCF (push side of the contract). The P-CSCF must not block.
type Push interface {
	// Gone says that a carries nothing any more.
	Gone(a secure.Association, why Reason)
	// Impersonates reports whether a response that came by the association of one user answers a request that went to another, and is refused for it
	// (TS 33.203 7.1). The zero Proof is that of somebody without an association.
	Impersonates(asked, answers secure.Proof) bool
}

// Error is a refusal of the door.
type Error string

// Error returns the text, with the contract's name before it.
func (e Error) Error() string { return "gm: " + string(e) }

// The refusals of Door.
const (
	ErrGone      = Error("the association is gone")
	ErrOtherUser = Error("the association belongs to another private identity")
	ErrNoOffer   = Error("the client has offered nothing that could be agreed on")
	ErrPorts     = Error("the client's ports or SPIs are in use")
	ErrFull      = Error("there is no room for further associations")
)
