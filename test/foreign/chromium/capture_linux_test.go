package chromium

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imsafe/test/capture"
	"imsafe/test/peer"
)

// TestCapture_of_a_bundle: two browsers, each with voice and video on one transport, and tshark between them and the anchor. It has nothing against what we send:
// descriptions with a group, and on one port of each browser checks of ICE, the handshake, and both media, with sources of their own.
func TestCapture_of_a_bundle(t *testing.T) {
	peer.Need(t, "chromium")
	peer.Need(t, "tshark")
	if !peer.InNamespace(t) {
		return
	}
	keylog, err := os.Create(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = keylog.Close() }()
	var p *pair
	c := capture.New(t)
	c.During(t, func() {
		p = newPair(t, "video.html?caller=max-bundle&callee=max-bundle", keylog)
		p.talk(t, asItIs)
		p.see(t, 10)
		p.caller.write("BYE", "")
		p.callee.hungUp()
	})
	if t.Failed() {
		return
	}
	c.Decode = []string{"-o", "tls.keylog_file:" + keylog.Name(), "-d", fmt.Sprintf("tls.port==%d,sip", p.TLS.Port()), "-d", fmt.Sprintf("tcp.port==%d,tls", p.TLS.Port())}
	const anchor = "udp.srcport >= 18400 && udp.srcport < 18800"
	t.Run("descriptions", func(t *testing.T) {
		c.Good(t, "sdp", fmt.Sprintf("tcp.srcport == %d", p.TLS.Port()), 2)
	})
	as := func(protocol string) capture.Capture {
		return capture.Capture{File: c.File, Decode: append(append([]string(nil), c.Decode...), "-d", "udp.port==18400-18799,"+protocol)}
	}
	for protocol, atLeast := range map[string]int{"stun": 2, "dtls": 4, "rtp": 50} {
		t.Run(protocol, func(t *testing.T) { as(protocol).Good(t, protocol, anchor, atLeast) })
	}
	const opus = "111"
	sources := map[string][2]map[string]bool{} // by port of a browser: those of the voice, and others
	for line := range strings.Lines(as("rtp").Tshark(t, "-Y", "rtp.version == 2 && rtp.p_type && "+anchor, "-T", "fields", "-e", "udp.dstport", "-e", "rtp.p_type", "-e", "rtp.ssrc")) {
		f := strings.Fields(line)
		if len(f) != 3 {
			t.Fatalf("tshark wrote %q", line)
		}
		if _, met := sources[f[0]]; !met {
			sources[f[0]] = [2]map[string]bool{{}, {}}
		}
		medium := 1
		if f[1] == opus {
			medium = 0
		}
		sources[f[0]][medium][f[2]] = true
	}
	for port, of := range sources {
		for source := range of[0] {
			if of[1][source] {
				t.Errorf("port %s: %s is of two media", port, source)
			}
		}
		if len(of[0]) != 1 || len(of[1]) == 0 {
			t.Errorf("port %s: %d sources of voice, %d of video", port, len(of[0]), len(of[1]))
		}
	}
	if len(sources) != 2 {
		t.Errorf("%d ports of two browsers", len(sources))
	}
}
