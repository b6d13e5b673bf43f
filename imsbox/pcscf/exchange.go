package pcscf

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"imsafe/proto/sdp"
	"imsafe/proto/shard"
	"imsafe/refpoint/iq"
)

// medium is one m= line of a call.
type medium struct {
	reserved bool
	number   int
	ends     [2]iq.End    // ours, by side
	remote   [2]iq.Remote // the far ends, once they were configured
	proto    [2]string    // of the m= line that was agreed on, by side; "" before
}

// written is what a side was told last.
type written struct {
	id, version uint64 // of its o= line
	body        []byte
}

// exchange is an offer that waits for its answer.
type exchange struct {
	from  iq.Side // who offers
	offer *sdp.Session
	sent  *sdp.Session // what the other side was offered
	epoch int
	done  bool // it was answered

	bundle together // which media the client has offered, or was offered, to put on one transport,
	joined together // and which of them are
}

// maxCrypto is how many a=crypto lines are read of a medium.
const maxCrypto = 16

// offer writes the offer of one side for the other. c.mu is held.
func (c *call) offer(from iq.Side, body []byte) ([]byte, *exchange, error) {
	offer, err := sdp.Parse(body, sdp.Limits{Crypto: maxCrypto})
	if err != nil {
		return nil, nil, err
	}
	c.epoch++
	x := &exchange{from: from, offer: offer, epoch: c.epoch}
	if from == iq.Access {
		x.bundle = grouped(offer, false)
	}
	out := &sdp.Session{Origin: offer.Origin, Name: offer.Name, Other: keepAttributes(offer.Other)}
	for len(c.media) < len(offer.Media) {
		c.media = append(c.media, medium{})
	}
	for i := range offer.Media {
		m, err := c.offerMedium(from, &c.media[i], &offer.Media[i])
		if errors.Is(err, iq.ErrUser) && c.session != 0 {
			m, err = disabled(&offer.Media[i]), nil // more media than a call may have
		}
		if err != nil {
			return nil, nil, err
		}
		out.Media = append(out.Media, m)
	}
	if from == iq.Core {
		x.bundle = c.suggest(out)
	}
	apartFromTransport(out, x.bundle)
	x.sent = out
	b, err := c.write(from.Other(), out)
	return b, x, err
}

// errFloor refuses an offer below the floor.
const errFloor = iq.ErrKeying

// offerMedium writes one medium of an offer for the other side.
func (c *call) offerMedium(from iq.Side, md *medium, o *sdp.Media) (sdp.Media, error) {
	keying := o.Keying()
	switch {
	case o.Port == 0 || keying == sdp.OtherKeying:
		return disabled(o), nil // what is not RTP does not pass the anchor
	case !c.allows(from, keying):
		return sdp.Media{}, errFloor
	}
	if err := c.reserve(md, from, o); err != nil {
		return sdp.Media{}, err
	}
	to := from.Other()
	m := onward(o)
	e := c.endOf(to, md)
	m.Address, m.Port, m.RTCPMux = e.Media.Addr(), e.Media.Port(), true
	m.Proto = c.protoOf(to, md, o)
	if to == iq.Access && (md.proto[to] == "" || md.remote[to].ICE != "") {
		m.ICE = iceOf(e)
	}
	agreed := md.proto[to] != ""
	if strings.Contains(m.Proto, "TLS") || !agreed || md.remote[to].Keying == sdp.DTLSSRTP {
		m.Setup, m.Fingerprints, m.TLSID = sdp.ActPass, e.Fingerprints, e.TLSID
	}
	switch {
	case agreed && md.remote[to].Keying == sdp.SDES:
		m.Fingerprints, m.Setup, m.TLSID = nil, sdp.NoSetup, ""
		m.Crypto = []sdp.Crypto{md.remote[to].Local}
	case !agreed && to == iq.Access && c.standing.confidential:
		m.Crypto = e.Crypto
	case agreed && md.remote[to].Keying == sdp.PlainRTP:
		m.Fingerprints, m.Setup, m.TLSID = nil, sdp.NoSetup, ""
	}
	return m, nil
}

// protoOf chooses the protocol of an offer to a side. A client of which nothing is known is offered DTLS-SRTP, and beside it what else it
// may have: with keys in the description RTP/SAVP, where the fingerprint means DTLS-SRTP to who can (RFC 8829 5.1.2). Feedback (RFC 4585) is
// of use to video alone, and telephones that know SAVP refuse SAVPF.
func (c *call) protoOf(to iq.Side, md *medium, o *sdp.Media) string {
	if md.proto[to] != "" {
		return md.proto[to]
	}
	feedback := ""
	if o.Kind != "audio" && strings.HasSuffix(o.Proto, "F") {
		feedback = "F"
	}
	switch {
	case to == iq.Core:
		return "UDP/TLS/RTP/SAVP" + feedback
	case c.standing.waived:
		return "RTP/AVP" + feedback
	case c.standing.confidential:
		return "RTP/SAVP" + feedback
	}
	return "UDP/TLS/RTP/SAVP" + feedback
}

// reserve makes the anchor's ends of a medium, once.
func (c *call) reserve(md *medium, from iq.Side, o *sdp.Media) error {
	if md.reserved {
		return nil
	}
	st, err := c.p.ports.Iq.Reserve(c.session, c.request(from, o))
	if err != nil {
		return err
	}
	if c.session == 0 {
		c.name(st.Session)
	}
	md.reserved, md.number, md.ends = true, st.Number, st.Ends
	return nil
}

// request says what is to be reserved for a medium that a side offers.
func (c *call) request(from iq.Side, o *sdp.Media) iq.Medium {
	r := iq.Medium{User: c.user, Kind: o.Kind}
	r.Families[iq.Access] = c.family
	r.Separate[iq.Access] = true // a client of which nothing is known may do without rtcp-mux
	if from == iq.Access {
		r.Families[iq.Access], r.Separate[iq.Access] = iq.FamilyOf(o.Address), !o.RTCPMux
	}
	if c.standing.confidential {
		r.Suites = sdp.Suites()
	}
	return r
}

// answer writes the answer of one side for the other, and tells the anchor what was agreed on. What cannot be agreed on is refused, medium by
// medium. c.mu is held.
func (c *call) answer(x *exchange, tag string, body []byte) []byte {
	answer, err := sdp.Parse(body, sdp.Limits{Crypto: maxCrypto})
	if err != nil || len(answer.Media) != len(x.offer.Media) {
		return c.refuse(x)
	}
	x.done = true
	out := &sdp.Session{Origin: answer.Origin, Name: answer.Name, Other: keepAttributes(answer.Other), Media: make([]sdp.Media, len(answer.Media))}
	x.joined = c.joined(x, answer)
	c.carry(x.joined)
	c.follow(x, tag, answer, x.joined)
	for _, i := range c.carrierFirst(len(answer.Media)) {
		m, agreed := c.answerMedium(x, i, answer, tag)
		if !agreed {
			m = c.refused(x, i)
			if md := &c.media[i]; md.reserved {
				c.p.ports.Iq.Through(c.session, md.number, [2]bool{})
			}
		}
		out.Media[i] = m
	}
	apartFromTransport(out, x.joined)
	if x.from == iq.Access {
		c.group(out, slices.DeleteFunc(x.joined, func(i int) bool { return out.Media[i].Port == 0 }))
	}
	b, err := c.write(x.from, out)
	if err != nil {
		return nil
	}
	return b
}

// refuse writes an answer that refuses everything.
func (c *call) refuse(x *exchange) []byte {
	out := &sdp.Session{Origin: x.sent.Origin, Name: x.offer.Name}
	for i := range x.offer.Media {
		out.Media = append(out.Media, disabled(&x.offer.Media[i]))
	}
	b, err := c.write(x.from, out)
	if err != nil {
		return nil
	}
	return b
}

// answerMedium agrees on one medium, both ends with the anchor, and writes the answer for who has offered.
func (c *call) answerMedium(x *exchange, i int, answer *sdp.Session, tag string) (sdp.Media, bool) {
	a, o, s, md := &answer.Media[i], &x.offer.Media[i], &x.sent.Media[i], &c.media[i]
	from, to := x.from, x.from.Other()
	if s.Port == 0 || a.Port == 0 || a.Proto != s.Proto || !md.reserved {
		return sdp.Media{}, false
	}
	if c.displaced(x, i) {
		return sdp.Media{}, false
	}
	answerer, ok := c.far(x, to, i, a)
	if !ok {
		return sdp.Media{}, false
	}
	offerer, ok := c.far(x, from, i, a)
	if !ok {
		return sdp.Media{}, false
	}
	answerer.Types, offerer.Types = typesOf(s), typesOf(a)
	offerer.Beside, answerer.Beside = besideOf(terms(x.sent, s), terms(answer, a))
	answerer.Kilobits, offerer.Kilobits = kilobits(o), kilobits(a)
	client := &offerer
	if from == iq.Core {
		client = &answerer
	}
	client.MID, client.Extension = x.nameOf(i, answer)
	if !c.configure(md, from, tag, &offerer, o.Proto) || !c.configure(md, to, tag, &answerer, a.Proto) {
		return sdp.Media{}, false
	}
	var open [2]bool
	open[from] = o.Direction.Sends() && a.Direction.Receives() && !holds(to, a)
	open[to] = a.Direction.Sends() && o.Direction.Receives() && !holds(from, o)
	c.p.ports.Iq.Through(c.session, md.number, open)
	return c.accept(from, md, o, a), true
}

// configure tells the anchor one far end. An address that says hold names no far end: that of before stays.
func (c *call) configure(md *medium, side iq.Side, tag string, r *iq.Remote, proto string) bool {
	if r.Media.Addr().IsUnspecified() && (side == iq.Core || r.ICE == "") {
		r.Media, r.Control = md.remote[side].Media, md.remote[side].Control
		if !r.Media.IsValid() {
			return true // on hold from the beginning
		}
	}
	b := iq.Branch(0)
	if side == iq.Core {
		b, r.ICE = c.branch(tag), ""
	} else {
		r.Confidential, r.Waived = c.standing.confidential, c.standing.waived
		stays(r, &md.remote[side])
	}
	if c.p.ports.Iq.Configure(c.session, md.number, side, b, *r) != nil {
		return false
	}
	md.remote[side], md.proto[side] = *r, proto
	return true
}

// accept writes the answer to an offered medium.
func (c *call) accept(side iq.Side, md *medium, o, a *sdp.Media) sdp.Media {
	e, r := c.endOf(side, md), &md.remote[side]
	m := onward(a)
	m.Proto, m.MID = o.Proto, o.MID
	m.Address, m.Port, m.RTCPMux = e.Media.Addr(), e.Media.Port(), o.RTCPMux
	if r.ICE != "" {
		m.ICE = iceOf(e)
	}
	switch r.Keying {
	case sdp.DTLSSRTP:
		m.Setup, m.Fingerprints = sdp.Passive, e.Fingerprints
		if r.Role == sdp.DTLSClient {
			m.Setup = sdp.Active
		}
		if o.TLSID != "" {
			m.TLSID = e.TLSID // RFC 8842 5.3: only in answer to one
		}
	case sdp.SDES:
		m.Crypto = []sdp.Crypto{r.Local}
	}
	return m
}

// answererOf reads the far end out of an answer a to what we sent, s.
func (c *call) answererOf(side iq.Side, md *medium, a, s *sdp.Media) (iq.Remote, bool) {
	r, before := place(a, s.RTCPMux && a.RTCPMux), &md.remote[side]
	switch {
	case len(a.Fingerprints) > 0 && len(s.Fingerprints) > 0:
		r.Keying, r.Fingerprints = sdp.DTLSSRTP, a.Fingerprints
		switch a.Setup {
		case sdp.Active:
			r.Role = sdp.DTLSServer
		case sdp.Passive, sdp.NoSetup:
			r.Role = sdp.DTLSClient
		default: // who says nothing of the roles of an association that stands changes none (RFC 8842 5.3)
			if r.Role = before.Role; r.Role == sdp.NoRole || before.Media != r.Media || !slices.Equal(before.Fingerprints, r.Fingerprints) {
				return r, false
			}
		}
	case len(a.Crypto) == 1 && len(s.Crypto) > 0:
		r.Keying, r.Peer = sdp.SDES, a.Crypto[0]
		i := slices.IndexFunc(s.Crypto, func(k sdp.Crypto) bool { return k.Tag == a.Crypto[0].Tag && k.Suite == a.Crypto[0].Suite })
		if i < 0 {
			return r, false
		}
		r.Local = s.Crypto[i]
	case s.Keying() == sdp.PlainRTP && !a.SDES:
		r.Keying = sdp.PlainRTP
	default:
		return r, false
	}
	return r, c.allows(side, r.Keying)
}

// offererOf reads the far end out of an offer, and renews our end where the far end has moved or has other keys.
func (c *call) offererOf(side iq.Side, md *medium, o *sdp.Media) (iq.Remote, bool) {
	r := place(o, o.RTCPMux)
	before := &md.remote[side]
	r.Keying = o.Keying()
	switch r.Keying {
	case sdp.DTLSSRTP:
		if len(o.Fingerprints) == 0 {
			return r, false
		}
		r.Fingerprints = o.Fingerprints
		switch o.Setup {
		case sdp.Passive:
			r.Role = sdp.DTLSClient
		case sdp.ActPass, sdp.Active, sdp.NoSetup:
			r.Role = sdp.DTLSServer // the hello is the client's: nothing goes to an address that has not spoken
		default:
			return r, false
		}
	case sdp.SDES:
		if len(o.Crypto) == 0 {
			return r, false
		}
	}
	stays(&r, before)
	moved := before.Media.IsValid() && (before.Within != 0 || before.Media != r.Media && !holds(side, o) || before.Keying != r.Keying || side == iq.Access && before.ICE != r.ICE ||
		!slices.Equal(before.Fingerprints, r.Fingerprints) || r.Keying == sdp.SDES && !slices.Contains(o.Crypto, before.Peer))
	if moved {
		e, err := c.p.ports.Iq.Renew(c.session, md.number, side, c.request(side, o))
		if err != nil {
			return r, false
		}
		md.ends[side] = e
	}
	switch {
	case before.Media.IsValid() && !moved:
		r.Role, r.Local, r.Peer = before.Role, before.Local, before.Peer
	case r.Keying == sdp.SDES:
		return chooseSuite(r, o.Crypto, md.ends[side].Crypto)
	}
	return r, true
}

// stays: a far end with ICE says the address that it has found to be the best once it has found it (RFC 8839 4.2.2). Its checks have told it
// before; it has not moved.
func stays(r, before *iq.Remote) {
	if r.ICE != "" && r.ICE == before.ICE {
		r.Media, r.Control = before.Media, before.Control
	}
}

// holds reports whether a medium is on hold by its address (RFC 3264 8.4). A client with ICE that names none has none to tell yet, or hides what
// it has (RFC 8839 4.2.5): its checks will tell.
func holds(side iq.Side, m *sdp.Media) bool {
	return m.Address.IsUnspecified() && (side == iq.Core || !checks(m))
}

// chooseSuite takes the best suite that both have, and answers with the tag of the offer (RFC 4568 5.1.2).
func chooseSuite(r iq.Remote, theirs, ours []sdp.Crypto) (iq.Remote, bool) {
	for _, our := range ours {
		for _, their := range theirs {
			if our.Suite == their.Suite {
				r.Local, r.Peer = our.Retag(their.Tag), their
				return r, true
			}
		}
	}
	return r, false
}

// write gives a side its description, whose version rises when it changes (RFC 3264 8).
func (c *call) write(side iq.Side, d *sdp.Session) ([]byte, error) {
	w := &c.written[side]
	if w.id == 0 {
		w.id, w.version = d.Origin.ID, d.Origin.Version
	}
	d.Origin = sdp.Origin{ID: w.id, Version: w.version, Address: "0.0.0.0"}
	for i := range d.Media {
		if a := d.Media[i].Address; a.IsValid() {
			d.Origin.Address = a.String()
			break
		}
	}
	lite(d)
	b, err := d.Marshal()
	if err != nil || w.body == nil || bytes.Equal(b, w.body) {
		w.body = b
		return b, err
	}
	w.version++
	d.Origin.Version = w.version
	b, err = d.Marshal()
	w.body = b
	return b, err
}

// afterwards makes an event of what must not be done under a lock.
func afterwards(do func()) shard.Event { return shard.EventFunc(func(*shard.Shard) { do() }) }
