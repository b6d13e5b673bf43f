// Package load is a load generator for an IMS, seen from outside: many UEs (TS 24.229 5.1) that register, call and send messages to each
// other at the arrivals of a Poisson process, in the manner of ETSI TS 186 008. `imsafe bench` is its verb, docs/bench.md its method.
//
// A [Target] says where the IMS is and who the subscribers are; [Run] lets them act at a rate, [Search] looks for the highest rate with at
// most 0.1 % of scenarios handled inadequately (ETSI TS 186 008-1). The [Report] has latencies, failures by status and cause, what the
// processes under test took of the processor, and how late the generator itself was; where it was the bottleneck it says so and no figure counts.
//
// It is built to be cheap, because on a small machine the generator's own cost is what limits the measurement: a worker is one loop over
// its sockets and one timing wheel, UEs are entries of an array and share a socket, and in the steady state nothing is allocated. It is not
// cheap at the cost of being right: a UE verifies AUTN and computes RES from the real challenge, follows Service-Route and the route set of
// each dialog, retransmits as RFC 3261 says, and judges every answer it gets.
//
// The package acts from outside: it imports proto and nothing of the core, so that it works against any IMS and shares no bug above the
// ground floor. It opens sockets and reads the clock. A [Run] uses goroutines of its own; the types are not safe for concurrent use.
package load
