package media

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// The digital milliwatt of ITU-T G.711 tables 5 and 6: 1000 Hz at 0 dBm0, by definition.
func TestG711_digital_milliwatt(t *testing.T) {
	for _, c := range []struct {
		codec Codec
		eight []byte
	}{
		{ALaw(), []byte{0x34, 0x21, 0x21, 0x34, 0xb4, 0xa1, 0xa1, 0xb4}},
		{MuLaw(), []byte{0x1e, 0x0b, 0x0b, 0x1e, 0x9e, 0x8b, 0x8b, 0x9e}},
	} {
		h := Measure(c.codec.Decode(nil, bytes.Repeat(c.eight, 200)))
		if math.Abs(h.Hz-1000) > 0.1 || math.Abs(h.Level) > 0.1 || h.Purity < 0.99 {
			t.Errorf("%s: %+v", c.codec.Name(), h)
		}
	}
}

func TestMeasure(t *testing.T) {
	for _, hz := range []float64{110, 440, 441.3, 1000, 3333, 3890} {
		for _, dBm0 := range []float64{0, -20, -40} {
			pcm := make([]int16, 1600)
			_, _ = NewTone(hz, dBm0).Read(pcm)
			h := Measure(ALaw().Decode(nil, ALaw().Encode(nil, pcm)))
			if math.Abs(h.Hz-hz) > 0.5 || math.Abs(h.Level-dBm0) > 0.5 || !h.Tone(hz) || h.Tone(hz+10) {
				t.Errorf("%v Hz %v dBm0: heard %+v", hz, dBm0, h)
			}
			if g := Goertzel(pcm, hz); math.Abs(g-dBm0) > 0.2 {
				t.Errorf("Goertzel at %v Hz: %v, want %v", hz, g, dBm0)
			}
		}
	}
	noise := make([]int16, 1600)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = int16(rnd.IntN(1 << 14))
	}
	if h := Measure(noise); h.Purity > 0.5 || h.Tone(h.Hz) {
		t.Errorf("noise taken for a tone: %+v", h)
	}
	if h := Measure(make([]int16, 1600)); h.Tone(h.Hz) || h.Level > -60 {
		t.Errorf("silence taken for a tone: %+v", h)
	}
	if h := Measure(nil); h.Tone(0) {
		t.Errorf("nothing taken for a tone: %+v", h)
	}
}

// pipe is a wire from a Player into a Recorder.
type pipe struct {
	codec  Codec
	to     *Recorder
	stamp  uint32
	frames int
	talks  int
	drop   map[int]bool
}

func (p *pipe) WriteFrame(b []byte, samples uint32, talk bool) error {
	stamp := p.stamp
	p.stamp += samples
	p.frames++
	if talk {
		p.talks++
	}
	if p.drop[p.frames] {
		return nil
	}
	return p.to.Frame(p.codec, stamp, b)
}

func TestPlayer_tone_through_a_lossy_wire_into_an_ear(t *testing.T) {
	ear := NewEar()
	wire := &pipe{codec: MuLaw(), to: NewRecorder(ear), stamp: math.MaxUint32 - 500, drop: map[int]bool{3: true, 4: true}}
	p := NewPlayer(MuLaw(), NewTone(440, -10), wire)
	for now := time.Duration(0); now < time.Second; now += 20 * time.Millisecond {
		if err := p.Tick(now); err != nil {
			t.Fatal(err)
		}
	}
	h, windows := ear.Heard()
	lost, _ := wire.to.Lost()
	if wire.frames != 50 || windows != 5 || !h.Tone(440) || lost != 2*FrameSamples || wire.talks != 1 {
		t.Errorf("frames %d, windows %d, lost %d, heard %+v", wire.frames, windows, lost, h)
	}
}

func TestPlayer_pace(t *testing.T) {
	wire := &pipe{codec: ALaw(), to: NewRecorder(Tee{})}
	p := NewPlayer(ALaw(), Silence(), wire)
	for _, step := range []struct {
		now     time.Duration
		frames  int
		skipped int64
	}{
		{time.Hour, 1, 0},                          // any origin
		{time.Hour + 19*time.Millisecond, 1, 0},    // early: nothing
		{time.Hour + 60*time.Millisecond, 4, 0},    // three late ones caught up
		{time.Hour + 2000*time.Millisecond, 9, 92}, // two seconds late: a burst of five, the rest left out
	} {
		if err := p.Tick(step.now); err != nil {
			t.Fatal(err)
		}
		if wire.frames != step.frames || p.Skipped() != step.skipped {
			t.Errorf("at %v: %d frames, %d skipped; want %d, %d", step.now, wire.frames, p.Skipped(), step.frames, step.skipped)
		}
	}
}

func TestPlayer_end_of_clip(t *testing.T) {
	var got memory
	wire := &pipe{codec: ALaw(), to: NewRecorder(&got)}
	clip := make([]int16, 200) // one frame and a quarter
	for i := range clip {
		clip[i] = 1000
	}
	p := NewPlayer(ALaw(), Clip(clip, false), wire)
	err := p.Tick(0)
	if err != nil {
		t.Fatal(err)
	}
	if err = p.Tick(time.Second); !errors.Is(err, io.EOF) {
		t.Fatalf("no end: %v", err)
	}
	if len(got) != 320 || got[199] == 0 || got[200] > 8 {
		t.Errorf("%d samples, %v", len(got), got[195:205])
	}
}

func TestRecorder_late_and_repeated_frames_are_dropped_a_jump_is_a_new_start(t *testing.T) {
	var got memory
	r := NewRecorder(&got)
	frame := ALaw().Encode(nil, make([]int16, 160))
	for _, stamp := range []uint32{1000, 1160, 1160, 1000, 1320, 900000} {
		if err := r.Frame(ALaw(), stamp, frame); err != nil {
			t.Fatal(err)
		}
	}
	if lost, late := r.Lost(); len(got) != 4*160 || lost != 0 || late != 2 {
		t.Errorf("%d samples, lost %d, late %d", len(got), lost, late)
	}
}

type memory []int16

func (m *memory) Write(pcm []int16) error { *m = append(*m, pcm...); return nil }

// file is the little of a file that WAVWriter needs.
type file struct {
	b  []byte
	at int64
}

func (f *file) Write(p []byte) (int, error) {
	f.b = append(f.b[:f.at], append(append([]byte(nil), p...), f.b[min(len(f.b), int(f.at)+len(p)):]...)...)
	f.at += int64(len(p))
	return len(p), nil
}

func (f *file) Seek(o int64, whence int) (int64, error) {
	if whence != io.SeekCurrent {
		return 0, errors.New("not needed")
	}
	f.at += o
	return f.at, nil
}

func TestWAV_written_and_read(t *testing.T) {
	var f file
	w, err := NewWAVWriter(&f)
	if err != nil {
		t.Fatal(err)
	}
	pcm := make([]int16, 2000)
	_, _ = NewTone(440, 0).Read(pcm)
	for _, part := range [][]int16{pcm[:7], pcm[7:1000], pcm[1000:]} {
		if err := w.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil || f.at != int64(len(f.b)) {
		t.Fatalf("close: %v, at %d of %d", err, f.at, len(f.b))
	}
	got, err := ReadWAV(bytes.NewReader(f.b), 2000)
	if err != nil || len(got) != len(pcm) || got[1234] != pcm[1234] {
		t.Fatalf("%d samples, %v", len(got), err)
	}
	if _, err := ReadWAV(bytes.NewReader(f.b), 1999); !errors.Is(err, ErrWAVSize) {
		t.Errorf("longer than allowed: %v", err)
	}
}

func TestReadWAV_refuses(t *testing.T) {
	fmtChunk := func(format, channels byte, depth byte) string {
		return "fmt \x10\x00\x00\x00" + string([]byte{format, 0, channels, 0, 0x40, 0x1f, 0, 0, 0, 0, 0, 0, 2, 0, depth, 0})
	}
	for name, c := range map[string]struct {
		body string
		want error
	}{
		"empty":             {"", ErrWAV},
		"other file":        {"RIFF\x00\x00\x00\x00AVI LIST", ErrWAV},
		"no data":           {"RIFF\x00\x00\x00\x00WAVE" + fmtChunk(1, 1, 16), ErrWAV},
		"data first":        {"RIFF\x00\x00\x00\x00WAVEdata\x00\x00\x00\x00", ErrWAV},
		"stereo":            {"RIFF\x00\x00\x00\x00WAVE" + fmtChunk(1, 2, 16), ErrWAVFormat},
		"8 bit PCM":         {"RIFF\x00\x00\x00\x00WAVE" + fmtChunk(1, 1, 8), ErrWAVFormat},
		"huge promise":      {"RIFF\x00\x00\x00\x00WAVE" + fmtChunk(1, 1, 16) + "data\xff\xff\xff\xff", ErrWAVSize},
		"format chunk huge": {"RIFF\x00\x00\x00\x00WAVEfmt \xff\xff\xff\xff", ErrWAV},
	} {
		if _, err := ReadWAV(strings.NewReader(c.body), 1000); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	got, err := ReadWAV(strings.NewReader("RIFF\x00\x00\x00\x00WAVEjunk\x01\x00\x00\x00xx"+fmtChunk(6, 1, 8)+"data\x02\x00\x00\x00\xd5\x55"), 10)
	if err != nil || len(got) != 2 || got[0] != 8 {
		t.Errorf("A-law after an odd chunk: %v, %v", got, err)
	}
}

func FuzzReadWAV(f *testing.F) {
	f.Add([]byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\x04\x00\x00\x00\x01\x00\x02\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		pcm, err := ReadWAV(bytes.NewReader(b), 100)
		if err == nil && len(pcm) > 100 {
			t.Fatalf("%d samples over the limit", len(pcm))
		}
	})
}

func BenchmarkFrame(b *testing.B) {
	ear := NewEar()
	wire := &pipe{codec: ALaw(), to: NewRecorder(Tee{ear})}
	p := NewPlayer(ALaw(), NewTone(440, -10), wire)
	b.ReportAllocs()
	now := time.Duration(0)
	for b.Loop() {
		now += 20 * time.Millisecond
		if err := p.Tick(now); err != nil {
			b.Fatal(err)
		}
	}
}
