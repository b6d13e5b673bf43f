package imsservice

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"imsafe/refpoint/isc"
	"imsafe/store"
)

// The tables of the register. Their numbers are in the journal for ever.
const (
	TableService store.Table = 128 // key: name of the service
	TableRevoked store.Table = 129 // key: "key " and a fingerprint, or "serial " and the serial number of a certificate
	TableInvite  store.Table = 130 // key: SHA-256 of the token
)

// Tables names the tables for the store.
func Tables() []store.TableSpec {
	return []store.TableSpec{
		{Table: TableService, Name: "isc_service"},
		{Table: TablePseudonym, Name: "isc_pseudonym"},
		{Table: TableRevoked, Name: "isc_revoked"},
		{Table: TableInvite, Name: "isc_invite"},
	}
}

// State is what became of a service.
type State string

// The states.
const (
	StateRequested State = "requested" // it waits for its first approval, or for one after a revocation
	StateActive    State = "active"
	StateSuspended State = "suspended" // until it is resumed
	StateRevoked   State = "revoked"   // for good: what follows is a new request with a new key
)

// key is one key that a service may prove itself with.
type key struct {
	Instance string    `json:"instance"`
	Key      []byte    `json:"key"` // fingerprint
	Since    time.Time `json:"since"`
	Renewed  bool      `json:"renewed,omitempty"` // it came with a renewal, over a connection that an approved key made
}

// request is what a platform sent and nobody has approved yet.
type request struct {
	Manifest []byte    `json:"manifest"` // its exact octets
	Instance string    `json:"instance"`
	Key      []byte    `json:"key"` // fingerprint
	At       time.Time `json:"at"`
}

// record is one service in the store, as JSON: people read it there.
type record struct {
	Form     int      `json:"form"`
	Epoch    uint64   `json:"epoch"` // how often a backup had been restored when an operator last decided
	State    State    `json:"state"`
	Set      int      `json:"set,omitempty"`      // number of its shared set
	Serial   uint64   `json:"serial,omitempty"`   // of the last approval; it only grows
	Manifest []byte   `json:"manifest,omitempty"` // the approved one
	Approval []byte   `json:"approval,omitempty"` // with its signature
	Approved []byte   `json:"approved,omitempty"` // the key that the approval is about
	Keys     []key    `json:"keys,omitempty"`
	Pending  *request `json:"pending,omitempty"`
}

const recordForm = 1

var errRecord = errors.New("imsservice: the record cannot be read")

func (r *record) encode() ([]byte, error) {
	r.Form = recordForm
	b, err := json.Marshal(r)
	if err == nil && len(b) > store.MaxValue {
		err = errRecord
	}
	return b, err
}

func decodeRecord(b []byte) (*record, error) {
	r := &record{}
	if err := json.Unmarshal(b, r); err != nil || r.Form != recordForm {
		return nil, errors.Join(errRecord, err)
	}
	return r, nil
}

// fingerprints returns the keys as the contract has them.
func (r *record) fingerprints() ([]isc.Fingerprint, error) {
	var all []isc.Fingerprint
	for _, k := range r.Keys {
		f, err := fingerprint(k.Key)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

func fingerprint(b []byte) (f isc.Fingerprint, err error) {
	if copy(f[:], b) != len(f) || len(b) != len(f) {
		return f, fmt.Errorf("%w: a fingerprint has %d octets", errRecord, len(b))
	}
	return f, nil
}

// maxRenewed is how many keys of renewals an instance may have beside the approved one: the present one and the one before it.
const maxRenewed = 2

// admit adds a key of an instance. One that an approval is about takes the place of all others of the instance.
func (r *record) admit(k key) {
	var kept []key
	renewed := 0
	for i := len(r.Keys) - 1; i >= 0; i-- {
		old := r.Keys[i]
		if old.Instance == k.Instance {
			if !k.Renewed || old.Renewed && renewed == maxRenewed-1 {
				continue
			}
			if old.Renewed {
				renewed++
			}
		}
		kept = append([]key{old}, kept...)
	}
	r.Keys = append(kept, k)
}

// hasKey says whether an instance may prove itself with a key.
func (r *record) hasKey(instance string, f isc.Fingerprint) bool {
	for _, k := range r.Keys {
		if k.Instance == instance && string(k.Key) == string(f[:]) {
			return true
		}
	}
	return false
}
