package attack

import (
	"context"
	"fmt"

	"imsafe/proto/sip"
)

// talksTo calls another hand, which takes the call, and acknowledges with further header lines. It returns what a request within the dialog begins with,
// and the ACK as it came.
func (h *Hand) talksTo(ctx context.Context, callee *Hand, lines ...string) (inside Request, ack *sip.Message, err error) {
	callID := h.f.token()
	ofCall := func(m *sip.Message) bool { return string(m.Get(sip.HdrCallID)) == callID }
	callee.answers.Store(false)
	call := h.callsKeyed(callee.IMPU, callID)
	if h.Password != "" { // whom his home network asks who he is
		if call, err = h.answersAll(ctx, h.callKeyed(callee.IMPU, callID)); err != nil {
			return inside, nil, err
		}
	}
	if err := h.Write(call); err != nil {
		return inside, nil, err
	}
	invite, err := callee.Await(ctx, func(m *sip.Message) bool { return m.IsRequest() && m.Method() == sip.INVITE && ofCall(m) })
	if err != nil {
		return inside, nil, err
	}
	if err := callee.answersKeyed(invite, honestKey, callee.Contact()); err != nil {
		return inside, nil, err
	}
	answer, err := h.Await(ctx, func(m *sip.Message) bool { return isFinal(m) && ofCall(m) })
	if err != nil {
		return inside, nil, err
	}
	callee.answers.Store(true)
	if inside, err = h.acknowledges(answer, callee.IMPU, lines...); err != nil {
		return inside, nil, err
	}
	ack, err = callee.Await(ctx, func(m *sip.Message) bool { return m.IsRequest() && m.Method() == sip.ACK && ofCall(m) })
	return inside, ack, err
}

// acknowledges sends the ACK for the answer to a call, with further header lines, and returns what a request within the dialog begins with.
func (h *Hand) acknowledges(answer *sip.Message, whom string, lines ...string) (Request, error) {
	if answer.Status() != 200 {
		return Request{}, fmt.Errorf("attack: %s's call is answered %d", h.Name, answer.Status())
	}
	r, err := insideOf(answer, whom)
	if err != nil {
		return r, err
	}
	r.Method, r.CSeq = "ACK", h.number
	ack := r
	ack.Lines = append(append([]string(nil), r.Lines...), lines...)
	if err := h.Write(h.Text(ack)); err != nil {
		return r, err
	}
	r.CSeq = h.number + 1
	return r, nil
}

// insideOf is what a request of the caller's begins with inside the dialog that a response to his INVITE has begun (RFC 3261 12.1.2).
func insideOf(answer *sip.Message, whom string) (Request, error) {
	target, err := sip.ParseNameAddr(answer.Get(sip.HdrContact))
	if err != nil {
		return Request{}, fmt.Errorf("attack: a call that is answered %d: %w", answer.Status(), err)
	}
	r := Request{URI: string(target.URI), To: whom, ToTag: string(answer.ToTag()), CallID: string(answer.Get(sip.HdrCallID))}
	for v := range answer.Values(sip.HdrRecordRoute) {
		r.Lines = append([]string{"Route: " + string(v)}, r.Lines...)
	}
	return r, nil
}

// asksWithin sends the next request inside a dialog, with further header lines, and returns its final response.
func (h *Hand) asksWithin(ctx context.Context, inside *Request, method, body string, lines ...string) (*sip.Message, error) {
	inside.CSeq++
	r := *inside
	r.Method, r.Body, r.Lines = method, body, append(append([]string(nil), inside.Lines...), lines...)
	return h.Ask(ctx, h.Text(r))
}

// rackOf acknowledges the first reliable provisional response to an INVITE (RFC 3262 7.2).
func rackOf(cseq uint32) string { return fmt.Sprintf("RAck: 1 %d INVITE", cseq) }
