package ue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptxn"
)

// Provisional responses that the caller acknowledges (RFC 3262; TS 24.229 5.1.4.1): the first is a 183 with the answer to the offer of the INVITE, so that
// both ends know their media before anybody is alerted; 180 follows. Preconditions (RFC 3312) are not done: an INVITE that requires them is refused with
// 420, one that supports them is answered without.

// ErrNoPRACK says that the caller did not acknowledge a reliable provisional response.
var ErrNoPRACK = errors.New("ue: no PRACK")

// reliable are those of one call.
type reliable struct {
	wanted    bool   // by who calls, and by us
	required  bool   // by who calls
	described bool   // the answer has been sent in one
	seq       uint32 // RSeq of the last one
	code      int    // of the one that waits for its PRACK; 0: none does
	next      []int  // that follow it
	accept    *Voice // and then the answer
	timer     shard.Timer
	again     time.Duration // until it is sent again
	giveUpAt  time.Duration
}

// maxProvisional bounds what waits for a PRACK. A caller is told no more.
const maxProvisional = 4

// unsupported are the extensions that a request requires and we do not have (RFC 3261 8.2.2.3).
func unsupported(m *sip.Message) (list [][]byte) {
	for v := range m.Values(sip.HdrRequire) {
		if m.Method() != sip.INVITE || !strings.EqualFold(string(v), "100rel") {
			list = append(list, v)
		}
	}
	return list
}

// mayBeReliable takes down what the caller wants. Without an offer that we could answer there is nothing for a 183 to say, and a reliable response must then be
// an offer of ours (RFC 3262 5), which comes in the 200.
func (c *Call) mayBeReliable(m *sip.Message) {
	r := &c.reliable
	r.required = m.HasToken(sip.HdrRequire, "100rel")
	r.wanted = r.required || c.u.cfg.Reliable && m.HasToken(sip.HdrSupported, "100rel")
}

// rings alerts the caller: 180, and before it 183 where responses are reliable (RFC 3262 3).
func (c *Call) rings() {
	r := &c.reliable
	switch {
	case !c.waits():
	case !r.wanted || !r.required && c.answer == nil:
		c.u.respond(c.server, 180, c.dialogFields)
	case c.answer == nil: // nothing that is not reliable may be said
	default:
		if r.seq == 0 {
			r.next = append(r.next, 183)
		}
		if len(r.next) < maxProvisional {
			r.next = append(r.next, 180)
		}
		c.progress()
	}
}

// progress sends the next reliable response, when the one before was acknowledged.
func (c *Call) progress() {
	r := &c.reliable
	if r.code != 0 || !c.waits() {
		return
	}
	if len(r.next) == 0 {
		if v := r.accept; v != nil {
			r.accept = nil
			c.accept(*v)
		}
		return
	}
	if r.code, r.next = r.next[0], r.next[1:]; r.seq == 0 {
		r.seq = c.u.firstRSeq()
	} else {
		r.seq++
	}
	t1 := c.u.cfg.Timers.T1
	r.again, r.giveUpAt = t1, c.u.shard.Now()+64*t1
	c.sendReliable()
}

// firstRSeq is between 1 and 2^31-1, at random (RFC 3262 3).
func (u *UE) firstRSeq() uint32 {
	var b [4]byte
	if _, err := io.ReadFull(u.cfg.Rand, b[:]); err != nil {
		panic("ue: no randomness: " + err.Error())
	}
	return max(binary.BigEndian.Uint32(b[:])>>1, 1)
}

func (c *Call) sendReliable() {
	r := &c.reliable
	c.u.respond(c.server, r.code, func(m *sip.Message) {
		c.dialogFields(m)
		m.SetString(sip.HdrRequire, "100rel")
		m.SetString(sip.HdrRSeq, strconv.FormatUint(uint64(r.seq), 10))
		if r.code == 183 {
			m.SetBody("application/sdp", c.answer)
		}
	})
	c.u.shard.Arm(&r.timer, min(r.again, r.giveUpAt-c.u.shard.Now()), (*unacknowledged)(c))
}

// unacknowledged sends a reliable response again, at T1 doubling, and refuses the call after 64*T1 (RFC 3262 3).
type unacknowledged Call

// Run implements shard.Event.
func (a *unacknowledged) Run(s *shard.Shard) {
	c := (*Call)(a)
	r := &c.reliable
	if r.code == 0 || !c.waits() {
		return
	}
	if s.Now() >= r.giveUpAt {
		c.u.respond(c.server, 504, c.dialogFields)
		c.end(Event{Code: 504, Reason: "the caller does not acknowledge", Err: ErrNoPRACK})
		return
	}
	r.again *= 2
	c.sendReliable()
}

// acknowledged takes a PRACK (RFC 3262 3): of the response that waits for it, or of none. It brings no new offer: what would change before the call stands can
// change when it does.
func (c *Call) acknowledged(tx *siptxn.Server, m *sip.Message) {
	r := &c.reliable
	if r.code == 0 || strings.Join(strings.Fields(string(m.Get(sip.HdrRAck))), " ") != fmt.Sprintf("%d %d INVITE", r.seq, c.ackSeq) {
		c.u.respond(tx, 481, nil)
		return
	}
	c.u.shard.Disarm(&r.timer)
	r.described = r.described || r.code == 183
	r.code = 0
	if len(m.Body()) > 0 {
		c.u.respond(tx, 488, warns("no offer in a PRACK"))
	} else {
		c.u.respond(tx, 200, nil)
	}
	c.progress()
}

// holdsBack reports whether an answer has to wait: nobody may be told 2xx while a description of ours is not acknowledged (RFC 3262 3).
func (c *Call) holdsBack(v Voice) bool {
	r := &c.reliable
	if r.code == 0 {
		return false
	}
	r.accept, r.next = &v, nil
	return true
}
