package media

import (
	"time"

	"imsafe/proto/g711"
	"imsafe/proto/sdp"
	"imsafe/refpoint/mr"
)

// may returns why something cannot be done now. c.mu is held.
func (c *channel) may(granted bool) error {
	switch {
	case c.closed:
		return mr.ErrGone
	case !granted:
		return mr.ErrScope
	}
	return nil
}

// stopPlaying ends what is played. c.mu is held.
func (c *channel) stopPlaying(why error) {
	c.source = nil
	if done := c.played; done != nil {
		c.played = nil
		c.after = append(c.after, func() { done(why) })
	}
}

// Play implements mr.Channel.
func (c *channel) Play(s mr.Source, done func(error)) error {
	c.mu.Lock()
	defer c.unlock()
	if err := c.may(c.terms.Send); err != nil {
		return err
	}
	c.hush()
	c.source, c.played = s, done
	return nil
}

// Loop implements mr.Channel.
func (c *channel) Loop() error {
	c.mu.Lock()
	defer c.unlock()
	if err := c.may(c.terms.Send && c.terms.Receive); err != nil {
		return err
	}
	c.hush()
	c.loop = true
	return nil
}

// Hush implements mr.Channel.
func (c *channel) Hush() {
	c.mu.Lock()
	defer c.unlock()
	c.hush()
}

// hush ends what is sent, but for a mix. c.mu is held.
func (c *channel) hush() {
	c.stopPlaying(mr.ErrBusy)
	c.loop, c.queue = false, c.queue[:0]
}

// Send implements mr.Channel.
func (c *channel) Send(f *mr.Frame) error {
	c.mu.Lock()
	defer c.unlock()
	if err := c.may(c.terms.Send); err != nil {
		return err
	}
	if len(c.queue) == maxQueued {
		c.drop(true)
		return mr.ErrSlow
	}
	if c.source != nil || c.loop {
		c.hush()
	}
	c.queue = append(c.queue, *f)
	return nil
}

// Listen implements mr.Channel.
func (c *channel) Listen(hear func(*mr.Frame)) error {
	c.mu.Lock()
	defer c.unlock()
	if err := c.may(c.terms.Receive); err != nil {
		return err
	}
	c.listener = hear
	return nil
}

// Record implements mr.Channel.
func (c *channel) Record(limit time.Duration, done func(*mr.Recording)) error {
	c.mu.Lock()
	defer c.unlock()
	if err := c.may(c.terms.Record); err != nil {
		return err
	}
	switch {
	case c.recorder.done != nil:
		return mr.ErrBusy
	case done == nil || limit < mr.FrameTime || limit > c.server.cfg.Longest:
		return mr.ErrLength
	}
	c.recorder.begin(int(samplesOf(limit)), done)
	return nil
}

// Stop implements mr.Channel.
func (c *channel) Stop() {
	c.mu.Lock()
	defer c.unlock()
	c.recorder.end(c)
}

// The recording tone: who is recorded hears it at the beginning, and again and again.
const (
	recordingHz    = 1400
	recordingLevel = -20 // dBm0
	recordingTone  = 200 * time.Millisecond
	recordingEvery = 15 * time.Second
)

// recorder keeps what is heard. The recording tone is sent in the place of what else would be.
type recorder struct {
	done    func(*mr.Recording)
	limit   int
	octets  []byte
	slots   int64 // of 20 ms since it began
	sounder mr.Source
	ever    bool // something was recorded
}

func (r *recorder) begin(limit int, done func(*mr.Recording)) {
	*r = recorder{done: done, ever: true, limit: limit, sounder: Tone(recordingHz, recordingLevel, recordingTone)}
}

// indicate says in an answer whether the call is recorded (RFC 7866 7.1.2), once it has been.
func (r *recorder) indicate(answer *sdp.Session) {
	if !r.ever {
		return
	}
	state := "off"
	if r.done != nil {
		state = "on"
	}
	for i := range answer.Media {
		if m := &answer.Media[i]; m.Port != 0 {
			m.Other = append(m.Other, sdp.Attribute{Key: "record", Value: state})
		}
	}
}

// sounds reports whether the tone is being sent.
func (r *recorder) sounds() bool { return r.sounder != nil }

// tone appends 20 ms of the tone, if it is due.
func (r *recorder) tone(dst []byte, law g711.Codec) []byte {
	if r.done == nil {
		return dst
	}
	if r.slots++; r.slots%int64(recordingEvery/mr.FrameTime) == 0 {
		r.sounder = Tone(recordingHz, recordingLevel, recordingTone)
	}
	if r.sounder == nil {
		return dst
	}
	out, more := r.sounder.Next(dst, law)
	if !more {
		r.sounder = nil
	}
	return out
}

// take keeps 20 ms. c.mu is held.
func (r *recorder) take(c *channel, f *mr.Frame) {
	if r.done == nil {
		return
	}
	n := min(len(f), r.limit-len(r.octets))
	r.octets = c.law.Encode(r.octets, f[:n])
	if len(r.octets) == r.limit {
		r.end(c)
	}
}

// end hands the recording over. c.mu is held.
func (r *recorder) end(c *channel) {
	done := r.done
	if done == nil {
		return
	}
	kept := &mr.Recording{Law: c.law.Name(), Octets: r.octets, Full: len(r.octets) == r.limit}
	*r = recorder{ever: true}
	c.after = append(c.after, func() { done(kept) })
}
