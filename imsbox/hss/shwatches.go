package hss

import (
	"bytes"
	"slices"
	"sync"

	"imsafe/store"
)

// watches are all subscriptions to notifications in memory, by the IMS subscription whose data they are for: a registration asks at each
// change whether anybody wants to know. Safe for concurrent use.
type watches struct {
	mu      sync.RWMutex
	byOwner map[string]map[string]*watched // owner, name
	count   int
}

// watched is a subscription with a hash of what its application server was told last, so that it is not told the same twice. It is
// forgotten at a restart. Guarded by watches.mu.
type watched struct {
	*watch
	told uint64 // 0: nothing that is known of
}

// load reads the table.
func (all *watches) load(s store.Store) error {
	all.byOwner, all.count = map[string]map[string]*watched{}, 0
	for cursor := []byte(nil); ; {
		page, next, err := s.Scan(TableWatch, nil, cursor, 1000)
		if err != nil {
			return err
		}
		for _, rec := range page {
			w, err := decodeWatch(rec.Value)
			if err != nil {
				return err
			}
			all.put(w)
		}
		if next == nil {
			return nil
		}
		cursor = next
	}
}

// ReloadWatches reads the subscriptions to notifications anew: another node with the same store may have changed them. It waits for the store.
func (h *HSS) ReloadWatches() error {
	var fresh watches
	if err := fresh.load(h.ports.Store); err != nil {
		return err
	}
	all := &h.watches
	all.mu.Lock()
	defer all.mu.Unlock()
	for owner, of := range fresh.byOwner {
		for name, w := range of {
			if known := all.byOwner[owner][name]; known != nil {
				w.told = known.told
			}
		}
	}
	all.byOwner, all.count = fresh.byOwner, fresh.count
	return nil
}

// put adds or replaces.
func (all *watches) put(w *watch) {
	all.mu.Lock()
	defer all.mu.Unlock()
	of := all.byOwner[w.owner]
	if of == nil {
		of = map[string]*watched{}
		all.byOwner[w.owner] = of
	}
	name := string(w.name())
	if of[name] == nil {
		all.count++
	}
	of[name] = &watched{watch: w}
}

// drop takes out.
func (all *watches) drop(w *watch) {
	all.mu.Lock()
	defer all.mu.Unlock()
	of, name := all.byOwner[w.owner], string(w.name())
	if of[name] == nil {
		return
	}
	all.count--
	if delete(of, name); len(of) == 0 {
		delete(all.byOwner, w.owner)
	}
}

// any reports whether there is one for a subscription.
func (all *watches) any(owner string) bool {
	all.mu.RLock()
	defer all.mu.RUnlock()
	return len(all.byOwner[owner]) > 0
}

// of returns those for a subscription that a filter takes; nil for most subscriptions, at the price of a look.
func (all *watches) of(owner string, wanted func(*watch) bool) (list []*watch) {
	all.mu.RLock()
	defer all.mu.RUnlock()
	for _, w := range all.byOwner[owner] {
		if wanted(w.watch) {
			list = append(list, w.watch)
		}
	}
	return inOrder(list)
}

// everyone returns all that a filter takes.
func (all *watches) everyone(wanted func(*watch) bool) (list []*watch) {
	all.mu.RLock()
	defer all.mu.RUnlock()
	for _, of := range all.byOwner {
		for _, w := range of {
			if wanted(w.watch) {
				list = append(list, w.watch)
			}
		}
	}
	return inOrder(list)
}

// inOrder sorts by name: the same change gives the same commit.
func inOrder(list []*watch) []*watch {
	slices.SortFunc(list, func(a, b *watch) int { return bytes.Compare(a.name(), b.name()) })
	return list
}

// size returns how many there are.
func (all *watches) size() int {
	all.mu.RLock()
	defer all.mu.RUnlock()
	return all.count
}

// news reports whether an application server was not told this last.
func (all *watches) news(w *watch, sum uint64) bool {
	all.mu.RLock()
	defer all.mu.RUnlock()
	known := all.byOwner[w.owner][string(w.name())]
	return known == nil || known.told != sum
}

// heard notes what an application server was told.
func (all *watches) heard(w *watch, sum uint64) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if known := all.byOwner[w.owner][string(w.name())]; known != nil {
		known.told = sum
	}
}
