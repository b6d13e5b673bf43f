package siptransport

import (
	"net/netip"
	"time"

	"imsafe/proto/shard"
)

// lateOctets is how many octets of a connection may wait for others: then they leave.
const lateOctets = 8 << 10

// deferred is the timer of a connection with octets that may wait.
type deferred struct {
	timer shard.Timer
	c     *Conn
}

var _ Patient = (*Conn)(nil)

// SendLater implements Patient. Most of what a small message costs is its system call, with the way through the kernel behind it.
func (c *Conn) SendLater(_ netip.AddrPort, b []byte, within time.Duration) error {
	c.mu.Lock()
	if err := c.mayGather(b); err != nil {
		c.mu.Unlock()
		return err
	}
	c.patient = c.s.outbufs.append(c.patient, b)
	full := c.patient.len() >= lateOctets && c.open && !c.writing && !c.queued
	if full {
		c.queued = true
		c.gatherPatient()
	}
	c.mu.Unlock()
	c.s.n.MessagesOut.Add(1)
	switch {
	case full:
		if !c.sh.Exec((*connFlush)(c)) {
			c.flush()
		}
	case c.deferred == nil:
		if c.deferred, _ = c.s.deferred.Get().(*deferred); c.deferred == nil {
			c.deferred = new(deferred)
		}
		c.deferred.c = c
		c.sh.Arm(&c.deferred.timer, within, c.deferred)
	}
	return nil
}

// gatherPatient lets what waited leave with the next flush. c.mu is held.
func (c *Conn) gatherPatient() {
	if c.patient.len() > 0 {
		c.pend = c.s.outbufs.append(c.pend, c.patient.bytes())
	}
	c.patient = c.s.outbufs.release(c.patient)
}

// Run implements shard.Event: the time is over.
func (l *deferred) Run(*shard.Shard) {
	c := l.c
	l.c, c.deferred = nil, nil
	c.s.deferred.Put(l)
	c.mu.Lock()
	c.gatherPatient()
	c.mu.Unlock()
	c.flush()
}
