package ue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
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
	Listen media.Sink   // written by the media leg's goroutine. nil: what is heard is only measured
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

// errMoved refuses media that would go elsewhere, or under other keys, in the middle of a call.
var errMoved = errors.New("ue: address, certificate or codec of the media changed")

// voice is the media of one call. On the shard, but for what mu guards.
type voice struct {
	call    *Call
	want    Voice
	leg     *rtpport.Leg
	local   sdp.Local
	offered *sdp.Session // our own offer that waits for an answer
	pending sdp.Agreed   // of an incoming offer, until the call is accepted
	started bool
	closed  bool
	player  *media.Player
	pump    shard.Timer
	failure error // why the call had to be ended for its media

	mu       sync.Mutex // guards what the leg's goroutine and Media share
	agreed   sdp.Agreed
	recorder *media.Recorder
	ear      *media.Ear
	codecs   map[uint8]media.Codec
	skipped  int64
}

// prepare opens the port and makes the certificate: fresh for every call (RFC 8827 6.5), so no key or address links two.
func (v *voice) prepare(want Voice) error {
	u := v.call.u
	pc, err := u.cfg.ListenPacket(u.path.localAddr())
	if err != nil {
		return fmt.Errorf("ue: media socket: %w", err)
	}
	cert, err := rtpport.NewCertificate(u.cfg.Rand, u.cfg.Clock.Wall())
	if err == nil {
		v.leg, err = rtpport.New(rtpport.Config{
			Conn: pc, Clock: u.cfg.Clock, Rand: u.cfg.Rand, Certificate: cert,
			Receive: v.hear, Secured: v.secured, AllowPlain: u.cfg.PlainRTP,
		})
	}
	if err != nil {
		return errors.Join(err, pc.Close())
	}
	v.want, v.ear = want, media.NewEar()
	v.local = sdp.Local{
		ID: u.number(), Version: 1, Address: v.leg.Local().Addr(), Port: v.leg.Local().Port(),
		Fingerprints: v.leg.Fingerprints(), TLSID: u.token(32),
	}
	leg := v.leg
	u.wg.Go(func() {
		err := leg.Run(u.ctx)
		u.post(func() { v.finished(err) })
	})
	return nil
}

// number is a session identifier (RFC 8866 5.2) below 2^62, which every reader can hold.
func (u *UE) number() uint64 {
	var b [8]byte
	if _, err := io.ReadFull(u.cfg.Rand, b[:]); err != nil {
		panic("ue: no randomness: " + err.Error())
	}
	return binary.BigEndian.Uint64(b[:]) >> 2
}

// offer writes our description; the answer goes to answered.
func (v *voice) offer() ([]byte, error) {
	l := v.local
	if v.started {
		v.local.Version++
		l = v.local
		l.Setup = v.role() // the association stays (RFC 8842 5.5)
	}
	v.offered = sdp.NewOffer(l, v.call.u.capabilities())
	return v.offered.Marshal()
}

// role is our part in the standing association, as a setup value.
func (v *voice) role() sdp.Setup {
	if v.agreed.Role == sdp.DTLSServer {
		return sdp.Passive
	}
	return sdp.Active
}

// answered takes the answer to our offer and starts the media, or puts them on hold.
func (v *voice) answered(body []byte) error {
	offered := v.offered
	v.offered = nil
	answer, err := sdp.Parse(body, sdp.Limits{})
	if err != nil {
		return err
	}
	g, err := sdp.Match(offered, answer, v.call.u.capabilities())
	if err != nil {
		return err
	}
	if v.started {
		return v.change(g)
	}
	v.pending = g
	return v.start()
}

// answerTo judges an offer and writes the answer. Before the call stands the media wait for start; in a standing call the change
// takes effect at once.
func (v *voice) answerTo(body []byte) ([]byte, error) {
	offer, err := sdp.Parse(body, sdp.Limits{})
	if err != nil {
		return nil, err
	}
	l := v.local
	if v.started {
		l.Version++
		l.Setup = v.role()
	}
	answer, g, err := sdp.Answer(offer, l, v.call.u.capabilities())
	if err != nil {
		return nil, err
	}
	if v.started {
		if err := v.change(g); err != nil {
			return nil, err
		}
		v.local.Version++
	} else {
		v.pending = g
	}
	return answer.Marshal()
}

// change lets a standing call hold and resume, and nothing else.
func (v *voice) change(g sdp.Agreed) error {
	a := v.agreed
	if g.Remote != a.Remote && !g.Remote.Addr().IsUnspecified() || g.Keying != a.Keying || g.Role != a.Role || g.SendPT != a.SendPT ||
		g.RemoteTLSID != a.RemoteTLSID || !slices.Equal(g.Fingerprints, a.Fingerprints) {
		return errMoved
	}
	v.mu.Lock()
	v.agreed.Send, v.agreed.Receive = g.Send, g.Receive
	v.mu.Unlock()
	v.leg.Hold(g.Send, g.Receive)
	return nil
}

// onHold reports whether the other end does not want to hear us.
func (v *voice) onHold() bool { return v.started && !v.agreed.Send }

// start hands the agreement to the leg. Frames flow when it has its keys.
func (v *voice) start() error {
	g := v.pending
	codec, ok := media.CodecByName(g.Codec.Name)
	if !ok {
		return fmt.Errorf("%w: %s", sdp.ErrNoCodec, g.Codec.Name)
	}
	v.mu.Lock()
	v.agreed, v.codecs = g, make(map[uint8]media.Codec)
	for _, c := range g.Accept {
		if k, ok := media.CodecByName(c.Name); ok {
			v.codecs[c.PayloadType] = k
		}
	}
	sinks := media.Tee{v.ear}
	if v.want.Listen != nil {
		sinks = append(sinks, v.want.Listen)
	}
	v.recorder = media.NewRecorder(sinks)
	v.mu.Unlock()

	source := v.want.Play
	if source == nil {
		source = media.Silence()
	}
	v.player = media.NewPlayer(codec, source, v.leg)
	v.started = true
	if err := v.leg.Start(g); err != nil {
		return err
	}
	if g.Keying == sdp.PlainRTP {
		v.call.tell(Event{Kind: Secured, Reason: v.protection()})
		v.beat()
	}
	return nil
}

// secured comes from the leg's handshake, off the shard.
func (v *voice) secured(rtpport.Profile) {
	v.call.u.post(func() {
		if !v.closed {
			v.call.tell(Event{Kind: Secured, Reason: v.protection()})
			v.beat()
		}
	})
}

// beatTime is one frame; the pump owes nothing if it is late (media.Player catches up).
const beatTime = 20 * time.Millisecond

// beat sends the frames and reports that are due, every 20 ms.
func (v *voice) beat() {
	if v.closed {
		return
	}
	s := v.call.u.shard
	v.leg.Tick()
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

// finished comes when the leg has ended. If it was the leg that gave up, the call goes with it: a call that cannot be protected is
// no call.
func (v *voice) finished(err error) {
	if err == nil || v.closed {
		return
	}
	v.call.u.log.Warn("media failed", "error", err, "call_id", v.call.dialog.callID)
	v.call.mediaFailed(err)
}

// close ends the media. Twice is harmless.
func (v *voice) close() {
	if v.closed || v.leg == nil {
		return
	}
	v.closed = true
	v.call.u.shard.Disarm(&v.pump)
	v.leg.Close()
}

// protection names what keeps the media from strangers. v.mu is held, or it is the shard that asks.
func (v *voice) protection() string {
	switch p := v.leg.Profile(); {
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
	n := v.leg.Counters()
	m := Media{
		Protection: v.protection(), Codec: v.agreed.Codec.Name, Local: v.leg.Local(), Remote: v.agreed.Remote,
		PacketsOut: n.PacketsOut.Load(), PacketsIn: n.PacketsIn.Load(), Lost: n.Lost.Load(),
		Refused: make(map[string]uint64), Far: v.leg.Far(), Skipped: v.skipped,
	}
	for _, d := range rtpport.Drops() {
		if k := n.Dropped(d); k > 0 {
			m.Refused[d.String()] = k
		}
	}
	m.Heard, m.Windows = v.ear.Heard()
	return m
}
