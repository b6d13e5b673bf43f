package espnet

import "sync/atomic"

// Counters say what happened, by reason. All only grow, but Conns and HalfOpen, which are how many there are. Safe for concurrent use.
type Counters struct {
	SegmentsIn, SegmentsOut atomic.Uint64
	OctetsIn, OctetsOut     atomic.Uint64 // of segments with their headers
	Accepted, Dialled       atomic.Uint64 // connections opened, when the handshake was done
	Conns                   atomic.Int64  // connections, from the first segment to the end of TIME-WAIT
	HalfOpen                atomic.Int64  // of these, such that the peer began and that are in the handshake

	DropForeign  atomic.Uint64 // segments in the name of a connection of another agreement
	DropConns    atomic.Uint64 // SYNs beyond Config.MaxConns
	DropHalfOpen atomic.Uint64 // SYNs beyond Config.MaxHalfOpen
	DropBacklog  atomic.Uint64 // SYNs to a listener with Config.Backlog connections that nobody accepts
	DropMSS      atomic.Uint64 // SYNs of a peer that takes less than leastMSS octets at a time
	DropClosed   atomic.Uint64 // segments that came before New or after Close
	DropGone     atomic.Uint64 // segments that were not sent because the agreement had ended or its numbers were used up
	DropUnbound  atomic.Uint64 // segments of no agreement any more: never in clear, so not at all
	DropProtocol atomic.Uint64 // packets that are not TCP: neither side of the stack makes any
	SendErrors   atomic.Uint64 // segments that the wire refused; TCP sends them again

	Refused          atomic.Uint64 // SYNs to a port on which nobody listens, answered by a reset
	Strays           atomic.Uint64 // other segments of no connection, answered by a reset
	FailedHandshakes atomic.Uint64 // connections that the peer began and did not finish
	FailedDials      atomic.Uint64 // connections that we began and that did not come about
	Gone             atomic.Uint64 // connections that ended because their agreement did
	Reopened         atomic.Uint64 // connections that were closed and made room for the next before the end of TIME-WAIT
}
