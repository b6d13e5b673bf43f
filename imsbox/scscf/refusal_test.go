package scscf

import (
	"errors"
	"testing"
	"time"

	"imsafe/hop"
	"imsafe/proto/shard"
	"imsafe/proto/sip"
	"imsafe/refpoint/cx"
	"imsafe/refpoint/rf"
	"imsafe/secure"
	"imsafe/store"
)

// refusingHSS answers every SAR with err.
type refusingHSS struct {
	cx.Server
	err error
}

func (h refusingHSS) ServerAssignment(*shard.Task, *cx.ServerAssignmentRequest) (*cx.ServerAssignmentAnswer, error) {
	return nil, h.err
}

// nothing is a charging function that keeps no record.
type nothing struct{ rf.Charging }

// TestRefusal_of_the_HSS: what a REGISTER hears when the HSS says no, or nothing (TS 24.229 5.4.1.2).
func TestRefusal_of_the_HSS(t *testing.T) {
	clock := shard.NewFake(time.Unix(1700000000, 0))
	sh := shard.New(shard.Config{Node: 1, Clock: clock, Inbox: 4})
	defer sh.Close()
	st, err := store.InMemory(clock)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	gate := secure.NewGate(nil, nil)
	table := hop.NewTable(hop.Direct, sip.NewPool(sip.Limits{}), gate, [16]byte{})
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
		s, err := New(Config{Name: "scscf.ims.example", HomeDomain: "ims.example"}, Ports{Cx: refusingHSS{err: c.err}, Charging: nothing{},
			Store: st, Hop: table, Clock: clock, Gate: gate, Sealer: shard.NewSealer(shard.SealingKey{})})
		if err != nil {
			t.Fatal(err)
		}
		sh.Exec(shard.EventFunc(func(sh *shard.Shard) {
			sh.Start(func(task *shard.Task) {
				_, got := s.assign(task, &register{impi: "alice@ims.example", impu: "sip:alice@ims.example"})
				if got == nil || got.status != c.bind.status {
					t.Errorf("SAR, %v: %+v, want %d", c.err, got, c.bind.status)
				}
			})
		}))
	}
}
