package attack

import (
	"context"
	"fmt"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// messageSpoof: messages that nobody wants. (That of a forged originator in an SMS comes with the SMS service.)
func messageSpoof() Attack {
	return Attack{
		ID: "ci.message.spoof", Number: "CI-34", Title: "messages in bulk to whoever has a number",
		Text:     "nobody reads a telephone that is full of what others have sent in bulk, and all of it goes over the radio",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption}, Module: ServicesUser,
		Source: "CVE-2021-37624; RFC 5039", Access: both(),
		Bounds: Bounds{Packets: 500, Bytes: 500_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "spit", Position: Subscriber, Run: messageSpit, Controls: []secure.ControlID{secure.CIAvailabilityBudgetUser}},
			{Name: "within", Position: Subscriber, Run: messageSpitWithin, Controls: []secure.ControlID{secure.CIAvailabilityBudgetUser}},
			{Name: "after", Position: Subscriber, Run: messageAfter, Controls: []secure.ControlID{secure.CIIntegrityDialogOwner}},
		},
	}
}

// messageSpit: a registered client sends in bulk what nobody has asked for.
func messageSpit(ctx context.Context, f *Field, o *Outcome) error {
	carol, mallory, err := f.carolAndMallory(ctx)
	if err != nil {
		return err
	}
	return inBulk(ctx, o, carol, func(i int, text string) (*sip.Message, error) {
		return mallory.Ask(ctx, mallory.Text(Request{Method: "MESSAGE", URI: carol.IMPU, Display: fmt.Sprintf("Offer %d", i), Body: text,
			Lines: []string{"Content-Type: text/plain"}})) // each from somebody else, by what From says
	})
}

// calledByMallory is a call of mallory's to carol, who answers what comes then.
func (f *Field) calledByMallory(ctx context.Context) (carol, mallory *Hand, inside Request, err error) {
	if carol, mallory, err = f.carolAndMallory(ctx); err != nil {
		return nil, nil, inside, err
	}
	inside, _, err = mallory.talksTo(ctx, carol)
	carol.answers.Store(true)
	return carol, mallory, inside, err
}

// messageSpitWithin: he calls whom he writes to, and sends them within the call, where each is a request of a dialog that stands.
func messageSpitWithin(ctx context.Context, f *Field, o *Outcome) error {
	carol, mallory, inside, err := f.calledByMallory(ctx)
	if err != nil {
		return err
	}
	return inBulk(ctx, o, carol, func(_ int, text string) (*sip.Message, error) {
		return mallory.asksWithin(ctx, &inside, "MESSAGE", text, "Content-Type: text/plain")
	})
}

// messageAfter: his call with her is over, and he writes to her as if it were not: past all services of hers that judge who may.
func messageAfter(ctx context.Context, f *Field, o *Outcome) error {
	carol, mallory, inside, err := f.calledByMallory(ctx)
	if err != nil {
		return err
	}
	if answer, err := mallory.asksWithin(ctx, &inside, "BYE", ""); err != nil || answer.Status() != 200 {
		return fmt.Errorf("attack: mallory hangs up, and is answered %d: %w", statusOf(answer), err)
	}
	const times = 5
	read, last := 0, 0
	for range times {
		text := f.token()
		answer, err := mallory.asksWithin(ctx, &inside, "MESSAGE", text, "Content-Type: text/plain")
		if err != nil {
			return err
		}
		if last = answer.Status(); last != 200 {
			continue
		}
		m, err := carol.Got(ctx, sip.MESSAGE, text)
		if err != nil {
			return err
		}
		m.Release()
		read++
	}
	o.Arrived("%d messages in a call that is over, the last answered %d", times, last)
	o.Users = min(read, 1)
	o.Peer(read > 0, "carol's telephone gets %d of %d messages in a call that is over", read, times)
	return nil
}

// inBulk sends many messages to carol, and says how many of them she reads.
func inBulk(ctx context.Context, o *Outcome, carol *Hand, send func(i int, text string) (*sip.Message, error)) error {
	const times = 200
	read := 0
	for i := range times {
		text := fmt.Sprintf("bulk %d", i)
		answer, err := send(i, text)
		if err != nil {
			return err
		}
		o.Arrived("%d messages, the last answered %d", i+1, answer.Status())
		if answer.Status() != 200 {
			continue
		}
		m, err := carol.Got(ctx, sip.MESSAGE, text)
		if err != nil {
			return err
		}
		m.Release()
		read++
	}
	o.Users = min(max(read-times/2-times/4, 0), 1)
	o.Peer(read > times*3/4, "carol's telephone gets %d of %d messages in bulk", read, times)
	return nil
}
