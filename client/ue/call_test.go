package ue

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"imsafe/client/media"
	"imsafe/proto/aka"
	"imsafe/proto/sip"
)

// pair registers two clients at one P-CSCF. Incoming calls of bob arrive on the channel.
func pair(t testing.TB, edit func(*fake, *tls.Config), each func(*Config)) (f *fake, a, b *UE, calls chan *Call) {
	t.Helper()
	f = newFake(t, edit)
	calls = make(chan *Call, 4)
	a = newUE(t, f, alice, each)
	b = newUE(t, f, bob, func(c *Config) {
		if each != nil {
			each(c)
		}
		if c.OnCall == nil {
			c.OnCall = func(c *Call) { calls <- c }
		}
	})
	for _, u := range []*UE{a, b} {
		if _, err := u.Register(patiently(t)); err != nil {
			t.Fatal(err)
		}
	}
	return f, a, b, calls
}

func incoming(t testing.TB, calls chan *Call) *Call {
	t.Helper()
	select {
	case c := <-calls:
		return c
	case <-patiently(t).Done():
		t.Fatal("it does not ring")
		return nil
	}
}

func expect(t testing.TB, c *Call, k Kind) Event {
	t.Helper()
	e, err := c.Until(patiently(t), k)
	if err != nil {
		t.Fatalf("waiting for %v: %+v, %v", k, e, err)
	}
	return e
}

func ended(t testing.TB, c *Call) Event {
	t.Helper()
	select {
	case <-c.Done():
		return c.Result()
	case <-patiently(t).Done():
		t.Fatal("the call does not end")
		return Event{}
	}
}

func tone(hz float64) Voice { return Voice{Play: media.NewTone(hz, -10)} }

// connect makes a call from a to b that stands and is secured.
func connect(t testing.TB, a *UE, calls chan *Call, va, vb Voice) (ca, cb *Call) {
	t.Helper()
	ca, err := a.Call(patiently(t), impuOf(bob), va)
	if err != nil {
		t.Fatal(err)
	}
	cb = incoming(t, calls)
	cb.Ring()
	expect(t, ca, Ringing)
	cb.Answer(vb)
	expect(t, ca, Answered)
	expect(t, cb, Answered)
	expect(t, ca, Secured)
	expect(t, cb, Secured)
	return ca, cb
}

func TestCall_two_users_hear_each_other(t *testing.T) {
	f, a, _, calls := pair(t, nil, nil)
	ca, cb := connect(t, a, calls, tone(440), tone(880))
	if peer, asserted := cb.Peer(); peer != impuOf(alice) || !asserted {
		t.Errorf("bob sees %q, asserted %v", peer, asserted)
	}
	until(t, "both tones", func() bool { return ca.Media().Heard.Tone(880) && cb.Media().Heard.Tone(440) })
	ma, mb := ca.Media(), cb.Media()
	for _, m := range []Media{ma, mb} {
		if m.Protection != "DTLS-SRTP AEAD_AES_256_GCM" || m.Codec != "PCMA" || m.PacketsIn < 10 || m.PacketsOut < 10 {
			t.Errorf("%+v", m)
		}
	}
	if ma.Remote != mb.Local || ma.Heard.Level < -11 || ma.Heard.Level > -9 {
		t.Errorf("%v and %v, level %v", ma.Remote, mb.Local, ma.Heard.Level)
	}
	ca.Hangup()
	if e := ended(t, ca); e.Err != nil || e.Code != 200 {
		t.Errorf("alice: %+v", e)
	}
	if e := ended(t, cb); e.Err != nil || !strings.Contains(e.Reason, "other end") {
		t.Errorf("bob: %+v", e)
	}
	invite := f.received("INVITE ")[0]
	if header(invite, "P-Preferred-Identity") == "" || !strings.Contains(invite, "Route: <sip:orig@scscf."+domain+";lr>") ||
		!strings.Contains(invite, "UDP/TLS/RTP/SAVP") || strings.Contains(invite, "P-Asserted-Identity") {
		t.Errorf("INVITE:\n%s", invite)
	}
	ack := f.received("ACK ")[0]
	if !strings.Contains(ack, "Route: <sip:"+f.addr.String()) || !strings.HasPrefix(ack, "ACK sip:") {
		t.Errorf("ACK:\n%s", ack)
	}
}

// TestLeg: both ends name the same dialog, from their sides (RFC 3261 12.1).
func TestLeg(t *testing.T) {
	_, a, _, calls := pair(t, nil, nil)
	ca, cb := connect(t, a, calls, Voice{}, Voice{})
	out, err := ca.Leg(patiently(t))
	if err != nil {
		t.Fatal(err)
	}
	in, err := cb.Leg(patiently(t))
	if err != nil {
		t.Fatal(err)
	}
	if out.CallID == "" || out.CallID != in.CallID || out.LocalTag != in.RemoteTag || out.RemoteTag != in.LocalTag || out.Local != in.Remote ||
		out.Target == "" || out.Target == in.Target {
		t.Errorf("one end says %+v, the other %+v", out, in)
	}
}

func TestCall_callee_hangs_up(t *testing.T) {
	_, a, _, calls := pair(t, nil, nil)
	ca, cb := connect(t, a, calls, Voice{}, Voice{})
	cb.Hangup()
	cb.Hangup()
	if e := ended(t, ca); e.Err != nil {
		t.Errorf("%+v", e)
	}
	if e := ended(t, cb); e.Err != nil {
		t.Errorf("%+v", e)
	}
}

func TestCall_caller_cancels_while_it_rings(t *testing.T) {
	_, a, _, calls := pair(t, nil, nil)
	ca, err := a.Call(patiently(t), impuOf(bob), Voice{})
	if err != nil {
		t.Fatal(err)
	}
	cb := incoming(t, calls)
	cb.Ring()
	expect(t, ca, Ringing)
	ca.Hangup()
	if e := ended(t, cb); !errors.Is(e.Err, ErrCancelled) || e.Code != 487 {
		t.Errorf("bob: %+v", e)
	}
	if e := ended(t, ca); !errors.Is(e.Err, ErrCancelled) || e.Code != 487 {
		t.Errorf("alice: %+v", e)
	}
}

func TestCall_cancel_crosses_the_answer(t *testing.T) {
	f, a, _, calls := pair(t, nil, nil)
	f.mu.Lock()
	f.script = func(_ *client, m *sip.Message) *sip.Message { // the CANCEL is lost, so the answer comes in spite of it
		if m.Method() == sip.CANCEL {
			return f.respond(m, 200)
		}
		return nil
	}
	f.mu.Unlock()
	ca, err := a.Call(patiently(t), impuOf(bob), Voice{})
	if err != nil {
		t.Fatal(err)
	}
	cb := incoming(t, calls)
	cb.Ring()
	expect(t, ca, Ringing)
	ca.Hangup()
	until(t, "CANCEL", func() bool { return len(f.received("CANCEL ")) == 1 })
	cb.Answer(Voice{})
	if e := ended(t, cb); e.Err != nil {
		t.Errorf("bob: %+v", e)
	}
	ended(t, ca)
	if len(f.received("ACK ")) != 1 || len(f.received("BYE ")) != 1 {
		t.Error("an answered call that nobody wants needs ACK and BYE")
	}
}

func TestCall_ends_before_it_begins(t *testing.T) {
	for name, c := range map[string]struct {
		ue     func(*Config)
		with   func(*Call)
		target string
		code   int
	}{
		"rejected":              {with: func(c *Call) { c.Reject(486) }, code: 486},
		"rejected with a 200":   {with: func(c *Call) { c.Reject(200) }, code: 486},
		"hung up while ringing": {with: func(c *Call) { c.Ring(); c.Hangup() }, code: 603},
		"nobody takes calls":    {ue: func(c *Config) { c.OnCall = nil }, code: 480},
		"user unknown":          {target: "sip:nobody@" + domain, code: 404},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			f := newFake(t, nil)
			a := newUE(t, f, alice, nil)
			b := newUE(t, f, bob, func(cfg *Config) {
				cfg.OnCall = c.with
				if c.ue != nil {
					c.ue(cfg)
				}
			})
			for _, u := range []*UE{a, b} {
				if _, err := u.Register(patiently(t)); err != nil {
					t.Fatal(err)
				}
			}
			target := c.target
			if target == "" {
				target = impuOf(bob)
			}
			call, err := a.Call(patiently(t), target, Voice{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = call.Until(patiently(t), Answered)
			var status *StatusError
			if !errors.As(err, &status) || status.Code != c.code || call.Result().Code != c.code {
				t.Errorf("%v", err)
			}
		})
	}
}

// The description is changed on the way. Neither end may get media from anybody but the owner of the certificate it was told.
func TestCall_description_edited_on_the_way(t *testing.T) {
	rewrite := func(old, new string) func(*sip.Message) {
		return func(m *sip.Message) {
			if len(m.Body()) > 0 {
				m.SetBody("application/sdp", []byte(strings.ReplaceAll(string(m.Body()), old, new)))
			}
		}
	}
	for name, c := range map[string]struct {
		relay  func(*sip.Message)
		code   int   // the offer is refused before it rings
		answer error // or the call ends after the answer
	}{
		"offer made plain": {relay: func(m *sip.Message) {
			rewrite("UDP/TLS/RTP/SAVP", "RTP/AVP")(m)
			rewrite("a=fingerprint", "a=nothing")(m)
		}, code: 488},
		"profile made plain":      {relay: rewrite("UDP/TLS/RTP/SAVP", "RTP/AVP"), answer: ErrMedia}, // the fingerprint counts; the answer is none to what was offered
		"fingerprint removed":     {relay: rewrite("a=fingerprint", "a=nothing"), code: 488},
		"fingerprint of a weaker": {relay: rewrite("sha-256", "sha-1"), code: 488},
		"fingerprint swapped": {relay: func(m *sip.Message) {
			if b := string(m.Body()); b != "" {
				at := strings.Index(b, "sha-256 ") + 8
				m.SetBody("application/sdp", []byte(b[:at]+strings.Repeat("AA:", 31)+"AA"+b[at+95:]))
			}
		}, answer: ErrMedia},
		"answer made plain": {relay: func(m *sip.Message) {
			if !m.IsRequest() {
				rewrite("UDP/TLS/RTP/SAVP", "RTP/AVP")(m)
			}
		}, answer: ErrMedia},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			f, a, _, calls := pair(t, nil, nil)
			f.mu.Lock()
			f.relay = c.relay
			f.mu.Unlock()
			call, err := a.Call(patiently(t), impuOf(bob), tone(440))
			if err != nil {
				t.Fatal(err)
			}
			if c.code != 0 {
				if e := ended(t, call); e.Code != c.code {
					t.Errorf("%+v", e)
				}
				return
			}
			cb := incoming(t, calls)
			cb.Answer(tone(880))
			// Where both were lied to, the one who notices first tells the other by BYE.
			if a, b := ended(t, call), ended(t, cb); !errors.Is(a.Err, c.answer) && !errors.Is(b.Err, c.answer) {
				t.Errorf("alice: %+v, bob: %+v", a, b)
			}
			for _, m := range []Media{call.Media(), cb.Media()} {
				if m.PacketsIn != 0 || m.PacketsOut != 0 || m.Windows != 0 {
					t.Errorf("media in spite of it: %+v", m)
				}
			}
		})
	}
}

func TestMessage(t *testing.T) {
	got := make(chan Message, 1)
	_, a, b, _ := pair(t, nil, func(c *Config) { c.OnMessage = func(m Message) { got <- m } })
	if err := a.SendMessage(patiently(t), impuOf(bob), "text/plain", []byte("hello, bob")); err != nil {
		t.Fatal(err)
	}
	m := <-got
	if m.From != impuOf(alice) || !m.Asserted || m.To != impuOf(bob) || m.ContentType != "text/plain" || string(m.Body) != "hello, bob" {
		t.Errorf("%+v", m)
	}
	var status *StatusError
	if err := b.SendMessage(patiently(t), "sip:nobody@"+domain, "text/plain", nil); !errors.As(err, &status) || status.Code != 404 {
		t.Error(err)
	}
	for _, bad := range []string{"", "bob", "sip:bob@x?Subject=y", "sip:bob:secret@x", "https://x", "sip:bob@x\r\nEvil: 1", `sip:"@x`} {
		if err := a.SendMessage(patiently(t), bad, "text/plain", nil); !errors.Is(err, ErrURI) {
			t.Errorf("%q: %v", bad, err)
		}
		if _, err := a.Call(patiently(t), bad, Voice{}); !errors.Is(err, ErrURI) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// ci.digest.leak: whoever asks for credentials outside REGISTER gets none, unless it is the home network with a true challenge.
func TestDigest_is_not_leaked(t *testing.T) {
	challenge := func(f *fake, m *sip.Message, code int, h sip.HeaderID, realm string) *sip.Message {
		v := new(aka.Vector)
		f.seq++
		if err := aka.Generate(aka.NewMilenage(testK, testOPc), strings.NewReader(strings.Repeat("q", 16)), aka.MakeSQN(f.seq, 0), aka.AMF{}, v); err != nil {
			t.Error(err)
		}
		c := sip.Challenge{Realm: []byte(realm), Nonce: aka.AppendNonce(nil, v.RAND, v.AUTN, nil), Algorithm: []byte("AKAv2-SHA-256")}
		r := f.respond(m, code)
		r.Append(h, c.AppendTo(nil))
		return r
	}
	for name, c := range map[string]struct {
		method sip.Method
		code   int
		header sip.HeaderID
		realm  string
		sent   int // requests with credentials
	}{
		"407 of a stranger to INVITE":          {sip.INVITE, 407, sip.HdrProxyAuthenticate, "as.example", 0},
		"401 to INVITE, even in our realm":     {sip.INVITE, 401, sip.HdrWWWAuthenticate, domain, 0},
		"407 to BYE, even in our realm":        {sip.BYE, 407, sip.HdrProxyAuthenticate, domain, 0},
		"407 of a stranger to MESSAGE":         {sip.MESSAGE, 407, sip.HdrProxyAuthenticate, "as.example", 0},
		"407 of the home network to INVITE":    {sip.INVITE, 407, sip.HdrProxyAuthenticate, domain, 1},
		"407 of the home network to a MESSAGE": {sip.MESSAGE, 407, sip.HdrProxyAuthenticate, domain, 1},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			f, a, _, calls := pair(t, nil, nil)
			f.mu.Lock()
			f.script = func(_ *client, m *sip.Message) *sip.Message {
				if m.Method() == c.method {
					return challenge(f, m, c.code, c.header, c.realm)
				}
				return nil
			}
			f.mu.Unlock()
			if c.method == sip.MESSAGE {
				if err := a.SendMessage(patiently(t), impuOf(bob), "text/plain", nil); err == nil {
					t.Error("accepted")
				}
			} else {
				call, err := a.Call(patiently(t), impuOf(bob), Voice{})
				if err != nil {
					t.Fatal(err)
				}
				if c.method == sip.BYE {
					incoming(t, calls).Answer(Voice{})
					expect(t, call, Answered)
					call.Hangup()
				}
				ended(t, call)
			}
			n := 0
			for _, m := range f.received(c.method.String() + " ") {
				if strings.Contains(m, "Authorization: ") {
					n++
				}
			}
			if n != c.sent {
				t.Errorf("%d requests with credentials, want %d", n, c.sent)
			}
		})
	}
}

// What a stranger behind the P-CSCF may send about a call he does not own.
func TestCall_cannot_be_ended_by_guessing(t *testing.T) {
	f, a, _, calls := pair(t, nil, nil)
	ca, cb := connect(t, a, calls, tone(440), tone(880))
	var callID, from, to string
	for _, m := range f.received("ACK ") {
		callID, from, to = header(m, "Call-ID"), header(m, "From"), header(m, "To")
	}
	n := 0
	bye := func(callID, from, to string, seq int) string {
		n++
		f.inject(impuOf(bob), "BYE sip:x@127.0.0.1 SIP/2.0", fmt.Sprintf("Via: SIP/2.0/TLS 127.0.0.1:9;branch=z9hG4bKevil%d", n),
			"From: "+from, "To: "+to, "Call-ID: "+callID, fmt.Sprintf("CSeq: %d BYE", seq), "Max-Forwards: 70", "Content-Length: 0")
		want := fmt.Sprintf("z9hG4bKevil%d", n)
		var got string
		until(t, "an answer", func() bool {
			for _, m := range f.received("SIP/2.0 ") {
				if strings.Contains(m, want) {
					got = m
				}
			}
			return got != ""
		})
		return got[8:11]
	}
	for name, code := range map[string]string{
		"other Call-ID":  bye("x", from, to, 900),
		"other From tag": bye(callID, strings.Split(from, ";tag=")[0]+";tag=guess", to, 900),
		"other To tag":   bye(callID, from, strings.Split(to, ";tag=")[0]+";tag=guess", 900),
		"no To tag":      bye(callID, from, strings.Split(to, ";tag=")[0], 900),
	} {
		if code != "481" {
			t.Errorf("%s: %s", name, code)
		}
	}
	if code := bye(callID, from, to, 0); code != "500" {
		t.Errorf("an old sequence number: %s", code)
	}
	before := cb.Media().PacketsIn
	until(t, "the call goes on", func() bool { return cb.Media().PacketsIn > before+5 })
	ca.Hangup()
	ended(t, ca)
}

// reinvite sends a new offer to bob inside the call, as alice or whoever sits on the path would, with more header lines.
func reinvite(t *testing.T, f *fake, seq int, edit func(string) string, more ...func(body string) string) (code string) {
	t.Helper()
	body := edit(bodyOf(f.received("INVITE ")[0]))
	var lines []string
	for _, line := range more {
		lines = append(lines, line(body))
	}
	code = inside(t, f, "INVITE", seq, body, lines...)[8:11]
	acknowledges(f, seq, "")
	return code
}

func bodyOf(m string) string { return m[strings.Index(m, "\r\n\r\n")+4:] }

// inside sends a request to bob inside the call, and returns the answer. body may be "".
func inside(t *testing.T, f *fake, method string, seq int, body string, more ...string) (answer string) {
	t.Helper()
	branch := fmt.Sprintf("z9hG4bKre%d", seq)
	injects(f, method, seq, branch, body, more...)
	until(t, "an answer", func() bool {
		for _, m := range f.received("SIP/2.0 ") {
			if strings.Contains(m, branch) && m[8] != '1' {
				answer = m
			}
		}
		return answer != ""
	})
	if method == "INVITE" && answer[8] != '2' {
		injects(f, "ACK", seq, branch, "") // that of a failure has the branch of its INVITE
	}
	return answer
}

// acknowledges sends the ACK of a 2xx.
func acknowledges(f *fake, seq int, body string) {
	injects(f, "ACK", seq, fmt.Sprintf("z9hG4bKre%dack", seq), body)
}

func injects(f *fake, method string, seq int, branch, body string, more ...string) {
	ack := f.received("ACK ")[0]
	lines := []string{method + " " + strings.Fields(ack)[1] + " SIP/2.0", "Via: SIP/2.0/TLS 127.0.0.1:9;branch=" + branch,
		"From: " + header(ack, "From"), "To: " + header(ack, "To"), "Call-ID: " + header(ack, "Call-ID"), fmt.Sprintf("CSeq: %d %s", seq, method),
		"Contact: " + header(f.received("INVITE ")[0], "Contact"), "Max-Forwards: 70"}
	lines = append(lines, more...)
	if body == "" {
		f.inject(impuOf(bob), append(lines, "Content-Length: 0")...)
		return
	}
	f.inject(impuOf(bob), append(lines, "Content-Type: application/sdp", fmt.Sprintf("Content-Length: %d", len(body)), "", body[:len(body)-2])...)
}

func TestCall_reinvite(t *testing.T) {
	f, a, _, calls := pair(t, nil, nil)
	ca, cb := connect(t, a, calls, tone(440), tone(880))
	version := func(s string) string { return strings.Replace(s, " 1 IN IP4", " 2 IN IP4", 1) }
	if code := reinvite(t, f, 100, func(s string) string { return strings.Replace(version(s), "a=sendrecv", "a=sendonly", 1) }); code != "200" {
		t.Fatalf("hold: %s", code)
	}
	if e := expect(t, cb, Held); e.Reason != "held" {
		t.Errorf("%+v", e)
	}
	quiet := cb.Media().PacketsOut
	for i, edit := range []func(string) string{
		func(s string) string { return strings.Replace(version(s), "m=audio ", "m=audio 1", 1)[:len(s)] },
		func(s string) string {
			at := strings.Index(s, "sha-256 ") + 8
			return s[:at] + strings.Repeat("AA:", 31) + "AA" + s[at+95:]
		},
		func(s string) string { return strings.Replace(s, "c=IN IP4 127.0.0.1", "c=IN IP4 127.0.0.9", 1) },
		func(s string) string { return strings.Replace(s, "a=tls-id:", "a=tls-id:x", 1) },
		strings.NewReplacer("UDP/TLS/RTP/SAVP", "RTP/AVP", "a=fingerprint", "a=nothing").Replace,
	} {
		if code := reinvite(t, f, 200+i, edit); code != "488" {
			t.Errorf("media moved, %d: %s", i, code)
		}
	}
	if n := cb.Media().PacketsOut; n != quiet {
		t.Errorf("on hold, and still %d packets sent", n-quiet)
	}
	if code := reinvite(t, f, 300, version); code != "200" {
		t.Fatalf("resume: %s", code)
	}
	if e := expect(t, cb, Held); e.Reason != "resumed" {
		t.Errorf("%+v", e)
	}
	until(t, "voice after the hold", func() bool { return cb.Media().PacketsOut > quiet+5 })
	ca.Hangup()
	ended(t, ca)
}

func TestCall_lab_in_clear(t *testing.T) {
	_, a, _, calls := pair(t, func(f *fake, c *tls.Config) { c.Certificates, f.scheme = nil, aka.AKAv1MD5 }, func(c *Config) {
		c.Lab, c.Transport, c.Scheme, c.PlainRTP = true, TCP, aka.AKAv1MD5, true
	})
	ca, cb := connect(t, a, calls, tone(440), tone(880))
	until(t, "a tone", func() bool { return cb.Media().Heard.Tone(440) && ca.Media().Heard.Tone(880) })
	if m := ca.Media(); m.Protection != "RTP in clear" {
		t.Errorf("%+v", m)
	}
	cb.Hangup()
	ended(t, ca)
}

func TestCall_plays_and_records(t *testing.T) {
	_, a, _, calls := pair(t, nil, nil)
	clip := make([]int16, 4000)
	_, _ = media.NewTone(440, -10).Read(clip)
	var tape tape
	// The first frames may meet an end that has not finished its handshake, where they are dropped, unread: there is nothing to hear in them.
	hears := make(chan struct{})
	said := media.Clip(clip, false)
	play := media.SourceFunc(func(pcm []int16) (int, error) {
		select {
		case <-hears:
			return said.Read(pcm)
		default:
			clear(pcm)
			return len(pcm), nil
		}
	})
	ca, cb := connect(t, a, calls, Voice{Play: play}, Voice{Listen: &tape})
	until(t, "bob hears something", func() bool { return len(tape.heard()) > 0 })
	close(hears)
	expect(t, ca, Played)
	loud := func() []int16 {
		all := tape.heard()
		if at := slices.IndexFunc(all, func(s int16) bool { return s > 1000 }); at >= 0 {
			return all[at:]
		}
		return nil
	}
	until(t, "the clip", func() bool { return len(loud()) >= 3200 })
	if h := media.Measure(loud()[:3200]); !h.Tone(440) {
		t.Errorf("%+v", h)
	}
	ca.Hangup()
	ended(t, cb)
}

type tape struct {
	mu      sync.Mutex
	samples []int16
}

func (t *tape) Write(pcm []int16) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.samples = append(t.samples, pcm...)
	return nil
}

func (t *tape) heard() []int16 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.samples)
}

func TestCall_limit(t *testing.T) {
	_, a, _, calls := pair(t, nil, func(c *Config) { c.MaxCalls = 1 })
	if _, err := a.Call(patiently(t), impuOf(bob), Voice{}); err != nil {
		t.Fatal(err)
	}
	cb := incoming(t, calls)
	if _, err := a.Call(patiently(t), impuOf(bob), Voice{}); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	cb.Reject(486)
	ended(t, cb)
}

func TestUE_answers_what_others_ask(t *testing.T) {
	f, _, _, _ := pair(t, nil, nil)
	n := 0
	ask := func(method, to string, more ...string) string {
		n++
		branch := fmt.Sprintf("z9hG4bKask%d", n)
		f.inject(impuOf(bob), append([]string{method + " sip:x@127.0.0.1 SIP/2.0", "Via: SIP/2.0/TLS 127.0.0.1:9;branch=" + branch,
			"From: <sip:x@y>;tag=1", "To: <sip:z@y>" + to, fmt.Sprintf("Call-ID: ask%d", n), "CSeq: 1 " + method, "Max-Forwards: 70",
			"Contact: <sip:x@127.0.0.1>", "Content-Type: text/plain", "Content-Length: 4"}, append(more, "", "")...)...)
		var got string
		until(t, "an answer to "+method, func() bool {
			for _, m := range f.received("SIP/2.0 ") {
				if strings.Contains(m, branch) && m[8] != '1' {
					got = m
				}
			}
			return got != ""
		})
		return got
	}
	if m := ask("OPTIONS", ""); !strings.HasPrefix(m, "SIP/2.0 200") || !strings.Contains(m, "Allow: INVITE") {
		t.Error(m)
	}
	if m := ask("MESSAGE", ""); !strings.HasPrefix(m, "SIP/2.0 405") {
		t.Error(m) // nobody reads messages here
	}
	if m := ask("PUBLISH", ""); !strings.HasPrefix(m, "SIP/2.0 405") {
		t.Error(m)
	}
	if m := ask("BYE", ";tag=2"); !strings.HasPrefix(m, "SIP/2.0 481") {
		t.Error(m)
	}
	if m := ask("NOTIFY", ""); !strings.HasPrefix(m, "SIP/2.0 481") {
		t.Error(m)
	}
	if m := ask("OPTIONS", "", "Require: timer"); !strings.HasPrefix(m, "SIP/2.0 420") || !strings.Contains(m, "Unsupported: timer") {
		t.Error(m)
	}
	if m := ask("INVITE", ""); !strings.HasPrefix(m, "SIP/2.0 415") || !strings.Contains(m, "Accept: application/sdp") {
		t.Error(m)
	}
}

func TestRun_ends_everything(t *testing.T) {
	f := newFake(t, nil)
	calls := make(chan *Call, 1)
	a := newUE(t, f, alice, nil)
	b := newUE(t, f, bob, func(c *Config) { c.OnCall = func(c *Call) { calls <- c } })
	for _, u := range []*UE{a, b} {
		if _, err := u.Register(patiently(t)); err != nil {
			t.Fatal(err)
		}
	}
	connect(t, a, calls, Voice{}, Voice{})
	// The clean-up ends both while the call stands; goleak and Run say whether something stayed behind.
}
