package siptransport

import (
	"crypto/tls"
	"net/netip"
	"time"
)

// Sender is the local half of a flow: one UDP socket, or one stream connection. Implementations of this package may be
// used from any goroutine and are comparable (pointers).
type Sender interface {
	// SendTo sends one SIP message to peer. It copies b. The octets are gathered with others of the same burst and leave
	// when the shard of the Sender has done its present work, or enough came together. A stream ignores peer: it has one.
	// The error is immediate knowledge only (ErrClosed, ErrTooLarge, ErrPeer, ErrSlow): a datagram that the network loses is
	// not reported. Off the shard it enters the shard as shard.Exec does, so no lock may be held that work on the shard wants.
	SendTo(peer netip.AddrPort, b []byte) error
	// Reliable reports whether the transport retransmits by itself (RFC 3261 17: timers A, E, G do not run).
	Reliable() bool
	// Proto is the sent-protocol of a Via: "UDP", "TCP", "TLS", "WS" or "WSS".
	Proto() string
	// Local is the address the socket is bound to.
	Local() netip.AddrPort
}

// Flow says where a message came from or goes to: a local Sender and the peer's address. A stream has one Sender per
// connection. Flows are comparable.
type Flow struct {
	Via  Sender
	Peer netip.AddrPort
}

// Send sends b over the flow; see Sender.SendTo.
func (f Flow) Send(b []byte) error { return f.Via.SendTo(f.Peer, b) }

// Patient is what a Sender may offer besides: SendLater is SendTo for what may wait, so that several such messages leave with one system call. b
// leaves when the time of the first of them is over, or there is much of it; what is sent meanwhile overtakes it. On the shard of the Sender only.
type Patient interface {
	SendLater(peer netip.AddrPort, b []byte, within time.Duration) error
}

// SendLater sends b over the flow within a time; see Patient. A Sender that is not patient, and one without time, sends it now.
func (f Flow) SendLater(b []byte, within time.Duration) error {
	if p, ok := f.Via.(Patient); ok && within > 0 {
		return p.SendLater(f.Peer, b, within)
	}
	return f.Send(b)
}

// IsZero reports whether f is no flow at all.
func (f Flow) IsZero() bool { return f.Via == nil }

// Receiver is the user of a transport, usually a door. Its methods are called on the shard and must not block.
type Receiver interface {
	// Packet brings one complete SIP message, framed but not parsed. data is valid during the call only.
	Packet(f Flow, data []byte)
	// Opened says that a stream was accepted or dialled and that its handshake is done. state is nil without TLS.
	Opened(f Flow, state *tls.ConnectionState)
	// Closed says that a stream of which Opened was told, or a Dial, has ended, and why. It is the last word on f.
	Closed(f Flow, err error)
}
