package as

import (
	"fmt"

	"imsafe/refpoint/isc"
	"imsafe/refpoint/mr"
)

// Mix is a conference of calls of the service: each hears the sum of the others.
type Mix struct {
	svc *Service
	mix mr.Mix
}

// NewMix makes one without calls. It needs media.mix and a media server.
func (s *Service) NewMix() (*Mix, error) {
	if err := s.needs(isc.MediaMix); err != nil {
		return nil, err
	}
	if s.media.server == nil {
		return nil, fmt.Errorf("%w: there is no media server", ErrMedia)
	}
	return &Mix{s, s.media.server.NewMix()}, nil
}

// Join adds a call, in the place of what it plays. A call that ends has left. What is played to a call in a mix it hears alone, in the place of the others.
func (m *Mix) Join(c *Call) error {
	if err := m.svc.needs(isc.MediaMix); err != nil {
		return err
	}
	return m.mix.Join(c.channel)
}

// Leave takes a call out.
func (m *Mix) Leave(c *Call) { m.mix.Leave(c.channel) }

// Connect lets two calls of the service hear each other and nobody else, by a mix of the two: media go on to end at the service, with keys of each call's own,
// and with no other end each. When one is over the other is hung up. It needs media.mix.
func (c *Call) Connect(other *Call) (*Mix, error) {
	m, err := c.svc.NewMix()
	if err != nil {
		return nil, err
	}
	if err := m.Join(c); err != nil {
		return nil, err
	}
	if err := m.Join(other); err != nil {
		m.Leave(c)
		return nil, err
	}
	return m, c.svc.do(func() error {
		if c.over || other.over {
			c.leave()
			other.leave()
			return ErrGone
		}
		c.with, other.with = other, c
		return nil
	})
}
