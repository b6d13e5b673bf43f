package ue

import (
	"bytes"
	"errors"
	"slices"

	"imsafe/proto/sip"
)

// errDialog says that a response or request cannot found a dialog: no Contact, no tag, nothing readable.
var errDialog = errors.New("ue: dialog cannot be made of this message")

// dialog is the state of RFC 3261 12 for one call leg.
type dialog struct {
	callID              string
	localTag, remoteTag string
	local, remote       string   // URIs of From and To
	target              string   // the peer's Contact
	routes              []string // Route values, first hop first
	localSeq, remoteSeq uint32   // remoteSeq 0: nothing received yet
}

// maxRoutes bounds a route set.
const maxRoutes = 32

// dialogOfRequest makes the dialog of a UAS (RFC 3261 12.1.1).
func dialogOfRequest(m *sip.Message, localTag string) (dialog, error) {
	d := dialog{callID: string(m.Get(sip.HdrCallID)), localTag: localTag, remoteTag: string(m.FromTag())}
	from, err1 := m.From()
	to, err2 := m.To()
	seq, _, err3 := m.CSeq()
	target, err4 := contactOf(m)
	if err := errors.Join(err1, err2, err3, err4); err != nil || d.remoteTag == "" {
		return dialog{}, errDialog
	}
	d.remote, d.local, d.remoteSeq, d.target = string(from.URI), string(to.URI), seq, target
	d.routes = recordRoutes(m)
	return d, nil
}

// dialogOfResponse makes the dialog of a UAC (RFC 3261 12.1.2): the same with the route set turned round.
func dialogOfResponse(m *sip.Message, localTag string, seq uint32) (dialog, error) {
	d := dialog{callID: string(m.Get(sip.HdrCallID)), localTag: localTag, remoteTag: string(m.ToTag()), localSeq: seq}
	from, err1 := m.From()
	to, err2 := m.To()
	target, err3 := contactOf(m)
	if err := errors.Join(err1, err2, err3); err != nil || d.remoteTag == "" {
		return dialog{}, errDialog
	}
	d.local, d.remote, d.target = string(from.URI), string(to.URI), target
	d.routes = recordRoutes(m)
	slices.Reverse(d.routes)
	return d, nil
}

func contactOf(m *sip.Message) (string, error) {
	c, err := sip.ParseNameAddr(m.Get(sip.HdrContact))
	if err != nil {
		return "", errDialog
	}
	uri, err := sip.ParseURI(c.URI)
	if err != nil || !uri.IsSIP() {
		return "", errDialog
	}
	return string(c.URI), nil
}

func recordRoutes(m *sip.Message) []string {
	var list []string
	for v := range m.Values(sip.HdrRecordRoute) {
		if len(list) == maxRoutes {
			break
		}
		list = append(list, string(v))
	}
	return list
}

// inDialog builds a request inside the dialog (RFC 3261 12.2.1.1). All hops of an IMS are loose routers; a route set that
// begins with a strict one (RFC 2543) is followed as if it were loose.
func (u *UE) inDialog(d *dialog, method sip.Method, seq uint32) *sip.Message {
	m := u.pool.NewRequest(method, d.target)
	for _, r := range d.routes {
		m.AppendString(sip.HdrRoute, r)
	}
	m.SetString(sip.HdrMaxForwards, "70")
	m.SetString(sip.HdrFrom, "<"+d.local+">;tag="+d.localTag)
	m.SetString(sip.HdrTo, "<"+d.remote+">;tag="+d.remoteTag)
	m.SetString(sip.HdrCallID, d.callID)
	m.SetString(sip.HdrCSeq, cseq(seq, method))
	m.SetString(sip.HdrUserAgent, u.cfg.UserAgent)
	return m
}

// owns reports whether a request belongs to the dialog: both tags and the Call-ID (RFC 3261 12.2.2). The tags are ours and the
// peer's secret; whoever does not know them has no dialog.
func (d *dialog) owns(m *sip.Message) bool {
	return d.remoteTag == string(m.FromTag()) && d.localTag == string(m.ToTag()) && d.callID == string(m.Get(sip.HdrCallID))
}

// inOrder takes the sequence number of a request inside the dialog; false for an old one (RFC 3261 12.2.2).
func (d *dialog) inOrder(m *sip.Message) bool {
	seq, _, err := m.CSeq()
	if err != nil || seq <= d.remoteSeq && d.remoteSeq != 0 {
		return false
	}
	d.remoteSeq = seq
	return true
}

// refresh takes a new remote target (RFC 3261 12.2.2).
func (d *dialog) refresh(m *sip.Message) {
	if target, err := contactOf(m); err == nil {
		d.target = target
	}
}

// callKey finds a call by what a request inside its dialog carries and we chose or saw first.
func callKey(callID, localTag string) string { return callID + "\x00" + localTag }

// isSDP reports whether the body is a session description; a missing type with a body is none.
func isSDP(m *sip.Message) bool {
	kind, _, _ := bytes.Cut(m.Get(sip.HdrContentType), []byte{';'})
	return len(m.Body()) > 0 && bytes.EqualFold(bytes.TrimSpace(kind), []byte("application/sdp"))
}
