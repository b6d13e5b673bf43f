package media

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"imsafe/proto/g711"
	"imsafe/proto/rtpport"
	"imsafe/proto/sdp"
	"imsafe/refpoint/mr"
)

// mu lets a party speak mu-law.
func mu(c *sdp.Capabilities, _ *sdp.Local) { c.Audio = []sdp.Codec{sdp.PCMU()} }

// TestPlay: a tone, then a prompt that was encoded before, in virtual time, in both laws.
func TestPlay(t *testing.T) {
	for name, change := range map[string]func(*sdp.Capabilities, *sdp.Local){"PCMA": nil, "PCMU": mu} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, nil)
			p, c := call(t, s, all(nil), change)
			prompt := bytes.Repeat([]byte{0x34, 0x21, 0x21, 0x34, 0xb4, 0xa1, 0xa1, 0xb4}, 50) // 50 ms of the digital milliwatt in A-law
			ended := make(chan error, 1)
			if err := c.Play(Sequence(Tone(440, -10, 200*time.Millisecond), Clip(g711.ALaw(), prompt)), func(err error) { ended <- err }); err != nil {
				t.Fatal(err)
			}
			s.Tick(time.Hour)
			until(t, "the first frame", func() bool { return len(p.octets()) == 160 })
			for now := time.Duration(0); now <= 400*time.Millisecond; now += 20 * time.Millisecond {
				s.Tick(time.Hour + now)
			}
			if err := <-ended; err != nil {
				t.Errorf("it ended with %v", err)
			}
			until(t, "all of it", func() bool { return len(p.octets()) == 13*160 }) // 10 frames, 2 and a half
			pcm := p.law.Decode(nil, p.octets())
			for _, x := range []struct {
				at, n int
				hz    float64
			}{{0, 800, 440}, {800, 800, 440}, {1600, 400, 1000}} {
				part, energy := pcm[x.at:x.at+x.n], 0.0
				l := newLine(x.hz)
				for _, v := range part {
					l.sample(float64(v))
					energy += float64(v) * float64(v)
				}
				if share := l.energy(x.n) / energy; share < 0.95 {
					t.Errorf("%v Hz is %.2f of what is heard at %d", x.hz, share, x.at)
				}
			}
			if name == "PCMA" && !bytes.Equal(p.octets()[1600:2000], prompt) {
				t.Error("the prompt was encoded again")
			}
		})
	}
}

func TestPlay_replaced(t *testing.T) {
	s := newServer(t, nil)
	_, c := call(t, s, all(nil), nil)
	ends := make(chan error, 3)
	for range 2 {
		if err := c.Play(Tone(440, -10, 0), func(err error) { ends <- err }); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-ends; !errors.Is(err, mr.ErrBusy) {
		t.Errorf("what was replaced ended with %v", err)
	}
	c.Close()
	if err := <-ends; !errors.Is(err, mr.ErrGone) {
		t.Errorf("what was closed ended with %v", err)
	}
}

// TestPace: what is late is caught up, and no more than a little of it.
func TestPace(t *testing.T) {
	s := newServer(t, nil)
	p, c := call(t, s, all(nil), nil)
	if err := c.Play(Tone(440, -10, 0), nil); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		at     time.Duration
		frames int
	}{{0, 1}, {19 * time.Millisecond, 1}, {60 * time.Millisecond, 4}, {2 * time.Second, 9}} {
		s.Tick(step.at)
		if got := int(c.Info().PacketsOut); got != step.frames {
			t.Errorf("at %v: %d frames, want %d", step.at, got, step.frames)
		}
	}
	until(t, "all of it", func() bool { return len(p.octets()) == 9*160 })
}

func TestRecord(t *testing.T) {
	s := newServer(t, func(c *Config) { c.Longest = time.Second })
	p, c := call(t, s, all(nil), nil)
	kept := make(chan *mr.Recording, 2)
	keep := func(r *mr.Recording) { kept <- r }
	for _, limit := range []time.Duration{0, time.Minute} {
		if err := c.Record(limit, keep); !errors.Is(err, mr.ErrLength) {
			t.Errorf("for %v: %v", limit, err)
		}
	}
	if err := c.Record(100*time.Millisecond, keep); err != nil {
		t.Fatal(err)
	}
	if err := c.Record(100*time.Millisecond, keep); !errors.Is(err, mr.ErrBusy) {
		t.Errorf("twice: %v", err)
	}
	said := g711.ALaw().Encode(nil, sound(1600, -10, 620))
	p.says(said)
	if r := <-kept; !bytes.Equal(r.Octets, said[:800]) || !r.Full || r.Law != "PCMA" || r.Length() != 100*time.Millisecond {
		t.Errorf("recorded %d octets of %s, full: %v", len(r.Octets), r.Law, r.Full)
	}
	until(t, "the rest", func() bool { return c.Info().PacketsIn == 10 })
	if err := c.Record(time.Second, keep); err != nil {
		t.Fatal(err)
	}
	p.says(said[:160])
	until(t, "the frame", func() bool { return c.Info().PacketsIn == 11 })
	c.Stop()
	if r := <-kept; len(r.Octets) != 160 || r.Full {
		t.Errorf("recorded %d octets until it was stopped", len(r.Octets))
	}
	if err := c.Record(time.Second, keep); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if r := <-kept; len(r.Octets) != 0 {
		t.Errorf("recorded %d octets of nothing", len(r.Octets))
	}
}

// TestRecord_indication: a new offer of who is recorded is answered with what is the case (RFC 7866 7.1.2), beside the tone; of a call that was never recorded
// nothing is said.
func TestRecord_indication(t *testing.T) {
	s := newServer(t, nil)
	p, c := call(t, s, all(nil), nil)
	says := func(when, want string) {
		t.Helper()
		answer := c.Reoffer(p.body())
		got := ""
		for line := range strings.Lines(string(answer)) {
			if strings.HasPrefix(line, "a=record:") {
				got += strings.TrimSpace(line)
			}
		}
		if answer == nil || got != want {
			t.Errorf("%s: %q in\n%s", when, got, answer)
		}
	}
	says("before", "")
	if err := c.Record(time.Second, func(*mr.Recording) {}); err != nil {
		t.Fatal(err)
	}
	says("while it is recorded", "a=record:on")
	c.Stop()
	says("afterwards", "a=record:off")
}

// TestRecord_tone: who is recorded hears it, at the beginning and every 15 s, whatever else he would hear.
func TestRecord_tone(t *testing.T) {
	s := newServer(t, func(c *Config) { c.Longest = time.Minute })
	p, c := call(t, s, all(nil), nil)
	if err := c.Loop(); err != nil {
		t.Fatal(err)
	}
	if err := c.Record(time.Minute, func(*mr.Recording) {}); err != nil {
		t.Fatal(err)
	}
	for now := time.Duration(0); now < 16*time.Second; now += 20 * time.Millisecond {
		s.Tick(now)
	}
	until(t, "both tones", func() bool { return len(p.octets()) == 20*160 })
	pcm := p.law.Decode(nil, p.octets())
	for _, part := range [][]int16{pcm[:1600], pcm[1600:]} {
		x, begins := newTone(recordingHz), 0
		for i := 0; i < len(part); i += 160 {
			if x.hear((*mr.Frame)(part[i : i+160])) {
				begins++
			}
		}
		if begins != 1 {
			t.Errorf("the recording tone is not heard")
		}
	}
}

// TestDigit_event: each event is told of once, however often its packets come (RFC 4733 2.5.1.4), and also if its first is lost.
func TestDigit_event(t *testing.T) {
	s := newServer(t, nil)
	var x told
	p := newParty(t, nil)
	opened, err := s.Open(p.body(), all(x.tell))
	if err != nil {
		t.Fatal(err)
	}
	p.takes(opened.Answer(), true)
	opened.Start()
	ready(t, p, opened.(*channel))
	event := func(code byte, packets int, mark bool) {
		for i := range packets {
			end := byte(0)
			if i >= packets-3 {
				end = 0x80
			}
			if err := p.leg.WriteFrame([]byte{code, end | 10, 0, byte(160 * (i + 1) / 8)}, 0, mark && i == 0); err != nil {
				t.Fatal(err)
			}
		}
		p.leg.Skip(1600)
	}
	event(5, 6, true)
	event(5, 6, true)
	event(11, 5, false)
	event(16, 3, true) // flash: none of ours
	event(0, 4, true)
	until(t, "all packets", func() bool { return opened.Info().PacketsIn == 24 })
	digits := ""
	x.has(func(e mr.Event) bool {
		if e.Kind == mr.Digit {
			digits += string(e.Digit)
		}
		return false
	})
	if digits != "55#0" {
		t.Errorf("pressed %q", digits)
	}
}

// TestDigits: the sixteen of ITU-T Q.23 within the levels, twists and lengths of Q.24, and nothing else.
func TestDigits(t *testing.T) {
	rows, columns := [4]float64{697, 770, 852, 941}, [4]float64{1209, 1336, 1477, 1633}
	hear := func(pcm []int16) string {
		d, heard := digits{on: true}, ""
		for ; len(pcm) >= 160; pcm = pcm[160:] {
			if b, pressed := d.hear((*mr.Frame)(pcm[:160])); pressed {
				heard += string(b)
			}
		}
		return heard
	}
	add := func(a, b []int16) []int16 {
		for i := range a {
			a[i] += b[i]
		}
		return a
	}
	pause := make([]int16, 800)
	for _, law := range []g711.Codec{g711.ALaw(), g711.MuLaw()} {
		for _, x := range []struct{ row, column, off float64 }{{-10, -10, 1}, {-25, -25, 1}, {-3, -3, 1}, {-12, -9, 1}, {-9, -16, 1}, {-10, -10, 1.012}, {-10, -10, 0.988}} {
			for i, want := range "123A456B789C*0#D" {
				var pcm []int16
				for range 2 { // 40 ms, 100 ms of silence; and again, not in step with the blocks
					pcm = append(pcm, add(sound(320, x.row, rows[i/4]*x.off), sound(320, x.column, columns[i%4]*x.off))...)
					pcm = append(pcm, pause...)
				}
				pcm = law.Decode(nil, law.Encode(nil, pcm))
				if got := hear(pcm); got != string(want)+string(want) {
					t.Errorf("%s, %v dBm0 and %v dBm0, %v: %q is heard as %q", law.Name(), x.row, x.column, x.off, want, got)
				}
			}
		}
	}
	// A long one is one.
	if got := hear(sound(16000, -10, 852, 1336)); got != "8" {
		t.Errorf("two seconds of 8 are heard as %q", got)
	}
	noise, random := make([]int16, 80000), rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = int16(random.IntN(20000) - 10000)
	}
	for name, pcm := range map[string][]int16{
		"noise": noise, "silence": make([]int16, 8000), "one frequency": sound(8000, -10, 770), "1 kHz": sound(8000, -6, 1000),
		"too faint": sound(8000, -45, 770, 1336), "neighbours": sound(8000, -10, 697, 770), "a third beside it": sound(8000, -10, 770, 1336, 1000),
		"far off": sound(8000, -10, 770*1.05, 1336*1.05), "440 and 620": sound(8000, -10, 440, 620), "10 ms": append(sound(80, -10, 770, 1336), pause...),
	} {
		if got := hear(pcm); got != "" {
			t.Errorf("%s: heard as %q", name, got)
		}
	}
}

// TestTones: in the voice of a call, digits of a peer without events and the tone of a test.
func TestTones(t *testing.T) {
	s := newServer(t, nil)
	var x told
	terms := all(x.tell)
	terms.Tones = []float64{1000, 440}
	p, _ := call(t, s, terms, func(c *sdp.Capabilities, _ *sdp.Local) { c.DTMF = false })
	p.says(p.law.Encode(nil, append(sound(1600, -10, 1000), sound(800, -12, 941, 1477)...)))
	until(t, "the tone and the digit", func() bool {
		return x.has(func(e mr.Event) bool { return e.Kind == mr.Tone && e.Hz == 1000 }) && x.has(func(e mr.Event) bool { return e.Kind == mr.Digit && e.Digit == '#' })
	})
	if x.has(func(e mr.Event) bool { return e.Hz == 440 }) {
		t.Errorf("told of %v", &x)
	}
}

// TestFrames: in order, with silence for what was lost; out at a pace, bounded and counted.
func TestFrames(t *testing.T) {
	s := newServer(t, nil)
	p, c := call(t, s, all(nil), nil)
	in := make(chan mr.Frame, 8)
	if err := c.Listen(func(f *mr.Frame) { in <- *f }); err != nil {
		t.Fatal(err)
	}
	loud := bytes.Repeat([]byte{0x34}, 160)
	p.says(loud)
	p.leg.Skip(320)
	p.says(loud[:80]) // packets of 10 ms
	p.says(loud[:80])
	for i, want := range []bool{true, false, false, true} {
		f := <-in
		if (f[7] != 0) != want {
			t.Errorf("frame %d is %d", i, f[7])
		}
	}
	var f mr.Frame
	for i := range f {
		f[i] = 1000
	}
	for range maxQueued {
		if err := c.Send(&f); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Send(&f); !errors.Is(err, mr.ErrSlow) || c.Info().Dropped != 1 {
		t.Errorf("one too many: %v, %d dropped", err, c.Info().Dropped)
	}
	for now := time.Duration(0); now < time.Second; now += 20 * time.Millisecond {
		s.Tick(now)
	}
	until(t, "all that was sent", func() bool { return len(p.octets()) == maxQueued*160 })
}

// FuzzEar: whatever an authenticated peer sends, frames come in order, and no more of them than time can have passed.
func FuzzEar(f *testing.F) {
	f.Add([]byte{5, 10, 0, 160, 0x80 | 5, 10, 1, 64})
	f.Add(bytes.Repeat([]byte{0x55}, 400))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, frames, digits, packets := ear{}, 0, 0, 0
		e.listen(true, []float64{1000})
		for ; len(b) >= 6; packets++ {
			n := min(len(b), 6+int(b[0]))
			p := rtpport.Frame{Marker: b[1]&1 == 1, Timestamp: uint32(b[2])<<24 | uint32(b[3])<<8 | uint32(b[4]), Payload: b[5:n]}
			b = b[n:]
			if digit, pressed := e.event(&p); pressed {
				digits++
				if !strings.ContainsRune("0123456789*#ABCD", rune(digit)) {
					t.Fatalf("digit %q", digit)
				}
			}
			e.take(g711.ALaw(), &p, func(heard *mr.Frame) { frames++; e.digits.hear(heard); e.tones[0].hear(heard) })
		}
		if digits > packets || frames > packets*(maxGap/mr.FrameSamples+2) {
			t.Fatalf("%d packets, %d digits, %d frames", packets, digits, frames)
		}
	})
}
