package lab

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"imsafe/config"
	"imsafe/iface/clientims"
	"imsafe/imsbox/charging"
	"imsafe/imsbox/scscf"
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
	Core    *node.Core     // the running one, or while the node is down the last
	Store   *store.DB
	Disk    *disk.Fake
	// Meanwhile, if set, is called by Provision before each turn of the world. It may end the node.
	Meanwhile func()
	// Severed keeps the HSS of a world apart from telling the S-CSCF anything.
	Severed bool

	w    *World
	edge *edge      // of a split node: the process that has the P-CSCF
	home *node.Core // that of the HSS, if it is one of its own
	// assembleHome starts that one.
	assembleHome func() error
	number       int
	keyring      *seal.Keyring
	image        *store.MemoryImage
	up           bool
	ledger       *ledger
	ports        []*clientims.Port
	senders      []*sender
	platforms    []*Platform
	lines        map[netip.AddrPort]siptransport.Flow // of platforms, as the node knows them
	waiting      []arrival                            // of a node that takes its time
	busy         bool
}

func newNode(w *World, i int) (*Node, error) {
	keyring, err := seal.Generate(w.chacha)
	if err != nil {
		return nil, err
	}
	n := &Node{w: w, number: i, keyring: keyring, Disk: disk.NewFake(w.options.Seed + uint64(i)), image: store.Memory(), lines: map[netip.AddrPort]siptransport.Flow{},
		Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 1}), 5060)}
	return n, n.Start()
}

// Number is its place among the nodes of the world, from 0.
func (n *Node) Number() int { return n.number }

// Cores are the processes of the node: one, or of a split node two, that with the clients' door first.
func (n *Node) Cores() []*node.Core {
	if n.edge != nil {
		return []*node.Core{n.edge.core, n.Core}
	}
	return []*node.Core{n.Core}
}

// Up reports whether it runs.
func (n *Node) Up() bool { return n.up }

// Start opens the store and assembles the node on it, as the start of a process does.
func (n *Node) Start() (err error) {
	w := n.w
	d := disk.Disk(n.Disk)
	if w.options.Lying {
		d = struct{ disk.Disk }{d} // without Busy the store takes each sync for done
	}
	n.Store, err = store.Open(store.Options{Disk: d, Image: n.image.Open, Clock: w.Clock, Random: w.chacha, Log: w.options.Log,
		Lab: true, Tables: node.Tables(), Manual: true, SegmentBytes: 1 << 20})
	if err != nil {
		return fmt.Errorf("lab: store of node %d: %w", n.number, err)
	}
	if w.options.Disk != nil {
		w.options.Disk(n)
	}
	n.ledger = &ledger{DB: n.Store, w: w}
	meta := n.Store.Meta()
	world := node.World{Clock: w.Clock, Random: w.chacha, Log: w.options.Log, Store: n.ledger,
		Keys: func() *seal.Keyring { return n.keyring }, Policy: w.options.Policy, Sink: w, Mode: w.options.Mode, Node: uint16(2*n.number + 1), Roles: w.roles(),
		Shards: w.options.Shards, Domain: Domain, Lab: true, Digest: w.options.digest(), Emergency: w.options.emergency(), Budget: w.options.Budget, Numbering: w.options.Numbering,
		RestoreEpoch: meta.Epoch, RestoredAt: meta.RestoredAt, Poison: w.options.Poison, Budgets: w.options.budgets(), Services: directory{n}, Voucher: w.options.Voucher,
		Iq: w.options.Anchor, CS: config.CS{LabPlain: w.options.MediaInClear}}
	if err := n.startHome(&world); err != nil {
		return err
	}
	if n.Core, err = node.Assemble(world); err != nil {
		return err
	}
	if err := n.startEdge(); err != nil {
		return err
	}
	n.ports = n.front().Door.Open(clientims.Access{Profile: "lab-udp", Shared: !w.options.Protected, Protected: w.options.Protected, SentBy: n.Address.String(), Timers: siptxn.DefaultTimers()})
	n.senders = nil
	n.up = true
	for _, p := range n.platforms {
		n.connect(p)
	}
	n.share()
	for i, p := range n.ports {
		s := &sender{n: n, from: n.Address}
		n.senders = append(n.senders, s)
		p.SendBy(s)
		n.front().Shards[i].Exec(shard.EventFunc(func(*shard.Shard) { p.Watch() }))
	}
	return nil
}

// stop ends the node at once: what its procedures would still say or write on their way out is not heard.
func (n *Node) stop() {
	if !n.up {
		return
	}
	n.up = false
	if e := n.ledger.errand; e != nil {
		close(e.ended)
	}
	n.Store.Abandon()
	n.Core.Close()
	n.stopHome()
	n.stopEdge()
}

// Exit ends the process as kill -9 does: what it wrote stays, synced or not.
func (n *Node) Exit() { n.stop() }

// PowerCut ends it as a power cut does: of what was not synced, something is left.
func (n *Node) PowerCut() {
	survivor := n.Disk.Crash()
	n.stop()
	n.Disk = survivor
}

// Kill is a power cut and a new start on what the disk had by then.
func (n *Node) Kill() error {
	n.PowerCut()
	return n.Start()
}

// shardOf chooses the socket a peer's datagrams come to: the kernel would do so by the addresses.
func (n *Node) shardOf(peer netip.AddrPort) int { return int(peer.Addr().As4()[3]) % len(n.ports) }

func (n *Node) receive(from netip.AddrPort, data []byte) {
	if !n.up {
		return
	}
	if n.w.options.Work > 0 {
		n.queue(from, data)
		return
	}
	n.take(from, data)
}

// take brings a datagram to its shard.
func (n *Node) take(from netip.AddrPort, data []byte) {
	if line, connected := n.lines[from]; connected { // a connection of a service platform
		n.Core.Shards[0].Exec(shard.EventFunc(func(sh *shard.Shard) { n.Core.Services.Port(sh).Packet(line, data) }))
		return
	}
	i := n.shardOf(from)
	flow := siptransport.Flow{Via: n.senders[i], Peer: from}
	n.front().Shards[i].Exec(shard.EventFunc(func(*shard.Shard) { n.ports[i].Packet(flow, data) }))
}

func (n *Node) step(now time.Duration) (next time.Duration) {
	if !n.up {
		return store.Never
	}
	next = n.Store.Step()
	for _, sh := range n.shards() {
		next = min(next, sh.Step(now))
	}
	return min(next, n.stepEdge(now))
}

// Front is the process with the P-CSCF.
func (n *Node) Front() *node.Core { return n.front() }

// Drain makes the node turn new work away.
func (n *Node) Drain() { n.front().Door.Drain() }

// budgets are what strangers and clients may cost.
func (o *Options) budgets() clientims.Budgets {
	if !o.Wide {
		return clientims.Budgets{}
	}
	wide := config.CI{Budget: config.Wide()}
	return node.Budgets(&wide)
}

// emergency is what the nodes know of emergency calls.
func (o *Options) emergency() config.Emergency {
	return config.Emergency{Numbers: []string{"112", "911"}, URI: o.Emergency}
}

// Disconnect makes the node lose its flows to a client.
func (n *Node) Disconnect(c *Client) { n.front().Door.Disconnect(c.Address.Addr()) }

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

// Sweep ends registrations whose time is over, as node.Node does in the background. What fails is tried at the next.
func (n *Node) Sweep() error {
	if !n.up {
		return nil
	}
	records, err := n.Store.Sweep(scscf.TableRegistration, n.w.Clock.Wall().UnixMilli(), 1000)
	if err != nil {
		return err
	}
	for i, r := range records {
		n.Core.Shards[i%len(n.Core.Shards)].Exec(shard.EventFunc(func(sh *shard.Shard) {
			sh.Start(func(t *shard.Task) { _ = n.Core.SCSCF.Expire(t, string(r.Key)) })
		}))
	}
	return nil
}

// CompleteCalls counts the call records that have a start and a stop.
func (n *Node) CompleteCalls() (int, error) {
	type dialog struct{ callID, dialog, role string }
	began, complete := map[dialog]bool{}, 0 // records are in the order of time
	for cursor := []byte(nil); ; {
		records, next, err := n.Store.Scan(charging.TableCall, nil, cursor, 100)
		if err != nil {
			return 0, err
		}
		for _, r := range records {
			record, err := charging.Decode(r.Value)
			if err != nil {
				return 0, err
			}
			of := dialog{record.CallID, record.Dialog, record.Role}
			switch {
			case record.Type == charging.Start:
				began[of] = true
			case record.Type == charging.Stop && began[of]:
				complete++
				delete(began, of)
			}
		}
		if next == nil {
			return complete, nil
		}
		cursor = next
	}
}

// Messages is how many are in use; it is counted under Options.Poison only.
func (n *Node) Messages() int64 {
	live := n.Core.Pool.Live()
	if n.edge != nil {
		live += n.edge.core.Pool.Live()
	}
	return live
}

// Transactions is how many the node has open, server and client.
func (n *Node) Transactions() (total int) {
	for _, p := range n.ports {
		c := p.Counters()
		total += int(c.Servers.Load() + c.Clients.Load())
	}
	return total
}

// Provision runs a change of the subscribers, which waits for the disk and for procedures of the node, on a goroutine
// of its own. Until it has ended nobody else in the world does anything: time passes only for the disk of this node. So
// the goroutine and the world take turns, and the run stays one that can be repeated. If the node ends meanwhile, the change
// fails; what of it is durable is for the next start to find out.
func (n *Node) Provision(change func(ctx context.Context) error) error {
	n.quieten()
	e := &errand{blocked: make(chan struct{}, 1), ended: make(chan struct{})}
	n.ledger.errand = e
	defer func() { n.ledger.errand = nil }()
	done := make(chan error, 1)
	go func() { done <- change(&errandContext{context.Background(), e}) }()
	for {
		// The goroutine's turn.
		select {
		case err := <-done:
			return err
		case <-e.blocked:
		case <-time.After(time.Minute):
			panic("lab: a change of the subscribers waits for something that only time brings")
		}
		if ended := e.world(n); ended {
			return <-done
		}
	}
}

// world is the world's turn, which ends when all that was handed to the store is answered. It reports whether the node has ended.
func (e *errand) world(n *Node) (ended bool) {
	e.turn.Lock()
	defer e.turn.Unlock()
	for {
		if n.Meanwhile != nil {
			n.Meanwhile()
		}
		if !n.up {
			return true
		}
		n.turn()
		if e.waiting.Load() == 0 {
			break
		}
	}
	if answer := e.answer; answer != nil {
		e.answer = nil
		answer()
	}
	return false
}

// quieten lets what is on its way to the disk arrive.
func (n *Node) quieten() {
	for n.turn() {
	}
}

// turn does what the node can do now, and if its disk is at work lets it finish; it reports whether it was.
func (n *Node) turn() bool {
	for {
		before := n.Store.Stats().Batches
		n.Store.Step()
		for _, sh := range n.shards() {
			for !enter(sh, n.w.Clock.Now()) {
				runtime.Gosched()
			}
		}
		next := n.Store.Step()
		if busy := n.Disk.Busy(); busy > n.w.Clock.Now() && next == busy {
			n.w.Clock.AdvanceTo(busy)
			return true
		}
		if n.Store.Stats().Batches == before {
			return false
		}
	}
}

// enter is Step, unless somebody is inside: the goroutine of Provision is on its way out of the shard then.
func enter(sh *shard.Shard, now time.Duration) (entered bool) {
	defer func() {
		if p := recover(); p != nil && p != "shard: Step while somebody is inside" {
			panic(p)
		}
	}()
	sh.Step(now)
	return true
}

// ledger is the store of a node. It lets reads take time, and while Provision runs it tells who waits for the disk.
type ledger struct {
	*store.DB
	w      *World
	errand *errand // nil outside Provision
}

// GetAsync implements store.Store.
func (l *ledger) GetAsync(t store.Table, key []byte, done func(store.Record, error)) {
	if l.w.options.Read != nil && l.errand == nil { // the turns of Provision have no time for others
		if d := l.w.options.Read(); d > 0 {
			l.w.After(d, func() { l.DB.GetAsync(t, key, done) })
			return
		}
	}
	l.DB.GetAsync(t, key, done)
}

// errand is one Provision.
type errand struct {
	turn    sync.Mutex    // held by the world while it is its turn: who comes back early from a procedure waits for the goroutine's
	blocked chan struct{} // the goroutine waits for the world
	ended   chan struct{} // closed when the node ends before it
	waiting atomic.Int64  // changes that were handed to the store and are not answered
	answer  func()        // to the goroutine: given when the world's turn is over, not in the middle of it
}

// begin waits for the goroutine's turn.
func (e *errand) begin() {
	e.turn.Lock()
	//lint:ignore SA2001 to have had it is enough: the world takes it when the goroutine waits, and not before
	e.turn.Unlock()
}

// block tells that the goroutine waits for the world now.
func (e *errand) block() {
	select {
	case e.blocked <- struct{}{}:
	default:
	}
}

// errandContext tells when shard.Call begins to wait: whoever waits in it for a procedure asks for Done.
type errandContext struct {
	context.Context
	e *errand
}

// Done implements context.Context.
func (c *errandContext) Done() <-chan struct{} {
	c.e.block()
	return c.Context.Done()
}

// ApplyAsync implements store.Store.
func (l *ledger) ApplyAsync(partition string, ops []store.Op, done func(error)) {
	e := l.errand
	if e == nil {
		l.DB.ApplyAsync(partition, ops, done)
		return
	}
	e.waiting.Add(1)
	l.DB.ApplyAsync(partition, ops, func(err error) {
		e.waiting.Add(-1)
		done(err)
	})
}

// ReserveAsync implements store.Store.
func (l *ledger) ReserveAsync(counter string, n uint64, done func(from, to uint64, err error)) {
	e := l.errand
	if e == nil {
		l.DB.ReserveAsync(counter, n, done)
		return
	}
	e.waiting.Add(1)
	l.DB.ReserveAsync(counter, n, func(from, to uint64, err error) {
		e.waiting.Add(-1)
		done(from, to, err)
	})
}

// Get implements store.Store.
func (l *ledger) Get(t store.Table, key []byte) (store.Record, error) {
	if e := l.errand; e != nil {
		e.begin()
	}
	return l.DB.Get(t, key)
}

// Scan implements store.Store.
func (l *ledger) Scan(t store.Table, prefix, cursor []byte, limit int) ([]store.Record, []byte, error) {
	if e := l.errand; e != nil {
		e.begin()
	}
	return l.DB.Scan(t, prefix, cursor, limit)
}

// Apply implements store.Store.
func (l *ledger) Apply(partition string, ops ...store.Op) error {
	e := l.errand
	if e == nil {
		return l.DB.Apply(partition, ops...)
	}
	e.begin()
	answer := make(chan error, 1)
	l.ApplyAsync(partition, ops, func(err error) { e.answer = func() { answer <- err } })
	e.block()
	select {
	case err := <-answer:
		return err
	case <-e.ended:
		return store.ErrFailed
	}
}

// Reserve implements store.Store.
func (l *ledger) Reserve(counter string, n uint64) (from, to uint64, err error) {
	e := l.errand
	if e == nil {
		return l.DB.Reserve(counter, n)
	}
	type reserved struct {
		from, to uint64
		err      error
	}
	e.begin()
	answer := make(chan reserved, 1)
	l.ReserveAsync(counter, n, func(from, to uint64, err error) {
		e.answer = func() { answer <- reserved{from, to, err} }
	})
	e.block()
	select {
	case r := <-answer:
		return r.from, r.to, r.err
	case <-e.ended:
		return 0, 0, store.ErrFailed
	}
}

// sender is the node's end of the network.
type sender struct {
	n    *Node
	from netip.AddrPort
}

// SendTo implements siptransport.Sender.
func (s *sender) SendTo(peer netip.AddrPort, b []byte) error {
	if s.n.up {
		s.n.w.Send(s.from, peer, b)
	}
	return nil
}

func (*sender) Reliable() bool          { return false }
func (*sender) Proto() string           { return "UDP" }
func (s *sender) Local() netip.AddrPort { return s.from }
