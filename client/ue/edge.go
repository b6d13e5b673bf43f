package ue

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
)

// A client knows several P-CSCFs (TS 24.229 9.2.1; RFC 3263 4.3), and goes on at the next when the one that it registered with is not there any more
// (5.1.1.2.1, 5.1.1.4.1). It stays there: to go back when the first is up again would be one more registration for nothing. Where none is there it
// looks for others, if it was told how.

// ErrLost ends the calls of a client whose P-CSCF is not there any more, or knows it no more: those that ring at once, those that stand when the other end falls silent.
var ErrLost = errors.New("ue: the P-CSCF is lost")

// edge is a P-CSCF.
type edge struct {
	at     netip.AddrPort
	barred time.Duration // until when it is not asked, since it has said so itself
}

func edges(all []netip.AddrPort) (list []edge) {
	for _, at := range all {
		list = append(list, edge{at: at})
	}
	return list
}

// proxy is the P-CSCF of now.
func (p *path) proxy() netip.AddrPort { return p.edges[p.at].at }

// elsewhere turns to the next P-CSCF that may be asked now, of which there may be but one. What was agreed on with the one before is over. It is
// false if none may be asked.
func (p *path) elsewhere() bool {
	for i := range p.edges {
		if at := (p.at + 1 + i) % len(p.edges); p.edges[at].barred <= p.u.shard.Now() {
			p.turn(at)
			return true
		}
	}
	return false
}

// turn leaves a P-CSCF for another, or begins anew with it.
func (p *path) turn(at int) {
	p.drop()
	p.at = at
	p.flow, p.open = siptransport.Flow{}, false
	p.u.shard.Disarm(&p.ping)
	p.u.shard.Disarm(&p.deaf)
	p.u.forsake()
	if p.datagrams == nil {
		return
	}
	flow := p.datagrams.Flow(p.proxy())
	if p.sec != nil {
		p.clear = flow
	} else {
		p.flow, p.open = flow, true
	}
}

// stands reports whether there is something between client and P-CSCF that the other end may have forgotten: a connection, or security associations.
func (p *path) stands() bool { return p.open && (p.sec != nil || p.datagrams == nil) }

// bar takes down that the present P-CSCF wants to be left alone for a while.
func (p *path) bar(d time.Duration) { p.edges[p.at].barred = p.u.shard.Now() + d }

// barred is how long no P-CSCF may be asked, 0 if there is one.
func (p *path) barred() time.Duration {
	first := slices.MinFunc(p.edges, func(a, b edge) int { return int(a.barred - b.barred) })
	return max(first.barred-p.u.shard.Now(), 0)
}

// discover looks for P-CSCFs anew when none that is known is there (TS 24.229 5.1.1.2.1, 9.2.1), and reports whether there are others than were known.
func (p *path) discover(t *shard.Task) bool {
	u := p.u
	if u.cfg.Discover == nil {
		return false
	}
	ctx, cancel := context.WithCancel(u.ctx)
	defer cancel()
	var found []netip.AddrPort
	late := t.AwaitFor(connecting, func(w shard.Waker) {
		u.wg.Go(func() {
			list, err := u.cfg.Discover(ctx)
			u.post(func() {
				if err != nil {
					u.log.Warn("no P-CSCF is found", "error", err)
				}
				found = list
				w.Wake()
			})
		})
	})
	if late || len(found) == 0 || !u.cfg.admits(found) || slices.EqualFunc(found, p.edges, func(at netip.AddrPort, e edge) bool { return at == e.at }) {
		return false
	}
	p.edges, p.at = edges(found), 0
	p.turn(0)
	return true
}

// forsake is for the calls that went over a path which is there no more. One that rings ends: the network has cancelled it, or will, and this end cannot be told. One
// that stands goes on as long as the other end is heard: its media need no signalling (docs/decisions/041), and who talks is not cut off because a P-CSCF starts again.
func (u *UE) forsake() {
	list := make([]*Call, 0, len(u.calls))
	for _, c := range u.calls {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *Call) int { return bytes.Compare([]byte(a.dialog.localTag), []byte(b.dialog.localTag)) })
	for _, c := range list {
		if c.phase == standing {
			c.orphaned()
		} else {
			c.end(Event{Reason: "the P-CSCF is lost", Err: ErrLost})
		}
	}
}

// silentFor is how long the other end of a call may be silent whose signalling is gone: then it has been released there.
const silentFor = 5 * time.Second

// orphaned ends a call whose signalling is gone when nothing has come from the other end for a while.
func (c *Call) orphaned() {
	heard := c.Media().PacketsIn
	c.u.shard.Arm(&c.alone, silentFor, shard.EventFunc(func(*shard.Shard) {
		if c.Media().PacketsIn != heard {
			c.orphaned()
			return
		}
		c.end(Event{Reason: "the P-CSCF is lost", Err: ErrLost})
	}))
}

// isGone reports whether an error says that there is nobody at the P-CSCF's address who speaks with us.
func isGone(err error) bool {
	return errors.Is(err, ErrConnect) || errors.Is(err, siptxn.ErrTimeout) || errors.Is(err, siptxn.ErrTransport)
}

// leaves reports whether what a registration has come to is a reason to try it at another P-CSCF (TS 24.229 5.1.1.2.1): none is there, it wants another to be
// used (whose name in the answer is not followed), or it cannot serve now. While a binding stands a busy P-CSCF is waited for: calls go over it.
func (r *registrar) leaves(err error) bool {
	var status *StatusError
	switch {
	case isGone(err):
		return true
	case !errors.As(err, &status):
		return false
	case status.Code == 503 && (r.current.State != Registered || r.u.shard.Now() >= r.until):
		r.u.path.bar(max(status.Again, flowBase))
		return true
	}
	return status.Code == 305
}

// deserted leaves a P-CSCF that has let an INVITE wait without so much as a 100: timer B has run out (TS 24.229 5.1.1.4.1, as for timer F).
func (r *registrar) deserted(err error) {
	if !r.idle() {
		return
	}
	if !r.u.path.elsewhere() {
		r.u.path.turn(r.u.path.at)
	}
	r.moves(err)
	r.schedule(r.jitter(recovery))
}

// doubts asks a P-CSCF by a REGISTER whether it is there still, after another request had no answer: that may have been lost beyond it.
func (r *registrar) doubts() {
	if r.idle() {
		r.schedule(0)
	}
}

// idle reports whether there is a registration to be kept up, and nothing under way for it. When Run ends there is none: its sockets end with it.
func (r *registrar) idle() bool {
	return r.wanted && !r.running && r.current.State == Registered && r.u.ctx.Err() == nil
}

// moves tells that another P-CSCF is asked, and why.
func (r *registrar) moves(err error) {
	r.change(func(c *Registration) {
		if c.State == Registered {
			c.State = Registering
		}
		c.Proxy, c.Err = r.u.path.proxy(), err
	})
}

// restores begins an initial registration if a response says that who serves us is not there (TS 24.229 5.1.2A.1.6; TS 23.380 4.4). It is believed if it
// is asserted by the P-CSCF of our own Path, or by who stands in our Service-Route.
func (u *UE) restores(m *sip.Message) {
	r := &u.reg
	if m.Status() != 504 || !r.idle() || !asksRegistration(m) {
		return
	}
	by, err := sip.ParseNameAddr(m.Get(sip.HdrPAssertedIdentity))
	if err != nil || !slices.Contains(r.path, string(by.URI)) && !slices.Contains(r.current.ServiceRoute, string(by.URI)) {
		return
	}
	r.anew = true
	r.change(func(c *Registration) {
		c.State, c.Err = Registering, fmt.Errorf("%w (who serves the user is not there)", statusError(m))
	})
	r.schedule(r.jitter(recovery))
}

// asksRegistration reads the body of a 504 (TS 24.229 7.6).
func asksRegistration(m *sip.Message) bool {
	kind, _, _ := bytes.Cut(m.Get(sip.HdrContentType), []byte{';'})
	if !bytes.EqualFold(bytes.TrimSpace(kind), []byte("application/3gpp-ims+xml")) {
		return false
	}
	var body struct {
		Service struct {
			Type   string `xml:"type"`
			Action string `xml:"action"`
		} `xml:"alternative-service"`
	}
	err := xml.Unmarshal(m.Body(), &body)
	return err == nil && body.Service.Type == "restoration" && body.Service.Action == "initial-registration"
}

// Pong implements siptransport.Ponger.
func (p *path) Pong(siptransport.Flow) { p.u.shard.Disarm(&p.deaf) }

// listensForPong ends a connection whose ping has no answer in time: it has failed (RFC 5626 4.4.1).
func (p *path) listensForPong(f siptransport.Flow) {
	p.u.shard.Arm(&p.deaf, pongWithin, shard.EventFunc(func(*shard.Shard) {
		if f == p.flow && p.open {
			p.drop()
		}
	}))
}
