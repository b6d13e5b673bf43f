package ue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptxn"
)

// Kind of an Event.
type Kind uint8

// Kinds.
const (
	Ringing  Kind = iota + 1 // the other end is alerted
	Answered                 // 200 and ACK: the call stands
	Secured                  // media keys stand; Reason names the profile
	Held                     // the other end put us on hold; Reason says "held" or "resumed"
	Played                   // what Voice.Play had is at its end
	Ended                    // the last event
)

// String returns the kind in one word.
func (k Kind) String() string {
	return [...]string{"", "ringing", "answered", "secured", "held", "played", "ended"}[min(k, Ended)]
}

// Event is what happened to a call.
type Event struct {
	Kind   Kind
	Code   int      // the status code where there is one
	Reason string   // in words
	Notes  []string // what the answer says to people besides (Warning, RFC 3261 20.43)
	Err    error    // of an Ended call: nil if somebody hung up in an orderly way
}

// Reasons why a call ended by itself.
var (
	ErrCancelled = errors.New("ue: cancelled")
	ErrNoAck     = errors.New("ue: no ACK")
	ErrMedia     = errors.New("ue: media not agreed")
	ErrRedirect  = errors.New("ue: redirected, and redirection is not followed")
)

// phase of a call, on the shard.
type phase uint8

const (
	calling  phase = iota // UAC: INVITE sent, or UAS: not answered yet
	standing              // 2xx sent or received
	leaving               // BYE or CANCEL sent, or a failure to be acknowledged
	over
)

// Call is one call. Its fields are the shard's.
type Call struct {
	u        *UE
	outgoing bool
	peer     string // who the other end is: asserted by the network where it did
	asserted bool

	phase     phase
	dialog    dialog
	hangup    bool // wanted when it was not possible yet
	confirmed bool // Answered was told
	modifying *modification
	voice     voice
	vouched   Vouched // guarded by events.mu

	// Of a UAC.
	target    string
	invite    siptxn.ClientRef
	inviteSeq uint32
	auth      authentication
	ack       *sip.Message // for the next time the 2xx comes
	heard     bool         // something came back to the INVITE
	early     []early
	late      []byte // the called party's offer, which the ACK has to answer

	// Of a UAS.
	server    *siptxn.Server // until the final response
	reliable  reliable       // provisional responses
	answer    []byte         // SDP for the 200; nil if the INVITE had no offer
	answering bool           // a 2xx waits for its ACK
	checking  bool           // a new offer waits for the certificates of who has signed it
	accepted  siptxn.ServerRef
	ackSeq    uint32
	resend    shard.Timer // of that 2xx (RFC 3261 13.3.1.4)
	resendIn  time.Duration
	giveUpAt  time.Duration

	alone shard.Timer // until when it is known whether the other end is there, once the signalling is gone

	events events
}

// events is the queue between the shard and whoever scripts the call.
type events struct {
	mu   sync.Mutex
	list []Event
	more chan struct{} // closed and replaced when something comes
	last Event
	done chan struct{} // closed with the last event
}

// maxEvents is more than any orderly call has; a peer that makes more loses the oldest.
const maxEvents = 64

func (u *UE) newCall(outgoing bool) *Call {
	c := &Call{u: u, outgoing: outgoing}
	c.events.more, c.events.done = make(chan struct{}), make(chan struct{})
	c.voice.call = c
	return c
}

func (c *Call) tell(e Event) {
	q := &c.events
	q.mu.Lock()
	if len(q.list) == maxEvents {
		q.list = q.list[1:]
	}
	q.list = append(q.list, e)
	if e.Kind == Ended {
		q.last = e
		close(q.done)
	}
	close(q.more)
	q.more = make(chan struct{})
	q.mu.Unlock()
	c.u.log.Info("call", "event", e.Kind.String(), "code", e.Code, "reason", e.Reason, "error", e.Err, "call_id", c.dialog.callID)
}

// Next returns the next event, or ctx's error.
func (c *Call) Next(ctx context.Context) (Event, error) {
	return c.take(ctx, func([]Event) int { return 0 })
}

// Until waits for an event of kind k and returns it; other events stay for Next and later calls of Until, so that what may come in
// any order (Answered and Secured) can be awaited in any order. It returns the call's end as an error if that comes first (Event.Err,
// or a *StatusError with its code), and ctx's error.
func (c *Call) Until(ctx context.Context, k Kind) (Event, error) {
	e, err := c.take(ctx, func(list []Event) int {
		return slices.IndexFunc(list, func(e Event) bool { return e.Kind == k || e.Kind == Ended })
	})
	switch {
	case err != nil || e.Kind == k:
		return e, err
	case e.Err != nil:
		err = e.Err
	default:
		err = &StatusError{Code: e.Code, Reason: "ended: " + e.Reason}
	}
	return e, err
}

// take waits until which finds an event and takes it out of the queue. The end stays: everybody may see it.
func (c *Call) take(ctx context.Context, which func([]Event) int) (Event, error) {
	q := &c.events
	for {
		q.mu.Lock()
		if len(q.list) > 0 {
			if i := which(q.list); i >= 0 {
				e := q.list[i]
				if e.Kind != Ended {
					q.list = slices.Delete(q.list, i, i+1)
				}
				q.mu.Unlock()
				return e, nil
			}
		}
		more := q.more
		q.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// Done is closed when the call has ended.
func (c *Call) Done() <-chan struct{} { return c.events.done }

// Result returns the last event after Done is closed.
func (c *Call) Result() Event {
	c.events.mu.Lock()
	defer c.events.mu.Unlock()
	return c.events.last
}

// Peer returns the URI of the other end, and whether the network asserts it (RFC 3325). It does not change.
func (c *Call) Peer() (uri string, asserted bool) { return c.peer, c.asserted }

// Call begins a call to target, a SIP or tel URI or an emergency service (urn:service:sos, RFC 5031 4.2), and returns when the INVITE has left; events tell the rest. Errors: ErrURI,
// ErrNotRegistered, ErrBusy, ErrConnect, ErrTooLarge, or the media socket's.
func (u *UE) Call(ctx context.Context, target string, v Voice) (*Call, error) {
	if err := checkTarget(target); err != nil && !isEmergency(target) {
		return nil, err
	}
	var c *Call
	err := u.do(ctx, func(*shard.Task) error {
		switch {
		case u.reg.current.State != Registered:
			return ErrNotRegistered
		case len(u.calls) >= u.cfg.MaxCalls:
			return ErrBusy
		}
		c = u.newCall(true)
		c.target, c.peer = target, target
		if err := c.voice.prepare(v); err != nil {
			return err
		}
		c.dialog = dialog{callID: u.token(24), localTag: u.token(16)}
		u.calls[callKey(c.dialog.callID, c.dialog.localTag)] = c
		if err := c.sendInvite(""); err != nil {
			c.end(Event{Err: err})
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Hangup ends the call in the way its state asks for: CANCEL before an answer, BYE after it, 603 to a call that rings here. It returns
// at once; Done tells when it is over. Twice is harmless.
func (c *Call) Hangup() { c.u.post(c.leave) }

func (c *Call) leave() {
	switch {
	case c.phase == over || c.phase == leaving:
	case c.phase == standing && c.answering:
		// A UAS may not send BYE before its 2xx was acknowledged (RFC 3261 15); the ACK, or its absence, brings us back here.
		c.hangup = true
		c.voice.close()
	case c.phase == standing:
		c.bye()
	case c.outgoing:
		c.hangup = true
		c.voice.close()
		c.cancel()
	default:
		c.refuse(603)
	}
}

// bye ends a standing call (RFC 3261 15.1.1). The media stop at once, not when the peer agrees.
func (c *Call) bye() {
	c.phase = leaving
	c.declineLate()
	c.voice.close()
	c.u.shard.Disarm(&c.resend)
	c.dialog.localSeq++
	if _, err := c.u.send(c.u.inDialog(&c.dialog, sip.BYE, c.dialog.localSeq), (*goodbye)(c)); err != nil {
		c.end(Event{Reason: "hung up here, nobody told", Err: err})
	}
}

// goodbye waits for the answer to BYE. Whatever it is, the call is over (RFC 3261 15.1.1); a 401 or 407 is not answered:
// asking for credentials at the end of a call is how they are stolen.
type goodbye Call

// Response implements siptxn.Responder.
func (g *goodbye) Response(_ *siptxn.Client, m *sip.Message) {
	code := m.Status()
	m.Release()
	if code >= 200 {
		(*Call)(g).end(Event{Code: code, Reason: "hung up here"})
	}
}

// Failed implements siptxn.Responder.
func (g *goodbye) Failed(_ *siptxn.Client, err error) {
	(*Call)(g).end(Event{Reason: "hung up here, no answer", Err: fmt.Errorf("ue: %w", err)})
}

// end is the only way out of a call. A call that had to be ended because of its media says so, whoever said BYE.
func (c *Call) end(e Event) {
	if c.phase == over {
		return
	}
	c.phase = over
	if c.modifying != nil {
		c.modifying.over(ErrNoCall)
	}
	if c.voice.failure != nil {
		e.Err = c.voice.failure
	}
	c.voice.close()
	c.u.shard.Disarm(&c.resend)
	c.u.shard.Disarm(&c.reliable.timer)
	c.u.shard.Disarm(&c.alone)
	delete(c.u.calls, callKey(c.dialog.callID, c.dialog.localTag))
	e.Kind = Ended
	c.tell(e)
}
