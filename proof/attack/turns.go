package attack

import (
	"context"
	"errors"
	"net"
	"time"
)

// turn is for how long a bound sleeps at a time.
const turn = time.Millisecond

// Bounded returns a context that ends after d of the time that the machine gives: it sleeps for a millisecond again and again, and a sleep counts as two at
// most, however late it ends. On a machine that has nothing else to do that is d. Where others have its processors, or it stands still for a while, target and
// witnesses get as many turns within the bound as they would have there: that nothing came then says something about the target, and nothing about its
// neighbours. cancel must be called.
func Bounded(ctx context.Context, d time.Duration) (bounded context.Context, cancel context.CancelFunc) {
	b := &turns{Context: ctx, done: make(chan struct{})}
	over, stop := context.WithCancel(ctx)
	go b.pass(d, over)
	return b, stop
}

// endsWith has reading and writing fail when the time of ctx is over.
func endsWith(ctx context.Context, conn net.Conn) {
	context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			_ = conn.SetDeadline(time.Unix(1, 0)) // one that is closed needs none
		}
	})
}

// turns is such a context. Its values are those of the one that it bounds.
type turns struct {
	context.Context
	done chan struct{}
	err  error // written before done is closed
}

// Done implements context.Context.
func (b *turns) Done() <-chan struct{} { return b.done }

// Err implements context.Context.
func (b *turns) Err() error {
	select {
	case <-b.done:
		return b.err
	default:
		return nil
	}
}

// pass lets the time pass, until over ends.
func (b *turns) pass(d time.Duration, over context.Context) {
	defer close(b.done)
	sleep := time.NewTimer(turn)
	defer sleep.Stop()
	for last := time.Now(); d > 0; {
		select {
		case <-sleep.C:
		case <-over.Done():
			b.err = over.Err()
			return
		}
		now := time.Now()
		d -= counts(now.Sub(last))
		last = now
		sleep.Reset(turn)
	}
	b.err = context.DeadlineExceeded
}

// counts is how much of a bound a sleep uses.
func counts(slept time.Duration) time.Duration { return min(slept, 2*turn) }
