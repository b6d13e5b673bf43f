package media

import (
	"slices"
	"sync"
	"time"

	"imsafe/refpoint/mr"
)

// maxMixed bounds the channels of one mix; maxWaiting the frames of a member that wait to be mixed.
const (
	maxMixed   = 64
	maxWaiting = 4
)

// queue is a ring of frames.
type queue struct {
	ring  [maxWaiting]mr.Frame
	first int
	n     int
}

// put adds a frame; the oldest makes room, which is reported.
func (q *queue) put(f *mr.Frame) (dropped bool) {
	if q.n == len(q.ring) {
		q.first, q.n, dropped = (q.first+1)%len(q.ring), q.n-1, true
	}
	q.ring[(q.first+q.n)%len(q.ring)] = *f
	q.n++
	return dropped
}

// take takes the oldest; silence if there is none.
func (q *queue) take(f *mr.Frame) {
	if q.n == 0 {
		clear(f[:])
		return
	}
	*f = q.ring[q.first]
	q.first, q.n = (q.first+1)%len(q.ring), q.n-1
}

// mix is a conference.
type mix struct {
	server *Server

	mu      sync.Mutex // before that of a channel
	members []*channel
	frames  []mr.Frame // of this moment, one of each member
	pace    pace
	sum     [mr.FrameSamples]int32
}

var _ mr.Mix = (*mix)(nil)

// NewMix implements mr.Server.
func (s *Server) NewMix() mr.Mix { return &mix{server: s} }

// Join implements mr.Mix.
func (m *mix) Join(channelOf mr.Channel) error {
	c, ours := channelOf.(*channel)
	if !ours || c.server != m.server {
		return mr.ErrGone
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c.mu.Lock()
	defer c.unlock()
	switch err := c.may(c.terms.Mix); {
	case err != nil:
		return err
	case c.mix != nil:
		return mr.ErrBusy
	case len(m.members) == maxMixed:
		return mr.ErrFull
	}
	c.hush()
	c.mix, c.mixed = m, queue{}
	m.members = append(m.members, c)
	m.frames = append(m.frames, mr.Frame{})
	if len(m.members) == 1 {
		m.pace = pace{}
		m.server.mixes(m, true)
	}
	return nil
}

// Leave implements mr.Mix.
func (m *mix) Leave(channelOf mr.Channel) {
	c, ours := channelOf.(*channel)
	if !ours {
		return
	}
	c.mu.Lock()
	if c.mix == m {
		c.mix = nil
	}
	c.unlock()
	m.remove(c)
}

// remove takes a member out.
func (m *mix) remove(c *channel) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.Index(m.members, c)
	if i < 0 {
		return
	}
	m.members = slices.Delete(m.members, i, i+1)
	m.frames = m.frames[:len(m.members)]
	if len(m.members) == 0 {
		m.server.mixes(m, false)
	}
}

// mixes lets a mix take part in Tick, or not.
func (s *Server) mixes(m *mix, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conferences = slices.DeleteFunc(s.conferences, func(n *mix) bool { return n == m })
	if on {
		s.conferences = append(s.conferences, m)
	}
}

// tick mixes what is due at now.
func (m *mix) tick(now time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range m.pace.due(now) {
		m.slot()
	}
}

// slot mixes 20 ms: each hears the sum without himself, as loud as it can be.
func (m *mix) slot() {
	clear(m.sum[:])
	for i, c := range m.members {
		f := &m.frames[i]
		c.mu.Lock()
		c.mixed.take(f)
		c.mu.Unlock()
		for k, v := range f {
			m.sum[k] += int32(v)
		}
	}
	for i, c := range m.members {
		m.without(&m.frames[i])
		c.sendMixed(&m.frames[i])
	}
}

// without makes of the frame of a member the sum of the others.
func (m *mix) without(f *mr.Frame) {
	for k, v := range f {
		f[k] = int16(max(-32768, min(32767, m.sum[k]-int32(v))))
	}
}

// sendMixed sends 20 ms of a mix.
func (c *channel) sendMixed(f *mr.Frame) {
	c.mu.Lock()
	defer c.unlock()
	if c.mix == nil || c.offered != nil || c.recorder.sounds() || c.whispers() {
		return
	}
	c.out = c.law.Encode(c.out[:0], f[:])
	c.write(c.out)
}
