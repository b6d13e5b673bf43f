package durability

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"imsafe/iface/management"
	"imsafe/test/live"
)

// Counts says what was acknowledged, and what the kills left in doubt.
type Counts struct {
	Registered, Left, Added, Removed atomic.Int64 // acknowledged writes
	Challenged                       atomic.Int64
	Unknown                          atomic.Int64 // 403: no subscriber, or one whose removal is in doubt
	Unwilling                        atomic.Int64 // any other refusal
	Doubtful, Checked                atomic.Int64
	Latest                           atomic.Int64 // nanoseconds of the slowest start until the door answered
}

// Writes is the sum of the acknowledged writes.
func (c *Counts) Writes() int64 {
	return c.Registered.Load() + c.Left.Load() + c.Added.Load() + c.Removed.Load()
}

func (c *Counts) refused(u *user, status int) {
	if status == 403 && u.mayBeUnknown() {
		c.Unknown.Add(1)
	} else {
		c.Unwilling.Add(1)
	}
	u.note("refused with %d", status)
}

// mayBeUnknown reports whether the node may have no such subscriber.
func (u *user) mayBeUnknown() bool {
	return !u.known.provisioned || u.leaving || slices.Contains(u.doubt, promise{})
}

// String is for the log.
func (c *Counts) String() string {
	return fmt.Sprintf("%d acknowledged writes (%d registrations, %d removals of them, %d subscribers added, %d removed), %d challenges, "+
		"%d not known, %d other refusals, %d changes in doubt at a kill, %d users compared, slowest start %v", c.Writes(), c.Registered.Load(), c.Left.Load(),
		c.Added.Load(), c.Removed.Load(), c.Challenged.Load(), c.Unknown.Load(), c.Unwilling.Load(), c.Doubtful.Load(), c.Checked.Load(),
		time.Duration(c.Latest.Load()).Round(time.Millisecond))
}

// driver loads a node and remembers what it promised.
type driver struct {
	p       *process
	workers []*worker
	counts  Counts
}

// worker is a goroutine with a socket and users of its own.
type worker struct {
	d     *driver
	c     *client
	users []*user
}

func newDriver(p *process, workers, users int) (*driver, error) {
	d := &driver{p: p}
	for i := range workers {
		c, err := dial(p.address.String())
		if err != nil {
			return nil, err
		}
		w := &worker{d: d, c: c}
		for j := range users {
			w.users = append(w.users, newUser(i*users+j))
		}
		d.workers = append(d.workers, w)
	}
	return d, nil
}

func (d *driver) close() {
	for _, w := range d.workers {
		_ = w.c.conn.Close()
	}
}

// each runs do on every worker at the same time and returns the first error.
func (d *driver) each(do func(*worker) error) error {
	errs := make([]error, len(d.workers))
	var all sync.WaitGroup
	for i, w := range d.workers {
		all.Go(func() { errs[i] = do(w) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// provision adds all users.
func (d *driver) provision(ctx context.Context) error {
	return d.each(func(w *worker) error {
		for _, u := range w.users {
			if err := w.provision(ctx, u); err != nil {
				return err
			}
		}
		return nil
	})
}

// load asks for changes and challenges until ctx ends.
func (d *driver) load(ctx context.Context) error {
	return d.each(func(w *worker) error {
		for ctx.Err() == nil {
			if err := w.act(ctx, w.users[rand.IntN(len(w.users))]); err != nil {
				return err
			}
		}
		return nil
	})
}

// act is one thing that a user or the operator does.
func (w *worker) act(ctx context.Context, u *user) error {
	switch k := rand.IntN(100); {
	case !u.known.provisioned || k < 6:
		return w.provision(ctx, u)
	case k < 10 && u.known.provisioned:
		return w.contend(ctx, u)
	case k < 14: // more challenges than a reservation of sequence numbers holds
		return w.knock(ctx, u, 40)
	case k < 25:
		return w.knock(ctx, u, 1)
	case k < 45 && u.known.generation != 0:
		return w.change(ctx, u, leaving)
	default:
		return w.change(ctx, u, staying)
	}
}

// challenge sends a REGISTER and returns the 401; nil if there was none.
func (w *worker) challenge(ctx context.Context, u *user, seconds int) (m *message, err error) {
	answer, err := w.c.register(ctx, u, seconds, nil)
	switch {
	case errors.Is(err, errSilent):
		return nil, nil
	case err != nil:
		return nil, err
	case answer.Status() != 401:
		status := answer.Status()
		w.d.counts.refused(u, status)
		answer.Release()
		return &message{status: status}, nil
	}
	_, _, _, err = u.open(answer)
	if errors.Is(err, errNotGenuine) && u.mayBeUnknown() { // who is not known is challenged as everybody is
		w.d.counts.refused(u, 403)
		answer.Release()
		return &message{status: 403}, nil
	}
	if errors.Is(err, errNotGenuine) {
		err = fmt.Errorf("%w\n%s\n%s", err, strings.Join(u.history, "\n"), w.d.p.tail())
	}
	w.d.counts.Challenged.Add(1)
	return &message{status: 401, Message: answer}, err
}

// knock asks for challenges and answers none.
func (w *worker) knock(ctx context.Context, u *user, times int) error {
	for range times {
		m, err := w.challenge(ctx, u, staying)
		if m != nil && m.Message != nil {
			m.Release()
		}
		if err != nil || ctx.Err() != nil {
			return err
		}
	}
	return nil
}

// change registers or leaves.
func (w *worker) change(ctx context.Context, u *user, seconds int) error {
	if seconds == staying {
		u.generation++
	}
	challenge, err := w.challenge(ctx, u, seconds)
	if err != nil || challenge == nil || challenge.Message == nil {
		return err
	}
	defer challenge.Release()
	wish := promise{provisioned: true}
	if seconds == staying {
		wish.generation = u.generation
	}
	u.doubt = append(u.doubt, wish)
	answer, err := w.c.register(ctx, u, seconds, challenge.Message)
	if errors.Is(err, errSilent) {
		u.note("asked for %+v, no answer", wish)
		return nil
	}
	if err != nil {
		return err
	}
	defer answer.Release()
	u.note("asked for %+v: %d", wish, answer.Status())
	if status := answer.Status(); status != 200 {
		w.d.counts.refused(u, status)
		if status < 500 { // it was not done, and will not be
			u.doubt = u.doubt[:len(u.doubt)-1]
		}
		return nil
	}
	told, err := generation(answer)
	if err != nil || told != wish.generation {
		return fmt.Errorf("durability: %s asked for registration %d and was told of %d: %v", u.name, wish.generation, told, err)
	}
	u.keep(wish)
	if seconds == staying {
		w.d.counts.Registered.Add(1)
	} else {
		w.d.counts.Left.Add(1)
	}
	return nil
}

// keep notes an acknowledged promise: what was asked for before it is settled by it.
func (u *user) keep(p promise) { u.known, u.doubt = p, nil }

// provision adds or removes a subscriber at the operator's door.
func (w *worker) provision(ctx context.Context, u *user) error {
	wish := promise{provisioned: !u.known.provisioned}
	u.doubt = append(u.doubt, wish)
	acknowledged, err := w.operate(ctx, u, wish.provisioned)
	u.note("operator: provisioned %t: %t %v", wish.provisioned, acknowledged, err)
	if acknowledged {
		u.keep(wish)
	}
	return err
}

// contend removes a subscriber while it registers. Once the removal is acknowledged nothing of the registration may be left.
func (w *worker) contend(ctx context.Context, u *user) error {
	type outcome struct {
		acknowledged bool
		err          error
	}
	removal := make(chan outcome, 1)
	u.leaving = true
	defer func() { u.leaving = false }()
	go func() {
		time.Sleep(time.Duration(rand.Int64N(int64(4 * time.Millisecond))))
		acknowledged, err := w.operate(ctx, u, false)
		removal <- outcome{acknowledged, err}
	}()
	err := w.change(ctx, u, staying)
	o := <-removal
	u.note("operator, at the same time: provisioned false: %t %v", o.acknowledged, o.err)
	if o.acknowledged {
		u.keep(promise{})
	} else {
		u.doubt = append(u.doubt, promise{})
	}
	return errors.Join(err, o.err)
}

// operate calls the operator's door. A change that was not acknowledged, because the node was killed, is no error.
func (w *worker) operate(ctx context.Context, u *user, provisioned bool) (acknowledged bool, err error) {
	verb, input, count := "user.remove", any(map[string]any{"name": u.impi}), &w.d.counts.Removed
	if provisioned {
		verb, input, count = "user.add", map[string]any{"subscriber": u.subscriber()}, &w.d.counts.Added
	}
	var out struct {
		Warning string `json:"warning"`
	}
	err = w.d.p.door.Call(ctx, verb, input, &out)
	var refused *management.Error
	switch {
	case errors.As(err, &refused):
		return false, fmt.Errorf("durability: %s of %s: %w", verb, u.name, err)
	case err != nil:
		return false, nil
	case out.Warning != "":
		return false, fmt.Errorf("durability: %s of %s: %s", verb, u.name, out.Warning)
	}
	count.Add(1)
	return true, nil
}

// compare asks the node, as each user and by the network only, what stands, and compares that with what was promised.
func (d *driver) compare(ctx context.Context) error {
	return d.each(func(w *worker) error {
		for _, u := range w.users {
			if err := w.compare(ctx, u); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *worker) compare(ctx context.Context, u *user) error {
	now, err := w.ask(ctx, u)
	if err != nil {
		return err
	}
	w.d.counts.Checked.Add(1)
	if now != u.known && len(u.doubt) > 0 {
		w.d.counts.Doubtful.Add(1)
	}
	u.note("after a kill: %+v", now)
	if now != u.known && !slices.Contains(u.doubt, now) {
		return fmt.Errorf("durability: %s: %+v was acknowledged, after the kill there is %+v (in doubt: %+v)\n%s",
			u.name, u.known, now, u.doubt, strings.Join(u.history, "\n"))
	}
	u.keep(now)
	return nil
}

// ask finds out what stands: 403, or a challenge that is nobody's, is no subscriber; else a REGISTER without Contact tells (RFC 3261 10.2.3).
func (w *worker) ask(ctx context.Context, u *user) (promise, error) {
	for late := time.Now().Add(live.Patience); time.Now().Before(late); {
		challenge, err := w.challenge(ctx, u, asking)
		if err != nil {
			return promise{}, err
		}
		if challenge == nil {
			continue
		}
		if challenge.status == 403 {
			return promise{}, nil
		}
		if challenge.Message == nil {
			pause(ctx, 20*time.Millisecond)
			continue
		}
		answer, err := w.c.register(ctx, u, asking, challenge.Message)
		challenge.Release()
		if errors.Is(err, errSilent) || err == nil && answer.Status() != 200 {
			continue
		}
		if err != nil {
			return promise{}, err
		}
		g, err := generation(answer)
		answer.Release()
		return promise{provisioned: true, generation: g}, err
	}
	return promise{}, fmt.Errorf("durability: %s cannot find out what stands\n%s", u.name, w.d.p.tail())
}
