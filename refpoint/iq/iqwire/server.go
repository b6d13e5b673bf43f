package iqwire

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"imsafe/proto/shard"
	"imsafe/refpoint/iq"
)

// ServerConfig is what a Server is made of.
type ServerConfig struct {
	Clock shard.Clock
	Limit time.Duration // a write may take; who does not read for so long is not there
}

// Server is a P-CSCF in another process, as its anchor sees it. What is told to it never blocks. Safe for concurrent use but for Accept,
// Welcome, Refuse and Serve, which follow each other.
type Server struct {
	line   *line
	tells  *queue
	number uint64 // of the question that came first
}

var _ iq.Push = (*Server)(nil)

// Accept takes the first frame of a P-CSCF at the other end of conn, and returns what the anchor is to be for it. Welcome and Serve, or Refuse
// follow. After an error conn is closed.
func Accept(conn net.Conn, c ServerConfig) (s *Server, setup []byte, err error) {
	s = &Server{line: newLine(conn, c.Clock, c.Limit), tells: newQueue()}
	if err = conn.SetReadDeadline(c.Clock.Wall().Add(c.Limit)); err == nil {
		var m *message
		if m, err = s.line.read(); err == nil && m.kind != kindSetup {
			err = ErrFrame
		} else if err == nil {
			s.number, setup = m.number, m.setup
			err = conn.SetReadDeadline(time.Time{})
		}
	}
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return s, setup, nil
}

// Refuse ends the connection: the anchor is another one (ErrSetup).
func (s *Server) Refuse() error {
	return errors.Join(s.line.write(&message{kind: kindWelcome, number: s.number, answer: refusalOf(ErrSetup)}), s.line.conn.Close())
}

// Welcome begins.
func (s *Server) Welcome(w Welcome) error {
	return s.line.write(&message{kind: kindWelcome, number: s.number, welcome: w})
}

// maxAtOnce is how many ports are made at a time: more than a P-CSCF has threads.
const maxAtOnce = 64

// Serve does for a P-CSCF what it asks of g until it ends, and closes the connection. ended: it wants the anchor to end, too, and has not just
// gone. counters appends those of the anchor.
func (s *Server) Serve(g iq.Gateway, counters func([]uint64) []uint64) (ended bool, err error) {
	var told, working sync.WaitGroup
	told.Go(s.tell)
	places := make(chan struct{}, maxAtOnce)
	for err == nil && !ended {
		var m *message
		if m, err = s.line.read(); err != nil {
			break
		}
		switch m.kind {
		case kindReserve, kindRenew: // certificates take a while: others do not wait for them
			places <- struct{}{}
			working.Go(func() {
				_ = s.line.write(serveEnd(g, m)) // who cannot be written to is gone, as the reader will see
				<-places
			})
		case kindCounters:
			err = s.line.write(&message{kind: kindCounted, number: m.number, values: counters(nil)})
		case kindEnd:
			ended = true
			err = s.line.write(&message{kind: kindDone, number: m.number})
		default:
			err = s.serve(g, m)
		}
	}
	working.Wait()
	s.tells.close()
	closed := s.line.conn.Close()
	told.Wait()
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return ended, errors.Join(err, closed)
}

// serveEnd does what makes an end, and returns the answer.
func serveEnd(g iq.Gateway, m *message) *message {
	a := &message{kind: kindRenewed, number: m.number}
	var err error
	if m.kind == kindReserve {
		a.kind = kindStream
		a.reserved, err = g.Reserve(m.session, m.medium)
	} else {
		a.end, err = g.Renew(m.session, m.stream, m.side, m.medium)
	}
	a.answer = refusalOf(err)
	return a
}

// serve does everything else.
func (s *Server) serve(g iq.Gateway, m *message) error {
	switch m.kind {
	case kindConfigure:
		err := g.Configure(m.session, m.stream, m.side, m.branch, m.remote)
		return s.line.write(&message{kind: kindDone, number: m.number, answer: refusalOf(err)})
	case kindThrough:
		g.Through(m.session, m.stream, m.through)
	case kindConfirm:
		g.Confirm(m.session, m.branch)
	case kindRelease:
		g.Release(m.session)
	default:
		return ErrFrame
	}
	return nil
}

// tell writes what is told, in order.
func (s *Server) tell() {
	for m := s.tells.next(); m != nil; m = s.tells.next() {
		_ = s.line.write(m) // who cannot be written to is gone, as the reader will see
	}
}

// Lost implements iq.Push.
func (s *Server) Lost(id iq.Session, why iq.Reason) {
	s.tells.put(&message{kind: kindLost, session: id, line: Line{Reason: string(why)}}, true)
}

// Refused tells of a refusal. In a flood some are left out.
func (s *Server) Refused(e Event) { s.tells.put(&message{kind: kindRefused, event: e}, false) }

// Say says something for the log.
func (s *Server) Say(l Line) {
	l.Message, l.Error = l.Message[:min(len(l.Message), maxText)], l.Error[:min(len(l.Error), maxText)]
	s.tells.put(&message{kind: kindSaid, line: l}, false)
}
