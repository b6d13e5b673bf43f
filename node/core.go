// Package node puts the rooms of one process together: it builds every box, plugs them into each other, opens
// the doors and runs them until told to stop. It is the only assembler; nothing runs before Run.
//
// Core is the house without sockets: simulations and scenario tests drive it step by step under a fake clock.
// Node is a Core with sockets, files and goroutines. cmd, test and web sit on top of this package.
package node

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"imsafe/ca"
	"imsafe/config"
	"imsafe/hop"
	hopnode "imsafe/hop/node"
	"imsafe/iface/clientims"
	"imsafe/iface/clientservice"
	"imsafe/iface/clientweb"
	"imsafe/iface/imsservice"
	"imsafe/imsbox/charging"
	"imsafe/imsbox/hss"
	"imsafe/imsbox/icscf"
	"imsafe/imsbox/pcscf"
	"imsafe/imsbox/scscf"
	"imsafe/policy"
	"imsafe/proto/aka"
	"imsafe/proto/overload"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptxn"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/gm"
	"imsafe/refpoint/iq"
	"imsafe/refpoint/isc"
	"imsafe/refpoint/sh"
	"imsafe/secure"
	"imsafe/secure/mint"
	"imsafe/store"
	"imsafe/store/seal"
	"imsafe/trace"
	"imsafe/trace/ladder"
)

// Tables names every table of the house: what store.Open needs.
func Tables() []store.TableSpec {
	return append(slices.Concat(hss.Tables(), ca.Tables(), imsservice.Tables()),
		store.TableSpec{Table: scscf.TableRegistration, Name: "registrations"},
		store.TableSpec{Table: scscf.TableIdentity, Name: "registered_identities", Quiet: true},
		store.TableSpec{Table: scscf.TableServiceProfile, Name: "filter_criteria", Quiet: true},
		store.TableSpec{Table: charging.TableCall, Name: "calls", Quiet: true},
		store.TableSpec{Table: TableDecisions, Name: "decisions", Quiet: true},
		store.TableSpec{Table: TableOrigin, Name: "https_origins", Quiet: true},
	)
}

// Role is one function that a process may have.
type Role uint8

// The roles.
const (
	RolePCSCF Role = iota
	RoleICSCF
	RoleSCSCF
	RoleHSS
)

// Roles is a set of them.
type Roles uint8

// AllRoles is the whole core in one process.
const AllRoles = Roles(1<<RolePCSCF | 1<<RoleICSCF | 1<<RoleSCSCF | 1<<RoleHSS)

// With returns r with role in it.
func (r Roles) With(role Role) Roles { return r | 1<<role }

// Has reports whether role is in r.
func (r Roles) Has(role Role) bool { return r&(1<<role) != 0 }

// World is everything a Core takes from outside: time, randomness, storage, keys and the rules it runs under.
type World struct {
	Clock  shard.Clock
	Random io.Reader
	Log    *slog.Logger
	Store  store.Store
	Keys   func() *seal.Keyring // opens and seals long-term keys
	Policy policy.Effective
	Sink   secure.Sink                 // hears every refusal; nil for none
	Record func(imsservice.Deed) error // writes down what the register decides; nil for nobody
	Story  clientims.Story             // hears how clients fare that register; nil for none
	Tape   *Tape                       // draws what passes between functions; nil for nobody. It is a Sink, too
	Mode   hop.Mode
	Node   uint16 // number of this node, in every token it issues
	Name   string // of this node, where others have all functions too and share its store; "" where there is one
	Shards int
	Domain string // home domain
	Lab    bool
	// Nodes are where the other nodes of this network listen on Mw.
	Nodes []netip.AddrPort
	// Foreign says that CSCFs of other makes may be at the other end of Mw, in a lab.
	Foreign bool
	Roles   Roles     // the functions of this process; zero means all
	Cx      cx.Server // the HSS of another process, for a node that has CSCFs and no HSS
	// Services are the service platforms that may be asked, for a node that has an S-CSCF; nil: none.
	Services imsservice.Services
	// Voucher signs for the home network who calls and with which media keys, for a node that has an S-CSCF; nil: nobody does.
	Voucher pcscf.Voucher
	// HTTPS is the https origin of the door where clients fetch, for a node that has the authority of the network; "": there is none.
	HTTPS string
	// Push finds the S-CSCFs of other processes, for a node that has an HSS; nil where there are none.
	Push func(serverName string) cx.Client
	// Digest are the algorithms of SIP Digest for subscribers without a card; empty: off.
	Digest []aka.DigestAlgorithm
	// Registration bounds the lives of registrations; the zero value takes the S-CSCF's defaults.
	Registration config.Registration
	// Even is after how long a stranger hears of his REGISTER, and EvenMost how long that may become where the HSS takes longer; 0: at once, where time is virtual.
	Even        time.Duration
	EvenMost    time.Duration
	Numbering   config.Numbering                                // how dialled numbers are read
	Budget      config.Budget                                   // what each user may send; the zero value sets no bounds
	Emergency   config.Emergency                                // what an emergency call is, and where it goes
	CS          config.CS                                       // the media anchor of a node that has a P-CSCF; without addresses there is none
	ListenMedia func(at netip.AddrPort) (net.PacketConn, error) // opens its sockets
	Iq          iq.Gateway                                      // an anchor in its place; nil for none
	// Gm are the timers between client and P-CSCF; the zero value takes those of TS 24.229 7.7.
	Gm       siptxn.Timers
	Places   int               // procedures of a shard that may be under way at once; 0 takes the shard's default
	Budgets  clientims.Budgets // what strangers and clients may cost; the zero value takes the door's defaults
	Overload overload.Config   // what is too much to do; the zero value takes the defaults
	// Drop has the kernel drop an address (clientims.Ports.Drop); nil without [ci.drop].
	Drop func(address netip.Addr, connections bool)

	IND          uint8               // array index of this node in SQN (TS 33.102 C.1.1.1)
	NodeNames    []string            // of the nodes of this network in certificates: no service platform may have one
	Approvers    []ed25519.PublicKey // public halves of the operator's approval keys, for service platforms
	RestoreEpoch uint64              // how often a backup was restored into the store, and when last
	RestoredAt   time.Time           //

	// Poison makes the use of a message after its release a panic, and counts those that were not released: for tests.
	Poison bool
}

// Core is the IMS-BOX and its client door, assembled and not yet running.
type Core struct {
	Shards   []*shard.Shard
	Pool     *sip.Pool
	Table    *hop.Table
	Gate     *secure.Gate
	Door     *clientims.Door
	Services *imsservice.Door       // the I-S door; nil without service platforms
	Media    *clientservice.Gateway // the media anchor; nil without one
	PCSCF    *pcscf.PCSCF
	ICSCF    *icscf.ICSCF
	SCSCF    *scscf.SCSCF
	HSS      *hss.HSS
	Charging *charging.Charging
	// Permissions is what application servers may do with subscribers' data, with an HSS.
	Permissions *hss.Permissions
	Load        []*overload.Controller // of each shard

	// Authority and Registry are of service platforms; they stand beside the HSS, nil without it.
	Authority *ca.Authority
	Registry  *imsservice.Registry
	// Pseudonyms are what services know users by.
	Pseudonyms *imsservice.Pseudonyms

	// Web is the door where clients fetch; nil without it.
	Web *clientweb.Door

	services *shServices
	voucher  *voucher
	signers  []*ca.Signers // what this node signs with for the network
	owed     func()        // is told that the HSS owes an S-CSCF something; nil: nobody is
	cx       cx.Server     // the HSS of this process, or the one on the wire
	// elsewhere finds the S-CSCFs of other nodes for our HSS; nil without a wire.
	elsewhere func(serverName string) cx.Client
	sealer    *shard.Sealer
}

// Assemble builds the house in w.
func Assemble(w World) (*Core, error) {
	if w.Roles == 0 {
		w.Roles = AllRoles
	}
	if w.Gm == (siptxn.Timers{}) {
		w.Gm = siptxn.GmTimers()
	}
	c := &Core{Gate: w.Policy.Gate(w.Sink), cx: w.Cx, elsewhere: w.Push,
		services: &shServices{names: map[string]string{}, here: map[string]sh.Client{}, platforms: map[string]string{}, look: make(chan struct{}, 1)}}
	w.Log = trace.Under(w.Log, c.Gate)
	limits := messageLimits(c.Gate)
	limits.Poison = w.Poison
	c.Pool = sip.NewPool(limits)
	for i := range w.Shards {
		c.Shards = append(c.Shards, shard.New(shard.Config{Node: w.Node, ID: uint8(i), Clock: w.Clock, Tasks: w.Places,
			OnPanic: func(value any, stack []byte) {
				w.Log.Error("a procedure ended with a defect", "panic", fmt.Sprint(value), "stack", string(stack))
			}}))
		load := w.Overload
		load.Places = c.Shards[i].Fullness
		c.Load = append(c.Load, overload.New(load))
	}
	var tags [16]byte
	var sealing shard.SealingKey
	for _, key := range [][]byte{tags[:], sealing[:]} {
		if _, err := io.ReadFull(w.Random, key); err != nil {
			return nil, fmt.Errorf("node: randomness: %w", err)
		}
	}
	c.Table = hop.NewTable(w.Mode, c.Pool, c.Gate, tags)
	c.sealer = shard.NewSealer(sealing)
	if w.Tape != nil {
		c.Table.Watch(w.Tape)
	}
	return c, c.build(w, c.sealer)
}

// messageLimits are the bounds of one message; without the control, as wide as the parser can go.
func messageLimits(gate *secure.Gate) sip.Limits {
	if gate.On(secure.CIAvailabilityParser) {
		return sip.Limits{}
	}
	const widest = 1<<16 - 1
	return sip.Limits{MaxMessage: widest, MaxBody: widest, MaxLine: widest, MaxList: widest}
}

// names are how the functions of one network are addressed.
type names struct{ home, pcscf, icscf, scscf hop.Name }

// namesOf returns those of the node called so among several that have all functions; "" where there is one. What names a home is the same for all: a
// request for it goes to the I-CSCF of the node that it is at.
func namesOf(domain, node string) names {
	under := domain
	if node != "" {
		under = node + "." + domain
	}
	return names{home: hop.Name(domain), pcscf: hop.Name("pcscf." + under), icscf: hop.Name("icscf." + under), scscf: hop.Name("scscf." + under)}
}

// build makes the functions of w.Roles and plugs them. Its order is that of the figure, from the data to the clients: each
// needs those before it.
func (c *Core) build(w World, sealer *shard.Sealer) error {
	n := namesOf(w.Domain, w.Name)
	for _, function := range []struct {
		role Role
		make func(World, names, *shard.Sealer) error
	}{
		{RoleHSS, c.makeHSS}, {RoleSCSCF, c.makeSCSCF}, {RoleICSCF, c.makeICSCF}, {RolePCSCF, c.makePCSCF},
	} {
		if w.Roles.Has(function.role) {
			if err := function.make(w, n, sealer); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Core) makeHSS(w World, _ names, _ *shard.Sealer) (err error) {
	c.Permissions = hss.NewPermissions(w.Clock)
	c.HSS, err = hss.New(hss.Config{HomeDomains: []string{w.Domain}, IND: w.IND, Shared: w.Name != "", RestoreEpoch: w.RestoreEpoch,
		RestoredAt: w.RestoredAt, Digest: w.Digest}, hss.Ports{Store: w.Store, Keys: w.Keys, Random: w.Random, Clock: w.Clock, Gate: c.Gate,
		Push: c.push, Permission: c.Permissions, Uncover: c.uncover, Notify: c.services.notify, Owed: c.owes, Shard: c.Shards[0], Log: w.Log})
	c.cx = c.HSS
	if err != nil {
		return err
	}
	s, err := openServices(servicesWorld{domain: w.Domain, approvers: w.Approvers, nodes: w.NodeNames, epoch: w.RestoreEpoch, store: w.Store, keys: w.Keys,
		random: w.Random, clock: w.Clock, gate: c.Gate, record: w.Record})
	c.Authority, c.Registry, c.Pseudonyms = s.authority, s.registry, s.pseudonyms
	if err != nil {
		return err
	}
	return c.makeWeb(w)
}

// uncover is who a service means on Sh: it may know users by the pseudonyms that it sees on ISC.
func (c *Core) uncover(service, uri string) string {
	if c.Pseudonyms == nil {
		return uri
	}
	return c.Pseudonyms.Uncover(service, uri)
}

func (c *Core) makeSCSCF(w World, n names, sealer *shard.Sealer) (err error) {
	if err := c.makeServices(w, n, sealer); err != nil {
		return err
	}
	c.Charging = charging.New(w.Store)
	if c.SCSCF, err = scscf.New(scscf.Config{Name: n.scscf, Shared: w.Name != "", HomeDomain: w.Domain, LabAccess: w.Lab, Nodes: w.Nodes, RangesUntold: w.Foreign, Digest: w.Digest,
		MinExpires: w.Registration.MinExpires.Std(), DefaultExpires: w.Registration.DefaultExpires.Std(),
		MaxExpires: w.Registration.MaxExpires.Std(), ReauthInterval: w.Registration.Reauthenticate.Std(), Numbering: numbering(w), Routes: routes(w), EmergencyIdentity: emergencyIdentity(w)},
		scscf.Ports{Cx: w.Tape.cx(c.cx, ladder.SCSCF, c.HSS == nil), Charging: c.Charging, Store: w.Store, Hop: c.Table, Clock: w.Clock, Gate: c.Gate, Sealer: sealer,
			Origin: mint.Origin(string(n.scscf)), Random: w.Random, ISC: c.isc(), Voucher: c.vouches(w)}); err != nil {
		return err
	}
	if c.Services != nil {
		c.Services.Plug(c.SCSCF)
	}
	if c.Registry != nil {
		share := func(string) { c.SCSCF.Share(c.Registry.Sets()) }
		c.Registry.Watch(share)
		share("")
	}
	return c.Table.Plug(n.scscf, c.SCSCF)
}

// makeServices makes the door to service platforms.
func (c *Core) makeServices(w World, n names, sealer *shard.Sealer) (err error) {
	if w.Services == nil && c.Registry != nil {
		w.Services = c.Registry
	}
	if w.Services == nil {
		return nil
	}
	if c.Pseudonyms == nil { // beside an HSS that is elsewhere
		if c.Pseudonyms, err = imsservice.NewPseudonyms(w.Domain, imsservice.PseudonymPorts{Random: w.Random}); err != nil {
			return err
		}
	}
	if c.Services, err = imsservice.New(imsservice.Config{SCSCF: n.scscf, SentBy: string(n.scscf), Timers: siptxn.DefaultTimers()},
		imsservice.Ports{Table: c.Table, Shards: c.Shards, Pool: c.Pool, Sealer: sealer, Gate: c.Gate, Services: w.Services,
			Pseudonyms: c.Pseudonyms}); err != nil {
		return err
	}
	return c.Table.Plug(isc.Name, c.Services)
}

// isc is the door as the S-CSCF asks it; nil without one.
func (c *Core) isc() isc.Door {
	if c.Services == nil {
		return nil
	}
	return c.Services
}

func (c *Core) makeICSCF(w World, n names, _ *shard.Sealer) (err error) {
	if c.ICSCF, err = icscf.New(icscf.Config{Name: n.icscf, Domain: w.Domain, VisitedNetworkID: w.Domain, SCSCFs: []icscf.Server{{Name: n.scscf}}, Replace: w.Name != "",
		DerivePrivate: len(w.Digest) > 0},
		icscf.Ports{Cx: w.Tape.cx(c.cx, ladder.ICSCF, c.HSS == nil)}); err != nil {
		return err
	}
	return errors.Join(c.Table.Plug(n.icscf, c.ICSCF), c.Table.Plug(n.home, c.ICSCF))
}

func (c *Core) makePCSCF(w World, n names, sealer *shard.Sealer) (err error) {
	if c.Door, err = clientims.New(clientims.Config{PCSCF: n.pcscf, Emergency: emergency(w), Budgets: w.Budgets}, clientims.Ports{Table: c.Table,
		Shards: c.Shards, Pool: c.Pool, Sealer: sealer, Gate: c.Gate, Story: w.Story, Load: c.Load, Overloaded: c.overloaded, Drop: w.Drop, Watch: w.Tape.watch()}); err != nil {
		return err
	}
	if err = c.makeMedia(&w); err != nil {
		return err
	}
	icid, err := chargingPrefix(w)
	if err != nil {
		return err
	}
	if c.PCSCF, err = pcscf.New(pcscf.Config{Name: n.pcscf, Home: n.home, VisitedNetworkID: w.Domain,
		ChargingPrefix: icid, DerivePrivate: len(w.Digest) > 0, Budget: pcscf.Budget(w.Budget), RemoveAfter: 64 * w.Gm.T1, Even: w.Even, EvenMost: w.EvenMost, Emergency: emergency(w), Waiver: waiver(w), Wall: w.Clock.Wall},
		pcscf.Ports{Gm: c.Door, Iq: w.Tape.iq(w.Iq), Sealer: sealer, Gate: c.Gate, Hop: c.Table, Shards: c.Shards, Origin: mint.Origin(string(n.pcscf)), Codes: c.codes(), Voucher: c.vouches(w)}); err != nil {
		return err
	}
	c.Door.Plug(c.PCSCF)
	if c.Media != nil {
		c.Media.Plug(c.PCSCF)
	}
	return errors.Join(c.Table.Plug(n.pcscf, c.PCSCF), c.Table.Plug(gm.Name, c.Door))
}

func numbering(w World) scscf.Numbering {
	n := w.Numbering
	return scscf.Numbering{CountryCode: n.CountryCode, International: n.International, National: n.National, Area: n.Area}
}

// routes says which numbers users may dial.
func routes(w World) scscf.Routes {
	r := scscf.Routes{Home: w.Numbering.CountryCode, Barred: w.Numbering.Barred, Allowed: w.Numbering.Allowed, Users: map[string][]string{}}
	for _, p := range w.Numbering.Permissions {
		for _, text := range p.Identities {
			if identity, ok := sip.PublicIdentity([]byte(text)); ok {
				r.Users[identity] = append(r.Users[identity], p.Prefixes...)
			}
		}
	}
	return r
}

// emergencyIdentity is the public identity of who answers emergency calls.
func emergencyIdentity(w World) string {
	identity, _ := sip.PublicIdentity([]byte(w.Emergency.URI)) // none is ""
	return identity
}

// emergency is how emergency calls are known and where they go.
func emergency(w World) gm.Emergency {
	return gm.Emergency{Domain: w.Domain, Numbers: w.Emergency.Numbers, URI: w.Emergency.URI}
}

// push finds the S-CSCF that the HSS wants to tell something.
func (c *Core) push(serverName string) cx.Client {
	switch {
	case c.SCSCF != nil && serverName == c.SCSCF.ServerName():
		return c.SCSCF
	case c.elsewhere != nil:
		return c.elsewhere(serverName)
	}
	return nil
}

// owes tells whoever delivers what the HSS owes.
func (c *Core) owes() {
	if c.owed != nil {
		c.owed()
	}
}

// chargingPrefix makes icid-values unique over nodes and restarts (TS 24.229 5.2.1).
func chargingPrefix(w World) (string, error) {
	var b [6]byte
	if _, err := io.ReadFull(w.Random, b[:]); err != nil {
		return "", fmt.Errorf("node: randomness: %w", err)
	}
	return fmt.Sprintf("%x-%d", b, w.Node), nil
}

// Wire opens the door to other nodes. Before the node runs.
func (c *Core) Wire(cfg hopnode.Config) (*hopnode.Wire, error) {
	return hopnode.New(cfg, hopnode.Ports{Table: c.Table, Shards: c.Shards, Pool: c.Pool, Sealer: c.sealer,
		Stranger: c.stranger, KeepKeys: c.keepKeys, Load: c.Load, Overloaded: c.overloaded})
}

// overloaded is the enforcement point of overload control, at the clients' door and on the wire between nodes.
func (c *Core) overloaded(e secure.Event) bool {
	return c.Gate.Refuse(secure.CIAvailabilityOverload, e)
}

// Waited tells what a piece of work shows that has waited behind all others of its shard: how long that was. On the shard.
func (c *Core) Waited(sh *shard.Shard, wait time.Duration) {
	c.Load[sh.ID()].Observe(wait, sh.Now())
}

// stranger is the enforcement point against peers on an inner wire, SIP or Diameter, that show no certificate of a node.
func (c *Core) stranger(e secure.Event) bool { return c.Gate.Refuse(secure.CoreAuthenticationMTLS, e) }

// keepKeys is the enforcement point against keys on an inner wire, SIP or Diameter, that is no mutual TLS or whose peer may not
// have them.
func (c *Core) keepKeys(e secure.Event) bool { return c.Gate.Refuse(secure.CoreConfidentialityMTLS, e) }

// Close ends the shards: procedures that wait are unwound. Nothing of the Core may be used after it.
func (c *Core) Close() {
	if c.Media != nil {
		c.Media.Close()
	}
	for _, sh := range c.Shards {
		sh.Close()
	}
}
