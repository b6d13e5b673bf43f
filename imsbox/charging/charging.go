// Package charging keeps the local durable call record: a start and a stop for each half of a session, and one event for
// each attempt that failed, as Rf has them (TS 32.299 7.2.2 Accounting-Record-Type; TS 32.260 5.2). It rates nothing and
// sends nothing yet.
//
// A record never makes a call wait. What the store refuses is counted and lost, so a full disk costs records, not calls.
// node assembles it; others reach it through refpoint/rf. Safe for concurrent use.
package charging

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"strconv"
	"sync/atomic"
	"time"

	"imsafe/refpoint/rf"
	"imsafe/store"
)

// TableCall holds the call records.
const TableCall store.Table = 96

// Type is what a record says (Accounting-Record-Type).
type Type string

// The types of records. A half of a call has one Event, or a Start and a Stop for each telephone that has answered: mostly one. More Stops than Starts come of who hangs up again, or hangs up what is
// no call: the first after a Start counts that is of the same dialog.
const (
	Start Type = "start" // the call was answered
	Stop  Type = "stop"  // it ended
	Event Type = "event" // the attempt failed
)

// Record is one call record, as JSON in the store: for people, and for whatever bills from it.
type Record struct {
	Type   Type      `json:"type"`
	At     time.Time `json:"at"`
	CallID string    `json:"call_id"`
	Dialog string    `json:"dialog,omitempty"` // a print of its tags
	Role   string    `json:"role"`
	ICID   string    `json:"icid,omitempty"`
	Served string    `json:"served,omitempty"`
	Other  string    `json:"other,omitempty"`
	Status int       `json:"status,omitempty"` // of an Event
}

// Charging is one charging function.
type Charging struct {
	store store.Store
	lost  atomic.Uint64
	count func(error) // countLost, made once
}

var _ rf.Charging = (*Charging)(nil)

// New returns a charging function over st.
func New(st store.Store) *Charging {
	c := &Charging{store: st}
	c.count = c.countLost
	return c
}

// Lost is how many records the store refused.
func (c *Charging) Lost() uint64 { return c.lost.Load() }

// Start implements rf.Charging.
func (c *Charging) Start(s rf.Session, at time.Time) { c.put(Start, s, 0, at) }

// Unsuccessful implements rf.Charging.
func (c *Charging) Unsuccessful(s rf.Session, status int, at time.Time) { c.put(Event, s, status, at) }

// Stop implements rf.Charging.
func (c *Charging) Stop(callID, dialog string, role rf.Role, at time.Time) {
	c.put(Stop, rf.Session{CallID: callID, Dialog: dialog, Role: role}, 0, at)
}

func (c *Charging) put(t Type, s rf.Session, status int, at time.Time) {
	key := Key(s, at, t)
	op := store.Op{Table: TableCall, Key: key, Value: appendRecord(make([]byte, 0, recordRoom), t, s, status, at)}
	c.store.ApplyAsync(string(key[beforeHalf:keyOfHalf]), []store.Op{op}, c.count)
}

// countLost counts a record that the store refused.
func (c *Charging) countLost(err error) {
	if err != nil {
		c.lost.Add(1)
	}
}

// recordRoom is what a record takes as a rule, and keySize what its key does: written there they are not moved while they grow.
const recordRoom, keySize = 512, keyOfHalf + 16

// beforeHalf and keyOfHalf are where the octets of a key begin and end that name the half of the call; they are its partition too.
const beforeHalf, keyOfHalf = 8, 8 + 17

// Key is where a record stands: in the order of time, so that what is written together lies together on the disk (a page for ten records, not for
// each), and what somebody bills or removes is one piece. A Call-ID is as long as its sender likes; its hash is not. It is as often used as its sender
// likes, too: so that nobody can write over the record of an earlier call, or over the end of one, the time is in the key, and so is the dialog: two telephones may
// answer in the same moment.
func Key(s rf.Session, at time.Time, t Type) []byte {
	sum := sha256.Sum256([]byte(s.CallID))
	key := binary.BigEndian.AppendUint64(make([]byte, 0, keySize), uint64(at.UnixNano()))
	key = append(append(append(key, sum[:16]...), byte(s.Role)), t...)
	return append(key, s.Dialog[:min(len(s.Dialog), 8)]...)
}

// appendRecord writes a Record as JSON without a detour through reflection: there are four in each call.
func appendRecord(b []byte, t Type, s rf.Session, status int, at time.Time) []byte {
	field := func(name, value string) {
		if value != "" {
			b = append(append(append(b, ',', '"'), name...), '"', ':')
			b = appendString(b, value)
		}
	}
	b = append(append(b, `{"type":"`...), t...)
	b = append(b, `","at":"`...)
	b = append(at.UTC().AppendFormat(b, time.RFC3339Nano), '"')
	field("call_id", s.CallID)
	field("dialog", s.Dialog)
	field("role", s.Role.String())
	field("icid", s.ICID)
	field("served", s.Served)
	field("other", s.Other)
	if status != 0 {
		b = strconv.AppendInt(append(b, `,"status":`...), int64(status), 10)
	}
	return append(b, '}')
}

// appendString writes s as a JSON string. What came from a client may hold anything: that goes to the library.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			quoted, err := json.Marshal(s)
			if err != nil {
				return append(b, `""`...) // cannot be: a string always has a JSON form
			}
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// Decode reads a record.
func Decode(value []byte) (Record, error) {
	var r Record
	err := json.Unmarshal(value, &r)
	return r, err
}
