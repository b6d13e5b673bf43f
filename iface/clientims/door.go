// Package clientims is the C-I door: what stands between IMS clients and the core (reference point Gm).
//
// The door owns sockets, transactions at the edge, and associations: who is at the other end of a path, proven
// by the registration that is bound to it. It admits a request only with a proof of that, takes off what a
// client may not send, and lets nothing out that a client may not see: session keys first of all. The SIP
// procedure behind it is the P-CSCF's (refpoint/gm).
//
// An access profile is a listener with rules of its own: "tls", "ipsec-3gpp", and in lab mode "lab-udp". A listener is whatever socket
// is handed in, and identity comes from the connection or from the security associations.
//
// node assembles it. It imports hop, refpoint, secure, policy and proto, never a function. Each Port belongs to
// its shard; Door's own methods are safe for concurrent use.
package clientims

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"imsafe/hop"
	"imsafe/proto/overload"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
	"imsafe/refpoint/gm"
	"imsafe/secure"
)

// Access is one access profile: a kind of listener and its rules.
type Access struct {
	Profile   string // "tls", "lab-udp"
	Protected bool   // integrity and confidentiality hold on the path
	// Shared says that one peer address may stand for several users (lab test clients): then the identity
	// a message claims is part of the path. Only a lab profile may do so.
	Shared bool
	// Paths is given where several profiles share their associations (the lab's UDP and TCP); nil makes one for each Port.
	Paths  *Paths
	SentBy string // host:port of our Via
	Timers siptxn.Timers
}

// Config is what the door must know.
type Config struct {
	PCSCF     hop.Name // whom requests go to
	AwaitAuth time.Duration
	// Grace is how long an association outlives its registration (TS 33.203 7.4: 30 s).
	Grace time.Duration
	// MaxAssociations bounds the associations of one shard.
	MaxAssociations int
	Emergency       gm.Emergency // what is let in from anybody, at any time
	Limits          siptxn.Limits
	Budgets         Budgets
}

// Ports is what is plugged into the door.
type Ports struct {
	Table  *hop.Table
	Push   gm.Push // the P-CSCF
	Shards []*shard.Shard
	Pool   *sip.Pool
	Sealer *shard.Sealer
	Gate   *secure.Gate
	Story  Story // nil for none
	Watch  Watch // nil for none
	// Load says what each shard turns away; nil makes controllers that nobody feeds, so nothing is. Overloaded is the enforcement point.
	Load       []*overload.Controller
	Overloaded func(secure.Event) bool
	// Drop has the kernel drop datagrams from an address, or connections, for as long as Budgets.DropFor. It must not wait. nil: nobody is dropped.
	Drop func(address netip.Addr, connections bool)
}

// Door is the C-I door of one node.
type Door struct {
	cfg    Config
	ports  Ports
	tables []*associations // by shard
	access []*accessPorts
	gms    []*Gm
	users  *users

	budgets   *budgets
	intervals *intervals

	draining atomic.Bool
	walking  atomic.Int64 // requests of clients that have no final response yet
	walked   func()       // answered, bound once
	helping  atomic.Int64 // those of them that are emergencies of clients that are not registered
	helped   func()
}

// accessPorts is one access profile on every shard.
type accessPorts struct {
	Access
	ports []*Port // by shard
	gm    *Gm     // of ipsec-3gpp
}

var (
	_ hop.Function = (*Door)(nil)
	_ gm.Door      = (*Door)(nil)
)

// New returns a door without listeners. The P-CSCF is plugged later: it needs the door first.
func New(cfg Config, ports Ports) (*Door, error) {
	if cfg.PCSCF == "" || ports.Table == nil || len(ports.Shards) == 0 || ports.Pool == nil || ports.Sealer == nil || ports.Gate == nil {
		return nil, fmt.Errorf("clientims: P-CSCF, table, shards, pool, sealer and gate are needed")
	}
	if cfg.AwaitAuth == 0 {
		cfg.AwaitAuth = 4 * time.Minute
	}
	if cfg.Grace == 0 {
		cfg.Grace = 30 * time.Second
	}
	if cfg.MaxAssociations == 0 {
		cfg.MaxAssociations = 1 << 20
	}
	if ports.Load == nil {
		for range ports.Shards {
			ports.Load = append(ports.Load, overload.New(overload.Config{}))
		}
	}
	if ports.Overloaded == nil {
		ports.Overloaded = func(secure.Event) bool { return true }
	}
	d := &Door{cfg: cfg, ports: ports, users: newUsers(), budgets: newBudgets(cfg.Budgets), intervals: newIntervals(ports.Sealer)}
	d.walked = d.answered
	d.helped = func() { d.helping.Add(-1); d.answered() }
	for _, sh := range ports.Shards {
		d.tables = append(d.tables, newAssociations(sh, cfg.MaxAssociations))
	}
	return d, nil
}

// Plug gives the door the P-CSCF's push side. Before the node runs.
func (d *Door) Plug(push gm.Push) { d.ports.Push = push }

// Open adds an access profile and returns its Port on each shard: what sockets of that profile deliver to.
// Before the node runs.
func (d *Door) Open(a Access) []*Port { return d.openAccess(a, nil).ports }

func (d *Door) openAccess(a Access, g *Gm) *accessPorts {
	group := &accessPorts{Access: a, gm: g}
	kind := byte('a' + len(d.access)) // keeps the branches of the layers of one shard apart
	for i, sh := range d.ports.Shards {
		p := &Port{door: d, access: group, shard: sh, load: d.ports.Load[i], queue: d.ports.Load[i].Queue(), table: d.tables[i], paths: a.Paths, flows: map[siptransport.Flow][]secure.Association{}}
		p.leaves = p.leave
		if p.paths == nil {
			p.paths = NewPaths()
		}
		layer := siptxn.Config{Shard: sh, Pool: d.ports.Pool, Sealer: d.ports.Sealer, Kind: kind, Unsound: d.unsound,
			Timers: a.Timers, Handler: p, Limits: d.cfg.Limits, Foreign: group.foreign, Patience: p.patience, MayReply: p.mayReply}
		if a.Protected {
			layer.Report, layer.Instead = p.report, p.instead
		} else {
			layer.MayAnswer = p.mayAnswer
		}
		p.layer = siptxn.New(layer)
		group.ports = append(group.ports, p)
	}
	d.access = append(d.access, group)
	return group
}

// Promote implements gm.Door.
func (d *Door) Promote(ref secure.Association, r gm.Registration) error {
	t := d.tableOf(ref)
	if t == nil {
		return gm.ErrGone
	}
	if err := t.promote(ref, r, d.cfg.Grace); err != nil {
		return err
	}
	a, alive := d.lookup(ref)
	if !alive {
		return nil
	}
	d.provenAt(a, t.now())
	if c, counted := a.flow.Via.(interface{ Proven() }); counted { // behind one address there may be any number of registered clients
		c.Proven()
	}
	if a.sa == nil {
		return nil
	}
	a.sa.gm.clear.ports[ref.Shard].paths.drop(a.path, ref) // nothing of this client comes in clear any more
	proven := user{r.IMPI, a.sa.user.addr}
	d.budgets.proveName(proven, t.now())
	for _, other := range d.users.prove(proven, ref) {
		d.end(other, gm.ReasonReplaced)
	}
	return nil
}

// end ends an association of ipsec-3gpp.
func (d *Door) end(ref secure.Association, why gm.Reason) {
	if a, known := d.lookup(ref); known && a.sa != nil {
		a.sa.gm.clear.ports[ref.Shard].forget(ref, why)
	}
}

// Remove implements gm.Door.
func (d *Door) Remove(a secure.Association, after time.Duration) {
	if t := d.tableOf(a); t != nil {
		t.retire(a, after)
	}
}

// Alive implements gm.Door.
func (d *Door) Alive(a secure.Association) bool {
	_, alive := d.lookup(a)
	return alive
}

// Disconnect ends every association of a peer address, as if its connections were lost, and returns how many there were.
func (d *Door) Disconnect(peer netip.Addr) (ended int) {
	for _, group := range d.access {
		for i, t := range d.tables {
			for _, ref := range t.of(peer, group) {
				group.ports[i].forget(ref, gm.ReasonRemoved)
				ended++
			}
		}
	}
	return ended
}

// Associations is how many associations there are, also those that the sweeper has still to find expired.
func (d *Door) Associations() (total int) {
	for _, t := range d.tables {
		total += t.used()
	}
	return total
}

// Drain turns new work away from now on: registrations and new dialogs get 503. What belongs to a dialog or is on its way
// goes on.
func (d *Door) Drain() { d.draining.Store(true) }

// Walking is how many requests of clients wait for their final response.
func (d *Door) Walking() int { return int(d.walking.Load()) }

func (d *Door) answered() { d.walking.Add(-1) }

// drainRetry is what those who are turned away are told, in seconds: by then another node, or this one again, is there.
const drainRetry = "5"

func (d *Door) turnsAway(m *sip.Message) bool {
	return d.draining.Load() && len(m.ToTag()) == 0 && !d.isEmergency(m)
}

func (d *Door) lookup(a secure.Association) (association, bool) {
	if t := d.tableOf(a); t != nil {
		return t.get(a)
	}
	return association{}, false
}

func placeOf(a secure.Association) shard.Place { return shard.Place(a) }

func addrPort(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

func (d *Door) tableOf(a secure.Association) *associations {
	if int(a.Shard) >= len(d.tables) || a.Node != d.ports.Shards[0].Node() {
		return nil
	}
	return d.tables[a.Shard]
}
