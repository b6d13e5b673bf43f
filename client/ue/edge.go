package ue

import (
	"encoding/xml"
	"errors"
	"net/netip"
	"slices"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
)

// A client knows several P-CSCFs (TS 24.229 9.2.1; RFC 3263 4.3), and goes on at the next when the one that it registered with is not there any more. It
// stays there: to go back when the first is up again would be one more registration for nothing.

// proxy is the P-CSCF of now.
func (p *path) proxy() netip.AddrPort { return p.proxies[p.at] }

// elsewhere turns to the next P-CSCF. What was agreed on with the one before is over.
func (p *path) elsewhere() {
	p.drop()
	p.at = (p.at + 1) % len(p.proxies)
	p.flow, p.open = siptransport.Flow{}, false
	p.u.shard.Disarm(&p.ping)
	p.u.shard.Disarm(&p.deaf)
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

// isGone reports whether an error says that there is nobody at the P-CSCF's address who speaks with us.
func isGone(err error) bool {
	return errors.Is(err, ErrConnect) || errors.Is(err, siptxn.ErrTimeout) || errors.Is(err, siptxn.ErrTransport)
}

// restores begins an initial registration if a response says that who serves us is not there (TS 24.229 5.1.2A.1.6; TS 23.380 4.4). It is believed if it
// is asserted by the P-CSCF of our own Path.
func (u *UE) restores(m *sip.Message) {
	r := &u.reg
	if m.Status() != 504 || r.current.State != Registered || r.running || !r.wanted || !asksRegistration(m) {
		return
	}
	by, err := sip.ParseNameAddr(m.Get(sip.HdrPAssertedIdentity))
	if err != nil || !slices.Contains(r.path, string(by.URI)) {
		return
	}
	r.change(func(c *Registration) { c.State, c.Err = Registering, statusError(m) })
	r.schedule(r.jitter(recovery))
}

// asksRegistration reads the body of a 504 (TS 24.229 7.6).
func asksRegistration(m *sip.Message) bool {
	if string(m.Get(sip.HdrContentType)) != "application/3gpp-ims+xml" {
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
