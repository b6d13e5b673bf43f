package ue

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
	"imsafe/proto/siptxn"
)

// hurry gives a client timers for tests that wait for them to run out, T1 = 10 ms, by a clock that passes as the machine lets the test run: an answer that comes
// late because others have the processors has not run out.
func hurry(t testing.TB, c *Config) {
	s := siptxn.DefaultTimers()
	s.T1, s.T2, s.T4 = 10*time.Millisecond, 40*time.Millisecond, 50*time.Millisecond
	s.B, s.F, s.H, s.J, s.L, s.M = 640*time.Millisecond, 640*time.Millisecond, 640*time.Millisecond, 640*time.Millisecond, 640*time.Millisecond, 640*time.Millisecond
	c.Timers, c.Clock = &s, newTurns(t)
}

// turns is a clock of the time that the machine gives: it sleeps for a millisecond again and again, and a sleep counts as two at most, however late it ends. On a
// machine that has nothing else to do its monotonic time is the machine's.
type turns struct{ given atomic.Int64 }

// newTurns lets one pass until the test has ended.
func newTurns(t testing.TB) *turns {
	c := &turns{}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		turn := time.NewTicker(time.Millisecond)
		defer turn.Stop()
		for last := time.Now(); ; {
			select {
			case <-turn.C:
			case <-stop:
				return
			}
			now := time.Now()
			c.given.Add(int64(min(now.Sub(last), 2*time.Millisecond)))
			last = now
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
	return c
}

// Now implements shard.Clock.
func (c *turns) Now() time.Duration { return time.Duration(c.given.Load()) }

// Wall implements shard.Clock.
func (c *turns) Wall() time.Time { return time.Now() }

func TestCall_lost_ACKs(t *testing.T) {
	for name, lost := range map[string]int{"the first is lost": 1, "all are lost": 1000} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			f, a, _, calls := pair(t, nil, func(c *Config) { hurry(t, c) })
			n := 0
			f.mu.Lock()
			f.script = func(_ *client, m *sip.Message) *sip.Message {
				if m.Method() == sip.ACK {
					if n++; n <= lost {
						return f.swallow(m)
					}
				}
				return nil
			}
			f.mu.Unlock()
			ca, err := a.Call(patiently(t), impuOf(bob), Voice{})
			if err != nil {
				t.Fatal(err)
			}
			cb := incoming(t, calls)
			cb.Answer(Voice{})
			expect(t, ca, Answered)
			if lost == 1 {
				expect(t, cb, Answered) // the 200 was sent again, and acknowledged again
				ca.Hangup()
			} else if e := ended(t, cb); !errors.Is(e.Err, ErrNoAck) {
				t.Errorf("bob: %+v", e)
			}
			ended(t, ca)
			if n < 2 {
				t.Errorf("%d ACKs", n)
			}
		})
	}
}

// The hung-up callee waits for the ACK before it says BYE (RFC 3261 15).
func TestCall_callee_hangs_up_before_the_ACK(t *testing.T) {
	f, a, _, calls := pair(t, nil, func(c *Config) { hurry(t, c) })
	var order []string
	f.mu.Lock()
	f.script = func(_ *client, m *sip.Message) *sip.Message {
		order = append(order, string(m.MethodName()))
		return nil
	}
	f.mu.Unlock()
	ca, err := a.Call(patiently(t), impuOf(bob), Voice{})
	if err != nil {
		t.Fatal(err)
	}
	cb := incoming(t, calls)
	cb.Answer(Voice{})
	cb.Hangup()
	ended(t, ca)
	ended(t, cb)
	f.mu.Lock()
	defer f.mu.Unlock()
	order = slices.Compact(order) // a slow ACK is asked for, and given, twice: the second one may come after the BYE
	if !slices.Equal(order, []string{"INVITE", "ACK", "BYE"}) && !slices.Equal(order, []string{"INVITE", "ACK", "BYE", "ACK"}) {
		t.Error(order)
	}
}

// A reliable provisional response carries the answer, the 200 does not (RFC 3262 5).
func TestCall_answer_in_a_reliable_183(t *testing.T) {
	f, a, _, calls := pair(t, nil, nil)
	f.mu.Lock()
	f.relay = func(m *sip.Message) {
		if m.IsRequest() || m.Status() != 200 || m.CSeqMethod() != sip.INVITE || len(m.Body()) == 0 {
			return
		}
		for range 2 { // repeated, as an unacknowledged one is
			f.sendsEarly(m)
		}
		m.SetBody("", nil)
	}
	f.mu.Unlock()
	ca, err := a.Call(patiently(t), impuOf(bob), tone(440))
	if err != nil {
		t.Fatal(err)
	}
	cb := incoming(t, calls)
	cb.Answer(tone(880))
	expect(t, ca, Answered)
	expect(t, ca, Secured)
	until(t, "PRACK", func() bool { return len(f.received("PRACK ")) > 0 })
	list := f.received("PRACK ")
	if len(list) != 1 || header(list[0], "RAck") != "7 1 INVITE" {
		t.Errorf("PRACK: %v", list)
	}
	ca.Hangup()
	ended(t, cb)
}

// A forked INVITE is answered twice: the second branch is acknowledged and hung up (RFC 3261 13.2.2.4).
func TestCall_second_answer_of_a_fork(t *testing.T) {
	f, a, _, calls := pair(t, nil, nil)
	ca, cb := connect(t, a, calls, Voice{}, Voice{})
	var ok string
	for _, m := range f.received("SIP/2.0 200") {
		if header(m, "CSeq") == "1 INVITE" {
			ok = m
		}
	}
	lines := strings.Split(ok, "\r\n")
	lines = append(lines[:1], lines[2:]...) // without the P-CSCF's Via
	text := strings.Join(lines, "\r\n")
	text = strings.Replace(text, header(ok, "To"), strings.Split(header(ok, "To"), ";tag=")[0]+";tag=fork", 1)
	f.inject(impuOf(alice), strings.TrimSuffix(text, "\r\n\r\n"))
	until(t, "ACK and BYE for the other branch", func() bool {
		n := 0
		for _, method := range []string{"ACK ", "BYE "} {
			for _, m := range f.received(method) {
				if strings.Contains(header(m, "To"), ";tag=fork") {
					n++
				}
			}
		}
		return n == 2
	})
	select {
	case <-ca.Done():
		t.Error("the first branch ended too")
	default:
	}
	ca.Hangup()
	ended(t, cb)
}

// An INVITE without an offer: ours is in the 200, theirs in the ACK (RFC 3261 13.3.1).
func TestCall_offer_in_the_answer(t *testing.T) {
	f, _, _, calls := pair(t, nil, func(c *Config) { hurry(t, c) })
	f.inject(impuOf(bob), "INVITE sip:x@127.0.0.1 SIP/2.0", "Via: SIP/2.0/TLS 127.0.0.1:9;branch=z9hG4bKdelayed", "From: <sip:carol@y>;tag=1",
		"To: <sip:z@y>", "Call-ID: delayed", "CSeq: 1 INVITE", "Contact: <sip:carol@127.0.0.1>", "Max-Forwards: 70", "Content-Length: 0")
	cb := incoming(t, calls)
	if peer, asserted := cb.Peer(); peer != "sip:carol@y" || asserted {
		t.Errorf("%q, asserted %v", peer, asserted)
	}
	cb.Answer(Voice{})
	var ok string
	until(t, "a 200 with an offer", func() bool {
		for _, m := range f.received("SIP/2.0 200") {
			if strings.Contains(m, "a=setup:actpass") {
				ok = m
			}
		}
		return ok != ""
	})
	// The answer is a downgrade: the call is acknowledged, and ended at once.
	f.inject(impuOf(bob), "ACK sip:x@127.0.0.1 SIP/2.0", "Via: SIP/2.0/TLS 127.0.0.1:9;branch=z9hG4bKdelayedack", "From: <sip:carol@y>;tag=1",
		"To: "+header(ok, "To"), "Call-ID: delayed", "CSeq: 1 ACK", "Max-Forwards: 70", "Content-Type: application/sdp", "Content-Length: 89", "",
		"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\nc=IN IP4 127.0.0.1")
	if e := ended(t, cb); !errors.Is(e.Err, ErrMedia) {
		t.Errorf("%+v", e)
	}
}

// datagram is a client of the fake over UDP.
type datagram struct {
	net.Conn
	pc net.PacketConn
	to net.Addr
}

func (d datagram) Write(b []byte) (int, error) { return d.pc.WriteTo(b, d.to) }
func (d datagram) Close() error                { return nil }

func TestUE_over_UDP_in_the_lab(t *testing.T) {
	f := newFake(t, func(f *fake, c *tls.Config) { c.Certificates, f.scheme = nil, aka.AKAv1MD5 })
	u := newUE(t, f, alice, func(c *Config) {
		c.Proxy = f.overDatagrams()
		c.Lab, c.Transport, c.Scheme, c.ServerName = true, UDP, aka.AKAv1MD5, ""
	})
	r, err := u.Register(patiently(t))
	if err != nil || r.Protection != "UDP in clear" || !strings.Contains(r.Contact, ";transport=udp") {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := u.SendMessage(patiently(t), impuOf(bob), "text/plain", make([]byte, 2000)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("2 kB over UDP: %v", err)
	}
	// A stranger's datagram is not even parsed.
	stranger, err := net.Dial("udp4", strings.TrimSuffix(strings.Split(r.Contact, "@")[1], ";transport=udp"))
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if _, err := stranger.Write([]byte("OPTIONS sip:x SIP/2.0\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	until(t, "the stranger counted", func() bool {
		r, err := u.Refusals(patiently(t))
		return err == nil && r.ForeignSource == 1
	})
}

// sink is a path that leads nowhere.
type sink struct{}

func (sink) SendTo(netip.AddrPort, []byte) error { return nil }
func (sink) Reliable() bool                      { return true }
func (sink) Proto() string                       { return "TLS" }
func (sink) Local() netip.AddrPort               { return netip.MustParseAddrPort("192.0.2.1:5061") }

// FuzzUE feeds a registered client whatever the P-CSCF might send, one message after the other into the same state.
func FuzzUE(f *testing.F) {
	offer := "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 4000 UDP/TLS/RTP/SAVP 8\r\nc=IN IP4 127.0.0.1\r\na=setup:actpass\r\na=fingerprint:sha-256 " +
		strings.Repeat("AA:", 31) + "AA\r\n"
	head := "Via: SIP/2.0/TLS h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: x\r\nCSeq: 1 "
	f.Add([]byte("INVITE sip:x@y SIP/2.0\r\n" + head + "INVITE\r\nContact: <sip:a@b>\r\nContent-Type: application/sdp\r\n\r\n" + offer))
	f.Add([]byte("CANCEL sip:x@y SIP/2.0\r\n" + head + "CANCEL\r\n\r\n"))
	f.Add([]byte("BYE sip:x@y SIP/2.0\r\n" + head + "BYE\r\n\r\n"))
	f.Add([]byte("MESSAGE sip:x@y SIP/2.0\r\n" + head + "MESSAGE\r\nContent-Type: text/plain\r\n\r\nhi"))
	f.Add([]byte("OPTIONS sip:x@y SIP/2.0\r\n" + head + "OPTIONS\r\nRequire: a, b\r\n\r\n"))
	f.Add([]byte("SIP/2.0 200 OK\r\n" + head + "INVITE\r\n\r\n"))
	fk := newFake(f, nil)
	u := newUE(f, fk, alice, func(c *Config) {
		c.OnMessage = func(Message) {}
		c.OnCall = func(c *Call) { c.Ring(); c.Answer(Voice{}); c.Hangup() }
		hurry(f, c)
		c.ListenPacket = func(netip.Addr) (net.PacketConn, error) { return listen(netip.AddrFrom4([4]byte{127, 0, 0, 1})) }
	})
	flow := siptransport.Flow{Via: sink{}, Peer: fk.addr}
	if err := u.do(patiently(f), func(*shard.Task) error {
		u.path.flow, u.path.open = flow, true
		u.reg.current = Registration{State: Registered, Contact: "sip:x@192.0.2.1"}
		return nil
	}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := u.do(t.Context(), func(*shard.Task) error { u.path.Packet(flow, b); return nil }); err != nil {
			t.Fatal(err)
		}
		if n := u.shard.Stats().Panics; n != 0 {
			t.Fatalf("%d panics", n)
		}
	})
}

// sendsEarly sends alice the description of a 200 in a reliable provisional response (RFC 3262).
func (f *fake) sendsEarly(m *sip.Message) {
	p := m.Clone()
	p.SetStatus(183, "")
	p.SetString(sip.HdrRequire, "100rel")
	p.SetString(sip.HdrRSeq, "7")
	f.send(f.users[impuOf(alice)], p)
}
