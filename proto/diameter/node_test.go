package diameter

import (
	"bytes"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"imsafe/proto/shard"
)

const (
	alpha = "alpha.ims.example" // dials
	beta  = "bravo.ims.example"
	gamma = "gamma.ims.example"
)

// pair is alpha, which dials beta.
func pair(w *network, change func(a, b *Config)) (a, b *house) {
	ca, cb := config(alpha, PeerConfig{Host: beta, Dial: w.dial(alpha, beta)}), config(beta, PeerConfig{Host: alpha})
	if change != nil {
		change(&ca, &cb)
	}
	b = w.start(cb)
	a = w.start(ca)
	synctest.Wait()
	return a, b
}

func TestNode_request_and_answer_both_ways(t *testing.T) {
	bubble(t, func(t *testing.T, w *network) {
		a, b := pair(w, nil)
		for _, h := range []*house{a, b} {
			m := h.wantAnswer(h.Us().Host, Outgoing{Message: request(h.Node, "bob", nil)}, ResultSuccess)
			if got := m.Identity(UserName); string(got) != "bob" {
				t.Errorf("answer for %q", got)
			}
		}
		s := b.status(alpha)
		if !s.Up || s.State != "open" || s.Secure || s.Product != "test" || s.Pending != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestNode_both_dial_one_connection_stays(t *testing.T) {
	bubble(t, func(t *testing.T, w *network) {
		a, b := pair(w, func(_, cb *Config) { cb.Peers[0].Dial = w.dial(beta, alpha) })
		time.Sleep(time.Minute)
		for _, h := range []*house{a, b} {
			h.wantAnswer(h.Us().Host, Outgoing{Message: request(h.Node, "", nil)}, ResultSuccess)
			if n := h.cfg.Counters.Conns.Load(); n != 1 {
				t.Errorf("%s has %d connections", h.Us().Host, n)
			}
		}
	})
}

func TestNode_goodbye_and_return(t *testing.T) {
	bubble(t, func(t *testing.T, w *network) {
		a, b := pair(w, nil)
		began := time.Now()
		b.stop()
		if took := time.Since(began); took > time.Second {
			t.Errorf("the end took %v: no DPA", took)
		}
		if a.cfg.Counters.Disconnects.Load() != 1 {
			t.Error("no DPR came")
		}
		if _, err := a.ask(Outgoing{Message: request(a.Node, "", nil)}); !errors.Is(err, ErrNoPeer) {
			t.Errorf("request to nobody: %v", err)
		}
		w.mu.Lock()
		delete(w.nodes, beta)
		w.mu.Unlock()
		time.Sleep(10 * time.Minute)
		w.start(config(beta, PeerConfig{Host: alpha}))
		time.Sleep(46 * time.Second) // Tc and half of it
		a.wantState("after the return", beta, "open")
	})
}

// silent swallows what is written while it is on.
type silent struct {
	net.Conn
	on *atomic.Bool
}

func (s silent) Write(p []byte) (int, error) {
	if s.on.Load() {
		return len(p), nil
	}
	return s.Conn.Write(p)
}

// RFC 3539 3.4.1.
func TestNode_watchdog(t *testing.T) {
	bubble(t, func(t *testing.T, w *network) {
		var mute atomic.Bool
		w.wire = func(string, string) (net.Conn, net.Conn) {
			x, y := net.Pipe()
			return silent{x, &mute}, y
		}
		a, b := pair(w, nil)
		time.Sleep(10 * time.Minute)
		b.wantState("idle for long", alpha, "open")
		if n := a.cfg.Counters.AnswersIn.Load() + b.cfg.Counters.AnswersIn.Load(); n < 15 || n > 25 {
			t.Errorf("%d DWAs in ten minutes, of both", n)
		}

		mute.Store(true) // alpha falls silent
		silence := time.Now()
		for b.status(alpha).State == "open" && time.Since(silence) < time.Minute+8*time.Second {
			time.Sleep(time.Second)
		}
		b.wantState("one watchdog unanswered", alpha, "suspect")
		if took := time.Since(silence); took < 27*time.Second {
			t.Errorf("suspect after %v", took)
		}
		if _, err := b.ask(Outgoing{Message: request(b.Node, "", nil)}); !errors.Is(err, ErrNoPeer) {
			t.Errorf("request to a suspect: %v", err)
		}
		mute.Store(false)
		a.sh.Exec(shard.EventFunc(func(*shard.Shard) { a.peers[0].conn.sendDWR() }))
		b.wantState("alpha is back", alpha, "open")

		mute.Store(true)
		time.Sleep(103 * time.Second)
		if b.cfg.Counters.ClosedWatchdog.Load()+a.cfg.Counters.ClosedWatchdog.Load() == 0 {
			t.Error("not closed after two Tw")
		}
		mute.Store(false)
		time.Sleep(46 * time.Second)
		b.wantState("a new connection that answered three watchdogs", alpha, "open")
	})
}

func TestNode_failover(t *testing.T) {
	bubble(t, func(t *testing.T, w *network) {
		var mute atomic.Bool
		w.wire = func(_, to string) (net.Conn, net.Conn) {
			x, y := net.Pipe()
			if to == beta {
				return x, silent{y, &mute}
			}
			return x, y
		}
		w.start(config(beta, PeerConfig{Host: alpha}))
		g := w.start(config(gamma, PeerConfig{Host: alpha}))
		a := w.start(config(alpha, PeerConfig{Host: beta, Dial: w.dial(alpha, beta)},
			PeerConfig{Host: gamma, Dial: w.dial(alpha, gamma), Priority: 1}))
		synctest.Wait()
		g.served = make(chan string, 10)
		a.wantAnswer("by the first", Outgoing{Message: request(a.Node, "one", nil)}, ResultSuccess)
		if len(g.served) != 0 {
			t.Error("the second was asked while the first is in service")
		}
		mute.Store(true) // beta serves, but its answers are lost
		m := a.wantAnswer("by the second", Outgoing{Message: request(a.Node, "two", nil), Timeout: 5 * time.Minute}, ResultSuccess)
		if string(m.Identity(OriginHost)) != gamma || a.cfg.Counters.Failovers.Load() != 1 {
			t.Errorf("answered by %s after %d failovers", m.Identity(OriginHost), a.cfg.Counters.Failovers.Load())
		}
		if _, err := a.ask(Outgoing{Message: request(a.Node, "three", nil), Host: beta, Timeout: time.Second}); err == nil {
			t.Error("a request for beta alone was answered")
		}
	})
}

func TestNode_busy_peer_is_left_for_another(t *testing.T) {
	bubble(t, func(t *testing.T, w *network) {
		cb := config(beta, PeerConfig{Host: alpha})
		cb.MaxServing = -1
		w.start(cb)
		w.start(config(gamma, PeerConfig{Host: alpha}))
		a := w.start(config(alpha, PeerConfig{Host: beta, Dial: w.dial(alpha, beta)},
			PeerConfig{Host: gamma, Dial: w.dial(alpha, gamma), Priority: 1}))
		synctest.Wait()
		m := a.wantAnswer("beta is busy", Outgoing{Message: request(a.Node, "", nil)}, ResultSuccess)
		if string(m.Identity(OriginHost)) != gamma {
			t.Errorf("answered by %s", m.Identity(OriginHost))
		}
		a.wantAnswer("beta alone", Outgoing{Message: request(a.Node, "", nil), Host: beta}, ResultTooBusy)
	})
}

// slow keeps requests for the test.
type slow chan *Request

func (s slow) Serve(r *Request) {
	c := *r
	c.Message = Message{bytes.Clone(r.Bytes())}
	s <- &c
}

func TestNode_duplicates_are_served_once(t *testing.T) {
	bubble(t, func(t *testing.T, w *network) {
		requests := make(slow, 10)
		_, b := pair(w, func(_, cb *Config) {
			cb.Applications = []ApplicationConfig{{ID: AppCx, Vendor: Vendor3GPP, Accepts: map[Command]Grammar{UAR: grammarTest}, Handler: requests}}
		})
		raw := newRaw(t, w, beta, alpha) // another connection is refused, so:
		raw.close()
		w.nodes[alpha].stop()
		raw = newRaw(t, w, beta, alpha)
		defer raw.close()
		raw.open(t)

		msg := request(b.Node, "x", nil)
		copyHost(msg, alpha)
		setEndToEnd(msg, 77)
		setHopByHop(msg, 1)
		raw.write(msg)
		synctest.Wait()
		setHopByHop(msg, 2)
		setFlags(msg, FlagRetransmitted, 0)
		raw.write(msg) // while the first is being served
		synctest.Wait()
		first := <-requests
		first.Reply.Send(success(first.Message, b.Us(), "x"))
		for _, want := range []uint32{1, 2} {
			if m := raw.read(t); m.HopByHop() != want || m.EndToEnd() != 77 {
				t.Errorf("answer %d, want %d", m.HopByHop(), want)
			}
		}
		setHopByHop(msg, 3)
		raw.write(msg) // after it
		if m := raw.read(t); m.HopByHop() != 3 {
			t.Errorf("answer %d", m.HopByHop())
		}
		if len(requests) != 0 || b.cfg.Counters.Duplicates.Load() != 2 {
			t.Errorf("%d served again, %d duplicates", len(requests), b.cfg.Counters.Duplicates.Load())
		}
		time.Sleep(5 * time.Minute)
		b.dup.mu.Lock()
		defer b.dup.mu.Unlock()
		if e := &b.dup.ring[0]; e.used || len(e.answer) > 0 {
			t.Error("the answer is kept for longer than it is good for")
		}
	})
}
