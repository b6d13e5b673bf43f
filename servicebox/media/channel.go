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

	mu      sync.Mutex // guards what follows
	law     g711.Codec
	terms   mr.Terms
	local   sdp.Local
	offered *sdp.Session // ours, without an answer; nil: none
	agreed  sdp.Agreed
	closed  bool
	after   []func() // what is told once mu is free

	// What is sent.
	pace    pace
	talking bool // the last slot had a frame: the next is no beginning (RFC 3551 4.1)
	source  mr.Source
	played  func(error)
	loop    bool
	queue   []mr.Frame // of Send
	out     []byte
	pcm     []int16

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
	law := c.lawOf(f.PayloadType)
	if c.loop && !c.recorder.sounds() {
		c.write(c.inOurs(law, f.Payload))
	}
	c.ear.take(law, f, c.hear)
}

// lawOf is what a payload type means: an answer to our offer may have kept both laws, and its sender may change between them (RFC 3264 7).
func (c *channel) lawOf(payloadType uint8) g711.Codec {
	if payloadType == c.agreed.RecvPT {
		return c.law
	}
	for i := range c.agreed.Accept {
		if k := &c.agreed.Accept[i]; k.PayloadType == payloadType {
			if law, known := g711.ByName(k.Name); known {
				return law
			}
		}
	}
	return c.law
}

// inOurs gives octets of a law as those of the law that is sent. c.mu is held.
func (c *channel) inOurs(law g711.Codec, octets []byte) []byte {
	if law.Name() == c.law.Name() {
		return octets
	}
	c.pcm = law.Decode(c.pcm[:0], octets)
	c.out = c.law.Encode(c.out[:0], c.pcm)
	return c.out
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

// slot is 20 ms of what is sent: the recording tone before anything else, and nothing to a peer who does not want to hear: what is played waits for him
// (RFC 3264 8.4). c.mu is held.
func (c *channel) slot() {
	if !c.agreed.Send {
		c.talking = false
		c.leg.Skip(mr.FrameSamples)
		return
	}
	out := c.recorder.tone(c.out[:0], c.law)
	switch {
	case len(out) > 0:
	case c.loop || c.mix != nil && !c.whispers():
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

// whispers reports whether there is something of his own for a member of a mix, which he hears in the place of it. c.mu is held.
func (c *channel) whispers() bool { return c.source != nil || len(c.queue) > 0 }

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
