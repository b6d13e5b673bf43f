package node

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"imsafe/ca"
	"imsafe/iface/imsservice"
	"imsafe/imsbox/hss"
	"imsafe/store"
)

// Where nodes share a store, what one of them was told to provision is in the memory of the others soon: the register of services with its shared sets and
// revocations, the intermediates, the keys that sign for the network, by which https origin each is reached, ranges of identities, subscriptions to notifications, and what is owed to its own S-CSCF. All else is read from the store where it is needed.
//
// The store numbers the states of each table (store.Store.Changed). The number is looked at, not waited for: a word that is lost costs nothing, and
// while the store cannot know what others change it gives another number each time.

// followEvery is how often the numbers are looked at. It costs a look into memory.
const followEvery = 250 * time.Millisecond

// keepEvery is how often it is asked whether the next key that signs for the network is due: a third of the life of the one before is left for it.
const keepEvery = time.Minute

// followed is something in memory that stands for tables of the store.
type followed struct {
	what   string
	tables []store.Table
	read   func() error
	seen   []uint64
	rests  time.Time // what takes long to read is read less often
}

// follows are those of this node.
func (n *Node) follows() (all []*followed) {
	if n.HSS == nil || !n.o.Config.Store.Shared() {
		return nil
	}
	return []*followed{
		{what: "intermediates", tables: []store.Table{ca.TableIssuer}, read: n.Authority.Reload},
		{what: "keys that sign", tables: []store.Table{ca.TableIssuer, ca.TableSigner}, read: n.keepSigners}, // behind the intermediates: they issue them
		{what: "services", tables: []store.Table{imsservice.TableService, imsservice.TableRevoked}, read: n.Registry.Reload},
		{what: "ranges of identities", tables: []store.Table{hss.TableWildcard}, read: n.HSS.ReloadWildcards},
		{what: "what is owed", tables: []store.Table{hss.TableOutbox}, read: func() error { n.owes(); return nil }},
		{what: "https origins", tables: []store.Table{TableOrigin}, read: n.keepOrigins},
		{what: "subscriptions to notifications", tables: []store.Table{hss.TableWatch}, read: n.HSS.ReloadWatches},
	}
}

// serveFollowing follows the other nodes, if there may be some.
func (n *Node) serveFollowing(ctx context.Context, group *errgroup.Group) {
	if all := n.follows(); all != nil {
		group.Go(func() error { return n.every(ctx, followEvery, nil, n.follow(all)) })
		group.Go(func() error {
			return n.every(ctx, keepEvery, nil, func(context.Context) error { return n.keepSigners() })
		})
	}
}

// follow reads anew what others have changed. It may wait for the database.
func (n *Node) follow(all []*followed) func(context.Context) error {
	return func(context.Context) error {
		if n.o.Store.Failure() != nil {
			return nil // what is known stays, until the database is back
		}
		for _, f := range all {
			if err := n.catchUp(f); err != nil {
				n.o.Log.Warn("what another node has changed is not read yet", "name", f.what, "error", err)
			}
		}
		return nil
	}
}

// catchUp reads f if one of its tables is another by now. What is changed while it is read has another number afterwards.
func (n *Node) catchUp(f *followed) error {
	now := n.o.Clock.Wall()
	numbers, same := make([]uint64, len(f.tables)), len(f.seen) == len(f.tables)
	for i, table := range f.tables {
		numbers[i] = n.o.Store.Changed(table)
		same = same && f.seen[i] == numbers[i]
	}
	if same || now.Before(f.rests) {
		return nil
	}
	if err := f.read(); err != nil {
		return err
	}
	f.seen = numbers
	f.rests = n.o.Clock.Wall().Add(4 * n.o.Clock.Wall().Sub(now))
	return nil
}
