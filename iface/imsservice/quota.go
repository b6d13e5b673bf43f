package imsservice

import (
	"sync"
	"time"

	"imsafe/proto/overload"
	"imsafe/refpoint/isc"
)

// The bounds where a manifest names none, and how the breaker works.
const (
	breakAfter  = 5                // failures in a row that open the breaker
	firstPause  = 2 * time.Second  // how long it stays open at first; each probe that fails doubles it
	longestRest = 60 * time.Second // a platform that is rested this long is in quarantine
	withinEach  = 10               // requests inside dialogs for each initial one: acknowledged, updated, ended
)

// quotas are what platforms have used of their budgets (limits of the manifest). Safe for concurrent use.
type quotas struct {
	mu sync.Mutex
	of map[string]*quota
}

// quota is the account of one platform.
type quota struct {
	tokens  float64       // initial requests that may go at once
	filled  time.Duration // when tokens was right
	within  float64       // requests inside dialogs that may go at once
	passed  time.Duration // when within was right
	open    int           // initial requests that wait for their final answer
	failed  int           // in a row
	rest    time.Duration // of the breaker
	closed  time.Duration // until then nothing is sent
	probing bool          // one request finds out whether the platform is back
	feedback
}

func newQuotas() *quotas { return &quotas{of: map[string]*quota{}} }

// enter takes one initial request out of the budget of s; a reason if there is none left. dialogs is how many it is part of already; asked says that
// it is the core that asks, which leaves a platform in peace that does not answer.
func (q *quotas) enter(s *isc.Service, dialogs int, asked bool, now time.Duration) (reason string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	limits, a := s.Manifest.Limits, q.account(s, now)
	rate := a.rate(&limits, now)
	a.tokens = min(a.tokens+(now-a.filled).Seconds()*rate, float64(limits.CPS))
	a.filled = now
	if !asked {
		defer func() { a.note(reason != "", now) }()
	}
	open := asked && a.failed >= breakAfter // the breaker
	switch {
	case open && (now < a.closed || a.probing):
		return "rests"
	case a.tokens < 1:
		return "cps"
	case a.open+dialogs >= limits.Sessions:
		return "sessions"
	case asked && a.holdsBack(now):
		return "feedback"
	}
	a.tokens--
	a.open++
	a.probing = a.probing || open // its time is over: one request may try
	return ""
}

// account is that of a platform, a new one with all that it may.
func (q *quotas) account(s *isc.Service, now time.Duration) *quota {
	host := s.Manifest.Host()
	a := q.of[host]
	if a == nil {
		a = &quota{tokens: float64(s.Manifest.Limits.CPS), filled: now, within: mostWithin(s), passed: now}
		q.of[host] = a
	}
	return a
}

// inside takes one request of the platform's inside a dialog out of its budget; a reason if there is none left.
func (q *quotas) inside(s *isc.Service, now time.Duration) (reason string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.account(s, now)
	a.within = min(a.within+(now-a.passed).Seconds()*withinEach*float64(s.Manifest.Limits.CPS), mostWithin(s))
	a.passed = now
	if a.within < 1 {
		return "within"
	}
	a.within--
	return ""
}

// mostWithin is how many requests inside dialogs a platform may send at once: all of its sessions may end in one moment.
func mostWithin(s *isc.Service) float64 {
	return withinEach * float64(s.Manifest.Limits.CPS+s.Manifest.Limits.Sessions)
}

// report is what a platform is told of its budget.
func (q *quotas) report(s *isc.Service, algorithm overload.Algorithm, now time.Duration) overload.Report {
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.of[s.Manifest.Host()]
	if a == nil {
		return overload.Report{Algorithm: algorithm}
	}
	return a.report(&s.Manifest.Limits, algorithm, now)
}

// heard takes down what a platform says that it can take. An older word than the last is none (RFC 7339 4.4).
func (q *quotas) heard(host string, r overload.Report, now time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if a := q.of[host]; a != nil && (r.Seq == 0 || r.Seq >= a.said.Seq) {
		a.said, a.until = r, now+r.Validity
	}
}

// leave gives back what enter took, but for the rate.
func (q *quotas) leave(host string, asked bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.of[host]
	if a == nil {
		return
	}
	a.open = max(a.open-1, 0)
	a.probing = a.probing && !asked
}

// outcome notes how a request to the platform went: answered is false if nothing came back in time.
func (q *quotas) outcome(host string, answered bool, now time.Duration) (opened bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.of[host]
	if a == nil {
		return false
	}
	a.probing = false
	if answered {
		a.failed, a.rest = 0, 0
		return false
	}
	a.failed++
	if a.failed < breakAfter {
		return false
	}
	a.rest = min(max(a.rest*2, firstPause), longestRest)
	a.closed = now + a.rest
	return true
}
