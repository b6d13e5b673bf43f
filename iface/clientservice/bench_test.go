package clientservice

import (
	"bytes"
	"syscall"
	"testing"
	"time"

	"imsafe/proto/rtpport"
	"imsafe/proto/sdp"
)

// cpu is what this process has used, of both kinds.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRelayOverSockets is the CPU of one packet through the anchor, system calls and all: that of a round with the anchor between, less
// that of the same round without it. 64 calls speak every 2.6 ms, 25,000 packets a second.
func BenchmarkRelayOverSockets(b *testing.B) {
	const streams, every = 64, 2600 * time.Microsecond
	for _, c := range []struct {
		name     string
		of, with sdp.Keying
	}{{"plain", sdp.PlainRTP, sdp.PlainRTP}, {"plain to SRTP", sdp.PlainRTP, sdp.DTLSSRTP}, {"SRTP to SRTP", sdp.DTLSSRTP, sdp.DTLSSRTP}} {
		b.Run(c.name, func(b *testing.B) {
			var spent [2]time.Duration
			for i, anchored := range []bool{false, true} {
				g := start(b, nil, func(c *Config) {
					c.Ports, c.PerUser, c.Audio = 1600, 0, 4096
				})
				arrived, lost := make(chan struct{}, streams), time.NewTimer(time.Minute)
				var from []*client
				for range streams {
					of, with := newClient(b, "127.0.0.1", c.of), newClient(b, "127.0.0.1", c.with)
					if anchored {
						call(b, g, of, with)
					} else {
						with = direct(b, of)
					}
					talk(b, of, with)
					with.told = func(f *rtpport.Frame) {
						if f.Payload[0] == 9 { // not what is still under way from before
							arrived <- struct{}{}
						}
					}
					from = append(from, of)
				}
				frame := bytes.Repeat([]byte{9}, 160)
				round := func() {
					for _, f := range from {
						must(b, f.WriteFrame(frame, 160, false))
					}
					for range streams {
						select {
						case <-arrived:
						case <-lost.C:
							b.Fatal("a packet was lost")
						}
					}
				}
				round()
				tick := time.NewTicker(every)
				before, rounds := cpu(b), 0
				for began := time.Now(); time.Since(began) < time.Second; rounds++ {
					<-tick.C
					round()
				}
				spent[i] = (cpu(b) - before) / time.Duration(rounds*streams)
				tick.Stop()
				for _, f := range from {
					f.Close()
				}
				g.Close()
			}
			for b.Loop() { //nolint:revive // the figure is measured above, over a second
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(spent[1]-spent[0])/1000, "cpu-us/packet")
			b.ReportMetric(float64(spent[0])/1000, "generator-us/packet")
		})
	}
}

// direct is a far end that a client of its keying speaks with without an anchor.
func direct(b *testing.B, of *client) *client {
	with := newClient(b, "127.0.0.1", of.keying)
	for _, end := range [][2]*client{{of, with}, {with, of}} {
		a := sdp.Agreed{Keying: of.keying, Role: sdp.DTLSClient, Fingerprints: end[1].Fingerprints(), Codec: sdp.PCMA(), SendPT: 8, RecvPT: 8, Send: true, Receive: true,
			Remote: end[1].Local(), RTCPMux: true}
		if end[0] == with {
			a.Role = sdp.DTLSServer
		}
		must(b, end[0].Start(a))
	}
	<-of.Ready()
	<-with.Ready()
	return with
}
