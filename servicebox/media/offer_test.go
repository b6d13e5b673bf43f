package media

import (
	"bytes"
	"testing"
	"time"

	"imsafe/proto/g711"
	"imsafe/proto/sdp"
	"imsafe/refpoint/mr"
)

// TestOffer: a channel that has offered is heard by who has answered, and hears him; each by the other's certificate.
func TestOffer(t *testing.T) {
	s := newServer(t, nil)
	c, p := offered(t, s)
	if err := c.Play(Clip(g711.ALaw(), g711.ALaw().Encode(nil, sound(480, -10, 440))), nil); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		s.Tick(time.Duration(i) * mr.FrameTime)
	}
	until(t, "the prompt", func() bool { return c.Info().PacketsOut == 3 })
	until(t, "what was played", func() bool { return p.Info().PacketsIn == 3 })
	if c.Info().Protection != "DTLS-SRTP AEAD_AES_256_GCM" || p.Info().Protection != c.Info().Protection || c.Info().Codec != "PCMA" {
		t.Errorf("%+v, %+v", c.Info(), p.Info())
	}
}

// offered is a call between two channels of one server: the first has offered.
func offered(t *testing.T, s *Server) (caller, called *channel) {
	t.Helper()
	c, offer, err := s.Offer(all(nil))
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Open(offer, all(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Agree(p.Answer()); err != nil {
		t.Fatal(err)
	}
	p.Start()
	c.Start()
	caller, called = c.(*channel), p.(*channel)
	for _, l := range []*channel{caller, called} {
		select {
		case <-l.leg.Ready():
		case <-l.leg.Done():
			t.Fatal("a leg has ended")
		}
	}
	return caller, called
}

// TestOffer_both_laws: who keeps both laws in his answer may change between them, and is understood in both; a loop gives back the one that was agreed on.
func TestOffer_both_laws(t *testing.T) {
	s := newServer(t, nil)
	c, offer, err := s.Offer(all(nil))
	if err != nil {
		t.Fatal(err)
	}
	p := newParty(t, nil)
	p.caps.Audio = []sdp.Codec{sdp.PCMA(), sdp.PCMU()}
	parsed, err := sdp.Parse(offer, sdp.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	local := sdp.Local{ID: 2, Version: 1, Address: loopback, Port: p.leg.Local().Port(), Fingerprints: p.leg.Fingerprints(), TLSID: "of the called one"}
	answer, agreed, err := sdp.Answer(parsed, local, p.caps)
	if err != nil {
		t.Fatal(err)
	}
	// RFC 3264 6.1: an answer may keep more than one format
	audio := &answer.Media[0]
	for _, f := range parsed.Media[0].Formats {
		if f.PayloadType == 0 {
			audio.Formats = append(audio.Formats, f)
		}
	}
	body, err := answer.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Agree(body); err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	p.law = g711.MuLaw()
	agreed.SendPT = 0
	if err := p.leg.Start(agreed); err != nil {
		t.Fatal(err)
	}
	c.Start()
	ready(t, p, c.(*channel))
	if err := c.Loop(); err != nil {
		t.Fatal(err)
	}
	pcm := sound(480, -10, 440)
	p.says(g711.MuLaw().Encode(nil, pcm))
	until(t, "the echo", func() bool { return len(p.octets()) == len(pcm) })
	want := g711.ALaw().Encode(nil, g711.MuLaw().Decode(nil, g711.MuLaw().Encode(nil, pcm)))
	if !bytes.Equal(p.octets(), want) {
		t.Error("what comes back is something else")
	}
}

// TestHold: what is played stops where the peer does not want to hear, and goes on where it was; the service hears of both.
func TestHold(t *testing.T) {
	s := newServer(t, nil)
	var x told
	p, c := call(t, s, all(x.tell), nil)
	frames := g711.ALaw().Encode(nil, sound(10*mr.FrameSamples, -10, 440))
	if err := c.Play(Clip(g711.ALaw(), frames), nil); err != nil {
		t.Fatal(err)
	}
	tick := 0
	ticks := func(n int) {
		for range n {
			s.Tick(time.Duration(tick) * mr.FrameTime)
			tick++
		}
	}
	again := func(d sdp.Direction) {
		t.Helper()
		p.offer.Media[0].Direction = d
		p.offer.Media[0].Setup = sdp.ActPass
		if c.Reoffer(p.body()) == nil {
			t.Fatalf("an offer that is %v is refused", d)
		}
	}
	count := func(k mr.Kind) (n int) {
		x.mu.Lock()
		defer x.mu.Unlock()
		for _, e := range x.list {
			if e.Kind == k {
				n++
			}
		}
		return n
	}
	ticks(4)
	for _, held := range []sdp.Direction{sdp.SendOnly, sdp.Inactive} {
		before := c.Info().PacketsOut
		again(held)
		ticks(20)
		if n := c.Info().PacketsOut; n != before {
			t.Errorf("%v: %d packets go out", held, n-before)
		}
		again(sdp.SendRecv)
		ticks(3)
	}
	until(t, "the whole prompt", func() bool { return len(p.octets()) == len(frames) })
	if !bytes.Equal(p.octets(), frames) {
		t.Error("the prompt is not whole")
	}
	if count(mr.Held) != 2 || count(mr.Resumed) != 2 {
		t.Errorf("told %s", x.String())
	}
}

// TestWhisper: what is played to a member of a mix he hears in the place of it, and he alone; then he hears the others again.
func TestWhisper(t *testing.T) {
	s := newServer(t, nil)
	m := s.NewMix()
	p, c := call(t, s, all(nil), nil)
	q, d := call(t, s, all(nil), nil)
	for _, member := range []*channel{c, d} {
		if err := m.Join(member); err != nil {
			t.Fatal(err)
		}
	}
	whisper := g711.ALaw().Encode(nil, sound(3*mr.FrameSamples, -10, 440))
	if err := c.Play(Clip(g711.ALaw(), whisper), nil); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		s.Tick(time.Duration(i) * mr.FrameTime)
	}
	silence := bytes.Repeat([]byte{g711.ALaw().Encode(nil, []int16{0})[0]}, 10*mr.FrameSamples)
	until(t, "ten frames each", func() bool { return len(p.octets()) >= 10*mr.FrameSamples && len(q.octets()) >= 10*mr.FrameSamples })
	if heard := p.octets(); !bytes.Equal(heard[:len(whisper)], whisper) || !bytes.Equal(heard[len(whisper):], silence[len(whisper):]) {
		t.Error("he hears something else than what is whispered")
	}
	if !bytes.Equal(q.octets(), silence) {
		t.Error("the other hears it too")
	}
}
