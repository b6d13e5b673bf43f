package attack

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"imsafe/secure"
)

// udpAmplify: small requests with another's address, whose answers go there and are larger.
func udpAmplify() Attack {
	return Attack{
		ID: "ci.udp.amplify", Number: "CI-20", Title: "small requests whose answers hit somebody else",
		Text:     "the edge would be a reflector that makes any flood larger and hides who sends it",
		Services: []Service{Availability}, Stride: Denial, Threats: []Threat{Interruption}, Module: InfrastructureControl,
		Source: "RFC 3261 26.1.5", Access: []Access{IPsec}, Profile: "handset", Tight: true,
		Bounds: Bounds{Packets: 40, Bytes: 40_000, Conns: 1, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "bound", Position: OffPath, Run: reflectOff, Controls: []secure.ControlID{secure.CIAvailabilityPathProof}},
			{Name: "forged", Position: OffPath, Run: reflectForged, Controls: []secure.ControlID{secure.CIAvailabilityPathProof}},
		},
	}
}

// most is how many octets may come back for each that is sent.
const most = 1.5

// reflectOff sends from an address that the attacker has, in the place of one that he forges.
func reflectOff(ctx context.Context, f *Field, o *Outcome) error {
	host, err := f.attacker.Dial(ctx, "udp", Elsewhere(0), f.Gm)
	if err != nil {
		return fmt.Errorf("attack: %w", err)
	}
	var heard counter
	done := make(chan struct{})
	go func() {
		defer close(done)
		heard.packets(host)
	}()
	sent, err := f.smalls(host, host.LocalAddr().String())
	if err != nil {
		return err
	}
	o.Arrived("30 requests of %d octets in all", sent)
	if err := judgeServed(ctx, f, o); err != nil {
		return err
	}
	_ = within(ctx, soon, func(ctx context.Context) error { return heard.until(ctx, 27) }) // silence is what is hoped for
	_ = host.Close()
	<-done
	n, back := heard.seen()
	factor := float64(back) / float64(sent)
	o.Wire(factor > most, "%d answers, %d octets for %d: a factor of %.2f", n, back, sent, factor)
	return nil
}

// reflectForged writes the address of an honest host into its packets, who counts what hits it.
func reflectForged(ctx context.Context, f *Field, o *Outcome) error {
	host, err := f.honest.ListenPacket(Elsewhere(0))
	if err != nil {
		return fmt.Errorf("attack: %w", err)
	}
	defer host.Close()
	at, err := netip.ParseAddrPort(host.LocalAddr().String())
	if err != nil {
		return fmt.Errorf("attack: %w", err)
	}
	forger, err := f.forge(at, f.Gm)
	if err != nil {
		return err
	}
	defer forger.Close()
	var heard counter
	done := make(chan struct{})
	go func() {
		defer close(done)
		heard.from(host)
	}()
	sent, err := f.smalls(forger, at.String())
	if err != nil {
		return err
	}
	o.Arrived("30 requests of %d octets in all, in the name of %v", sent, at)
	if err := judgeServed(ctx, f, o); err != nil {
		return err
	}
	_ = within(ctx, soon, func(ctx context.Context) error { return heard.until(ctx, 27) }) // silence is what is hoped for
	_ = host.Close()
	<-done
	n, back := heard.seen()
	factor := float64(back) / float64(sent)
	o.Peer(factor > most, "%v, who has sent nothing, is hit by %d answers, %d octets for %d: a factor of %.2f", at, n, back, sent, factor)
	return nil
}

// smalls sends thirty small requests in the name of an address, and returns how many octets that were.
func (f *Field) smalls(w io.Writer, from string) (sent int, err error) {
	for i := range 30 {
		small := f.small("REGISTER", i, from)
		if i%10 == 9 {
			small = f.small([]string{"OPTIONS", "SUBSCRIBE", "INVITE"}[i/10], i, from)
		}
		if _, err := io.WriteString(w, small); err != nil {
			return sent, fmt.Errorf("attack: %w", err)
		}
		sent += len(small)
	}
	return sent, nil
}

// small writes a request as short as SIP lets it be. A REGISTER asks for a mechanism that the edge answers with the list of its own.
func (f *Field) small(method string, n int, from string) string {
	lines := []string{method + " sip:" + f.Domain + " SIP/2.0", fmt.Sprintf("v:SIP/2.0/UDP %s;rport;branch=z9hG4bK%d", from, n), "Max-Forwards:9",
		"f:<sip:a@" + f.Domain + ">;tag=1", fmt.Sprintf("t:<sip:a%d@%s>", n, f.Domain), fmt.Sprintf("i:%d", n), "CSeq:1 " + method, "Security-Client:tls", "l:0"}
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}
