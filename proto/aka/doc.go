// Package aka is Authentication and Key Agreement as the IMS uses it: the functions f1..f5* of
// Milenage (TS 35.206) and TUAK (TS 35.231), authentication vectors, AUTN and AUTS (TS 33.102 6.3), sequence numbers (TS 33.102
// Annex C), and HTTP Digest with AKA (RFC 3310 AKAv1, RFC 4169 AKAv2) and without (RFC 7616).
//
// It offers both sides of the exchange, because both are arithmetic over the same functions: the
// home side (Generate, Resynchronise) and the card's side (Open, AppendAUTS). It keeps no state: who
// draws the sequence numbers (imsbox/hss) and who remembers the accepted ones (client/isim) does so
// elsewhere. It is not a SIP parser: the parameters of a Digest come in as octets already unquoted.
//
// AES, Keccak, MD5 and SHA-256 are those of the standard library. Nothing here reads a clock or the
// operating system's randomness; the random challenge comes from a reader that is handed in.
//
// Keys are typed (K, OP, OPc, K256, TOP, TOPc, CK, IK, RES, AK) and print as [redacted]; there is no encoder for them.
// Every room may import this package; it imports none of ours. All functions, and all values after
// they were made, are safe for concurrent use.
package aka
