package xfrm

import (
	"context"
	"errors"
	"syscall"
	"time"
)

// job is one thing that the kernel is asked for an agreement: its four associations are added (msgNewSA), deleted (msgDelSA), looked at
// (msgGetSA), or their limits written anew (msgUpdSA).
type job struct {
	kind uint16
	of   *carried
	keys *keys
	life time.Duration // since the association was added
}

// perJob is how many requests a job is, perBatch how many jobs go to the kernel at once.
const (
	perJob   = len(set{}.all)
	perBatch = 16
)

// ask queues a job. It never waits.
func (e *Engine) ask(j job) {
	e.jobs.Lock()
	e.jobs.queue = append(e.jobs.queue, j)
	e.jobs.Unlock()
	select {
	case e.jobs.more <- struct{}{}:
	default:
	}
}

// take moves what waits to the empty into.
func (e *Engine) take(into []job) []job {
	e.jobs.Lock()
	defer e.jobs.Unlock()
	into = append(into, e.jobs.queue...)
	clear(e.jobs.queue)
	e.jobs.queue = e.jobs.queue[:0]
	return into
}

// link carries requests: a *Kernel.
type link interface {
	do(m *message, results []error) error
}

// worker is who asks the kernel.
type worker struct {
	e *Engine
	k link
	m message
}

// Run asks the kernel for what was queued, until ctx ends. It owns k.
func (e *Engine) Run(ctx context.Context, k *Kernel) error { return e.run(ctx, k) }

func (e *Engine) run(ctx context.Context, k link) error {
	const sizeRequest = 512 // no more is needed: memory that has had keys in it is not left behind
	w := worker{e: e, k: k, m: message{b: make([]byte, 0, perBatch*perJob*sizeRequest)}}
	var todo []job
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.jobs.more:
		}
		todo = e.take(todo[:0])
		for rest := todo; len(rest) > 0; {
			n := min(len(rest), perBatch)
			w.batch(rest[:n])
			rest = rest[n:]
		}
		clear(todo)
	}
}

// batch asks for some jobs at once.
func (w *worker) batch(jobs []job) {
	e, m := w.e, &w.m
	defer m.reset()
	for i := range jobs {
		jobs[i].appendTo(m)
	}
	e.n.Batches.Add(1)
	m.told = func(number int, body []byte) { jobs[number/perJob].of.heard(number%perJob, body) }
	var all [perBatch * perJob]error
	results := all[:m.count]
	err := w.k.do(m, results)
	if err != nil {
		e.n.Broken.Add(1)
	}
	m.reset()
	undo := e.judge(m, jobs, results, err)
	if undo > 0 {
		if err := w.k.do(m, make([]error, undo)); err != nil { // what stays ends by itself
			e.n.Broken.Add(1)
		}
	}
}

// appendTo appends the requests of a job.
func (j *job) appendTo(m *message) {
	k := j.keys
	if j.kind == msgUpdSA {
		k = noKeys(j.of.transform)
	}
	for i := range j.of.all {
		switch j.kind {
		case msgDelSA, msgGetSA:
			m.appendSAID(j.kind, &j.of.all[i], flagAck)
		default:
			m.appendSA(j.kind, &j.of.all[i], k, Tag, j.life)
		}
	}
	if j.keys != nil {
		j.keys.wipe()
	}
}

// heard takes what the kernel tells of one of the associations.
func (c *carried) heard(which int, sa []byte) {
	if len(sa) >= sizeSA && c.all[which].inbound {
		c.wrong[which/2].Store(native.Uint32(sa[offsetSAStats+8:]))
	}
}

// judge looks at what the kernel said to each job, tells who waits, and fills m with what has to be undone: what stands of a set that does
// not stand as a whole.
func (e *Engine) judge(m *message, jobs []job, results []error, broken error) (undo int) {
	for i := range jobs {
		j, said := &jobs[i], results[i*perJob:(i+1)*perJob]
		failed := broken
		for _, r := range said {
			if r != nil && !(j.kind == msgDelSA && errors.Is(r, syscall.ESRCH)) { // what has ended by itself is deleted
				failed = errors.Join(failed, r)
			}
		}
		switch {
		case j.kind == msgNewSA:
			if failed != nil {
				for n := range said {
					if broken != nil || said[n] == nil {
						m.appendSAID(msgDelSA, &j.of.all[n], flagAck)
					}
				}
			}
			e.stood(j.of, failed)
		case j.kind == msgGetSA:
		case failed != nil:
			e.n.Refused.Add(1)
		case j.kind == msgUpdSA:
			e.n.Extended.Add(1)
		default:
			e.n.Removed.Add(1)
		}
	}
	return m.count
}
