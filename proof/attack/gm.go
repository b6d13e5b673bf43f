package attack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"imsafe/proto/aka"
	"imsafe/proto/esp"
	"imsafe/proto/secagree"
	"imsafe/proto/sip"
)

// sealed is a hand's way to the edge inside security associations (TS 33.203 7, Annex M): a net.Conn whose messages go in clear until
// there are associations, and in ESP over UDP from then on. Its client side does what a driver says, wrong things too.
type sealed struct {
	f      *Field
	clear  net.Conn // to the unprotected port
	nat    net.Conn // to where ESP in UDP is received
	engine *esp.Engine
	in     chan []byte
	gone   chan struct{}
	close  func()

	offered secagree.List // our Security-Client
	own     secagree.Entry
	server  secagree.List // the edge's Security-Server
	chosen  secagree.Entry

	mu   sync.Mutex
	ref  *esp.Ref
	sent [][]byte // packets of ESP that have left, for who wants to send them again
	come [][]byte // and that have come
}

var _ net.Conn = (*sealed)(nil)

// dialSealed opens both sockets. There are no associations yet.
func (f *Field) dialSealed(ctx context.Context, n Network, from netip.Addr) (*sealed, error) {
	clear, err := n.Dial(ctx, "udp", from, f.Gm)
	if err != nil {
		return nil, err
	}
	nat, err := n.Dial(ctx, "udp", from, f.NAT)
	if err != nil {
		return nil, errors.Join(err, clear.Close())
	}
	s := &sealed{f: f, clear: clear, nat: nat, engine: esp.New(esp.Config{Random: f.Random}), in: make(chan []byte, heardAtMost),
		gone: make(chan struct{})}
	s.close = sync.OnceFunc(func() { close(s.gone); _ = clear.Close(); _ = nat.Close() })
	go s.listen(clear, func(b []byte) []byte { return b })
	go s.listen(nat, s.open)
	return s, nil
}

// listen takes packets off a socket until it ends.
func (s *sealed) listen(conn net.Conn, open func([]byte) []byte) {
	buf := make([]byte, 65536)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		payload := open(buf[:n])
		if payload == nil {
			continue
		}
		select {
		case s.in <- append([]byte(nil), payload...):
		case <-s.gone:
			return
		}
	}
}

// open opens a packet of ESP; nil if it is none of ours.
func (s *sealed) open(packet []byte) []byte {
	s.mu.Lock()
	s.come = append(s.come, append([]byte(nil), packet...))
	s.mu.Unlock()
	var d esp.Datagram
	if s.engine.Open(packet, s.f.NAT, s.local(), &d) != esp.Accepted {
		return nil
	}
	return d.Payload
}

func (s *sealed) local() netip.Addr { return s.f.Gm.Addr() } // on loopback the client has the same

// Read implements net.Conn: one message.
func (s *sealed) Read(b []byte) (int, error) {
	select {
	case p := <-s.in:
		return copy(b, p), nil
	case <-s.gone:
		return 0, io.EOF
	}
}

// Write implements net.Conn: in ESP if there are associations, else in clear.
func (s *sealed) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ref == nil {
		return s.clear.Write(b)
	}
	packet, _, err := s.engine.SealUDP(nil, *s.ref, esp.Client, b)
	if err != nil {
		return 0, err
	}
	s.sent = append(s.sent, append([]byte(nil), packet...))
	if _, err := s.nat.Write(packet); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Close implements net.Conn.
func (s *sealed) Close() error {
	s.close()
	return nil
}

// LocalAddr implements net.Conn: the protected server port, under which the hand is reached, once there is one.
func (s *sealed) LocalAddr() net.Addr {
	if s.own.PortS == 0 {
		return s.clear.LocalAddr()
	}
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(s.local(), s.own.PortS))
}

// RemoteAddr implements net.Conn.
func (s *sealed) RemoteAddr() net.Addr { return s.clear.RemoteAddr() }

// SetDeadline implements net.Conn: there are none.
func (s *sealed) SetDeadline(time.Time) error { return os.ErrNoDeadline }

// SetReadDeadline implements net.Conn as SetDeadline does.
func (s *sealed) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetWriteDeadline implements net.Conn as SetDeadline does.
func (s *sealed) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// offer announces new SPIs and ports with the suites of a profile, for the next REGISTER.
func (s *sealed) offer(p secagree.Profile) error {
	spi, err := s.engine.Reserve(s.local())
	if err != nil {
		return err
	}
	end := secagree.Endpoint{SPIC: spi[esp.Client], SPIS: spi[esp.Server], PortC: s.f.port(), PortS: s.own.PortS}
	if end.PortS == 0 {
		end.PortS = s.f.port()
	}
	s.offered = secagree.Offer(p, end, secagree.UDPTunnel)
	s.own, _ = s.offered.IPsec()
	return nil
}

// port draws a port that can be protected. Honest clients at the same address have those from 32768 on: one of theirs would be refused (TS 33.203 7.1 rule 3).
func (f *Field) port() uint16 {
	var b [2]byte
	if _, err := io.ReadFull(f.Random, b[:]); err != nil {
		panic("attack: no randomness: " + err.Error())
	}
	return 0x4000 | uint16(b[0]&0x3f)<<8 | uint16(b[1])
}

// agree makes the associations of a challenge with the keys of u's card. edit may change what is installed.
func (s *sealed) agree(u *User, challenge *sip.Message, edit func(*esp.Agreement)) error {
	var err error
	if s.server, err = secagree.Parse(slices.Collect(challenge.Values(sip.HdrSecurityServer))); err != nil {
		return fmt.Errorf("attack: Security-Server: %w", err)
	}
	if s.chosen, err = secagree.Select(&s.server, &s.offered); err != nil {
		return fmt.Errorf("attack: Security-Server: %w", err)
	}
	transform, sound := esp.TransformOf(s.chosen.Alg, s.chosen.EAlg)
	if !sound {
		return fmt.Errorf("attack: no transform for %s/%s", s.chosen.Alg, s.chosen.EAlg)
	}
	c, err := sip.ParseChallenge(challenge.Get(sip.HdrWWWAuthenticate))
	if err != nil {
		return fmt.Errorf("attack: %w", err)
	}
	nonce, err := aka.ParseNonce(c.Nonce)
	if err != nil {
		return fmt.Errorf("attack: %w", err)
	}
	_, ck, ik, _ := aka.NewMilenage(u.K, u.OPc).F2345(nonce.RAND)
	g := &esp.Agreement{Role: esp.UE, Local: s.local(), Peer: s.f.Gm.Addr(), Here: endsOf(&s.own), There: endsOf(&s.chosen),
		Transform: transform, CK: ck, IK: ik, AllowWithdrawn: true, Tunnel: true, PeerPort: s.f.NAT.Port(), Inner: s.local()}
	if edit != nil {
		edit(g)
	}
	ref, err := s.engine.Install(g)
	if err != nil {
		return fmt.Errorf("attack: %w", err)
	}
	s.mu.Lock()
	s.ref = &ref
	s.mu.Unlock()
	return nil
}

func endsOf(e *secagree.Entry) esp.Ends {
	return esp.Ends{Port: [2]uint16{esp.Client: e.PortC, esp.Server: e.PortS}, SPI: [2]uint32{esp.Client: e.SPIC, esp.Server: e.SPIS}}
}

// captured returns the packets of ESP so far.
func (s *sealed) captured() (sent, come [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([][]byte(nil), s.sent...), append([][]byte(nil), s.come...)
}

// Agreement is what a driver changes in the security agreement of a REGISTER.
type Agreement struct {
	Profile secagree.Profile    // that is offered; strict without suites
	Client  func(string) string // edits the Security-Client of the protected REGISTER
	Verify  func(string) string // and its Security-Verify
	Install func(*esp.Agreement)
}

// negotiate registers inside security associations: an offer in clear, the associations of the challenge, the answer inside them
// (TS 33.203 7.2). It returns what the target answered at last.
func (h *Hand) negotiate(ctx context.Context, s *sealed, r Registering) (*sip.Message, error) {
	profile := r.Agreement.Profile
	if len(profile.Suites) == 0 {
		profile = secagree.Strict()
	}
	r.agreed = true
	first := r
	first.Lines = append(first.Lines, s.announces(profile)...)
	client := "Security-Client: " + string(s.offered.AppendTo(nil))
	challenge, err := h.Ask(ctx, h.Registers(first, h.NoResponse(r.IMPI)))
	if err != nil || challenge.Status() != 401 || r.User == nil {
		return challenge, err
	}
	authorization, err := h.Respond(r.User, r.IMPI, challenge)
	if err != nil {
		return nil, err
	}
	if err := s.agree(r.User, challenge, r.Agreement.Install); err != nil {
		return nil, err
	}
	r.Lines = append(append(r.Lines, agreementLines...), edited(client, r.Agreement.Client), edited(s.verify(), r.Agreement.Verify))
	h.lastAuthorization = authorization
	return h.Ask(ctx, h.Registers(r, authorization))
}

// announces are the lines of a REGISTER that may be challenged: a new offer of a profile, strict without one, and inside associations
// what was agreed on for these.
func (s *sealed) announces(profile ...secagree.Profile) []string {
	if profile == nil {
		profile = []secagree.Profile{secagree.Strict()}
	}
	if err := s.offer(profile[0]); err != nil {
		panic("attack: " + err.Error()) // SPIs have run out, which needs billions
	}
	lines := append([]string{"Security-Client: " + string(s.offered.AppendTo(nil))}, agreementLines...)
	if s.ref != nil {
		lines = append(lines, s.verify())
	}
	return lines
}

// agreementLines say that there must be an agreement (RFC 3329 2.3.1).
var agreementLines = []string{"Require: sec-agree", "Proxy-Require: sec-agree"}

// verify is the Security-Verify of what follows the agreement.
func (s *sealed) verify() string { return "Security-Verify: " + string(s.server.AppendTo(nil)) }

func edited(line string, edit func(string) string) string {
	if edit == nil {
		return line
	}
	return edit(line)
}

// sealedLines are what every request inside the associations carries.
func (h *Hand) sealedLines() []string {
	s, ok := h.conn.(*sealed)
	if !ok || s.ref == nil {
		return nil
	}
	return append([]string{s.verify()}, agreementLines...)
}

// errNotSealed is a defect of a driver: its attack has another access.
var errNotSealed = errors.New("attack: this hand is not inside IPsec")

// tunnel returns the hand's way inside associations.
func (h *Hand) tunnel() (*sealed, error) {
	if s, ok := h.conn.(*sealed); ok {
		return s, nil
	}
	return nil, errNotSealed
}

// hasSIP reports whether a packet shows SIP to whoever reads it.
func hasSIP(packets [][]byte) bool {
	for _, p := range packets {
		if strings.Contains(string(p), "SIP/2.0") {
			return true
		}
	}
	return false
}
