package diameter

import (
	"bytes"
	"crypto/tls"
	"strings"

	"imsafe/proto/shard"
)

// Grammars of the base protocol (RFC 6733 5.3.1, 5.3.2, 5.4, 5.5, 7.2).
var (
	grammarCER = Grammar{{OriginHost, 1, 1}, {OriginRealm, 1, 1}, {HostIPAddress, 1, 0}, {VendorID, 1, 1}, {ProductName, 1, 1},
		{OriginStateID, 0, 1}, {SupportedVendorID, 0, 0}, {AuthApplicationID, 0, 0}, {InbandSecurityID, 0, 0},
		{AcctApplicationID, 0, 0}, {VendorSpecificApplicationID, 0, 0}, {FirmwareRevision, 0, 1}}
	grammarCEA   = append(Grammar{{ResultCode, 1, 1}, {ErrorMessage, 0, 1}, {FailedAVP, 0, 1}}, grammarCER...)
	grammarDWR   = Grammar{{OriginHost, 1, 1}, {OriginRealm, 1, 1}, {OriginStateID, 0, 1}}
	grammarError = Grammar{{SessionID, 0, 1}, {OriginHost, 1, 1}, {OriginRealm, 1, 1}, {ResultCode, 1, 1}, {ExperimentalResult, 0, 1}, {OriginStateID, 0, 1},
		{ErrorMessage, 0, 1}, {ErrorReportingHost, 0, 1}, {FailedAVP, 0, 0}, {RedirectHost, 0, 0}, {RedirectHostUsage, 0, 1}, {RedirectMaxCacheTime, 0, 1},
		{AuthSessionState, 0, 1}, {VendorSpecificApplicationID, 0, 1}}
	grammarDPR = Grammar{{OriginHost, 1, 1}, {OriginRealm, 1, 1}, {DisconnectCause, 1, 1}}
)

// established is what a connection reports when it stands: TLS, if any, is done.
type established struct {
	c   *conn
	tls *tls.ConnectionState
}

// Run implements shard.Event.
func (e *established) Run(*shard.Shard) {
	c := e.c
	if c.state != stateConnecting {
		return // too late
	}
	c.tls = e.tls
	c.secure = VerifyTLS(e.tls) == 0
	name := ""
	if c.peer != nil {
		name = c.peer.cfg.Host
	}
	// Nobody whom TLS does not vouch for gets as far as his CER. Without TLS it depends on who it is.
	if reason := VerifyTLS(e.tls); reason != 0 && reason != ReasonCleartext && c.n.refuse(Refusal{Reason: reason, Peer: name}) {
		c.kill(&c.n.n.RefusedPeer)
		return
	}
	if !c.dialled {
		c.state = stateWaitCER
		return
	}
	c.state = stateWaitCEA
	c.send(c.n.appendCapabilities(nil, Header{Flags: FlagRequest, Command: CER, HopByHop: c.n.random.Uint32(),
		EndToEnd: c.n.endToEnd.Add(1)}, 0, nil))
}

// appendCapabilities encodes a CER, or with a result a CEA.
func (n *Node) appendCapabilities(dst []byte, h Header, r Result, bad []byte) []byte {
	w := Begin(dst, h)
	if r != 0 {
		w.Unsigned32(ResultCode, uint32(r))
	}
	w.Text(OriginHost, n.cfg.Host)
	w.Text(OriginRealm, n.cfg.Realm)
	for _, a := range n.cfg.Addresses {
		w.Address(HostIPAddress, a)
	}
	w.Unsigned32(VendorID, n.cfg.Vendor)
	w.Text(ProductName, n.cfg.Product)
	if n.cfg.OriginState != 0 {
		w.Unsigned32(OriginStateID, n.cfg.OriginState)
	}
	if len(bad) > 0 {
		w.Open(FailedAVP)
		w.Raw(bad)
		w.Close()
	}
	vendors := map[uint32]bool{0: true}
	for i := range n.cfg.Applications {
		if v := n.cfg.Applications[i].Vendor; !vendors[v] {
			vendors[v] = true
			w.Unsigned32(SupportedVendorID, v)
		}
	}
	for i := range n.cfg.Applications {
		if n.cfg.Applications[i].Vendor == 0 {
			w.Unsigned32(AuthApplicationID, uint32(n.cfg.Applications[i].ID))
		}
	}
	w.Unsigned32(InbandSecurityID, 0) // NO_INBAND_SECURITY: TLS is there from the start or not at all (RFC 6733 6.10)
	for i := range n.cfg.Applications {
		if a := &n.cfg.Applications[i]; a.Vendor != 0 {
			w.Open(VendorSpecificApplicationID)
			w.Unsigned32(VendorID, a.Vendor)
			w.Unsigned32(AuthApplicationID, uint32(a.ID))
			w.Close()
		}
	}
	if n.cfg.Firmware != 0 {
		w.Unsigned32(FirmwareRevision, n.cfg.Firmware)
	}
	b, _ := w.End() // its size is that of the configuration
	return b
}

// receiveCER is the responder's part (RFC 6733 5.3, 5.6). Nothing is kept of a peer that is refused.
func (c *conn) receiveCER(m Message) {
	if !m.IsRequest() || m.Command() != CER || m.Application() != AppCommon || m.Flags()&FlagError != 0 {
		c.kill(&c.n.n.ClosedCapabilities)
		return
	}
	p, f := c.judgeCER(m)
	if f != nil {
		c.n.n.RefusedPeer.Add(1)
		c.answerCER(m, f.Result, f.Failed)
		c.finish()
		return
	}
	if !c.elect(m, p) {
		return
	}
	c.peer = p
	c.answerCER(m, ResultSuccess, nil)
	if c.state != stateDead {
		p.opened(c)
	}
}

func (c *conn) answerCER(m Message, r Result, bad []byte) {
	h := Header{Command: CER, HopByHop: m.HopByHop(), EndToEnd: m.EndToEnd()}
	if r.Protocol() {
		h.Flags = FlagError
	}
	c.send(c.n.appendCapabilities(nil, h, r, bad))
}

// judgeCER says who it is, or why not.
func (c *conn) judgeCER(m Message) (*peer, *Fault) {
	if f := m.Check(grammarCER); f != nil {
		return nil, f
	}
	host := m.Identity(OriginHost)
	p := c.n.byHost[strings.ToLower(string(host))]
	if p == nil {
		return nil, &Fault{Result: ResultUnknownPeer}
	}
	if f := c.verify(p, m); f != nil {
		return nil, f
	}
	if c.tls == nil && !offersNoSecurity(m) {
		return nil, &Fault{Result: ResultNoCommonSecurity}
	}
	if c.readCapabilities(m); len(c.apps) == 0 && !c.relay {
		return nil, &Fault{Result: ResultNoCommonApplication}
	}
	return p, nil
}

// verify compares who the message says it is with who TLS says it is, and with the configuration.
func (c *conn) verify(p *peer, m Message) *Fault {
	host := string(m.Identity(OriginHost))
	if c.tls == nil && !p.cfg.Cleartext && c.n.refuse(Refusal{Reason: ReasonCleartext, Peer: p.cfg.Host}) {
		return &Fault{Result: ResultNoCommonSecurity}
	}
	reason := Reason(0)
	if c.tls != nil && len(c.tls.PeerCertificates) > 0 {
		reason = VerifyOriginHost(c.tls.PeerCertificates[0], host)
	}
	if !strings.EqualFold(host, p.cfg.Host) {
		reason = ReasonOriginHost
	}
	if reason != 0 {
		c.secure = false // whatever the laboratory lets pass
		if c.n.refuse(Refusal{Reason: reason, Peer: p.cfg.Host, Claimed: host}) {
			return &Fault{Result: ResultUnknownPeer}
		}
	}
	if !bytes.EqualFold(m.Identity(OriginRealm), []byte(p.cfg.Realm)) {
		return &Fault{Result: ResultUnknownPeer}
	}
	return nil
}

// offersNoSecurity reads Inband-Security-Id; none means NO_INBAND_SECURITY (RFC 6733 6.10).
func offersNoSecurity(m Message) bool {
	none := true
	for a := range m.AVPs().All() {
		if a.ID() == InbandSecurityID {
			if v, _ := a.Unsigned32(); v == 0 {
				return true
			}
			none = false
		}
	}
	return none
}

// readCapabilities notes which of our applications the peer has too (RFC 6733 5.3).
func (c *conn) readCapabilities(m Message) {
	c.apps, c.relay = map[Application]bool{}, false
	note := func(a AVP) {
		v, _ := a.Unsigned32()
		app := Application(v)
		c.relay = c.relay || app == AppRelay
		if c.n.apps[app] != nil {
			c.apps[app] = true
		}
	}
	for a := range m.AVPs().All() {
		switch a.ID() {
		case AuthApplicationID:
			note(a)
		case VendorSpecificApplicationID:
			for g := range a.Group().All() {
				if g.ID() == AuthApplicationID {
					note(g)
				}
			}
		case ProductName:
			c.product = string(a.Data[:min(len(a.Data), 64)])
		}
	}
}

// elect decides between two connections with one peer (RFC 6733 5.6.4) and says whether c stays. A peer that is in service keeps
// its connection: a second one may be somebody's attempt to take its place. But it is asked at once whether it is still there, so
// that a peer which restarted silently comes back after Tw.
func (c *conn) elect(m Message, p *peer) bool {
	switch {
	case p.conn != nil:
		c.n.n.Elections.Add(1)
		c.n.n.RefusedPeer.Add(1)
		c.kill(&c.n.n.ClosedLocal)
		if p.conn.state == stateOpen && !p.conn.dwaPending {
			p.conn.sendDWR()
		}
		return false
	case p.dialled != nil:
		c.n.n.Elections.Add(1)
		if p.dialled.state == stateWaitCEA && strings.ToLower(c.n.cfg.Host) < strings.ToLower(p.cfg.Host) {
			c.kill(&c.n.n.ClosedLocal) // the peer has won: the connection that we opened stays
			return false
		}
		p.dialled.kill(&c.n.n.ClosedLocal)
	}
	return true
}

// receiveCEA is the initiator's part.
func (c *conn) receiveCEA(m Message) {
	if m.IsRequest() || m.Command() != CER {
		c.kill(&c.n.n.ClosedCapabilities)
		return
	}
	p := c.peer
	if f := m.Check(grammarCEA); f != nil {
		c.kill(&c.n.n.RefusedPeer)
		return
	}
	if r, _, _ := ResultOf(m); r != ResultSuccess && r != ResultLimitedSuccess {
		c.kill(&c.n.n.RefusedPeer)
		return
	}
	host := m.Identity(OriginHost)
	if !strings.EqualFold(string(host), p.cfg.Host) || c.verify(p, m) != nil {
		c.kill(&c.n.n.RefusedPeer)
		return
	}
	if c.readCapabilities(m); len(c.apps) == 0 && !c.relay {
		c.kill(&c.n.n.RefusedPeer)
		return
	}
	p.opened(c)
}
