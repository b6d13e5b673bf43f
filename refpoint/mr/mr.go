// Package mr is the contract between a service and the media server that speaks for it: what an application server asks of an MRF over Mr'
// and Cr (TS 23.228 4.2.4, TS 23.218 8), as Go types.
//
// A service opens a channel with the offer that it was called with and what it may do with media (Terms), answers with Channel.Answer, and
// starts the channel when the answer is acknowledged. Where it calls, or was called without an offer, it offers (Server.Offer) and starts the channel when
// that is answered (Channel.Agree). From then on media end at the media server, under DTLS-SRTP: it plays, records, listens
// for digits and tones, mixes, and hands out frames. It sends nothing and believes nothing before the peer has shown the certificate of its
// description.
//
// Audio is G.711, mono, 8 kHz, in frames of 20 ms. The media server has no clock: the service calls Tick. It imports proto alone. Methods are safe
// for concurrent use and do not wait for the network; the functions of Terms and the done of verbs are called from any goroutine and must not
// block.
package mr

import (
	"time"

	"imsafe/proto/g711"
)

// The frame of this contract.
const (
	FrameTime    = 20 * time.Millisecond
	FrameSamples = 160
)

// Frame is 20 ms of linear samples.
type Frame [FrameSamples]int16

// Terms are what a call may do with media, and who hears of it.
type Terms struct {
	Send, Receive, Record, Mix bool
	// Tones are the frequencies in Hz, beside those of digits, that are listened for: at most MaxTones.
	Tones []float64
	// Tell is told what happens; may be nil.
	Tell func(Event)
}

// MaxTones bounds Terms.Tones.
const MaxTones = 8

// Kind of an Event.
type Kind uint8

// The kinds.
const (
	Secured Kind = iota + 1 // keys stand: media flow
	Digit                   // a key was pressed (RFC 4733), or heard where the peer does not send events
	Tone                    // a tone of Terms.Tones stands, for a tenth of a second at least; once until it ends
	Lost                    // the media ended otherwise than by Close
	Held                    // the peer does not want to hear: what is played waits (RFC 3264 8.4)
	Resumed                 // he does again: it goes on
)

// Event is what happened on a channel.
type Event struct {
	Kind       Kind
	Protection string // of Secured: "DTLS-SRTP AEAD_AES_256_GCM"
	Digit      byte   // '0' to '9', '*', '#', 'A' to 'D'
	Hz         float64
	Err        error // of Lost; nil if the peer has ended its association
}

// Error is a refusal of the media server.
type Error string

// Error returns the text, with the contract's name before it.
func (e Error) Error() string { return "mr: " + string(e) }

// The refusals.
const (
	ErrOffer  = Error("the offer has no audio that may be answered: G.711 under DTLS-SRTP with a certificate")
	ErrFull   = Error("there is no port left, or as many calls as there may be")
	ErrScope  = Error("it is not granted")
	ErrBusy   = Error("it is being done already")
	ErrGone   = Error("the channel is closed")
	ErrLength = Error("a length is missing, or beyond what is allowed")
	ErrSlow   = Error("too many frames wait to be sent")
)

// Source is what is played. Next appends the octets of at most one frame in the law of the call, and reports whether there is more. One
// channel reads it at a time, from Tick: it must not block.
type Source interface {
	Next(dst []byte, law g711.Codec) (out []byte, more bool)
}

// Recording is what was recorded, octets of one law.
type Recording struct {
	Law    string // encoding name: PCMA, PCMU
	Octets []byte
	Full   bool // it ended because it was as long as it might be
}

// Length is how long it is.
func (r *Recording) Length() time.Duration {
	return time.Duration(len(r.Octets)) * time.Second / g711.SampleRate
}

// Info is what is known of a channel.
type Info struct {
	Protection          string // "none yet" before Secured
	Codec               string // encoding name
	PacketsIn, Lost     uint64
	PacketsOut, Dropped uint64            // Dropped frames: nobody took them in time
	Refused             map[string]uint64 // packets that were not let in, by reason
}

// Channel is the end of one call.
type Channel interface {
	// Answer is the description to answer with; nil for a channel that has offered.
	Answer() []byte

	// Agree takes the answer to what the channel has offered, before Start. ErrOffer for one that does not fit or is below the floor, ErrBusy if
	// none is waited for, ErrGone.
	Agree(answer []byte) error

	// Start lets the handshake begin, once it is agreed on. Twice is harmless.
	Start()

	// Reoffer answers a new offer inside the dialog: it may hold and resume, and change nothing else; nil refuses it.
	Reoffer(offer []byte) []byte

	// Play plays a source in the place of what is played, or mixed, and calls done once, when it has ended (nil) or is stopped by another verb or
	// the end of the channel (ErrGone, ErrBusy). It is not called if Play returns an error: ErrScope, ErrGone.
	Play(s Source, done func(error)) error

	// Loop sends back what is heard, in the place of what is played. ErrScope unless it may both receive and send, ErrGone.
	Loop() error

	// Hush ends Play, Loop and what Send has queued.
	Hush()

	// Record keeps what is heard, for limit at most, and calls done once: when it is as long, at Stop or at the end of the channel. The
	// other end hears the recording tone. ErrScope unless it may record, ErrBusy, ErrLength, ErrGone.
	Record(limit time.Duration, done func(*Recording)) error

	// Stop ends Record.
	Stop()

	// Listen gives hear what is heard, in order, with silence in the place of what was lost; a frame is lent. nil ends it. hear must not
	// block, nor use the channel; it is not called after Close has returned. ErrScope, ErrGone.
	Listen(hear func(*Frame)) error

	// Send queues a frame, in the place of what is played. ErrSlow if too many wait, ErrScope, ErrGone.
	Send(f *Frame) error

	// Info returns what is known now.
	Info() Info

	// Close ends the channel and returns its port. Twice is harmless.
	Close()
}

// Mix is a conference: each of its channels hears the sum of the others.
type Mix interface {
	// Join adds a channel of the same server, in the place of what it plays. ErrScope unless it may mix, ErrFull, ErrGone, ErrBusy for one
	// that is in a mix.
	Join(c Channel) error

	// Leave takes one out. One that is closed has left.
	Leave(c Channel)
}

// Server is a media server.
type Server interface {
	// Open reserves a port and keys for a call and answers its offer. ErrOffer, ErrFull, ErrScope for terms that allow nothing.
	Open(offer []byte, t Terms) (Channel, error)

	// Offer reserves a port and keys for a call that the service begins, or that came without an offer, and offers audio for it. ErrFull, ErrScope.
	Offer(t Terms) (c Channel, offer []byte, err error)

	// NewMix makes a mix without channels. It needs no closing.
	NewMix() Mix

	// Tick sends what is due at now, a monotonic time of any origin: every 20 ms, or what is late at once.
	Tick(now time.Duration)

	// Close closes all channels, and returns when nothing of them is left.
	Close()
}
