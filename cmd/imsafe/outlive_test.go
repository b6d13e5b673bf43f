package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"imsafe/client/media"
	"imsafe/client/ue"
	"imsafe/test/port"
)

// outliving is a node whose media anchor is a process of its own.
type outliving struct {
	*killing
	metrics string
}

func newOutliving(t *testing.T) *outliving {
	d := newDesk(t)
	o := &outliving{&killing{enrolment: &enrolment{desk: d}, processes: map[string]*exec.Cmd{}, log: map[string]*lockedBuffer{}}, freePort(t)}
	text := strings.Replace(d.read("imsafe.toml"), "[metrics]\nlisten = \"\"", fmt.Sprintf("[metrics]\nlisten = %q", o.metrics), 1)
	text = strings.Replace(text, `level = "warn"`, `level = "info"`, 1)
	d.write("imsafe.toml", text+fmt.Sprintf("[cs]\nlisten = [%q]\nports = 200\noutlives_silence = \"5s\"\n", port.Run(t, "127.0.0.1", 200).String()))
	t.Cleanup(func() { o.kill("core") })
	o.core()
	for _, name := range []string{"alice", "bob", "carol", "dave"} {
		d.do("user", "add", name, "--random", "--card-out", d.path(name))
	}
	return o
}

// anchors are the processes of anchors that the core has told of, by number.
func (o *outliving) anchors() (pids []int) {
	o.t.Helper()
	var found [][]string
	o.until("an anchor is told of", func() bool {
		found = regexp.MustCompile(`media anchor [^\n]*pid=(\d+)`).FindAllStringSubmatch(o.log["core"].String(), -1)
		return len(found) > 0
	})
	for _, f := range found {
		pid, err := strconv.Atoi(f[1])
		if err != nil {
			o.t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

func (o *outliving) anchor() int { return o.anchors()[len(o.anchors())-1] }

// counter reads a metric; -1 while there is none.
func (o *outliving) counter(name string) float64 {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + o.metrics + "/metrics")
	if err != nil {
		return -1
	}
	defer func() { _ = answer.Body.Close() }()
	var text lockedBuffer
	b := make([]byte, 4096)
	for n, err := answer.Body.Read(b); n > 0 || err == nil; n, err = answer.Body.Read(b) {
		_, _ = text.Write(b[:n])
	}
	for line := range strings.Lines(text.String()) {
		if value, found := strings.CutPrefix(line, "imsafe_"+name+" "); found {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				o.t.Fatal(err)
			}
			return v
		}
	}
	return -1
}

// pick is a client that is registered, and ends with the test.
func (o *outliving) pick(name string) *phone {
	o.t.Helper()
	var out lockedBuffer
	a := &app{ctx: o.t.Context(), stdout: &out, stderr: &out, getenv: func(string) string { return "" }}
	l := &line{Card: o.path(name), Proxy: []string{o.proxy}, CA: o.path("ca.crt"), Transport: "tls", Patience: 40 * time.Second}
	p, err := l.pick(a)
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() {
		p.stop()
		<-p.done
		if err := p.card.Close(); err != nil {
			o.t.Error(err)
		}
	})
	return p
}

// listener notes when it hears its tone, and the longest pause since it was asked to.
type listener struct {
	hz    float64
	mu    sync.Mutex
	last  time.Time
	pause time.Duration
	times int
}

// Write implements media.Sink.
func (l *listener) Write(pcm []int16) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if media.Goertzel(pcm, l.hz) > -30 {
		if now := time.Now(); !l.last.IsZero() {
			l.pause, l.last, l.times = max(l.pause, now.Sub(l.last)), now, l.times+1
		} else {
			l.last, l.times = now, l.times+1
		}
	}
	return nil
}

// begin begins anew.
func (l *listener) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pause, l.times = 0, 0
}

// heard is how often the tone was heard, and the longest pause, one that lasts included.
func (l *listener) heard() (times int, pause time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.times, max(l.pause, time.Since(l.last))
}

// talking is a call that is up.
type talking struct {
	calls [2]*ue.Call
	ears  [2]*listener
}

// connects lets one call another, and waits until both hear each other.
func (o *outliving) connects(from, to *phone, name string) *talking {
	o.t.Helper()
	c := &talking{ears: [2]*listener{{hz: 620}, {hz: 440}}}
	ctx, cancel := context.WithTimeout(o.t.Context(), time.Minute)
	defer cancel()
	var err error
	if c.calls[0], err = from.ue.Call(ctx, "sip:"+name+"@"+testDomain, ue.Voice{Play: media.NewTone(440, -10), Listen: c.ears[0]}); err != nil {
		o.t.Fatal(err)
	}
	select {
	case c.calls[1] = <-to.calls:
	case <-c.calls[0].Done():
		o.t.Fatalf("the call ended: %+v\n%s", c.calls[0].Result(), o.log["core"])
	case <-ctx.Done():
		o.t.Fatalf("no call comes\n%s", o.log["core"])
	}
	c.calls[1].Answer(ue.Voice{Play: media.NewTone(620, -10), Listen: c.ears[1]})
	o.hear(c, "at first")
	return c
}

// hear waits until both ends of a call have heard each other for half a second more.
func (o *outliving) hear(c *talking, when string) {
	o.t.Helper()
	for side, ear := range c.ears {
		before, _ := ear.heard()
		o.until(fmt.Sprintf("side %d hears %.0f Hz %s", side, ear.hz, when), func() bool {
			times, _ := ear.heard()
			return times >= before+25
		})
	}
}

// over waits until both ends of a call know that it is over.
func (o *outliving) over(c *talking) {
	o.t.Helper()
	for side, call := range c.calls {
		select {
		case <-call.Done():
		case <-time.After(time.Minute):
			o.t.Fatalf("side %d is in a call alone\n%s", side, o.log["core"])
		}
	}
}

// ended waits until processes are gone.
func (o *outliving) ended(pids ...int) {
	o.t.Helper()
	for _, pid := range pids {
		o.until(fmt.Sprintf("process %d ends", pid), func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
	}
}

// longest is how long somebody may hear nothing on a busy machine. Media that end with the signalling never come back.
const longest = 5 * time.Second

// TestMediaOutlives: signalling is killed during a call, and both ends go on hearing each other; the node that is started again takes the
// anchor over; new calls stand beside the old one; all ports come back. Then the anchor is killed, and at last the node is told to stop:
// nothing is left.
func TestMediaOutlives(t *testing.T) {
	o := newOutliving(t)
	o.until("the anchor counts", func() bool { return o.counter("media_free_ports") > 0 })
	free, first := o.counter("media_free_ports"), o.anchor()
	alice, bob := o.pick("alice"), o.pick("bob")
	old := o.connects(alice, bob, "bob")
	if used := free - o.counter("media_free_ports"); used != 4 {
		t.Errorf("%v pairs of ports of a call: the anchor's counters are not the node's", used)
	}
	o.until("the anchor counts what it relays", func() bool { return o.counter("media_relayed_total") >= 100 })

	for _, ear := range old.ears {
		ear.begin()
	}
	o.kill("core")
	killed := time.Now()
	for range 4 {
		o.hear(old, "after the signalling was killed")
	}
	for side, ear := range old.ears {
		times, pause := ear.heard()
		t.Logf("side %d: signalling was killed %v ago; %d frames since, the longest pause %v", side, time.Since(killed).Round(time.Millisecond), times, pause.Round(time.Millisecond))
		if pause > longest {
			t.Errorf("side %d heard nothing for %v", side, pause)
		}
	}
	o.core()
	if again := o.anchor(); again != first || o.counter("media_orphans") != 2 || o.counter("media_process_starts") != 0 {
		t.Fatalf("anchor %d, and %d before; %v orphans, %v starts", again, first, o.counter("media_orphans"), o.counter("media_process_starts"))
	}
	carol, dave := o.pick("carol"), o.pick("dave")
	fresh := o.connects(carol, dave, "dave")
	o.hear(old, "beside a new call")
	for _, ear := range old.ears {
		if _, pause := ear.heard(); pause > longest {
			t.Errorf("the call of before heard nothing for %v while the node started", pause)
		}
	}
	old.calls[0].Hangup() // which its network does not know any more
	old.calls[1].Hangup()
	o.over(old)
	o.until("the call of before is over for the anchor", func() bool { return o.counter("media_orphans") == 0 })
	o.hear(fresh, "after the other call")

	if err := syscall.Kill(o.anchor(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	o.over(fresh)
	o.until("another anchor", func() bool { return o.counter("media_process_starts") > 0 })
	last := o.connects(carol, dave, "dave")
	last.calls[0].Hangup()
	o.over(last)
	o.until("all ports are back", func() bool { return o.counter("media_free_ports") == free })

	core := o.processes["core"]
	delete(o.processes, "core")
	if err := core.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := core.Wait(); err != nil {
		t.Errorf("the node ended with %v", err)
	}
	o.ended(o.anchors()...)
	if conn, err := net.Dial("unix", filepath.Join(o.path("store"), "media.sock")); err == nil {
		_ = conn.Close()
		t.Error("somebody still listens")
	}
}
