package media

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"

	"imsafe/bench/load"
)

// Settings of a run.
type Settings struct {
	Kind  Kind
	Calls int           // of two ends each: a hundred packets a second
	Warm  time.Duration // before anything counts
	Time  time.Duration // during which it does
	Late  time.Duration // that one packet in a hundred may leave after its time; 0 means 20 ms
	Seed  uint64        // of the moments at which the ends speak
	Port  uint16        // of the generator; 0 means 6000
}

// Run is what a run has shown. Durations are in microseconds.
type Run struct {
	System    string         `json:"system"`
	Calls     int            `json:"calls"`
	Rate      float64        `json:"packets_s"`
	User      float64        `json:"user_us"` // of processor, for each packet that arrived
	Kernel    float64        `json:"system_us"`
	CPU       float64        `json:"cpu_us"`
	Sent      uint64         `json:"sent"`
	Lost      uint64         `json:"lost"`
	Astray    uint64         `json:"astray"` // did not open, or came to somebody else
	P50       int64          `json:"p50_us"`
	P99       int64          `json:"p99_us"`
	Max       int64          `json:"max_us"`
	Memory    int64          `json:"octets_call"` // resident, with calls up less without, for each
	Processes []load.Process `json:"processes"`
	Generator Self           `json:"generator"`
	Limits    []string       `json:"limits,omitempty"` // why this is no measurement
}

// Self is what the generator says of itself.
type Self struct {
	CPU   float64 `json:"cpu_us"` // for each packet sent
	Busy  float64 `json:"busy"`   // share of the time
	Late  int64   `json:"late_p99_us"`
	Drops uint64  `json:"drops"` // packets lost by its own host
}

// tick is how long the generator sleeps: about what a network card gathers interrupts for. Packets whose time came meanwhile leave together.
const tick = 100 * time.Microsecond

// frame is a packet of G.711 in time and in octets.
const (
	frameTime = 20 * time.Millisecond
	payload   = 160
	header    = 12
	counted   = header + 12 // where a packet says whether it counts, behind who sent it and when
)

// phone is an end of a call while it speaks.
type phone struct {
	End
	seat   Seat
	seal   *srtp.Context
	open   *srtp.Context
	due    int64 // ns since the generator began
	seq    uint16
	stamp  uint32
	sealed []byte
	plain  []byte
}

// generator is the loop: one thread, one socket.
type generator struct {
	wire   *load.Socket // of all ends: it has every address of loopback
	phones []phone      // two to a call
	read   rtp.Header
	order  []int32 // who speaks next, in a ring: each speaks once in 20 ms
	began  time.Time
	from   int64 // what leaves from here on counts
	until  int64

	sent, arrived, astray uint64
	delays, late          []int32 // us
}

// first is the address of the first end, 127.16.0.1.
const first uint32 = 127<<24 | 16<<16 | 1

// address is that of end number i, and number finds the end of an address.
func address(i int) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, first+uint32(i))))
}

func number(a netip.Addr) int {
	if !a.Is4() {
		return -1
	}
	b := a.As4()
	return int(int64(binary.BigEndian.Uint32(b[:])) - int64(first))
}

// Measure sets calls up at a relay, lets them speak, and says what it cost. It does not take the calls down: who measures memory starts a relay
// anew.
func Measure(ctx context.Context, r Relay, s Settings) (*Run, error) {
	g, err := newGenerator(s)
	if err != nil {
		return nil, err
	}
	defer g.wire.Close()
	empty, err := load.Sample(r.PIDs())
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(g.phones); i += 2 {
		if err := join(r, s.Kind, g.phones[i:i+2]); err != nil {
			return nil, fmt.Errorf("call %d: %w", i/2+1, err)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	out := &Run{System: r.Name(), Calls: s.Calls}
	done := make(chan error, 1)
	go func() { done <- g.speak(ctx, r.PIDs(), s, out) }()
	if err := <-done; err != nil {
		return nil, err
	}
	g.sum(out, s, empty)
	return out, nil
}

func newGenerator(s Settings) (*generator, error) {
	if s.Port == 0 {
		s.Port = 6000
	}
	w, err := load.OpenSocket(s.Port, maxPacket)
	if err != nil {
		return nil, fmt.Errorf("the generator's socket: %w", err)
	}
	expected := int(s.Time/frameTime+1) * 2 * s.Calls
	g := &generator{wire: w, phones: make([]phone, 2*s.Calls), delays: make([]int32, 0, expected), late: make([]int32, 0, expected)}
	random := rand.New(rand.NewPCG(s.Seed, 20))
	for i := range g.phones {
		p := &g.phones[i]
		p.At = netip.AddrPortFrom(address(i), s.Port)
		p.due, p.seq, p.stamp = random.Int64N(int64(frameTime)), uint16(random.Uint32()>>17), random.Uint32()
		if p.Key, err = load.NewKey(s.Kind.Suites[i%2]); err != nil {
			w.Close()
			return nil, err
		}
		g.order = append(g.order, int32(i))
	}
	slices.SortFunc(g.order, func(a, b int32) int { return int(g.phones[a].due - g.phones[b].due) })
	return g, nil
}

// join lets two phones talk.
func join(r Relay, k Kind, two []phone) error {
	seats, err := r.Join([2]End{two[0].End, two[1].End})
	if err != nil {
		return err
	}
	for i := range two {
		p := &two[i]
		if seats[i].Key.Suite != p.Key.Suite {
			return fmt.Errorf("the relay seals with %q towards an end of %q", seats[i].Key.Suite, p.Key.Suite)
		}
		p.seat = seats[i]
		if p.seal, err = p.Key.Context(); err != nil {
			return err
		}
		if p.open, err = p.seat.Key.Context(srtp.SRTPReplayProtection(128)); err != nil {
			return err
		}
		p.sealed, p.plain = make([]byte, 0, maxPacket), make([]byte, 0, maxPacket)
	}
	return nil
}

// speak is the loop, on a thread of its own.
func (g *generator) speak(ctx context.Context, pids []int, s Settings, out *Run) error {
	runtime.LockOSThread() // for good: its timers are set for this loop
	exact()
	g.began = time.Now()
	g.from = int64(s.Warm)
	g.until = g.from + int64(s.Time)
	var before []load.Process
	var own, start int64
	next := 0
	for now := int64(0); now < g.until+int64(300*time.Millisecond); now = g.now() {
		if before == nil && now >= g.from {
			var err error
			if before, err = load.Sample(pids); err != nil {
				return err
			}
			own, start = threadCPU(), g.now()
		}
		if out.Processes == nil && now >= g.until {
			after, err := load.Sample(pids)
			if err != nil {
				return err
			}
			out.Processes = load.Used(before, after)
			out.Generator.CPU, out.Generator.Busy = float64(threadCPU()-own), float64(threadCPU()-own)/float64(g.now()-start)
		}
		if now < g.until {
			next = g.due(next)
		}
		if err := g.drain(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		sleep(int64(tick))
	}
	return nil
}

func (g *generator) now() int64 { return int64(time.Since(g.began)) }

// due lets all speak whose time has come, and returns who is next. No more at once than what a tick may ever hold: who is that late must hear
// meanwhile what comes, and end.
func (g *generator) due(next int) int {
	for range 256 {
		p := &g.phones[g.order[next]]
		now := g.now()
		if p.due > now {
			break
		}
		g.say(p, uint32(g.order[next]), now)
		p.due += int64(frameTime)
		if next++; next == len(g.order) {
			next = 0
		}
	}
	g.wire.Flush()
	return next
}

// say sends a packet: who says it, which one it is, when it left, whether it counts.
func (g *generator) say(p *phone, who uint32, now int64) {
	b := g.wire.Next()
	counts := now >= g.from && now < g.until
	b[0], b[1] = 0x80, 8
	binary.BigEndian.PutUint16(b[2:], p.seq)
	binary.BigEndian.PutUint32(b[4:], p.stamp)
	binary.BigEndian.PutUint32(b[8:], who+1)
	binary.BigEndian.PutUint32(b[header:], who)
	binary.BigEndian.PutUint64(b[header+4:], uint64(now))
	b[counted] = 0
	if counts {
		b[counted] = 1
		g.sent++
		g.late = append(g.late, int32((now-p.due)/1000))
	}
	p.seq++
	p.stamp += payload
	n := header + payload
	if p.seal != nil {
		sealed, err := p.seal.EncryptRTP(p.sealed, b[:n], &g.read)
		if err != nil {
			g.wire.Refused++
			return
		}
		n = copy(b, sealed)
	}
	g.wire.Send(n, p.At, p.seat.At)
}

// drain hears what has come.
func (g *generator) drain() error {
	for {
		n, err := g.wire.Read()
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		now := g.now()
		for i := range n {
			if g.hear(i, now) != nil {
				g.astray++
			}
		}
	}
}

var errAstray = errors.New("astray")

// hear takes one packet: it must come from the seat of the end it came to, open, and be of the other end.
func (g *generator) hear(i int, now int64) error {
	to, from, b, _ := g.wire.Got(i)
	at := number(to)
	if at < 0 || at >= len(g.phones) || from != g.phones[at].seat.At || len(b) < header {
		return errAstray
	}
	p := &g.phones[at]
	if b[1] >= 192 && b[1] <= 223 {
		return nil // RTCP, which nobody asked for
	}
	if p.open != nil {
		var err error
		if b, err = p.open.DecryptRTP(p.plain, b, &g.read); err != nil {
			return errAstray
		}
	}
	if len(b) != header+payload || binary.BigEndian.Uint32(b[header:]) != uint32(at^1) {
		return errAstray
	}
	if b[counted] == 1 {
		g.arrived++
		g.delays = append(g.delays, int32((now-int64(binary.BigEndian.Uint64(b[header+4:])))/1000))
	}
	return nil
}

// sum makes the report, and judges the generator.
func (g *generator) sum(out *Run, s Settings, empty []load.Process) {
	packets := float64(max(g.arrived, 1))
	resident := int64(0)
	for i, p := range out.Processes {
		out.User += p.User * 1e6 / packets
		out.Kernel += p.System * 1e6 / packets
		resident += int64(p.Resident) - int64(empty[i].Resident)
	}
	out.CPU, out.Memory = out.User+out.Kernel, resident/int64(s.Calls)
	out.Rate = float64(g.sent) / s.Time.Seconds()
	out.Sent, out.Lost, out.Astray = g.sent, g.sent-min(g.arrived, g.sent), g.astray
	out.P50, out.P99, out.Max = quantile(g.delays, 0.5), quantile(g.delays, 0.99), quantile(g.delays, 1)
	out.Generator.CPU /= float64(max(g.sent, 1)) * 1000
	out.Generator.Late, out.Generator.Drops = quantile(g.late, 0.99), g.wire.Lost+g.wire.Refused
	limit := s.Late
	if limit == 0 {
		limit = 20 * time.Millisecond
	}
	no := func(format string, arguments ...any) {
		out.Limits = append(out.Limits, fmt.Sprintf(format, arguments...))
	}
	if out.Generator.Busy > 0.9 {
		no("the generator was busy for %.0f %% of the time", 100*out.Generator.Busy)
	}
	if late := time.Duration(out.Generator.Late) * time.Microsecond; late > limit {
		no("one packet in a hundred left more than %v late", late.Round(100*time.Microsecond))
	}
	if out.Generator.Drops > 0 {
		no("the generator's host lost %d packets", out.Generator.Drops)
	}
	if out.Astray > 0 {
		no("%d packets went astray", out.Astray)
	}
	if want := float64(2*s.Calls) / frameTime.Seconds(); out.Rate < 0.98*want {
		no("%.0f packets a second were sent, not %.0f", out.Rate, want)
	}
	if out.Lost > out.Sent/20 {
		no("%d of %d packets were lost", out.Lost, out.Sent)
	}
}

// quantile sorts values.
func quantile(values []int32, q float64) int64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return int64(values[int(q*float64(len(values)-1))])
}
