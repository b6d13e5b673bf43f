package charging_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"imsafe/imsbox/charging"
	"imsafe/proto/shard"
	"imsafe/refpoint/rf"
	"imsafe/store"
)

var (
	answered = time.Date(2026, 5, 4, 3, 2, 1, 500, time.UTC)
	session  = rf.Session{CallID: "c\"1\x01ä", Dialog: "d", Role: rf.Terminating, ICID: "i-1", Served: "sip:bob@ims.example", Other: "tel:+1555"}
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

// half reads the records, all of one half of a call, in the order of time, when what was queued before is done.
func half(t *testing.T, st *store.DB) (all []charging.Record) {
	t.Helper()
	if err := st.Apply("p", store.Op{Table: charging.TableCall, Key: []byte("after"), Value: []byte{}}); err != nil {
		t.Fatal(err) // commits go in order
	}
	records, _, err := st.Scan(charging.TableCall, nil, nil, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if string(r.Key) == "after" {
			continue
		}
		record, err := charging.Decode(r.Value)
		if err != nil {
			t.Fatalf("%s: %v", r.Value, err)
		}
		all = append(all, record)
	}
	return all
}

func TestRecords(t *testing.T) {
	c, st := open(t)
	c.Unsuccessful(session, 486, answered)
	c.Start(session, answered.Add(time.Second))
	c.Stop(session.CallID, session.Dialog, session.Role, answered.Add(time.Minute))
	base := charging.Record{CallID: session.CallID, Dialog: session.Dialog, Role: "terminating", ICID: "i-1", Served: session.Served, Other: session.Other}
	start, event := base, base
	event.Type, event.Status, event.At = charging.Event, 486, answered
	start.Type, start.At = charging.Start, answered.Add(time.Second)
	stop := charging.Record{Type: charging.Stop, At: answered.Add(time.Minute), CallID: session.CallID, Dialog: session.Dialog, Role: "terminating"}
	if got := half(t, st); !reflect.DeepEqual(got, []charging.Record{event, start, stop}) {
		t.Errorf("%+v", got)
	}
}

// Who hangs up once more, or calls again under the same Call-ID, writes over nothing.
func TestRecords_stay(t *testing.T) {
	c, st := open(t)
	c.Start(session, answered)
	c.Stop(session.CallID, session.Dialog, session.Role, answered.Add(time.Minute))
	c.Stop(session.CallID, session.Dialog, session.Role, answered.Add(time.Hour))
	again := session
	again.Other = "tel:+1900"
	c.Start(again, answered.Add(2*time.Hour))
	var got []charging.Type
	all := half(t, st)
	for _, r := range all {
		got = append(got, r.Type)
	}
	if !slices.Equal(got, []charging.Type{charging.Start, charging.Stop, charging.Stop, charging.Start}) {
		t.Fatalf("%v", got)
	}
	if all[0].Other != session.Other || !all[1].At.Equal(answered.Add(time.Minute)) || all[3].Other != again.Other {
		t.Errorf("%+v", all)
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
