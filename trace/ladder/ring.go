package ladder

import (
	"slices"
	"sync"
)

// The bounds of a Ring. An arrow takes about a kilobyte, so that a full ring of 64 stories takes some 6 MB.
const (
	maxArrows = 96
	maxWho    = 6
	maxLines  = 24
	maxLine   = 160
	maxChecks = 8
)

// Ring keeps the last stories; the oldest goes first. Safe for concurrent use.
type Ring struct {
	mu      sync.Mutex
	size    int
	last    uint64
	stories []*Story // oldest first
	changed chan struct{}
}

// NewRing makes a Ring of so many stories.
func NewRing(stories int) *Ring { return &Ring{size: stories, changed: make(chan struct{})} }

// Mark names an arrow of a story, for whoever has more to tell of it. The zero value names none.
type Mark struct {
	Story uint64
	Arrow int
}

// Add puts an arrow into the story of a Call-ID, which it begins if there is none, and says where it stands. who are identities that take part.
func (r *Ring) Add(call string, a Arrow, who ...string) Mark {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.byCall(call)
	if s == nil {
		r.last++
		s = &Story{ID: r.last, Call: cut(call), What: a.What}
		if len(r.stories) == r.size {
			r.stories = slices.Delete(r.stories, 0, 1)
		}
		r.stories = append(r.stories, s)
	}
	s.name(who)
	return r.put(s, a)
}

// Go goes on in a story that is known by its number; the zero Mark if it has gone.
func (r *Ring) Go(story uint64, a Arrow) Mark {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.byID(story)
	if s == nil {
		return Mark{}
	}
	return r.put(s, a)
}

func (r *Ring) put(s *Story, a Arrow) Mark {
	r.tell()
	if len(s.Arrows) == maxArrows {
		s.More++
		return Mark{Story: s.ID, Arrow: -1}
	}
	a.Lines = a.Lines[:min(len(a.Lines), maxLines)]
	for i := range a.Lines {
		a.Lines[i] = cut(a.Lines[i])
	}
	s.Arrows = append(s.Arrows, a)
	return Mark{Story: s.ID, Arrow: len(s.Arrows) - 1}
}

// Answer adds the answer to an arrow: it goes the other way, under the same protection.
func (r *Ring) Answer(to Mark, a Arrow) Mark {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.byID(to.Story)
	if s == nil {
		return Mark{}
	}
	if to.Arrow >= 0 && to.Arrow < len(s.Arrows) {
		request := &s.Arrows[to.Arrow]
		a.From, a.To, a.Cover = request.To, request.From, request.Cover
		return r.put(s, a)
	}
	s.More++
	return Mark{Story: s.ID, Arrow: -1}
}

// Turn puts an end of an arrow that stands at one party to another one.
func (r *Ring) Turn(at Mark, from, to Party) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.at(at)
	switch {
	case a == nil:
	case a.From == from:
		a.From = to
	case a.To == from:
		a.To = to
	}
}

// at returns an arrow, nil if it has gone.
func (r *Ring) at(m Mark) *Arrow {
	s := r.byID(m.Story)
	if s == nil || m.Arrow < 0 || m.Arrow >= len(s.Arrows) {
		return nil
	}
	return &s.Arrows[m.Arrow]
}

// From returns who sent an arrow; Node if it has gone.
func (r *Ring) From(m Mark) Party {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.at(m); a != nil {
		return a.From
	}
	return Node
}

// Check notes at an arrow what a control did.
func (r *Ring) Check(at Mark, c Check) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.at(at)
	if a != nil && len(a.Checks) < maxChecks && !slices.Contains(a.Checks, c) {
		a.Checks = append(a.Checks, c)
		r.tell()
	}
}

// List returns the heads of all stories, the newest first.
func (r *Ring) List() []Head {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Head, 0, len(r.stories))
	for _, s := range slices.Backward(r.stories) {
		h := s.Head()
		h.Who = slices.Clone(h.Who)
		all = append(all, h)
	}
	return all
}

// Get returns a copy of a story; false if it has gone.
func (r *Ring) Get(id uint64) (Story, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.byID(id)
	if s == nil {
		return Story{}, false
	}
	return s.clone(), true
}

// Find returns copies of the stories that a name belongs to: a Call-ID, or an identity with or without its scheme. The newest comes first.
func (r *Ring) Find(name string) (all []Story) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range slices.Backward(r.stories) {
		if s.Call == name || slices.Contains(s.Who, name) || slices.Contains(s.Who, "sip:"+name) || slices.Contains(s.Who, "tel:"+name) {
			all = append(all, s.clone())
		}
	}
	return all
}

// All returns copies of all stories, the oldest first.
func (r *Ring) All() (all []Story) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.stories {
		all = append(all, s.clone())
	}
	return all
}

// Take returns all stories, the oldest first, and forgets them.
func (r *Ring) Take() (all []Story) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.stories {
		all = append(all, s.clone())
	}
	r.stories = nil
	return all
}

// Changed returns a channel that is closed when something is added next.
func (r *Ring) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

func (r *Ring) tell() {
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *Ring) byCall(call string) *Story {
	call = cut(call)
	for _, s := range slices.Backward(r.stories) {
		if s.Call == call {
			return s
		}
	}
	return nil
}

func (r *Ring) byID(id uint64) *Story {
	if n := len(r.stories); n > 0 && id <= r.last {
		if back := r.last - id; back < uint64(n) { // numbers follow each other
			return r.stories[n-1-int(back)]
		}
	}
	return nil
}

// name adds identities.
func (s *Story) name(who []string) {
	for _, w := range who {
		if w != "" && len(s.Who) < maxWho && !slices.Contains(s.Who, w) {
			s.Who = append(s.Who, cut(w))
		}
	}
}

func (s *Story) clone() Story {
	c := *s
	c.Who, c.Arrows = slices.Clone(s.Who), slices.Clone(s.Arrows)
	for i := range c.Arrows {
		c.Arrows[i].Checks = slices.Clone(c.Arrows[i].Checks)
	}
	return c
}

// cut bounds what a stranger may have written.
func cut(text string) string {
	if len(text) > maxLine {
		return text[:maxLine-3] + "..."
	}
	return text
}
