// Package kernelesp lets another kernel judge proto/esp: User-Mode Linux boots beside the test, with a network of their own between
// them, and its XFRM plays the IPsec of a UE (TS 33.203 7) with every pair of algorithms, IPv4 and IPv6, in transport mode and in UDP
// (Annex M), small datagrams and such that travel in fragments; then that of a P-CSCF. From the guest come attacks as well: forged and replayed
// packets on the wire, which must move one counter and nothing else.
//
// It has tests only, of the engine; the rooms below it judge a whole node. What boots the guest is in machine; this package's own test binary in
// the guest is the UE's SIP stack in the shape of two sockets. Nothing is installed or changed on the host. It needs the rows linux.uml,
// busybox and ip of test/peer, and a network namespace.
package kernelesp
