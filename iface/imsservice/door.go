// Package imsservice is the I-S door: what stands between the core and service platforms (reference point ISC, TS 23.228 4.2.4).
//
// A service platform is a principal, not an address. It is whoever shows a certificate that the operator has approved, over mutual TLS 1.3,
// and it may do what its approved manifest says and nothing else. The door checks every message in both directions: towards the platform it
// takes off what the platform may not see; from the platform it believes nothing. A request that comes back must carry the original dialog
// identifier that went out with it, and what the platform has no right to change is put back from the request that went out. The SIP
// procedure behind it is the S-CSCF's (refpoint/isc). Beside the door stand the register of who is approved for what, and the door through
// which a platform enrols.
//
// node assembles it. It imports hop, refpoint, secure, store, ca and proto, never a function. Each Port belongs to its shard; Door's own
// methods are safe for concurrent use.
package imsservice

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"time"

	"imsafe/hop"
	"imsafe/proto/budget"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
	"imsafe/refpoint/isc"
	"imsafe/secure"
)

// Config is what the door must know.
type Config struct {
	SCSCF  hop.Name // whose chains the platforms serve, and which judges what they begin
	SentBy string   // host:port of our Via
	Timers siptxn.Timers
	Limits siptxn.Limits
	// Answer is how long a platform may take to give a sign of life to an initial request before it counts as dead (TS 24.229 5.4.3.2
	// leaves it to the operator); default 4 s.
	Answer time.Duration
}

// Services is who is approved, as the door asks it for each message. Safe for concurrent use; none of it waits.
type Services interface {
	// ByPeer returns whose certificate it is; else why nobody's, and whose it was.
	ByPeer(leaf *x509.Certificate) (*isc.Service, Standing)
	// ByServer returns the platform whose host stands in a server name or a Route, nil if none.
	ByServer(host []byte) *isc.Service
	// Watch has changed called after each change of who may what, with the host of the platform.
	Watch(changed func(host string))
}

// Ports is what is plugged into the door.
type Ports struct {
	Table    *hop.Table
	Shards   []*shard.Shard
	Pool     *sip.Pool
	Sealer   *shard.Sealer
	Gate     *secure.Gate
	Services Services
	Chains   isc.Chains // the S-CSCF; plugged later
	// Pseudonyms are what services know users by that may not know them.
	Pseudonyms *Pseudonyms
	// Dial opens a connection to a platform that has none open to us; nil: platforms must connect. It is called on the shard of the port
	// and must not block: what can't be reached ends in Closed.
	Dial func(s *isc.Service, p *Port) siptransport.Flow
}

// Door is the I-S door of one node.
type Door struct {
	cfg    Config
	ports  Ports
	port   []*Port // by shard
	visits *visits
	quotas *quotas
	lines  *lines

	keys     budget.Keys
	arrivals *budget.Table // new connections
}

var (
	_ hop.Function = (*Door)(nil)
	_ isc.Door     = (*Door)(nil)
)

// kind keeps the branches of this door apart from those of other doors on the same shard.
const kind = 's'

// New returns a door without connections. The S-CSCF is plugged later: it needs the door first.
func New(cfg Config, ports Ports) (*Door, error) {
	if cfg.SCSCF == "" || ports.Table == nil || len(ports.Shards) == 0 || ports.Pool == nil || ports.Sealer == nil ||
		ports.Gate == nil || ports.Services == nil || ports.Pseudonyms == nil {
		return nil, fmt.Errorf("imsservice: S-CSCF, table, shards, pool, sealer, gate, services and pseudonyms are needed")
	}
	if cfg.Answer == 0 {
		cfg.Answer = 4 * time.Second
	}
	d := &Door{cfg: cfg, ports: ports, visits: newVisits(), quotas: newQuotas(), lines: newLines(), keys: budget.NewKeys(), arrivals: budget.NewTable(newConnections(), maxSources)}
	for _, sh := range ports.Shards {
		p := &Port{door: d, shard: sh, known: map[siptransport.Flow]*peer{}}
		p.layer = siptxn.New(siptxn.Config{Shard: sh, Pool: ports.Pool, Sealer: ports.Sealer, Kind: kind, Timers: cfg.Timers, Handler: p, Report: p.report, Heard: p.heard,
			Limits: cfg.Limits, Foreign: d.foreign})
		d.port = append(d.port, p)
	}
	ports.Services.Watch(d.changed)
	return d, nil
}

// Plug gives the door the S-CSCF's push side. Before the node runs.
func (d *Door) Plug(c isc.Chains) { d.ports.Chains = c }

// DialBy gives the door a way to platforms that have no connection open. Before the node runs.
func (d *Door) DialBy(dial func(s *isc.Service, p *Port) siptransport.Flow) { d.ports.Dial = dial }

// Port returns what connections on the shard deliver to.
func (d *Door) Port(sh *shard.Shard) *Port { return d.port[sh.ID()] }

// Hosts implements isc.Door.
func (d *Door) Hosts(host []byte) bool { return d.ports.Services.ByServer(host) != nil }

// Returns implements isc.Door.
func (d *Door) Returns(host []byte) int {
	s := d.ports.Services.ByServer(host)
	switch {
	case s == nil:
		return 0
	case s.May(isc.SessionFork):
		return max(s.Manifest.Limits.Fork, 1)
	}
	return 1
}

// Media implements isc.Door.
func (d *Door) Media(host []byte) (isc.MediaRight, bool) {
	if s := d.ports.Services.ByServer(host); s != nil {
		return s.Media()
	}
	return isc.MediaRight{}, false
}

// Forget takes the platform at host out of all dialogs: they were ended.
func (d *Door) Forget(host string) { d.visits.leaveAll(host) }

// foreign hands a response to the shard that its branch names.
func (d *Door) foreign(place shard.Place, f siptransport.Flow, data []byte) {
	if int(place.Shard) < len(d.port) {
		p, data := d.port[place.Shard], append([]byte(nil), data...)
		p.shard.Exec(shard.EventFunc(func(*shard.Shard) { p.layer.Input(f, data) }))
	}
}

// event is what a refusal tells: of whom, and from where.
func event(s *isc.Service, reason string, source netip.Addr) secure.Event {
	e := secure.Event{Reason: reason, Source: source}
	if s != nil {
		e.Subject = s.Manifest.Host()
	}
	return e
}
