package diameter

import "sync/atomic"

// Counters say what happened, by reason. All fields only grow, except Conns and Up. Safe for concurrent use.
type Counters struct {
	Conns, Up atomic.Int64 // connections that exist; peers in service

	RequestsIn, AnswersIn   atomic.Uint64
	RequestsOut, AnswersOut atomic.Uint64
	OctetsIn, OctetsOut     atomic.Uint64
	WatchdogsIn             atomic.Uint64 // DWR

	Accepted, Dialled     atomic.Uint64 // connections
	RefusedHandshakes     atomic.Uint64 // over MaxHandshakes
	Opened                atomic.Uint64 // capabilities exchanges that ended well
	RefusedPeer           atomic.Uint64 // capabilities exchanges that did not
	ClosedHandshake       atomic.Uint64 // TLS handshake, or dialling
	ClosedCapabilities    atomic.Uint64 // no capabilities exchange in time, or something else instead
	ClosedFraming         atomic.Uint64 // the stream was no Diameter
	ClosedWatchdog        atomic.Uint64 // silent
	ClosedSlow            atomic.Uint64 // MaxQueue
	ClosedPeer            atomic.Uint64 // the peer closed or reset
	ClosedLocal           atomic.Uint64 // we closed: election, goodbye, refusal, end
	ClosedShardFull       atomic.Uint64 // the shard took nothing more
	ShardWaits            atomic.Uint64 // times a reader waited for the shard
	Elections             atomic.Uint64 // two connections with one peer, one given up (RFC 6733 5.6.4)
	Disconnects           atomic.Uint64 // DPR received
	Suspected             atomic.Uint64 // watchdog unanswered: failover (RFC 3539 3.4.1)
	Unresponsive          atomic.Uint64 // a peer that is alive left a request unanswered for half of its time
	Failovers             atomic.Uint64 // requests sent again, to another peer
	Timeouts              atomic.Uint64 // requests without answer
	NoRoute               atomic.Uint64 // requests that no peer could take
	UnexpectedAnswers     atomic.Uint64 // answers that nobody waits for
	MalformedAnswers      atomic.Uint64 // answers that Check refused: their requests fail
	Duplicates            atomic.Uint64 // requests answered from memory
	RefusedReason         [ReasonValue + 1]atomic.Uint64
	Malformed             atomic.Uint64 // requests that Check refused
	TooBusy               atomic.Uint64 // requests above MaxServing
	Unsupported           atomic.Uint64 // requests of unknown commands, applications, realms and hosts
	AnswersWithoutRequest atomic.Uint64 // a Reply was used twice or too late
}
