package filter

import (
	"sync"
	"sync/atomic"
	"time"

	"imsafe/refpoint/cx"
)

// maxKept bounds the filters of a Library. Each is some kilobytes, and there are about as many as service profiles.
const maxKept = 16384

// Library keeps the filters that are in use: each different one once, however many users have it, and former ones for as long as a
// request that began with them may come back. Safe for concurrent use.
type Library struct {
	keep time.Duration
	most int

	mu     sync.RWMutex
	shared SharedSets
	kept   map[Version]*kept
}

type kept struct {
	filter *Filter
	seen   atomic.Int64 // when it was last asked for
}

// NewLibrary returns an empty library. keep is how long a filter stays that nobody asks for: longer than a registration lasts and than a
// request may stay with application servers. The shared sets must not change; SetShared replaces them.
func NewLibrary(shared SharedSets, keep time.Duration) *Library {
	return &Library{keep: keep, most: maxKept, shared: shared, kept: map[Version]*kept{}}
}

// SetShared replaces the shared sets. Filters made of the former ones stay as they are: profiles are to be compiled anew.
func (l *Library) SetShared(shared SharedSets) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shared = shared
}

// Compile returns the filter of a profile, nil if it has no criteria. now is monotonic. It returns Problems.
func (l *Library) Compile(now time.Duration, p *cx.ServiceProfile) (*Filter, error) {
	l.mu.RLock()
	shared := l.shared
	l.mu.RUnlock()
	list, problems := collect(p, shared)
	if problems == nil {
		if f, found := l.Find(now, versionOf(list)); found {
			return f, nil
		}
	}
	f, err := compile(list, problems)
	if f == nil || err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if k, found := l.kept[f.version]; found { // somebody else was faster
		return k.filter, nil
	}
	l.sweep(now)
	k := &kept{filter: f}
	k.seen.Store(int64(now))
	l.kept[f.version] = k
	return f, nil
}

// Find returns the filter of a version, to go on with what began with it. It is false if the library has it no more.
func (l *Library) Find(now time.Duration, v Version) (*Filter, bool) {
	if v == (Version{}) {
		return nil, true
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	k, found := l.kept[v]
	if !found {
		return nil, false
	}
	k.seen.Store(int64(now))
	return k.filter, true
}

// Len is the number of filters.
func (l *Library) Len() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.kept)
}

// sweep removes what nobody has asked for, and the oldest if there is no room. It runs when a new filter comes, which is seldom.
func (l *Library) sweep(now time.Duration) {
	var oldest Version
	at := int64(now) + 1
	for v, k := range l.kept {
		seen := k.seen.Load()
		if int64(now)-seen > int64(l.keep) {
			delete(l.kept, v)
		} else if seen < at {
			oldest, at = v, seen
		}
	}
	if len(l.kept) >= l.most {
		delete(l.kept, oldest)
	}
}
