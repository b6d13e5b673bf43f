package ue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"imsafe/proto/aka"
	"imsafe/proto/esp"
	"imsafe/proto/espnet"
	"imsafe/proto/secagree"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
)

// IPsec is how a client with a card protects its signalling: inside security associations with the P-CSCF (TS 33.203 7, Annexes H and
// M). Its zero value is the strict one: AES-GCM, in UDP.
type IPsec struct {
	// Profile is what the client can, best first; without suites it is strict. It never agrees on anything else.
	Profile secagree.Profile
	// Raw opens ESP on IP at an address of ours: it needs CAP_NET_RAW. nil: ESP goes in UDP (Annex M), which needs no privilege.
	Raw func(local netip.Addr) (esp.Wire, error)
	// NATPort is where the P-CSCF receives ESP in UDP; 0 means 4500.
	NATPort uint16
	// Only leaves out the other way where Raw is given: nothing is offered but ESP on IP.
	RawOnly bool
}

// Why a security agreement is not made. None of these leads to a weaker attempt.
var (
	ErrAgreement = errors.New("ue: the network's half of the security agreement is not acceptable")
	ErrESP       = errors.New("ue: no way for ESP")
)

// keepAliveEvery keeps a NAT's binding for ESP in UDP (RFC 3948 4).
const keepAliveEvery = 20 * time.Second

// associations are the client's half of ipsec-3gpp. On the shard.
type associations struct {
	u       *UE
	engine  *esp.Engine
	tcp     *espnet.Stack
	served  netip.AddrPort // where TCP is listened on
	fronts  map[secagree.Mode]*esp.Front
	local   netip.Addr // of our sockets
	public  netip.Addr // as the P-CSCF sees us (TS 33.203 M.7.1)
	server  uint16     // our protected server port: it stays
	client  uint16     // the last protected client port: each authentication takes another (TS 33.203 7.4)
	offered secagree.List

	fresh, current, former *agreed
	forget, keep           shard.Timer
}

// agreed is one set of four associations, and the sender of what goes through it.
type agreed struct {
	front  *esp.Front
	ref    esp.Ref
	local  netip.AddrPort // our protected server port
	peer   netip.AddrPort // the P-CSCF's
	server secagree.List  // its Security-Server
	chosen secagree.Entry
	stream siptransport.Flow // the connection that we opened over it, if there is one
	deaf   bool              // none can be opened
}

var _ siptransport.Sender = (*agreed)(nil)

// SendTo implements siptransport.Sender: over UDP all leaves from the protected client port, responses too (TS 33.203 7.1).
func (s *agreed) SendTo(_ netip.AddrPort, b []byte) error { return s.front.Send(s.ref, esp.Client, b) }

// Reliable implements siptransport.Sender.
func (s *agreed) Reliable() bool { return false }

// Proto implements siptransport.Sender.
func (s *agreed) Proto() string { return "UDP" }

// Local implements siptransport.Sender.
func (s *agreed) Local() netip.AddrPort { return s.local }

func (s *agreed) flow() siptransport.Flow { return siptransport.Flow{Via: s, Peer: s.peer} }

// openAssociations opens what carries ESP.
func (u *UE) openAssociations(local netip.Addr) (*associations, error) {
	s := &associations{u: u, engine: esp.New(esp.Config{Random: u.cfg.Rand}), fronts: map[secagree.Mode]*esp.Front{}, local: local, public: local}
	var err error
	if s.tcp, err = espnet.New(s.engine, espnet.Config{Random: u.cfg.Rand}); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrESP, err)
	}
	if raw := u.cfg.IPsec.Raw; raw != nil {
		wire, err := raw(local)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrESP, err)
		}
		s.carry(secagree.Transport, wire)
	}
	if u.cfg.IPsec.Raw == nil || !u.cfg.IPsec.RawOnly {
		conn, err := u.cfg.ListenPacket(local)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrESP, err)
		}
		udp, able := conn.(esp.UDPConn)
		if !able {
			return nil, fmt.Errorf("%w: %T cannot carry ESP", ErrESP, conn)
		}
		s.carry(secagree.UDPTunnel, esp.Encapsulation(udp, local))
	}
	s.server, s.client = s.port(0), 0
	return s, nil
}

func (s *associations) carry(mode secagree.Mode, wire esp.Wire) {
	front := s.tcp.NewFront(wire, esp.FrontConfig{UDP: s.datagram})
	s.fronts[mode] = front
	s.u.wg.Go(func() {
		if err := front.Run(s.u.ctx); err != nil {
			s.u.log.Warn("ESP failed", "mode", string(mode), "error", err)
		}
	})
}

// port draws a port that can be protected, other than those given.
func (s *associations) port(other ...uint16) uint16 {
	for {
		var b [2]byte
		if _, err := io.ReadFull(s.u.cfg.Rand, b[:]); err != nil {
			panic("ue: no randomness: " + err.Error())
		}
		port := binary.BigEndian.Uint16(b[:]) | 0x8000
		for _, o := range other {
			if port == o {
				port = 0
			}
		}
		if port != 0 {
			return port
		}
	}
}

// modes are what is offered, best first.
func (s *associations) modes() (m []secagree.Mode) {
	for _, mode := range []secagree.Mode{secagree.Transport, secagree.UDPTunnel} {
		if s.fronts[mode] != nil {
			m = append(m, mode)
		}
	}
	return m
}

// offer writes a Security-Client with SPIs and a client port that are new into a REGISTER that may be challenged, and what goes with it
// (TS 24.229 5.1.1.2.2, 5.1.1.4.2). It goes over the current associations, or in clear if there are none.
func (s *associations) offer(m *sip.Message) error {
	s.release()
	spi, err := s.engine.Reserve(s.local)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrESP, err)
	}
	s.client = s.port(s.server, s.client)
	profile := s.u.cfg.IPsec.Profile
	if len(profile.Suites) == 0 {
		profile = secagree.Strict()
	}
	s.offered = secagree.Offer(profile, secagree.Endpoint{SPIC: spi[esp.Client], SPIS: spi[esp.Server], PortC: s.client, PortS: s.server}, s.modes()...)
	s.announce(m)
	return nil
}

// exchange sends a REGISTER over a set and returns the final response. A network that takes no connection gets a datagram.
func (s *associations) exchange(t *shard.Task, set *agreed, m *sip.Message) (*sip.Message, error) {
	set.verify(m)
	send := func(flow siptransport.Flow, m *sip.Message) (*sip.Message, error) {
		return finalResponse(t, func(r siptxn.Responder) error {
			_, err := s.u.layer.Send(flow, m, set.sentBy(), r)
			return err
		})
	}
	flow := s.flowFor(set, m)
	if !flow.Via.Reliable() {
		return send(flow, m)
	}
	again := m.Clone()
	resp, err := send(flow, m)
	if errors.Is(err, siptxn.ErrTransport) {
		set.deaf = true
		return send(set.flow(), again)
	}
	again.Release()
	return resp, err
}

// release gives back the SPIs of an offer that came to nothing.
func (s *associations) release() {
	if e, ok := s.offered.IPsec(); ok {
		s.engine.Release(s.local, [2]uint32{esp.Client: e.SPIC, esp.Server: e.SPIS})
	}
	if s.fresh != nil {
		s.engine.Remove(s.fresh.ref)
		s.fresh = nil
	}
	s.offered = secagree.List{}
}

// announce writes the Security-Client.
func (s *associations) announce(m *sip.Message) {
	m.AppendString(sip.HdrSecurityClient, string(s.offered.AppendTo(nil)))
	m.AppendString(sip.HdrSupported, secAgree)
	requireAgreement(m)
}

// verify repeats the network's list (RFC 3329 2.3.1).
func (s *agreed) verify(m *sip.Message) {
	m.SetString(sip.HdrSecurityVerify, string(s.server.AppendTo(nil)))
	requireAgreement(m)
}

// secAgree is the option tag of RFC 3329.
const secAgree = "sec-agree"

func requireAgreement(m *sip.Message) {
	for _, h := range []sip.HeaderID{sip.HdrRequire, sip.HdrProxyRequire} {
		if !m.HasToken(h, secAgree) {
			m.AppendString(h, secAgree)
		}
	}
}

// install makes the associations of a challenge (TS 33.203 7.2). The network may choose only what was offered (7.3.2.2).
func (s *associations) install(challenge *sip.Message, ck aka.CK, ik aka.IK) error {
	server, err := secagree.Parse(slices.Collect(challenge.Values(sip.HdrSecurityServer)))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAgreement, err)
	}
	chosen, err := secagree.Select(&server, &s.offered)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAgreement, err)
	}
	own, _ := s.offered.IPsec()
	transform, sound := esp.TransformOf(chosen.Alg, chosen.EAlg)
	if !sound {
		return ErrAgreement
	}
	s.public = s.local
	if via, err := challenge.TopVia(); err == nil {
		if seen, err := netip.ParseAddr(string(via.Received)); err == nil {
			s.public = seen.Unmap()
		}
	}
	proxy := s.u.path.proxy().Addr().Unmap()
	g := &esp.Agreement{Role: esp.UE, Local: s.local, Peer: proxy, Here: endsOf(&own), There: endsOf(&chosen), Transform: transform, CK: ck, IK: ik}
	if g.Tunnel = chosen.Mode == secagree.UDPTunnel; g.Tunnel {
		g.PeerPort, g.Inner = s.u.cfg.IPsec.NATPort, s.public
		if g.PeerPort == 0 {
			g.PeerPort = 4500
		}
	}
	ref, err := s.engine.Install(g)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAgreement, err)
	}
	s.fresh = &agreed{front: s.fronts[chosen.Mode], ref: ref, local: netip.AddrPortFrom(s.public, s.server), peer: netip.AddrPortFrom(proxy, chosen.PortS),
		server: server, chosen: chosen}
	return nil
}

func endsOf(e *secagree.Entry) esp.Ends {
	return esp.Ends{Port: [2]uint16{esp.Client: e.PortC, esp.Server: e.PortS}, SPI: [2]uint32{esp.Client: e.SPIC, esp.Server: e.SPIS}}
}

// promote makes the fresh set the current one. What is under way on the one before may end there (TS 33.203 7.4).
func (s *associations) promote() {
	if s.fresh == nil {
		return
	}
	s.drop(&s.former)
	s.former, s.current, s.fresh = s.current, s.fresh, nil
	s.offered = secagree.List{}
	s.u.shard.Arm(&s.forget, 64*s.u.cfg.Timers.T1, shard.EventFunc(func(*shard.Shard) { s.drop(&s.former) }))
	if s.current.chosen.Mode == secagree.UDPTunnel {
		s.keepAlive()
	}
}

// keepAlive keeps the NAT's binding.
func (s *associations) keepAlive() {
	if s.current == nil {
		return
	}
	_ = s.current.front.KeepAlive(s.current.ref) // the next one may fare better
	s.u.shard.Arm(&s.keep, keepAliveEvery, shard.EventFunc(func(*shard.Shard) { s.keepAlive() }))
}

func (s *associations) drop(which **agreed) {
	if *which != nil {
		s.engine.Remove((*which).ref)
		*which = nil
	}
}

// dropAll ends all of them: the next REGISTER goes in clear.
func (s *associations) dropAll() {
	s.release()
	s.drop(&s.current)
	s.drop(&s.former)
	s.u.shard.Disarm(&s.keep)
	s.u.shard.Disarm(&s.forget)
}

// protection says what holds, for reports.
func (s *agreed) protection() string {
	how := "on IP"
	if s.chosen.Mode == secagree.UDPTunnel {
		how = "in UDP"
	}
	return "IPsec ESP " + how + ", " + s.chosen.Alg + "/" + s.chosen.EAlg
}

// sealed is a datagram on its way to the shard.
type sealed struct {
	s    *associations
	ref  esp.Ref
	peer netip.AddrPort
	data []byte
}

// datagram takes what a front has opened.
func (s *associations) datagram(d *esp.Datagram) {
	s.u.shard.Exec(&sealed{s, d.Agreement, d.Peer, append([]byte(nil), d.Payload...)}) // a full shard drops it, as a network may
}

// Run implements shard.Event.
func (d *sealed) Run(*shard.Shard) {
	if set := d.s.judge(d.ref, d.data); set != nil {
		d.s.u.layer.Input(siptransport.Flow{Via: set, Peer: d.peer}, d.data)
	}
}

// judge returns the set that something came over, nil if it is not to be heard: over associations that have not proven themselves come
// answers alone (TS 33.203 7.1 rule 5).
func (s *associations) judge(ref esp.Ref, data []byte) *agreed {
	for _, set := range []*agreed{s.current, s.former, s.fresh} {
		if set != nil && set.ref == ref && (set != s.fresh || isResponse(data)) {
			return set
		}
	}
	s.u.refusals.WrongAssociation++
	return nil
}

// isResponse tells a response from a request by how it begins (RFC 3261 7.2).
func isResponse(data []byte) bool { return len(data) > 4 && string(data[:4]) == "SIP/" }
