package overload

import (
	"math"
	"sync/atomic"
	"time"
)

// Class is how important a piece of work is. Those that come first are served longest.
type Class uint8

// The classes.
const (
	Standing   Class = iota // what belongs to a dialog or a call for help: never turned away here
	Again                   // registrations anew, and answers to challenges: what was spent on them would be lost
	First                   // first registrations
	Fresh                   // new calls, messages, subscriptions
	Greedy                  // the same, of who sends more of them than his share
	classes    = 5
	sheddables = Again
)

// String returns the word for a reason code.
func (c Class) String() string {
	return [classes]string{"standing", "re-registration", "first-registration", "new-request", "over-share"}[c]
}

// Config is what a Controller aims at. A zero field takes the default named there.
type Config struct {
	Target   time.Duration // wait that is aimed at while there is too much to do; default 15 ms
	Enter    time.Duration // wait that never once fell below this for four intervals is an overload; default 40 ms
	Interval time.Duration // between two looks; default 50 ms
	Calm     time.Duration // without anything to turn away, until the overload is over; default 1 s
	// Places says which share of the places for work is taken, 0 to 1; nil if there are enough of them always. Any goroutine.
	Places func() float64
	// Full is the share from which on the rest is kept for what is more important; default 0.75.
	Full float64
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.Target, 15 * time.Millisecond}, {&c.Enter, 40 * time.Millisecond}, {&c.Interval, 50 * time.Millisecond}, {&c.Calm, time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if c.Full <= 0 || c.Full >= 1 {
		c.Full = 0.75
	}
	return c
}

// How the controller moves.
const (
	entering = 4     // intervals above Enter
	pull     = 6.0   // a second: how fast a wait goes back to what is wanted
	rising   = 1.09  // what is let in grows by this each interval while there is hardly a queue: tenfold in 1.4 s
	least    = 0.01  // of what comes is let in, whatever happens
	quarter  = 0.25  // of the most that was done lately is let in, however long things wait: what is in the way then are refusals
	fading   = 0.999 // what that was, from one interval to the next
	hardly   = 0.02  // of all that comes: a class that is less is not worth turning away
	memory   = 0.9   // of the mix of classes from one interval to the next
)

// Controller says what a shard turns away. It measures by the shortest wait of an interval: a burst leaves a moment without a queue behind it,
// too much work does not. While there is too much it knows from how fast the wait grows how much is too much, and aims at a short queue. So
// it needs no estimate of what the machine can do.
type Controller struct {
	cfg Config

	ends  time.Duration // of the interval
	low   time.Duration // shortest wait in it
	seen  bool          // low is one that was measured
	was   time.Duration // low of the interval before
	above int           // intervals in a row above Enter

	active bool
	keep   float64 // share of the work that is let in
	calm   time.Duration
	count  [classes]uint32  // that came in this interval
	let    uint32           // and were let in
	began  time.Duration    // when the interval began
	pace   float64          // how many a second, over the last intervals
	most   float64          // that this was lately
	mix    [classes]float64 // the same of the last ones
	shed   [classes]float64 // share to be turned away of each
	owed   [classes]float64 // the part of a piece of work that is left over
	turned time.Duration    // when it last made up its mind

	queues []*Queue

	due atomic.Int64 // when the probe was due that has not been seen yet; 0: none

	loss atomic.Uint32 // of all work, in percent
	on   atomic.Bool   // active, for those outside
}

// New makes a Controller.
func New(c Config) *Controller { return &Controller{cfg: c.withDefaults(), keep: 1} }

// Expect notes that a probe was due: a piece of work that does nothing, behind all that waits. Observe ends it. Until then its age says at
// least how long work waits. One probe at a time; any goroutine.
func (c *Controller) Expect(due time.Duration) { c.due.Store(max(int64(due), 1)) }

// Expecting reports whether a probe is on its way. Any goroutine.
func (c *Controller) Expecting() bool { return c.due.Load() != 0 }

// Observe notes how long a piece of work has waited until now.
func (c *Controller) Observe(wait time.Duration, now time.Duration) {
	c.due.Store(0)
	if wait = max(wait, 0); !c.seen || wait < c.low {
		c.low, c.seen = wait, true
	}
	c.look(now)
}

// Queue is a place where work waits before the shard, and where no probe comes: a socket. What waits there longest is what counts.
type Queue struct {
	c    *Controller
	low  time.Duration // shortest wait in the interval
	seen bool
}

// Queue adds a queue. Before there is work.
func (c *Controller) Queue() *Queue {
	q := &Queue{c: c}
	c.queues = append(c.queues, q)
	return q
}

// Waited notes how long a piece of work had waited in it when it came to the shard. On the shard.
func (q *Queue) Waited(wait time.Duration, now time.Duration) {
	if wait = max(wait, 0); !q.seen || wait < q.low {
		q.low, q.seen = wait, true
	}
	q.c.look(now)
}

// longest is the longest of the waits of an interval: that of the probe, or of work in one of the queues. It forgets those.
func (c *Controller) longest(wait time.Duration) time.Duration {
	for _, q := range c.queues {
		if q.seen {
			wait = max(wait, q.low)
		}
		q.low, q.seen = 0, false
	}
	return wait
}

// Came notes a piece of work that is not to be turned away, whoever sent it holds himself back.
func (c *Controller) Came(k Class, now time.Duration) {
	c.look(now)
	c.count[k]++
	c.let++
}

// Sheds reports whether a piece of work that has come must be turned away.
func (c *Controller) Sheds(k Class, now time.Duration) bool {
	c.Came(k, now)
	if !c.refuses(k) {
		return false
	}
	c.let--
	return true
}

func (c *Controller) refuses(k Class) bool {
	if k >= sheddables && c.taken() >= c.reserve(k) {
		return true
	}
	if !c.active || k < sheddables || c.shed[k] == 0 {
		return false
	}
	if c.owed[k] += c.shed[k]; c.owed[k] < 1 {
		return false
	}
	c.owed[k]--
	return true
}

// taken is which share of the places is taken.
func (c *Controller) taken() float64 {
	if c.cfg.Places == nil {
		return 0
	}
	return c.cfg.Places()
}

// reserve is the share of places from which on a class gets none: the last ones are kept for the more important. What waits for somebody else,
// as a call that rings, takes a place for long and no time.
func (c *Controller) reserve(k Class) float64 {
	return c.cfg.Full + (1-c.cfg.Full)*float64(Greedy-k)/classes
}

// Active reports whether there is an overload. Any goroutine.
func (c *Controller) Active() bool { return c.on.Load() || c.taken() >= c.cfg.Full }

// Loss is which part of the work is to be turned away, in percent: the value of oc for the algorithm loss (RFC 7339 7.1). Any goroutine.
func (c *Controller) Loss() int {
	full := max(0, c.taken()-c.cfg.Full) / (1 - c.cfg.Full)
	return max(int(c.loss.Load()), int(100*full))
}

// LossOf is the same of what is as important as k or more. Of places it speaks of those that k gets none of any more: what is less important is turned
// away by then. Any goroutine.
func (c *Controller) LossOf(k Class) int {
	from := c.reserve(k)
	full := max(0, c.taken()-from) / (1 - from)
	return max(int(c.loss.Load()), int(100*full))
}

// Turned is when what Loss says was last decided, on the clock of now: what an oc-seq is made from.
func (c *Controller) Turned() time.Duration { return c.turned }

// look closes the interval if it is over.
func (c *Controller) look(now time.Duration) {
	if now < c.ends {
		return
	}
	wait := c.low
	if due := time.Duration(c.due.Load()); due > 0 && !c.seen {
		wait = max(0, now-due) // it has not even been seen yet
	}
	wait = c.longest(wait)
	c.low, c.seen, c.ends = 0, false, now+c.cfg.Interval
	for k, n := range c.count {
		c.mix[k] = memory*c.mix[k] + (1-memory)*float64(n)
		c.count[k] = 0
	}
	if passed := (now - c.began).Seconds(); passed > 0 {
		c.pace = memory*c.pace + (1-memory)*float64(c.let)/passed
		c.most = max(fading*c.most, c.pace)
	}
	c.let, c.began = 0, now
	c.decide(wait, now)
	c.was = wait
	c.share()
	c.tell(now)
}

// decide enters and leaves overload, and sets what is let in.
func (c *Controller) decide(wait time.Duration, now time.Duration) {
	if !c.active {
		if wait < c.cfg.Enter {
			c.above = 0
		} else {
			c.above++
		}
		if c.above < entering {
			return
		}
		c.active, c.keep, c.calm = true, 1, 0
	}
	c.keep *= c.correction(wait)
	c.keep = min(max(c.keep, least, c.floor()), 1)
	if c.keep < 1 || wait > c.cfg.Target {
		c.calm = now
	} else if c.calm == 0 {
		c.calm = now
	} else if now-c.calm >= c.cfg.Calm {
		c.active, c.above = false, 0
	}
}

// correction is by how much more or less must be let in. A queue grows by what comes above what is done, so how fast the wait grows says how many
// times too much was let in, whatever the server can do; what the wait itself is says how much of it is to go. Both are weighed so that a wait
// that is too long comes back to what is wanted without passing it by (a second-order system, critically damped, whose pull is one for
// each wait). A pause of the machine makes a wait longer at once and shorter at once: its two corrections undo each other.
func (c *Controller) correction(wait time.Duration) float64 {
	dt := c.cfg.Interval.Seconds()
	longer, above := (wait - c.was).Seconds(), (wait - c.cfg.Target).Seconds()
	factor := math.Exp(-2*pull*longer - pull*pull*dt*above)
	if wait <= c.cfg.Target/4 && longer <= 0 { // hardly a queue: its length does not say how much more could be done
		return max(factor, rising)
	}
	return factor
}

// floor is what is let in at least: what may not be turned away, and a quarter of what the server has done lately. To turn away more would take longer
// than to do it: connections then wait by themselves, and datagrams are lost.
func (c *Controller) floor() float64 {
	total, sheddable := c.weights()
	if total == 0 {
		return 1 // nothing comes
	}
	return max(1-sheddable/total, min(1, quarter*c.most*c.cfg.Interval.Seconds()/total))
}

func (c *Controller) weights() (total, sheddable float64) {
	for _, n := range c.mix {
		total += n
	}
	for _, n := range c.mix[sheddables:] {
		if n >= hardly*total {
			sheddable += n
		}
	}
	return total, sheddable
}

// share spreads what is to be turned away over the classes, the least important first (RFC 7339 7.2, with more than two categories).
func (c *Controller) share() {
	c.shed = [classes]float64{}
	if !c.active {
		c.owed = [classes]float64{}
		return
	}
	total, _ := c.weights()
	left := (1 - c.keep) * total
	for k := classes - 1; k >= int(sheddables) && left > 1e-9; k-- {
		n := c.mix[k]
		if n < hardly*total && k != int(Greedy) {
			continue
		}
		c.shed[k] = min(1, left/max(n, 1e-9))
		left -= c.shed[k] * n
	}
}

// tell publishes what was decided.
func (c *Controller) tell(now time.Duration) {
	loss := uint32(math.Round(100 * (1 - c.keep)))
	if !c.active {
		loss = 0
	}
	c.turned = now
	if c.active || c.on.Load() {
		c.loss.Store(loss)
		c.on.Store(c.active)
	}
}
