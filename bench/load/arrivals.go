package load

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Scenario is what a UE does.
type Scenario uint8

// The scenarios of the mix.
const (
	Registration Scenario = iota
	Reregistration
	Deregistration
	Call
	Message
	scenarios
)

// String is the scenario's name in reports and on the command line.
func (s Scenario) String() string {
	return [...]string{"registration", "re-registration", "de-registration", "call", "message", "none"}[min(s, scenarios)]
}

// Mix is the share of each scenario; the shares need not add up to anything.
type Mix [scenarios]float64

// StandardMix is after ETSI TS 186 008-2: the shares are ours.
func StandardMix() Mix {
	return Mix{Registration: 3, Reregistration: 40, Deregistration: 2, Call: 40, Message: 15}
}

// ParseMix reads "mix", the name of one scenario, or "call=40,message=60".
func ParseMix(s string) (m Mix, err error) {
	if s == "mix" {
		return StandardMix(), nil
	}
	for part := range strings.SplitSeq(s, ",") {
		name, share, shared := strings.Cut(part, "=")
		weight := 1.0
		if shared {
			if weight, err = strconv.ParseFloat(share, 64); err != nil || weight < 0 || weight > 1e6 || math.IsNaN(weight) {
				return m, fmt.Errorf("the share %q is no number", share)
			}
		}
		found := false
		for k := range scenarios {
			if k.String() == name {
				m[k], found = weight, true
			}
		}
		if !found {
			return m, fmt.Errorf("scenario %q is none of mix, registration, re-registration, de-registration, call, message", name)
		}
	}
	if m.total() == 0 {
		return m, fmt.Errorf("the mix %q is empty", s)
	}
	return m, nil
}

func (m *Mix) total() (sum float64) {
	for _, share := range m {
		sum += share
	}
	return sum
}

// only reports whether nothing but s is in the mix.
func (m *Mix) only(s Scenario) bool { return m[s] > 0 && m[s] == m.total() }

// arrivals is a Poisson process of scenarios: independent, so that bursts are what they are in life.
type arrivals struct {
	random *rand.Rand
	mix    Mix
	rate   float64 // a second
	next   time.Duration
}

func newArrivals(seed uint64, mix Mix, rate float64, begin time.Duration) *arrivals {
	a := &arrivals{random: rand.New(rand.NewPCG(seed, 0x5eed)), mix: mix, rate: rate, next: begin}
	a.next += a.exponential(a.mean())
	return a
}

func (a *arrivals) mean() time.Duration { return time.Duration(float64(time.Second) / a.rate) }

// exponential draws from the exponential distribution, cut off at eight times its mean.
func (a *arrivals) exponential(mean time.Duration) time.Duration {
	return min(time.Duration(a.random.ExpFloat64()*float64(mean)), 8*mean)
}

// due takes the next scenario if its time has come.
func (a *arrivals) due(now time.Duration) (s Scenario, at time.Duration, ok bool) {
	if a.next > now {
		return 0, 0, false
	}
	at = a.next
	a.next += a.exponential(a.mean())
	x := a.random.Float64() * a.mix.total()
	for s = range scenarios {
		if x -= a.mix[s]; x < 0 {
			return s, at, true
		}
	}
	return scenarios - 1, at, true
}
