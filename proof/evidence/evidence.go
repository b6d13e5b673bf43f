// Package evidence holds what a run of an attack has shown: one record for one attack, variant and configuration.
//
// A Record is written by the runner and read by those who compute risk and coverage from it; nothing in it is typed in by a person.
// Its form on disk is canonical JSON (RFC 8785), so that a signature can stand over it. Records are not signed yet, and say so.
//
// It does no input or output, and imports the standard library alone. Nothing in it changes after it is made.
package evidence

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"time"
)

// Verdict is what one run has shown.
type Verdict string

// The verdicts. Only Blocked and Succeeded are findings about the target.
const (
	Blocked      Verdict = "blocked"      // the goal was not reached, and the named control says that it did that
	Succeeded    Verdict = "succeeded"    // somebody outside the target saw the goal reached, even once
	Degraded     Verdict = "degraded"     // the goal was not reached, but honest service suffered
	Inconclusive Verdict = "inconclusive" // the run proves nothing; Reason says why
	NotRunHere   Verdict = "not run here" // this host refuses what the attack needs

	NotApplicable Verdict = "not applicable" // of a foreign target: it gives not what the attack needs
)

// The kinds of oracles.
const (
	KindPeer    = "peer"    // what an honest party saw or heard
	KindWire    = "wire"    // what came over the attacker's own sockets
	KindEvent   = "event"   // what the gate of the target noted
	KindProcess = "process" // how the target's process ended
)

// Oracle is one witness of a run.
type Oracle struct {
	Kind    string `json:"kind"`
	Outside bool   `json:"outside"` // it stands outside the target
	Saw     string `json:"saw"`
	Reached bool   `json:"reached"` // by this witness the attack has reached its goal
}

// Event is how often a control refused, or was off and let pass what it would have refused.
type Event struct {
	Control  string `json:"control"`
	Reason   string `json:"reason"`
	Enforced bool   `json:"enforced"`
	Count    uint64 `json:"count"`
}

// Baseline is how the honest parties fared: they register, send a message and call.
type Baseline struct {
	Steps  int    `json:"steps"`
	Done   int    `json:"done"` // of Steps
	P50    int64  `json:"p50_us"`
	P99    int64  `json:"p99_us"`
	CPU    int64  `json:"cpu_us"`           // of the target meanwhile; 0 if it could not be measured
	Reason string `json:"reason,omitempty"` // why it was not all
}

// Well reports whether everything honest was done.
func (b *Baseline) Well() bool { return b.Steps > 0 && b.Done == b.Steps }

// Target is what was attacked.
type Target struct {
	Name    string   `json:"name"`
	Build   string   `json:"build_sha256"`  // of the program
	Commit  string   `json:"commit"`        // it was built from; "unknown" if the build does not say
	Config  string   `json:"config_sha256"` // of the effective configuration, the controls that are off included
	Profile string   `json:"profile"`       // the access that the attack came by
	Mode    string   `json:"mode"`          // "direct": all functions in one process
	Weak    []string `json:"weakenings"`    // what of the configuration is weaker than the default
}

// Factors are what the rating of the risk is computed from. They are measured, not chosen.
type Factors struct {
	Micros int64 `json:"time_us"`       // from the attacker's first octet to his last
	Users  int   `json:"users_reached"` // whom a run that succeeded has reached
}

// Foreign is the kind of a record about a system that the runner has not started. Its counters cannot be read and its controls have no switch, so
// it shows what was seen from outside and proves no control and no cell.
const Foreign = "foreign"

// Record is one run. Times are RFC 3339 in UTC; sets are sorted.
type Record struct {
	Kind        string `json:"kind,omitempty"`    // Foreign, or ""
	Allowed     string `json:"allowed,omitempty"` // by whom, of a foreign target
	Attack      string `json:"attack"`
	Number      string `json:"number"`
	Variant     string `json:"variant"`
	PackVersion string `json:"pack_version"` // of the catalogue: it changes when a row does
	Seed        uint64 `json:"seed"`
	Start       string `json:"start"`
	End         string `json:"end"`
	Packets     uint64 `json:"packets_sent"` // writes of the attacker's sockets
	Bytes       uint64 `json:"bytes_sent"`   // octets of these

	Target      Target   `json:"target"`
	Position    string   `json:"position"`
	Credentials []string `json:"credentials"` // what was handed to the attacker

	ControlsOff []string `json:"controls_off"` // all others are on
	Expected    string   `json:"expected_control"`

	Before    Baseline `json:"baseline_before"`
	After     Baseline `json:"baseline_after"`
	Delivered string   `json:"delivered"` // what shows that the attack arrived; "" if nothing does
	Oracles   []Oracle `json:"oracles"`
	Events    []Event  `json:"events"` // of all controls, while the attack ran

	// NoAblation says why the controls have no switch. Such a run shows that the attack fails, not why: it is claimed, not proven.
	NoAblation string `json:"no_ablation"`

	Verdict  Verdict `json:"verdict"`
	Accident bool    `json:"accident"` // blocked, but not by the expected control
	Reason   string  `json:"reason"`

	Factors Factors           `json:"factors"`
	Covers  map[string]string `json:"covers"` // hashes of what makes this record stale when it changes
	Signed  bool              `json:"signed"` // false: nobody vouches for this record yet

	Left string `json:"left,omitempty"` // what could not be taken back at a foreign target
}

// Time writes t as records have it.
func Time(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// Sum is the SHA-256 of b in hexadecimal digits.
func Sum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// SumOf is Sum of the canonical form of v.
func SumOf(v any) (string, error) {
	b, err := Canonical(v)
	return Sum(b), err
}

// Name is where a record is kept, below the directory of the bundle: attack, variant, access, and what was off.
func (r *Record) Name() string {
	configuration := "on"
	if len(r.ControlsOff) > 0 {
		configuration = "off-" + strings.Join(r.ControlsOff, "-")
	}
	return path.Join(r.Attack, r.Variant, r.Target.Profile, configuration+".json")
}

// Stale returns the names of what r covers that is another now, or is not known any more, sorted; nil if r is fresh. Age is for the
// caller: records of more than 30 days count as stale.
func (r *Record) Stale(now map[string]string) []string {
	var changed []string
	for name, sum := range r.Covers {
		if now[name] != sum {
			changed = append(changed, name)
		}
	}
	return sorted(changed)
}

// Read decodes a record. A field that this version does not know is an error: what it meant would be lost.
func Read(b []byte) (*Record, error) {
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	r := new(Record)
	if err := d.Decode(r); err != nil {
		return nil, fmt.Errorf("evidence: %w", err)
	}
	return r, nil
}
