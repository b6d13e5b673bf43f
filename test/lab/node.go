package lab

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"imsafe/iface/clientims"
	"imsafe/imsbox/charging"
	"imsafe/node"
	"imsafe/proto/shard"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
	"imsafe/store"
	"imsafe/store/disk"
	"imsafe/store/seal"
)

// Node is one IMS in the bottle.
type Node struct {
	Address netip.AddrPort // its lab-udp port
	Core    *node.Core
	Store   *store.DB
	Disk    *disk.Fake

	w       *World
	number  int
	keyring *seal.Keyring
	image   *store.MemoryImage
	ports   []*clientims.Port
	senders []*sender
}

func newNode(w *World, i int) (*Node, error) {
	keyring, err := seal.Generate(w.chacha)
	if err != nil {
		return nil, err
	}
	n := &Node{w: w, number: i, keyring: keyring, Disk: disk.NewFake(w.options.Seed + uint64(i)), image: store.Memory(),
		Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 1}), 5060)}
	return n, n.start()
}

// start opens the store and assembles the node on it.
func (n *Node) start() (err error) {
	w := n.w
	n.Store, err = store.Open(store.Options{Disk: n.Disk, Image: n.image.Open, Clock: w.Clock, Random: w.chacha, Log: w.options.Log,
		Lab: true, Tables: node.Tables(), Manual: true, SegmentBytes: 1 << 20})
	if err != nil {
		return fmt.Errorf("lab: store of node %d: %w", n.number, err)
	}
	meta := n.Store.Meta()
	n.Core, err = node.Assemble(node.World{Clock: w.Clock, Random: w.chacha, Log: w.options.Log, Store: n.Store,
		Keys: func() *seal.Keyring { return n.keyring }, Policy: w.options.Policy, Sink: w, Mode: w.options.Mode, Node: uint16(n.number + 1),
		Shards: w.options.Shards, Domain: Domain, Lab: true, RestoreEpoch: meta.Epoch, RestoredAt: meta.RestoredAt})
	if err != nil {
		return err
	}
	n.ports = n.Core.Door.Open(clientims.Access{Profile: "lab-udp", Shared: true, SentBy: n.Address.String(), Timers: siptxn.DefaultTimers()})
	n.senders = nil
	for _, p := range n.ports {
		s := &sender{n: n}
		n.senders = append(n.senders, s)
		p.SendBy(s)
	}
	return nil
}

func (n *Node) stop() {
	n.Core.Close()
	_ = n.Store.Close() // after a kill its disk is gone, and says so
}

// Kill is kill -9 and a new start on what the disk had by then.
func (n *Node) Kill() error {
	survivor := n.Disk.Crash()
	n.stop()
	n.Disk = survivor
	return n.start()
}

// shardOf chooses the socket a peer's datagrams come to: the kernel would do so by the addresses.
func (n *Node) shardOf(peer netip.AddrPort) int { return int(peer.Addr().As4()[3]) % len(n.ports) }

func (n *Node) receive(from netip.AddrPort, data []byte) {
	i := n.shardOf(from)
	flow := siptransport.Flow{Via: n.senders[i], Peer: from}
	n.Core.Shards[i].Exec(shard.EventFunc(func(*shard.Shard) { n.ports[i].Packet(flow, data) }))
}

func (n *Node) step(now time.Duration) (next time.Duration) {
	next = n.Store.Step()
	for _, sh := range n.Core.Shards {
		next = min(next, sh.Step(now))
	}
	return next
}

// Call runs a procedure on the node and everything that it causes at the present moment.
func (n *Node) Call(fn func(t *shard.Task)) error {
	done := false
	n.Core.Shards[0].Exec(shard.EventFunc(func(sh *shard.Shard) {
		sh.Start(func(t *shard.Task) {
			fn(t)
			done = true
		})
	}))
	n.w.Settle()
	if !done {
		return fmt.Errorf("lab: a procedure did not end at once")
	}
	return nil
}

// CompleteCalls counts the call records that have a start and a stop.
func (n *Node) CompleteCalls() (int, error) {
	complete := 0
	for cursor := []byte(nil); ; {
		records, next, err := n.Store.Scan(charging.TableCall, nil, cursor, 100)
		if err != nil {
			return 0, err
		}
		for _, r := range records {
			if call, err := charging.Decode(r.Value); err == nil && call.Start != nil && call.Stop != nil {
				complete++
			}
		}
		if next == nil {
			return complete, nil
		}
		cursor = next
	}
}

// provision runs a change of the subscribers, which waits for the disk, while the world goes on.
func (n *Node) provision(change func(ctx context.Context) error) error {
	return change(context.Background())
}

// sender is the node's end of the network.
type sender struct{ n *Node }

// SendTo implements siptransport.Sender.
func (s *sender) SendTo(peer netip.AddrPort, b []byte) error {
	s.n.w.send(s.n.Address, peer, b)
	return nil
}

func (*sender) Reliable() bool          { return false }
func (*sender) Proto() string           { return "UDP" }
func (s *sender) Local() netip.AddrPort { return s.n.Address }
