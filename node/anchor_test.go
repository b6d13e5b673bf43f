package node

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"imsafe/config"
	"imsafe/iface/clientservice"
	"imsafe/policy"
	"imsafe/proto/shard"
	"imsafe/refpoint/iq"
	"imsafe/refpoint/iq/iqtest"
	"imsafe/secure"
)

const asAnchor = "IMSAFE_TEST_ANCHOR"

// TestMain lets the test binary be the process of a media anchor.
func TestMain(m *testing.M) {
	if os.Getenv(asAnchor) == "" {
		os.Exit(m.Run())
	}
	signal.Ignore(syscall.SIGPIPE)
	ln, err := net.FileListener(os.NewFile(3, "anchor"))
	if err == nil {
		err = ServeAnchor(context.Background(), ln.(*net.UnixListener), shard.RealClock(), rand.Reader)
	}
	if err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
	os.Exit(0)
}

// anchoring is what anchors of a test are made of: a directory, and who hears of them.
type anchoring struct {
	t    testing.TB
	dir  string
	lost chan iq.Session
}

// Lost implements iq.Push.
func (a *anchoring) Lost(s iq.Session, _ iq.Reason) { a.lost <- s }

func newAnchoring(t testing.TB) *anchoring {
	dir, err := os.MkdirTemp("", "anchor") // a short path: a local socket has room for 107 octets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &anchoring{t, dir, make(chan iq.Session, 99)}
}

// open opens an anchor; edit may change what it is to be.
func (a *anchoring) open(edit func(*config.Config)) *Anchor {
	a.t.Helper()
	c := config.Default()
	c.Node.DataDir = a.dir
	c.CS.Listen = []config.Address{{AddrPort: netip.MustParseAddrPort("127.0.0.1:13000")}}
	c.CS.Ports, c.CS.SessionsPerUser = 400, iqtest.PerUser
	if edit != nil {
		edit(&c)
	}
	x, err := OpenAnchor(AnchorOptions{Config: &c, Policy: policy.Default(), Version: "test", Clock: shard.RealClock(), Log: slog.New(slog.DiscardHandler),
		Command: func() Command {
			return Command{Path: "/proc/self/exe", Args: []string{"anchor", "of a test"}, Env: append(os.Environ(), asAnchor+"=yes", "GORACE=atexit_sleep_ms=0")}
		}})
	if err != nil {
		a.t.Fatal(err)
	}
	x.plug(a, secure.NewGate(nil, nil))
	a.t.Cleanup(x.Close)
	return x
}

// met waits for a condition.
func (a *anchoring) met(what string, met func() bool) {
	a.t.Helper()
	tick, limit := time.NewTicker(5*time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for !met() {
		select {
		case <-tick.C:
		case <-limit:
			a.t.Fatalf("not in time: %s", what)
		}
	}
}

// ends waits until a process is gone. One whose parent forgot it is reaped by somebody else.
func (a *anchoring) ends(pid int) {
	a.t.Helper()
	a.met("the process ends", func() bool {
		status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		_, state, _ := strings.Cut(string(status), ") ")
		return err != nil || strings.HasPrefix(state, "Z")
	})
}

// confirmed makes a session that was answered.
func (a *anchoring) confirmed(x *Anchor) iq.Session {
	a.t.Helper()
	st, err := x.Reserve(0, iqtest.Voice("alice"))
	if err != nil {
		a.t.Fatal(err)
	}
	x.Confirm(st.Session, 1)
	x.count()
	return st.Session
}

// abandon lets the P-CSCF die, as far as the anchor can see.
func abandon(x *Anchor) int {
	pid := x.PID()
	x.now.Load().Close()
	return pid
}

// TestAnchor_contract: the process does what every anchor does.
func TestAnchor_contract(t *testing.T) {
	iqtest.Run(t, func(t *testing.T) iqtest.Harness {
		x := newAnchoring(t).open(nil)
		return iqtest.Harness{Gateway: x, Free: func() int { x.count(); return x.Free() }}
	})
}

// TestAnchor_confined: what the process cannot do any more, and what it says it refused.
func TestAnchor_confined(t *testing.T) {
	a := newAnchoring(t)
	x := a.open(nil)
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(x.PID()), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"NoNewPrivs:\t1", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapAmb:\t0000000000000000"} {
		if !strings.Contains(string(status), line) {
			t.Errorf("%q is not in its status: %s", line, status)
		}
	}
	limits, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(x.PID()), "limits"))
	if err != nil {
		t.Fatal(err)
	}
	for _, limit := range []string{"Max file size", "Max core file size"} {
		_, line, _ := strings.Cut(string(limits), limit)
		if values := strings.Fields(line); len(values) < 2 || values[0] != "0" || values[1] != "0" {
			t.Errorf("%s: %v", limit, values[:2])
		}
	}
	if held, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(x.PID()), "fd")); err == nil && os.Geteuid() != 0 {
		t.Errorf("everybody of the same user sees its %d descriptors", len(held))
	}
	info, err := os.Stat(filepath.Join(a.dir, "media.sock"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info.Mode(), err)
	}
	gate := x.gate.Load()
	for range iqtest.PerUser + 1 {
		_, err = x.Reserve(0, iqtest.Voice("alice"))
	}
	if !errors.Is(err, iq.ErrUser) {
		t.Errorf("one session too many: %v", err)
	}
	a.met("the gate of the node counts it", func() bool { n, _ := gate.Counts(secure.CSAvailabilityPortBudget); return n > 0 })
}

// TestAnchor_is_taken_over, with what was answered and nothing else; without any of it, it ends.
func TestAnchor_is_taken_over(t *testing.T) {
	a := newAnchoring(t)
	x := a.open(nil)
	a.confirmed(x)
	if _, err := x.Reserve(0, iqtest.Voice("bob")); err != nil { // it rings
		t.Fatal(err)
	}
	pid := abandon(x)
	y := a.open(nil)
	if y.PID() != pid || y.now.Load().Welcome().Orphans != 1 {
		t.Fatalf("process %d after %d, %d orphans", y.PID(), pid, y.now.Load().Welcome().Orphans)
	}
	a.met("what was not answered is over", func() bool { y.count(); return y.counters.Sessions.Load() == 1 })
	if a.confirmed(y); y.counters.Sessions.Load() != 2 || y.counters.Orphans.Load() != 1 {
		t.Errorf("%d sessions, %d orphans", y.counters.Sessions.Load(), y.counters.Orphans.Load())
	}
	y.Close()
	a.ends(pid)

	z := a.open(nil)
	if _, err := z.Reserve(0, iqtest.Voice("alice")); err != nil {
		t.Fatal(err)
	}
	a.ends(abandon(z))
}

// TestAnchor_of_another_setup is not taken over, and ends with its last call.
func TestAnchor_of_another_setup(t *testing.T) {
	a := newAnchoring(t)
	x := a.open(func(c *config.Config) { c.CS.OutlivesSilence = config.Of(time.Second) })
	a.confirmed(x)
	pid := abandon(x)
	y := a.open(nil)
	if y.PID() == pid {
		t.Fatal("the same process is another anchor")
	}
	a.confirmed(y)
	a.ends(pid)
	z := y.PID()
	y.Close()
	a.ends(z)
}

// TestAnchor_that_dies, or hangs, is replaced: its sessions are lost, and new ones begin.
func TestAnchor_that_dies(t *testing.T) {
	for name, by := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "stopped": syscall.SIGSTOP} {
		t.Run(name, func(t *testing.T) {
			a := newAnchoring(t)
			x := a.open(nil)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- x.run(ctx) }()
			defer func() { cancel(); <-done }()
			session, pid := a.confirmed(x), x.PID()
			if err := syscall.Kill(pid, by); err != nil {
				t.Fatal(err)
			}
			a.met("nothing is answered", func() bool { return errors.Is(x.Configure(session, 0, iq.Access, 0, iqtest.Peer(9)), iq.ErrGone) })
			if s := <-a.lost; s != session {
				t.Errorf("session %d is lost, want %d", s, session)
			}
			a.ends(pid)
			a.met("another one", func() bool { _, err := x.Reserve(0, iqtest.Voice("alice")); return err == nil })
			if x.PID() == pid {
				t.Error("it is the same process")
			}
		})
	}
}

// TestAnchor_that_does_not_start says why.
func TestAnchor_that_does_not_start(t *testing.T) {
	a := newAnchoring(t)
	c := config.Default()
	c.Node.DataDir, c.CS.Ports = a.dir, 0
	_, err := OpenAnchor(AnchorOptions{Config: &c, Policy: policy.Default(), Clock: shard.RealClock(), Log: slog.New(slog.DiscardHandler),
		Command: func() Command {
			return Command{Path: "/proc/self/exe", Args: []string{"anchor"}, Env: append(os.Environ(), asAnchor+"=yes")}
		}})
	if err == nil || !strings.Contains(err.Error(), "addresses, ports") {
		t.Errorf("an anchor without addresses: %v", err)
	}
}

// BenchmarkAnchor is one half of a voice call, set up and taken down, at an anchor in this process and at one in its own: what its P-CSCF waits
// for, and the medians of the two questions that it waits for.
func BenchmarkAnchor(b *testing.B) {
	half := func(b *testing.B, g iq.Gateway) {
		var reserve, configure []time.Duration
		for b.Loop() {
			begun := time.Now()
			st, err := g.Reserve(0, iqtest.Voice("alice"))
			reserve = append(reserve, time.Since(begun))
			for _, side := range []iq.Side{iq.Access, iq.Core} {
				begun = time.Now()
				err = errors.Join(err, g.Configure(st.Session, 0, side, 1, iqtest.Peer(9)))
				configure = append(configure, time.Since(begun))
			}
			if err != nil {
				b.Fatal(err)
			}
			g.Through(st.Session, 0, [2]bool{true, true})
			g.Confirm(st.Session, 1)
			g.Release(st.Session)
		}
		for name, all := range map[string][]time.Duration{"reserve-us": reserve, "configure-us": configure} {
			slices.Sort(all)
			b.ReportMetric(float64(all[len(all)/2].Nanoseconds())/1000, name)
		}
	}
	b.Run("shared", func(b *testing.B) {
		g, err := clientservice.New(clientservice.Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:13000")}, Ports: 400, Audio: 64, Video: 64},
			clientservice.Ports{Clock: shard.RealClock(), Random: rand.Reader, Gate: secure.NewGate(nil, nil), Listen: listenMedia, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		defer g.Close()
		half(b, g)
	})
	b.Run("own", func(b *testing.B) { half(b, newAnchoring(b).open(nil)) })
}
