package hss

import (
	"context"
	"strings"
	"testing"

	"imsafe/config"
	"imsafe/test/live"
)

// TestDay: two subscribers whom a foreign HSS knows register with AKA, one of them with a card that is ahead of it; they call and write,
// refresh and leave; the HSS bars one and takes him away at last. Cx is mutual TLS.
func TestDay(t *testing.T) {
	authority := newAuthority(t)
	hss := run(t, authority, setting{name: "hss", at: free(t)})
	n := start(t, authority, []*foreign{hss}, func(*config.Config) {})
	day(t, n, hss)
	hss.content(t)
}

func day(t *testing.T, n *network, hss *foreign) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*live.Patience)
	defer cancel()
	users := live.NewUsers("day", 2, live.AKAv1)
	hss.add(t, users...)
	alice, bob := n.handset(t, users[0]), n.handset(t, users[1])
	bob.Ahead = true
	register(ctx, t, alice, 600, 1)
	register(ctx, t, bob, 600, 2)
	hss.once(t, "MAR resynchronisation "+bob.IMPI)
	live.Watch(t, alice)
	live.Call(t, alice, bob, alice)
	live.Call(t, bob, alice, alice)
	live.Cancelled(t, alice, bob)
	live.Message(t, alice, bob)
	for _, h := range []*live.Handset{alice, bob} { // after the resynchronisation the numbers go on from where the card was
		register(ctx, t, h, 600, 1)
	}
	live.Call(t, bob, alice, bob)
	pushed(t, hss, alice, bob)
	register(ctx, t, bob, 0, 1)
	hss.waits(t, "SAR type 5 "+bob.IMPI, 1)
	live.Refused(t, alice, bob, 480)
	expelled(ctx, t, hss, alice, bob)
}

// register registers and counts the challenges.
func register(ctx context.Context, t *testing.T, h *live.Handset, expires, challenges int) {
	t.Helper()
	got, err := h.Register(ctx, expires)
	if err != nil {
		t.Fatal(err)
	}
	if got != challenges {
		t.Errorf("%s was challenged %d times, not %d", h.Name, got, challenges)
	}
}

// pushed: the HSS bars a subscriber's identity (PPR), who then calls nobody, and takes that back.
func pushed(t *testing.T, hss *foreign, from, h *live.Handset) {
	t.Helper()
	hss.ask(t, "{{base,2001},[]}", "{ppr, %q, true}", h.IMPI)
	live.Refused(t, h, from, 403)
	hss.ask(t, "{{base,2001},[]}", "{ppr, %q, false}", h.IMPI)
	live.Call(t, h, from, h)
	// A profile that is none changes nothing (TS 29.228 6.2.2.1: DIAMETER_ERROR_NOT_SUPPORTED_USER_DATA).
	for _, nonsense := range []string{"no XML", "<IMSSubscription><PrivateID>", ""} {
		hss.ask(t, "{{tgpp,5009},[]}", "{ppr_data, %q, %q}", h.IMPI, nonsense)
	}
	live.Call(t, h, from, h)
}

// expelled: the HSS ends a registration (RTR), of which its subscriber hears nothing but that he is not served.
func expelled(ctx context.Context, t *testing.T, hss *foreign, from, h *live.Handset) {
	t.Helper()
	register(ctx, t, h, 600, 1)
	live.Call(t, from, h, h)
	hss.ask(t, "{{base,2001},[]}", "{rtr, %q, 0, %q}", h.IMPI, "he has left")
	live.Refused(t, from, h, 480)
	register(ctx, t, h, 600, 1)
	register(ctx, t, h, 0, 1)
	register(ctx, t, from, 0, 1)
}

// TestStrangers: who is unknown, who uses the identity of another, and who has a wrong card stay outside.
func TestStrangers(t *testing.T) {
	authority := newAuthority(t)
	hss := run(t, authority, setting{name: "hss", at: free(t)})
	n := start(t, authority, []*foreign{hss}, func(*config.Config) {})
	ctx, cancel := context.WithTimeout(t.Context(), 3*live.Patience)
	defer cancel()
	users := live.NewUsers("stranger", 5, live.AKAv1)
	hss.add(t, users[1:]...)

	refused := func(h *live.Handset, why string) {
		t.Helper()
		if _, err := h.Register(ctx, 600); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %q", h.Name, err, why)
		}
	}
	refused(n.handset(t, users[0]), "not genuine") // nobody knows him: he is challenged as everybody is
	hss.waits(t, "UAR type 0 "+users[0].IMPI+" from "+icscf+": {tgpp,5001}", 1)

	thief := *users[1]
	thief.IMPU = users[2].IMPU
	refused(n.handset(t, &thief), "not genuine")
	hss.waits(t, "UAR type 0 "+thief.IMPI+" from "+icscf+": {tgpp,5002}", 1)

	forger := *users[3] // another K: the card finds the network false, and its own answer would be wrong
	forger.K[0]++
	forger.Derive()
	refused(n.handset(t, &forger), "not genuine")

	liar := n.handset(t, users[4])
	liar.Lies = true
	refused(liar, ": 403 ")
	hss.waits(t, "SAR type 9 "+liar.IMPI, 1) // AUTHENTICATION_FAILURE (TS 29.228 6.1.2)
	liar.Lies = false
	register(ctx, t, liar, 600, 1)

	// AUTS that no card has made: the HSS says so, nothing moves, and the true card registers.
	liar.Ahead, liar.Lies = true, true
	if _, err := liar.Register(ctx, 600); err == nil {
		t.Error("a forged AUTS is taken")
	}
	hss.once(t, "MAR resynchronisation "+liar.IMPI+" from "+scscf+": {base,5012}")
	liar.Ahead, liar.Lies = false, false
	register(ctx, t, liar, 600, 1)
	hss.content(t)
}
