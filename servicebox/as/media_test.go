package as_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"imsafe/proto/g711"
	"imsafe/refpoint/mr"
	"imsafe/refpoint/mr/mrtest"
	"imsafe/servicebox/as"
	"imsafe/servicebox/as/astest"
	"imsafe/test/lab"
)

const mediates = "session.answer media.send media.receive media.record media.mix"

// hum is a source of so many frames.
type hum struct{ left int }

func (h *hum) Next(dst []byte, law g711.Codec) ([]byte, bool) {
	h.left--
	return law.Encode(dst, make([]int16, mr.FrameSamples)), h.left > 0
}

// speaks is a service whose calls are handled by one function, with a media server that has room for so many.
func speaks(t *testing.T, room int, handle func(context.Context, *as.Call) error, grants ...astest.Grant) (*stage, *mrtest.Fake, *[]error) {
	t.Helper()
	media, ends := mrtest.NewFake(room), &[]error{}
	var mu sync.Mutex // of ends: calls end at the same time
	s := newStage(t, manifest("talk", mediates), func(svc *as.Service) {
		svc.UseMedia(media)
		svc.Handle(as.Terminating, func(ctx context.Context, x *as.Session) error {
			c, err := x.AnswerMedia(ctx, []float64{1000}, "it talks")
			if err == nil {
				err = handle(ctx, c)
			}
			mu.Lock()
			defer mu.Unlock()
			*ends = append(*ends, err)
			return err
		})
	}, grants...)
	return s, media, ends
}

// TestMedia is a call from its beginning to its end, in virtual time: nothing before the keys stand, a prompt takes as long as it takes, digits and tones are events,
// what was recorded when the caller hangs up is there.
func TestMedia(t *testing.T) {
	var story []string
	s, media, ends := speaks(t, 2, func(ctx context.Context, c *as.Call) error {
		tell := func(format string, a ...any) { story = append(story, fmt.Sprintf(format, a...)) }
		if err := c.Secured(ctx); err != nil {
			return err
		}
		tell("secured")
		if err := c.Play(ctx, &hum{left: 50}); err != nil {
			return err
		}
		tell("played")
		for range 3 {
			e, err := c.Next(ctx)
			if err != nil {
				return err
			}
			tell("%v %c %v %s", e.Kind, e.Digit, e.Hz, e.Reason)
		}
		r, err := c.Record(ctx, time.Minute)
		if err != nil {
			return err
		}
		tell("recorded %v", r.Length())
		return nil
	})
	s.alice.Call("talk").Answered()
	s.Advance(time.Second)
	if len(story) != 0 {
		t.Errorf("without keys: %v", story)
	}
	c := media.Calls()[0]
	c.Secure()
	s.Advance(500 * time.Millisecond)
	if !slices.Equal(story, []string{"secured"}) || c.Sent() < 20 || c.Sent() > 30 {
		t.Errorf("half a second later: %v, %d frames", story, c.Sent())
	}
	s.Advance(600 * time.Millisecond)
	c.Press('5')
	c.Tone(1000)
	s.Settle()
	for range 25 {
		c.Hear(&mr.Frame{})
	}
	s.alice.Hangup()
	s.Settle()
	want := []string{"secured", "played", "secured \x00 0 DTLS-SRTP of the fake", "info 5 0 ", "tone \x00 1000 ", "recorded 500ms"}
	if !slices.Equal(story, want) || (*ends)[0] != nil {
		t.Errorf("%q, %v\nwant %q", story, *ends, want)
	}
	if n := len(media.Calls()); n != 0 {
		t.Errorf("%d channels are left over", n)
	}
	s.over()
}

// TestMedia_offers: what cannot be answered is refused, with the standard's code, and costs no room.
func TestMedia_offers(t *testing.T) {
	s, media, _ := speaks(t, 10, func(ctx context.Context, c *as.Call) error { return c.Wait(ctx) })
	plain := strings.NewReplacer("UDP/TLS/RTP/SAVP", "RTP/AVP").Replace(astest.Offer[:strings.Index(astest.Offer, "a=setup")])
	s.alice.Call("talk", lab.Body("application/sdp", []byte(plain))).Fails(488)
	if n := len(media.Calls()); n != 0 {
		t.Errorf("%d channels are open", n)
	}
	s.alice.Call("talk").Answered().Hangup()
	for range 5 { // media_mbps = 1
		s.alice.Call("talk").Answered()
	}
	s.alice.Call("talk").Fails(503)
	if n := len(media.Calls()); n != 5 {
		t.Errorf("%d channels are open", n)
	}
}

// TestMedia_full: the media server has no room.
func TestMedia_full(t *testing.T) {
	s, _, ends := speaks(t, 0, func(ctx context.Context, c *as.Call) error { return nil })
	s.alice.Call("talk").Fails(503)
	if err := (*ends)[0]; !errors.Is(err, mr.ErrFull) || !errors.Is(err, as.ErrMedia) {
		t.Error(err)
	}
}

// TestMedia_lost: a call whose media fail is hung up, and its handler hears why.
func TestMedia_lost(t *testing.T) {
	bad := errors.New("another certificate")
	s, media, ends := speaks(t, 1, func(ctx context.Context, c *as.Call) error { return c.Secured(ctx) })
	s.alice.Call("talk").Answered()
	media.Calls()[0].Lose(bad)
	s.Settle()
	if err := (*ends)[0]; !errors.Is(err, bad) || !errors.Is(err, as.ErrMedia) || !s.alice.HungUp {
		t.Errorf("%v, hung up: %v", err, s.alice.HungUp)
	}
	s.over()
}

// TestMedia_scopes: each verb names the scope that is missing, and the media server is not asked.
func TestMedia_scopes(t *testing.T) {
	for scope, verb := range map[string]func(context.Context, *as.Call) error{
		"media.record":  func(ctx context.Context, c *as.Call) error { _, err := c.Record(ctx, time.Second); return err },
		"media.send":    func(ctx context.Context, c *as.Call) error { return c.Play(ctx, &hum{left: 1}) },
		"media.receive": func(ctx context.Context, c *as.Call) error { _, err := c.Frames(); return err },
		"media.mix": func(ctx context.Context, c *as.Call) error {
			_, err := c.Service().NewMix()
			return err
		},
	} {
		s, _, ends := speaks(t, 1, verb, astest.Without(scope))
		s.alice.Call("talk").Answered()
		if len(*ends) != 1 {
			t.Fatalf("without %s it did not return", scope)
		}
		astest.Denied(t, (*ends)[0], scope)
	}
	// One elsewhere is told by the core what the operator left out.
	s, _, ends := speaks(t, 1, func(ctx context.Context, c *as.Call) error { _, err := c.Record(ctx, time.Second); return err }, astest.Unknown("media.record"))
	s.alice.Call("talk").Answered()
	astest.Denied(t, (*ends)[0], "media.record")
	if s.service.Grants("media.record") || !s.service.Grants("media.send") {
		t.Error("it believes what it was not told")
	}
	s, _, ends = speaks(t, 1, func(context.Context, *as.Call) error { return nil }, astest.Without("media.send", "media.receive", "media.mix"))
	s.alice.Call("talk").Fails(403)
	astest.Denied(t, (*ends)[0], "media.send")
}

// TestMedia_frames: in by a channel that is bounded, counted and closed at the end; out one by one; and a mix.
func TestMedia_frames(t *testing.T) {
	var in <-chan mr.Frame
	var call *as.Call
	var mix *as.Mix
	s, media, ends := speaks(t, 1, func(ctx context.Context, c *as.Call) (err error) {
		if in, err = c.Frames(); err != nil {
			return err
		}
		if mix, err = c.Service().NewMix(); err == nil {
			err = errors.Join(c.Loop(), c.Send(&mr.Frame{}), mix.Join(c))
		}
		mix.Leave(c)
		call = c
		return err
	})
	s.alice.Call("talk").Answered()
	if err := (*ends)[0]; err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		media.Calls()[0].Hear(&mr.Frame{int16(i)})
	}
	if n := call.FramesDropped(); n != 5 {
		t.Errorf("%d frames were dropped", n)
	}
	if f := <-in; f[0] != 5 {
		t.Errorf("the oldest is %d", f[0])
	}
	s.alice.Hangup()
	s.Settle()
	n := 0
	for range in {
		n++
	}
	if n != 24 {
		t.Errorf("%d frames were left", n)
	}
}

// TestMedia_late: a call without an offer gets one in the answer, and its media begin with the ACK that answers it.
func TestMedia_late(t *testing.T) {
	s, media, ends := speaks(t, 2, func(ctx context.Context, c *as.Call) error {
		if err := c.Secured(ctx); err != nil {
			return err
		}
		return c.Loop()
	})
	call := s.alice.CallLate("talk").Answered()
	open := media.Calls()
	if len(open) != 1 || !open[0].Started() || !strings.Contains(string(call.Answer.Body()), "a=setup:actpass") {
		t.Fatalf("%d calls are open, it answers\n%s", len(open), call.Answer.Body())
	}
	open[0].Secure()
	s.Settle()
	if !open[0].Looping() || (*ends)[0] != nil {
		t.Errorf("%v", *ends)
	}
	call.Hangup()
	if n := len(media.Calls()); n != 0 {
		t.Errorf("%d channels are left over", n)
	}
	s.over()
}

// TestMedia_late_without_an_answer: an ACK that does not answer what was offered ends the call.
func TestMedia_late_without_an_answer(t *testing.T) {
	s, media, ends := speaks(t, 2, func(context.Context, *as.Call) error { return nil })
	s.alice.Call("talk", lab.Body("", nil)).Answered() // and an ACK without anything
	if err := (*ends)[0]; !errors.Is(err, as.ErrMedia) || !s.alice.HungUp || len(media.Calls()) != 0 {
		t.Errorf("%v, hung up: %v, %d channels are open", err, s.alice.HungUp, len(media.Calls()))
	}
	s.over()
}

// TestMedia_hold: a service hears that it was put on hold; what it plays waits and then goes on.
func TestMedia_hold(t *testing.T) {
	s, media, ends := speaks(t, 1, func(ctx context.Context, c *as.Call) error {
		if err := c.Secured(ctx); err != nil {
			return err
		}
		return c.Play(ctx, &hum{left: 50})
	})
	call := s.alice.Call("talk").Answered()
	c := media.Calls()[0]
	c.Secure()
	s.Advance(400 * time.Millisecond)
	if call.Hold(); call.Status != 200 {
		t.Fatalf("hold is answered %d", call.Status)
	}
	before := c.Sent()
	s.Advance(10 * time.Second)
	if n := c.Sent(); n != before || before == 0 || len(*ends) != 0 {
		t.Errorf("%d frames before, %d after ten seconds of hold; %v", before, n, *ends)
	}
	call.Resume()
	s.Advance(2 * time.Second)
	if n := c.Sent(); n != 50 || len(*ends) != 1 || (*ends)[0] != nil {
		t.Errorf("%d frames in all, %v", n, *ends)
	}
}
