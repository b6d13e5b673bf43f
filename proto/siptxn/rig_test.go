package siptxn

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/proto/siptransport"
)

// rig is one layer under a clock that stands still until a test moves it, with senders that write down what leaves.
type rig struct {
	t     testing.TB
	clock *shard.Fake
	sh    *shard.Shard
	pool  *sip.Pool
	l     *Layer
	udp   *sender
	tcp   *sender
	user  *user
}

// Where the peer of most tests is.
var (
	alice = netip.MustParseAddrPort("192.0.2.1:5061")
	bob   = netip.MustParseAddrPort("192.0.2.2:5060")
)

// sentBy is our address in Vias.
var sentBy = []byte("198.51.100.9:5060")

func newRig(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, clock: shard.NewFake(time.Unix(1700000000, 0))}
	r.sh = shard.New(shard.Config{Node: 3, ID: 1, Clock: r.clock, OnPanic: func(v any, stack []byte) {
		t.Errorf("panic on the shard: %v\n%s", v, stack)
	}})
	r.pool = sip.NewPool(sip.Limits{Poison: true})
	r.udp, r.tcp = &sender{r: r, proto: "UDP"}, &sender{r: r, proto: "TCP", reliable: true}
	r.user = &user{r: r}
	c := Config{Shard: r.sh, Pool: r.pool, Sealer: shard.NewSealer(shard.SealingKey{1}), Timers: DefaultTimers(), Handler: r.user}
	for _, f := range change {
		f(&c)
	}
	r.l = New(c)
	return r
}

// do runs f on the shard.
func (r *rig) do(f func()) {
	r.t.Helper()
	if !r.sh.Exec(shard.EventFunc(func(*shard.Shard) { f() })) {
		r.t.Fatal("shard refused")
	}
}

// advance lets d pass.
func (r *rig) advance(d time.Duration) {
	end := r.clock.Now() + d
	for next := r.sh.Step(r.clock.Now()); next <= end; next = r.sh.Step(r.clock.Now()) {
		r.clock.AdvanceTo(max(next, r.clock.Now()))
	}
	r.clock.AdvanceTo(end)
	r.sh.Step(end)
}

// from brings a message as octets from peer.
func (r *rig) from(s *sender, peer netip.AddrPort, msg string) {
	r.t.Helper()
	r.do(func() { r.l.Input(flowOf(s, peer), []byte(msg)) })
}

// sends starts a client transaction and returns it.
func (r *rig) sends(s *sender, peer netip.AddrPort, msg string) (c *Client) {
	r.t.Helper()
	r.do(func() {
		m, err := r.pool.Parse([]byte(msg))
		if err != nil {
			r.t.Fatal(err)
		}
		m.RemoveFirst(sip.HdrVia)
		if c, err = r.l.Send(flowOf(s, peer), m, sentBy, r.user); err != nil {
			r.t.Fatal(err)
		}
	})
	return c
}

// respond answers the newest server transaction.
func (r *rig) respond(code int, edit ...func(*sip.Message)) (err error) {
	r.t.Helper()
	r.do(func() { err = r.l.Respond(r.user.tx, r.response(r.user.tx, code, edit...)) })
	return err
}

// response makes a response to tx, whose request is gone after the first final one: then the one of before is used.
func (r *rig) response(tx *Server, code int, edit ...func(*sip.Message)) *sip.Message {
	req := tx.Request()
	if req == nil {
		req = r.user.kept
	}
	m := r.pool.NewResponse(req, code, "")
	m.SetToTag("ours")
	for _, e := range edit {
		e(m)
	}
	return m
}

// wantSent compares what left since the last call, as "time first-line" in seconds.
func (r *rig) wantSent(want ...string) {
	r.t.Helper()
	var got []string
	for _, s := range []*sender{r.udp, r.tcp} {
		for _, p := range s.sent {
			got = append(got, fmt.Sprintf("%.2f %s", p.at.Seconds(), p.first()))
		}
		s.old, s.sent = append(s.old, s.sent...), nil
	}
	if !slices.Equal(got, want) {
		r.t.Errorf("sent\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// wantUser compares what the user was told since the last call.
func (r *rig) wantUser(want ...string) {
	r.t.Helper()
	if !slices.Equal(r.user.log, want) {
		r.t.Errorf("user was told\n\t%s\nwant\n\t%s", strings.Join(r.user.log, "\n\t"), strings.Join(want, "\n\t"))
	}
	r.user.log = nil
}

// wantEmpty waits until every timer has run out and looks for what was left behind.
func (r *rig) wantEmpty() {
	r.t.Helper()
	r.advance(20 * time.Minute)
	servers, clients := r.l.Len()
	if servers != 0 || clients != 0 || len(r.l.index) != 0 || len(r.l.pending) != 0 || len(r.l.flows) != 0 || r.l.kept.len() != 0 || len(r.l.kept.pages) != 0 {
		r.t.Errorf("left: %d servers, %d clients, %d indexed, %d sources, %d flows, %d kept on %d pages", servers, clients,
			len(r.l.index), len(r.l.pending), len(r.l.flows), r.l.kept.len(), len(r.l.kept.pages))
	}
	if n := r.l.n.Servers.Load() + r.l.n.Clients.Load(); n != 0 {
		r.t.Errorf("gauges say %d", n)
	}
	r.user.drop()
	if n := r.pool.Live(); n != 0 {
		r.t.Errorf("%d messages not released", n)
	}
	if n := r.sh.Stats().Timers; n != 0 {
		r.t.Errorf("%d timers armed", n)
	}
}

// sender is a siptransport.Sender that writes down.
type sender struct {
	r         *rig
	proto     string
	reliable  bool
	err       error
	sent, old []packet
	forward   func(peer netip.AddrPort, b []byte) // instead of writing down
}

type packet struct {
	at   time.Duration
	peer netip.AddrPort
	data string
}

func (p packet) first() string { line, _, _ := strings.Cut(p.data, "\r\n"); return line }

func (s *sender) SendTo(peer netip.AddrPort, b []byte) error {
	if s.err != nil {
		return s.err
	}
	if s.forward != nil {
		s.forward(peer, b)
		return nil
	}
	s.sent = append(s.sent, packet{s.r.clock.Now(), peer, string(b)})
	return nil
}
func (s *sender) Reliable() bool        { return s.reliable }
func (s *sender) Proto() string         { return s.proto }
func (s *sender) Local() netip.AddrPort { return netip.MustParseAddrPort("198.51.100.9:5060") }

// last is the newest message that left.
func (s *sender) last() packet {
	all := append(slices.Clone(s.old), s.sent...)
	if len(all) == 0 {
		return packet{}
	}
	return all[len(all)-1]
}

// user is Handler and Responder; it writes down what it is told.
type user struct {
	r         *rig
	log       []string
	tx        *Server      // the newest
	kept      *sip.Message // a clone of its request
	onRequest func(tx *Server)
	again     bool // what Again answers
}

func (u *user) note(format string, args ...any) { u.log = append(u.log, fmt.Sprintf(format, args...)) }

func (u *user) drop() {
	u.kept.Release()
	u.kept = nil
}

func (u *user) Request(tx *Server, m *sip.Message) {
	u.note("request %s", m.MethodName())
	u.drop()
	u.tx, u.kept = tx, m.Clone()
	if u.onRequest != nil {
		u.onRequest(tx)
	}
}

func (u *user) Ack(_ siptransport.Flow, m *sip.Message) {
	u.note("ack")
	m.Release()
}
func (u *user) Cancelled(tx *Server) { u.note("cancelled %s", tx.Method()) }
func (u *user) Ended(tx *Server)     { u.note("ended %s", tx.Method()) }
func (u *user) Response(c *Client, m *sip.Message) {
	u.note("response %d %s", m.Status(), m.ToTag())
	m.Release()
}
func (u *user) Failed(_ *Client, err error) { u.note("failed %v", err) }
func (u *user) Gone(c *Client)              { u.note("gone %s", c.Method()) }
func (u *user) Again(_ *Client, m *sip.Message) bool {
	u.note("again %d %s", m.Status(), m.ToTag())
	return u.again
}

// text writes a request from alice with the usual fields; extra lines end with CRLF.
func text(method, branch string, extra ...string) string {
	return fmt.Sprintf("%s sip:bob@home.example SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5061;branch=z9hG4bK%s;rport\r\n"+
		"Max-Forwards: 70\r\nFrom: <sip:alice@home.example>;tag=a\r\nTo: <sip:bob@home.example>\r\nCall-ID: call\r\nCSeq: 7 %s\r\n%s"+
		"Content-Length: 0\r\n\r\n", method, branch, method, strings.Join(extra, ""))
}

// answer writes the peer's response to the request that was sent last, with a To tag.
func answer(request string, code int, tag string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "SIP/2.0 %d X\r\n", code)
	for _, line := range strings.Split(request, "\r\n") {
		name, _, _ := strings.Cut(line, ":")
		switch name {
		case "Via", "From", "Call-ID", "CSeq":
			b.WriteString(line + "\r\n")
		case "To":
			b.WriteString(line)
			if tag != "" && !strings.Contains(line, ";tag=") {
				b.WriteString(";tag=" + tag)
			}
			b.WriteString("\r\n")
		}
	}
	b.WriteString("Content-Length: 0\r\n\r\n")
	return b.String()
}

// header returns the value of the first field called name in a message.
func header(msg, name string) string {
	for _, line := range strings.Split(msg, "\r\n") {
		if n, v, ok := strings.Cut(line, ": "); ok && n == name {
			return v
		}
	}
	return ""
}

func flowOf(s siptransport.Sender, peer netip.AddrPort) siptransport.Flow {
	return siptransport.Flow{Via: s, Peer: peer}
}
