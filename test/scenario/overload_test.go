package scenario

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"imsafe/policy"
	"imsafe/proto/sip"
	"imsafe/secure"
	"imsafe/test/lab"
)

// TestOverload is a node that needs two milliseconds for each datagram, and a user who sends it three times as many messages as it can carry. A
// message costs it four: to him and to whom it is for, and both answers. Others write to each other, one stranger registers, and there is an
// emergency call: all of them are served within a moment, as far as the control is on.
func TestOverload(t *testing.T) {
	for _, on := range []bool{true, false} {
		t.Run(fmt.Sprintf("control_%v", on), func(t *testing.T) {
			p := policy.Default()
			if !on {
				var err error
				if p, err = p.Ablate(secure.CIAvailabilityOverload); err != nil {
					t.Fatal(err)
				}
			}
			o := newOverload(t, p)
			defer o.w.Close()
			o.flood(3*time.Second, nil) // it needs a moment to be noticed
			served, worst := o.honest(t)
			refused, passed := o.w.Nodes[0].Core.Gate.Counts(secure.CIAvailabilityOverload)
			if !on {
				if served > 2 || passed == 0 {
					t.Errorf("without the control %d of 10 honest requests are answered within a second: the flood proves nothing", served)
				}
				return
			}
			if served != 10 || worst > 300*time.Millisecond || refused == 0 {
				t.Errorf("%d of 10 honest requests are answered within a second, the slowest after %v; %d refusals", served, worst, refused)
			}
			o.w.Advance(time.Second)
			for range 60 {
				o.alice.Send(sip.MESSAGE, "sip:nobody@"+lab.Domain)
				o.w.Advance(50 * time.Millisecond)
			}
			if o.w.Nodes[0].Core.Load[0].Active() {
				t.Error("three seconds after the flood it is still an overload")
			}
		})
	}
}

// overloaded is a world with one slow node.
type overloaded struct {
	w                         *lab.World
	alice, bob, mallory, psap *lab.Client
	stranger                  *lab.Client
}

func newOverload(t *testing.T, p policy.Effective) *overloaded {
	t.Helper()
	w, err := lab.New(lab.Options{Seed: 1, Policy: p, Wide: true, Work: 2 * time.Millisecond, Emergency: "sip:psap@" + lab.Domain})
	if err != nil {
		t.Fatal(err)
	}
	o := &overloaded{w: w}
	for name, c := range map[string]**lab.Client{"alice": &o.alice, "bob": &o.bob, "mallory": &o.mallory, "psap": &o.psap, "stranger": &o.stranger} {
		if *c, err = w.Nodes[0].AddUser(lab.User{Name: name}); err != nil {
			t.Fatal(err)
		}
		if name != "stranger" {
			o.registers(t, *c)
		}
	}
	return o
}

// registers lets a client register where answers take a while.
func (o *overloaded) registers(t *testing.T, c *lab.Client) {
	t.Helper()
	var challenge *sip.Message
	for _, code := range []int{401, 200} {
		if err := c.SendRegister(challenge); err != nil {
			t.Fatal(err)
		}
		o.w.Advance(50 * time.Millisecond)
		if challenge = c.Response(code); challenge == nil {
			t.Fatalf("%s waits for %d: %s", c.Name, code, c.Pending())
		}
	}
}

// flood lets mallory send for a while, as long as more says so.
func (o *overloaded) flood(d time.Duration, more func() bool) {
	for range int(d / (10 * time.Millisecond)) {
		if more == nil || more() {
			for range 15 {
				o.mallory.Send(sip.MESSAGE, "sip:nobody@"+lab.Domain)
			}
		}
		o.w.Advance(10 * time.Millisecond)
	}
	o.mallory.Inbox = nil
}

// honest is what others do during the flood: how much of it is answered within a second, and how long the slowest waits.
func (o *overloaded) honest(t *testing.T) (served int, worst time.Duration) {
	t.Helper()
	for i := range 10 {
		begun := o.w.Clock.Now()
		answered := func() bool { return o.alice.Response(404) != nil }
		switch i % 4 {
		case 0:
			o.alice.Send(sip.MESSAGE, "sip:nobody@"+lab.Domain)
		case 1:
			answered = func() bool { return o.stranger.Response(401) != nil }
			if err := o.stranger.SendRegister(nil); err != nil {
				t.Fatal(err)
			}
		case 2:
			answered = func() bool { return o.psap.Request("INVITE") != nil }
			o.bob.Send(sip.INVITE, "urn:service:sos")
		case 3:
			answered = func() bool { return o.bob.Response(401) != nil }
			if err := o.bob.SendRegister(nil); err != nil {
				t.Fatal(err)
			}
		}
		done := false
		o.flood(time.Second, func() bool {
			if !done && answered() {
				done = true
				served++
				worst = max(worst, o.w.Clock.Now()-begun)
			}
			return true
		})
		if !done {
			t.Logf("request %d has no answer: %s, %s, %s, %s", i, o.alice.Pending(), o.bob.Pending(), o.psap.Pending(), o.stranger.Pending())
		}
	}
	return served, worst
}

// TestOverload_by_true_users is P14 in virtual time: 120 users write once a second each, which is twice what a node can carry that needs seventeen
// milliseconds for a message. Nine tenths of what it can carry are carried, half of that within 50 ms, and two seconds after the half of them has
// stopped everybody is answered.
func TestOverload_by_true_users(t *testing.T) {
	const users, work = 120, 17 * time.Millisecond
	w, err := lab.New(lab.Options{Seed: 1, Wide: true, Work: work})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	o := &overloaded{w: w}
	var all []*lab.Client
	for i := range users {
		c, err := w.Nodes[0].AddUser(lab.User{Name: fmt.Sprintf("user%d", i)})
		if err != nil {
			t.Fatal(err)
		}
		o.registers(t, c)
		all = append(all, c)
	}
	sent := map[*lab.Client]time.Duration{}
	var took []time.Duration
	round := func(who []*lab.Client) {
		begun := w.Clock.Now()
		for i, c := range who {
			c.Send(sip.MESSAGE, "sip:nobody@"+lab.Domain)
			sent[c] = w.Clock.Now()
			for next := begun + time.Second*time.Duration(i+1)/time.Duration(len(who)); w.Clock.Now() < next; {
				w.Advance(min(5*time.Millisecond, next-w.Clock.Now()))
				for _, c := range who {
					if at, waits := sent[c]; waits && c.Response(404) != nil {
						took = append(took, w.Clock.Now()-at)
						delete(sent, c)
					}
				}
			}
		}
	}
	for range 3 {
		round(all)
	}
	took = nil
	const seconds = 10
	for range seconds {
		round(all)
	}
	possible := float64(seconds) * float64(time.Second/work) * (1 - 1.0/20)
	slices.Sort(took)
	t.Logf("%d of %.0f that could be are carried, p50 %v, p99 %v", len(took), possible, took[len(took)/2], took[len(took)*99/100])
	if float64(len(took)) < 0.9*possible || took[len(took)/2] > 50*time.Millisecond {
		t.Errorf("%d messages are carried in %d s, half of them within %v", len(took), seconds, took[len(took)/2])
	}
	half := all[:users/4]
	for range 3 {
		round(half)
	}
	took = nil
	round(half)
	if len(took) < len(half)-1 {
		t.Errorf("afterwards %d of %d are answered", len(took), len(half))
	}
}
