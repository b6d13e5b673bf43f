package attack

import (
	"bytes"
	"context"
	"time"

	"imsafe/proto/sip"
	"imsafe/secure"
)

// grantForge: a platform says by itself whom the network vouches for.
func grantForge() Attack {
	controls := []secure.ControlID{secure.CSAuthorizationGrantLeg}
	return Attack{
		ID: "cs.grant.forge", Number: "CS-10", Title: "a service platform brings a voucher of another call, or of its own making",
		Text:     "what the network has signed for one call would be shown in another: the callee believes that it vouches for this caller, or this service",
		Services: []Service{Authentication}, Stride: Spoofing, Threats: []Threat{Corruption}, Module: ServicesUser,
		Source: "RFC 8224 12.1", Access: []Access{ISC},
		Approved: []Approved{{Name: tap, Manifest: rights("session.proxy") + asked("terminating", 10, "continue")}},
		Bounds:   Bounds{Packets: 60, Bytes: 80_000, Conns: 3, Time: 3 * time.Second},
		Variants: []Variant{{Position: EnrolledPlatform, Controls: controls, Run: bringsVoucher}},
	}
}

// foreignVoucher is a token as RFC 8225 A has it. Nobody in the target has signed it.
const foreignVoucher = "eyJhbGciOiJFUzI1NiIsInR5cCI6InBhc3Nwb3J0IiwieDV1IjoiaHR0cHM6Ly9jZXJ0LmV4YW1wbGUub3JnL3Bhc3Nwb3J0LmNlciJ9" +
	".eyJkZXN0Ijp7InVyaSI6WyJzaXA6YWxpY2VAZXhhbXBsZS5jb20iXX0sImlhdCI6MTQ3MTM3NTQxOCwib3JpZyI6eyJ0biI6IjEyMTU1NTUxMjEyIn19" +
	".VLBCIVDCaeK6M4hLJb6SHQvacAQVvoiiEOWQ_iUkqk79UD81fHQ0E1b3_GluIkba7UWYRM47ZbNFdOJquE35cw;info=<https://cert.example.org/passport.cer>"

// bringsVoucher: dave calls carol, and the platform between them adds a token.
func bringsVoucher(ctx context.Context, f *Field, o *Outcome) error {
	dave, carol, err := f.callerAndCallee(ctx)
	if err != nil {
		return err
	}
	carol.answers.Store(true)
	s, err := f.server(ctx, f.attacker, tap, func(s *Server) {
		s.Edit = func(m *sip.Message) {
			if m.Method() == sip.INVITE {
				m.AppendString(sip.HdrIdentity, foreignVoucher)
			}
		}
	})
	if err != nil {
		return err
	}
	callID := f.token()
	answer, err := dave.Ask(ctx, dave.callsKeyed(carol.IMPU, callID))
	if err != nil {
		return err
	}
	o.Arrived("the platform passes %d call on with a token; dave is answered %d", len(s.Seen("INVITE")), answer.Status())
	shown := 0
	if err := within(ctx, soon, func(ctx context.Context) error {
		m, err := carol.Await(ctx, func(m *sip.Message) bool {
			return m.IsRequest() && string(m.Get(sip.HdrCallID)) == callID && m.Method() == sip.INVITE
		})
		if err == nil {
			for v := range m.Values(sip.HdrIdentity) {
				if bytes.Contains(v, []byte("VLBCIVDCaeK6M4hLJb6SHQ")) {
					shown++
				}
			}
			m.Release()
		}
		return err
	}); err != nil {
		return err
	}
	o.Users = min(shown, 1)
	o.Peer(shown > 0, "carol's telephone is shown the token %d times", shown)
	o.Wire(shown > 0, "it stands in the INVITE that arrives")
	return nil
}
