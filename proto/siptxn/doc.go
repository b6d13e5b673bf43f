// Package siptxn is the transaction layer of RFC 3261 17 with the corrections of RFC 6026.
//
// A [Layer] belongs to one shard and holds the client and server transactions of one interface. It finds the transaction of
// each message, absorbs retransmissions, retransmits by itself over unreliable transports, acknowledges failures of an
// INVITE, matches CANCEL, and tells its user (the transaction user, TU, of RFC 3261) through [Handler] and [Responder] only
// what is new. It writes received and rport into the topmost Via of requests (RFC 3261 18.2.1, RFC 3581) and its own Via
// into what it sends; the branch is a sealed token that names node, shard and slot, so a response finds its transaction
// without a search and without a hand-over, and no stranger can guess one.
//
//	Input -> (foreign place? Foreign) -> parse -> Receive -> validate -> match -> absorb | Handler.Request, Ack, Cancelled
//	                                                             \-> client slot -> Responder.Response, Failed
//
// It opens no sockets (proto/siptransport), resolves no names, forks and routes nothing (hop), and sends no 2xx again by
// itself: RFC 6026 gives that to the TU ([Layer.Retransmit2xx]). RFC 2543 matching is refused: a request whose branch lacks the
// magic cookie gets 400.
//
// It imports proto/sip, proto/siptransport and proto/shard; hop, doors and the client import it.
//
// Concurrency: none. All methods of a Layer, its transactions and all call-backs run on its shard. Counters may be read from
// anywhere.
package siptxn
