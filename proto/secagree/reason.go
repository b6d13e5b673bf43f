package secagree

// Reason is why a list or an agreement is refused: a short text for counters, events and `imsafe explain`, never for
// the peer. Compare with ==.
type Reason string

// Error implements error.
func (r Reason) Error() string { return "secagree: " + string(r) }

// Reasons of Parse: the list cannot be meant. Status 400.
const (
	ErrSyntax            Reason = "not the grammar of RFC 3329"
	ErrTooLong           Reason = "list too long"
	ErrTooManyMechanisms Reason = "too many mechanisms"
	ErrTooManyParameters Reason = "too many parameters"
	ErrParameterTwice    Reason = "a parameter stands twice"
	ErrParameterMissing  Reason = "alg, an SPI or a port is missing"
	ErrPreference        Reason = "q is not between 0 and 1"
	ErrSPI               Reason = "SPI out of range"
	ErrSPIsEqual         Reason = "spi-c and spi-s are equal"
	ErrSPIsDiffer        Reason = "mechanisms with different SPIs"
	ErrPort              Reason = "a port that cannot be protected"
	ErrPortsDiffer       Reason = "mechanisms with different ports"
	ErrPortInUse         Reason = "the new client port is the old one" // of Agreement.Renew
	ErrSPIInUse          Reason = "a new SPI is an old one"            // of Agreement.Renew
)

// Reasons to answer 421: an agreement is required (RFC 3329 2.3.1).
const ErrRequired Reason = "the access requires a security agreement"

// Reasons of Choose and of Agreement. Status 494 (RFC 3329 2.3.1), except for ErrNoTunnel.
const (
	ErrNothingAcceptable Reason = "nothing offered is in the profile"
	ErrClientMissing     Reason = "Security-Client is missing"
	ErrVerifyMissing     Reason = "Security-Verify is missing"
	ErrClientChanged     Reason = "Security-Client is not the one first sent" // bid down
	ErrVerifyChanged     Reason = "Security-Verify is not what was offered"   // bid down

	// ErrNoTunnel is a client behind a NAT that cannot do UDP-enc-tun: it gets no answer (TS 33.203 M.7.2). Status 0.
	ErrNoTunnel Reason = "behind a NAT without UDP-enc-tun"
)

// Reasons of Select, at the client, which abandons the registration. Status 0.
const (
	ErrNotOffered Reason = "the network chose what was not offered"
	ErrReflected  Reason = "the network's SPIs or ports are ours"
)

// Status is the SIP status that answers the reason, 0 if there is to be no answer.
func (r Reason) Status() int {
	switch r {
	case ErrRequired:
		return 421
	case ErrNothingAcceptable, ErrClientMissing, ErrVerifyMissing, ErrClientChanged, ErrVerifyChanged:
		return 494
	case ErrNoTunnel, ErrNotOffered, ErrReflected:
		return 0
	}
	return 400
}

// BidDown reports whether the reason is a list that changed on its way (TS 33.203 7.2): an event, not only a refusal.
func (r Reason) BidDown() bool { return r == ErrClientChanged || r == ErrVerifyChanged }
