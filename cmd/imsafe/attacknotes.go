package main

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"

	"imsafe/proof/evidence"
	"imsafe/secure"
)

// notes counts what the gate says, by control and reason. Reasons are constants of the code, so there are few.
type notes struct {
	mu     sync.Mutex
	counts map[evidence.Event]uint64 // of an Event without its count
}

// Refused implements secure.Sink.
func (n *notes) Refused(e secure.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.counts == nil {
		n.counts = map[evidence.Event]uint64{}
	}
	n.counts[evidence.Event{Control: e.Control.String(), Reason: e.Reason, Enforced: e.Enforced}]++
}

func (n *notes) events() []evidence.Event {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := []evidence.Event{}
	for e, count := range n.counts {
		e.Count = count
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b evidence.Event) int {
		return cmp.Or(cmp.Compare(a.Control, b.Control), cmp.Compare(a.Reason, b.Reason))
	})
	return all
}

// opens says where the page is, and makes codes for the operator.
func (r *targetReady) opens(p *targetPart) error {
	if p.page == nil {
		return nil
	}
	r.Page = netip.MustParseAddrPort(p.sockets.Metrics.Addr().String())
	for range 2 {
		code, err := p.page.Login.Code()
		if err != nil {
			return err
		}
		r.Codes = append(r.Codes, code)
	}
	return nil
}
