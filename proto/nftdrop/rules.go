package nftdrop

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"time"
)

// Config is what rules guard.
type Config struct {
	Table   string           // name, of this process alone
	Packets []netip.AddrPort // UDP; an unspecified address guards the port on all of its family, :: on both
	Streams []netip.AddrPort // TCP
	For     time.Duration    // that a source stays in its set, at least a second
}

// ErrUnsupported is returned where there is no nf_tables.
var ErrUnsupported = errors.New("nftdrop: dropping in the kernel needs Linux with nf_tables")

// Counters say what was asked of the kernel. They only grow.
type Counters struct {
	Sources atomic.Uint64 // that were put into a set
	Lost    atomic.Uint64 // that were not: too many at once, or the kernel refused
}

// source is one that earned it.
type source struct {
	address netip.Addr
	stream  bool
}

// Rules are the table of a process while it stands.
type Rules struct {
	Counters
	table
	queue chan source
}

// queued is how many sources may wait for the kernel, batch how many it is given at once.
const (
	queued = 1024
	batch  = 64
)

// Open puts the rules into the kernel, in the place of what a process before us has left under the same name. It needs CAP_NET_ADMIN.
// Close them.
func Open(c Config) (*Rules, error) {
	c.For = max(c.For, time.Second)
	r := &Rules{queue: make(chan source, queued)}
	if err := r.install(c); err != nil {
		return nil, err
	}
	return r, nil
}

// Drop asks for a source to be dropped for a while: its datagrams, or its new connections. An IPv6 source is its /64. It does not wait; when too
// many are waiting already, this one is lost and has to earn it again.
func (r *Rules) Drop(address netip.Addr, connections bool) {
	select {
	case r.queue <- source{address.Unmap(), connections}:
	default:
		r.Lost.Add(1)
	}
}

// Run tells the kernel until ctx ends. Nothing else does.
func (r *Rules) Run(ctx context.Context) error {
	all := make([]source, 0, batch)
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-r.queue:
			all = append(all[:0], s)
		}
		for more := true; more && len(all) < batch; {
			select {
			case s := <-r.queue:
				all = append(all, s)
			default:
				more = false
			}
		}
		r.put(all)
	}
}

// put counts what came of a batch. What the kernel refuses, because a set is full for example, is only served more dearly.
func (r *Rules) put(all []source) {
	if err := r.add(all); err != nil {
		r.Lost.Add(uint64(len(all)))
		return
	}
	r.Sources.Add(uint64(len(all)))
}
