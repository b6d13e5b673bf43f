package spine

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"imsafe/proto/sip"
)

// A loader is a true user on a connection of his own, who answers what comes, and sends a message whenever he is told to, however many are still
// under way. The connection is TCP: what TLS costs him as well would leave too little of his processor to ask for ten times what the node can.
type loader struct {
	*client
	load *overload
	todo chan time.Duration // when a message was due, since the beginning
	mu   sync.Mutex         // of the connection, and of what follows
	due  map[string]time.Duration
	n    int
}

// outstanding is how many messages of a user may wait for an answer: nobody writes on when nothing comes back.
const outstanding = 4

// overload is what all of them have seen.
type overload struct {
	begun time.Time
	quiet atomic.Bool // nothing counts

	answered atomic.Pointer[chan struct{}] // where to tell of each answer, while somebody waits for it

	mu                 sync.Mutex
	took               []time.Duration // from when a message was due to its 200
	refused, held, odd int             // turned away; not even sent; something else
}

func (o *overload) note(f func()) {
	if !o.quiet.Load() {
		o.mu.Lock()
		defer o.mu.Unlock()
		f()
	}
}

// send writes a message.
func (l *loader) send(text []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.conn.Write(text) // the reader sees that it is gone
}

// writes sends a message for each that is due.
func (l *loader) writes(to *loader) {
	for due := range l.todo {
		l.mu.Lock()
		if len(l.due) >= outstanding { // he waits for answers
			l.mu.Unlock()
			l.load.note(func() { l.load.held++ })
			continue
		}
		l.n++
		id := fmt.Sprintf("%s-%d", l.name, l.n)
		l.due[id] = due
		l.mu.Unlock()
		l.send(fmt.Appendf(nil, "MESSAGE %s SIP/2.0\r\nVia: SIP/2.0/TCP %s;branch=z9hG4bK%s\r\nMax-Forwards: 70\r\nFrom: <%s>;tag=t\r\nTo: <%s>\r\n"+
			"Call-ID: %s\r\nCSeq: 1 MESSAGE\r\nP-Preferred-Identity: <%s>\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
			to.uri(), l.local, id, l.uri(), to.uri(), id, l.uri()))
	}
}

// answers reads until the connection ends.
func (l *loader) answers() {
	framer := l.pool.NewFramer()
	defer framer.Close()
	buf := make([]byte, 16<<10)
	_ = l.conn.SetReadDeadline(time.Time{})
	for {
		n, err := l.conn.Read(buf)
		if err != nil {
			return
		}
		_, _ = framer.Write(buf[:n])
		for {
			raw, err := framer.Next()
			if raw == nil {
				if err != nil && err != sip.ErrPong && err != sip.ErrPing {
					return
				}
				break
			}
			if m, err := l.pool.Parse(raw); err == nil {
				l.heard(m)
				m.Release()
			}
		}
	}
}

func (l *loader) heard(m *sip.Message) {
	if m.IsRequest() {
		r := l.pool.NewResponse(m, 200, "")
		r.SetToTag("b")
		l.send(r.AppendTo(nil))
		r.Release()
		return
	}
	due, known := l.takes(string(m.Get(sip.HdrCallID)))
	if !known {
		return
	}
	if tell := l.load.answered.Load(); tell != nil {
		select {
		case *tell <- struct{}{}:
		default: // of one that was under way before
		}
	}
	l.load.note(func() {
		switch {
		case m.Status() == 200:
			l.load.took = append(l.load.took, time.Since(l.load.begun)-due)
		case m.Status() == 503 && m.Has(sip.HdrRetryAfter):
			l.load.refused++
		default:
			l.load.odd++
		}
	})
}

func (l *loader) takes(id string) (due time.Duration, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	due, known = l.due[id]
	delete(l.due, id)
	return due, known
}

// newLoaders registers pairs of users.
func newLoaders(b *testing.B, s *server, pairs int) (all []*loader, o *overload) {
	pin(1)
	o = &overload{begun: time.Now()}
	for i := range 2 * pairs {
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 9, byte(i/32), 1)}}).Dial("tcp", s.address.String())
		if err != nil {
			b.Fatal(err)
		}
		c := clientOn(b, conn, "TCP", conn.LocalAddr().(*net.TCPAddr).AddrPort(), i)
		if !c.register() {
			b.FailNow()
		}
		all = append(all, &loader{client: c, load: o, todo: make(chan time.Duration, outstanding), due: map[string]time.Duration{}})
	}
	for i, l := range all {
		go l.answers()
		if i%2 == 0 {
			go l.writes(all[i+1])
			b.Cleanup(func() { close(l.todo) })
		}
	}
	return all, o
}

// drive lets messages become due at a rate, in turn of all users, for a while.
func (o *overload) drive(callers []*loader, rate float64, d time.Duration) (offered int) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for begun := time.Now(); time.Since(begun) < d; <-tick.C {
		for due := int(time.Since(begun).Seconds() * rate); offered < due; offered++ {
			at := time.Duration(float64(offered)/rate*float64(time.Second)) + begun.Sub(o.begun)
			select {
			case callers[2*(offered%(len(callers)/2))].todo <- at:
			default:
				o.note(func() { o.held++ }) // his connection takes no more
			}
		}
	}
	return offered
}

// BenchmarkOverload is P14: true users who together write more often than the node can carry. Its capacity is the highest rate at which at most one
// message in a thousand is handled badly (ETSI TS 186 008-1), whoever is waiting for what. Beside it stands what comes through when so many
// users at a time wait for their answer before the next one writes, right before and right after each load: others who use the processors take
// from both. Goodput is what was carried as a part of the capacity, and of the latter; useful is what it cost, as a part of what the node had of its
// processor. Afterwards half of the capacity must go through whole within two seconds.
func BenchmarkOverload(b *testing.B) {
	for b.Loop() {
		s := start(b)
		all, o := newLoaders(b, s, 512)
		for _, load := range []struct {
			times   float64
			seconds int
		}{{1, 4}, {2, 30}, {5, 8}, {10, 8}} {
			row(b, s, all, o, load.times, load.seconds)
		}
	}
}

// atWork is how many users at a time write while it is measured what the node can carry: enough that it is never idle, and no queue to speak of.
const atWork = 48

// capacity is what the node carries in a second while each answer lets the next user write, and what one message costs it.
func (o *overload) capacity(b *testing.B, s *server, all []*loader, d time.Duration) (rate float64, each time.Duration) {
	answered := make(chan struct{}, len(all))
	o.answered.Store(&answered)
	defer o.answered.Store(nil)
	for range atWork {
		answered <- struct{}{}
	}
	begun, next := time.Now(), 0
	for counts := false; time.Since(begun) < d; {
		if !counts && time.Since(begun) > d/4 {
			o.reset()
			begun, d, counts = time.Now(), d*3/4, true
			each = s.cpu(b)
		}
		select {
		case <-answered:
			next = (next + 1) % (len(all) / 2)
			all[2*next].todo <- time.Since(o.begun)
		case <-time.After(time.Second): // an answer was lost, which shows in what is carried
		}
	}
	took, _, _, _ := o.seen()
	o.quiet.Store(true)
	return float64(len(took)) / time.Since(begun).Seconds(), (s.cpu(b) - each) / time.Duration(max(len(took), 1))
}

func (o *overload) reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.took, o.refused, o.held, o.odd = nil, 0, 0, 0
	o.quiet.Store(false)
}

// seen is what was seen since the last reset.
func (o *overload) seen() (took []time.Duration, refused, held, odd int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	took = slices.Clone(o.took)
	slices.Sort(took)
	return took, o.refused, o.held, o.odd
}

// sustained is the node's capacity after ETSI TS 186 008-1: the highest rate, in steps of a twentieth of most, at which at most one message in a
// thousand is not carried. Each step has two tries, since a pause of the machine alone may cost that many.
func (o *overload) sustained(all []*loader, most float64) float64 {
	for part := 20; part > 1; part-- {
		rate := most * float64(part) / 20
		for range 2 {
			o.quiet.Store(true)
			o.drive(all, rate, time.Second)
			<-time.After(200 * time.Millisecond)
			o.reset()
			offered := o.drive(all, rate, 3*time.Second)
			<-time.After(200 * time.Millisecond)
			if took, _, _, _ := o.seen(); len(took) >= offered-offered/1000 {
				return rate
			}
		}
	}
	return most / 20
}

// row is one load: a second to begin, those that count, and what comes after it.
func row(b *testing.B, s *server, all []*loader, o *overload, times float64, seconds int) {
	before, each := o.capacity(b, s, all, 2*time.Second)
	capacity := o.sustained(all, before)
	o.quiet.Store(true)
	o.drive(all, capacity*times, time.Second)
	o.reset()
	profiled := s.profiles(b, fmt.Sprintf("-%gx", times))
	cpu, own, idle := s.cpu(b), cpuOfThis(), idleOf(0)
	offered := o.drive(all, capacity*times, time.Duration(seconds)*time.Second)
	cpu, own, idle = s.cpu(b)-cpu, cpuOfThis()-own, idleOf(0)-idle
	profiled()
	took, refused, held, odd := o.seen()
	p50, p99 := time.Duration(0), time.Duration(0)
	if n := len(took); n > 0 {
		p50, p99 = took[n/2], took[n*99/100]
	}
	o.quiet.Store(true)
	o.drive(all, capacity/2, 2*time.Second)
	o.reset()
	later := o.drive(all, capacity/2, 2*time.Second)
	<-time.After(100 * time.Millisecond)
	whole, _, _, _ := o.seen()
	after, again := o.capacity(b, s, all, 2*time.Second)
	best := (before + after) / 2
	each = (each + again) / 2
	carried := float64(len(took)) / float64(seconds)
	good := carried / capacity
	useful := float64(len(took)) * each.Seconds() / cpu.Seconds()
	share := func(d time.Duration) float64 { return 100 * d.Seconds() / float64(seconds) }
	b.Logf("%2gx of %.0f/s (%.0f and %.0f by who waits, %v each): %d/s offered, %.0f/s carried (%.0f %%, %.0f %% of the latter), %d/s turned away, %d/s not taken, %d odd, p50 %v, p99 %v; processor of the node %.0f %%, idle %.0f %%, useful %.0f %% of that; of the users %.0f %%; afterwards %d of %d",
		times, capacity, before, after, each.Round(time.Microsecond), offered/seconds, carried, 100*good, 100*carried/best, refused/seconds, held/seconds, odd,
		p50.Round(time.Millisecond), p99.Round(time.Millisecond), share(cpu), share(idle), 100*useful, share(own), len(whole), later)
	b.ReportMetric(100*useful, fmt.Sprintf("%%useful-%gx", times))
	b.ReportMetric(100*good, fmt.Sprintf("%%goodput-%gx", times))
}

// cpuOfThis is what this process has used.
func cpuOfThis() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// idleOf is how long a processor had nothing to do, for anybody.
func idleOf(cpu int) time.Duration {
	text, _ := os.ReadFile("/proc/stat")
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, fmt.Sprintf("cpu%d ", cpu)); ok {
			fields := strings.Fields(rest) // user, nice, system, idle, iowait in hundredths
			var idle, waiting int64
			_, _ = fmt.Sscan(fields[3]+" "+fields[4], &idle, &waiting)
			return time.Duration(idle+waiting) * 10 * time.Millisecond
		}
	}
	return 0
}
