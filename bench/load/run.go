package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Settings are how a target is loaded. The zero value means the defaults named at each field.
type Settings struct {
	Mix      Mix           `json:"mix"`             // shares, in the order registration, re-registration, de-registration, call, message
	Rate     float64       `json:"rate"`            // scenarios a second
	Time     time.Duration `json:"time_ns"`         // that is measured; default 10 s
	Warm     time.Duration `json:"warm_ns"`         // load before that; default 2 s and three times Hold
	Hold     time.Duration `json:"hold_ns"`         // mean length of a call, exponentially distributed; default 10 s
	Ring     time.Duration `json:"ring_ns"`         // mean time until a user answers, exponentially distributed; default none
	Card     time.Duration `json:"card_ns"`         // what a card takes to answer a challenge; default nothing
	Patience time.Duration `json:"patience_ns"`     // what has no answer for so long is handled inadequately; default 8 s
	Seed     uint64        `json:"seed"`            // of arrivals and choices
	PIDs     []int         `json:"pids"`            // processes under test; their children count too
	Window   int           `json:"window"`          // registrations on their way at once while UEs are prepared; default 64
	Settle   time.Duration `json:"settle_ns"`       // between the last registration and the sample of memory: transactions live for 32 s; default nothing
	Media    Media         `json:"media,omitempty"` // of calls; default none
	Once     bool          `json:"once"`            // nobody is called or written to twice in the generator's life
	MaxLate  time.Duration `json:"max_late_ns"`     // the generator was the bottleneck if one arrival, or one packet of voice, in a hundred was later; default 50 ms

	Told func(registered int) `json:"-"` // hears every ten seconds how many UEs of a worker Prepare has registered; nil: nobody
}

func (s *Settings) defaults() {
	set(&s.Time, 10*time.Second)
	set(&s.Hold, 10*time.Second)
	set(&s.Patience, 8*time.Second)
	set(&s.Window, 64)
	set(&s.MaxLate, 50*time.Millisecond)
	if s.Warm == 0 {
		s.Warm = 2 * time.Second
		if s.Mix[Call] > 0 {
			s.Warm += 3 * s.Hold
		}
	}
}

// Generator has the UEs of a target. Close ends it.
type Generator struct {
	target  *Target
	clock   func() time.Duration
	workers []*worker
	ues     int
}

// Open opens the sockets of all UEs, for so many workers. mark makes Call-IDs and branches differ from those of other runs: letters and digits.
func Open(t *Target, subscribers []Subscriber, workers int, mark string) (*Generator, error) {
	set(&workers, 1)
	t.Clients.Ports = max(t.Clients.Ports, workers)
	switch {
	case len(subscribers) == 0:
		return nil, errors.New("no subscribers")
	case t.Clients.Ports%workers != 0:
		return nil, fmt.Errorf("%d ports cannot be shared by %d workers", t.Clients.Ports, workers)
	case t.Clients.Len() < len(subscribers):
		return nil, fmt.Errorf("%d subscribers, and only %d pairs of address and port in %v", len(subscribers), t.Clients.Len(), t.Clients.Addresses)
	}
	began := time.Now()
	g := &Generator{target: t, clock: func() time.Duration { return time.Since(began) }, ues: len(subscribers)}
	for k := range workers {
		w := newWorker(t, k, mark, subscribers, k, workers, g.clock)
		if err := w.open(k, workers); err != nil {
			return nil, errors.Join(err, g.Close())
		}
		g.workers = append(g.workers, w)
	}
	return g, nil
}

// open opens the worker's wire.
func (w *worker) open(k, workers int) (err error) {
	switch w.target.Transport {
	case UDP:
		w.wire, err = newPacketWire(w.target.Clients, k, workers, workers)
	case TCP:
		w.wire, err = newStreamWire(w, nil)
	case TLS:
		var config *tls.Config
		if config, err = w.target.TLS.config(); err == nil {
			w.wire, err = newStreamWire(w, config)
		}
	case ESP:
		w.secure()
		packets, err := newPacketWire(w.target.Clients, k, workers, workers)
		if err != nil {
			return err
		}
		sealed := &sealedWire{packetWire: packets, ues: w.ues, port: w.target.ESP.Port}
		packets.opener, w.wire = sealed.open, sealed
	}
	return err
}

// config is that of a TLS client that trusts the authority of the target.
func (t *TLSTarget) config() (*tls.Config, error) {
	c := &tls.Config{ServerName: t.Name, MinVersion: tls.VersionTLS12}
	if t.Authority == "" {
		return c, nil
	}
	pem, err := os.ReadFile(t.Authority)
	if err != nil {
		return nil, err
	}
	if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate", t.Authority)
	}
	return c, nil
}

// Close closes all sockets. Who is registered stays so at the target.
func (g *Generator) Close() (err error) {
	for _, w := range g.workers {
		if w.wire != nil {
			err = errors.Join(err, w.wire.close())
		}
		if w.voice != nil {
			w.voice.socket.Close()
		}
	}
	g.workers = nil
	return err
}

// each lets all workers do something.
func (g *Generator) each(do func(w *worker) error) error {
	errs := make([]error, len(g.workers))
	var all sync.WaitGroup
	for i, w := range g.workers {
		all.Go(func() { errs[i] = do(w) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// Prepared is what the registrations before a load took.
type Prepared struct {
	UEs        int       `json:"ues"`
	Registered int       `json:"registered"`
	Done       int       `json:"done"`      // registrations that this took
	Seconds    float64   `json:"seconds"`   //
	Processes  []Process `json:"processes"` // resident_octets at the end
	Grown      int64     `json:"grown"`     // octets of memory of all processes, from before to after
}

// String tells it in a line.
func (p *Prepared) String() string {
	text := fmt.Sprintf("%d of %d UEs are registered; %d registrations in %.1f s", p.Registered, p.UEs, p.Done, p.Seconds)
	if cpu := p.cpu(); cpu > 0 && p.Done > 0 {
		text += fmt.Sprintf(", %.1f us of CPU and %d octets of memory each", cpu/float64(p.Done), p.Grown/int64(p.Done))
	}
	return text
}

func (p *Prepared) cpu() (sum float64) {
	for _, q := range p.Processes {
		sum += (q.User + q.System) * 1e6
	}
	return sum
}

// share is how many of all UEs a mix wants registered when it begins.
func (m *Mix) share() float64 {
	switch {
	case m.only(Registration):
		return 0
	case m[Registration] > 0:
		return 0.9
	}
	return 1
}

// Prepare registers as many UEs as the mix of s wants registered when it begins.
func (g *Generator) Prepare(ctx context.Context, s *Settings) (*Prepared, error) {
	s.defaults()
	pids, err := family(s.PIDs)
	if err != nil {
		return nil, err
	}
	before, err := Sample(pids)
	if err != nil {
		return nil, err
	}
	p, began := &Prepared{UEs: g.ues, Done: -g.registered()}, g.clock()
	err = g.each(func(w *worker) error {
		return w.prepare(ctx, int(s.Mix.share()*float64(len(w.ues)-len(w.spent.members))), max(s.Window/len(g.workers), 1), s)
	})
	if err != nil {
		return nil, err
	}
	p.Registered, p.Seconds = g.registered(), (g.clock() - began).Seconds()
	p.Done += p.Registered
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(s.Settle):
	}
	after, err := Sample(pids)
	p.Processes = Used(before, after)
	for i := range after {
		p.Grown += int64(after[i].Resident) - int64(before[i].Resident)
	}
	return p, err
}

func (g *Generator) registered() (n int) {
	for _, w := range g.workers {
		n += len(w.registered.members)
	}
	return n
}

// Run offers a load and reports. It returns when all that was measured has ended. The error is for a run that could not be: a socket that
// failed, a process that is not there, ctx.
func (g *Generator) Run(ctx context.Context, s Settings) (*Report, error) {
	s.defaults()
	if !(s.Rate > 0 && s.Rate < 1e7) || s.Mix.total() <= 0 {
		return nil, errors.New("a load needs a rate and a mix")
	}
	pids, err := family(s.PIDs)
	if err != nil {
		return nil, err
	}
	for _, w := range g.workers {
		if err := w.openVoice(s.Media, len(g.workers)); err != nil {
			return nil, err
		}
	}
	begin := g.clock() + 10*time.Millisecond
	l := &load{mix: s.Mix, rate: s.Rate / float64(len(g.workers)), seed: s.Seed, begin: begin, measure: begin + s.Warm, end: begin + s.Warm + s.Time,
		patience: s.Patience, ring: s.Ring, holding: s.Hold, thinks: s.Card, once: s.Once}
	r := &Report{Target: g.target.Domain + " over " + string(g.target.Transport), Rate: s.Rate, Seconds: s.Time.Seconds(), UEs: g.ues, Settings: s, Limits: []string{}}
	done := make(chan error, 1)
	lost := g.lost()
	go func() { done <- g.each(func(w *worker) error { return w.run(ctx, l) }) }()
	before, own, err := g.measure(ctx, l.measure, pids)
	if err == nil {
		var after []Process
		var ownAfter self
		after, ownAfter, err = g.measure(ctx, l.end, pids)
		if err == nil {
			r.Processes, r.Generator.Busy = Used(before, after), (ownAfter.cpu-own.cpu).Seconds()/s.Time.Seconds()/float64(len(g.workers))
		}
		own = self{ownAfter.cpu - own.cpu, ownAfter.allocations - own.allocations}
	}
	if err := errors.Join(err, <-done); err != nil {
		return nil, err
	}
	g.sum(r, own, g.lost()-lost)
	return r, nil
}

// measure waits for a moment and samples the processes and ourselves.
func (g *Generator) measure(ctx context.Context, at time.Duration, pids []int) ([]Process, self, error) {
	select {
	case <-ctx.Done():
		return nil, self{}, ctx.Err()
	case <-time.After(at - g.clock()):
	}
	all, err := Sample(pids)
	var u syscall.Rusage
	err = errors.Join(err, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return all, self{time.Duration(u.Utime.Nano() + u.Stime.Nano()), m.Mallocs}, err
}

// self is what the generator has taken so far.
type self struct {
	cpu         time.Duration
	allocations uint64
}

func (g *Generator) lost() (n uint64) {
	for _, w := range g.workers {
		n += w.wire.drops()
		if w.voice != nil {
			n += w.voice.socket.Lost + w.voice.socket.Refused
		}
	}
	return n
}

// sum adds up what the workers saw.
func (g *Generator) sum(r *Report, own self, lost uint64) {
	all := stats{Failures: map[Failure]uint64{}}
	for _, w := range g.workers {
		all.merge(&w.stats)
		if w.voice != nil {
			r.voice.merge(&w.voice.said)
		}
	}
	r.Registered = g.registered()
	r.fill(&all)
	r.Generator.Workers, r.Generator.Lost = len(g.workers), lost
	if n := float64(r.Offered); n > 0 {
		r.Generator.CPU = float64(own.cpu.Microseconds()) / n
		r.Generator.Allocations = float64(own.allocations) / n
		for _, p := range r.Processes {
			r.CPU += (p.User + p.System) * 1e6 / n
		}
	}
	r.judge()
}

// Search looks for the highest rate of good verdicts, from s.Rate on. told hears of each run.
func (g *Generator) Search(ctx context.Context, s Settings, precision float64, told func(*Report)) (Found, error) {
	return Search(s.Rate, precision, func(rate float64) (Verdict, error) {
		s.Rate, s.Seed = rate, s.Seed+1
		if _, err := g.Prepare(ctx, &s); err != nil {
			return Bad, err
		}
		r, err := g.Run(ctx, s)
		if err != nil {
			return Bad, err
		}
		told(r)
		return r.verdict(), nil
	})
}
