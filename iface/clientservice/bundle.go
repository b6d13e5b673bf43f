package clientservice

import (
	"imsafe/proto/rtpport"
	"imsafe/proto/sdp"
	"imsafe/refpoint/iq"
)

// Several media of a client may share a transport (BUNDLE, RFC 9143): one of its streams, the carrier, has the port, the certificate and the keys, and
// the leg tells apart which stream an authentic packet is for. Towards the core each stream has what it always has, so whoever is there may know
// nothing of it.

// share puts the client's end of a stream onto the transport of another one, whose far end was told before. Its own port goes back. g.mu is held.
func (g *Gateway) share(st *stream, side iq.Side, before *far, r iq.Remote) (ended []closer, err error) {
	carrier := g.stream(st.session.id, r.Within-1)
	if side == iq.Core || carrier == nil || carrier == st {
		return nil, iq.ErrAddress
	}
	far0 := carrier.access.Load()
	switch {
	case far0 == nil || far0.legs == nil || far0.carrier != nil || far0.control != nil:
		return nil, iq.ErrAddress
	case far0.remote.Keying != sdp.DTLSSRTP:
		return nil, iq.ErrKeying
	}
	if before != nil && before.carrier == carrier && before.legs == far0.legs {
		before.retype(&r)
		carrier.tellApart()
		return nil, nil
	}
	st.hear(iq.Access, &far{legs: far0.legs, carrier: carrier, remote: r, end: far0.end})
	if before != nil {
		ended = append(ended, before)
	}
	if own := st.ends[iq.Access]; own != nil {
		st.ends[iq.Access] = nil
		ended = append(ended, own)
	}
	carrier.tellApart()
	return append(ended, st.left()...), nil
}

// tellApart tells the leg of a carrier which media it carries. g.mu is held.
func (st *stream) tellApart() {
	f := st.access.Load()
	if f == nil || f.legs == nil || f.carrier != nil {
		return
	}
	b := &rtpport.Bundle{}
	for _, other := range st.session.streams {
		on := other.access.Load()
		if on == nil || on.legs != f.legs {
			continue
		}
		r := &on.remote
		b.Lines = append(b.Lines, rtpport.Line{Number: uint8(other.number), MID: r.MID, Types: r.Types, Rate: st.g.rateBy(other.kind, r), Shape: f.shapeOf(r.Beside), Relay: other.fromAccess})
		b.Extension = max(b.Extension, r.Extension)
	}
	switch {
	case len(b.Lines) > 1:
		f.shared = true
		f.media.Bundle(b)
	case f.shared:
		f.shared = false
		f.media.Bundle(nil)
		f.media.Types(f.remote.Types)
		f.shape(f.remote.Beside)
	}
}
