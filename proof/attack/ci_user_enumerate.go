package attack

import (
	"context"
	"fmt"
	"strconv"
	"strings"
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
		Bounds:   Bounds{Packets: 600, Bytes: 700_000, Conns: 37, Time: 3 * time.Second},
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
		second, err := h.answered(ctx, h.Registers(r, authorization))
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
	return f.judgeDelay(ctx, o)
}

// judgeDelay judges what the delay of an answer tells.
func (f *Field) judgeDelay(ctx context.Context, o *Outcome) error {
	told, err := f.byDelay(ctx)
	if err != nil {
		return err
	}
	o.Wire(told < 0.3 || told > 0.7, "by the delay a user is told from nobody with an area under the curve of %.2f, where 0.5 is chance", told)
	return nil
}

// byDelay asks in the names of users and of nobody in turn, and returns how well the delay of the answer tells them apart: the part of all pairs in which that
// of the user is longer (the area under the curve of a classifier, 0.5 for none). The noise of a busy host takes it towards that.
func (f *Field) byDelay(ctx context.Context) (float64, error) {
	const times = 60 // of chance the area deviates by 0.05
	users := []string{Alice, Bob, Carol, Mallory}
	h, err := f.Stranger(ctx)
	if err != nil {
		return 0, err
	}
	var delays [2][times]time.Duration
	for i := range times {
		u := f.Users[users[i%len(users)]]
		private, domain, _ := strings.Cut(u.IMPI, "@")
		nobody := strings.Repeat("x", max(len(private)-2, 0)) + f.token()[:2]
		names := [2]Registering{{IMPI: u.IMPI, IMPU: u.IMPU, Expires: 600}, {IMPI: nobody + "@" + domain, IMPU: "sip:" + nobody + "@" + f.Domain, Expires: 600}}
		for n := range names {
			k := (n + i/len(users)) % len(names) // neither is always the second
			begun := f.Clock.Now()
			if _, err := h.RegisterAs(ctx, names[k]); err != nil {
				return 0, err
			}
			delays[k][i] = f.Clock.Now() - begun
		}
	}
	longer := 0
	for _, a := range delays[0] {
		for _, b := range delays[1] {
			if a > b {
				longer++
			}
		}
	}
	return float64(longer) / (times * times), nil
}
