package scscf

import (
	"bytes"
	"slices"

	"imsafe/refpoint/isc"
)

// What a platform's description asks for must be what the platform was granted: to send, to receive, to record. Who is given media could keep them, so whoever
// may not hear must be given none.

// asks is what a session description wants of media, as its sender sees them.
type asks struct {
	send, receive, record bool
	named                 bool // a direction is
}

func (a *asks) add(b asks) {
	a.send, a.receive, a.record, a.named = a.send || b.send, a.receive || b.receive, a.record || b.record, a.named || b.named
}

// asksOf reads the directions (RFC 8866 6.7) and the recording (RFC 7866 7.1.2) of all media that are not refused. It reads as whoever understands the most:
// of two directions both, of none, or of one that nobody knows, sending and receiving.
func asksOf(description []byte) (all asks) {
	var session, medium asks
	inMedia, refused := false, true
	ends := func() {
		switch {
		case refused:
			return
		case !medium.named && session.named:
			medium.add(asks{send: session.send, receive: session.receive})
		case !medium.named:
			medium.add(asks{send: true, receive: true})
		}
		medium.record = medium.record || session.record
		all.add(medium)
	}
	for line := range bytes.Lines(description) {
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case bytes.HasPrefix(line, []byte("m=")):
			ends()
			f := bytes.Fields(line)
			inMedia, refused, medium = true, len(f) > 1 && string(f[1]) == "0", asks{}
		case inMedia:
			medium.add(attribute(line))
		default:
			session.add(attribute(line))
		}
	}
	ends()
	return all
}

// attribute is what one line of a description wants.
func attribute(line []byte) asks {
	switch string(line) {
	case "a=sendrecv":
		return asks{send: true, receive: true, named: true}
	case "a=sendonly":
		return asks{send: true, named: true}
	case "a=recvonly":
		return asks{receive: true, named: true}
	case "a=inactive":
		return asks{named: true}
	case "a=record:on", "a=record:paused":
		return asks{record: true}
	}
	return asks{}
}

// any reports whether there are media that move.
func (a asks) any() bool { return a.send || a.receive || a.record }

// exceeds is whether a platform's description asks for more of media than it was granted: then there is no grant for it.
func (s *SCSCF) exceeds(right isc.MediaRight, description []byte, host string) bool {
	a := asksOf(description)
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(right.Scope, name) })
	}
	beyond := a.send && !has("send", "mix") || a.receive && !has("receive", "record", "mix") || a.record && !has("record")
	return beyond && s.lacksGrant(host)
}
