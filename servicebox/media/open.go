package media

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"imsafe/proto/g711"
	"imsafe/proto/rtpport"
	"imsafe/proto/sdp"
	"imsafe/refpoint/mr"
)

// capabilities are what a call may agree on. The floor is DTLS-SRTP, the zero value, and nothing changes it.
func capabilities(t *mr.Terms) sdp.Capabilities {
	c := sdp.Capabilities{Audio: []sdp.Codec{sdp.PCMA(), sdp.PCMU()}, DTMF: true, Direction: sdp.SendRecv}
	switch {
	case !t.Receive:
		c.Direction = sdp.SendOnly
	case !t.Send:
		c.Direction = sdp.RecvOnly
	}
	return c
}

// Open implements mr.Server.
func (s *Server) Open(offer []byte, t mr.Terms) (mr.Channel, error) {
	if err := judge(&t); err != nil {
		return nil, err
	}
	offered, err := sdp.Parse(offer, sdp.Limits{})
	if err == nil {
		_, _, err = sdp.Answer(offered, sdp.Local{}, capabilities(&t)) // before anything is made for it
	}
	if err != nil {
		s.counters.Refused.Add(1)
		return nil, fmt.Errorf("%w: %w", mr.ErrOffer, err)
	}
	c, err := s.open(t, func(c *channel) error { return c.agree(offered) })
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Offer implements mr.Server.
func (s *Server) Offer(t mr.Terms) (mr.Channel, []byte, error) {
	if err := judge(&t); err != nil {
		return nil, nil, err
	}
	var description []byte
	c, err := s.open(t, func(c *channel) (err error) {
		c.offered = sdp.NewOffer(c.local, capabilities(&c.terms))
		description, err = c.offered.Marshal()
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return c, description, nil
}

// judge fills terms: who records hears, who mixes does both. ErrScope for those that allow nothing.
func judge(t *mr.Terms) error {
	t.Receive, t.Send = t.Receive || t.Record || t.Mix, t.Send || t.Mix
	switch {
	case !t.Receive && !t.Send:
		return mr.ErrScope
	case len(t.Tones) > mr.MaxTones:
		return mr.ErrLength
	}
	return nil
}

// open makes a channel with a port and a certificate of its own; describe says what it begins with.
func (s *Server) open(t mr.Terms, describe func(*channel) error) (*channel, error) {
	pc, port, err := s.take()
	if err != nil {
		return nil, err
	}
	c := &channel{server: s, terms: t, port: port}
	cfg := rtpport.Config{Conn: pc, Clock: s.cfg.Clock, Rand: s.cfg.Rand, Receive: c.receive, Secured: c.secured, Rate: s.cfg.Rate, Profiles: s.cfg.Profiles}
	if cfg.Certificate, err = rtpport.NewCertificate(s.cfg.Rand, s.cfg.Clock.Wall()); err == nil {
		c.leg, err = rtpport.New(cfg)
	}
	if err == nil {
		err = c.place()
	}
	if err == nil {
		err = describe(c)
	}
	if err != nil {
		err = errors.Join(err, pc.Close())
		s.giveBack(port)
		return nil, err
	}
	if err := s.admit(c); err != nil {
		return nil, err
	}
	return c, nil
}

// admit puts a channel on the list and lets its leg run: it hears hellos that come early, and believes none.
func (s *Server) admit(c *channel) error {
	s.mu.Lock()
	if s.closed {
		s.free = append(s.free, c.port)
		s.mu.Unlock()
		c.leg.Close()
		return mr.ErrFull
	}
	s.channels = append(s.channels, c)
	s.counters.Open.Add(1)
	s.counters.Opened.Add(1)
	s.legs.Go(func() { c.ended(c.leg.Run(context.Background())) })
	s.mu.Unlock()
	return nil
}

// place is what this end says of itself.
func (c *channel) place() (err error) {
	s := c.server
	c.local = sdp.Local{Version: 1, Address: c.leg.Local().Addr(), Port: c.leg.Local().Port(), Fingerprints: c.leg.Fingerprints()}
	if c.local.ID, err = s.number(); err != nil {
		return err
	}
	c.local.TLSID, err = s.token()
	return err
}

// agree writes the answer.
func (c *channel) agree(offer *sdp.Session) error {
	answer, agreed, err := sdp.Answer(offer, c.local, capabilities(&c.terms))
	if err != nil {
		return fmt.Errorf("%w: %w", mr.ErrOffer, err)
	}
	if err := c.settle(agreed); err != nil {
		return err
	}
	c.answer, err = answer.Marshal()
	return err
}

// settle keeps what was agreed on.
func (c *channel) settle(agreed sdp.Agreed) error {
	law, known := g711.ByName(agreed.Codec.Name)
	if !known {
		return mr.ErrOffer
	}
	c.agreed, c.law = agreed, law
	c.ear.listen(!agreed.DTMF, c.terms.Tones)
	return nil
}

// Agree implements mr.Channel.
func (c *channel) Agree(body []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return mr.ErrGone
	case c.offered == nil:
		return mr.ErrBusy
	}
	answer, err := sdp.Parse(body, sdp.Limits{})
	var agreed sdp.Agreed
	if err == nil {
		agreed, err = sdp.Match(c.offered, answer, capabilities(&c.terms))
	}
	if err == nil {
		err = c.settle(agreed)
	}
	if err != nil {
		c.server.counters.Refused.Add(1)
		return fmt.Errorf("%w: %w", mr.ErrOffer, err)
	}
	c.offered = nil
	return nil
}

// Answer implements mr.Channel.
func (c *channel) Answer() []byte { return slices.Clone(c.answer) }

// Start implements mr.Channel.
func (c *channel) Start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.offered == nil { // before it is answered there is nobody to talk to
		_ = c.leg.Start(c.agreed) // it was agreed on; a second time changes nothing
	}
}

// Reoffer implements mr.Channel: the association, the keys and the codec stay as they are (RFC 8842 5.5), and so does the place.
func (c *channel) Reoffer(body []byte) []byte {
	offer, err := sdp.Parse(body, sdp.Limits{})
	if err != nil {
		return nil
	}
	c.mu.Lock()
	defer c.unlock()
	if c.offered != nil {
		return nil
	}
	l := c.local
	l.Version++
	l.Setup = sdp.Active
	if c.agreed.Role == sdp.DTLSServer {
		l.Setup = sdp.Passive
	}
	answer, g, err := sdp.Answer(offer, l, capabilities(&c.terms))
	if err != nil || !c.stays(&g) {
		return nil
	}
	c.recorder.indicate(answer)
	out, err := answer.Marshal()
	if err != nil {
		return nil
	}
	c.local.Version++
	switch {
	case c.agreed.Send && !g.Send:
		c.tell(mr.Event{Kind: mr.Held})
	case !c.agreed.Send && g.Send:
		c.tell(mr.Event{Kind: mr.Resumed})
	}
	c.agreed.Send, c.agreed.Receive = g.Send, g.Receive
	c.leg.Hold(g.Send, g.Receive)
	return out
}

// stays reports whether a new agreement is about the same media.
func (c *channel) stays(g *sdp.Agreed) bool {
	a := &c.agreed
	return (g.Remote == a.Remote || g.Remote.Addr().IsUnspecified()) && g.Keying == a.Keying && g.Role == a.Role && g.SendPT == a.SendPT &&
		g.DTMF == a.DTMF && g.RecvDTMF == a.RecvDTMF && g.RemoteTLSID == a.RemoteTLSID && slices.Equal(g.Fingerprints, a.Fingerprints)
}
