package media

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"imsafe/refpoint/mr"
)

// TestMix: each of three hears the other two and not himself; who leaves is heard no more.
func TestMix(t *testing.T) {
	s := newServer(t, nil)
	m := s.NewMix()
	tones := []float64{400, 1000, 2000}
	var parties []*party
	var channels []*channel
	for i := range tones {
		change := mu
		if i == 0 {
			change = nil
		}
		p, c := call(t, s, all(nil), change)
		if err := m.Join(c); err != nil {
			t.Fatal(err)
		}
		parties, channels = append(parties, p), append(channels, c)
	}
	if err := m.Join(channels[0]); !errors.Is(err, mr.ErrBusy) {
		t.Errorf("twice: %v", err)
	}
	now := time.Duration(0)
	talk := func(frames int, speakers ...int) {
		t.Helper()
		for i := range frames {
			for _, k := range speakers {
				before := channels[k].Info().PacketsIn
				pcm := sound(frames*160, -14, tones[k])
				parties[k].says(parties[k].law.Encode(nil, pcm[i*160:(i+1)*160]))
				until(t, "a frame", func() bool { return channels[k].Info().PacketsIn == before+1 })
			}
			s.Tick(now)
			now += 20 * time.Millisecond
		}
	}
	talk(10, 0, 1, 2)
	m.Leave(channels[2])
	parties[2].leg.Close()
	talk(10, 0, 1)
	for k, p := range parties[:2] {
		until(t, "what is mixed", func() bool { return len(p.octets()) == 20*160 })
		pcm := p.law.Decode(nil, p.octets())
		for i, half := range [][]int16{pcm[:1600], pcm[1600:]} {
			for j, hz := range tones {
				l, want := newLine(hz), j != k && (i == 0 || j != 2)
				for _, v := range half {
					l.sample(float64(v))
				}
				if heard := l.energy(1600) > energyOf(-20, 1600); heard != want {
					t.Errorf("party %d, half %d: %v Hz is heard: %v", k, i, hz, heard)
				}
			}
		}
	}
}

func TestMix_loud(t *testing.T) {
	var f [3]mr.Frame
	m := &mix{frames: f[:]}
	for i := range f {
		for k := range f[i] {
			f[i][k] = 30000
		}
	}
	for i := range m.frames {
		for k, v := range m.frames[i] {
			m.sum[k] += int32(v)
		}
	}
	m.without(&m.frames[0])
	if m.frames[0][0] != 32767 {
		t.Errorf("two of 30000 are %d", m.frames[0][0])
	}
}

// BenchmarkMix is 20 ms of a mix with members that have keys, without the system call's receiver.
func BenchmarkMix(b *testing.B) {
	for _, n := range []int{3, 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := newServer(b, func(c *Config) { c.Calls = n })
			m := s.NewMix().(*mix)
			for range n {
				_, c := call(b, s, all(nil), nil)
				if err := m.Join(c); err != nil {
					b.Fatal(err)
				}
			}
			var f mr.Frame
			copy(f[:], sound(160, -10, 440))
			b.ReportAllocs()
			for b.Loop() {
				for _, c := range m.members {
					c.mu.Lock()
					c.mixed.put(&f)
					c.mu.Unlock()
				}
				m.slot()
			}
		})
	}
}

// BenchmarkHear is what 20 ms of a call cost that are listened to for digits.
func BenchmarkHear(b *testing.B) {
	s := newServer(b, nil)
	_, c := call(b, s, all(nil), nil)
	c.ear.digits.on = true
	var f mr.Frame
	copy(f[:], sound(160, -10, 440))
	b.ReportAllocs()
	for b.Loop() {
		c.mu.Lock()
		c.hear(&f)
		c.unlock()
	}
}
