package durability

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"imsafe/proof/attack"
	"imsafe/test/live"
)

// A restart is measured from the start of the process to the first 200 to a REGISTER, which needs a challenge and a commit:
// performance figure P16, at most 1 s. Here the limit is wide, and of the time that the machine gives (attack.Bounded), because others may use it as well.
const (
	restartLimit = time.Second
	restartSlack = 3
)

// BenchmarkRestart prints the figure for the size of P16.
func BenchmarkRestart(b *testing.B) {
	r := newRestart(b, 100_000, 50_000)
	for name, kill := range map[string]bool{"stopped": false, "killed": true} {
		b.Run(name, func(b *testing.B) {
			var sum time.Duration
			for range b.N {
				took, _, err := r.once(kill)
				if err != nil {
					b.Fatal(err)
				}
				sum += took
			}
			b.ReportMetric(float64(sum.Milliseconds())/float64(b.N), "ms/restart")
		})
	}
}

func TestRestart(t *testing.T) {
	subscribers := 100_000
	if raceEnabled { // filling it would take minutes
		subscribers = 5_000
	}
	r := newRestart(t, subscribers, subscribers/2)
	for _, kind := range []struct {
		name string
		kill bool
	}{{"stopped", false}, {"killed", true}} {
		t.Run(kind.name, func(t *testing.T) {
			best, kept := time.Hour, false
			for range 3 {
				took, within, err := r.once(kind.kill)
				if err != nil {
					t.Fatal(err)
				}
				best, kept = min(best, took), kept || within
			}
			t.Logf("note: %d subscribers, %d registrations, %s: first 200 after %v", subscribers, subscribers/2, kind.name, best.Round(time.Millisecond))
			if !kept && !raceEnabled {
				t.Errorf("more than %v", restartSlack*restartLimit)
			}
		})
	}
}

// restart is a filled directory.
type restart struct {
	p     *process
	users []*user
}

func newRestart(t testing.TB, subscribers, registrations int) *restart {
	p, err := newProcess(t, directory(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.close() })
	r := &restart{p: p}
	for i := range subscribers {
		r.users = append(r.users, newUser(i))
	}
	if err := r.fill(registrations); err != nil {
		t.Fatal(err)
	}
	return r
}

// fill makes the subscribers, registers one of them by SIP and multiplies that.
func (r *restart) fill(registrations int) error {
	h, err := openHouse(r.p, false)
	if err != nil {
		return err
	}
	if err := h.subscribe(r.users); err != nil {
		return err
	}
	if err := h.close(); err != nil {
		return err
	}
	if _, _, err := r.first200(r.users[0]); err != nil {
		return err
	}
	if err := r.p.kill(); err != nil {
		return err
	}
	if h, err = openHouse(r.p, false); err != nil {
		return err
	}
	if err := h.multiply(r.users[0], r.users[:registrations]); err != nil {
		return err
	}
	return h.close()
}

// once restarts the node after it was stopped, or after it was killed with half of the registrations still in the journal,
// and returns when the first REGISTER was answered 200, and whether that was within the limit.
func (r *restart) once(kill bool) (took time.Duration, within bool, err error) {
	h, err := openHouse(r.p, kill)
	if err != nil {
		return 0, false, err
	}
	if kill {
		if err := h.multiply(r.users[0], r.users[:len(r.users)/4]); err != nil {
			return 0, false, err
		}
		h.abandon()
	} else if err := h.close(); err != nil {
		return 0, false, err
	}
	took, within, err = r.first200(r.users[1+rand.IntN(len(r.users)-1)])
	if err == nil {
		err = r.known(r.users[1+rand.IntN(len(r.users)/4)])
	}
	if err = errors.Join(err, r.p.kill()); err != nil {
		return 0, false, err
	}
	if h, err = openHouse(r.p, false); err != nil { // so that the next time begins with an empty journal
		return 0, false, err
	}
	return took, within, h.close()
}

// known asks, as a user that was registered before the restart, whether it still is.
func (r *restart) known(u *user) error {
	d, err := newDriver(r.p, 1, 0)
	if err != nil {
		return err
	}
	defer d.close()
	stands, err := d.workers[0].ask(context.Background(), u)
	if err == nil && stands.generation == 0 {
		err = fmt.Errorf("durability: %s was registered before the restart and is not", u.name)
	}
	return err
}

// first200 starts the node and registers u as soon as that is possible. It returns how long that took, and whether it was within the limit.
func (r *restart) first200(u *user) (took time.Duration, within bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), live.Patience)
	defer cancel()
	c, err := dial(r.p.address.String())
	if err != nil {
		return 0, false, err
	}
	defer c.conn.Close()
	limit, end := attack.Bounded(ctx, restartSlack*restartLimit)
	defer end()
	begin := time.Now()
	if err := r.p.start(); err != nil {
		return 0, false, err
	}
	for ctx.Err() == nil {
		u.generation++
		challenge, err := c.register(ctx, u, staying, nil)
		if err != nil || challenge.Status() == 503 {
			continue
		}
		answer, err := c.register(ctx, u, staying, challenge)
		switch {
		case errors.Is(err, errSilent):
		case err != nil:
			return 0, false, err
		case answer.Status() == 200:
			return time.Since(begin), limit.Err() == nil, nil
		case answer.Status() != 401: // one that was given up, because the node did not answer yet, may have been challenged behind this one
			return 0, false, fmt.Errorf("durability: %s is refused with %d", u.name, answer.Status())
		}
	}
	return 0, false, fmt.Errorf("durability: no 200 within %v\n%s", live.Patience, r.p.tail())
}
