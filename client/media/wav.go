package media

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Errors of WAV files.
var (
	ErrWAV       = errors.New("media: not a WAV file")
	ErrWAVFormat = errors.New("media: WAV file is not mono, 8 kHz, PCM 16 bit or G.711")
	ErrWAVSize   = errors.New("media: WAV file too long")
)

const (
	formatPCM   = 1
	formatALaw  = 6
	formatMuLaw = 7
)

// ReadWAV reads a whole file of at most maxSamples samples. Mono, 8 kHz; PCM of 16 bits, A-law or mu-law.
// Other chunks are skipped. Errors: ErrWAV, ErrWAVFormat (says what was found), ErrWAVSize, or the reader's.
func ReadWAV(r io.Reader, maxSamples int) ([]int16, error) {
	var h [12]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWAV, err)
	}
	if string(h[:4]) != "RIFF" || string(h[8:]) != "WAVE" {
		return nil, ErrWAV
	}
	var format uint16
	for {
		var c [8]byte
		if _, err := io.ReadFull(r, c[:]); err != nil {
			return nil, fmt.Errorf("%w: no data chunk: %w", ErrWAV, err)
		}
		size := binary.LittleEndian.Uint32(c[4:])
		var err error
		switch string(c[:4]) {
		case "fmt ":
			format, err = readFormat(r, size)
		case "data":
			return readData(r, format, size, maxSamples)
		default:
			_, err = io.CopyN(io.Discard, r, int64(size)+int64(size&1)) // chunks are padded to even
		}
		if err != nil {
			return nil, err
		}
	}
}

func readFormat(r io.Reader, size uint32) (uint16, error) {
	if size < 16 || size > 1024 {
		return 0, ErrWAV
	}
	b := make([]byte, size+size&1)
	if _, err := io.ReadFull(r, b); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrWAV, err)
	}
	le := binary.LittleEndian
	format, channels, rate, depth := le.Uint16(b), le.Uint16(b[2:]), le.Uint32(b[4:]), le.Uint16(b[14:])
	g711 := (format == formatALaw || format == formatMuLaw) && depth == 8
	if channels != 1 || rate != SampleRate || !(g711 || format == formatPCM && depth == 16) {
		return 0, fmt.Errorf("%w: format %d, %d channels, %d Hz, %d bit", ErrWAVFormat, format, channels, rate, depth)
	}
	return format, nil
}

func readData(r io.Reader, format uint16, size uint32, maxSamples int) ([]int16, error) {
	octets := 1
	switch format {
	case 0:
		return nil, fmt.Errorf("%w: data before format", ErrWAV)
	case formatPCM:
		octets = 2
	}
	if int64(size) > int64(maxSamples)*int64(octets) {
		return nil, ErrWAVSize
	}
	// A broken file may promise more than it holds: memory follows what is really there.
	b, err := io.ReadAll(io.LimitReader(r, int64(size)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWAV, err)
	}
	switch format {
	case formatALaw:
		return ALaw().Decode(nil, b), nil
	case formatMuLaw:
		return MuLaw().Decode(nil, b), nil
	}
	pcm := make([]int16, len(b)/2)
	for i := range pcm {
		pcm[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return pcm, nil
}

// WAVWriter is a Sink that writes PCM of 16 bits, mono, 8 kHz. Close makes the file whole.
type WAVWriter struct {
	w       io.WriteSeeker
	samples uint32
	buf     []byte
}

const wavHeader = 44

// NewWAVWriter starts a file at the current position of w, which it keeps but does not close.
func NewWAVWriter(w io.WriteSeeker) (*WAVWriter, error) {
	f := &WAVWriter{w: w}
	return f, f.header()
}

func (f *WAVWriter) header() error {
	size := f.samples * 2
	le := binary.LittleEndian
	b := append(make([]byte, 0, wavHeader), "RIFF"...)
	b = le.AppendUint32(b, wavHeader-8+size)
	b = append(b, "WAVEfmt "...)
	b = le.AppendUint32(b, 16)
	b = le.AppendUint16(b, formatPCM)
	b = le.AppendUint16(b, 1) // channels
	b = le.AppendUint32(b, SampleRate)
	b = le.AppendUint32(b, SampleRate*2) // octets per second
	b = le.AppendUint16(b, 2)            // octets per sample
	b = le.AppendUint16(b, 16)
	b = append(b, "data"...)
	b = le.AppendUint32(b, size)
	_, err := f.w.Write(b)
	return err
}

// Write appends samples; ErrWAVSize when the format's 4 GiB are full.
func (f *WAVWriter) Write(pcm []int16) error {
	const most = 1<<31 - wavHeader
	if uint64(f.samples)+uint64(len(pcm)) > most {
		return ErrWAVSize
	}
	f.buf = f.buf[:0]
	for _, s := range pcm {
		f.buf = binary.LittleEndian.AppendUint16(f.buf, uint16(s))
	}
	n, err := f.w.Write(f.buf)
	f.samples += uint32(n / 2)
	return err
}

// Close writes the sizes into the header and leaves the position at the end.
func (f *WAVWriter) Close() error {
	if _, err := f.w.Seek(-int64(f.samples)*2-wavHeader, io.SeekCurrent); err != nil {
		return err
	}
	if err := f.header(); err != nil {
		return err
	}
	_, err := f.w.Seek(int64(f.samples)*2, io.SeekCurrent)
	return err
}
