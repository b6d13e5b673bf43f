package sdp

import (
	"crypto"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// The certificate octets do not matter to a fingerprint, only that they are the same.
var cert, otherCert = []byte("certificate of alice"), []byte("certificate of mallory")

func crlf(lines ...string) []byte { return []byte(strings.Join(lines, "\r\n") + "\r\n") }

const head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"

// A browser's offer, shortened: session-level defaults, BUNDLE, candidates, much we do not act on.
func browserOffer() []byte {
	return crlf("v=0", "o=- 4962303333179871722 2 IN IP4 127.0.0.1", "s=-", "t=0 0",
		"a=group:BUNDLE 0", "a=extmap-allow-mixed", "a=setup:actpass", "a="+"fingerprint:"+NewFingerprint(cert).String(),
		"a=fingerprint:sha-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB",
		"m=audio 54609 UDP/TLS/RTP/SAVPF 111 0 8 13 110",
		"c=IN IP4 192.0.2.7", "b=AS:64", "b=FOO:1", "a=rtcp:9 IN IP4 192.0.2.7", "a=ice-ufrag:abcd", "a=ice-pwd:0123456789abcdef012345",
		"a=candidate:1 1 udp 2122 192.0.2.7 54609 typ host", "a=mid:0", "a=sendrecv", "a=rtcp-mux",
		"a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1", "a=rtpmap:0 PCMU/8000", "a=rtpmap:8 PCMA/8000",
		"a=rtpmap:13 CN/8000", "a=rtpmap:110 telephone-event/8000", "a=ssrc:1 cname:x")
}

func TestParse_browser_offer(t *testing.T) {
	s, err := Parse(browserOffer(), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	m := s.Media[0]
	if m.Keying() != DTLSSRTP || m.Setup != ActPass || !m.RTCPMux || m.MID != "0" || m.Port != 54609 {
		t.Errorf("transport not as written: %+v", m)
	}
	if len(m.Fingerprints) != 1 || !m.Fingerprints[0].Matches(cert) {
		t.Errorf("session-level fingerprint not inherited, or the SHA-1 one kept: %v", m.Fingerprints)
	}
	if m.Formats[0].Encoding != "opus" || m.Formats[0].Channels != 2 || m.Formats[4].Encoding != "telephone-event" {
		t.Errorf("formats: %+v", m.Formats)
	}
	if m.RTCP != netip.MustParseAddrPort("192.0.2.7:9") || len(m.ICE.Candidates) != 1 || len(m.Bandwidth) != 1 {
		t.Errorf("rtcp, candidate or bandwidth: %+v", m)
	}
	if len(s.Other) != 2 || len(m.Other) != 1 {
		t.Errorf("unknown attributes not kept: %v %v", s.Other, m.Other)
	}
}

func TestParse_refuses(t *testing.T) {
	audio := "m=audio 4000 RTP/AVP 8\r\nc=IN IP4 192.0.2.1\r\n"
	cases := map[string]struct {
		body string
		want error
	}{
		"nothing at all":                   {"", ErrSyntax},
		"no version line":                  {"o=- 1 1 IN IP4 192.0.2.1\r\n", ErrSyntax},
		"stray carriage return":            {head + "a=x:\ra=y\r\n", ErrSyntax},
		"NUL octet":                        {head + "a=x:\x00\r\n", ErrSyntax},
		"empty line":                       {head + "\r\n" + audio, ErrSyntax},
		"version number that would wrap":   {"v=0\r\no=- 1 18446744073709551617 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n", ErrSyntax},
		"origin with a field missing":      {"v=0\r\no=- 1 1 IN IP4\r\ns=-\r\nt=0 0\r\n", ErrSyntax},
		"name in c=":                       {head + "m=audio 4000 RTP/AVP 8\r\nc=IN IP4 media.example\r\n", ErrAddress},
		"multicast address":                {head + "m=audio 4000 RTP/AVP 8\r\nc=IN IP4 224.2.36.42\r\n", ErrAddress},
		"broadcast address":                {head + "m=audio 4000 RTP/AVP 8\r\nc=IN IP4 255.255.255.255\r\n", ErrAddress},
		"IPv6 address said to be IPv4":     {head + "m=audio 4000 RTP/AVP 8\r\nc=IN IP4 2001:db8::1\r\n", ErrAddress},
		"no address for a live medium":     {head + "m=audio 4000 RTP/AVP 8\r\n", ErrAddress},
		"rtcp to a multicast group":        {head + audio + "a=rtcp:9 IN IP4 224.0.0.1\r\n", ErrAddress},
		"two directions":                   {head + audio + "a=sendonly\r\na=recvonly\r\n", ErrSyntax},
		"two setups":                       {head + audio + "a=setup:active\r\na=setup:passive\r\n", ErrSyntax},
		"two rtpmaps for one type":         {head + audio + "a=rtpmap:8 PCMA/8000\r\na=rtpmap:8 PCMU/8000\r\n", ErrSyntax},
		"payload type twice in the m line": {head + "m=audio 4000 RTP/AVP 8 8\r\nc=IN IP4 192.0.2.1\r\n", ErrSyntax},
		"payload type that is no number":   {head + "m=audio 4000 RTP/AVP x\r\nc=IN IP4 192.0.2.1\r\n", ErrSyntax},
		"payload type 128":                 {head + "m=audio 4000 RTP/AVP 128\r\nc=IN IP4 192.0.2.1\r\n", ErrSyntax},
		"layered ports":                    {head + "m=audio 4000/2 RTP/AVP 8\r\nc=IN IP4 192.0.2.1\r\n", ErrSyntax},
		"fingerprint one octet short":      {head + audio + "a=fingerprint:sha-256 " + NewFingerprint(cert).String()[8:100] + "\r\n", ErrFingerprint},
		"too many media":                   {head + strings.Repeat(audio, 17), ErrTooLarge},
		"too many lines":                   {head + audio + strings.Repeat("a=x\r\n", 1100), ErrTooLarge},
		"a line too long":                  {head + audio + "a=x:" + strings.Repeat("y", 3000) + "\r\n", ErrTooLarge},
		"a body too long":                  {head + strings.Repeat("a="+strings.Repeat("y", 1000)+"\r\n", 40), ErrTooLarge},
		"too many fingerprints":            {head + audio + strings.Repeat("a=fingerprint:"+NewFingerprint(cert).String()+"\r\n", 9), ErrTooLarge},
	}
	for name, c := range cases {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			if _, err := Parse([]byte(c.body), Limits{}); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	if _, err := Parse([]byte(head+audio), Limits{}); err != nil {
		t.Errorf("the good half of the cases is not good: %v", err)
	}
}

// An SDES key must not survive reading: not in a field, not in what is written again.
func TestParse_throws_SDES_keys_away(t *testing.T) {
	const key = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz" // the example of RFC 4568 9.1 in length
	s, err := Parse([]byte(head+"m=audio 4000 RTP/SAVP 8\r\nc=IN IP4 192.0.2.1\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"+key+"\r\nk=base64:"+key+"\r\n"), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if !s.Media[0].SDES || s.Media[0].Keying() != SDES {
		t.Error("SDES not recognised")
	}
	out, err := s.Marshal()
	if err != nil || strings.Contains(string(out), key) || strings.Contains(string(out), "crypto") {
		t.Errorf("written again: %q, %v", out, err)
	}
}

func TestMarshal_refuses_injection(t *testing.T) {
	for name, s := range map[string]*Session{
		"attribute value": {Origin: Origin{Address: "192.0.2.1"}, Other: []Attribute{{"x", "y\r\na=crypto:1"}}},
		"attribute key":   {Origin: Origin{Address: "192.0.2.1"}, Other: []Attribute{{"x y", ""}}},
		"session name":    {Origin: Origin{Address: "192.0.2.1"}, Name: "a\nb"},
		"origin user":     {Origin: Origin{Address: "192.0.2.1", Username: "a b"}},
		"no origin":       {},
		"mid":             {Origin: Origin{Address: "192.0.2.1"}, Media: []Media{{Kind: "audio", Proto: "RTP/AVP", MID: "0\r\n"}}},
		"protocol":        {Origin: Origin{Address: "192.0.2.1"}, Media: []Media{{Kind: "audio", Proto: "RTP AVP"}}},
	} {
		if out, err := s.Marshal(); !errors.Is(err, ErrValue) {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
}

func TestFingerprint(t *testing.T) {
	f := NewFingerprint(cert)
	g, err := ParseFingerprint(strings.ToLower(f.String()))
	if err != nil || g != f || !f.Matches(cert) || f.Matches(otherCert) {
		t.Errorf("round trip or match: %v %v", g, err)
	}
	if (Fingerprint{}).Matches(cert) || MatchFingerprints(nil, cert) {
		t.Error("nothing matches something")
	}
	strong := sum(crypto.SHA512, otherCert)
	if MatchFingerprints([]Fingerprint{f, strong}, cert) {
		t.Error("a weaker hash beside a stronger one decided")
	}
	if !MatchFingerprints([]Fingerprint{strong, f, sum(crypto.SHA512, cert)}, cert) {
		t.Error("one of two certificates under the strongest hash does not match")
	}
	for _, bad := range []string{"", "sha-256", "sha-256 ", "sha-256 AA", "sha-256 " + strings.Repeat("GG:", 31) + "GG", "sha-256 " + strings.Repeat("AA-", 31) + "AA"} {
		if _, err := ParseFingerprint(bad); !errors.Is(err, ErrFingerprint) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := ParseFingerprint("md5 AA"); !errors.Is(err, ErrWeakHash) {
		t.Errorf("md5: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(browserOffer())
	f.Add([]byte(head + "m=audio 4000 RTP/AVP 0 8 101\r\nc=IN IP4 192.0.2.1\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=curr:qos local none\r\n"))
	f.Add([]byte(head + "m=message 2855 TCP/TLS/MSRP *\r\nc=IN IP6 2001:db8::1\r\na=setup:active\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse(data, Limits{})
		if err != nil {
			return
		}
		out, err := s.Marshal()
		if err != nil {
			return // values the grammar let through and the gate on the way out does not
		}
		again, err := Parse(out, Limits{Octets: 1 << 20, Lines: 1 << 14, LineOctets: 1 << 14})
		if err != nil {
			t.Fatalf("own output not readable: %v\n%s", err, out)
		}
		twice, err := again.Marshal()
		if err != nil || string(twice) != string(out) {
			t.Fatalf("writing is not stable: %v\n%s\n%s", err, out, twice)
		}
		// Whatever was read must be decidable without a panic.
		l := Local{Address: netip.MustParseAddr("192.0.2.9"), Port: 4000, Fingerprints: []Fingerprint{NewFingerprint(cert)}}
		c := Capabilities{Audio: []Codec{PCMA(), PCMU()}, DTMF: true, Floor: PlainRTP}
		if ans, g, err := Answer(s, l, c); err == nil {
			if len(ans.Media) != len(s.Media) || ans.Media[g.Index].Port == 0 {
				t.Fatalf("answer does not fit the offer: %+v", ans)
			}
		}
		_, _ = Match(NewOffer(l, c), s, c)
	})
}
