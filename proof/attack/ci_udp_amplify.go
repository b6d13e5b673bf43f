package attack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
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
		Bounds: Bounds{Packets: 230, Bytes: 150_000, Conns: victims, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "bound", Position: OffPath, Run: reflectOff, Controls: []secure.ControlID{secure.CIAvailabilityPathProof}},
			{Name: "forged", Position: OffPath, Run: reflectForged, Controls: []secure.ControlID{secure.CIAvailabilityPathProof}},
		},
	}
}

// most is how many octets may come back for each that is sent.
const most = 1.5

// The flood: so many requests to each of so many who are hit, as many as one may send at once and not more.
const (
	victims   = 7
	eachSmall = 30
)

// reflectOff sends from addresses that the attacker has, in the place of those that he forges.
func reflectOff(ctx context.Context, f *Field, o *Outcome) error {
	var hit hits
	defer hit.over()
	for i := range victims {
		host, err := f.attacker.Dial(ctx, "udp", Elsewhere(i), f.Gm)
		if err != nil {
			return fmt.Errorf("attack: %w", err)
		}
		hit.counts(host, func() { hit.heard[i].packets(host) })
		if err := hit.smalls(f, i, host, host.LocalAddr().String()); err != nil {
			return err
		}
	}
	o.Arrived("%d requests from %d addresses", victims*eachSmall, victims)
	if err := judgeServed(ctx, f, o); err != nil {
		return err
	}
	n, factor := hit.factor(ctx)
	o.Wire(factor > most, "%d answers; where it is most, a factor of %.2f", n, factor)
	return nil
}

// reflectForged writes the addresses of honest hosts into its packets, who count what hits them.
func reflectForged(ctx context.Context, f *Field, o *Outcome) error {
	var hit hits
	defer hit.over()
	for i := range victims {
		host, err := f.honest.ListenPacket(Elsewhere(i))
		if err != nil {
			return fmt.Errorf("attack: %w", err)
		}
		hit.counts(host, func() { hit.heard[i].from(host) })
		at, err := netip.ParseAddrPort(host.LocalAddr().String())
		if err != nil {
			return fmt.Errorf("attack: %w", err)
		}
		forger, err := f.forge(at, f.Gm)
		if err != nil {
			return err
		}
		if err := errors.Join(hit.smalls(f, i, forger, at.String()), forger.Close()); err != nil {
			return err
		}
	}
	o.Arrived("%d requests in the name of %d hosts", victims*eachSmall, victims)
	if err := judgeServed(ctx, f, o); err != nil {
		return err
	}
	n, factor := hit.factor(ctx)
	o.Peer(factor > most, "%d hosts that have sent nothing are hit by %d answers; where it is most, a factor of %.2f", victims, n, factor)
	return nil
}

// hits is what was sent in the name of each host, and what hits it.
type hits struct {
	heard [victims]counter
	sent  [victims]int // octets
	hosts []io.Closer
	all   sync.WaitGroup
}

// counts has what comes to a host counted until it is over.
func (h *hits) counts(host io.Closer, count func()) {
	h.hosts = append(h.hosts, host)
	h.all.Go(count)
}

// over ends the hosts; a second time it does nothing.
func (h *hits) over() {
	for _, host := range h.hosts {
		_ = host.Close()
	}
	h.all.Wait()
}

// factor is how many answers have hit, and how many octets for each that was sent, at the host where that is most: those that come later meet budgets that are spent.
func (h *hits) factor(ctx context.Context) (answers int, factor float64) {
	_ = within(ctx, soon, func(ctx context.Context) (err error) {
		for i := range h.heard {
			err = errors.Join(err, h.heard[i].until(ctx, eachSmall*9/10))
		}
		return err // silence is what is hoped for
	})
	h.over()
	for i := range h.heard {
		n, octets := h.heard[i].seen()
		answers, factor = answers+n, max(factor, float64(octets)/float64(h.sent[i]))
	}
	return answers, factor
}

// smalls sends small requests in the name of the address of a host.
func (h *hits) smalls(f *Field, host int, w io.Writer, from string) error {
	for i := range eachSmall {
		method := "REGISTER"
		if i%10 == 9 {
			method = []string{"OPTIONS", "SUBSCRIBE", "INVITE"}[i/10]
		}
		small := f.small(method, host*eachSmall+i, from) // of names that were not asked for yet
		if _, err := io.WriteString(w, small); err != nil {
			return fmt.Errorf("attack: %w", err)
		}
		h.sent[host] += len(small)
	}
	return nil
}

// small writes a request as short as SIP lets it be. A REGISTER asks for a mechanism that the edge answers with the list of its own.
func (f *Field) small(method string, n int, from string) string {
	lines := []string{method + " sip:" + f.Domain + " SIP/2.0", fmt.Sprintf("v:SIP/2.0/UDP %s;rport;branch=z9hG4bK%d", from, n), "Max-Forwards:9",
		"f:<sip:a@" + f.Domain + ">;tag=1", fmt.Sprintf("t:<sip:a%d@%s>", n, f.Domain), fmt.Sprintf("i:%d", n), "CSeq:1 " + method, "Security-Client:tls", "l:0"}
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}
