package ue

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"imsafe/client/media"
	"imsafe/proto/passport"
	"imsafe/proto/sip"
)

// vouchedPair are two registered clients whose network signs what they say of their media, in each request and response with a description.
func vouchedPair(t testing.TB, required bool) (f *fake, a *UE, calls chan *Call) {
	t.Helper()
	return homeNotary(t).pair(t, required)
}

// pair is a pair whose network n is.
func (n *notary) pair(t testing.TB, required bool) (f *fake, a *UE, calls chan *Call) {
	t.Helper()
	f, a, _, calls = pair(t, nil, func(c *Config) { c.Vouching = n.vouching(required) })
	f.mu.Lock()
	f.relay = n.vouchesFor
	f.mu.Unlock()
	return f, a, calls
}

// vouchesFor signs like the S-CSCFs of the two: whose the message is, for whom, and with which keys.
func (n *notary) vouchesFor(m *sip.Message) {
	initial := m.IsRequest() && len(m.ToTag()) == 0 && m.Method() == sip.INVITE
	if len(m.Body()) == 0 && !initial {
		return
	}
	from, to := who(alice), who(bob)
	if f, err := m.From(); err == nil && strings.Contains(string(f.URI), bob) {
		from, to = to, from
	}
	p := passport.PASSporT{Orig: from, Dest: []passport.Identity{to}, Keys: passport.KeysOf(m.Body())}
	if !m.IsRequest() {
		p.Type = passport.Rsp
	}
	m.AppendString(sip.HdrIdentity, n.sign(p))
}

// TestHold: nothing is sent by either end while one has the other on hold, and both are heard again afterwards.
func TestHold(t *testing.T) {
	_, a, calls := vouchedPair(t, true)
	va, turns := played(440)
	ca, cb := connect(t, a, calls, va, tone(880))
	for _, c := range []struct{ holds, held *Call }{{ca, cb}, {cb, ca}} {
		if err := c.holds.Hold(patiently(t)); err != nil {
			t.Fatal(err)
		}
		if e := expect(t, c.held, Held); e.Reason != "held" {
			t.Errorf("%+v", e)
		}
		out, in := c.holds.Media().PacketsOut, c.held.Media().PacketsOut
		before := turns.Load()
		until(t, "turns to send", func() bool { return turns.Load() > before+10 })
		if m, o := c.holds.Media().PacketsOut, c.held.Media().PacketsOut; m != out || o != in {
			t.Errorf("on hold %d and %d packets leave", m-out, o-in)
		}
		if err := c.holds.Resume(patiently(t)); err != nil {
			t.Fatal(err)
		}
		if e := expect(t, c.held, Held); e.Reason != "resumed" {
			t.Errorf("%+v", e)
		}
		out, in = c.holds.Media().PacketsIn, c.held.Media().PacketsIn
		until(t, "both again", func() bool { return c.holds.Media().PacketsIn > out+12 && c.held.Media().PacketsIn > in+12 })
	}
	ca.Hangup()
	ended(t, cb)
}

// played is a tone that counts how often it was asked for.
func played(hz float64) (v Voice, frames *atomic.Int64) {
	frames = &atomic.Int64{}
	source := media.NewTone(hz, -10)
	return Voice{Play: media.SourceFunc(func(pcm []int16) (int, error) { frames.Add(1); return source.Read(pcm) })}, frames
}

// TestRekey: each end in its turn takes a new port, a new certificate and new keys, and the call is heard before and after.
func TestRekey(t *testing.T) {
	f, a, calls := vouchedPair(t, true)
	ca, cb := connect(t, a, calls, tone(440), tone(880))
	until(t, "both tones", func() bool { return ca.Media().Heard.Tone(880) && cb.Media().Heard.Tone(440) })
	for _, c := range []struct{ first, second *Call }{{ca, cb}, {cb, ca}} {
		before := [2]Media{c.first.Media(), c.second.Media()}
		if err := c.first.Rekey(patiently(t)); err != nil {
			t.Fatal(err)
		}
		expect(t, c.first, Secured)
		expect(t, c.second, Secured)
		m, o := c.first.Media(), c.second.Media()
		if m.Local == before[0].Local || o.Local == before[1].Local || m.Remote != o.Local || o.Remote != m.Local {
			t.Errorf("from %v and %v to %v and %v", before[0].Local, before[1].Local, m.Local, o.Local)
		}
		if m.PacketsOut < before[0].PacketsOut || o.PacketsIn < before[1].PacketsIn {
			t.Errorf("what was counted is lost: %+v, %+v", m, o)
		}
		windows := [2]int{m.Windows, o.Windows}
		until(t, "both tones under the new keys", func() bool {
			m, o := c.first.Media(), c.second.Media()
			return m.Windows > windows[0]+1 && o.Windows > windows[1]+1 && ca.Media().Heard.Tone(880) && cb.Media().Heard.Tone(440)
		})
	}
	keys := map[string]bool{}
	for _, m := range append(f.received("INVITE "), f.received("SIP/2.0 200")...) {
		if at := strings.Index(m, "a=fingerprint:"); at >= 0 {
			keys[m[at:at+60]] = true
		}
	}
	if len(keys) != 6 {
		t.Errorf("%d certificates, want two for each of three associations", len(keys))
	}
	ca.Hangup()
	ended(t, cb)
}

// TestRekey_refused: nobody takes keys that the network does not vouch for, and the call goes on under those it has.
func TestRekey_refused(t *testing.T) {
	for name, relay := range map[string]func(n *notary) func(*sip.Message){
		"nobody signs": func(*notary) func(*sip.Message) { return func(*sip.Message) {} },
		"other keys are signed": func(n *notary) func(*sip.Message) {
			return func(m *sip.Message) {
				if len(m.Body()) > 0 {
					p := plain(m)
					p.Keys = []passport.Fingerprint{{Algorithm: "sha-256", Digest: strings.Repeat("AA", 32)}}
					m.AppendString(sip.HdrIdentity, n.sign(p))
				}
			}
		},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			n := homeNotary(t)
			f, a, calls := n.pair(t, true)
			ca, cb := connect(t, a, calls, tone(440), tone(880))
			f.mu.Lock()
			f.relay = relay(n)
			f.mu.Unlock()
			var refused *StatusError
			if err := ca.Rekey(patiently(t)); !errors.As(err, &refused) || refused.Code != 488 && refused.Code != 438 {
				t.Fatalf("%v", err)
			}
			before := cb.Media().PacketsIn
			until(t, "the call goes on", func() bool { return cb.Media().PacketsIn > before+5 })
			ca.Hangup()
			ended(t, cb)
		})
	}
}

// TestRekey_swapped_answer: an answer to our new keys that nobody vouches for ends the call, and nothing goes there.
func TestRekey_swapped_answer(t *testing.T) {
	n := homeNotary(t)
	f, a, calls := n.pair(t, true)
	ca, cb := connect(t, a, calls, tone(440), tone(880))
	f.mu.Lock()
	f.relay = func(m *sip.Message) {
		if m.IsRequest() {
			n.vouchesFor(m)
		}
	}
	f.mu.Unlock()
	if err := ca.Rekey(patiently(t)); !errors.Is(err, ErrMedia) {
		t.Errorf("%v", err)
	}
	if e := ended(t, ca); !errors.Is(e.Err, ErrMedia) {
		t.Errorf("%+v", e)
	}
	ended(t, cb)
}

// TestModify_when_it_cannot_be: before the call stands, and while another offer waits.
func TestModify_when_it_cannot_be(t *testing.T) {
	f, a, calls := vouchedPair(t, false)
	ca, err := a.Call(patiently(t), impuOf(bob), Voice{})
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.Hold(patiently(t)); !errors.Is(err, ErrNoCall) {
		t.Errorf("before it is answered: %v", err)
	}
	cb := incoming(t, calls)
	cb.Answer(Voice{})
	expect(t, ca, Secured)
	expect(t, cb, Secured)
	asked := make(chan struct{}, 1)
	f.mu.Lock()
	f.script = func(_ *client, m *sip.Message) *sip.Message {
		if m.Method() == sip.INVITE {
			asked <- struct{}{}
			return f.swallow(m)
		}
		return nil
	}
	f.mu.Unlock()
	first := make(chan error, 1)
	go func() { first <- ca.Hold(patiently(t)) }()
	<-asked
	if err := ca.Rekey(patiently(t)); !errors.Is(err, ErrPending) {
		t.Errorf("while another offer waits: %v", err)
	}
	f.mu.Lock()
	f.script = nil
	f.mu.Unlock()
	var refused *StatusError
	if err := cb.Hold(patiently(t)); !errors.As(err, &refused) || refused.Code != 491 {
		t.Errorf("both at once: %v", err)
	}
	ca.Hangup()
	if err := <-first; !errors.Is(err, ErrNoCall) {
		t.Errorf("the call has ended: %v", err)
	}
	ended(t, cb)
	if err := ca.Resume(patiently(t)); !errors.Is(err, ErrNoCall) {
		t.Errorf("afterwards: %v", err)
	}
}
