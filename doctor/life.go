package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"imsafe/node"
)

// life looks at what the running node has met.
func (x *examination) life() {
	if x.Blind {
		x.unchecked(NodeAnswers, asTheNode, "whether a node runs cannot be seen by this user")
		return
	}
	if x.Node == nil {
		x.hint(NodeAnswers, "no node runs with this configuration; what a running one has met is not looked at")
		return
	}
	if s := x.Node.Status; s != nil {
		x.fine(NodeAnswers, "node %s runs for %s: %d registered", s.Node, s.Domain, s.Registered)
		if s.Domain != x.Config.HomeDomain() {
			x.breaks(NodeAnswers, "the node that runs is for %s, the configuration for %s", s.Domain, x.Config.HomeDomain())
		}
	}
	if h := x.Node.Health; h != nil {
		x.sequences(h.HSS)
		x.dropped(h.Dropped)
		x.origins(h.Origins)
		var troubles []string
		for _, t := range []struct {
			n    uint64
			what string
		}{{h.Defects, "procedures ended with a defect"}, {h.Overloads, "changes were refused by the store"}, {h.Lost, "call records are lost"}} {
			if t.n > 0 {
				troubles = append(troubles, fmt.Sprintf("%d %s", t.n, t.what))
			}
		}
		if len(troubles) > 0 {
			x.hint(Troubles, "since the node started %s", strings.Join(troubles, ", "))
		} else {
			x.fine(Troubles, "no defect, no overload, no lost record since the node started")
		}
	}
	if p := x.Node.Policy; p != nil {
		var refused []string
		for _, r := range p.Rows {
			if r.Refused > 0 {
				refused = append(refused, fmt.Sprintf("%s %d", r.Control, r.Refused))
			}
		}
		if len(refused) > 0 {
			x.hint(Refusals, "refused since the node started: %s", strings.Join(refused, ", "))
		} else {
			x.fine(Refusals, "nothing was refused since the node started")
		}
	}
}

// manyResyncs is how many of a hundred vectors may be asked for by resynchronisation before it is worth a word.
const manyResyncs = 10

func (x *examination) sequences(counts map[string]uint64) {
	vectors, resyncs, forged := counts["vectors"], counts["resyncs"], counts["forged_auts"]
	switch {
	case forged > 0:
		x.hint(Resyncs, "%d tokens for resynchronisation were not genuine, of %d vectors", forged, vectors)
	case resyncs > 3 && resyncs*100 > vectors*manyResyncs:
		x.hint(Resyncs, "%d resynchronisations of %d vectors: sequence numbers do not fit the cards", resyncs, vectors)
	case vectors > 0:
		x.fine(Resyncs, "%d vectors, %d resynchronisations", vectors, resyncs)
	}
}

func (x *examination) dropped(by map[string]uint64) {
	if len(by) == 0 {
		return
	}
	var all []string
	for _, reason := range slices.Sorted(maps.Keys(by)) {
		all = append(all, fmt.Sprintf("%s %d", reason, by[reason]))
	}
	x.hint(ESPDropped, "ESP dropped since the node started: %s", strings.Join(all, ", "))
}

// origins compares the https origins of nodes that share a store.
func (x *examination) origins(of map[string]string) {
	switch differ := node.DifferingOrigins(of); {
	case differ != "":
		x.breaks(Origin, "the nodes have different https origins: %s", differ)
	case len(of) > 1:
		x.fine(Origin, "%d nodes have the same https origin", len(of))
	}
}
