package diameter

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"imsafe/proto/shard"
)

// hung answers watchdogs, and requests of the application only while it is not: those that come then are lost.
type hung struct {
	*house
	on    bool // set on its own shard
	asked int
	t     int // of these, with the T bit
}

func (h *hung) Serve(r *Request) {
	h.asked++
	if r.Flags()&FlagRetransmitted != 0 {
		h.t++
	}
	if !h.on {
		h.house.Serve(r)
	}
}

func (h *hung) set(on bool) {
	h.sh.Exec(shard.EventFunc(func(*shard.Shard) { h.on = on }))
	synctest.Wait()
}

// hanging starts alpha, and beta and gamma before it, of which beta is asked first.
func hanging(w *network, both bool) (a *house, b, g *hung) {
	peers := []PeerConfig{{Host: beta, Dial: w.dial(alpha, beta)}}
	if both {
		peers = append(peers, PeerConfig{Host: gamma, Dial: w.dial(alpha, gamma), Priority: 1})
	}
	var started []*hung
	for i := range peers {
		h := new(hung)
		c := config(peers[i].Host, PeerConfig{Host: alpha})
		c.Applications = []ApplicationConfig{{ID: AppCx, Vendor: Vendor3GPP, Accepts: map[Command]Grammar{UAR: grammarTest}, Handler: h}}
		h.house = w.start(c)
		started = append(started, h)
	}
	a = w.start(config(alpha, peers...))
	synctest.Wait()
	return a, started[0], started[len(started)-1]
}

// by asks and returns who answered and how long that took.
func (h *house) by(out Outgoing) (host string, took time.Duration) {
	h.t.Helper()
	out.Message = request(h.Node, "bob", nil)
	begun := time.Now()
	m := h.wantAnswer("a request", out, ResultSuccess)
	return string(m.Identity(OriginHost)), time.Since(begun)
}

// A peer whose watchdog answers and whose application does not: one request waits for half of its time, the others go elsewhere at
// once, and one in each Tw tries it again.
func TestUnresponsive(t *testing.T) {
	bubble(t, func(t *testing.T, w *network) {
		a, b, g := hanging(w, true)
		want := func(what, host string, took time.Duration) {
			t.Helper()
			if gotHost, got := a.by(Outgoing{}); gotHost != host || got != took {
				t.Errorf("%s: by %s after %v, want %s after %v", what, gotHost, got, host, took)
			}
		}
		want("before", beta, 0)
		b.set(true)
		time.Sleep(time.Second)
		want("the first that is left unanswered", gamma, 5*time.Second)
		if g.t != 1 || b.t != 0 {
			t.Errorf("%d requests have the T bit at gamma, %d at beta", g.t, b.t)
		}
		a.wantState("in doubt", beta, "unresponsive")
		if !a.status(beta).Up {
			t.Error("who answers watchdogs is out of service")
		}
		for range 10 {
			want("in doubt", gamma, 0)
		}
		time.Sleep(30 * time.Second)
		want("the one that tries", gamma, 5*time.Second)
		want("after it", gamma, 0)
		b.set(false)
		want("it does not know yet", gamma, 0)
		time.Sleep(30 * time.Second)
		want("the one that tries", beta, 0)
		want("it answers", beta, 0)
		a.wantState("it answers", beta, "open")
		if n := a.cfg.Counters.Unresponsive.Load(); n != 1 || a.cfg.Counters.Failovers.Load() != 2 || a.cfg.Counters.Timeouts.Load() != 0 {
			t.Errorf("%d times in doubt, %d failovers, %d timeouts", n, a.cfg.Counters.Failovers.Load(), a.cfg.Counters.Timeouts.Load())
		}
	})
}

// A request that no other peer can take waits for all of its time, and its answer is taken in the second half too.
func TestUnresponsive_alone(t *testing.T) {
	bubble(t, func(t *testing.T, w *network) {
		requests := make(slow, 2)
		a, b := pair(w, func(_, cb *Config) {
			cb.Applications = []ApplicationConfig{{ID: AppCx, Vendor: Vendor3GPP, Accepts: map[Command]Grammar{UAR: grammarTest}, Handler: requests}}
		})
		go func() {
			r := <-requests
			time.Sleep(8 * time.Second)
			r.Reply.Send(success(r.Message, b.Us(), "bob"))
		}()
		if _, took := a.by(Outgoing{}); took != 8*time.Second {
			t.Errorf("answered after %v", took)
		}
		a.wantState("after a late answer", beta, "open")
		begun := time.Now()
		if _, err := a.ask(Outgoing{Message: request(a.Node, "", nil)}); !errors.Is(err, ErrTimeout) || time.Since(begun) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		a.wantState("after silence", beta, "unresponsive")
		go func() {
			<-requests // the one of before
			r := <-requests
			r.Reply.Send(success(r.Message, b.Us(), "bob"))
		}()
		if _, took := a.by(Outgoing{}); took != 0 {
			t.Errorf("the only peer is asked after %v", took)
		}
	})
}

// One request that is lost says nothing of a peer that answers others.
func TestUnresponsive_one_of_many(t *testing.T) {
	bubble(t, func(t *testing.T, w *network) {
		a, b, _ := hanging(w, true)
		b.set(true)
		lost := make(chan string, 1)
		go func() {
			host, _ := a.by(Outgoing{})
			lost <- host
		}()
		time.Sleep(time.Second)
		b.set(false)
		if host, _ := a.by(Outgoing{}); host != beta {
			t.Errorf("by %s", host)
		}
		if host := <-lost; host != gamma {
			t.Errorf("what was lost is answered by %s", host)
		}
		a.wantState("answers others", beta, "open")
	})
}

// A procedure on another shard than the Node's waits in two halves too.
func TestUnresponsive_from_another_shard(t *testing.T) {
	bubble(t, func(t *testing.T, w *network) {
		a, b, _ := hanging(w, true)
		other := shard.New(shard.Config{Clock: shard.RealClock()})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = other.Run(ctx) }() // its error is that of the context
		defer func() { cancel(); <-ended; other.Close() }()
		b.set(true)
		var m Message
		var err error
		out := Outgoing{Message: request(a.Node, "bob", nil), Realm: realm}
		if e := other.Call(t.Context(), func(task *shard.Task) { m, err = a.Do(task, &out) }); e != nil || err != nil {
			t.Fatal(e, err)
		}
		if string(m.Identity(OriginHost)) != gamma {
			t.Errorf("by %s", m.Identity(OriginHost))
		}
	})
}
