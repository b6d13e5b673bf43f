package media

import (
	"errors"
	"io"
	"time"
)

// FrameWriter sends one encoded frame. samples is how far the RTP timestamp moves; talk is true for the
// first frame after silence (the RTP marker, RFC 3551 4.1). It must not keep payload.
// proto/rtpport's Leg is one.
type FrameWriter interface {
	WriteFrame(payload []byte, samples uint32, talk bool) error
}

// frameTime is 20 ms.
const frameTime = FrameSamples * time.Second / SampleRate

// maxBurst is how many frames a late tick may catch up at once. Further ones are skipped: sending a
// second's worth at once helps no listener.
const maxBurst = 5

// Player reads a Source and sends a frame for every 20 ms that have passed. It has no clock and no
// goroutine: whoever owns it calls Tick, in a test with made-up times. One caller at a time.
type Player struct {
	codec  Codec
	source Source
	out    FrameWriter

	started bool
	start   time.Duration
	frames  int64 // frame slots used since start
	talk    bool
	skipped int64
	pcm     [FrameSamples]int16
	buf     []byte
}

// NewPlayer returns a player; nothing is sent before the first Tick.
func NewPlayer(c Codec, s Source, out FrameWriter) *Player {
	return &Player{codec: c, source: s, out: out, talk: true, buf: make([]byte, 0, FrameSamples)}
}

// Tick sends what is due at now, a monotonic time of any origin. It returns io.EOF after the last frame of
// the source has been sent (a short one is filled up with silence), and the writer's error at once.
func (p *Player) Tick(now time.Duration) error {
	if !p.started {
		p.started, p.start = true, now
	}
	due := int64((now-p.start)/frameTime) + 1
	if late := due - p.frames - maxBurst; late > 0 {
		p.frames += late
		p.skipped += late
		p.talk = true
	}
	for ; p.frames < due; p.frames++ {
		if err := p.frame(); err != nil {
			return err
		}
	}
	return nil
}

// Skipped returns how many frames were left out because Tick came too late.
func (p *Player) Skipped() int64 { return p.skipped }

func (p *Player) frame() error {
	n, err := p.source.Read(p.pcm[:])
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if n > 0 {
		clear(p.pcm[n:])
		p.buf = p.codec.Encode(p.buf[:0], p.pcm[:])
		if werr := p.out.WriteFrame(p.buf, FrameSamples, p.talk); werr != nil {
			return werr
		}
		p.talk = false
	}
	return err
}

// Clip is a Source over samples in memory; with again it starts over at the end.
func Clip(pcm []int16, again bool) Source {
	at := 0
	return SourceFunc(func(dst []int16) (n int, err error) {
		for n < len(dst) {
			if at == len(pcm) {
				if !again || len(pcm) == 0 {
					return n, io.EOF
				}
				at = 0
			}
			c := copy(dst[n:], pcm[at:])
			n, at = n+c, at+c
		}
		return n, nil
	})
}

// maxGap is the longest silence Recorder puts in for lost frames.
const maxGap = SampleRate

// Recorder decodes frames into a Sink, where their RTP timestamps say: lost ones become silence, late and
// repeated ones are dropped. One caller.
type Recorder struct {
	sink    Sink
	started bool
	next    uint32
	pcm     []int16
	lost    int64
	late    int64
}

// NewRecorder returns a recorder into sink.
func NewRecorder(sink Sink) *Recorder { return &Recorder{sink: sink} }

// Frame takes one frame as it came. It returns the sink's error.
func (r *Recorder) Frame(c Codec, timestamp uint32, payload []byte) error {
	r.pcm = r.pcm[:0]
	if r.started {
		switch gap := int32(timestamp - r.next); {
		case gap < 0 && gap > -maxGap:
			r.late++
			return nil
		case gap > 0 && gap <= maxGap:
			r.lost += int64(gap)
			r.pcm = append(r.pcm, make([]int16, gap)...)
		}
		// A larger jump is a new beginning at the sender, not a gap.
	}
	r.started, r.next = true, timestamp+uint32(len(payload))
	r.pcm = c.Decode(r.pcm, payload)
	return r.sink.Write(r.pcm)
}

// Lost returns the samples that were filled with silence and the frames that came too late.
func (r *Recorder) Lost() (samples, late int64) { return r.lost, r.late }

// Tee is a Sink that writes to all of its sinks; the first error ends it.
type Tee []Sink

// Write writes to each sink in order.
func (t Tee) Write(pcm []int16) error {
	for _, s := range t {
		if err := s.Write(pcm); err != nil {
			return err
		}
	}
	return nil
}
