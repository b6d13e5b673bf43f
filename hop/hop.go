// Package hop is how a SIP request goes from function to function, here or over the network.
//
// Functions forward to a name; the Table alone knows whether that name is a function of this process or
// an address elsewhere. In process a hop is light: one transaction at each edge of the process (a door),
// none between functions. What a hop over a wire would do is kept: Max-Forwards, CANCEL, provisional
// answers, time limits, and (mode Strict) encoding and parsing of every message.
//
// A request walks down through nested calls of Function.Serve on one coroutine of a shard; its final
// response is what those calls return, its provisional ones climb through the Up of each Forward. So a
// procedure of the standard is one piece of straight code.
//
// hop imports proto and secure. It does not know any function, door or reference point. The Table is
// fixed before the node runs; an Exchange belongs to its shard.
package hop

import (
	"imsafe/proto/aka"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// Name is how functions address each other: a host name of the core ("scscf.ims.example"), the home
// domain (its entry point is the I-CSCF), or the name of a door.
type Name string

// Function is the SIP side of a network function or of a door that carries requests out.
//
// Serve handles one request, runs on a coroutine of a shard and may wait there. It owns in.Msg and hands
// its final response to the caller. For ACK it returns the zero Reply.
type Function interface {
	Serve(x *Exchange, in Inbound) Reply
}

// Protection is the value of the parameter integrity-protected of TS 24.229 7.2A.2.2, as a type: no
// client can write it, and inside the process it is on no wire.
type Protection uint8

// The values of integrity-protected.
const (
	ProtectionAbsent       Protection = iota // the P-CSCF did not say: an unprotected first REGISTER
	ProtectionNo                             // "no"
	ProtectionYes                            // "yes": inside a set of security associations
	ProtectionTLSPending                     // "tls-pending"
	ProtectionTLSYes                         // "tls-yes"
	ProtectionTLSConnected                   // "tls-connected" (TS 33.203 Annex X): AKAv2 over TLS
)

// Inbound is one request as a function receives it.
type Inbound struct {
	Msg        *sip.Message       // owned by the receiver
	Proof      secure.Proof       // what the door found out about who sent it
	From       Name               // who handed it over; set by the hop only, so it cannot be forged
	Protection Protection         // REGISTER from the P-CSCF
	Client     secure.Association // towards the C-I door: which client
}

// Reply is a response on its way back, with what travels beside it and never in it.
type Reply struct {
	Msg  *sip.Message // owned by the receiver; nil for an ACK
	keys *Keys
	void bool // nobody can answer it
	mute int8 // above 0: it was made here, since whom the request went to did not answer; so many functions hear of it, the one that asked included
}

// Unreached reports whether the response was made in this process, because another one that the function which was asked stands for could not be
// reached or gave no sign of life. It travels beside the message, to the function that asked and no further: what that one makes of it is its own answer.
func (r Reply) Unreached() bool { return r.mute > 0 }

// Void marks a challenge that nobody can answer, so that the edge keeps nothing for its answer. Like the keys it travels beside the
// message; another process does not hear of it, and keeps what it keeps for any challenge.
func (r Reply) Void() Reply {
	r.void = true
	return r
}

// IsVoid reports whether r is marked so.
func (r Reply) IsVoid() bool { return r.void }

// Keys are the session keys of a challenge (TS 33.203 6.1.1). There is no encoder for them in SIP.
type Keys struct {
	CK aka.CK
	IK aka.IK
}

// WithKeys puts the session keys of a challenge beside the response.
func (r Reply) WithKeys(k *Keys) Reply {
	r.keys = k
	return r
}

// TakeKeys takes the session keys off the response. Only the P-CSCF calls it; package check holds that,
// and a response that reaches a door with keys still beside it is refused there.
func (r *Reply) TakeKeys() *Keys {
	k := r.keys
	r.keys = nil
	return k
}

// HasKeys reports whether session keys still travel beside the response.
func (r Reply) HasKeys() bool { return r.keys != nil }

// Status returns the status code, 0 for the zero Reply.
func (r Reply) Status() int {
	if r.Msg == nil {
		return 0
	}
	return r.Msg.Status()
}

// Final reports whether r ends its transaction.
func (r Reply) Final() bool { return r.Status() >= 200 }
