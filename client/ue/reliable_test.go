package ue

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
)

// wayOf is what was said of a call, in order: methods and status codes of INVITE and PRACK, with " sdp" where there was a description.
func wayOf(f *fake) (way []string) {
	for _, text := range f.received("") {
		if !strings.Contains(header(text, "CSeq"), "INVITE") && !strings.Contains(header(text, "CSeq"), "PRACK") {
			continue
		}
		word, _, _ := strings.Cut(strings.TrimPrefix(text, "SIP/2.0 "), " ")
		if strings.HasPrefix(text, "SIP/2.0 ") {
			word += " " + strings.Fields(header(text, "CSeq"))[1]
		}
		if strings.Contains(text, "\r\nm=audio") {
			word += " sdp"
		}
		way = append(way, word)
	}
	return way
}

// TestReliable: 183 with the answer, and 180 when that was acknowledged; the 200 says no answer again (RFC 3262 3, 5). Who requires it gets it from any client of
// ours, who supports it from one that wants to.
func TestReliable(t *testing.T) {
	reliably := []string{"INVITE sdp", "183 INVITE sdp", "PRACK", "200 PRACK", "180 INVITE", "PRACK", "200 PRACK", "200 INVITE"}
	for name, c := range map[string]struct {
		wants, requires bool
		way             []string
	}{
		"supported, and wanted": {true, false, reliably},
		"required":              {false, true, reliably},
		"supported alone":       {false, false, []string{"INVITE sdp", "180 INVITE", "200 INVITE sdp"}},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			n := homeNotary(t)
			f, a, _, calls := pair(t, nil, func(u *Config) { u.Reliable, u.Vouching = c.wants, n.vouching(true) })
			f.mu.Lock()
			f.relay = func(m *sip.Message) {
				n.vouchesFor(m)
				if c.requires && m.IsRequest() && m.Method() == sip.INVITE {
					m.Remove(sip.HdrSupported)
					m.SetString(sip.HdrRequire, "100rel")
				}
			}
			f.mu.Unlock()
			ca, cb := connect(t, a, calls, tone(440), tone(880))
			until(t, "both tones", func() bool { return ca.Media().Heard.Tone(880) && cb.Media().Heard.Tone(440) })
			if way := wayOf(f); !slices.Equal(slices.DeleteFunc(way, func(w string) bool { return w == "100 INVITE" }), c.way) {
				t.Errorf("%q\nwant %q", way, c.way)
			}
			ca.Hangup()
			ended(t, cb)
		})
	}
}

// TestReliable_answered: who answers before the 183 is acknowledged answers when it is: 2xx waits for the description (RFC 3262 3).
func TestReliable_answered(t *testing.T) {
	f, a, _, calls := pair(t, nil, func(c *Config) { c.Reliable = true })
	ca, err := a.Call(patiently(t), impuOf(bob), tone(440))
	if err != nil {
		t.Fatal(err)
	}
	cb := incoming(t, calls)
	cb.Ring()
	cb.Answer(tone(880))
	expect(t, ca, Secured)
	expect(t, cb, Secured)
	way := wayOf(f)
	if !slices.Contains(way, "183 INVITE sdp") || slices.Index(way, "200 INVITE") < slices.Index(way, "PRACK") {
		t.Errorf("%q", way)
	}
	cb.Hangup()
	ended(t, ca)
}

// TestReliable_not_acknowledged: in virtual time, a 183 is sent again after T1, doubling, until 64*T1 have passed; then the call is refused, 504. A PRACK
// for another response is none (481).
func TestReliable_not_acknowledged(t *testing.T) {
	for name, spoil := range map[string]func(*sip.Message){
		"lost":            nil,
		"for another one": func(m *sip.Message) { m.SetString(sip.HdrRAck, "1 1 INVITE") },
		"for another call": func(m *sip.Message) {
			m.SetString(sip.HdrRAck, strings.Replace(string(m.Get(sip.HdrRAck)), " 1 ", " 2 ", 1))
		},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			clock := shard.NewFake(time.Now())
			f, a, b, calls := pair(t, nil, func(c *Config) { c.Reliable, c.Clock = true, clock })
			f.mu.Lock()
			f.script = func(_ *client, m *sip.Message) *sip.Message {
				if m.Method() == sip.PRACK && spoil == nil {
					return f.swallow(m)
				}
				return nil
			}
			f.relay = func(m *sip.Message) {
				if m.IsRequest() && m.Method() == sip.PRACK {
					spoil(m)
				}
			}
			f.mu.Unlock()
			ca, err := a.Call(patiently(t), impuOf(bob), Voice{})
			if err != nil {
				t.Fatal(err)
			}
			cb := incoming(t, calls)
			cb.Ring()
			t1 := b.cfg.Timers.T1
			at := time.Duration(0)
			for sent := 1; ; sent++ {
				until(t, "the 183", func() bool { return len(f.received("SIP/2.0 183 ")) == sent })
				if at+t1<<(sent-1) > 64*t1 {
					clock.Advance(64*t1 - at)
					break
				}
				at += t1 << (sent - 1)
				clock.Advance(t1<<(sent-1) - time.Millisecond)
				if _, err := b.Registration(patiently(t)); err != nil { // its shard has seen what the clock shows
					t.Fatal(err)
				}
				if n := len(f.received("SIP/2.0 183 ")); n != sent {
					t.Fatalf("the 183 was sent %d times, too soon", n)
				}
				clock.Advance(time.Millisecond)
				b.post(func() {})
			}
			b.post(func() {})
			if e := ended(t, cb); e.Code != 504 || !errors.Is(e.Err, ErrNoPRACK) {
				t.Errorf("%+v", e)
			}
			var status *StatusError
			if e := ended(t, ca); !errors.As(e.Err, &status) || status.Code != 504 {
				t.Errorf("the caller: %+v", e)
			}
			if n := len(f.received("SIP/2.0 183 ")); n != 7 {
				t.Errorf("the 183 was sent %d times", n)
			}
			if spoil != nil && len(f.received("SIP/2.0 481 ")) == 0 {
				t.Error("the PRACK was taken")
			}
		})
	}
}
