package as

import (
	"sync"

	"imsafe/refpoint/isc"
	"imsafe/refpoint/mr"
)

// result is what a verb of the media server ends with; it may be set on any goroutine, once.
type result[T any] struct {
	mu    sync.Mutex
	there bool
	value T // read it after is
}

func (r *result[T]) set(v T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.value, r.there = v, true
}

func (r *result[T]) is() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.there
}

// maxInbox is how many frames wait for a service that listens: half a second.
const maxInbox = 25

// inbox is a bounded channel of frames. Safe for concurrent use; nil is one that nobody made.
type inbox struct {
	mu      sync.Mutex
	frames  chan mr.Frame
	closed  bool
	dropped uint64
}

// put adds a frame; where there is no room the oldest goes.
func (b *inbox) put(f *mr.Frame) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for !b.closed {
		select {
		case b.frames <- *f:
			return
		default:
		}
		select {
		case <-b.frames:
			b.dropped++
		default: // taken meanwhile
		}
	}
}

func (b *inbox) close() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closed = true
		close(b.frames)
	}
}

// Frames is what is heard: frames of 20 ms in order, with silence in the place of what was lost. The channel is closed at the end of the call. Half
// a second of them waits; then the oldest are dropped, and counted (FramesDropped). A test in virtual time cannot wait for it: there Record and
// events are to be used. It needs media.receive.
func (c *Call) Frames() (<-chan mr.Frame, error) {
	if err := c.svc.needs(isc.MediaReceive); err != nil {
		return nil, err
	}
	err := c.svc.do(func() error {
		if c.inbox != nil {
			return nil
		}
		c.inbox = &inbox{frames: make(chan mr.Frame, maxInbox)}
		if c.over {
			c.inbox.close()
			return nil
		}
		return c.channel.Listen(c.inbox.put)
	})
	if err != nil {
		return nil, err
	}
	return c.inbox.frames, nil
}

// FramesDropped is how many frames nobody has taken in time.
func (c *Call) FramesDropped() uint64 {
	var n uint64
	_ = c.svc.do(func() error { // a service that has ended drops none
		if c.inbox != nil {
			c.inbox.mu.Lock()
			n = c.inbox.dropped
			c.inbox.mu.Unlock()
		}
		return nil
	})
	return n
}

// Send queues a frame, in the place of what is played; mr.ErrSlow if half a second of them waits. It needs media.send.
func (c *Call) Send(f *mr.Frame) error {
	if err := c.svc.needs(isc.MediaSend); err != nil {
		return err
	}
	return c.channel.Send(f)
}
