package load

import "fmt"

// Failure is why a scenario was handled inadequately.
type Failure struct {
	Scenario string `json:"scenario"`
	Step     string `json:"step"`           // the request that failed
	Code     int    `json:"code,omitempty"` // status of the answer, 0 if there was none
	Cause    string `json:"cause"`
}

// String says it in words.
func (f *Failure) String() string {
	if f.Code > 0 {
		return fmt.Sprintf("%s: %s %d, %s", f.Scenario, f.Step, f.Code, f.Cause)
	}
	return fmt.Sprintf("%s: %s, %s", f.Scenario, f.Step, f.Cause)
}

// What is timed: the first three are whole procedures and have the numbers of their scenarios.
const (
	stepMessage = int(scenarios) + iota // MESSAGE to its answer
	stepRing                            // INVITE to 180 or another provisional response beyond 100
	stepAnswer                          // INVITE to 200; with a ringing time, that too
	stepRelease                         // BYE to its answer
	steps
)

var stepNames = [steps]string{Registration: "registration", Reregistration: "re-registration", Deregistration: "de-registration",
	stepMessage: "message", stepRing: "ring", stepAnswer: "answer", stepRelease: "release"}

// stats is what one worker saw.
type stats struct {
	Offered, Succeeded, Failed [scenarios]uint64
	Failures                   map[Failure]uint64
	Retransmissions            uint64 // of ours
	Stray                      uint64 // responses that nobody waited for
	Malformed                  uint64
	Challenges                 uint64 // answered
	Resynchronisations         uint64
	Starved                    uint64 // arrivals for which no UE was free
	latency                    [steps]histogram
	late                       histogram
}

func (s *stats) merge(o *stats) {
	for i := range s.Offered {
		s.Offered[i] += o.Offered[i]
		s.Succeeded[i] += o.Succeeded[i]
		s.Failed[i] += o.Failed[i]
	}
	for f, n := range o.Failures {
		s.Failures[f] += n
	}
	s.Retransmissions += o.Retransmissions
	s.Stray += o.Stray
	s.Malformed += o.Malformed
	s.Challenges += o.Challenges
	s.Resynchronisations += o.Resynchronisations
	s.Starved += o.Starved
	for i := range s.latency {
		s.latency[i].merge(&o.latency[i])
	}
	s.late.merge(&o.late)
}
