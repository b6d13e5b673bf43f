package clientims

import (
	"net/netip"
	"sync/atomic"
	"time"

	"imsafe/proto/budget"
	"imsafe/secure"
)

// Budgets are what strangers and clients may cost. A zero field takes the default named there.
type Budgets struct {
	Source     budget.Rate   // requests of one address without a registration; default 20 a second, 100 at once
	Network    budget.Rate   // the same of the network around it; default 200 a second, 1000 at once
	Connection budget.Rate   // new connections of one address; default 10 a second, 50 at once
	Client     budget.Rate   // requests of one registered client; default 50 a second, 200 at once
	Challenge  budget.Rate   // vectors for one private identity from one address; default 6 a minute, 10 at once
	Resync     budget.Rate   // resynchronisations, the same; default 4 an hour, 4 at once
	Unproven   budget.Rate   // first REGISTERs of all UDP sources together that were never proven; default 1000 a second, 2000 at once
	Emergency  budget.Rate   // emergency requests of one address without a registration; default 2 a second, 10 at once
	Share      budget.Rate   // new requests of one user while there is too much to do; default 1 a second, 5 at once. Who sends more is refused first
	Signalling budget.Rate   // octets that one user sends, but REGISTER and the text of messages; default 512 KiB a minute and at once
	Headers    int           // octets of the headers of one message of a client; default 8192
	DropAfter  budget.Rate   // refusals of one address, until it is dropped in the kernel (Ports.Drop); default 500 a second, 5000 at once
	DropFor    time.Duration // and for how long, default a minute
	Remember   time.Duration
	// Places is how many sources may owe something at the same moment; default 65536, some 20 MB in all.
	Places int
}

func (b Budgets) withDefaults() Budgets {
	for _, d := range []struct {
		rate *budget.Rate
		def  budget.Rate
	}{
		{&b.Source, budget.Rate{Limit: 20, Per: time.Second, Burst: 100}}, {&b.Network, budget.Rate{Limit: 200, Per: time.Second, Burst: 1000}},
		{&b.Connection, budget.Rate{Limit: 10, Per: time.Second, Burst: 50}}, {&b.Client, budget.Rate{Limit: 50, Per: time.Second, Burst: 200}},
		{&b.Challenge, budget.Rate{Limit: 6, Per: time.Minute, Burst: 10}}, {&b.Resync, budget.Rate{Limit: 4, Per: time.Hour, Burst: 4}},
		{&b.Unproven, budget.Rate{Limit: 1000, Per: time.Second, Burst: 2000}}, {&b.Emergency, budget.Rate{Limit: 2, Per: time.Second, Burst: 10}},
		{&b.Share, budget.Rate{Limit: 1, Per: time.Second, Burst: 5}},
		{&b.DropAfter, budget.Rate{Limit: 500, Per: time.Second, Burst: 5000}}, {&b.Signalling, budget.Rate{Limit: 512 << 10, Per: time.Minute, Burst: 512 << 10}},
	} {
		if *d.rate == (budget.Rate{}) {
			*d.rate = d.def
		}
	}
	if b.DropFor == 0 {
		b.DropFor = time.Minute
	}
	if b.Headers == 0 {
		b.Headers = 8192
	}
	if b.Remember == 0 {
		b.Remember = 24 * time.Hour
	}
	if b.Places == 0 {
		b.Places = 1 << 16
	}
	return b
}

// What is derived from the rates of the operator.
const (
	datagramsPerRequest = 5   // retransmissions, ACKs and responses beside the requests
	networkPerSource    = 10  // connections and emergencies of a network, of one of its addresses
	usersOfSource       = 10  // subscribers behind one address, for vectors
	usersOfNetwork      = 100 // and in one network
	dialogsOfUser       = 10  // requests within dialogs of a user, of his new ones
	coarse              = 4   // there are fewer networks than addresses
)

// tier is the budget of an address and that of the network around it.
type tier struct{ source, network *budget.Table }

func newTier(source, network budget.Rate, places int) tier {
	return tier{budget.NewTable(source, places), budget.NewTable(network, max(places/coarse, 1))}
}

// take spends one of both. What the address is refused costs the network nothing.
func (t *tier) take(s *source, now time.Duration) budget.Verdict {
	if v := t.source.Take(s.address, now); !v.Granted() {
		return v
	}
	return t.network.Take(s.network, now)
}

// source is where something comes from.
type source struct{ address, network budget.Key }

// origin is what a source has shown of itself: anybody can write an address into a datagram, so what comes by datagrams must not cost those
// who come from that address over a connection.
type origin uint8

const (
	byDatagram origin = iota
	byProof           // over a connection, whose handshake proves the address, or inside security associations
	origins
)

// budgets is all of it. Safe for concurrent use.
type budgets struct {
	keys      budget.Keys
	remember  time.Duration
	datagrams tier
	strangers *budget.Bucket // datagrams of unproven sources
	requests  [origins]tier
	conns     tier
	clients   *budget.Table // by association
	vectors   *budget.Table // by private identity, and where it comes from
	drawn     [origins]tier // vectors
	resyncs   *budget.Table // by private identity and address
	resynced  tier
	unproven  *budget.Bucket          // challenges of unproven sources
	asked     *budget.Bucket          // those that are asked to show that they receive: it costs the ones who are challenged nothing
	help      tier                    // emergency calls
	shares    *budget.Table           // new requests of a user, in an overload
	talk      *budget.Table           // and what belongs to his dialogs
	share     uint32                  // shares, in a second
	patience  [origins]*budget.Table  // refusals of an address
	outcast   [origins]*budget.Recent // addresses that are dropped in the kernel
	outFor    time.Duration
	octets    *budget.Table  // of signalling, by private identity
	headers   int            // octets of the headers of one message
	told      *budget.Recent // datagrams that were refused by an overload: they are answered as before

	proven     *budget.Recent // addresses that a client has registered from lately, and with IPsec private identities at them
	calling    *budget.Recent // and that an emergency call came from
	challenged *budget.Recent // private identity and nonce of challenges that have left and wait for their answer

	n Counters
}

func newBudgets(b Budgets) *budgets {
	b = b.withDefaults()
	x := &budgets{keys: budget.NewKeys(), remember: b.Remember,
		datagrams: newTier(b.Source.Times(datagramsPerRequest), b.Network.Times(datagramsPerRequest), b.Places),
		strangers: budget.NewBucket(b.Unproven.Times(datagramsPerRequest)),
		conns:     newTier(b.Connection, b.Connection.Times(networkPerSource), b.Places),
		clients:   budget.NewTable(b.Client, b.Places),
		vectors:   budget.NewTable(b.Challenge, b.Places),
		resyncs:   budget.NewTable(b.Resync, b.Places/coarse),
		resynced:  newTier(b.Resync.Times(usersOfSource), b.Resync.Times(usersOfNetwork), b.Places/coarse),
		unproven:  budget.NewBucket(b.Unproven), asked: budget.NewBucket(b.Unproven),
		help:   newTier(b.Emergency, b.Emergency.Times(networkPerSource), b.Places/coarse),
		shares: budget.NewTable(b.Share, b.Places), talk: budget.NewTable(b.Share.Times(dialogsOfUser), b.Places), told: budget.NewRecent(b.Places),
		octets: budget.NewTable(b.Signalling, b.Places), headers: b.Headers, outFor: b.DropFor,
		share:  uint32(max(1, time.Duration(b.Share.Limit)*time.Second/b.Share.Per)),
		proven: budget.NewRecent(coarse * b.Places), calling: budget.NewRecent(b.Places / coarse), challenged: budget.NewRecent(b.Places)}
	for p := range origins {
		x.patience[p], x.outcast[p] = budget.NewTable(b.DropAfter, b.Places/coarse), budget.NewRecent(b.Places/coarse)
		x.requests[p] = newTier(b.Source, b.Network, b.Places)
		x.drawn[p] = newTier(b.Challenge.Times(usersOfSource), b.Challenge.Times(usersOfNetwork), b.Places)
	}
	return x
}

// sourceOf is the source of an address.
func (b *budgets) sourceOf(a netip.Addr) source {
	return source{address: b.keys.Source(a), network: b.keys.Network(a)}
}

// prove notes that somebody at an address has registered: what is sent there arrives at whom it is for.
func (b *budgets) prove(a netip.Addr, now time.Duration) {
	b.proven.Add(b.keys.Source(a), now+b.remember)
}

// proveName notes that somebody has proven a name at an address: an attempt in that name from there is no stranger's.
func (b *budgets) proveName(u user, now time.Duration) {
	b.proven.Add(b.nameAt(u), now+b.remember)
}

// waits says where an attempt in a name comes from.
func (b *budgets) waits(u user, now time.Duration) budget.Waiting {
	s := b.sourceOf(u.addr)
	return budget.Waiting{Network: s.network, Address: s.address, Known: b.proven.Has(b.nameAt(u), now)}
}

// nameAt is the key of a private identity at an address.
func (b *budgets) nameAt(u user) budget.Key {
	return b.keys.AndText(b.keys.Source(u.addr), u.impi)
}

// Counters say what the budgets saw and refused. They only grow. Safe for concurrent use.
type Counters struct {
	OverDatagrams   atomic.Uint64 // datagrams dropped before they were parsed: their source has spent its budget
	OverStrangers   atomic.Uint64 // the same: all sources that were never proven have spent theirs
	OverRequests    atomic.Uint64 // requests without a registration
	OverConnections atomic.Uint64 // connections closed before their handshake
	OverClient      atomic.Uint64 // requests of registered clients
	OverChallenges  atomic.Uint64 // REGISTERs that would have drawn a vector
	OverResyncs     atomic.Uint64 // REGISTERs with AUTS
	OverUnproven    atomic.Uint64 // first REGISTERs of sources that were never proven
	OverEmergency   atomic.Uint64 // emergency requests
	OverLoad        atomic.Uint64 // requests that came when there was too much to do
	Outcasts        atomic.Uint64 // addresses that the kernel was asked to drop
	OverTraffic     atomic.Uint64 // messages of registered clients that are too large, or too many octets together
	TooLarge        atomic.Uint64 // answers to unproven sources that were larger than their requests

	UnprovenPackets   atomic.Uint64 // datagrams of unproven sources
	UnprovenOctets    atomic.Uint64 // and their octets
	UnprovenAnswers   atomic.Uint64 // answers to them
	UnprovenAnswered  atomic.Uint64 // and their octets
	UnprovenChallenge atomic.Uint64 // those of the answers that are challenges, which may be larger than the request
}

// Amplification is how many octets went to sources that were never proven for each octet that came from them: what a reflector gains by us.
func (c *Counters) Amplification() float64 {
	in := c.UnprovenOctets.Load()
	if in == 0 {
		return 0
	}
	return float64(c.UnprovenAnswered.Load()) / float64(in)
}

// Budgets returns what the budgets of the door count.
func (d *Door) Budgets() *Counters { return &d.budgets.n }

// The enforcement points of the three. subject is told once for a run of refusals.

func (d *Door) refusesSource(reason string, from netip.Addr) bool {
	return d.ports.Gate.Refuse(secure.CIAvailabilityBudgetSource, secure.Event{Reason: reason, Source: from.Unmap()})
}

func (d *Door) refusesVector(reason, subject string, from netip.Addr) bool {
	return d.ports.Gate.Refuse(secure.CIAvailabilityBudgetVector, secure.Event{Reason: reason, Subject: subject, Source: from.Unmap()})
}

func (d *Door) refusesUnproven(reason string, from netip.Addr) bool {
	return d.ports.Gate.Refuse(secure.CIAvailabilityPathProof, secure.Event{Reason: reason, Source: from.Unmap()})
}
