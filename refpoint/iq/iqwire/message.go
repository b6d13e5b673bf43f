package iqwire

import (
	"encoding/binary"
	"errors"
	"slices"

	"imsafe/refpoint/iq"
)

// kind says what a frame is.
type kind uint8

// What the P-CSCF says. An answer comes to those up to kindEnd.
const (
	kindSetup     kind = iota + 1 // first of all: what the anchor is to be
	kindReserve                   // iq.Gateway
	kindRenew                     //
	kindConfigure                 //
	kindCounters                  // how many of what
	kindEnd                       // the anchor is to end, with all of its sessions
	kindThrough                   // iq.Gateway, and nothing comes back
	kindConfirm
	kindRelease
)

// What the anchor says.
const (
	kindWelcome kind = iota + 128 // the answer to kindSetup
	kindStream                    // to kindReserve
	kindRenewed                   // to kindRenew
	kindDone                      // to kindConfigure and kindEnd
	kindCounted                   // to kindCounters
	kindLost                      // iq.Push
	kindRefused                   // a check refused something
	kindSaid                      // a line for the log
)

// version is that of the frames. Processes of two versions do not meet: the setup of each names its program.
const version = 2

// message is a frame with its fields; which of them it has, its kind says.
type message struct {
	kind   kind
	number uint64 // pairs a question with its answer; 0 of what is neither

	setup   []byte
	session iq.Session
	stream  int
	side    iq.Side
	branch  iq.Branch
	medium  iq.Medium
	remote  iq.Remote
	through [2]bool

	answer   uint8 // 0, or which of refusals
	reserved iq.Stream
	end      iq.End
	welcome  Welcome
	values   []uint64
	event    Event
	line     Line
}

// Welcome is what an anchor says of itself.
type Welcome struct {
	PID     uint32 // its process
	Orphans uint32 // sessions of a P-CSCF that was there before and has died
}

// Event is a refusal at the anchor, by the name of its control.
type Event struct {
	Control, Reason, Subject string
	Enforced                 bool
}

// Line is what the anchor has to say to whoever reads the log.
type Line struct{ Message, Reason, Error string }

// ErrFrame: the other side wrote what it must not.
var ErrFrame = errors.New("iqwire: a frame that is none")

// ErrSetup: the anchor that runs was made for another program or another configuration, or has a P-CSCF.
var ErrSetup = errors.New("iqwire: the anchor that runs is another one than is wanted")

// refusals are the errors of an answer; what is not among them reads as the last.
var refusals = []error{iq.ErrGone, iq.ErrUser, iq.ErrFamily, iq.ErrKeying, iq.ErrAddress, ErrSetup, iq.ErrFull}

func refusalOf(err error) uint8 {
	if err == nil {
		return 0
	}
	for i, known := range refusals {
		if errors.Is(err, known) {
			return uint8(i + 1)
		}
	}
	return uint8(len(refusals))
}

// err is that of an answer.
func (m *message) err() error {
	if m.answer == 0 {
		return nil
	}
	return refusals[m.answer-1]
}

// code goes through the fields of a kind.
func (m *message) code(c *coder) {
	switch m.kind {
	case kindSetup:
		v := uint8(version)
		c.u8(&v)
		c.bad = c.bad || v != version
		c.octets(&m.setup, maxSetup)
	case kindReserve:
		c.session(&m.session)
		c.medium(&m.medium)
	case kindRenew:
		c.session(&m.session)
		c.stream(&m.stream)
		c.side(&m.side)
		c.medium(&m.medium)
	case kindConfigure:
		c.session(&m.session)
		c.stream(&m.stream)
		c.side(&m.side)
		c.branch(&m.branch)
		c.remote(&m.remote)
	case kindCounters, kindEnd:
	case kindThrough:
		c.session(&m.session)
		c.stream(&m.stream)
		c.flag(&m.through[iq.Access])
		c.flag(&m.through[iq.Core])
	case kindConfirm:
		c.session(&m.session)
		c.branch(&m.branch)
	case kindRelease:
		c.session(&m.session)
	default:
		m.codeAnswer(c)
	}
}

// codeAnswer is code of what the anchor says.
func (m *message) codeAnswer(c *coder) {
	switch m.kind {
	case kindWelcome, kindStream, kindRenewed, kindDone:
		if c.small(&m.answer, uint8(len(refusals))); m.answer != 0 {
			return
		}
		m.codeResult(c)
	case kindCounted:
		list(c, &m.values, maxValues, c.u64)
	case kindLost:
		c.session(&m.session)
		c.text(&m.line.Reason, maxReason)
	case kindRefused:
		c.text(&m.event.Control, maxReason)
		c.text(&m.event.Reason, maxReason)
		c.text(&m.event.Subject, maxText)
		c.flag(&m.event.Enforced)
	case kindSaid:
		c.text(&m.line.Message, maxText)
		c.text(&m.line.Reason, maxReason)
		c.text(&m.line.Error, maxText)
	default:
		c.bad = true
	}
}

func (m *message) codeResult(c *coder) {
	switch m.kind {
	case kindWelcome:
		c.u32(&m.welcome.PID)
		c.u32(&m.welcome.Orphans)
	case kindStream:
		c.session(&m.reserved.Session)
		c.stream(&m.reserved.Number)
		c.end(&m.reserved.Ends[iq.Access])
		c.end(&m.reserved.Ends[iq.Core])
	case kindRenewed:
		c.end(&m.end)
	}
}

// header is the length of a frame, without which there is no more to read.
const header = 4

// append writes the frame behind b, or returns ErrFrame if something in it is over a bound.
func (m *message) append(b []byte) ([]byte, error) {
	at := len(b)
	c := coder{b: append(b, make([]byte, header)...)}
	c.u8((*uint8)(&m.kind))
	c.u64(&m.number)
	m.code(&c)
	length := len(c.b) - at - header
	if c.bad || length > maxFrame {
		return b, ErrFrame
	}
	binary.BigEndian.PutUint32(c.b[at:], uint32(length))
	return c.b, nil
}

// parse reads a frame without its length. What it returns refers to nothing of b.
func parse(b []byte) (*message, error) {
	m := &message{}
	c := coder{b: b, reading: true}
	c.u8((*uint8)(&m.kind))
	c.u64(&m.number)
	if !c.bad {
		m.code(&c)
	}
	if c.bad || len(c.b) > 0 || asks(m.kind) != (m.number != 0) {
		return nil, ErrFrame
	}
	return m, nil
}

// asks reports whether a frame is a question or an answer, which have a number.
func asks(k kind) bool {
	return k <= kindEnd || slices.Contains([]kind{kindWelcome, kindStream, kindRenewed, kindDone, kindCounted}, k)
}
