package ue

import (
	"errors"
	"fmt"
	"slices"

	"imsafe/client/media"
	"imsafe/proto/sdp"
)

// The descriptions of a call (RFC 3264): what we offer and answer, at its beginning and later. Whoever changes the media keys of a standing call, or
// where it is heard, could take it over; so the network must vouch for the new ones (RFC 8224), or the call goes on as it was.

var (
	// errMoved refuses media that would go elsewhere, or under other keys, in the middle of a call, without anybody who vouches for it.
	errMoved = errors.New("ue: address or certificate of the media changed, and nobody vouches for it")
	// errCodec refuses what only a new call can have.
	errCodec = errors.New("ue: keying or codec of the media changed")
	// errTwice refuses new keys while those before are being agreed on.
	errTwice = errors.New("ue: the media keys are changing already")
)

// capabilities of the media of a call now: who is on hold is not to be heard (RFC 3264 8.4).
func (v *voice) capabilities() sdp.Capabilities {
	c := v.call.u.capabilities()
	if v.holding {
		c.Direction = sdp.SendOnly
	}
	return c
}

// latest is the end that was agreed on last.
func (v *voice) latest() *end {
	if v.next != nil {
		return v.next
	}
	return v.end
}

// renew makes an end that could follow.
func (v *voice) renew() (*end, error) {
	l := &v.latest().local
	return v.open(l.ID, l.Version)
}

// offer writes our description of the standing association, or of a new one; the answer goes to answered. An offer leaves the roles to the
// answer, which changes none of a standing one (RFC 8842 5.5).
func (v *voice) offer(e *end) ([]byte, error) {
	if v.started {
		v.latest().local.Version++
		e.local.Version = v.latest().local.Version
	}
	v.offered = sdp.NewOffer(e.local, v.capabilities())
	return v.offered.Marshal()
}

// answered takes the answer to our offer of an end and starts the media, puts them on hold, or goes on with new keys. vouched is whether the network
// vouches for the keys of the answer.
func (v *voice) answered(e *end, body []byte, vouched bool) error {
	offered := v.offered
	v.offered = nil
	answer, err := sdp.Parse(body, sdp.Limits{})
	if err != nil {
		return err
	}
	if v.started && e == v.latest() {
		v.keepRoles(answer)
	}
	g, err := sdp.Match(offered, answer, v.capabilities())
	switch {
	case err != nil:
		return err
	case !v.started:
		v.pending = g
		return v.start()
	case e == v.latest() && v.stays(&g):
		v.change(g)
		return nil
	}
	kept := g.Remote == v.agreed.Remote && slices.Equal(g.Fingerprints, v.agreed.Fingerprints) // it is our keys alone that change
	if err := v.mayFollow(&g, vouched || kept); err != nil {
		return err
	}
	if e == v.latest() { // we have kept our association, and the answer begins a new one (RFC 8842 5.1): there is no port of ours for it
		return errMoved
	}
	return v.follow(e, g)
}

// keepRoles reads an answer that leaves the roles of a standing association open as one that changes none (RFC 8842 5.3).
func (v *voice) keepRoles(answer *sdp.Session) {
	theirs := sdp.Active
	if v.agreed.Role == sdp.DTLSClient {
		theirs = sdp.Passive
	}
	for i := range answer.Media {
		if m := &answer.Media[i]; m.Setup == sdp.ActPass {
			m.Setup = theirs
		}
	}
}

// answerTo judges an offer and writes the answer. Before the call stands the media wait for start; in a standing call the change
// takes effect at once. vouched is whether the network vouches for the keys of the offer.
func (v *voice) answerTo(body []byte, vouched bool) ([]byte, error) {
	offer, err := sdp.Parse(body, sdp.Limits{})
	if err != nil {
		return nil, err
	}
	l := v.latest().local
	if v.started {
		l.Version++
		l.Setup = v.role() // the association stays (RFC 8842 5.3)
	}
	answer, g, err := sdp.Answer(offer, l, v.capabilities())
	switch {
	case err != nil:
		return nil, err
	case !v.started:
		v.pending = g
		return answer.Marshal()
	case v.stays(&g):
		v.latest().local.Version++
		v.change(g)
		return answer.Marshal()
	}
	if err := v.mayFollow(&g, vouched); err != nil {
		return nil, err
	}
	return v.answerAnew(offer)
}

// answerAnew answers an offer that begins a new association (RFC 8842 5.3), with an end of its own.
func (v *voice) answerAnew(offer *sdp.Session) ([]byte, error) {
	e, err := v.renew()
	if err != nil {
		return nil, err
	}
	e.local.Version++
	answer, g, err := sdp.Answer(offer, e.local, v.capabilities())
	var body []byte
	if err == nil {
		body, err = answer.Marshal()
	}
	if err == nil {
		err = v.follow(e, g)
	}
	if err != nil {
		e.leg.Close()
	}
	return body, err
}

// role is our part in the standing association, as a setup value.
func (v *voice) role() sdp.Setup {
	if v.agreed.Role == sdp.DTLSServer {
		return sdp.Passive
	}
	return sdp.Active
}

// stays reports whether the association and the place of the other end are those of before (RFC 8842 3.1). One that knows no tls-id may repeat its
// description without a thought for the roles.
func (v *voice) stays(g *sdp.Agreed) bool {
	a := &v.agreed
	return (g.Remote == a.Remote || g.Remote.Addr().IsUnspecified()) && g.Keying == a.Keying && (g.Role == a.Role || g.RemoteTLSID == "") && g.SendPT == a.SendPT &&
		g.RemoteTLSID == a.RemoteTLSID && slices.Equal(g.Fingerprints, a.Fingerprints)
}

// mayFollow judges an agreement that would replace the standing one.
func (v *voice) mayFollow(g *sdp.Agreed, vouched bool) error {
	a := &v.agreed
	switch {
	case g.Keying != a.Keying || g.Keying != sdp.DTLSSRTP || g.Codec.Name != a.Codec.Name:
		return errCodec
	case v.next != nil:
		return errTwice
	case !vouched:
		return errMoved
	}
	return nil
}

// change lets a standing call hold and resume.
func (v *voice) change(g sdp.Agreed) {
	v.mu.Lock()
	v.agreed.Send, v.agreed.Receive = g.Send, g.Receive
	v.mu.Unlock()
	v.hold()
}

// hold tells the legs who sends. Whom we have on hold hears nothing of us either.
func (v *voice) hold() {
	for _, e := range []*end{v.end, v.next} {
		if e != nil {
			e.leg.Hold(v.agreed.Send && !v.holding, v.agreed.Receive)
		}
	}
}

// follow begins a new association beside the standing one, which goes on until the keys of the new one stand.
func (v *voice) follow(e *end, g sdp.Agreed) error {
	if _, known := media.CodecByName(g.Codec.Name); !known {
		return fmt.Errorf("%w: %s", sdp.ErrNoCodec, g.Codec.Name)
	}
	if err := e.leg.Start(g); err != nil {
		return err
	}
	v.mu.Lock()
	v.admit(g)
	v.mu.Unlock()
	v.next = e
	v.hold()
	return nil
}

// replace leaves the end of before: the keys of the next one stand.
func (v *voice) replace() {
	old := v.end
	n := old.leg.Counters()
	v.mu.Lock()
	v.before.out += n.PacketsOut.Load()
	v.before.in += n.PacketsIn.Load()
	v.before.lost += n.Lost.Load()
	v.end, v.next = v.next, nil
	v.listen()
	v.mu.Unlock()
	old.leg.Close()
}

// onHold reports whether the other end does not want to hear us.
func (v *voice) onHold() bool { return v.started && !v.agreed.Send }
