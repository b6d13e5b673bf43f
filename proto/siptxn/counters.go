package siptxn

import "sync/atomic"

// Counters say what a layer did, by reason. They only grow, except the two gauges. Safe for concurrent use.
type Counters struct {
	Servers, Clients atomic.Int64 // transactions now

	Requests         atomic.Uint64 // new requests handed to the Handler
	Retransmissions  atomic.Uint64 // requests absorbed
	Acks             atomic.Uint64 // ACKs for a 2xx handed to the Handler
	AcksAbsorbed     atomic.Uint64 // ACKs for other responses, and retransmitted ones
	Cancels          atomic.Uint64 // CANCELs that matched
	CancelsUnmatched atomic.Uint64 // answered 481
	Answers          atomic.Uint64 // responses sent by server transactions, first time
	AnswersRepeated  atomic.Uint64 // the same, sent again
	NoAck            atomic.Uint64 // timer H fired
	Abandoned        atomic.Uint64 // the handler never gave a final response
	KeptEvicted      atomic.Uint64 // kept answers dropped early for want of room

	NotSIP       atomic.Uint64 // octets that cannot be parsed
	Malformed    atomic.Uint64 // requests that did not pass sip.Validate
	Legacy       atomic.Uint64 // requests without the magic cookie (RFC 2543), refused
	Screened     atomic.Uint64 // requests that the Handler refused before they had a transaction
	OverServers  atomic.Uint64 // requests refused: Limits.Servers
	OverSource   atomic.Uint64 // requests refused: Limits.PerSource
	Stateless    atomic.Uint64 // answers sent without a transaction
	OverBudget   atomic.Uint64 // answers not sent: Limits.Stateless
	Withheld     atomic.Uint64 // answers not sent: Config.MayAnswer
	SendErrors   atomic.Uint64 // messages that the transport refused at once
	Sent         atomic.Uint64 // client transactions begun
	Repeated     atomic.Uint64 // requests sent again by timers A and E, ACKs to repeated failures
	OverClients  atomic.Uint64 // requests not sent: Limits.Clients
	Timeouts     atomic.Uint64 // timers B, C and F, and cancelled transactions without an end
	FlowFailures atomic.Uint64 // client transactions that lost their connection

	Responses       atomic.Uint64 // responses handed to a Responder
	StrayToken      atomic.Uint64 // responses whose branch is not ours
	StrayGone       atomic.Uint64 // responses whose transaction has ended
	StrayMethod     atomic.Uint64 // responses to another method
	StraySource     atomic.Uint64 // responses of somebody whom we did not ask
	StrayLate       atomic.Uint64 // responses that the state has no use for
	StrayMalformed  atomic.Uint64 // responses that did not pass sip.Validate
	ForeignGiven    atomic.Uint64 // responses handed to another shard
	ForeignDropped  atomic.Uint64 // the same, with nobody to take them
	ResponseRepeats atomic.Uint64 // responses absorbed
}
