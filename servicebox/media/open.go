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
	t.Receive, t.Send = t.Receive || t.Record || t.Mix, t.Send || t.Mix
	if !t.Receive && !t.Send {
		return nil, mr.ErrScope
	}
	if len(t.Tones) > mr.MaxTones {
		return nil, mr.ErrLength
	}
	offered, err := sdp.Parse(offer, sdp.Limits{})
	if err == nil {
		_, _, err = sdp.Answer(offered, sdp.Local{}, capabilities(&t)) // before anything is made for it
	}
	if err != nil {
		s.counters.Refused.Add(1)
		return nil, fmt.Errorf("%w: %w", mr.ErrOffer, err)
	}
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
		err = c.agree(offered)
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

// agree writes the answer.
func (c *channel) agree(offer *sdp.Session) (err error) {
	s := c.server
	c.local = sdp.Local{Version: 1, Address: c.leg.Local().Addr(), Port: c.leg.Local().Port(), Fingerprints: c.leg.Fingerprints()}
	if c.local.ID, err = s.number(); err != nil {
		return err
	}
	if c.local.TLSID, err = s.token(); err != nil {
		return err
	}
	answer, agreed, err := sdp.Answer(offer, c.local, capabilities(&c.terms))
	if err != nil {
		return fmt.Errorf("%w: %w", mr.ErrOffer, err)
	}
	law, known := g711.ByName(agreed.Codec.Name)
	if !known {
		return mr.ErrOffer
	}
	c.agreed, c.law = agreed, law
	c.ear.listen(!agreed.DTMF, c.terms.Tones)
	c.answer, err = answer.Marshal()
	return err
}

// Answer implements mr.Channel.
func (c *channel) Answer() []byte { return slices.Clone(c.answer) }

// Start implements mr.Channel.
func (c *channel) Start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.leg.Start(c.agreed) // it was agreed on; a second time changes nothing
}

// Reoffer implements mr.Channel: the association, the keys and the codec stay as they are (RFC 8842 5.5), and so does the place.
func (c *channel) Reoffer(body []byte) []byte {
	offer, err := sdp.Parse(body, sdp.Limits{})
	if err != nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
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
	out, err := answer.Marshal()
	if err != nil {
		return nil
	}
	c.local.Version++
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
