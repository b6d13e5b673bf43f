// Package foreign holds the tests in which programs that are not ours judge the node.
//
// SIPp registers with AKA of its own, calls and sends messages over lab-udp and lab TCP, functionally and under load, with
// the habits of handsets, and through a relay that loses datagrams (sipp/*.xml are the scenarios). A capture of a mixed load is
// searched for every key that must never walk (ZB-01), and tshark looks for anything malformed in what the node sends.
//
// There is nothing to import here. A program that is not installed is asked for through test/peer.
package foreign
