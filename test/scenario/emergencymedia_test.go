package scenario

import (
	"testing"

	"imsafe/proto/passport"
	"imsafe/proto/sdp"
	"imsafe/proto/sip"
	"imsafe/refpoint/iq"
	"imsafe/refpoint/iq/iqtest"
	"imsafe/test/lab"
)

const psap = "sip:psap@" + lab.Domain

// emergencies is a world where psap, who has registered, answers emergency calls.
func emergencies(t *testing.T) (a *anchored, answers, stranger *lab.Client) {
	t.Helper()
	a = anchor(t, func(o *lab.Options) { o.Emergency = psap })
	answers = a.user("psap")
	stranger, err := a.Nodes[0].AddUser(lab.User{Name: "stranger", Scheme: a.scheme})
	if err != nil {
		t.Fatal(err)
	}
	return a, answers, stranger
}

// TestEmergency_media: an emergency call passes the anchor, however the telephone keys its media, of a subscriber or of anybody; what the anchor has
// reserved comes back.
func TestEmergency_media(t *testing.T) {
	for name, offer := range map[string][]byte{
		"DTLS-SRTP":     dtls(4000, "actpass"),
		"keys in clear": description(4000, "RTP/SAVP", sdesKey),
		"no keys":       description(4000, "RTP/AVP"),
		"with feedback": description(4000, "RTP/AVPF"),
	} {
		t.Run(name, func(t *testing.T) {
			for _, known := range []bool{true, false} {
				a, answers, caller := emergencies(t)
				if known {
					caller = a.alice
				}
				caller.Send(sip.INVITE, "urn:service:sos", body(offer))
				m := answers.Request("INVITE")
				there := a.medium(m)
				if there.Port < 20000 || there.Address.String() != "127.0.0.1" {
					t.Errorf("%s: it reads %v:%d", caller.Name, there.Address, there.Port)
				}
				answers.Answer(200, body(dtls(5000, "active")))
				here := a.medium(caller.Response(200))
				if here.Port == 0 || here.Address.String() != "127.0.0.1" || here.Proto != mediumOf(t, offer).Proto {
					t.Errorf("%s is answered %+v", caller.Name, here)
				}
				caller.SendInDialog(sip.ACK)
				answers.Request("ACK")
				a.open(true, true)
				caller.SendInDialog(sip.UPDATE, body(offer))
				answers.Request("UPDATE")
				answers.Answer(200, body(dtls(5000, "active")))
				if caller.Response(200) == nil {
					t.Errorf("%s: UPDATE: %s", caller.Name, caller.Pending())
				}
				caller.SendInDialog(sip.BYE)
				answers.Request("BYE")
				answers.Answer(200)
				a.idle()
			}
		})
	}
}

func mediumOf(t *testing.T, description []byte) *sdp.Media {
	t.Helper()
	d, err := sdp.Parse(description, sdp.Limits{Crypto: 8})
	if err != nil {
		t.Fatal(err)
	}
	return &d.Media[0]
}

// TestEmergency_media_without_room: where the anchor has no room, and where a description cannot be read, the call goes on without it.
func TestEmergency_media_without_room(t *testing.T) {
	for _, refusal := range []error{iq.ErrFull, iq.ErrUser, iq.ErrFamily} {
		a, answers, stranger := emergencies(t)
		a.fake.Refuse = refusal
		stranger.Send(sip.INVITE, "urn:service:sos", body(dtls(4000, "actpass")))
		if m := a.medium(answers.Request("INVITE")); m.Port != 4000 || m.Address.String() != "10.9.9.9" {
			t.Errorf("%v: it reads %v:%d", refusal, m.Address, m.Port)
		}
		answers.Answer(200, body(dtls(5000, "active")))
		if m := a.medium(stranger.Response(200)); m.Port != 5000 {
			t.Errorf("%v: answered %+v", refusal, m)
		}
		stranger.SendInDialog(sip.ACK)
		answers.Request("ACK")
		stranger.SendInDialog(sip.BYE)
		answers.Request("BYE")
		answers.Answer(200)
		a.idle()
	}
}

// TestEmergency_vouched: who answers emergency calls learns who calls, if the caller has shown that, and in any case that the media keys are the
// network's.
func TestEmergency_vouched(t *testing.T) {
	c := newCourt(t, lab.Options{Seed: 1, Anchor: iqtest.NewFake(1000), Wide: true, Emergency: psap})
	answers, stranger := c.user("psap"), c.user("stranger")
	c.registers()
	if r, err := answers.Register(); err != nil || r.Status() != 200 {
		t.Fatal(err)
	}
	for caller, name := range map[*lab.Client]string{c.alice: c.alice.IMPU, stranger: "sip:anonymous@anonymous.invalid"} {
		caller.Send(sip.INVITE, "urn:service:sos", describe(keyOfAlice), lab.Header("Identity", "forged;info=<https://evil.example/>"))
		m := answers.Request("INVITE")
		if m == nil {
			t.Fatalf("%s has %s", caller.Name, caller.Pending())
		}
		p, shown := c.verified(m, passport.Plain), passport.KeysOf(m.Body())
		if c.wants(p, name, psap, ""); len(shown) == 0 || shown[0] == keys(keyOfAlice)[0] || !p.Covers(shown) {
			t.Errorf("%s: it is shown %v, and signed is %v", caller.Name, shown, p.Keys)
		}
		answers.Answer(486)
		caller.Response(486)
	}
}
