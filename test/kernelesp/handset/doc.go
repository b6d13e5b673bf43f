// Package handset is a telephone whose IPsec is its kernel's: it speaks SIP over plain UDP and TCP sockets, and what makes them protected are the
// security associations and policies that it gives the kernel with iproute2 (TS 33.203 7).
//
// It is a foreign client in all but AKA: its SIP, its security agreement and its keys (TS 33.203 Annexes H and I) are written apart from proto and
// share nothing with it, so that a mistake made once is seen. It judges nothing but what a telephone has to: that the network is genuine, that an
// algorithm was offered, what answers what. What a test wants to know of a message it says in [Heard].
//
// A test drives it from outside the guest by JSON-RPC ([Serve]): each connection is one telephone, which is switched off when it ends. The methods of
// [Handset] may be called at the same time. Linux, as root.
package handset
