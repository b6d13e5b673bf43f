package scscf

import (
	"iter"
	"slices"

	"imsafe/hop"
	"imsafe/proto/passport"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/isc"
)

// Within a dialog the same holds as at its beginning: what an end says of its media keys is signed where it comes from him (RFC 8224 4: the
// header field is of any request), and who is in the path changes no key unless he may be an end of media. Of each platform the S-CSCF knows which
// keys went to it in this call: those may come back.

// describesMedia reports whether requests of a method inside a dialog may carry a session description (RFC 3264, RFC 3311, RFC 3262).
func describesMedia(m sip.Method) bool {
	return m == sip.INVITE || m == sip.UPDATE || m == sip.PRACK || m == sip.ACK
}

// forwardWithin forwards a request inside a dialog, and returns its answer, with what vouches for the media keys in each of them.
func (s *SCSCF) forwardWithin(x *hop.Exchange, next hop.Name, in hop.Inbound) hop.Reply {
	if !describesMedia(in.Msg.Method()) || s.ports.ISC == nil && s.ports.Voucher == nil {
		return x.Forward(next, in, nil)
	}
	d := &exchange{s: s, callID: string(in.Msg.Get(sip.HdrCallID)), caller: senderOf(in.Msg), callee: partyOf(in.Msg.Get(sip.HdrTo))}
	if fromPlatform(in) {
		d.from = in.Proof.Peer()
	}
	if next == isc.Name {
		d.to = string(s.hostNext(in.Msg))
	}
	if control := d.request(in.Msg); control != "" {
		return warnsOf(x.Refuse(in, 403, ""), d.from, control)
	}
	r := x.Forward(next, in, func(r hop.Reply) hop.Reply {
		if d.response(r) != "" { // nobody hears it: the final response says why
			r.Msg.Release()
			return hop.Reply{}
		}
		return r
	})
	if control := d.response(r); control != "" {
		r.Msg.Release()
		r = warnsOf(x.Respond(403, ""), d.to, control)
	}
	return r
}

// exchange is a request inside a dialog and its responses: from and to are the platforms that it comes from and goes to, "" for none.
type exchange struct {
	s                *SCSCF
	callID, from, to string
	caller, callee   passport.Identity // who sends the request, and to whom
}

// partyOf is who stands in From or To, zero if nobody can be read there.
func partyOf(nameAddr []byte) passport.Identity {
	id, ok := sip.PublicIdentity(nameAddr)
	if !ok {
		return passport.Identity{}
	}
	return passport.IdentityOf(id)
}

// request judges or signs the media keys of the request, and takes down what goes to a platform. It returns the name of the control that refuses it.
func (d *exchange) request(m *sip.Message) (control string) {
	if len(m.Body()) == 0 {
		m.Remove(sip.HdrIdentity)
		return ""
	}
	token := &passport.PASSporT{Orig: d.caller, Dest: []passport.Identity{d.callee}}
	switch {
	case d.from != "":
		control = d.judge(m, d.from, token)
	case !m.Has(sip.HdrIdentity): // of an ACK or a PRACK too, which answer an offer of the other end (RFC 3261 13.2.1, RFC 3262 5)
		d.sign(m, token)
	}
	if control != "" && m.Method() == sip.ACK { // nobody answers it
		m.SetBody("", nil)
		m.Remove(sip.HdrIdentity)
		control = ""
	}
	if control == "" && d.to != "" {
		d.s.passages.noteWithin(d.callID, d.to, vouchedIn(m))
	}
	return control
}

// response does the same for a response, which comes from where the request went.
func (d *exchange) response(r hop.Reply) (control string) {
	if !describes(r) {
		return ""
	}
	who := d.callee
	if asserted := senderOf(r.Msg); asserted != (passport.Identity{}) {
		who = asserted
	}
	token := &passport.PASSporT{Type: passport.Rsp, Orig: d.caller, Dest: []passport.Identity{who}}
	switch {
	case d.to != "":
		control = d.judge(r.Msg, d.to, token)
	case !r.Msg.Has(sip.HdrIdentity):
		d.sign(r.Msg, token)
	}
	if control == "" && d.from != "" {
		d.s.passages.noteWithin(d.callID, d.from, vouchedIn(r.Msg))
	}
	return control
}

func (d *exchange) sign(m *sip.Message, p *passport.PASSporT) {
	if p.Dest[0] != (passport.Identity{}) {
		p.Keys = passport.KeysOf(m.Body())
		d.s.seal(m, p)
	}
}

// judge lets a platform pass on the media keys that went to it in this call. Its own it may have with a right to media: by a grant.
func (d *exchange) judge(m *sip.Message, host string, p *passport.PASSporT) (control string) {
	s := d.s
	keys := passport.Sorted(passport.KeysOf(m.Body()))
	seen, same, known := s.passages.saidWithin(d.callID, host, keys, m.Body())
	s.ownWords(m, &seen, host)
	if same || len(keys) == 0 && !asksOf(m.Body()).any() {
		if s.stale(&seen) { // the keys are those of before, which need no new word
			m.Remove(sip.HdrIdentity)
		}
		return ""
	}
	right, may := s.ports.ISC.Media([]byte(host))
	switch {
	case may:
		if s.exceeds(right, m.Body(), host) {
			return "cs.authentication.grant"
		}
	case known && s.swaps(host):
		return "cs.integrity.fingerprint"
	case !known && s.lacksGrant(host):
		return "cs.authentication.grant"
	}
	if may && len(keys) > 0 {
		p.Grants = s.grants(right, "", m.Body())
		if p.Type == passport.Plain {
			p.Type = passport.Grant
		}
	}
	m.Remove(sip.HdrIdentity)
	d.sign(m, p)
	return ""
}

// stale reports whether what vouches for a description was signed too long ago to be believed now.
func (s *SCSCF) stale(v *vouched) bool {
	return slices.ContainsFunc(v.identity, func(value string) bool {
		p, err := passport.ParseIdentity([]byte(value))
		return err != nil || p.Fresh(s.ports.Clock.Wall()) != nil
	})
}

// hostNext is the platform that a request goes to next.
func (s *SCSCF) hostNext(m *sip.Message) []byte {
	target := m.RequestURI()
	if addr, err := sip.ParseNameAddr(m.Get(sip.HdrRoute)); err == nil {
		target = addr.URI
	}
	uri, err := sip.ParseURI(target)
	if err != nil {
		return nil
	}
	return slices.Clone(uri.Host)
}

// call lets a stay be found by a Call-ID. p.mu is held.
func (p *passages) call(place shard.Place, stay *passage, callID string) {
	if callID == "" || len(stay.names) == maxVouched {
		return
	}
	stay.names = append(stay.names, callID)
	p.named[callID] = append(p.named[callID], place)
}

// uncall takes a stay off the Call-IDs that it is found by. p.mu is held.
func (p *passages) uncall(place shard.Place, stay *passage) {
	for _, callID := range stay.names {
		left := slices.DeleteFunc(p.named[callID], func(at shard.Place) bool { return at == place })
		if p.named[callID] = left; len(left) == 0 {
			delete(p.named, callID)
		}
	}
	stay.names = nil
}

// also takes down that a platform goes on with a call in a dialog of its own.
func (p *passages) also(place shard.Place, callID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if stay := p.find(place); stay != nil {
		p.call(place, stay, callID)
	}
}

// staysOf are those of the platform at host in a call. p.mu is held.
func (p *passages) staysOf(callID, host string) iter.Seq[*passage] {
	return func(yield func(*passage) bool) {
		for _, place := range p.named[callID] {
			if stay := p.find(place); stay != nil && stay.host == host && !yield(stay) {
				return
			}
		}
	}
}

// noteWithin takes down a session description that goes to the platform at host within a dialog: the latest ones are remembered.
func (p *passages) noteWithin(callID, host string, v vouched) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for stay := range p.staysOf(callID, host) {
		if len(stay.later) == maxVouched {
			stay.later = slices.Delete(stay.later, 0, 1)
		}
		stay.later = append(stay.later, v)
	}
}

// saidWithin returns the latest description with these media keys that went to the platform at host in a call, and whether there was one; if there
// was none, the latest. known is whether the platform is in that call at all.
func (p *passages) saidWithin(callID, host string, keys []passport.Fingerprint, description []byte) (found vouched, same, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for stay := range p.staysOf(callID, host) {
		for _, list := range [][]vouched{stay.later, stay.answers, {stay.offered}} {
			for _, v := range slices.Backward(list) {
				if v.holds(keys, description) {
					return v, true, true
				}
				if !known {
					found, known = v, true
				}
			}
		}
	}
	return found, false, known
}
