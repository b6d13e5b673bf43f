package as

import (
	"context"
	"errors"
	"fmt"
	"time"

	"imsafe/proto/passport"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/isc"
	"imsafe/refpoint/mr"
)

// ErrMedia says that media could not be agreed on, failed, or that there is no media server. What it wraps says which.
var ErrMedia = errors.New("as: media")

// CallKbps is what one call takes of limits.media_mbps, in kbit/s: in each direction G.711 in packets of 20 ms with the headers of RTP, UDP and
// IP and the tag, 86.4 kbit/s, and reports.
const CallKbps = 200

// media are the calls of a service whose media end here. On the shard, but for server.
type media struct {
	server mr.Server // nil: none
	calls  int
	pump   shard.Timer // runs while there are calls
}

// UseMedia gives the service a media server (servicebox/media), which it closes when it ends. Call it before Run.
func (s *Service) UseMedia(m mr.Server) { s.media.server = m }

// HasMedia says whether there is a media server, and a scope to use it for.
func (s *Service) HasMedia() bool { return s.media.server != nil && s.mediates() }

func (s *Service) mediates() bool {
	return s.rights.has(isc.MediaSend) || s.rights.has(isc.MediaReceive) || s.rights.has(isc.MediaMix)
}

// Call is a leg whose media end at the service: DTLS-SRTP with the service itself, for which the core has signed a grant. What a verb needs that
// was not granted is a *Denied.
type Call struct {
	*Leg
	channel mr.Channel
	waits   waits

	// On the shard.
	begun   bool // it counts
	secured bool
	over    bool
	inbox   *inbox
	with    *Call // it is connected to, and hung up with
}

// AnswerMedia answers a call with audio, in the place of whoever was called, and returns when the answer is acknowledged; then the keys are
// agreed on (Call.Secured). tones are frequencies that are listened for, in Hz. A call without an offer is offered audio in the answer, and has to take it in the
// acknowledgement (RFC 3261 13.2.1, 13.3.1.4). An offer below DTLS-SRTP is answered 488, media keys that the core has not vouched for 438
// (RFC 8224 6.2.2), one too many 503. It needs session.answer, and one of media.send, media.receive and media.mix.
func (s *Session) AnswerMedia(ctx context.Context, tones []float64, notes ...string) (*Call, error) {
	if err := s.svc.needs(isc.SessionAnswer); err != nil {
		return nil, err
	}
	if err := s.svc.needsMedia(); err != nil {
		return nil, err
	}
	late := len(s.Message) == 0
	c, description, err := s.openMedia(tones, late)
	if err != nil {
		return nil, s.refuseMedia(err)
	}
	if _, err := s.answer(ctx, c.Leg, description, notes); err != nil {
		s.svc.enter(c.end)
		return nil, err
	}
	if late {
		if err := c.takesLate(); err != nil {
			c.Hangup()
			return nil, err
		}
	}
	c.channel.Start()
	return c, nil
}

// takesLate takes the answer that came in the ACK. An ACK cannot be refused: what does not fit, or is not vouched for, ends the call.
func (c *Call) takesLate() error {
	var foreign bool
	if err := c.svc.do(func() error { foreign = c.foreign; return nil }); err != nil {
		return err
	}
	if foreign {
		return errUnvouched
	}
	if err := c.channel.Agree(c.Remote()); err != nil {
		return fmt.Errorf("%w: %w", ErrMedia, err)
	}
	return nil
}

// needsMedia returns a *Denied if no scope of media was granted.
func (s *Service) needsMedia() error {
	if s.mediates() {
		return nil
	}
	return s.needs(isc.MediaSend)
}

// openMedia opens a channel for a session, and returns what to answer with: an answer to its offer, or an offer.
func (s *Session) openMedia(tones []float64, late bool) (*Call, []byte, error) {
	leg := &Leg{svc: s.svc, session: s}
	if late {
		return s.svc.offerMedia(leg, tones)
	}
	if !vouchedFor(s.request, s.Message) {
		return nil, nil, errUnvouched
	}
	var answer []byte
	c, err := s.svc.openMedia(leg, tones, func(t mr.Terms) (mr.Channel, error) {
		channel, err := s.svc.media.server.Open(s.Message, t)
		if err == nil {
			answer = channel.Answer()
		}
		return channel, err
	})
	return c, answer, err
}

// offerMedia opens a channel that offers, and returns the offer.
func (s *Service) offerMedia(leg *Leg, tones []float64) (*Call, []byte, error) {
	var offer []byte
	c, err := s.openMedia(leg, tones, func(t mr.Terms) (channel mr.Channel, err error) {
		channel, offer, err = s.media.server.Offer(t)
		return channel, err
	})
	return c, offer, err
}

// openMedia makes a call of a leg, if there is room for one more.
func (s *Service) openMedia(leg *Leg, tones []float64, open func(mr.Terms) (mr.Channel, error)) (*Call, error) {
	if s.media.server == nil {
		return nil, fmt.Errorf("%w: there is no media server", ErrMedia)
	}
	c := &Call{Leg: leg}
	if err := s.do(func() error { return s.begins(c) }); err != nil {
		return nil, err
	}
	var err error
	c.channel, err = open(mr.Terms{Send: s.rights.has(isc.MediaSend), Receive: s.rights.has(isc.MediaReceive),
		Record: s.rights.has(isc.MediaRecord), Mix: s.rights.has(isc.MediaMix), Tones: tones, Tell: c.tell})
	if err != nil {
		s.enter(c.end)
		return nil, err
	}
	c.call, c.offers = c, c.channel.Reoffer
	return c, nil
}

var errUnvouched = fmt.Errorf("%w: the keys of the description are not those that the core vouches for", ErrMedia)

// vouchedFor reports whether the media keys of a description are those of the PASSporTs beside it, in m. Their signatures are the core's business, which is
// proven by the connection; that a description and what was signed fit is worth a second look. A service that knows users by pseudonyms is
// shown none, for they have names in them.
func vouchedFor(m *sip.Message, description []byte) bool {
	keys := passport.KeysOf(description)
	for v := range m.Values(sip.HdrIdentity) {
		if p, err := passport.ParseIdentity(v); err == nil && len(p.Keys) > 0 && !p.Covers(keys) {
			return false
		}
	}
	return true
}

// refuseMedia answers a call whose media cannot be had.
func (s *Session) refuseMedia(err error) error {
	code := 500
	switch {
	case errors.Is(err, errUnvouched):
		code = 438
	case errors.Is(err, mr.ErrOffer):
		code = 488
	case errors.Is(err, mr.ErrFull):
		code = 503
	}
	if refused := s.Reject(code); refused != nil {
		return refused
	}
	if !errors.Is(err, ErrMedia) {
		err = fmt.Errorf("%w: %w", ErrMedia, err)
	}
	return err
}

// begins counts a call, within limits.media_mbps. On the shard.
func (s *Service) begins(c *Call) error {
	if (s.media.calls+1)*CallKbps > s.manifest.Limits.MediaMbps*1000 {
		return mr.ErrFull
	}
	s.media.calls++
	c.begun = true
	if s.media.calls == 1 {
		s.shard.Arm(&s.media.pump, mr.FrameTime, (*pump)(s))
	}
	return nil
}

// pump is the pace of the media server.
type pump Service

// Run implements shard.Event.
func (p *pump) Run(sh *shard.Shard) {
	s := (*Service)(p)
	if s.media.calls == 0 {
		return
	}
	s.media.server.Tick(sh.Now())
	sh.Arm(&s.media.pump, mr.FrameTime, p)
}

// end is the only way out of a call's media. On the shard; twice is harmless.
func (c *Call) end() {
	if c.over {
		return
	}
	c.over = true
	if c.channel != nil {
		c.channel.Close()
	}
	if c.begun {
		c.svc.media.calls--
	}
	c.inbox.close()
	c.svc.happened(&c.waits)
	if c.with != nil {
		c.with.leave()
	}
}

// tell takes an event of the media server, from any goroutine.
func (c *Call) tell(e mr.Event) { c.svc.enter(func() { c.told(e) }) }

func (c *Call) told(e mr.Event) {
	if c.over {
		return
	}
	switch e.Kind {
	case mr.Secured:
		c.secured = true
		c.events.put(Event{Kind: Secured, Reason: e.Protection})
	case mr.Digit:
		c.events.put(Event{Kind: Info, Digit: e.Digit})
	case mr.Tone:
		c.events.put(Event{Kind: Tone, Hz: e.Hz})
	case mr.Held:
		c.events.put(Event{Kind: Held, Reason: "held"})
	case mr.Resumed:
		c.events.put(Event{Kind: Held, Reason: "resumed"})
	case mr.Lost: // a call whose media are gone is none
		c.failure = ErrMedia
		if e.Err != nil {
			c.failure = fmt.Errorf("%w: %w", ErrMedia, e.Err)
		}
		c.leave()
	}
	c.svc.happened(&c.Leg.waits)
	c.svc.happened(&c.waits)
}

// await waits for something of the call, under the shard. The end of the call ends it: ErrGone, or why the media failed.
func (c *Call) await(ctx context.Context, begin func() error, ready func() bool) error {
	met := false
	err := c.svc.await(ctx, &c.waits, begin, func() bool { met = ready(); return met || c.over })
	switch {
	case err != nil:
		return err
	case met:
		return nil
	}
	if c.failure != nil {
		return c.failure
	}
	return ErrGone
}

// Secured returns when the keys stand: from then on media flow.
func (c *Call) Secured(ctx context.Context) error {
	return c.await(ctx, func() error { return nil }, func() bool { return c.secured })
}

// Media returns what is known of the media now.
func (c *Call) Media() mr.Info { return c.channel.Info() }

// Play plays a source, in the place of what is played, and returns when it has ended: nil, or why it did not come to its end. When ctx
// ends before, it is ended. It needs media.send.
func (c *Call) Play(ctx context.Context, source mr.Source) error {
	if err := c.svc.needs(isc.MediaSend); err != nil {
		return err
	}
	var end result[error]
	err := c.await(ctx, func() error {
		return c.channel.Play(source, func(err error) { end.set(err); c.wake() })
	}, end.is)
	if err != nil {
		c.channel.Hush()
		return err
	}
	return end.value
}

// PlayOn plays a source, in the place of what is played, and does not wait for its end: until another verb. It needs media.send.
func (c *Call) PlayOn(source mr.Source) error {
	if err := c.svc.needs(isc.MediaSend); err != nil {
		return err
	}
	return c.channel.Play(source, nil)
}

// Loop sends back what is heard, until another verb. It needs media.send and media.receive.
func (c *Call) Loop() error {
	if err := errors.Join(c.svc.needs(isc.MediaSend), c.svc.needs(isc.MediaReceive)); err != nil {
		return err
	}
	return c.channel.Loop()
}

// Hush ends what is played, sent or looped.
func (c *Call) Hush() { c.channel.Hush() }

// Record keeps what is heard, for limit at most, and returns it: when it is as long, when Stop is called, or when the call ends, which is no
// error. The other end hears the recording tone. It needs media.record.
func (c *Call) Record(ctx context.Context, limit time.Duration) (*mr.Recording, error) {
	if err := c.svc.needs(isc.MediaRecord); err != nil {
		return nil, err
	}
	var kept result[*mr.Recording]
	err := c.await(ctx, func() error {
		return c.channel.Record(limit, func(r *mr.Recording) { kept.set(r); c.wake() })
	}, kept.is)
	if err != nil {
		c.channel.Stop()
		return nil, err
	}
	return kept.value, nil
}

// Stop ends Record.
func (c *Call) Stop() { c.channel.Stop() }

// wake asks those who wait for the call again, from any goroutine.
func (c *Call) wake() { c.svc.enter(func() { c.svc.happened(&c.waits) }) }
