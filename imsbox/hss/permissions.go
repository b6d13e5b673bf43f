package hss

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"imsafe/proto/shard"
	"imsafe/refpoint/sh"
)

// Permissions is the AS permissions list (TS 29.328 6.2), made of what services were granted. What is not granted is denied. Safe for
// concurrent use.
type Permissions struct {
	clock shard.Clock

	mu       sync.Mutex // guards what follows and the budgets; never held over a wait
	services map[string][]*granted
}

var _ sh.Permission = (*Permissions)(nil)

// Grant is one line of the list: what a service may do with which data of which users, and how often.
type Grant struct {
	Data []sh.DataReference
	// AllData is every reference but those that are granted by their own name only (sh.DataReference.Sensitive).
	AllData bool
	// Indications are the Service-Indications of RepositoryData: whose documents. Without any they are those with the name of the service;
	// AnyIndication is all of them.
	Indications []string
	Ops         sh.Operation
	// Groups are the groups of subscribers whose data it is; Everybody is all of them. Without either it is nobody's.
	Groups    []string
	Everybody bool
	// Consent asks that each of them has agreed to the service.
	Consent bool
	// PerSecond is how often; Burst how often at once, PerSecond rounded up if 0. Users that the grant does not have count too.
	PerSecond float64
	Burst     int
}

// AnyIndication stands for all Service-Indications.
const AnyIndication = "*"

// granted is a Grant with its budget, a token bucket.
type granted struct {
	Grant
	tokens float64
	filled time.Duration
}

// NewPermissions makes a list that grants nothing.
func NewPermissions(clock shard.Clock) *Permissions {
	return &Permissions{clock: clock, services: map[string][]*granted{}}
}

// Set replaces what a service is granted; without grants it is granted nothing any more. It takes effect at once, also on
// notifications of subscriptions that stand. The error says which grant is none.
func (p *Permissions) Set(service string, grants ...Grant) error {
	if service == "" {
		return errors.New("hss: a grant without a service")
	}
	now := p.clock.Now()
	var list []*granted
	for i, g := range grants {
		if err := g.check(); err != nil {
			return fmt.Errorf("hss: grant %d of service %s: %w", i+1, service, err)
		}
		if g.Burst == 0 {
			g.Burst = max(1, int(g.PerSecond+0.999))
		}
		list = append(list, &granted{Grant: g, tokens: float64(g.Burst), filled: now})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(list) == 0 {
		delete(p.services, service)
	} else {
		p.services[service] = list
	}
	return nil
}

func (g *Grant) check() error {
	switch {
	case len(g.Data) == 0 && !g.AllData:
		return errors.New("no data")
	case g.Ops == 0:
		return errors.New("no operation")
	case g.PerSecond <= 0:
		return errors.New("no rate")
	}
	for _, ref := range g.Data {
		if g.Ops&^ref.Operations() != 0 {
			return fmt.Errorf("%v allows no %v (TS 29.328 table 7.6.1)", ref, g.Ops&^ref.Operations())
		}
	}
	return nil
}

// Allow implements sh.Permission.
func (p *Permissions) Allow(service string, data sh.Key, op sh.Operation, user sh.User) sh.Verdict {
	now := p.clock.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	var found *granted
	inside := false
	for _, g := range p.services[service] {
		if !g.covers(service, data, op) {
			continue
		}
		if found == nil {
			found = g
		}
		if g.includes(service, user) {
			found, inside = g, true
			break
		}
	}
	switch {
	case found == nil:
		return sh.Denied
	case !found.take(now):
		return sh.TooFast
	case !inside:
		return sh.Outside
	}
	return sh.Allowed
}

// covers reports whether the grant is for an operation on data.
func (g *Grant) covers(service string, data sh.Key, op sh.Operation) bool {
	ref := data.Reference
	return g.Ops&op != 0 && (slices.Contains(g.Data, ref) || g.AllData && !ref.Sensitive() && ref.Permits(op)) &&
		(ref != sh.RefRepositoryData || g.indicates(service, data.ServiceIndication))
}

// indicates reports whether documents with a Service-Indication are among those of the grant.
func (g *Grant) indicates(service, indication string) bool {
	if len(g.Indications) == 0 {
		return indication == service
	}
	return slices.Contains(g.Indications, indication) || slices.Contains(g.Indications, AnyIndication)
}

// includes reports whether a user is in the set. Nobody is in the set of a group, or has agreed; everybody includes those who are not there.
func (g *Grant) includes(service string, user sh.User) bool {
	if g.Consent && !slices.Contains(user.Agreed, service) {
		return false
	}
	return g.Everybody || user.Group != "" && slices.Contains(g.Groups, user.Group)
}

// take takes one from the budget.
func (g *granted) take(now time.Duration) bool {
	g.tokens = min(float64(g.Burst), g.tokens+(now-g.filled).Seconds()*g.PerSecond)
	g.filled = now
	if g.tokens < 1 {
		return false
	}
	g.tokens--
	return true
}
