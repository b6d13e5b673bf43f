package store

import "time"

// pacer decides how long the committer waits for company. A sync costs 150 us of CPU and more, whatever it carries. On an idle disk
// a change starts at once, and what comes while a sync runs goes into the next. That is enough for few callers; under load it makes
// batches of one to four and a sync takes most of the CPU. So when changes keep arriving while others are on their way, syncs start
// at least window apart, as long as that really gathers.
type pacer struct {
	window time.Duration
	on     bool
	rest   int           // batches until it may be tried again
	extra  float64       // arrivals during a commit, smoothed
	start  time.Duration // of the last batch
}

const (
	paceWorth = 4    // requests in a paced batch that are worth the wait
	paceRest  = 64   // batches without pacing after it was not
	paceOn    = 0.25 // arrivals per commit at which it is tried
)

// wait returns how long the next batch should still gather.
func (p *pacer) wait(now time.Duration) time.Duration {
	if !p.on || p.window <= 0 {
		return 0
	}
	return p.start + p.window - now
}

// begin notes the start of a batch with so many requests.
func (p *pacer) begin(now time.Duration, requests int) {
	p.start = now
	if p.on && requests < paceWorth {
		p.on, p.rest, p.extra = false, paceRest, 0
	}
}

// end notes how many requests arrived while the batch was on its way to the disk. Callers that wait for their answer before they
// come again are not counted: their next request comes after the batch, and waiting would only slow them down.
func (p *pacer) end(arrived int) {
	p.extra += (float64(arrived) - p.extra) / 8
	if p.rest > 0 {
		p.rest--
	} else if p.extra >= paceOn {
		p.on = true
	}
}
