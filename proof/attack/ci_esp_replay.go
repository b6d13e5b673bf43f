package attack

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"imsafe/proto/esp"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// espReplay: somebody in the path sends packets of others again, or changes them.
func espReplay() Attack {
	return Attack{
		ID: "ci.esp.replay", Number: "CI-12", Title: "packets of others sent again, or changed",
		Text:     "what was said once would be said again, or something else would be said, by whoever is in the path",
		Services: []Service{Integrity}, Stride: Tampering, Threats: []Threat{Corruption}, Module: InfrastructureControl,
		Source: "TS 33.203 6.3, 7.1", Access: []Access{IPsec},
		Bounds: Bounds{Packets: 700, Bytes: 300_000, Conns: 1, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "replay", Position: OnPath, Quick: true, Run: replay, Controls: []secure.ControlID{secure.CIIntegrityReplay}},
			{Name: "late", Position: OnPath, Quick: true, Run: replayLate, Controls: []secure.ControlID{secure.CIIntegrityReplay}},
			{Name: "reflect", Position: OnPath, Run: reflect, Controls: []secure.ControlID{secure.CIIntegrityReplay},
				NoAblation: "both sides draw SPIs that differ from the other's: no setting makes them equal"},
			{Name: "flip", Position: OnPath, Run: flip, Controls: []secure.ControlID{secure.CIIntegrityESP}},
		},
	}
}

// forgotten is when the target's transactions of a request are over: 64*T1 of quick timers, and some more. Before, a request that comes
// again counts as sent again.
const forgotten = 64*QuickT1 + soon

// replay sends a message of carol's again, after it has been forgotten: is it another one then?
func replay(ctx context.Context, f *Field, o *Outcome) error { return f.replay(ctx, o, 0) }

// replayLate is replay of what lies behind the window by then (RFC 4303 3.4.3): so many packets have come since.
func replayLate(ctx context.Context, f *Field, o *Outcome) error {
	return f.replay(ctx, o, 2*esp.Window)
}

// captured is how many packets of others are sent again, or changed.
const captured = 100

// keepsAlive sends so many keep-alives (RFC 5626 3.5.1): packets like any other to who cannot read them.
func (h *Hand) keepsAlive(times int) error {
	for range times {
		if err := h.Write("\r\n\r\n"); err != nil {
			return err
		}
	}
	return nil
}

// replay is both. What carol sends before the message, and later behind it, are keep-alives.
func (f *Field) replay(ctx context.Context, o *Outcome, later int) error {
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	s, err := carol.tunnel()
	if err != nil {
		return err
	}
	if err := carol.keepsAlive(captured); err != nil {
		return err
	}
	said := "pay 100 " + f.token()
	if _, err := carol.Ask(ctx, carol.Message(f.Bob.IMPU, said)); err != nil {
		return err
	}
	wire, err := f.attacker.Dial(ctx, "udp", netip.Addr{}, f.NAT)
	if err != nil {
		return err
	}
	defer wire.Close()
	select {
	case <-time.After(forgotten):
	case <-ctx.Done():
		return ctx.Err()
	}
	sent, _ := s.captured()
	if err := carol.keepsAlive(later); err != nil {
		return err
	}
	for range 2 {
		for _, packet := range sent {
			if _, err := wire.Write(packet); err != nil {
				return err
			}
		}
	}
	heard, err := f.heardFrom(ctx, carol)
	if err != nil {
		return err
	}
	times := strings.Count(strings.Join(heard, "\n"), said)
	o.Users = min(times-1, 1)
	o.Peer(times > 1, "carol says %q once, bob reads it %d times; %d of her packets were sent twice more", said[:len("pay 100")], times, len(sent))
	return nil
}

// reflect sends packets back to whoever has sent them: what the edge has sent to carol to the edge, and to carol what she has sent. One who takes
// his own packet for the other's would see its request come once more, or have it answered.
func reflect(ctx context.Context, f *Field, o *Outcome) error {
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	s, err := carol.tunnel()
	if err != nil {
		return err
	}
	said := "to carol " + f.token()
	if err := f.Bob.UE.SendMessage(ctx, carol.IMPU, "text/plain", []byte(said)); err != nil {
		return err
	}
	m, err := carol.Got(ctx, sip.MESSAGE, said)
	if err != nil {
		return err
	}
	callID := string(m.Get(sip.HdrCallID))
	wire, err := f.attacker.Dial(ctx, "udp", netip.Addr{}, f.NAT)
	if err != nil {
		return err
	}
	defer wire.Close()
	sent, come := s.captured()
	back := 0
	for back < captured && len(come) > 0 {
		for _, packet := range come {
			if _, err := wire.Write(packet); err != nil {
				return err
			}
		}
		back += len(come)
	}
	own := 0
	for _, packet := range sent {
		if s.open(packet) != nil {
			own++
		}
	}
	if _, err := f.heardFrom(ctx, carol); err != nil {
		return err
	}
	o.Arrived("%d packets of the edge's own sent back to it %d times in all, and a message of carol's behind them", len(come), back)
	err = within(ctx, soon/10, func(ctx context.Context) error {
		_, err := carol.Await(ctx, func(m *sip.Message) bool { return string(m.Get(sip.HdrCallID)) == callID })
		return err
	})
	o.Peer(err == nil || own > 0, "carol takes %d of her own %d packets for the edge's; the edge took one of its own %d for hers: %v", own, len(sent), len(come), err == nil)
	return nil
}

// heardFrom sends a message of carol's behind the attack and returns what bob reads up to it.
func (f *Field) heardFrom(ctx context.Context, carol *Hand) (heard []string, err error) {
	behind := f.token()
	if _, err := carol.Ask(ctx, carol.Message(f.Bob.IMPU, behind)); err != nil {
		return nil, err
	}
	for {
		m, err := f.Bob.Next(ctx)
		if err != nil || string(m.Body) == behind {
			return heard, err
		}
		heard = append(heard, string(m.Body))
	}
}

// flip changes a message of carol's under way, at the place where it must stand, in each of the packets that she sends it in.
func flip(ctx context.Context, f *Field, o *Outcome) error {
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	s, err := carol.tunnel()
	if err != nil {
		return err
	}
	wire, err := f.attacker.Dial(ctx, "udp", netip.Addr{}, f.NAT)
	if err != nil {
		return err
	}
	defer wire.Close()
	const said, wanted = "pay 1 not 9", "pay 9 not 1" // the sum of UDP is the same
	text := carol.Message(f.Bob.IMPU, said)
	for range captured {
		packet, _, err := s.engine.SealUDP(nil, *s.ref, esp.Client, []byte(text))
		if err != nil {
			return err
		}
		for _, digit := range []byte{'1', '9'} {
			packet[encapsulation+strings.Index(text, said)+strings.IndexByte(said, digit)] ^= '1' ^ '9'
		}
		if _, err := wire.Write(packet); err != nil {
			return err
		}
	}
	heard, err := f.heardFrom(ctx, carol)
	if err != nil {
		return err
	}
	reached := strings.Contains(strings.Join(heard, "\n"), wanted)
	if reached {
		o.Users = 1
	}
	o.Peer(reached, "carol says %q in %d packets, and all are held; bob reads %q", said, captured, heard)
	return nil
}

// encapsulation is what stands before the text of a datagram: SPI, sequence number and IV of AES-GCM (RFC 4106 3.1), and inside them
// the headers of IPv4 and UDP.
const encapsulation = 4 + 4 + 8 + 20 + 8
