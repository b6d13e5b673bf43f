package openssl

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"imsafe/iface/clientservice"
	"imsafe/proto/rtpport"
	"imsafe/proto/sdp"
	"imsafe/proto/shard"
	"imsafe/refpoint/iq"
	"imsafe/secure"
	"imsafe/test/port"
)

// lost notes what the anchor tells its P-CSCF.
type lost chan iq.Reason

func (l lost) Lost(_ iq.Session, why iq.Reason) { l <- why }

// half is a session of the anchor: OpenSSL at the access, a leg of ours towards the core.
type half struct {
	*clientservice.Gateway
	iq.Stream
	told lost
	core *rtpport.Leg
	said atomic.Int64 // frames that the core has heard
}

func newHalf(t *testing.T) *half {
	t.Helper()
	h := &half{told: make(lost, 8)}
	var err error
	h.Gateway, err = clientservice.New(
		clientservice.Config{Listen: []netip.AddrPort{port.Run(t, "127.0.0.1", 40)}, Ports: 40, PerUser: 4, Audio: 128, Video: 128},
		clientservice.Ports{Clock: shard.RealClock(), Random: rand.Reader, Gate: secure.NewGate(nil, nil), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
			Listen: func(at netip.AddrPort) (net.PacketConn, error) {
				return net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
			}})
	must(t, err)
	t.Cleanup(h.Close)
	h.Plug(h.told)
	h.Stream, err = h.Reserve(0, iq.Medium{User: "far", Kind: "audio"})
	must(t, err)
	certificate, err := rtpport.NewCertificate(rand.Reader, time.Now())
	must(t, err)
	h.core, err = rtpport.New(rtpport.Config{Conn: listen(t), Clock: shard.RealClock(), Rand: rand.Reader, Certificate: certificate,
		Receive: func(*rtpport.Frame) { h.said.Add(1) }})
	must(t, err)
	run(t, h.core)
	e := h.Ends[iq.Core]
	must(t, h.Configure(h.Session, 0, iq.Core, 1, remote(h.core.Local(), sdp.DTLSServer, h.core.Fingerprints()...)))
	must(t, h.core.Start(sdp.Agreed{Keying: sdp.DTLSSRTP, Role: sdp.DTLSClient, Fingerprints: e.Fingerprints, Codec: sdp.PCMA(), SendPT: 8, RecvPT: 8,
		Send: true, Receive: true, Remote: e.Media, RTCPMux: true}))
	h.Through(h.Session, 0, [2]bool{true, true})
	return h
}

func remote(at netip.AddrPort, role sdp.Role, f ...sdp.Fingerprint) iq.Remote {
	r := iq.Remote{Media: at, Control: at, Keying: sdp.DTLSSRTP, Role: role, Fingerprints: f}
	r.Types.Add(8)
	return r
}

// towards configures the far end at the access, and leads what the anchor sends there to OpenSSL.
func (h *half) towards(t *testing.T, f *far, role sdp.Role, fingerprint sdp.Fingerprint) {
	t.Helper()
	f.lead(h.Ends[iq.Access].Media)
	must(t, h.Configure(h.Session, 0, iq.Access, 0, remote(addressOf(f.front), role, fingerprint)))
}

// TestHandshake: OpenSSL and the anchor agree on a profile of RFC 7714, in both roles, each sees the certificate that the other's description
// announces, and what one seals with the keys the other opens.
func TestHandshake(t *testing.T) {
	for _, c := range []struct {
		name, program string
		client        bool
		role          sdp.Role
	}{
		{"OpenSSL is active", "s_client", true, sdp.DTLSServer},
		{"OpenSSL is passive", "s_server", false, sdp.DTLSClient},
	} {
		for _, suite := range []sdp.Suite{sdp.AEADAES256GCM, sdp.AEADAES128GCM} {
			t.Run(c.name+" "+suite.String(), func(t *testing.T) {
				f, h := newFar(t), newHalf(t)
				f.lead(h.Ends[iq.Access].Media)
				profiles := "SRTP_" + suite.String()
				if suite == sdp.AEADAES256GCM {
					profiles += ":SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80" // the best of them is taken
				}
				f.run(append([]string{c.program, "-dtls1_2", "-use_srtp", profiles}, exports(suite)...)...)
				must(t, h.Configure(h.Session, 0, iq.Access, 0, remote(addressOf(f.front), c.role, f.fingerprint)))
				if profile := f.find("which profile", `SRTP Extension negotiated, profile=(\S+)`); profile != "SRTP_"+suite.String() {
					t.Errorf("profile %s", profile)
				}
				f.sees(h.Ends[iq.Access].Fingerprints)
				h.talk(t, f, f.speaks(suite, c.client))
			})
		}
	}
}

// talk sends frames both ways until each end has heard some.
func (h *half) talk(t *testing.T, f *far, l *rtpport.Leg) {
	t.Helper()
	<-h.core.Ready()
	if !soon(func() bool {
		must(t, l.WriteFrame(bytes.Repeat([]byte{1}, 160), 160, false))
		must(t, h.core.WriteFrame(bytes.Repeat([]byte{2}, 160), 160, false))
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.heard > 3 && h.said.Load() > 3
	}) {
		t.Fatalf("the far end has heard %d frames, the core %d", f.heard, h.said.Load())
	}
	if n := l.Counters().Dropped(rtpport.DropTag); n > 0 {
		t.Errorf("%d packets did not open", n)
	}
}

// TestHandshake_another_certificate: who shows another certificate than the description announced is refused, and by that name.
func TestHandshake_another_certificate(t *testing.T) {
	for program, role := range map[string]sdp.Role{"s_client": sdp.DTLSServer, "s_server": sdp.DTLSClient} {
		t.Run(program, func(t *testing.T) {
			f, h, other := newFar(t), newHalf(t), newFar(t)
			f.run(program, "-dtls1_2", "-use_srtp", "SRTP_AEAD_AES_256_GCM")
			h.towards(t, f, role, other.fingerprint)
			h.isLost(t, f, iq.ReasonFingerprint)
			must(t, errors.Join(other.front.Close(), other.back.Close()))
		})
	}
}

func (h *half) isLost(t *testing.T, f *far, want iq.Reason) {
	t.Helper()
	select {
	case why := <-h.told:
		if why != want {
			t.Errorf("lost for %s", why)
		}
	case <-time.After(time.Minute):
		t.Fatalf("nobody is told:\n%s", f.said())
	}
}

// TestHandshake_no_SRTP: the right certificate, and no keys for media: there will be none.
func TestHandshake_no_SRTP(t *testing.T) {
	f, h := newFar(t), newHalf(t)
	h.towards(t, f, sdp.DTLSServer, f.fingerprint)
	f.run("s_client", "-dtls1_2")
	h.isLost(t, f, iq.ReasonHandshake)
}

// TestHandshake_refused: hellos that lead to no keys, and to no end of the call either: the true one, later, from the same address, is heard.
func TestHandshake_refused(t *testing.T) {
	for _, c := range []struct {
		name, alert string
		arguments   []string
	}{
		{"DTLS 1.0", "protocol version", []string{"-dtls1", "-cipher", "ALL:@SECLEVEL=0", "-use_srtp", "SRTP_AEAD_AES_256_GCM"}},
		{"a tag of 32 bits", "insufficient security", []string{"-dtls1_2", "-use_srtp", "SRTP_AES128_CM_SHA1_32"}},
		{"no ephemeral keys", "insufficient security", []string{"-dtls1_2", "-cipher", "AES256-GCM-SHA384", "-use_srtp", "SRTP_AEAD_AES_256_GCM"}},
		{"no authenticated encryption", "insufficient security", []string{"-dtls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA", "-use_srtp", "SRTP_AEAD_AES_256_GCM"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, h := newFar(t), newHalf(t)
			h.towards(t, f, sdp.DTLSServer, f.fingerprint)
			end := f.run(append([]string{"s_client"}, c.arguments...)...)
			if err := end(); err == nil || !strings.Contains(f.said(), "alert "+c.alert) {
				t.Errorf("OpenSSL ends with %v:\n%s", err, f.said())
			}
			f.mu.Lock()
			f.output.Reset()
			f.mu.Unlock()
			f.run(append([]string{"s_client", "-dtls1_2", "-use_srtp", "SRTP_AEAD_AES_256_GCM"}, exports(sdp.AEADAES256GCM)...)...)
			h.talk(t, f, f.speaks(sdp.AEADAES256GCM, true))
			if len(h.told) > 0 {
				t.Errorf("the call was lost for %s", <-h.told)
			}
		})
	}
}
