package attack

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"imsafe/secure"
)

// userEnumerate: a stranger registers in names that he makes up, and in those of users.
func userEnumerate() Attack {
	return Attack{
		ID: "ci.user.enumerate", Number: "CI-26", Title: "names of users, told from others by what a REGISTER is answered",
		Text:     "who is a subscriber, and who is registered now, is nobody's business; and a list of names is where every other attack begins",
		Services: []Service{Confidentiality}, Stride: Disclosing, Threats: []Threat{Disclosure}, Module: ServicesControl,
		Source: "svwar; RFC 3261 26.1.5", Access: both(),
		Bounds:   Bounds{Packets: 1000, Bytes: 1_200_000, Conns: 48, Time: 4 * time.Second},
		Variants: []Variant{{Position: OffPath, Run: tryNames, Controls: []secure.ControlID{secure.CIConfidentialityUniform}}},
	}
}

// tryNames asks once in the name of each user, and in as many of nobody's that are as long, each from an address of its own; and answers a challenge without the card.
func tryNames(ctx context.Context, f *Field, o *Outcome) error {
	ask := func(impi, impu string) (status string, err error) {
		h, err := f.Stranger(ctx)
		if err != nil {
			return "", err
		}
		r := Registering{IMPI: impi, IMPU: impu, Expires: 600}
		m, err := h.RegisterAs(ctx, r)
		if err != nil || m.Status() != 401 {
			return strconv.Itoa(statusOf(m)), err
		}
		authorization, err := h.Respond(&User{}, impi, m) // by a card with keys of naught
		if err != nil {
			return "", err
		}
		second, err := h.answeredWithin(ctx, reachable, h.Registers(r, authorization)) // on a busy host an answer that is late is no other one
		return fmt.Sprintf("%d, %d", m.Status(), second), err
	}
	right, tried := 0, 0
	var heard []string
	for _, name := range []string{Alice, Bob, Carol, Mallory} {
		u := f.Users[name]
		known, err := ask(u.IMPI, u.IMPU)
		if err != nil {
			return err
		}
		private, _, _ := strings.Cut(u.IMPI, "@")
		name := strings.Repeat("x", max(len(private)-2, 0)) + f.token()[:2] + "@" + f.Domain
		private = name // of the same form
		if !strings.Contains(u.IMPI, "@") {
			private, _, _ = strings.Cut(name, "@")
		}
		nobody, err := ask(private, "sip:"+name)
		if err != nil {
			return err
		}
		// And in one name, for a public identity that somebody has and for one that nobody has.
		taken, err := ask(f.Users[Mallory].IMPI, u.IMPU)
		if err != nil {
			return err
		}
		free, err := ask(f.Users[Mallory].IMPI, "sip:"+name)
		if err != nil {
			return err
		}
		tried++
		if known != nobody || taken != free {
			right++
		}
		heard = append(heard, known+", "+taken+" and "+nobody+", "+free)
	}
	o.Arrived("%d pairs of names", tried)
	o.Users = right
	o.Wire(right > 0, "%d of %d users are told from nobody by the answer: %s", right, tried, strings.Join(heard, "; "))
	if right > 0 {
		return nil // the answer tells more than its delay
	}
	return f.judgeDelay(ctx, o)
}

// judgeDelay judges what the delay of an answer tells.
func (f *Field) judgeDelay(ctx context.Context, o *Outcome) error {
	delays, err := f.delays(ctx)
	if err != nil {
		return err
	}
	told, n := delays.area(), len(delays)
	deviates := max(0.2, 4*math.Sqrt(float64(2*n+1)/12)/float64(n)) // four times what chance does (Mann and Whitney 1947), and not less than the noise of a busy host
	o.Wire(math.Abs(told-0.5) > deviates, "by the delays of %d users and as many of nobody's the ones are told from the others with an area under the curve of %.2f, where 0.5 is chance",
		n, told)
	return nil
}

// delay is how long the answer took in the name of a user, and in the name of nobody.
type delay [2]time.Duration

// delays are some of both.
type delays []delay

// area is how well the delay of the answer tells them apart: the part of all pairs in which that of the user is longer (the area under the curve of a classifier,
// 0.5 for none). The noise of a busy host takes it towards that.
func (d delays) area() float64 {
	longer := 0
	for _, a := range d {
		for _, b := range d {
			if a[0] > b[1] {
				longer++
			}
		}
	}
	return float64(longer) / float64(len(d)*len(d))
}

// delays asks in the names of users and of nobody in turn, over a few connections at once: two hundred times in each, or for as long as there is time.
func (f *Field) delays(ctx context.Context) (all delays, err error) {
	const hands, each, enough = 4, 50, 20
	until := f.Clock.Now() + 2*time.Second
	if end, bounded := ctx.Deadline(); bounded {
		until = min(until, f.Clock.Now()+time.Until(end)-reachable)
	}
	var strangers [hands]*Hand
	for i := range strangers {
		if strangers[i], err = f.Stranger(ctx); err != nil {
			return nil, err
		}
	}
	var heard [hands]delays
	var failed [hands]error
	var running sync.WaitGroup
	for i, h := range strangers {
		running.Go(func() {
			for n := range each {
				if failed[i] != nil || f.Clock.Now() > until {
					return
				}
				var d delay
				d, failed[i] = h.delaysOf(ctx, i+n)
				heard[i] = append(heard[i], d)
			}
		})
	}
	running.Wait()
	if all, err = slices.Concat(heard[:]...), errors.Join(failed[:]...); err == nil && len(all) < enough {
		err = fmt.Errorf("attack: %d delays say nothing", len(all))
	}
	return all, err
}

// delaysOf asks once in the name of a user, in turn, and once in one of nobody's that is as long.
func (h *Hand) delaysOf(ctx context.Context, i int) (d delay, err error) {
	users := []string{Alice, Bob, Carol, Mallory}
	u := h.f.Users[users[i%len(users)]]
	private, domain, _ := strings.Cut(u.IMPI, "@")
	nobody := strings.Repeat("x", max(len(private)-2, 0)) + h.f.token()[:2]
	names := [2]Registering{{IMPI: u.IMPI, IMPU: u.IMPU, Expires: 600}, {IMPI: nobody + "@" + domain, IMPU: "sip:" + nobody + "@" + h.f.Domain, Expires: 600}}
	for n := range names {
		k := (n + i/len(users)) % len(names) // neither is always the second
		begun := h.f.Clock.Now()
		if _, err := h.RegisterAs(ctx, names[k]); err != nil {
			return d, err
		}
		d[k] = h.f.Clock.Now() - begun
	}
	return d, nil
}
