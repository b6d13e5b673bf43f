package media

import (
	"time"

	"imsafe/refpoint/mr"
)

// pace counts the slots of 20 ms that were due since it began, with the first question. The zero value has not begun.
type pace struct {
	begun bool
	start time.Duration
	slots int64
}

// due returns how many slots are due at now that were not before: maxBurst at most, what is later than that is left out.
func (p *pace) due(now time.Duration) int64 {
	if !p.begun {
		p.begun, p.start = true, now
	}
	due := int64((now-p.start)/mr.FrameTime) + 1
	n := min(max(due-p.slots, 0), maxBurst)
	p.slots = max(p.slots, due)
	return n
}
