package ue

import (
	"context"
	"slices"

	"imsafe/proto/shard"
)

// Leg is one end of a call's dialog, as its messages name it (RFC 3261 12): for reports, and for tests that play somebody who has read
// them on the way.
type Leg struct {
	CallID              string
	LocalTag, RemoteTag string
	Local, Remote       string   // URIs of From and To
	Target              string   // the peer's Contact
	Route               []string // values of Route, first hop first
	Seq                 uint32   // of our last request
}

// Leg returns the dialog of a call that has one. ErrNotRunning if the UE does not run.
func (c *Call) Leg(ctx context.Context) (Leg, error) {
	var l Leg
	err := c.u.do(ctx, func(*shard.Task) error {
		d := &c.dialog
		l = Leg{CallID: d.callID, LocalTag: d.localTag, RemoteTag: d.remoteTag, Local: d.local, Remote: d.remote, Target: d.target,
			Route: slices.Clone(d.routes), Seq: d.localSeq}
		return nil
	})
	return l, err
}
