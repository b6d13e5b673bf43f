package rtpport

import "time"

// Rate is a bound on packets and octets in a second. Of each, what a second allows may come at once.
type Rate struct {
	Packets uint32
	Octets  uint32
}

// spent is what of a Rate is spent: for each the time at which all of it is there again (the generic cell rate algorithm, ITU-T I.371 A.1).
type spent struct{ packets, octets time.Duration }

// take takes one packet of n octets, and reports whether it was there. What is refused costs nothing.
func (s *spent) take(r *Rate, now time.Duration, n int) bool {
	if r.Packets == 0 {
		return true
	}
	packets := max(s.packets, now) + time.Second/time.Duration(r.Packets)
	octets := s.octets
	if r.Octets > 0 {
		octets = max(octets, now) + time.Duration(n)*time.Second/time.Duration(r.Octets)
	}
	if packets > now+time.Second || octets > now+time.Second {
		return false
	}
	s.packets, s.octets = packets, octets
	return true
}
