package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"imsafe/client/media"
	"imsafe/client/ue"
)

// voice is what a call plays, records and must hear.
type voice struct {
	Play   string        `help:"Play this WAV file: mono, 8 kHz, PCM or G.711." type:"path" placeholder:"FILE" xor:"play" group:"Voice:"`
	Tone   float64       `help:"Play a tone of this frequency." placeholder:"HZ" xor:"play" group:"Voice:"`
	Record string        `help:"Record what is heard into this new WAV file; with several calls, -2, -3 and so on are added to its name." type:"path" placeholder:"FILE" group:"Voice:"`
	For    time.Duration `help:"Hang up this long after the first voice of the other end. Without it: when the file has been played, or when the other end hangs up." group:"Voice:"`
	Hear   float64       `help:"Fail unless a clean tone of this frequency was heard." placeholder:"HZ" group:"Voice:"`
}

type ueCallCmd struct {
	line
	voice
	Target string        `arg:"" help:"Whom to call: a sip or tel URI, or a name in the home domain."`
	Ring   time.Duration `help:"How long to let it ring." default:"60s"`
	Mute   bool          `help:"It is enough that the call is answered, also by somebody who declines the voice: a service without media. Without --for it ends then." group:"Voice:"`
}

// maxWAV is an hour: a file to be played is read whole.
const maxWAV = 3600 * media.SampleRate

// Run calls.
func (v *ueCallCmd) Run(a *app) error {
	source, err := v.source()
	if err != nil {
		return usage{err}
	}
	return v.with(a, func(p *phone) error {
		rec, err := record(v.Record, 1)
		if err != nil {
			return err
		}
		c, err := p.ue.Call(a.ctx, p.target(v.Target), ue.Voice{Play: source, Listen: rec.sink()})
		if err != nil {
			return errors.Join(err, rec.Close())
		}
		ring, cancel := context.WithTimeout(a.ctx, v.Ring)
		defer cancel()
		if err := v.untilTalking(a, ring, c); err != nil {
			_ = leave(c) // why it failed is known
			if v.Mute && errors.Is(err, ue.ErrMedia) {
				return rec.Close()
			}
			return errors.Join(notAnswered(err, v.Ring), rec.Close())
		}
		if v.Mute && v.For == 0 && v.Play == "" { // it was answered
			return errors.Join(leave(c), rec.Close())
		}
		return errors.Join(v.talk(a, c, rec), rec.Close())
	})
}

func notAnswered(err error, ring time.Duration) error {
	var status *ue.StatusError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("nobody answered in %v", ring)
	case errors.As(err, &status) && status.Code == 404:
		return fmt.Errorf("the call was not answered: %w; the network knows nobody of that name", err)
	case errors.As(err, &status) && status.Code == 480:
		return fmt.Errorf("the call was not answered: %w; is the other end registered?", err)
	}
	return fmt.Errorf("the call was not answered: %w", err)
}

// source opens what is to be played; nil is silence.
func (v *voice) source() (media.Source, error) {
	switch {
	case v.Tone != 0:
		if v.Tone < 100 || v.Tone > 3900 {
			return nil, fmt.Errorf("a tone of %v Hz does not fit through a telephone: 100 to 3900", v.Tone)
		}
		return media.NewTone(v.Tone, -10), nil
	case v.Play != "":
		f, err := os.Open(v.Play)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		pcm, err := media.ReadWAV(f, maxWAV)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.Play, err)
		}
		return media.Clip(pcm, false), nil
	}
	return nil, nil
}

// untilTalking waits until the call stands and its voice has keys.
func (v *voice) untilTalking(a *app, ctx context.Context, c *ue.Call) error {
	answered, secured := false, false
	for !answered || !secured {
		e, err := c.Next(ctx)
		if err != nil {
			return err
		}
		peer, asserted := c.Peer()
		switch e.Kind {
		case ue.Ringing:
			a.happened(event{Event: "ringing", Peer: peer})
		case ue.Answered:
			answered = true
			a.happened(event{Event: "answered", Peer: peer, Asserted: asserted, Vouched: vouched(c), Text: strings.Join(e.Notes, "; ")})
		case ue.Secured:
			secured = true
			a.happened(event{Event: "secured", Leg: "client - client, voice", Protection: e.Reason})
		case ue.Ended:
			if len(e.Notes) > 0 {
				a.happened(event{Event: "refused", Peer: peer, Text: strings.Join(e.Notes, "; ")})
			}
			return endOf(e)
		}
	}
	return nil
}

// vouched says whom the network vouches for; "" where it vouches for nobody, or the client has not asked.
func vouched(c *ue.Call) string {
	if v := c.Vouched(); v.By != "" {
		return v.String()
	}
	return ""
}

// endOf is the error of a call that ended before it was to.
func endOf(e ue.Event) error {
	if e.Err != nil {
		return e.Err
	}
	return &ue.StatusError{Code: e.Code, Reason: e.Reason}
}

// talk lets the call go on for as long as it should, hangs up and judges it.
func (v *voice) talk(a *app, c *ue.Call, rec *recording) error {
	begun := time.Now()
	heard, why := v.goOn(a.ctx, c)
	lasted := time.Since(begun)
	m := c.Media() // before the leg is closed
	err := leave(c)
	peer, asserted := c.Peer()
	report := &voiceReport{Codec: m.Codec, PacketsOut: m.PacketsOut, PacketsIn: m.PacketsIn, Lost: m.Lost, Refused: m.Refused, Recorded: rec.name()}
	if m.Windows > 0 {
		report.Heard = &toneReport{m.Heard.Hz, m.Heard.Level, m.Heard.Purity}
	}
	a.happened(event{Event: "call", Peer: peer, Asserted: asserted, Seconds: lasted.Seconds(), Reason: c.Result().Reason,
		Leg: "client - client, voice", Protection: m.Protection, Voice: report})
	switch {
	case err != nil:
		return err
	case why == endedByPeer && v.For > 0 && lasted < v.For:
		return fmt.Errorf("the call ended after %.1f s of %v: %s", lasted.Seconds(), v.For, c.Result().Reason)
	case why == interrupted && v.For > 0:
		return fmt.Errorf("stopped after %.1f s of %v", lasted.Seconds(), v.For)
	case m.PacketsIn == 0:
		return errors.New("no voice came from the other end")
	case v.Hear > 0 && !heard:
		return fmt.Errorf("no clean tone of %v Hz was heard; last was %.0f Hz at %.1f dBm0", v.Hear, m.Heard.Hz, m.Heard.Level)
	}
	return nil
}

// why a call was not to go on.
type whyEnded int

const (
	endedByUs whyEnded = iota
	endedByPeer
	interrupted
)

// listenEvery is how often a call is asked for what it hears: twice in each of its windows.
const listenEvery = 100 * time.Millisecond

// mute is how long the first voice of the other end may take: one that says nothing is given the time of a call, too.
const mute = 5 * time.Second

// goOn waits for the end of the call, or the reason to end it, and listens. The time that a call is given begins with the voice of the other end: its
// keys may stand later than ours, and on a busy machine much later.
func (v *voice) goOn(ctx context.Context, c *ue.Call) (heard bool, why whyEnded) {
	ear := time.NewTicker(listenEvery)
	defer ear.Stop()
	silent := time.After(mute)
	var limit <-chan time.Time
	begin := func() {
		if v.For > 0 && limit == nil {
			limit = time.After(v.For)
		}
	}
	played := make(chan struct{})
	if v.For == 0 && v.Play != "" {
		listening, stop := context.WithCancel(ctx)
		defer stop()
		go func() {
			if _, err := c.Until(listening, ue.Played); err == nil {
				close(played)
			}
		}()
	}
	for {
		select {
		case <-ear.C:
			m := c.Media()
			heard = heard || v.Hear > 0 && m.Heard.Tone(v.Hear)
			if m.PacketsIn > 0 {
				begin()
			}
			continue
		case <-silent:
			begin()
			continue
		case <-c.Done():
			return heard, endedByPeer
		case <-limit:
		case <-played:
		case <-ctx.Done():
			why = interrupted
		}
		return heard || v.Hear > 0 && c.Media().Heard.Tone(v.Hear), why
	}
}

// leave hangs up and waits for the end.
func leave(c *ue.Call) error {
	c.Hangup()
	select {
	case <-c.Done():
	case <-time.After(goodbye):
		return errors.New("the other end did not answer the BYE")
	}
	if e := c.Result(); e.Err != nil && !errors.Is(e.Err, ue.ErrCancelled) {
		return e.Err
	}
	return nil
}

// recording is a WAV file that is being written. The media leg may write once more while it is closed.
type recording struct {
	path string

	mu   sync.Mutex // guards wav and file
	wav  *media.WAVWriter
	file *os.File
}

// record opens the file of the nth call; without a name nothing is recorded.
func record(path string, nth int) (*recording, error) {
	if path == "" {
		return nil, nil
	}
	if nth > 1 {
		base := strings.TrimSuffix(path, ".wav")
		path = fmt.Sprintf("%s-%d%s", base, nth, path[len(base):])
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%s is there already and is not overwritten: name a new file", path)
	}
	if err != nil {
		return nil, err
	}
	wav, err := media.NewWAVWriter(f)
	return &recording{path: path, wav: wav, file: f}, err
}

func (r *recording) name() string {
	if r == nil {
		return ""
	}
	return r.path
}

// sink is nil for no recording, so that the call does not write to one.
func (r *recording) sink() media.Sink {
	if r == nil {
		return nil
	}
	return r
}

// Write implements media.Sink.
func (r *recording) Write(pcm []int16) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wav == nil {
		return nil
	}
	return r.wav.Write(pcm)
}

// Close makes the file whole.
func (r *recording) Close() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wav == nil {
		return nil
	}
	err := r.wav.Close()
	r.wav = nil
	return errors.Join(err, r.file.Close())
}
