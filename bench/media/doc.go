// Package media generates voice from outside, for whatever relays it: calls of two ends each, a packet of 160 octets in 20 ms from each end (RFC
// 3551 4.5.14), in clear or in SRTP (RFC 3711, RFC 7714). It tells what of it arrived, how late, and whether the generator itself was in the way.
//
// All ends share one socket and have an address of loopback each: where a packet goes to, and comes from, is told by IP_PKTINFO. So a thousand
// ends cost the generator one system call for up to 64 packets, and the relay sees a thousand peers.
//
// Every packet says which end sent it, and when. What arrives is opened and must be of the other end of the same call: what anybody else
// hears is counted as astray, and a run with any is no measurement.
//
// It knows two relays: Engine is rtpengine by its ng protocol, and whoever has another implements Relay. It shares proto/sdp with the
// core (keys) and nothing else. Linux, IPv4.
package media
