package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"imsafe/config"
	"imsafe/decisions"
	"imsafe/hop"
	"imsafe/iface/clientims"
	"imsafe/iface/imsservice"
	"imsafe/iface/management"
	"imsafe/imsbox/scscf"
	"imsafe/policy"
	"imsafe/proto/aka"
	"imsafe/proto/esp"
	"imsafe/proto/espnet"
	"imsafe/proto/overload"
	"imsafe/proto/shard"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
	"imsafe/proto/xfrm"
	"imsafe/secure"
	"imsafe/servicebox/as"
	"imsafe/store"
	"imsafe/store/disk"
	"imsafe/store/seal"
	"imsafe/trace"
	"imsafe/trace/ladder"
)

// Options is what a Node is made of. Everything is open already: New reads no file and opens no socket.
type Options struct {
	Config      *config.Config
	Clock       shard.Clock
	Random      io.Reader // safe for concurrent use
	Log         *slog.Logger
	Store       store.Engine
	Keyring     *seal.Keyring
	Reload      func() (*seal.Keyring, error) // reads the keyring anew for its rotation; nil: it is not rotated
	Certificate *tls.Certificate              // of the P-CSCF; needed with Sockets.TLS
	Identity    *Identity                     // towards other nodes; needed with Sockets.MwTLS, and for Cx unless in clear
	Sockets     *Sockets
	Policy      policy.Effective
	Mode        hop.Mode    // in a lab hop.Strict: each hop encodes and parses, as a wire would
	Sink        secure.Sink // hears every refusal, besides the log; nil for none
	Decisions   disk.Disk   // where the log of decisions is kept (DecisionsDir); nil for none
	// Anchor is the media anchor in a process of its own; nil: it is in this one, if the configuration has one. It stays the caller's.
	Anchor *Anchor
	// Services are compiled in; each is asked when an operator has approved it, as any other.
	Services []*as.Service
	// Ladders is how many stories of calls and registrations are kept for whoever is logged in to the page; 0: none, and nothing is paid for them.
	Ladders int
	// Page is served beside the metrics, which have /metrics; nil for none.
	Page http.Handler
	// PageCode makes a code that lets somebody in to it once, for the verb page.code.
	PageCode func() (string, error)
	// Transport are the bounds of the sockets of C-I; the zero value means the defaults. Counters, clock and TLS are the node's.
	Transport siptransport.Options
	// Owners are who owns this node at its management door; nil: root and the user that runs it. In a lab others may be said, which then are all.
	Owners   []uint32
	Overload overload.Config // what is too much to do; the zero value takes the defaults
	Places   int             // procedures of a shard that may be under way at once; 0 takes the default
}

// Node is a Core with sockets. Make it with New, run it with Run.
type Node struct {
	*Core
	o        Options
	keys     *Keys
	refusals *trace.Refusals
	stories  *stories
	ladders  *ladder.Ring // nil: none are kept
	tape     *Tape
	policy   policy.Effective // with what the configuration weakens
	accesses []*access
	esp      *esp.Engine // of ipsec-3gpp; nil without it
	espTCP   *espnet.Stack
	xfrm     *xfrm.Engine // nil: this process does ESP on IP itself
	gms      []*gmAccess
	mw       *mw     // nil without a wire
	cx       *cxWire // the same
	sh       *shWire // the same
	owed     chan struct{}

	isc       *iscSockets           // connections of service platforms; nil without the door
	enrolment *imsservice.Enrolment // of service platforms; nil without an HSS

	decisions      *decisions.Log    // nil where none is kept
	decisionsFound *decisions.Report // how the log was when it was opened

	origins atomic.Pointer[map[string]string] // https origins of nodes that share the store, by name; not changed

	started   time.Time     // by the clock of the day
	startedAt time.Duration // by the monotonic one
}

// access is one listener: its ports and what it listens on.
type access struct {
	ports    []*clientims.Port
	sockets  []*siptransport.Datagrams
	listener net.Listener
	streams  *siptransport.Streams // of the listener
	options  siptransport.Options
	counters siptransport.Counters
}

// sweepEvery is how often expired registrations are looked for; deliverEvery how often the HSS tries to tell what it owes;
// flushEvery how often refusals are summed up in the log.
const (
	sweepEvery   = time.Minute
	deliverEvery = 5 * time.Second
	flushEvery   = 10 * time.Second
)

// even is after how long a stranger hears of his REGISTER: longer than it takes to look for a name in the store. Where the HSS is in another node it may become evenMost:
// less than after what a client sends a datagram again (RFC 3261 17.1.2.2, T1).
const (
	even     = 5 * time.Millisecond
	evenMost = 64 * even
)

// evenAtMost is evenMost where the HSS is in another node: what it takes there depends on it, and on the way. Here it is a look into the store, and what takes longer is the host.
func evenAtMost(c *config.Config) time.Duration {
	if c.HasRole("hss") {
		return even
	}
	return evenMost
}

// New assembles the node.
func New(o Options) (*Node, error) {
	n := &Node{o: o, keys: NewKeys(o.Keyring, o.Reload), refusals: trace.NewRefusals(o.Log), owed: make(chan struct{}, 1),
		started: o.Clock.Wall(), startedAt: o.Clock.Now()}
	n.stories = newStories(o.Clock, n.refusals, func() *clientims.Door { return n.Door })
	c, meta := o.Config, o.Store.Meta()
	if o.Ladders > 0 {
		n.ladders = ladder.NewRing(o.Ladders)
		n.tape = NewTape(n.ladders, o.Clock, c.HomeDomain(), c.FunctionsOf(c.Node.Name), rolesOf(c), wireCover(c), func() *clientims.Door { return n.Door })
	}
	var err error
	if n.policy, err = effective(&o); err != nil {
		return nil, err
	}
	if err := n.openDecisions(); err != nil {
		return nil, err
	}
	hss := &remoteHSS{}
	n.Core, err = Assemble(World{HTTPS: httpsOrigin(c, o.Sockets), Clock: o.Clock, Random: o.Random, Log: o.Log, Store: o.Store,
		Keys: n.keys.Keyring, Policy: n.policy, Sink: n.sink(), Record: n.recorder(), Story: n.stories, Tape: n.tape, Mode: o.Mode, Node: c.Node.Number, Name: c.FunctionsOf(c.Node.Name),
		IND: indexOf(c), Shards: Shards(c), Roles: rolesOf(c), Cx: hss, Domain: c.HomeDomain(), Lab: c.Node.Lab, Foreign: c.Mw.Clear, Nodes: nodesOnMw(&c.Mw), Registration: c.Registration,
		Numbering: c.Numbering, Budget: c.Budget, Emergency: c.Emergency, CS: c.CS, ListenMedia: listenMedia, Iq: o.Anchor.iq(), Gm: timers(c.Timers.Gm), Budgets: Budgets(&c.CI), Overload: o.Overload, Places: o.Places,
		Drop:         o.Sockets.dropper(),
		Even:         even,
		EvenMost:     evenAtMost(c),
		Digest:       DigestAlgorithms(c),
		Approvers:    c.Approvers(),
		NodeNames:    nodeNames(c),
		RestoreEpoch: meta.Epoch, RestoredAt: meta.RestoredAt})
	if err != nil {
		return nil, errors.Join(err, n.closeDecisions())
	}
	o.Log = trace.Under(o.Log, n.Gate)
	n.o.Log, n.stories.log = o.Log, o.Log
	if n.PCSCF != nil && o.Anchor != nil {
		o.Anchor.plug(n.PCSCF, n.Gate)
	}
	if n.Services != nil {
		n.openISC()
	}
	if n.Registry != nil {
		if err := n.Pseudonyms.Load(); err != nil {
			return nil, err
		}
		n.enrolment = imsservice.NewEnrolment(n.Registry, o.Log)
	}
	if err := n.openAccesses(); err != nil {
		return nil, errors.Join(err, n.closeDecisions())
	}
	n.Core.owed = func() {
		select {
		case n.owed <- struct{}{}:
		default: // it is looked at already
		}
	}
	return n, errors.Join(n.beginDecisions(), n.openMw(), n.openCx(hss), n.openSh())
}

// openAccesses opens the C-I door at the sockets that are there for it.
func (n *Node) openAccesses() error {
	o, c := &n.o, n.o.Config
	for _, ln := range o.Sockets.TLS {
		a := n.open(clientims.Access{Profile: "tls", Protected: true, SentBy: n.sentBy(ln.Addr()), Timers: timers(c.Timers.Gm)})
		a.listener, a.options.TLS = ln, n.serverTLS()
	}
	for i, conns := range o.Sockets.LabUDP {
		lab := clientims.Access{Profile: "lab-udp", Shared: true, SentBy: conns[0].LocalAddr().String(), Timers: timers(c.Timers.Core)}
		lab.Paths = clientims.NewPaths()
		a := n.open(lab)
		for shard, conn := range conns {
			socket := n.datagrams(shard, conn, a.options)
			a.ports[shard].SendBy(socket)
			a.sockets = append(a.sockets, socket)
		}
		n.beside(a, n.open(lab), o.Sockets.LabTCP[i])
	}
	for _, s := range o.Sockets.IPsec {
		if err := n.openIPsec(s); err != nil {
			return err
		}
	}
	return nil
}

// Ladders are the stories that are kept; nil if none are.
func (n *Node) Ladders() *ladder.Ring { return n.ladders }

// Draw lets ladders be drawn, as at the start, or lets it rest.
func (n *Node) Draw(on bool) {
	if n.tape != nil {
		n.tape.rests.Store(!on)
	}
}

// sink is who hears of refusals: the stories and behind them the log, the ladders, and whoever the options name.
func (n *Node) sink() secure.Sink {
	all := sinks{n.stories}
	if n.decisions != nil {
		all = append(all, newRefusedAtServices(n.decisions))
	}
	if n.tape != nil {
		all = append(all, n.tape)
	}
	if n.o.Sink != nil {
		all = append(all, n.o.Sink)
	}
	if len(all) == 1 {
		return all[0]
	}
	return all
}

// sinks hear the same.
type sinks []secure.Sink

// Refused implements secure.Sink.
func (all sinks) Refused(e secure.Event) {
	for _, s := range all {
		s.Refused(e)
	}
}

// DigestAlgorithms are those of SIP Digest that c admits.
func DigestAlgorithms(c *config.Config) (all []aka.DigestAlgorithm) {
	if c.CI.Digest.Enabled {
		all = append(all, aka.SHA256)
	}
	if c.CI.DigestMD5.Enabled {
		all = append(all, aka.MD5)
	}
	return all
}

// beside opens the stream profile of a packet profile: what is too large for one goes over the other.
func (n *Node) beside(packets, streams *access, ln net.Listener) {
	streams.listener = ln
	streams.streams = siptransport.NewStreams(streams.options)
	for i, p := range packets.ports {
		sh, companion := n.Shards[i], streams.ports[i]
		p.LargeBy(companion, func(peer netip.AddrPort) siptransport.Flow {
			return streams.streams.Dial(context.Background(), sh, peer, companion)
		})
	}
}

// open opens an access profile of the door.
func (n *Node) open(profile clientims.Access) *access { return n.track(n.Door.Open(profile)) }

// track makes the access of ports of the door.
func (n *Node) track(ports []*clientims.Port) *access {
	a := &access{ports: ports}
	a.options = n.o.Transport
	a.options.Clock, a.options.Counters, a.options.TLS, a.options.Doubt = n.o.Clock, &a.counters, nil, n.Door.Doubts
	a.options.Shed, a.options.Admit = n.Door.Sheds, n.Door.Admits
	n.accesses = append(n.accesses, a)
	return a
}

// Budgets are those of a configuration in the words of the door.
func Budgets(c *config.CI) clientims.Budgets {
	b, d := &c.Budget, &c.Drop
	return clientims.Budgets{Source: b.Source.Bucket(), Network: b.Network.Bucket(), Connection: b.Connection.Bucket(), Client: b.Client.Bucket(),
		Challenge: b.Challenge.Bucket(), Resync: b.Resync.Bucket(), Unproven: b.Unproven.Bucket(), Emergency: b.Emergency.Bucket(), Share: b.Share.Bucket(),
		Signalling: b.Signalling.Bucket(), Headers: b.Headers, DropAfter: d.After.Bucket(), DropFor: d.For.Std(),
		Remember: b.Remember.Std()}
}

// timers derives all from the three that the standard derives from (RFC 3261 table 4).
func timers(t config.SIPTimers) siptxn.Timers {
	return siptxn.Derive(t.T1.Std(), t.T2.Std(), t.T4.Std())
}

// sentBy is the Via of the P-CSCF: its name in the certificate, and the port.
func (n *Node) sentBy(a net.Addr) string {
	return fmt.Sprintf("pcscf.%s:%d", n.o.Config.HomeDomain(), netip.MustParseAddrPort(a.String()).Port())
}

// Run serves until ctx ends, then drains and closes what it opened. Store and keyring stay the caller's.
func (n *Node) Run(ctx context.Context) error {
	for _, w := range n.o.Config.Weakenings() {
		n.o.Log.Warn("weaker than the default", "setting", w.Name, "reason", w.Meaning)
	}
	n.judgeCertificate()
	shards, stopShards := context.WithCancel(context.WithoutCancel(ctx))
	defer stopShards()
	var inner errgroup.Group // what outlives the sockets
	for _, sh := range n.Shards {
		inner.Go(func() error { return sh.Run(shards) })
	}
	n.serveKernel(shards, &inner)
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	outer, working := errgroup.WithContext(serving)
	for _, a := range n.accesses {
		n.serve(working, outer, a)
	}
	for _, serve := range []func(context.Context, *errgroup.Group){n.serveIPsec, n.serveMw, n.serveCx, n.serveSh, n.serveISC, n.hostServices, n.serveEnrolment,
		n.serveWeb, n.serveDecisions, n.serveFollowing} {
		serve(working, outer)
	}
	if n.o.Sockets.Management != nil {
		outer.Go(func() error { return n.managementDoor().Serve(working, n.o.Sockets.Management) })
	}
	if n.o.Sockets.Metrics != nil {
		outer.Go(func() error { return n.serveMetrics(working, n.o.Sockets.Metrics) })
	}
	outer.Go(func() error { return n.watchLoad(working) })
	if n.o.Sockets.Drop != nil {
		outer.Go(func() error { return n.o.Sockets.Drop.Run(working) })
	}
	n.serveRegularly(working, outer)
	n.serveMedia(working, outer)
	outer.Go(func() error {
		defer stopServing()
		n.drain(ctx, working)
		return nil
	})
	err := outer.Wait()

	err = errors.Join(err, n.closeStreams(ctx))
	stopShards()
	if stopped := inner.Wait(); !errors.Is(stopped, context.Canceled) {
		err = errors.Join(err, stopped)
	}
	n.refusals.Flush()
	err = errors.Join(err, n.closeDecisions())
	if n.o.Anchor != nil {
		n.o.Anchor.plug(nil, nil) // whoever was told is about to end
	}
	n.Close()
	n.o.Sockets.XFRM.Close()
	err = errors.Join(err, n.o.Sockets.Drop.Close())
	return err
}

// serveRegularly does what is done every so often.
func (n *Node) serveRegularly(working context.Context, outer *errgroup.Group) {
	outer.Go(func() error { return n.every(working, sweepEvery, nil, n.Sweep) })
	outer.Go(func() error { return n.every(working, deliverEvery, n.owed, n.deliver) })
	outer.Go(func() error {
		return n.every(working, flushEvery, nil, func(context.Context) error { n.refusals.Flush(); return nil })
	})
}

// closeStreams ends all connections, within a second: whoever reads slower than that is cut off, which is no failure of this node's.
func (n *Node) closeStreams(ctx context.Context) error {
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	streams := append(n.mw.streams(), n.isc.streams()...)
	for _, g := range n.gms {
		streams = append(streams, g.streams)
	}
	for _, a := range n.accesses {
		if a.streams != nil {
			streams = append(streams, a.streams)
		}
	}
	cut := false
	for _, s := range streams {
		cut = s.Close(drain) != nil || cut
	}
	if cut {
		n.o.Log.Warn("stopped with connections that had to be cut off")
	}
	if n.espTCP != nil {
		return n.espTCP.Close()
	}
	return nil
}

// drain waits until the node is told to stop, turns new work away, and returns when what is under way has ended or the
// time for that is over.
func (n *Node) drain(told, broken context.Context) {
	select {
	case <-told.Done():
	case <-broken.Done():
		return
	}
	if n.Door == nil {
		return // no client comes in here; what other nodes wait for they ask again
	}
	n.Door.Drain()
	deadline := time.NewTimer(n.o.Config.Timers.Drain.Std())
	defer deadline.Stop()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for n.Door.Walking() > 0 {
		select {
		case <-look.C:
		case <-deadline.C:
			n.o.Log.Warn("stopped with requests under way", "count", n.Door.Walking())
			return
		case <-broken.Done():
			return
		}
	}
}

// serve runs the sockets of one access profile, and its sweepers.
func (n *Node) serve(ctx context.Context, group *errgroup.Group, a *access) {
	for i, p := range a.ports {
		n.Shards[i].Exec(shard.EventFunc(func(*shard.Shard) { p.Watch() }))
	}
	for i, socket := range a.sockets {
		group.Go(func() error { return socket.Serve(ctx, a.ports[i]) })
	}
	if a.listener == nil {
		return
	}
	if a.streams == nil {
		a.streams = siptransport.NewStreams(a.options)
	}
	group.Go(func() error {
		return a.streams.Serve(ctx, n.Shards, a.listener, func(sh *shard.Shard) siptransport.Receiver { return a.ports[sh.ID()] })
	})
}

// every runs job at intervals, and when it is asked to, until ctx ends. A job that fails is told of and tried again.
func (n *Node) every(ctx context.Context, interval time.Duration, asked <-chan struct{}, job func(context.Context) error) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-asked:
		}
		if err := job(ctx); err != nil && ctx.Err() == nil {
			n.o.Log.Warn("housekeeping did not finish", "error", err)
		}
	}
}

// Sweep ends at most a thousand registrations whose time is over. Candidates come from the store by the wall clock; the
// S-CSCF judges by the monotonic one. It may wait for the disk.
func (n *Node) Sweep(ctx context.Context) error {
	if n.SCSCF == nil {
		return nil
	}
	records, err := n.o.Store.Sweep(scscf.TableRegistration, n.o.Clock.Wall().UnixMilli(), 1000)
	if err != nil {
		return err
	}
	for i, r := range records {
		var failed error
		sh := n.Shards[i%len(n.Shards)]
		if err := sh.Call(ctx, func(t *shard.Task) { failed = n.SCSCF.Expire(t, string(r.Key)) }); err != nil {
			return err
		}
		if failed != nil {
			return failed
		}
	}
	return nil
}

// deliver tells S-CSCFs what our HSS still owes them.
func (n *Node) deliver(ctx context.Context) error {
	if n.HSS == nil {
		return nil
	}
	left, err := n.HSS.Deliver(ctx)
	if left > 0 {
		n.o.Log.Warn("an s-cscf or application server is still to be told of changes", "count", left)
	}
	return err
}

// managementDoor makes the operator's door with the roles of the configuration.
func (n *Node) managementDoor() *management.Server {
	roles := map[uint32]management.Role{}
	for role, uids := range map[management.Role][]uint32{management.Operator: n.o.Config.Management.Operators,
		management.Viewer: n.o.Config.Management.Viewers} {
		for _, uid := range uids {
			roles[uid] = role
		}
	}
	return management.New(management.Config{Roles: roles, Owners: n.owners(), Gate: n.Gate, Log: n.o.Log}, n.verbs())
}

// owners are the user ids that are operators without an entry in the configuration.
func (n *Node) owners() []uint32 {
	if n.o.Config.Node.Lab && n.o.Owners != nil {
		return n.o.Owners
	}
	return []uint32{0, uint32(os.Getuid())}
}

// maxMetrics is how many connections there may be at once to metrics and page: whoever is on this machine takes no more of the node's sockets.
const maxMetrics = 64

// serveMetrics serves Prometheus until ctx ends. The configuration keeps it on loopback.
func (n *Node) serveMetrics(ctx context.Context, ln net.Listener) error {
	handler, err := n.metrics()
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	if n.o.Page != nil {
		mux := http.NewServeMux()
		mux.Handle("/metrics", handler)
		mux.Handle("/", n.o.Page)
		handler = mux
	}
	newest := management.NewNewest(ln, maxMetrics)
	server := &http.Server{Handler: management.Own(handler, n.Gate), ConnState: newest.State, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10,
		ErrorLog: slog.NewLogLogger(n.o.Log.Handler(), slog.LevelDebug)}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(newest); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("node: metrics: %w", err)
	}
	return nil
}
