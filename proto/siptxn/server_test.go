package siptxn

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
)

const (
	trying  = "SIP/2.0 100 Trying"
	ringing = "SIP/2.0 180 Ringing"
	ok      = "SIP/2.0 200 OK"
	busy    = "SIP/2.0 486 Busy Here"
)

// RFC 3261 17.2.2.
func TestServerNonINVITE(t *testing.T) {
	t.Run("retransmissions in each state", func(t *testing.T) {
		r := newRig(t)
		msg := text("MESSAGE", "1")
		r.from(r.udp, alice, msg)
		r.from(r.udp, alice, msg)
		r.wantUser("request MESSAGE")
		r.wantSent() // Trying: silence
		_ = r.respond(183)
		r.from(r.udp, alice, msg)
		r.wantSent("0.00 SIP/2.0 183 Session Progress", "0.00 SIP/2.0 183 Session Progress")
		_ = r.respond(200)
		r.wantUser("ended MESSAGE")
		first := r.udp.sent[0]
		r.advance(31 * time.Second)
		r.from(r.udp, alice, msg)
		r.wantSent("0.00 "+ok, "31.00 "+ok)
		if again := r.udp.last(); again.data != first.data || again.peer != alice {
			t.Errorf("repeated to %v:\n%s", again.peer, again.data)
		}
		r.wantUser()
		r.advance(time.Second) // timer J: 32 s
		r.from(r.udp, alice, msg)
		r.wantUser("request MESSAGE")
		r.wantEmpty()
	})
	t.Run("stream: nothing is kept", func(t *testing.T) {
		r := newRig(t)
		msg := text("MESSAGE", "1")
		r.from(r.tcp, alice, msg)
		_ = r.respond(200)
		r.wantUser("request MESSAGE", "ended MESSAGE")
		r.wantSent("0.00 " + ok)
		r.from(r.tcp, alice, msg)
		r.wantUser("request MESSAGE")
		r.wantEmpty()
	})
	t.Run("second final response", func(t *testing.T) {
		r := newRig(t)
		r.user.onRequest = func(tx *Server) {
			if err := r.l.Respond(tx, r.response(tx, 200)); err != nil {
				t.Errorf("first: %v", err)
			}
			if err := r.l.Respond(tx, r.response(tx, 500)); !errors.Is(err, ErrState) {
				t.Errorf("second: %v", err)
			}
			r.user.note("still inside")
		}
		r.from(r.udp, alice, text("MESSAGE", "1"))
		r.wantUser("request MESSAGE", "still inside", "ended MESSAGE")
		r.wantSent("0.00 " + ok)
		r.wantEmpty()
	})
	t.Run("user never answers", func(t *testing.T) {
		r := newRig(t)
		r.from(r.udp, alice, text("MESSAGE", "1"))
		r.advance(33 * time.Second)
		r.wantUser("request MESSAGE", "ended MESSAGE")
		r.wantSent() // RFC 4320: no late answers
		if r.l.n.Abandoned.Load() != 1 {
			t.Error("not counted")
		}
		r.wantEmpty()
	})
	t.Run("closed flow", func(t *testing.T) {
		r := newRig(t)
		r.from(r.tcp, alice, text("MESSAGE", "1"))
		r.tcp.err = errors.New("closed")
		if err := r.respond(200); !errors.Is(err, ErrTransport) {
			t.Errorf("Respond: %v", err)
		}
		r.wantUser("request MESSAGE", "ended MESSAGE")
		r.wantEmpty()
	})
}

// RFC 3261 17.2.1.
func TestServerINVITE(t *testing.T) {
	t.Run("100 after 200 ms, and at once for a retransmission", func(t *testing.T) {
		r := newRig(t)
		r.from(r.udp, alice, text("INVITE", "1"))
		r.advance(190 * time.Millisecond)
		r.wantSent()
		r.advance(time.Second)
		r.wantSent("0.20 " + trying)
		r.from(r.udp, alice, text("INVITE", "1"))
		r.from(r.udp, alice, text("INVITE", "2"))
		r.from(r.udp, alice, text("INVITE", "2"))
		r.wantSent("1.19 "+trying, "1.19 "+trying)
		if tag := header(r.udp.last().data, "To"); strings.Contains(tag, "tag") {
			t.Errorf("100 with a tag: %s", tag)
		}
		r.wantUser("request INVITE", "request INVITE")
		r.wantEmpty()
	})
	t.Run("no 100 if the user was faster", func(t *testing.T) {
		r := newRig(t)
		r.from(r.udp, alice, text("INVITE", "1"))
		_ = r.respond(180)
		r.advance(time.Second)
		r.from(r.udp, alice, text("INVITE", "1"))
		r.wantSent("0.00 "+ringing, "1.00 "+ringing)
		r.wantEmpty()
	})
	t.Run("timers G and H", func(t *testing.T) {
		r := newRig(t)
		r.from(r.udp, alice, text("INVITE", "1"))
		_ = r.respond(486)
		r.advance(40 * time.Second)
		var want []string
		for _, at := range []float64{0, .5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5} {
			want = append(want, fmt.Sprintf("%.2f %s", at, busy))
		}
		r.wantSent(want...)
		r.wantUser("request INVITE", "ended INVITE")
		if r.l.n.NoAck.Load() != 1 {
			t.Error("not counted")
		}
		r.wantEmpty()
	})
	t.Run("ACK ends G; timer I absorbs", func(t *testing.T) {
		r := newRig(t)
		r.from(r.udp, alice, text("INVITE", "1"))
		_ = r.respond(486)
		r.advance(time.Second)
		ack := text("ACK", "1")
		r.from(r.udp, alice, ack)
		r.from(r.udp, alice, ack)
		r.from(r.udp, alice, text("INVITE", "1")) // late
		r.advance(4900 * time.Millisecond)
		r.wantSent("0.00 "+busy, "0.50 "+busy)
		r.wantUser("request INVITE")
		r.advance(200 * time.Millisecond)
		r.wantUser("ended INVITE")
		r.wantEmpty()
	})
	t.Run("stream: no G, ACK ends it at once", func(t *testing.T) {
		r := newRig(t)
		r.from(r.tcp, alice, text("INVITE", "1"))
		_ = r.respond(486)
		r.advance(10 * time.Second)
		r.from(r.tcp, alice, text("ACK", "1"))
		r.wantSent("0.00 " + busy)
		r.wantUser("request INVITE", "ended INVITE")
		r.wantEmpty()
	})
	t.Run("user never answers", func(t *testing.T) {
		r := newRig(t)
		r.from(r.tcp, alice, text("INVITE", "1"))
		_ = r.respond(180)
		r.advance(10 * time.Minute)
		r.wantSent("0.00 "+ringing, "249.00 SIP/2.0 500 Server Internal Error")
		r.wantUser("request INVITE", "ended INVITE")
		r.wantEmpty()
	})
	t.Run("failure while the flow is closed", func(t *testing.T) {
		r := newRig(t)
		r.from(r.tcp, alice, text("INVITE", "1"))
		r.tcp.err = errors.New("closed")
		if err := r.respond(486); !errors.Is(err, ErrTransport) {
			t.Errorf("Respond: %v", err)
		}
		r.from(r.tcp, alice, text("INVITE", "1")) // RFC 6026 7.1: still absorbed
		r.wantUser("request INVITE")
		r.wantEmpty()
	})
}

// RFC 6026 7.1.
func TestServerAccepted(t *testing.T) {
	tagged := func(tag string) func(*sip.Message) {
		return func(m *sip.Message) { m.SetString(sip.HdrTo, "<sip:bob@home.example>;tag="+tag) }
	}
	for _, reliable := range []bool{false, true} {
		t.Run(fmt.Sprint("reliable=", reliable), func(t *testing.T) {
			r := newRig(t)
			s := r.udp
			if reliable {
				s = r.tcp
			}
			r.from(s, alice, text("INVITE", "1"))
			_ = r.respond(200, tagged("x"))
			r.wantSent("0.00 " + ok)
			r.advance(10 * time.Second)
			r.from(s, alice, text("INVITE", "1"))
			r.wantSent() // absorbed, and not repeated by the layer
			if err := r.respond(486); !errors.Is(err, ErrState) {
				t.Errorf("failure after 2xx: %v", err)
			}
			if err := r.respond(200, tagged("y")); err != nil {
				t.Errorf("2xx of another branch: %v", err)
			}
			r.wantSent("10.00 " + ok)
			r.do(func() {
				if r.l.Retransmit2xx(r.user.tx, []byte("x")) {
					t.Error("x is not the last")
				}
				if !r.l.Retransmit2xx(r.user.tx, []byte("y")) || !r.l.Retransmit2xx(r.user.tx, nil) {
					t.Error("y is the last")
				}
			})
			r.wantSent("10.00 "+ok, "10.00 "+ok)
			r.from(s, alice, text("ACK", "1")) // a sender that reuses the branch
			r.from(s, alice, text("ACK", "2"))
			r.wantUser("request INVITE", "ack", "ack")
			r.advance(21900 * time.Millisecond)
			r.wantUser()
			r.advance(200 * time.Millisecond) // timer L
			r.wantUser("ended INVITE")
			r.wantEmpty()
		})
	}
}

// RFC 3261 9.2.
func TestCANCEL(t *testing.T) {
	t.Run("while ringing", func(t *testing.T) {
		r := newRig(t)
		r.from(r.udp, alice, text("INVITE", "1"))
		_ = r.respond(180)
		r.from(r.udp, alice, text("CANCEL", "1"))
		r.wantSent("0.00 "+ringing, "0.00 "+ok)
		cancelOK := r.udp.last().data
		if got := header(cancelOK, "CSeq"); got != "7 CANCEL" {
			t.Errorf("CSeq %s", got)
		}
		r.from(r.udp, alice, text("CANCEL", "1"))
		// The tag of the layer is a sealed token too, but no branch.
		_, tag, _ := strings.Cut(header(cancelOK, "To"), ";tag=")
		for kind := byte('A'); kind <= 'z'; kind++ {
			if _, ok := r.l.cfg.Sealer.Open(kind, []byte(tag)); ok || len(tag) != shard.TokenSize {
				t.Errorf("tag %s opens as a branch of layer %c", tag, kind)
			}
		}
		if again := r.udp.last().data; again != cancelOK {
			t.Errorf("retransmission was answered otherwise:\n%s", again)
		}
		r.wantUser("request INVITE", "cancelled INVITE")
		r.do(func() { _ = r.l.Reply(r.user.tx, 487, "") })
		if got := header(r.udp.last().data, "To"); got != header(cancelOK, "To") {
			t.Errorf("tags differ: %s", got)
		}
		r.from(r.udp, alice, text("ACK", "1"))
		r.wantSent("0.00 "+ok, "0.00 SIP/2.0 487 Request Terminated")
		r.wantEmpty()
	})
	t.Run("race: after the 200", func(t *testing.T) {
		r := newRig(t)
		r.from(r.udp, alice, text("INVITE", "1"))
		_ = r.respond(200)
		r.from(r.udp, alice, text("CANCEL", "1"))
		r.wantSent("0.00 "+ok, "0.00 "+ok)
		r.wantUser("request INVITE")
		r.wantEmpty()
	})
	t.Run("a copy that comes when the INVITE is forgotten", func(t *testing.T) {
		r := newRig(t)
		r.from(r.udp, alice, text("INVITE", "1"))
		r.from(r.udp, alice, text("CANCEL", "1"))
		_ = r.respond(487)
		r.from(r.udp, alice, text("ACK", "1"))
		r.advance(6 * time.Second) // longer than timer I
		r.from(r.udp, alice, text("CANCEL", "1"))
		r.wantSent("0.00 "+ok, "0.00 SIP/2.0 487 Request Terminated", "6.00 "+ok)
		r.wantUser("request INVITE", "cancelled INVITE", "ended INVITE")
		r.advance(time.Minute)
		r.wantEmpty()
	})
	t.Run("user answers within the call", func(t *testing.T) {
		r := newRig(t)
		r.from(r.tcp, alice, text("INVITE", "1"))
		r.from(r.tcp, alice, text("CANCEL", "1"))
		_ = r.respond(487)
		r.from(r.tcp, alice, text("ACK", "1"))
		r.from(r.tcp, alice, text("CANCEL", "1"))
		r.wantSent("0.00 "+ok, "0.00 SIP/2.0 487 Request Terminated", "0.00 SIP/2.0 481 Call/Transaction Does Not Exist")
		r.wantUser("request INVITE", "cancelled INVITE", "ended INVITE")
		r.wantEmpty()
	})
	for name, from := range map[string]netip.AddrPort{"without an INVITE": alice, "from a stranger": bob} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			if from == bob {
				r.from(r.udp, alice, text("INVITE", "1"))
			}
			r.from(r.udp, from, text("CANCEL", "1"))
			if got := r.udp.last(); got.first() != "SIP/2.0 481 Call/Transaction Does Not Exist" {
				t.Errorf("got %s", got.first())
			}
			if r.l.n.CancelsUnmatched.Load() != 1 || r.l.n.Cancels.Load() != 0 {
				t.Error("not counted")
			}
			r.wantEmpty()
		})
	}
	t.Run("of a MESSAGE", func(t *testing.T) {
		r := newRig(t)
		r.from(r.udp, alice, text("MESSAGE", "1"))
		r.from(r.udp, alice, text("CANCEL", "1"))
		r.wantSent("0.00 SIP/2.0 481 Call/Transaction Does Not Exist")
		r.wantEmpty()
	})
}

// RFC 3261 17.2.3.
func TestServerMatching(t *testing.T) {
	base := text("OPTIONS", "one")
	for name, tt := range map[string]struct {
		msg   string
		from  netip.AddrPort
		again bool
	}{
		"same":                     {base, alice, true},
		"sent-by in capitals":      {strings.Replace(base, "192.0.2.1:5061;b", "HOST.Example;b", 1), alice, false},
		"another port of the peer": {base, netip.AddrPortFrom(alice.Addr(), 9), true},
		"another branch":           {text("OPTIONS", "two"), alice, false},
		"another method":           {text("MESSAGE", "one"), alice, false},
		"another method unknown":   {text("FLY", "one"), alice, false},
		"another sent-by port":     {strings.Replace(base, "192.0.2.1:5061;b", "192.0.2.1;b", 1), alice, false},
		"another address":          {base, bob, false},
		"a branch with more":       {text("OPTIONS", "one1"), alice, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.AnyPort = true })
			r.from(r.udp, alice, base)
			r.user.log = nil
			r.from(r.udp, tt.from, tt.msg)
			if got := len(r.user.log) == 0; got != tt.again {
				t.Errorf("taken for a retransmission: %v", got)
			}
			r.wantEmpty()
		})
	}
	t.Run("another port, by default", func(t *testing.T) {
		r := newRig(t)
		r.from(r.udp, alice, text("INVITE", "1"))
		for _, method := range []string{"CANCEL", "INVITE"} {
			r.from(r.udp, netip.AddrPortFrom(alice.Addr(), 9), text(method, "1"))
		}
		r.wantUser("request INVITE", "request INVITE")
		r.wantEmpty()
	})
	t.Run("an ACK is never the retransmission of another method", func(t *testing.T) {
		r := newRig(t)
		r.from(r.udp, alice, base)
		r.from(r.udp, alice, text("ACK", "one"))
		r.wantUser("request OPTIONS", "ack")
		r.wantEmpty()
	})
	t.Run("sent-by differs in case only", func(t *testing.T) {
		r := newRig(t)
		r.from(r.udp, alice, strings.Replace(base, "192.0.2.1:5061;b", "host.example;b", 1))
		r.from(r.udp, alice, strings.Replace(base, "192.0.2.1:5061;b", "HOST.Example;b", 1))
		r.wantUser("request OPTIONS")
	})
}

// RFC 3261 18.2.1, 18.2.2, RFC 3581 4.
func TestReceived(t *testing.T) {
	v6 := netip.MustParseAddrPort("[2001:db8::7]:4000")
	for name, tt := range map[string]struct {
		via  string
		from netip.AddrPort
		tcp  bool
		want string
		to   string
	}{
		"rport":                     {"SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK1;rport", alice, false, "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK1;rport=5061;received=192.0.2.1", "192.0.2.1:5061"},
		"no rport":                  {"SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK1", alice, false, "SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK1;received=192.0.2.1", "192.0.2.1:5070"},
		"no port at all":            {"SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1", alice, false, "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;received=192.0.2.1", "192.0.2.1:5060"},
		"maddr is ignored":          {"SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;maddr=203.0.113.1", alice, false, "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;maddr=203.0.113.1;received=192.0.2.1", "192.0.2.1:5060"},
		"received of the sender":    {"SIP/2.0/UDP 10.0.0.1;received=203.0.113.1;branch=z9hG4bK1", alice, false, "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;received=192.0.2.1", "192.0.2.1:5060"},
		"stream: by the flow":       {"SIP/2.0/TCP 10.0.0.1:5070;branch=z9hG4bK1", alice, true, "SIP/2.0/TCP 10.0.0.1:5070;branch=z9hG4bK1;received=192.0.2.1", "192.0.2.1:5061"},
		"IPv6":                      {"SIP/2.0/UDP [2001:db8::1]:5060;branch=z9hG4bK1;rport", v6, false, "SIP/2.0/UDP [2001:db8::1]:5060;branch=z9hG4bK1;rport=4000;received=2001:db8::7", "[2001:db8::7]:4000"},
		"rport value of the sender": {"SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;rport=99", alice, false, "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;rport=5061;received=192.0.2.1", "192.0.2.1:5061"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			s := r.udp
			if tt.tcp {
				s = r.tcp
			}
			r.from(s, tt.from, strings.Replace(text("OPTIONS", "1"), "SIP/2.0/UDP 192.0.2.1:5061;branch=z9hG4bK1;rport", tt.via, 1))
			if got := string(r.user.kept.Get(sip.HdrVia)); got != tt.want {
				t.Errorf("Via %s", got)
			}
			if f := r.user.tx.Flow(); f != flowOf(s, tt.from) {
				t.Errorf("came by %v", f)
			}
			_ = r.respond(200)
			if got := s.last(); got.peer.String() != tt.to || header(got.data, "Via") != tt.want {
				t.Errorf("answered to %v: %s", got.peer, header(got.data, "Via"))
			}
			r.wantEmpty()
		})
	}
}

func TestRequestThatIsRefused(t *testing.T) {
	good := text("OPTIONS", "1")
	for name, tt := range map[string]struct {
		msg    string
		answer string
	}{
		"no cookie":            {strings.Replace(good, "z9hG4bK", "", 1), "SIP/2.0 400 Branch Without Magic Cookie"},
		"cookie alone":         {strings.Replace(good, "z9hG4bK1", "z9hG4bK", 1), "SIP/2.0 400 Bad Branch"},
		"no branch":            {strings.Replace(good, ";branch=z9hG4bK1", "", 1), "SIP/2.0 400 Branch Without Magic Cookie"},
		"no From":              {strings.Replace(good, "From:", "X:", 1), "SIP/2.0 400 Missing From"},
		"other CSeq method":    {strings.Replace(good, "7 OPTIONS", "7 INVITE", 1), "SIP/2.0 400 CSeq Method Does Not Match"},
		"bad version":          {strings.Replace(good, "example SIP/2.0", "example SIP/3.0", 1), "SIP/2.0 505 Version Not Supported"},
		"ACK without a cookie": {strings.Replace(text("ACK", "1"), "z9hG4bK", "", 1), ""},
		"malformed ACK":        {strings.Replace(text("ACK", "1"), "From:", "X:", 1), ""},
		"no Via":               {strings.Replace(good, "Via:", "X:", 1), ""},
		"no SIP":               {"GET / HTTP/1.1\r\n\r\n", ""},
		"empty":                {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.from(r.udp, alice, tt.msg)
			r.wantUser()
			if tt.answer == "" {
				r.wantSent()
			} else {
				r.wantSent("0.00 " + tt.answer)
			}
			r.wantEmpty()
		})
	}
}

func TestStatelessBudget(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Limits.Stateless = 10 })
	bad := strings.Replace(text("OPTIONS", "1"), "From:", "X:", 1)
	for range 25 {
		r.from(r.udp, alice, bad)
	}
	if n := len(r.udp.sent); n != 10 || r.l.n.OverBudget.Load() != 15 {
		t.Errorf("%d answers, %d counted", n, r.l.n.OverBudget.Load())
	}
	r.advance(500 * time.Millisecond)
	for range 25 {
		r.from(r.udp, alice, bad)
	}
	if n := len(r.udp.sent); n != 15 {
		t.Errorf("%d answers after half a second", n)
	}
	r.wantEmpty()
}

// strict is a user who screens.
type strict struct {
	*user
	status int
}

func (s strict) Screen(_ siptransport.Flow, m *sip.Message) (int, func(*sip.Message)) {
	s.note("screen %s", m.MethodName())
	return s.status, func(answer *sip.Message) { answer.SetString(sip.HdrSecurityServer, "tls") }
}

func TestScreen(t *testing.T) {
	screening := func(t *testing.T, status int) *rig {
		return newRig(t, func(c *Config) { c.Handler = strict{c.Handler.(*user), status} })
	}
	t.Run("a stranger is answered and forgotten", func(t *testing.T) {
		r := screening(t, 403)
		r.from(r.udp, alice, text("INVITE", "1"))
		r.wantUser("screen INVITE")
		r.wantSent("0.00 SIP/2.0 403 Forbidden")
		if agreement := header(r.udp.last().data, "Security-Server"); agreement != "tls" {
			t.Errorf("what the screener adds is missing: %q", r.udp.last().data)
		}
		to := header(r.udp.last().data, "To")
		r.from(r.udp, alice, strings.Replace(text("ACK", "1"), "To: <sip:bob@home.example>", "To: "+to, 1))
		r.from(r.udp, alice, text("CANCEL", "1"))
		r.wantUser()
		r.wantSent("0.00 SIP/2.0 481 Call/Transaction Does Not Exist")
		if n := r.l.n.Screened.Load(); n != 1 {
			t.Errorf("%d counted", n)
		}
		r.wantEmpty()
	})
	t.Run("a stranger is met with silence", func(t *testing.T) {
		r := screening(t, Silence)
		r.from(r.udp, alice, text("INVITE", "1"))
		r.wantUser("screen INVITE")
		r.wantSent()
		r.wantEmpty()
	})
	t.Run("who passes has a transaction", func(t *testing.T) {
		r := screening(t, 0)
		r.from(r.udp, alice, text("INVITE", "1"))
		r.from(r.udp, alice, text("INVITE", "1"))
		r.wantUser("screen INVITE", "request INVITE")
		_ = r.respond(486)
		r.advance(time.Minute)
		r.wantUser("ended INVITE")
	})
}

// patient is a Sender that says what may wait.
type patient struct {
	*sender
	late []time.Duration
}

func (p *patient) SendLater(peer netip.AddrPort, b []byte, within time.Duration) error {
	p.late = append(p.late, within)
	return p.SendTo(peer, b)
}

// TestScreen_patience: a 503 waits where the one who reads it does not ask again meanwhile, and nothing else does.
func TestScreen_patience(t *testing.T) {
	for _, c := range []struct {
		status   int
		reliable bool
		late     int
	}{{503, true, 1}, {503, false, 0}, {403, true, 0}} {
		r := newRig(t, func(c1 *Config) {
			c1.Handler = strict{c1.Handler.(*user), c.status}
			c1.Patience = func() time.Duration { return time.Second }
		})
		s := &patient{sender: r.udp}
		if c.reliable {
			s.sender = r.tcp
		}
		r.do(func() { r.l.Input(siptransport.Flow{Via: s, Peer: alice}, []byte(text("INVITE", "1"))) })
		if len(s.late) != c.late || c.late > 0 && s.late[0] != time.Second {
			t.Errorf("%+v: %v", c, s.late)
		}
		if !strings.HasPrefix(s.last().data, fmt.Sprintf("SIP/2.0 %d ", c.status)) {
			t.Errorf("%+v: %q", c, s.last().data)
		}
	}
}

func TestServerLimits(t *testing.T) {
	busyNow := "0.00 SIP/2.0 503 Service Unavailable"
	t.Run("in all", func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Limits.Servers = 2 })
		for i := range 4 {
			r.from(r.udp, alice, text("INVITE", fmt.Sprint(i)))
		}
		r.wantSent(busyNow, busyNow)
		if got := header(r.udp.last().data, "Retry-After"); got != "5" {
			t.Errorf("Retry-After %q", got)
		}
		to := header(r.udp.last().data, "To")
		r.from(r.udp, alice, text("INVITE", "3"))
		if again := header(r.udp.last().data, "To"); again != to || !strings.Contains(to, ";tag=") {
			t.Errorf("a retransmission was answered with %s, first %s", again, to)
		}
		// The ACK for an answer without a transaction does not reach the user.
		r.from(r.udp, alice, strings.Replace(text("ACK", "3"), "To: <sip:bob@home.example>", "To: "+to, 1))
		r.wantUser("request INVITE", "request INVITE")
		if r.l.n.OverServers.Load() != 3 || r.l.n.AcksAbsorbed.Load() != 1 {
			t.Errorf("counted %d, %d", r.l.n.OverServers.Load(), r.l.n.AcksAbsorbed.Load())
		}
		r.wantEmpty()
	})
	t.Run("per source", func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Limits.PerSource = 2 })
		near := func(i int) netip.AddrPort { return netip.MustParseAddrPort(fmt.Sprintf("[2001:db8::%d]:5060", i+1)) }
		for i := range 3 {
			r.from(r.udp, near(i), text("OPTIONS", fmt.Sprint(i))) // one /64
		}
		r.from(r.udp, netip.MustParseAddrPort("[2001:db8:0:1::1]:5060"), text("OPTIONS", "1"))
		r.wantUser("request OPTIONS", "request OPTIONS", "request OPTIONS")
		r.wantSent(busyNow)
		_ = r.respond(200)
		r.advance(time.Minute) // the others are abandoned
		r.user.log = nil
		r.from(r.udp, near(1), text("OPTIONS", "9"))
		r.wantUser("request OPTIONS")
		r.wantEmpty()
	})
	t.Run("silence", func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Limits.Servers, c.Limits.RetryAfter = 1, -1 })
		r.from(r.udp, alice, text("OPTIONS", "1"))
		r.from(r.udp, alice, text("OPTIONS", "2"))
		r.wantSent()
		r.wantEmpty()
	})
	t.Run("an answered INVITE frees its source, an unacknowledged failure does not", func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Limits.PerSource = 1 })
		r.from(r.udp, alice, text("INVITE", "1"))
		_ = r.respond(200)
		r.from(r.udp, alice, text("INVITE", "2"))
		_ = r.respond(486)
		r.from(r.udp, alice, text("INVITE", "3"))
		r.from(r.udp, alice, text("ACK", "2"))
		r.from(r.udp, alice, text("INVITE", "4"))
		r.wantUser("request INVITE", "request INVITE", "request INVITE")
		r.wantEmpty()
	})
}

// TestKept: answers of finished transactions are held within their bound, oldest out first, and for no longer than timer J.
func TestKept(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Limits.Kept = 3 * keptPageSize })
	r.user.onRequest = func(tx *Server) { _ = r.l.Respond(tx, r.response(tx, 200)) }
	size := func() int { return keptHead + 100 + 250 }()
	count := 4 * keptPageSize / size
	for i := range count {
		r.from(r.udp, alice, text("OPTIONS", fmt.Sprintf("%06d", i)))
	}
	evicted := int(r.l.n.KeptEvicted.Load())
	if evicted == 0 || r.l.kept.len() != count-evicted || r.l.kept.bytes > 3*keptPageSize {
		t.Errorf("%d of %d kept, %d evicted, %d octets", r.l.kept.len(), count, evicted, r.l.kept.bytes)
	}
	r.user.log = nil
	r.from(r.udp, alice, text("OPTIONS", fmt.Sprintf("%06d", count-1)))
	r.from(r.udp, alice, text("OPTIONS", fmt.Sprintf("%06d", evicted)))
	r.wantUser()
	r.from(r.udp, alice, text("OPTIONS", fmt.Sprintf("%06d", evicted-1)))
	r.wantUser("request OPTIONS", "ended OPTIONS")
	r.wantEmpty()
}

// TestKept_of_many_senders: security associations are a Sender for each client. The answers of all are kept, each leaves by its own, and what has expired
// holds no Sender.
func TestKept_of_many_senders(t *testing.T) {
	k := newKept(64 * keptPageSize)
	const many = 5000
	all := make([]sender, many)
	for i := range all {
		room, _ := k.add(0, time.Second, uint64(i), []byte("key"), flowOf(&all[i], alice), 200)
		k.done(uint64(i), room[:200])
	}
	for i := range all {
		if _, f, ok := k.find(0, uint64(i), []byte("key")); !ok || f.Via != &all[i] {
			t.Fatalf("answer %d of %d: kept %v, by another Sender %v", i, many, ok, f.Via != &all[i])
		}
	}
	if k.expire(time.Second); len(k.pages) != 0 || len(k.spare.vias) != 0 || k.spare.vias[:1][0] != nil {
		t.Errorf("%d pages, and a spare one with %d Senders", len(k.pages), len(k.spare.vias))
	}
}

// TestKeptLongAnswer: an answer longer than a page has a page of its own.
func TestKeptLongAnswer(t *testing.T) {
	k := newKept(3 * keptPageSize)
	to := netip.MustParseAddrPort("[2001:db8::1]:5060")
	s := &sender{}
	long := strings.Repeat("x", keptPageSize+1)
	for i, a := range []string{"short", long} {
		room, _ := k.add(0, time.Second, uint64(i), []byte(a[:3]), flowOf(s, to), len(a))
		k.done(uint64(i), append(room, a...))
	}
	for i, a := range []string{"short", long} {
		got, f, ok := k.find(0, uint64(i), []byte(a[:3]))
		if !ok || string(got) != a || f.Via != s || f.Peer != to {
			t.Errorf("%d: %v, %d octets to %v", i, ok, len(got), f.Peer)
		}
	}
	if _, _, ok := k.find(0, 0, []byte("other")); ok {
		t.Error("found by hash alone")
	}
	if _, _, ok := k.find(time.Second, 0, []byte("sho")); ok {
		t.Error("found after its time")
	}
	if room, _ := k.add(0, time.Second, 9, nil, flowOf(s, to), 3*keptPageSize); room != nil {
		t.Error("room beyond the limit")
	}
	zoned := netip.MustParseAddrPort("[fe80::1%eth0]:5060")
	if room, _ := k.add(0, time.Second, 9, nil, flowOf(s, zoned), 1); room != nil {
		t.Error("an address with a zone was kept")
	}
}

// TestStaleRef: a name of a transaction that has ended opens nothing, also when its slot is in use again.
func TestStaleRef(t *testing.T) {
	r := newRig(t)
	var first ServerRef
	for i := range 1000 {
		r.from(r.tcp, alice, text("OPTIONS", fmt.Sprint(i)))
		if i == 0 {
			first = r.user.tx.Ref()
			if r.l.Server(first) != r.user.tx {
				t.Error("not found by its name")
			}
		}
		_ = r.respond(200)
	}
	if r.l.Server(first) != nil || r.l.Server(ServerRef{}) != nil {
		t.Error("found by an old name")
	}
	r.wantEmpty()
}

// TestSameRun: two runs of the same messages send the same octets, tags and branches included: a simulation repeats from its seed.
func TestSameRun(t *testing.T) {
	run := func() (sent []string) {
		r := newRig(t)
		r.user.onRequest = func(tx *Server) { _ = r.l.Reply(tx, 404, "") }
		r.from(r.udp, alice, text("OPTIONS", "1"))
		r.from(r.udp, alice, text("CANCEL", "2"))
		r.sends(r.udp, bob, text("MESSAGE", "3"))
		for _, p := range r.udp.sent {
			sent = append(sent, p.data)
		}
		r.wantEmpty()
		return sent
	}
	if a, b := run(), run(); !slices.Equal(a, b) || len(a) != 3 {
		t.Errorf("first\n%q\nthen\n%q", a, b)
	}
}

// TestAnswer_instead: what answers a request whose connection has closed goes where Instead says, all of it; over datagrams nobody is asked (RFC 3261 18.2.2).
func TestAnswer_instead(t *testing.T) {
	const ok = "SIP/2.0 200 OK"
	for name, c := range map[string]struct {
		method    string
		over      string // what the request came by
		elsewhere bool   // there is another way
		want      int    // answers that leave by it
	}{
		"an INVITE":                  {"INVITE", "TCP", true, 3},
		"another request":            {"MESSAGE", "TCP", true, 1},
		"there is none":              {"INVITE", "TCP", false, 0},
		"over datagrams":             {"INVITE", "UDP", true, 0},
		"another, and there is none": {"MESSAGE", "TCP", false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var r *rig
			var other *sender
			asked := 0
			r = newRig(t, func(cfg *Config) {
				cfg.Instead = func(closed siptransport.Flow) (siptransport.Flow, bool) {
					if asked++; closed != flowOf(r.tcp, alice) {
						t.Errorf("asked about %v", closed)
					}
					return flowOf(other, bob), c.elsewhere
				}
			})
			other = &sender{r: r, proto: "TCP", reliable: true}
			by := map[string]*sender{"TCP": r.tcp, "UDP": r.udp}[c.over]
			r.from(by, alice, strings.Replace(text(c.method, "1"), "SIP/2.0/UDP", "SIP/2.0/"+c.over, 1))
			by.err = siptransport.ErrClosed
			var failed []error
			if c.method == "INVITE" {
				failed = append(failed, r.respond(180), r.respond(200), r.respond(200)) // the called client repeats it
			} else {
				failed = append(failed, r.respond(200))
			}
			for _, err := range failed {
				if (err == nil) != (c.want > 0) {
					t.Errorf("%v", failed)
				}
			}
			if len(other.sent) != c.want || len(by.sent) != 0 {
				t.Errorf("%d by the other way, want %d; %d by the first", len(other.sent), c.want, len(by.sent))
			}
			if c.want > 0 && (other.last().first() != ok || other.last().peer != bob || asked != 1) {
				t.Errorf("%v, asked %d times", other.last(), asked)
			}
			r.wantEmpty()
		})
	}
}
