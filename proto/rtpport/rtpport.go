// Package rtpport is the engine of one media leg: one packet socket, one peer, DTLS-SRTP keys, RTP and RTCP.
//
// Standards: demultiplexing by the first octet (RFC 7983), DTLS-SRTP (RFC 5763, RFC 5764) with the profiles of RFC 7714
// before that of RFC 3711, RTP and RTCP on one port (RFC 3550, RFC 3551, RFC 5761). DTLS is pion/dtls (DTLS 1.2), SRTP is
// pion/srtp: no cipher and no handshake is written here.
//
//	socket -> classify -> source = agreed address? -> dtls attempt | cheap checks -> tag, replay -> Receive
//
// The order is the point: a packet costs a comparison before it costs a cipher, and nothing is learned from it, counted as
// media or handed on before its SRTP tag was verified. The address of the peer is the one of the SDP and never changes by
// itself: only a check of ICE, which takes the password of the description, moves it. Media keys exist only after the peer's certificate matched the fingerprint of the SDP, in constant time; certificate
// and keys are made for one leg and die with it.
//
// A leg ends media (Config.Receive, WriteFrame) or relays them (Config.Relay, Forward): the media anchor of the C-S door stands on two
// such legs. Of ICE it is the lite half, on request. It does not decode audio (client/media, servicebox/media). It has no clock of its own for RTCP: the owner calls Tick. The handshake runs in real time (pion keeps its own
// timers), so simulations leave it out.
//
// It imports proto/sdp and proto/shard (the Clock); the client, the media services and the C-S door import it.
// Concurrency: methods of a Leg are safe for concurrent use; Config.Receive and Config.Secured are called from Run's goroutine
// and its handshake, never at the same time.
package rtpport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"imsafe/proto/sdp"
	"imsafe/proto/shard"
)

// Reasons why a leg ends or refuses.
var (
	ErrFingerprint = errors.New("rtpport: certificate of the peer does not match the fingerprint of the SDP")
	ErrHandshake   = errors.New("rtpport: DTLS handshake did not finish")
	ErrNotReady    = errors.New("rtpport: no keys yet")
	ErrClosed      = errors.New("rtpport: leg closed")
	ErrStarted     = errors.New("rtpport: leg was started before")
	ErrConsent     = errors.New("rtpport: the peer has not shown that it receives, or not lately")
	ErrConfig      = errors.New("rtpport: configuration incomplete")
	ErrKeying      = errors.New("rtpport: keying not allowed on this leg")
	ErrPayload     = errors.New("rtpport: payload too long or too short")
	ErrReused      = errors.New("rtpport: index used before under this key")
)

// Config is what a leg is made of. Conn, Port or Send, Clock, Rand, Certificate and Receive or Relay are required.
type Config struct {
	// Conn is the socket; the leg owns it from New on and closes it.
	Conn net.PacketConn
	// Port, in the place of Conn, is for a leg that shares it with others: Port.Add lets it hear. It is its owner's.
	Port *Port
	// Send, in the place of both, is for a leg whose owner has the socket and calls Deliver. It must not keep b. Local is its address.
	Send  func(b []byte, to netip.AddrPort) error
	Local netip.AddrPort
	// Clock gives the wall time of sender reports.
	Clock shard.Clock
	// Rand gives SSRC, first sequence number, first timestamp and CNAME. It must be unpredictable in production.
	Rand io.Reader
	// Certificate of this end, made for this leg alone (NewCertificate).
	Certificate *Certificate
	// Receive takes one authenticated frame. Frame and Payload are valid during the call only.
	Receive func(*Frame)
	// Relay, in the place of Receive, takes each authenticated packet whole, in clear: RTP, or control, which is a compound RTCP packet.
	// It is valid during the call only.
	Relay func(packet []byte, control bool)
	// Secured is told once when keys stand, before the first Receive. May be nil.
	Secured func(Profile)

	// Profiles that are offered and accepted, best first; nil means DefaultProfiles.
	Profiles []Profile
	// AllowPlain lets Start take an agreement without keys: lab profile or a signed waiver only.
	AllowPlain bool
	// AllowSDES lets StartSDES take keys that stood in the descriptions: only where the signalling of this leg is confidential.
	AllowSDES bool
	// ControlOnly is for the port of RTCP where it has one of its own (no rtcp-mux): nothing else comes in there.
	ControlOnly bool
	// Rate bounds what comes from the agreed address, before any cipher runs. The zero value sets no bound.
	Rate Rate
	// Refuse, if not nil, is asked whether a packet is dropped that one of the checks found bad; a leg without it always drops. It is where
	// the owner's gate stands, so that a laboratory can see what the checks are worth. From any goroutine; it must not block.
	Refuse func(Drop) bool
	// Handshake is how long the DTLS handshake may take; 0 means 10 s.
	Handshake time.Duration
}

// Frame is one received RTP packet.
type Frame struct {
	PayloadType uint8
	Marker      bool
	Sequence    uint16
	Timestamp   uint32
	SSRC        uint32
	Payload     []byte
}

// Leg is one end of one medium.
//
// What each packet looks at stands together, in front: a relay has thousands of legs, and finds little of any of them in the processor's cache. A line of that is
// 64 octets, and an object of this size begins 8 before one.
type Leg struct {
	state  state
	remote netip.AddrPort // of agreed
	wire   packetReader

	tx       sender
	rx       receiver // Run's goroutine alone
	counters Counters

	ice     ice
	astray  atomic.Pointer[netip.AddrPort] // where a laboratory without DropSource sends
	cfg     Config
	local   netip.AddrPort
	when    struct{ started, hearing, ready, closed chan struct{} } // closed when the leg has come so far
	closing sync.Once
	mu      sync.Mutex // guards the fields below until started; they do not change afterwards
	agreed  sdp.Agreed
	keys    *exchanged // of SDES, until they are in use
	early   []early    // ClientHellos that came before Start (RFC 5763 6.7: the answer may be slower than the hello)
	profile atomic.Uint32
	dtls    attempts
}

// New makes a leg. Nothing is sent and nothing accepted before Start.
func New(c Config) (*Leg, error) {
	wire, err := c.wire()
	if err != nil || c.Clock == nil || c.Rand == nil || c.Certificate == nil || (c.Receive == nil) == (c.Relay == nil) {
		return nil, ErrConfig
	}
	if c.Profiles == nil {
		c.Profiles = DefaultProfiles()
	}
	if c.Handshake == 0 {
		c.Handshake = 10 * time.Second
	}
	l := &Leg{cfg: c, wire: wire, local: c.Local}
	for _, c := range []*chan struct{}{&l.when.started, &l.when.hearing, &l.when.ready, &l.when.closed} {
		*c = make(chan struct{})
	}
	switch {
	case c.Conn != nil:
		l.local = addrPort(c.Conn.LocalAddr())
	case c.Port != nil:
		l.local = c.Port.Local()
	}
	l.rx.relay, l.rx.bound, l.rx.clock, l.rx.reception = c.Relay, c.Rate, c.Clock, &reception{}
	l.state.put(controlOnly, c.ControlOnly)
	if err := l.tx.init(c.Rand); err != nil {
		return nil, fmt.Errorf("rtpport: randomness: %w", err)
	}
	return l, nil
}

// wire is how the leg sends. One way it must have.
func (c *Config) wire() (packetReader, error) {
	switch {
	case c.Conn != nil && c.Port == nil && c.Send == nil:
		return newPacketReader(c.Conn), nil
	case c.Conn == nil && c.Port != nil && c.Send == nil:
		return c.Port, nil
	case c.Conn == nil && c.Port == nil && c.Send != nil:
		return ownersSocket(c.Send), nil
	}
	return nil, ErrConfig
}

// Local is the address of the socket.
func (l *Leg) Local() netip.AddrPort { return l.local }

// Fingerprints are what the SDP of this end must carry.
func (l *Leg) Fingerprints() []sdp.Fingerprint {
	return []sdp.Fingerprint{l.cfg.Certificate.Fingerprint()}
}

// Start gives the leg what offer and answer agreed on; the handshake begins in Run. Errors: ErrStarted, ErrKeying.
func (l *Leg) Start(a sdp.Agreed) error {
	switch {
	case a.Keying == sdp.DTLSSRTP && a.Role != sdp.NoRole && len(a.Fingerprints) > 0:
	case a.Keying == sdp.PlainRTP && l.cfg.AllowPlain:
	default:
		return ErrKeying
	}
	return l.start(a, nil)
}

// StartSDES is Start for an agreement whose keys stood in the descriptions (RFC 4568): local seals what is sent, remote opens what comes.
// Errors: ErrStarted; ErrKeying without Config.AllowSDES, and where the two are not of one suite.
func (l *Leg) StartSDES(a sdp.Agreed, local, remote sdp.Crypto) error {
	if !l.cfg.AllowSDES || a.Keying != sdp.SDES || local.Suite == sdp.NoSuite || local.Suite != remote.Suite {
		return ErrKeying
	}
	return l.start(a, &exchanged{local, remote})
}

// Limit changes Config.Rate, before Start.
func (l *Leg) Limit(r Rate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.state.is(started) {
		l.rx.bound = r
	}
}

func (l *Leg) start(a sdp.Agreed, keys *exchanged) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state.is(started) {
		return ErrStarted
	}
	l.keys = keys
	a.Remote = netip.AddrPortFrom(a.Remote.Addr().Unmap(), a.Remote.Port())
	l.agreed, l.remote = a, a.Remote
	l.rx.expect(&a)
	l.Hold(a.Send, a.Receive)
	l.state.set(started)
	close(l.when.started)
	return nil
}

// Hold changes who sends, after a new offer and answer about the same media (RFC 3264 8.4). Without send, WriteFrame drops
// frames silently; without receive, frames are verified and not delivered.
func (l *Leg) Hold(send, receive bool) {
	l.state.put(mute, !send)
	l.state.put(deaf, !receive)
}

// Ready is closed when WriteFrame may be used.
func (l *Leg) Ready() <-chan struct{} { return l.when.ready }

// Done is closed when the leg is closed.
func (l *Leg) Done() <-chan struct{} { return l.when.closed }

// Profile is the SRTP profile in use; 0 without keys.
func (l *Leg) Profile() Profile { return Profile(l.profile.Load()) }

// Run reads the socket and does the handshake until ctx ends or Close is called (nil), the handshake fails
// (ErrFingerprint, ErrHandshake) or the socket fails. It closes the leg when it returns. Call it once.
func (l *Leg) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, l.Close)
	defer stop()
	defer l.Close()

	keyed := make(chan error, 1)
	go func() { keyed <- l.secure(ctx) }()
	var read error
	if l.cfg.Conn != nil {
		read = l.read()
	} else {
		<-l.when.closed
	}
	if l.state.is(closed) { // ours: what the socket says now is only its end
		read = nil
	} else {
		l.Close()
	}
	err := <-keyed
	l.dtls.wg.Wait()
	if err != nil {
		return err
	}
	return read
}

// secure waits for Start and makes the keys. An error closes the socket, which ends the reader.
func (l *Leg) secure(ctx context.Context) error {
	select {
	case <-l.when.started:
	case <-l.when.closed:
		return nil
	}
	switch l.agreed.Keying {
	case sdp.PlainRTP:
		l.begin()
		return nil
	case sdp.SDES:
		return l.exchange()
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Handshake)
	defer cancel()
	err := l.handshake(ctx)
	if l.state.is(closed) && !errors.Is(err, ErrFingerprint) {
		return nil // closed by its owner meanwhile
	}
	if err != nil {
		l.Close()
	}
	return err
}

// begin lets media in and out.
func (l *Leg) begin() {
	l.allow()
	l.listen()
}

// allow lets frames out, and what comes in be opened.
func (l *Leg) allow() {
	l.state.set(ready)
	close(l.when.ready)
}

// touch reads a word of each line of the leg that a packet which comes in will ask for, and touchSender of one that leaves. See thread.fetch.
func (l *Leg) touch() uint32 {
	if !l.state.is(ready) {
		return 0 // somebody still writes there
	}
	n := uint32(l.rx.spent.packets) + l.rx.ssrcs[0] + uint32(l.counters.PacketsIn.Load())
	if l.rx.srtp != nil {
		roc, _ := l.rx.srtp.ROC(l.rx.ssrcs[0])
		n += roc
	}
	return n
}

func (l *Leg) touchSender() uint32 {
	n := l.state.bits.Load() + uint32(l.counters.PacketsOut.Load())
	if l.tx.srtp.Load() == nil {
		n++
	}
	return n
}

// state is how far a leg has come, in one word: each packet looks at it.
type state struct{ bits atomic.Uint32 }

const (
	started uint32 = 1 << iota // by Start
	hearing                    // the handshake takes packets, or there is none
	ready                      // frames may be sent
	closed
	mute   // hold: do not send,
	deaf   // do not deliver
	byICE  // the peer's checks say where it is
	strays // a laboratory sends where somebody else has said
	controlOnly
	bundled // several media, told apart by what receiver.bundle says
)

func (s *state) is(bit uint32) bool { return s.bits.Load()&bit != 0 }
func (s *state) set(bit uint32)     { s.bits.Or(bit) }

func (s *state) put(bit uint32, on bool) {
	if on {
		s.bits.Or(bit)
	} else {
		s.bits.And(^bit)
	}
}

// Deliver takes a datagram that came to the port of a leg without a socket of its own. One goroutine at a time; b is lent.
func (l *Leg) Deliver(b []byte, from netip.AddrPort) { l.packet(b, from) }

// refuses counts a bad packet and reports whether it is dropped.
func (l *Leg) refuses(d Drop) bool {
	l.counters.drop(d)
	return l.cfg.Refuse == nil || l.cfg.Refuse(d)
}

// read is the receive loop. One goroutine, one buffer, no allocation per packet.
func (l *Leg) read() error {
	buf := make([]byte, maxPacket)
	for {
		n, from, err := l.wire.read(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				continue
			}
			return fmt.Errorf("rtpport: read: %w", err)
		}
		l.packet(buf[:n], from)
	}
}

// maxPacket is more than any path carries; longer datagrams are cut and fail their tag.
const maxPacket = 2048

// packet is the first decision about a datagram. Everything up to the tag is reading and comparing.
func (l *Leg) packet(b []byte, from netip.AddrPort) {
	kind := classify(b)
	if !l.state.is(hearing) && l.tooEarly(kind, b, from) {
		return
	}
	if kind == kindSTUN {
		l.stun(b, from)
		return
	}
	if from != l.address() {
		if l.refuses(DropSource) || kind != kindRTP && kind != kindRTCP {
			return
		}
		l.believe(from)
	}
	switch kind {
	case kindDTLS:
		l.dtls.packet(l, b)
	case kindRTP, kindRTCP:
		l.media(kind, b)
	default:
		l.counters.drop(DropUnknown)
	}
}

// media takes RTP or RTCP from the agreed address, if it is not too much.
func (l *Leg) media(kind kind, b []byte) {
	now, bound := l.rx.clock.Now(), &l.rx.bound
	if l.state.is(bundled) {
		bound = &l.rx.bundle.Load().rate
	}
	if !l.rx.spent.take(bound, now, len(b)) && l.refuses(DropRate) {
		return
	}
	switch {
	case !l.state.is(ready):
		l.counters.drop(DropEarly) // no RTP before DTLS has finished
	case kind == kindRTCP:
		l.rtcp(b, now)
	case l.state.is(controlOnly):
		l.counters.drop(DropPayloadType)
	default:
		l.rtp(b, now)
	}
}

// believe lets a leg send to whoever speaks. Only a laboratory comes here: see Config.Refuse.
func (l *Leg) believe(from netip.AddrPort) {
	l.astray.Store(&from)
	l.state.set(strays)
}

// maxEarly bounds the hellos kept before the SDP is known. They are looked at only after it is.
const maxEarly = 4 // two hellos of two pieces

type early struct {
	b    []byte
	from netip.AddrPort
}

func (l *Leg) tooEarly(kind kind, b []byte, from netip.AddrPort) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state.is(hearing) {
		return false // meanwhile
	}
	l.counters.drop(DropEarly)
	if _, hello := helloOf(b); kind != kindDTLS || !hello {
		return true
	}
	if len(l.early) == maxEarly {
		l.early = l.early[1:]
	}
	l.early = append(l.early, early{append([]byte(nil), b...), from})
	return true
}

// listen lets packets in and returns the hellos that were kept.
func (l *Leg) listen() []early {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := l.early
	l.early = nil
	l.state.set(hearing)
	close(l.when.hearing)
	return kept
}

// Close ends the leg: BYE (RFC 3550 6.6), DTLS close_notify, socket. It does not wait for Run. Twice is harmless.
func (l *Leg) Close() {
	l.closing.Do(func() {
		l.bye()
		l.state.set(closed)
		close(l.when.closed)
		l.dtls.close()
		if l.cfg.Conn != nil {
			_ = l.cfg.Conn.Close() // nothing is left to do about its error
		}
	})
}

type kind uint8

const (
	kindUnknown kind = iota
	kindSTUN
	kindDTLS
	kindRTP
	kindRTCP
)

// classify reads the first octet as RFC 7983 7 does, and the second as RFC 5761 4 does.
func classify(b []byte) kind {
	switch {
	case len(b) < 2:
	case b[0] <= 3:
		return kindSTUN
	case b[0] >= 20 && b[0] <= 63:
		return kindDTLS
	case b[0] >= 128 && b[0] <= 191:
		if b[1] >= 192 && b[1] <= 223 {
			return kindRTCP
		}
		return kindRTP
	}
	return kindUnknown
}
