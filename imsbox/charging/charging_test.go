package charging_test

import (
	"reflect"
	"testing"
	"time"

	"imsafe/imsbox/charging"
	"imsafe/proto/shard"
	"imsafe/refpoint/rf"
	"imsafe/store"
)

var (
	answered = time.Date(2026, 5, 4, 3, 2, 1, 500, time.UTC)
	session  = rf.Session{CallID: "c\"1\x01ä", Role: rf.Terminating, ICID: "i-1", Served: "sip:bob@ims.example", Other: "tel:+1555"}
)

func open(t *testing.T) (*charging.Charging, *store.DB) {
	t.Helper()
	st, err := store.InMemory(shard.NewFake(answered))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return charging.New(st), st
}

// read returns a record that is there.
func read(t *testing.T, st *store.DB, kind charging.Type) charging.Record {
	t.Helper()
	r, err := st.Get(charging.TableCall, charging.Key(session.CallID, session.Role, kind))
	if err != nil {
		t.Fatalf("%s: %v", kind, err)
	}
	record, err := charging.Decode(r.Value)
	if err != nil {
		t.Fatalf("%s: %v", r.Value, err)
	}
	return record
}

func TestRecords(t *testing.T) {
	c, st := open(t)
	c.Start(session, answered)
	c.Stop(session.CallID, session.Role, answered.Add(time.Minute))
	c.Unsuccessful(session, 486, answered)
	if err := st.Apply("p", store.Op{Table: charging.TableCall, Key: []byte("after"), Value: []byte{}}); err != nil {
		t.Fatal(err) // commits go in order: what was queued before is done now
	}
	base := charging.Record{At: answered, CallID: session.CallID, Role: "terminating", ICID: "i-1", Served: session.Served, Other: session.Other}
	start, event := base, base
	start.Type, event.Type, event.Status = charging.Start, charging.Event, 486
	stop := charging.Record{Type: charging.Stop, At: answered.Add(time.Minute), CallID: session.CallID, Role: "terminating"}
	for _, want := range []charging.Record{start, stop, event} {
		if got := read(t, st, want.Type); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", want.Type, got, want)
		}
	}
}

func TestRecord_that_the_store_refuses_is_counted(t *testing.T) {
	c, st := open(t)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	c.Start(session, answered)
	if c.Lost() != 1 {
		t.Errorf("%d lost, want 1", c.Lost())
	}
}
