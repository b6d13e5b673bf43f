package attack

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"imsafe/client/ue"
	"imsafe/proto/rtpport"
	"imsafe/proto/sdp"
	"imsafe/proto/sip"
)

// What attacks on media have in common: packets as an attacker makes them, an honest party whose sockets show what passes, and the attacker's
// own half of a call, which says what he likes.

// rtpPacket is RTP in clear: payload type 8, and whatever else the attacker wants.
func rtpPacket(ssrc uint32, seq uint16, payload []byte) []byte {
	b := []byte{0x80, 8}
	b = binary.BigEndian.AppendUint16(b, seq)
	b = binary.BigEndian.AppendUint32(b, uint32(seq)*160)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	return append(b, payload...)
}

// isVoice reports whether a datagram is RTP (RFC 7983 7, RFC 5761 4).
func isVoice(b []byte) bool { return len(b) > 12 && b[0]>>6 == 2 && (b[1] < 192 || b[1] > 223) }

// tapped is the socket of an honest party, of which somebody in the path has copies of all that passes.
type tapped struct {
	net.PacketConn

	mu      sync.Mutex
	in, out [][]byte
	control [][]byte // RTCP that has come
	reports [][]byte // and that was sent
	to      net.Addr // where it sent last

	// first, if not nil, is called once, before the first DTLS record leaves for an address.
	first func(write func([]byte) error) error
	once  sync.Once
}

func (t *tapped) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := t.PacketConn.ReadFrom(b)
	if err == nil && n > 0 && b[0]>>6 == 2 {
		t.mu.Lock()
		if isVoice(b[:n]) {
			t.in = append(t.in, bytes.Clone(b[:n]))
		} else {
			t.control = append(t.control, bytes.Clone(b[:n]))
		}
		t.mu.Unlock()
	}
	return n, from, err
}

func (t *tapped) WriteTo(b []byte, to net.Addr) (int, error) {
	if isVoice(b) {
		t.mu.Lock()
		t.out, t.to = append(t.out, append([]byte(nil), b...)), to
		t.mu.Unlock()
	} else if len(b) > 8 && b[0]>>6 == 2 {
		t.mu.Lock()
		t.reports, t.to = append(t.reports, bytes.Clone(b)), to
		t.mu.Unlock()
	}
	var err error
	if t.first != nil && len(b) > 0 && b[0] == 22 {
		t.once.Do(func() {
			err = t.first(func(b []byte) error { _, err := t.PacketConn.WriteTo(b, to); return err })
		})
	}
	if err != nil {
		return 0, err
	}
	return t.PacketConn.WriteTo(b, to)
}

// sent returns the voice that the party has sent, and where to.
func (t *tapped) sent() ([][]byte, net.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([][]byte(nil), t.out...), t.to
}

// reportedOut returns the RTCP that the party has sent, and where to.
func (t *tapped) reportedOut() ([][]byte, net.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([][]byte(nil), t.reports...), t.to
}

// got returns the voice that has come to the party.
func (t *tapped) got() [][]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([][]byte(nil), t.in...)
}

// reported returns the RTCP that has come to the party.
func (t *tapped) reported() [][]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([][]byte(nil), t.control...)
}

// tappedParty is an honest user, registered, whose media pass somebody in the path. tap is the socket of the latest call.
func (f *Field) tappedParty(ctx context.Context, name string) (p *Party, tap func() *tapped, err error) {
	return f.overtakenParty(ctx, name, nil)
}

// overtakenParty is tappedParty, whose first DTLS record in each call somebody overtakes in its name.
func (f *Field) overtakenParty(ctx context.Context, name string, first func(write func([]byte) error) error) (p *Party, tap func() *tapped, err error) {
	var mu sync.Mutex
	var latest *tapped
	p, err = f.party(ctx, name, func(c *ue.Config) {
		listen := c.ListenPacket
		c.ListenPacket = func(local netip.Addr) (net.PacketConn, error) {
			conn, err := listen(local)
			if err != nil {
				return nil, err
			}
			mu.Lock()
			defer mu.Unlock()
			latest = &tapped{PacketConn: conn, first: first}
			return latest, nil
		}
	})
	if err != nil {
		return nil, nil, err
	}
	if _, err = p.UE.Register(ctx); err != nil {
		return nil, nil, fmt.Errorf("%s cannot register: %w", name, err)
	}
	return p, func() *tapped { mu.Lock(); defer mu.Unlock(); return latest }, nil
}

// speaker is half of a call, most often the attacker's: he signals as a client does, and his media are what he writes.
type speaker struct {
	hand   *Hand
	invite Request // of the call; its CSeq and lines are those of the last
	leg    *rtpport.Leg
	legs   []*rtpport.Leg
	local  sdp.Local
	status int  // of the latest answer
	honest bool // it is no attacker's: nobody counts what it sends
	// hears, if not nil, is given what comes; wrap, if not nil, has its socket first.
	hears func(b []byte, control bool)
	wrap  func(net.PacketConn) net.PacketConn
	// shows are the fingerprints of its descriptions; nil is those of its own certificates.
	shows []sdp.Fingerprint
	over  chan struct{} // closed when the latest leg has ended
}

// voiceOf is what the attacker's half can do.
func voiceOf() sdp.Capabilities { return sdp.Capabilities{Audio: []sdp.Codec{sdp.PCMA()}} }

// malloryCallsCarol is a call in which mallory's media are what he writes, and carol's pass somebody in the path. end ends it.
func (f *Field) malloryCallsCarol(ctx context.Context) (s *speaker, tap func() *tapped, end func(), err error) {
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	carol, tap, err := f.tappedParty(ctx, Carol)
	if err != nil {
		return nil, nil, nil, err
	}
	s, call, err := f.speak(ctx, mallory, carol)
	if err != nil {
		return nil, nil, nil, err
	}
	return s, tap, func() { call.Hangup(); s.close() }, nil
}

// speak calls an honest party, who answers.
func (f *Field) speak(ctx context.Context, h *Hand, to *Party) (*speaker, *ue.Call, error) {
	return f.speakOn(ctx, h, to, nil)
}

func (f *Field) speakOn(ctx context.Context, h *Hand, to *Party, wrap func(net.PacketConn) net.PacketConn) (*speaker, *ue.Call, error) {
	s := &speaker{hand: h, honest: !h.hostile, wrap: wrap, invite: Request{Method: "INVITE", URI: to.IMPU, FromTag: f.token(), CallID: f.token()}}
	var call *ue.Call
	err := s.offer(ctx, f, func() error {
		var err error
		if call, err = to.Rung(ctx); err == nil {
			call.Answer(ue.Voice{})
		}
		return err
	})
	if err == nil {
		_, err = call.Until(ctx, ue.Secured)
	}
	if err != nil {
		s.close()
		return nil, nil, fmt.Errorf("%s and %s do not get a call: %w", h.Name, to.Name, err)
	}
	return s, call, nil
}

// offer sends an INVITE with a port, a certificate and so keys of its own, and waits for all of that to stand. Inside the call it is a re-INVITE.
func (s *speaker) offer(ctx context.Context, f *Field, ringing func() error) error {
	if err := s.begin(ctx, f, ringing); err != nil {
		return err
	}
	select {
	case <-s.leg.Ready():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("no keys: %w", ctx.Err())
	}
}

// begin does the same, and does not wait for the keys.
func (s *speaker) begin(ctx context.Context, f *Field, ringing func() error) error {
	n := f.attacker
	if s.honest {
		n = f.honest
	}
	leg, err := f.legOn(n, s.wrap, s.hears)
	if err != nil {
		return err
	}
	s.legs, s.leg = append(s.legs, leg), leg
	over := make(chan struct{})
	s.over = over
	go func() {
		defer close(over)
		_ = leg.Run(ctx) // what it could not do shows in what it is wanted for
	}()
	s.local = sdp.Local{ID: 1, Version: s.local.Version + 1, Address: leg.Local().Addr(), Port: leg.Local().Port(), Fingerprints: leg.Fingerprints()}
	if s.shows != nil {
		s.local.Fingerprints = s.shows
	}
	offer := sdp.NewOffer(s.local, voiceOf())
	body, err := offer.Marshal()
	if err != nil {
		return err
	}
	s.invite.CSeq++
	s.invite.Body = string(body)
	answer, err := s.ask(ctx, ringing)
	if err != nil {
		return err
	}
	described, err := sdp.Parse(answer.Body(), sdp.Limits{})
	if err != nil {
		return err
	}
	agreed, err := sdp.Match(offer, described, voiceOf())
	if err != nil {
		return err
	}
	return leg.Start(agreed)
}

// leg is the media of a hand, with a port and a certificate of its own. hears, if not nil, is given what comes.
func (f *Field) leg(n Network, hears func([]byte, bool)) (*rtpport.Leg, error) {
	return f.legOn(n, nil, hears)
}

func (f *Field) legOn(n Network, wrap func(net.PacketConn) net.PacketConn, hears func([]byte, bool)) (*rtpport.Leg, error) {
	conn, err := n.ListenPacket(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	if err != nil {
		return nil, err
	}
	if wrap != nil {
		conn = wrap(conn)
	}
	certificate, err := rtpport.NewCertificate(f.Random, f.Clock.Wall())
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if hears == nil {
		hears = func([]byte, bool) {}
	}
	leg, err := rtpport.New(rtpport.Config{Conn: conn, Clock: f.Clock, Rand: f.Random, Certificate: certificate, Relay: hears})
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return leg, nil
}

// ask sends the INVITE and acknowledges its answer.
func (s *speaker) ask(ctx context.Context, ringing func() error) (*sip.Message, error) {
	h, r := s.hand, s.invite
	r.Lines = append(append([]string{}, s.invite.Lines...), "Contact: "+h.Contact(), "Content-Type: application/sdp")
	if err := h.Write(h.Text(r)); err != nil {
		return nil, err
	}
	if ringing != nil {
		if err := ringing(); err != nil {
			return nil, err
		}
	}
	cseq := fmt.Sprintf("%d INVITE", r.CSeq)
	m, err := h.Await(ctx, func(m *sip.Message) bool {
		return !m.IsRequest() && m.Status() >= 200 && string(m.Get(sip.HdrCallID)) == r.CallID && string(m.Get(sip.HdrCSeq)) == cseq
	})
	if err != nil {
		return nil, err
	}
	s.status = m.Status()
	if s.status != 200 {
		return m, fmt.Errorf("attack: the INVITE is answered %d", m.Status())
	}
	s.keep(m)
	ack := s.invite
	ack.Method, ack.Body = "ACK", ""
	return m, h.Write(h.Text(ack))
}

// keep takes the dialog out of the answer to the first INVITE.
func (s *speaker) keep(m *sip.Message) {
	if s.invite.ToTag != "" {
		return
	}
	s.invite.To, s.invite.ToTag = s.invite.URI, string(m.ToTag())
	if contact, err := sip.ParseNameAddr(m.Get(sip.HdrContact)); err == nil {
		s.invite.URI = string(contact.URI)
	}
	var route []string
	for v := range m.Values(sip.HdrRecordRoute) {
		route = append([]string{string(v)}, route...)
	}
	s.invite.Lines = []string{"Route: " + strings.Join(route, ", ")}
}

// close ends the media. The call is the other's to end.
func (s *speaker) close() {
	for _, l := range s.legs {
		l.Close()
	}
}

// pause waits in the pace of a sender.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
