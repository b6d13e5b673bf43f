package load

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"imsafe/proto/secagree"
	"imsafe/proto/sip"
)

// wire carries the messages of one worker's UEs.
type wire interface {
	// send gives b to the network for UE number i. b is free when it returns.
	send(u *ue, i int32, b []byte)
	// flush lets go what was gathered.
	flush() error
	// poll waits at most so long for something to come, and gives each message to receive.
	poll(wait time.Duration, receive func(i int32, data []byte)) error
	reliable() bool
	// drops is how many datagrams this host lost because the worker was late.
	drops() uint64
	close() error
}

// worker is a loop over some UEs. Nothing of it is shared with other workers.
type worker struct {
	target  *Target
	clock   func() time.Duration
	wire    wire
	pool    *sip.Pool
	seals   bool // ESP
	profile secagree.Profile
	ues     []ue
	number  int

	fired    func(timer int32) // made once: a method as a value is an allocation
	received func(i int32, data []byte)

	domain, registrar               []byte
	sentProtocol, mark              string
	contactParams                   string
	patience, ring, holding, thinks time.Duration
	registered, unregistered        crew
	spent                           crew // who has been called, if nobody is called twice
	once                            bool
	plays                           []play
	free                            int32
	wheel                           wheel
	arrivals                        *arrivals
	now, ending                     time.Duration
	serial, branch                  uint32
	underWay, recorded, failures    int
	recording                       bool
	stats                           stats
	last                            Failure
	buffers                         [][]byte
	line, key                       []byte
	scratch                         scratch
	voice                           *voice // nil without media
}

func newWorker(t *Target, number int, mark string, subscribers []Subscriber, first, step int, clock func() time.Duration) *worker {
	w := &worker{target: t, clock: clock, number: number, pool: sip.NewPool(sip.Limits{}), free: -1, mark: fmt.Sprintf("%s%d", mark, number),
		domain: []byte(t.Domain), registrar: []byte("sip:" + t.Domain), sentProtocol: "UDP"}
	switch t.Transport {
	case TCP:
		w.sentProtocol, w.contactParams = "TCP", ";transport=tcp"
	case TLS:
		w.sentProtocol, w.contactParams = "TLS", ";transport=tls"
	}
	k := &w.scratch
	k.auth, k.cnonce, k.register = []byte("auth"), []byte("0a4f113b"), []byte("REGISTER")
	k.nc = []byte("00000001") // each challenge is answered once
	k.autsText = make([]byte, 0, 32)
	w.fired, w.received = w.fire, w.receive
	w.stats.Failures = map[Failure]uint64{}
	for i := first; i < len(subscribers); i += step {
		w.ues = append(w.ues, ue{sub: &subscribers[i], addr: t.Clients.At(i), proxy: t.Proxies[i%len(t.Proxies)], play: -1})
	}
	for i := range w.ues {
		w.unregistered.put(w.ues, int32(i))
	}
	return w
}

// sentBy is the address in the Via of u, contactAt that of his Contact.
// With associations the one is the protected server port from the first protected message on, the other from the beginning.
func (w *worker) sentBy(u *ue) netip.AddrPort {
	if w.seals && u.security.using().stands {
		return w.contactAt(u)
	}
	return u.addr
}

func (w *worker) contactAt(u *ue) netip.AddrPort {
	if w.seals {
		return netip.AddrPortFrom(u.addr.Addr(), serverPort)
	}
	return u.addr
}

// routeTo is where the P-CSCF of u takes requests: with associations, its protected server port.
func (w *worker) routeTo(u *ue) netip.AddrPort {
	if w.seals {
		return netip.AddrPortFrom(u.proxy.Addr(), u.security.using().port)
	}
	return u.proxy
}

func (w *worker) newBranch() uint32 {
	w.branch++
	return w.branch
}

// load is what a worker is asked to do: arrivals from begin to end, of which those from measure on are recorded.
type load struct {
	mix                 Mix
	rate                float64
	seed                uint64
	begin, measure, end time.Duration
	patience            time.Duration
	ring, holding       time.Duration
	thinks              time.Duration
	once                bool
}

// drain is how long calls that are still up at the end have to end.
const drain = 3 * time.Second

// run offers the load, then waits until all that was recorded has ended.
func (w *worker) run(ctx context.Context, l *load) error {
	w.patience, w.ring, w.holding, w.thinks, w.once, w.ending = l.patience, l.ring, l.holding, l.thinks, l.once, 0
	w.arrivals = newArrivals(l.seed+uint64(w.number), l.mix, l.rate, l.begin)
	w.stats = stats{Failures: map[Failure]uint64{}}
	if w.voice != nil {
		w.voice.from, w.voice.until, w.voice.said = l.measure, l.end, voiceStats{}
	}
	for ctx.Err() == nil {
		w.now = w.clock()
		w.wheel.advance(w.now, w.fired)
		for w.now < l.end || w.ending == 0 {
			kind, at, ok := w.arrivals.due(min(w.now, l.end))
			if !ok {
				break
			}
			w.recording = at >= l.measure
			if w.recording {
				w.stats.late.add(w.now - at)
			}
			if !w.beginPlay(kind, at) && w.recording {
				w.stats.Starved++
			}
		}
		if w.now >= l.end && w.ending == 0 {
			w.wind(l)
		}
		if err := w.wire.flush(); err != nil {
			return err
		}
		if w.ending != 0 && w.underWay == 0 {
			break
		}
		wait := tick
		if w.ending == 0 {
			wait = min(wait, max(w.arrivals.next-w.now, 0))
		}
		if w.voice != nil {
			wait = min(wait, voiceWait)
			if err := w.voice.hear(w); err != nil {
				return err
			}
			w.voice.say(w)
		}
		if err := w.poll(wait); err != nil {
			return err
		}
	}
	w.recording = false
	return ctx.Err()
}

// wind begins the end: no more arrivals, and calls that are up end within drain.
func (w *worker) wind(*load) {
	w.ending = w.now + drain
	for id := range w.plays {
		p := &w.plays[id]
		for of := range p.side {
			if p.busy && p.side[of].waits == holding {
				w.hold(int32(id), of)
			}
		}
	}
}

func (w *worker) poll(wait time.Duration) error {
	return w.wire.poll(wait, w.received)
}

// tellEvery is how often Settings.Told hears of registrations.
const tellEvery = 10 * time.Second

// prepare registers UEs until so many are, with at most window of them on their way.
func (w *worker) prepare(ctx context.Context, count, window int, s *Settings) error {
	w.patience, w.thinks, w.ending = s.Patience, s.Card, 1
	tell := w.clock() + tellEvery
	w.arrivals = newArrivals(1, StandardMix(), 1, w.clock())
	w.failures = 0
	for tries := 0; ctx.Err() == nil && (len(w.registered.members) < count || w.underWay > 0); {
		w.now = w.clock()
		w.wheel.advance(w.now, w.fired)
		if s.Told != nil && w.now >= tell {
			s.Told(len(w.registered.members))
			tell += tellEvery
		}
		for w.underWay < window && len(w.registered.members)+w.underWay < count && w.beginPlay(Registration, w.now) {
			tries++
		}
		if w.failures > 20 && w.failures > tries/4 {
			return fmt.Errorf("of %d registrations %d failed, the last one: %v", tries, w.failures, &w.last)
		}
		if err := w.wire.flush(); err != nil {
			return err
		}
		if err := w.poll(tick); err != nil {
			return err
		}
	}
	return ctx.Err()
}
