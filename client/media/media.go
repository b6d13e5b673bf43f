// Package media is the voice of the client: G.711, tones and an ear that measures them, WAV files, and a
// player that paces frames.
//
// Standards: ITU-T G.711 (A-law, mu-law) at 8 kHz with 20 ms frames (RFC 3551 4.5.14), RIFF/WAVE files.
// It does not do transports (proto/rtpport), live codecs other than G.711, resampling, devices or echo
// cancelling; a jitter buffer for listening live is not here either: Recorder puts frames where their
// timestamps say. DTMF events (RFC 4733) come later.
//
// Any client room and the tests may import it; it imports nothing of ours. Values are not safe for
// concurrent use unless their doc says so.
package media

import "math"

const (
	// SampleRate of everything in this package, in Hz.
	SampleRate = 8000
	// FrameSamples is one frame of 20 ms.
	FrameSamples = 160
)

// Source gives samples: 16-bit linear, mono, 8 kHz. Read fills pcm and returns how many; io.EOF with
// n < len(pcm) ends it. A Source is read by one goroutine.
type Source interface {
	Read(pcm []int16) (n int, err error)
}

// Sink takes samples in order. It must not keep pcm.
type Sink interface {
	Write(pcm []int16) error
}

// SourceFunc makes a Source of a function.
type SourceFunc func(pcm []int16) (int, error)

// Read calls f.
func (f SourceFunc) Read(pcm []int16) (int, error) { return f(pcm) }

// Silence is an endless Source of zeros.
func Silence() Source {
	return SourceFunc(func(pcm []int16) (int, error) { clear(pcm); return len(pcm), nil })
}

// overload is the level of a sine that just fills the range, in dBm0 (G.711 table 1a note).
const overload = 3.14

func level(peak float64) float64 { return 20*math.Log10(max(peak, 1e-3)/32768) + overload }

func peakOf(dBm0 float64) float64 { return 32768 * math.Pow(10, (dBm0-overload)/20) }
