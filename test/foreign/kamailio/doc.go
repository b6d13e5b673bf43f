// Package kamailio swaps functions of imsafe for those of Kamailio's IMS modules, one at a time, and plays what a subscriber does:
// he registers with AKA, calls and is called, refreshes his registration and takes it back.
//
// What is foreign runs as the programs that Debian ships, with configurations of our own (testdata). Everything happens in
// namespaces that the test binary makes for itself before the first test: Kamailio's P-CSCF flushes every security association it
// finds at its start, so it must never see those of the machine, and when the tests are over the kernel ends whatever is left.
// The clients are phones of test/live, which write what the test says and judge by what comes back. A capture of all hops goes to
// tshark, which must find nothing malformed in what imsafe sent.
//
// Besides the tests the package offers what starts Kamailio in its namespaces, for bench/beside, which compares it with us. It needs Linux.
package kamailio
