package passport

import (
	"crypto/sha256"
	"sync"
	"time"
)

// maxOnce bounds what Once remembers: more tokens in two windows than any client gets. Beyond it nothing is believed until some have ended.
const maxOnce = 4096

// Once remembers the tokens of the last minutes and where they were used: a token binds neither method nor dialog, so whoever saw one could
// use it again in another call (RFC 8224 12.1). The zero value is ready. Safe for concurrent use.
type Once struct {
	mu   sync.Mutex
	seen map[[sha256.Size]byte]use
}

type use struct {
	call  string
	until time.Time
}

// First says whether p may be used for a call: it never was, or for the same call, as the copies of a forked request are. Call it after
// Verify alone: a forged token must take no room.
func (o *Once) First(p *PASSporT, call string, now time.Time) bool {
	key := sha256.Sum256([]byte(p.token))
	if p.Grants != nil {
		key = sha256.Sum256([]byte(p.Grants.Service + "\x00" + p.Grants.ID))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if u, known := o.seen[key]; known {
		return u.call == call
	}
	if len(o.seen) >= maxOnce {
		for k, u := range o.seen {
			if now.After(u.until) {
				delete(o.seen, k)
			}
		}
	}
	if len(o.seen) >= maxOnce {
		return false
	}
	if o.seen == nil {
		o.seen = map[[sha256.Size]byte]use{}
	}
	o.seen[key] = use{call: call, until: p.IssuedAt.Add(2 * Window)}
	return true
}
