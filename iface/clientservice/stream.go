package clientservice

import (
	"sync/atomic"
	"time"

	"imsafe/proto/rtpport"
	"imsafe/proto/sdp"
	"imsafe/refpoint/iq"
)

// session is one call at its P-CSCF.
type session struct {
	id      iq.Session
	user    string
	streams []*stream
	names   [2]string // of who is on a side, in reports (RFC 7022 4.2)
	lost    bool      // and told

	confirmed bool    // the call was answered
	orphan    *orphan // nil while its P-CSCF lives

	heard uint64        // packets when silence was last looked for
	since time.Duration // of which there were as many
}

// silent reports whether nothing came for so long, though it might. g.mu is held.
func (s *session) silent(now, limit time.Duration) bool {
	heard, open := uint64(0), false
	for _, st := range s.streams {
		heard += st.heard.Load()
		open = open || st.open[iq.Access].Load() && st.open[iq.Core].Load()
	}
	if heard != s.heard || !open || s.since == 0 {
		s.heard, s.since = heard, now
	}
	return now-s.since >= limit
}

// stream is one medium: an end on each side, and of each the far end that is heard.
//
// What each packet asks stands in front, in one line of the processor's cache: where it goes to is found out when a far end is told, not for each packet.
type stream struct {
	g      *Gateway
	heard  atomic.Uint64
	open   [2]atomic.Bool              // what comes from that side may pass
	linked atomic.Pointer[stream]      // of core, if that is a session of ours
	voice  atomic.Pointer[rtpport.Leg] // of access
	access atomic.Pointer[far]         // the client
	core   atomic.Pointer[far]         // the branch that is heard

	session  *session
	number   int
	kind     string
	ends     [2]*end
	old      []*end // renewed, and still in use
	branches map[iq.Branch]*far
	orphan   atomic.Bool // its P-CSCF has died
	gone     atomic.Bool // and one of its ends has said that it leaves
	_        [48]byte    // a multiple of a line
}

// hear puts a far end, or none, in the place of another. Where a packet finds the one of before beside the new one, it goes the way of either. g.mu is held,
// but where nobody can find the stream any more.
func (st *stream) hear(side iq.Side, f *far) {
	if side == iq.Access {
		var leg *rtpport.Leg
		if f != nil && f.legs != nil {
			leg = f.media
		}
		st.voice.Store(leg)
		st.access.Store(f)
		return
	}
	var link *stream
	if f != nil {
		link = f.link
	}
	st.linked.Store(link)
	st.core.Store(f)
}

// end is the anchor's end on one side.
type end struct {
	g           *Gateway
	stream      *stream
	side        iq.Side
	certificate *rtpport.Certificate
	crypto      []sdp.Crypto
	tlsID       string
	ufrag       string // of ICE
	password    string
	pool        *pool
	number      uint16
	media       *rtpport.Port
	control     *rtpport.Port // nil: on the same port
	first       *legs         // made with the end, so that a hello that overtakes its description is kept; nil once it is used
}

// describe is what the description of this end says.
func (e *end) describe() iq.End {
	d := iq.End{Media: e.media.Local(), Control: e.media.Local(), Fingerprints: []sdp.Fingerprint{e.certificate.Fingerprint()}, TLSID: e.tlsID, Crypto: e.crypto, Ufrag: e.ufrag, Password: e.password}
	if e.control != nil {
		d.Control = e.control.Local()
	}
	return d
}

// close ends the sockets and gives the ports back.
func (e *end) close() {
	if e == nil {
		return
	}
	if e.first != nil {
		e.first.close()
	}
	e.media.Close()
	if e.control != nil {
		e.control.Close()
	}
	e.pool.put(e.number)
	e.g.counters.Ports.Add(-1)
}

// far is one far end: legs towards it, or a session of ours that it stands behind.
type far struct {
	*legs
	link    *stream
	carrier *stream // whose legs they are, if it shares a transport
	remote  iq.Remote
	end     *end // of ours, that it was told
}

// forward passes a packet to the far end.
func (f *far) forward(b []byte, control bool) {
	l := f.media
	switch {
	case control && f.deaf:
		return
	case control && f.control != nil:
		l = f.control
	}
	// What is on hold, or has no keys yet, loses a packet; the leg counts it.
	_ = l.Forward(b, control)
}

func (f *far) close() {
	if f.legs != nil && f.carrier == nil {
		f.legs.close()
	}
}

// fromAccess takes an authenticated packet of the client.
func (st *stream) fromAccess(b []byte, control bool) {
	st.heard.Add(1)
	if control && st.orphan.Load() && leaves(b) {
		st.gone.Store(true)
	}
	if !control && !st.open[iq.Access].Load() {
		st.g.counters.Gated.Add(1)
		return
	}
	if link := st.linked.Load(); link != nil {
		link.fromLink(st, b, control)
		return
	}
	to := st.core.Load()
	if to == nil || to.link != nil {
		st.g.counters.Gated.Add(1)
		return
	}
	st.g.counters.Relayed.Add(1)
	to.forward(b, control)
}

// fromLink takes a packet of the client of another session, which has to be the one that this session's far end is.
func (st *stream) fromLink(from *stream, b []byte, control bool) {
	if st.linked.Load() != from {
		st.g.counters.Gated.Add(1)
		return
	}
	st.toAccess(b, control)
}

// fromCore takes an authenticated packet of a branch.
func (st *stream) fromCore(l *legs, b []byte, control bool) {
	if f := st.core.Load(); f == nil || f.legs != l {
		st.g.counters.Gated.Add(1) // of a branch that is not heard
		return
	}
	if control && st.orphan.Load() && leaves(b) {
		st.gone.Store(true)
	}
	st.toAccess(b, control)
}

func (st *stream) toAccess(b []byte, control bool) {
	st.heard.Add(1)
	switch to := st.voice.Load(); {
	case to == nil || !control && !st.open[iq.Core].Load():
		st.g.counters.Gated.Add(1)
	case control:
		st.g.counters.Relayed.Add(1)
		if f := st.access.Load(); f != nil {
			f.forward(b, true)
		}
	default:
		st.g.counters.Relayed.Add(1)
		_ = to.ForwardOf(uint8(st.number), b, false) // as far.forward
	}
}

// confirm drops all branches but one and returns what is to be closed. g.mu is held.
func (st *stream) confirm(b iq.Branch) (ended []*far) {
	for name, f := range st.branches {
		if name != b && st.branches[b] != nil {
			ended = append(ended, f)
			delete(st.branches, name)
		}
	}
	if f := st.branches[b]; f != nil {
		st.hear(iq.Core, f)
	}
	return ended
}

// close ends the stream, which nobody can find any more.
func (st *stream) close() {
	for side := range st.open {
		st.open[side].Store(false)
	}
	for _, f := range st.branches {
		f.close()
	}
	client := st.access.Load()
	st.hear(iq.Access, nil)
	if client != nil {
		client.close()
	}
	st.hear(iq.Core, nil)
	for _, e := range append(st.old, st.ends[:]...) {
		e.close()
	}
}
