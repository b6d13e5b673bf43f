package scscf

import (
	"bytes"

	"imsafe/hop"
	"imsafe/imsbox/dialog"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
)

// The dialogs that service platforms take part in are kept, so that they can be ended with the platform: when its approval is taken back,
// or when an operator suspends it and asks for that.

// What a platform is in a dialog.
const (
	hostedBetween uint32 = iota // a proxy in its path: both ends are told, past the platform
	hostedCallee                // its called end: the caller is told
	hostedCaller                // its calling end: the called user is told
)

// suspended is the reason of our BYEs (RFC 3326).
const suspended = `SIP;cause=480;text="The service has ended"`

// pastPlatform is how many route entries towards the called end are passed over: the platform's, and ours behind it.
func pastPlatform(part uint32) int {
	if part == hostedBetween {
		return 2
	}
	return 0
}

// hosts takes down the dialog of an answer that came by way of the platform at host; before is how many entries Record-Route had when the
// request went to it.
func (s *SCSCF) hosts(o *dialog.Offer, host []byte, before int, r hop.Reply) {
	if o == nil || r.Status()/100 != 2 {
		return
	}
	switch {
	case leadsTo(r.Msg.Get(sip.HdrContact), host):
		s.hosted.Confirmed(o, host, host, hostedCallee, r)
	case leadsTo(r.Msg.Nth(sip.HdrRecordRoute, r.Msg.Count(sip.HdrRecordRoute)-before-1), host):
		s.hosted.Confirmed(o, host, host, hostedBetween, r)
	default:
		s.hosted.Forget(host, o, r)
	}
}

// hostsCalls takes down the dialogs of a call that a platform makes: each of them, where several telephones answer (RFC 3261 13.2.2.4).
func (s *SCSCF) hostsCalls(in hop.Inbound) hop.Up {
	host, offer := []byte(in.Proof.Peer()), s.hosted.Offer(in.Msg, 1)
	return func(r hop.Reply) hop.Reply {
		s.hosted.Confirmed(offer, host, host, hostedCaller, r)
		return r
	}
}

// leadsTo reports whether a name-addr leads to host.
func leadsTo(nameAddr, host []byte) bool {
	addr, err := sip.ParseNameAddr(nameAddr)
	if err != nil {
		return false
	}
	uri, err := sip.ParseURI(addr.URI)
	return err == nil && bytes.EqualFold(uri.Host, host)
}

// hostOf returns the platform that a request inside a dialog comes from or goes to next, nil if none.
func (s *SCSCF) hostOf(in hop.Inbound) []byte {
	if s.ports.ISC == nil {
		return nil
	}
	if fromPlatform(in) {
		return []byte(in.Proof.Peer())
	}
	target := in.Msg.RequestURI()
	if addr, err := sip.ParseNameAddr(in.Msg.Get(sip.HdrRoute)); err == nil {
		target = addr.URI
	}
	uri, err := sip.ParseURI(target)
	if err != nil || !s.ports.ISC.Hosts(uri.Host) {
		return nil
	}
	return bytes.Clone(uri.Host)
}

// noteHosted reads a request inside a dialog of a platform; of all others there is nothing to be noted.
func (s *SCSCF) noteHosted(in hop.Inbound) dialog.Note {
	host := s.hostOf(in)
	if host == nil {
		return dialog.Note{}
	}
	return s.hosted.Note(host, in.Msg)
}

// EndPlatform ends the dialogs that the platform at host takes part in, by a BYE to each end but its own, and returns how many those were.
func (s *SCSCF) EndPlatform(t *shard.Task, host string) int {
	ends := func(part uint32) dialog.Side {
		switch part {
		case hostedCallee:
			return dialog.Caller
		case hostedCaller:
			return dialog.Callee
		}
		return dialog.Caller | dialog.Callee
	}
	released := s.hosted.Release(t, []byte(host), dialog.All, ends, suspended)
	for _, d := range released {
		s.passages.abandon(d.CallID)
	}
	return len(released)
}
