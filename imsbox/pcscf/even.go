package pcscf

import (
	"sync"
	"time"

	"imsafe/proto/shard"
)

// even waits until the answer to a stranger's REGISTER may leave; begun is when that was taken up. The delay must not tell whether there is such a user (attack CI-26): names
// that somebody has lie in memory, those of nobody are looked for on the disk, and an HSS elsewhere makes vectors for the former alone. So the answer leaves at a time that is
// counted from when the request came and not from when it was ready: after one quantum, or where that was not enough after several. A client inside its proven path does
// not wait (docs/decisions/053-even-answers.md).
func (p *PCSCF) even(t *shard.Task, begun time.Duration) {
	if p.cfg.Even <= 0 {
		return
	}
	now := t.Now()
	took := now - begun
	quantum := p.quantum.of(took, now)
	t.AwaitFor(quantum-took%quantum, func(shard.Waker) {})
}

// quantum is in multiples of what time strangers are answered: the least one that answers fit into, doubled as long as they need it. It is one for all names: what a
// single one needs is what everybody waits for from then on, until for a window none has needed it. Who asks for names that take little lowers nothing.
// Safe for concurrent use.
type quantum struct {
	least, most time.Duration

	mu     sync.Mutex
	ends   time.Duration    // of this window
	needed [2]time.Duration // in this window, and in the one before
}

// quantumWindow is how long a quantum is kept at least that an answer has needed, and half of how long at most.
const quantumWindow = 30 * time.Minute

// of notes how long an answer took to make, and returns the quantum at whose next multiple it may leave.
func (q *quantum) of(took, now time.Duration) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now >= q.ends {
		before := q.needed[0]
		if now >= q.ends+quantumWindow {
			before = 0
		}
		q.needed, q.ends = [2]time.Duration{0, before}, now+quantumWindow
	}
	q.needed[0] = max(q.needed[0], q.fits(took))
	return max(q.needed[0], q.needed[1])
}

// fits is the quantum of which an answer takes three quarters at most, so that the next one, which takes a little longer, still fits. What takes longer than the largest
// is no habit of the HSS but a failure, and changes nothing.
func (q *quantum) fits(took time.Duration) time.Duration {
	n := q.least
	if took > q.most {
		return n
	}
	for took > n/4*3 && 2*n <= q.most {
		n *= 2
	}
	return n
}
