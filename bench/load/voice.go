package load

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"

	"imsafe/proto/sdp"
)

// Media is what both sides of a call say to each other.
type Media string

// The media of calls.
const (
	NoMedia Media = ""
	RTP     Media = "rtp"  // G.711 in clear
	SRTP    Media = "srtp" // G.711 with keys of the descriptions (SDES): AES_CM_128_HMAC_SHA1_80, which everybody knows
)

// ParseMedia reads "", "rtp" or "srtp".
func ParseMedia(s string) (Media, error) {
	switch m := Media(s); m {
	case NoMedia, RTP, SRTP:
		return m, nil
	}
	return NoMedia, fmt.Errorf("%q is no kind of media: rtp or srtp", s)
}

func (m Media) suite() sdp.Suite {
	if m == SRTP {
		return sdp.AESCM128SHA1
	}
	return sdp.NoSuite
}

// A packet of G.711 (RFC 3551 4.5.14). Its first octets say whose it is, of which call, when it left, and whether it counts.
const (
	voicePacket = 1024
	frameTime   = 20 * time.Millisecond
	rtpHeader   = 12
	frame       = 160
	voiceWait   = 500 * time.Microsecond // what comes is looked for as often, so a delay is known as exactly
	hush        = 60 * time.Millisecond  // before the end of a call nothing is said: what is under way arrives
	mustHear    = 300 * time.Millisecond // who speaks for longer is heard
)

// voice carries the media of one worker's calls: one socket for all its UEs.
type voice struct {
	kind     Media
	socket   *Socket
	port     uint16
	base     uint32        // address of UE number 0
	speakers []speaker     // who speaks next: each says something in every 20 ms, so who has spoken goes to the end
	head     int           // of speakers
	from     time.Duration // what leaves from here on counts
	until    time.Duration
	header   rtp.Header
	plain    []byte
	said     voiceStats
}

// speaker is a side of a call that speaks.
type speaker struct {
	play   int32
	of     uint8
	serial uint32
	at     time.Duration
}

// talk is what a side of a call has of its media.
type talk struct {
	own        Key
	seat       Seat // of the other side, as it was told
	tag        int  // of our a=crypto
	seal, open *srtp.Context
	seq        uint16
	stamp      uint32
	heard      uint32
	spoke      time.Duration // when it said its first; 0 before
}

// voiceStats is what became of packets that counted.
type voiceStats struct {
	sent, arrived, astray uint64
	delay, late           histogram
}

func (s *voiceStats) merge(o *voiceStats) {
	s.sent += o.sent
	s.arrived += o.arrived
	s.astray += o.astray
	s.delay.merge(&o.delay)
	s.late.merge(&o.late)
}

// openVoice lets the worker's calls have media, if it is asked for.
func (w *worker) openVoice(kind Media, workers int) (err error) {
	switch {
	case kind == NoMedia && w.voice == nil, w.voice != nil && w.voice.kind == kind:
		return nil
	case w.voice != nil:
		return fmt.Errorf("calls have %q media, and cannot have %q in the same generator", w.voice.kind, kind)
	case w.target.Clients.Ports != workers:
		return fmt.Errorf("with media each UE needs an address of its own: clients.ports is %d", w.target.Clients.Ports)
	}
	first := w.target.Clients.At(0).Addr().As4()
	v := &voice{kind: kind, port: w.target.Clients.MediaPort + 2*uint16(w.number), base: binary.BigEndian.Uint32(first[:])}
	if v.socket, err = OpenSocket(v.port, voicePacket); err != nil {
		return fmt.Errorf("UDP port %d, for media: %w", v.port, err)
	}
	w.voice = v
	return nil
}

// offers makes what a side of a call offers, or answers; false if there is no randomness.
func (w *worker) offers(sd *side) bool {
	if w.voice == nil {
		return true
	}
	if sd.talk == nil {
		sd.talk = new(talk)
	}
	t := sd.talk
	*t = talk{tag: 1, seq: uint16(w.serial), stamp: w.serial * frame}
	var err error
	if t.own, err = NewKey(w.voice.kind.suite()); err == nil {
		t.seal, err = t.own.Context()
	}
	return err == nil
}

// hears learns where the other side of a call is; "" or what is wrong with its description.
func (w *worker) hears(sd *side, body []byte) string {
	if w.voice == nil {
		return ""
	}
	t := sd.talk
	var err error
	if t.seat, t.tag, err = ParseSeat(string(body), t.own.Suite); err != nil {
		return "a description without address, port or key"
	}
	if t.open, err = t.seat.Key.Context(srtp.SRTPReplayProtection(128)); err != nil {
		return "a key that is none"
	}
	return ""
}

// describe ends the header of an INVITE or its 200 and appends the description of a side.
func (w *worker) describe(b build, u *ue, sd *side) build {
	if w.voice == nil {
		return b.body("application/sdp", u.addr.Addr(), "")
	}
	w.key = w.description(build(w.key[:0]), u.addr.Addr(), sd.talk)
	return b.s("Content-Type: application/sdp\r\nContent-Length: ").n(uint64(len(w.key))).s("\r\n\r\n").o(w.key)
}

// description appends the SDP of a side, with G.711 alone.
func (w *worker) description(b build, a netip.Addr, t *talk) build {
	b = a.AppendTo(b.s(sdpBegin))
	b = a.AppendTo(b.s(sdpMiddle))
	b = b.s("\r\nt=0 0\r\nm=audio ").n(uint64(w.voice.port))
	if t.own.Suite == "" {
		return b.s(" RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\na=sendrecv\r\n")
	}
	b = b.s(" RTP/SAVP 8\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\na=crypto:").n(uint64(t.tag)).s(" ").s(t.own.Suite).s(" inline:")
	return build(base64.StdEncoding.AppendEncode(b, t.own.Master)).s("\r\na=sendrecv\r\n")
}

// speaks lets a side of a call speak from now on.
func (w *worker) speaks(id int32, of int) {
	if w.voice == nil {
		return
	}
	p := &w.plays[id]
	w.voice.speakers = append(w.voice.speakers, speaker{id, uint8(of), p.serial, w.now})
}

// say lets all speak whose time has come.
func (v *voice) say(w *worker) {
	for ; v.head < len(v.speakers); v.head++ {
		s := v.speakers[v.head]
		if s.at > w.now {
			break
		}
		p := &w.plays[s.play]
		if !p.busy || p.serial != s.serial || w.now >= p.hush {
			continue
		}
		v.packet(w, p, &s)
		s.at += frameTime
		v.speakers = append(v.speakers, s)
	}
	if v.head > 1024 && 2*v.head > len(v.speakers) {
		v.speakers = v.speakers[:copy(v.speakers, v.speakers[v.head:])]
		v.head = 0
	}
	if v.socket.fill > 0 {
		v.socket.Flush()
	}
}

// packet says one.
func (v *voice) packet(w *worker, p *play, s *speaker) {
	t, i := p.side[s.of].talk, p.a
	if s.of == 1 {
		i = p.b
	}
	b := v.socket.Next()
	b[0], b[1] = 0x80, 8
	binary.BigEndian.PutUint16(b[2:], t.seq)
	binary.BigEndian.PutUint32(b[4:], t.stamp)
	binary.BigEndian.PutUint32(b[8:], s.serial<<1|uint32(s.of))
	binary.BigEndian.PutUint32(b[rtpHeader:], s.serial)
	binary.BigEndian.PutUint64(b[rtpHeader+4:], uint64(w.now))
	b[rtpHeader+12], b[rtpHeader+13] = s.of, 0
	if w.now >= v.from && w.now < v.until {
		b[rtpHeader+13] = 1
		v.said.sent++
		v.said.late.add(w.now - s.at)
	}
	if t.spoke == 0 {
		t.spoke = max(w.now, 1)
	}
	t.seq++
	t.stamp += frame
	n := rtpHeader + frame
	if t.seal != nil {
		sealed, err := t.seal.EncryptRTP(v.plain[:0], b[:n], &v.header)
		if err != nil {
			v.socket.Refused++
			return
		}
		v.plain = sealed
		n = copy(b, sealed)
	}
	v.socket.Send(n, netip.AddrPortFrom(w.ues[i].addr.Addr(), v.port), t.seat.At)
}

// hear takes what has come.
func (v *voice) hear(w *worker) error {
	for {
		n, err := v.socket.Read()
		if err != nil || n == 0 {
			return err
		}
		w.now = w.clock()
		for i := range n {
			if !v.heard(w, i) {
				v.said.astray++
			}
		}
	}
}

// heard takes one packet: it must come to a side of a call, from where that side was told, open, and be of the other side of that call. What comes when the call is over is
// nothing to speak of.
func (v *voice) heard(w *worker, number int) bool {
	to, from, b, whole := v.socket.Got(number)
	a := to.As4()
	i := int64(binary.BigEndian.Uint32(a[:])) - int64(v.base)
	if i < 0 || i >= int64(len(w.ues)) || !whole || len(b) < rtpHeader {
		return false
	}
	if w.ues[i].play < 0 || b[1] >= 192 && b[1] <= 223 { // over, or RTCP
		return true
	}
	p := &w.plays[w.ues[i].play]
	of := 0
	if p.b == int32(i) {
		of = 1
	}
	t := p.side[of].talk
	if p.kind != Call || t == nil || !t.seat.At.IsValid() {
		return true // of the call before
	}
	if t.open != nil {
		opened, err := t.open.DecryptRTP(v.plain[:0], b, &v.header)
		if err != nil {
			return w.now >= p.hush
		}
		v.plain, b = opened, opened
	}
	if len(b) != rtpHeader+frame || binary.BigEndian.Uint32(b[rtpHeader:]) != p.serial || int(b[rtpHeader+12]) != 1-of || from != t.seat.At {
		return false
	}
	t.heard++
	if b[rtpHeader+13] == 1 {
		v.said.arrived++
		v.said.delay.add(w.now - time.Duration(binary.BigEndian.Uint64(b[rtpHeader+4:])))
	}
	return true
}

// deaf says what is wrong with a call that has ended well otherwise: a side that has heard nothing though the other has spoken for long enough. That it has not,
// because this generator came too late, is nobody else's fault.
func (w *worker) deaf(p *play) *Failure {
	if w.voice == nil || p.kind != Call {
		return nil
	}
	for of := range p.side {
		own, other := p.side[of].talk, p.side[1-of].talk
		if own.heard == 0 && other.spoke > 0 && p.hush-other.spoke > mustHear {
			return &Failure{Step: "media", Cause: "one side heard nothing"}
		}
	}
	return nil
}
