package rtpport

import (
	"encoding/binary"
)

// relay hands on a packet that is known to be the peer's, as the peer wrote it: header, extensions, padding and all.
func (l *Leg) relay(at int, ssrc uint32, b []byte) {
	now := l.cfg.Clock.Now()
	l.rx.note(at, ssrc, now)
	l.authentic(now)
	l.counters.PacketsIn.Add(1)
	l.counters.OctetsIn.Add(uint64(len(b)))
	if l.deaf.Load() {
		l.counters.drop(DropHold)
		return
	}
	l.cfg.Relay(b, false)
}

// relayControl does the same with a compound RTCP packet, on hold too (RFC 3264 8.4).
func (l *Leg) relayControl(b []byte) {
	if !isCompound(b) {
		l.counters.drop(DropMalformed)
		return
	}
	l.authentic(l.cfg.Clock.Now())
	l.counters.ControlIn.Add(1)
	l.cfg.Relay(b, true)
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
func (l *Leg) Forward(b []byte, control bool) error {
	switch {
	case l.closed.is():
		return ErrClosed
	case !l.ready.is():
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
	if l.mute.Load() {
		return nil
	}
	out := b
	if s.srtp != nil {
		ssrc, seq := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint16(b[2:])
		if !s.fresh.take(ssrc, seq) && l.refuses(DropReused) {
			return ErrReused
		}
		var err error
		if out, err = s.srtp.EncryptRTP(s.room(len(b)), b, &s.parsed); err != nil {
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
	if s.srtp != nil {
		var err error
		if out, err = s.srtp.EncryptRTCP(s.room(len(b)), b, &s.control); err != nil {
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
	list  []used
	first [1]used // room for list: there is seldom more than one
}

// used is what one source has sent: its highest index, and which of the 128 up to it.
type used struct {
	ssrc uint32
	top  uint64
	seen [2]uint64 // bit n: top-n
}

// maxFar bounds the sources that one leg sends in the name of: those of its far ends, several after a fork.
const maxFar = 4 * maxSources

// take reports whether the packet is new under this key, and takes it down. What is behind the window counts as used.
func (f *freshness) take(ssrc uint32, seq uint16) bool {
	u := f.of(ssrc)
	if u == nil {
		if len(f.list) == maxFar {
			return false
		}
		if f.list == nil {
			f.list = f.first[:0]
		}
		f.list = append(f.list, used{ssrc: ssrc, top: uint64(seq), seen: [2]uint64{1}})
		return true
	}
	ahead := int16(seq - uint16(u.top)) // the nearest of all indices with this number (RFC 3711 3.3.1)
	if ahead > 0 {
		u.advance(uint(ahead))
		return true
	}
	behind := uint(-int(ahead))
	if behind > 127 || uint64(behind) > u.top || u.seen[behind/64]&(1<<(behind%64)) != 0 {
		return false
	}
	u.seen[behind/64] |= 1 << (behind % 64)
	return true
}

func (f *freshness) of(ssrc uint32) *used {
	for i := range f.list {
		if f.list[i].ssrc == ssrc {
			return &f.list[i]
		}
	}
	return nil
}

// advance moves the window n ahead.
func (u *used) advance(n uint) {
	u.top += uint64(n)
	switch {
	case n >= 128:
		u.seen = [2]uint64{}
	case n >= 64:
		u.seen = [2]uint64{0, u.seen[0] << (n - 64)}
	default:
		u.seen = [2]uint64{u.seen[0] << n, u.seen[1]<<n | u.seen[0]>>(64-n)}
	}
	u.seen[0] |= 1
}
