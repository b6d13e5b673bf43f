package siptransport

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
)

// Errors that Sender.SendTo and Receiver.Closed report.
var (
	ErrClosed       = errors.New("siptransport: closed")
	ErrTooLarge     = errors.New("siptransport: message larger than a datagram")
	ErrPeer         = errors.New("siptransport: address family of the peer is not that of the socket")
	ErrSlow         = errors.New("siptransport: peer does not read, queue full")
	ErrHandshake    = errors.New("siptransport: handshake failed")
	ErrDial         = errors.New("siptransport: connection refused or unreachable")
	ErrIdle         = errors.New("siptransport: idle for too long")
	ErrFirstMessage = errors.New("siptransport: no message after the connection was opened")
	ErrUnfinished   = errors.New("siptransport: message was begun and not finished in time")
	ErrFraming      = errors.New("siptransport: octets that are no SIP stream")
	ErrLimit        = errors.New("siptransport: too many connections")
)

// ShedReason is the reason code of what Options.Shed is asked about.
func ShedReason(why error) string {
	switch why {
	case ErrHandshake:
		return "handshake"
	case ErrFirstMessage:
		return "first-message"
	case ErrUnfinished:
		return "unfinished"
	case ErrLimit:
		return "connections"
	}
	return "idle"
}

// Options are the bounds and hooks of one interface. The zero value means the defaults named at each field. One Options, and
// one Counters, may serve several sockets.
type Options struct {
	// Proto is the sent-protocol of the Via. Default: UDP for packets, TCP for streams, TLS where TLS is set.
	Proto string
	// Counters receives what happens; nil makes a private one.
	Counters *Counters

	// Batch is how many datagrams one system call may bring or take. Default 32, at most 64.
	Batch int
	// MaxDatagram is the longest datagram accepted, in octets; longer ones are dropped and counted. Default 65535.
	MaxDatagram int

	// TLS makes every connection a TLS connection. A listener uses it as server; Dial as client with ServerName set by the
	// caller. Certificates and floors are the caller's business.
	TLS *tls.Config
	// Plain is asked about an accepted connection with TLS set whose peer speaks something else: true lets him go on in clear, of which
	// Receiver.Opened has no state. nil ends all. It is called from the goroutine of the connection.
	Plain func(peer netip.AddrPort) bool
	// Framing are the bounds of messages on streams; the zero value means sip's defaults.
	Framing sip.Limits
	// Clock gives the wall time for the deadlines of streams; it has to move with real time. Default shard.RealClock.
	Clock shard.Clock
	// Dialer opens connections for Dial. Default: a net.Dialer without options.
	Dialer func(ctx context.Context, peer netip.AddrPort) (net.Conn, error)
	// Admit is asked about the source of each accepted connection before anything is allocated for it; nil admits all. It
	// is called from the accepting goroutine.
	Admit func(source netip.AddrPort) bool
	// Shed is asked about an accepted connection whose time is over (ErrHandshake, ErrFirstMessage, ErrUnfinished, ErrIdle), or whose source
	// has too many already (ErrLimit), before that ends it; nil ends all. False gives it the same time again. It may be called with a lock
	// held and from any goroutine, and must not block.
	Shed func(peer netip.AddrPort, why error) bool
	// Doubt decides whether a stream ends that two readers could cut at different places (sip.Doubter); nil ends all. It is called
	// from the reading goroutine.
	Doubt func(peer netip.AddrPort, err error) bool

	MaxConns      int           // connections in all; default 100000
	MaxPerSource  int           // accepted connections per IPv4 address or IPv6 /64 that are not Proven; default 64
	MaxHandshakes int           // handshakes at the same moment; default 512
	MaxQueue      int           // octets waiting for one peer; default 262144. A peer that lets it fill up is closed
	Dialing       time.Duration // TCP connect of Dial; default 5 s
	Handshake     time.Duration // TLS handshake; default 5 s
	FirstMessage  time.Duration // from open to the first whole message or keep-alive; default 30 s
	Unfinished    time.Duration // from the first octet of a message to its last; default 10 s
	Idle          time.Duration // without any octet; default 1 h, below 0 = never. RFC 5626 pings keep a connection alive
	Writing       time.Duration // a blocked write; default 10 s
}

// withDefaults returns o with its zero fields filled in.
func (o Options) withDefaults() Options {
	def(&o.Batch, 32)
	o.Batch = min(o.Batch, 64)
	def(&o.MaxDatagram, 65535)
	def(&o.MaxConns, 100000)
	def(&o.MaxPerSource, 64)
	def(&o.MaxHandshakes, 512)
	def(&o.MaxQueue, 256<<10)
	def(&o.Dialing, 5*time.Second)
	def(&o.Handshake, 5*time.Second)
	def(&o.FirstMessage, 30*time.Second)
	def(&o.Unfinished, 10*time.Second)
	def(&o.Idle, time.Hour)
	def(&o.Writing, 10*time.Second)
	if o.Counters == nil {
		o.Counters = new(Counters)
	}
	if o.Clock == nil {
		o.Clock = shard.RealClock()
	}
	if o.Dialer == nil {
		o.Dialer = func(ctx context.Context, peer netip.AddrPort) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", peer.String())
		}
	}
	return o
}

// def sets *v to d if it is zero.
func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Counters say what happened, by reason. All fields only grow, except Conns. Safe for concurrent use.
type Counters struct {
	PacketsIn, OctetsIn   atomic.Uint64 // datagrams read and their octets, also those that were dropped
	PacketsOut, OctetsOut atomic.Uint64 // datagrams handed to the kernel
	ReadCalls, WriteCalls atomic.Uint64 // system calls on datagram sockets: what batching saves

	Truncated   atomic.Uint64 // datagrams longer than MaxDatagram, dropped
	KeepAlives  atomic.Uint64 // datagrams and stream gaps that hold only CR, LF
	Pings       atomic.Uint64 // RFC 5626 pings on streams, answered by a pong
	InboxFull   atomic.Uint64 // messages dropped because the shard's inbox was full
	SendErrors  atomic.Uint64 // datagrams that the kernel refused
	SendDropped atomic.Uint64 // datagrams dropped because the socket's buffer was full

	Accepted, Dialled atomic.Uint64 // streams opened, after their handshake
	Conns             atomic.Int64  // streams that exist now, handshakes included
	RefusedAdmit      atomic.Uint64 // Options.Admit said no
	RefusedTotal      atomic.Uint64 // over MaxConns
	RefusedSource     atomic.Uint64 // over MaxPerSource
	RefusedHandshakes atomic.Uint64 // over MaxHandshakes
	MessagesIn        atomic.Uint64 // messages framed from streams
	MessagesOut       atomic.Uint64 // messages gathered for streams
	ClosedHandshake   atomic.Uint64 // handshake failed or took too long
	ClosedDial        atomic.Uint64 // Dial did not connect
	ClosedFraming     atomic.Uint64 // the stream was no SIP
	ClosedFirst       atomic.Uint64 // no first message in time
	ClosedUnfinished  atomic.Uint64 // a message was not finished in time
	ClosedIdle        atomic.Uint64 // idle
	ClosedSlow        atomic.Uint64 // queue full, or a write blocked for too long
	ClosedPeer        atomic.Uint64 // the peer closed or reset
	ClosedLocal       atomic.Uint64 // we closed: shutdown or Conn.Close
	DirectWrites      atomic.Uint64 // stream writes done by the shard itself
	BlockedWrites     atomic.Uint64 // stream writes left to a goroutine, because the socket was full or cannot be tried
	ShardWaits        atomic.Uint64 // times a stream reader waited because the shard's inbox was full
}
