package iqwire

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"imsafe/proto/shard"
	"imsafe/refpoint/iq"
	"imsafe/refpoint/iq/iqtest"
)

// limit is far more than an anchor needs on a busy machine.
const limit = time.Minute

// hangs is after how long an anchor that does not answer is given up where that is what a test waits for.
const hangs = time.Second

// pair are the two ends of a local socket.
func pair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	if client, err = net.Dial("unix", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// pushes keeps what a P-CSCF is told.
type pushes struct {
	lost   chan iq.Session
	events chan Event
	lines  chan Line
}

func (p *pushes) Lost(s iq.Session, _ iq.Reason) { p.lost <- s }

// connected is an anchor over a wire, and what stands at its ends.
type connected struct {
	*Client
	*pushes
	server *Server
	ended  chan bool // what Serve returned
}

func connect(t testing.TB, g iq.Gateway, within time.Duration) *connected {
	t.Helper()
	return connectPatient(t, g, within, 0)
}

func connectPatient(t testing.TB, g iq.Gateway, within, patience time.Duration) *connected {
	t.Helper()
	near, far := pair(t)
	c := &connected{pushes: &pushes{make(chan iq.Session, 99), make(chan Event, 99), make(chan Line, 99)}, ended: make(chan bool, 1)}
	accepted := make(chan *Server, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		s, setup, err := Accept(far, ServerConfig{Clock: shard.RealClock(), Limit: limit})
		if err == nil && string(setup) != "setup" {
			t.Errorf("the anchor is to be %q", setup)
		}
		if err != nil || s.Welcome(Welcome{PID: 7, Orphans: 2}) != nil {
			t.Errorf("accept: %v", err)
			close(accepted)
			return
		}
		accepted <- s
		ended, err := s.Serve(g, func(b []uint64) []uint64 { return append(b, 1, 2, 3) })
		if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("serve: %v", err)
		}
		c.ended <- ended
	})
	var err error
	c.Client, err = Dial(near, ClientConfig{Clock: shard.RealClock(), Limit: within, Patience: patience, Epoch: 5, Setup: []byte("setup"), Push: c,
		Event: func(e Event) { c.events <- e }, Line: func(l Line) { c.lines <- l }})
	if err != nil {
		t.Fatal(err)
	}
	c.server = <-accepted
	t.Cleanup(func() {
		c.Close()
		_ = far.Close()
		wg.Wait()
	})
	return c
}

func TestContract(t *testing.T) {
	iqtest.Run(t, func(t *testing.T) iqtest.Harness {
		f := iqtest.NewFake(100)
		f.PerUser = iqtest.PerUser
		c := connect(t, f, limit)
		free := func() int { // behind what has no answer
			if _, err := c.Counters(); err != nil {
				t.Error(err)
			}
			return f.Free()
		}
		return iqtest.Harness{Gateway: c, Free: free}
	})
}

func TestWhatTheAnchorTells(t *testing.T) {
	f := iqtest.NewFake(100)
	c := connect(t, f, limit)
	if w := c.Welcome(); w != (Welcome{7, 2}) {
		t.Errorf("welcome: %+v", w)
	}
	st, err := c.Reserve(0, iqtest.Voice("alice"))
	if err != nil || uint64(st.Session)>>48 != 5 {
		t.Fatalf("session %x: %v", uint64(st.Session), err)
	}
	c.server.Lost(f.Sessions()[0], iq.ReasonSilence)
	if s := <-c.lost; s != st.Session {
		t.Errorf("session %x is lost, want %x", uint64(s), uint64(st.Session))
	}
	event := Event{Control: "a.control", Reason: "r", Subject: "alice", Enforced: true}
	c.server.Refused(event)
	c.server.Say(Line{Message: strings.Repeat("m", maxText+1), Reason: "r", Error: "e"})
	if e, l := <-c.events, <-c.lines; e != event || len(l.Message) != maxText || l.Error != "e" {
		t.Errorf("%+v, %+v", e, l)
	}
	if v, err := c.Counters(); err != nil || len(v) != 3 || v[2] != 3 {
		t.Errorf("counters: %v, %v", v, err)
	}
	if _, err := c.Reserve(0, iq.Medium{User: "alice", Kind: strings.Repeat("k", maxText+1)}); !errors.Is(err, iq.ErrKeying) {
		t.Errorf("a kind that no frame can hold: %v", err)
	}
	c.Release(st.Session ^ 1<<50) // the same number of another anchor
	if _, err := c.Counters(); err != nil || len(f.Sessions()) != 1 {
		t.Errorf("%d sessions, %v: one of another anchor's name was released", len(f.Sessions()), err)
	}
}

// TestGone: what was under way at an anchor that is gone is lost, and nothing waits.
func TestGone(t *testing.T) {
	f := iqtest.NewFake(100)
	c := connect(t, f, limit)
	st, err := c.Reserve(0, iqtest.Voice("alice"))
	if err != nil {
		t.Fatal(err)
	}
	_ = c.server.line.conn.Close()
	if s := <-c.lost; s != st.Session {
		t.Errorf("session %x is lost, want %x", uint64(s), uint64(st.Session))
	}
	<-c.Done()
	if ended := <-c.ended; ended {
		t.Error("the anchor was told to end")
	}
	if _, err := c.Reserve(0, iqtest.Voice("alice")); !errors.Is(err, iq.ErrFull) {
		t.Errorf("reserve: %v", err)
	}
	if err := c.Configure(st.Session, 0, iq.Access, 0, iqtest.Peer(9)); !errors.Is(err, iq.ErrGone) {
		t.Errorf("configure: %v", err)
	}
	c.Through(st.Session, 0, [2]bool{})
	c.Release(st.Session)
	if c.Err() == nil {
		t.Error("nobody knows why")
	}
}

// hung is an anchor that answers nothing.
type hung struct {
	iq.Gateway
	on chan struct{}
}

func (h hung) Configure(iq.Session, int, iq.Side, iq.Branch, iq.Remote) error { <-h.on; return nil }

// TestHung: an anchor that does not answer holds nobody longer than the limit, whatever it is asked meanwhile.
func TestHung(t *testing.T) {
	h := hung{iqtest.NewFake(100), make(chan struct{})}
	c := connect(t, h, hangs)
	defer close(h.on)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := c.Configure(0, 0, iq.Access, 0, iqtest.Peer(9)); !errors.Is(err, iq.ErrGone) {
				t.Errorf("configure: %v", err)
			}
		})
	}
	wg.Wait()
	if !errors.Is(c.Err(), ErrHung) {
		t.Errorf("the connection ended with %v", c.Err())
	}
}

// TestLate: nobody waits for an anchor that is late, or asks it more; what was asked about is lost, and nothing else. Then it goes on.
func TestLate(t *testing.T) {
	h := hung{iqtest.NewFake(100), make(chan struct{})}
	c := connectPatient(t, h, hangs, limit)
	up, err := c.Reserve(0, iqtest.Voice("alice"))
	if err != nil {
		t.Fatal(err)
	}
	asked, err := c.Reserve(0, iqtest.Voice("alice"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Configure(asked.Session, 0, iq.Access, 0, iqtest.Peer(9)); !errors.Is(err, iq.ErrGone) {
		t.Errorf("configure: %v", err)
	}
	if s := <-c.lost; s != asked.Session {
		t.Errorf("session %d is lost, want %d", s, asked.Session)
	}
	if _, err := c.Reserve(0, iqtest.Voice("alice")); !errors.Is(err, iq.ErrFull) {
		t.Errorf("while it owes an answer it is asked: %v", err)
	}
	close(h.on)
	for c.Err() == nil {
		if err = c.Configure(up.Session, 0, iq.Access, 0, iqtest.Peer(9)); err == nil {
			break
		}
	}
	if c.Err() != nil || len(c.lost) != 0 {
		t.Errorf("the other session: %v, %v, %d more are lost", err, c.Err(), len(c.lost))
	}
	for c.Err() == nil { // it is released behind its answer
		if _, err = c.Renew(asked.Session, 0, iq.Access, iqtest.Voice("alice")); errors.Is(err, iq.ErrGone) {
			break
		}
	}
	if c.Err() != nil {
		t.Errorf("the one that is lost: %v, %v", err, c.Err())
	}
}

func TestEnd(t *testing.T) {
	c := connect(t, iqtest.NewFake(100), limit)
	if err := c.End(); err != nil || !<-c.ended {
		t.Errorf("end: %v", err)
	}
}

func TestAnotherSetup(t *testing.T) {
	near, far := pair(t)
	go func() {
		if s, _, err := Accept(far, ServerConfig{Clock: shard.RealClock(), Limit: limit}); err == nil {
			_ = s.Refuse()
		}
	}()
	if _, err := Dial(near, ClientConfig{Clock: shard.RealClock(), Limit: limit}); !errors.Is(err, ErrSetup) {
		t.Errorf("an anchor that is another one: %v", err)
	}
}

// TestBegins: an anchor that has just been started may take longer for its first answer than for the others.
func TestBegins(t *testing.T) {
	near, far := pair(t)
	const short = 300 * time.Millisecond
	go func() {
		<-time.After(2 * short)
		if s, _, err := Accept(far, ServerConfig{Clock: shard.RealClock(), Limit: limit}); err == nil {
			_ = s.Refuse()
		}
	}()
	if _, err := Dial(near, ClientConfig{Clock: shard.RealClock(), Limit: short, Begins: limit}); !errors.Is(err, ErrSetup) {
		t.Errorf("an anchor that begins: %v", err)
	}
}

func TestNoFrames(t *testing.T) {
	for name, octets := range map[string]string{"another protocol": "GET / HTTP/1.1\r\n\r\n", "too long": "\xff\xff\xff\xff", "no setup": "\x00\x00\x00\x09\x05\x00\x00\x00\x00\x00\x00\x00\x01"} {
		near, far := pair(t)
		if _, err := near.Write([]byte(octets)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Accept(far, ServerConfig{Clock: shard.RealClock(), Limit: limit}); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v", name, err)
		}
		_ = near.Close()
	}
}

// BenchmarkConfigure is what a question over the wire costs its caller, beside the anchor's own work.
func BenchmarkConfigure(b *testing.B) {
	c := connect(b, iqtest.NewFake(100), limit)
	st, err := c.Reserve(0, iqtest.Voice("alice"))
	if err != nil {
		b.Fatal(err)
	}
	r := iqtest.Peer(9)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Configure(st.Session, 0, iq.Access, 0, r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkThrough is what an order without an answer costs.
func BenchmarkThrough(b *testing.B) {
	c := connect(b, iqtest.NewFake(100), limit)
	b.ReportAllocs()
	for b.Loop() {
		c.Through(0, 0, [2]bool{})
	}
}
