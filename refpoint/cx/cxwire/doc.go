// Package cxwire is Cx on the wire: the contract of refpoint/cx over Diameter (TS 29.229). Server stands beside an HSS and
// serves CSCFs, foreign ones too; its Push reaches the S-CSCFs. Client stands beside the CSCFs and is a cx.Server whose HSS is
// elsewhere, perhaps a foreign one; it takes what that HSS pushes.
//
// CK, IK, XRES and H(A1) leave and arrive only inside mutual TLS with the peer's name in its certificate. The one exception is
// the option LabCleartextKeys, for laboratories with Kamailio, whose Diameter knows no TLS 1.3.
//
// Not on the wire: Batch (a request with one is refused), Epoch (0) and ProfileVersion (a hash of the profile stands in for it).
// Both versions of AKA have one name there; see Client's Algorithm and the hint described at appendItem. No relaying, no SLF (Dx).
//
// Node alone imports it, to plug it in. Server and Client are safe for concurrent use from many shards.
package cxwire
