package spine

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"imsafe/proto/aka"
	"imsafe/proto/esp"
	"imsafe/proto/secagree"
	"imsafe/proto/sip"
)

// sealed is a client's half of ipsec-3gpp: a connection that is in clear until there are associations, and sealed from then on.
type sealed struct {
	net.Conn // of the unprotected port
	b        testing.TB
	pcscf    netip.Addr
	udp      *net.UDPConn // ESP in UDP
	engine   *esp.Engine
	suite    secagree.Suite
	ports    [2]uint16 // client, server; the client's changes at each authentication
	first    uint16
	offered  secagree.List
	server   secagree.List
	set      esp.Ref
	standing bool
	packet   []byte
	in       [4096]byte
}

// newSealedClient makes a client that protects itself by a pair of algorithms. Its ports are its own: all have one address.
func newSealedClient(suite secagree.Suite) func(testing.TB, *server, int) *client {
	return func(b testing.TB, s *server, user int) *client {
		clear, err := net.Dial("udp", s.gm.String())
		if err != nil {
			b.Fatal(err)
		}
		udp, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(s.esp))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { udp.Close() })
		first := uint16(10000 + user%window*600)
		x := &sealed{Conn: clear, b: b, pcscf: s.esp.Addr(), udp: udp, engine: esp.New(esp.Config{Random: rand.Reader}), suite: suite,
			ports: [2]uint16{first, uint16(60000 + user%window)}, first: first}
		c := clientOn(b, x, "UDP", clear.LocalAddr().(*net.UDPAddr).AddrPort(), user)
		c.sealed = x
		return c
	}
}

// agreement is what a REGISTER says of it: with a challenge to answer what was said before, else something new, in clear.
func (x *sealed) agreement(answers bool) string {
	if !answers {
		if x.standing {
			x.engine.Remove(x.set)
		}
		x.standing = false
		spi, err := x.engine.Reserve(x.pcscf)
		if err != nil {
			x.b.Fatal(err)
		}
		x.ports[0]++
		if x.ports[0] == x.first+600 {
			x.ports[0] = x.first
		}
		x.offered = secagree.Offer(secagree.Profile{Suites: []secagree.Suite{x.suite}}, secagree.Endpoint{SPIC: spi[0], SPIS: spi[1], PortC: x.ports[0], PortS: x.ports[1]}, secagree.UDPTunnel)
	}
	text := fmt.Sprintf("Security-Client: %s\r\nRequire: sec-agree\r\nProxy-Require: sec-agree\r\n", x.offered.AppendTo(nil))
	if answers {
		text += x.verify()
	}
	return text
}

func (x *sealed) verify() string {
	return fmt.Sprintf("Security-Verify: %s\r\n", x.server.AppendTo(nil))
}

// install makes the associations of a challenge.
func (x *sealed) install(challenge *sip.Message, ck aka.CK, ik aka.IK) bool {
	server, err := secagree.Parse(slices.Collect(challenge.Values(sip.HdrSecurityServer)))
	if err != nil {
		x.b.Error(err)
		return false
	}
	chosen, err := secagree.Select(&server, &x.offered)
	if err != nil {
		x.b.Error(err)
		return false
	}
	own, _ := x.offered.IPsec()
	transform, _ := esp.TransformOf(chosen.Alg, chosen.EAlg)
	ends := func(e *secagree.Entry) esp.Ends {
		return esp.Ends{Port: [2]uint16{e.PortC, e.PortS}, SPI: [2]uint32{e.SPIC, e.SPIS}}
	}
	x.set, err = x.engine.Install(&esp.Agreement{Role: esp.UE, Local: x.pcscf, Peer: x.pcscf, Here: ends(&own), There: ends(&chosen), Transform: transform,
		CK: ck, IK: ik, Tunnel: true, PeerPort: x.udp.RemoteAddr().(*net.UDPAddr).AddrPort().Port()})
	if err != nil {
		x.b.Error(err)
		return false
	}
	x.server, x.standing = server, true
	return true
}

// Write seals, if there is something to seal with.
func (x *sealed) Write(b []byte) (n int, err error) {
	if !x.standing {
		return x.Conn.Write(b)
	}
	if x.packet, _, err = x.engine.SealUDP(x.packet[:0], x.set, esp.Client, b); err == nil {
		_, err = x.udp.Write(x.packet)
	}
	return len(b), err
}

// Read opens.
func (x *sealed) Read(b []byte) (int, error) {
	if !x.standing {
		return x.Conn.Read(b)
	}
	for {
		n, err := x.udp.Read(x.in[:])
		if err != nil {
			return 0, err
		}
		var d esp.Datagram
		if x.engine.Open(x.in[:n], netip.AddrPortFrom(x.pcscf, x.udp.RemoteAddr().(*net.UDPAddr).AddrPort().Port()), x.pcscf, &d) == esp.Accepted {
			return copy(b, d.Payload), nil
		}
	}
}

// SetReadDeadline is that of both sockets.
func (x *sealed) SetReadDeadline(t time.Time) error {
	_ = x.udp.SetReadDeadline(t)
	return x.Conn.SetReadDeadline(t)
}

var (
	gcm = secagree.Suite{Mechanism: secagree.IPsec3GPP, Alg: secagree.AlgNull, EAlg: secagree.EAlgGCM}
	cbc = secagree.Suite{Mechanism: secagree.IPsec3GPP, Alg: secagree.AlgSHA1, EAlg: secagree.EAlgCBC}
)

// BenchmarkRegisterESP is P6: a registration from the start with four security associations, ESP in UDP.
func BenchmarkRegisterESP(b *testing.B) {
	for _, suite := range []secagree.Suite{gcm, cbc} {
		b.Run(suite.Alg+"+"+suite.EAlg, func(b *testing.B) {
			s := start(b)
			measure(b, crewOf(b, s, 0, window, newSealedClient(suite)), s, func(c *client, _ int) bool { return c.register() })
		})
	}
}

// BenchmarkOptionsESP is an OPTIONS that the P-CSCF answers: what a round trip inside ESP costs. BenchmarkOptions is the same in clear.
func BenchmarkOptionsESP(b *testing.B) {
	for _, suite := range []secagree.Suite{gcm, cbc} {
		b.Run(suite.Alg+"+"+suite.EAlg, func(b *testing.B) {
			s := start(b)
			clients := crewOf(b, s, 0, window, newSealedClient(suite))
			for _, c := range clients {
				if !c.register() {
					b.FailNow()
				}
			}
			measure(b, clients, s, func(c *client, _ int) bool {
				c.request("OPTIONS", "sip:"+domain, "<sip:"+domain+">", c.sealed.verify(), "")
				return len(c.await()) > 0
			})
		})
	}
}

// BenchmarkOptions is the request of BenchmarkOptionsESP in clear.
func BenchmarkOptions(b *testing.B) {
	s := start(b)
	clients := crew(b, s, 0, window)
	for _, c := range clients {
		if !c.register() {
			b.FailNow()
		}
	}
	measure(b, clients, s, func(c *client, _ int) bool {
		c.request("OPTIONS", "sip:"+domain, "<sip:"+domain+">", "", "")
		return len(c.await()) > 0
	})
}
