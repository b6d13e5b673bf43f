package pcscf

import (
	"imsafe/hop"
	"imsafe/imsbox/dialog"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// A call that is being set up ends with the association of either of its clients too (TS 24.229 5.2.8.1.1; docs/decisions/052): an answer for a caller
// who is lost would reach nobody, and whoever gave it would wait alone. Emergency calls are left alone: who answers them may call back.

// settingUp takes down that an initial INVITE waits for its final response, and what ends it when the association of its client is gone: at once, if that
// went while the request was on its way here. Another request is none, and nil. setups.Done takes it off.
func (p *PCSCF) settingUp(x *hop.Exchange, in hop.Inbound, client secure.Association, end func(*hop.Exchange)) *dialog.Invite {
	if in.Msg.Method() != sip.INVITE {
		return nil
	}
	s := p.setups.Begin(client, 0, x, end)
	if !p.ports.Gm.Alive(client) {
		s.End()
	}
	return s
}

// callerLost cancels what is under way for a caller.
func callerLost(x *hop.Exchange) { x.Abort(lost) }

// calleeLost answers in the place of a called client.
func calleeLost(x *hop.Exchange) { x.Lose(lost) }
