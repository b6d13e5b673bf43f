// Package hss is the Home Subscriber Server of the IMS: who the subscribers are, how each proves
// itself, which S-CSCF has it, and what it may use (TS 23.228, TS 29.228, TS 33.203 6.1). It
// implements cx.Server over the store, and the provisioning that the management door and the
// command line use.
//
// It does not speak Diameter (a wire form does), selects no S-CSCF and runs no filter criteria. K
// and OPc never leave: they are sealed in the record, opened when a vector is made, and no function
// of this package returns them.
//
// Node assembles it; nothing else of the core imports it. An HSS is safe for concurrent use: the
// methods of cx.Server on any shard, those of provisioning on any goroutine that may wait.
package hss

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/sh"
	"imsafe/secure"
	"imsafe/store"
	"imsafe/store/seal"
)

// The tables of the HSS. Their numbers are in the journal for ever.
const (
	TableSubscription store.Table = 1  // key: subscription id (its first private identity)
	TableSQN          store.Table = 2  // key: private identity; survives the subscriber
	TableAssignment   store.Table = 3  // key: subscription id; who serves it, what is registered
	TablePublic       store.Table = 4  // key: public identity; value: subscription id
	TablePrivate      store.Table = 5  // key: private identity; value: subscription id
	TableProfile      store.Table = 6  // key: name of a service profile
	TableGroup        store.Table = 7  // key: name of a group
	TableWildcard     store.Table = 8  // key: wildcarded identity; value: subscription id
	TableOutbox       store.Table = 9  // key: random, or that of a subscription; value: what is owed to an S-CSCF or application server
	TableShared       store.Table = 10 // key: name of a group, or * for everybody; value: shared sets of service platforms

	TableRepository store.Table = 11 // key: public identity, service indication; transparent data (Sh)
	TableActivation store.Table = 12 // key: subscription id; what application servers switched off
	TableWatch      store.Table = 13 // key: public identity, application server, data; subscriptions to notifications
	TableShIndex    store.Table = 14 // key: public identity; what it has in the tables of Sh

	TableConsent store.Table = 15 // key: subscription id; the services it has agreed to
)

// Tables names the tables for the store.
func Tables() []store.TableSpec {
	return []store.TableSpec{
		{Table: TableSubscription, Name: "hss_subscription"},
		{Table: TableSQN, Name: "hss_sequence", Quiet: true},
		{Table: TableAssignment, Name: "hss_assignment"},
		{Table: TablePublic, Name: "hss_public"},
		{Table: TablePrivate, Name: "hss_private"},
		{Table: TableProfile, Name: "hss_profile"},
		{Table: TableGroup, Name: "hss_group"},
		{Table: TableWildcard, Name: "hss_wildcard"},
		{Table: TableOutbox, Name: "hss_outbox"},
		{Table: TableShared, Name: "hss_shared"},
		{Table: TableRepository, Name: "hss_repository"},
		{Table: TableActivation, Name: "hss_activation"},
		{Table: TableWatch, Name: "hss_watch"},
		{Table: TableShIndex, Name: "hss_sh_index"},
		{Table: TableConsent, Name: "hss_consent"},
	}
}

// Ports are what the HSS is plugged into.
type Ports struct {
	Store store.Store
	// Keys opens and seals K and OPc. It is read once per operation, so that a rotation takes effect.
	Keys func() *seal.Keyring
	// Random is read for challenges and seals; it must be safe for concurrent use.
	Random io.Reader
	// Clock is the wall clock of records; the shards have their own.
	Clock shard.Clock
	// Gate refuses and counts.
	Gate *secure.Gate
	// Push finds the push side of an S-CSCF by its name, nil if there is none to reach. A nil Push means
	// that no node runs: provisioning then changes records only.
	Push func(serverName string) cx.Client
	// Permission says what application servers may do; nil: nothing (TS 29.328 6.2).
	Permission sh.Permission
	// Uncover returns the identity that a service means by a URI, which may be a pseudonym of its own; nil: it means what it says.
	Uncover func(service, uri string) string
	// Notify finds the push side of an application server, nil if it cannot be reached now. A nil Notify means that nobody is told.
	Notify func(as sh.AS) sh.Client
	// Owed is told that an S-CSCF is to be told something by Deliver, which need not wait for its interval then. On any shard; it must
	// not block. It may be nil.
	Owed func()
	// Shard runs the procedures that provisioning starts (RTR, PPR, PNR). Needed with Push and Notify.
	Shard *shard.Shard
	// Log may be nil.
	Log *slog.Logger
}

// Config is the configuration of the HSS. Its zero value is refused: there is no default home domain.
type Config struct {
	// HomeDomains are the realms that subscribers may have. The first is the default of provisioning.
	HomeDomains []string
	// VisitedNetworks may be used by everybody; a group can name more. A home domain is always allowed.
	VisitedNetworks []string
	// IND is the array index of this node in SQN (TS 33.102 C.1.1.1, TS 33.203 Annex G): 0 to 31, another for
	// each node and each domain (PS, CS) that draws vectors for the same cards.
	IND uint8
	// ReserveSQN is how many sequence numbers one durable write reserves; default 32. After a crash as
	// many may be skipped.
	ReserveSQN uint64
	// PendingFor is how long an authentication stays pending without an answer; default 4 min
	// (reg-await-auth, TS 24.229 table 7.8.1) and some seconds.
	PendingFor time.Duration
	// CacheSubscriptions bounds the subscriptions kept parsed in memory, some 3 kB each; default 16,384. One that
	// is not there costs 3 us more.
	CacheSubscriptions int
	// RestoreEpoch and RestoredAt say how often and when a backup was restored into the store.
	RestoreEpoch uint64
	RestoredAt   time.Time
	// Digest are the algorithms of SIP Digest that subscribers without a card may have: SHA-256, and MD5 in the access
	// profile digest-md5. Empty, which is the default: everybody has a card (TS 33.203 Annex N is off).
	Digest []aka.DigestAlgorithm
	// Shared says that other HSSs have the same store, each with an S-CSCF that this one has no way to: what is owed to it is for them to deliver.
	Shared bool
	// KeepServerName keeps the S-CSCF of a user who leaves in the words of
	// USER_DEREGISTRATION_STORE_SERVER_NAME, so that services for unregistered users start faster.
	KeepServerName bool
	// RefusalTime is when an application server gets the refusal of a user outside its set, and of one who does not exist, counted from
	// its request; default 20 ms. It must be longer than the disk takes to find nothing.
	RefusalTime time.Duration
	// MaxServiceData bounds one set of transparent data, in octets; default 32 KiB, at most 128 KiB.
	MaxServiceData int
	// MaxWatches bounds the subscriptions to notifications, some 400 octets of memory each; default 100,000.
	MaxWatches int
}

// The limits of an identity on Sh.
const (
	maxIndication  = 255 // octets of a service indication, server name or DSAI tag
	maxIndications = 64  // sets of transparent data
	maxWatchers    = 128 // subscriptions to notifications
)

// withDefaults fills in and checks.
func (c Config) withDefaults() (Config, error) {
	if len(c.HomeDomains) == 0 {
		return c, errors.New("hss: no home domain")
	}
	for _, d := range c.HomeDomains {
		if m := checkDomain(d); m != "" {
			return c, errors.New("hss: home domain: " + m)
		}
	}
	if c.IND >= aka.INDCount {
		return c, errors.New("hss: IND is 0 to 31")
	}
	if c.ReserveSQN == 0 {
		c.ReserveSQN = 32
	}
	if c.ReserveSQN > 1<<16 {
		return c, errors.New("hss: at most 65536 sequence numbers can be reserved at once")
	}
	if c.PendingFor == 0 {
		c.PendingFor = 4*time.Minute + 10*time.Second
	}
	if c.CacheSubscriptions == 0 {
		c.CacheSubscriptions = 1 << 14
	}
	if c.RefusalTime == 0 {
		c.RefusalTime = 20 * time.Millisecond
	}
	if c.MaxServiceData == 0 {
		c.MaxServiceData = 32 << 10
	}
	if c.MaxServiceData > 128<<10 {
		return c, errors.New("hss: transparent data of more than 128 KiB do not fit into an answer")
	}
	if c.MaxWatches == 0 {
		c.MaxWatches = 100_000
	}
	return c, nil
}

// HSS is the server.
type HSS struct {
	cfg      Config
	ports    Ports
	log      *slog.Logger
	cache    *cache
	getters  getters
	groups   groups
	expanded expanded
	counts   counters

	wildcards wildcards
	outbox    outbox
	watches   watches
}

var _ cx.Server = (*HSS)(nil)

// New makes an HSS. It reads the wildcarded identities; the other records of the store are found when they are asked for.
func New(cfg Config, ports Ports) (*HSS, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	switch {
	case ports.Store == nil || ports.Keys == nil || ports.Random == nil || ports.Clock == nil || ports.Gate == nil:
		return nil, errors.New("hss: store, keys, randomness, clock and gate are needed")
	case (ports.Push != nil || ports.Notify != nil) && ports.Shard == nil:
		return nil, errors.New("hss: a push needs a shard to run on")
	}
	h := &HSS{cfg: cfg, ports: ports, log: ports.Log, cache: newCache(cfg.CacheSubscriptions)}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	h.getters.init()
	if err := h.wildcards.load(ports.Store); err != nil {
		return nil, fmt.Errorf("hss: wildcarded identities: %w", err)
	}
	if err := h.watches.load(ports.Store); err != nil {
		return nil, fmt.Errorf("hss: subscriptions to notifications: %w", err)
	}
	return h, nil
}
