package pcscf

import (
	"slices"
	"strconv"
	"strings"

	"imsafe/proto/sdp"
	"imsafe/refpoint/iq"
)

// BUNDLE (RFC 9143) is between a client and the anchor: all its media on one transport, which is that of one medium, the carrier. Towards the core each
// medium has a transport of its own, as for everybody.

// together are the media of an exchange that share the client's transport, by index; the tagged one, whose description has the transport, first.
type together []int

func (t together) has(i int) bool { return slices.Contains(t, i) }

// maxMID is longer than identification tags are: in packets they cost octets.
const maxMID = 32

// grouped reads which media of a description of the client may share a transport, and gives each that has none of its own that of the tagged one.
// In an answer that is each of them (RFC 9143 7.3), in an offer those that name no other. A medium that is bundle-only and cannot stays switched off.
func grouped(d *sdp.Session, answer bool) (t together) {
	lines := d.Bundle()
	tagged := slices.IndexFunc(lines, func(i int) bool { return d.Media[i].Port != 0 })
	if tagged < 0 {
		return nil
	}
	first := &d.Media[lines[tagged]]
	for _, i := range lines {
		m := &d.Media[i]
		switch {
		case m.Port == 0 && !m.BundleOnly(), m.MID == "", len(m.MID) > maxMID:
			continue // switched off
		case m == first:
		case answer, m.Port == 0, m.Port == first.Port && m.Address == first.Address:
			m.Carry(first)
		}
		if m.Keying() != sdp.DTLSSRTP || !m.RTCPMux { // RFC 9143 9.3
			if m.BundleOnly() {
				m.Port = 0
			}
			continue
		}
		t = append(t, i)
	}
	if len(t) > 0 && t[0] != lines[tagged] {
		return nil // the tagged one cannot: nobody has a transport to share
	}
	return t
}

// joined is which media share the client's transport by an offer and its answer. In the answer of a client the transport of the others is that of the
// tagged one from here on.
func (c *call) joined(x *exchange, answer *sdp.Session) together {
	var t together
	var offered, answered *sdp.Session
	if x.from == iq.Access {
		offered, answered = x.offer, answer
	} else {
		offered, answered = x.sent, answer
		t = grouped(answer, true)
	}
	if x.from == iq.Access {
		t = x.bundle
	}
	t = slices.DeleteFunc(slices.Clone(t), func(i int) bool {
		return !x.bundle.has(i) || x.sent.Media[i].Port == 0 || answer.Media[i].Port == 0 || answer.Media[i].Proto != x.sent.Media[i].Proto
	})
	// RFC 9143 7.3.1: the tagged one has an address of its own, or one that all of them have already.
	first := slices.IndexFunc(t, func(i int) bool { return c.shares(i) || !offered.Media[i].BundleOnly() || x.from == iq.Core })
	if first < 0 || !apart(offered, t) || !apart(answered, t) {
		return nil
	}
	tagged := t[first]
	return append(together{tagged}, slices.Delete(t, first, first+1)...)
}

// shares reports whether a medium is on the client's transport with others, or carries them.
func (c *call) shares(i int) bool {
	return c.carrier != 0 && i < len(c.media) && (c.carrier == i+1 || c.media[i].remote[iq.Access].Within != 0)
}

// carry chooses whose end carries the media that come together: as before, or the tagged one.
func (c *call) carry(t together) {
	switch {
	case len(t) == 0:
		c.carrier = 0
	case !slices.ContainsFunc(t, c.shares):
		c.carrier = t[0] + 1
	}
}

// urnMID is the header extension that has the MID of a packet (RFC 9143 15.1).
const urnMID = "urn:ietf:params:rtp-hdrext:sdes:mid"

// midOf is its identifier in a description; 0 without.
func midOf(all []sdp.Attribute) uint8 {
	for _, x := range extensions(all) {
		if x.uri == urnMID {
			return x.id
		}
	}
	return 0
}

// apart reports whether media can be told apart on one transport: by MIDs in their packets, or by payload types that differ (RFC 9143 9.2).
func apart(d *sdp.Session, t together) bool {
	named, id := true, uint8(0)
	var seen iq.Types
	differ := true
	for _, i := range t {
		n := midOf(terms(d, &d.Media[i]))
		named = named && n != 0 && (id == 0 || n == id)
		id = n
		for _, f := range d.Media[i].Formats {
			differ = differ && !seen.Has(f.PayloadType)
		}
		types := typesOf(&d.Media[i])
		seen[0], seen[1] = seen[0]|types[0], seen[1]|types[1]
	}
	return named || differ
}

// suggest offers a client to put its media on one transport. Media without a name get one; then no packet has it.
func (c *call) suggest(out *sdp.Session) (t together) {
	unnamed := false
	for i := range out.Media {
		m := &out.Media[i]
		declined := c.media[i].proto[iq.Access] != "" && !c.shares(i)
		if m.Port == 0 || m.Keying() != sdp.DTLSSRTP || len(m.MID) > maxMID || declined {
			continue
		}
		if m.MID == "" {
			m.MID, unnamed = unusedMID(out, i), true
		}
		t = append(t, i)
	}
	if unnamed {
		withoutExtension(out, urnMID)
	}
	if at := slices.IndexFunc(t, c.shares); at > 0 { // what has the transport already says where it is
		tagged := t[at]
		t = append(together{tagged}, slices.Delete(t, at, at+1)...)
	}
	if !apart(out, t) {
		t = t[:min(len(t), 1)]
	}
	c.group(out, t)
	return t
}

func unusedMID(d *sdp.Session, i int) string {
	for n := i; ; n++ {
		mid := strconv.Itoa(n)
		if !slices.ContainsFunc(d.Media, func(m sdp.Media) bool { return m.MID == mid }) {
			return mid
		}
	}
}

// group writes the group, and takes the transport off all but the tagged one where it is theirs (RFC 9143 7.1.3).
func (c *call) group(d *sdp.Session, t together) {
	d.SetBundle(t)
	for _, i := range t[min(len(t), 1):] {
		if m := &d.Media[i]; m.Port == d.Media[t[0]].Port && m.Address == d.Media[t[0]].Address {
			m.Carried()
		}
	}
}

// countsTransport are attributes about numbers of a whole transport (draft-holmer-rmcat-transport-wide-cc-extensions-01, RFC 8888). Where media
// share one on this side and have one each on the other, the numbers of one side mean nothing on the other.
func countsTransport(a sdp.Attribute) bool {
	return a.Key == "extmap" && strings.Contains(a.Value, "transport-wide-cc") ||
		a.Key == "rtcp-fb" && (strings.Contains(a.Value, "transport-cc") || strings.Contains(a.Value, "ccfb"))
}

// apartFromTransport takes them off the media that share one.
func apartFromTransport(d *sdp.Session, t together) {
	if len(t) < 2 {
		return
	}
	for _, i := range t {
		d.Media[i].Other = slices.DeleteFunc(d.Media[i].Other, countsTransport)
	}
}

func withoutExtension(d *sdp.Session, uri string) {
	of := func(a sdp.Attribute) bool { return a.Key == "extmap" && strings.Contains(a.Value, uri) }
	d.Other = slices.DeleteFunc(d.Other, of)
	for i := range d.Media {
		d.Media[i].Other = slices.DeleteFunc(d.Media[i].Other, of)
	}
}

// carried is the far end of a medium that the carrier carries, which was told before.
func (c *call) carried() (iq.Remote, bool) {
	k := &c.media[c.carrier-1]
	r := k.remote[iq.Access]
	r.Within = k.number + 1
	return r, r.Media.IsValid()
}

// follow tells the anchor of the carrier's transport where its own medium is switched off and others go on there.
func (c *call) follow(x *exchange, tag string, answer *sdp.Session, t together) {
	if len(t) == 0 || t.has(c.carrier-1) {
		return
	}
	md := &c.media[c.carrier-1]
	var r iq.Remote
	var ok bool
	if x.from == iq.Access {
		r, ok = c.offererOf(iq.Access, md, &x.offer.Media[t[0]])
	} else {
		r, ok = c.answererOf(iq.Access, md, &answer.Media[t[0]], &x.sent.Media[t[0]])
	}
	if ok {
		c.configure(md, iq.Access, tag, &r, md.proto[iq.Access])
	}
}

// endOf is the end of ours that a medium has on a side: on the client's side the carrier's, if it shares that.
func (c *call) endOf(side iq.Side, md *medium) *iq.End {
	if side == iq.Access && c.carrier != 0 && md.remote[side].Within != 0 {
		return &c.media[c.carrier-1].ends[side]
	}
	return &md.ends[side]
}

// far reads the far end of a medium on one side out of an exchange.
func (c *call) far(x *exchange, side iq.Side, i int, answer *sdp.Media) (iq.Remote, bool) {
	switch md := &c.media[i]; {
	case side == iq.Access && x.joined.has(i) && c.carrier != i+1:
		return c.carried()
	case side == x.from:
		return c.offererOf(side, md, &x.offer.Media[i])
	default:
		return c.answererOf(side, md, answer, &x.sent.Media[i])
	}
}

// displaced reports whether a medium has nowhere to be: it wants to be together with others and is not, or its own transport carries others that it
// has left.
func (c *call) displaced(x *exchange, i int) bool {
	if x.joined.has(i) {
		return false
	}
	return c.carrier == i+1 || x.from == iq.Access && x.offer.Media[i].BundleOnly()
}

// nameOf is the MID by which the client knows a medium, and the header extension that has it, if both ends have agreed on that.
func (x *exchange) nameOf(i int, answer *sdp.Session) (mid string, extension uint8) {
	known := x.offer
	if x.from == iq.Core {
		known = x.sent
	}
	if mid = known.Media[i].MID; len(mid) > maxMID {
		return "", 0 // of a medium that is with no other
	}
	if n := midOf(terms(x.sent, &x.sent.Media[i])); n == midOf(terms(answer, &answer.Media[i])) {
		extension = n
	}
	return mid, extension
}

// carrierFirst is the order in which the anchor is told of media.
func (c *call) carrierFirst(n int) []int {
	order := make([]int, 0, n)
	if c.carrier != 0 {
		order = append(order, c.carrier-1)
	}
	for i := range n {
		if i != c.carrier-1 {
			order = append(order, i)
		}
	}
	return order
}

// refused is the answer to a medium that was not agreed on. The tagged one of a group that stands cannot be refused (RFC 9143 7.3.3): its port is that of
// the others. It stays, and nothing is sent.
func (c *call) refused(x *exchange, i int) sdp.Media {
	o := &x.offer.Media[i]
	if x.from != iq.Access || len(x.joined) == 0 || o.Port == 0 || !c.shares(i) || len(x.bundle) == 0 || x.bundle[0] != i {
		return disabled(o)
	}
	m := c.accept(iq.Access, &c.media[i], o, o)
	m.Direction, m.Bandwidth = sdp.Inactive, nil
	x.joined = append(together{i}, slices.DeleteFunc(x.joined, func(k int) bool { return k == i })...)
	return m
}
