// Package rf is the contract between a function that sees sessions and the charging function: a local durable
// call record now, the Rf reference point (TS 32.299) on it later.
//
// refpoint/rf imports nothing of ours. Implementations are safe for concurrent use and never make a session
// wait: what they cannot store they count.
package rf

import "time"

// Role says which half of a session a record is about (Role-of-Node, TS 32.299 7.2.182).
type Role uint8

// The roles.
const (
	Originating Role = iota
	Terminating
)

// String returns the name used in records.
func (r Role) String() string {
	if r == Terminating {
		return "terminating"
	}
	return "originating"
}

// Session names one half of a session and says whose it is.
type Session struct {
	ICID   string // IMS charging identity of P-Charging-Vector (RFC 7315 4.6)
	CallID string
	Dialog string // of a call that was answered: which of the dialogs that its Call-ID may have
	Role   Role
	Served string // public identity that is charged
	Other  string // the other party as it was addressed
}

// Charging is what the S-CSCF tells (server side of the contract).
type Charging interface {
	// Start says that the session was answered at the time at (wall clock).
	Start(s Session, at time.Time)
	// Stop says that the half of the call named by callID, dialog and role ended, as its party says. A stop without a start is
	// recorded as such: a restart of the core must not lose the end of a call. It ends the start of the same dialog, and no other.
	Stop(callID, dialog string, role Role, at time.Time)
	// Unsuccessful says that the attempt ended with status, a final response of 3xx to 6xx.
	Unsuccessful(s Session, status int, at time.Time)
}
