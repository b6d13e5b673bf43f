package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"imsafe/iface/management"
	"imsafe/node"
	"imsafe/proof/cells"
	"imsafe/proof/evidence"
	proof "imsafe/proof/report"
	"imsafe/proof/runner"
	"imsafe/proof/tables"
	"imsafe/secure"
	"imsafe/trace/ladder"
	"imsafe/web"
)

// proofs is the flag that says where a node's page looks for the proof of this program.
type proofs struct {
	Proof string `help:"Directory of bundles (imsafe prove), whose newest the page of the node shows." default:"imsafe-proof" type:"path" placeholder:"DIR"`
}

// livePage is the page of a node. Safe for concurrent use.
type livePage struct {
	*web.Page
	app  *app
	dir  string
	node atomic.Pointer[node.Node] // nil until there is one

	mu   sync.Mutex
	of   string    // the bundle that last was read
	at   time.Time // when
	last web.Proof
}

// rereadEvery is how soon evidence is seen to have become too old.
const rereadEvery = 10 * time.Minute

// page makes the page; show tells it later which node it is about.
func (p *proofs) page(a *app, domain string) *livePage {
	l := &livePage{app: a, dir: p.Proof}
	l.Page = web.New(web.Config{Domain: domain, Policy: l.policy, Gate: l.gate, Proof: l.proof, Ladders: l.ladders, Random: rand.Reader, Now: time.Now,
		Tick: func(every time.Duration) (<-chan time.Time, func()) {
			t := time.NewTicker(every)
			return t.C, t.Stop
		}})
	return l
}

// show says which node the page is about.
func (l *livePage) show(n *node.Node) { l.node.Store(n) }

func (l *livePage) policy() node.PolicyReport {
	if n := l.node.Load(); n != nil {
		return n.Policy()
	}
	return node.PolicyReport{}
}

func (l *livePage) gate() *secure.Gate {
	if n := l.node.Load(); n != nil {
		return n.Gate
	}
	return nil
}

func (l *livePage) ladders() *ladder.Ring {
	if n := l.node.Load(); n != nil {
		return n.Ladders()
	}
	return nil
}

// proof is what the newest bundle is worth for this program. It is computed once for each bundle, and again from time to time: evidence grows old.
func (l *livePage) proof() web.Proof {
	l.mu.Lock()
	defer l.mu.Unlock()
	dir, err := lastBundle(l.dir)
	if err != nil {
		return web.Proof{Note: "nothing was proven here yet: imsafe prove does that, in " + l.dir}
	}
	if now := time.Now(); dir != l.of || now.Sub(l.at) > rereadEvery {
		if l.last, err = l.read(dir); err != nil {
			l.last = web.Proof{Note: fmt.Sprintf("%s cannot be read: %v", dir, err)}
		}
		l.of, l.at = dir, now
	}
	return l.last
}

func (l *livePage) read(dir string) (web.Proof, error) {
	b, err := readBundle(dir)
	if err != nil {
		return web.Proof{}, err
	}
	pinned, err := (&proveVerifyCmd{}).pinned(l.app)
	if err != nil {
		return web.Proof{}, err
	}
	m, altered := b.Verify(pinned...)
	c, err := b.Case()
	if err != nil {
		return web.Proof{}, errors.Join(err, altered)
	}
	set, err := tablesOf(b)
	if err != nil {
		return web.Proof{}, errors.Join(err, altered)
	}
	out := web.Proof{}
	switch {
	case altered != nil:
		c.Void = "the bundle is not what was signed: " + altered.Error()
		out.Note = c.Void
	case len(pinned) == 0:
		out.Note = "nobody has pinned a runner's key here: nothing was changed since it was signed, and that is all. It is " + m.Runner
	}
	launcher, err := newLauncher()
	if err != nil {
		return web.Proof{}, err
	}
	if c.Stale, err = staleness(c, launcher.build, set); err != nil {
		return web.Proof{}, err
	}
	r, err := proof.Make(c, set)
	if err != nil {
		return web.Proof{}, err
	}
	told := toldStories(b)
	for i := range r.Cells {
		out.Cells = append(out.Cells, cellOf(&r.Cells[i], c, told))
	}
	out.Stories = func(run string) []ladder.Story { return told[run] }
	out.Sentence, out.Made = r.Sentence(), strings.Replace(cut(r.Subject.End), "T", " ", 1)+" UTC"
	out.Page, err = r.HTML()
	return out, err
}

// cellOf puts the mechanisms, attacks and runs of a cell into the words of the page.
func cellOf(c *cells.Cell, of *evidence.Case, told map[string][]ladder.Story) web.Cell {
	out := web.Cell{Name: c.Name, Door: c.Door, Service: c.Service, State: string(c.State), Why: c.Why, Proven: c.Proven, Total: c.Total, Mechanisms: []web.Mechanism{},
		Attacks: []web.Attack{}}
	for _, m := range c.Mechanisms {
		out.Mechanisms = append(out.Mechanisms, web.Mechanism{ID: m.ID, Mechanism: m.Mechanism, Clause: m.Clause, State: string(m.State), Why: m.Why})
	}
	for _, t := range c.Attacks {
		a := web.Attack{ID: t.ID, Number: t.Number, Title: t.Title, State: string(t.State), Why: t.Why, BlockedBy: t.BlockedBy, Succeeded: t.Succeeded, Runs: []web.Run{}}
		for i := range of.Attacks {
			if row := &of.Attacks[i]; row.ID == t.ID {
				a.Text, a.Source = row.Text, row.Source
			}
		}
		for _, r := range of.Records {
			if r.Attack == t.ID {
				a.Runs = append(a.Runs, web.Run{Key: r.Key(), Variant: r.Variant, Access: r.Target.Profile, Off: append([]string{}, r.ControlsOff...), Expected: r.Expected, Verdict: string(r.Verdict),
					Reason: r.Reason, Delivered: r.Delivered, Oracles: r.Oracles, Start: r.Start, Ladders: len(told[r.Key()])})
			}
		}
		out.Attacks = append(out.Attacks, a)
	}
	return out
}

// laddersDir is where a bundle keeps the messages of its runs, by the keys of their records.
const laddersDir = "ladders"

// toldStories reads the ladders of a bundle. They are for people and count for nothing, so that one that cannot be read is none.
func toldStories(b evidence.Bundle) map[string][]ladder.Story {
	all := map[string][]ladder.Story{}
	for name, text := range b {
		var stories []ladder.Story
		if key, found := strings.CutPrefix(name, laddersDir+"/"); found && json.Unmarshal(text, &stories) == nil {
			all[key] = stories
		}
	}
	return all
}

// staleness says of records, by their keys, why they count no more for a program.
func staleness(c *evidence.Case, program string, set *tables.Set) (map[string]string, error) {
	stale := map[string]string{}
	now := time.Now()
	for _, r := range c.Records {
		why, err := runner.Stale(r, program)
		if err != nil {
			return nil, err
		}
		if at, err := time.Parse(time.RFC3339Nano, r.Start); why == "" && (err != nil || now.Sub(at) > time.Duration(set.Limits.Days)*24*time.Hour) {
			why = fmt.Sprintf("it is older than %d days", set.Limits.Days)
		}
		if why != "" {
			stale[r.Key()] = why
		}
	}
	return stale, nil
}

// pageURL is the address of the page of a node with a code that lets somebody in once. The code stands behind the #: no server sees it there, no log and
// no Referer.
func pageURL(at, code string) string { return "http://" + at + "/#code=" + code }

type pageCmd struct{ operator }

// Run asks the running node for a code.
func (v *pageCmd) Run(a *app) error {
	return v.with(a, need{store: true}, func(house operations) error {
		var r node.PageCode
		if err := house.Call(a.ctx, "page.code", node.None{}, &r); err != nil {
			return err
		}
		if a.json {
			a.print(map[string]any{"url": pageURL(r.Listen, r.Code)})
			return nil
		}
		a.say("%s", pageURL(r.Listen, r.Code))
		a.say("It opens the page of the node, once, within ten minutes. Whoever has it is the operator to that page.")
		return nil
	})
}

// tellPage prints the address where somebody sits at a terminal. What goes elsewhere may be kept, as a log is: there it says how to get one.
func (a *app) tellPage(l *livePage, at string) {
	out, isFile := a.stdout.(*os.File)
	if !isFile || a.json {
		return
	}
	if info, err := out.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return
	}
	if code, err := l.Login.Code(); err == nil {
		a.say("page  %s", pageURL(at, code))
	}
}

type traceCmd struct {
	operator
	Name string `arg:"" help:"A Call-ID, or an identity, public or private; without a domain it is in the home domain."`
	Last bool   `help:"Only the newest."`
}

// Run draws the ladders of a name.
func (v *traceCmd) Run(a *app) error {
	return v.with(a, need{store: true}, func(house operations) error {
		r, err := v.find(a, house)
		if err != nil {
			return err
		}
		if v.Last {
			r.Stories = r.Stories[:1]
		}
		if a.json {
			a.print(r)
			return nil
		}
		for i := len(r.Stories) - 1; i >= 0; i-- { // the newest is last, above the prompt
			a.say("%s", r.Stories[i].Text())
		}
		return nil
	})
}

// find asks for a name as it was typed, since it may be a Call-ID, and then for who is called so in the home domain.
func (v *traceCmd) find(a *app, house operations) (r node.Traced, err error) {
	err = house.Call(a.ctx, "trace", node.UserName{Name: v.Name}, &r)
	var refusal *management.Error
	if !errors.As(err, &refusal) || refusal.Code != node.CodeTraceUnknown {
		return r, err
	}
	domain, failed := domainOf(a, house)
	if failed != nil {
		return r, failed
	}
	if name := inDomain(v.Name, domain); name != v.Name {
		err = house.Call(a.ctx, "trace", node.UserName{Name: name}, &r)
	}
	return r, err
}
