package overload

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// plant is a server with one queue, in virtual time: what it serves costs a while, what it turns away costs less.
type plant struct {
	c       *Controller // nil: none
	r       *rand.Rand
	service time.Duration
	refusal time.Duration
	buffer  time.Duration // of work, beyond which what comes is lost

	trusting bool // nothing is turned away: those who send it do that

	now, free time.Duration // free: when the queue is empty
	probe     time.Duration

	served, refused, lost [classes]int
	waits                 []time.Duration
	worst                 time.Duration
}

func newPlant(c *Controller, service, refusal time.Duration) *plant {
	return &plant{c: c, r: rand.New(rand.NewPCG(7, 7)), service: service, refusal: refusal, buffer: 4 * time.Second}
}

// run lets work of each class come at so many a second for a while.
func (p *plant) run(d time.Duration, rate [classes]float64) {
	total := 0.0
	for _, n := range rate {
		total += n
	}
	end := p.now + d
	next := p.now
	for p.now = next; p.now < end; p.now = next {
		if total > 0 {
			next += time.Duration(p.r.ExpFloat64() / total * float64(time.Second))
		} else {
			next = end
		}
		p.comes(p.pick(rate, total))
		p.probes(min(next, end))
	}
}

func (p *plant) pick(rate [classes]float64, total float64) Class {
	x := p.r.Float64() * total
	for k, n := range rate {
		if x -= n; x < 0 {
			return Class(k)
		}
	}
	return Greedy
}

// comes is a piece of work: it waits, and then it is judged and served or turned away.
func (p *plant) comes(k Class) {
	begin := max(p.now, p.free)
	wait := begin - p.now
	if wait > p.buffer {
		p.lost[k]++
		return
	}
	p.worst = max(p.worst, wait)
	if p.c != nil && p.probe <= begin {
		p.c.Expect(p.probe) // it stands in the queue behind this one
	}
	if p.trusting {
		p.c.Came(k, begin)
	} else if p.c != nil && p.c.Sheds(k, begin) {
		p.refused[k]++
		p.free = begin + p.refusal
		return
	}
	p.served[k]++
	p.waits = append(p.waits, wait)
	p.free = begin + time.Duration((0.5+p.r.Float64())*float64(p.service))
}

// probes lets the probe go round: every 10 ms, or when the one before has come back.
func (p *plant) probes(until time.Duration) {
	for p.c != nil && p.probe <= until {
		due := p.probe
		begin := max(due, p.free)
		p.c.Observe(begin-due, begin)
		p.probe = max(due+10*time.Millisecond, begin)
	}
}

func (p *plant) forget() {
	p.served, p.refused, p.lost, p.waits, p.worst = [classes]int{}, [classes]int{}, [classes]int{}, nil, 0
}

func (p *plant) quantile(q float64) time.Duration {
	slices.Sort(p.waits)
	if len(p.waits) == 0 {
		return 0
	}
	return p.waits[min(int(q*float64(len(p.waits))), len(p.waits)-1)]
}

// TestGoodput is a flood of new calls of true users at so many times what the server can do, with and without the controller.
func TestGoodput(t *testing.T) {
	const capacity = 2000.0
	for _, times := range []float64{0.5, 0.9, 1, 2, 5, 10} {
		t.Run(fmt.Sprintf("%gx", times), func(t *testing.T) {
			p := newPlant(New(Config{}), time.Second/capacity, time.Second/capacity/25)
			p.run(3*time.Second, [classes]float64{Fresh: capacity * times})
			p.forget()
			p.run(30*time.Second, [classes]float64{Fresh: capacity * times})
			done := float64(p.served[Fresh]) / 30
			possible := min(times, 1) * capacity
			if times > 1 { // turning away costs as well
				possible = capacity * (1 - (times-1)/24)
			}
			t.Logf("%.0f/s of %.0f/s, %.0f %% of what is possible, wait p50 %v, p99 %v, worst %v", done, capacity*times, 100*done/possible,
				p.quantile(0.5), p.quantile(0.99), p.worst)
			if done < 0.95*possible {
				t.Errorf("%.0f/s are served, %.0f/s could be", done, possible)
			}
			if p50 := p.quantile(0.5); times > 1 && p50 > 50*time.Millisecond {
				t.Errorf("half of what is served waits for %v", p50)
			}
		})
	}
}

// TestCollapse shows what the controller is for: without it everything that is served has waited until the buffer is full, and whoever sent it
// has given up by then.
func TestCollapse(t *testing.T) {
	p := newPlant(nil, time.Second/2000, 0)
	p.run(20*time.Second, [classes]float64{Fresh: 4000})
	if p50 := p.quantile(0.5); p50 < time.Second {
		t.Errorf("without control half waits for only %v: the plant is no overload", p50)
	}
}

// TestRecovery lets a flood begin and end: it is noticed within a second, its end within two, and afterwards nothing is turned away.
func TestRecovery(t *testing.T) {
	for _, times := range []float64{2, 5, 10} {
		t.Run(fmt.Sprintf("%gx", times), func(t *testing.T) {
			const capacity = 2000.0
			c := New(Config{})
			p := newPlant(c, time.Second/capacity, time.Second/capacity/25)
			p.run(5*time.Second, [classes]float64{Fresh: capacity / 2})
			if c.Active() {
				t.Fatal("half of the capacity is an overload")
			}
			p.run(time.Second, [classes]float64{Fresh: capacity * times})
			if !c.Active() {
				t.Error("not noticed within a second")
			}
			p.run(10*time.Second, [classes]float64{Fresh: capacity * times})
			p.run(2*time.Second, [classes]float64{Fresh: capacity / 2})
			p.forget()
			p.run(10*time.Second, [classes]float64{Fresh: capacity / 2})
			if n := p.refused[Fresh]; n > 0 {
				t.Errorf("%d are turned away two seconds after the end", n)
			}
			if c.Active() || c.Loss() != 0 {
				t.Error("it is still an overload")
			}
			if p.quantile(0.99) > 15*time.Millisecond {
				t.Errorf("p99 is %v afterwards", p.quantile(0.99))
			}
		})
	}
}

// TestNoOscillation looks at each tenth of a second of a steady flood: what is let in stays near what can be done, and the overload never ends and
// begins again.
func TestNoOscillation(t *testing.T) {
	for _, times := range []float64{1.2, 2, 5, 10} {
		t.Run(fmt.Sprintf("%gx", times), func(t *testing.T) {
			const capacity = 2000.0
			c := New(Config{})
			p := newPlant(c, time.Second/capacity, time.Second/capacity/25)
			p.run(5*time.Second, [classes]float64{Fresh: capacity * times})
			fewest, most := 1<<30, 0
			for range 200 {
				p.forget()
				p.run(100*time.Millisecond, [classes]float64{Fresh: capacity * times})
				fewest, most = min(fewest, p.served[Fresh]), max(most, p.served[Fresh])
				if !c.Active() {
					t.Fatal("the overload ends in the middle of it")
				}
			}
			mean := capacity / 10 * (1 - (times-1)/24)
			t.Logf("in each tenth of a second %d to %d, %.0f could be", fewest, most, mean)
			if float64(fewest) < 0.6*mean || float64(most) > 1.5*mean {
				t.Errorf("in each tenth of a second %d to %d are served, %.0f could be", fewest, most, mean)
			}
		})
	}
}

// TestPauses is a flood on a machine that others use as well: the server stands still again and again, which looks as if far too much had been let
// in. What it can do beside that it does.
func TestPauses(t *testing.T) {
	const capacity, pause, every = 2000.0, 60 * time.Millisecond, 700 * time.Millisecond
	for _, times := range []float64{1.5, 2, 5} {
		t.Run(fmt.Sprintf("%gx", times), func(t *testing.T) {
			p := newPlant(New(Config{}), time.Second/capacity, time.Second/capacity/25)
			flood := func(d time.Duration) {
				for end := p.now + d; p.now < end; {
					p.run(every, [classes]float64{Fresh: capacity * times})
					p.free = max(p.free, p.now) + pause
				}
			}
			flood(5 * time.Second)
			p.forget()
			begun := p.now
			flood(30 * time.Second)
			done := float64(p.served[Fresh]) / (p.now - begun).Seconds()
			possible := capacity * (1 - pause.Seconds()/every.Seconds()) * (1 - (times-1)/24)
			t.Logf("%.0f %% of what is possible, wait p50 %v, p99 %v", 100*done/possible, p.quantile(0.5), p.quantile(0.99))
			if done < 0.9*possible || p.quantile(0.5) > 50*time.Millisecond {
				t.Errorf("%.0f/s are served, %.0f/s could be; half waits for %v", done, possible, p.quantile(0.5))
			}
		})
	}
}

// TestOrder holds the order in which work is turned away, and that a flood of the less important does not touch the rest.
func TestOrder(t *testing.T) {
	const capacity = 2000.0
	for name, x := range map[string]struct {
		rate  [classes]float64
		whole []Class // nothing of it is turned away
		gone  []Class // nearly all is
	}{
		"one user floods": {[classes]float64{Standing: 400, Again: 100, First: 100, Fresh: 400, Greedy: 8000}, []Class{Standing, Again, First, Fresh}, []Class{Greedy}},
		"all users call":  {[classes]float64{Standing: 400, Again: 200, First: 200, Fresh: 8000}, []Class{Standing, Again, First}, nil},
		"all come anew":   {[classes]float64{Standing: 400, Again: 400, First: 8000, Fresh: 400}, []Class{Standing, Again}, []Class{Fresh}},
		"dialogs alone":   {[classes]float64{Standing: 3000, Again: 100, First: 100, Fresh: 100}, []Class{Standing}, []Class{Fresh, First, Again}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlant(New(Config{}), time.Second/capacity, time.Second/capacity/25)
			p.run(5*time.Second, x.rate)
			p.forget()
			p.run(20*time.Second, x.rate)
			of := func(k Class) float64 { return float64(p.served[k]) / float64(p.served[k]+p.refused[k]+p.lost[k]) }
			for _, k := range x.whole {
				if name != "dialogs alone" && of(k) < 0.99 {
					t.Errorf("%v: %.1f %% are served", k, 100*of(k))
				}
				if p.refused[Standing] > 0 {
					t.Errorf("%d of dialogs are turned away", p.refused[Standing])
				}
			}
			for _, k := range x.gone {
				if of(k) > 0.1 {
					t.Errorf("%v: %.1f %% are served before those that are more important", k, 100*of(k))
				}
			}
		})
	}
}

// TestParticipants gives the loss to a client that holds back what it is told to (RFC 7339 5.5), and turns nothing away itself: together they
// find what the server can do.
func TestParticipants(t *testing.T) {
	const capacity = 2000.0
	c := New(Config{})
	p := newPlant(c, time.Second/capacity, time.Second/capacity/25)
	p.trusting = true
	for i := range 400 {
		if i == 200 {
			p.forget()
		}
		p.run(50*time.Millisecond, [classes]float64{Standing: 200, Fresh: 2 * capacity * (1 - float64(c.Loss())/100)})
	}
	if done := float64(p.served[Fresh]+p.served[Standing]) / 10; done < 0.95*capacity || p.quantile(0.5) > 50*time.Millisecond {
		t.Errorf("%.0f/s are served of %.0f, and half waits for %v", done, capacity, p.quantile(0.5))
	}
	if loss := c.Loss(); loss < 35 || loss > 65 {
		t.Errorf("the client is told to hold %d %% back of twice what can be done", loss)
	}
}

// TestPlaces keeps the last places for what is more important, at once and as long as they are few.
func TestPlaces(t *testing.T) {
	taken := 0.0
	c := New(Config{Places: func() float64 { return taken }})
	now := time.Duration(0)
	for _, x := range []struct {
		taken float64
		from  Class // the least important class that is served
	}{{0, Greedy}, {0.74, Greedy}, {0.76, Fresh}, {0.81, First}, {0.86, Again}, {0.91, Standing}, {1, Standing}, {0.5, Greedy}} {
		taken = x.taken
		for k := Standing; k <= Greedy; k++ {
			now += 10 * time.Millisecond
			if shed := c.Sheds(k, now); shed != (k > x.from) {
				t.Errorf("%.2f of the places are taken: %v is turned away: %v", taken, k, shed)
			}
		}
		if c.Active() != (taken > 0.75) || (c.Loss() > 0) != (taken > 0.75) {
			t.Errorf("%.2f of the places are taken: overload %v, loss %d", taken, c.Active(), c.Loss())
		}
	}
}

// TestBursts shows that what is no overload is not taken for one: bursts that leave a moment without a queue, a pause of the machine.
func TestBursts(t *testing.T) {
	c := New(Config{})
	for now := time.Duration(0); now < time.Minute; now += 10 * time.Millisecond {
		wait := time.Duration(0)
		if phase := now % (500 * time.Millisecond); phase < 150*time.Millisecond {
			wait = 300*time.Millisecond - 2*phase
		}
		c.Observe(wait, now)
		if c.Sheds(Fresh, now) || c.Active() {
			t.Fatalf("a burst is an overload at %v", now)
		}
	}
}

// TestQueue is a socket whose datagrams wait, which no probe sees.
func TestQueue(t *testing.T) {
	c := New(Config{})
	idle, busy := c.Queue(), c.Queue()
	for now := time.Duration(0); now < time.Minute; now += 10 * time.Millisecond {
		c.Observe(0, now)
		idle.Waited(time.Millisecond, now)
		if now < 30*time.Second {
			busy.Waited(60*time.Millisecond, now)
		}
		if late := now > time.Second && now < 30*time.Second; late && !c.Active() {
			t.Fatalf("what waits for 60 ms is no overload at %v", now)
		}
	}
	if c.Active() {
		t.Error("it never ends")
	}
}
