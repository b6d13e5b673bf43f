package siptransport

import (
	"context"
	"net"
	"net/netip"

	"imsafe/proto/shard"
)

// Datagrams is a packet socket as a Sender and a reader. Make it with NewDatagrams.
type Datagrams struct{}

// ListenUDP opens n UDP sockets on the same address with SO_REUSEPORT, one per shard; the kernel keeps the datagrams of one
// peer on one socket. Port 0 is chosen once and shared. The caller closes them, or the readers do.
func ListenUDP(addr netip.AddrPort, n int) ([]*net.UDPConn, error) { panic("todo") }

// NewDatagrams makes the Sender of pc, whose events run on sh; it may send before Serve reads.
func NewDatagrams(sh *shard.Shard, pc net.PacketConn, o Options) *Datagrams { panic("todo") }

// Serve reads until ctx ends or the socket is closed, and closes the socket. It returns nil then, else the socket's error.
func (d *Datagrams) Serve(ctx context.Context, r Receiver) error { panic("todo") }

// Flow is the flow from this socket to peer.
func (d *Datagrams) Flow(peer netip.AddrPort) Flow { panic("todo") }

func (d *Datagrams) SendTo(peer netip.AddrPort, b []byte) error { panic("todo") }
func (d *Datagrams) Reliable() bool                             { panic("todo") }
func (d *Datagrams) Proto() string                              { panic("todo") }
func (d *Datagrams) Local() netip.AddrPort                      { panic("todo") }

// ServePacket is NewDatagrams and Serve in one.
func ServePacket(ctx context.Context, sh *shard.Shard, pc net.PacketConn, r Receiver, o Options) error {
	return NewDatagrams(sh, pc, o).Serve(ctx, r)
}

// Streams accepts and dials stream connections under one set of bounds.
type Streams struct{}

// NewStreams makes a Streams without connections.
func NewStreams(o Options) *Streams { panic("todo") }

// Serve accepts connections of ln until ctx ends or ln is closed, and gives each to the next of shards in turn; r is asked
// once per shard. It closes ln. Connections live on: Close ends them.
func (s *Streams) Serve(ctx context.Context, shards []*shard.Shard, ln net.Listener, r func(*shard.Shard) Receiver) error {
	panic("todo")
}

// Dial opens a connection to peer and returns its flow at once; what is sent before it stands waits (bounded by MaxQueue).
// Receiver.Opened follows, or Receiver.Closed if it fails.
func (s *Streams) Dial(ctx context.Context, sh *shard.Shard, peer netip.AddrPort, r Receiver) Flow {
	panic("todo")
}

// Close ends all connections: those that still have something to write may do so until ctx ends.
func (s *Streams) Close(ctx context.Context) error { panic("todo") }

// ServeListener is NewStreams and Serve in one; it closes all connections when ctx ends.
func ServeListener(ctx context.Context, shards []*shard.Shard, ln net.Listener, r func(*shard.Shard) Receiver, o Options) error {
	panic("todo")
}

// Dial is NewStreams and Streams.Dial in one, for a client with one connection.
func Dial(ctx context.Context, sh *shard.Shard, peer netip.AddrPort, r Receiver, o Options) Flow {
	panic("todo")
}

// Conn is one stream connection; it is the Sender of its flow. A door gets at it with f.Via.(*siptransport.Conn).
type Conn struct{}

// Close ends the connection after what was gathered is written; Receiver.Closed follows with ErrClosed. Any goroutine.
func (c *Conn) Close() { panic("todo") }

func (c *Conn) SendTo(peer netip.AddrPort, b []byte) error { panic("todo") }
func (c *Conn) Reliable() bool                             { panic("todo") }
func (c *Conn) Proto() string                              { panic("todo") }
func (c *Conn) Local() netip.AddrPort                      { panic("todo") }

var (
	_ Sender = (*Datagrams)(nil)
	_ Sender = (*Conn)(nil)
)
