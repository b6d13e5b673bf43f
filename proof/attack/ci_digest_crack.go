package attack

import (
	"context"
	"fmt"
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
		Bounds: Bounds{Packets: 130, Bytes: 130_000, Conns: 12, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "online", Position: OffPath, Run: guess, Controls: []secure.ControlID{secure.CIAuthenticationDigestPolicy}},
			{Name: "unasked", Position: OffPath, Run: guessUnasked, Controls: []secure.ControlID{secure.CIAuthenticationDigestPolicy}},
		},
	}
}

// guess tries a list on whose last line stands the right one.
func guess(ctx context.Context, f *Field, o *Outcome) error {
	stranger, err := f.Stranger(ctx)
	if err != nil {
		return err
	}
	const tries = 50
	dave := f.Users[Dave]
	status := 0
	for i := range tries {
		word := fmt.Sprintf("password%d", i)
		if i == tries-1 {
			word = dave.Password
		}
		answer, err := stranger.RegisterAs(ctx, Registering{User: &User{Password: word}, IMPI: dave.IMPI, IMPU: dave.IMPU, Expires: 600})
		if err != nil {
			return err
		}
		status = answer.Status()
		o.Arrived("%d passwords tried, the last answered %d", i+1, status)
	}
	found := status == 200
	if found {
		o.Users = 1
	}
	o.Wire(found, "%d passwords tried; the right one, on the last line of the list, is answered %d", tries, status)
	return nil
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
