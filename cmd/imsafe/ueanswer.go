package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"imsafe/client/ue"
)

type ueAnswerCmd struct {
	line
	voice
	Count int           `help:"Answer so many calls, one after the other; 0 goes on until it is stopped." default:"1"`
	Wait  time.Duration `help:"Fail if the next call does not come in this time; 0 waits for ever."`
	Ring  time.Duration `help:"Let it ring for this long before answering." default:"0s"`
	// RFC 3262; TS 24.229 5.1.4.1.
	Reliable bool `help:"While it rings tell callers who can acknowledge it the answer: 183, PRACK, 180 (RFC 3262)."`
	Reject   int  `help:"Refuse the calls with this SIP status instead of answering." placeholder:"STATUS"`
}

// Run answers calls. One at a time: who calls meanwhile hears busy.
func (v *ueAnswerCmd) Run(a *app) error {
	if v.Reject != 0 && (v.Reject < 400 || v.Reject > 699) {
		return usage{fmt.Errorf("a call is refused with a status of 400 to 699, not %d", v.Reject)}
	}
	if _, err := v.source(); err != nil {
		return usage{err}
	}
	v.reliable = v.Reliable
	return v.with(a, func(p *phone) error {
		for n := 1; v.Count == 0 || n <= v.Count; n++ {
			c, err := v.next(p)
			switch {
			case errors.Is(err, context.Canceled) && v.Count == 0:
				return nil // stopped, as was said
			case err != nil:
				return fmt.Errorf("%d of %d calls came: %w", n-1, v.Count, err)
			}
			if err := v.serve(p, c, n); err != nil && v.Count > 0 {
				return err
			} else if err != nil {
				a.happened(event{Event: "failed", Reason: err.Error()})
			}
		}
		return nil
	})
}

// next waits for a call and shows messages that come meanwhile.
func (v *ueAnswerCmd) next(p *phone) (*ue.Call, error) {
	var limit <-chan time.Time
	if v.Wait > 0 {
		limit = time.After(v.Wait)
	}
	for {
		select {
		case c := <-p.calls:
			return c, nil
		case m := <-p.messages:
			p.a.happened(received(m))
		case <-limit:
			return nil, fmt.Errorf("none in %v", v.Wait)
		case <-p.a.ctx.Done():
			return nil, p.a.ctx.Err()
		}
	}
}

// serve takes one call from its first ring to its end.
func (v *ueAnswerCmd) serve(p *phone, c *ue.Call, nth int) error {
	a := p.a
	peer, asserted := c.Peer()
	a.happened(event{Event: "incoming", Peer: peer, Asserted: asserted, Vouched: vouched(c)})
	if v.Reject != 0 {
		c.Reject(v.Reject)
		<-c.Done()
		return nil
	}
	source, err := v.source() // each call plays from the beginning
	if err != nil {
		c.Reject(500)
		return err
	}
	rec, err := record(v.Record, nth)
	if err != nil {
		c.Reject(500)
		return err
	}
	stop := p.busy()
	defer stop()
	c.Ring()
	if v.Ring > 0 {
		select {
		case <-time.After(v.Ring):
		case <-c.Done():
			return errors.Join(fmt.Errorf("the caller gave up: %s", c.Result().Reason), rec.Close())
		case <-a.ctx.Done():
			_ = leave(c)
			return errors.Join(a.ctx.Err(), rec.Close())
		}
	}
	c.Answer(ue.Voice{Play: source, Listen: rec.sink()})
	if err := v.untilTalking(a, a.ctx, c); err != nil {
		_ = leave(c) // why it failed is known
		return errors.Join(fmt.Errorf("the call did not come about: %w", err), rec.Close())
	}
	return errors.Join(v.talk(a, c, rec), rec.Close())
}

// busy refuses further calls until stop is called.
func (p *phone) busy() (stop func()) {
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for {
			select {
			case c := <-p.calls:
				c.Reject(486)
			case <-quit:
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-gone
	}
}

// received is the event of a message.
func received(m ue.Message) event {
	return event{Event: "message", Peer: m.From, Asserted: m.Asserted, ContentType: m.ContentType, Text: string(m.Body)}
}
