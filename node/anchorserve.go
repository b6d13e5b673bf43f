package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"imsafe/iface/clientservice"
	"imsafe/proto/shard"
	"imsafe/refpoint/iq"
	"imsafe/refpoint/iq/iqwire"
	"imsafe/secure"
)

// anchorHost is the process of a media anchor, from inside. A P-CSCF comes over the socket, says what the anchor is to be, and is served until it
// goes; what goes on after that waits for the next one.
type anchorHost struct {
	clock  shard.Clock
	random io.Reader
	ln     *net.UnixListener

	setup   []byte
	gateway atomic.Pointer[clientservice.Gateway] // nil before the first P-CSCF
	pcscf   atomic.Pointer[iqwire.Server]         // nil: there is none
}

// anchorWaits is how long a P-CSCF may take to come for the first time; anchorSweeps how often calls are looked at that have lost theirs.
const (
	anchorWaits  = 30 * time.Second
	anchorSweeps = time.Second
)

// ServeAnchor is the life of a media anchor in a process of its own: ln is the socket where its P-CSCF comes, of a user that is this one's. It
// returns when a P-CSCF says so, when there is neither a P-CSCF nor a call any more, or when ctx ends and there is no P-CSCF: one that is
// there ends its anchor itself, when it has drained.
func ServeAnchor(ctx context.Context, ln *net.UnixListener, clock shard.Clock, random io.Reader) error {
	if err := shieldAnchor(ln); err != nil {
		return errors.Join(err, ln.Close())
	}
	h := &anchorHost{clock: clock, random: random, ln: ln}
	arrived := make(chan *net.UnixConn)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { h.accept(arrived, stop) })
	err := h.serve(ctx, arrived)
	close(stop)
	_ = ln.Close() // it may be closed, and another anchor has its place
	wg.Wait()
	if g := h.gateway.Load(); g != nil {
		g.Close()
	}
	return err
}

// shieldAnchor keeps the memory of the process, where the keys are, from everybody: nothing of it comes onto a disk, nobody of the same user may look
// into it. And the socket is the process's own, so that the kernel says so to whoever connects.
func shieldAnchor(ln *net.UnixListener) error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("node: the media anchor's memory: %w", err)
	}
	for _, what := range []int{unix.RLIMIT_CORE, unix.RLIMIT_FSIZE} { // neither a core nor any other file gets an octet
		if err := unix.Setrlimit(what, &unix.Rlimit{}); err != nil {
			return fmt.Errorf("node: the media anchor's memory: %w", err)
		}
	}
	raw, err := ln.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.Listen(int(fd), 4) })
	return errors.Join(err, failed)
}

// accept hands over who connects, if he is of our own user.
func (h *anchorHost) accept(arrived chan<- *net.UnixConn, stop <-chan struct{}) {
	for {
		conn, err := h.ln.AcceptUnix()
		if err != nil {
			return // it is closed
		}
		if who, err := peerOn(conn); err != nil || int(who.Uid) != os.Geteuid() {
			_ = conn.Close()
			continue
		}
		select {
		case arrived <- conn:
		case <-stop:
			_ = conn.Close()
			return
		}
	}
}

// served is how the visit of a P-CSCF ended.
type served struct {
	ended bool // it has told the anchor to end
	err   error
}

func (h *anchorHost) serve(ctx context.Context, arrived <-chan *net.UnixConn) error {
	sweep := time.NewTicker(anchorSweeps)
	defer sweep.Stop()
	first := time.NewTimer(anchorWaits)
	defer first.Stop()
	visit := make(chan served, 1)
	next, stopped := arrived, ctx.Done() // nil while there is a P-CSCF
	for {
		g := h.gateway.Load()
		select {
		case conn := <-next:
			next, stopped = nil, nil
			go func() { visit <- h.visit(conn) }()
		case v := <-visit:
			h.pcscf.Store(nil)
			if g = h.gateway.Load(); v.ended || g == nil {
				return v.err
			}
			g.Abandon()
			next, stopped = arrived, ctx.Done()
		case <-sweep.C:
			if g != nil {
				g.Sweep()
			}
		case <-first.C:
			if g == nil && next != nil {
				return errors.New("node: no P-CSCF has come for the media anchor")
			}
		case <-stopped:
			return nil
		}
		if g != nil && next != nil && g.Counters().Sessions.Load() == 0 {
			return nil // nobody is left
		}
	}
}

// visit serves a P-CSCF until it goes.
func (h *anchorHost) visit(conn net.Conn) served {
	s, setup, err := iqwire.Accept(conn, iqwire.ServerConfig{Clock: h.clock, Limit: anchorLimit})
	if err != nil {
		return served{err: err}
	}
	if h.gateway.Load() == nil {
		if err = h.open(setup); err != nil {
			return served{err: errors.Join(err, s.Refuse())}
		}
	} else if !bytes.Equal(setup, h.setup) {
		_ = h.ln.Close() // another anchor takes the place of this one
		return served{err: s.Refuse()}
	}
	g := h.gateway.Load()
	n := g.Counters()
	h.pcscf.Store(s)
	if err = s.Welcome(iqwire.Welcome{PID: uint32(os.Getpid()), Orphans: uint32(n.Orphans.Load())}); err != nil {
		return served{err: err}
	}
	ended, err := s.Serve(g, func(values []uint64) []uint64 {
		values = append(values, uint64(g.Free()))
		counts(n, func(_ int, v uint64) (uint64, bool) { values = append(values, v); return 0, false })
		return values
	})
	return served{ended, err}
}

// open makes the anchor.
func (h *anchorHost) open(text []byte) error {
	var setup anchorSetup
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&setup); err != nil {
		return fmt.Errorf("node: what the media anchor is to be: %w", err)
	}
	var off []secure.ControlID
	for _, c := range secure.Controls() {
		for _, name := range setup.Off {
			if c.String() == name {
				off = append(off, c)
			}
		}
	}
	g, err := clientservice.New(clientservice.Config{Listen: setup.Listen, Ports: setup.Ports, PerUser: setup.PerUser, Audio: setup.Audio, Video: setup.Video,
		Silence: setup.Silence, Outlives: setup.Outlives, OrphanSilence: setup.OrphanSilence},
		clientservice.Ports{Clock: h.clock, Random: h.random, Gate: secure.NewGate(off, h), Listen: listenMedia, Log: slog.New(anchorLog{h})})
	if err != nil {
		return err
	}
	g.Plug(h)
	h.setup = text
	h.gateway.Store(g)
	return nil
}

// Lost implements iq.Push. Without a P-CSCF only orphans are left, which end by themselves.
func (h *anchorHost) Lost(s iq.Session, why iq.Reason) {
	if to := h.pcscf.Load(); to != nil {
		to.Lost(s, why)
	}
}

// Refused implements secure.Sink.
func (h *anchorHost) Refused(e secure.Event) {
	if to := h.pcscf.Load(); to != nil {
		to.Refused(iqwire.Event{Control: e.Control.String(), Reason: e.Reason, Subject: e.Subject, Enforced: e.Enforced})
	}
}

// anchorLog is the log of an anchor: its P-CSCF's, which knows what may be written. Of a record it carries the message, the reason and the error.
type anchorLog struct{ h *anchorHost }

// Enabled implements slog.Handler.
func (anchorLog) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

// Handle implements slog.Handler.
func (l anchorLog) Handle(_ context.Context, r slog.Record) error {
	line := iqwire.Line{Message: r.Message}
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "reason":
			line.Reason = a.Value.String()
		case "error":
			line.Error = a.Value.String()
		}
		return true
	})
	if to := l.h.pcscf.Load(); to != nil {
		to.Say(line)
	}
	return nil
}

// WithAttrs implements slog.Handler: nobody in the anchor needs it.
func (l anchorLog) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup implements slog.Handler.
func (l anchorLog) WithGroup(string) slog.Handler { return l }
