package as

import (
	"bytes"

	"imsafe/proto/sip"
)

// Kind of an Event.
type Kind uint8

// The kinds. Of a request that goes on, one of Answered to Gone is the last.
const (
	Ringing  Kind = iota + 1 // the other end is alerted
	Answered                 // a 2xx
	Busy                     // 486 or 600
	NoAnswer                 // Within has passed, or 408 and 480 after it had rung
	Failed                   // another failure, or the *Denied in Err
	Gone                     // the caller has given up
	Info                     // INFO inside the dialog (RFC 6086): Body, and Digit if it is one; of a Call also a Digit in the media
	Secured                  // the keys of a Call stand: Reason says which protection it has
	Tone                     // a tone that a Call listens for is heard: Hz
	Held                     // the other end of a Call has put it on hold, or takes it back: Reason is "held" or "resumed". What is played waits meanwhile
	Ended                    // the dialog is over
)

// String returns the kind in one word.
func (k Kind) String() string {
	return [...]string{"nothing", "ringing", "answered", "busy", "no-answer", "failed", "gone", "info", "secured", "tone", "held", "ended"}[min(k, Ended)]
}

// Event is what happened to a session or a leg.
type Event struct {
	Kind   Kind
	Status int    // the status code, 0 where there is none
	Reason string // its phrase
	Rang   bool   // the other end was alerted before
	Target string // Request-URI of the branch
	// Contact is where a 3xx sends to, if that is a SIP or tel URI; "" otherwise.
	Contact string
	Err     error  // *Denied if the core has refused it
	Type    string // Content-Type of Body
	Body    []byte
	Digit   byte    // of an Info that carries one (application/dtmf-relay; RFC 4733, or heard); 0 otherwise
	Hz      float64 // of a Tone
}

// outcome words a final response.
func (s *Service) outcome(m *sip.Message, b *branch) Event {
	e := Event{Kind: Failed, Status: m.Status(), Reason: string(m.Reason()), Rang: b.rang, Target: b.target}
	switch code := m.Status(); {
	case code/100 == 2:
		e.Kind = Answered
	case code == 486 || code == 600:
		e.Kind = Busy
	case b.late || b.rang && (code == 408 || code == 480):
		e.Kind = NoAnswer
	case code == 403:
		e.Err = s.denial(m)
	case code/100 == 3:
		if addr, err := sip.ParseNameAddr(m.Get(sip.HdrContact)); err == nil && CheckTarget(string(addr.URI)) == nil {
			e.Contact = string(addr.URI)
		}
	}
	return e
}

// told makes the event of an INFO.
func told(m *sip.Message) Event {
	e := Event{Kind: Info, Type: string(m.Get(sip.HdrContentType)), Body: bytes.Clone(m.Body())}
	if kind, _, _ := bytes.Cut(m.Get(sip.HdrContentType), []byte(";")); !bytes.EqualFold(bytes.TrimSpace(kind), []byte("application/dtmf-relay")) {
		return e
	}
	for line := range bytes.Lines(e.Body) {
		name, value, found := bytes.Cut(line, []byte("="))
		if v := bytes.TrimSpace(value); found && bytes.EqualFold(bytes.TrimSpace(name), []byte("signal")) && len(v) == 1 {
			e.Digit = v[0]
		}
	}
	return e
}

// maxEvents is more than any orderly session has before its handler looks; whoever makes more loses the oldest.
const maxEvents = 64

// events are what waits to be looked at. On the shard.
type events struct {
	list []Event
	last *Event // the end, which everybody may see
}

func (q *events) put(e Event) {
	if q.last != nil {
		return
	}
	if e.Kind == Ended {
		q.last = &e
		return
	}
	if len(q.list) == maxEvents {
		q.list = q.list[1:]
	}
	q.list = append(q.list, e)
}

// take returns the next event; the end stays.
func (q *events) take() (Event, bool) {
	if len(q.list) > 0 {
		e := q.list[0]
		q.list = q.list[1:]
		return e, true
	}
	if q.last != nil {
		return *q.last, true
	}
	return Event{}, false
}
