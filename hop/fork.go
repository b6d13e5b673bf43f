package hop

import (
	"slices"
	"strconv"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
)

// Branch is one way that a request takes in a fork.
type Branch struct {
	// Q is the preference of its target in thousandths (RFC 3261 20.10): the highest are tried first, equal ones at the same time.
	Q int
	// Serve walks the request on and returns its final response; x is the branch's own. It is called once or never, on a coroutine
	// of its own if other branches run beside it.
	Serve func(x *Exchange, in Inbound) Reply
}

const (
	// defaultBreadth is Max-Breadth of a request that comes without, and the most it may have (RFC 5393 5.3.1).
	defaultBreadth = 60
	// ringBefore is how long the targets of one preference may ring while others wait behind them.
	ringBefore = 20 * time.Second
	// elsewhere tells a device that has rung why it stops, so that it shows no missed call (RFC 3326 3.1).
	elsewhere = `SIP;cause=200;text="Call completed elsewhere"`
)

// Fork sends a request along its branches and returns the best final response (RFC 3261 16.7): the first 2xx ends the others; a 6xx
// ends them too, and nothing new is begun after it; otherwise the lowest class counts once all have answered. in.Msg is given away.
// up is as in Forward.
//
// It answers 440 for more branches at a time than Max-Breadth allows (RFC 5393 5.3), and 482 for a request that comes to be forked
// for the same target while it is being forked already (RFC 5393 4): the loop of two users whose devices send to each other.
func (x *Exchange) Fork(in Inbound, branches []Branch, up Up) Reply {
	if len(branches) == 1 || in.Msg.Method() == sip.ACK {
		x.ups = append(x.ups, step{up: up})
		defer func() { x.ups = x.ups[:len(x.ups)-1] }()
		return branches[0].Serve(x, in)
	}
	mark, again := x.table.forks.enter(in.Msg)
	if !again {
		defer x.table.forks.leave(mark)
	} else if x.circles(in, "loop") {
		return x.Refuse(in, 482, "")
	}
	slices.SortStableFunc(branches, func(a, b Branch) int { return b.Q - a.Q })
	f := &fork{parent: x, up: up}
	defer x.wait(f)()
	defer in.Msg.Release()
	for len(branches) > 0 && !f.over && !x.cancelled {
		n := 1
		for n < len(branches) && branches[n].Q == branches[0].Q {
			n++
		}
		breadth := breadthOf(in.Msg)
		if n > breadth && x.circles(in, "breadth") {
			return better(f.best, x.Respond(440, ""))
		}
		f.group(in, branches[:n], max(breadth/n, 1), n < len(branches))
		branches = branches[n:]
	}
	if f.best.Msg == nil {
		return x.Respond(487, "") // cancelled before anything was begun
	}
	return f.best
}

// breadthOf returns how many branches a request may have at a time.
func breadthOf(m *sip.Message) int {
	n, err := strconv.ParseUint(string(m.Get(sip.HdrMaxBreadth)), 10, 31)
	if err != nil || n > defaultBreadth {
		return defaultBreadth
	}
	return int(n)
}

// better keeps the response that RFC 3261 16.7 step 6 prefers and releases the other.
func better(a, b Reply) Reply {
	rank := func(r Reply) int {
		switch code := r.Status(); {
		case code/100 == 2:
			return 0
		case code/100 == 6:
			return 1
		case code == 401 || code == 407 || code == 415 || code == 420 || code == 484:
			return code/100*10 - 1 // the sender can do something about these
		case code == 408 || code == 430 || code == 480 || code == 487:
			return code/100*10 + 1 // a device that is not there says less than one that answers
		default:
			return code / 100 * 10
		}
	}
	switch {
	case a.Msg == nil:
		return b
	case b.Msg == nil:
		return a
	case rank(b) < rank(a):
		a.Msg.Release()
		return b
	}
	b.Msg.Release()
	return a
}

// fork is the branches of one Fork: each a child exchange on a coroutine of its own.
type fork struct {
	parent   *Exchange
	up       Up
	children []*Exchange // of the present group
	done     []Reply
	waker    shard.Waker
	asleep   bool
	best     Reply
	over     bool // a 2xx or 6xx came: nothing new is begun
	settled  bool // the parent has gone on with a 2xx
}

// group runs branches of equal preference beside each other until all have answered or one has decided. With others waiting behind
// them they may not ring for ever.
func (f *fork) group(in Inbound, branches []Branch, breadth int, others bool) {
	f.children = nil
	for _, b := range branches {
		copied := in
		copied.Msg = in.Msg.Clone()
		copied.Msg.SetUint(sip.HdrMaxBreadth, uint64(breadth))
		f.start(b, copied)
	}
	deadline := f.parent.task.Now() + ringBefore
	for pending := len(branches); pending > 0; pending-- {
		r := f.next(others, deadline)
		f.best = better(f.best, r)
		switch f.best.Status() / 100 {
		case 2:
			f.over, f.settled = true, true
			f.cancel(elsewhere)
			return
		case 6:
			f.over = true
			f.cancel("")
		}
	}
}

func (f *fork) start(b Branch, in Inbound) {
	p := f.parent
	child := &Exchange{table: p.table, root: p.root, self: p.self, ups: append(p.ups[:len(p.ups):len(p.ups)], step{up: f.up})}
	if p.request != nil {
		child.request = p.request.Clone()
	}
	f.children = append(f.children, child)
	began := p.task.Shard().Start(func(task *shard.Task) {
		child.task = task
		r, returned := Reply{}, false
		defer func() {
			if !returned {
				r = child.Respond(500, "") // the branch broke off: a defect, or the shard closes
			}
			child.request.Release()
			f.finished(child, r)
		}()
		r, returned = b.Serve(child, in), true
	})
	if !began {
		in.Msg.Release()
		f.finished(child, child.Respond(503, ""))
		child.request.Release()
	}
}

// finished takes the final response of a branch. After the fork is settled a further 2xx still goes back to
// the sender, who must be able to end that dialog (RFC 3261 16.7 step 5).
func (f *fork) finished(child *Exchange, r Reply) {
	switch {
	case f.settled && r.Status()/100 == 2:
		child.climb(child.ups, r)
	case f.settled && r.Msg != nil:
		r.Msg.Release()
	default:
		f.done = append(f.done, r)
		if f.asleep {
			f.asleep = false
			f.waker.Wake()
		}
	}
}

// next waits for the next final response. With others behind this group its branches are cancelled at the deadline.
func (f *fork) next(others bool, deadline time.Duration) Reply {
	t := f.parent.task
	for len(f.done) == 0 {
		start := func(w shard.Waker) { f.waker, f.asleep = w, true }
		if left := deadline - t.Now(); !others || left <= 0 {
			t.Await(start)
		} else if t.AwaitFor(left, start) {
			f.asleep = false
			f.cancel("")
		}
	}
	r := f.done[0]
	f.done = f.done[1:]
	return r
}

func (f *fork) lose(reason string) {
	for _, c := range f.children {
		c.Lose(reason)
	}
}

func (f *fork) cancel(reason string) {
	for _, c := range f.children {
		c.cancel(reason)
	}
}
