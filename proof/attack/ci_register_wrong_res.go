package attack

import (
	"context"
	"time"

	"imsafe/secure"
)

// registerWrongRes: somebody fails the challenge in a user's name, so that the network takes the registration away. Over TLS alone: with ipsec-3gpp an answer
// that does not come by the new associations, which takes the keys, is not read at all (CI-05 in-clear).
func registerWrongRes() Attack {
	return Attack{
		ID: "ci.register.wrong-res", Number: "CI-14", Title: "failed authentications in the victim's name",
		Text:     "if a failure ended the registration that stands, anybody could take any user off the network",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption}, Module: ServicesControl,
		Source: "TS 33.203 6.1.1", Access: []Access{TLS}, Carried: []Access{UDP, TCP},
		Bounds:   Bounds{Packets: 60, Bytes: 60_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{{Position: OffPath, Run: failInHerName, Controls: []secure.ControlID{secure.CIAvailabilityKeepRegistration}}},
	}
}

func failInHerName(ctx context.Context, f *Field, o *Outcome) error {
	stranger, err := f.Stranger(ctx)
	if err != nil {
		return err
	}
	const times = 20
	for i := range times {
		status, err := stranger.answersFalsely(ctx, Registering{IMPI: f.Alice.IMPI, IMPU: f.Alice.IMPU, Expires: 600})
		if err != nil {
			return err
		}
		o.Arrived("%d wrong answers, the last answered %d", i+1, status)
	}
	o.Wire(false, "%s", o.Delivered)
	return judgeReach(ctx, f, o)
}

// answersFalsely asks for a challenge in the name of r and answers it without the card.
func (h *Hand) answersFalsely(ctx context.Context, r Registering) (status int, err error) {
	challenge, err := h.Ask(ctx, h.Registers(r, h.firstAuthorization(r.IMPI)))
	if err != nil || challenge.Status() != 401 {
		return statusOf(challenge), err
	}
	authorization, err := h.Respond(&User{}, r.IMPI, challenge) // by a card with keys of naught
	if err != nil {
		return 0, err
	}
	answer, err := h.Ask(ctx, h.Registers(r, authorization))
	return statusOf(answer), err
}

// judgeReach lets bob write to alice: the goal is that he cannot.
func judgeReach(ctx context.Context, f *Field, o *Outcome) error {
	if err := f.Bob.Reaches(ctx, f.Alice, f.token()); err != nil {
		o.Users = 1
		o.Peer(true, "%v", err)
		return nil
	}
	o.Peer(false, "bob still reaches alice")
	return nil
}
