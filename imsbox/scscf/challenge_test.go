package scscf

import (
	"fmt"
	"testing"
	"time"

	"imsafe/secure"
)

// TestChallenges: a new challenge kills the older one of the same path and of no other (TS 33.203 6.1.2.3); few wait in one name, and an
// answer finds its own, once.
func TestChallenges(t *testing.T) {
	cs := newChallenges(time.Minute)
	put := func(path, nonce string, now time.Duration) {
		cs.put("alice", &pendingChallenge{nonce: []byte(nonce), of: tie{path: path}}, now)
	}
	take := func(nonce string, now time.Duration) bool {
		_, found := cs.take("alice", []byte(nonce), now)
		return found
	}
	put("hers", "1", 0)
	put("hers", "2", 0)
	for i := range maxPending - 1 {
		put(fmt.Sprintf("a stranger's %d", i), fmt.Sprintf("s%d", i), time.Second)
	}
	if take("1", time.Second) || !take("2", time.Second) || take("2", time.Second) {
		t.Error("the older of one path lives, or the newer was killed by others', or is taken twice")
	}
	put("one more", "x", time.Second)
	put("and one", "y", time.Second)
	if take("s0", time.Second) || !take("s1", time.Second) {
		t.Error("the oldest does not make room")
	}
	if take("y", time.Minute+2*time.Second) {
		t.Error("a challenge outlives its time")
	}
	cs.put("bob", &pendingChallenge{nonce: []byte("b"), of: tie{association: secure.Association{Node: 1}}}, 3*time.Minute)
	if len(cs.pending) != 1 || len(cs.queue) != 1 {
		t.Errorf("%d names and %d entries are kept, want 1", len(cs.pending), len(cs.queue))
	}
}
