package attack

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"imsafe/proto/sip"
)

// counter counts what comes over sockets of the attacker. Safe for concurrent use.
type counter struct {
	mu     sync.Mutex
	n      int
	octets int
	more   chan struct{} // closed with the next that comes; nil if nobody waits
}

func (c *counter) add(octets int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	c.octets += octets
	if c.more != nil {
		close(c.more)
		c.more = nil
	}
}

// seen returns how many there were so far, and their octets.
func (c *counter) seen() (n, octets int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n, c.octets
}

// until waits until there are n, or ctx ends.
func (c *counter) until(ctx context.Context, n int) error {
	for {
		c.mu.Lock()
		if c.n >= n {
			c.mu.Unlock()
			return nil
		}
		if c.more == nil {
			c.more = make(chan struct{})
		}
		more := c.more
		c.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// from counts the datagrams that come to a socket until it is closed.
func (c *counter) from(conn net.PacketConn) {
	buffer := make([]byte, 65535)
	for {
		n, _, err := conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		c.add(n)
	}
}

// packets counts the datagrams of a socket until it is closed.
func (c *counter) packets(conn net.Conn) {
	buf := make([]byte, 65536)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		c.add(n)
	}
}

func isFinal(m *sip.Message) bool { return !m.IsRequest() && m.Status() >= 200 }

// answeredBy is answered, and keeps the answer in m.
func (h *Hand) answeredBy(ctx context.Context, request string, m **sip.Message) (status int, err error) {
	return h.answeredByWithin(ctx, soon/3, request, m)
}

// answeredWithin is answered with a bound of its own: for an answer that must come.
func (h *Hand) answeredWithin(ctx context.Context, wait time.Duration, request string) (status int, err error) {
	var m *sip.Message
	return h.answeredByWithin(ctx, wait, request, &m)
}

func (h *Hand) answeredByWithin(ctx context.Context, wait time.Duration, request string, m **sip.Message) (status int, err error) {
	err = within(ctx, wait, func(ctx context.Context) (err error) {
		*m, err = h.Ask(ctx, request)
		return err
	})
	if errors.Is(err, ErrSilence) && ctx.Err() == nil {
		return 0, nil
	}
	return statusOf(*m), err
}
