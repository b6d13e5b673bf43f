package attack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"imsafe/client/isim"
	"imsafe/client/ue"
)

// Party is an honest user with a real client: the ears and eyes outside the target.
type Party struct {
	*User
	UE       *ue.UE
	calls    chan *ue.Call
	messages chan ue.Message
	ended    chan struct{}
	asserted bool // the network says who writes to him, and need not be believed on the word of From
}

// heardAtMost bounds what a party keeps of what it was not asked for yet.
const heardAtMost = 256

// party makes the client of a user and runs it until ctx ends. change may change what it is made of.
func (f *Field) party(ctx context.Context, name string, change func(*ue.Config)) (*Party, error) {
	u := f.Users[name]
	if u == nil {
		return nil, fmt.Errorf("attack: the target has no subscriber %q", name)
	}
	p := &Party{User: u, calls: make(chan *ue.Call, heardAtMost), messages: make(chan ue.Message, heardAtMost),
		ended: make(chan struct{}), asserted: !f.Passwords()}
	c := ue.Config{Proxy: f.TLS, RootCAs: f.Roots, ServerName: f.ServerName(), Certificate: f.Certificate, Clock: f.Clock, Rand: f.Random,
		ListenPacket: f.honest.ListenPacket, OnCall: p.rings, OnMessage: p.reads}
	var err error
	switch f.access {
	case IPsec:
		c.Transport, c.Proxy, c.IPsec.NATPort, c.RootCAs, c.ServerName = ue.IPsecUDP, f.Gm, f.NAT.Port(), nil, ""
	case UDP, TCP:
		if err = f.unprotected(ctx, &c); err != nil {
			return nil, err
		}
	}
	if f.Passwords() {
		f.plainly(&c, u)
	} else if u.Password != "" {
		c.Password = &ue.Password{Identity: isim.Identity{IMPI: u.IMPI, HomeDomain: f.Domain, IMPUs: []string{u.IMPU}}, Secret: ue.Secret(u.Password)}
	} else if c.Card, err = f.card(u); err != nil {
		return nil, err
	}
	if change != nil {
		change(&c)
	}
	if p.UE, err = ue.New(c); err != nil {
		return nil, err
	}
	f.parties = append(f.parties, p)
	go func() {
		defer close(p.ended)
		_ = p.UE.Run(ctx) // what it could not do shows in the baseline
	}()
	return p, nil
}

// unprotected makes c a telephone that has neither TLS nor IPsec towards a foreign target.
func (f *Field) unprotected(ctx context.Context, c *ue.Config) error {
	c.Lab, c.PlainRTP, c.ContactInMessages, c.Transport, c.Proxy, c.Scheme, c.RootCAs, c.ServerName = true, true, true, ue.UDP, f.edge(), f.Scheme, nil, ""
	c.Dial = func(ctx context.Context, peer netip.AddrPort) (net.Conn, error) {
		return f.honest.Dial(ctx, "tcp", netip.Addr{}, peer)
	}
	if f.access == TCP {
		c.Transport = ue.TCP
	}
	towards, err := f.honest.Dial(ctx, "udp", netip.Addr{}, f.edge()) // nothing is sent: it tells which address of this host leads there
	if err != nil {
		return err
	}
	defer func() { _ = towards.Close() }()
	local, err := netip.ParseAddrPort(towards.LocalAddr().String())
	c.Local = local.Addr()
	return err
}

// rings takes a call that comes in. It is not answered before somebody asks for it.
func (p *Party) rings(c *ue.Call) {
	select {
	case p.calls <- c:
	default:
		c.Reject(486)
	}
}

func (p *Party) reads(m ue.Message) {
	select {
	case p.messages <- m:
	default: // the runner looks at the first
	}
}

// Hears waits for the message with this text; others before it are dropped.
func (p *Party) Hears(ctx context.Context, text string) (ue.Message, error) {
	for {
		select {
		case m := <-p.messages:
			if string(m.Body) == text {
				return m, nil
			}
		case <-ctx.Done():
			return ue.Message{}, fmt.Errorf("%s does not hear %q: %w", p.Name, text, ctx.Err())
		}
	}
}

// Rung waits for a call.
func (p *Party) Rung(ctx context.Context) (*ue.Call, error) {
	select {
	case c := <-p.calls:
		return c, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%s is not called: %w", p.Name, ctx.Err())
	}
}

// RungBy returns the waiting call that claims to be of from, and drops the others; nil if there is none now.
func (p *Party) RungBy(from string) *ue.Call {
	for {
		select {
		case c := <-p.calls:
			if who, _ := c.Peer(); who == from {
				return c
			}
			c.Reject(486)
		default:
			return nil
		}
	}
}

// reachable is how long an honest message may take, of the time that the machine gives.
const reachable = time.Second

// Reaches reports whether a message of p arrives at q, and as whose; text is unique. An error is why it did not.
func (p *Party) Reaches(ctx context.Context, q *Party, text string) error {
	ctx, cancel := Bounded(ctx, reachable)
	defer cancel()
	if err := p.UE.SendMessage(ctx, q.IMPU, "text/plain", []byte(text)); err != nil {
		return fmt.Errorf("%s cannot reach %s: %w", p.Name, q.Name, err)
	}
	m, err := q.Hears(ctx, text)
	if err != nil {
		return err
	}
	if m.From != p.IMPU || q.asserted && !m.Asserted {
		return fmt.Errorf("%s hears %s as %s, asserted by the network: %v", q.Name, p.Name, m.From, m.Asserted)
	}
	return nil
}

// Talk lets p call q; both must have secured media. The calls stand when it returns without an error.
func (p *Party) Talk(ctx context.Context, q *Party) (out, in *ue.Call, err error) {
	if out, err = p.UE.Call(ctx, q.IMPU, ue.Voice{}); err != nil {
		return nil, nil, fmt.Errorf("%s cannot call: %w", p.Name, err)
	}
	if in, err = q.Rung(ctx); err != nil {
		return nil, nil, errors.Join(err, unanswered(out))
	}
	in.Ring()
	if _, err = out.Until(ctx, ue.Ringing); err == nil {
		in.Answer(ue.Voice{})
		_, first := out.Until(ctx, ue.Secured)
		_, second := in.Until(ctx, ue.Secured)
		err = errors.Join(first, second)
	}
	if err != nil {
		out.Hangup()
		in.Hangup()
		return nil, nil, fmt.Errorf("%s and %s do not get a call: %w", p.Name, q.Name, err)
	}
	return out, in, nil
}

// unanswered gives a call up that has not rung. If the network has ended it, the error says how.
func unanswered(out *ue.Call) error {
	select {
	case <-out.Done():
		return out.Result().Err
	default:
		out.Hangup()
		return nil
	}
}

// Part ends a call and waits until it is over at both ends.
func Part(ctx context.Context, out, in *ue.Call) error {
	out.Hangup()
	for _, c := range []*ue.Call{out, in} {
		select {
		case <-c.Done():
			if end := c.Result(); end.Err != nil {
				return fmt.Errorf("the call ended with: %w", end.Err)
			}
		case <-ctx.Done():
			return fmt.Errorf("the call does not end: %w", ctx.Err())
		}
	}
	return nil
}

// Quiet drops every call that waits at p: what an attack has left there is no part of what comes next.
func (p *Party) Quiet() {
	for {
		select {
		case c := <-p.calls:
			c.Reject(486)
		default:
			return
		}
	}
}

// Next waits for the next message, whatever it says.
func (p *Party) Next(ctx context.Context) (ue.Message, error) {
	select {
	case m := <-p.messages:
		return m, nil
	case <-ctx.Done():
		return ue.Message{}, fmt.Errorf("%s hears nothing: %w", p.Name, ctx.Err())
	}
}
