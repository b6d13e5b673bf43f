package soak

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"imsafe/client/ue"
	"imsafe/config"
	"imsafe/imsbox/hss"
	"imsafe/proto/siptransport"
	"imsafe/test/live"
	"imsafe/test/port"
)

func TestMain(m *testing.M) {
	live.BeAnchor()
	goleak.VerifyTestMain(m)
}

const (
	pause    = 400 * time.Millisecond // between two visits: the load is low, what counts is how often things come and go
	patience = 3 * live.Patience
	// forgetting is how long a node keeps what a stranger began: a REGISTER that nobody answers (AwaitAuth), and some more.
	forgetting = 5 * time.Minute
	// held is how long a stranger holds a handshake that does not go on: longer than the node.
	held = 8 * time.Second
)

// sample is what the node holds at a moment, and what it has done until then.
type sample struct {
	at time.Duration
	live.Usage
	held                  [len(holdings)]int
	begun                 int // sessions of the media anchor so far
	visits, calls, turned int
	refused               int
	anchor                live.ProcessUsage // of the media anchor's process
}

// holding is something else that a node holds and gives back.
type holding struct {
	name, column string
	counter      string // of the metrics; "" for what is looked up otherwise
	allow        int    // so much more at the end is no growth
}

// holdings are what the table shows beside what any node is measured by.
var holdings = [...]holding{
	{"sets of security associations", "esp", "esp_agreements", 10},
	{"sessions at the media anchor", "media", "media_sessions", 2},
	{"pairs of ports for media", "ports", "media_ports", 8},
	{"calls whose media are anchored", "anchored", "pcscf_anchored_calls", 4},
	{"changes that are not in the image", "unsaved", "store_unsaved", 2000},
	{segments, "journal", "", 2},
	{letters, "owed", "", 2},
	{"processes of the media anchor", "anchors", "media_process_starts", 0},
}

// The names of what is looked up in the store.
const (
	segments = "segments of the journal"
	letters  = "letters of the HSS that are not delivered"
)

// soak is the node and those who come.
type soak struct {
	t       *testing.T
	n       *live.Node
	users   []*live.User // over TLS and IPsec in turn, in pairs
	nobody  int
	long    bool // strangers' REGISTERs may be forgotten meanwhile
	visits  int
	calls   int
	turned  int // visits that came in an overload
	samples []sample
	begun   time.Time
	next    time.Duration // when the next sample is due
}

// TestSoak lets pairs of clients register, write to each other, call each other and leave, over TLS and inside IPsec; one leaves without a word
// now and then. In between strangers flood: rubbish, requests, handshakes that do not go on, and where there is time for the node to
// forget them, REGISTERs of nobody. Then memory, goroutines, descriptors, transactions, associations, connections, and what of media, journal and outbox was in
// use, are what they were.
func TestSoak(t *testing.T) {
	d := 6 * time.Second
	if text := os.Getenv("IMSAFE_SOAK"); text != "" {
		var err error
		if d, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	} else if testing.Short() {
		t.Skip("short")
	}
	s := newSoak(t, d)
	every := max(d/24, time.Second)
	for s.next = every; time.Since(s.begun) < d; {
		s.visit()
		s.flood()
		if time.Since(s.begun) >= s.next {
			s.look()
			s.next += every
		}
		<-time.After(pause)
	}
	s.look()
	s.print()
	s.judge(d)
}

func newSoak(t *testing.T, d time.Duration) *soak {
	t.Helper()
	quick := config.SIPTimers{T1: config.Of(100 * time.Millisecond), T2: config.Of(400 * time.Millisecond), T4: config.Of(500 * time.Millisecond)}
	var transport siptransport.Options
	if d <= 3*forgetting { // else what production has
		transport = siptransport.Options{Handshake: 4 * time.Second, FirstMessage: 4 * time.Second, Unfinished: 2 * time.Second}
	}
	n := live.Start(t, live.Options{AnchorProcess: true, Transport: transport, Configure: func(c *config.Config) {
		c.Timers.Core, c.Timers.Gm = quick, quick
		const much = 1 << 20
		c.Budget = config.Budget{Calls: much, Messages: much, Subscriptions: much, Transfers: much, Notifications: much, Others: much}
		c.Store.Cache = 1 << 20 // full before anything is compared: every call leaves records, which it keeps by then
		c.CS.Listen, c.CS.Ports = []config.Address{{AddrPort: port.Run(t, "127.0.0.1", 400)}}, 400
		c.Metrics.Listen = config.Address{AddrPort: c.Metrics.Listen.AddrPort}
	}})
	s := &soak{t: t, n: n, users: live.NewUsers("soak", 8, live.AKAv2), long: d > 3*forgetting, begun: time.Now()}
	for i := range s.users {
		if i%4 >= 2 {
			s.users[i].Scheme = live.AKAv1 // inside IPsec, as telephones have it
		}
	}
	if err := n.Provision(context.Background(), s.users...); err != nil {
		t.Fatal(err)
	}
	return s
}

// visit is one pair that comes, talks and goes.
func (s *soak) visit() {
	i := 2 * (s.visits % (len(s.users) / 2))
	transport := ue.TLS
	if i%4 == 2 {
		transport = ue.IPsecUDP
	}
	s.visits++
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var pair [2]*live.UE
	for k := range pair {
		device := fmt.Sprintf("urn:uuid:00000000-0000-4000-8000-%012d", i+k) // the same each time: what it left behind is replaced
		x, end, err := s.n.Visitor(s.users[i+k], transport, func(c *ue.Config) { c.InstanceID = device })
		if err != nil {
			s.t.Fatal(err)
		}
		defer func() {
			if err := end(); err != nil {
				s.t.Errorf("visit %d: %s ended with: %v", s.visits, s.users[i+k].Name, err)
			}
		}()
		if _, err := x.Register(ctx); s.turnedAway(err) {
			return
		} else if err != nil {
			s.t.Errorf("visit %d: %s does not register: %v", s.visits, s.users[i+k].Name, err)
			return
		}
		pair[k] = x
	}
	if err := talk(ctx, pair[0], pair[1]); s.turnedAway(err) {
		return
	} else if err != nil {
		s.t.Errorf("visit %d over %v: %v", s.visits, transport, err)
		return
	}
	s.calls++
	if s.visits%5 == 0 {
		return // they are gone without a word
	}
	for _, x := range pair {
		if err := x.Deregister(ctx); err != nil && !s.turnedAway(err) {
			s.t.Errorf("visit %d: %s does not leave: %v", s.visits, x.User.Name, err)
		}
	}
}

// turnedAway notes what is no defect: the node had more to do than it could, as on a machine that others use too; or a port that a client drew was
// another's, since all of them have one address here (TS 33.203 7.1 rule 3).
func (s *soak) turnedAway(err error) bool {
	var status *ue.StatusError
	away := errors.As(err, &status) && (status.Code == 503 || status.Code == 400)
	if away {
		s.turned++
	}
	return away
}

// talk is a message and a call.
func talk(ctx context.Context, from, to *live.UE) error {
	if err := from.SendMessage(ctx, to.User.IMPU, "text/plain", []byte("hello")); err != nil {
		return fmt.Errorf("message: %w", err)
	}
	if _, err := to.Next(); err != nil {
		return err
	}
	out, err := from.Call(ctx, to.User.IMPU, ue.Voice{})
	if err != nil {
		return fmt.Errorf("call: %w", err)
	}
	select {
	case in := <-to.Calls:
		in.Answer(ue.Voice{})
		_, one := out.Until(ctx, ue.Secured)
		_, other := in.Until(ctx, ue.Secured)
		out.Hangup()
		for _, c := range []*ue.Call{out, in} {
			select {
			case <-c.Done():
			case <-ctx.Done():
				return errors.New("the call does not end")
			}
		}
		return errors.Join(one, other)
	case <-out.Done():
		return &ue.StatusError{Code: out.Result().Code, Reason: out.Result().Reason}
	case <-ctx.Done():
		return errors.New("it never rang")
	}
}

// flood is a moment of what strangers send.
func (s *soak) flood() {
	conn, err := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, 3, 0, 1)}}).Dial("udp", s.n.Lab.String())
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	rubbish := make([]byte, 600)
	_, _ = rand.Read(rubbish)
	for i := range 100 {
		s.nobody++
		_, _ = conn.Write(rubbish[:50+5*i])
		_, _ = conn.Write(s.stranger("OPTIONS"))
		if s.long && i%4 == 0 {
			_, _ = conn.Write(s.stranger("REGISTER"))
		}
	}
	for range 10 {
		half, err := net.Dial("tcp", s.n.TLS.String())
		if err != nil {
			s.t.Fatal(err)
		}
		_, _ = half.Write([]byte{0x16})
		if s.visits%2 == 0 || s.long && s.next-time.Since(s.begun) < held { // how many there are is no growth: none when a sample is taken
			_ = half.Close()
			continue
		}
		time.AfterFunc(held, func() { _ = half.Close() }) // the node has ended it by then
	}
}

func (s *soak) stranger(method string) []byte {
	return fmt.Appendf(nil, "%s sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP 127.3.0.1;rport;branch=z9hG4bKs%d%s\r\nMax-Forwards: 70\r\nFrom: <sip:no%d@%s>;tag=s\r\n"+
		"To: <sip:no%d@%s>\r\nCall-ID: s%d\r\nCSeq: 1 %s\r\nContact: <sip:x@192.0.2.1>\r\nContent-Length: 0\r\n\r\n",
		method, live.Domain, s.nobody, method, s.nobody, live.Domain, s.nobody, live.Domain, s.nobody, method)
}

// look takes a sample.
func (s *soak) look() {
	u, err := s.n.Usage()
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := s.n.Counters()
	if err != nil {
		s.t.Fatal(err)
	}
	x := sample{at: time.Since(s.begun), Usage: u, visits: s.visits, calls: s.calls, turned: s.turned, refused: int(c["siptxn_screened_total"]),
		begun: int(c["media_begun_total"])}
	for i, h := range holdings {
		switch h.name {
		case segments:
			files, err := filepath.Glob(filepath.Join(s.n.Dir, "*.seg"))
			if err != nil || len(files) == 0 {
				s.t.Fatalf("no journal in %s: %v", s.n.Dir, err)
			}
			x.held[i] = len(files)
		case letters:
			owed, _, err := s.n.Store.Scan(hss.TableOutbox, nil, nil, 1000)
			if err != nil {
				s.t.Fatal(err)
			}
			x.held[i] = len(owed)
		default:
			v, known := c[h.counter]
			if !known {
				s.t.Fatalf("there is no metric %s", h.counter)
			}
			x.held[i] = int(v)
		}
	}
	if x.anchor, err = live.UsageOf(s.n.Anchor.PID()); err != nil {
		s.t.Fatal(err)
	}
	s.samples = append(s.samples, x)
}

func (s *soak) print() {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%8s %7s %7s %6s %9s %8s %10s %5s %6s %7s %7s %6s", "time", "visits", "calls", "turned", "refused", "heap kB", "goroutines", "files", "tasks",
		"transac", "assocs", "conns")
	for _, h := range holdings {
		fmt.Fprintf(&b, " %8s", h.column)
	}
	fmt.Fprintf(&b, " %10s %8s %8s\n", "anchor kB", "threads", "files")
	for _, x := range s.samples {
		fmt.Fprintf(&b, "%8v %7d %7d %6d %9d %8d %10d %5d %6d %7d %7d %6d", x.at.Round(time.Second), x.visits, x.calls, x.turned, x.refused, x.Heap>>10, x.Goroutines,
			x.Descriptors, x.Tasks, x.Transactions, x.Associations, x.Connections)
		for _, n := range x.held {
			fmt.Fprintf(&b, " %8d", n)
		}
		fmt.Fprintf(&b, " %10d %8d %8d\n", x.anchor.Memory>>10, x.anchor.Threads, x.anchor.Descriptors)
	}
	s.t.Log(b.String())
}

// judge compares the end with the time when everything that is forgotten is forgotten as fast as it comes: of a long run after some minutes, of a
// short one from its first quarter on, with more room.
func (s *soak) judge(d time.Duration) {
	if last := s.samples[len(s.samples)-1]; last.begun < s.calls {
		s.t.Errorf("%d sessions of the media anchor for %d calls", last.begun, s.calls)
	}
	if len(s.samples) < 8 {
		if s.calls == 0 {
			s.t.Error("nobody has called")
		}
		return // too short to see anything grow
	}
	from := len(s.samples) / 4
	for s.long && from < len(s.samples)/2 && s.samples[from].at < forgetting+time.Minute {
		from++
	}
	half := (from + len(s.samples)) / 2
	early, late := least(s.samples[from:half]), least(s.samples[half:])
	allow := live.Usage{Heap: 2 << 20, Goroutines: 40, Descriptors: 4, Tasks: 6, Transactions: 80, Associations: 40, Connections: 12}
	if !s.long {
		allow.Heap, allow.Goroutines, allow.Associations = 6<<20, 200, 60 // coroutines for later, and pools that are filled for the first time
	}
	if over := late.Above(early.Usage, allow); over != "" {
		s.t.Errorf("it grows: %s", over)
	}
	for i, h := range holdings {
		if late.held[i] > early.held[i]+h.allow {
			s.t.Errorf("it grows: %d %s, %d before and %d allowed", late.held[i], h.name, early.held[i], h.allow)
		}
	}
	s.judgeAnchor(early.anchor, late.anchor)
	if s.calls < s.visits/2 {
		s.t.Errorf("%d calls in %d visits: this machine is too busy to show anything", s.calls, s.visits)
	}
	if s.n.Panics() > 0 {
		s.t.Error("procedures have panicked")
	}
}

// judgeAnchor does the same with the process of the media anchor, whose garbage nobody but itself collects: its memory is what its run time holds.
func (s *soak) judgeAnchor(early, late live.ProcessUsage) {
	const memory, threads, files = 6 << 20, 4, 4
	if late.Memory > early.Memory+memory {
		s.t.Errorf("the anchor grows: %d octets, %d before", late.Memory, early.Memory)
	}
	if late.Threads > early.Threads+threads {
		s.t.Errorf("the anchor grows: %d threads, %d before", late.Threads, early.Threads)
	}
	if late.Descriptors > early.Descriptors+files {
		s.t.Errorf("the anchor grows: %d descriptors, %d before", late.Descriptors, early.Descriptors)
	}
	if late.Descriptors < 0 {
		s.t.Log("the descriptors of the anchor are not judged: only root sees them")
	}
}

// least is what was held at least: peaks are what is under way.
func least(samples []sample) sample {
	l := samples[0]
	for _, x := range samples[1:] {
		l.Heap, l.Goroutines, l.Descriptors = min(l.Heap, x.Heap), min(l.Goroutines, x.Goroutines), min(l.Descriptors, x.Descriptors)
		l.Tasks, l.Transactions, l.Associations = min(l.Tasks, x.Tasks), min(l.Transactions, x.Transactions), min(l.Associations, x.Associations)
		l.Connections = min(l.Connections, x.Connections)
		l.anchor.Memory, l.anchor.Threads = min(l.anchor.Memory, x.anchor.Memory), min(l.anchor.Threads, x.anchor.Threads)
		l.anchor.Descriptors = min(l.anchor.Descriptors, x.anchor.Descriptors)
		for i := range l.held {
			l.held[i] = min(l.held[i], x.held[i])
		}
	}
	return l
}
