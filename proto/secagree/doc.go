// Package secagree is the grammar of the SIP security agreement (RFC 3329) as Gm uses it: the mechanisms
// ipsec-3gpp (TS 33.203 Annex H) and tls in Security-Client, Security-Server and Security-Verify.
//
// It parses what phones send, refuses what cannot be meant (with the reason and its status), compares two lists
// by their meaning (the same octets mean the same, others may), chooses by the core's own ordered profile, and writes the one form
// that every known phone can read. Mechanisms of the media plane (the parameter mediasec of TS 24.229 7.2A.7)
// are kept apart, and what is unknown is kept for the comparison and never chosen.
//
// It makes no associations and no keys (proto/esp), reads no SIP message (it is given the values of a header
// field), and does not know who the client is: device exceptions are data that the door looks up.
//
// Every room may import it; it imports none of ours. Values are safe for concurrent use once they were made.
package secagree
