package ue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"

	"imsafe/client/media"
	"imsafe/proto/rtpport"
	"imsafe/proto/sdp"
	"imsafe/proto/shard"
)

// Voice is what a call plays and where it puts what it hears. Both run while the call stands and are not closed by it.
type Voice struct {
	Play   media.Source // read on the shard: it must not block. nil: silence
	Listen media.Sink   // written by the media legs' goroutines, one at a time. nil: what is heard is only measured
	// NoOffer, of a call that is made, leaves the offer to the called party (RFC 3261 13.2.1): it comes with the answer, and what answers it with
	// the ACK. Nothing is sent or heard before.
	NoOffer bool
}

// Media is what is known of a call's media.
type Media struct {
	Protection string // "DTLS-SRTP AEAD_AES_256_GCM", "RTP in clear", "none yet"
	Codec      string
	Local      netip.AddrPort
	Remote     netip.AddrPort

	PacketsOut, PacketsIn uint64
	Lost                  uint64            // packets of the peer that never came, as of the last report
	Refused               map[string]uint64 // packets that were not let in, by reason
	Skipped               int64             // frames not sent because the process was late

	Heard   media.Heard // the last 200 ms window
	Windows int         // how many there were
	Far     rtpport.Far // what the peer reports about our stream
}

// voice is the media of one call. On the shard, but for what mu guards.
type voice struct {
	call    *Call
	want    Voice
	next    *end         // agreed on to follow end, when its keys stand
	offered *sdp.Session // our own offer that waits for an answer
	pending sdp.Agreed   // of an incoming offer, until the call is accepted
	started bool
	beating bool
	closed  bool
	holding bool // we have the other end on hold
	player  *media.Player
	pump    shard.Timer
	failure error // why the call had to be ended for its media

	mu       sync.Mutex // guards what the legs' goroutines and Media share
	end      *end       // written on the shard
	agreed   sdp.Agreed
	recorder *media.Recorder
	ear      *media.Ear
	codecs   map[uint8]media.Codec
	skipped  int64
	before   counts // of ends that were replaced
}

// end is where media come in: a socket, and the certificate of one DTLS association. A new association has a new one of both (RFC 8842 5.1).
type end struct {
	leg   *rtpport.Leg
	local sdp.Local
}

// counts are the packets of ends that were replaced.
type counts struct{ out, in, lost uint64 }

// prepare opens the port and makes the certificate: fresh for every call (RFC 8827 6.5), so no key or address links two.
func (v *voice) prepare(want Voice) error {
	e, err := v.open(v.call.u.number(), 1)
	if err != nil {
		return err
	}
	v.mu.Lock()
	v.end = e
	v.mu.Unlock()
	v.want, v.ear = want, media.NewEar()
	return nil
}

// open makes an end, for the description with this identifier and version.
func (v *voice) open(id, version uint64) (*end, error) {
	u := v.call.u
	pc, err := u.cfg.ListenPacket(u.path.localAddr())
	if err != nil {
		return nil, fmt.Errorf("ue: media socket: %w", err)
	}
	e := &end{}
	cert, err := rtpport.NewCertificate(u.cfg.Rand, u.cfg.Clock.Wall())
	if err == nil {
		e.leg, err = rtpport.New(rtpport.Config{
			Conn: pc, Clock: u.cfg.Clock, Rand: u.cfg.Rand, Certificate: cert,
			Receive: v.hear, Secured: func(rtpport.Profile) { v.secured(e) }, AllowPlain: u.cfg.PlainRTP,
		})
	}
	if err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	e.local = sdp.Local{
		ID: id, Version: version, Address: e.leg.Local().Addr(), Port: e.leg.Local().Port(),
		Fingerprints: e.leg.Fingerprints(), TLSID: u.token(32),
	}
	u.wg.Go(func() {
		err := e.leg.Run(u.ctx)
		u.post(func() { v.finished(e, err) })
	})
	return e, nil
}

// number is a session identifier (RFC 8866 5.2) below 2^62, which every reader can hold.
func (u *UE) number() uint64 {
	var b [8]byte
	if _, err := io.ReadFull(u.cfg.Rand, b[:]); err != nil {
		panic("ue: no randomness: " + err.Error())
	}
	return binary.BigEndian.Uint64(b[:]) >> 2
}

// start hands the agreement to the leg. Frames flow when it has its keys.
func (v *voice) start() error {
	g := v.pending
	codec, ok := media.CodecByName(g.Codec.Name)
	if !ok {
		return fmt.Errorf("%w: %s", sdp.ErrNoCodec, g.Codec.Name)
	}
	v.mu.Lock()
	v.codecs = make(map[uint8]media.Codec)
	v.admit(g)
	v.mu.Unlock()

	source := v.want.Play
	if source == nil {
		source = media.Silence()
	}
	v.player = media.NewPlayer(codec, source, v)
	v.started = true
	if err := v.end.leg.Start(g); err != nil {
		return err
	}
	if g.Keying == sdp.PlainRTP {
		v.call.tell(Event{Kind: Secured, Reason: v.protection()})
		v.begin()
	}
	return nil
}

// admit takes down what was agreed on, and hears what comes from now on. v.mu is held.
func (v *voice) admit(g sdp.Agreed) {
	v.agreed = g
	for _, c := range g.Accept {
		if k, ok := media.CodecByName(c.Name); ok {
			v.codecs[c.PayloadType] = k
		}
	}
	v.listen()
}

// listen begins with what is heard anew: the timestamps of another stream say nothing about those of before. v.mu is held.
func (v *voice) listen() {
	sinks := media.Tee{v.ear}
	if v.want.Listen != nil {
		sinks = append(sinks, v.want.Listen)
	}
	v.recorder = media.NewRecorder(sinks)
}

// secured comes from the handshake of an end, off the shard.
func (v *voice) secured(e *end) {
	v.call.u.post(func() {
		if v.closed {
			return
		}
		if e == v.next {
			v.replace()
		}
		v.call.tell(Event{Kind: Secured, Reason: v.protection()})
		v.begin()
	})
}

// begin lets frames flow, once.
func (v *voice) begin() {
	if !v.beating {
		v.beating = true
		v.beat()
	}
}

var _ media.FrameWriter = (*voice)(nil)

// WriteFrame implements media.FrameWriter: frames leave by the end whose keys stand.
func (v *voice) WriteFrame(payload []byte, samples uint32, talk bool) error {
	err := v.end.leg.WriteFrame(payload, samples, talk)
	if v.next != nil && errors.Is(err, rtpport.ErrClosed) {
		return rtpport.ErrNotReady // the other end has left the old association already
	}
	return err
}

// beatTime is one frame; the pump owes nothing if it is late (media.Player catches up).
const beatTime = 20 * time.Millisecond

// beat sends the frames and reports that are due, every 20 ms.
func (v *voice) beat() {
	if v.closed {
		return
	}
	s := v.call.u.shard
	v.end.leg.Tick()
	if v.player != nil {
		err := v.player.Tick(s.Now())
		v.mu.Lock()
		v.skipped = v.player.Skipped()
		v.mu.Unlock()
		switch {
		case err == nil || errors.Is(err, rtpport.ErrNotReady):
		case errors.Is(err, io.EOF):
			v.player = nil
			v.call.tell(Event{Kind: Played})
		default:
			v.player = nil
			v.call.u.log.Warn("playing stopped", "error", err, "call_id", v.call.dialog.callID)
		}
	}
	s.Arm(&v.pump, beatTime, (*beat)(v))
}

// beat is the pump's event.
type beat voice

// Run implements shard.Event.
func (b *beat) Run(*shard.Shard) { (*voice)(b).beat() }

// hear takes one authenticated frame, on the leg's goroutine.
func (v *voice) hear(f *rtpport.Frame) {
	v.mu.Lock()
	defer v.mu.Unlock()
	codec, ok := v.codecs[f.PayloadType]
	if !ok {
		return // telephone-event, until client/media knows it
	}
	if err := v.recorder.Frame(codec, f.Timestamp, f.Payload); err != nil {
		v.call.u.log.Warn("listening stopped", "error", err)
		v.recorder = media.NewRecorder(v.ear)
	}
}

// finished comes when an end has. If it gave up by itself, the call goes with it: a call that cannot be protected is no call. That of an association
// that is being replaced may be left by the other end before us.
func (v *voice) finished(e *end, err error) {
	if err == nil || v.closed || e != v.latest() {
		return
	}
	v.call.u.log.Warn("media failed", "error", err, "call_id", v.call.dialog.callID)
	v.call.mediaFailed(err)
}

// close ends the media. Twice is harmless.
func (v *voice) close() {
	if v.closed || v.end == nil {
		return
	}
	v.closed = true
	v.call.u.shard.Disarm(&v.pump)
	v.end.leg.Close()
	if v.next != nil {
		v.next.leg.Close()
	}
}

// protection names what keeps the media from strangers. v.mu is held, or it is the shard that asks.
func (v *voice) protection() string {
	switch p := v.end.leg.Profile(); {
	case p != 0:
		return "DTLS-SRTP " + p.String()
	case v.codecs != nil && v.agreed.Keying == sdp.PlainRTP:
		return "RTP in clear"
	}
	return "none yet"
}

// Media returns what is known now; it stays readable after the call. Any goroutine.
func (c *Call) Media() Media {
	v := &c.voice
	v.mu.Lock()
	defer v.mu.Unlock()
	leg, b := v.end.leg, &v.before
	n := leg.Counters()
	m := Media{
		Protection: v.protection(), Codec: v.agreed.Codec.Name, Local: leg.Local(), Remote: v.agreed.Remote,
		PacketsOut: b.out + n.PacketsOut.Load(), PacketsIn: b.in + n.PacketsIn.Load(), Lost: b.lost + n.Lost.Load(),
		Refused: make(map[string]uint64), Far: leg.Far(), Skipped: v.skipped,
	}
	for _, d := range rtpport.Drops() {
		if k := n.Dropped(d); k > 0 {
			m.Refused[d.String()] = k
		}
	}
	m.Heard, m.Windows = v.ear.Heard()
	return m
}
