package clientims

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"imsafe/proto/esp"
	"imsafe/proto/secagree"
	"imsafe/proto/shard"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
	"imsafe/refpoint/gm"
	"imsafe/secure"
)

// IPsec is the access profile ipsec-3gpp at one address of the P-CSCF: an unprotected port, where a first REGISTER comes in, and the
// protected ports behind it.
type IPsec struct {
	Engine Engine
	Local  netip.Addr // of ESP and of the protected ports
	// ServerPort is the protected server port; ClientPorts are at least three, for each authentication takes another
	// (TS 33.203 7.4).
	ServerPort  uint16
	ClientPorts []uint16
	Profile     secagree.Profile
	Exceptions  []secagree.Exception
	SentBy      string // host:port of our Via on the unprotected port
	Timers      siptxn.Timers
}

// Engine keeps the security associations of clients: a *esp.Engine, which carries them itself, or one that has the kernel carry them. It
// finds out for itself which by what is agreed. Safe for concurrent use; it must not block.
type Engine interface {
	Reserve(local netip.Addr, avoid ...uint32) (spi [2]uint32, err error)
	Release(local netip.Addr, spi [2]uint32)
	Install(g *esp.Agreement) (esp.Ref, error)
	Remove(r esp.Ref)
	Extend(r esp.Ref, life time.Duration) bool
	Find(local, peer netip.AddrPort) (r esp.Ref, side esp.Side, ok bool)
	Status(r esp.Ref) (s esp.Status, ok bool)
	Cool(n int) (dropped int)
}

// Slow is an Engine whose associations may stand a while after Install. done is told once, from any goroutine, that those of r do; after
// an error there are none. It is never told by Remove: the door calls that with its associations locked.
type Slow interface {
	Standing(r esp.Ref, done func(error))
}

// Carrier carries what the door seals: an esp.Front, or sockets of the kernel.
type Carrier interface {
	Send(r esp.Ref, side esp.Side, payload []byte) error
}

// Gm is an access profile ipsec-3gpp that is open: where its sockets and fronts deliver to. Safe for concurrent use.
type Gm struct {
	IPsec
	door    *Door
	clear   *accessPorts
	sealed  *accessPorts
	carrier [2]Carrier // by how ESP is carried: transport, tunnel; nil: not at all
	streams sealedStreams
	packets sync.Pool
	turn    atomic.Uint32 // of ClientPorts

	// Stray counts packets that opened well and whose associations the door had given up meanwhile; Overrun those that their shard had
	// no room for.
	Stray, Overrun atomic.Uint64
}

// How ESP is carried.
const (
	byTransport = iota // transport mode on IP (TS 33.203 7.1)
	byTunnel           // tunnel mode in UDP, for clients behind a NAT (TS 33.203 Annex M)
)

// OpenIPsec adds an access profile ipsec-3gpp. Before the node runs.
func (d *Door) OpenIPsec(c IPsec) *Gm {
	g := &Gm{IPsec: c, door: d}
	g.packets.New = func() any { return new(packet) }
	access := Access{Profile: gm.ProfileIPsec, SentBy: c.SentBy, Timers: c.Timers}
	g.clear = d.openAccess(access, g)
	access.Protected, access.SentBy = true, netip.AddrPortFrom(c.Local, c.ServerPort).String()
	g.sealed = d.openAccess(access, g)
	d.gms = append(d.gms, g)
	return g
}

// Clear are the ports, one for each shard, that sockets of the unprotected port deliver to.
func (g *Gm) Clear() []*Port { return g.clear.ports }

// Sealed are the ports, one for each shard, behind the protected ports.
func (g *Gm) Sealed() []*Port { return g.sealed.ports }

// CarryBy tells what carries ESP: in transport mode, and in UDP for clients behind a NAT. nil is for a way that is not open here.
// Before the node runs.
func (g *Gm) CarryBy(transport, tunnel Carrier) { g.carrier = [2]Carrier{transport, tunnel} }

// Refuse answers an engine whether a packet is dropped that one of its checks found bad: it is the enforcement point of the three.
func (d *Door) Refuse(why esp.Drop) bool {
	switch why {
	case esp.DropReplay:
		return d.ports.Gate.Refuse(secure.CIIntegrityReplay, secure.Event{Reason: why.String()})
	case esp.DropAuth:
		return d.ports.Gate.Refuse(secure.CIIntegrityESP, secure.Event{Reason: why.String()})
	case esp.DropSelector:
		return d.refusesSelector(why.String(), netip.Addr{})
	}
	return true
}

// refusesSelector is the enforcement point of "source, ports and Via are those of the association" (TS 33.203 7.1 rules 2 and 4).
func (d *Door) refusesSelector(reason string, source netip.Addr) bool {
	return d.ports.Gate.Refuse(secure.CIAuthenticationSASelector, secure.Event{Reason: reason, Source: source})
}

// packet is a datagram on its way from the front that opened it to the shard of its association.
type packet struct {
	g     *Gm
	owner secure.Association
	ref   esp.Ref
	peer  netip.AddrPort
	data  []byte
	came  int64 // when the kernel had it, or 0
}

// Datagram takes what a front has opened (esp.FrontConfig.UDP) to the shard that its associations belong to. d is lent.
func (g *Gm) Datagram(d *esp.Datagram) {
	if int(d.Owner.Shard) >= len(g.sealed.ports) {
		return
	}
	k := g.packets.Get().(*packet)
	k.g, k.owner, k.ref, k.peer, k.data, k.came = g, secure.Association(d.Owner), d.Agreement, d.Peer, append(k.data[:0], d.Payload...), d.Came
	if !g.sealed.ports[d.Owner.Shard].shard.Exec(k) {
		g.Overrun.Add(1)
		g.packets.Put(k)
	}
}

// Run implements shard.Event.
func (k *packet) Run(sh *shard.Shard) {
	defer k.g.packets.Put(k)
	if p := k.g.sealed.ports[k.owner.Shard]; k.came != 0 {
		p.queue.Waited(time.Duration(sh.Wall().UnixNano()-k.came), sh.Now())
	}
	a, known := k.g.door.lookup(k.owner)
	if !known || a.sa == nil {
		k.g.Stray.Add(1)
		return
	}
	at := a.sa.find(k.ref)
	if at < 0 {
		k.g.Stray.Add(1)
		return
	}
	k.g.sealed.ports[k.owner.Shard].Packet(siptransport.Flow{Via: a.sa.sets[at].set, Peer: k.peer}, k.data)
}

// Notice takes word of an engine about an agreement (esp.Config.Notify): one that must be renewed vouches for no REGISTER from now on, so
// the S-CSCF challenges the next one.
func (d *Door) Notice(ref esp.Ref, owner shard.Place, n esp.Notice) {
	a := secure.Association(owner)
	if t := d.tableOf(a); t != nil && n&(esp.NoticeRenew|esp.NoticeCollision) != 0 {
		t.distrust(a, ref)
	}
}

// clientPort gives a protected client port that has no associations yet with the client's server port: not those of its sets before, nor
// those of an association that it has forgotten (TS 33.203 7.4).
func (g *Gm) clientPort(client netip.AddrPort) uint16 {
	var port uint16
	for range g.ClientPorts {
		port = g.ClientPorts[int(g.turn.Add(1))%len(g.ClientPorts)]
		if _, _, taken := g.Engine.Find(netip.AddrPortFrom(g.Local, port), client); !taken {
			break
		}
	}
	return port
}

// oldFor is how long the associations before stay after a re-authentication (TS 33.203 7.4): what is under way on them ends by itself.
func (g *Gm) oldFor() time.Duration { return 64 * g.Timers.T1 }

// switchAfter is when requests to a client go over its new associations although it has not used them again yet. It has them since its
// answer; some clients give up the old ones after half a minute.
const switchAfter = 10 * time.Second
