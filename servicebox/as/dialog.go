package as

import (
	"slices"
	"strconv"

	"imsafe/proto/sip"
)

// legName finds a dialog of ours by what a request inside it carries.
type legName struct{ callID, tag string }

// nameOf is the name of the dialog that a request inside it belongs to: To carries our tag.
func nameOf(m *sip.Message) legName {
	return legName{string(m.Get(sip.HdrCallID)), string(m.ToTag())}
}

// dialog is the state of RFC 3261 12 for one leg.
type dialog struct {
	callID              string
	localTag, remoteTag string
	local, remote       string // From and To without tags, as name-addr
	target              string // the peer's Contact
	routes              []string
	localSeq, remoteSeq uint32
}

// maxRoutes bounds a route set.
const maxRoutes = 32

// dialogOfRequest makes the dialog of a UAS (RFC 3261 12.1.1); false if the request cannot found one.
func dialogOfRequest(m *sip.Message, localTag string) (d dialog, ok bool) {
	d = dialog{callID: string(m.Get(sip.HdrCallID)), localTag: localTag, remoteTag: string(m.FromTag()), local: party(m.Get(sip.HdrTo)),
		remote: party(m.Get(sip.HdrFrom)), routes: recordRoutes(m)}
	d.target, ok = contactOf(m)
	seq, _, err := m.CSeq()
	d.remoteSeq = seq
	return d, ok && err == nil && d.remoteTag != ""
}

// dialogOfResponse makes the dialog of a UAC (RFC 3261 12.1.2): the same with the route set turned round.
func dialogOfResponse(m *sip.Message, seq uint32) (d dialog, ok bool) {
	d = dialog{callID: string(m.Get(sip.HdrCallID)), localTag: string(m.FromTag()), remoteTag: string(m.ToTag()), local: party(m.Get(sip.HdrFrom)),
		remote: party(m.Get(sip.HdrTo)), localSeq: seq, routes: recordRoutes(m)}
	slices.Reverse(d.routes)
	d.target, ok = contactOf(m)
	return d, ok && d.remoteTag != ""
}

// party writes a From or To without its parameters; the display name is nobody's business here.
func party(v []byte) string {
	addr, err := sip.ParseNameAddr(v)
	if err != nil {
		return string(v)
	}
	return "<" + string(addr.URI) + ">"
}

func contactOf(m *sip.Message) (string, bool) {
	c, err := sip.ParseNameAddr(m.Get(sip.HdrContact))
	if err != nil {
		return "", false
	}
	uri, err := sip.ParseURI(c.URI)
	return string(c.URI), err == nil && uri.IsSIP()
}

func recordRoutes(m *sip.Message) []string {
	var list []string
	for v := range m.Values(sip.HdrRecordRoute) {
		if len(list) < maxRoutes {
			list = append(list, string(v))
		}
	}
	return list
}

// request builds a request inside the dialog (RFC 3261 12.2.1.1). All hops of an IMS are loose routers.
func (d *dialog) request(p *sip.Pool, method sip.Method, seq uint32) *sip.Message {
	m := p.NewRequest(method, d.target)
	for _, r := range d.routes {
		m.AppendString(sip.HdrRoute, r)
	}
	m.SetString(sip.HdrMaxForwards, "70")
	m.SetString(sip.HdrFrom, d.local+";tag="+d.localTag)
	m.SetString(sip.HdrTo, d.remote+";tag="+d.remoteTag)
	m.SetString(sip.HdrCallID, d.callID)
	m.SetString(sip.HdrCSeq, cseq(seq, method))
	return m
}

// owns reports whether a request belongs to the dialog: both tags and the Call-ID (RFC 3261 12.2.2).
func (d *dialog) owns(m *sip.Message) bool {
	return d.remoteTag == string(m.FromTag()) && d.localTag == string(m.ToTag()) && d.callID == string(m.Get(sip.HdrCallID))
}

// inOrder takes the sequence number of a request inside the dialog; false for an old one (RFC 3261 12.2.2).
func (d *dialog) inOrder(m *sip.Message) bool {
	seq, _, err := m.CSeq()
	if err != nil || seq <= d.remoteSeq {
		return false
	}
	d.remoteSeq = seq
	return true
}

// refresh takes a new remote target (RFC 3261 12.2.2).
func (d *dialog) refresh(m *sip.Message) {
	if target, ok := contactOf(m); ok {
		d.target = target
	}
}

func cseq(seq uint32, method sip.Method) string {
	return strconv.FormatUint(uint64(seq), 10) + " " + method.String()
}
