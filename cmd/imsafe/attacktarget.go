package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"imsafe/ca"
	"imsafe/config"
	"imsafe/hop"
	"imsafe/imsbox/hss"
	"imsafe/node"
	"imsafe/policy"
	"imsafe/policy/lab"
	"imsafe/proof/attack"
	"imsafe/proof/evidence"
	"imsafe/proto/aka"
	"imsafe/proto/overload"
	"imsafe/proto/shard"
	"imsafe/proto/siptransport"
	"imsafe/secure"
	"imsafe/store"
	"imsafe/store/seal"
)

// A target of attacks is a lab node in a process of its own, with the controls off that its setup names. It speaks with the runner in
// lines of JSON over standard input and output: setup in, ready out; then orders in, and what came of each out. It ends with its input, so
// that it does not outlive the runner.

// targetSetup is what a target is asked to be.
type targetSetup struct {
	Dir     string        `json:"dir"` // where it may keep its store; it belongs to the runner
	Off     []string      `json:"off"` // controls
	Media   bool          `json:"media"`
	Digest  bool          `json:"digest"`
	NoCard  []string      `json:"no_card,omitempty"`
	Access  attack.Access `json:"access"` // open beside TLS
	Quick   bool          `json:"quick"`
	Profile string        `json:"profile"`
	Tight   bool          `json:"tight"`
	Small   bool          `json:"small"`
	Hasty   bool          `json:"hasty,omitempty"`
	Mode    string        `json:"mode"`
	Debug   bool          `json:"debug"`
	// LogFormat is that of its log; "" is the default.
	LogFormat string   `json:"log_format,omitempty"`
	Viewer    bool     `json:"viewer,omitempty"`
	Cast      []string `json:"cast"` // names of subscribers
	// Approved are the service platforms that the operator approves.
	Approved []attack.Approved `json:"approved,omitempty"`
}

// targetOrder is what the runner wants: the events so far, or with a verb what the operator does with a service.
type targetOrder struct {
	Verb    string `json:"verb,omitempty"`
	Service string `json:"service,omitempty"`
}

// The orders that have to do with ladders: begin to draw them, and hand over what was drawn.
const (
	orderDraw  = "draw"
	orderDrawn = "drawn"
)

// targetDone answers an order that has a verb.
type targetDone struct {
	Error string `json:"error,omitempty"`
}

// targetReady is where it is, and who its subscribers are. Their keys are random and die with the target.
type targetReady struct {
	Domain     string         `json:"domain"`
	TLS        netip.AddrPort `json:"tls"`
	Clear      netip.AddrPort `json:"clear"`
	Gm         netip.AddrPort `json:"gm"`
	NAT        netip.AddrPort `json:"nat"`
	Cx         netip.AddrPort `json:"cx"`
	Sh         netip.AddrPort `json:"sh"`
	Enrol      netip.AddrPort `json:"enrol"`
	ISC        netip.AddrPort `json:"isc"`
	HTTPS      netip.AddrPort `json:"https"`
	Mw         netip.AddrPort `json:"mw"`
	Media      netip.AddrPort `json:"media"` // the first of MediaPorts
	MediaPorts int            `json:"media_ports"`
	Management string         `json:"management"` // the operator's socket
	Page       netip.AddrPort `json:"page"`       // his page, and what lets him in
	Codes      []string       `json:"codes,omitempty"`
	// What the door for enrolment proves itself by, in PEM, and invitations to it.
	EnrolCA string   `json:"enrol_ca,omitempty"`
	Tokens  []string `json:"tokens,omitempty"`
	// Of a node that is neither HSS nor CSCF, for an attacker who has broken into one.
	Node *targetCertificate `json:"node,omitempty"`
	// Of a node that has an I-CSCF and nothing else.
	ICSCF *targetCertificate `json:"icscf,omitempty"`
	// Of a node that has an S-CSCF of its own.
	SCSCF *targetCertificate `json:"scscf,omitempty"`
	// Of the node with the P-CSCF, where it is one of its own.
	Edge *targetCertificate `json:"edge,omitempty"`
	// Of services, by their names.
	Platforms  map[string]*targetCertificate `json:"platforms"`
	CA         string                        `json:"ca"` // in PEM
	Config     string                        `json:"config_sha256"`
	Weakenings []string                      `json:"weakenings"`
	Users      []targetAccount               `json:"users"`
	Error      string                        `json:"error,omitempty"` // why there is no target
}

type targetAccount struct {
	Name     string `json:"name"`
	IMPI     string `json:"impi"`
	IMPU     string `json:"impu"`
	K        string `json:"k,omitempty"`
	OPc      string `json:"opc,omitempty"`
	Password string `json:"password,omitempty"`
}

type attackTargetCmd struct{}

// Run is a target, until standard input ends.
func (*attackTargetCmd) Run(a *app) error {
	input := bufio.NewReader(a.stdin)
	var s targetSetup
	line, err := input.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &s)
	}
	if err != nil {
		return usage{fmt.Errorf("imsafe attack run starts this verb; by hand it is of no use: %w", err)}
	}
	output := json.NewEncoder(a.stdout)
	t := &target{app: a, setup: s}
	defer t.close()
	ready, err := t.start(a)
	if err != nil {
		return errors.Join(err, output.Encode(targetReady{Error: err.Error()}))
	}
	ctx, stop := context.WithCancel(a.ctx)
	defer stop()
	done := t.run(ctx)
	if err = t.provision(ctx, ready); err == nil {
		err = output.Encode(ready)
	}
	for err == nil {
		if line, err = input.ReadBytes('\n'); err == nil {
			err = output.Encode(t.obey(ctx, line))
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	stop()
	return errors.Join(err, <-done, t.defects())
}

// run runs all nodes; what comes at the end is how they ended.
func (t *target) run(ctx context.Context) <-chan error {
	var nodes errgroup.Group
	for _, p := range t.parts {
		nodes.Go(func() error { return p.node.Run(ctx) })
	}
	done := make(chan error, 1)
	go func() { done <- nodes.Wait() }()
	return done
}

// target is the node, or the nodes, and what they stand on.
type target struct {
	app   *app
	setup targetSetup
	parts []*targetPart
	node  *node.Node // that has the HSS, and the doors of services
	notes notes

	operator approver // of service platforms
}

// start assembles the node, or the nodes: random secrets, free ports of loopback, the controls of the setup off.
func (t *target) start(a *app) (*targetReady, error) {
	c := t.config()
	clock := shard.RealClock()
	if c.Log.Level = "error"; t.setup.Debug {
		c.Log.Level, c.Log.Format = "debug", cmp.Or(t.setup.LogFormat, c.Log.Format)
	}
	log, err := a.logger(c)
	if err != nil {
		return nil, err
	}
	w := &targetWorld{clock: clock, log: log}
	if w.keyring, err = seal.Generate(rand.Reader); err != nil {
		return nil, err
	}
	if w.authority, err = ca.New(rand.Reader, clock.Wall, c.HomeDomain(), time.Hour); err != nil {
		return nil, err
	}
	if w.certificate, err = w.authority.Server(time.Hour, []string{"pcscf." + c.HomeDomain()}, []net.IP{net.IPv4(127, 0, 0, 1)}); err != nil {
		return nil, err
	}
	ready := &targetReady{Domain: c.HomeDomain(), CA: string(w.authority.PEM()), Weakenings: weakeningsOf(c), Platforms: map[string]*targetCertificate{}}
	if t.isSplit() {
		return ready, t.split(w, ready, c)
	}
	p, err := t.part(w, c)
	if err != nil {
		return nil, err
	}
	if err := t.wires(ready, w.authority, c, p); err != nil {
		return nil, err
	}
	if err := p.assemble(t, w); err != nil {
		return nil, err
	}
	t.node = p.node
	ready.places(t, c, p.sockets)
	if err := ready.opens(p); err != nil {
		return nil, err
	}
	ready.Config, err = t.configSum(c)
	return ready, err
}

// targetWorld is what all nodes of a target have in common.
type targetWorld struct {
	clock       shard.Clock
	log         *slog.Logger
	keyring     *seal.Keyring
	authority   *ca.CA
	certificate tls.Certificate // of the P-CSCF
}

// targetPart is one node of a target, with what it stands on.
type targetPart struct {
	config   *config.Config
	store    store.Engine
	sockets  *node.Sockets
	identity *node.Identity
	page     *livePage // nil without one
	node     *node.Node
}

// part opens store and sockets of a node. Whatever becomes of it, close closes it.
func (t *target) part(w *targetWorld, c *config.Config) (p *targetPart, err error) {
	p = &targetPart{config: c}
	t.parts = append(t.parts, p)
	if p.store, err = node.OpenStore(c, w.clock, w.log, ""); err != nil {
		return nil, err
	}
	p.sockets, err = node.Listen(c, node.Shards(c), func(taken netip.AddrPort) (netip.AddrPort, bool) { return netip.AddrPortFrom(taken.Addr(), 0), true })
	return p, err
}

// assemble makes the node.
func (p *targetPart) assemble(t *target, w *targetWorld) error {
	effective, err := t.policy(p.store, p.listeners())
	if err != nil {
		return err
	}
	kept, err := node.DecisionsDir(p.config)
	if err != nil {
		return err
	}
	o := node.Options{Config: p.config, Decisions: kept, Clock: w.clock, Random: rand.Reader, Log: w.log, Store: p.store, Keyring: w.keyring,
		Certificate: &w.certificate, Identity: p.identity, Sockets: p.sockets, Policy: effective, Mode: t.mode(), Sink: &t.notes, Places: t.places(p), Overload: t.tooMuch(),
		Transport: t.haste(), Owners: t.owners(), Ladders: targetLadders}
	if p.sockets.Metrics != nil {
		p.page = (&proofs{Proof: t.setup.Dir}).page(t.app, p.config.HomeDomain())
		o.Page, o.PageCode = p.page, p.page.Login.Code
	}
	if p.node, err = node.New(o); err != nil {
		return err
	}
	if p.node.Draw(false); p.page != nil {
		p.page.show(p.node)
	}
	return nil
}

// listeners are the addresses that the node is open at.
func (p *targetPart) listeners() []netip.AddrPort {
	tls, clear := p.sockets.Addresses()
	all := append(tls, clear...)
	for _, s := range p.sockets.IPsec {
		all = append(all, addressOf(s.Clear[0]), addressOf(s.NAT))
	}
	for _, ln := range []net.Listener{p.sockets.Cx, p.sockets.Sh, p.sockets.Enrol, p.sockets.ISC, p.sockets.HTTPS, p.sockets.MwTLS, p.sockets.Metrics} {
		if ln != nil {
			all = append(all, netip.MustParseAddrPort(ln.Addr().String()))
		}
	}
	return all
}

// wires tells where nodes and services find the target, and makes the certificates of those who meet at Cx and Sh.
func (t *target) wires(ready *targetReady, authority *ca.CA, c *config.Config, p *targetPart) (err error) {
	if p.sockets.Cx != nil || p.sockets.Sh != nil {
		if p.identity, err = ready.nodes(authority, c); err != nil {
			return err
		}
	}
	for _, wire := range []struct {
		ln net.Listener
		at *netip.AddrPort
	}{{p.sockets.Cx, &ready.Cx}, {p.sockets.Sh, &ready.Sh}, {p.sockets.Enrol, &ready.Enrol}, {p.sockets.ISC, &ready.ISC},
		{p.sockets.HTTPS, &ready.HTTPS}, {p.sockets.MwTLS, &ready.Mw}} {
		if wire.ln != nil {
			*wire.at = netip.MustParseAddrPort(wire.ln.Addr().String())
		}
	}
	return nil
}

// places says where clients find the target.
func (r *targetReady) places(t *target, c *config.Config, doors *node.Sockets) {
	r.Management = c.ManagementSocket()
	tls, clear := doors.Addresses()
	if r.TLS = tls[0]; len(clear) > 0 {
		r.Clear = clear[0]
	}
	if t.setup.Media {
		r.Media, r.MediaPorts = c.CS.Listen[0].AddrPort, c.CS.Ports
	}
	for _, s := range doors.IPsec {
		r.Gm, r.NAT = addressOf(s.Clear[0]), addressOf(s.NAT)
	}
}

// config is that of a lab on loopback. Port 0 is any that is free.
func (t *target) config() *config.Config {
	c := config.Default()
	c.Node.Lab, c.Node.DataDir, c.Node.Shards = true, filepath.Join(t.setup.Dir, "store"), 2
	c.IMS.Domain = targetDomain
	free := []config.Address{{AddrPort: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)}}
	c.CI.TLS.Listen = free
	switch t.setup.Access {
	case attack.Clear:
		c.CI.LabUDP.Listen = free
	case attack.IPsec:
		c.CI.IPsec.Listen, c.CI.IPsec.ESP = free, "off" // in UDP: no privilege
		c.CI.IPsec.Profile = cmp.Or(t.setup.Profile, c.CI.IPsec.Profile)
	case attack.Enrol:
		c.IS.Enrol.Listen = free[0]
	case attack.ISC:
		c.IS.Listen, c.HTTPS.Listen = free[0], free[0]
		c.IS.ApprovalKeys = []string{config.FormatApprovalKey(t.operator.key())}
	case attack.Cx:
		c.Cx.Listen, c.Cx.Clients = free[0], []string{"cscf." + targetDomain, "scscf2." + targetDomain}
		c.Cx.Interrogating = []string{"icscf." + targetDomain}
	case attack.Sh:
		c.Sh = shOfTarget(free[0])
	}
	c.CI.Digest.Enabled = t.setup.Digest
	if t.setup.Small {
		c.Node.Shards = 1
	}
	if t.setup.Quick {
		c.Timers.Gm = config.SIPTimers{T1: config.Of(attack.QuickT1), T2: config.Of(4 * attack.QuickT1), T4: config.Of(5 * attack.QuickT1)}
	}
	if c.CI.Budget = config.Wide(); t.setup.Tight {
		tighten(&c.CI.Budget)
	}
	if t.setup.Media {
		t.anchor(&c.CS)
	}
	if c.Metrics.Listen = (config.Address{}); t.setup.Access == attack.Page {
		c.Metrics.Listen = free[0]
	}
	if t.setup.Viewer {
		c.Management.Viewers = []uint32{uint32(os.Getuid())}
	}
	c.Timers.Drain = config.Of(100 * time.Millisecond)
	return &c
}

// tooMuch is when there is too much to do. A target shares the machine with attackers and honest clients: but for the row that overloads it, what
// they take away is no overload.
func (t *target) tooMuch() overload.Config {
	if t.setup.Small {
		return overload.Config{}
	}
	return overload.Config{Target: 500 * time.Millisecond, Enter: 2 * time.Second}
}

// owners are who owns the target. Where the operator's door is attacked it is nobody who is here: the attacker is an account like any other then, and
// the kernel says which.
func (t *target) owners() []uint32 {
	if t.setup.Access == attack.Admin {
		return []uint32{math.MaxUint32 - 1}
	}
	return nil
}

// places is what a small target has room for.
//
// Of two nodes the edge is the small one. A request to another client takes two procedures there, on its way in and on its way out, so it has twice the room.
func (t *target) places(p *targetPart) int {
	switch {
	case !t.setup.Small || !p.config.HasRole("pcscf"):
		return 0
	case t.isSplit():
		return 2 * attack.SmallPlaces
	}
	return attack.SmallPlaces
}

// haste is what connections of clients may take; the zero value is what a node gives them.
func (t *target) haste() siptransport.Options {
	if !t.setup.Hasty {
		return siptransport.Options{}
	}
	return siptransport.Options{Handshake: attack.HastyTime, FirstMessage: attack.HastyTime, Unfinished: attack.HastyTime, MaxConns: attack.HastyConns}
}

// anchor lets media be anchored, at ports that no other target of the same run is likely to have: it takes others where it finds one taken.
func (t *target) anchor(c *config.CS) {
	c.Ports, c.SessionsPerUser = 400, 0
	if t.setup.Tight {
		c.Ports, c.SessionsPerUser = 2*attack.TightPorts, attack.TightCalls
	}
	first := 20000 + uint16(mathrand.N(30))*400 // below those that the system gives to clients
	c.Listen = []config.Address{{AddrPort: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), first)}}
}

// tighten makes the budgets those of attack.Tight. The other ones stay wide, so that they do not hide what is tried.
func tighten(b *config.CIBudget) {
	rate := func(limit int, per time.Duration, burst int) config.Rate {
		return config.Rate{Limit: limit, Per: config.Of(per), Burst: burst}
	}
	b.Source = rate(attack.TightSource/2, time.Second, attack.TightSource)
	b.Client = rate(attack.TightClient/2, time.Second, attack.TightClient)
	b.Challenge = rate(attack.TightChallenges, time.Minute, attack.TightChallenges)
	b.Resync = rate(attack.TightResyncs, time.Hour, attack.TightResyncs)
	b.Signalling = rate(attack.TightSignalling, time.Minute, attack.TightSignalling)
	b.Connection = rate(attack.ConnectionsRate, time.Second, attack.Connections)
	b.Unproven = rate(attack.TightUnproven/2, time.Second, attack.TightUnproven)
}

func addressOf(c *net.UDPConn) netip.AddrPort { return netip.MustParseAddrPort(c.LocalAddr().String()) }

// targetDomain is test network 001/01 (TS 23.003 13.2).
const targetDomain = "ims.mnc001.mcc001.3gppnetwork.org"

// targetPremium is a number of the international premium rate service (ITU-T E.169.2).
const targetPremium = "tel:+979123456"

// configSum is the hash of the effective configuration: what is configured, and which controls are off. The directory is another one
// each time and means nothing.
func (t *target) configSum(c *config.Config) (string, error) {
	same := *c
	same.Node.DataDir, same.CS.Listen = "", nil // at random
	off := slices.Clone(t.setup.Off)
	slices.Sort(off)
	all := map[string]any{"config": fmt.Sprintf("%+v", same), "off": off}
	if t.isSplit() {
		all["split"] = true
	}
	return evidence.SumOf(all)
}

func weakeningsOf(c *config.Config) []string {
	all := []string{}
	for _, w := range c.Weakenings() {
		all = append(all, w.Name)
	}
	return all
}

// mode is how its functions pass on what they have for each other.
func (t *target) mode() hop.Mode {
	if t.setup.Mode == attack.Strict {
		return hop.Strict
	}
	return hop.Direct
}

// policy is the default one without the controls of the setup. That works in a lab alone.
func (t *target) policy(st store.Engine, listeners []netip.AddrPort) (policy.Effective, error) {
	var off []secure.ControlID
	for _, name := range t.setup.Off {
		control, known := secure.ControlByName(name)
		if !known {
			return policy.Default(), fmt.Errorf("there is no control %q", name)
		}
		off = append(off, control)
	}
	if off == nil {
		return policy.Default(), nil
	}
	return lab.Without(policy.Default(), lab.Ground{Lab: st.Meta().Lab, Listeners: listeners}, off...)
}

// provision makes the subscribers.
func (t *target) provision(ctx context.Context, ready *targetReady) error {
	if ready.Enrol.IsValid() || ready.ISC.IsValid() {
		if err := t.authorise(ready); err != nil {
			return err
		}
	}
	if ready.ISC.IsValid() {
		if err := t.approve(ctx, ready); err != nil {
			return err
		}
	}
	if t.setup.Access == attack.Sh {
		if err := t.node.HSS.PutGroup(ctx, &hss.Group{Name: rogueGroup}); err != nil {
			return err
		}
		if err := t.grantsAsker(); err != nil {
			return err
		}
	}
	for i, name := range t.setup.Cast {
		u, subscriber := newTargetAccount(name, &t.setup)
		if t.setup.Access == attack.Sh {
			subscriber.Public = append(subscriber.Public, hss.Public{IMPU: fmt.Sprintf("tel:+1555000%d", i)})
			if name == attack.Bob {
				subscriber.Group = rogueGroup
			}
		}
		if err := t.node.HSS.Add(ctx, subscriber); err != nil {
			return err
		}
		ready.Users = append(ready.Users, *u)
		if t.setup.Access == attack.Sh && name == attack.Bob {
			if err := t.node.HSS.Consent(ctx, u.IMPI, attack.Asker, true); err != nil {
				return err
			}
		}
	}
	return nil
}

func newTargetAccount(name string, setup *targetSetup) (*targetAccount, *hss.Subscriber) {
	u := &targetAccount{Name: name, IMPI: name + "@" + targetDomain, IMPU: "sip:" + name + "@" + targetDomain}
	s := &hss.Subscriber{Card: hss.Card{IMPI: u.IMPI}, Public: []hss.Public{{IMPU: u.IMPU}}}
	if setup.Access == attack.ISC && slices.ContainsFunc(setup.Approved, func(p attack.Approved) bool { return p.Whole }) {
		s.Public[0].Profile = wholeProfile
	}
	if name == attack.Carol {
		s.Public = append(s.Public, hss.Public{IMPU: targetPremium})
	}
	if slices.Contains(setup.NoCard, name) {
		u.Password = rand.Text()
		s.Scheme, s.Password = aka.SHA256.String(), hss.Secret(u.Password)
		return u, s
	}
	var k, opc [16]byte
	rand.Read(k[:]) // never fails
	rand.Read(opc[:])
	u.K, u.OPc = hex.EncodeToString(k[:]), hex.EncodeToString(opc[:])
	s.K, s.OPc, s.Scheme = hss.Secret(u.K), hss.Secret(u.OPc), aka.AKAv2SHA256.String()
	if setup.Access == attack.IPsec {
		s.Scheme = aka.AKAv1MD5.String() // as telephones have it: inside IPsec
	}
	return u, s
}

// defects are procedures that ended with a panic: the attack has found one.
func (t *target) defects() error {
	panics := uint64(0)
	for _, p := range t.parts {
		for _, sh := range p.node.Shards {
			panics += sh.Stats().Panics
		}
	}
	if panics > 0 {
		return fmt.Errorf("%d procedures of the target ended with a defect; its log says which", panics)
	}
	return nil
}

func (t *target) close() {
	for _, p := range t.parts {
		if p.sockets != nil {
			p.sockets.Close()
		}
		if p.store != nil {
			_ = p.store.Close() // nothing of it is wanted
		}
	}
}
