package sdp

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func alice() Local {
	return Local{ID: 7, Version: 1, Address: netip.MustParseAddr("192.0.2.1"), Port: 4000,
		Fingerprints: []Fingerprint{NewFingerprint(cert)}, TLSID: "abcdefghijklmnopqrstuvwx"}
}

func bob() Local {
	return Local{ID: 8, Version: 1, Address: netip.MustParseAddr("2001:db8::2"), Port: 5000,
		Fingerprints: []Fingerprint{NewFingerprint(otherCert)}, TLSID: "yzabcdefghijklmnopqrstuv"}
}

func voice() Capabilities { return Capabilities{Audio: []Codec{PCMA(), PCMU()}, DTMF: true} }

// wire sends a description as octets, as it would travel.
func wire(t *testing.T, s *Session) *Session {
	t.Helper()
	out, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(out, Limits{})
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return got
}

func TestOfferAnswer_two_ends_agree(t *testing.T) {
	offer := wire(t, NewOffer(alice(), voice()))
	answer, b, err := Answer(offer, bob(), voice())
	if err != nil {
		t.Fatal(err)
	}
	a, err := Match(offer, wire(t, answer), voice())
	if err != nil {
		t.Fatal(err)
	}
	if a.Role != DTLSServer || b.Role != DTLSClient {
		t.Errorf("roles: offerer %v, answerer %v; actpass is answered with active (RFC 5763 5)", a.Role, b.Role)
	}
	if !MatchFingerprints(a.Fingerprints, otherCert) || !MatchFingerprints(b.Fingerprints, cert) {
		t.Error("fingerprints did not cross over")
	}
	if a.Remote.String() != "[2001:db8::2]:5000" || b.Remote.String() != "192.0.2.1:4000" || a.RemoteRTCP != a.Remote {
		t.Errorf("addresses: %v %v", a.Remote, b.Remote)
	}
	if a.Codec.Name != "PCMA" || a.SendPT != 8 || b.SendPT != 8 || !a.DTMF || a.SendDTMF != 101 || a.PTime != 20 {
		t.Errorf("codec: %+v", a)
	}
	if !(a.Send && a.Receive && b.Send && b.Receive && a.RTCPMux && b.RTCPMux) {
		t.Errorf("flow: %+v %+v", a, b)
	}
	if a.RemoteTLSID != bob().TLSID || b.RemoteTLSID != alice().TLSID {
		t.Errorf("tls-id: %q %q", a.RemoteTLSID, b.RemoteTLSID)
	}
}

func TestAnswer_browser(t *testing.T) {
	offer, err := Parse(browserOffer(), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	answer, g, err := Answer(offer, bob(), voice())
	if err != nil {
		t.Fatal(err)
	}
	m := answer.Media[0]
	if m.Proto != "UDP/TLS/RTP/SAVPF" || m.MID != "0" || m.Setup != Active || m.TLSID != "" || !m.RTCPMux {
		t.Errorf("answer: %+v", m)
	}
	if g.Codec.Name != "PCMA" || g.RecvDTMF != 110 || len(m.Formats) != 2 || len(m.Other) != 0 {
		t.Errorf("payload types are the offer's, unknown attributes stay behind: %+v %+v", g, m)
	}
}

// Each line is the audio section of an offer; the floor is DTLS-SRTP unless the case says otherwise.
func TestAnswer_refuses(t *testing.T) {
	fp := "a=fingerprint:" + NewFingerprint(cert).String() + "\r\n"
	cases := map[string]struct {
		media string
		floor Keying
		want  error
	}{
		"plain RTP":                       {"m=audio 4000 RTP/AVP 8\r\n", DTLSSRTP, ErrKeying},
		"plain RTP, a weak fingerprint":   {"m=audio 4000 RTP/AVP 8\r\na=setup:actpass\r\na=fingerprint:sha-1 AA\r\n", DTLSSRTP, ErrKeying},
		"plain RTP, fingerprint, no role": {"m=audio 4000 RTP/AVP 8\r\na=setup:holdconn\r\n" + fp, DTLSSRTP, ErrSetup},
		"SDES":                            {"m=audio 4000 RTP/SAVP 8\r\na=crypto:1 x\r\n", DTLSSRTP, ErrKeying},
		"SDES even at the lowest floor":   {"m=audio 4000 RTP/SAVP 8\r\na=crypto:1 x\r\n", PlainRTP, ErrKeying},
		"no fingerprint":                  {"m=audio 4000 UDP/TLS/RTP/SAVP 8\r\na=setup:actpass\r\n", DTLSSRTP, ErrNoFingerprint},
		"only a SHA-1 fingerprint":        {"m=audio 4000 UDP/TLS/RTP/SAVP 8\r\na=setup:actpass\r\na=fingerprint:sha-1 AA\r\n", DTLSSRTP, ErrNoFingerprint},
		"holdconn":                        {"m=audio 4000 UDP/TLS/RTP/SAVP 8\r\na=setup:holdconn\r\n" + fp, DTLSSRTP, ErrSetup},
		"no codec of ours":                {"m=audio 4000 UDP/TLS/RTP/SAVP 111\r\na=rtpmap:111 opus/48000/2\r\na=setup:actpass\r\n" + fp, DTLSSRTP, ErrNoCodec},
		"static type renamed":             {"m=audio 4000 UDP/TLS/RTP/SAVP 8\r\na=rtpmap:8 opus/48000/2\r\na=setup:actpass\r\n" + fp, DTLSSRTP, ErrNoCodec},
		"stereo G.711":                    {"m=audio 4000 UDP/TLS/RTP/SAVP 96\r\na=rtpmap:96 PCMA/8000/2\r\na=setup:actpass\r\n" + fp, DTLSSRTP, ErrNoCodec},
		"switched off":                    {"m=audio 0 UDP/TLS/RTP/SAVP 8\r\na=setup:actpass\r\n" + fp, DTLSSRTP, ErrNoMedia},
		"video only":                      {"m=video 4000 UDP/TLS/RTP/SAVP 96\r\na=setup:actpass\r\n" + fp, DTLSSRTP, ErrNoMedia},
		"TCP media":                       {"m=audio 4000 TCP/MSRP *\r\n", PlainRTP, ErrKeying},
	}
	for name, c := range cases {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			kind, rest, _ := strings.Cut(c.media, "\r\n")
			offer, err := Parse([]byte(head+kind+"\r\nc=IN IP4 192.0.2.1\r\n"+rest), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			caps := voice()
			caps.Floor = c.floor
			if answer, _, err := Answer(offer, bob(), caps); !errors.Is(err, c.want) || answer != nil {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// RFC 8829 5.1.2 wants it so, and who offers both leaves the choice to us.
func TestAnswer_takes_the_fingerprint_beside_SDES(t *testing.T) {
	offer, err := Parse([]byte(head+"m=audio 4000 RTP/SAVP 8\r\nc=IN IP4 192.0.2.1\r\na=setup:actpass\r\na=crypto:1 x\r\na=fingerprint:"+NewFingerprint(cert).String()+"\r\n"), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	answer, g, err := Answer(offer, bob(), voice())
	if err != nil || g.Keying != DTLSSRTP || answer.Media[0].Proto != "RTP/SAVP" || answer.Media[0].SDES {
		t.Errorf("%+v, %+v, %v", answer, g, err)
	}
}

// An anchor offers that to a telephone that may know no other profile. Who must have keys takes the fingerprint; who may do without takes the profile.
func TestAnswer_takes_the_fingerprint_beside_plain_RTP(t *testing.T) {
	for _, profile := range []string{"RTP/AVP", "RTP/AVPF"} {
		offer, err := Parse([]byte(head+"m=audio 4000 "+profile+" 8\r\nc=IN IP4 192.0.2.1\r\na=setup:actpass\r\na=fingerprint:"+NewFingerprint(cert).String()+"\r\n"), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		answer, g, err := Answer(offer, bob(), voice())
		if err != nil || g.Keying != DTLSSRTP || len(g.Fingerprints) != 1 || g.Role == NoRole {
			t.Fatalf("%s: %+v, %v", profile, g, err)
		}
		if m := answer.Media[0]; m.Proto != profile || len(m.Fingerprints) == 0 || m.Setup != Active {
			t.Errorf("%s: answered with %+v", profile, m)
		}
		caps := voice()
		caps.Floor = PlainRTP
		if _, g, err := Answer(offer, bob(), caps); err != nil || g.Keying != PlainRTP {
			t.Errorf("%s, and keys are not needed: %+v, %v", profile, g, err)
		}
	}
}

func TestAnswer_second_audio_and_video_are_refused_with_port_0(t *testing.T) {
	fp := "a=setup:actpass\r\na=fingerprint:" + NewFingerprint(cert).String() + "\r\n"
	offer, err := Parse([]byte("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"+
		"m=video 6000 UDP/TLS/RTP/SAVP 96\r\n"+fp+
		"m=audio 4000 RTP/AVP 8\r\n"+
		"m=audio 4002 UDP/TLS/RTP/SAVP 0\r\n"+fp+
		"m=audio 4004 UDP/TLS/RTP/SAVP 0\r\n"+fp), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	answer, g, err := Answer(offer, bob(), voice())
	if err != nil {
		t.Fatal(err)
	}
	ports := []uint16{}
	for _, m := range wire(t, answer).Media {
		ports = append(ports, m.Port)
	}
	if g.Index != 2 || g.Remote.Port() != 4002 || len(ports) != 4 || ports[0]+ports[1]+ports[3] != 0 || ports[2] != 5000 {
		t.Errorf("index %d, ports %v", g.Index, ports)
	}
	if _, err := Match(offer, answer, voice()); err != nil {
		t.Errorf("the offerer does not take that answer: %v", err)
	}
}

func TestMatch_refuses(t *testing.T) {
	good := func() (*Session, *Session) {
		offer := NewOffer(alice(), voice())
		answer, _, err := Answer(offer, bob(), voice())
		if err != nil {
			t.Fatal(err)
		}
		return offer, answer
	}
	cases := map[string]struct {
		edit func(*Session)
		want error
	}{
		"protocol downgraded":        {func(s *Session) { s.Media[0].Proto = "RTP/AVP" }, ErrMismatch},
		"keys by SDES":               {func(s *Session) { s.Media[0].Proto = "RTP/SAVP"; s.Media[0].SDES = true }, ErrMismatch},
		"a medium too many":          {func(s *Session) { s.Media = append(s.Media, s.Media[0]) }, ErrMismatch},
		"fingerprint removed":        {func(s *Session) { s.Media[0].Fingerprints = nil }, ErrNoFingerprint},
		"actpass in an answer":       {func(s *Session) { s.Media[0].Setup = ActPass }, ErrSetup},
		"refused":                    {func(s *Session) { s.Media[0].Port = 0 }, ErrNoMedia},
		"a codec nobody offered":     {func(s *Session) { s.Media[0].Formats = []Format{{Encoding: "opus", ClockRate: 48000}} }, ErrNoCodec},
		"another kind of one medium": {func(s *Session) { s.Media[0].Kind = "video" }, ErrMismatch},
	}
	for name, c := range cases {
		offer, answer := good()
		c.edit(answer)
		if _, err := Match(offer, answer, voice()); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	offer, answer := good()
	if _, err := Match(offer, answer, voice()); err != nil {
		t.Errorf("unedited: %v", err)
	}
}

func TestHold(t *testing.T) {
	cases := []struct {
		name            string
		offered, want   Direction
		zero            bool // c=0.0.0.0, the old way (RFC 3264 8.4)
		sends, receives bool // the answerer afterwards
		answered        Direction
	}{
		{"sendonly is answered recvonly", SendOnly, SendRecv, false, false, true, RecvOnly},
		{"inactive stays inactive", Inactive, SendRecv, false, false, false, Inactive},
		{"recvonly is answered sendonly", RecvOnly, SendRecv, false, true, false, SendOnly},
		{"answerer holds too", SendRecv, Inactive, false, false, false, Inactive},
		{"address 0.0.0.0", SendRecv, SendRecv, true, false, true, SendRecv},
	}
	for _, c := range cases {
		l, caps := alice(), voice()
		caps.Direction = c.offered
		if c.zero {
			l.Address = netip.IPv4Unspecified()
		}
		mine := voice()
		mine.Direction = c.want
		answer, g, err := Answer(wire(t, NewOffer(l, caps)), bob(), mine)
		if err != nil {
			t.Fatal(err)
		}
		if g.Send != c.sends || g.Receive != c.receives || answer.Media[0].Direction != c.answered {
			t.Errorf("%s: send %v receive %v answer %v", c.name, g.Send, g.Receive, answer.Media[0].Direction)
		}
	}
}

func TestAnswer_keeps_the_role_of_a_standing_association(t *testing.T) {
	l := bob()
	l.Setup = Passive
	answer, g, err := Answer(NewOffer(alice(), voice()), l, voice())
	if err != nil || answer.Media[0].Setup != Passive || g.Role != DTLSServer {
		t.Errorf("%v, %v, %v", answer.Media[0].Setup, g.Role, err)
	}
}

func TestMatch_answer_with_other_numbers_and_two_codecs(t *testing.T) {
	offer := NewOffer(alice(), voice())
	answer, _, err := Answer(offer, bob(), voice())
	if err != nil {
		t.Fatal(err)
	}
	answer.Media[0].Formats = append(answer.Media[0].Formats, Format{Token: "0", Encoding: "pcmu", ClockRate: 8000, Channels: 1})
	answer.Media[0].Formats[1] = Format{Token: "96", PayloadType: 96, Encoding: "telephone-event", ClockRate: 8000, Channels: 1}
	g, err := Match(offer, wire(t, answer), voice())
	if err != nil {
		t.Fatal(err)
	}
	if g.SendDTMF != 96 || g.RecvDTMF != 101 || len(g.Accept) != 2 || g.Accept[1].PayloadType != 0 {
		t.Errorf("%+v", g)
	}
}

func BenchmarkParse(b *testing.B) {
	body := browserOffer()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(body, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
