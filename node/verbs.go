package node

import (
	"context"
	"encoding/json"

	"imsafe/iface/management"
)

// verbs is what the operator's door can do.
func (n *Node) verbs() map[string]management.Verb {
	return map[string]management.Verb{
		"status": {Needs: management.Viewer, Do: func(context.Context, json.RawMessage) (any, error) {
			return map[string]any{"node": n.o.Config.Node.Name, "domain": n.o.Config.HomeDomain(), "registered": n.SCSCF.Registered()}, nil
		}},
	}
}
