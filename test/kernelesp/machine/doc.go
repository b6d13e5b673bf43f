// Package machine boots another kernel beside a test, with a network of their own between them: a tap device peer0 with 10.77.0.1 and fd77::1 at our
// end, and .2 and ::2 at the guest's.
//
// The guest's root is made from busybox, iproute2, the kernel's modules and programs of ours. Nothing is installed or changed on the host. It needs the
// rows linux.uml, busybox and ip of test/peer, and a network namespace of the test's own (peer.InNamespace). For tests only, on Linux.
package machine
