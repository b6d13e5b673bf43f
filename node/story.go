package node

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"imsafe/iface/clientims"
	"imsafe/iface/management"
	"imsafe/proto/shard"
	"imsafe/secure"
	"imsafe/trace"
)

// stories keep how the last registrations of each client went, for `imsafe explain registration`: so many attempts of so many identities,
// the oldest go first. Whoever sends a REGISTER may write into it, so it is small and lives in memory only. Safe for concurrent use.
type stories struct {
	clock shard.Clock
	next  *trace.Refusals // hears every refusal too
	door  func() *clientims.Door
	log   *slog.Logger // at the level of debugging it is told each step

	pace pace

	mu    sync.Mutex
	of    map[string]*story // by private identity
	order []string          // of their first attempts, a ring once it is full
	turn  int               // in order: who goes next

	offers, translated uint64 // attempts with a security agreement, and those of them that came through a NAT
}

// story is what is kept of one private identity.
type story struct {
	impus    []string
	attempts []Attempt
}

// The bounds: with them it takes some megabytes at most.
const (
	maxStories  = 4096
	maxAttempts = 4
	maxEvents   = 12
	maxNamed    = 8
)

// Attempt is one registration procedure, from its first REGISTER on.
type Attempt struct {
	At     time.Time   `json:"at"`
	Source netip.Addr  `json:"source"`
	Access string      `json:"access"`
	Events []Happening `json:"events"`
}

// Happening is one thing that happened in it, in plain words.
type Happening struct {
	At   time.Time `json:"at"`
	What string    `json:"what"`
	// Code is what it is called in events and metrics.
	Code string `json:"code,omitempty"`
	// Do says what to change, if anything.
	Do string `json:"do,omitempty"`
}

var (
	_ clientims.Story = (*stories)(nil)
	_ secure.Sink     = (*stories)(nil)
)

func newStories(clock shard.Clock, next *trace.Refusals, door func() *clientims.Door) *stories {
	return &stories{clock: clock, next: next, door: door, of: map[string]*story{}}
}

// pace lets so many lines a second into the log: whoever sends a REGISTER has one written where the operator has asked for them.
type pace struct {
	second atomic.Int64 // of the clock
	lines  atomic.Int64
}

const maxLines = 200

func (p *pace) lets(now time.Duration) bool {
	second := int64(now / time.Second)
	if p.second.Swap(second) != second {
		p.lines.Store(0)
	}
	return p.lines.Add(1) <= maxLines
}

// debug writes a line about a step where somebody wants that. Who it is about is a pseudonym there; explain knows his name.
func (s *stories) debug(c *clientims.Chapter) {
	if s.log == nil || !s.log.Enabled(context.Background(), slog.LevelDebug) || !s.pace.lets(s.clock.Now()) {
		return
	}
	h := happening(c)
	s.log.Debug("registration", "state", c.Step.String(), "impu", c.IMPU, "call_id", c.CallID, "domain", c.Realm, "profile", c.Access, "peer", c.Source, "code", h.Code, "status", c.Status)
}

// Tell implements clientims.Story.
func (s *stories) Tell(c clientims.Chapter) {
	s.debug(&c)
	s.mu.Lock()
	defer s.mu.Unlock()
	key := c.IMPI
	if key == "" {
		key = c.IMPU
	}
	if key == "" {
		return
	}
	of := s.storyOf(key)
	if c.IMPU != "" && !slices.Contains(of.impus, c.IMPU) && len(of.impus) < maxNamed {
		of.impus = append(of.impus, c.IMPU)
	}
	now := s.clock.Wall()
	begins := c.Step == clientims.StepRegister && !c.Answers && !c.Resync
	if begins || len(of.attempts) == 0 {
		of.begin(Attempt{At: now, Source: c.Source, Access: c.Access})
		if c.Offered != nil {
			s.offers++
		}
		if c.Offered != nil && c.BehindNAT {
			s.translated++
		}
	}
	h := happening(&c)
	h.At = now
	of.add(h)
}

// begin puts an attempt behind the others; the oldest, or one of a story that was forgotten, gives it its room.
func (of *story) begin(a Attempt) {
	n := len(of.attempts)
	if n == maxAttempts {
		n--
		first := of.attempts[0].Events[:0]
		copy(of.attempts, of.attempts[1:])
		of.attempts[n].Events = first
	}
	of.attempts = slices.Grow(of.attempts[:n], 1)[:n+1]
	a.Events = of.attempts[n].Events[:0]
	of.attempts[n] = a
}

func (of *story) add(h Happening) {
	a := &of.attempts[len(of.attempts)-1]
	if len(a.Events) < maxEvents {
		a.Events = append(a.Events, h)
	}
}

// storyOf returns the story of key. If there is none it begins one, in the room of the oldest if there are too many.
func (s *stories) storyOf(key string) *story {
	of := s.of[key]
	switch {
	case of != nil:
		return of
	case len(s.order) < maxStories:
		of = &story{}
		s.order = append(s.order, key)
	default:
		oldest := &s.order[s.turn]
		s.turn = (s.turn + 1) % maxStories
		of = s.of[*oldest]
		delete(s.of, *oldest)
		of.impus, of.attempts = of.impus[:0], of.attempts[:0]
		*oldest = key
	}
	s.of[key] = of
	return of
}

// Refused implements secure.Sink: what a function refused of a registration belongs to its story.
func (s *stories) Refused(e secure.Event) {
	s.next.Refused(e)
	if e.Subject == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if of := s.of[e.Subject]; of != nil && len(of.attempts) > 0 {
		h := refusal(e)
		h.At = s.clock.Wall()
		of.add(h)
	}
}

// throughNAT returns how many attempts offered a security agreement, and how many of them came through a NAT.
func (s *stories) throughNAT() (translated, offers uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.translated, s.offers
}

// Registration is the answer of the verb registration.explain.
type Registration struct {
	IMPI     string    `json:"impi"`
	IMPUs    []string  `json:"impus,omitempty"`
	Attempts []Attempt `json:"attempts"`
}

// explain returns what is kept of an identity, private or public, and what is the case now.
func (s *stories) explain(_ context.Context, in UserName) (Registration, error) {
	r, known := s.find(in.Name)
	if !known {
		return r, &management.Error{Code: "registration.unknown", Message: "nobody has tried to register as " + in.Name + " since this node started, or it is too long ago",
			Hint: "no REGISTER has arrived: look at the address of the P-CSCF that the telephone was given (PCO, DNS), its APN, and the route to this node"}
	}
	if door := s.door(); door != nil {
		for _, c := range door.Waiting(r.IMPI) {
			h := happening(&c)
			h.At, h.What = s.clock.Wall(), "by now: "+h.What
			last := &r.Attempts[len(r.Attempts)-1]
			last.Events = append(last.Events, h)
		}
	}
	last := &r.Attempts[len(r.Attempts)-1]
	if h, silent := unanswered(last, s.clock.Wall()); silent {
		last.Events = append(last.Events, h)
	}
	return r, nil
}

// find returns a copy of what is kept of an identity.
func (s *stories) find(name string) (Registration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, of := range s.of {
		if key == name || slices.Contains(of.impus, name) || slices.Contains(of.impus, "sip:"+name) {
			r := Registration{IMPI: key, IMPUs: slices.Clone(of.impus)}
			for _, a := range of.attempts {
				a.Events = slices.Clone(a.Events)
				r.Attempts = append(r.Attempts, a)
			}
			return r, true
		}
	}
	return Registration{}, false
}
