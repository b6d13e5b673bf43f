package media

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"imsafe/proto/g711"
	"imsafe/proto/rtpport"
	"imsafe/proto/sdp"
	"imsafe/refpoint/mr"
	"imsafe/refpoint/mr/mrtest"
)

func TestLoop(t *testing.T) {
	s := newServer(t, nil)
	var x told
	p, c := call(t, s, all(x.tell), nil)
	until(t, "secured", func() bool { return x.has(func(e mr.Event) bool { return e.Kind == mr.Secured }) })
	if got := c.Info().Protection; got != "DTLS-SRTP AEAD_AES_256_GCM" {
		t.Errorf("the media are %s", got)
	}
	if err := c.Loop(); err != nil {
		t.Fatal(err)
	}
	said := g711.ALaw().Encode(nil, sound(1600, -10, 440))
	p.says(said)
	until(t, "the echo", func() bool { return len(p.octets()) == len(said) })
	if !bytes.Equal(p.octets(), said) {
		t.Error("what comes back is something else")
	}
	p.leg.Close() // BYE, close_notify
	until(t, "the end", func() bool {
		return x.has(func(e mr.Event) bool { return e.Kind == mr.Lost && e.Err == nil }) && s.Free() == 8
	})
	if err := c.Loop(); !errors.Is(err, mr.ErrGone) {
		t.Errorf("a closed channel: %v", err)
	}
}

// Whatever is offered below DTLS-SRTP with a certificate gets no answer, and nothing is made for it.
func TestOpen_floor(t *testing.T) {
	s := newServer(t, nil)
	const head = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
	const key = "a=crypto:1 AEAD_AES_256_GCM inline:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n"
	for name, offer := range map[string]string{
		"nothing":         "",
		"not SDP":         "hello",
		"RTP in clear":    head + "m=audio 40000 RTP/AVP 8\r\n",
		"SDES":            head + "m=audio 40000 RTP/SAVP 8\r\n" + key,
		"no fingerprint":  head + "m=audio 40000 UDP/TLS/RTP/SAVP 8\r\na=setup:actpass\r\n",
		"SHA-1":           head + "m=audio 40000 UDP/TLS/RTP/SAVP 8\r\na=setup:actpass\r\na=fingerprint:sha-1 11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44\r\n",
		"video":           head + "m=video 40000 UDP/TLS/RTP/SAVPF 96\r\na=setup:actpass\r\n",
		"another codec":   strings.ReplaceAll(string(newParty(t, nil).body()), "PCMA/8000", "G722/8000"),
		"switched off":    strings.ReplaceAll(head+"m=audio 0 UDP/TLS/RTP/SAVP 8\r\n", "40000", "0"),
		"data":            head + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n",
		"only held roles": strings.ReplaceAll(string(newParty(t, nil).body()), "setup:actpass", "setup:holdconn"),
	} {
		if name == "another codec" {
			offer = strings.ReplaceAll(offer, " 8 101", " 9 101")
		}
		if _, err := s.Open([]byte(offer), all(nil)); !errors.Is(err, mr.ErrOffer) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s.Free() != 8 || s.Counters().Opened.Load() != 0 {
		t.Errorf("%d ports are free", s.Free())
	}
	if _, err := s.Open(newParty(t, nil).body(), mr.Terms{}); !errors.Is(err, mr.ErrScope) {
		t.Errorf("terms that allow nothing: %v", err)
	}
}

// A peer with another certificate than that of its description gets no keys; the port comes back.
func TestOpen_another_certificate(t *testing.T) {
	s := newServer(t, nil)
	other := newParty(t, nil).leg.Fingerprints()
	p := newParty(t, func(_ *sdp.Capabilities, l *sdp.Local) { l.Fingerprints = other })
	var x told
	opened, err := s.Open(p.body(), all(x.tell))
	if err != nil {
		t.Fatal(err)
	}
	if err := opened.Loop(); err != nil {
		t.Fatal(err)
	}
	p.takes(opened.Answer(), false)
	opened.Start()
	until(t, "the refusal", func() bool {
		return x.has(func(e mr.Event) bool { return e.Kind == mr.Lost && errors.Is(e.Err, rtpport.ErrFingerprint) }) && s.Free() == 8
	})
	if i := opened.Info(); i.PacketsIn+i.PacketsOut != 0 || s.Counters().Failed.Load() != 1 || i.Protection != "none yet" {
		t.Errorf("%+v", i)
	}
}

// No packet of RTP leaves before the handshake has finished, and none that comes then is heard.
func TestNothingMovesBeforeTheHandshake(t *testing.T) {
	s := newServer(t, nil)
	p := newParty(t, nil)
	opened, err := s.Open(p.body(), all(nil))
	if err != nil {
		t.Fatal(err)
	}
	c := opened.(*channel)
	if err := opened.Play(Tone(440, -10, 0), nil); err != nil {
		t.Fatal(err)
	}
	stranger, err := listen(netip.AddrPortFrom(loopback, 0))
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	opened.Start()
	for range 3 {
		_, _ = stranger.WriteTo(append([]byte{0x80, 8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1}, make([]byte, 160)...), netUDP(c.leg.Local()))
		s.Tick(time.Second)
	}
	until(t, "the stranger's packets", func() bool {
		return c.leg.Counters().Dropped(rtpport.DropSource)+c.leg.Counters().Dropped(rtpport.DropEarly) >= 3
	})
	if i := c.Info(); i.PacketsIn != 0 || i.PacketsOut != 0 {
		t.Errorf("%+v", i)
	}
}

func TestCaps(t *testing.T) {
	s := newServer(t, func(c *Config) { c.First, c.Calls = 41200, 2 })
	var open []mr.Channel
	for range 2 {
		c, err := s.Open(newParty(t, nil).body(), all(nil))
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	if _, err := s.Open(newParty(t, nil).body(), all(nil)); !errors.Is(err, mr.ErrFull) {
		t.Errorf("one too many: %v", err)
	}
	open[0].Close()
	open[0].Close()
	until(t, "the port", func() bool { return s.Free() == 1 })
	if _, err := s.Open(newParty(t, nil).body(), all(nil)); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
}

func TestScopes(t *testing.T) {
	s := newServer(t, nil)
	for name, terms := range map[string]mr.Terms{"send": {Send: true}, "receive": {Receive: true}, "both": {Send: true, Receive: true}} {
		c, err := s.Open(newParty(t, nil).body(), terms)
		if err != nil {
			t.Fatal(err)
		}
		m := s.NewMix()
		for verb, done := range map[string]struct {
			err error
			may bool
		}{
			"play":   {c.Play(Silence(time.Second), nil), terms.Send},
			"loop":   {c.Loop(), terms.Send && terms.Receive},
			"send":   {c.Send(&mr.Frame{}), terms.Send},
			"listen": {c.Listen(nil), terms.Receive},
			"record": {c.Record(time.Second, func(*mr.Recording) {}), false},
			"mix":    {m.Join(c), false},
		} {
			if want := map[bool]error{false: mr.ErrScope, true: nil}[done.may]; !errors.Is(done.err, want) {
				t.Errorf("%s, %s: %v", name, verb, done.err)
			}
		}
		direction := map[string]string{"send": "a=sendonly", "receive": "a=recvonly", "both": "a=sendrecv"}[name]
		if !strings.Contains(string(c.Answer()), direction) {
			t.Errorf("%s answers\n%s", name, c.Answer())
		}
	}
}

func TestReoffer(t *testing.T) {
	s := newServer(t, nil)
	p, c := call(t, s, all(nil), nil)
	if err := c.Loop(); err != nil {
		t.Fatal(err)
	}
	again := func(change func(m *sdp.Media)) string {
		parsed, err := sdp.Parse(p.body(), sdp.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		change(&parsed.Media[0])
		b, err := parsed.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return string(c.Reoffer(b))
	}
	said := bytes.Repeat([]byte{0x55}, 160)
	if held := again(func(m *sdp.Media) { m.Direction = sdp.SendOnly }); !strings.Contains(held, "a=recvonly") || strings.Contains(held, "setup:passive") {
		t.Errorf("hold is answered with\n%s", held)
	}
	p.says(said)
	until(t, "what is heard on hold", func() bool { return c.Info().PacketsIn == 1 })
	if resumed := again(func(*sdp.Media) {}); !strings.Contains(resumed, "a=sendrecv") {
		t.Errorf("resuming is answered with\n%s", resumed)
	}
	p.says(said)
	until(t, "the echo after hold", func() bool { return len(p.octets()) == 160 })
	for name, change := range map[string]func(m *sdp.Media){
		"another port":        func(m *sdp.Media) { m.Port += 2 },
		"another certificate": func(m *sdp.Media) { m.Fingerprints = c.leg.Fingerprints() },
		"in clear":            func(m *sdp.Media) { m.Proto, m.Fingerprints = "RTP/AVP", nil },
		"another association": func(m *sdp.Media) { m.TLSID = "another association" },
	} {
		if out := again(change); out != "" {
			t.Errorf("%s is answered with\n%s", name, out)
		}
	}
	if c.Reoffer([]byte("hello")) != nil {
		t.Error("what is no description is answered")
	}
}

func TestContract(t *testing.T) {
	mrtest.Run(t, func(t *testing.T) mr.Server { return newServer(t, func(c *Config) { c.Calls = 2 }) })
}

func TestAt(t *testing.T) {
	s, err := At("127.0.0.1", 1)
	if err != nil || s.Free() != 1 {
		t.Fatal(err)
	}
	c, err := s.Open([]byte(mrtest.Offer), all(nil))
	if err != nil || !strings.Contains(string(c.Answer()), "IN IP4 127.0.0.1") {
		t.Errorf("%v", err)
	}
	s.Close()
	if s, err = At("127.0.0.1:41300", 0); err != nil || s.Free() != DefaultCalls || s.cfg.First != 41300 {
		t.Errorf("with ports: %v", err)
	}
	for _, bad := range []string{"", "nowhere", "0.0.0.0", "::", "127.0.0.1:65500"} {
		if _, err := At(bad, 200); err == nil {
			t.Errorf("%q is an address", bad)
		}
	}
}
