package load

import "fmt"

// Verdict is how the IMS did at a rate.
type Verdict uint8

// The verdicts.
const (
	Good    Verdict = iota // at most 0.1 % of the scenarios handled inadequately, and of each kind
	Bad                    // more
	Limited                // the generator was the bottleneck: nothing is known
)

// String is the verdict in one word.
func (v Verdict) String() string { return [...]string{"good", "bad", "limited"}[v] }

// Criterion is the share of scenarios that may be handled inadequately (ETSI TS 186 008-1).
const Criterion = 0.001

// Found is the result of a search.
type Found struct {
	Rate    float64 `json:"rate"`    // the highest that was good, 0 if none was
	Bad     float64 `json:"bad"`     // the lowest that was bad, 0 if none was
	Limited bool    `json:"limited"` // it ended at what the generator can do, so the IMS may do more
}

// String tells it in a line.
func (f *Found) String() string {
	switch {
	case f.Rate == 0 && f.Bad == 0:
		return "nothing was found: the generator was the bottleneck from the beginning"
	case f.Rate == 0:
		return fmt.Sprintf("no rate was good; the lowest that was tried is %.0f scenarios a second", f.Bad)
	case f.Limited:
		return fmt.Sprintf("at least %.0f scenarios a second: beyond that the generator is the bottleneck", f.Rate)
	}
	return fmt.Sprintf("%.0f scenarios a second, with at most 0.1 %% of each handled inadequately; %.0f are too many", f.Rate, f.Bad)
}

// Search looks for the highest rate that is good: it doubles from first until one is not, then halves the interval until that is within
// the share of precision. A bad step is tried once more, because a machine has hiccups. An error of measure ends it.
func Search(first, precision float64, measure func(rate float64) (Verdict, error)) (f Found, err error) {
	try := func(rate float64) (Verdict, error) {
		v, err := measure(rate)
		if err == nil && v != Good {
			v, err = measure(rate)
		}
		return v, err
	}
	ceiling := 0.0 // the lowest rate that was not good
	for rate := first; rate < 1e7 && (ceiling == 0 || ceiling-f.Rate > precision*ceiling); {
		v, err := try(rate)
		if err != nil {
			return f, err
		}
		switch v {
		case Good:
			f.Rate = rate
		case Bad:
			ceiling, f.Bad, f.Limited = rate, rate, false
		case Limited:
			ceiling, f.Limited = rate, true
		}
		switch {
		case ceiling == 0:
			rate *= 2
		case f.Rate == 0 && rate < first/64:
			return f, nil
		default:
			rate = (f.Rate + ceiling) / 2
		}
	}
	return f, nil
}
