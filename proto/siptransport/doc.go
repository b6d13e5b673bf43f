// Package siptransport carries SIP messages over sockets that are handed in (RFC 3261 18, RFC 5626 4.4.1).
//
// Datagrams: [ListenUDP] opens one SO_REUSEPORT socket per shard and [ServePacket] reads it in batches (recvmmsg),
// runs the whole batch on the shard in the reading goroutine, and sends what the shard gathered in one sendmmsg. Any
// other net.PacketConn is served as well, one datagram per call. Streams: a [Streams] accepts and dials connections,
// does the TLS handshake in the connection's own goroutine, cuts the stream into messages (proto/sip) and writes what
// a shard gathered in one go. Both tell a [Receiver] about packets and connections, always on the shard.
//
//	socket -> reader goroutine -> (frame) -> shard.Exec -> Receiver.Packet ... Sender.SendTo -> gather -> flush -> socket
//
// It parses no message (the Receiver decides what is worth parsing), keeps no transactions (proto/siptxn), resolves no
// names, and writes no TLS: crypto/tls with the configuration of the caller. UDP sockets should be bound to one address: a
// reply leaves from the address the socket is bound to.
//
// It imports proto/sip and proto/shard; doors, hop, proto/siptxn and the client import it.
//
// Concurrency: [Sender.SendTo] may be called from any goroutine; everything a Receiver sees comes on its shard, one call at
// a time.
package siptransport
