package hss

import (
	"errors"
	"slices"
	"strings"
	"sync"

	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
	"imsafe/store"
)

// Wildcarded identities (TS 23.003 13.4A, 13.5). One stands in the index of public identities like any other, under its own octets, and
// besides in a table of its own, which is read once at the start: an identity that nobody has as his own is held against all of them.

// maxWildcards bounds what is held in memory, some 2 kB each.
const maxWildcards = 100_000

// wildcards are the wildcarded identities of all subscriptions, found by what they begin with. Safe for concurrent use.
type wildcards struct {
	mu    sync.RWMutex
	heads map[string][]*sip.Wildcard // in the order of sip.Wildcard.Compare
	sizes []int                      // lengths of the heads, longest first
	count int
}

// ReloadWildcards reads the ranges of identities anew: another node with the same store may have changed them. It waits for the store.
func (h *HSS) ReloadWildcards() error {
	var fresh wildcards
	if err := fresh.load(h.ports.Store); err != nil {
		return err
	}
	w := &h.wildcards
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heads, w.sizes, w.count = fresh.heads, fresh.sizes, fresh.count
	return nil
}

// load reads the table.
func (w *wildcards) load(s store.Store) error {
	w.heads, w.sizes, w.count = map[string][]*sip.Wildcard{}, nil, 0
	for cursor := []byte(nil); ; {
		page, next, err := s.Scan(TableWildcard, nil, cursor, 1000)
		if err != nil {
			return err
		}
		for _, rec := range page {
			if err := w.put(string(rec.Key)); err != nil {
				return err
			}
		}
		if next == nil {
			return nil
		}
		cursor = next
	}
}

// refresh looks at the table again for these names, after a change of it. What the store says by then holds, whichever of two
// changes comes here first.
func (w *wildcards) refresh(s store.Store, names []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range names {
		_, err := s.Get(TableWildcard, []byte(name))
		switch {
		case errors.Is(err, store.ErrNotFound):
			w.drop(name)
		case err != nil:
			return err
		default:
			if err := w.put(name); err != nil {
				return err
			}
		}
	}
	return nil
}

func byText(list []*sip.Wildcard, name string) int {
	return slices.IndexFunc(list, func(x *sip.Wildcard) bool { return x.String() == name })
}

// put adds a wildcard if it is not there. mu is held, or nobody else knows w.
func (w *wildcards) put(name string) error {
	x, err := sip.ParseWildcard(name)
	if err != nil {
		return err
	}
	list := w.heads[x.Head()]
	if byText(list, name) >= 0 {
		return nil
	}
	if list == nil {
		w.resize(len(x.Head()))
	}
	list = append(slices.Clone(list), x) // readers may hold the old one
	slices.SortFunc(list, (*sip.Wildcard).Compare)
	w.heads[x.Head()] = list
	w.count++
	return nil
}

// resize notes that there are heads of this length.
func (w *wildcards) resize(n int) {
	if !slices.Contains(w.sizes, n) {
		w.sizes = append(w.sizes, n)
		slices.SortFunc(w.sizes, func(a, b int) int { return b - a })
	}
}

// drop takes a wildcard out. mu is held.
func (w *wildcards) drop(name string) {
	head, _, _ := strings.Cut(name, "!")
	list := w.heads[head]
	i := byText(list, name)
	if i < 0 {
		return
	}
	w.count--
	if list = slices.Delete(slices.Clone(list), i, i+1); len(list) > 0 {
		w.heads[head] = list
		return
	}
	delete(w.heads, head)
}

// match returns the most specific wildcard that an identity in canonical form falls into; "" if there is none.
func (w *wildcards) match(impu string) cx.IMPU {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, n := range w.sizes {
		if n > len(impu) {
			continue
		}
		for _, x := range w.heads[impu[:n]] {
			if x.Match(impu) {
				return cx.IMPU(x.String())
			}
		}
	}
	return ""
}

// full reports whether there is room for no more.
func (w *wildcards) full() bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.count >= maxWildcards
}

// wildcard reports whether the identity is a range.
func (id *identity) wildcard() bool { return sip.IsWildcard(id.impu) }

// rangeOf returns the wildcard that an identity was found by, "" for a distinct one.
func rangeOf(id *identity) cx.IMPU {
	if id.wildcard() {
		return cx.IMPU(id.impu)
	}
	return ""
}

// wildcardNames are the wildcarded identities of a subscription; nil has none.
func (s *subscription) wildcardNames() map[string]bool {
	names := map[string]bool{}
	if s == nil {
		return names
	}
	s.each(func(_ int, id *identity) {
		if id.wildcard() {
			names[id.impu] = true
		}
	})
	return names
}

// changedWildcards makes the index in memory follow a change that is durable: those that were, or are now, in a subscription.
func (h *HSS) changedWildcards(was, is *subscription) error {
	var names []string
	for _, s := range []*subscription{was, is} {
		for name := range s.wildcardNames() {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return h.wildcards.refresh(h.ports.Store, names)
}

// checkWildcard says what is wrong with a wildcarded identity; besides the expression everything must be in the form in which it
// is looked up, as with a distinct one.
func checkWildcard(text string, homes []string) string {
	w, err := sip.ParseWildcard(text)
	if err != nil {
		return err.Error()
	}
	example := w.Head() + "1" + w.Tail()
	if w.Head() == "tel:+" {
		return "a wildcarded number begins with at least one digit"
	}
	if m := checkDistinct(example, homes); m != "" {
		return "outside of the exclamation marks: " + m
	}
	return ""
}
