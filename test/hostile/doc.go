// Package hostile holds the tests in which a running node is sent what nobody should send: the torture messages of RFC 4475 and
// RFC 5118, streams that are no SIP or never end, floods, forged headers and two messages in one (CI-22, CI-23, CI-24, CI-25).
//
// After each of them the node must live, answer a legitimate client, and hold no more than before.
//
// There is nothing to import here.
package hostile
