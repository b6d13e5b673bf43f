package clientservice

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"imsafe/proto/rtpport"
	"imsafe/proto/sdp"
	"imsafe/refpoint/iq"
)

// legs are the engines towards one far end: one for media, and one for RTCP where that has a port of its own.
type legs struct {
	end            *end
	media, control *rtpport.Leg
	deaf           bool // RTCP has a port of its own there, and none here
	shared         bool // several media are on it
}

// handshake is how long one may take: a client that was told early may wait until the call is answered.
const handshake = 4 * time.Minute

// newLegs makes the engines of an end for another far end.
func (e *end) newLegs() (*legs, error) {
	l := &legs{end: e}
	var err error
	if l.media, err = e.leg(l, e.media, false); err == nil && e.control != nil {
		l.control, err = e.leg(l, e.control, true)
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (e *end) leg(l *legs, p *rtpport.Port, control bool) (*rtpport.Leg, error) {
	relay := e.stream.fromAccess
	if e.side == iq.Core {
		relay = func(b []byte, control bool) { e.stream.fromCore(l, b, control) }
	}
	refusals := &refusals{g: e.g}
	leg, err := rtpport.New(rtpport.Config{Port: p, Clock: e.g.ports.Clock, Rand: e.g.ports.Random, Certificate: e.certificate,
		Relay: relay, AllowPlain: true, AllowSDES: true, // whether they may, configure has decided by the far end
		ControlOnly: control, Rate: e.g.rateOf(e.stream.kind), Refuse: refusals.refuse, Handshake: handshake})
	if err == nil {
		p.Add(leg)
	}
	return leg, err
}

// rateOf bounds what an end may send of a medium: audio has at most a packet every 2.5 ms, and RTCP beside it.
func (g *Gateway) rateOf(kind string) rtpport.Rate {
	if kind == "audio" {
		return rtpport.Rate{Packets: 400, Octets: uint32(g.cfg.Audio) * 1000 / 8}
	}
	return rtpport.Rate{Packets: 2000, Octets: uint32(g.cfg.Video) * 1000 / 8}
}

// rateBy is rateOf, less where a description says less.
func (g *Gateway) rateBy(kind string, r *iq.Remote) rtpport.Rate {
	rate := g.rateOf(kind)
	if r.Kilobits > 0 {
		rate.Octets = min(rate.Octets, uint32(min(r.Kilobits, 1<<21)*1000/8*5/4)) // b= counts no tags, and an end may be a little early
	}
	return rate
}

// start gives the engines what was agreed on and lets them run.
func (l *legs) start(r iq.Remote) error {
	l.media.Limit(l.end.g.rateBy(l.end.stream.kind, &r))
	l.shape(r.Beside)
	a := sdp.Agreed{Keying: r.Keying, Role: r.Role, Fingerprints: r.Fingerprints, Send: true, Receive: true, Remote: r.Media}
	for t := range uint8(128) {
		if r.Types.Has(t) {
			a.Accept = append(a.Accept, sdp.Codec{PayloadType: t})
			a.RecvPT = t
		}
	}
	if r.Control == r.Media && l.control != nil { // rtcp-mux: the second port is not needed
		l.end.control.Remove(l.control)
		l.control.Close()
		l.control = nil
	}
	l.deaf = r.Control != r.Media && l.control == nil
	a.RTCPMux = r.Control == r.Media
	err := l.startOne(l.media, a, r)
	if err == nil && l.control != nil {
		a.Remote = r.Control
		err = l.startOne(l.control, a, r)
	}
	return err
}

// shape tells the engines what may come beside the payload types.
func (l *legs) shape(b iq.Beside) {
	s := l.shapeOf(b)
	l.media.Shape(s)
	if l.control != nil {
		l.control.Shape(s)
	}
}

func (l *legs) shapeOf(b iq.Beside) *rtpport.Shape {
	return &rtpport.Shape{Extensions: b.Extensions, Transport: b.Transport, Payload: b.Payload, Extended: b.Extended, CNAME: l.end.stream.session.names[l.end.side]}
}

func (l *legs) startOne(leg *rtpport.Leg, a sdp.Agreed, r iq.Remote) error {
	if r.ICE != "" && l.end.password != "" {
		leg.UseICE(rtpport.ICE{Ufrag: l.end.ufrag, Password: l.end.password, Remote: r.ICE})
	}
	var err error
	if a.Keying == sdp.SDES {
		err = leg.StartSDES(a, r.Local, r.Peer)
	} else {
		err = leg.Start(a)
	}
	if err != nil {
		return iq.ErrKeying
	}
	g, e, control := l.end.g, l.end, leg == l.control
	g.wg.Go(func() {
		err := leg.Run(g.ctx)
		switch {
		case err == nil || control: // without RTCP a call goes on
		case errors.Is(err, rtpport.ErrFingerprint):
			g.failed(e.stream, iq.ReasonFingerprint, err)
		default:
			g.failed(e.stream, iq.ReasonHandshake, err)
		}
	})
	return nil
}

// failed ends a session whose far end could not be keyed.
func (g *Gateway) failed(st *stream, why iq.Reason, err error) {
	g.ports.Log.Warn("media of a call failed", "reason", string(why), "error", err)
	g.mu.Lock()
	s := st.session
	g.mu.Unlock()
	if s != nil {
		g.lost(s.id, why)
	}
}

func (l *legs) close() {
	if l.media != nil {
		l.end.media.Remove(l.media)
		l.media.Close()
	}
	if l.control != nil {
		l.end.control.Remove(l.control)
		l.control.Close()
	}
}

// Configure implements iq.Gateway.
func (g *Gateway) Configure(id iq.Session, number int, side iq.Side, b iq.Branch, r iq.Remote) error {
	g.mu.Lock()
	ended, err := g.configure(id, number, side, b, r)
	g.mu.Unlock()
	for _, f := range ended {
		f.close()
	}
	return err
}

// configure returns what is to be closed. g.mu is held.
func (g *Gateway) configure(id iq.Session, number int, side iq.Side, b iq.Branch, r iq.Remote) (ended []closer, err error) {
	st := g.stream(id, number)
	if st == nil {
		return nil, iq.ErrGone
	}
	before := st.access.Load()
	if side == iq.Core {
		before = st.branches[b]
	}
	if r.Within != 0 {
		return g.share(st, side, before, r)
	}
	e := st.ends[side]
	if e == nil {
		return nil, iq.ErrAddress // it shared a transport, and was not given another one
	}
	if before != nil && before.end == e && same(&before.remote, &r) {
		if side == iq.Core {
			st.hear(side, before)
		}
		before.retype(&r)
		if side == iq.Access {
			st.tellApart()
		}
		return nil, nil
	}
	f := &far{remote: r, end: e}
	if f.link, err = g.linkTo(st, side, &r); err != nil {
		return nil, err
	}
	if f.link == nil {
		if err := g.mayKey(side, &r); err != nil {
			return nil, err
		}
		if f.legs, err = e.take(); err != nil {
			return nil, err
		}
		if err := f.legs.start(r); err != nil {
			return []closer{f}, err
		}
	}
	if before != nil {
		ended = append(ended, before)
	}
	if side == iq.Core {
		st.branches[b] = f
	}
	st.hear(side, f)
	if before != nil && before.carrier != nil {
		before.carrier.tellApart()
	}
	return append(ended, st.left()...), nil
}

// left takes the renewed ends off the stream that no far end uses any more. g.mu is held.
func (st *stream) left() (ended []closer) {
	st.old = slices.DeleteFunc(st.old, func(e *end) bool {
		used := false
		for _, f := range st.branches {
			used = used || f.end == e
		}
		if f := st.access.Load(); used || f != nil && f.end == e {
			return false
		}
		delete(st.g.cores, e.media.Local())
		ended = append(ended, e)
		return true
	})
	return ended
}

// closer is a far end, or an end of ours.
type closer interface{ close() }

// take returns the engines that were made with the end, or further ones for another branch.
func (e *end) take() (*legs, error) {
	if l := e.first; l != nil {
		e.first = nil
		return l, nil
	}
	return e.newLegs()
}

// retype lets a far end send other payload types, and other things beside them, under the keys that it has.
func (f *far) retype(r *iq.Remote) {
	before := f.remote
	f.remote.Types, f.remote.Beside, f.remote.MID, f.remote.Extension, f.remote.Kilobits = r.Types, r.Beside, r.MID, r.Extension, r.Kilobits
	if f.legs == nil || f.shared {
		return
	}
	if before.Types != r.Types {
		f.media.Types(r.Types)
	}
	if before.Beside != r.Beside {
		f.shape(r.Beside)
	}
}

// same reports whether a far end is told again where it was and with the keys it had: these go on.
func same(a, b *iq.Remote) bool {
	return a.Media == b.Media && a.Control == b.Control && a.Keying == b.Keying && a.ICE == b.ICE && a.Local == b.Local && a.Peer == b.Peer &&
		slices.Equal(a.Fingerprints, b.Fingerprints)
}

// linkTo finds the stream of another session of ours that a far end on the side of the core is. It has to show that stream's certificate:
// who names a port of ours and does not belong to it gets nothing.
func (g *Gateway) linkTo(st *stream, side iq.Side, r *iq.Remote) (*stream, error) {
	if !r.Media.IsValid() || r.Media.Port() == 0 || r.Media.Addr().IsMulticast() || r.Media.Addr().IsUnspecified() && (side == iq.Core || r.ICE == "") {
		return nil, iq.ErrAddress // with ICE nothing is sent before a check has told where (RFC 8839 4.2.5)
	}
	if !g.isOurs(r.Media) && !g.isOurs(r.Control) {
		return nil, nil
	}
	other := g.cores[r.Media]
	if side == iq.Access || other == nil || other.session == st.session || !slices.Equal(r.Fingerprints, other.ends[iq.Core].describe().Fingerprints) {
		return nil, iq.ErrAddress
	}
	return other, nil
}

// isOurs reports whether an address is a port that the anchor has in use: no client is there.
func (g *Gateway) isOurs(a netip.AddrPort) bool {
	for _, p := range g.pools {
		if a.Addr().Unmap() == p.address && p.has(a.Port()) {
			return true
		}
	}
	return false
}
