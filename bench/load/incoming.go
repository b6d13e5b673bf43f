package load

import (
	"bytes"
	"strconv"

	"imsafe/proto/sip"
)

// receive takes a message that came to UE number i.
func (w *worker) receive(i int32, data []byte) {
	m, err := w.pool.Parse(data)
	if err != nil {
		w.stats.Malformed++
		return
	}
	defer m.Release()
	if m.IsRequest() {
		if sip.Validate(m) != nil {
			w.stats.Malformed++
			return
		}
		w.asked(i, m)
		return
	}
	w.responded(i, m)
}

// responded matches a response with the request that waits for it (RFC 3261 17.1.3): branch and method.
func (w *worker) responded(i int32, m *sip.Message) {
	u := &w.ues[i]
	via, err := m.TopVia()
	seq, _, err2 := m.CSeq()
	if err != nil || err2 != nil || m.Status() == 0 || m.Count(sip.HdrVia) != 1 {
		w.stats.Malformed++
		return
	}
	if u.play < 0 {
		w.stray(i, m)
		return
	}
	p := &w.plays[u.play]
	of := 0
	if p.b == i {
		of = 1
	}
	sd := &p.side[of]
	if sd.waits != response || sd.cseq != seq || m.CSeqMethod() != sd.method || !w.isBranch(via.Branch, sd.branch) {
		w.stray(i, m)
		return
	}
	if m.Status() >= 200 {
		w.answered(u.play, of, m)
		return
	}
	if sd.method == sip.INVITE {
		if m.Status() > 100 && !sd.provisional {
			sd.provisional = true
			w.took(p, stepRing, w.now-sd.sent)
		}
		sd.again = 0 // nothing is sent again after a provisional response (RFC 3261 17.1.1.2)
	} else if sd.again > 0 {
		sd.again = t2 // RFC 3261 17.1.2.2
	}
	w.watch(u.play, of)
}

func (w *worker) isBranch(b []byte, branch uint32) bool {
	w.key = strconv.AppendUint(append(append(w.key[:0], "z9hG4bK"...), w.mark...), uint64(branch), 16)
	return bytes.Equal(b, w.key)
}

// stray is a response that nobody waits for any more. To those of INVITE an ACK is due all the same: our first may be lost (RFC 3261 13.2.2.4),
// and nobody else ends what a server sends again and again.
func (w *worker) stray(i int32, m *sip.Message) {
	w.stats.Stray++
	u := &w.ues[i]
	if m.CSeqMethod() != sip.INVITE || m.Status() < 200 {
		return
	}
	if m.Status() >= 300 {
		w.say(u, i, w.refused(w.line[:0], u, m))
		return
	}
	if u.play < 0 {
		return
	}
	p := &w.plays[u.play]
	if d := &p.side[0].dialog; p.kind == Call && p.a == i && bytes.Equal(d.callID, m.Get(sip.HdrCallID)) {
		w.say(u, i, w.inDialog(w.line[:0], u, d, "ACK", d.invite, w.newBranch()))
	}
}

// asked is a request that came.
func (w *worker) asked(i int32, m *sip.Message) {
	u := &w.ues[i]
	var p *play
	if u.play >= 0 {
		p = &w.plays[u.play]
	}
	switch method := m.Method(); {
	case method == sip.ACK:
		if p != nil && p.kind == Call && p.b == i {
			w.acknowledged(u.play, m)
		}
	case method == sip.INVITE && p != nil && p.kind == Call && p.b == i:
		w.called(u.play, m)
	case method == sip.INVITE:
		w.reply(i, m, 486)
	case method == sip.BYE && p != nil && p.kind == Call && w.inDialogOf(p, i, m):
		w.reply(i, m, 200)
		w.released(u.play, i)
	case method == sip.BYE:
		w.reply(i, m, 481)
	case method == sip.MESSAGE:
		if p != nil && p.kind == Message && p.b == i {
			p.delivered = string(m.Body()) == greeting && w.fromCaller(p, m)
		}
		w.reply(i, m, 200)
	case method == sip.CANCEL:
		w.reply(i, m, 200)
	case method == sip.NOTIFY, method == sip.OPTIONS:
		w.reply(i, m, 200)
	default:
		w.reply(i, m, 405)
	}
}

func (w *worker) reply(i int32, m *sip.Message, code int) {
	u := &w.ues[i]
	w.serial++
	w.say(u, i, w.answer(w.line[:0], u, m, code, w.serial, false))
}

// fromCaller reports whether the network vouches for the one who calls (RFC 3325).
func (w *worker) fromCaller(p *play, m *sip.Message) bool {
	return w.target.Lenient || names(m, sip.HdrPAssertedIdentity, w.ues[p.a].sub.IMPU)
}

// called is an INVITE: 180, and 200 when the user has answered.
func (w *worker) called(id int32, m *sip.Message) {
	p := &w.plays[id]
	sd, u := &p.side[1], &w.ues[p.b]
	if sd.waits == ringing || sd.waits == ack { // it came again
		w.transmit(p, 1)
		return
	}
	if sd.waits != nothing || p.delivered {
		return
	}
	contact, err := sip.ParseNameAddr(m.Get(sip.HdrContact))
	seq, _, _ := m.CSeq()
	if err != nil || !w.fromCaller(p, m) || len(m.Body()) == 0 {
		w.reply(p.b, m, 500)
		w.finish(id, &Failure{Step: "INVITE", Cause: "came without contact, identity or offer"})
		return
	}
	if !w.offers(sd) {
		w.finish(id, &Failure{Step: "media", Cause: "no key"})
		return
	}
	if wrong := w.hears(sd, m.Body()); wrong != "" {
		w.reply(p.b, m, 488)
		w.finish(id, &Failure{Step: "INVITE", Cause: wrong})
		return
	}
	p.delivered = true
	d := &sd.dialog
	d.callID, d.remote, d.target = append(d.callID[:0], m.Get(sip.HdrCallID)...), append(d.remote[:0], m.Get(sip.HdrFrom)...), append(d.target[:0], contact.URI...)
	d.local = append(build(d.local[:0]).o(m.Get(sip.HdrTo)).s(";tag=b").x(uint64(p.serial)), ""...)
	d.route, d.seq, d.invite = d.route[:0], 1, seq
	for v := range m.Values(sip.HdrRecordRoute) { // in order (RFC 3261 12.1.1)
		d.route = append(append(append(d.route, "Route: "...), v...), "\r\n"...)
	}
	w.say(u, p.b, w.answer(w.line[:0], u, m, 180, p.serial, false))
	sd.out = w.answer(w.buffer(), u, m, 200, p.serial, true)
	sd.waits = ringing
	if w.ring > 0 {
		w.wheel.arm(2*id+1, w.now+w.arrivals.exponential(w.ring))
		return
	}
	w.pickUp(id)
}

// pickUp sends the 200 until the ACK comes, over any transport (RFC 3261 13.3.1.4).
func (w *worker) pickUp(id int32) {
	sd := &w.plays[id].side[1]
	sd.waits, sd.again, sd.deadline = ack, t1, w.now+w.patience
	w.transmit(&w.plays[id], 1)
	w.watch(id, 1)
}

// acknowledged is the ACK of the 200.
func (w *worker) acknowledged(id int32, m *sip.Message) {
	p := &w.plays[id]
	sd := &p.side[1]
	if seq, _, _ := m.CSeq(); sd.waits != ack || seq != sd.dialog.invite || !bytes.Equal(m.Get(sip.HdrCallID), sd.dialog.callID) {
		return
	}
	w.settle(sd, id, 1)
	sd.waits = nothing
	w.speaks(id, 1)
	if p.ends == 1 {
		w.hold(id, 1)
	}
}

func (w *worker) inDialogOf(p *play, i int32, m *sip.Message) bool {
	of := 0
	if p.b == i {
		of = 1
	}
	return bytes.Equal(m.Get(sip.HdrCallID), p.side[of].dialog.callID)
}

// released is a BYE that came to UE number i. If the other side has sent none, the network ends the call.
func (w *worker) released(id, i int32) {
	p := &w.plays[id]
	other := &p.side[1]
	if p.b == i {
		other = &p.side[0]
	}
	if other.waits != response || other.method != sip.BYE {
		w.finish(id, &Failure{Step: "BYE", Cause: "the network ended the call"})
	}
}
