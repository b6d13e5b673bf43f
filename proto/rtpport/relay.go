package rtpport

import (
	"encoding/binary"
	"time"
)

// relay hands on a packet that is known to be the peer's: what the peer wrote, less what nobody agreed on.
func (l *Leg) relay(at int, ssrc uint32, b []byte, now time.Duration) {
	if l.state.is(bundled) {
		l.relayLine(at, ssrc, b, now)
		return
	}
	if b[0] != bare {
		if b = l.shaped(b, l.shapeOf()); b == nil {
			l.counters.drop(DropMalformed)
			return
		}
	}
	if at < 0 && l.rx.known < maxSources { // of a bundle that is none any more there may be others
		l.rx.meet(ssrc)
	}
	l.passes(b, now, l.rx.relay)
}

// passes hands on a packet as it is to leave.
func (l *Leg) passes(b []byte, now time.Duration, to func(packet []byte, control bool)) {
	l.authentic(now)
	l.counters.PacketsIn.Add(1)
	l.counters.OctetsIn.Add(uint64(len(b)))
	if l.state.is(deaf) {
		l.counters.drop(DropHold)
		return
	}
	to(b, false)
}

// relayControl does the same with a compound RTCP packet, on hold too (RFC 3264 8.4).
func (l *Leg) relayControl(b []byte, now time.Duration) {
	if !isCompound(b) {
		l.counters.drop(DropMalformed)
		return
	}
	several := l.state.is(bundled)
	if several {
		l.learn(b)
	}
	if b = l.shapedControl(b); b == nil {
		l.counters.drop(DropMalformed)
		return
	}
	l.authentic(now)
	l.counters.ControlIn.Add(1)
	switch {
	case len(b) == 0:
	case several:
		l.relayLines(b)
	default:
		l.rx.relay(b, true)
	}
}

// isCompound reports whether b is a row of RTCP packets whose lengths add up (RFC 3550 6.1, A.2).
func isCompound(b []byte) bool {
	if len(b) < 8 {
		return false
	}
	for len(b) > 0 {
		if len(b) < 4 || b[0]>>6 != 2 || b[1] < 192 || b[1] > 223 {
			return false
		}
		n := 4 + 4*int(binary.BigEndian.Uint16(b[2:]))
		if n > len(b) {
			return false
		}
		b = b[n:]
	}
	return true
}

// Forward seals a packet that another leg has relayed and sends it: RTP, or control. On hold RTP goes nowhere. Errors: ErrNotReady,
// ErrClosed, ErrPayload, ErrReused, ErrConsent; a datagram that the socket refuses is counted, not returned. It keeps no reference to b. Safe for
// concurrent use: after a fork several legs feed one.
func (l *Leg) Forward(b []byte, control bool) error { return l.ForwardOf(0, b, control) }

// ForwardOf is Forward of a packet of one line of a bundle. No two lines have a source in common: the peer could not tell them apart.
func (l *Leg) ForwardOf(line uint8, b []byte, control bool) error {
	switch {
	case l.state.is(closed):
		return ErrClosed
	case !l.state.is(ready):
		return ErrNotReady
	}
	if len(b) < rtpHeader && !control || len(b) < 8 || len(b) > maxPacket-64 {
		return ErrPayload
	}
	if !l.consents() {
		l.counters.drop(DropConsent)
		return ErrConsent
	}
	s := &l.tx
	s.mu.Lock()
	defer s.mu.Unlock()
	if control {
		return l.forwardControl(b)
	}
	if l.state.is(mute) {
		return nil
	}
	out := b
	if c := s.srtp.Load(); c != nil {
		ssrc, seq := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint16(b[2:])
		if !s.fresh.take(ssrc, seq, line) && l.refuses(DropReused) {
			return ErrReused
		}
		var err error
		if out, err = c.EncryptRTP(s.room(len(b)), b, &s.parsed); err != nil {
			return err // the key has done its 2^48 packets (RFC 3711 9.2)
		}
	}
	l.counters.PacketsOut.Add(1)
	l.counters.OctetsOut.Add(uint64(len(b)))
	l.send(out)
	return nil
}

// forwardControl: the module numbers SRTCP itself, so no index comes twice. tx.mu is held.
func (l *Leg) forwardControl(b []byte) error {
	s := &l.tx
	out := b
	if c := s.srtp.Load(); c != nil {
		var err error
		if out, err = c.EncryptRTCP(s.room(len(b)), b, &s.control); err != nil {
			return err
		}
	}
	l.counters.ControlOut.Add(1)
	l.send(out)
	return nil
}

// freshness sees to it that no two packets are sealed under one key with one index (RFC 3711 9.1): their XOR would be that of what they
// say. A relay needs it, because sources and numbers are the far ends': two of them, after a fork, a transfer or by intent, may have the
// same.
type freshness struct {
	first used    // there is seldom more than one
	more  *[]used // nil without
}

// used is what one source has sent.
type used struct {
	ssrc  uint32
	line  uint8 // of a bundle
	known bool
	history
}

// maxFar bounds the sources that one leg sends in the name of: those of its far ends, several after a fork.
const maxFar = 4 * maxSources

// take reports whether the packet is new under this key, and takes it down. What is behind the window counts as used, and so does what is of another line.
func (f *freshness) take(ssrc uint32, seq uint16, line uint8) bool {
	u := f.of(ssrc)
	if u == nil || u.known && u.line != line {
		return false
	}
	index := uint64(seq)
	if u.known { // the nearest of all indices with this number (RFC 3711 3.3.1)
		index = u.top + uint64(int64(int16(seq-uint16(u.top))))
		if index > maxIndex || u.has(index) { // below nothing there is none either
			return false
		}
	}
	u.known, u.line = true, line
	u.add(index)
	return true
}

// of finds a source, or makes room for it; nil if there are too many.
func (f *freshness) of(ssrc uint32) *used {
	if f.first.ssrc == ssrc || !f.first.known {
		f.first.ssrc = ssrc
		return &f.first
	}
	if f.more == nil {
		f.more = new([]used)
	}
	list := *f.more
	for i := range list {
		if list[i].ssrc == ssrc {
			return &list[i]
		}
	}
	if len(list) == maxFar-1 {
		return nil
	}
	list = append(list, used{ssrc: ssrc})
	*f.more = list
	return &list[len(list)-1]
}
