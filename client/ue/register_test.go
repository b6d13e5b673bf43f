package ue

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"imsafe/proto/aka"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	public  = netip.MustParseAddrPort("198.51.100.1:5060")
	private = netip.MustParseAddrPort("10.0.0.1:5060")
)

const alice, bob = "0000000001", "0000000002"

func TestRegister(t *testing.T) {
	f := newFake(t, nil)
	seen := make(chan Registration, 8)
	u := newUE(t, f, alice, func(c *Config) { c.OnRegistration = func(r Registration) { seen <- r } })
	r, err := u.Register(patiently(t))
	if err != nil {
		t.Fatal(err)
	}
	if r.State != Registered || r.Granted != time.Hour || r.IMPUs[0] != impuOf(alice) || r.IMPUs[1] != "tel:+15550001" ||
		r.ServiceRoute[0] != "sip:orig@scscf."+domain+";lr" || !strings.HasPrefix(r.Protection, "TLS 1.3 ") || r.Scheme != "AKAv2-SHA-256" {
		t.Errorf("%+v", r)
	}
	if a, b := <-seen, <-seen; a.State != Registering || b.State != Registered {
		t.Errorf("told: %v, %v", a.State, b.State)
	}
	list := f.received("REGISTER ")
	if len(list) != 2 {
		t.Fatalf("%d REGISTER", len(list))
	}
	first, second := list[0], list[1]
	for _, want := range []string{
		"REGISTER sip:" + domain + " SIP/2.0\r\n", `username="00101` + alice + "@" + domain + `"`, `nonce=""`, `response=""`,
		"From: <" + impuOf(alice) + ">", "expires=600000", "Supported: path", `+sip.instance="<urn:uuid:`, ";transport=tls>",
	} {
		if !strings.Contains(first, want) {
			t.Errorf("first REGISTER has no %q:\n%s", want, first)
		}
	}
	if !strings.Contains(second, "CSeq: 2 REGISTER") || !strings.Contains(second, "qop=auth") || header(first, "Call-ID") != header(second, "Call-ID") {
		t.Errorf("second REGISTER:\n%s", second)
	}
	if err := u.Deregister(patiently(t)); err != nil {
		t.Error(err)
	}
	if r, err := u.Registration(patiently(t)); err != nil || r.State != Unregistered {
		t.Errorf("%+v, %v", r, err)
	}
	if err := u.Deregister(patiently(t)); !errors.Is(err, ErrNotRegistered) {
		t.Errorf("twice: %v", err)
	}
	last := f.received("REGISTER ")
	if got := last[len(last)-1]; !strings.Contains(got, ";expires=0") {
		t.Errorf("last REGISTER:\n%s", got)
	}
}

func header(message, name string) string {
	for _, line := range strings.Split(message, "\r\n") {
		if v, ok := strings.CutPrefix(line, name+": "); ok {
			return v
		}
	}
	return ""
}

// Everything a false network or a box in the path may try at registration. The number of REGISTER requests tells what it got;
// "answered" whether one of them carried a response that a true challenge would have earned.
func TestRegister_refuses(t *testing.T) {
	var kept *aka.Vector
	cases := map[string]struct {
		edit     func(*fake, *tls.Config)
		ue       func(*Config)
		want     error
		requests int
		answered bool
	}{
		"network that does not know K": {
			edit: func(f *fake, _ *tls.Config) { f.spoil = func(_ int, v *aka.Vector) { v.AUTN[15] ^= 1 } },
			want: ErrNetwork, requests: 3, // the first, and two that say no
		},
		"algorithm bidden down to AKAv1": {
			edit: func(f *fake, _ *tls.Config) {
				f.challenge = func(_ int, c *sip.Challenge) { c.Algorithm = []byte("AKAv1-MD5") }
			},
			want: ErrDowngrade, requests: 1,
		},
		"algorithm bidden down to MD5 by leaving it out": {
			edit: func(f *fake, _ *tls.Config) { f.challenge = func(_ int, c *sip.Challenge) { c.Algorithm = nil } },
			want: ErrDowngrade, requests: 1,
		},
		"realm of a stranger": {
			edit: func(f *fake, _ *tls.Config) {
				f.challenge = func(_ int, c *sip.Challenge) { c.Realm = []byte("as.example") }
			},
			want: ErrRealm, requests: 1,
		},
		"nonce that holds no challenge": {
			edit: func(f *fake, _ *tls.Config) { f.challenge = func(_ int, c *sip.Challenge) { c.Nonce = []byte("AAAA") } },
			want: ErrChallenge, requests: 1,
		},
		"challenge without a challenge": {
			edit: func(f *fake, _ *tls.Config) {
				f.script = func(_ *client, m *sip.Message) *sip.Message { return f.respond(m, 401) }
			},
			want: ErrChallenge, requests: 1,
		},
		"one old challenge again and again": {
			edit: func(f *fake, _ *tls.Config) {
				f.spoil = func(n int, v *aka.Vector) {
					if n == 1 {
						c := *v
						kept = &c
					}
					*v = *kept
				}
				f.script = func(_ *client, m *sip.Message) *sip.Message { // never content, not even with the right answer
					c, _ := sip.ParseCredentials(m.Get(sip.HdrAuthorization))
					if len(c.Response) > 0 {
						delete(f.vector, string(c.Username))
					}
					return nil
				}
			},
			want: ErrSync, requests: 4, answered: true, // first; true answer to the true challenge; two AUTS
		},
		"right answers refused without end": {
			edit: func(f *fake, _ *tls.Config) {
				f.script = func(_ *client, m *sip.Message) *sip.Message {
					c, _ := sip.ParseCredentials(m.Get(sip.HdrAuthorization))
					delete(f.vector, string(c.Username))
					return nil
				}
			},
			want: ErrRefused, requests: 3, answered: true,
		},
		"200 that binds somebody else": {
			edit: func(f *fake, _ *tls.Config) {
				f.ok = func(m *sip.Message) { m.SetString(sip.HdrContact, "<sip:mallory@192.0.2.66>;expires=3600") }
			},
			want: ErrRefused, requests: 2, answered: true,
		},
		"200 with an identity that is none": {
			edit: func(f *fake, _ *tls.Config) {
				f.ok = func(m *sip.Message) { m.AppendString(sip.HdrPAssociatedURI, "<nonsense>") }
			},
			want: ErrRefused, requests: 2, answered: true,
		},
		"certificate of another authority": {
			edit: func(f *fake, _ *tls.Config) {
				root, _ := authority(t, serverName)
				f.trust(root)
			},
			want: ErrConnect,
		},
		"certificate of another name": {
			ue:   func(c *Config) { c.ServerName = "pcscf.other.example" },
			want: ErrConnect,
		},
		"TLS 1.2 where 1.3 is the floor": {
			edit: func(_ *fake, c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 },
			want: ErrConnect,
		},
		"TLS 1.2 with CBC where AEAD is the floor": {
			edit: func(_ *fake, c *tls.Config) {
				c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
				c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA}
			},
			ue:   func(c *Config) { c.AllowTLS12 = true },
			want: ErrConnect,
		},
		"no TLS at all": {
			edit: func(_ *fake, c *tls.Config) { c.Certificates = nil },
			want: ErrConnect,
		},
	}
	for name, c := range cases {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			f := newFake(t, c.edit)
			if name == "no TLS at all" {
				f.t = quiet{t} // a ClientHello is no SIP, and that is the point
			}
			u := newUE(t, f, alice, c.ue)
			r, err := u.Register(patiently(t))
			if !errors.Is(err, c.want) || r.State != Unregistered {
				t.Errorf("%v, %v; want %v", r.State, err, c.want)
			}
			list := f.received("REGISTER ")
			if len(list) != c.requests {
				t.Errorf("%d REGISTER requests, want %d", len(list), c.requests)
			}
			answers := 0
			for _, m := range list {
				if !strings.Contains(m, `response=""`) && !strings.Contains(m, "auts=") {
					answers++
				}
			}
			if answers > 0 != c.answered {
				t.Errorf("%d true responses left the client", answers)
			}
		})
	}
}

// quiet does not fail for what the fake says about octets.
type quiet struct{ testing.TB }

func (quiet) Errorf(string, ...any) {}

func TestRegister_TLS12_with_AEAD_where_it_is_allowed(t *testing.T) {
	f := newFake(t, func(_ *fake, c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 })
	u := newUE(t, f, alice, func(c *Config) { c.AllowTLS12 = true })
	if r, err := u.Register(patiently(t)); err != nil || !strings.HasPrefix(r.Protection, "TLS 1.2 TLS_ECDHE_ECDSA_WITH_AES_") {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestRegister_card_resynchronises(t *testing.T) {
	f := newFake(t, func(f *fake, _ *tls.Config) { f.seq = 5 })
	card := newCard(t, alice)
	v := new(aka.Vector) // the card has seen SEQ 1000 elsewhere
	if err := aka.Generate(aka.NewMilenage(testK, testOPc), strings.NewReader(strings.Repeat("r", 16)), aka.MakeSQN(1000, 0), aka.AMF{}, v); err != nil {
		t.Fatal(err)
	}
	if _, err := card.Authenticate(v.RAND, v.AUTN); err != nil {
		t.Fatal(err)
	}
	u := newUE(t, f, alice, func(c *Config) { c.Card = card })
	if _, err := u.Register(patiently(t)); err != nil {
		t.Fatal(err)
	}
	list := f.received("REGISTER ")
	if len(list) != 3 || !strings.Contains(list[1], `auts="`) {
		t.Errorf("%d requests, no AUTS in the second:\n%s", len(list), strings.Join(list, "\n"))
	}
}

func TestRegister_failure_responses(t *testing.T) {
	for code, requests := range map[int]int{403: 1, 404: 1, 503: 1, 423: 2} {
		f := newFake(t, func(f *fake, _ *tls.Config) {
			f.script = func(_ *client, m *sip.Message) *sip.Message {
				r := f.respond(m, code)
				if code == 423 {
					r.SetString(sip.HdrMinExpires, "7200")
				}
				return r
			}
		})
		u := newUE(t, f, alice, nil)
		_, err := u.Register(patiently(t))
		var status *StatusError
		if !errors.As(err, &status) || status.Code != code {
			t.Errorf("%d: %v", code, err)
		}
		list := f.received("REGISTER ")
		if len(list) != requests || code == 423 && !strings.Contains(list[1], "expires=7200") {
			t.Errorf("%d: %d requests", code, len(list))
		}
	}
}

// The binding is kept alive by itself: half of its life, since it is short (TS 24.229 5.1.1.4.1).
func TestRegister_refresh(t *testing.T) {
	f := newFake(t, func(f *fake, _ *tls.Config) { f.granted = "2" })
	u := newUE(t, f, alice, nil)
	if _, err := u.Register(patiently(t)); err != nil {
		t.Fatal(err)
	}
	until(t, "two more registrations", func() bool { return len(f.received("REGISTER ")) >= 6 })
	if r, err := u.Registration(patiently(t)); err != nil || r.State != Registered {
		t.Errorf("%+v, %v", r, err)
	}
	for life, want := range map[time.Duration]time.Duration{
		600000 * time.Second: 599400 * time.Second, 1201 * time.Second: 601 * time.Second, 1200 * time.Second: 600 * time.Second, time.Minute: 30 * time.Second,
	} {
		if got := refreshAfter(life); got != want {
			t.Errorf("%v: %v", life, got)
		}
	}
}

func TestRegister_again_after_the_connection_broke(t *testing.T) {
	f := newFake(t, nil)
	u := newUE(t, f, alice, nil)
	if _, err := u.Register(patiently(t)); err != nil {
		t.Fatal(err)
	}
	f.hangUp()
	until(t, "a second registration", func() bool { return len(f.received("REGISTER ")) == 4 })
	until(t, "registered again", func() bool {
		r, err := u.Registration(patiently(t))
		return err == nil && r.State == Registered
	})
}

// TestRegister_backoff: a flow that is lost is tried again within a second, then, while there is no edge, after two seconds, doubled up to half an hour, each
// up to half shorter; a network that answers with failures is asked every half minute at first (RFC 5626 4.5). In virtual time.
func TestRegister_backoff(t *testing.T) {
	clock := shard.NewFake(time.Unix(1_700_000_000, 0))
	dials := new(atomic.Int32)
	u := newUE(t, &fake{addr: netip.MustParseAddrPort("127.0.0.1:1")}, alice, func(c *Config) {
		c.Clock, c.Dial = clock, func(context.Context, netip.AddrPort) (net.Conn, error) {
			dials.Add(1)
			return nil, errors.New("nobody is there")
		}
	})
	r := &u.reg
	on := func(f func()) { // the shard, which sees then what the clock shows
		t.Helper()
		if err := u.do(patiently(t), func(*shard.Task) error { f(); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	on(func() {
		r.wanted, r.until, r.current.State = true, time.Hour, Registered
		r.pathLost(errors.New("closed"))
	})
	least := time.Duration(0)
	for attempt, most := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, 64 * time.Second,
		128 * time.Second, 256 * time.Second, 512 * time.Second, 1024 * time.Second, 30 * time.Minute, 30 * time.Minute} {
		if attempt > 0 {
			least = most/2 - time.Millisecond
		}
		now := clock.Now()
		clock.AdvanceTo(now + least)
		on(func() {})
		if n := int(dials.Load()); n != attempt {
			t.Fatalf("attempt %d comes sooner than %v after the one before", n, least)
		}
		clock.AdvanceTo(now + most)
		until(t, "the attempt fails", func() (failed bool) {
			on(func() { failed = int(dials.Load()) == attempt+1 && r.losses == attempt+1 && !r.running })
			return failed
		})
	}
	on(func() {
		if r.losses = 1; r.backoff(&StatusError{Code: 503}) < networkBase/2 {
			t.Error("a network that is too busy is asked again too soon")
		}
	})
}

// A refresh that the network refuses for good is not tried for ever; the registration is lost and said to be.
func TestRegister_refresh_refused(t *testing.T) {
	f := newFake(t, func(f *fake, _ *tls.Config) {
		f.granted = "2"
		f.script = func(_ *client, m *sip.Message) *sip.Message {
			if seq, _, _ := m.CSeq(); m.Method() == sip.REGISTER && seq > 2 {
				return f.respond(m, 403)
			}
			return nil
		}
	})
	u := newUE(t, f, alice, nil)
	if _, err := u.Register(patiently(t)); err != nil {
		t.Fatal(err)
	}
	var r Registration
	until(t, "lost", func() bool {
		r, _ = u.Registration(patiently(t))
		return r.State == Unregistered
	})
	var status *StatusError
	if !errors.As(r.Err, &status) || status.Code != 403 {
		t.Errorf("%+v", r)
	}
	if _, err := u.Call(patiently(t), impuOf(bob), Voice{}); !errors.Is(err, ErrNotRegistered) {
		t.Errorf("a call without a registration: %v", err)
	}
}

func TestRegister_lab(t *testing.T) {
	f := newFake(t, func(f *fake, c *tls.Config) { c.Certificates, f.scheme = nil, aka.AKAv1MD5 })
	u := newUE(t, f, alice, func(c *Config) {
		c.Lab, c.Transport, c.Scheme, c.ServerName = true, TCP, aka.AKAv1MD5, ""
	})
	if r, err := u.Register(patiently(t)); err != nil || r.Protection != "TCP in clear" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestNew_refuses(t *testing.T) {
	f := newFake(t, nil)
	good := Config{Card: newCard(t, alice), Proxy: f.addr, RootCAs: f.roots, ServerName: serverName, Clock: shard.RealClock(), Rand: strings.NewReader(strings.Repeat("x", 400)), ListenPacket: listen}
	for name, edit := range map[string]func(*Config){
		"no card":                     func(c *Config) { c.Card = nil },
		"no sockets":                  func(c *Config) { c.ListenPacket = nil },
		"TLS without a name":          func(c *Config) { c.ServerName = "" },
		"clear TCP outside the lab":   func(c *Config) { c.Transport = TCP },
		"clear UDP outside the lab":   func(c *Config) { c.Transport = UDP },
		"plain RTP outside the lab":   func(c *Config) { c.PlainRTP = true },
		"AKAv1 over TLS":              func(c *Config) { c.Scheme = aka.AKAv1MD5 },
		"MD5 with a password":         func(c *Config) { c.Scheme = aka.MD5 },
		"lab towards the open world":  func(c *Config) { c.Lab, c.Proxy = true, public },
		"UDP to a host without Local": func(c *Config) { c.Lab, c.Transport, c.Proxy = true, UDP, private },
		"an IMPU that is no URI":      func(c *Config) { c.IMPU = "alice" },
		"no randomness":               func(c *Config) { c.Rand = strings.NewReader("") },
	} {
		c := good
		edit(&c)
		if u, err := New(c); !errors.Is(err, ErrConfig) || u != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
