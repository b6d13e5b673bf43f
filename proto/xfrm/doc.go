// Package xfrm has the kernel carry ipsec-3gpp (TS 33.203 7): its security associations, the policies of the protected ports, and sockets of
// its own bound to these. It speaks netlink (NETLINK_XFRM) to Linux, without cgo.
//
// Engine keeps what proto/esp keeps of an agreement in the same table, so SPIs, ports and lives are of one space whoever carries: the kernel
// ESP on IP, proto/esp what is in UDP. One goroutine talks to the kernel (Run); every request is acknowledged, and the four associations of an
// agreement stand or none does.
//
// Nothing falls open: the policies of the protected ports require ESP and are there before the sockets are, the associations have the
// client's address and ports in selectors of their own, and what no association is for never leaves. A crash cleans itself: each association
// has a hard end in the kernel, and Sweep finds what is ours by its tag.
package xfrm
