package dialog

import (
	"slices"
	"sync"
	"sync/atomic"

	"imsafe/hop"
	"imsafe/proto/shard"
)

// Early are the INVITEs of one function that have no final response yet, by whose they are, so that they end with him (TS 24.229 5.2.8.1.1,
// 5.4.5.1.1; docs/decisions/052). The zero value is empty. Safe for concurrent use.
type Early[Owner comparable] struct {
	releases atomic.Uint64
	mu       sync.Mutex
	of       map[Owner]*Invite
}

// Invite is one INVITE on its way. It belongs to the shard that it walks on.
type Invite struct {
	exchange *hop.Exchange
	shard    *shard.Shard
	part     uint32 // of what is its owner's
	end      func(*hop.Exchange)
	ended    bool
	next     *Invite // of the same owner
}

// Releases is how often somebody's were released. If that is after Begin what it was before its owner was found, he was there when the INVITE was taken down.
func (e *Early[Owner]) Releases() uint64 { return e.releases.Load() }

// Begin takes an INVITE down, in that part of what is its owner's; end is what ends it, on its shard. Whoever may have gone while it was on its way is to
// be looked for once more afterwards. Done takes it off.
func (e *Early[Owner]) Begin(owner Owner, part uint32, x *hop.Exchange, end func(*hop.Exchange)) *Invite {
	i := &Invite{exchange: x, shard: x.Task().Shard(), part: part, end: end}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.of == nil {
		e.of = map[Owner]*Invite{}
	}
	i.next = e.of[owner]
	e.of[owner] = i
	return i
}

// Done takes an INVITE off, when there is a final response; nil is none.
func (e *Early[Owner]) Done(owner Owner, i *Invite) {
	if i == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	head := e.of[owner]
	for at := &head; *at != nil; at = &(*at).next {
		if *at == i {
			*at = i.next
			break
		}
	}
	if e.of[owner] = head; head == nil {
		delete(e.of, owner)
	}
}

// Release ends the INVITEs of an owner who is gone, in the parts for which parts says so, each on its own shard. A shard without room loses it: a timer ends
// the call then.
func (e *Early[Owner]) Release(owner Owner, parts func(part uint32) bool) {
	e.releases.Add(1)
	var shards []*shard.Shard
	for _, i := range e.in(owner, parts) {
		if !slices.Contains(shards, i.shard) {
			shards = append(shards, i.shard)
		}
	}
	for _, sh := range shards {
		sh.Post(shard.EventFunc(func(sh *shard.Shard) {
			for _, i := range e.in(owner, parts) { // those that are still there
				if i.shard == sh {
					i.End()
				}
			}
		}))
	}
}

func (e *Early[Owner]) in(owner Owner, parts func(part uint32) bool) (list []*Invite) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := e.of[owner]; i != nil; i = i.next {
		if parts(i.part) {
			list = append(list, i)
		}
	}
	return list
}

// End ends the INVITE, once. On its shard.
func (i *Invite) End() {
	if !i.ended {
		i.ended = true
		i.end(i.exchange)
	}
}

// Ended reports whether the INVITE was ended here; nil was not. On its shard.
func (i *Invite) Ended() bool { return i != nil && i.ended }
