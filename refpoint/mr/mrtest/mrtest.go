// Package mrtest has the suite that every media server of refpoint/mr passes, and a fake without sockets and keys.
//
// Only tests import it. A Fake is safe for concurrent use.
package mrtest

import (
	"errors"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"imsafe/proto/g711"
	"imsafe/proto/sdp"
	"imsafe/refpoint/mr"
)

// Offer is one that every media server answers: G.711 under DTLS-SRTP.
const Offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 UDP/TLS/RTP/SAVP 8 0 101\r\n" +
	"a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=rtcp-mux\r\na=setup:actpass\r\n" +
	"a=fingerprint:sha-256 11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00\r\n"

// inClear is the same in clear.
func inClear() []byte {
	return []byte(strings.NewReplacer("UDP/TLS/RTP/SAVP", "RTP/AVP", "a=setup:actpass\r\n", "").Replace(Offer[:strings.Index(Offer, "a=fingerprint")]))
}

// everything is what a call may do at most.
var everything = mr.Terms{Send: true, Receive: true, Record: true, Mix: true}

// Run is the suite. make makes a media server with room for two calls.
func Run(t *testing.T, make func(t *testing.T) mr.Server) {
	t.Run("offers", func(t *testing.T) { offers(t, make(t)) })
	t.Run("offering", func(t *testing.T) { offering(t, make(t)) })
	t.Run("scopes", func(t *testing.T) { scopes(t, make(t)) })
	t.Run("ends", func(t *testing.T) { ends(t, make(t)) })
	t.Run("mix", func(t *testing.T) { mixes(t, make(t)) })
}

func open(t *testing.T, s mr.Server, terms mr.Terms) mr.Channel {
	t.Helper()
	c, err := s.Open([]byte(Offer), terms)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// offers: what is below the floor is refused, what is above is answered with a certificate; there is room for two.
func offers(t *testing.T, s mr.Server) {
	for name, body := range map[string][]byte{"none": nil, "no description": []byte("hello"), "in clear": inClear()} {
		if _, err := s.Open(body, everything); !errors.Is(err, mr.ErrOffer) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Open([]byte(Offer), mr.Terms{}); !errors.Is(err, mr.ErrScope) {
		t.Errorf("terms that allow nothing: %v", err)
	}
	first := open(t, s, everything)
	open(t, s, everything)
	if _, err := s.Open([]byte(Offer), everything); !errors.Is(err, mr.ErrFull) {
		t.Errorf("the third of two: %v", err)
	}
	answer := string(first.Answer())
	for _, want := range []string{" UDP/TLS/RTP/SAVP 8", "a=fingerprint:sha-256 ", "a=setup:active", "a=sendrecv"} {
		if want == "a=sendrecv" && !strings.Contains(answer, "a=recvonly") && !strings.Contains(answer, "a=sendonly") {
			continue // it is the default
		}
		if !strings.Contains(answer, want) {
			t.Errorf("there is no %q in\n%s", want, answer)
		}
	}
	if held := string(first.Reoffer([]byte(Offer + "a=sendonly\r\n"))); !strings.Contains(held, "a=recvonly") {
		t.Errorf("hold is answered with\n%s", held)
	}
	if first.Reoffer(inClear()) != nil {
		t.Error("a new offer in clear is answered")
	}
}

// AnswerTo is how somebody answers an offer of a media server: G.711 under DTLS-SRTP, in a direction.
func AnswerTo(t testing.TB, offer []byte, d sdp.Direction) []byte {
	t.Helper()
	parsed, err := sdp.Parse(offer, sdp.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	local := sdp.Local{ID: 7, Version: 1, Address: netip.AddrFrom4([4]byte{127, 0, 0, 1}), Port: 40002, Fingerprints: []sdp.Fingerprint{sdp.NewFingerprint([]byte("somebody"))}}
	answer, _, err := sdp.Answer(parsed, local, sdp.Capabilities{Audio: []sdp.Codec{sdp.PCMU(), sdp.PCMA()}, DTMF: true, Direction: d})
	if err != nil {
		t.Fatal(err)
	}
	b, err := answer.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// offering: a channel offers a certificate, takes one answer to that, and none below the floor; then it is one like any other.
func offering(t *testing.T, s mr.Server) {
	if _, _, err := s.Offer(mr.Terms{}); !errors.Is(err, mr.ErrScope) {
		t.Errorf("terms that allow nothing: %v", err)
	}
	c, offer, err := s.Offer(everything)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for _, want := range []string{" UDP/TLS/RTP/SAVP 8 0", "a=fingerprint:sha-256 ", "a=setup:actpass"} {
		if !strings.Contains(string(offer), want) {
			t.Errorf("there is no %q in\n%s", want, offer)
		}
	}
	answer := AnswerTo(t, offer, sdp.SendRecv)
	if c.Reoffer([]byte(Offer)) != nil {
		t.Error("an offer is answered that crosses ours")
	}
	c.Start() // of nothing that was agreed on
	clear := strings.NewReplacer("UDP/TLS/RTP/SAVP", "RTP/AVP").Replace(string(answer))
	bare := strings.ReplaceAll(string(answer), "a=fingerprint", "a=print")
	for name, body := range map[string]string{"none": "", "no description": "hello", "in clear": clear, "without a certificate": bare} {
		if err := c.Agree([]byte(body)); !errors.Is(err, mr.ErrOffer) {
			t.Errorf("answer %s: %v", name, err)
		}
	}
	if err := c.Agree(answer); err != nil {
		t.Fatal(err)
	}
	if err := c.Agree(answer); !errors.Is(err, mr.ErrBusy) {
		t.Errorf("answered twice: %v", err)
	}
	c.Start()
	if err := c.Play(silence{}, nil); err != nil {
		t.Error(err)
	}
	open(t, s, everything)
	if _, _, err := s.Offer(everything); !errors.Is(err, mr.ErrFull) {
		t.Errorf("the third of two: %v", err)
	}
	c.Close()
	if err := c.Agree(answer); !errors.Is(err, mr.ErrGone) {
		t.Errorf("answered after its end: %v", err)
	}
}

// scopes: a verb that the terms do not allow is refused.
func scopes(t *testing.T, s mr.Server) {
	for name, terms := range map[string]mr.Terms{"to send": {Send: true}, "to receive": {Receive: true}} {
		c := open(t, s, terms)
		for verb, done := range map[string]struct {
			err error
			may bool
		}{
			"play":   {c.Play(silence{}, nil), terms.Send},
			"send":   {c.Send(&mr.Frame{}), terms.Send},
			"listen": {c.Listen(nil), terms.Receive},
			"loop":   {c.Loop(), false},
			"record": {c.Record(time.Second, func(*mr.Recording) {}), false},
			"mix":    {s.NewMix().Join(c), false},
		} {
			if want := map[bool]error{true: nil, false: mr.ErrScope}[done.may]; !errors.Is(done.err, want) {
				t.Errorf("%s, %s: %v", name, verb, done.err)
			}
		}
	}
}

// silence is a source without end.
type silence struct{}

// Next implements mr.Source.
func (silence) Next(dst []byte, law g711.Codec) ([]byte, bool) {
	return append(dst, law.Silence()), true
}

// ends: what is under way is told that it is over, once, and there is room again.
func ends(t *testing.T, s mr.Server) {
	c := open(t, s, everything)
	open(t, s, everything)
	c.Start()
	c.Start()
	why := make(chan error, 4)
	done := func(err error) { why <- err }
	for range 2 {
		if err := c.Play(silence{}, done); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-why; !errors.Is(err, mr.ErrBusy) {
		t.Errorf("what was replaced ended with %v", err)
	}
	kept := make(chan *mr.Recording, 2)
	if err := c.Record(time.Second, func(r *mr.Recording) { kept <- r }); err != nil {
		t.Fatal(err)
	}
	if err := c.Record(time.Second, func(*mr.Recording) {}); !errors.Is(err, mr.ErrBusy) {
		t.Errorf("recorded twice: %v", err)
	}
	c.Close()
	c.Close()
	if err := <-why; !errors.Is(err, mr.ErrGone) {
		t.Errorf("what was closed ended with %v", err)
	}
	if r := <-kept; len(r.Octets) != 0 || r.Full {
		t.Errorf("recorded %d octets", len(r.Octets))
	}
	if err := c.Play(silence{}, done); !errors.Is(err, mr.ErrGone) || len(why) != 0 {
		t.Errorf("played after the end: %v", err)
	}
	for { // the port is free when the leg has ended
		next, err := s.Open([]byte(Offer), everything)
		if err == nil {
			next.Close()
			break
		}
		if t.Context().Err() != nil {
			t.Fatal("there is no room again")
		}
		runtime.Gosched()
	}
	s.Close()
	if _, err := s.Open([]byte(Offer), everything); !errors.Is(err, mr.ErrFull) {
		t.Errorf("after the end of all: %v", err)
	}
}

// mixes: a channel is in one mix at a time, and leaves by its end.
func mixes(t *testing.T, s mr.Server) {
	c, m := open(t, s, everything), s.NewMix()
	if err := m.Join(c); err != nil {
		t.Fatal(err)
	}
	if err := s.NewMix().Join(c); !errors.Is(err, mr.ErrBusy) {
		t.Errorf("in two: %v", err)
	}
	m.Leave(c)
	if err := m.Join(c); err != nil {
		t.Errorf("again: %v", err)
	}
	c.Close()
	m.Leave(c)
	if err := m.Join(c); !errors.Is(err, mr.ErrGone) {
		t.Errorf("after its end: %v", err)
	}
}
