package as_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"imsafe/servicebox/as"
	"imsafe/servicebox/as/astest"
)

// chain is a core with two services in the sessions of callers and two in those of the called: one and two, three and four. Each notes
// when it is asked, and goes on as a test says.
type chain struct {
	*stage
	asked    []string
	services map[string]*astest.Service
	do       map[string]as.Handler
	carol    *astest.UE
}

func newChain(t *testing.T, onFailure string, options ...astest.Option) *chain {
	t.Helper()
	c := &chain{stage: &stage{Net: astest.New(t, options...), t: t}, services: map[string]*astest.Service{}, do: map[string]as.Handler{}}
	for _, s := range []struct{ name, kase string }{{"one", "originating"}, {"two", "originating"}, {"three", "terminating"}, {"four", "terminating"}} {
		priority := map[string]int{"one": 10, "two": 20, "three": 30, "four": 40}[s.name]
		c.services[s.name] = c.Service(manifest(s.name, all, trigger(s.kase, priority, onFailure)), func(svc *as.Service) {
			ask := func(ctx context.Context, x *as.Session) error {
				user, _, _ := strings.Cut(strings.TrimPrefix(x.Served, "sip:"), "@")
				c.asked = append(c.asked, s.name+":"+user)
				if do := c.do[s.name]; do != nil {
					return do(ctx, x)
				}
				return x.Continue(as.Stay())
			}
			svc.Handle(as.Originating, ask)
			svc.Handle(as.Terminating, ask)
		})
	}
	c.alice, c.bob, c.carol = c.UE("alice").Register(), c.UE("bob").Register(), c.UE("carol").Register()
	return c
}

// wantAsked compares who was asked since the last time, in order.
func (c *chain) wantAsked(want string) {
	c.t.Helper()
	if got := strings.Join(c.asked, " "); got != want {
		c.t.Errorf("asked: %s\n want: %s", got, want)
	}
	c.asked = nil
}

const everyone = "one:alice two:alice three:bob four:bob"

// modes runs a test with messages handed over inside the core, and with messages written and read again at each hop.
func modes(t *testing.T, f func(t *testing.T, mode astest.Option)) {
	t.Run("direct", func(t *testing.T) { f(t, astest.Direct) })
	t.Run("strict", func(t *testing.T) { f(t, astest.Strict) })
}

func proxy(_ context.Context, x *as.Session) error { return x.Continue() }

func backToBack(ctx context.Context, x *as.Session) error {
	_, err := x.Bridge(ctx)
	return err
}

// TestChain: every service is asked once, in order, whatever kind of thing stands before it: a proxy that stays, one that leaves, a
// back-to-back user agent, which makes another dialog of it.
func TestChain(t *testing.T) {
	modes(t, func(t *testing.T, mode astest.Option) {
		for kind, do := range map[string]as.Handler{"stay": nil, "leave": proxy, "back to back": backToBack} {
			for _, where := range []string{"one", "two", "three", "four", "all"} {
				t.Run(kind+" "+where, func(t *testing.T) {
					c := newChain(t, "reject", mode)
					for name := range c.services {
						if where == name || where == "all" {
							c.do[name] = do
						}
					}
					call := c.alice.Call("bob").Answered()
					c.wantAsked(everyone)
					call.Press('1')
					call.Reoffer().Ends(200)
					c.wantAsked("") // nobody is asked again inside the dialog
					call.Hangup()
					if !c.bob.HungUp {
						t.Error("bob does not hear that alice hung up")
					}
					c.over()
				})
			}
		}
	})
}

// TestChainForks: each branch passes those that stand behind the fork, and nobody else.
func TestChainForks(t *testing.T) {
	modes(t, func(t *testing.T, mode astest.Option) {
		c := newChain(t, "reject", mode)
		c.do["three"] = func(ctx context.Context, x *as.Session) error {
			if !as.SameIdentity(x.Served, c.bob.IMPU()) {
				return x.Continue()
			}
			return x.Fork([]string{x.Called, c.carol.IMPU()})
		}
		c.bob.NoAnswer()
		call := c.alice.Call("bob").Answered()
		seen := map[string]int{}
		for _, who := range c.asked {
			seen[who]++
		}
		for _, who := range []string{"one:alice", "two:alice", "three:bob", "four:bob", "three:carol", "four:carol"} {
			if seen[who] != 1 {
				t.Errorf("%s was asked %d times", who, seen[who])
			}
		}
		call.Hangup()
		if !c.carol.HungUp || c.bob.Ringing() {
			t.Errorf("carol heard the end: %v; bob rings: %v", c.carol.HungUp, c.bob.Ringing())
		}
		c.over()
	})
}

// TestChainTriesAgain: a second attempt passes those behind it again, and those before it not.
func TestChainTriesAgain(t *testing.T) {
	modes(t, func(t *testing.T, mode astest.Option) {
		c := newChain(t, "reject", mode)
		c.do["three"] = func(ctx context.Context, x *as.Session) error {
			e, err := x.Try(ctx)
			if err == nil && e.Kind == as.Busy {
				c.bob.Answers()
				_, err = x.Try(ctx)
			}
			return err
		}
		c.bob.Busy()
		c.alice.Call("bob").Answered()
		c.wantAsked(everyone + " four:bob")
	})
}

// TestChainWithoutOne: a service that is down is passed over, or stops the call, as its trigger says; the others are asked once.
func TestChainWithoutOne(t *testing.T) {
	modes(t, func(t *testing.T, mode astest.Option) {
		for _, down := range []string{"one", "two", "three", "four"} {
			c := newChain(t, "continue", mode)
			c.services[down].Kill()
			c.alice.Call("bob").Answered()
			var want []string
			for _, who := range strings.Fields(everyone) {
				if !strings.HasPrefix(who, down) {
					want = append(want, who)
				}
			}
			c.wantAsked(strings.Join(want, " "))

			c = newChain(t, "reject", mode)
			c.services[down].Kill()
			c.alice.Call("bob").Fails(503)
			before, _, _ := strings.Cut(everyone, down)
			c.wantAsked(strings.TrimSpace(before))
			if len(c.bob.Invited) != 0 {
				t.Error("bob rings")
			}
		}
	})
}

// TestChainRefusesAnother: what one service was refused is not taken by those before it for a refusal of their own.
func TestChainRefusesAnother(t *testing.T) {
	c := newChain(t, "reject")
	var seen []as.Event
	for _, name := range []string{"one", "three"} {
		c.do[name] = func(ctx context.Context, x *as.Session) error {
			e, err := x.Try(ctx)
			seen = append(seen, e)
			return err
		}
	}
	c.services["four"].Take("session.answer")
	c.do["four"] = func(ctx context.Context, x *as.Session) error {
		_, err := x.Answer(ctx, []byte(answer))
		return err
	}
	call := c.alice.Call("bob").Fails(403)
	if notes := strings.Join(call.Notes(), ""); !strings.Contains(notes, "scope=session.answer") {
		t.Errorf("alice is told %s", notes)
	}
	for _, e := range seen {
		if e.Kind != as.Failed || e.Err != nil {
			t.Errorf("%+v", e)
		}
	}
	if !c.services["one"].Grants("session.answer") || !c.services["three"].Grants("session.answer") {
		t.Error("a service thinks that it has lost a scope")
	}
}

// TestChainAnsweredWithoutMedia: an answer that declines the media passes the services before the one that gave it: none of them has changed
// a key.
func TestChainAnsweredWithoutMedia(t *testing.T) {
	c := newChain(t, "reject")
	c.do["four"] = func(ctx context.Context, x *as.Session) error {
		leg, err := x.Answer(ctx, as.Decline(x.Message))
		if err != nil {
			return err
		}
		return leg.Wait(ctx)
	}
	call := c.alice.Call("bob").Answered()
	c.wantAsked(everyone)
	call.Hangup()
	c.over()
}

// TestChainSilence: a service that does not say a word is passed over after a while.
func TestChainSilence(t *testing.T) {
	c := newChain(t, "continue")
	c.Drop("two")
	call := c.alice.Call("bob").Ends(0)
	c.Advance(5 * time.Second)
	call.Answered()
	c.wantAsked("one:alice three:bob four:bob")
	c.Restore("two")
	call.Hangup()
	c.over()
}

// TestChainKilledInTheMiddle: a service is killed while it rings. Whatever becomes of the call, nobody is asked twice, both ends agree, nobody
// is left alone, and the next call passes the one that was started anew.
func TestChainKilledInTheMiddle(t *testing.T) {
	modes(t, func(t *testing.T, mode astest.Option) {
		for _, kind := range []as.Handler{nil, backToBack} {
			for _, killed := range []string{"one", "two", "three", "four"} {
				c := newChain(t, "continue", mode)
				c.do[killed] = kind
				c.bob.NoAnswer()
				call := c.alice.Call("bob")
				c.wantAsked(everyone)
				c.services[killed].Kill()
				c.Advance(time.Second)
				if c.bob.Ringing() {
					t.Errorf("%s is killed, and bob rings for nobody", killed)
				}
				c.bob.PickUp()
				c.Settle()
				c.Advance(time.Minute)
				if call.Status == 0 {
					call.Cancel()
					c.Advance(time.Minute)
				}
				switch {
				case call.Status == 200:
					call.Hangup()
				case call.Status >= 400:
					if c.bob.Ringing() {
						t.Errorf("%s: alice hears %d, and bob still rings", killed, call.Status)
					}
				default:
					t.Errorf("%s: alice hears %d", killed, call.Status)
				}
				c.wantAsked("")
				c.services[killed].Restart()
				c.Advance(time.Minute)
				c.bob.Answers()
				c.alice.Call("bob").Answered()
				c.wantAsked(everyone)
				c.over()
			}
		}
	})
}

// TestChainCoreKilled: after the core was killed in mid-call the chain is as it was.
func TestChainCoreKilled(t *testing.T) {
	modes(t, func(t *testing.T, mode astest.Option) {
		c := newChain(t, "reject", mode)
		c.alice.Call("bob").Answered()
		c.wantAsked(everyone)
		c.KillCore()
		for _, u := range []*astest.UE{c.alice, c.bob, c.carol} {
			u.Register()
		}
		c.alice.Call("bob").Answered()
		c.wantAsked(everyone)
		c.over()
	})
}
