// Package iqwire is Iq between two processes of one machine: the contract of refpoint/iq over a local stream socket, so that the media anchor
// does not share the fate of its P-CSCF (docs/decisions/041). Client stands beside the P-CSCF and is an iq.Gateway; Server stands beside the
// anchor and is the iq.Push that reaches it. TS 23.334 has H.248 there, for a gateway that is elsewhere; this is none.
//
// A frame is its length (4 octets), its kind (1), its number (8) and what that kind has, in one order and with nothing left over. Each list
// and each text has a bound. A frame that is not exactly what the other side would write ends the connection.
//
// Keys of descriptions (SDES) pass it: the socket is one that no other user may open, and both sides ask the kernel who is there.
package iqwire
