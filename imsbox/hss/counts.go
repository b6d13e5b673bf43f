package hss

import (
	"sync/atomic"
)

// operation numbers what is counted.
type operation int

const (
	opUserAuthorization operation = iota
	opServerAssignment
	opLocationInfo
	opMultimediaAuth
	opUserData
	opProfileUpdate
	opSubscribeNotifications
	operations
)

var operationNames = [operations]string{"user_authorization", "server_assignment", "location_info", "multimedia_auth", "user_data", "profile_update",
	"subscribe_notifications"}

// counters are the figures of the HSS. No label names a subscriber.
type counters struct {
	done, refused [operations]atomic.Uint64
	vectors       atomic.Uint64
	resyncs       atomic.Uint64
	forgedAUTS    atomic.Uint64
	failures      atomic.Uint64
	late          atomic.Uint64 // letters that Deliver brought
	notifications atomic.Uint64 // that application servers took
	unsubscribed  atomic.Uint64 // subscriptions that ended because they may not go on, or the application server does not know them
}

// note counts the outcome of an operation.
func (c *counters) note(op operation, err error) {
	if err == nil {
		c.done[op].Add(1)
	} else {
		c.refused[op].Add(1)
	}
}

// Count is one figure, for metrics: imsafe_hss_<Name>_total with the label operation where it is not empty.
type Count struct {
	Name, Operation string
	Value           uint64
}

// Counts returns the figures since the start. Safe for concurrent use.
func (h *HSS) Counts() []Count {
	c := &h.counts
	var all []Count
	for op := range operations {
		all = append(all, Count{"answers", operationNames[op], c.done[op].Load()},
			Count{"refusals", operationNames[op], c.refused[op].Load()})
	}
	return append(all, Count{"vectors", "", c.vectors.Load()}, Count{"resyncs", "", c.resyncs.Load()},
		Count{"forged_auts", "", c.forgedAUTS.Load()}, Count{"failures", "", c.failures.Load()},
		Count{"late_pushes", "", c.late.Load()}, Count{"notifications", "", c.notifications.Load()},
		Count{"unsubscribed", "", c.unsubscribed.Load()})
}
