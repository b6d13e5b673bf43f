package ue

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"imsafe/client/media"
	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptxn"
)

// overDatagrams lets a fake be reached by UDP, as the lab profile is.
func (f *fake) overDatagrams() netip.AddrPort {
	f.t.Helper()
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		b, peers, seen := make([]byte, 64<<10), map[string]*client{}, map[string]bool{}
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			c := peers[from.String()]
			if c == nil {
				c = &client{nc: datagram{pc: pc, to: from}}
				peers[from.String()] = c
			}
			if seen[string(b[:n])] {
				continue // sent again: what it asks for has been answered, or never will be
			}
			seen[string(b[:n])] = true
			if m, err := f.pool.Parse(b[:n]); err == nil {
				f.take(c, m)
				m.Release()
			}
		}
	})
	f.t.Cleanup(func() { pc.Close(); wg.Wait() })
	return pc.LocalAddr().(*net.UDPAddr).AddrPort()
}

// silence has a fake hear and say nothing any more.
func (f *fake) silence() {
	f.answers(func(_ *client, m *sip.Message) *sip.Message { return f.swallow(m) })
}

// answers changes what a fake does with requests.
func (f *fake) answers(script func(*client, *sip.Message) *sip.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script = script
}

// asked is how many requests of a method have come.
func (f *fake) asked(method string) int { return len(f.received(method + " ")) }

// edgesOf are two P-CSCFs of one network, and a client that knows both in this order.
type edgesOf struct {
	a, b    *fake
	at      [2]netip.AddrPort
	u       *UE
	changes chan Registration
}

func newEdges(t *testing.T, transport Transport, edit func(*Config)) *edgesOf {
	t.Helper()
	lab := func(f *fake, c *tls.Config) {
		if transport != TLS {
			c.Certificates, f.scheme = nil, aka.AKAv1MD5
		}
	}
	e := &edgesOf{a: newFake(t, lab), b: newFake(t, lab), changes: make(chan Registration, 64)}
	e.at = [2]netip.AddrPort{e.a.addr, e.b.addr}
	e.a.roots.AddCert(e.b.root)
	if transport == UDP {
		e.at = [2]netip.AddrPort{e.a.overDatagrams(), e.b.overDatagrams()}
	}
	e.u = newUE(t, e.a, alice, func(c *Config) {
		c.Proxy, c.Proxies, c.Transport = e.at[0], e.at[1:], transport
		hurry(t, c)
		if transport != TLS {
			c.Lab, c.PlainRTP, c.Scheme, c.ServerName = true, true, aka.AKAv1MD5, ""
		}
		c.OnRegistration = func(r Registration) { e.changes <- r }
		if edit != nil {
			edit(c)
		}
	})
	return e
}

// registers registers and checks where.
func (e *edgesOf) registers(t *testing.T, at int) {
	t.Helper()
	if r, err := e.u.Register(patiently(t)); err != nil || r.Proxy != e.at[at] {
		t.Fatalf("%+v, %v; want it at P-CSCF %d", r, err, at)
	}
}

// arrives waits until the client is registered at a P-CSCF, and returns why it left the one before.
func (e *edgesOf) arrives(t *testing.T, at int) (why error) {
	t.Helper()
	for {
		select {
		case r := <-e.changes:
			if r.Err != nil {
				why = r.Err
			}
			if r.State == Registered && r.Proxy == e.at[at] {
				return why
			}
		case <-patiently(t).Done():
			t.Fatalf("not registered at P-CSCF %d; the last word was %v", at, why)
		}
	}
}

// TestFailover: a client of two P-CSCFs goes on at the other when the one that it asks does not answer, says that it cannot, or says that another shall be used, and
// tells so; calls end with the path that they went over (TS 24.229 5.1.1.2.1, 5.1.1.4.1; RFC 3263 4.3). While a binding stands, a P-CSCF that is busy is waited for.
func TestFailover(t *testing.T) {
	with := func(f *fake, code int, header sip.HeaderID, value string) func(*client, *sip.Message) *sip.Message {
		return func(_ *client, m *sip.Message) *sip.Message {
			r := f.respond(m, code)
			r.SetString(header, value)
			return r
		}
	}
	cases := map[string]func(t *testing.T, e *edgesOf){
		"the first is not there": func(t *testing.T, e *edgesOf) {
			e.a.silence()
			e.registers(t, 1)
			if why := e.arrives(t, 1); !errors.Is(why, siptxn.ErrTimeout) {
				t.Errorf("it is told %v", why)
			}
		},
		"the first is busy": func(t *testing.T, e *edgesOf) {
			e.a.answers(with(e.a, 503, sip.HdrRetryAfter, "60"))
			e.registers(t, 1)
			before := e.a.asked("REGISTER")
			e.b.silence()
			_, err := e.u.Register(patiently(t)) // the binding at the second is there, and so is its patience
			if !isGone(err) || e.a.asked("REGISTER") != before {
				t.Errorf("%v; who wants to be left alone for a minute was asked %d times", err, e.a.asked("REGISTER"))
			}
		},
		"another shall be used": func(t *testing.T, e *edgesOf) {
			e.a.answers(with(e.a, 305, sip.HdrContact, "<sip:192.0.2.66>"))
			e.registers(t, 1)
		},
		"the first is gone at a refresh": func(t *testing.T, e *edgesOf) {
			e.registers(t, 0)
			e.a.silence()
			e.registers(t, 1)
		},
		"the first is busy at a refresh": func(t *testing.T, e *edgesOf) {
			e.registers(t, 0)
			e.a.answers(with(e.a, 503, sip.HdrRetryAfter, "60"))
			var status *StatusError
			if _, err := e.u.Register(patiently(t)); !errors.As(err, &status) || status.Again != time.Minute {
				t.Errorf("%v", err)
			}
			if r, err := e.u.Registration(patiently(t)); err != nil || r.State != Registered || r.Proxy != e.at[0] || e.b.asked("REGISTER") != 0 {
				t.Errorf("%+v, %v; the other one was asked %d times", r, err, e.b.asked("REGISTER"))
			}
		},
		"an INVITE has not even a 100": func(t *testing.T, e *edgesOf) {
			e.registers(t, 0)
			e.a.answers(func(_ *client, m *sip.Message) *sip.Message { return e.a.respond(m, 180) })
			rings, err := e.u.Call(patiently(t), impuOf(bob), Voice{})
			if err != nil {
				t.Fatal(err)
			}
			expect(t, rings, Ringing)
			e.a.silence()
			c, err := e.u.Call(patiently(t), impuOf(bob), Voice{})
			if err != nil {
				t.Fatal(err)
			}
			if end := ended(t, c); !errors.Is(end.Err, siptxn.ErrTimeout) {
				t.Errorf("the call: %+v", end)
			}
			if end := ended(t, rings); !errors.Is(end.Err, ErrLost) {
				t.Errorf("the call that rang: %+v", end)
			}
			if why := e.arrives(t, 1); !errors.Is(why, siptxn.ErrTimeout) {
				t.Errorf("it is told %v", why)
			}
		},
		"a message is lost beyond the first": func(t *testing.T, e *edgesOf) {
			e.registers(t, 0)
			e.a.answers(func(_ *client, m *sip.Message) *sip.Message {
				if m.Method() == sip.MESSAGE {
					return e.a.swallow(m)
				}
				return nil
			})
			before := e.a.asked("REGISTER")
			if err := e.u.SendMessage(patiently(t), impuOf(bob), "text/plain", []byte("hello")); !errors.Is(err, siptxn.ErrTimeout) {
				t.Errorf("%v", err)
			}
			until(t, "the first is asked whether it is there", func() bool { return e.a.asked("REGISTER") > before })
			if e.b.asked("REGISTER") != 0 {
				t.Error("it has left a P-CSCF that answers")
			}
		},
		"a message is lost with the first": func(t *testing.T, e *edgesOf) {
			e.registers(t, 0)
			e.a.silence()
			if err := e.u.SendMessage(patiently(t), impuOf(bob), "text/plain", []byte("hello")); !errors.Is(err, siptxn.ErrTimeout) {
				t.Errorf("%v", err)
			}
			e.arrives(t, 1)
		},
	}
	for name, c := range cases {
		for _, transport := range []Transport{TLS, TCP, UDP} {
			t.Run(name+" over "+transport.String(), func(t *testing.T) {
				t.Parallel()
				c(t, newEdges(t, transport, nil))
			})
		}
	}
}

// TestFailover_ends_calls: a call that stands outlives the connection that it went over while its ends hear each other. When one has hung up, whom nobody can tell,
// the other hears nothing more: his call ends as well, and says why.
func TestFailover_ends_calls(t *testing.T) {
	f, a, _, calls := pair(t, nil, nil)
	ca, cb := connect(t, a, calls, Voice{Play: media.NewTone(440, -10)}, Voice{Play: media.NewTone(620, -10)})
	f.hangUp()
	for range 3 {
		before := [2]uint64{ca.Media().PacketsIn, cb.Media().PacketsIn}
		until(t, "both hear each other", func() bool { return ca.Media().PacketsIn > before[0]+50 && cb.Media().PacketsIn > before[1]+50 })
	}
	cb.Hangup()
	ended(t, cb)
	if e := ended(t, ca); !errors.Is(e.Err, ErrLost) {
		t.Errorf("alice: %+v", e)
	}
}

// TestDiscover: when none of the P-CSCFs that are known is there, they are looked for anew; what is found that is known already is no news.
func TestDiscover(t *testing.T) {
	e := newEdges(t, TLS, nil)
	gone := netip.MustParseAddrPort("127.0.0.1:1")
	for name, c := range map[string]struct {
		found []netip.AddrPort
		err   error
		want  bool
	}{
		"another":        {found: []netip.AddrPort{e.at[1]}, want: true},
		"the same":       {found: []netip.AddrPort{gone}},
		"none":           {},
		"no name server": {err: errors.New("nobody answers")},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			u := newUE(t, e.b, bob, func(c2 *Config) {
				c2.Proxy, c2.Discover = gone, func(context.Context) ([]netip.AddrPort, error) { asked++; return c.found, c.err }
			})
			r, err := u.Register(patiently(t))
			if (err == nil) != c.want || c.want && r.Proxy != e.at[1] || asked != 1 {
				t.Errorf("%+v, %v; asked %d times", r, err, asked)
			}
		})
	}
}

// TestRestoration: a 504 makes the client register anew if it says so in the words of TS 24.229 7.6 and is asserted by who stands in the Path or the Service-Route of the
// registration (5.1.2A.1.6); by nothing else.
func TestRestoration(t *testing.T) {
	const (
		kind  = "application/3gpp-ims+xml"
		path  = "<sip:token@pcscf.ims.example;lr>"
		route = "<sip:orig@scscf." + domain + ";lr>"
		order = `<?xml version="1.0"?><ims-3gpp version="1"><alternative-service><type>restoration</type><reason>no</reason>` +
			`<action>initial-registration</action></alternative-service></ims-3gpp>`
		emergency = `<ims-3gpp version="1"><alternative-service><type>emergency</type><reason>no</reason></alternative-service></ims-3gpp>`
	)
	for name, c := range map[string]struct {
		code           int
		kind, by, body string
		want           bool
	}{
		"from the P-CSCF":        {code: 504, kind: kind, by: path, body: order, want: true},
		"from the S-CSCF":        {code: 504, kind: kind, by: route, body: order, want: true},
		"with a parameter":       {code: 504, kind: kind + ";charset=utf-8", by: path, body: order, want: true},
		"from a stranger":        {code: 504, kind: kind, by: "<sip:pcscf.elsewhere.example;lr>", body: order},
		"from nobody":            {code: 504, kind: kind, body: order},
		"of another type":        {code: 504, kind: "text/xml", by: path, body: order},
		"for another reason":     {code: 504, kind: kind, by: path, body: emergency},
		"that cannot be read":    {code: 504, kind: kind, by: path, body: "<ims-3gpp"},
		"without a word":         {code: 504, by: path},
		"with another answer":    {code: 503, kind: kind, by: path, body: order},
		"with another answer, 4": {code: 404, kind: kind, by: path, body: order},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, func(f *fake, _ *tls.Config) {
				f.ok = func(m *sip.Message) { m.SetString(sip.HdrPath, path) }
			})
			u := newUE(t, f, alice, nil)
			if _, err := u.Register(patiently(t)); err != nil {
				t.Fatal(err)
			}
			f.answers(func(_ *client, m *sip.Message) *sip.Message {
				if m.Method() == sip.REGISTER {
					return nil
				}
				r := f.respond(m, c.code)
				if c.by != "" {
					r.SetString(sip.HdrPAssertedIdentity, c.by)
				}
				if c.body != "" {
					r.SetBody(c.kind, []byte(c.body))
				}
				return r
			})
			before := f.asked("REGISTER")
			call, err := u.Call(patiently(t), impuOf(bob), Voice{})
			if err != nil {
				t.Fatal(err)
			}
			if e := ended(t, call); e.Code != c.code {
				t.Errorf("the call: %+v", e)
			}
			r, err := u.Registration(patiently(t))
			if err != nil || (r.State == Registering) != c.want && f.asked("REGISTER") == before {
				t.Errorf("%+v, %v; want it anew: %v", r, err, c.want)
			}
			if c.want {
				until(t, "registered anew", func() bool {
					r, err := u.Registration(patiently(t))
					return err == nil && r.State == Registered && f.asked("REGISTER") > before
				})
			}
		})
	}
}

// TestBarred: who has said when to come again is not asked before, and is then, in virtual time.
func TestBarred(t *testing.T) {
	clock := shard.NewFake(time.Unix(1_700_000_000, 0))
	u := newUE(t, &fake{addr: netip.MustParseAddrPort("127.0.0.1:1")}, alice, func(c *Config) {
		c.Clock, c.Proxies = clock, []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:2")}
	})
	on := func(f func()) {
		t.Helper()
		if err := u.do(patiently(t), func(*shard.Task) error { f(); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	p := &u.path
	on(func() {
		if !u.reg.leaves(&StatusError{Code: 503, Again: time.Minute}) || !p.elsewhere() || p.at != 1 || p.barred() != 0 {
			t.Errorf("at %d, barred for %v", p.at, p.barred())
		}
		if !u.reg.leaves(&StatusError{Code: 503}) || p.elsewhere() || p.barred() != flowBase {
			t.Errorf("both do not serve: at %d, barred for %v", p.at, p.barred())
		}
		if d := u.reg.backoff(&StatusError{Code: 503}); d < flowBase || d > 2*flowBase {
			t.Errorf("the next attempt comes after %v", d)
		}
	})
	clock.AdvanceTo(clock.Now() + 2*flowBase)
	on(func() {
		if p.barred() != 0 || !p.elsewhere() || p.at != 1 {
			t.Errorf("after four seconds at %d, barred for %v", p.at, p.barred())
		}
	})
	clock.AdvanceTo(clock.Now() + time.Minute)
	on(func() {
		if !p.elsewhere() || p.at != 0 {
			t.Errorf("after a minute at %d", p.at)
		}
	})
}
