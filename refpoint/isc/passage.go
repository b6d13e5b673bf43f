package isc

// Name is the hop name of the I-S door, for requests on their way to a service platform. It is no host: no URI leads there.
const Name = "ISC door"

// Door is what the S-CSCF asks of the I-S door (server side of the contract). Requests to a service platform go through hop to Name: the
// topmost Route is the platform's, the next one names the S-CSCF and carries the original dialog identifier. Methods do not wait.
type Door interface {
	// Hosts reports whether host is that of a service platform which the operator has approved: requests for it go to Name.
	Hosts(host []byte) bool
	// Returns says how often a request that went to the platform at host may come back: more than once only for one that may fork.
	Returns(host []byte) int
	// Media says what the platform at host may do with media, and whether anything: what the core signs grants of.
	Media(host []byte) (MediaRight, bool)
}

// MediaRight is what a platform may do with the media of a session.
type MediaRight struct {
	Service string   // its SPIFFE id, without an instance
	Scope   []string // of "mix", "receive", "record", "send", sorted
	Kbps    int      // highest bit rate, kbit/s
}

// Chains is what the I-S door asks of the S-CSCF (push side of the contract): which walks of requests through a chain of service
// platforms wait for one of them.
type Chains interface {
	// Resume takes one use of the original dialog identifier that the platform at host gave back with a request (TS 24.229 5.4.3.4), and
	// says what is wrong with it. After FaultNone the request may go to the S-CSCF, which goes on behind the criterion that the identifier
	// stands for, whatever the profile says by now.
	Resume(identifier []byte, host string) Fault
}

// Fault says what is wrong with an original dialog identifier. It is the reason of an event.
type Fault string

// The faults.
const (
	FaultNone    Fault = ""
	FaultForged  Fault = "odi-forged"  // no such identifier was ever given out by this node
	FaultForeign Fault = "odi-foreign" // it was given to another platform
	FaultSpent   Fault = "odi-spent"   // it has come back as often as it may
	FaultEnded   Fault = "odi-ended"   // the session it stands for is over
)
