package imsservice

import (
	"time"

	"imsafe/proto/overload"
	"imsafe/proto/siptransport"
	"imsafe/refpoint/isc"
)

// Feedback between core and platform (RFC 7339, RFC 7415), for those that understand it: a platform is told when it asks for more than was
// approved, so that it can hold back before it is refused; and what a platform says that it can take is not exceeded.

// feedback is what one platform was told and has said, beside its quota.
type feedback struct {
	began          time.Duration // of the second that is counted
	asked, refused int           // initial requests in it
	over           time.Duration // until when it is told that it asks for too much

	said  overload.Report // by the platform
	until time.Duration   // for how long that holds
	debt  uint32          // hundredths of a request that were let through although they are to be held back
}

// note counts what the platform asked for.
func (f *feedback) note(refused bool, now time.Duration) {
	if now-f.began >= time.Second {
		f.began, f.asked, f.refused = now, 0, 0
	}
	f.asked++
	if refused {
		f.refused++
		f.over = now + time.Second
	}
}

// report is what a platform is told: its approved rate, or which share of what it asks is too much.
func (f *feedback) report(limits *isc.Limits, algorithm overload.Algorithm, now time.Duration) (r overload.Report) {
	r.Algorithm = algorithm
	if now >= f.over {
		return r // validity 0: there is no overload control now
	}
	r.Validity = overload.DefaultValidity
	if r.Value = uint32(limits.CPS); algorithm == overload.Loss {
		r.Value = uint32(100 * f.refused / max(f.asked, 1))
	}
	return r
}

// holdsBack reports whether a request of the core's is more than the platform said it can take; rate is in tokens a second, which the quota has.
func (f *feedback) holdsBack(now time.Duration) bool {
	if now >= f.until || f.said.Algorithm != overload.Loss || f.said.Value == 0 {
		return false
	}
	if f.debt += f.said.Value; f.debt < 100 {
		return false
	}
	f.debt -= 100
	return true
}

// rate is how many initial requests a second there may be between core and platform.
func (f *feedback) rate(limits *isc.Limits, now time.Duration) float64 {
	if now < f.until && f.said.Algorithm == overload.Rate {
		return min(float64(limits.CPS), float64(f.said.Value))
	}
	return float64(limits.CPS)
}

// report implements siptxn.Config.Report.
func (p *Port) report(to siptransport.Flow, offered overload.Algorithms) (r overload.Report, ok bool) {
	who := p.known[to]
	if who == nil {
		return r, false
	}
	s := p.door.ports.Services.ByServer([]byte(who.host))
	if s == nil {
		return r, false
	}
	algorithm := overload.Loss
	if offered.Has(overload.Rate) {
		algorithm = overload.Rate
	}
	r = p.door.quotas.report(s, algorithm, p.shard.Now())
	r.Seq = overload.SeqOf(p.shard.Wall())
	return r, true
}

// heard implements siptxn.Config.Heard.
func (p *Port) heard(from siptransport.Flow, r overload.Report) {
	if who := p.known[from]; who != nil {
		p.door.quotas.heard(who.host, r, p.shard.Now())
	}
}
