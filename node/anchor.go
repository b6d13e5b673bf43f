package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"imsafe/config"
	"imsafe/iface/clientservice"
	"imsafe/policy"
	"imsafe/proto/shard"
	"imsafe/refpoint/iq"
	"imsafe/refpoint/iq/iqwire"
	"imsafe/secure"
)

// AnchorOptions are what an Anchor is made of.
type AnchorOptions struct {
	Config  *config.Config
	Policy  policy.Effective
	Version string // of the program: an anchor of another one is not taken over
	Clock   shard.Clock
	Log     *slog.Logger
	// Command makes the command of a process that calls ServeAnchor with the socket that it inherits, at descriptor 3.
	Command func() Command
}

// Anchor is the media anchor in a process of its own, so that media do not share the fate of signalling (docs/decisions/041). One that a node
// before has left is taken over, with the calls that go on there; one that dies is replaced, and its calls are lost. It implements
// iq.Gateway. Safe for concurrent use.
type Anchor struct {
	o     AnchorOptions
	setup []byte
	path  string // of the socket

	now    atomic.Pointer[anchorLink] // the anchor that is asked; a dead one, while there is none
	push   atomic.Pointer[iq.Push]    // nil: nobody is told
	gate   atomic.Pointer[secure.Gate]
	epoch  uint16
	starts atomic.Uint64

	counting sync.Mutex // one at a time asks for counters
	counters clientservice.Counters
	free     atomic.Uint64

	close func()
}

// anchorLink is an anchor with its process.
type anchorLink struct {
	*iqwire.Client
	process *anchorProcess
}

var _ iq.Gateway = (*Anchor)(nil)
var _ iq.Push = (*Anchor)(nil)

// anchorLimit is how long the anchor may leave a question without an answer: a shard waits for it. After anchorPatience it is taken for dead, with the calls
// that are up. anchorBegins is how long it may take to begin, also on a busy machine, and anchorEnds to end.
const (
	anchorLimit    = 2 * time.Second
	anchorPatience = 10 * time.Second
	anchorBegins   = 15 * time.Second
	anchorEnds     = 5 * time.Second
)

// anchorSetup is what an anchor is to be: what it is told first. One that was told something else is not taken over.
type anchorSetup struct {
	Version       string
	Listen        []netip.AddrPort
	Ports         int
	PerUser       int
	Audio, Video  int
	Silence       time.Duration
	Outlives      time.Duration
	OrphanSilence time.Duration
	Off           []string // controls, in a laboratory
}

// OpenAnchor takes over the anchor of the node that ran here before, or starts one. Close ends it.
func OpenAnchor(o AnchorOptions) (*Anchor, error) {
	s := o.Config.CS
	setup := anchorSetup{Version: o.Version, Ports: s.Ports, PerUser: s.SessionsPerUser, Audio: s.Audio, Video: s.Video, Silence: s.Silence.Std(),
		Outlives: s.Outlives.Std(), OrphanSilence: s.OutlivesSilence.Std()}
	for _, a := range s.Listen {
		setup.Listen = append(setup.Listen, a.AddrPort)
	}
	for _, c := range o.Policy.Off() {
		setup.Off = append(setup.Off, c.String())
	}
	a := &Anchor{o: o, path: filepath.Join(o.Config.Node.DataDir, "media.sock")}
	a.close = sync.OnceFunc(a.end)
	var err error
	if a.setup, err = json.Marshal(setup); err != nil {
		return nil, err
	}
	link, err := a.adopt()
	if link == nil && err == nil {
		link, err = a.start()
		a.starts.Add(1)
	}
	if err != nil {
		return nil, fmt.Errorf("node: the media anchor: %w", err)
	}
	a.now.Store(link)
	return a, nil
}

// iq is the anchor as a World has it; nil for none.
func (a *Anchor) iq() iq.Gateway {
	if a == nil {
		return nil
	}
	return a
}

// plug tells whom to tell, and by which gate what the anchor refuses counts. nil: nobody.
func (a *Anchor) plug(push iq.Push, gate *secure.Gate) {
	a.gate.Store(gate)
	if push == nil {
		a.push.Store(nil)
		return
	}
	a.push.Store(&push)
}

// maxTries is how often an anchor that has calls is asked whether it lives.
const maxTries = 3

// adopt takes over the anchor that a node before has left; nil if there is none, or it is another one: that one lets its calls end.
func (a *Anchor) adopt() (*anchorLink, error) {
	var client *iqwire.Client
	conn, pid, err := dialAnchor(a.path)
	for tries := 1; conn != nil; tries++ {
		if client, err = iqwire.Dial(conn, a.config()); !errors.Is(err, iqwire.ErrHung) || tries == maxTries {
			break
		}
		conn, pid, err = dialAnchor(a.path) // it has calls: it is given time
	}
	switch {
	case conn == nil:
		return nil, err
	case errors.Is(err, iqwire.ErrSetup):
		a.o.Log.Info("a media anchor for another program or configuration lets its calls end", "pid", pid)
		return nil, nil
	case errors.Is(err, iqwire.ErrHung):
		a.o.Log.Warn("the media anchor that ran here does not answer", "pid", pid)
		if runs(pid, a.o.Command()) {
			processOf(pid).kill()
		}
		return nil, nil
	case err != nil: // it was about to end
		return nil, nil
	}
	w := client.Welcome()
	a.o.Log.Info("the media anchor was taken over", "pid", w.PID, "count", w.Orphans)
	return &anchorLink{client, processOf(int(w.PID))}, nil
}

// start starts an anchor.
func (a *Anchor) start() (*anchorLink, error) {
	process, err := startAnchor(a.path, a.o.Command())
	if err != nil {
		return nil, err
	}
	conn, _, err := dialAnchor(a.path)
	if err == nil && conn == nil {
		err = errors.New("nobody listens")
	}
	if err == nil {
		var client *iqwire.Client
		c := a.config()
		c.Begins = anchorBegins
		if client, err = iqwire.Dial(conn, c); err == nil {
			a.o.Log.Info("the media anchor runs", "pid", process.pid)
			return &anchorLink{client, process}, nil
		}
	}
	process.ends(time.Second)
	if said := process.said(); said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return nil, err
}

// config is that of the next connection.
func (a *Anchor) config() iqwire.ClientConfig {
	a.epoch++
	return iqwire.ClientConfig{Clock: a.o.Clock, Limit: anchorLimit, Patience: anchorPatience, Epoch: a.epoch, Setup: a.setup, Push: a, Event: a.refused, Line: a.says}
}

// anchorLooks is how often an anchor is asked whether it is there.
const anchorLooks = 5 * time.Second

// run replaces an anchor that dies, until ctx ends.
func (a *Anchor) run(ctx context.Context) error {
	look := time.NewTicker(anchorLooks)
	defer look.Stop()
	for {
		link := a.now.Load()
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
			a.count()
		case <-link.Done():
			a.o.Log.Error("the media anchor is gone, with all calls; another one is started", "pid", link.process.pid, "error", link.Err())
			link.Close()
			link.process.kill()
			if said := link.process.said(); said != "" {
				a.o.Log.Error("the media anchor ended with a defect", "stack", said)
			}
			if next := a.restart(ctx); next != nil {
				a.now.Store(next)
				a.starts.Add(1)
			}
		}
	}
}

// restart starts an anchor, again and again where that fails; nil when ctx has ended.
func (a *Anchor) restart(ctx context.Context) *anchorLink {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		link, err := a.start()
		if err == nil {
			return link
		}
		a.o.Log.Error("the media anchor does not start: calls are refused", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// Close ends the anchor and its process, with all calls. Twice is harmless.
func (a *Anchor) Close() {
	if a != nil {
		a.close()
	}
}

func (a *Anchor) end() {
	a.plug(nil, nil)
	link := a.now.Load()
	if err := link.End(); err != nil {
		a.o.Log.Warn("the media anchor was not told to end", "pid", link.process.pid, "error", err)
	}
	link.process.ends(anchorEnds)
}

// Lost implements iq.Push, for whoever is plugged.
func (a *Anchor) Lost(s iq.Session, why iq.Reason) {
	if push := a.push.Load(); push != nil {
		(*push).Lost(s, why)
	}
}

// refused counts what the anchor refused as this node's.
func (a *Anchor) refused(e iqwire.Event) {
	gate := a.gate.Load()
	if gate == nil {
		return
	}
	for _, c := range secure.Controls() {
		if c.String() == e.Control && isCode(e.Reason) {
			gate.Took(secure.Event{Control: c, Reason: e.Reason, Subject: e.Subject, Enforced: e.Enforced})
		}
	}
}

// isCode reports whether a reason may be the label of a metric.
func isCode(reason string) bool {
	return len(bytes.Trim([]byte(reason), "abcdefghijklmnopqrstuvwxyz0123456789-")) == 0
}

// says writes into the log what the anchor has to say.
func (a *Anchor) says(l iqwire.Line) {
	a.o.Log.Warn("the media anchor says", "event", l.Message, "reason", l.Reason, "error", l.Error)
}

// count asks for the anchor's counters. What an anchor counted that has died is lost.
func (a *Anchor) count() {
	a.counting.Lock()
	defer a.counting.Unlock()
	values, err := a.now.Load().Counters()
	if err != nil || len(values) == 0 {
		return
	}
	a.free.Store(values[0])
	counts(&a.counters, func(i int, _ uint64) (uint64, bool) {
		if i+1 < len(values) {
			return values[i+1], true
		}
		return 0, false
	})
}

// counts goes through all counters in order, and sets what each is given.
func counts(c *clientservice.Counters, each func(i int, value uint64) (set uint64, ok bool)) {
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i).Addr().Interface().(type) {
		case *atomic.Uint64:
			if set, ok := each(i, f.Load()); ok {
				f.Store(set)
			}
		case *atomic.Int64:
			if set, ok := each(i, uint64(f.Load())); ok {
				f.Store(int64(set))
			}
		}
	}
}

// PID is the number of the anchor's process: of the one that is asked now.
func (a *Anchor) PID() int { return a.now.Load().process.pid }

// Free is how many pairs of ports were left when the anchor was last asked.
func (a *Anchor) Free() int { return int(a.free.Load()) }

// Reserve implements iq.Gateway.
func (a *Anchor) Reserve(s iq.Session, m iq.Medium) (iq.Stream, error) {
	return a.now.Load().Reserve(s, m)
}

// Renew implements iq.Gateway.
func (a *Anchor) Renew(s iq.Session, stream int, side iq.Side, m iq.Medium) (iq.End, error) {
	return a.now.Load().Renew(s, stream, side, m)
}

// Configure implements iq.Gateway.
func (a *Anchor) Configure(s iq.Session, stream int, side iq.Side, b iq.Branch, r iq.Remote) error {
	return a.now.Load().Configure(s, stream, side, b, r)
}

// Through implements iq.Gateway.
func (a *Anchor) Through(s iq.Session, stream int, from [2]bool) {
	a.now.Load().Through(s, stream, from)
}

// Confirm implements iq.Gateway.
func (a *Anchor) Confirm(s iq.Session, b iq.Branch) { a.now.Load().Confirm(s, b) }

// Release implements iq.Gateway.
func (a *Anchor) Release(s iq.Session) { a.now.Load().Release(s) }

// ProgramVersion is by what this program is known to an anchor.
func ProgramVersion(build string) string { return build + " " + runtime.Version() }
