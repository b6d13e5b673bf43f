package scenario

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"imsafe/proto/sdp"
	"imsafe/proto/sip"
	"imsafe/refpoint/iq"
	house "imsafe/test/lab"
)

// section is an m= line of a browser: a mid and a port; 0 is bundle-only, below 0 switched off.
type section struct {
	kind, mid string
	port      int
	lines     []string
}

func voice(mid string, port int, lines ...string) section { return section{"audio", mid, port, lines} }
func video(mid string, port int, lines ...string) section { return section{"video", mid, port, lines} }

// bundled writes a description with a group, as browsers do: what an end has for one transport stands in the section that has a port of its own.
func bundled(group, setup string, sections ...section) []byte {
	var b strings.Builder
	b.WriteString(sessionHead)
	if group != "" {
		b.WriteString("a=group:BUNDLE " + group + "\r\n")
	}
	for _, s := range sections {
		format := "SAVP 111\r\na=rtpmap:111 opus/48000/2\r\n"
		if s.kind == "video" {
			format = "SAVPF 96\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 transport-cc\r\na=rtcp-fb:96 nack pli\r\n"
		}
		fmt.Fprintf(&b, "m=%s %d UDP/TLS/RTP/%s", s.kind, max(s.port, 0), format)
		if s.mid != "" {
			b.WriteString("a=mid:" + s.mid + "\r\n")
		}
		switch {
		case s.port == 0:
			b.WriteString("a=bundle-only\r\n")
		case s.port > 0:
			fmt.Fprintf(&b, "a=rtcp-mux\r\na=setup:%s\r\na=fingerprint:%s\r\n", setup, sdp.NewFingerprint([]byte{byte(s.port)}))
		}
		for _, l := range s.lines {
			b.WriteString(l + "\r\n")
		}
	}
	return []byte(b.String())
}

// whole reads the description of a message that came, and the MIDs of its group.
func (a *anchored) whole(m *sip.Message) (d *sdp.Session, group string) {
	a.t.Helper()
	a.medium(m)
	d, _ = sdp.Parse(m.Body(), sdp.Limits{})
	var mids []string
	for _, i := range d.Bundle() {
		mids = append(mids, d.Media[i].MID)
	}
	return d, strings.Join(mids, " ")
}

// exchanged lets who calls offer, and who is called answer. It returns what each was told.
func (a *anchored) exchanged(again bool, offer, answer []byte) (atBob, atAlice *sdp.Session, bobs, alices string) {
	a.t.Helper()
	if again {
		a.alice.SendInDialog(sip.INVITE, body(offer))
	} else {
		a.alice.Send(sip.INVITE, a.bob.IMPU, body(offer))
	}
	atBob, bobs = a.whole(a.bob.Request("INVITE"))
	a.bob.Answer(200, body(answer))
	atAlice, alices = a.whole(a.alice.Response(200))
	a.alice.SendInDialog(sip.ACK)
	a.bob.Request("ACK")
	return atBob, atAlice, bobs, alices
}

// pairsHeld is how many pairs of ports calls hold.
func (a *anchored) pairsHeld() int { return a.free - a.fake.Free() }

const midLine = "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid"

// TestBundle_both: two browsers that insist on one transport (RFC 9143, RFC 8829 4.1.1) talk with each other, each on one port of the anchor.
func TestBundle_both(t *testing.T) {
	for _, o := range []func(*house.Options){nil, func(o *house.Options) { o.Split = true }} {
		a := anchor(t, o)
		atBob, atAlice, bobs, alices := a.exchanged(false,
			bundled("0 1", "actpass", voice("0", 4000, midLine), video("1", 0, midLine)), bundled("0 1", "active", voice("0", 5000, midLine), video("1", 5000, midLine)))
		if bobs != "0 1" || alices != "0 1" {
			t.Errorf("groups: bob was offered %q, alice answered %q", bobs, alices)
		}
		if m := atBob.Media; m[0].Port == m[1].Port || m[0].Port == 0 || m[1].Port == 0 || m[1].BundleOnly() || len(m[1].Fingerprints) == 0 {
			t.Errorf("bob was offered %+v", m) // RFC 9143 7.2: a unique address each at first
		}
		if m := atAlice.Media; m[0].Port != m[1].Port || m[0].Port == 0 || len(m[0].Fingerprints) != 1 || len(m[1].Fingerprints) != 0 || m[1].ICE.Ufrag != "" || !m[1].RTCPMux {
			t.Errorf("alice was answered %+v", m) // RFC 9143 7.1.3, 7.3
		}
		if told := fmt.Sprint(atBob.Media[1].Other, atAlice.Media[1].Other); strings.Contains(told, "transport-cc") || !strings.Contains(told, "nack pli") {
			t.Errorf("feedback: %s", told)
		}
		for i, st := range a.fake.Streams() {
			first, second := i%2 == 0, i%2 == 1
			if r := st.Access; first && r.Within != 0 || second && r.Within != 1 || r.MID != fmt.Sprint(i%2) || r.Extension != 4 || !r.Types.Has([]uint8{111, 96}[i%2]) || r.Types.Has([]uint8{96, 111}[i%2]) {
				t.Errorf("stream %d is told %+v", i, r)
			}
			if st.Open != [2]bool{true, true} {
				t.Errorf("stream %d: gates %v", i, st.Open)
			}
		}
		if n := a.pairsHeld(); n != 6 {
			t.Errorf("%d pairs of ports", n)
		}
		a.bye()
		a.idle()
	}
}

// TestBundle_one: who knows nothing of BUNDLE has a transport for each medium, whoever he talks with.
func TestBundle_one(t *testing.T) {
	apart := bundled("", "active", voice("", 5000), video("", 5002))
	for name, test := range map[string]struct {
		offer, answer []byte
		bobs, alices  string
		held          int
	}{
		"the caller alone":     {bundled("0 1", "actpass", voice("0", 4000), video("1", 0)), apart, "0 1", "0 1", 7},
		"who is called alone":  {bundled("", "actpass", voice("", 4000), video("", 4002)), bundled("0 1", "active", voice("0", 5000), video("1", 5000)), "0 1", "", 7},
		"neither":              {bundled("", "actpass", voice("", 4000), video("", 4002)), apart, "0 1", "", 8},
		"voice alone":          {bundled("v", "actpass", voice("v", 4000)), bundled("v", "active", voice("v", 5000)), "v", "v", 4},
		"a group of one":       {bundled("1", "actpass", voice("0", 4000), video("1", 4002)), apart, "0 1", "1", 8},
		"a medium twice":       {bundled("0 1 0", "actpass", voice("0", 4000), video("1", 4002)), apart, "0 1", "", 8},
		"a name that is long":  {bundled("0 "+strings.Repeat("x", 99), "actpass", voice("0", 4000), video(strings.Repeat("x", 99), 4002)), apart, "0", "0", 8},
		"he answers otherwise": {bundled("0 1", "actpass", voice("0", 4000), video("1", 4002)), bundled("stranger", "active", voice("0", 5000), video("stranger", 5002)), "0 1", "0 1", 7},
	} {
		t.Run(name, func(t *testing.T) {
			a := anchor(t, nil)
			_, atAlice, bobs, alices := a.exchanged(false, test.offer, test.answer)
			if bobs != test.bobs || alices != test.alices || a.pairsHeld() != test.held {
				t.Errorf("bob was offered %q, alice answered %q, %d pairs of ports", bobs, alices, a.pairsHeld())
			}
			for i, m := range atAlice.Media {
				if m.Port == 0 || m.MID != "" && !strings.Contains(string(test.offer), "a=mid:"+m.MID+"\r\n") {
					t.Errorf("alice's medium %d is refused, or has a name that she did not give: %+v", i, m)
				}
			}
			a.bye()
			a.idle()
		})
	}
}

// TestBundle_tagged: which medium gives its transport to the others (RFC 9143 7.3.1), and what becomes of those that nobody gives one.
func TestBundle_tagged(t *testing.T) {
	withoutMux := func(b []byte) []byte { return []byte(strings.Replace(string(b), "a=rtcp-mux\r\n", "", 1)) }
	for name, test := range map[string]struct {
		offer, answer []byte
		alices        string
		refused       []int
	}{
		"the second is tagged":                   {bundled("1 0", "actpass", voice("0", 4000), video("1", 4002)), bundled("", "active", voice("", 5000), video("", 5002)), "1 0", nil},
		"the tagged one is refused":              {bundled("0 1", "actpass", voice("0", 4000), video("1", 4002)), bundled("", "active", voice("", -1), video("", 5002)), "1", []int{0}},
		"and the other has no transport":         {bundled("0 1", "actpass", voice("0", 4000), video("1", 0)), bundled("", "active", voice("", -1), video("", 5002)), "", []int{0, 1}},
		"the tagged one has no mux":              {withoutMux(bundled("0 1", "actpass", voice("0", 4000), video("1", 0))), bundled("", "active", voice("", 5000), video("", 5002)), "", []int{1}},
		"bundle-only without a group":            {bundled("", "actpass", voice("0", 4000), video("1", 0)), bundled("", "active", voice("", 5000), video("", -1)), "", []int{1}},
		"one payload type, and no names":         {[]byte(strings.ReplaceAll(string(bundled("0 1", "actpass", video("0", 4000), video("1", 0))), "transport-cc", "nack")), bundled("", "active", video("", 5000), video("", 5002)), "", []int{1}},
		"one payload type, and names in packets": {bundled("0 1", "actpass", video("0", 4000, midLine), video("1", 0, midLine)), bundled("0 1", "active", video("0", 5000, midLine), video("1", 5000, midLine)), "0 1", nil},
	} {
		t.Run(name, func(t *testing.T) {
			a := anchor(t, nil)
			_, atAlice, _, alices := a.exchanged(false, test.offer, test.answer)
			if alices != test.alices {
				t.Errorf("alice was answered the group %q", alices)
			}
			for i, m := range atAlice.Media {
				if refused := m.Port == 0; refused != slices.Contains(test.refused, i) {
					t.Errorf("medium %d of alice is refused: %v", i, refused)
				}
			}
			if test.alices == "1 0" {
				if st := a.fake.Streams(); st[1].Access.Within != 0 || st[0].Access.Within != 2 || st[0].Access.Media.Port() != 4002 {
					t.Errorf("the carrier is told %+v, the other %+v", st[1].Access, st[0].Access)
				}
			}
			a.bye()
			a.idle()
		})
	}
}

// TestBundle_changes: media come to the transport and leave it, and it stays where it is, with its keys (RFC 9143 7.5).
func TestBundle_changes(t *testing.T) {
	a := anchor(t, nil)
	together := bundled("0 1", "actpass", voice("0", 4000), video("1", 4000))
	bob := func(sections ...section) []byte { return bundled("0 1", "active", sections...) }
	_, atAlice, _, _ := a.exchanged(false, bundled("0", "actpass", voice("0", 4000)), bundled("0", "active", voice("0", 5000)))
	port, held := atAlice.Media[0].Port, a.pairsHeld()

	// The video comes: both have it on the port of before.
	atBob, atAlice, bobs, alices := a.exchanged(true, together, bob(voice("0", 5000), video("1", 5000)))
	if bobs != "0 1" || alices != "0 1" || atAlice.Media[0].Port != port || atAlice.Media[1].Port != port || a.pairsHeld() != held+2 {
		t.Errorf("bob was offered %q, alice answered %q at %d and %d, %d pairs of ports", bobs, alices, atAlice.Media[0].Port, atAlice.Media[1].Port, a.pairsHeld())
	}
	if atBob.Media[0].Port == atBob.Media[1].Port {
		t.Error("a medium that is new to the group has no address of its own")
	}
	keys := a.fake.Streams()[0].Access

	// The voice leaves, which is the one whose port it is: the video goes on there, as the tagged one.
	atBob, atAlice, bobs, alices = a.exchanged(true, bundled("1", "actpass", voice("0", -1), video("1", 4000)), bundled("1", "active", voice("0", -1), video("1", 5000)))
	if bobs != "1" || alices != "1" || atAlice.Media[0].Port != 0 || atAlice.Media[1].Port != port || len(atAlice.Media[1].Fingerprints) == 0 || len(atBob.Media[1].Fingerprints) == 0 {
		t.Errorf("bob was offered %q, alice answered %q: %+v", bobs, alices, atAlice.Media)
	}
	for i, st := range a.fake.Streams() {
		if open := i%2 == 1; st.Open != [2]bool{open, open} {
			t.Errorf("stream %d: gates %v", i, st.Open)
		}
	}
	if now := a.fake.Streams()[0].Access; now.Media != keys.Media || !slices.Equal(now.Fingerprints, keys.Fingerprints) {
		t.Errorf("the transport has changed: %+v", now)
	}

	// And comes back. Then the video moves to a transport of its own, for which the anchor makes a port.
	if _, atAlice, _, alices = a.exchanged(true, bundled("1 0", "actpass", voice("0", 4000), video("1", 4000)), bob(voice("0", 5000), video("1", 5000))); alices != "1 0" || atAlice.Media[0].Port != port {
		t.Errorf("alice was answered %q at %d", alices, atAlice.Media[0].Port)
	}
	_, atAlice, _, alices = a.exchanged(true, bundled("0", "actpass", voice("0", 4000), video("1", 4002)), bob(voice("0", 5000), video("1", 5000)))
	if alices != "0" || atAlice.Media[0].Port != port || atAlice.Media[1].Port == port || atAlice.Media[1].Port == 0 {
		t.Errorf("alice was answered %q: %+v", alices, atAlice.Media)
	}
	if st := a.fake.Streams()[1]; st.Access.Within != 0 || st.Access.Media.Port() != 4002 || st.Ends[iq.Access].Media.Port() != atAlice.Media[1].Port {
		t.Errorf("the video is told %+v", st.Access)
	}
	// Bob refuses the voice, which alice has tagged: she cannot be refused it, and nothing is sent there (RFC 9143 7.3.3).
	a.exchanged(true, together, bob(voice("0", 5000), video("1", 5000)))
	_, atAlice, _, alices = a.exchanged(true, together, bundled("1", "active", voice("0", -1), video("1", 5000)))
	if m := atAlice.Media; alices != "0 1" || m[0].Direction != sdp.Inactive || m[0].Port != m[1].Port || m[1].Direction != sdp.SendRecv || len(m[0].Fingerprints) == 0 {
		t.Errorf("alice was answered %q: %+v", alices, m)
	}
	a.bye()
	a.idle()
}
