package attack

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"imsafe/secure"
)

// digestSpray: somebody tries one password on everybody who has one, then the next. No name hears many.
func digestSpray() Attack {
	controls := []secure.ControlID{secure.CIAuthenticationDigestPolicy}
	return Attack{
		ID: "ci.digest.spray", Number: "CI-40", Title: "one password tried on many names, from one address and from many",
		Text: "among many users one has the password of the day. A bound for each name alone never notices; nor does one for each address, " +
			"if the guesses come from many",
		Services: []Service{Authentication}, Stride: Spoofing, Threats: []Threat{Removal}, Module: ServicesControl,
		Source: "TS 33.203 Annex N; NIST SP 800-63B 5.2.2; OWASP ASVS 4.0.3 2.2.1", Access: []Access{TLS}, Digest: true, Neighbours: sprayed,
		Bounds: Bounds{Packets: 700, Bytes: 700_000, Conns: sources, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "one-source", Position: OffPath, Controls: controls, Run: func(ctx context.Context, f *Field, o *Outcome) error { return spray(ctx, f, o, 1, 30) }},
			{Name: "many-sources", Position: OffPath, Controls: controls, Run: func(ctx context.Context, f *Field, o *Outcome) error { return spray(ctx, f, o, sources, 21) }},
		},
	}
}

// How many names are tried, and from how many addresses at most.
const (
	sprayed = 30
	sources = 10
)

// spray tries so many passwords from each of several addresses, each on another name than the one before; then from the last of them the right one on dave's.
// Of many addresses none has spent what it may guess by itself.
func spray(ctx context.Context, f *Field, o *Outcome, places, times int) error {
	failed := make([]error, places)
	var all sync.WaitGroup
	var last *Hand
	for p := range places {
		h, err := f.StrangerAt(ctx, Elsewhere(p))
		if err != nil {
			return err
		}
		last = h
		all.Go(func() {
			for i := range times {
				n := p*times + i
				if err := h.triesPassword(ctx, f.Users[Neighbour(n%sprayed)], fmt.Sprintf("Winter%d!", 2000+n/sprayed)); err != nil {
					failed[p] = err
					return
				}
			}
		})
	}
	all.Wait()
	if err := errors.Join(failed...); err != nil {
		return err
	}
	o.Arrived("%d passwords tried on %d names from %d addresses", places*times, sprayed, places)
	dave := f.Users[Dave]
	answer, err := last.RegisterAs(ctx, Registering{User: &User{Password: dave.Password}, IMPI: dave.IMPI, IMPU: dave.IMPU, Expires: 600})
	if err != nil {
		return err
	}
	found := answer.Status() == 200
	if found {
		o.Users = 1
	}
	o.Wire(found, "after %d wrong passwords on %d names from %d addresses the right one for another name is answered %d", places*times, sprayed, places, answer.Status())
	return nil
}

// triesPassword tries one password on a name.
func (h *Hand) triesPassword(ctx context.Context, u *User, word string) error {
	_, err := h.RegisterAs(ctx, Registering{User: &User{Password: word}, IMPI: u.IMPI, IMPU: u.IMPU, Expires: 600})
	return err
}
