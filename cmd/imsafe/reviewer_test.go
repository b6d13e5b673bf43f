package main

import (
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"imsafe/proof/attack"
	"imsafe/proof/cells"
	"imsafe/proof/evidence"
	"imsafe/proof/runner"
	"imsafe/proto/shard"
	"imsafe/secure"
)

// reviewed are rows of one control each, of a door each, quick to run.
var reviewed = []string{"ci.identity.from", "is.register.harvest", "cs.sdp.downgrade", "core.diameter.forge"}

// TestReviewer: with a control that does nothing, the attack that it must stop is named, what depends on it is a gap, and nothing else is another than
// before. Over real sockets; for all controls proof/report does the same with records that are made up.
func TestReviewer(t *testing.T) {
	l := theLauncher(t)
	whole := reviewedCase(t, l)
	before := reviewedStates(whole)
	for name, state := range before {
		want := evidence.StateProven
		if !slices.Contains([]string{"C-I authentication", "I-S confidentiality", "C-S confidentiality"}, name) {
			continue
		}
		if state != want {
			t.Fatalf("%s is %s before anything is broken: %v", name, state, cells.Conclude(evidence.NewBoard(whole), nil))
		}
	}
	for _, id := range reviewed {
		x, _ := attack.Find(id)
		control := x.Variants[0].Controls[0]
		t.Run(control.String(), func(t *testing.T) {
			c := *whole
			c.Records = slices.DeleteFunc(slices.Clone(whole.Records), func(r *evidence.Record) bool { return r.Attack == id })
			c.Records = append(c.Records, attacked(t, without{l, []secure.ControlID{control}}, &x)...)
			b := evidence.NewBoard(&c)
			failed := cells.Conclude(b, cells.Table(b)).Failed
			if len(failed) == 0 || slices.ContainsFunc(failed, func(said string) bool { return !strings.Contains(said, id) }) {
				t.Errorf("%v is named, and %s got through", failed, id)
			}
			row, _ := c.Find(control.String())
			depends := row.Door + " " + row.Service
			for name, now := range reviewedStates(&c) {
				switch was := before[name]; {
				case name == depends && now != evidence.StateGap:
					t.Errorf("%s is %s", name, now)
				case name != depends && now != was:
					t.Errorf("%s is %s, was %s, and does not depend on it", name, now, was)
				}
			}
			if s := b.Control(control.String()); s.State != evidence.StateGap || s.Finding != evidence.Open {
				t.Errorf("the control itself is %s (%s)", s.State, s.Finding)
			}
		})
	}
}

// reviewedCase is a case of the reviewed rows and their controls alone, as they are.
func reviewedCase(t *testing.T, l runner.Launcher) *evidence.Case {
	t.Helper()
	c := &evidence.Case{Subject: evidence.Subject{Pack: attack.PackVersion, Seeds: []uint64{1}, Modes: []string{attack.Direct},
		Program: theLauncher(t).build, Start: evidence.Time(time.Now()), End: evidence.Time(time.Now().Add(time.Hour))}}
	controls := map[string]bool{}
	for _, a := range runner.Catalogue() {
		if !slices.Contains(reviewed, a.ID) {
			continue
		}
		a.Variants = a.Variants[:1]
		a.Variants[0].Access = a.Variants[0].Access[:1]
		for _, id := range a.Variants[0].Controls {
			controls[id] = true
		}
		c.Attacks = append(c.Attacks, a)
		x, _ := attack.Find(a.ID)
		c.Records = append(c.Records, attacked(t, l, &x)...)
	}
	for _, p := range runner.Policy() {
		if controls[p.ID] {
			c.Policy = append(c.Policy, p)
		}
	}
	return c
}

// attacked runs the first variant of a row over its first access.
func attacked(t *testing.T, l runner.Launcher, x *attack.Attack) (all []*evidence.Record) {
	t.Helper()
	one := *x
	one.Variants = slices.Clone(x.Variants[:1])
	one.Variants[0].Access = x.Accesses(&x.Variants[0])[:1]
	r := runner.New(runner.Config{Launcher: l, Network: systemNetwork{}, Clock: shard.RealClock(), Random: rand.Reader})
	results, err := r.Run(t.Context(), &one)
	if err != nil {
		t.Fatal(err)
	}
	for _, result := range results {
		all = append(all, result.Records...)
	}
	return all
}

// reviewedStates are those of the cells, and of the inner wires, which have none.
func reviewedStates(c *evidence.Case) map[string]evidence.State {
	b, all := evidence.NewBoard(c), map[string]evidence.State{}
	for _, cell := range cells.Table(b) {
		all[cell.Name] = cell.State
	}
	for _, p := range c.Policy {
		if p.Door == "core" {
			all[p.Door+" "+p.Service] = b.Control(p.ID).State
		}
	}
	return all
}
