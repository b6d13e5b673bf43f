package pcscf

import (
	"imsafe/hop"
	"imsafe/imsbox/dialog"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/gm"
	"imsafe/secure"
)

// A call whose client is gone is released towards the other party (TS 24.229 5.2.8.1.2; docs/decisions/017): a dialog belongs to the
// association that it was made on, so nobody can go on with it.

// lost is the reason of our BYEs (RFC 3326).
const lost = `SIP;cause=503;text="Client lost"`

// offer takes down an initial INVITE, after recordRoute, which found before entries there.
func (p *PCSCF) offer(in hop.Inbound, before int) *dialog.Offer {
	return p.dialogs.Offer(in.Msg, in.Msg.Count(sip.HdrRecordRoute)-before)
}

// confirms returns what takes down the dialogs that answers to the offer make, each of those of several telephones (RFC 3261 13.2.2.4), as they are after first, which may
// be nil; client is at that side of them. It is first where the offer is nil.
func (p *PCSCF) confirms(first hop.Up, o *dialog.Offer, client secure.Association, side dialog.Side) hop.Up {
	if o == nil {
		return first
	}
	return func(r hop.Reply) hop.Reply {
		if first != nil {
			r = first(r)
		}
		var b [associationSize]byte
		owner := associationKey(b[:0], client)
		p.dialogs.Confirmed(o, owner, owner, uint32(side), r)
		return r
	}
}

// noted forwards a request inside a dialog of a client, and takes down what becomes of that.
func (p *PCSCF) noted(client secure.Association, in hop.Inbound, forward func() hop.Reply) hop.Reply {
	var b [associationSize]byte
	note := p.dialogs.Note(associationKey(b[:0], client), in.Msg)
	r := forward()
	p.dialogs.Answered(note, r)
	return r
}

// release ends the calls of a client that is lost. Those of one whose time is over are forgotten without a word (TS 24.229 5.2.8.1.4): his
// S-CSCF sees to them.
func (p *PCSCF) release(a secure.Association, why gm.Reason) {
	var b [associationSize]byte
	if !p.dialogs.Owns(associationKey(b[:0], a)) {
		return
	}
	others := func(side uint32) dialog.Side { return (dialog.Caller | dialog.Callee) &^ dialog.Side(side) }
	if why == gm.ReasonExpired {
		others = func(uint32) dialog.Side { return 0 }
	}
	owner := associationKey(nil, a)
	sh := p.ports.Shards[int(a.Shard)%len(p.ports.Shards)]
	// A shard without room loses it: the other party then finds out for himself.
	sh.Exec(shard.EventFunc(func(sh *shard.Shard) {
		sh.Start(func(t *shard.Task) { p.dialogs.Release(t, owner, dialog.All, others, lost) })
	}))
}
