package attack

import (
	"context"
	"errors"
	"fmt"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// sealedISC are the layers of the wire between core and platforms: it is under TLS, for either reason, and nobody is believed who is not.
func sealedISC() []secure.ControlID {
	return []secure.ControlID{secure.ISConfidentialityMTLS, secure.ISIntegrityMTLS, secure.ISAuthenticationMTLS}
}

// iscSniff: somebody in the path reads what a platform sends.
func iscSniff() Attack {
	return Attack{
		ID: "is.isc.sniff", Number: "IS-13", Title: "a reader on the wire between core and service platform",
		Text:     "a platform whose operator has not switched TLS on, and a core that takes it, show everybody on the way who calls whom and what is said",
		Services: []Service{Confidentiality}, Stride: Disclosing, Threats: []Threat{Disclosure}, Module: InfrastructureControl,
		Source: "TS 33.203 Annex J; RFC 3261 26.1.3", Access: []Access{ISC},
		Approved: []Approved{{Name: chat, Manifest: rights("message.send")}},
		Bounds:   Bounds{Packets: 60, Bytes: 60_000, Conns: 2, Time: 3 * time.Second},
		Variants: []Variant{{Position: OnPath, Controls: sealedISC(), Run: sniffISC}},
	}
}

// careless connects the platform chat through the attacker: without TLS first, as one that is not made with care, and with it where the core does not
// take that.
func (f *Field) careless(ctx context.Context, heard *eavesdropped, edit func([]byte) []byte) (s *Server, sealed bool, err error) {
	w, err := f.inThePath(ctx, f.ISC, heard, edit)
	if err != nil {
		return nil, false, err
	}
	s = f.serverOn(w, chat, nil)
	switch err = s.settles(ctx); {
	case err == nil:
		return s, false, nil
	case !errors.Is(err, ErrClosed):
		return nil, false, err
	}
	if w, err = f.inThePath(ctx, f.ISC, heard, edit); err != nil {
		return nil, true, err
	}
	p, err := f.platform(chat)
	if err != nil {
		return nil, true, err
	}
	conn, err := f.secures(ctx, w, &p.Certificate)
	if err != nil {
		return nil, true, err
	}
	s = f.serverOn(conn, chat, nil)
	return s, true, s.settles(ctx)
}

// sniffISC lets the platform write to carol, over the attacker.
func sniffISC(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	const secret = "your code is 4711"
	var heard eavesdropped
	s, sealed, err := f.careless(ctx, &heard, nil)
	if err != nil {
		return err
	}
	answer, err := f.asks(ctx, s, s.writes(carol.IMPU, secret))
	if err != nil {
		return err
	}
	got, err := f.counts(ctx, dave, carol, func(m *sip.Message) bool { return string(m.Body()) == secret })
	if err != nil {
		return err
	}
	read, octets := heard.has(secret)
	o.Arrived("the platform speaks over the attacker, under TLS: %v; %d octets", sealed, octets)
	if read && got > 0 {
		o.Users = 1
	}
	o.Wire(read && got > 0, "of %d octets between platform and core the attacker reads the message: %v", octets, read && got > 0)
	o.Peer(got > 0 && !sealed, "carol gets %d of 1 message of the platform, answered %d; it went under TLS: %v", got, answer, sealed)
	return nil
}

// asks sends a request of the platform and returns the status of its answer, 0 if the core takes nothing from it.
func (f *Field) asks(ctx context.Context, s *Server, request string) (status int, err error) {
	err = within(ctx, soon, func(ctx context.Context) error {
		answer, err := s.Ask(ctx, request)
		if err != nil {
			return err
		}
		status = answer.Status()
		return nil
	})
	if errors.Is(err, ErrSilence) || errors.Is(err, ErrClosed) {
		return 0, nil
	}
	if err != nil {
		err = fmt.Errorf("attack: a request of the platform: %w", err)
	}
	return status, err
}
