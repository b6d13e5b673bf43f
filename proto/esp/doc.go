// Package esp is IPsec ESP in user space as ipsec-3gpp needs it (RFC 4303, TS 33.203 7 and Annexes H, I, M): the
// associations of many agreements, sealing and opening of packets, and fronts that carry them over sockets.
//
// An agreement is what one client and the P-CSCF agreed on: four one-way associations (SAs) between two pairs of ports,
// for UDP and TCP together, under one pair of keys. Engine keeps them, seals and opens in the caller's buffers without
// allocation, and holds the rules that are easy to break: one nonce space over all four associations, a replay window
// that moves only after a good ICV, selectors after opening, sequence numbers that end before they repeat. Hand is
// the front for UDP over a raw socket, Encapsulated the one behind NATs (RFC 3948) over an ordinary UDP socket.
//
// It negotiates nothing (proto/secagree and the door do), opens no socket (they are handed in), knows no SIP, and writes
// no cipher: AES, GCM, CBC and HMAC are the standard library's. TCP segments are handed to a hook (proto/espnet).
//
// iface/clientims, client and tests may import it; it imports proto/aka for the types of the keys and proto/shard
// for the name of an agreement's owner. Engine and the fronts are safe for concurrent use.
package esp
