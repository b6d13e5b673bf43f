package scenario

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"imsafe/hop"
	"imsafe/policy"
	"imsafe/policy/lab"
	"imsafe/proto/sdp"
	"imsafe/proto/sip"
	"imsafe/refpoint/iq"
	"imsafe/refpoint/iq/iqtest"
	"imsafe/secure"
	house "imsafe/test/lab"
)

// anchored is a world whose media pass an anchor without sockets.
type anchored struct {
	*house.World
	t          *testing.T
	fake       *iqtest.Fake
	free       int
	scheme     string // of the users' cards
	alice, bob *house.Client
}

func anchor(t *testing.T, change func(*house.Options)) *anchored {
	t.Helper()
	f := iqtest.NewFake(1000)
	o := house.Options{Anchor: f, Wide: true, Poison: true}
	if change != nil {
		change(&o)
	}
	w, err := house.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	a := &anchored{World: w, t: t, fake: f, free: f.Free()}
	if o.Protected {
		a.scheme = "AKAv2-SHA-256"
	}
	a.alice, a.bob = a.user("alice"), a.user("bob")
	return a
}

func (a *anchored) user(name string) *house.Client {
	a.t.Helper()
	c, err := a.Nodes[0].AddUser(house.User{Name: name, Scheme: a.scheme})
	if err == nil {
		_, err = c.Register()
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// idle wants everything back that calls have held.
func (a *anchored) idle() {
	a.t.Helper()
	a.Settle()
	if f := a.fake; f.Free() != a.free || a.Nodes[0].Front().PCSCF.Anchored() != 0 {
		a.t.Errorf("%d pairs of ports of %d are free, and %d calls anchored", f.Free(), a.free, a.Nodes[0].Front().PCSCF.Anchored())
	}
}

// refusedBy wants the last refusals to name a control.
func (a *anchored) refusedBy(c secure.ControlID, reason string) {
	a.t.Helper()
	for _, e := range a.Events {
		if e.Control == c && e.Reason == reason && e.Enforced {
			return
		}
	}
	a.t.Errorf("nothing was refused by %v for %q: %v", c, reason, a.Events)
}

const sessionHead = "v=0\r\no=- 77 1 IN IP4 10.9.9.9\r\ns=-\r\nc=IN IP4 10.9.9.9\r\nt=0 0\r\n"

// dtls is a description of an end at a port; lines are more of its attributes.
func dtls(port int, setup string, lines ...string) []byte {
	print := sdp.NewFingerprint([]byte{byte(port)}).String()
	return description(port, "UDP/TLS/RTP/SAVP", append([]string{"a=setup:" + setup, "a=fingerprint:" + print, "a=rtcp-mux"}, lines...)...)
}

func description(port int, proto string, lines ...string) []byte {
	return fmt.Appendf(nil, "%sm=audio %d %s 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n%s", sessionHead, port, proto, strings.Join(append(lines, ""), "\r\n"))
}

const sdesKey = "a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR"

func body(b []byte) house.Edit { return house.Body("application/sdp", b) }

// medium reads the first medium of a message that came.
func (a *anchored) medium(m *sip.Message) *sdp.Media {
	a.t.Helper()
	if m == nil {
		a.t.Fatalf("nothing came: alice has %s, bob %s", a.alice.Pending(), a.bob.Pending())
	}
	d, err := sdp.Parse(m.Body(), sdp.Limits{Crypto: 8})
	if err != nil || len(d.Media) == 0 {
		a.t.Fatalf("%v in %q", err, m.Body())
	}
	return &d.Media[0]
}

// answered lets bob answer alice's INVITE, and her acknowledge it; what she sees is returned.
func (a *anchored) answered(offer, answer []byte) (atBob, atAlice *sdp.Media) {
	a.t.Helper()
	a.alice.Send(sip.INVITE, a.bob.IMPU, body(offer))
	atBob = a.medium(a.bob.Request("INVITE"))
	a.bob.Answer(200, body(answer))
	atAlice = a.medium(a.alice.Response(200))
	a.alice.SendInDialog(sip.ACK)
	a.bob.Request("ACK")
	return atBob, atAlice
}

func (a *anchored) bye() {
	a.t.Helper()
	a.alice.SendInDialog(sip.BYE)
	if a.bob.Request("BYE") == nil {
		a.t.Fatalf("no BYE: alice has %s, bob %s", a.alice.Pending(), a.bob.Pending())
	}
	a.bob.Answer(200)
	if a.alice.Response(200) == nil {
		a.t.Fatal("no answer to BYE")
	}
}

// open wants the gates of both halves of the call as they are seen from alice.
func (a *anchored) open(fromAlice, fromBob bool) {
	a.t.Helper()
	for i, st := range a.fake.Streams() {
		want := [2]bool{fromAlice, fromBob}
		if i == 1 { // bob's half
			want = [2]bool{fromBob, fromAlice}
		}
		if st.Open != want {
			a.t.Errorf("half %d of the call: from access and core %v, want %v", i, st.Open, want)
		}
	}
}

func TestMedia_a_call(t *testing.T) {
	for _, o := range []func(*house.Options){nil, func(o *house.Options) { o.Mode = hop.Strict }, func(o *house.Options) { o.Split = true }} {
		a := anchor(t, o)
		atBob, atAlice := a.answered(dtls(4000, "actpass", "a=ptime:40", "a=candidate:1 1 UDP 1 10.9.9.9 4000 typ host"), dtls(5000, "active", "a=ptime:20"))
		st := a.fake.Streams()
		if len(st) != 2 {
			t.Fatalf("%d streams", len(st))
		}
		if e := st[1].Ends[iq.Access]; atBob.Port != e.Media.Port() || atBob.Fingerprints[0] != e.Fingerprints[0] || atBob.Setup != sdp.ActPass || atBob.PTime != 40 || strings.Contains(fmt.Sprint(atBob.ICE), "10.9.9.9") {
			t.Errorf("bob was offered %+v", atBob)
		}
		if e := st[0].Ends[iq.Access]; atAlice.Port != e.Media.Port() || atAlice.Fingerprints[0] != e.Fingerprints[0] || atAlice.Setup != sdp.Passive || atAlice.PTime != 20 || atAlice.Proto != "UDP/TLS/RTP/SAVP" {
			t.Errorf("alice was answered %+v", atAlice)
		}
		for i, want := range []uint16{4000, 5000} {
			if r := st[i].Access; r.Media.Port() != want || r.Keying != sdp.DTLSSRTP || r.Role != sdp.DTLSServer || !r.Types.Has(8) || !r.Types.Has(101) || r.Types.Has(0) {
				t.Errorf("the anchor knows of the client %+v", r)
			}
			for _, r := range st[i].Core {
				if r.Media != st[1-i].Ends[iq.Core].Media {
					t.Errorf("half %d leads to %v", i, r.Media)
				}
			}
		}
		a.open(true, true)
		a.bye()
		a.idle()
	}
}

func TestMedia_keying(t *testing.T) {
	for _, c := range []struct {
		name               string
		protected, inClear bool
		offer, answer      []byte
		proto              string // that bob is offered
		answerProto        string // that alice gets
		keyings            [2]sdp.Keying
		refused            string
	}{
		{name: "SDES to DTLS", protected: true, offer: description(4000, "RTP/SAVP", sdesKey), answer: []byte(strings.Replace(string(dtls(5000, "active")), "UDP/TLS/", "", 1)),
			proto: "RTP/SAVP", answerProto: "RTP/SAVP", keyings: [2]sdp.Keying{sdp.SDES, sdp.DTLSSRTP}},
		{name: "DTLS to SDES", protected: true, offer: dtls(4000, "actpass"), answer: description(5000, "RTP/SAVP", sdesKey),
			proto: "RTP/SAVP", answerProto: "UDP/TLS/RTP/SAVP", keyings: [2]sdp.Keying{sdp.DTLSSRTP, sdp.SDES}},
		{name: "clear to clear by a waiver", inClear: true, offer: description(4000, "RTP/AVP"), answer: description(5000, "RTP/AVP"),
			proto: "RTP/AVP", answerProto: "RTP/AVP", keyings: [2]sdp.Keying{sdp.PlainRTP, sdp.PlainRTP}},
		{name: "DTLS where nothing else may be", offer: dtls(4000, "actpass"), answer: dtls(5000, "active"),
			proto: "UDP/TLS/RTP/SAVP", answerProto: "UDP/TLS/RTP/SAVP", keyings: [2]sdp.Keying{}},
		{name: "clear", offer: description(4000, "RTP/AVP"), refused: "rtp"},
		{name: "clear over confidential signalling", protected: true, offer: description(4000, "RTP/AVP"), refused: "rtp"},
		{name: "keys in clear", offer: description(4000, "RTP/SAVP", sdesKey), refused: "sdes-srtp"},
		{name: "clear with a fingerprint for show", offer: description(4000, "RTP/AVP", "a=setup:actpass", "a=fingerprint:"+sdp.NewFingerprint([]byte{1}).String()), refused: "rtp"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			a := anchor(t, func(o *house.Options) { o.Protected, o.MediaInClear = c.protected, c.inClear })
			if c.refused != "" {
				a.alice.Send(sip.INVITE, a.bob.IMPU, body(c.offer))
				if a.alice.Response(488) == nil {
					t.Errorf("no 488, but %s", a.alice.Pending())
				}
				if a.bob.Request("INVITE") != nil {
					t.Error("the offer reached bob")
				}
				a.refusedBy(secure.CSConfidentialityMediaFloor, c.refused)
				a.idle()
				return
			}
			atBob, atAlice := a.answered(c.offer, c.answer)
			if atBob.Proto != c.proto || atAlice.Proto != c.answerProto || atAlice.Port == 0 {
				t.Errorf("bob was offered %s, alice answered %s at %d", atBob.Proto, atAlice.Proto, atAlice.Port)
			}
			for i, st := range a.fake.Streams() {
				if st.Access.Keying != c.keyings[i] {
					t.Errorf("half %d is keyed by %v", i, st.Access.Keying)
				}
			}
			if c.keyings[0] == sdp.SDES && (len(atAlice.Crypto) != 1 || atAlice.Crypto[0].Tag != 3 || len(atAlice.Fingerprints) != 0) {
				t.Errorf("alice was answered %+v", atAlice)
			}
			if strings.Contains(fmt.Sprintf("%+v", a.Events), "PS1u") {
				t.Error("a key stands in an event")
			}
			a.bye()
			a.idle()
		})
	}
}

// An answer below the floor is no reason to let the call stand without protection: its media are refused.
func TestMedia_an_answer_below_the_floor(t *testing.T) {
	for name, answer := range map[string][]byte{
		"other protocol":            description(5000, "RTP/AVP"),
		"keys of a suite unoffered": description(5000, "UDP/TLS/RTP/SAVP", sdesKey),
		"without fingerprint":       description(5000, "UDP/TLS/RTP/SAVP"),
		"an address of the anchor":  []byte(strings.Replace(string(dtls(20002, "active")), "c=IN IP4 10.9.9.9", "c=IN IP4 127.0.0.1", 1)),
		"not a description":         []byte("hello"),
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			a := anchor(t, nil)
			_, atAlice := a.answered(dtls(4000, "actpass"), answer)
			if atAlice.Port != 0 {
				t.Errorf("alice was answered %+v", atAlice)
			}
			a.open(false, false)
			a.bye()
			a.idle()
		})
	}
}

func TestMedia_hold_and_resume(t *testing.T) {
	a := anchor(t, nil)
	first, _ := a.answered(dtls(4000, "actpass"), dtls(5000, "active"))
	for i, c := range []struct {
		offer, answer      string
		fromAlice, fromBob bool
	}{{"sendonly", "recvonly", true, false}, {"inactive", "inactive", false, false}, {"sendrecv", "sendrecv", true, true}} {
		method := []sip.Method{sip.INVITE, sip.UPDATE}[i%2]
		a.alice.SendInDialog(method, body(dtls(4000, "actpass", "a="+c.offer)))
		again := a.medium(a.bob.Request(method.String()))
		if again.Port != first.Port || again.Fingerprints[0] != first.Fingerprints[0] || again.TLSID != first.TLSID || again.Direction.String() != c.offer {
			t.Errorf("%v was passed on as %+v, at first %+v", method, again, first)
		}
		a.bob.Answer(200, body(dtls(5000, "active", "a="+c.answer)))
		if a.alice.Response(200) == nil {
			t.Fatal("no answer")
		}
		if method == sip.INVITE {
			a.alice.SendInDialog(sip.ACK)
			a.bob.Request("ACK")
		}
		a.open(c.fromAlice, c.fromBob)
	}
	a.bye()
	a.idle()
}

// Who moves in a call gets a new end; the other does not notice.
func TestMedia_moves(t *testing.T) {
	a := anchor(t, nil)
	first, answer := a.answered(dtls(4000, "actpass"), dtls(5000, "active"))
	a.alice.SendInDialog(sip.INVITE, body(dtls(4100, "actpass")))
	again := a.medium(a.bob.Request("INVITE"))
	a.bob.Answer(200, body(dtls(5000, "active")))
	moved := a.medium(a.alice.Response(200))
	a.alice.SendInDialog(sip.ACK)
	a.bob.Request("ACK")
	if again.Port != first.Port || again.Fingerprints[0] != first.Fingerprints[0] {
		t.Errorf("bob noticed: %+v", again)
	}
	if moved.Port == answer.Port || moved.Fingerprints[0] == answer.Fingerprints[0] {
		t.Errorf("alice has her old end: %+v", moved)
	}
	if st := a.fake.Streams(); st[0].Access.Media.Port() != 4100 {
		t.Errorf("the anchor sends to %v", st[0].Access.Media)
	}
	a.bye()
	a.idle()
}

func TestMedia_offer_in_the_answer(t *testing.T) {
	a := anchor(t, nil)
	a.alice.Send(sip.INVITE, a.bob.IMPU)
	if a.bob.Request("INVITE") == nil {
		t.Fatal("no INVITE")
	}
	a.bob.Answer(200, body(dtls(5000, "actpass")))
	offer := a.medium(a.alice.Response(200))
	a.alice.SendInDialog(sip.ACK, body(dtls(4000, "active")))
	answer := a.medium(a.bob.Request("ACK"))
	st := a.fake.Streams()
	if len(st) != 2 || offer.Port == 5000 || answer.Port == 4000 || answer.Setup != sdp.Passive {
		t.Fatalf("%d streams; offered %+v, answered %+v", len(st), offer, answer)
	}
	a.open(true, true)
	a.bye()
	a.idle()
}

func TestMedia_early_and_forked(t *testing.T) {
	a := anchor(t, nil)
	tablet := a.Nodes[0].AddDevice("tablet", a.bob)
	eachRegisters(t, a.bob, tablet)
	a.alice.Send(sip.INVITE, a.bob.IMPU, body(dtls(4000, "actpass")))
	if a.bob.Request("INVITE") == nil || tablet.Request("INVITE") == nil {
		t.Fatal("no fork")
	}
	a.bob.Answer(183, body(dtls(5000, "active")))
	early := a.medium(a.alice.Response(183))
	tablet.Answer(183, body(dtls(5100, "active")))
	second := a.medium(a.alice.Response(183))
	if early.Port != second.Port || early.Fingerprints[0] != second.Fingerprints[0] {
		t.Error("the forks have ports of their own towards the caller")
	}
	st := a.fake.Streams()
	heard := st[0].Core[st[0].Heard].Media
	last := slices.IndexFunc(st, func(s iqtest.FakeStream) bool { return s.Access.Media.Port() == 5100 })
	if len(st) != 3 || len(st[0].Core) != 2 || last < 0 || heard != st[last].Ends[iq.Core].Media {
		t.Fatalf("%d streams; the caller's has %d branches", len(st), len(st[0].Core))
	}
	a.bob.Answer(200, body(dtls(5000, "active")))
	if m := a.medium(a.alice.Response(200)); m.Port != early.Port {
		t.Errorf("the answer is at %d", m.Port)
	}
	if tablet.Request("CANCEL") == nil {
		t.Error("no CANCEL")
	}
	tablet.Answer(487)
	a.alice.SendInDialog(sip.ACK)
	a.bob.Request("ACK")
	if st := a.fake.Streams(); len(st) != 2 || len(st[0].Core) != 1 || st[0].Core[st[0].Heard].Media != st[1].Ends[iq.Core].Media {
		t.Errorf("%d streams after the answer, %d branches", len(st), len(st[0].Core))
	}
	a.bye()
	a.idle()
}

// However a call ends, its ports go back.
func TestMedia_returns(t *testing.T) {
	ring := func(a *anchored) {
		a.alice.Send(sip.INVITE, a.bob.IMPU, body(dtls(4000, "actpass")))
		if a.bob.Request("INVITE") == nil {
			a.t.Fatal("no INVITE")
		}
		a.bob.Answer(180)
		a.alice.Response(180)
	}
	for name, end := range map[string]func(a *anchored){
		"busy": func(a *anchored) { ring(a); a.bob.Answer(486); a.alice.Response(486) },
		"cancelled": func(a *anchored) {
			ring(a)
			a.alice.SendCancel()
			a.alice.Response(200)
			a.bob.Request("CANCEL")
			a.bob.Answer(487)
			a.alice.Response(487)
		},
		"nobody answers": func(a *anchored) { ring(a); a.Advance(10 * time.Minute) },
		"unknown user": func(a *anchored) {
			a.alice.Send(sip.INVITE, "sip:nobody@"+house.Domain, body(dtls(4000, "actpass")))
			a.alice.Response(404)
		},
		"dialog unknown": func(a *anchored) {
			a.answered(dtls(4000, "actpass"), dtls(5000, "active"))
			a.alice.SendInDialog(sip.BYE)
			a.bob.Request("BYE")
			a.bob.Answer(481)
			a.alice.Response(481)
		},
		"the answer to BYE is a failure": func(a *anchored) { // of somebody who wants to talk on for free
			a.answered(dtls(4000, "actpass"), dtls(5000, "active"))
			a.alice.SendInDialog(sip.BYE)
			a.bob.Request("BYE")
			a.bob.Answer(500)
		},
		"the other hangs up": func(a *anchored) {
			a.answered(dtls(4000, "actpass"), dtls(5000, "active"))
			a.bob.SendInDialog(sip.BYE)
			a.alice.Request("BYE")
			a.alice.Answer(200)
			a.bob.Response(200)
		},
		"a client is lost": func(a *anchored) {
			a.answered(dtls(4000, "actpass"), dtls(5000, "active"))
			a.Nodes[0].Disconnect(a.alice)
			a.bob.Request("BYE")
			a.bob.Answer(200)
		},
		"the registrations end": func(a *anchored) {
			a.answered(dtls(4000, "actpass"), dtls(5000, "active"))
			a.Advance(3 * time.Hour)
		},
		"the media are lost": func(a *anchored) {
			a.answered(dtls(4000, "actpass"), dtls(5000, "active"))
			a.Nodes[0].Front().PCSCF.Lost(a.fake.Sessions()[0], iq.ReasonSilence)
			for _, c := range []*house.Client{a.alice, a.bob} {
				if c.Request("BYE") == nil {
					a.t.Errorf("%s is not told", c.Name)
				}
				c.Answer(200)
			}
		},
		"lost before the answer": func(a *anchored) {
			ring(a)
			a.Nodes[0].Front().PCSCF.Lost(a.fake.Sessions()[0], iq.ReasonHandshake)
			a.bob.Answer(200, body(dtls(5000, "active")))
			a.alice.Response(200)
			a.alice.SendInDialog(sip.ACK)
			for _, c := range []*house.Client{a.alice, a.bob} {
				if c.Request("BYE") == nil {
					a.t.Errorf("%s is not told", c.Name)
				}
				c.Answer(200)
			}
		},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			a := anchor(t, nil)
			end(a)
			a.idle()
			if a.fake.Begun() == 0 {
				t.Error("nothing was anchored")
			}
		})
	}
}

func TestMedia_without_room(t *testing.T) {
	for status, err := range map[int]error{503: iq.ErrFull, 480: iq.ErrUser} {
		a := anchor(t, nil)
		a.fake.Refuse = err
		a.alice.Send(sip.INVITE, a.bob.IMPU, body(dtls(4000, "actpass")))
		if a.alice.Response(status) == nil {
			t.Errorf("%v: %s", err, a.alice.Pending())
		}
		a.idle()
	}
}

// A client that does ICE is answered by the lite half, and its default candidate may change without that it moves (RFC 8839 4.2.2).
func TestMedia_ICE(t *testing.T) {
	a := anchor(t, nil)
	ice := []string{"a=ice-ufrag:abcd", "a=ice-pwd:a password of 22 chars", "a=candidate:1 1 UDP 1 10.9.9.9 4000 typ host"}
	atBob, atAlice := a.answered(dtls(4000, "actpass", ice...), dtls(5000, "active"))
	for who, m := range map[string]*sdp.Media{"alice": atAlice, "bob": atBob} {
		if !m.ICE.Lite || m.ICE.Ufrag == "" || m.ICE.Ufrag == "abcd" || len(m.ICE.Candidates) == 0 || !strings.Contains(m.ICE.Candidates[0], fmt.Sprint(" 127.0.0.1 ", m.Port, " ")) {
			t.Errorf("%s: %+v", who, m.ICE)
		}
	}
	if st := a.fake.Streams(); st[0].Access.ICE != "abcd" || st[1].Access.ICE != "" {
		t.Errorf("the anchor knows of ICE of alice %q, of bob %q", st[0].Access.ICE, st[1].Access.ICE)
	}
	moved := strings.NewReplacer("m=audio 4000", "m=audio 4400", "c=IN IP4 10.9.9.9", "c=IN IP4 10.9.9.8").Replace(string(dtls(4000, "actpass", ice...)))
	a.alice.SendInDialog(sip.INVITE, body([]byte(moved)))
	a.medium(a.bob.Request("INVITE"))
	a.bob.Answer(200, body(dtls(5000, "active")))
	if again := a.medium(a.alice.Response(200)); again.Port != atAlice.Port || again.ICE.Ufrag != atAlice.ICE.Ufrag {
		t.Errorf("she was given another end: %+v", again)
	}
	a.alice.SendInDialog(sip.ACK)
	a.bob.Request("ACK")
	a.bye()
	a.idle()
}

// A client with ICE that hides its addresses is not on hold: the anchor waits for its checks (RFC 8839 4.2.5).
func TestMedia_ICE_of_a_client_that_tells_no_address(t *testing.T) {
	a := anchor(t, nil)
	hidden := strings.NewReplacer("m=audio 4000", "m=audio 9", "c=IN IP4 10.9.9.9", "c=IN IP4 0.0.0.0").Replace(
		string(dtls(4000, "actpass", "a=ice-ufrag:abcd", "a=ice-pwd:a password of 22 chars")))
	_, atAlice := a.answered([]byte(hidden), dtls(5000, "active"))
	a.open(true, true)
	for _, address := range []string{"0.0.0.0", "10.9.9.7"} { // once she has a path she tells it, or not
		a.alice.SendInDialog(sip.INVITE, body([]byte(strings.ReplaceAll(hidden, "c=IN IP4 0.0.0.0", "c=IN IP4 "+address))))
		a.bob.Request("INVITE")
		a.bob.Answer(200, body(dtls(5000, "active")))
		if again := a.medium(a.alice.Response(200)); again.Port != atAlice.Port || again.ICE.Ufrag != atAlice.ICE.Ufrag {
			t.Errorf("%s: she was given another end: %+v", address, again)
		}
		a.alice.SendInDialog(sip.ACK)
		a.bob.Request("ACK")
		a.open(true, true)
	}
	a.bye()
	a.idle()
}

// A dialog that is no call has no media; a description in one would go past the anchor.
func TestMedia_in_a_dialog_of_another_kind(t *testing.T) {
	a := anchor(t, nil)
	a.alice.Send(sip.SUBSCRIBE, a.bob.IMPU, house.Header("Event", "presence"))
	if a.bob.Request("SUBSCRIBE") == nil {
		t.Fatalf("%s", a.alice.Pending())
	}
	a.bob.Answer(200, house.Header("Expires", "60"))
	if a.alice.Response(200) == nil {
		t.Fatal("no subscription")
	}
	a.alice.SendInDialog(sip.INVITE, body(description(4000, "RTP/AVP")))
	if a.alice.Response(481) == nil || a.bob.Request("INVITE") != nil {
		t.Errorf("media without an anchor: %s", a.alice.Pending())
	}
	a.idle()
}

// More media than a call may have are switched off, and the call goes on.
func TestMedia_more_than_a_call_may_have(t *testing.T) {
	a := anchor(t, nil)
	one := string(dtls(4000, "actpass"))
	_, medium, _ := strings.Cut(one, "t=0 0\r\n")
	a.alice.Send(sip.INVITE, a.bob.IMPU, body([]byte(one+strings.Repeat(medium, 9))))
	d, err := sdp.Parse(a.bob.Request("INVITE").Body(), sdp.Limits{})
	if err != nil || len(d.Media) != 10 || d.Media[3].Port == 0 || d.Media[4].Port != 0 || d.Media[9].Port != 0 {
		t.Errorf("%v, %+v", err, d)
	}
	a.bob.Answer(486)
	a.alice.Response(486)
	a.idle()
}

// In a body of several parts the description is found, and the rest stays.
func TestMedia_in_a_body_of_several_parts(t *testing.T) {
	a := anchor(t, nil)
	whole := "--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n--x\r\nContent-Type: application/sdp\r\n\r\n" + string(dtls(4000, "actpass")) + "\r\n--x--\r\n"
	a.alice.Send(sip.INVITE, a.bob.IMPU, house.Body("multipart/mixed;boundary=x", []byte(whole)))
	m := a.bob.Request("INVITE")
	if m == nil {
		t.Fatalf("%s", a.alice.Pending())
	}
	if text := string(m.Body()); strings.Contains(text, "4000") || strings.Contains(text, "10.9.9.9") || !strings.Contains(text, "\r\n\r\nhello\r\n--x\r\n") || !strings.HasSuffix(text, "\r\n--x--\r\n") || !strings.Contains(text, "m=audio 20") {
		t.Errorf("%s", text)
	}
	a.bob.Answer(486)
	a.alice.Response(486)
	a.idle()
	for name, hidden := range map[string]string{"two descriptions": strings.Replace(whole, "text/plain\r\n\r\nhello", "application/sdp\r\n\r\nv=0", 1),
		"a boundary within": strings.Replace(strings.Replace(whole, "--x", "--y", -1), "--y\r\nContent-Type: text/plain", "--x\r\nContent-Type: multipart/mixed;boundary=y\r\n\r\n--y\r\nContent-Type: text/plain", 1)} {
		a.alice.Send(sip.INVITE, a.bob.IMPU, house.Body("multipart/mixed;boundary=x", []byte(hidden)))
		if a.alice.Response(488) == nil {
			t.Errorf("%s: %s", name, a.alice.Pending())
		}
	}
	a.idle()
}

// TestMedia_without_the_floor: with the control off media go in clear, so it is the control that keeps them from it.
func TestMedia_without_the_floor(t *testing.T) {
	off, err := lab.Without(policy.Default(), lab.Ground{Lab: true}, secure.CSConfidentialityMediaFloor)
	if err != nil {
		t.Fatal(err)
	}
	a := anchor(t, func(o *house.Options) { o.Policy = off })
	_, atAlice := a.answered(description(4000, "RTP/AVP"), dtls(5000, "active"))
	if atAlice.Proto != "RTP/AVP" || atAlice.Port == 0 || a.fake.Streams()[0].Access.Keying != sdp.PlainRTP {
		t.Errorf("%+v", atAlice)
	}
	a.bye()
	a.idle()
}

// TestMedia_ten_thousand_calls end in every way there is, and leave nothing. The race detector sees each of the ways in the first thousand.
func TestMedia_ten_thousand_calls(t *testing.T) {
	calls := 10_000
	switch {
	case testing.Short():
		calls = 500
	case raced:
		calls = 1000
	}
	a := anchor(t, func(o *house.Options) { o.Seed, o.Poison = 4, false })
	random := rand.New(rand.NewPCG(1, 4))
	for i := range calls {
		a.Settle()
		if s := a.alice.Pending(); s != "nothing arrived" && i < 300 {
			t.Fatalf("call %d: %s", i, s)
		}
		a.bob.Inbox = nil
		setup := []string{"actpass", "actpass", "holdconn"}[random.IntN(3)]
		a.alice.Send(sip.INVITE, a.bob.IMPU, body(dtls(4000+random.IntN(200), setup)))
		if a.bob.Request("INVITE") == nil {
			a.alice.Response(488)
			continue
		}
		if random.IntN(2) == 0 {
			a.bob.Answer(183, body(dtls(5000, "active")))
			a.alice.Response(183)
		}
		switch random.IntN(5) {
		case 0:
			a.bob.Answer(486)
			a.alice.Response(486)
			continue
		case 1:
			a.alice.SendCancel()
			a.alice.Response(200)
			a.bob.Request("CANCEL")
			a.bob.Answer(487)
			a.alice.Response(487)
			continue
		}
		a.bob.Answer(200, body(dtls(5000, []string{"active", "passive", "bogus"}[random.IntN(3)])))
		if a.alice.Response(200) == nil {
			t.Fatalf("call %d: %s", i, a.alice.Pending())
		}
		a.alice.SendInDialog(sip.ACK)
		a.bob.Request("ACK")
		if random.IntN(4) == 0 {
			a.alice.SendInDialog(sip.INVITE, body(dtls(4000+random.IntN(300), "actpass")))
			a.bob.Request("INVITE")
			a.bob.Answer([]int{200, 488, 491}[random.IntN(3)], body(dtls(5000, "active")))
			for _, code := range []int{200, 488, 491} {
				if m := a.alice.Response(code); m != nil && code == 200 {
					a.alice.SendInDialog(sip.ACK)
					a.bob.Request("ACK")
				}
			}
		}
		a.bye()
		if i%100 == 0 {
			a.Advance(40 * time.Second) // transactions end
			a.alice.Inbox, a.bob.Inbox = nil, nil
			for _, c := range []*house.Client{a.alice, a.bob} {
				if _, err := c.Register(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	a.Advance(time.Minute)
	a.idle()
	if a.fake.Begun() < calls*3/2 {
		t.Errorf("only %d sessions were anchored", a.fake.Begun())
	}
	t.Logf("%d calls, %d sessions at the anchor", calls, a.fake.Begun())
}
