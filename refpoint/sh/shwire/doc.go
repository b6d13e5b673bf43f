// Package shwire is Sh on the wire: the contract of refpoint/sh over Diameter (TS 29.329). Server stands beside an HSS and serves
// application servers; its Push reaches them. Client stands beside a service and is a sh.Server whose HSS is elsewhere, perhaps a foreign
// one; it takes what that HSS pushes.
//
// There is no form of it without mutual TLS 1.3: who asks is who the certificate says (Origin-Host is its DNS name), and a request that
// came otherwise is refused before it is looked into. What a peer may send is RoleAS, commands and elements.
//
// Of the optional features of TS 29.329 (Notif-Eff, Update-Eff ...) none is spoken: one request, one data reference. No relaying, no SLF
// (Dh).
//
// Node and the SDK for services import it, to plug it in. Server and Client are safe for concurrent use from many shards.
package shwire
