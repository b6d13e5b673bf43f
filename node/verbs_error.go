package node

import (
	"encoding/json"
	"errors"
	"fmt"

	"imsafe/ca"
	"imsafe/iface/imsservice"
	"imsafe/iface/management"
	"imsafe/imsbox/hss"
	"imsafe/refpoint/isc"
	"imsafe/store"
	"imsafe/store/seal"
)

// maxMistakes is how many mistakes cross the door; a file with more has the same one on every line.
const maxMistakes = 1000

// told gives an error the form that may cross the door: what, why, what to do next. One that is not in the table stays as
// it is: a caller at the door learns only that there was one, and the log says which.
func told(err error) error {
	var known *management.Error
	var mistakes hss.Mistakes
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &mistakes):
		return MistakesError(mistakes)
	}
	for _, t := range []struct {
		is         error
		code, hint string
	}{
		{hss.ErrUnknown, "not-found", "`imsafe user list`, `profile list` and `group list` show what there is"},
		{hss.ErrInUse, "in-use", "change or remove that first"},
		{imsservice.ErrUnknownService, "service.unknown", "`imsafe service list` shows those that asked"},
		{imsservice.ErrNoApprover, "service.no-approver", "`imsafe approver new` makes a key; its public half goes into approval_keys in [is]"},
		{imsservice.ErrTaken, "service.taken", "names, hosts and identities belong to one service"},
		{imsservice.ErrKey, "service.key", "compare the fingerprints again: another key may have asked meanwhile"},
		{imsservice.ErrSerial, "service.serial", "look at it again with `imsafe service show`, then approve anew"},
		{imsservice.ErrRevokedKey, "service.revoked-key", "a revoked key stays so: the platform makes a new one and asks again"},
		{imsservice.ErrState, "service.state", "`imsafe service show` says what became of it"},
		{imsservice.ErrFull, "service.full", "revoke what is not used"},
		{isc.ErrApprovalForm, "service.approval", "command and node may be of different versions"},
		{isc.ErrApprovalSignature, "service.signature", "sign with a key whose public half stands in approval_keys in [is]"},
		{isc.ErrApprovalManifest, "service.manifest", "the request was replaced since you looked: look again"},
		{isc.ErrApprovalScopes, "service.scopes", "grant no more than the manifest asks for"},
		{ca.ErrNone, "ca.none", "`imsafe ca new FILE` makes a root and an intermediate"},
		{ca.ErrPending, "ca.pending", "sign the newest request: `imsafe ca request`"},
		{ca.ErrConstraints, "ca.constraints", "`imsafe ca sign` makes one that is right"},
		{ca.ErrTwo, "ca.two", "`imsafe ca retire SERIAL` ends the older one"},
		{ca.ErrUnknown, "ca.unknown", "`imsafe ca show` lists the serial numbers"},
		{ca.ErrForm, "ca.form", "`imsafe ca sign` writes two certificates in PEM"},
		{ca.ErrClock, "ca.clock", "set the clock, then restart the node"},
		{seal.ErrKey, "key.missing", "the sealing key file lacks the key of this record: put the file back that was there before"},
		{seal.ErrForged, "key.forged", "the record was changed outside imsafe, or sealed under another key: restore a backup"},
		{store.ErrConflict, "store.conflict", "others change the same record all the time: try again"},
		{store.ErrOverloaded, "store.overloaded", "the disk or the database does not keep up: try again later"},
		{store.ErrFull, "store.full", "make room on the disk of data_dir"},
		{store.ErrFailed, "store.failed", "the disk failed: look at the system's log, then restart the node; where the store is a database, it is away: the node comes back with it"},
	} {
		if errors.Is(err, t.is) {
			return &management.Error{Code: t.code, Message: err.Error(), Hint: t.hint}
		}
	}
	return err
}

// MistakesError is how mistakes cross the door: a *management.Error that Mistakes takes apart. Those beyond the first thousand are
// only counted.
func MistakesError(mistakes []hss.Mistake) error {
	details, err := json.Marshal(mistakes[:min(len(mistakes), maxMistakes)])
	if err != nil {
		return err
	}
	message := "there is a mistake; nothing was changed"
	if len(mistakes) > 1 {
		message = fmt.Sprintf("there are %d mistakes; nothing was changed", len(mistakes))
	}
	return &management.Error{Code: "mistakes", Message: message, Details: details}
}

// Mistakes returns the mistakes that an error of a verb carries, nil if it is another one.
func Mistakes(err error) []hss.Mistake {
	var known *management.Error
	var list []hss.Mistake
	if errors.As(err, &known) && known.Code == "mistakes" {
		_ = json.Unmarshal(known.Details, &list) // without details the message still stands
	}
	return list
}

// warning takes the errors apart that leave a change standing: the S-CSCF could not be told of it.
func warning(err error) (string, error) {
	var push *hss.PushError
	if errors.As(err, &push) {
		return fmt.Sprintf("the change is durable, but %s could not be told and goes on as before until it can be: %v",
			push.ServerName, push.Err), nil
	}
	return "", err
}
