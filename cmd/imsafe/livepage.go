package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"imsafe/node"
	"imsafe/proof/evidence"
	proof "imsafe/proof/report"
	"imsafe/proof/runner"
	"imsafe/proof/tables"
	"imsafe/web"
)

// proofs is the flag that says where a node's page looks for the proof of this program.
type proofs struct {
	Proof string `help:"Directory of bundles (imsafe prove), whose newest the page of the node shows." default:"imsafe-proof" type:"path" placeholder:"DIR"`
}

// livePage is the page of a node. Safe for concurrent use.
type livePage struct {
	app  *app
	dir  string
	node atomic.Pointer[node.Node] // nil until there is one

	handler http.Handler

	mu   sync.Mutex
	of   string // the bundle that last was read
	last web.Proof
}

// page makes the page; show tells it later which node it is about.
func (p *proofs) page(a *app, domain string) (l *livePage, err error) {
	l = &livePage{app: a, dir: p.Proof}
	l.handler, err = web.Handler(web.Config{Domain: domain, Policy: l.policy, Proof: l.proof})
	return l, err
}

// show says which node the page is about.
func (l *livePage) show(n *node.Node) { l.node.Store(n) }

func (l *livePage) policy() node.PolicyReport {
	if n := l.node.Load(); n != nil {
		return n.Policy()
	}
	return node.PolicyReport{}
}

// proof is what the newest bundle is worth for this program. It is computed once for each bundle.
func (l *livePage) proof() web.Proof {
	l.mu.Lock()
	defer l.mu.Unlock()
	dir, err := lastBundle(l.dir)
	if err != nil {
		return web.Proof{Note: "nothing was proven here yet: imsafe prove does that, in " + l.dir}
	}
	if dir != l.of {
		if l.last, err = l.read(dir); err != nil {
			l.last = web.Proof{Note: fmt.Sprintf("%s cannot be read: %v", dir, err)}
		}
		l.of = dir
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
	for _, cell := range r.Cells {
		out.Cells = append(out.Cells, web.Cell{Door: cell.Door, Service: cell.Service, State: string(cell.State), Sign: proof.Sign(cell.State), Proven: cell.Proven,
			Total: cell.Total})
	}
	out.Sentence, out.Made = r.Sentence(), strings.Replace(cut(r.Subject.End), "T", " ", 1)+" UTC"
	out.Page, err = r.HTML()
	return out, err
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
