package siptxn

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/siptransport"
)

const (
	inviteLine  = "INVITE sip:bob@home.example SIP/2.0"
	messageLine = "MESSAGE sip:bob@home.example SIP/2.0"
	ackLine     = "ACK sip:bob@home.example SIP/2.0"
	cancelLine  = "CANCEL sip:bob@home.example SIP/2.0"
)

// lines puts times before a line.
func lines(line string, at ...float64) []string {
	var out []string
	for _, t := range at {
		out = append(out, fmt.Sprintf("%.2f %s", t, line))
	}
	return out
}

// first is the message that left first.
func (s *sender) first() string { return append(append([]packet{}, s.old...), s.sent...)[0].data }

// sentVia checks the Via that Send writes.
func TestVia(t *testing.T) {
	for name, tt := range map[string]struct {
		stream, off bool
		want        string
	}{
		"datagrams":     {false, false, "SIP/2.0/UDP 198.51.100.9:5060;branch=z9hG4bK%s;rport"},
		"stream":        {true, false, "SIP/2.0/TCP 198.51.100.9:5060;branch=z9hG4bK%s"},
		"without rport": {false, true, "SIP/2.0/UDP 198.51.100.9:5060;branch=z9hG4bK%s"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.NoRPort = tt.off })
			s := r.udp
			if tt.stream {
				s = r.tcp
			}
			r.sends(s, bob, text("MESSAGE", "1", "Via: SIP/2.0/UDP below.example;branch=z9hG4bKbelow\r\n"))
			msg := s.first()
			via := header(msg, "Via")
			token := strings.TrimSuffix(via[strings.Index(via, "z9hG4bK")+7:], ";rport")
			if via != fmt.Sprintf(tt.want, token) || len(token) != shard.TokenSize || !strings.Contains(msg, "below.example") {
				t.Errorf("sent\n%s", msg)
			}
			if len(via) > ViaRoom {
				t.Errorf("a Via of %d octets", len(via))
			}
		})
	}
}

func TestMustStream(t *testing.T) {
	for _, tt := range []struct {
		size, mtu int
		want      bool
	}{{1300, 0, false}, {1301, 0, true}, {1300, 1500, false}, {1301, 1500, true}, {8800, 9000, false}, {8801, 9000, true}, {700, 900, false}} {
		if got := MustStream(tt.size, tt.mtu); got != tt.want {
			t.Errorf("MustStream(%d, %d) = %v", tt.size, tt.mtu, got)
		}
	}
}

func TestSendThatIsRefused(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Limits.Clients = 1 })
	send := func(msg string) (err error) {
		r.do(func() {
			m, perr := r.pool.Parse([]byte(msg))
			if perr != nil {
				t.Fatal(perr)
			}
			_, err = r.l.Send(flowOf(r.tcp, bob), m, sentBy, r.user)
		})
		return err
	}
	r.tcp.err = errors.New("closed")
	for name, tt := range map[string]struct {
		msg string
		err error
	}{
		"ACK":         {text("ACK", "1"), ErrMessage},
		"CANCEL":      {text("CANCEL", "1"), ErrMessage},
		"response":    {answer(text("MESSAGE", "1"), 200, ""), ErrMessage},
		"no CSeq":     {strings.Replace(text("MESSAGE", "1"), "CSeq", "X", 1), ErrMessage},
		"closed flow": {text("MESSAGE", "1"), ErrTransport},
	} {
		if err := send(tt.msg); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.tcp.err = nil
	if err := send(text("INVITE", "1")); err != nil {
		t.Error(err)
	}
	if err := send(text("INVITE", "1")); !errors.Is(err, ErrLimit) {
		t.Errorf("one too many: %v", err)
	}
	r.wantEmpty()
}

// RFC 3261 17.1.2.2.
func TestClientNonINVITE(t *testing.T) {
	t.Run("timers E and F", func(t *testing.T) {
		r := newRig(t)
		r.sends(r.udp, bob, text("MESSAGE", "1"))
		r.advance(40 * time.Second)
		r.wantSent(lines(messageLine, 0, .5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5)...)
		r.wantUser("failed siptxn: timeout", "gone MESSAGE")
		r.wantEmpty()
	})
	t.Run("timers E and F of Gm", func(t *testing.T) {
		r := newRig(t, func(c *Config) {
			gm := GmTimers()
			c.TimersFor = func(siptransport.Flow) *Timers { return &gm }
		})
		r.sends(r.udp, bob, text("MESSAGE", "1"))
		r.advance(200 * time.Second)
		r.wantSent(lines(messageLine, 0, 2, 6, 14, 30, 46, 62, 78, 94, 110, 126)...)
		r.wantUser("failed siptxn: timeout", "gone MESSAGE")
		r.wantEmpty()
	})
	t.Run("provisional: T2 between retransmissions, F goes on", func(t *testing.T) {
		r := newRig(t)
		r.sends(r.udp, bob, text("MESSAGE", "1"))
		r.advance(100 * time.Millisecond)
		r.from(r.udp, bob, answer(r.udp.first(), 183, "b"))
		r.advance(40 * time.Second)
		r.wantSent(lines(messageLine, 0, .5, 4.5, 8.5, 12.5, 16.5, 20.5, 24.5, 28.5)...)
		r.wantUser("response 183 b", "failed siptxn: timeout", "gone MESSAGE")
		r.wantEmpty()
	})
	t.Run("final response once, timer K", func(t *testing.T) {
		r := newRig(t)
		r.sends(r.udp, bob, text("MESSAGE", "1"))
		r.advance(600 * time.Millisecond)
		final := answer(r.udp.first(), 200, "b")
		r.from(r.udp, bob, final)
		r.from(r.udp, bob, final)
		r.from(r.udp, bob, answer(r.udp.first(), 183, "b")) // overtaken
		r.advance(4900 * time.Millisecond)
		r.wantUser("response 200 b")
		r.advance(200 * time.Millisecond)
		r.wantUser("gone MESSAGE")
		r.from(r.udp, bob, final)
		r.wantUser()
		r.wantSent(lines(messageLine, 0, .5)...)
		if r.l.n.ResponseRepeats.Load() != 2 || r.l.n.StrayGone.Load() != 1 {
			t.Error("not counted")
		}
		r.wantEmpty()
	})
	t.Run("stream", func(t *testing.T) {
		r := newRig(t)
		c := r.sends(r.tcp, bob, text("MESSAGE", "1"))
		if c.req != nil {
			t.Error("holds a request that it never needs again")
		}
		r.advance(31 * time.Second)
		r.from(r.tcp, bob, answer(r.tcp.first(), 200, "b"))
		r.wantUser("response 200 b", "gone MESSAGE")
		r.wantSent(lines(messageLine, 0)...)
		r.wantEmpty()
	})
	t.Run("stream, no answer", func(t *testing.T) {
		r := newRig(t)
		r.sends(r.tcp, bob, text("MESSAGE", "1"))
		r.advance(33 * time.Second)
		r.wantUser("failed siptxn: timeout", "gone MESSAGE")
		r.wantEmpty()
	})
	t.Run("socket breaks between retransmissions", func(t *testing.T) {
		r := newRig(t)
		r.sends(r.udp, bob, text("MESSAGE", "1"))
		r.udp.err = errors.New("closed")
		r.advance(time.Second)
		r.wantUser("failed siptxn: transport failed", "gone MESSAGE")
		r.wantEmpty()
	})
}

// RFC 3261 17.1.1.2, RFC 6026 8.4.
func TestClientINVITE(t *testing.T) {
	t.Run("timers A and B", func(t *testing.T) {
		r := newRig(t)
		r.sends(r.udp, bob, text("INVITE", "1"))
		r.advance(40 * time.Second)
		r.wantSent(lines(inviteLine, 0, .5, 1.5, 3.5, 7.5, 15.5, 31.5)...) // seven in 64*T1
		r.wantUser("failed siptxn: timeout", "gone INVITE")
		r.wantEmpty()
	})
	t.Run("provisional ends A", func(t *testing.T) {
		r := newRig(t)
		r.sends(r.udp, bob, text("INVITE", "1"))
		r.advance(600 * time.Millisecond)
		r.from(r.udp, bob, answer(r.udp.first(), 100, ""))
		r.from(r.udp, bob, answer(r.udp.first(), 180, "b"))
		r.from(r.udp, bob, answer(r.udp.first(), 180, "b"))
		r.advance(time.Minute)
		r.wantSent(lines(inviteLine, 0, .5)...)
		r.wantUser("response 100 ", "response 180 b", "response 180 b")
		r.wantEmpty()
	})
	t.Run("failure: ACK, again for each repetition, timer D", func(t *testing.T) {
		r := newRig(t)
		r.sends(r.udp, bob, text("INVITE", "1", "Route: <sip:one.example;lr>\r\n", "Route: <sip:two.example;lr>\r\n"))
		invite := r.udp.first()
		failure := answer(invite, 486, "b")
		r.from(r.udp, bob, answer(invite, 180, "b"))
		r.from(r.udp, bob, failure)
		r.advance(10 * time.Second)
		r.from(r.udp, bob, failure)
		r.from(r.udp, bob, answer(invite, 200, "b")) // a peer that changes its mind
		r.from(r.udp, bob, answer(invite, 180, "b"))
		r.wantSent("0.00 "+inviteLine, "0.00 "+ackLine, "10.00 "+ackLine)
		r.wantUser("response 180 b", "response 486 b")
		wantFollow(t, invite, r.udp.last().data, "ACK", header(failure, "To"))
		r.advance(21900 * time.Millisecond)
		r.wantUser()
		r.advance(200 * time.Millisecond)
		r.wantUser("gone INVITE")
		r.wantEmpty()
	})
	t.Run("failure over a stream", func(t *testing.T) {
		r := newRig(t)
		r.sends(r.tcp, bob, text("INVITE", "1"))
		r.from(r.tcp, bob, answer(r.tcp.first(), 486, "b"))
		r.wantSent("0.00 "+inviteLine, "0.00 "+ackLine)
		r.wantUser("response 486 b", "gone INVITE")
		r.wantEmpty()
	})
	for _, again := range []bool{true, false} {
		t.Run(fmt.Sprint("2xx, repeated and of other branches, again=", again), func(t *testing.T) {
			r := newRig(t)
			r.user.again = again
			r.sends(r.udp, bob, text("INVITE", "1"))
			invite := r.udp.first()
			r.from(r.udp, bob, answer(invite, 200, "b"))
			r.from(r.udp, bob, answer(invite, 200, "b"))
			r.from(r.udp, bob, answer(invite, 200, "c"))
			r.from(r.udp, bob, answer(invite, 486, "d"))
			r.from(r.udp, bob, answer(invite, 180, "d"))
			r.from(r.udp, bob, answer(invite, 200, "c"))
			want := []string{"response 200 b", "again 200 b", "response 200 b", "response 200 c", "again 200 c", "response 200 c"}
			if again {
				want = []string{"response 200 b", "again 200 b", "response 200 c", "again 200 c"}
			}
			r.wantUser(want...)
			r.wantSent("0.00 " + inviteLine) // no ACK: that is the user's
			r.advance(31900 * time.Millisecond)
			r.wantUser()
			r.advance(200 * time.Millisecond) // timer M
			r.wantUser("gone INVITE")
			r.from(r.udp, bob, answer(invite, 200, "b"))
			r.wantUser() // RFC 6026 7.2: a stray 2xx is dropped
			r.wantEmpty()
		})
	}
	t.Run("timer C: CANCEL, and 64*T1 later the end", func(t *testing.T) {
		r := newRig(t)
		c := r.sends(r.tcp, bob, text("INVITE", "1"))
		invite := r.tcp.first()
		r.from(r.tcp, bob, answer(invite, 180, "b"))
		r.advance(100 * time.Second)
		r.from(r.tcp, bob, answer(invite, 100, "")) // does not start C anew
		r.advance(50 * time.Second)
		r.from(r.tcp, bob, answer(invite, 181, "b")) // does
		r.advance(190 * time.Second)
		if !c.Cancelling() {
			t.Error("not cancelling")
		}
		r.advance(10 * time.Minute)
		r.wantSent("0.00 "+inviteLine, "335.00 "+cancelLine)
		r.wantUser("response 180 b", "response 100 ", "response 181 b", "failed siptxn: timeout", "gone INVITE")
		r.wantEmpty()
	})
}

func TestClientINVITE_answers_without_end(t *testing.T) {
	r := newRig(t)
	r.sends(r.tcp, bob, text("INVITE", "1"))
	invite := r.tcp.first()
	for i := range 300 {
		r.from(r.tcp, bob, answer(invite, 180, fmt.Sprint(i)))
	}
	if n := len(r.user.log); n != 256 {
		t.Errorf("%d ringing, want 256", n)
	}
	r.advance(184 * time.Second)
	for i := range 300 {
		r.from(r.tcp, bob, answer(invite, 200, fmt.Sprint(i)))
	}
	if n := len(r.user.log); n != 257 {
		t.Errorf("%d answers beside, want the final one", n-256)
	}
}

// wantFollow checks a hop-by-hop ACK or CANCEL against its INVITE.
func wantFollow(t *testing.T, invite, msg, method, to string) {
	t.Helper()
	for _, name := range []string{"Via", "From", "Call-ID"} {
		if header(msg, name) != header(invite, name) {
			t.Errorf("%s: %s", name, header(msg, name))
		}
	}
	if header(msg, "To") != to || header(msg, "CSeq") != "7 "+method || header(msg, "Max-Forwards") != "70" || strings.Count(msg, "Via:") != 1 {
		t.Errorf("wrong fields:\n%s", msg)
	}
	for _, line := range strings.Split(invite, "\r\n") {
		if strings.HasPrefix(line, "Route:") && !strings.Contains(msg, line) {
			t.Errorf("%s missing:\n%s", line, msg)
		}
	}
	if strings.Count(msg, "Route:") != strings.Count(invite, "Route:") || strings.Index(msg, "one.example") > strings.Index(msg, "two.example") {
		t.Errorf("routes differ:\n%s", msg)
	}
}

// TestClientCancel_for_a_reason: a CANCEL says why it comes, whenever it leaves (RFC 3326 2).
func TestClientCancel_for_a_reason(t *testing.T) {
	for _, early := range []bool{false, true} {
		r := newRig(t)
		c := r.sends(r.udp, bob, text("INVITE", "1"))
		invite := r.udp.first()
		why := func() { r.do(func() { r.l.CancelFor(c, "SIP;cause=503"); r.l.Cancel(c) }) }
		if early {
			why()
		}
		r.from(r.udp, bob, answer(invite, 180, "b"))
		if !early {
			why()
		}
		if got := header(r.udp.last().data, "Reason"); got != "SIP;cause=503" {
			t.Errorf("before the provisional response %v: Reason %q", early, got)
		}
	}
}

// RFC 3261 9.1.
func TestClientCancel(t *testing.T) {
	route := []string{"Route: <sip:one.example;lr>\r\n", "Route: <sip:two.example;lr>\r\n"}
	t.Run("after a provisional response", func(t *testing.T) {
		r := newRig(t)
		c := r.sends(r.udp, bob, text("INVITE", "1", route...))
		invite := r.udp.first()
		r.from(r.udp, bob, answer(invite, 180, "b"))
		r.do(func() { r.l.Cancel(c); r.l.Cancel(c) })
		r.wantSent("0.00 "+inviteLine, "0.00 "+cancelLine)
		cancel := r.udp.last().data
		wantFollow(t, invite, cancel, "CANCEL", header(invite, "To"))
		r.advance(4 * time.Second)
		r.wantSent(lines(cancelLine, .5, 1.5, 3.5)...)
		r.from(r.udp, bob, answer(cancel, 200, "b"))
		r.advance(10 * time.Second)
		r.wantSent()
		r.from(r.udp, bob, answer(invite, 487, "b"))
		r.wantSent("14.00 " + ackLine)
		r.wantUser("response 180 b", "response 487 b")
		r.wantEmpty()
	})
	t.Run("before a provisional response: waits for one", func(t *testing.T) {
		r := newRig(t)
		c := r.sends(r.udp, bob, text("INVITE", "1"))
		r.do(func() { r.l.Cancel(c) })
		r.wantSent("0.00 " + inviteLine)
		r.from(r.udp, bob, answer(r.udp.first(), 100, ""))
		r.wantSent("0.00 " + cancelLine)
		if !c.Cancelling() {
			t.Error("not cancelling")
		}
		r.wantEmpty()
	})
	t.Run("race: the 200 was faster", func(t *testing.T) {
		r := newRig(t)
		c := r.sends(r.udp, bob, text("INVITE", "1"))
		invite := r.udp.first()
		r.from(r.udp, bob, answer(invite, 180, "b"))
		r.do(func() { r.l.Cancel(c) })
		r.from(r.udp, bob, answer(invite, 200, "b"))
		r.advance(10 * time.Second)
		r.wantSent("0.00 "+inviteLine, "0.00 "+cancelLine)
		r.wantUser("response 180 b", "response 200 b")
		r.do(func() { r.l.Cancel(c) })
		r.wantSent()
		r.wantEmpty()
	})
	t.Run("race: the 200 came instead of a provisional", func(t *testing.T) {
		r := newRig(t)
		c := r.sends(r.udp, bob, text("INVITE", "1"))
		r.do(func() { r.l.Cancel(c) })
		r.from(r.udp, bob, answer(r.udp.first(), 200, "b"))
		r.wantSent("0.00 " + inviteLine)
		r.wantUser("response 200 b")
		r.wantEmpty()
	})
	t.Run("nobody hears it", func(t *testing.T) {
		r := newRig(t)
		c := r.sends(r.udp, bob, text("INVITE", "1"))
		r.from(r.udp, bob, answer(r.udp.first(), 180, "b"))
		r.do(func() { r.l.Cancel(c) })
		r.advance(20 * time.Second)
		r.from(r.udp, bob, answer(r.udp.first(), 180, "b")) // does not lengthen it
		r.advance(20 * time.Second)
		r.wantUser("response 180 b", "response 180 b", "failed siptxn: timeout", "gone INVITE")
		r.wantEmpty()
	})
	t.Run("the 487 comes without an answer to the CANCEL", func(t *testing.T) {
		r := newRig(t)
		c := r.sends(r.udp, bob, text("INVITE", "1"))
		r.from(r.udp, bob, answer(r.udp.first(), 180, "b"))
		r.do(func() { r.l.Cancel(c) })
		r.from(r.udp, bob, answer(r.udp.first(), 487, "b"))
		r.advance(10 * time.Second)
		r.wantSent("0.00 "+inviteLine, "0.00 "+cancelLine, "0.00 "+ackLine)
		r.wantEmpty()
	})
	t.Run("of a MESSAGE: nothing", func(t *testing.T) {
		r := newRig(t)
		c := r.sends(r.udp, bob, text("MESSAGE", "1"))
		r.do(func() { r.l.Cancel(c) })
		r.from(r.udp, bob, answer(r.udp.first(), 183, "b"))
		r.wantSent("0.00 " + messageLine)
		r.wantEmpty()
	})
}

// RFC 3261 17.1.4, 18.4.
func TestFlowClosed(t *testing.T) {
	r := newRig(t)
	other := &sender{r: r, proto: "TLS", reliable: true}
	r.sends(r.tcp, bob, text("MESSAGE", "1"))
	c := r.sends(r.tcp, bob, text("INVITE", "2"))
	r.sends(r.tcp, bob, text("INVITE", "3"))
	r.sends(other, bob, text("MESSAGE", "4"))
	done := r.tcp.sent[2].data
	r.from(r.tcp, bob, answer(done, 200, "b"))
	ref := c.Ref()
	r.do(func() { r.l.FlowClosed(flowOf(r.tcp, bob)) })
	r.wantUser("response 200 b", "failed siptxn: transport failed", "failed siptxn: transport failed", "gone INVITE", "gone INVITE", "gone MESSAGE")
	if r.l.Client(ref) != nil || r.l.Client(ClientRef{}) != nil {
		t.Error("found by an old name")
	}
	r.from(other, bob, answer(other.first(), 200, "b"))
	r.wantUser("response 200 b", "gone MESSAGE")
	r.wantEmpty()
}

func TestSendAck(t *testing.T) {
	r := newRig(t)
	branches := map[string]bool{}
	for range 3 {
		r.do(func() {
			m, _ := r.pool.Parse([]byte(text("ACK", "1")))
			if err := r.l.SendAck(flowOf(r.udp, bob), m, sentBy); err != nil {
				t.Error(err)
			}
		})
		msg := r.udp.last().data
		if strings.Count(msg, "Via:") != 2 {
			t.Errorf("sent\n%s", msg)
		}
		branches[header(msg, "Via")] = true
		// An answer to an ACK is nonsense, and its branch names no transaction.
		r.from(r.udp, bob, answer(msg, 200, "b"))
	}
	if len(branches) != 3 || r.l.n.StrayToken.Load() != 3 {
		t.Errorf("branches %v, %d strays", branches, r.l.n.StrayToken.Load())
	}
	r.do(func() {
		m, _ := r.pool.Parse([]byte(text("BYE", "1")))
		if err := r.l.SendAck(flowOf(r.udp, bob), m, sentBy); !errors.Is(err, ErrMessage) {
			t.Errorf("BYE: %v", err)
		}
	})
	r.wantEmpty()
}

// TestResponseThatIsDropped: each is counted by its reason, and the transaction goes on.
func TestResponseThatIsDropped(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(string) string
		from   netip.AddrPort
		n      func(*Counters) uint64
	}{
		"branch of somebody else": {func(s string) string {
			i := strings.Index(s, "z9hG4bK") + 7
			return s[:i] + strings.Repeat("A", shard.TokenSize) + s[i+shard.TokenSize:]
		}, bob, func(c *Counters) uint64 { return c.StrayToken.Load() }},
		"branch longer than ours": {func(s string) string { return strings.Replace(s, ";rport", "x;rport", 1) }, bob,
			func(c *Counters) uint64 { return c.StrayToken.Load() }},
		"another address": {func(s string) string { return s }, alice, func(c *Counters) uint64 { return c.StraySource.Load() }},
		"another method":  {func(s string) string { return strings.Replace(s, "7 INVITE", "7 BYE", 1) }, bob, func(c *Counters) uint64 { return c.StrayMethod.Load() }},
		"a CANCEL that was not sent": {func(s string) string { return strings.Replace(s, "7 INVITE", "7 CANCEL", 1) }, bob,
			func(c *Counters) uint64 { return c.StrayMethod.Load() }},
		"malformed": {func(s string) string { return strings.Replace(s, "From:", "X:", 1) }, bob, func(c *Counters) uint64 { return c.StrayMalformed.Load() }},
		"no Via":    {func(s string) string { return strings.Replace(s, "Via:", "X:", 1) }, bob, func(c *Counters) uint64 { return c.StrayToken.Load() }},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.sends(r.udp, bob, text("INVITE", "1"))
			r.from(r.udp, tt.from, tt.change(answer(r.udp.first(), 200, "b")))
			r.wantUser()
			if n := tt.n(&r.l.n); n != 1 {
				t.Errorf("counted %d", n)
			}
			r.from(r.udp, bob, answer(r.udp.first(), 200, "b"))
			r.wantUser("response 200 b")
			r.wantEmpty()
		})
	}
}

// TestForeign: a response of another shard is handed over once, before it is parsed if its Via is spelt as we spell it.
func TestForeign(t *testing.T) {
	var home *rig
	r := newRig(t, func(c *Config) {
		c.Foreign = func(p shard.Place, f siptransport.Flow, data []byte) {
			if p.Node != 3 || p.Shard != 1 {
				t.Errorf("place %+v", p)
			}
			home.from(home.udp, f.Peer, string(data))
		}
		c.Shard = shard.New(shard.Config{Node: 3, ID: 2, Clock: shard.NewFake(time.Now())})
	})
	r.sh = r.l.sh
	home = newRig(t)
	home.sends(home.udp, bob, text("MESSAGE", "1"))
	res := answer(home.udp.first(), 100, "b")
	for name, spelt := range map[string]string{
		"as we spell it": res,
		"compact":        strings.Replace(res, "Via:", "v :", 1),
		"other fields":   strings.Replace(res, "Via:", "X: y\r\nVia:", 1),
		"folded":         strings.Replace(res, ";branch", "\r\n ;branch", 1),
		"white space":    strings.Replace(res, "branch=", "branch = ", 1),
	} {
		t.Run(name, func(t *testing.T) {
			place, early := r.l.PlaceOfResponse([]byte(spelt))
			if want := name != "folded" && name != "white space"; early != want || want && place.Shard != 1 {
				t.Errorf("before parsing: %v, %+v", early, place)
			}
			r.from(r.udp, bob, spelt)
			home.wantUser("response 100 b")
		})
	}
	for name, data := range map[string]string{"a request": home.udp.first(), "empty": "", "cut": res[:30], "no Via": "SIP/2.0 200 OK\r\n\r\nVia:" + res} {
		if _, ok := r.l.PlaceOfResponse([]byte(data)); ok {
			t.Errorf("%s has a place", name)
		}
	}
	if got := r.l.n.ForeignGiven.Load(); got != 5 {
		t.Errorf("%d handed over", got)
	}
	home.wantEmpty()
}

// TestTimersTable compares with RFC 3261 table 4 and TS 24.229 7.7.
func TestTimersTable(t *testing.T) {
	s := time.Second
	if got, want := DefaultTimers(), (Timers{T1: s / 2, T2: 4 * s, T4: 5 * s, B: 32 * s, C: 185 * s, D: 32 * s, F: 32 * s, H: 32 * s, I: 5 * s, J: 32 * s,
		K: 5 * s, L: 32 * s, M: 32 * s, Trying: s / 5, Abandon: 249 * s}); got != want {
		t.Errorf("default: %+v", got)
	}
	if got, want := GmTimers(), (Timers{T1: 2 * s, T2: 16 * s, T4: 17 * s, B: 128 * s, C: 185 * s, D: 128 * s, F: 128 * s, H: 128 * s, I: 17 * s, J: 128 * s,
		K: 17 * s, L: 128 * s, M: 128 * s, Trying: s / 5, Abandon: 441 * s}); got != want {
		t.Errorf("Gm: %+v", got)
	}
}
