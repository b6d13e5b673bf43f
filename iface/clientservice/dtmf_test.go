package clientservice

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"imsafe/proto/rtpport"
	"imsafe/proto/sdp"
	"imsafe/proto/shard"
	"imsafe/refpoint/iq"
)

// telephoneEvent is the payload type that the tests agree on for key presses (RFC 4733).
const telephoneEvent = 101

// keypad is a client that sends and hears whole RTP packets: voice, and key presses between.
type keypad struct {
	*client
	from byte // its SSRC
	sent uint16
}

func newKeypad(t *testing.T, keying sdp.Keying, from byte) *keypad {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	certificate, err := rtpport.NewCertificate(rand.Reader, time.Now())
	must(t, err)
	k := &keypad{client: &client{conn: conn, keying: keying}, from: from}
	k.key, err = sdp.NewCrypto(rand.Reader, 1, sdp.AESCM128SHA1)
	must(t, err)
	k.Leg, err = rtpport.New(rtpport.Config{Conn: conn, Clock: shard.RealClock(), Rand: rand.Reader, Certificate: certificate, AllowPlain: true, AllowSDES: true,
		Relay: func(b []byte, control bool) {
			if !control {
				k.mu.Lock()
				k.heard = append(k.heard, bytes.Clone(b))
				k.mu.Unlock()
			}
		}})
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- k.Run(t.Context()) }()
	t.Cleanup(func() { k.Close(); <-done })
	return k
}

// describes tells the anchor of the keypad: voice and key presses.
func (k *keypad) describes(t *testing.T, g *Gateway, st iq.Stream) iq.Remote {
	t.Helper()
	r := k.remote(st.Ends[iq.Access])
	r.Types.Add(telephoneEvent)
	must(t, g.Configure(st.Session, st.Number, iq.Access, 0, r))
	return r
}

// says sends a packet under the next number, at a timestamp, and returns it.
func (k *keypad) says(t *testing.T, kind byte, mark bool, timestamp uint32, payload []byte) []byte {
	t.Helper()
	k.sent++
	b := append([]byte{0x80, kind, 0, 0, 0, 0, 0, 0, 0, 0, 0, k.from}, payload...)
	if mark {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], k.sent)
	binary.BigEndian.PutUint32(b[4:], timestamp)
	must(t, k.Forward(bytes.Clone(b), false))
	return b
}

// presses sends a key of 100 ms (RFC 4733 2.5.1): updates under one timestamp, the first with the marker, the end three times. Voice goes before and after.
func (k *keypad) presses(t *testing.T, key byte) (sent [][]byte) {
	t.Helper()
	at := 160 * uint32(k.sent)
	voice := func() { sent = append(sent, k.says(t, 8, false, at, bytes.Repeat([]byte{k.from}, 160))) }
	event := func(flags byte, duration uint16, mark bool) {
		sent = append(sent, k.says(t, telephoneEvent, mark, at, []byte{key, flags, byte(duration >> 8), byte(duration)}))
	}
	voice()
	at += 160
	for n := range uint16(5) {
		event(10, 160*(n+1), n == 0)
	}
	for range 3 {
		event(0x80|10, 800, false)
	}
	at += 800
	voice()
	return sent
}

// hears waits until a keypad has heard packets as they were sent, in whatever order they came.
func (k *keypad) hears(t *testing.T, sent [][]byte) {
	t.Helper()
	until(t, fmt.Sprintf("%d packets", len(sent)), func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return !slices.ContainsFunc(sent, func(b []byte) bool {
			return !slices.ContainsFunc(k.heard, func(h []byte) bool { return bytes.Equal(h, b) })
		})
	})
}

// TestDTMF: key presses pass as they are, between all keyings, in both directions, and over a hold and a new offer, which keep the keys.
func TestDTMF(t *testing.T) {
	keyings := []sdp.Keying{sdp.DTLSSRTP, sdp.SDES, sdp.PlainRTP}
	for _, of := range keyings {
		for _, with := range keyings {
			t.Run(of.String()+" with "+with.String(), func(t *testing.T) {
				g := start(t, nil, nil)
				a, b := newKeypad(t, of, 1), newKeypad(t, with, 2)
				x, y := newPressed(t, g, a), newPressed(t, g, b)
				link := func() {
					for _, h := range [][2]*pressed{{x, y}, {y, x}} {
						r := h[1].core()
						r.Types.Add(telephoneEvent)
						must(t, g.Configure(h[0].Session, 0, iq.Core, 1, r))
						h[0].keypad.describes(t, g, h[0].Stream)
						g.Through(h[0].Session, 0, [2]bool{true, true})
					}
				}
				link()
				connected(t, a, b)
				b.hears(t, a.presses(t, 5))
				a.hears(t, b.presses(t, 11))

				gated := g.Counters().Gated.Load()
				g.Through(x.Session, 0, [2]bool{}) // hold
				lost := a.presses(t, 7)
				until(t, "the gate holds", func() bool { return g.Counters().Gated.Load() >= gated+uint64(len(lost)) })
				link() // the same ends are told again, as by a re-INVITE
				b.hears(t, a.presses(t, 9))
				a.hears(t, b.presses(t, 0))
				b.mu.Lock()
				defer b.mu.Unlock()
				for _, h := range b.heard {
					if slices.ContainsFunc(lost, func(l []byte) bool { return bytes.Equal(h, l) }) {
						t.Errorf("%x came through a closed gate", h)
					}
				}
			})
		}
	}
}

// pressed is a keypad with its session.
type pressed struct {
	*keypad
	*half
}

func newPressed(t *testing.T, g *Gateway, k *keypad) *pressed {
	t.Helper()
	m := iq.Medium{User: k.Local().String(), Kind: "audio", Suites: sdp.Suites()}
	st, err := g.Reserve(0, m)
	must(t, err)
	r := k.describes(t, g, st)
	k.join(t, st.Ends[iq.Access], r)
	k.Types(r.Types)
	return &pressed{k, &half{k.client, st}}
}

// connected waits for the keys of both ends, and until a packet of each has passed: the other leg of the anchor may get its keys a moment later.
func connected(t *testing.T, a, b *keypad) {
	t.Helper()
	<-a.Ready()
	<-b.Ready()
	until(t, "voice both ways", func() bool {
		a.says(t, 8, false, 0, []byte{1})
		b.says(t, 8, false, 0, []byte{2})
		return a.count() > 0 && b.count() > 0
	})
}
