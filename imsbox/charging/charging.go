// Package charging keeps the local durable call record: one record for each half of a session, started when the
// call is answered and completed when it ends, and one for each attempt that failed (TS 32.260 5.2 names the
// same triggers for Rf). It rates nothing and sends nothing yet.
//
// A record never makes a call wait. What the store refuses is counted and lost, so a full disk costs records,
// not calls. node assembles it; others reach it through refpoint/rf. Safe for concurrent use.
package charging

import (
	"crypto/sha256"
	"encoding/json"
	"sync/atomic"
	"time"

	"imsafe/refpoint/rf"
	"imsafe/store"
)

// TableCall holds the call records.
const TableCall store.Table = 96

// Charging is one charging function.
type Charging struct {
	store store.Store
	lost  atomic.Uint64
}

var _ rf.Charging = (*Charging)(nil)

// New returns a charging function over st.
func New(st store.Store) *Charging { return &Charging{store: st} }

// Lost is how many records the store refused.
func (c *Charging) Lost() uint64 { return c.lost.Load() }

// Call is one record. It is JSON in the store, for people and for whatever bills from it.
type Call struct {
	ICID    string     `json:"icid,omitempty"`
	CallID  string     `json:"call_id"`
	Role    string     `json:"role"`
	Served  string     `json:"served,omitempty"`
	Other   string     `json:"other,omitempty"`
	Start   *time.Time `json:"start,omitempty"`
	Stop    *time.Time `json:"stop,omitempty"`
	Seconds float64    `json:"seconds,omitempty"`
	Status  int        `json:"status,omitempty"` // of an unsuccessful attempt
}

// Decode reads a record.
func Decode(value []byte) (Call, error) {
	var c Call
	err := json.Unmarshal(value, &c)
	return c, err
}

// Start implements rf.Charging.
func (c *Charging) Start(s rf.Session, at time.Time) {
	c.put(s.CallID, s.Role, Call{ICID: s.ICID, CallID: s.CallID, Role: s.Role.String(), Served: s.Served,
		Other: s.Other, Start: &at})
}

// Unsuccessful implements rf.Charging.
func (c *Charging) Unsuccessful(s rf.Session, status int, at time.Time) {
	c.put(s.CallID, s.Role, Call{ICID: s.ICID, CallID: s.CallID, Role: s.Role.String(), Served: s.Served,
		Other: s.Other, Stop: &at, Status: status})
}

// Stop implements rf.Charging: it completes the record that Start left.
func (c *Charging) Stop(callID string, role rf.Role, at time.Time) {
	c.store.GetAsync(TableCall, key(callID, role), func(r store.Record, err error) {
		call := Call{CallID: callID, Role: role.String()}
		if err == nil {
			// A record that does not decode is replaced by one that says at least when the call ended.
			_ = json.Unmarshal(r.Value, &call)
		}
		call.Stop = &at
		if call.Start != nil {
			call.Seconds = at.Sub(*call.Start).Seconds()
		}
		c.put(callID, role, call)
	})
}

func (c *Charging) put(callID string, role rf.Role, call Call) {
	value, err := json.Marshal(call)
	if err != nil {
		c.lost.Add(1) // cannot be: a Call holds nothing that JSON refuses
		return
	}
	k := key(callID, role)
	c.store.ApplyAsync(string(k), []store.Op{{Table: TableCall, Key: k, Value: value}}, func(err error) {
		if err != nil {
			c.lost.Add(1)
		}
	})
}

// key is where the record of a half of a call stands. A Call-ID is as long as its sender likes; its hash is not.
func key(callID string, role rf.Role) []byte {
	sum := sha256.Sum256([]byte(callID))
	return append(sum[:16:16], byte(role))
}
