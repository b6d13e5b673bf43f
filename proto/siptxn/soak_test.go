package siptxn

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
)

// network carries datagrams between layers: it loses, doubles and reorders.
type network struct {
	rand  *rand.Rand
	clock *shard.Fake
	queue flight
	seq   int
	lossy bool
}

// flight is a heap of datagrams by the time of their arrival.
type flight []arrival

type arrival struct {
	at   time.Duration
	seq  int
	to   *rig
	via  *sender
	from netip.AddrPort
	data []byte
}

func (f flight) Len() int { return len(f) }
func (f flight) Less(i, j int) bool {
	return f[i].at < f[j].at || f[i].at == f[j].at && f[i].seq < f[j].seq
}
func (f flight) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *flight) Push(x any)   { *f = append(*f, x.(arrival)) }
func (f *flight) Pop() any {
	old := *f
	x := old[len(old)-1]
	*f = old[:len(old)-1]
	return x
}

// connect lets what s sends arrive at via of to, as coming from from.
func (n *network) connect(s *sender, from netip.AddrPort, to *rig, via *sender) {
	s.forward = func(_ netip.AddrPort, b []byte) {
		copies := 1
		if n.lossy && !s.reliable {
			switch x := n.rand.IntN(100); {
			case x < 15:
				copies = 0
			case x < 20:
				copies = 2
			}
		}
		for range copies {
			n.seq++
			delay := 5 * time.Millisecond
			if !s.reliable {
				delay += time.Duration(n.rand.IntN(300)) * time.Millisecond
			}
			heap.Push(&n.queue, arrival{n.clock.Now() + delay, n.seq, to, via, from, append([]byte(nil), b...)})
		}
	}
}

// soaked is a pair of layers in a bad network with users that do everything.
type soaked struct {
	t        testing.TB
	net      *network
	uac, uas *rig

	calls    map[*Client]*call
	begun    int
	finals   map[int]int // calls by final status; 0 = failed
	seen     map[string]int
	answered map[ServerRef]bool
	acked    map[string]bool // Call-IDs whose ACK came
	live     int             // server transactions between Request and Ended
}

// call is what the UAC knows of a client transaction.
type call struct {
	id    int
	final int // how often the final response or a failure came
}

// later runs f on a shard after d.
func later(sh *shard.Shard, d time.Duration, f func()) {
	sh.Arm(new(shard.Timer), d, shard.EventFunc(func(*shard.Shard) { f() }))
}

func newSoaked(t testing.TB, seed uint64) *soaked {
	s := &soaked{t: t, calls: map[*Client]*call{}, finals: map[int]int{}, seen: map[string]int{}, answered: map[ServerRef]bool{}, acked: map[string]bool{}}
	s.uac = newRig(t, func(c *Config) { c.Handler = (*uacUser)(s) })
	s.uas = newRig(t, func(c *Config) {
		c.Handler = (*uasUser)(s)
		c.Shard = shard.New(shard.Config{Node: 4, Clock: s.uac.clock, OnPanic: func(v any, stack []byte) { t.Errorf("panic: %v\n%s", v, stack) }})
	})
	s.uas.clock, s.uas.sh = s.uac.clock, s.uas.l.sh
	s.net = &network{rand: rand.New(rand.NewPCG(seed, 1)), clock: s.uac.clock, lossy: true}
	s.net.connect(s.uac.udp, alice, s.uas, s.uas.udp)
	s.net.connect(s.uas.udp, bob, s.uac, s.uac.udp)
	s.net.connect(s.uac.tcp, alice, s.uas, s.uas.tcp)
	s.net.connect(s.uas.tcp, bob, s.uac, s.uac.tcp)
	return s
}

// run lets time pass until end, or until nothing more can happen.
func (s *soaked) run(end time.Duration) {
	clock := s.uac.clock
	for {
		next := min(s.uac.sh.Step(clock.Now()), s.uas.sh.Step(clock.Now()))
		if len(s.net.queue) > 0 {
			next = min(next, s.net.queue[0].at)
		}
		if next > end {
			return
		}
		clock.AdvanceTo(next)
		for len(s.net.queue) > 0 && s.net.queue[0].at <= clock.Now() {
			a := heap.Pop(&s.net.queue).(arrival)
			a.to.from(a.via, a.from, string(a.data))
		}
	}
}

// begin sends one more request, and perhaps changes its mind.
func (s *soaked) begin() {
	s.begun++
	id := s.begun
	method := "INVITE"
	if s.net.rand.IntN(2) == 0 {
		method = "MESSAGE"
	}
	via := s.uac.udp
	if s.net.rand.IntN(4) == 0 {
		via = s.uac.tcp
	}
	s.uac.do(func() {
		m, err := s.uac.pool.Parse([]byte(text(method, fmt.Sprint(id))))
		if err != nil {
			s.t.Fatal(err)
		}
		m.RemoveFirst(sip.HdrVia)
		m.SetString(sip.HdrCallID, fmt.Sprint(id))
		c, err := s.uac.l.Send(flowOf(via, bob), m, sentBy, (*uacUser)(s))
		if err != nil {
			s.t.Fatal(err)
		}
		s.calls[c] = &call{id: id}
		if ref := c.Ref(); s.net.rand.IntN(4) == 0 {
			later(s.uac.sh, time.Duration(s.net.rand.IntN(3000))*time.Millisecond, func() {
				if c := s.uac.l.Client(ref); c != nil {
					s.uac.l.Cancel(c)
				}
			})
		}
	})
}

// uacUser is the side that calls.
type uacUser soaked

func (u *uacUser) Request(tx *Server, _ *sip.Message)      { u.t.Error("request at the UAC") }
func (u *uacUser) Ack(_ siptransport.Flow, m *sip.Message) { m.Release() }
func (u *uacUser) Cancelled(*Server)                       {}
func (u *uacUser) Ended(*Server)                           {}
func (u *uacUser) final(c *Client, code int) {
	call := u.calls[c]
	if call == nil {
		u.t.Fatal("told of a transaction that is gone")
	}
	if call.final++; call.final > 1 {
		u.t.Errorf("call %d has %d ends", call.id, call.final)
	}
	u.finals[code]++
}

func (u *uacUser) Response(c *Client, m *sip.Message) {
	code := m.Status()
	if code >= 200 {
		u.final(c, code)
	}
	if code/100 == 2 && c.Method() == sip.INVITE {
		u.sendAck(c, m)
	}
	m.Release()
}

func (u *uacUser) sendAck(c *Client, m *sip.Message) {
	ack := u.uac.pool.NewRequest(sip.ACK, "sip:bob@home.example")
	for _, h := range []sip.HeaderID{sip.HdrFrom, sip.HdrTo, sip.HdrCallID} {
		ack.Set(h, m.Get(h))
	}
	ack.SetString(sip.HdrMaxForwards, "70")
	ack.SetString(sip.HdrCSeq, "7 ACK")
	if err := u.uac.l.SendAck(c.Flow(), ack, sentBy); err != nil {
		u.t.Error(err)
	}
}

func (u *uacUser) Again(c *Client, m *sip.Message) bool {
	u.sendAck(c, m)
	return true
}
func (u *uacUser) Failed(c *Client, _ error) { u.final(c, 0) }
func (u *uacUser) Gone(c *Client) {
	if u.calls[c].final != 1 {
		u.t.Errorf("call %d is gone with %d ends", u.calls[c].id, u.calls[c].final)
	}
	delete(u.calls, c)
}

// uasUser is the side that is called.
type uasUser soaked

func (u *uasUser) Request(tx *Server, m *sip.Message) {
	key := string(m.Get(sip.HdrCallID)) + " " + string(m.MethodName())
	if u.seen[key]++; u.seen[key] > 1 {
		u.t.Errorf("%s was taken for new %d times", key, u.seen[key])
	}
	u.live++
	ref := tx.Ref()
	wait := func() time.Duration { return time.Duration(u.net.rand.IntN(4000)) * time.Millisecond }
	codes := []int{200, 200, 200, 404, 486, 603}
	code := codes[u.net.rand.IntN(len(codes))]
	answer := func() { (*soaked)(u).answer(ref, code) }
	switch x := u.net.rand.IntN(100); {
	case x < 2: // forgets it
	case x < 30:
		answer()
	case x < 60:
		later(u.uas.sh, wait(), answer)
	default:
		(*soaked)(u).answer(ref, 180)
		later(u.uas.sh, wait(), answer)
	}
}

// answer sends a response if the transaction still waits for one, and a 2xx to an INVITE until the ACK comes (RFC 3261 13.3.1.4).
func (s *soaked) answer(ref ServerRef, code int) {
	tx := s.uas.l.Server(ref)
	if tx == nil || tx.Final() {
		return
	}
	id, invite := string(tx.Request().Get(sip.HdrCallID)), tx.Method() == sip.INVITE
	if err := s.uas.l.Reply(tx, code, ""); err != nil {
		s.t.Error(err)
	}
	if code == 200 && invite {
		s.repeat(ref, id, 500*time.Millisecond)
	}
}

func (s *soaked) repeat(ref ServerRef, id string, after time.Duration) {
	later(s.uas.sh, after, func() {
		if tx := s.uas.l.Server(ref); tx != nil && !s.acked[id] {
			if !s.uas.l.Retransmit2xx(tx, nil) {
				s.t.Error("no 2xx to repeat")
			}
			s.repeat(ref, id, min(2*after, 4*time.Second))
		}
	})
}

func (u *uasUser) Ack(_ siptransport.Flow, m *sip.Message) {
	u.acked[string(m.Get(sip.HdrCallID))] = true
	m.Release()
}
func (u *uasUser) Cancelled(tx *Server) { (*soaked)(u).answer(tx.Ref(), 487) }
func (u *uasUser) Ended(*Server)        { u.live-- }

// TestSoak: whatever the network does, every request has one end, is seen once at the other side, and leaves nothing behind.
func TestSoak(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			s := newSoaked(t, seed)
			for range 600 {
				s.begin()
				s.run(s.uac.clock.Now() + time.Duration(s.net.rand.IntN(100))*time.Millisecond)
			}
			s.run(s.uac.clock.Now() + 20*time.Minute)
			total := 0
			for _, n := range s.finals {
				total += n
			}
			if total != s.begun || s.live != 0 || len(s.calls) != 0 {
				t.Errorf("%d calls, ends %v, %d live at the UAS, %d at the UAC", s.begun, s.finals, s.live, len(s.calls))
			}
			// Those that were forgotten, and in 15 % loss next to nobody else.
			if failed := s.finals[0]; failed > s.begun*5/100 {
				t.Errorf("%d of %d failed: %v", failed, s.begun, s.finals)
			}
			if len(s.finals) < 6 {
				t.Errorf("not everything happened: %v", s.finals)
			}
			s.uac.wantEmpty()
			s.uas.wantEmpty()
		})
	}
}
