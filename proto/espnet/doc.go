// Package espnet is TCP over ipsec-3gpp (TS 33.203 7.1, RFC 9293): connections whose segments travel in the associations of
// proto/esp, as net.Conn and net.Listener.
//
//	wire -> Front.Run -> opened segment -> Stack (whose connection is it?) -> gVisor's TCP -> Conn.Read
//	Conn.Write -> gVisor's TCP -> Stack (whose connection is it?) -> Front.SendSegment -> wire
//
// The rule of the house is here: a connection belongs to the agreement whose association carried its first segment, for as long
// as it lives. What comes in its name by another agreement is dropped and counted, what it sends leaves by its own agreement or
// not at all, and when the agreement ends so does the connection. Nothing ever leaves in clear: what belongs to no agreement is
// dropped.
//
// TCP itself is gVisor's network stack; link.go alone knows how that wants its packets. No type of gVisor is in the interface.
// The package opens no socket, negotiates no association, knows no SIP.
//
// It imports proto/esp and proto/shard; iface/clientims, client and tests may import it. Everything exported is safe for
// concurrent use.
package espnet
