package attack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"imsafe/proto/rtpport"
	"imsafe/proto/sdp"
	"imsafe/proto/sip"
)

// A call of two media, which one telephone has on one transport and the other on two: what the anchor tells apart.

// The payload type of the second medium, the identifier by which packets name their medium, and what the media are called.
const (
	videoType    = 97
	midExtension = 1
	voiceMID     = "0"
	videoMID     = "1"
)

// describesTwo is a session description of a voice and a video.
func describesTwo(proto, group string, voice, video netip.AddrPort, way, setup, fingerprint string) string {
	lines := []string{"v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"}
	if group != "" {
		lines = append(lines, "a=group:BUNDLE "+group)
	}
	medium := func(kind string, at netip.AddrPort, format, codec, mid, way string) {
		lines = append(lines, fmt.Sprintf("m=%s %d %s %s", kind, at.Port(), proto, format), "a=rtpmap:"+format+" "+codec, "a=mid:"+mid, "a="+way, "a=rtcp-mux",
			fmt.Sprintf("a=extmap:%d urn:ietf:params:rtp-hdrext:sdes:mid", midExtension), "a=setup:"+setup, "a=fingerprint:"+fingerprint)
	}
	medium("audio", voice, "8", "PCMA/8000", voiceMID, "sendrecv")
	medium("video", video, fmt.Sprint(videoType), "VP8/90000", videoMID, way)
	return strings.Join(lines, "\r\n") + "\r\n"
}

// callsWithTwo is a call of mallory's to carol, a voice and a video of his on one transport: she takes the voice, and of the video nothing. What comes to her sockets is
// in the taps, her voice's first.
func (f *Field) callsWithTwo(ctx context.Context) (mallory *rtpport.Leg, taps [2]*tapped, end func(), err error) {
	carol, h, err := f.carolAndMallory(ctx)
	if err != nil {
		return nil, taps, nil, err
	}
	carol.answers.Store(false)
	his, err := f.leg(f.attacker, nil)
	if err != nil {
		return nil, taps, nil, err
	}
	legs := []*rtpport.Leg{his}
	end = func() {
		for _, l := range legs {
			l.Close()
		}
	}
	defer func() {
		if err != nil {
			end()
		}
	}()
	hers, taps, fingerprint, err := f.hasTwo()
	legs = append(legs, hers...)
	if err != nil {
		return nil, taps, end, err
	}
	offer := describesTwo("UDP/TLS/RTP/SAVP", voiceMID+" "+videoMID, his.Local(), his.Local(), "sendrecv", "actpass", his.Fingerprints()[0].String())
	callID := f.token()
	answer, err := h.callsDescribed(ctx, carol, callID, offer, func(offered *sdp.Session) (string, error) {
		for i := range hers {
			if err := startOf(ctx, hers[i], &offered.Media[i], sdp.DTLSServer, 8, videoType); err != nil {
				return "", err
			}
		}
		return describesTwo(offered.Media[0].Proto, "", hers[0].Local(), hers[1].Local(), "inactive", "passive", fingerprint), nil
	})
	if err != nil {
		return nil, taps, end, err
	}
	if len(answer.Media) != 2 || answer.Media[0].Port == 0 || answer.Media[1].Port != answer.Media[0].Port {
		return nil, taps, end, errors.New("attack: mallory is not given one transport for two media")
	}
	if err := startOf(ctx, his, &answer.Media[0], sdp.DTLSClient, 8, videoType); err != nil {
		return nil, taps, end, err
	}
	for _, l := range legs {
		select {
		case <-l.Ready():
		case <-ctx.Done():
			return nil, taps, end, fmt.Errorf("attack: no keys: %w", ctx.Err())
		}
	}
	return his, taps, end, nil
}

// hasTwo are the two sockets of an honest telephone, a certificate for both, and what comes to them.
func (f *Field) hasTwo() (legs []*rtpport.Leg, taps [2]*tapped, fingerprint string, err error) {
	certificate, err := rtpport.NewCertificate(f.Random, f.Clock.Wall())
	if err != nil {
		return nil, taps, "", err
	}
	for i := range taps {
		conn, err := f.honest.ListenPacket(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
		if err != nil {
			return legs, taps, "", err
		}
		taps[i] = &tapped{PacketConn: conn}
		leg, err := rtpport.New(rtpport.Config{Conn: taps[i], Clock: f.Clock, Rand: f.Random, Certificate: certificate, Relay: func([]byte, bool) {}})
		if err != nil {
			return legs, taps, "", errors.Join(err, conn.Close())
		}
		legs = append(legs, leg)
	}
	return legs, taps, certificate.Fingerprint().String(), nil
}

// startOf lets a leg begin with what the other end has described.
func startOf(ctx context.Context, l *rtpport.Leg, m *sdp.Media, role sdp.Role, types ...uint8) error {
	at := netip.AddrPortFrom(m.Address, m.Port)
	a := sdp.Agreed{Keying: sdp.DTLSSRTP, Role: role, Fingerprints: m.Fingerprints, Send: true, Receive: true, Remote: at, RemoteRTCP: at, RTCPMux: true,
		SendPT: types[0], RecvPT: types[0]}
	for _, t := range types {
		a.Accept = append(a.Accept, sdp.Codec{PayloadType: t})
	}
	err := l.Start(a)
	if err == nil {
		go func() { _ = l.Run(ctx) }() // what it could not do shows in what it is wanted for
	}
	return err
}

// callsDescribed calls another hand with a description, who answers with what it makes of what it reads, and returns the answer.
func (h *Hand) callsDescribed(ctx context.Context, callee *Hand, callID, offer string, answers func(*sdp.Session) (string, error)) (*sdp.Session, error) {
	if err := h.Write(h.Text(Request{Method: "INVITE", URI: callee.IMPU, CallID: callID,
		Lines: []string{"Contact: " + h.Contact(), "Content-Type: application/sdp"}, Body: offer})); err != nil {
		return nil, err
	}
	invite, err := callee.Await(ctx, func(m *sip.Message) bool {
		return m.IsRequest() && m.Method() == sip.INVITE && string(m.Get(sip.HdrCallID)) == callID
	})
	if err != nil {
		return nil, err
	}
	offered, err := sdp.Parse(invite.Body(), sdp.Limits{})
	if err != nil {
		return nil, err
	}
	description, err := answers(offered)
	if err != nil {
		return nil, err
	}
	if err := callee.answersDescribed(invite, description, callee.Contact()); err != nil {
		return nil, err
	}
	m, err := h.Await(ctx, func(m *sip.Message) bool { return isFinal(m) && string(m.Get(sip.HdrCallID)) == callID })
	if err != nil {
		return nil, err
	}
	if _, err := h.acknowledges(m, callee.IMPU); err != nil {
		return nil, err
	}
	return sdp.Parse(m.Body(), sdp.Limits{})
}

// withMID puts the name of a medium into a packet (RFC 8285 4.2, RFC 9143 15.1).
func withMID(b []byte, mid string) []byte {
	const header = 12
	b[0] |= 0x10
	x := append([]byte{0xbe, 0xde, 0, 1, midExtension<<4 | byte(len(mid)-1)}, mid...)
	for len(x) < 8 {
		x = append(x, 0)
	}
	return append(append(append([]byte(nil), b[:header]...), x...), b[header:]...)
}

// asVideo makes a packet one of the second medium.
func asVideo(b []byte) []byte {
	b[1] = videoType
	return b
}

// videoIn counts the packets of the second medium among those that have come to a socket, by what everybody can read of them.
func (t *tapped) videoIn() (n int) {
	for _, b := range t.got() {
		if b[1]&0x7f == videoType {
			n++
		}
	}
	return n
}
