package attack

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"imsafe/proto/esp"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// sourceSpoof: packets that are authentic, and say that they come from elsewhere than was agreed.
func sourceSpoof() Attack {
	return Attack{
		ID: "ci.source.spoof", Number: "CI-10", Title: "another source inside one's own associations",
		Text:     "what is authentic would be taken for somebody else's, whose address or port it names",
		Services: []Service{Authentication}, Stride: Spoofing, Threats: []Threat{Removal}, Module: InfrastructureControl,
		Source: "TS 33.203 7.1", Access: []Access{IPsec},
		Bounds: Bounds{Packets: 120, Bytes: 150_000, Conns: 3, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "inner-port", Position: Subscriber, Controls: []secure.ControlID{secure.CIAuthenticationSASelector},
				Run: saysFrom(func(g *esp.Agreement) { g.Here.Port[esp.Client] ^= 1 })},
			{Name: "inner-address", Position: Subscriber, Controls: []secure.ControlID{secure.CIAuthenticationSASelector},
				Run: saysFrom(func(g *esp.Agreement) { g.Inner = netip.AddrFrom4([4]byte{127, 0, 0, 77}) })},
			{Name: "outer-address", Position: Subscriber, Controls: []secure.ControlID{secure.CIAuthenticationSASelector}, Run: sendsFrom,
				Ours: "its sender has another address of loopback"},
			{Name: "via", Position: Subscriber, Controls: []secure.ControlID{secure.CIAuthenticationSASelector}, Run: saysVia},
		},
	}
}

// spoofed is how many packets say that they come from elsewhere.
const spoofed = 50

// saysFrom answers a challenge inside associations whose sender's end is edited, again and again.
func saysFrom(edit func(*esp.Agreement)) func(context.Context, *Field, *Outcome) error {
	return func(ctx context.Context, f *Field, o *Outcome) error {
		mallory, err := f.MalloryInClear(ctx)
		if err != nil {
			return err
		}
		s, err := mallory.tunnel()
		if err != nil {
			return err
		}
		var answer *sip.Message
		err = within(ctx, soon, func(ctx context.Context) (err error) {
			answer, err = mallory.RegisterAs(ctx, Registering{User: mallory.User, Expires: 600, Agreement: Agreement{Install: edit}})
			return err
		})
		if err != nil && !errors.Is(err, ErrSilence) {
			return err
		}
		// What comes back is for the true source, so the attacker reads its packets, not what is in them.
		_, come := s.captured()
		if answer == nil && len(come) == 0 {
			if err := mallory.answersAgain(s, spoofed-1); err != nil {
				return err
			}
			_ = within(ctx, soon, func(ctx context.Context) error { // silence is what is hoped for
				_, err := mallory.Await(ctx, isFinal)
				return err
			})
			_, come = s.captured()
		}
		processed := answer != nil || len(come) > 0
		if processed {
			o.Users = 1
		}
		o.Wire(processed, "REGISTERs with another source inside, %d of them if none is heard: %d packets come back", spoofed, len(come))
		return nil
	}
}

// answersAgain writes so many REGISTERs more, which answer the same challenge inside the same associations.
func (h *Hand) answersAgain(s *sealed, times int) error {
	r := Registering{IMPU: h.IMPU, Expires: 600, agreed: true,
		Lines: append(append([]string(nil), agreementLines...), "Security-Client: "+string(s.offered.AppendTo(nil)), s.verify())}
	for range times {
		if err := h.Write(h.Registers(r, h.lastAuthorization)); err != nil {
			return err
		}
	}
	return nil
}

// sendsFrom puts a packet of mallory's own associations on the wire elsewhere: an address is a part of what was agreed (TS 33.203 7.1, 7.5).
func sendsFrom(ctx context.Context, f *Field, o *Outcome) error {
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return err
	}
	s, err := mallory.tunnel()
	if err != nil {
		return err
	}
	out, err := f.attacker.Dial(ctx, "udp", netip.AddrFrom4([4]byte{127, 0, 0, 77}), f.NAT)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	text := f.token()
	for range spoofed {
		packet, _, err := s.engine.SealUDP(nil, *s.ref, esp.Client, []byte(mallory.Message(f.Bob.IMPU, text)))
		if err != nil {
			return err
		}
		if _, err := out.Write(packet); err != nil {
			return err
		}
	}
	heard, err := f.behindAlice(ctx, text)
	if err != nil {
		return err
	}
	o.Users = min(len(heard), 1)
	o.Peer(len(heard) > 0, "of %d packets that leave from another address than the one of their associations, bob reads %d", spoofed, len(heard))
	return nil
}

// saysVia answers a challenge inside associations, and names another address in the Via (TS 33.203 7.1 rule 2).
func saysVia(ctx context.Context, f *Field, o *Outcome) error {
	mallory, err := f.MalloryInClear(ctx)
	if err != nil {
		return err
	}
	mallory.sentBy = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 77}), f.port()).String() // behind a NAT, as the first REGISTER says
	var answer *sip.Message
	err = within(ctx, soon, func(ctx context.Context) (err error) {
		answer, err = mallory.RegisterAs(ctx, Registering{User: mallory.User, Expires: 600})
		return err
	})
	if err != nil && !errors.Is(err, ErrSilence) {
		return err
	}
	s, err := mallory.tunnel()
	if err != nil {
		return err
	}
	times, status := 1, statusOf(answer)
	for ; times < spoofed && status != 200 && ctx.Err() == nil; times++ {
		if err := mallory.answersAgain(s, 1); err != nil {
			return err
		}
	}
	if times > 1 {
		err := within(ctx, soon, func(ctx context.Context) error {
			_, err := mallory.Await(ctx, func(m *sip.Message) bool { return isFinal(m) && m.Status() == 200 })
			return err
		})
		if err == nil {
			status = 200
		}
	}
	if status == 200 {
		o.Users = 1
	}
	o.Wire(status == 200, "%d protected REGISTERs whose Via is not their source: the first is answered %d (0: not at all)", times, status)
	return nil
}
