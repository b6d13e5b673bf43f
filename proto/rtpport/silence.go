package rtpport

// Skip lets the time of the stream pass while nothing is sent: the timestamp moves by samples (RFC 3550 5.1). The next frame is to have its
// marker set (RFC 3551 4.1).
func (l *Leg) Skip(samples uint32) {
	l.tx.mu.Lock()
	defer l.tx.mu.Unlock()
	l.tx.header.Timestamp += samples
}
