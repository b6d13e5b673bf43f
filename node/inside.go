package node

import (
	"context"
	"net/netip"

	"golang.org/x/sync/errgroup"

	"imsafe/iface/imsservice"
	"imsafe/proto/shard"
	"imsafe/proto/siptransport"
	"imsafe/refpoint/isc"
	"imsafe/servicebox/as"
)

// hostServices runs the services that are compiled into this process. They are approved by an operator like any others, and the guard judges
// each message of theirs; only the connection is one in memory, and its proof is that it was built in.
func (n *Node) hostServices(ctx context.Context, group *errgroup.Group) {
	if n.Services == nil {
		return
	}
	for _, svc := range n.o.Services {
		sh := n.Shards[0]
		port := n.Services.Port(sh)
		core := &coreEnd{svc: svc}
		service := &serviceEnd{port: port, back: siptransport.Flow{Via: core, Peer: inside}}
		core.back = siptransport.Flow{Via: service, Peer: inside}
		svc.Connect(core.back)
		sh.Exec(shard.EventFunc(func(*shard.Shard) { port.Attach(service.back, &isc.Service{Manifest: svc.Manifest()}) }))
		group.Go(func() error { return svc.Run(ctx) })
	}
}

// inside stands for the address of somebody in this process.
var inside = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 5061)

// memory is what both ends have in common: nothing is lost, and nobody listens.
type memory struct{}

func (memory) Reliable() bool        { return true }
func (memory) Proto() string         { return "TLS" }
func (memory) Local() netip.AddrPort { return inside }

// coreEnd is the core's end of the connection: what is sent here comes to the service.
type coreEnd struct {
	memory
	svc  *as.Service
	back siptransport.Flow // as the service has it
}

// SendTo implements siptransport.Sender.
func (e *coreEnd) SendTo(_ netip.AddrPort, b []byte) error {
	e.svc.Deliver(e.back, b)
	return nil
}

// serviceEnd is the service's end: what is sent here comes to the door.
type serviceEnd struct {
	memory
	port *imsservice.Port
	back siptransport.Flow // as the door has it
}

// SendTo implements siptransport.Sender.
func (e *serviceEnd) SendTo(_ netip.AddrPort, b []byte) error {
	data := append([]byte(nil), b...)
	if !e.port.Shard().Exec(shard.EventFunc(func(*shard.Shard) { e.port.Packet(e.back, data) })) {
		return siptransport.ErrSlow
	}
	return nil
}
