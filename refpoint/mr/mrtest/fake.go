package mrtest

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"time"

	"imsafe/proto/g711"
	"imsafe/proto/sdp"
	"imsafe/refpoint/mr"
)

// Fake is a media server without sockets: its calls are secured when a test says so, and what is heard is what a test says. Playing takes
// the time that it takes, by Tick.
type Fake struct {
	mu       sync.Mutex
	calls    int
	closed   bool
	next     uint16
	channels []*Call
}

// Call is a channel of the fake.
type Call struct {
	Terms mr.Terms

	fake     *Fake
	answer   []byte
	offered  *sdp.Session
	agreed   sdp.Agreed
	local    sdp.Local
	started  bool
	closed   bool
	looping  bool
	source   mr.Source
	played   func(error)
	recorded func(*mr.Recording)
	kept     []byte
	limit    int
	listener func(*mr.Frame)
	sent     int // frames
	mix      *fakeMix
	last     time.Duration
}

var (
	_ mr.Server  = (*Fake)(nil)
	_ mr.Channel = (*Call)(nil)
)

// NewFake makes one with room for so many calls.
func NewFake(calls int) *Fake { return &Fake{calls: calls, next: 30000} }

// Open implements mr.Server.
func (f *Fake) Open(offer []byte, t mr.Terms) (mr.Channel, error) {
	if !t.Send && !t.Receive && !t.Record && !t.Mix {
		return nil, mr.ErrScope
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.call(t)
	answer, agreed, err := c.judge(offer, c.local)
	switch {
	case err != nil:
		return nil, mr.ErrOffer
	case f.closed || len(f.channels) == f.calls:
		return nil, mr.ErrFull
	}
	c.answer, c.agreed = answer, agreed
	f.channels = append(f.channels, c)
	return c, nil
}

// call makes a channel with a port and a certificate. f.mu is held.
func (f *Fake) call(t mr.Terms) *Call {
	f.next += 2
	return &Call{Terms: t, fake: f, local: sdp.Local{ID: uint64(f.next), Version: 1, Address: netip.AddrFrom4([4]byte{127, 0, 0, 1}), Port: f.next,
		Fingerprints: []sdp.Fingerprint{sdp.NewFingerprint(binary.BigEndian.AppendUint16(nil, f.next))}}}
}

// Offer implements mr.Server.
func (f *Fake) Offer(t mr.Terms) (mr.Channel, []byte, error) {
	if !t.Send && !t.Receive && !t.Record && !t.Mix {
		return nil, nil, mr.ErrScope
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || len(f.channels) == f.calls {
		return nil, nil, mr.ErrFull
	}
	c := f.call(t)
	c.offered = sdp.NewOffer(c.local, capabilities())
	b, err := c.offered.Marshal()
	if err != nil {
		return nil, nil, err
	}
	f.channels = append(f.channels, c)
	return c, b, nil
}

// Agree implements mr.Channel.
func (c *Call) Agree(body []byte) error {
	c.fake.mu.Lock()
	defer c.fake.mu.Unlock()
	switch {
	case c.closed:
		return mr.ErrGone
	case c.offered == nil:
		return mr.ErrBusy
	}
	answer, err := sdp.Parse(body, sdp.Limits{})
	if err == nil {
		c.agreed, err = sdp.Match(c.offered, answer, capabilities())
	}
	if err != nil {
		return mr.ErrOffer
	}
	c.offered = nil
	return nil
}

func capabilities() sdp.Capabilities {
	return sdp.Capabilities{Audio: []sdp.Codec{sdp.PCMA(), sdp.PCMU()}, DTMF: true}
}

func (c *Call) judge(offer []byte, l sdp.Local) ([]byte, sdp.Agreed, error) {
	parsed, err := sdp.Parse(offer, sdp.Limits{})
	if err != nil {
		return nil, sdp.Agreed{}, err
	}
	answer, agreed, err := sdp.Answer(parsed, l, capabilities())
	if err != nil {
		return nil, agreed, err
	}
	b, err := answer.Marshal()
	return b, agreed, err
}

// Calls are those that are open, oldest first.
func (f *Fake) Calls() []*Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.channels)
}

// Tick implements mr.Server.
func (f *Fake) Tick(now time.Duration) {
	for _, c := range f.Calls() {
		c.tick(now)
	}
}

// Close implements mr.Server.
func (f *Fake) Close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	for _, c := range f.Calls() {
		c.Close()
	}
}

// tick reads one frame of what is played.
func (c *Call) tick(now time.Duration) {
	c.fake.mu.Lock()
	source, done := c.source, c.played
	if now-c.last < mr.FrameTime || !c.agreed.Send {
		source = nil
	}
	if source != nil {
		c.last = now
	}
	c.fake.mu.Unlock()
	if source == nil {
		return
	}
	out, more := source.Next(nil, g711.ALaw())
	c.fake.mu.Lock()
	if len(out) > 0 {
		c.sent++
	}
	if !more {
		c.source, c.played = nil, nil
	}
	c.fake.mu.Unlock()
	if !more && done != nil {
		done(nil)
	}
}

// Secure tells that the keys stand.
func (c *Call) Secure() { c.tell(mr.Event{Kind: mr.Secured, Protection: "DTLS-SRTP of the fake"}) }

// Press tells of a digit.
func (c *Call) Press(digit byte) { c.tell(mr.Event{Kind: mr.Digit, Digit: digit}) }

// Tone tells of a tone.
func (c *Call) Tone(hz float64) { c.tell(mr.Event{Kind: mr.Tone, Hz: hz}) }

// Lose ends the channel from the other side.
func (c *Call) Lose(err error) {
	c.tell(mr.Event{Kind: mr.Lost, Err: err})
	c.Close()
}

func (c *Call) tell(e mr.Event) {
	if c.Terms.Tell != nil {
		c.Terms.Tell(e)
	}
}

// Hear lets a frame be heard.
func (c *Call) Hear(f *mr.Frame) {
	c.fake.mu.Lock()
	listener := c.listener
	if c.recorded != nil {
		c.kept = g711.ALaw().Encode(c.kept, f[:])
		if len(c.kept) >= c.limit {
			defer c.Stop()
		}
	}
	c.fake.mu.Unlock()
	if listener != nil {
		listener(f)
	}
}

// Mixed says whether it is in a mix.
func (c *Call) Mixed() bool {
	c.fake.mu.Lock()
	defer c.fake.mu.Unlock()
	return c.mix != nil
}

// Held says whether the other end does not want to hear it.
func (c *Call) Held() bool {
	c.fake.mu.Lock()
	defer c.fake.mu.Unlock()
	return !c.agreed.Send
}

// Started says whether the service has started the channel.
func (c *Call) Started() bool {
	c.fake.mu.Lock()
	defer c.fake.mu.Unlock()
	return c.started
}

// Looping says whether it sends back what it hears.
func (c *Call) Looping() bool {
	c.fake.mu.Lock()
	defer c.fake.mu.Unlock()
	return c.looping
}

// Sent is how many frames were played or sent.
func (c *Call) Sent() int {
	c.fake.mu.Lock()
	defer c.fake.mu.Unlock()
	return c.sent
}

// Answer implements mr.Channel.
func (c *Call) Answer() []byte { return c.answer }

// Start implements mr.Channel.
func (c *Call) Start() {
	c.fake.mu.Lock()
	defer c.fake.mu.Unlock()
	c.started = true
}

// Reoffer implements mr.Channel.
func (c *Call) Reoffer(offer []byte) []byte {
	c.fake.mu.Lock()
	l := c.local
	l.Version++
	answer, agreed, err := c.judge(offer, l)
	if err != nil || c.offered != nil || agreed.Remote != c.agreed.Remote || !slices.Equal(agreed.Fingerprints, c.agreed.Fingerprints) {
		c.fake.mu.Unlock()
		return nil
	}
	c.local.Version++
	before := c.agreed.Send
	c.agreed.Send, c.agreed.Receive = agreed.Send, agreed.Receive
	c.fake.mu.Unlock()
	switch {
	case before && !agreed.Send:
		c.tell(mr.Event{Kind: mr.Held})
	case !before && agreed.Send:
		c.tell(mr.Event{Kind: mr.Resumed})
	}
	return answer
}

// may returns why something cannot be done, and takes the lock if it can.
func (c *Call) may(granted bool) error {
	c.fake.mu.Lock()
	switch {
	case c.closed:
		c.fake.mu.Unlock()
		return mr.ErrGone
	case !granted:
		c.fake.mu.Unlock()
		return mr.ErrScope
	}
	return nil
}

// silence ends what is played, and gives up the lock.
func (c *Call) silence(why error, then func()) {
	done := c.played
	c.source, c.played, c.looping = nil, nil, false
	then()
	c.fake.mu.Unlock()
	if done != nil {
		done(why)
	}
}

// Play implements mr.Channel.
func (c *Call) Play(s mr.Source, done func(error)) error {
	if err := c.may(c.Terms.Send); err != nil {
		return err
	}
	c.silence(mr.ErrBusy, func() { c.source, c.played = s, done })
	return nil
}

// Loop implements mr.Channel.
func (c *Call) Loop() error {
	if err := c.may(c.Terms.Send && c.Terms.Receive); err != nil {
		return err
	}
	c.silence(mr.ErrBusy, func() { c.looping = true })
	return nil
}

// Hush implements mr.Channel.
func (c *Call) Hush() {
	c.fake.mu.Lock()
	c.silence(mr.ErrBusy, func() {})
}

// Send implements mr.Channel.
func (c *Call) Send(*mr.Frame) error {
	if err := c.may(c.Terms.Send); err != nil {
		return err
	}
	c.silence(mr.ErrBusy, func() { c.sent++ })
	return nil
}

// Listen implements mr.Channel.
func (c *Call) Listen(hear func(*mr.Frame)) error {
	if err := c.may(c.Terms.Receive); err != nil {
		return err
	}
	c.listener = hear
	c.fake.mu.Unlock()
	return nil
}

// Record implements mr.Channel.
func (c *Call) Record(limit time.Duration, done func(*mr.Recording)) error {
	if err := c.may(c.Terms.Record); err != nil {
		return err
	}
	defer c.fake.mu.Unlock()
	switch {
	case c.recorded != nil:
		return mr.ErrBusy
	case limit < mr.FrameTime:
		return mr.ErrLength
	}
	c.recorded, c.kept, c.limit = done, nil, int(limit*g711.SampleRate/time.Second)
	return nil
}

// Stop implements mr.Channel.
func (c *Call) Stop() {
	c.fake.mu.Lock()
	done, r := c.recorded, &mr.Recording{Law: "PCMA", Octets: c.kept, Full: c.limit > 0 && len(c.kept) >= c.limit}
	c.recorded = nil
	c.fake.mu.Unlock()
	if done != nil {
		done(r)
	}
}

// Info implements mr.Channel.
func (c *Call) Info() mr.Info {
	return mr.Info{Protection: "DTLS-SRTP of the fake", Codec: "PCMA", PacketsOut: uint64(c.Sent())}
}

// Close implements mr.Channel.
func (c *Call) Close() {
	c.fake.mu.Lock()
	if c.closed {
		c.fake.mu.Unlock()
		return
	}
	c.fake.channels = slices.DeleteFunc(c.fake.channels, func(d *Call) bool { return d == c })
	c.silence(mr.ErrGone, func() { c.closed, c.mix, c.listener = true, nil, nil })
	c.Stop()
}

// fakeMix remembers who is in it.
type fakeMix struct{ fake *Fake }

// NewMix implements mr.Server.
func (f *Fake) NewMix() mr.Mix { return &fakeMix{f} }

// Join implements mr.Mix.
func (m *fakeMix) Join(of mr.Channel) error {
	c, ours := of.(*Call)
	if !ours {
		return mr.ErrGone
	}
	if err := c.may(c.Terms.Mix); err != nil {
		return err
	}
	defer c.fake.mu.Unlock()
	if c.mix != nil {
		return mr.ErrBusy
	}
	c.mix = m
	return nil
}

// Leave implements mr.Mix.
func (m *fakeMix) Leave(of mr.Channel) {
	if c, ours := of.(*Call); ours {
		c.fake.mu.Lock()
		defer c.fake.mu.Unlock()
		if c.mix == m {
			c.mix = nil
		}
	}
}
