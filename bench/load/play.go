package load

import (
	"math"
	"time"

	"imsafe/proto/sip"
)

// play is one scenario under way.
type play struct {
	kind       Scenario
	busy       bool
	recorded   bool
	serial     uint32 // in Call-ID and tags; never reused
	a, b       int32  // UEs; b is the one who is called or written to, -1 if there is none
	ends       uint8  // which side hangs up
	challenges uint8  // answered so far
	delivered  bool   // what a sent has come to b
	began      time.Duration
	hush       time.Duration // from when on nothing is said
	next       int32         // of the free ones
	side       [2]side
}

// waits is what a side of a play waits for.
type waits uint8

const (
	nothing  waits = iota
	response       // to a request of its own
	ringing        // for its user to answer
	ack            // after the 200 to INVITE
	thinking       // for the card
	holding        // for the end of the talk
)

// side is one UE's half of a play: at most one request of its own that is not answered, and its half of the dialog.
type side struct {
	waits       waits
	method      sip.Method
	provisional bool   // the INVITE was answered provisionally
	cseq        uint32 // of the request
	branch      uint32
	out         []byte        // what is sent again: the request, or the 200 to INVITE
	sent        time.Duration // first
	again       time.Duration // interval of retransmission, 0 over a reliable transport
	deadline    time.Duration
	dialog      dialog
	talk        *talk // nil without media
}

// dialog is what its half knows of a dialog (RFC 3261 12). The route set stands ready as lines of Route.
type dialog struct {
	callID, local, remote, target, route []byte
	seq                                  uint32 // of the next request of ours
	invite                               uint32 // number of the INVITE that made it
}

// Timers of RFC 3261 17.
const (
	t1 = 500 * time.Millisecond
	t2 = 4 * time.Second
)

// start takes a play from the free ones.
func (w *worker) start(kind Scenario, a, b int32, at time.Duration) (*play, int32) {
	id := w.free
	if id >= 0 {
		w.free = w.plays[id].next
	} else {
		id = int32(len(w.plays))
		w.plays = append(w.plays, play{})
		w.wheel.grow(2 * len(w.plays))
	}
	p := &w.plays[id]
	w.serial++
	p.kind, p.busy, p.recorded, p.serial, p.a, p.b, p.began = kind, true, w.recording, w.serial, a, b, at
	for of := range p.side {
		p.side[of].dialog.callID = p.side[of].dialog.callID[:0] // of the play before
	}
	p.hush = math.MaxInt64
	p.challenges, p.delivered, p.ends = 0, false, uint8(w.arrivals.random.IntN(2))
	w.ues[a].play = id
	if b >= 0 {
		w.ues[b].play = id
	}
	w.underWay++
	if p.recorded {
		w.stats.Offered[kind]++
		w.recorded++
	}
	return p, id
}

// finish ends a play: nil for a success. Its UEs wait in the crews that their state asks for.
func (w *worker) finish(id int32, why *Failure) {
	p := &w.plays[id]
	if why == nil {
		why = w.deaf(p)
	}
	if why != nil {
		why.Scenario = p.kind.String()
	}
	if p.recorded {
		w.recorded--
		if why == nil {
			w.stats.Succeeded[p.kind]++
		} else {
			w.stats.Failed[p.kind]++
			w.stats.Failures[*why]++
		}
	}
	if why != nil {
		w.failures++
		w.last = *why
	}
	for i := range p.side {
		w.settle(&p.side[i], id, i)
		p.side[i].waits = nothing
	}
	if p.kind <= Deregistration {
		w.conclude(&w.ues[p.a], why == nil && p.kind != Deregistration)
	}
	home := &w.registered
	switch {
	case p.kind == Deregistration && why == nil, (p.kind == Registration || p.kind == Reregistration) && why != nil:
		home = &w.unregistered // after a failure nobody knows
	}
	w.rest(p.a, home)
	switch {
	case p.b < 0:
	case w.once:
		w.rest(p.b, &w.spent)
	default:
		w.rest(p.b, &w.registered)
	}
	p.busy, p.next, w.free = false, w.free, id
	w.underWay--
}

func (w *worker) rest(i int32, home *crew) {
	w.ues[i].play = -1
	home.put(w.ues, i)
}

// request sends the request that build has written into sd.out, and waits for the answer.
func (w *worker) request(id int32, of int, method sip.Method, cseq, branch uint32) {
	p := &w.plays[id]
	sd := &p.side[of]
	sd.waits, sd.method, sd.provisional, sd.cseq, sd.branch, sd.sent = response, method, false, cseq, branch, w.now
	sd.deadline, sd.again = w.now+w.patience, 0
	if method == sip.INVITE {
		sd.deadline += w.ring * 8
	}
	if !w.wire.reliable() {
		sd.again = t1
	}
	w.transmit(p, of)
	w.watch(id, of)
}

// transmit sends what is sent again.
func (w *worker) transmit(p *play, of int) {
	i := p.a
	if of == 1 {
		i = p.b
	}
	w.wire.send(&w.ues[i], i, p.side[of].out)
}

// watch arms the timer of a side that waits for an answer.
func (w *worker) watch(id int32, of int) {
	sd := &w.plays[id].side[of]
	at := sd.deadline
	if sd.again > 0 {
		at = min(at, w.now+sd.again)
	}
	w.wheel.arm(2*id+int32(of), at)
}

// settle ends the waiting for an answer: nothing is sent again.
func (w *worker) settle(sd *side, id int32, of int) {
	w.wheel.disarm(2*id + int32(of))
	if sd.out != nil {
		w.buffers = append(w.buffers, sd.out)
		sd.out = nil
	}
}

// buffer takes one for a message.
func (w *worker) buffer() build {
	if n := len(w.buffers); n > 0 {
		b := w.buffers[n-1]
		w.buffers = w.buffers[:n-1]
		return b[:0]
	}
	return make([]byte, 0, 2560)
}

// fire is the end of a side's timer.
func (w *worker) fire(timer int32) {
	id, of := timer/2, int(timer%2)
	p := &w.plays[id]
	sd := &p.side[of]
	switch sd.waits {
	case ringing:
		w.pickUp(id)
	case thinking:
		w.request(id, of, sip.REGISTER, sd.cseq, sd.branch)
	case holding:
		w.hangUp(id, of)
	case response, ack:
		if w.now >= sd.deadline {
			w.expire(id, of)
			return
		}
		if sd.again > 0 {
			w.stats.Retransmissions++
			w.transmit(p, of)
			if sd.again *= 2; sd.method != sip.INVITE || sd.waits == ack {
				sd.again = min(sd.again, t2)
			}
		}
		w.watch(id, of)
	}
}

// expire is an answer that did not come in time.
func (w *worker) expire(id int32, of int) {
	p := &w.plays[id]
	sd := &p.side[of]
	if sd.waits == ack {
		w.finish(id, &Failure{Step: "ACK", Cause: "timeout"})
		return
	}
	if sd.method == sip.INVITE {
		u := &w.ues[p.a]
		w.say(u, p.a, w.cancel(w.line[:0], u, p, &w.ues[p.b], sd.cseq, sd.branch))
	}
	w.finish(id, &Failure{Step: sd.method.String(), Cause: "timeout"})
}

// say sends what is not sent again.
func (w *worker) say(u *ue, i int32, b build) {
	w.line = b
	w.wire.send(u, i, b)
}
