package hop

import "imsafe/proto/shard"

// Target is one branch of a fork.
type Target struct {
	To Name
	In Inbound
}

// Fork sends a request to several targets at the same time and returns the best final response
// (RFC 3261 16.7): the first 2xx ends the others; a 6xx ends them too; otherwise the lowest class counts
// once all have answered. Each target's message is given away. up is as in Forward.
func (x *Exchange) Fork(targets []Target, up Up) Reply {
	if len(targets) == 1 {
		return x.Forward(targets[0].To, targets[0].In, up)
	}
	f := &fork{parent: x}
	for _, target := range targets {
		f.start(target, up)
	}
	defer x.wait(f)()
	var best Reply
	for pending := len(targets); pending > 0; pending-- {
		r := f.next(x.task)
		best = better(best, r)
		if class := r.Status() / 100; class == 2 {
			f.settled = true
			f.cancel()
			return best
		} else if class == 6 {
			f.cancel()
		}
	}
	return best
}

// better keeps the response that RFC 3261 16.7 step 6 prefers and releases the other.
func better(a, b Reply) Reply {
	rank := func(r Reply) int {
		switch class := r.Status() / 100; class {
		case 2:
			return 0
		case 6:
			return 1
		default:
			return class
		}
	}
	switch {
	case a.Msg == nil:
		return b
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
	children []*Exchange
	done     []Reply
	waker    shard.Waker
	asleep   bool
	settled  bool // the parent has gone on with a 2xx
}

func (f *fork) start(target Target, up Up) {
	p := f.parent
	child := &Exchange{table: p.table, root: p.root, self: p.self, ups: append(p.ups[:len(p.ups):len(p.ups)], up)}
	f.children = append(f.children, child)
	p.task.Shard().Start(func(task *shard.Task) {
		child.task = task
		f.finished(child, child.Forward(target.To, target.In, nil))
	})
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

func (f *fork) next(t *shard.Task) Reply {
	for len(f.done) == 0 {
		t.Await(func(w shard.Waker) { f.waker, f.asleep = w, true })
	}
	r := f.done[0]
	f.done = f.done[1:]
	return r
}

func (f *fork) cancel() {
	for _, c := range f.children {
		c.cancel()
	}
}
