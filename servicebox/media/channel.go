package media

import (
	"slices"
	"sync"
	"time"

	"imsafe/proto/g711"
	"imsafe/proto/rtpport"
	"imsafe/proto/sdp"
	"imsafe/refpoint/mr"
)

// The bounds of a channel's queues, in frames of 20 ms.
const (
	maxBurst  = 5  // that a late Tick catches up; more at once helps no listener
	maxQueued = 25 // of Send
)

// channel is the end of one call.
type channel struct {
	server *Server
	leg    *rtpport.Leg
	port   uint16
	answer []byte
	law    g711.Codec

	mu     sync.Mutex // guards what follows
	terms  mr.Terms
	local  sdp.Local
	agreed sdp.Agreed
	closed bool
	after  []func() // what is told once mu is free

	// What is sent.
	pace    pace
	talking bool // the last slot had a frame: the next is no beginning (RFC 3551 4.1)
	source  mr.Source
	played  func(error)
	loop    bool
	queue   []mr.Frame // of Send
	out     []byte

	// What is heard.
	ear      ear
	listener func(*mr.Frame)
	dropped  uint64
	recorder recorder
	mix      *mix
	mixed    queue
}

var _ mr.Channel = (*channel)(nil)

// unlock ends a section under mu, and tells afterwards what is to be told.
func (c *channel) unlock() {
	after := c.after
	c.after = nil
	c.mu.Unlock()
	for _, f := range after {
		f()
	}
}

// tell tells of an event. c.mu is held.
func (c *channel) tell(e mr.Event) {
	if tell := c.terms.Tell; tell != nil {
		c.after = append(c.after, func() { tell(e) })
	}
}

// secured comes from the leg's handshake.
func (c *channel) secured(p rtpport.Profile) {
	c.mu.Lock()
	defer c.unlock()
	if !c.closed {
		c.tell(mr.Event{Kind: mr.Secured, Protection: protection(p)})
	}
}

func protection(p rtpport.Profile) string {
	if p == 0 {
		return "none yet"
	}
	return "DTLS-SRTP " + p.String()
}

// receive takes one authenticated packet of the peer, on the leg's goroutine.
func (c *channel) receive(f *rtpport.Frame) {
	c.mu.Lock()
	defer c.unlock()
	if c.closed {
		return
	}
	if c.agreed.DTMF && f.PayloadType == c.agreed.RecvDTMF {
		if digit, pressed := c.ear.event(f); pressed {
			c.tell(mr.Event{Kind: mr.Digit, Digit: digit})
		}
		return
	}
	if c.loop && !c.recorder.sounds() {
		c.write(f.Payload)
	}
	c.ear.take(c.law, f, c.hear)
}

// hear takes 20 ms of what is heard, in order. c.mu is held.
func (c *channel) hear(frame *mr.Frame) {
	if digit, pressed := c.ear.digits.hear(frame); pressed {
		c.tell(mr.Event{Kind: mr.Digit, Digit: digit})
	}
	for i := range c.ear.tones {
		if c.ear.tones[i].hear(frame) {
			c.tell(mr.Event{Kind: mr.Tone, Hz: c.ear.tones[i].hz})
		}
	}
	c.recorder.take(c, frame)
	if c.mix != nil {
		c.drop(c.mixed.put(frame))
	}
	if c.listener != nil {
		c.listener(frame)
	}
}

func (c *channel) drop(dropped bool) {
	if dropped {
		c.dropped++
		c.server.counters.Dropped.Add(1)
	}
}

// write sends the octets of one frame, if there are keys. c.mu is held.
func (c *channel) write(octets []byte) {
	if c.leg.WriteFrame(octets, uint32(len(octets)), !c.talking) == nil {
		c.talking = true
	}
}

// tick sends what is due at now.
func (c *channel) tick(now time.Duration) {
	c.leg.Tick()
	c.mu.Lock()
	defer c.unlock()
	select {
	case <-c.leg.Ready():
	default:
		return // nothing is played to nobody
	}
	if c.closed {
		return
	}
	for range c.pace.due(now) {
		c.slot()
	}
}

// slot is 20 ms of what is sent: the recording tone before anything else. c.mu is held.
func (c *channel) slot() {
	out := c.recorder.tone(c.out[:0], c.law)
	switch {
	case len(out) > 0:
	case c.mix != nil || c.loop:
		return // they have a pace of their own
	case len(c.queue) > 0:
		out = c.law.Encode(out, c.queue[0][:])
		c.queue = slices.Delete(c.queue, 0, 1)
	case c.source != nil:
		more := false
		if out, more = c.source.Next(out, c.law); !more {
			c.stopPlaying(nil)
		}
	}
	c.out = out[:0]
	if len(out) == 0 {
		c.talking = false
		c.leg.Skip(mr.FrameSamples)
		return
	}
	for len(out) < mr.FrameSamples {
		out = append(out, c.law.Silence())
	}
	c.write(out)
}

// Info implements mr.Channel.
func (c *channel) Info() mr.Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.leg.Counters()
	i := mr.Info{Protection: protection(c.leg.Profile()), Codec: c.law.Name(), PacketsIn: n.PacketsIn.Load(), PacketsOut: n.PacketsOut.Load(),
		Lost: c.ear.lost, Dropped: c.dropped, Refused: map[string]uint64{}}
	for _, d := range rtpport.Drops() {
		if k := n.Dropped(d); k > 0 {
			i.Refused[d.String()] = k
		}
	}
	return i
}

// Close implements mr.Channel.
func (c *channel) Close() {
	c.shut(mr.ErrGone)
	c.leg.Close()
}

// shut ends what is under way.
func (c *channel) shut(why error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed, c.loop, c.queue = true, false, nil
	m := c.mix
	c.mix = nil
	c.stopPlaying(why)
	c.recorder.end(c)
	c.unlock()
	if m != nil {
		m.remove(c)
	}
	c.server.remove(c)
}

// ended comes when the leg has ended, by Close or otherwise. The port is free only now.
func (c *channel) ended(err error) {
	c.mu.Lock()
	if !c.closed {
		c.tell(mr.Event{Kind: mr.Lost, Err: err})
	}
	if err != nil {
		c.server.counters.Failed.Add(1)
	}
	c.unlock()
	c.shut(mr.ErrGone)
	c.server.giveBack(c.port)
	c.server.counters.Open.Add(-1)
}
