// Package phone lets another kernel play the whole client of a running node: telephones (test/kernelesp/handset) in User-Mode Linux, whose security
// associations are that kernel's, register, write, call and leave, against a node on this side of the wire with [ci.ipsec] esp = "on". client/ue is the
// other end over TLS.
//
// It has tests only. It needs the rows linux.uml, busybox and ip of test/peer, and a network namespace.
package phone
