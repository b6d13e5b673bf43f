package sh

// User is what a permission may know of a user.
type User struct {
	IMPU  IMPU   // the identity that was asked for, or the range it falls into; "" if there is no such user
	Group string // of the subscription; "" if there is no such user
	// Agreed are the services that the subscription has agreed to.
	Agreed []string
}

// Verdict is the answer of a Permission.
type Verdict uint8

// The verdicts. The zero value denies.
const (
	Denied  Verdict = iota // the service may not do this, whoever the user is
	Outside                // it may, but not with this user
	TooFast                // its budget for this is spent
	Allowed
)

// String returns a short token, for reasons.
func (v Verdict) String() string {
	if v > Allowed {
		return "unknown"
	}
	return [...]string{"denied", "outside", "too-fast", "allowed"}[v]
}

// Permission is the AS permissions list (TS 29.328 6.2), with two dimensions more than the standard's, whose permissions "apply to all
// users": a decision is for (service, data, operation, user set), and counts against a rate. Of the key, Reference says which data,
// and ServiceIndication whose documents with RepositoryData. Allow takes one from
// the budget of what it allows or would allow. A user whom the service may not know and one who does not exist must get the same
// verdict, so an implementation gives the zero User none that it would not give to a stranger. Safe for concurrent use; it must not block.
type Permission interface {
	Allow(service string, data Key, op Operation, user User) Verdict
}
