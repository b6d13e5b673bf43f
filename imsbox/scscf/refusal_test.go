package scscf

import (
	"errors"
	"testing"

	"imsafe/proto/shard"
	"imsafe/refpoint/cx"
)

// refusingHSS answers every SAR with err.
type refusingHSS struct {
	cx.Server
	err error
}

func (h refusingHSS) ServerAssignment(*shard.Task, *cx.ServerAssignmentRequest) (*cx.ServerAssignmentAnswer, error) {
	return nil, h.err
}

// TestRefusal_of_the_HSS: what a REGISTER hears when the HSS says no, or nothing (TS 24.229 5.4.1.2).
func TestRefusal_of_the_HSS(t *testing.T) {
	for _, c := range []struct {
		err          error
		vector, bind refusal // of MAR and of SAR
	}{
		{cx.ErrUserUnknown, refusal{status: 403}, refusal{status: 403}},
		{cx.ErrIdentitiesDontMatch, refusal{status: 403}, refusal{status: 403}},
		{cx.ErrAuthSchemeNotSupported, refusal{status: 403}, refusal{status: 504}},
		{cx.ErrIdentityAlreadyRegistered, refusal{status: 504}, refusal{status: 403}},
		{cx.ErrTooBusy, refusal{status: 503, retryAfter: 30}, refusal{status: 504}},
		{cx.ErrUnableToComply, refusal{status: 504}, refusal{status: 504}},
		{errors.New("no way to the HSS"), refusal{status: 504}, refusal{status: 504}},
	} {
		if got := authRefusal(c.err); got.status != c.vector.status || got.retryAfter != c.vector.retryAfter {
			t.Errorf("MAR, %v: %d, want %d", c.err, got.status, c.vector.status)
		}
		r := newRig(t, Config{}, refusingHSS{err: c.err})
		r.does(func(task *shard.Task) {
			_, got := r.assign(task, &register{impi: "alice@ims.example", impu: "sip:alice@ims.example"})
			if got == nil || got.status != c.bind.status {
				t.Errorf("SAR, %v: %+v, want %d", c.err, got, c.bind.status)
			}
		})
	}
}
