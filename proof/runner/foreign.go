package runner

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"imsafe/proof/attack"
	"imsafe/proof/evidence"
	"imsafe/proof/target"
)

// Foreign is what a run of one variant has shown of a target that the runner has not started. What it says was seen from outside; what stopped an
// attack cannot be.
type Foreign struct {
	Attack  string           `json:"attack"`
	Number  string           `json:"number"`
	Variant string           `json:"variant,omitempty"`
	Access  string           `json:"access,omitempty"` // "" if there is none
	Title   string           `json:"title"`
	Outcome evidence.Verdict `json:"outcome"`
	Saw     string           `json:"saw"` // or why nothing could be seen
	Record  *evidence.Record `json:"record"`
}

// Name is attack, variant and access, for people.
func (f *Foreign) Name() string { return path.Join(f.Attack, f.Variant, f.Access) }

// Plan says what of an attack can be aimed at a target: one Foreign for each variant and access, without a record and a verdict where it can, with
// the reason where it cannot.
func Plan(a *attack.Attack, t *target.Target) (plan []Foreign) {
	for i := range a.Variants {
		v := &a.Variants[i]
		row := Foreign{Attack: a.ID, Number: a.Number, Variant: v.Name, Title: a.Title}
		ways, why := a.Ways(v, &t.Site)
		if why == "" {
			why = beyond(a.Aim().Bounds, &t.Limits)
		}
		if why != "" {
			row.Outcome, row.Saw = evidence.NotApplicable, why
			plan = append(plan, row)
			continue
		}
		for _, access := range ways {
			row.Access = string(access)
			plan = append(plan, row)
		}
	}
	return plan
}

// beyond says what of a row is more than the owner allows; "" if nothing.
func beyond(b attack.Bounds, l *target.Limits) string {
	for _, x := range []struct {
		what         string
		wants, given int
	}{{"packets", b.Packets, l.Packets}, {"octets", b.Bytes, l.Octets}, {"sockets", b.Conns, l.Sockets}} {
		if x.wants > x.given {
			return fmt.Sprintf("it may take %d %s, and the target's limits allow %d", x.wants, x.what, x.given)
		}
	}
	return ""
}

// Aim runs what of an attack can be aimed at a target, within ctx and the limits. It leaves no registration behind. An error is of the runner's own.
func (r *Runner) Aim(ctx context.Context, a *attack.Attack, t *target.Target) ([]Foreign, error) {
	plan := Plan(a, t)
	for i := range plan {
		row := &plan[i]
		if row.Outcome == "" {
			r.rest(ctx, t.Limits.Pause)
		}
		v := &a.Variants[slices.IndexFunc(a.Variants, func(v attack.Variant) bool { return v.Name == row.Variant })]
		record, err := r.meet(ctx, &trial{attack: a, variant: v, access: attack.Access(row.Access)}, t, row)
		if err != nil {
			return plan[:i], fmt.Errorf("runner: %s: %w", row.Name(), err)
		}
		row.Record, row.Outcome, row.Saw = record, record.Verdict, record.Reason
	}
	return plan, nil
}

// rest waits between two runs; before the first, too, since somebody may have just had one.
func (r *Runner) rest(ctx context.Context, pause time.Duration) {
	if pause == 0 {
		return
	}
	over := time.NewTimer(pause)
	defer over.Stop()
	select {
	case <-over.C:
	case <-ctx.Done():
	}
}

// meet is one run: honest baseline, attack, baseline, and registrations taken back.
func (r *Runner) meet(ctx context.Context, c *trial, t *target.Target, row *Foreign) (*evidence.Record, error) {
	site := stranger{t}
	record := r.open(c, nil, site)
	record.Kind, record.Allowed, record.Target.Mode, record.NoAblation = evidence.Foreign, t.Owner, evidence.Foreign, ""
	defer func() { record.End = evidence.Time(r.cfg.Clock.Wall()) }()
	var err error
	if record.Covers, err = covers(c.attack, c.variant, record); err != nil {
		return nil, err
	}
	switch {
	case row.Outcome == evidence.NotApplicable:
		record.Verdict, record.Reason = row.Outcome, row.Saw
		return &record.Record, nil
	case ctx.Err() != nil:
		record.Verdict, record.Reason = evidence.Inconclusive, "the time that the limits give was over before it began"
		return &record.Record, nil
	case r.unserved >= givesUp:
		record.Verdict, record.Reason = evidence.Inconclusive, "not tried: honest users were not served in the runs before it, so nothing would be seen"
		return &record.Record, nil
	}
	if err := r.arranged(ctx, c, t, record); err != nil {
		return nil, err
	}
	if r.unserved++; record.Before.Well() {
		r.unserved = 0
	}
	record.Verdict, record.Reason = seen(&record.Record, record.failed)
	return &record.Record, nil
}

// arranged starts the target, if that is imsafe itself, and aims at it.
func (r *Runner) arranged(ctx context.Context, c *trial, t *target.Target, record *run) error {
	if t.Start == nil {
		return r.aim(ctx, c, t, record)
	}
	a, v := c.attack, c.variant
	setup := Setup{Digest: a.Digest, NoCard: noCard(a), Access: c.access, Quick: v.Quick, Tight: a.Tight, Cast: append(attack.Telephones(), attack.Dave)}
	if t.Start.Open && v.NoAblation == "" {
		setup.Off = v.Controls
	}
	started, err := r.cfg.Launcher.Launch(ctx, setup)
	if err != nil {
		return err
	}
	here := *t
	here.Site = started.Site()
	here.Site.Foreign = true
	err = r.aim(ctx, c, &here, record)
	record.ends(started.Close())
	return err
}

// givesUp is after how many runs without honest service no more is sent: whoever owns the target has to look at it.
const givesUp = 3

// slower is how many times the time of a row a foreign target has: the bound is that of a target of the runner's own.
const slower = 3

// aim does it.
func (r *Runner) aim(ctx context.Context, c *trial, t *target.Target, record *run) error {
	living, stop := context.WithCancel(ctx)
	defer stop()
	honest := fenced{r.cfg.Network, t.Fence}
	paced := c.attack.Aim()
	paced.Bounds.Time *= slower
	paced.Bounds.Time += time.Duration(paced.Bounds.Packets) * time.Second / time.Duration(t.Limits.Rate)
	aimed := *c
	aimed.attack = &paced
	bounds := &limiter{network: honest, bounds: paced.Bounds, clock: r.cfg.Clock, rate: t.Limits.Rate, targets: []netip.AddrPort{t.Site.At(c.access)}}
	field, err := attack.NewField(living, c.variant, c.access, attack.Means{Site: t.Site, Clock: r.cfg.Clock, Random: r.cfg.Random, Honest: honest, Attacker: bounds})
	if err != nil {
		return err
	}
	defer record.waits(field)
	defer stop()
	defer field.Close()
	record.Before = r.baseline(living, field, stranger{t})
	if record.Before.Well() {
		if err := r.strike(living, &aimed, field, stranger{t}, record, true); err != nil {
			return err
		}
		record.Oracles = slices.DeleteFunc(record.Oracles, func(o evidence.Oracle) bool { return !o.Outside })
	}
	if answers := field.Answers(); len(answers) > 0 {
		record.Oracles = append(record.Oracles, evidence.Oracle{Kind: evidence.KindWire, Outside: true, Saw: "the attacker is answered " + strings.Join(answers, ", ")})
	}
	if over := bounds.exceeded(); over != nil {
		record.failed = over // what the attack saw after that means nothing
	}
	packets, octets, _, took := bounds.spent()
	record.Packets, record.Bytes, record.Factors.Micros = uint64(packets), uint64(octets), took.Microseconds()
	leaving, end := context.WithTimeout(context.WithoutCancel(ctx), patience) // when the time is over, too
	defer end()
	bounds.lift()
	if err := field.Leave(leaving, slices.ContainsFunc(record.Oracles, func(o evidence.Oracle) bool { return o.Reached })); err != nil {
		record.Left = err.Error()
	}
	return nil
}

// seen is the verdict on a foreign target. It reads the record alone. A block takes two witnesses outside: one who would have seen the goal reached, and
// what shows that the attack arrived.
func seen(r *evidence.Record, failed error) (v evidence.Verdict, reason string) {
	v, reason, _ = verdict(r, failed)
	switch {
	case v == evidence.NotRunHere:
		return evidence.NotApplicable, reason
	case failed != nil && r.Before.Well() && !r.After.Well():
		return evidence.Degraded, "the attack breaks off (" + failed.Error() + "), and honest service suffers: " + r.After.Reason
	case v != evidence.Blocked:
		return v, reason
	}
	first := slices.IndexFunc(r.Oracles, func(o evidence.Oracle) bool { return o.Kind == evidence.KindPeer })
	first = max(first, 0) // else the attacker's own socket
	for i, o := range r.Oracles {
		if i != first && o.Saw != r.Oracles[first].Saw {
			return v, r.Oracles[first].Saw + "; " + o.Saw
		}
	}
	if r.Delivered != r.Oracles[first].Saw {
		return v, r.Oracles[first].Saw + "; " + r.Delivered
	}
	return evidence.Inconclusive, "there is one witness, and no second one: " + r.Oracles[first].Saw
}

// stranger is a foreign target as a run sees it: there is nothing to ask it.
type stranger struct{ *target.Target }

var _ Target = stranger{}

// Site implements Target.
func (s stranger) Site() attack.Site { return s.Target.Site }

// What implements Target.
func (s stranger) What() evidence.Target {
	return evidence.Target{Name: s.Name, Commit: "unknown", Config: s.Config, Weak: []string{}}
}

// Events implements Target: there are none to be seen.
func (stranger) Events(context.Context) ([]evidence.Event, error) { return nil, nil }

// Operate implements Target.
func (stranger) Operate(context.Context, string, string) error {
	return errors.New("runner: nobody operates a foreign target for us")
}

// Files implements Target.
func (stranger) Files() attack.Files { return nil }

// Log implements Target: it is its owner's.
func (stranger) Log() string { return "" }

// Close implements Target: it goes on running.
func (stranger) Close() error { return nil }

// ErrFence is what a socket gets whose packets would leave the ranges of the target.
var ErrFence = errors.New("runner: outside the ranges of the target")

// fenced is a network that reaches the ranges of a target and nothing else, whatever address a message names.
type fenced struct {
	attack.Network
	fence target.Fence
}

// Dial implements attack.Network.
func (f fenced) Dial(ctx context.Context, network string, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	if !f.fence.Holds(to.Addr()) {
		return nil, fmt.Errorf("%w: %v", ErrFence, to)
	}
	return f.Network.Dial(ctx, network, from, to)
}

// ListenPacket implements attack.Network.
func (f fenced) ListenPacket(local netip.Addr) (net.PacketConn, error) {
	conn, err := f.Network.ListenPacket(local)
	if err != nil {
		return nil, err
	}
	return fencedPackets{conn, f.fence}, nil
}

type fencedPackets struct {
	net.PacketConn
	fence target.Fence
}

// WriteTo implements net.PacketConn.
func (f fencedPackets) WriteTo(b []byte, to net.Addr) (int, error) {
	if at, err := netip.ParseAddrPort(to.String()); err != nil || !f.fence.Holds(at.Addr()) {
		return 0, fmt.Errorf("%w: %v", ErrFence, to)
	}
	return f.PacketConn.WriteTo(b, to)
}
