package imsservice

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"imsafe/proto/budget"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
	"imsafe/refpoint/isc"
	"imsafe/secure"
	"imsafe/secure/mint"

	"imsafe/hop"
)

// Port is the door on one shard: where connections of platforms deliver to. It belongs to the shard.
type Port struct {
	door  *Door
	shard *shard.Shard
	layer *siptxn.Layer
	known map[siptransport.Flow]*peer
}

// peer is a platform at the other end of a connection.
type peer struct {
	host    string            // of its manifest
	leaf    *x509.Certificate // nil for one that is compiled in, and for a stranger whom a lab lets in
	service *isc.Service      // as it was approved when the connection was opened: for a lab that asks no more
	proof   secure.Proof
	end     shard.Timer // of leaf

	calls map[*siptxn.Server]uint64 // its INVITEs that are under way, numbered as they came
	last  uint64
}

var (
	_ siptransport.Receiver = (*Port)(nil)
	_ siptxn.Handler        = (*Port)(nil)
)

// errNotAdmitted ends a handshake. The platform's operator finds the reason at the core: a stranger is told nothing.
var errNotAdmitted = errors.New("imsservice: the certificate is not that of a service platform which is approved and active")

// Verify is what the TLS configuration of every connection must ask (tls.Config.VerifyConnection, which sees resumed connections too): it
// admits a platform that the operator has approved, by the whole of its certificate. roots are the authorities of the network.
func (d *Door) Verify(roots func() *x509.CertPool) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		var leaf *x509.Certificate
		if len(state.PeerCertificates) > 0 && chains(state, roots()) {
			leaf = state.PeerCertificates[0]
		}
		if _, refused := d.standing(leaf, netip.Addr{}); refused {
			return errNotAdmitted
		}
		return nil
	}
}

// Plain reports whether a connection that begins without TLS may go on: nobody's, but in a lab. It is the enforcement point of what TLS does for
// the wire, whoever is at its other end: nobody reads it, nobody changes it.
func (d *Door) Plain(peer netip.AddrPort) bool {
	e := event(nil, "clear", peer.Addr())
	return !d.ports.Gate.Refuse(secure.ISConfidentialityMTLS, e) && !d.ports.Gate.Refuse(secure.ISIntegrityMTLS, e)
}

// newConnections is what one address may open: platforms stay connected. maxSources bounds how many addresses are remembered.
func newConnections() budget.Rate { return budget.Rate{Limit: 2, Per: time.Second, Burst: 50} }

const maxSources = 1 << 12

// Admits is asked about each connection before anything is made for it (siptransport.Options.Admit). Safe for concurrent use.
func (d *Door) Admits(peer netip.AddrPort) bool {
	return d.arrivals.Take(d.keys.Source(peer.Addr()), d.ports.Shards[0].Clock().Now()).Granted() || !d.refusesConnection(peer, "too-often")
}

// Sheds is asked about connections whose time is over, and those of a source that has too many (siptransport.Options.Shed).
func (d *Door) Sheds(peer netip.AddrPort, why error) bool {
	return d.refusesConnection(peer, siptransport.ShedReason(why))
}

func (d *Door) refusesConnection(peer netip.AddrPort, reason string) bool {
	return refusesConnection(d.ports.Gate, peer.Addr(), reason)
}

// refusesConnection is the enforcement point of deadlines, and of connections of a source: how many, and how many new ones.
func refusesConnection(gate *secure.Gate, peer netip.Addr, reason string) bool {
	return gate.Refuse(secure.ISAvailabilityDeadline, event(nil, reason, peer.Unmap()))
}

// chains reports whether the peer's certificate leads to one of roots and is good for both ends of a connection.
func chains(state tls.ConnectionState, roots *x509.CertPool) bool {
	between := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	o := x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	leaf := state.PeerCertificates[0]
	_, err := leaf.Verify(o)
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert == leaf {
		o.CurrentTime = leaf.NotAfter // it is told from a stranger's, and refused for its age: see standing
		_, err = leaf.Verify(o)
	}
	return err == nil
}

// standing returns whose certificate leaf is or was, and is the enforcement point of who may be on I-S at all: nobody but platforms that are
// approved, and not those whose approval was taken back. leaf is nil for whoever has shown none that leads to our authority.
func (d *Door) standing(leaf *x509.Certificate, source netip.Addr) (s *isc.Service, refused bool) {
	how := StandingStranger
	if leaf != nil {
		s, how = d.ports.Services.ByPeer(leaf)
	}
	if how == StandingActive {
		return s, false
	}
	if how == StandingExpired || how == StandingSuspended || how == StandingRevoked {
		return s, d.ports.Gate.Refuse(secure.ISAuthenticationRevocation, event(s, string(how), source))
	}
	return s, d.ports.Gate.Refuse(secure.ISAuthenticationMTLS, event(s, string(how), source))
}

// Opened implements siptransport.Receiver.
func (p *Port) Opened(f siptransport.Flow, state *tls.ConnectionState) {
	if state == nil || len(state.PeerCertificates) == 0 {
		return
	}
	leaf := state.PeerCertificates[0]
	s, refused := p.door.standing(leaf, f.Peer.Addr())
	if s == nil || refused {
		return // changed in this moment, or let in by a lab: without a name it is a stranger at each message
	}
	who := &peer{host: s.Manifest.Host(), leaf: leaf, service: s, calls: map[*siptxn.Server]uint64{}, proof: mint.Service(s.Manifest.Host())}
	p.enter(f, who)
	p.endsWith(f, who)
}

// endsWith has the connection examined when its certificate is over: whoever holds it open is not there for longer than he was vouched for.
func (p *Port) endsWith(f siptransport.Flow, who *peer) {
	const past = time.Millisecond // it is good until its last moment
	p.shard.Arm(&who.end, who.leaf.NotAfter.Sub(p.shard.Wall())+past, shard.EventFunc(func(*shard.Shard) {
		if !p.shard.Wall().After(who.leaf.NotAfter) {
			p.endsWith(f, who) // the clock was set back
			return
		}
		p.examine(f)
	}))
}

// Attach makes f the connection of the platform s that is compiled into this process: its proof is that it was built in, and it passes the
// guard like any other.
func (p *Port) Attach(f siptransport.Flow, s *isc.Service) {
	p.enter(f, &peer{host: s.Manifest.Host(), calls: map[*siptxn.Server]uint64{}, proof: mint.CompiledIn(s.Manifest.Host())})
}

func (p *Port) enter(f siptransport.Flow, who *peer) {
	p.known[f] = who
	p.door.lines.add(who.host, line{flow: f, port: p})
}

// Closed implements siptransport.Receiver.
func (p *Port) Closed(f siptransport.Flow, _ error) {
	if who := p.known[f]; who != nil {
		p.shard.Disarm(&who.end)
		p.door.lines.remove(who.host, f)
		delete(p.known, f)
		who.abandon()
	}
	p.layer.FlowClosed(f)
	for _, other := range p.door.port {
		if other != p { // requests of another shard wait on it as well
			other.shard.Post(shard.EventFunc(func(*shard.Shard) { other.layer.FlowClosed(f) }))
		}
	}
}

// changed is told by the registry that what a platform may has changed. Connections of who may no more are closed: what is under way on
// them fails at once, and its default handling follows.
func (d *Door) changed(host string) {
	for _, l := range d.lines.of(host) {
		l.port.shard.Post(shard.EventFunc(func(*shard.Shard) { l.port.examine(l.flow) }))
	}
}

// examine closes a connection whose platform may not be here any more.
func (p *Port) examine(f siptransport.Flow) {
	who := p.known[f]
	if who == nil || who.leaf == nil {
		return
	}
	if _, refused := p.door.standing(who.leaf, f.Peer.Addr()); refused {
		if c, closes := f.Via.(interface{ Close() }); closes {
			c.Close()
		}
	}
}

// Packet implements siptransport.Receiver. What comes from nobody is not even parsed: the handshake has refused it already, so only a lab
// sees it here.
func (p *Port) Packet(f siptransport.Flow, data []byte) {
	if p.known[f] == nil {
		if _, refused := p.door.standing(nil, f.Peer.Addr()); refused {
			return
		}
	}
	p.layer.Input(f, data)
}

// platform returns who sent a message and what he may by now: nil for nobody. A stranger whom a lab lets in is whom his Via names, as where
// platforms are known by what they say.
func (p *Port) platform(f siptransport.Flow, m *sip.Message) (*isc.Service, secure.Proof) {
	if who := p.known[f]; who != nil {
		s := p.door.ports.Services.ByServer([]byte(who.host))
		if s == nil && who.leaf != nil {
			if _, refused := p.door.standing(who.leaf, f.Peer.Addr()); !refused {
				s = who.service
			}
		}
		return s, who.proof
	}
	via, err := m.TopVia()
	if err != nil {
		return nil, secure.Proof{}
	}
	s := p.door.ports.Services.ByServer(via.Host)
	if s == nil {
		return nil, secure.Proof{}
	}
	return s, mint.Service(s.Manifest.Host())
}

// Request implements siptxn.Handler: the way of a platform's request through the door.
func (p *Port) Request(tx *siptxn.Server, m *sip.Message) {
	s, proof := p.platform(tx.Flow(), m)
	if s == nil {
		_ = p.layer.Reply(tx, 403, "") // suspended in this moment; who has closed his connection needs no answer
		return
	}
	g := guard{door: p.door, service: s, source: tx.Flow().Peer.Addr(), now: p.shard.Now()}
	in := hop.Inbound{Msg: m.Clone(), Proof: proof}
	to, refusal := g.admit(&in)
	if refusal != nil {
		in.Msg.Release()
		p.deny(tx, m, s, refusal)
		return
	}
	if who := p.known[tx.Flow()]; who != nil && m.Method() == sip.INVITE {
		who.last++
		who.calls[tx] = who.last
	}
	p.door.ports.Table.Enter(p.shard, p.layer, tx, m, isc.Name, to, in, g.leave(), g.done)
}

// deny answers a request that the guard has refused, and says why to the platform: it is no secret before him what he may not.
func (p *Port) deny(tx *siptxn.Server, m *sip.Message, s *isc.Service, r *refusal) {
	answer := p.door.ports.Pool.NewResponse(m, r.status, "")
	if r.reason != "" {
		answer.SetString(sip.HdrWarning, r.warning(s))
	}
	if r.retry != "" {
		answer.SetString(sip.HdrRetryAfter, r.retry)
	}
	var tag [64]byte
	answer.SetToTag(string(tx.AppendTag(tag[:0])))
	_ = p.layer.Respond(tx, answer) // who has closed his connection needs no answer
}

// Ack implements siptxn.Handler.
func (p *Port) Ack(f siptransport.Flow, m *sip.Message) {
	s, proof := p.platform(f, m)
	if s == nil {
		m.Release()
		return
	}
	g := guard{door: p.door, service: s, source: f.Peer.Addr(), now: p.shard.Now()}
	in := hop.Inbound{Msg: m, Proof: proof}
	to, refusal := g.admit(&in)
	if refusal != nil {
		m.Release()
		return
	}
	p.door.ports.Table.Pass(p.shard, isc.Name, to, in)
}

// Cancelled implements siptxn.Handler.
func (p *Port) Cancelled(tx *siptxn.Server) { hop.Cancelled(tx, tx.CancelReason()) }

// Ended implements siptxn.Handler.
func (p *Port) Ended(tx *siptxn.Server) {
	if who := p.known[tx.Flow()]; who != nil {
		delete(who.calls, tx)
	}
}

// platformLost is the reason of our CANCELs in the place of a platform (RFC 3326).
const platformLost = `SIP;cause=503;text="Service lost"`

// abandon cancels the calls that a platform whose connection has closed has under way: nobody would take their answers, and whoever
// answered would wait alone.
func (who *peer) abandon() {
	list := slices.SortedFunc(maps.Keys(who.calls), func(a, b *siptxn.Server) int { return cmp.Compare(who.calls[a], who.calls[b]) })
	for _, tx := range list {
		if !tx.Final() {
			hop.Cancelled(tx, platformLost)
		}
	}
}

// Shard is the port's shard.
func (p *Port) Shard() *shard.Shard { return p.shard }

// Counters returns what the port's transaction layer counts. Safe for concurrent use.
func (p *Port) Counters() *siptxn.Counters { return p.layer.Counters() }
