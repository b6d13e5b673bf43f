package baresip

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"imsafe/client/media"
	"imsafe/proto/g711"
	"imsafe/test/capture"
	"imsafe/test/live"
	"imsafe/test/peer"
)

// packet is one of RTP that crossed the wire, as it looks: whether it is sealed is the question.
type packet struct {
	from, to netip.AddrPort
	payload  []byte
}

// voices are the packets in a capture that have the header of RTP and 160 octets of G.711 or more behind it (RFC 3550 5.1).
func voices(t *testing.T, c capture.Capture) (all []packet) {
	t.Helper()
	const header, payload = 12, 160
	for line := range strings.Lines(c.Tshark(t, "-Y", "udp.length >= 180 && !icmp", "-T", "fields", "-e", "ip.src", "-e", "udp.srcport", "-e", "ip.dst", "-e", "udp.dstport", "-e", "udp.payload")) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) != 5 {
			continue
		}
		octets, err := hex.DecodeString(strings.ReplaceAll(f[4], ":", ""))
		if err != nil || len(octets) < header+payload || octets[0]>>6 != 2 || octets[1]&0x7f != 0 && octets[1]&0x7f != 8 {
			continue
		}
		from, err1 := netip.ParseAddrPort(f[0] + ":" + f[1])
		to, err2 := netip.ParseAddrPort(f[2] + ":" + f[3])
		if err1 != nil || err2 != nil {
			t.Fatalf("tshark wrote %q", line)
		}
		all = append(all, packet{from, to, octets[header : header+payload]})
	}
	return all
}

// enough is how many samples of a stream are listened to.
const enough = media.SampleRate / 5

// heardIn is how many streams can be listened to: whoever hears the end of one of them hears a tone.
func heardIn(packets []packet, tones ...float64) (streams, readable int) {
	voice := map[[2]netip.AddrPort][]int16{}
	for _, p := range packets {
		way := [2]netip.AddrPort{p.from, p.to}
		voice[way] = g711.MuLaw().Decode(voice[way], p.payload)
	}
	for _, pcm := range voice {
		if len(pcm) < enough {
			continue
		}
		streams++
		h := media.Measure(pcm[len(pcm)-enough:])
		for _, hz := range tones {
			if h.Tone(hz) {
				readable++
			}
		}
	}
	return streams, readable
}

// TestCapture_of_media: who captures a call of two baresips through the anchor, one with DTLS-SRTP and one with keys in its description, finds four streams
// and nothing to listen to; tshark has nothing against the handshake. The same judge hears the same tones in clear, else he proves nothing.
func TestCapture_of_media(t *testing.T) {
	peer.Need(t, "baresip")
	peer.Need(t, "tshark")
	if !peer.InNamespace(t) {
		return
	}
	users := live.NewUsers("soft", 2, live.MD5)
	n := houseWith(t, anchored, users...)
	alice, bob := start(t, n, users[0], aliceHz, "dtls_srtp"), start(t, n, users[1], bobHz, "srtp-mand")
	registered(t, n, 2)
	c := capture.New(t, "-d", "udp.port==16000-17999,dtls")
	c.During(t, func() {
		alice.command("dial", bob.IMPU)
		alice.wait("CALL_ESTABLISHED")
		bob.wait("CALL_ESTABLISHED")
		bob.wantTone(aliceHz)
		alice.wantTone(bobHz)
		bob.command("hangup", "")
	})
	if t.Failed() {
		return
	}
	if streams, readable := heardIn(voices(t, c), aliceHz, bobHz); streams != 4 || readable > 0 {
		t.Errorf("of %d streams %d can be listened to", streams, readable)
	}
	if frames, against := c.Judge(t, "dtls", "dtls.record.content_type == 22"); frames < 4 || len(against) > 0 {
		t.Errorf("%d frames of handshake; against them %v", frames, against)
	}

	var clear []packet
	tone := media.NewTone(aliceHz, -10)
	for range 100 {
		pcm := make([]int16, 160)
		if _, err := tone.Read(pcm); err != nil {
			t.Fatal(err)
		}
		clear = append(clear, packet{payload: g711.MuLaw().Encode(nil, pcm)})
	}
	if _, readable := heardIn(clear, aliceHz, bobHz); readable != 1 {
		t.Error("the judge is deaf")
	}
}
