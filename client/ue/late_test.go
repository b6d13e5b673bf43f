package ue

import (
	"errors"
	"strings"
	"testing"

	"imsafe/proto/sip"
)

// late makes a call without an offer and lets bob answer it.
func late(t testing.TB, a *UE, calls chan *Call) (ca, cb *Call) {
	t.Helper()
	v := tone(440)
	v.NoOffer = true
	ca, err := a.Call(patiently(t), impuOf(bob), v)
	if err != nil {
		t.Fatal(err)
	}
	cb = incoming(t, calls)
	cb.Answer(tone(880))
	return ca, cb
}

// TestLate: the called party offers in the 200 and is answered in the ACK; the network vouches for the keys of both (RFC 3261 13.2.1, RFC 8224).
func TestLate(t *testing.T) {
	f, a, calls := vouchedPair(t, true)
	ca, cb := late(t, a, calls)
	expect(t, ca, Secured)
	expect(t, cb, Secured)
	until(t, "both tones", func() bool { return ca.Media().Heard.Tone(880) && cb.Media().Heard.Tone(440) })
	if invite := f.received("INVITE ")[0]; strings.Contains(invite, "m=audio") {
		t.Errorf("INVITE:\n%s", invite)
	}
	if ack := f.received("ACK ")[0]; !strings.Contains(ack, "a=fingerprint") || !strings.Contains(ack, "a=setup:active") {
		t.Errorf("ACK:\n%s", ack)
	}
	if v := ca.Vouched(); v.Identity != impuOf(bob) {
		t.Errorf("%+v", v)
	}
	if err := ca.Rekey(patiently(t)); err != nil {
		t.Errorf("new keys afterwards: %v", err)
	}
	expect(t, cb, Secured)
	ca.Hangup()
	ended(t, cb)
}

// TestLate_reliable: the offer comes in a reliable 183 and is answered in its PRACK (RFC 3262 5); the media wait for the 200.
func TestLate_reliable(t *testing.T) {
	n := homeNotary(t)
	f, a, _, calls := pair(t, nil, func(c *Config) { c.Vouching = n.vouching(true) })
	var answer []byte
	f.mu.Lock()
	f.relay = func(m *sip.Message) {
		switch m.CSeqMethod() {
		case sip.PRACK:
			if m.IsRequest() {
				answer = append([]byte(nil), m.Body()...)
			}
			return
		case sip.ACK:
			m.SetBody("application/sdp", answer)
		}
		n.vouchesFor(m)
		if m.IsRequest() || m.Status() != 200 || m.CSeqMethod() != sip.INVITE || len(m.Body()) == 0 {
			return
		}
		f.sendsEarly(m)
		m.SetBody("", nil)
		m.Remove(sip.HdrIdentity)
	}
	f.mu.Unlock()
	ca, cb := late(t, a, calls)
	expect(t, ca, Secured)
	expect(t, cb, Secured)
	until(t, "both tones", func() bool { return ca.Media().Heard.Tone(880) && cb.Media().Heard.Tone(440) })
	if ack := f.received("ACK ")[0]; strings.Contains(ack, "m=audio") {
		t.Errorf("it was answered twice:\n%s", ack)
	}
	ca.Hangup()
	ended(t, cb)
}

// TestLate_refused: an offer or an answer that comes late and is not vouched for, weaker, or not there at all, ends the call: an offer is declined in
// the ACK, and no packet leaves or is heard at either end.
func TestLate_refused(t *testing.T) {
	swap := func(m *sip.Message) {
		m.SetBody("application/sdp", []byte(strings.Replace(string(m.Body()), "sha-256 ", "sha-256 00:", 1)[:len(m.Body())]))
	}
	plainly := func(m *sip.Message) {
		m.SetBody("application/sdp", []byte(strings.NewReplacer("UDP/TLS/RTP/SAVP", "RTP/AVP", "a=fingerprint", "a=nothing").Replace(string(m.Body()))))
	}
	unsigned := func(m *sip.Message) { m.Remove(sip.HdrIdentity) }
	for name, c := range map[string]struct {
		answer bool // it is the answer in the ACK that is spoilt, else the offer in the 200
		spoil  func(*sip.Message)
		ends   error // of who is lied to
	}{
		"offer unsigned":  {false, unsigned, ErrVouched},
		"offer swapped":   {false, swap, ErrVouched},
		"offer in clear":  {false, plainly, ErrVouched},
		"no offer":        {false, func(m *sip.Message) { m.SetBody("", nil) }, ErrVouched},
		"answer unsigned": {true, unsigned, ErrVouched},
		"answer swapped":  {true, swap, ErrVouched},
		"answer in clear": {true, plainly, ErrVouched},
		"no answer":       {true, func(m *sip.Message) { m.SetBody("", nil); m.Remove(sip.HdrIdentity) }, ErrVouched},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			n := homeNotary(t)
			f, a, _, calls := pair(t, nil, func(c *Config) { c.Vouching = n.vouching(true) })
			f.mu.Lock()
			f.relay = func(m *sip.Message) {
				n.vouchesFor(m)
				method := m.CSeqMethod()
				if c.answer && method == sip.ACK || !c.answer && !m.IsRequest() && method == sip.INVITE && len(m.Body()) > 0 {
					c.spoil(m)
				}
			}
			f.mu.Unlock()
			ca, cb := late(t, a, calls)
			lied := ca
			if c.answer {
				lied = cb
			}
			if e := ended(t, lied); !errors.Is(e.Err, c.ends) {
				t.Errorf("%+v", e)
			}
			ended(t, ca)
			ended(t, cb)
			if m, o := ca.Media(), cb.Media(); m.PacketsIn != 0 || m.PacketsOut != 0 && !c.answer || o.PacketsIn != 0 || o.PacketsOut != 0 {
				t.Errorf("media in spite of it: %+v, %+v", m, o)
			}
			ack := f.received("ACK ")
			if len(ack) == 0 || !c.answer && strings.Contains(ack[0], "a=fingerprint") {
				t.Errorf("ACK: %v", ack)
			}
		})
	}
}

// TestLate_reinvite: a re-INVITE without an offer asks for ours. Its answer may hold and resume; one that moves the media ends the call.
func TestLate_reinvite(t *testing.T) {
	f, a, _, calls := pair(t, nil, nil)
	_, cb := connect(t, a, calls, tone(440), tone(880))
	answer := func(direction string) string {
		b := strings.Replace(bodyOf(f.received("INVITE ")[0]), "a=setup:actpass", "a=setup:passive", 1)
		return strings.Replace(b, "a=sendrecv", "a="+direction, 1)
	}
	for i, c := range []struct{ direction, told string }{{"sendonly", "held"}, {"sendrecv", "resumed"}} {
		r := inside(t, f, "INVITE", 100+i, "")
		if !strings.HasPrefix(r, "SIP/2.0 200") || !strings.Contains(r, "a=setup:actpass") {
			t.Fatal(r)
		}
		acknowledges(f, 100+i, answer(c.direction))
		if e := expect(t, cb, Held); e.Reason != c.told {
			t.Errorf("%+v", e)
		}
	}
	inside(t, f, "INVITE", 200, "")
	acknowledges(f, 200, strings.Replace(answer("sendrecv"), "c=IN IP4 127.0.0.1", "c=IN IP4 127.0.0.9", 1))
	if e := ended(t, cb); !errors.Is(e.Err, ErrMedia) {
		t.Errorf("%+v", e)
	}
}

// TestUpdate: an UPDATE may hold and resume, without an ACK (RFC 3311 5.2), and one without an offer only refreshes the target.
func TestUpdate(t *testing.T) {
	f, a, _, calls := pair(t, nil, nil)
	ca, cb := connect(t, a, calls, tone(440), tone(880))
	body := bodyOf(f.received("INVITE ")[0])
	for i, c := range []struct{ offer, answer, told string }{
		{strings.Replace(body, "a=sendrecv", "a=sendonly", 1), "a=recvonly", "held"},
		{body, "a=sendrecv", "resumed"},
	} {
		r := inside(t, f, "UPDATE", 100+i, c.offer)
		if !strings.HasPrefix(r, "SIP/2.0 200") || !strings.Contains(r, c.answer) || header(r, "Contact") == "" {
			t.Errorf("%s", r)
		}
		if e := expect(t, cb, Held); e.Reason != c.told {
			t.Errorf("%+v", e)
		}
	}
	if r := inside(t, f, "UPDATE", 200, ""); !strings.HasPrefix(r, "SIP/2.0 200") || strings.Contains(r, "m=audio") {
		t.Errorf("%s", r)
	}
	if r := inside(t, f, "UPDATE", 201, strings.Replace(body, "a=tls-id:", "a=tls-id:x", 1)); !strings.HasPrefix(r, "SIP/2.0 488") {
		t.Errorf("new keys that nobody vouches for: %s", r)
	}
	before := cb.Media().PacketsIn
	until(t, "the call goes on", func() bool { return cb.Media().PacketsIn > before+5 })
	ca.Hangup()
	ended(t, ca)
}
