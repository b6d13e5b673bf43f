package load

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"slices"

	"imsafe/proto/aka"
	"imsafe/proto/esp"
	"imsafe/proto/secagree"
	"imsafe/proto/sip"
)

// security is a UE's half of ipsec-3gpp (TS 33.203 7): what it offered last, the four associations it uses, and those that an answered
// challenge has made and that the network has not yet confirmed.
type security struct {
	engine         *esp.Engine
	ports          [2]uint16 // protected: the client's is another for each offer
	offered        secagree.List
	current, fresh associations
}

// associations are four associations, and the lines by which the network's list is repeated (RFC 3329 2.3.1).
type associations struct {
	ref    esp.Ref
	stands bool
	verify []byte
	port   uint16 // the P-CSCF's protected server port
}

// using is the set that a message goes by: an answer to a challenge by the one that this made.
func (s *security) using() *associations {
	if s.fresh.stands {
		return &s.fresh
	}
	return &s.current
}

const required = "Require: sec-agree\r\nProxy-Require: sec-agree\r\n"

// portsOfOffers are the protected client ports of a UE, one after the other.
const firstPort, portsOfOffers, serverPort = 32768, 16384, 32767

// agreement writes Security-Client: again what was offered, if that has been challenged, else something new. With associations the list
// of the network goes with it.
func (w *worker) agreement(b build, u *ue) build {
	if !w.seals {
		return b
	}
	s := u.security
	if !s.fresh.stands {
		w.release(u)
		if s.ports[esp.Client]++; s.ports[esp.Client] < firstPort || s.ports[esp.Client] >= firstPort+portsOfOffers {
			s.ports[esp.Client] = firstPort
		}
		spi, err := s.engine.Reserve(u.addr.Addr())
		if err != nil {
			return b // and the network will ask for it
		}
		s.offered = secagree.Offer(w.profile, secagree.Endpoint{SPIC: spi[esp.Client], SPIS: spi[esp.Server], PortC: s.ports[esp.Client], PortS: s.ports[esp.Server]}, secagree.UDPTunnel)
	}
	b = append(s.offered.AppendTo(b.s("Security-Client: ")), "\r\n"...)
	if s.using().stands {
		return b.o(s.using().verify)
	}
	return b.s(required)
}

// verify repeats the network's list in a request that goes by associations.
func (w *worker) verify(b build, u *ue) build {
	if !w.seals || !u.security.current.stands {
		return b
	}
	return b.o(u.security.current.verify)
}

// protect makes the associations of a challenge. It returns what is wrong.
func (w *worker) protect(u *ue, m *sip.Message, o *aka.Opened) string {
	if !w.seals {
		return ""
	}
	s := u.security
	server, err := secagree.Parse(slices.Collect(m.Values(sip.HdrSecurityServer)))
	if err != nil {
		return "malformed Security-Server"
	}
	chosen, err := secagree.Select(&server, &s.offered)
	if err != nil {
		return "Security-Server with nothing that was offered"
	}
	own, _ := s.offered.IPsec()
	transform, sound := esp.TransformOf(chosen.Alg, chosen.EAlg)
	if !sound {
		return "Security-Server with no pair of algorithms"
	}
	s.fresh.ref, err = s.engine.Install(&esp.Agreement{Role: esp.UE, Local: u.addr.Addr(), Peer: u.proxy.Addr(), Here: ends(&own), There: ends(&chosen), Transform: transform,
		CK: o.CK, IK: o.IK, Tunnel: true, PeerPort: w.target.ESP.Port})
	if err != nil {
		return "associations that cannot be made"
	}
	s.fresh.port = chosen.PortS
	s.fresh.stands, s.offered = true, secagree.List{Entries: s.offered.Entries}
	s.fresh.verify = append(append(server.AppendTo(append(s.fresh.verify[:0], "Security-Verify: "...)), "\r\n"...), required...)
	return ""
}

func ends(e *secagree.Entry) esp.Ends {
	return esp.Ends{Port: [2]uint16{esp.Client: e.PortC, esp.Server: e.PortS}, SPI: [2]uint32{esp.Client: e.SPIC, esp.Server: e.SPIS}}
}

// conclude ends a registration's dealings with associations: those of a challenge that was answered well take the place of those before.
// After a failure nobody knows what the network has, so it is begun anew, in clear.
func (w *worker) conclude(u *ue, registered bool) {
	if !w.seals {
		return
	}
	s := u.security
	if s.fresh.stands {
		s.end(&s.current)
		s.current, s.fresh = s.fresh, s.current
		s.offered = secagree.List{}
	}
	w.release(u)
	if !registered {
		s.end(&s.current)
	}
}

func (s *security) end(a *associations) {
	if a.stands {
		s.engine.Remove(a.ref)
		a.stands = false
	}
}

// release gives back the SPIs of an offer that came to nothing.
func (w *worker) release(u *ue) {
	if e, ok := u.security.offered.IPsec(); ok {
		u.security.engine.Release(u.addr.Addr(), [2]uint32{esp.Client: e.SPIC, esp.Server: e.SPIS})
	}
	u.security.offered = secagree.List{}
}

// uesOfEngine is how many UEs share an engine, which has room for 256 addresses of its own.
const uesOfEngine = 250

// secure prepares UEs for associations.
func (w *worker) secure() {
	w.seals = true
	w.profile = secagree.Profile{Suites: []secagree.Suite{{Mechanism: secagree.IPsec3GPP, Alg: w.target.ESP.Integrity, EAlg: w.target.ESP.Cipher}}}
	var engine *esp.Engine
	var b [2]byte
	_, _ = rand.Read(b[:])                                                   // never fails
	first := firstPort + binary.BigEndian.Uint16(b[:])%uint16(portsOfOffers) // the network may still hold those of a run before
	for i := range w.ues {
		if i%uesOfEngine == 0 {
			engine = esp.New(esp.Config{Random: rand.Reader, Max: 4 * uesOfEngine})
		}
		w.ues[i].security = &security{engine: engine, ports: [2]uint16{esp.Client: first, esp.Server: serverPort}}
	}
}

// sealedWire is a packetWire whose UEs seal what they send as soon as they have associations: ESP in UDP, from the same port.
type sealedWire struct {
	*packetWire
	ues    []ue
	port   uint16 // of the P-CSCF for ESP in UDP
	packet []byte

	segment [20]byte
}

func (w *sealedWire) send(u *ue, i int32, b []byte) {
	s := u.security.using()
	if !s.stands {
		w.packetWire.send(u, i, b)
		return
	}
	var err error
	if w.packet, _, err = u.security.engine.SealUDP(w.packet[:0], s.ref, esp.Client, b); err == nil {
		w.sendTo(u.addr, netip.AddrPortFrom(u.proxy.Addr(), w.port), w.packet)
	}
}

// open turns an ESP packet into what is in it; in clear is what comes from another port than that for ESP.
func (w *sealedWire) open(i int32, from netip.AddrPort, data []byte) ([]byte, bool) {
	if from.Port() != w.port {
		return data, true
	}
	var d esp.Datagram
	u := &w.ues[i]
	if u.security.engine.Open(data, from, u.addr.Addr(), &d) != esp.Accepted {
		return nil, false
	}
	if d.Protocol == tcp {
		w.reset(u, &d)
	}
	return d.Payload, d.Payload != nil
}

const tcp = 6

// reset refuses a connection, so that a request too large for a datagram comes in one all the same, at once (RFC 3261 18.1.1). UEs here have
// no TCP inside associations.
func (w *sealedWire) reset(u *ue, d *esp.Datagram) {
	const syn, ack, rst = 2, 16, 4
	if len(d.Segment) < 20 || d.Segment[13]&(syn|ack|rst) != syn {
		return
	}
	segment := w.segment[:]
	clear(segment)
	copy(segment[0:2], d.Segment[2:4])
	copy(segment[2:4], d.Segment[0:2])
	binary.BigEndian.PutUint32(segment[8:], binary.BigEndian.Uint32(d.Segment[4:])+1)
	segment[12], segment[13] = 5<<4, rst|ack
	binary.BigEndian.PutUint16(segment[16:], checksum(d.Local.Addr(), d.Peer.Addr(), segment))
	var err error
	if w.packet, _, err = u.security.engine.Seal(w.packet[:0], d.Agreement, d.Side, tcp, segment); err == nil {
		w.sendTo(u.addr, netip.AddrPortFrom(u.proxy.Addr(), w.port), w.packet)
	}
}

// checksum is that of a TCP segment over IPv4 (RFC 9293 3.1).
func checksum(from, to netip.Addr, segment []byte) uint16 {
	a, b := from.As4(), to.As4()
	sum := uint32(tcp) + uint32(len(segment))
	for _, part := range [][]byte{a[:], b[:], segment} {
		for i := 0; i+1 < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
